# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Waiting for jobs to end."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from flux import constants
from flux.future import Future
from flux.job.info import JobInfo
from flux.job.JobID import JobID

if TYPE_CHECKING:
    from flux.handle import Flux


class JobWaitResult(NamedTuple):
    """How a job has ended: `errstr` says why it was no success, in bytes as flux-core has it."""

    jobid: JobID
    success: bool
    errstr: bytes


class JobWaitFuture(Future):
    """The end of a job that is waited for."""

    def get_status(self) -> JobWaitResult:
        """How it has ended, once it has.  OSError of ECHILD if there is no waitable job."""
        found = self.get()
        return JobWaitResult(JobID(found["id"]), found["success"], found["errstr"].encode("utf-8", "replace"))


def wait_async(flux_handle: Flux, jobid: int = constants.FLUX_JOBID_ANY) -> JobWaitFuture:
    """Wait for a job, or for the next waitable one that nobody has waited for; see :func:`wait`."""
    wanted = None if jobid == constants.FLUX_JOBID_ANY else int(JobID(jobid))
    return JobWaitFuture(flux_handle, "job.wait", {"id": wanted})


def wait_get_status(future: JobWaitFuture) -> JobWaitResult:
    """As JobWaitFuture.get_status."""
    return future.get_status()


def wait(flux_handle: Flux, jobid: int = constants.FLUX_JOBID_ANY) -> JobWaitResult:
    """Wait until a job is over; without an id, until one submitted with waitable=True is.

    Each waitable job is told once.  OSError of ECHILD if there is none left, of ENOENT if there is no such job."""
    return wait_async(flux_handle, jobid).get_status()


class JobResultFuture(Future):
    """The result of a job that is waited for."""

    def __init__(self, flux_handle: Flux, jobid: int) -> None:
        self._jobid = int(JobID(jobid))
        super().__init__(flux_handle, "job.wait", {"id": self._jobid})

    def get_dict(self) -> dict[str, Any]:
        """The job as it was at its end, as `flux jobs --json` shows it."""
        self.get()
        found = Future(self.handle, "job.list", {"ids": [self._jobid]}).get()["jobs"][0]
        return dict(found)

    def get_info(self) -> JobInfo:
        """The same as a JobInfo."""
        return JobInfo(self.get_dict())


def result_async(flux_handle: Flux, jobid: int, flags: int = 0) -> JobResultFuture:
    """Wait for the result of a job, waitable or not; `flags` is there for flux-core's sake."""
    return JobResultFuture(flux_handle, jobid)


def result(flux_handle: Flux, jobid: int, flags: int = 0) -> JobInfo:
    """Wait until a job is over; the job with its result, return code and times.  OSError if there is no such job."""
    return result_async(flux_handle, jobid, flags).get_info()
