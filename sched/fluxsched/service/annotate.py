# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What waiting jobs are told: why they wait, and when they are planned to start.

A reason is a fact about the job, which the engine finds out when it is asked. So nothing is told by a pass. After a
pass the waiting jobs are looked at in turn, new ones first and then from the head of the queue, as far as the budget
goes: at most RATE annotations a second for all jobs together, and for one job at most one in HOLD seconds after its
first. Of an estimate, moves of less than a second or a hundredth of the wait are not told; a reason is told again when
it means something else, and not whenever one of its numbers changes.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Optional

from fluxsched.core import Engine
from fluxsched.service.host import Host
from fluxsched.service.jobs import PENDING, Job, Jobs
from fluxsched.service.reasons import Reasons

__all__ = ["Annotator"]

#: Annotations a second for all jobs together, and how many may come at once.
RATE = 100.0
#: Seconds after an annotation of a job before the next.
HOLD = 3.0
#: Seconds from one look at the queue to the next, and how many jobs each takes in.
INTERVAL = 0.5
LOOKS = 100


class Annotator:
    """Tells waiting jobs what has changed for them.

    `jobs` are those of the service; `engine` answers the engine of now; `reasons` makes the lines; `tell(job, changed)`
    sends an annotation; `ended(t)` says whether the instance is over by t, when no job starts any more; `guarded` wraps
    callbacks.
    """

    def __init__(
        self,
        host: Host,
        jobs: Jobs,
        engine: Callable[[], Engine],
        reasons: Reasons,
        tell: Callable[[Job, dict[str, Any]], None],
        ended: Callable[[float], bool],
        guarded: Callable[..., Callable[..., None]],
    ) -> None:
        self._host = host
        self._jobs = jobs
        self._engine = engine
        self._reasons = reasons
        self._tell = tell
        self._ended = ended
        self._guarded = guarded
        self._new: deque[int] = deque()         # jobs that were told nothing yet, in order
        self._place: Optional[int] = None       # where this round goes on in the queue, None if it is over
        self._changed = False                   # since the round began
        self._held = False                      # in this round a job was passed over that was told just now
        self._left = RATE                       # what is left of the budget
        self._filled_at = host.now()
        self._timer: Optional[Any] = None

    def added(self, jobid: int) -> None:
        """A job waits from now on."""
        self._new.append(jobid)

    def after_pass(self) -> None:
        """A pass is over: what is true of the jobs may have changed."""
        self._changed = True
        if self._timer is None:
            self._look()

    def stop(self) -> None:
        """The end: tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        """Look at the next jobs, and tell what has changed."""
        self._timer = None
        self._fill()
        looks = LOOKS
        while looks and self._left >= 1.0 and self._new:
            looks -= self._see(self._new.popleft())
        if self._place is None and (self._changed or self._held):
            self._changed = self._held = False
            self._place = 0
        if looks and self._left >= 1.0 and self._place is not None:
            self._go_on(looks)
        if self._new or self._changed or self._held or self._place is not None:
            self._timer = self._host.call_later(INTERVAL, self._guarded(self._look))

    def _go_on(self, looks: int) -> None:
        """Look at the next jobs of the queue. Those that move up meanwhile are passed over until the next round."""
        assert self._place is not None
        ids = self._engine().waiting(self._place, looks)
        for jobid in ids:
            if self._left < 1.0:
                return
            self._place += 1
            self._see(jobid)
        if len(ids) < looks:
            self._place = None

    def _fill(self) -> None:
        now = self._host.now()
        # A clock that is set back, or far ahead, gives no more than one that goes.
        self._left = min(RATE, self._left + RATE * min(max(now - self._filled_at, 0.0), 1.0))
        self._filled_at = now

    def _see(self, jobid: int) -> bool:
        """Look at a job; False if it does not wait any more."""
        job = self._jobs.get(jobid)
        if job is None or job.stage != PENDING:
            return False
        self._compare(job)
        return True

    def _compare(self, job: Job) -> None:
        now = self._host.now()
        estimate, line = self._engine().estimate(job.id), self._reasons.line(job, now)
        if estimate is not None and self._ended(estimate):
            estimate = None
        # Without a line nothing keeps it: the next pass decides.
        again = line is None or not line.differs(job.reason, now)
        reason = job.sent.get("reason_pending") if line is None or again else line.text
        wanted = {"reason_pending": reason, "t_estimate": estimate}
        changed = {key: value for key, value in wanted.items() if job.sent.get(key) != value}
        told = job.sent.get("t_estimate")
        if "t_estimate" in changed and told is not None and estimate is not None:
            if abs(estimate - told) < max(1.0, (told - now) / 100):
                del changed["t_estimate"]
        if not changed:
            return
        if job.told_at is not None and 0 <= now - job.told_at < HOLD:
            self._held = True
            return
        self._left -= 1.0
        job.told_at = now
        job.reason = job.reason if again else line
        job.sent.update(changed)
        job.sent = {key: value for key, value in job.sent.items() if value is not None}
        self._tell(job, changed)
