# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""When scheduling passes run.

The pass itself is the engine's. Here it is asked for, once for a burst of requests, and run in slices of some
milliseconds: between two slices the host handles the messages that have come, and what a slice started goes out at
once, however long the whole pass takes.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Optional

from fluxsched.core import Engine
from fluxsched.service.host import Host
from fluxsched.service.slices import next_budget

__all__ = ["Passes"]

#: Seconds that a slice of a pass is to take.
SLICE = 0.01
#: Jobs that the policy is asked about in the first slice of a pass, at most; their cost tells how many the next takes.
FIRST = 32
#: A pass that takes long is followed by a pause as long as itself, up to this.
PAUSE_MAX = 0.5
#: One that takes less than this needs no pause.
PAUSE_MIN = 0.002
#: Estimates are renewed when the earliest of them has passed, but not more often.
REFRESH_MIN = 5.0


class Passes:
    """Runs the passes of an engine.

    `engine` answers the engine of now. `denied(jobid, reason)` and `started(jobids, now)` are told what a slice
    decided, `over()` that a pass has come to its end, and `failed(error, now)` that the engine raised. `guarded` wraps
    callbacks.
    """

    def __init__(
        self,
        host: Host,
        engine: Callable[[], Engine],
        denied: Callable[[int, str], None],
        started: Callable[[list[int], float], None],
        over: Callable[[], None],
        failed: Callable[[Exception, float], None],
        guarded: Callable[..., Callable[..., None]],
    ) -> None:
        self._host = host
        self._engine = engine
        self._denied = denied
        self._started = started
        self._over = over
        self._failed = failed
        self._guarded = guarded
        self.count = 0          # passes that came to their end
        self.slices = 0
        self.seconds = 0.0      # in the engine, all passes
        self.longest = 0.0      # the longest pass
        self.longest_slice = 0.0
        self._open = False      # passes may run
        self._asked = False     # a pass has been asked for, or goes on
        self._again = False     # asked for while a pass goes on
        self._took = 0.0        # the pass that goes on, so far
        self._first = FIRST
        self._limit = FIRST
        self._pause_until = 0.0
        self._refresh_timer: Optional[Any] = None

    @property
    def idle(self) -> bool:
        """Whether no pass is asked for or goes on."""
        return not self._asked

    def open(self) -> None:
        """Passes may run from now on."""
        self._open = True

    def stop(self) -> None:
        """The end: no pass runs any more."""
        self._open = False
        if self._refresh_timer is not None:
            self._refresh_timer.cancel()

    def clear(self) -> None:
        """Count from 0 again."""
        self.count = self.slices = 0
        self.seconds = self.longest = self.longest_slice = 0.0

    def ask(self) -> None:
        """Ask for a pass: soon, or after the pause that a long one earns."""
        if not self._open:
            return
        if self._asked:
            self._again = True
            return
        self._asked = True
        pause = self._pause_until - time.monotonic()
        if pause > 0:
            self._host.call_later(pause, self._guarded(self._begin))
        else:
            self._host.call_soon(self._guarded(self._begin))

    def _begin(self) -> None:
        self._again = False
        self._took = 0.0
        self._limit = self._first
        self._slice()

    def _slice(self) -> None:
        """The next slice of the pass."""
        if not self._open:
            return
        begin, now = time.monotonic(), self._host.now()
        more = False
        try:
            outcome = self._engine().schedule(now, self._limit)
            more = outcome.more
        except Exception as error:
            self._end()
            self._failed(error, now)
            return
        finally:
            took = time.monotonic() - begin
            self._took += took
            self.seconds += took
            self.slices += 1
            self.longest_slice = max(self.longest_slice, took)
        try:
            for jobid, reason in outcome.denied:
                self._denied(jobid, reason)
        finally:
            if outcome.started:
                self._started(outcome.started, now)
            if more:
                self._adapt(took)
                self._host.call_soon(self._guarded(self._slice))
            else:
                self._end()
                self._over()

    def _adapt(self, took: float) -> None:
        """Choose the length of the next slice by how long this one took."""
        self._limit = next_budget(self._limit, took, SLICE)
        self._first = min(FIRST, self._limit)

    def _end(self) -> None:
        """The pass is over: the next one may come, after a pause if this was long."""
        self.count += 1
        self.longest = max(self.longest, self._took)
        self._asked = False
        if self._took > PAUSE_MIN:
            self._pause_until = time.monotonic() + min(self._took, PAUSE_MAX)
        self._refresh_later()
        if self._again:
            self.ask()

    def _refresh_later(self) -> None:
        """Plan anew once the earliest planned start has passed without its job starting."""
        if self._refresh_timer is not None:
            self._refresh_timer.cancel()
            self._refresh_timer = None
        first = self._engine().first_estimate()
        if first is not None:
            delay = max(first - self._host.now(), REFRESH_MIN)
            self._refresh_timer = self._host.call_later(delay, self._guarded(self.ask))
