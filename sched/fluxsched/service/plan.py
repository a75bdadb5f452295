# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The whole future: which jobs run when and on which nodes, if all take the time that they asked for and none comes.

A copy of the engine is run forward until all have started that can; nodes are those that the policy gives them then.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable

from fluxsched.core import Engine
from fluxsched.core.course import Course
from fluxsched.formats import hostlist
from fluxsched.service.ends import Ends
from fluxsched.service.fields import Nullable, Number
from fluxsched.service.host import Host
from fluxsched.service.jobs import PENDING, Jobs
from fluxsched.service.reasons import Reasons
from fluxsched.service.rpc import rpc
from fluxsched.service.slices import Slices, Steps

__all__ = ["Plans"]

TIME_MAX = 9e12 - 1


class Plans:
    """Answers ``sched.plan``.  `engine` answers the engine of now; `reasons` makes lines."""

    def __init__(
        self, host: Host, engine: Callable[[], Engine], jobs: Jobs, reasons: Reasons, ends: Ends, slices: Slices
    ) -> None:
        self._host = host
        self._engine = engine
        self._jobs = jobs
        self._reasons = reasons
        self._ends = ends
        self._slices = slices

    @rpc("sched.plan", after=True, until=Nullable(Number(0, TIME_MAX)))
    def _plan(self, message: Any, until: float | None) -> None:
        """What runs, and when and where the waiting jobs will start, those that start by `until`."""
        self._slices.add(message, "sched.plan", self._steps(until))

    def _steps(self, until: float | None) -> Steps:
        """Find the answer, a slice at a time."""
        now = self._host.now()
        engine = self._engine().fork()
        inventory = engine.inventory
        running = [engine.place(jobid) for jobid in engine.running_jobs()]
        waiting = engine.waiting()
        course = Course(engine, now)
        last = None if until is None else max(until, now)
        while course.advance(last, self._slices.budget):
            yield None
        planned = [place for place in course.rows if not self._ends.reached(place.start)]
        starts = {place.id for place in planned}
        return {
            "now": now,
            "until": until,
            "plugin": engine.plugin,
            "nodes": hostlist.encode(inventory.hosts),
            "jobs": [*self._rows("running", running), *self._rows("planned", planned)],
            "unplanned": [self._unplanned(jobid, now) for jobid in waiting if jobid not in starts],
        }

    def _rows(self, state: str, places: Iterable[Any]) -> list[dict[str, Any]]:
        """Jobs that are in the plan."""
        return [
            {
                **self._names(place.id), "state": state, "start": place.start, "end": place.end, "nodes": place.nodes,
                "runs": place.runs,
            }
            for place in places
        ]

    def _unplanned(self, jobid: int, now: float) -> dict[str, Any]:
        """A job that has no start by then, and why it waits now."""
        job = self._jobs.get(jobid)
        line = None
        if job is not None and job.stage == PENDING and self._engine().waits(jobid):
            line = self._reasons.line(job, now)
        return {**self._names(jobid), "reason": None if line is None else line.text}

    def _names(self, jobid: int) -> dict[str, Any]:
        """What a job is called; it may have gone meanwhile."""
        job = self._jobs.get(jobid)
        if job is None:
            return {"id": jobid, "userid": None, "name": "", "priority": None}
        return {"id": jobid, "userid": job.user, "name": job.name, "priority": job.priority}
