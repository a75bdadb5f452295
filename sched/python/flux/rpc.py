# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A request of a topic."""
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Optional

from flux.future import Future

if TYPE_CHECKING:
    from flux.handle import Flux


class RPC(Future):
    """The answer of a request, an object of JSON or None."""

    def __init__(self, flux_handle: Flux, topic: str, payload: Optional[dict[str, Any]] = None) -> None:
        """Send the request.  TypeError if the payload is no object."""
        if payload is not None and not isinstance(payload, dict):
            raise TypeError(f"payload: expected a dict, got {type(payload).__name__}")
        super().__init__(flux_handle, topic, payload)

    def get_str(self) -> Optional[str]:
        """The answer as JSON text."""
        found = self.get()
        return None if found is None else json.dumps(found)
