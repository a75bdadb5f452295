# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A run forward in a thread of its own.

Engines share nothing but what is only read, and a compiled policy needs no interpreter, so that a run holds up nobody:
the scheduler's own thread looks now and then whether it is over.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Optional

from fluxsched.service.slices import SLICE, next_budget

__all__ = ["Aside"]

#: Seconds between two looks: at first, and at most.
LOOK, LOOK_MAX = 0.001, 0.016


class Aside:
    """Advances a Forward, whose engine is its own and whose policy is compiled, to a time (None: the end), or until the
    thread has taken about so many seconds.

    more: it has not come to its end; seconds: that the thread has taken; error: what was raised. They hold once `going`
    is false.
    """

    def __init__(self, forward: Any, until: Optional[float], limit: float, budget: int) -> None:
        self.more = True
        self.seconds = 0.0
        self.error: Optional[Exception] = None
        self._forward = forward
        self._until = until
        self._limit = limit
        self._budget = budget
        self._stop = False
        self._pause = LOOK / 2
        self._thread = threading.Thread(target=self._run, name="whatif", daemon=True)
        self._thread.start()

    @property
    def going(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive()

    def look(self) -> float:
        """Seconds until the next look at it."""
        self._pause = min(2 * self._pause, LOOK_MAX)
        return self._pause

    def end(self) -> None:
        """Have it end soon, and wait until it has."""
        self._stop = True
        self._thread.join()

    def _run(self) -> None:
        """In slices, between which it can be ended."""
        budget, begin = self._budget, time.thread_time()
        try:
            while self.more and not self._stop and self.seconds <= self._limit:
                before = self.seconds
                self.more = self._forward.advance(self._until, budget)
                self.seconds = time.thread_time() - begin
                budget = next_budget(budget, self.seconds - before, SLICE)
        except Exception as error:
            self.error = error
