# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""When running jobs end: the one place that knows.

Three sources say so: the R of a job as it is now (with the updates that are in its event log), ``sched.expiration``,
which changes it, and the end of the instance. A job without a time limit ends with the instance: its R says so, and
when a parent instance moves that end, its R moves, too (the job manager does it, and does not tell the scheduler).

A job with a limit keeps it in its R, also beyond the end of the instance: flux-core refuses such a job at submission,
and starts one that got in before. In the plan all ends with the instance.
"""

from __future__ import annotations

from typing import Iterable

from fluxsched.core import Engine
from fluxsched.service.jobs import Job

__all__ = ["Ends"]

# Seconds by which two ends may differ and be the same.
SAME = 1e-3


class Ends:
    """The ends of the jobs of one Service. `instance` is that of the instance, in seconds since the epoch; 0: none."""

    def __init__(self) -> None:
        self.instance = 0.0
        self._unlimited: set[int] = set()       # ids of running jobs without a time limit of their own

    def planned(self, expiration: float) -> float:
        """When a job whose R ends at `expiration` (0: never) gives its resources back; 0: never."""
        return min((end for end in (expiration, self.instance) if end), default=0.0)

    def reached(self, when: float) -> bool:
        """Whether the instance has ended by `when`, which the engine has in whole microseconds."""
        return 0 < self.instance <= when + SAME

    def starts(self, job: Job, now: float) -> None:
        """The job starts: its time limit decides when it ends."""
        assert job.request is not None
        job.starttime = now
        if job.request.duration > 0:
            job.expiration = now + job.request.duration
            self._unlimited.discard(job.id)
        else:
            job.expiration = self.instance
            self._unlimited.add(job.id)

    def found(self, engine: Engine, job: Job, starttime: float, expiration: float) -> None:
        """The job was running when the scheduler was loaded, and its R, as it is now, says this."""
        job.starttime = starttime
        job.expiration = expiration
        # Its jobspec is not at hand; one that ends with the instance has no limit.
        if not expiration or abs(expiration - self.instance) < SAME:
            self._unlimited.add(job.id)
        engine.update_expiration(job.id, self.planned(expiration))

    def changes(self, engine: Engine, job: Job, expiration: float) -> bool:
        """The job is to end at `expiration` (0: it has no limit any more). False if it holds nothing."""
        if not engine.update_expiration(job.id, self.planned(expiration)):
            return False
        job.expiration = expiration
        (self._unlimited.discard if expiration else self._unlimited.add)(job.id)
        return True

    def moves(self, engine: Engine, jobs: Iterable[Job], instance: float) -> None:
        """The instance is to end at `instance` (0: never), and `jobs` hold resources in it."""
        self.instance = instance
        engine.set_expiration(instance)
        for job in jobs:
            if job.id in self._unlimited:
                job.expiration = instance
            engine.update_expiration(job.id, self.planned(job.expiration))

    def forget(self, jobid: int) -> None:
        """The job holds nothing any more."""
        self._unlimited.discard(jobid)
