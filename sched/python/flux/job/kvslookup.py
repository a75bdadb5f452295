# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is kept of a job: its jobspec, R and events."""
from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flux.future import Future
from flux.job.JobID import JobID

if TYPE_CHECKING:
    from flux.handle import Flux


def job_kvs_lookup(flux_handle: Flux, jobid: int, keys: Iterable[str] = ("jobspec",)) -> dict[str, Any]:
    """{"id": jobid, key: value...} for the keys "jobspec", "R" and "eventlog" (a list of events).

    OSError if there is no such job, or it has no such key yet."""
    number = int(JobID(jobid))
    asked = [(key, Future(flux_handle, "job.info", {"id": number, "key": key})) for key in keys]
    return {"id": JobID(number), **{key: future.get()["value"] for key, future in asked}}
