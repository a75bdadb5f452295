# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Requests about many jobs at once, which are handled some at a time, so that others are heard in between."""

from __future__ import annotations

import errno
import time
from collections import deque
from syslog import LOG_ERR
from typing import Any, Optional

from fluxsched.session.broker import job as jobs
from fluxsched.session.broker.database import StoreError
from fluxsched.session.broker.job import Job
from fluxsched.session.broker.job_manager import Manager
from fluxsched.session.broker.rpc import JOBID, Int, ListOf, Object, Text, rpc
from fluxsched.session.broker.server import Request
from fluxsched.session.broker.store import NewJob, Split
from fluxsched.session.errors import RequestError

MANY = 1 << 20  # jobs in one request
SOME = 200  # jobs at a time
CHECKED = 5000  # copies of a job that are checked at a time


class Bulk:
    """Takes and cancels many jobs."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self._coming = 0  # requests whose jobs are not all written yet
        self._waiting: deque[Job] = deque()  # new jobs that the scheduler does not know yet

    # taking jobs

    @rpc(
        "job.submit-copies",
        logged_by="job-manager",
        jobspec=Object(),
        urgency=jobs.urgency_field(default=16),
        flags=Int(0, 2**31 - 1, default=0),
        copies=ListOf(Object(), MANY),
    )
    def submit(
        self, request: Request, jobspec: dict[str, Any], urgency: int, flags: int, copies: list[dict[str, Any]]
    ) -> None:
        """Take jobs that differ in what each copy says: a `command`, and variables in `environment`, both optional.

        Answers {"ids"} in pieces, in the order of the copies, each once these jobs are written."""
        parsed = self.manager.checked(jobspec)
        public = jobs.redact(jobspec)
        info = jobs.new_info(jobspec, parsed, urgency, flags, 0.0)

        def feasible(problem: Optional[RequestError]) -> None:
            if problem is not None:
                self.manager.refuse(request, problem)
                return
            self._coming += 1
            self._take_some(request, self.manager.store.split(jobspec), public, info, deque(copies))

        def checked(begin: int) -> None:
            end = begin + CHECKED
            for copy in copies[begin:end]:
                _check(copy)
            if end < len(copies):
                self.manager.loop.call_soon(lambda: check_more(end))
            else:
                self.manager.scheduler.feasible(public, feasible)

        def check_more(begin: int) -> None:
            try:
                checked(begin)
            except RequestError as error:
                self.manager.refuse(request, error)

        checked(0)

    def _take_some(
        self,
        request: Request,
        spec: Split,
        public: dict[str, Any],
        info: dict[str, Any],
        copies: deque[dict[str, Any]],
    ) -> None:
        """Write some of the copies; the others follow in the next turn."""
        stamps = dict.fromkeys(("t_submit", "t_depend", "t_priority", "t_sched"), time.time())
        now = {**info, **stamps}
        events = jobs.first_events(now)
        waits = bool(public["attributes"]["system"].get("dependencies"))
        taken: list[Job] = []
        rows: list[NewJob] = []
        try:
            while copies and len(taken) < SOME:
                stored, seen, own = _copy(spec, public, now, copies.popleft())
                state, own_events = jobs.SCHED, list(events)
                if waits:
                    state, own_events = self.manager.dependencies.begin(seen, own)
                job, row = self.manager.new_job(stored, seen, own, own_events, state)
                taken.append(job)
                rows.append(row)
        except RequestError as error:
            self._coming -= 1
            self.manager.refuse(request, error)
            return
        last = not copies

        def committed() -> None:
            for job in taken:
                self.manager.adopt(job)
            if not waits:
                self._tell_scheduler(taken)
            if last:
                self._coming -= 1

        def synced(error: Optional[OSError]) -> None:
            if error is not None:
                copies.clear()
                self.manager.refuse_written(request, taken, error)
                return
            request.stream({"ids": [job.id for job in taken]})
            if last:
                request.end()

        self.manager.store.request(self.manager.store.ops_insert(rows), synced, committed)
        if copies:
            self.manager.loop.call_soon(lambda: self._take_some(request, spec, public, info, copies))

    def _tell_scheduler(self, taken: list[Job]) -> None:
        """Tell the scheduler of new jobs: of the first at once, of the rest when no more come."""
        if not self._waiting:
            self.manager.loop.call_soon(self._tell_some)
        self._waiting.extend(taken)

    def _tell_some(self) -> None:
        for _ in range(min(SOME // 16 if self._coming else SOME, len(self._waiting))):
            job = self._waiting.popleft()
            if job.state == jobs.SCHED and job.alloc == jobs.NONE:
                self.manager.scheduler.enqueue(job)
        if self._waiting:
            self.manager.loop.call_soon(self._tell_some)

    # ending jobs

    @rpc("job.ids", states=ListOf(Text(64), 64))
    def ids(self, request: Request, states: list[str]) -> None:
        """The ids of the jobs in these states that are not over.  Answers {"ids"}."""
        active = self.manager.active.values()
        request.respond({"ids": [job.id for job in active if jobs.STATES[job.state] in states]})

    @rpc("job-manager.cancel", ids=ListOf(JOBID, MANY), note=Text(raw=True, default=""))
    def cancel(self, request: Request, ids: list[int], note: str) -> None:
        """Cancel the jobs of `ids` that are not over.  Answers {"canceled"}, how many there were."""
        self.manager.scheduler.pause()
        self._cancel_some(_Cancelling(request, deque(ids), note))

    def _cancel_some(self, what: _Cancelling) -> None:
        manager = self.manager
        try:
            numbers = [what.ids.popleft() for _ in range(min(SOME, len(what.ids)))]
            found = [job for job in map(manager.active.get, numbers) if job is not None]
            for job in self._readable(found, what):
                if job.id in manager.active:  # the end of another one may have ended it
                    manager.exception(job, "cancel", 0, what.note)
                    what.count += 1
        except Exception as error:
            manager.scheduler.go_on()
            what.request.error(errno.EIO, f"{type(error).__name__}: {error}")
            raise
        if what.ids:
            # At the beginning of the next turn, so that all that these jobs go through is one transaction; a turn that
            # has begun may end in between.
            manager.loop.call_later(0.0, lambda: self._cancel_some(what))
            return
        manager.scheduler.go_on()
        if what.failure is not None:
            what.request.error(errno.EIO, str(what.failure))
        else:
            what.request.respond({"canceled": what.count})

    def _readable(self, found: list[Job], what: _Cancelling) -> list[Job]:
        """Of these jobs those whose events can be read: of jobs that wait since an earlier session, all at once."""
        unread = {job.id: job for job in found if job.events_unread}
        store = self.manager.store
        try:
            for number, events in store.stored_events_of(list(unread)).items():
                unread[number].events = events
        except StoreError:
            for job in unread.values():
                try:
                    job.events = store.stored_events(job.id)
                except StoreError as error:
                    self.manager.log("job-manager", LOG_ERR, str(error))
                    what.failure = what.failure or error
        return [job for job in found if not job.events_unread]


def _check(copy: dict[str, Any]) -> None:
    """Check what a copy says.  Raises RequestError."""
    if not copy.keys() <= {"command", "environment"}:
        raise RequestError(errno.EPROTO, "job.submit-copies: copies: expected command and environment")
    if "command" in copy:
        jobs.check_command(copy["command"])
    jobs.check_environment(copy.get("environment", {}))


class _Cancelling:
    """A request to cancel jobs: those that are left, how many were cancelled, and what stood in the way of one."""

    def __init__(self, request: Request, ids: deque[int], note: str) -> None:
        self.request = request
        self.ids = ids
        self.note = note
        self.count = 0
        self.failure: Optional[StoreError] = None


def _copy(
    stored: Split, public: dict[str, Any], info: dict[str, Any], copy: dict[str, Any]
) -> tuple[Split, dict[str, Any], dict[str, Any]]:
    """The jobspec as it is stored, the same without the environment, and the record of a copy; they share what is
    alike."""
    number, base, spec = stored
    info = dict(info)
    if "command" in copy:
        tasks = [dict(spec["tasks"][0], command=copy["command"])]
        spec = dict(spec, tasks=tasks)
        public = dict(public, tasks=tasks)
        info["name"] = jobs.job_name(public["attributes"]["system"], copy["command"])
    if copy.get("environment"):
        system = dict(spec["attributes"]["system"])
        system["environment"] = {**system.get("environment", {}), **copy["environment"]}
        spec = dict(spec, attributes=dict(spec["attributes"], system=system))
    return (number, base, spec), public, info
