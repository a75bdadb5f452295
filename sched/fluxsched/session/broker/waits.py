# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Who waits for the end of which job."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Optional

from fluxsched.session.broker import job as jobs
from fluxsched.session.broker.job import INACTIVE, Job
from fluxsched.session.errors import RequestError

if TYPE_CHECKING:
    from fluxsched.session.broker.job_manager import Manager
    from fluxsched.session.broker.server import Request


class Waits:
    """The waitable jobs that nobody has waited for yet, and the requests that wait."""

    def __init__(self) -> None:
        self.waitable: dict[int, None] = {}  # job ids, in the order of submission
        self._waiting: list[tuple[Request, Optional[int]]] = []  # with the id that is waited for, None for any

    def add(self, jobid: int) -> None:
        """A job was submitted to be waited for."""
        self.waitable[jobid] = None

    def wait(self, manager: Manager, request: Request, jobid: int | None) -> None:
        """Answer `request` when the job of this id has ended, or with None any waitable one.  Raises RequestError."""
        if jobid is None:
            over = next((number for number in self.waitable if number not in manager.active), None)
            if over is not None:
                self._answer(manager, request, manager.lookup(over))
                return
            if len(self.waitable) <= sum(1 for _, wanted in self._waiting if wanted is None):
                raise RequestError(errno.ECHILD, "there are no more waitable jobs")
        elif jobid not in manager.active:
            self._answer(manager, request, manager.lookup(jobid))
            return
        waiter = (request, jobid)
        self._waiting.append(waiter)
        request.on_close = lambda: self._forget(waiter)

    def _forget(self, waiter: tuple[Request, Optional[int]]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def ended(self, manager: Manager, job: Job) -> None:
        """A job has ended: answer who waits for it."""
        for waiter in list(self._waiting):
            request, wanted = waiter
            if wanted == job.id or (wanted is None and job.id in self.waitable):
                self._waiting.remove(waiter)
                self._answer(manager, request, job)

    def _answer(self, manager: Manager, request: Request, job: Job) -> None:
        if job.id in self.waitable:
            del self.waitable[job.id]
            job.info["waited"] = True
            manager.store.info(job.id, INACTIVE, job.info)
        outcome = jobs.result(job.info)
        text = ""
        exception = job.info.get("exception")
        if exception is not None:
            text = f"Fatal exception type={exception['type']} {exception['note']}".rstrip()
        elif outcome != "COMPLETED":
            text = f"task(s) exited with exit code {job.info.get('waitstatus', 1 << 8) >> 8}"
        request.respond({"id": job.id, "success": outcome == "COMPLETED", "errstr": text})
