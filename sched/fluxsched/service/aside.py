# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A run forward beside the scheduler, which holds up nobody: the scheduler's own thread looks now and then whether it
is over.

Engines share nothing but what is only read, and a compiled policy needs no interpreter, so that its run can have a
thread. What is not known to be sound has a process of its own (service/child).
"""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Optional

from fluxsched.core import PluginError
from fluxsched.core.comparison import Comparison
from fluxsched.service import deadline
from fluxsched.service.slices import SLICE, next_budget

__all__ = ["Aside", "InThread", "problem"]

#: Seconds between two looks: at first, and at most.
LOOK, LOOK_MAX = 0.001, 0.064
#: What the first slice of a run may cost, in jobs that the policy is asked about; their time tells what the next may.
FIRST = 256


class Aside:
    """Advances a Forward, which `make` answers, to a time (None: the end), or until that has taken about so many
    seconds of a processor.

    more: it has not come to its end; started: jobs that waited and have started; seconds: that it has taken; error:
    what went wrong, for people. They hold once `going` is false.
    """

    def __init__(self, make: Callable[[], Any], until: Optional[float], limit: float) -> None:
        self.more = True
        self.started = 0
        self.seconds = 0.0
        self.error: Optional[str] = None
        self._make = make
        self._until = until
        self._limit = limit
        self._stop = False
        self._pause = LOOK / 2

    @property
    def going(self) -> bool:
        """Whether it goes on."""
        raise NotImplementedError

    def look(self) -> float:
        """Look at it: the seconds until the next look."""
        self._pause = min(2 * self._pause, LOOK_MAX)
        return self._pause

    def end(self) -> None:
        """Have it end."""
        raise NotImplementedError

    def add(self, comparison: Comparison, until: float) -> int:
        """Take the run down in a comparison, once it is over: its number.  until: as for Comparison.add."""
        raise NotImplementedError

    def _advance(self, forward: Any) -> None:
        """In slices, between which it can be ended."""
        budget, begin = FIRST, time.thread_time()
        while self.more and not self._stop and self.seconds <= self._limit:
            before = self.seconds
            self.more = self._turn(forward, budget)
            self.seconds = time.thread_time() - begin
            budget = next_budget(budget, self.seconds - before, SLICE)
        self.started = forward.started

    def _turn(self, forward: Any, budget: int) -> bool:
        """One slice: whether there is more to do."""
        return forward.advance(self._until, budget)


class InThread(Aside):
    """An Aside in a thread of its own, for a policy that is compiled and our own.  Raises what `make` raises, which is
    called by the caller's thread."""

    def __init__(self, make: Callable[[], Any], until: Optional[float], limit: float) -> None:
        super().__init__(make, until, limit)
        self._forward = make()
        self._thread = threading.Thread(target=self._run, name="whatif", daemon=True)
        self._thread.start()

    @property
    def going(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

    def end(self) -> None:
        """Have it end soon, and wait until it has."""
        self._stop = True
        self._thread.join()

    def add(self, comparison: Comparison, until: float) -> int:
        """From the engine that was run."""
        return comparison.add(self._forward, until)

    def _run(self) -> None:
        try:
            self._advance(self._forward)
        except Exception as error:
            self.error = problem(error)


def problem(error: BaseException) -> str:
    """What is told of an error in a policy: whatever it is, it is its author's to know."""
    told = isinstance(error, (PluginError, deadline.Overrun))
    return str(error) if told else f"{type(error).__name__}: {error}"
