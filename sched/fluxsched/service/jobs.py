# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The jobs that the service knows, and where each stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator, Optional

from fluxsched.formats.jobspec import Request

if TYPE_CHECKING:
    from fluxsched.service.reasons import Line

__all__ = ["COMMITTING", "Job", "Jobs", "PENDING", "RUNNING", "STARTED"]

# Where a job stands with us
PENDING = 0      # waits in the engine
STARTED = 1      # the engine gave it resources; not yet handed to a commit
COMMITTING = 2   # its R is on the way into the KVS
RUNNING = 3      # answered


class Job:
    """A job that waits for resources or holds some. Its `stage` is set by Jobs."""

    __slots__ = (
        "expiration",
        "freed",
        "id",
        "jobspec",
        "message",
        "name",
        "priority",
        "reason",
        "request",
        "sent",
        "stage",
        "starttime",
        "t_submit",
        "told_at",
        "user",
    )

    def __init__(
        self, jobid: int, priority: int, t_submit: float, message: Any = None, user: Optional[int] = None
    ) -> None:
        self.id = jobid
        self.priority = priority
        self.t_submit = t_submit
        self.user = user                            # the Flux userid
        self.name = ""                              # as flux jobs shows it; "": it ran before the load
        self.message = message                      # the sched.alloc request to answer
        self.request: Optional[Request] = None
        # What of it says how many tasks there are, as JSON, until the job starts, if it is recorded: thousands of dicts
        # that wait would make Python's search for garbage take long enough to be noticed.
        self.jobspec: Optional[str] = None
        self.stage = PENDING
        self.sent: dict[str, Any] = {}              # annotations the job manager has from us
        self.told_at: Optional[float] = None        # when it was annotated last, seconds since the epoch
        self.reason: Optional[Line] = None          # of these annotations
        self.starttime = 0.0
        self.expiration = 0.0
        self.freed: tuple[tuple[Optional[str], bool], ...] = ()     # (ranks or None, final) that came too early


class Jobs:
    """Jobs by id, and how many there are of each stage."""

    def __init__(self) -> None:
        self._jobs: dict[int, Job] = {}
        self._counts = [0, 0, 0, 0]

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def __contains__(self, jobid: int) -> bool:
        return jobid in self._jobs

    def __getitem__(self, jobid: int) -> Job:
        return self._jobs[jobid]

    def get(self, jobid: int) -> Optional[Job]:
        """The job of this id, None if it is not known."""
        return self._jobs.get(jobid)

    def add(self, job: Job) -> None:
        """A job comes, at the stage that it has."""
        self._jobs[job.id] = job
        self._counts[job.stage] += 1

    def move(self, job: Job, stage: int) -> None:
        """The job is at another stage."""
        self._counts[job.stage] -= 1
        job.stage = stage
        self._counts[stage] += 1

    def remove(self, job: Job) -> None:
        """The job goes."""
        del self._jobs[job.id]
        self._counts[job.stage] -= 1

    def count(self, *stages: int) -> int:
        """How many jobs are at one of these stages."""
        return sum(self._counts[stage] for stage in stages)

    @property
    def held(self) -> int:
        """How many jobs hold resources."""
        return len(self._jobs) - self._counts[PENDING]
