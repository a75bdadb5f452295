# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What became of each job of a record."""

from __future__ import annotations

from typing import Any, Optional

from fluxsched.formats import idset
from fluxsched.formats.jobspec import Request
from fluxsched.service import entries, lives
from fluxsched.service.recording import RecordedEngine
from fluxsched.twin.read import is_time

__all__ = ["Life", "Lives", "cores_of"]


class Life(lives.Life):
    """One job of a record, with what was asked for it.

    came: when the scheduler heard of it first; request: None for one that ran before; limit: when it was expected to
    end, 0: never; refused: the engine denied it; cores: that it held, or else asked for.  gone: when its request was
    taken back for good.
    """

    def __init__(self, jobid: int, priority: int, submit: float, user: Any) -> None:
        if not (isinstance(jobid, int) and isinstance(priority, int) and is_time(submit)):
            raise TypeError("expected a job's id, priority and submit time as numbers")
        super().__init__(submit)
        self.id = jobid
        self.came = submit
        self.priority = priority
        self.user = user
        self.request: Optional[Request] = None
        self.limit = 0.0
        self.refused = False
        self.cores = 0

    @property
    def duration(self) -> float:
        """Seconds that it may run; inf: for ever."""
        if self.request is not None:
            return self.request.duration or float("inf")
        return self.limit - self.start if self.limit and self.start is not None else float("inf")

    def lasts(self, start: float) -> float:
        """Seconds that it runs if it starts then: as long as it did, if it did and is over; else as long as it may, and
        not beyond the time at which it was cancelled."""
        if self.start is not None and self.end is not None:
            return self.end - self.start
        if self.gone is not None:
            return min(self.duration, max(self.gone - start, 0.0))
        return self.duration


def _count(ids: str) -> int:
    return idset.count(idset.ranges(ids)) if ids else 0


def cores_of(rows: list[Any]) -> int:
    """How many cores rows of Engine.holding are."""
    return sum((last - first + 1) * _count(cores) for first, last, cores, _ in rows)


class Lives:
    """The jobs of a record by id, from a replay that it watches: call an object with each row and the engine. With
    `keep`, `inputs` has the rows that are not about what a job holds, and ["marks", t, {...}] for what a load of the
    module found. vanished: jobs that waited before a load of the module, and were not asked for again; policies: the
    plugins that decided, in order."""

    def __init__(self, keep: bool = False) -> None:
        self.jobs: dict[int, Life] = {}
        self.inputs: list[list[Any]] = []
        self.vanished: set[int] = set()
        self.policies: list[str] = []
        self._keep = keep
        self._engine: Any = None

    def __call__(self, values: list[Any], engine: RecordedEngine) -> None:
        """A row is about to be applied."""
        kind, time = values[0], values[1]
        if kind == "begun":
            self._begun(time, engine)
            return
        refused = kind != "pass" and entries.refused(values)
        self._engine = engine
        if kind == "policy" and not refused:
            self.policies.append(values[2]["name"])
        take = getattr(self, f"_{kind}", None)
        if take is not None:
            take(time, refused, *values[2:])
        if self._keep and kind not in ("pass", "free", "adopt", "policy", "settings") and not refused:
            self.inputs.append(values)

    def _begun(self, time: float, engine: RecordedEngine) -> None:
        """The state that the module was loaded with.  A job that is not in it any more has ended meanwhile."""
        if self._keep:
            self.inputs.append(["marks", time, engine.marks()])
        self.policies.append(engine.plugin)
        for jobid, asked in engine.asked.items():
            life = self.jobs.setdefault(jobid, Life(jobid, asked.priority, asked.t_submit, asked.user))
            if asked.request is not None:
                life.request = asked.request
                continue
            start, life.limit = engine.times(jobid)
            life.start = start if life.start is None else life.start
            life.cores = life.cores or cores_of(engine.holding(jobid)[0])
        for jobid, life in self.jobs.items():
            if jobid in engine.asked:
                continue
            if life.start is not None and life.end is None:
                life.end = time
            elif life.start is None and life.gone is None and not life.refused:
                # Unless it is asked for again.
                life.gone = time
                self.vanished.add(jobid)

    def _add(self, time: float, refused: bool, jobid: int, request: list[Any], priority: int, submit: float,
             user: Any, *_: Any) -> None:
        if jobid not in self.jobs:
            self.jobs[jobid] = Life(jobid, priority, submit, user)
            self.jobs[jobid].came = time
        life = self.jobs[jobid]
        life.request = entries.request_of(request)
        life.gone = None
        self.vanished.discard(jobid)
        life.refused = refused
        found = life.request
        life.cores = max(found.nslots * max(found.nnodes, 1) * max(found.cores, 1), 1)

    def _adopt(self, time: float, refused: bool, jobid: int, R: Any, freed: str, priority: int, submit: float,
               user: Any, *_: Any) -> None:
        """A job that runs when the module is loaded.  The record may have its start, and lacks nothing but its end."""
        life = self.jobs.setdefault(jobid, Life(jobid, priority, submit, user))
        life.end = None
        if life.start is None and not refused:
            held = R["execution"]
            life.start, life.limit = held.get("starttime", submit), held.get("expiration", 0.0)
            life.cores = sum(_count(entry["rank"]) * _count(entry["children"]["core"]) for entry in held["R_lite"])

    def _end(self, time: float, refused: bool, jobid: int, when: float, *_: Any) -> None:
        if jobid in self.jobs and not refused:
            self.jobs[jobid].limit = when

    def _cancel(self, time: float, refused: bool, jobid: int, *_: Any) -> None:
        life = self.jobs.get(jobid)
        if life is not None and life.start is None and not refused:
            life.gone = time

    def _priority(self, time: float, refused: bool, jobid: int, priority: int, *_: Any) -> None:
        if jobid in self.jobs and not refused:
            self.jobs[jobid].priority = priority

    def _free(self, time: float, refused: bool, jobid: int, ranks: Any, final: bool, *_: Any) -> None:
        life = self.jobs.get(jobid)
        if refused or life is None:
            return
        if final:
            life.end = time
        elif ranks:
            life.give_back(time, self._engine.allocated_ranks(jobid), ranks)

    def _pass(self, time: float, refused: bool, limit: int, started: list[Any], denied: list[Any], *_: Any) -> None:
        for jobid, rows, _ in started:
            life = self.jobs[jobid]
            life.parts.clear()
            life.ranks.clear()
            life.start, life.end, life.cores = time, None, cores_of(rows) or life.cores
            life.limit = time + life.duration if life.duration < float("inf") else 0.0
        for jobid, _ in denied:
            self.jobs[jobid].refused = True
