# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""From the start of a job to the answer: R and record are written, then success is answered.

Jobs are committed to the KVS in batches, and answered when the commit is durable. A job that is freed while its commit
is under way keeps its resources until the commit is done.
"""

from __future__ import annotations

import collections
import functools
from typing import Any, Callable, Iterable, Optional

from fluxsched.core import Engine
from fluxsched.formats import r as _r
from fluxsched.service import rdl_match
from fluxsched.service.ends import Ends
from fluxsched.service.host import LOG_DEBUG, Host
from fluxsched.service.lwj import RANKS_MAX, flat, nested
from fluxsched.service.lwj_writer import Recorder
from fluxsched.service.protocol import COMMITTING, RUNNING, STARTED, Job
from fluxsched.service.resources import Resources

__all__ = ["Committer"]

#: Jobs committed in one transaction; the event loop runs between two.
BATCH = 32


class Answers:
    """What the Committer asks of its owner: the answers that end or go on from a job's start."""

    def succeed(self, job: Job, R: dict, annotations: dict[str, Any]) -> None:
        """The job has R, which is durable."""
        raise NotImplementedError

    def deny(self, job: Job, reason: str) -> None:
        """The job cannot be started."""
        raise NotImplementedError

    def withdraw(self, job: Job) -> None:
        """The job was given back before it had its answer."""
        raise NotImplementedError

    def release(self, job: Job, ranks: Optional[str], final: bool) -> None:
        """The job gave back resources while it was committed."""
        raise NotImplementedError

    def ask(self) -> None:
        """Resources came free: ask for a pass."""
        raise NotImplementedError

    def report(self, what: str, error: BaseException) -> None:
        """A fault of ours, for the log."""
        raise NotImplementedError

    def fatal(self, text: str, error: BaseException) -> None:
        """The KVS does not take R: the module cannot go on."""
        raise NotImplementedError


class Committer:
    """Commits started jobs. `engine` answers the engine of now; `guarded` wraps callbacks."""

    def __init__(
        self,
        host: Host,
        engine: Callable[[], Engine],
        resources: Resources,
        ends: Ends,
        recorder: Recorder,
        answers: Answers,
        guarded: Callable[..., Callable[..., None]],
    ) -> None:
        self._host = host
        self._engine = engine
        self._resources = resources
        self._ends = ends
        self._recorder = recorder
        self._answers = answers
        self._guarded = guarded
        self.commits = 0
        self._starting: collections.deque[Job] = collections.deque()
        self._under_way = 0         # transactions that are not durable yet

    @property
    def idle(self) -> bool:
        """Whether every job that was started has been answered."""
        return not self._starting and not self._under_way

    def start(self, jobs: Iterable[Job], now: float) -> None:
        """Jobs that the engine has started at `now`, in order."""
        idle = not self._starting
        for job in jobs:
            job.stage = STARTED
            self._ends.starts(job, now)
            self._starting.append(job)
        if idle:
            self._commit()

    def take_back(self, job: Job) -> None:
        """A job that was started, but is not on its way to the KVS yet, holds nothing any more."""
        self._starting.remove(job)
        self._engine().free(job.id)

    def _commit(self) -> None:
        """Commit the next batch of started jobs."""
        batch: list[tuple[Job, dict, str]] = []
        puts = {}
        while self._starting and len(batch) < BATCH:
            job = self._starting.popleft()
            try:
                R = self._engine().R(job.id, job.starttime, job.expiration)
                batch.append((job, R, _r.summary(R)))
                if self._recorder.record.keep:
                    self.stage_allocation(job, R)
            except Exception as error:
                self._answers.report(f"job {self._host.job_name(job.id)}", error)
                batch = [entry for entry in batch if entry[0] is not job]
                self._engine().free(job.id)
                self._answers.deny(job, f"the scheduler cannot start this job: {type(error).__name__}: {error}")
                self._answers.ask()
                continue
            puts[f"R:{job.id}"] = rdl_match.with_scheduling(R, self._resources.scheduling)
            job.stage = COMMITTING
        self._recorder.later()
        if batch:
            self.commits += 1
            self._under_way += 1
            try:
                self._host.commit(puts, self._guarded(functools.partial(self._committed, batch)))
            except Exception as error:
                self._answers.fatal(f"commit of R for {len(batch)} jobs failed", error)
                return
        if self._starting:
            self._host.call_soon(self._guarded(self._commit))

    def stage_allocation(self, job: Job, R: Optional[dict] = None) -> None:
        """Note the allocation of a job for the record."""
        engine = self._engine()
        if R is None:
            R = engine.R(job.id)
        assert job.request is not None
        held = _r.folded(R)
        nodes = sum(rdl_match.count(ranks) for ranks, _, _ in held)
        slots = job.request.nslots * (nodes if job.request.nnodes else 1)
        if self._resources.described and nodes <= RANKS_MAX:
            tree = nested(engine.tree_part(job.id))
        else:
            tree = flat(held, R["execution"]["nodelist"], self._resources.host_of)
        self._recorder.record.allocated(job.id, job.starttime, job.jobspec, slots, nodes, held, tree)
        job.jobspec = None

    def _committed(self, batch: list[tuple[Job, dict, str]], error: Optional[Exception]) -> None:
        self._under_way -= 1
        if error is not None:
            self._answers.fatal(f"commit of R for {len(batch)} jobs failed", error)
            return
        for job, R, summary in batch:
            try:
                if any(final for _, final in job.freed):
                    # Its holder gave it back before it had it: nobody runs on it.
                    self._engine().free(job.id)
                    self._recorder.record.withdrawn(job.id)
                    self._answers.withdraw(job)
                    self._answers.ask()
                else:
                    self._succeed(job, R, summary)
            except Exception as problem:
                self._answers.report(f"job {self._host.job_name(job.id)}", problem)
        self._recorder.later()

    def _succeed(self, job: Job, R: dict, summary: str) -> None:
        record = self._recorder.record
        job.stage = RUNNING
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
        freed, job.freed = job.freed, []
        for ranks, final in freed:
            self._answers.release(job, ranks, final)
