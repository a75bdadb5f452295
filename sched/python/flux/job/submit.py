# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Submitting jobs."""
from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Union

from flux import constants
from flux.future import Future
from flux.job.JobID import JobID
from flux.job.Jobspec import Jobspec
from fluxsched.formats import jsontext

if TYPE_CHECKING:
    from flux.handle import Flux

AnyJobspec = Union[Jobspec, str, bytes]


class SubmitFuture(Future):
    """The id of a job that is being submitted."""

    def get_id(self) -> JobID:
        """The id, once the session has the job on disk.  OSError if it was refused, with the reason."""
        return JobID(self.get()["id"])


def submit_get_id(future: SubmitFuture) -> JobID:
    """As SubmitFuture.get_id.  OSError of EINVAL if there is no future."""
    if future is None:
        raise OSError(errno.EINVAL, "future must not be None")
    return future.get_id()


def _request(jobspec: AnyJobspec) -> dict[str, Any]:
    if jobspec is None:
        raise OSError(errno.EINVAL, "jobspec must not be None")
    if isinstance(jobspec, Jobspec):
        spec: Any = jobspec.jobspec
    elif isinstance(jobspec, (str, bytes)):
        try:
            spec = jsontext.loads(jobspec)
        except ValueError as error:
            raise OSError(errno.EINVAL, f"jobspec: {error}") from None
    else:
        raise TypeError(f"jobspec: expected a Jobspec or its JSON, got {type(jobspec).__name__}")
    if not isinstance(spec, dict):
        raise OSError(errno.EINVAL, "jobspec: expected an object")
    attributes = spec.get("attributes")
    system = attributes.get("system") if isinstance(attributes, dict) else None
    if isinstance(system, dict) and "cwd" not in system:
        spec = dict(spec, attributes=dict(spec["attributes"], system=dict(system, cwd=os.getcwd())))
    return spec


def submit_async(
    flux_handle: Flux,
    jobspec: AnyJobspec,
    urgency: int = constants.FLUX_JOB_URGENCY_DEFAULT,
    waitable: bool = False,
    debug: bool = False,
    pre_signed: bool = False,
    novalidate: bool = False,
) -> SubmitFuture:
    """Submit a job and do not wait for its id.

    `waitable`: for :func:`flux.job.wait` without an id.  A jobspec without a working directory gets the caller's.
    OSError of EINVAL if it is no jobspec, ValueError for `pre_signed`, which a session has not."""
    if pre_signed:
        raise ValueError("pre_signed: a session takes jobspecs as they are")
    flags = constants.FLUX_JOB_WAITABLE if waitable else 0
    flags |= constants.FLUX_JOB_DEBUG if debug else 0
    flags |= constants.FLUX_JOB_NOVALIDATE if novalidate else 0
    payload = {"jobspec": _request(jobspec), "urgency": urgency, "flags": flags}
    return SubmitFuture(flux_handle, "job.submit", payload)


def submit(flux_handle: Flux, jobspec: AnyJobspec, *args: Any, **kwargs: Any) -> JobID:
    """Submit a job; its id.  Arguments and errors as of :func:`submit_async`, and OSError if it was refused."""
    return submit_async(flux_handle, jobspec, *args, **kwargs).get_id()
