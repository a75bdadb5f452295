# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The jobs that are not over: by id, and those that wait in the order in which they are listed."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator

from fluxsched.session.broker.job import DEPEND, SCHED, Job

#: What jobs that wait are ordered by before their ids: whether it is for others, and the priority, highest first.
Key = tuple[bool, int]


class _Alike:
    """Waiting jobs of one key, by id."""

    __slots__ = ("jobs", "last", "ordered")

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.last = 0  # id of the job that came last
        self.ordered = True  # whether the jobs have come in the order of their ids

    def add(self, job: Job) -> None:
        self.ordered = self.ordered and job.id > self.last
        self.last = job.id
        self.jobs[job.id] = job

    def in_order(self) -> Collection[Job]:
        if not self.ordered:
            self.jobs = dict(sorted(self.jobs.items()))
            self.last = next(reversed(self.jobs))
            self.ordered = True
        return self.jobs.values()


class Active(dict[int, Job]):
    """Jobs by id, in the order in which they came. Their state and priority are changed by :meth:`change`, so that a
    list of the first that wait takes no longer with a hundred thousand behind them."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[Key, _Alike] = {}
        self._others: dict[int, Job] = {}

    def add(self, job: Job) -> None:
        """A job comes."""
        self[job.id] = job
        self._place(job)

    def remove(self, job: Job) -> None:
        """A job goes, which is here."""
        del self[job.id]
        self._take(job)

    def change(self, job: Job, state: int | None = None, priority: int | None = None) -> None:
        """Give a job, which may be here or not, another state or priority."""
        here = job.id in self
        if here:
            self._take(job)
        if state is not None:
            job.state = state
        if priority is not None:
            job.info["priority"] = priority
        if here:
            self._place(job)

    def waiting(self) -> Iterator[Job]:
        """The jobs that wait, in the order of :meth:`Job.order`; none may come or go meanwhile."""
        return itertools.chain.from_iterable(self._waiting[key].in_order() for key in sorted(self._waiting))

    def others(self) -> Collection[Job]:
        """The jobs that run, or are about to be over."""
        return self._others.values()

    def count_waiting(self, state: int | None = None) -> int:
        """How many jobs wait: all, those that wait for others (DEPEND), or those that wait for resources (SCHED)."""
        return sum(
            len(alike.jobs)
            for (depends, _), alike in self._waiting.items()
            if state is None or depends == (state == DEPEND)
        )

    def _place(self, job: Job) -> None:
        if job.state not in (DEPEND, SCHED):
            self._others[job.id] = job
            return
        key = (job.state == DEPEND, -job.info["priority"])
        alike = self._waiting.get(key)
        if alike is None:
            alike = self._waiting[key] = _Alike()
        alike.add(job)

    def _take(self, job: Job) -> None:
        if job.state not in (DEPEND, SCHED):
            del self._others[job.id]
            return
        key = (job.state == DEPEND, -job.info["priority"])
        alike = self._waiting[key]
        del alike.jobs[job.id]
        if not alike.jobs:
            del self._waiting[key]
