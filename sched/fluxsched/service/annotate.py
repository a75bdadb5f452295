# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What waiting jobs are told: why they wait, and when they are going to start.

A reason is a fact about the job, which the engine finds out when it is asked; a start is foretold by a run forward. So
nothing is told by a pass. When something has changed the waiting jobs are looked at in turn, new ones first and then
some at a time from the head of the queue; of these those are told first for which most has changed. All within a
budget: at most RATE annotations a second for all jobs together, and for one job at most one in HOLD seconds after its
first. Of a start, moves of less than a second or a hundredth of the wait are not told.

A reason may take the engine a while to find out, with thousands of jobs that run, so a look is taken in slices.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from typing import Any, Callable, Generator, Iterable, Optional

from fluxsched.core import Engine
from fluxsched.service.forecast import Forecast
from fluxsched.service.host import Host
from fluxsched.service.jobs import PENDING, Job, Jobs
from fluxsched.service.reasons import Line, Reasons

__all__ = ["Annotator"]

#: Annotations a second for all jobs together, and how many may come at once.
RATE = 100
#: Seconds after an annotation of a job before the next.
HOLD = 3.0
#: Seconds from one look at the queue to the next, and how many jobs each takes in.
INTERVAL = 0.5
LOOKS = 200
#: Seconds that a slice of a look is to take.
SLICE = 0.01
#: Of these so many at the head of the queue, whenever something has changed.
HEAD = 50
#: How many jobs that have gone meanwhile a look passes over, at most.
GONE = 20000

#: What is told of the start of a job.
TIMES = ("t_estimate", "t_likely", "t_late")


