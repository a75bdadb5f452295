# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Ending and signalling jobs."""
from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Optional

from flux.future import Future
from flux.job.JobID import JobID

if TYPE_CHECKING:
    from flux.handle import Flux


def kill_async(flux_handle: Flux, jobid: int, signum: Optional[int] = None) -> Future:
    """Send a signal, SIGTERM if not given, to the processes of a job that runs."""
    number = int(signal.SIGTERM if signum is None else signum)
    return Future(flux_handle, "job-manager.kill", {"id": int(JobID(jobid)), "signum": number})


def kill(flux_handle: Flux, jobid: int, signum: Optional[int] = None) -> None:
    """As :func:`kill_async`, and wait until it is done.  OSError if there is no such job, or it does not run."""
    kill_async(flux_handle, jobid, signum).get()


def cancel_async(flux_handle: Flux, jobid: int, reason: Optional[str] = None) -> Future:
    """Cancel a job, with a reason that it then shows."""
    return job_raise_async(flux_handle, jobid, "cancel", 0, reason)


def cancel(flux_handle: Flux, jobid: int, reason: Optional[str] = None) -> None:
    """As :func:`cancel_async`, and wait until it is done.  OSError if there is no such job, or it is over."""
    cancel_async(flux_handle, jobid, reason).get()


def job_raise_async(
    flux_handle: Flux, jobid: int, exc_type: str, severity: int = 0, note: Optional[str] = None
) -> Future:
    """Raise an exception on a job; severity 0 ends it."""
    payload = {"id": int(JobID(jobid)), "type": exc_type, "severity": severity, "note": note or ""}
    return Future(flux_handle, "job-manager.raise", payload)


def job_raise(flux_handle: Flux, jobid: int, exc_type: str, severity: int = 0, note: Optional[str] = None) -> None:
    """As :func:`job_raise_async`, and wait until it is done.  OSError if there is no such job, or it is over."""
    job_raise_async(flux_handle, jobid, exc_type, severity, note).get()
