# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What commands ask about jobs: lists, what is kept of a job, its events and output."""

from __future__ import annotations

import errno
import heapq
import time
from syslog import LOG_ERR

from fluxsched.formats import taskmap
from fluxsched.session.broker import job as jobs
from fluxsched.session.broker import layout
from fluxsched.session.broker.job import DEPEND, INACTIVE, RUN, SCHED, Job
from fluxsched.session.broker.job_manager import Manager
from fluxsched.session.broker.rpc import JOBID, Bool, Int, ListOf, Nullable, Number, Octets, Text, rpc
from fluxsched.session.broker.server import Request
from fluxsched.session.broker.watch import Watch
from fluxsched.session.errors import RequestError
from fluxsched.session.rset import held

STDIN_MAX = 1 << 20  # bytes in one request
MANY = 1 << 20  # ids in one request


class JobInfo:
    """Handles the requests that change nothing about a job, and those for its input."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager

    @rpc("job.watch", id=JOBID, output=Bool(True), events=Nullable(ListOf(Text(64), 64)))
    def watch(self, request: Request, id: int, output: bool, events: list | None) -> None:
        """Follow a job: a stream of {"event"}, those of the names `events` or all, and, with `output`, {"output"} until
        the job is over."""
        job = self.manager.lookup(id)
        Watch(request, job, self.manager.executor.output(id) if output else None, events)

    @rpc("job.stdin", id=JOBID, data=Octets(STDIN_MAX), eof=Bool(False))
    def stdin(self, request: Request, id: int, data: str, eof: bool) -> None:
        """Pass standard input to a job.  Answers {"open"} when there is room for more; with "wait" it was not taken."""
        job = self.manager.find(id)
        running = self.manager.executor.running.get(job.id)
        if running is None:
            request.respond({"open": job.state in (DEPEND, SCHED, RUN), "wait": True})
        else:
            running.stdin(data.encode("latin-1"), eof, lambda is_open: request.respond({"open": is_open}))

    @rpc("job.info", id=JOBID, key=Text(64))
    def info(self, request: Request, id: int, key: str) -> None:
        """Read what is kept of a job: its jobspec, R or eventlog.  Answers {"value"}."""
        job = self.manager.lookup(id)
        value: object = None
        if key == "jobspec":
            value = self.manager.full_jobspec(job)
        elif key == "R":
            value = job.R
        elif key == "eventlog":
            value = job.events
        if value is None:
            raise RequestError(errno.ENOENT, f"{key}: key not found")
        request.respond({"value": value})

    @rpc("job.taskmap", id=JOBID)
    def taskmap(self, request: Request, id: int) -> None:
        """Read where the tasks of a job are.  Answers {"map": blocks (RFC 34), "hosts": those of the job's nodes}."""
        job = self.manager.lookup(id)
        if job.R is None:
            raise RequestError(errno.ENOENT, f"{job.name} was never given resources")
        nodes = layout.nodes(self.manager.full_jobspec(job), job.R)
        request.respond({"map": taskmap.blocks(nodes), "hosts": [row[1] for row in held(job.R)]})

    @rpc(
        "job.list",
        ids=Nullable(ListOf(JOBID, MANY)),
        inactive=Bool(False),
        count=Int(0, 2**31 - 1, default=1000),
        since=Number(0, 1e12, default=0),
    )
    def list_jobs(self, request: Request, ids: list | None, inactive: bool, count: int, since: float) -> None:
        """List the jobs of `ids`; or the active ones, newest first, then with `inactive` those that ended after
        `since`, at most `count` together (0 is all).  Answers {"jobs"}."""
        now = time.time()
        if ids is not None:
            found = []
            for jobid in ids:
                try:
                    job = self.manager.lookup(jobid)
                except RequestError:
                    raise RequestError(errno.ENOENT, f"JobID {jobid} unknown") from None
                found.append(jobs.describe(job.id, job.state, job.info, now))
        else:
            found = self._active(now, count)
            if inactive:
                found += self._inactive(now, count, since)
            found = found[: count or None]
        request.respond({"jobs": found})

    def _active(self, now: float, count: int) -> list[dict]:
        """Descriptions of the jobs that are not over, those that wait first."""
        active = self.manager.active.values()
        waiting = (job for job in active if job.state in (DEPEND, SCHED))
        pending = heapq.nsmallest(count, waiting, Job.order) if count else sorted(waiting, key=Job.order)
        others = [job for job in active if job.state not in (DEPEND, SCHED)]
        others.sort(key=lambda job: -job.info.get("t_run", 0))
        return [jobs.describe(job.id, job.state, job.info, now) for job in (pending + others)[: count or None]]

    def _inactive(self, now: float, count: int, since: float) -> list[dict]:
        """Descriptions of jobs that are over, newest first; what the database has damaged is left out and logged."""
        rows = dict(self.manager.store.inactive_info(INACTIVE, count or -1, since))
        for job in self.manager.ended.values():
            if (job.info.get("t_inactive") or 0.0) >= since:
                rows[job.id] = job.info
        found = []
        for jobid in sorted(rows, reverse=True):
            try:
                found.append(jobs.describe(jobid, INACTIVE, rows[jobid], now))
            except (KeyError, TypeError, AttributeError, ValueError):
                self.manager.log("job-manager", LOG_ERR, f"what is kept of job {jobid} is damaged; it is not listed")
        return found