class Annotator:
    """Tells waiting jobs what has changed for them.

    `jobs` are those of the service; `engine` answers the engine of now; `reasons` makes the lines; `forecast` says when
    jobs start; `tell(job, changed)` sends an annotation; `ended(t)` says whether the instance is over by t, when no job
    starts any more; `guarded` wraps callbacks.
    """

    def __init__(
        self,
        host: Host,
        jobs: Jobs,
        engine: Callable[[], Engine],
        reasons: Reasons,
        forecast: Forecast,
        tell: Callable[[Job, dict[str, Any]], None],
        ended: Callable[[float], bool],
        guarded: Callable[..., Callable[..., None]],
    ) -> None:
        self._host = host
        self._jobs = jobs
        self._engine = engine
        self._reasons = reasons
        self._forecast = forecast
        self._tell = tell
        self._ended = ended
        self._guarded = guarded
        self._new: deque[int] = deque()         # jobs that were told nothing yet, in order
        self._place: Optional[int] = None       # where this round goes on in the queue, None if it is over
        self._changed = False                   # since the round began
        self._held = False                      # in this round a job was passed over that was told just now
        self._told: deque[float] = deque()      # when the annotations of the last second were sent
        self._timer: Optional[Any] = None
        self._looking = False                   # a look goes on

    def added(self, jobid: int) -> None:
        """A job waits from now on."""
        self._new.append(jobid)

    def changed(self) -> None:
        """A pass is over, or there is a new forecast: what is true of the jobs may have changed."""
        self._changed = True
        if self._timer is None and not self._looking:
            self._look()

    def stop(self) -> None:
        """The end: tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        """Look at the next jobs, and tell what has changed."""
        self._timer = None
        self._looking = True
        self._go_on(self._steps())

    def _go_on(self, steps: Iterable[None]) -> None:
        """The next slice of a look."""
        until = time.monotonic() + SLICE
        over = True
        try:
            for _ in steps:
                if time.monotonic() >= until:
                    over = False
                    self._host.call_soon(self._guarded(functools.partial(self._go_on, steps)))
                    return
        finally:
            self._looking = not over
        if self._new or self._changed or self._held or self._place is not None:
            self._timer = self._host.call_later(INTERVAL, self._guarded(self._look))

    def _steps(self) -> Generator[None, None, None]:
        """A look at the next jobs, a job at each step."""
        looks = LOOKS
        # A flood of new jobs leaves half of the budget to those that are ahead.
        least = self._left() // 2 if len(self._new) > LOOKS else 0
        gone = GONE
        while looks and gone and self._new and self._left() > least:
            jobid = self._new.popleft()
            while gone and self._new and jobid not in self._jobs:
                jobid = self._new.popleft()
                gone -= 1
            looks -= yield from self._tell_most([jobid])
        if self._place is None and (self._changed or self._held):
            self._changed = self._held = False
            self._place = 0
        elif self._place and looks > HEAD and self._left():
            looks -= HEAD
            yield from self._tell_most(self._engine().waiting(0, HEAD))
        if looks and self._left() and self._place is not None:
            # Jobs that move up meanwhile are passed over until the next round.
            ids = self._engine().waiting(self._place, looks)
            yield from self._tell_most(ids)
            # Where the budget ended the next look goes on.
            if self._left():
                self._place = self._place + len(ids) if len(ids) == looks else None

    def _left(self) -> int:
        """How many annotations may be sent now, so that there are RATE at the most in any second."""
        now = self._host.now()
        while self._told and not 0.0 <= now - self._told[0] <= 1.0:
            self._told.popleft()
        return RATE - len(self._told)

    def _tell_most(self, ids: list[int]) -> Generator[None, None, int]:
        """Tell these jobs what has changed, those first for which it is most, as far as the budget goes. How many of
        them still wait."""
        now, waiting, left = self._host.now(), 0, self._left()
        found: list[tuple[float, int, Job, dict[str, Any], Optional[Line]]] = []
        for jobid in ids:
            job = self._jobs.get(jobid)
            if job is None or job.stage != PENDING:
                continue
            waiting += 1
            changed, line = self._compare(job, now)
            if changed:
                found.append((-_weight(job, changed, now), len(found), job, changed, line))
            yield
        for _, _, job, changed, line in sorted(found, key=lambda row: row[:2]):
            if not left:
                break
            if job.stage != PENDING or self._jobs.get(job.id) is not job:
                continue  # it was started or cancelled between two steps
            if job.told_at is not None and 0 <= now - job.told_at < HOLD:
                self._held = True
                continue
            left -= 1
            self._told.append(now)
            job.told_at = now
            if line is not None:
                job.reason = line
            job.sent.update(changed)
            job.sent = {key: value for key, value in job.sent.items() if value is not None}
            self._tell(job, changed)
        return waiting

    def _compare(self, job: Job, now: float) -> tuple[dict[str, Any], Optional[Line]]:
        """What has changed for a job since it was told, and its reason, if that has."""
        estimate, outlook = self._engine().estimate(job.id), self._forecast.get(job.id)
        if estimate is not None and self._ended(estimate):
            estimate = None
        wanted: dict[str, Any] = {"t_estimate": estimate}
        if outlook is not None and (estimate is None or self._forecast.fresh):
            wanted["t_estimate"] = outlook.t_estimate
        if outlook is not None:
            wanted.update(t_likely=outlook.t_likely, t_late=outlook.t_late)
        line: Optional[Line] = self._reasons.line(job, now)
        if line is not None and outlook is not None and wanted["t_estimate"] is None:
            line = line.with_end(outlook.reason)
        # Without a line nothing keeps it: the next pass decides.
        if line is not None and line.differs(job.reason, now):
            wanted["reason_pending"] = line.text
        else:
            line = None
        changed = {}
        for key, value in wanted.items():
            told = job.sent.get(key)
            if value == told:
                continue
            if key in TIMES and value is not None and told is not None:
                if abs(value - told) < max(1.0, (told - now) / 100):
                    continue
            changed[key] = value
        return changed, line


def _weight(job: Job, changed: dict[str, Any], now: float) -> float:
    """How much has changed for a job: the largest move of its start, as a part of the wait that it was told, and as 1
    what it was not told at all."""
    weight = 0.0
    for key, value in changed.items():
        told = job.sent.get(key)
        if value is None or told is None or key not in TIMES:
            weight = max(weight, 1.0)
        else:
            weight = max(weight, abs(value - told) / max(told - now, 1.0))
    return weight
