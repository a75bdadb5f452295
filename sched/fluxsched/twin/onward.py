# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What another policy would have done from some time of a record on.

An engine in the state of then goes on by itself, with the inputs of the record. A job that the record has run takes the
time that it took there. One that has not started there, or was not over, takes the time that it asked for; one that was
cancelled there while it waited ends then, if it runs.
"""

from __future__ import annotations

import datetime
from typing import Any, Callable, NamedTuple, Optional

from fluxsched.core import Infeasible
from fluxsched.core.resumed import Resumed
from fluxsched.formats import idset
from fluxsched.formats.constraint import ConstraintError
from fluxsched.service.entries import request_of
from fluxsched.service.lives import GivenBack
from fluxsched.twin.lives import Life, Lives, cores_of
from fluxsched.twin.read import RecordError
from fluxsched.twin.replay import Replay

__all__ = ["Column", "Onward", "onward"]


class Column(NamedTuple):
    """Measures of one policy: jobs that were started by the end of the record; mean and 95th percentile of the wait in
    s, where a job that has not started has waited until that end; cores times seconds that jobs used by then."""

    policy: str
    started: int
    mean: float
    late: float
    used: float


class Onward(NamedTuple):
    """Two columns about the same jobs: those that waited at `begin` or came later, and were not taken back or refused
    in the record.  Times in s since the epoch."""

    begin: float
    end: float
    jobs: int
    recorded: Column
    other: Column


def onward(folder: str, policy: Any, begin: Optional[float] = None) -> Onward:
    """Go on from this time (None: from the first pass) with a policy, which is of this call alone.  Raises RecordError,
    and what the policy raises."""
    lives, known = Lives(keep=True), Lives(keep=True)
    whole, before = Replay(folder, lives), Replay(folder, known)
    whole.run()
    last = whole.time
    if begin is None:
        before.run(passes=False)
        begin = before.time
    else:
        before.run(begin)
    if before.engine is None or begin > last:
        span = f"its begin, {_stamp(whole.begun)}, to its end, {_stamp(last)}"
        raise RecordError(f"{folder}: a time from {span}, expected")
    recorded_name = ", ".join(dict.fromkeys([known.policies[-1], *lives.policies[len(known.policies):]]))
    inputs = [*lives.inputs[len(known.inputs):],
              *(["cancel", lives.jobs[jobid].gone, jobid] for jobid in lives.vanished - known.vanished)]
    inputs.sort(key=lambda row: row[1])
    copy = before.engine.fork()
    copy.set_policy(policy)
    run = _Run(copy, begin, inputs, lives.jobs)
    run.resumed.advance(last)
    chosen = [
        life for life in lives.jobs.values()
        if not life.refused and life.gone is None and life.id not in run.ran
        and (life.end is None or life.end > begin)
    ]
    columns = [
        _column(recorded_name, chosen, {life.id: life.start for life in chosen if life.start is not None},
                {life.id: life.end for life in chosen if life.end is not None},
                {life.id: life.cores for life in chosen}, last),
        _column(policy.name, chosen, run.resumed.start, run.resumed.end, run.cores, last),
    ]
    return Onward(begin, last, len(chosen), *columns)


def _stamp(time: float) -> str:
    return datetime.datetime.fromtimestamp(time).isoformat(" ", "microseconds")


def _column(
    name: str, jobs: list[Life], start: dict[int, float], end: dict[int, float], cores: dict[int, int], last: float
) -> Column:
    waits = sorted(max(start.get(life.id, last) - life.submit, 0.0) for life in jobs) or [0.0]
    used = sum(
        cores[life.id] * (min(end.get(life.id, last), last) - start[life.id]) for life in jobs if life.id in start
    )
    started = sum(life.id in start for life in jobs)
    # Of 20 waits the 95th percentile is the 19th.
    return Column(name, started, sum(waits) / len(waits), waits[(19 * len(waits) + 19) // 20 - 1], used)


class _Run:
    """The copy, and what is told to it.  `ran`: the jobs that ran at first; `cores`: what jobs held when they began."""

    def __init__(self, engine: Any, begin: float, inputs: list[list[Any]], jobs: dict[int, Life]) -> None:
        self._engine = engine
        self._inputs = inputs
        self._jobs = jobs
        self.cores: dict[int, int] = {}
        self._back: dict[int, GivenBack] = {}
        self.resumed = Resumed(engine, begin, [row[1] for row in inputs], self._input, self._lasts, self._parts,
                               self._give_back)
        self.ran = set(self.resumed.start)
        self._does: dict[str, Callable[..., Any]] = {
            "add": self._add, "end": self._end, "marks": self._marks, "cancel": engine.cancel,
            "priority": engine.reprioritize, "up": engine.mark_up, "down": engine.mark_down, "gone": engine.remove,
            "property-add": engine.property_add, "property-remove": engine.property_remove,
            "expiration": engine.set_expiration,
        }

    def _lasts(self, jobid: int, start: float) -> float:
        self.cores[jobid] = cores_of(self._engine.holding(jobid)[0])
        return self._jobs[jobid].lasts(start)

    def _parts(self, jobid: int, start: float) -> list[float]:
        """When a job that starts then, or has started, gives back its parts."""
        return [start + after for after, _ in self._jobs[jobid].parts]

    def _give_back(self, jobid: int, parts: int) -> None:
        """A job gives back a part of what it holds."""
        if jobid not in self._back:
            life = self._jobs[jobid]
            if jobid in self.ran:
                # It runs where it ran, and some of its parts may be back.
                self._back[jobid] = GivenBack(life, idset.encode(life.ranks))
                self._back[jobid].take(parts - 1)
            else:
                self._back[jobid] = GivenBack(life, self._engine.allocated_ranks(jobid))
        ranks = self._back[jobid].take(parts)
        if ranks:
            self._engine.free(jobid, ranks, False)

    def _input(self, at: int) -> None:
        kind, _, *values = self._inputs[at]
        self._does[kind](*values)

    def _add(self, jobid: int, request: list[Any], *values: Any) -> None:
        if jobid in self.resumed.start or self._engine.waits(jobid):
            return
        try:
            self._engine.add(jobid, request_of(request), *values)
        except (ConstraintError, Infeasible):
            pass        # refused here as it was there

    def _end(self, jobid: int, when: float) -> None:
        """A job is to end at another time: later or earlier by as much as in the record."""
        start, there = self.resumed.start.get(jobid), self._jobs[jobid].start
        if start is not None and jobid not in self.resumed.end:
            moved = when + start - there if when and there is not None else when
            self._engine.update_expiration(jobid, max(moved, 0.0))

    def _marks(self, marks: dict[str, Any]) -> None:
        """The module was loaded again, and found the resources like this."""
        engine = self._engine
        engine.mark_down(engine.marks()["up"])
        engine.mark_up(marks["up"])
        engine.set_expiration(marks["expiration"])
