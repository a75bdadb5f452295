# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""When scheduling passes run, and what follows from them.

The pass itself is the engine's. Here it is asked for, once for a burst of requests; then waiting jobs are told why
they wait, and started jobs are committed to the KVS in batches and answered when the commit is durable.
"""

import collections
import functools
import math
import time

from fluxsched.formats import jobspec as _jobspec
from fluxsched.formats import r as _r
from fluxsched.service import rdl_match
from fluxsched.service.host import LOG_DEBUG
from fluxsched.service.lwj import RANKS_MAX, flat, nested
from fluxsched.service.protocol import ANNOTATE, COMMITTING, PENDING, RUNNING, STARTED, SUCCESS

__all__ = ["Passes"]

# Jobs committed in one transaction; the event loop runs between two.
BATCH = 32
# A pass that takes long is followed by a pause as long as itself, up to this.
PAUSE_MAX = 1.0
# One that takes less than this needs no pause.
PAUSE_MIN = 0.002
# A job's estimate that only moves is told again after so many seconds: where every job has a reservation, each job that
# ends early moves all of them.
MOVED_DELAY = 1.0
# Estimates are renewed when the earliest of them has passed, but not more often.
REFRESH_MIN = 5.0


class Passes:
    """Of one Service, whose jobs, engine and record it works on."""

    def __init__(self, service):
        self.service = service
        self.host = service.host
        self.seconds = 0.0      # in the engine, all passes
        self.longest = 0.0
        self._asked = False
        self._pause_until = 0.0
        self._starting = collections.deque()
        self._refresh_timer = None
        self._refresh_at = math.inf
        self._moved = {}        # job id -> (reason, estimate) to be told
        self._moved_timer = None

    def ask(self):
        """Ask for a pass: soon, or after the pause that a long one earns."""
        service = self.service
        if self._asked or not service.ready or service.stopped:
            return
        self._asked = True
        pause = self._pause_until - time.monotonic()
        if pause > 0:
            self.host.call_later(pause, service.guarded(self._run))
        else:
            self.host.call_soon(service.guarded(self._run))

    def stop(self):
        for timer in (self._refresh_timer, self._moved_timer):
            if timer is not None:
                timer.cancel()

    def take_back(self, job):
        """A job that was started, but is not on its way to the KVS yet."""
        self._starting.remove(job)
        self.service.engine.free(job.id)

    def _run(self):
        service = self.service
        self._asked = False
        begin = time.monotonic()
        now = self.host.now()
        try:
            outcome = service.engine.schedule(now)
        except Exception as error:
            service.report("scheduling pass", error)
            self._reconcile(now)
            return
        finally:
            took = time.monotonic() - begin
            service.counts["passes"] += 1
            self.seconds += took
            self.longest = max(self.longest, took)
        try:
            for jobid, reason in outcome.denied:
                service.deny(service.jobs[jobid], reason)
            for jobid, reason, estimate in outcome.waiting:
                self._waits(service.jobs[jobid], reason, estimate, now)
        finally:
            self._start([service.jobs[jobid] for jobid in outcome.started], now)
            # What was told counts, too.
            end = time.monotonic()
            if end - begin > PAUSE_MIN:
                self._pause_until = end + min(end - begin, PAUSE_MAX)

    def _reconcile(self, now):
        """After a pass that failed half way: what it had started is started."""
        held = set(self.service.engine.running_jobs())
        self._start([job for job in self.service.jobs.values() if job.stage == PENDING and job.id in held], now)

    # -- jobs that wait -------------------------------------------------------

    def _waits(self, job, reason, estimate, now):
        if estimate is not None and self.service.ends.reached(estimate):
            estimate = None
        if estimate is not None:
            job.reserved = True
            self._refresh_by(max(estimate, now + REFRESH_MIN), now)
        told = job.sent.get("t_estimate")
        if None not in (told, estimate) and job.sent.get("reason_pending") == (reason or None):
            self._moved[job.id] = reason, estimate
            if self._moved_timer is None:
                self._moved_timer = self.host.call_later(MOVED_DELAY, self.service.guarded(self._tell_moved))
            return
        self._moved.pop(job.id, None)
        self._tell(job, reason, estimate)

    def _tell_moved(self):
        self._moved_timer = None
        moved, self._moved = self._moved, {}
        for jobid, (reason, estimate) in moved.items():
            job = self.service.jobs.get(jobid)
            if job is not None and job.stage == PENDING:
                self._tell(job, reason, estimate)

    def _tell(self, job, reason, estimate):
        wanted = {"reason_pending": reason or None, "t_estimate": estimate}
        changed = {key: value for key, value in wanted.items() if job.sent.get(key) != value}
        if not changed:
            return
        job.sent = {key: value for key, value in wanted.items() if value is not None}
        self.service.counts["annotate"] += 1
        self.service.answer(job, ANNOTATE, annotations={"sched": changed})

    def _refresh_by(self, when, now):
        """An estimate that passes without its job starting is to be renewed."""
        if when >= self._refresh_at:
            return
        if self._refresh_timer is not None:
            self._refresh_timer.cancel()
        self._refresh_at = when
        self._refresh_timer = self.host.call_later(when - now, self.service.guarded(self._refresh))

    def _refresh(self):
        self._refresh_at = math.inf
        self._refresh_timer = None
        now = self.host.now()
        estimates = [job.sent["t_estimate"] for job in self.service.jobs.values() if "t_estimate" in job.sent]
        if estimates:
            self._refresh_by(max(min(estimates), now + REFRESH_MIN), now)
            self.ask()

    # -- jobs that start ------------------------------------------------------

    def _start(self, jobs, now):
        if not jobs:
            return
        idle = not self._starting
        for job in jobs:
            job.stage = STARTED
            self.service.ends.starts(job, now)
        first = {}      # queue -> the foremost job that still waits
        for job in self.service.jobs.values():
            if job.stage == PENDING:
                queue = job.request.queue
                first[queue] = min(first.get(queue, job.order()), job.order())
        for job in jobs:
            if first.get(job.request.queue, job.order()) < job.order():
                kind = "backfilled"
            else:
                kind = "reserved" if job.reserved else "immediate"
            job.sent["selection_type"] = kind
            self._starting.append(job)
        if idle:
            self._commit()

    def _commit(self):
        """Commit the next batch of started jobs."""
        service = self.service
        batch = []
        puts = {}
        while self._starting and len(batch) < BATCH:
            job = self._starting.popleft()
            try:
                R = service.engine.R(job.id, job.starttime, job.expiration)
                batch.append((job, R, _r.summary(R)))
                if service.record.keep:
                    self.stage_allocation(job, R)
            except Exception as error:
                service.report(f"job {self.host.job_name(job.id)}", error)
                batch = [entry for entry in batch if entry[0] is not job]
                service.engine.free(job.id)
                service.deny(job, f"the scheduler cannot start this job: {type(error).__name__}: {error}")
                self.ask()
                continue
            puts[f"R:{job.id}"] = rdl_match.with_scheduling(R, service.resources.scheduling)
            job.stage = COMMITTING
        service.recorder.later()
        if batch:
            service.counts["commits"] += 1
            try:
                self.host.commit(puts, service.guarded(functools.partial(self._committed, batch)))
            except Exception as error:
                service.fatal(f"commit of R for {len(batch)} jobs failed", error)
                return
        if self._starting:
            self.host.call_soon(service.guarded(self._commit))

    def stage_allocation(self, job, R=None):
        """The allocation of a job, for the record."""
        service = self.service
        if R is None:
            R = service.engine.R(job.id)
        held = _r.folded(R)
        nodes = sum(rdl_match.count(ranks) for ranks, _, _ in held)
        cores = sum(rdl_match.count(ranks) * rdl_match.count(ids) for ranks, ids, _ in held)
        slots = job.request.nslots * (nodes if job.request.nnodes else 1)
        ntasks = _jobspec.task_count(job.jobspec, slots, nodes, cores)
        if service.resources.described and nodes <= RANKS_MAX:
            tree = nested(service.engine.tree_part(job.id))
        else:
            tree = flat(held, R["execution"]["nodelist"], service.resources.host_of)
        service.record.allocated(job.id, job.starttime, nodes, held, ntasks, tree)
        job.jobspec = None

    def _committed(self, batch, error):
        service = self.service
        if error is not None:
            service.fatal(f"commit of R for {len(batch)} jobs failed", error)
            return
        for job, R, summary in batch:
            try:
                if any(final for _, final in job.freed):
                    # Its holder gave it back before it had it: nobody runs on it.
                    service.engine.free(job.id)
                    service.record.withdrawn(job.id)
                    service.withdraw(job)
                    self.ask()
                else:
                    self._succeed(job, R, summary)
            except Exception as problem:
                service.report(f"job {self.host.job_name(job.id)}", problem)
        service.recorder.later()

    def _succeed(self, job, R, summary):
        service = self.service
        job.stage = RUNNING
        note = dict.fromkeys(job.sent)
        note["selection_type"] = job.sent["selection_type"]
        note["resource_summary"] = summary
        job.sent = {}
        service.counts["success"] += 1
        service.answer(job, SUCCESS, R=R, annotations={"sched": note})
        job.message = None
        service.record.requested(job.id)
        number = service.record.number(job.id)
        label = f" (lwj.{number})" if number else ""
        self.host.log(LOG_DEBUG, f"job {self.host.job_name(job.id)}{label}: allocated {summary}")
        freed, job.freed = job.freed, []
        for ranks, final in freed:
            service.release(job, ranks, final)
