# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Changing the time limit of a job, before it starts or while it runs."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, Any, Optional

from fluxsched.formats.fastjson import dumps
from fluxsched.session.broker.job import DEPEND, RUN, SCHED, Job, redact
from fluxsched.session.broker.rpc import JOBID, Number, rpc
from fluxsched.session.broker.server import Request
from fluxsched.session.errors import RequestError

if TYPE_CHECKING:
    from fluxsched.session.broker.job_manager import Manager

LONGEST = 1e11  # seconds, as for a jobspec


class Updates:
    """Handles requests to change jobs of `manager`."""
    def __init__(self, manager: Manager) -> None:
        self.manager = manager

    @rpc("job-manager.update", id=JOBID, duration=Number(0, LONGEST))
    def update(self, request: Request, id: int, duration: float) -> None:
        """Set the time limit of a job, in seconds; 0 is none."""
        job = self.manager.find(id)
        if job.state in (DEPEND, SCHED):
            self._waiting(job, duration)
            request.respond()
        elif job.state == RUN:
            self._running(request, job, duration)
        else:
            raise RequestError(errno.EINVAL, f"{job.name}: the duration can be changed of jobs that wait or run")

    def _waiting(self, job: Job, duration: float) -> None:
        manager = self.manager
        job.jobspec = redact(job.jobspec)  # copies of one job share theirs
        job.jobspec["attributes"]["system"]["duration"] = duration
        job.info["duration"] = duration
        whole = manager.full_jobspec(job)
        whole["attributes"]["system"]["duration"] = duration
        change = manager.store.op_jobspec(job.id, dumps(whole))
        manager.post(job, "jobspec-update", {"attributes.system.duration": duration}, operations=[change])
        if job.state == SCHED:
            manager.scheduler.ask_again(job)

    def _running(self, request: Request, job: Job, duration: float) -> None:
        manager = self.manager
        execution = job.R["execution"]
        expiration = execution.get("starttime", job.info["t_run"]) + duration if duration else 0.0
        if expiration and expiration <= time.time():
            raise RequestError(errno.EINVAL, f"{job.name}: it has run for longer than that already")

        def answered(payload: Any, error: Optional[RequestError]) -> None:
            if error is not None:
                request.error(error.errno, error.text)
                return
            if job.state != RUN:
                request.error(errno.EINVAL, f"{job.name}: it has ended meanwhile")
                return
            execution["expiration"] = expiration
            job.info["expiration"] = expiration
            job.info["duration"] = duration
            manager.new_limit(job)
            manager.store.resources(job.id, job.R)
            manager.post(job, "resource-update", {"expiration": expiration})
            request.respond()

        manager.scheduler.expiration(job, expiration, answered)
