# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What commands ask about jobs: lists, what is kept of a job, its events and output."""

from __future__ import annotations

import errno
import functools
import itertools
import time
from syslog import LOG_ERR

from fluxsched.formats import taskmap
from fluxsched.session.broker import job as jobs
from fluxsched.session.broker import layout
from fluxsched.session.broker.job import DEPEND, INACTIVE, RUN, SCHED
from fluxsched.session.broker.job_manager import Manager
from fluxsched.session.broker.rpc import JOBID, Bool, Int, ListOf, Nullable, Number, Octets, Text, rpc
from fluxsched.session.broker.server import Request
from fluxsched.session.broker.watch import Watch
from fluxsched.session.errors import RequestError
from fluxsched.session.rset import held

STDIN_MAX = 1 << 20  # bytes in one request
MANY = 1 << 20  # ids in one request
PIECE = 2000  # jobs in one answer of several

#: A job as lists have it: its id, its state, and what is kept of it.
Row = tuple[int, int, dict]


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
        pieces=Bool(False),
    )
    def list_jobs(
        self, request: Request, ids: list | None, inactive: bool, count: int, since: float, pieces: bool
    ) -> None:
        """List the jobs of `ids`; or the active ones, those that wait first, then with `inactive` those that ended
        after `since`, at most `count` together (0 is all).  Answers {"jobs"}, with `pieces` in a stream."""
        if ids is not None:
            found = [self._lookup(jobid) for jobid in ids]
        else:
            found = self._active(count)
            if inactive:
                found += self._inactive(count, since)
            found = found[: count or None]
        if pieces:
            self._send_some(request, found, 0)
        else:
            request.respond({"jobs": self._described(found)})

    def _lookup(self, jobid: int) -> Row:
        try:
            job = self.manager.lookup(jobid)
        except RequestError:
            raise RequestError(errno.ENOENT, f"JobID {jobid} unknown") from None
        return job.id, job.state, job.info

    def _send_some(self, request: Request, found: list[Row], start: int) -> None:
        """Send a piece of a list, as soon as the client keeps up; the others follow in the next turn."""
        again = functools.partial(self._send_some, request, found, start)
        if not request.open or not request.connection.channel.when_room(again):
            return
        request.stream({"jobs": self._described(found[start : start + PIECE])})
        if start + PIECE < len(found):
            self.manager.loop.call_soon(functools.partial(self._send_some, request, found, start + PIECE))
        else:
            request.end()

    def _described(self, found: list[Row]) -> list[dict]:
        """Descriptions of jobs; what the database has damaged is left out and logged."""
        now, out = time.time(), []
        for jobid, state, info in found:
            try:
                out.append(jobs.describe(jobid, state, info, now))
            except (KeyError, TypeError, AttributeError, ValueError):
                self.manager.log("job-manager", LOG_ERR, f"what is kept of job {jobid} is damaged; it is not listed")
        return out

    def _active(self, count: int) -> list[Row]:
        """The first `count` of the jobs that are not over (0: all), those that wait first."""
        active = self.manager.active
        found = list(itertools.islice(active.waiting(), count or None))
        if not count or len(found) < count:
            found += sorted(active.others(), key=lambda job: -job.info.get("t_run", 0))
        return [(job.id, job.state, job.info) for job in found[: count or None]]

    def _inactive(self, count: int, since: float) -> list[Row]:
        """Jobs that are over, newest first."""
        rows = dict(self.manager.store.inactive_info(INACTIVE, count or -1, since))
        for job in self.manager.ended.values():
            if (job.info.get("t_inactive") or 0.0) >= since:
                rows[job.id] = job.info
        return [(jobid, INACTIVE, rows[jobid]) for jobid in sorted(rows, reverse=True)]
