# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What was worked out of the last few values, by their text: jobs that come together mostly ask for the same."""
from __future__ import annotations

from typing import Any, Callable

MOST = 64  # texts
LONGEST = 4096  # characters of one; of more nothing is remembered


class Memo:
    """Values by text. Who gets one does not change it."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def get(self, text: Any, work: Callable[[], Any]) -> Any:
        """The value of `text` (a str or bytes); `work()` if it is not known."""
        found = self._known.get(text)
        if found is None:
            found = work()
            if len(text) <= LONGEST:
                if len(self._known) >= MOST:
                    del self._known[next(iter(self._known))]
                self._known[text] = found
        return found
