# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is foretold of each job of a simulation when it is submitted, and how that compares with what happens.

The forecasts are those of the scheduler's service (fluxsched.service.forecast): made on copies of the engine, from what
is known at the time, which is the jobs that are there and what their users' earlier jobs did.
"""
from __future__ import annotations

from typing import Dict, List, Tuple

import numpy as np

from fluxsched.service.coverage import LIKELY, Coverage
from fluxsched.service.forecast import RUNS
from fluxsched.simulate.loop import Loop
from fluxsched.simulate.metrics import Foretold, Result

#: Errors that are counted, s, and what they are called.
WITHIN = ((60.0, "1 min"), (600.0, "10 min"), (3600.0, "1 h"))


class Watch:
    """Foretells the jobs of a loop.

    most: so many jobs at the most are foretold, evenly over the trace; 0: all.
    """

    def __init__(self, loop: Loop, submit: np.ndarray, most: int, follows: np.ndarray) -> None:
        """submit: int64 (n,), µs, ascending: when the jobs come. follows: places of jobs that come after others have
        ended, and are not foretold."""
        self._loop = loop
        self._submit = submit
        self._coverage = Coverage()
        self._open: Dict[int, float] = {}            # jobs that wait: their t_late, µs
        n = len(submit)
        every = -(-n // most) if most else 1
        self._chosen = np.zeros(n, dtype=bool)
        self._chosen[::every] = True
        self._chosen[follows] = False
        self.estimate, self.likely, self.late = (np.full(n, np.nan) for _ in range(3))
        # The time of each arrival, and the first job beyond it.
        self._times, first = np.unique(submit, return_index=True)
        self._bounds = np.append(first, n)
        self._next = 0

    def advance(self, until: int) -> bool:
        """Run to the next arrival, or to the end, or to `until` (µs); whether there is more to do."""
        if self._next == len(self._times) or self._times[self._next] > until:
            more: bool = self._loop.advance(until, 0.05)
            return more
        while self._loop.advance(int(self._times[self._next]), 1.0):
            pass
        self._learn()
        for job in range(self._bounds[self._next], self._bounds[self._next + 1]):
            if self._chosen[job] and not self._loop.denied[job]:
                self._foretell(job)
        self._next += 1
        return True

    def _learn(self) -> None:
        """What has started since: whether it did so in time."""
        started = [(self._loop.start[job], job) for job in self._open if self._loop.start[job] >= 0]
        for start, job in sorted(started):
            self._coverage.note(start <= self._open.pop(job))

    def _foretell(self, job: int) -> None:
        now = int(self._submit[job])
        if self._loop.start[job] >= 0:
            self.estimate[job] = self.likely[job] = self.late[job] = now / 1e6
            return
        asked = self._run(job, False, 0)
        self.estimate[job] = self.likely[job] = self.late[job] = asked
        if not self._loop.history.users:
            return
        drawn = np.sort([self._run(job, True, seed) for seed in range(RUNS)])
        self.likely[job] = drawn[int(np.ceil(LIKELY * RUNS)) - 1]
        self.late[job] = self._coverage.late(drawn.tolist(), now / 1e6)
        self._open[job] = self.late[job] * 1e6 if not np.isnan(self.late[job]) else np.inf

    def _run(self, job: int, drawn: bool, seed: int) -> float:
        """The start of a job in one run forward, s; NaN: it has none."""
        forward = self._loop.forward(job, drawn, seed)
        forward.advance()
        start = self._loop.foretold(forward, job)
        return float(start) / 1e6 if start >= 0 else float("nan")

    def foretold(self) -> Foretold:
        """All that was foretold."""
        return Foretold(self.estimate, self.likely, self.late)


def accuracy(result: Result) -> List[Tuple[str, Dict[str, float]]]:
    """How good the forecasts of a result were: for all jobs that were foretold and have started, and for those of them
    that had to wait, (what they are called, their measures by name).

    Measures: jobs, the number of them; for estimate and likely the shares of which the start was within 1 min, 10 min
    and 1 h of what was foretold ("estimate within 1 min"), and the mean error in s ("estimate error"); for all three
    the share that started no later ("late held").
    """
    assert result.foretold is not None
    told = result.foretold
    known = ~np.isnan(told.estimate) & ~np.isnan(result.start)
    waited = known & (result.start > result.trace.submit)
    return [(what, _measures(result, which)) for what, which in (("all jobs", known), ("jobs that waited", waited))]


def _measures(result: Result, which: np.ndarray) -> Dict[str, float]:
    told = result.foretold
    assert told is not None
    start = result.start[which]
    out: Dict[str, float] = {"jobs": float(len(start))}
    for name in ("estimate", "likely", "late"):
        foretold = getattr(told, name)[which]
        error = np.abs(start - foretold)
        if name != "late":
            for seconds, text in WITHIN:
                out[f"{name} within {text}"] = float((error <= seconds).mean()) if len(start) else float("nan")
            out[f"{name} error"] = float(np.nanmean(error)) if len(start) else float("nan")
        held = (start <= foretold + 1e-6) | np.isnan(foretold)
        out[f"{name} held"] = float(held.mean()) if len(start) else float("nan")
    return out
