# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""From the start of a job until it has given all back: R is written, then success is answered, then it is freed.

Jobs are committed to the KVS in batches, and answered when the commit is durable. A job that is freed while its commit
is under way keeps its resources until the commit is done.
"""

from __future__ import annotations

import functools
from typing import Any, Callable, Iterable, Optional

from fluxsched.core import Engine
from fluxsched.formats import r as _r
from fluxsched.service import rdl_match
from fluxsched.service.answers import Answers
from fluxsched.service.ends import Ends
from fluxsched.service.guard import Guard
from fluxsched.service.host import LOG_DEBUG, Host
from fluxsched.service.jobs import COMMITTING, RUNNING, STARTED, Job, Jobs
from fluxsched.service.lwj_writer import Recorder
from fluxsched.service.resources import Resources

__all__ = ["Committer"]

#: Jobs committed in one transaction; the event loop runs between two.
BATCH = 32


class Committer:
    """Commits started jobs, and frees those that hold resources.

    `engine()` answers the engine of now; `ask()` asks for a pass, as resources came free; `over()` is told when a
    transaction is done.
    """

    def __init__(
        self,
        host: Host,
        guard: Guard,
        engine: Callable[[], Engine],
        resources: Resources,
        jobs: Jobs,
        answers: Answers,
        ends: Ends,
        recorder: Recorder,
        ask: Callable[[], None],
        over: Callable[[], None],
    ) -> None:
        self._host = host
        self._guard = guard
        self._engine = engine
        self._resources = resources
        self._jobs = jobs
        self._answers = answers
        self._ends = ends
        self._recorder = recorder
        self._ask = ask
        self._over = over
        self.commits = 0
        self.freed = 0
        self._starting: dict[int, Job] = {}     # by id, in the order of their starts
        self._under_way = 0                     # transactions that are not durable yet

    @property
    def idle(self) -> bool:
        """Whether every job that was started has been answered."""
        return not self._starting and not self._under_way

    def clear(self) -> None:
        """Count from 0 again."""
        self.commits = self.freed = 0

    def start(self, jobs: Iterable[Job], now: float) -> None:
        """Jobs that the engine has started at `now`, in order."""
        idle = not self._starting
        for job in jobs:
            self._jobs.move(job, STARTED)
            self._ends.starts(job, now)
            self._starting[job.id] = job
        if idle:
            self._commit()

    def take_back(self, job: Job) -> None:
        """A job that was started, but is not on its way to the KVS yet, holds nothing any more."""
        del self._starting[job.id]
        self._engine().free(job.id)

    def free(self, job: Job, ranks: Optional[str], final: bool) -> None:
        """A job that holds resources gives back those of `ranks` (None: all), and with `final` all that is left."""
        if job.stage != RUNNING:
            job.freed += ((ranks, final),)
            return
        self.freed += 1
        if final:
            self._jobs.remove(job)
            self._recorder.released(job.id)
            self._ends.forget(job.id)
        try:
            self._engine().free(job.id, ranks, final)
        finally:
            self._ask()

    def _commit(self) -> None:
        """Commit the next batch of started jobs."""
        batch: list[tuple[Job, dict, str]] = []
        puts = {}
        while self._starting and len(batch) < BATCH:
            job = self._starting.pop(next(iter(self._starting)))
            try:
                R = self._engine().R(job.id, job.starttime, job.expiration)
                entry = (job, R, _r.summary(R))
                put = rdl_match.with_scheduling(R, self._resources.scheduling)
                self._recorder.allocated(job, R)
            except Exception as error:
                self._cannot_start(job, error)
                continue
            batch.append(entry)
            puts[f"R:{job.id}"] = put
            self._jobs.move(job, COMMITTING)
        self._recorder.later()
        if batch:
            self.commits += 1
            self._under_way += 1
            try:
                self._host.commit(puts, self._guard(functools.partial(self._committed, batch)))
            except Exception as error:
                self._guard.fatal(f"commit of R for {len(batch)} jobs failed", error)
                return
        if self._starting:
            self._host.call_soon(self._guard(self._commit))

    def _cannot_start(self, job: Job, error: Exception) -> None:
        self._guard.report(f"job {self._host.job_name(job.id)}", error)
        self._engine().free(job.id)
        self._jobs.remove(job)
        self._answers.deny(job, f"the scheduler cannot start this job: {type(error).__name__}: {error}")
        self._ask()

    def _committed(self, batch: list[tuple[Job, dict, str]], error: Optional[Exception]) -> None:
        self._under_way -= 1
        if error is not None:
            self._guard.fatal(f"commit of R for {len(batch)} jobs failed", error)
            return
        for job, R, summary in batch:
            try:
                if any(final for _, final in job.freed):
                    self._withdraw(job)
                else:
                    self._succeed(job, R, summary)
            except Exception as problem:
                self._guard.report(f"job {self._host.job_name(job.id)}", problem)
        self._recorder.later()
        self._over()

    def _withdraw(self, job: Job) -> None:
        """The job was given back before its holder had it: nobody runs on it."""
        self._engine().free(job.id)
        self._recorder.record.withdrawn(job.id)
        self._jobs.remove(job)
        self._answers.cancel(job)
        self._ask()

    def _succeed(self, job: Job, R: dict, summary: str) -> None:
        record = self._recorder.record
        self._jobs.move(job, RUNNING)
        note: dict[str, Any] = dict.fromkeys(job.sent)
        note["selection_type"] = self._engine().selection(job.id)
        note["resource_summary"] = summary
        job.sent = {}
        self._answers.succeed(job, R, note)
        job.message = None
        record.requested(job.id)
        number = record.number(job.id)
        label = f" (lwj.{number})" if number else ""
        self._host.log(LOG_DEBUG, f"job {self._host.job_name(job.id)}{label}: allocated {summary}")
        freed, job.freed = job.freed, ()
        for ranks, final in freed:
            self.free(job, ranks, final)
