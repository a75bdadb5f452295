# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The answers to ``sched.alloc`` (RFC 27): success, deny or cancel at the end, annotations before."""

from __future__ import annotations

from typing import Any

from fluxsched.service.host import LOG_DEBUG, Host
from fluxsched.service.jobs import Job
from fluxsched.service.protocol import ANNOTATE, CANCEL, DENY, SUCCESS

__all__ = ["Answers"]


class Answers:
    """Answers the requests of jobs, and counts the answers."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.counts: dict[str, int] = {}
        self.clear()

    def clear(self) -> None:
        """Count from 0 again."""
        self.counts = dict.fromkeys(("success", "deny", "cancel", "annotate"), 0)

    def succeed(self, job: Job, R: dict, annotations: dict[str, Any]) -> None:
        """The job has R, which is durable."""
        self.counts["success"] += 1
        self._answer(job, SUCCESS, R=R, annotations={"sched": annotations})

    def annotate(self, job: Job, changed: dict[str, Any]) -> None:
        """What has changed for a waiting job."""
        self.counts["annotate"] += 1
        self._answer(job, ANNOTATE, annotations={"sched": changed})

    def deny(self, job: Job, reason: str) -> None:
        """The job can never have what it asks for."""
        self.counts["deny"] += 1
        self._host.log(LOG_DEBUG, f"job {self._host.job_name(job.id)}: denied: {reason}")
        self._answer(job, DENY, note=reason)

    def cancel(self, job: Job) -> None:
        """The job's request was taken back."""
        self.counts["cancel"] += 1
        self._answer(job, CANCEL)

    def _answer(self, job: Job, kind: int, **more: Any) -> None:
        self._host.respond(job.message, {"id": job.id, "type": kind, **more})
