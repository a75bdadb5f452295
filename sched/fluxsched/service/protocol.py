# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Words of the scheduler protocol (RFC 27), and what can be wrong with its messages."""

from __future__ import annotations

import errno
from typing import Any

from fluxsched.errors import FluxSchedError

__all__ = ["ANNOTATE", "CANCEL", "DENY", "ProtocolError", "SUCCESS", "ServiceError", "field"]

# Answers to sched.alloc
SUCCESS = 0
ANNOTATE = 1
DENY = 2
CANCEL = 3


class ServiceError(FluxSchedError):
    """The scheduler cannot be loaded as asked; the text says why."""


class ProtocolError(FluxSchedError):
    """A message that lacks what the protocol says it holds; `errno` is for the answer."""

    def __init__(self, text: str, errnum: int = errno.EPROTO) -> None:
        super().__init__(text)
        self.errno = errnum


def field(payload: Any, name: str, kinds: type | tuple[type, ...], topic: str) -> Any:
    """payload[name], checked; bool is not an int here.  ProtocolError."""
    value = payload.get(name)
    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        names = " or ".join(kind.__name__ for kind in wanted)
        raise ProtocolError(f"{topic}: field {name!r}: expected {names}, got {value!r}")
    return value
