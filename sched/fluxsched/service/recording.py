# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The record of what the engine is told and what it decides (``record=DIR``), from which it can be replayed.

The service calls an engine whose inputs are written down as they come: one seam, so that nothing is left out. What is
written is in fluxsched.service.entries, where it goes in fluxsched.service.parts. Lines are handed to the system at the
end of a pass, or after a second: nothing else is lost when the process is killed.

A part begins with the state of the engine, which takes some time where there are thousands of jobs: it is written in
slices, from a copy of the engine, and lines wait meanwhile. The part has its name once all of them are there.

An error of the disk ends the record with a line in the log, and nothing else.
"""

from __future__ import annotations

import itertools
import time
from functools import partial
from typing import Any, Callable, Iterator, NamedTuple, Optional

import orjson

from fluxsched.core import Engine
from fluxsched.formats.rdl import Hierarchy
from fluxsched.policy.loader import load_plugin
from fluxsched.service import entries
from fluxsched.service.guard import Guard
from fluxsched.service.host import LOG_ERR, LOG_INFO, Host
from fluxsched.service.parts import Parts
from fluxsched.service.settings import Settings
from fluxsched.version import VERSION

__all__ = ["RecordedEngine", "Recording", "state"]

#: Seconds for which a line may wait until it is written.
FLUSH = 1.0
#: Lines that are written at once, however short they have waited.
FLUSH_LINES = 512
#: Seconds that a slice of a first state is to take; and if the whole takes longer than this, for lines wait for it.
SLICE, LONG, LONG_SLICE = 0.01, 0.4, 0.04
#: Seconds between two slices, in which messages are handled.
PAUSE = 0.0
#: Stands for jobs that have ended; no job's id.
NOBODY = -1
#: Jobs of a first state between two looks at the clock.
JOBS = 64


class Asked:
    """What an engine was told of a job.  `request` is None once it runs."""

    __slots__ = ("priority", "request", "sequence", "t_submit", "user")

    def __init__(self, request: Any, priority: int, t_submit: float, user: Any, sequence: Optional[int]) -> None:
        self.request = request
        self.priority = priority
        self.t_submit = t_submit
        self.user = user
        self.sequence = sequence


class RecordedEngine(Engine):
    """An engine that tells of each input, and of what each pass decided.

    note and follower: are called with each row, where they are set; clock: the time in seconds since the epoch; over:
    is called at the end of each pass.  The rest is as for Engine.
    """

    def __init__(
        self, inventory: Any, policy: Any, sched_once: bool = False, down: bool = False,
        hierarchy: Optional[Hierarchy] = None,
    ) -> None:
        super().__init__(inventory, policy, sched_once, down)
        self.once = sched_once
        self.inventory_fact = (
            {"R": inventory.to_r()} if hierarchy is None else entries.hierarchy_fact(hierarchy, inventory.ranks)
        )
        self.asked: dict[int, Asked] = {}
        self.spent: list[list[Any]] = []    # rows and pools that jobs have given back, where all is used once
        self.note: Optional[Callable[[list[Any]], None]] = None
        self.follower: Optional[Callable[[list[Any]], None]] = None
        self.over: Callable[[], None] = lambda: None
        self.clock: Callable[[], float] = lambda: 0.0

    @property
    def heard(self) -> bool:
        """Whether anybody is told."""
        return self.note is not None or self.follower is not None

    def _tell(self, row: list[Any]) -> None:
        for listener in (self.note, self.follower):
            if listener is not None:
                listener(row)

    def _told(self, call: Callable[..., Any], row: list[Any], *values: Any) -> Any:
        """Call a method of the engine, and note the row, with the error if it raises one."""
        if not self.heard:
            return call(self, *values)
        row.insert(1, self.clock())
        try:
            found = call(self, *values)
        except Exception as error:
            self._tell([*row, {"error": str(error)}])
            raise
        self._tell(row)
        return found

    # Resources and settings.

    def marks(self) -> dict[str, Any]:
        """As for Engine, with `spent`: a list of rows and pools as of holding."""
        return {**super().marks(), "spent": self.spent}

    def spend(self, rows: Any, pools: Any) -> None:
        """What another engine has used up is used up in this one, too.  Errors as for adopt_holding."""
        Engine.adopt_holding(self, NOBODY, rows, pools, 0.0, 0.0)
        Engine.free(self, NOBODY)
        self.spent.append([rows, pools])

    def mark_up(self, ranks: Any) -> None:
        """As for Engine."""
        self._told(Engine.mark_up, ["up", ranks], ranks)

    def mark_down(self, ranks: Any) -> None:
        """As for Engine."""
        self._told(Engine.mark_down, ["down", ranks], ranks)

    def remove(self, ranks: Any) -> None:
        """As for Engine."""
        self._told(Engine.remove, ["gone", ranks], ranks)

    def property_add(self, name: str, ranks: Any) -> None:
        """As for Engine."""
        self._told(Engine.property_add, ["property-add", name, ranks], name, ranks)

    def property_remove(self, name: str, ranks: Any) -> None:
        """As for Engine."""
        self._told(Engine.property_remove, ["property-remove", name, ranks], name, ranks)

    def set_expiration(self, t: float) -> None:
        """As for Engine."""
        self._told(Engine.set_expiration, ["expiration", t], t)

    def set_policy(self, policy: Any) -> None:
        """As for Engine."""
        fact = entries.policy_fact(policy) if self.heard else None
        self._told(Engine.set_policy, ["policy", fact], policy)

    # Jobs.

    def add(
        self, jobid: int, request: Any, priority: int = 16, t_submit: float = 0.0, user: Any = None,
        sequence: Optional[int] = None, known: bool = False,
    ) -> None:
        """As for Engine."""
        row = [] if not self.heard else [
            "add", jobid, entries.request_row(request), priority, t_submit, user, sequence
        ]
        self._told(Engine.add, row, jobid, request, priority, t_submit, user, sequence, known)
        self.asked[jobid] = Asked(request, priority, t_submit, user, sequence)

    def adopt(
        self, jobid: int, R: Any, freed_ranks: str = "", priority: int = 16, t_submit: float = 0.0, user: Any = None
    ) -> None:
        """As for Engine."""
        row = ["adopt", jobid, R, freed_ranks, priority, t_submit, user]
        self._told(Engine.adopt, row, jobid, R, freed_ranks, priority, t_submit, user)
        self.asked[jobid] = Asked(None, priority, t_submit, user, None)

    def adopt_holding(
        self, jobid: int, rows: Any, pools: Any, start: float, end: float, priority: int = 16, t_submit: float = 0.0,
        user: Any = None, queue: str = "", expected: Optional[float] = None,
    ) -> None:
        """As for Engine."""
        row = ["hold", jobid, rows, pools, start, end, priority, t_submit, user, queue, expected]
        self._told(Engine.adopt_holding, row, *row[1:])
        self.asked[jobid] = Asked(None, priority, t_submit, user, None)

    def cancel(self, jobid: int) -> bool:
        """As for Engine."""
        found = self._told(Engine.cancel, ["cancel", jobid], jobid)
        if found:
            del self.asked[jobid]
        return found

    def reprioritize(self, jobid: int, priority: int) -> bool:
        """As for Engine."""
        found = self._told(Engine.reprioritize, ["priority", jobid, priority], jobid, priority)
        if found:
            self.asked[jobid].priority = priority
        return found

    def free(self, jobid: int, ranks: Optional[str] = None, final: bool = True) -> None:
        """As for Engine."""
        held = self.holding(jobid) if self.once and jobid in self.asked and not self.waits(jobid) else None
        self._told(Engine.free, ["free", jobid, ranks, final], jobid, ranks, final)
        if held is not None:
            self.spent.append(_without(held, ([], []) if final else self.holding(jobid)))
        if final:
            del self.asked[jobid]

    def update_expiration(self, jobid: int, t: float) -> bool:
        """As for Engine."""
        return self._told(Engine.update_expiration, ["end", jobid, t], jobid, t)

    # The pass.

    def schedule(self, now: float, limit: int = -1) -> Any:
        """As for Engine."""
        try:
            outcome = Engine.schedule(self, now, limit)
        except Exception as error:
            started = [jobid for jobid, asked in self.asked.items() if asked.request and not self.waits(jobid)]
            for jobid in started:
                self.asked[jobid].request = None
            if self.heard:
                self._tell(["pass", now, limit, self._holdings(started), [], False, {"error": str(error)}])
            raise
        for jobid, _ in outcome.denied:
            del self.asked[jobid]
        for jobid in outcome.started:
            self.asked[jobid].request = None
        if self.heard:
            self._tell(["pass", now, limit, self._holdings(outcome.started), outcome.denied, outcome.more])
            if not outcome.more:
                self.over()
        return outcome

    def _holdings(self, started: list[int]) -> list[Any]:
        return [[jobid, *self.holding(jobid)] for jobid in started]


def _without(held: tuple[Any, Any], kept: tuple[Any, Any]) -> list[Any]:
    """What is in the first holding and not in the second one, which has some of its nodes: rows of a node each, and
    pools."""
    stay = {node for first, last, *_ in kept[0] for node in range(first, last + 1)}
    amounts = dict(kept[1])
    rows = [[node, node, cores, gpus] for first, last, cores, gpus in held[0] for node in range(first, last + 1)
            if node not in stay]
    return [rows, [[pool, amount] for pool, amount in held[1] if pool not in amounts]]


class _Snapshot(NamedTuple):
    """A job as it was when its engine was copied: what that was told of it."""

    jobid: int
    request: Any
    priority: int
    t_submit: float
    user: Any
    sequence: Optional[int]
    expected: Optional[float]   # when the policy expects it to end, if it runs; 0: never


def _asked(engine: RecordedEngine) -> list[_Snapshot]:
    return [_Snapshot(jobid, asked.request, asked.priority, asked.t_submit, asked.user, asked.sequence,
                      None if asked.request is not None else engine.expected_end(jobid))
            for jobid, asked in sorted(engine.asked.items())]


def _jobs(engine: Engine, asked: list[_Snapshot], now: float) -> Iterator[list[Any]]:
    """The rows that tell of the jobs of an engine, or of a copy of it."""
    for job in asked:
        if engine.waits(job.jobid):
            yield ["add", now, job.jobid, entries.request_row(job.request), *job[2:6]]
        else:
            start, end = engine.times(job.jobid)
            yield ["hold", now, job.jobid, *engine.holding(job.jobid), start, end, *job[2:5],
                   engine.domain(job.jobid), None if job.expected == end else job.expected]


def state(engine: RecordedEngine, now: float) -> list[list[Any]]:
    """The rows that tell of an engine between two passes, less the head."""
    return [["inventory", engine.inventory_fact], *_jobs(engine, _asked(engine), now)]


def head(engine: RecordedEngine, now: float) -> dict[str, Any]:
    """What the first row of a part tells, less what the writer knows."""
    return {
        "format": entries.FORMAT, "version": VERSION, "time": now, "once": engine.once,
        "policy": entries.policy_fact(engine.policy), "users": engine.users, "marks": engine.marks(),
    }


class Recording:
    """Makes engines, and writes the record of the one that is attached."""

    def __init__(self, host: Host, guard: Guard) -> None:
        self._host = host
        self._guard = guard
        self._settings: Optional[Settings] = None
        self._engine: Any = None
        self._parts: Optional[Parts] = None
        self._lines: list[bytes] = []
        self._timer: Optional[Any] = None
        self._first: Optional[Iterator[list[Any]]] = None   # rows of the first state that are to be written
        self._began = 0.0                                   # when that was begun, by the monotonic clock
        self._next: Optional[Any] = None                    # the timer of its next slice

    def make(
        self, inventory: Any, policy: Any, settings: Settings, hierarchy: Optional[Hierarchy]
    ) -> Engine:
        """An engine by these settings, all of whose ranks are down; `hierarchy`: what its inventory was made of, where
        that is RDL."""
        self._settings = settings
        if not settings.record and not settings.shadow:
            return Engine(inventory, policy, settings.sched_once, down=True)
        return RecordedEngine(inventory, policy, settings.sched_once, True, hierarchy)

    def attach(self, engine: Engine) -> None:
        """This engine, which is the last that was made, is the one in use: record it, in a part of its own."""
        settings = self._settings
        assert settings is not None
        self._detach()
        parts, self._parts = self._parts, None
        try:
            if parts is not None:
                parts.close()
            if not settings.record or not isinstance(engine, RecordedEngine):
                return
            self._parts = Parts(settings.record, settings.record_size, settings.record_age)
            self._engine = engine
            self._begin(continues=False)
        except Exception as error:
            self._failed(error)
        if self._engine is None:
            return
        self._host.log(LOG_INFO, f"record={settings.record}: all that is decided is recorded there")
        engine.clock = self._host.now
        engine.note = self._note
        engine.over = self._over

    def changed(self, settings: Settings) -> None:
        """Settings have changed."""
        self._settings = settings
        if self._engine is not None:
            self._note(["settings", self._host.now(), settings._asdict()])

    def stop(self) -> None:
        """The end: write what is left."""
        self._detach()
        if self._parts is not None:
            self._parts.close()
            self._parts = None

    def _detach(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._engine is not None:
            self._write_first(float("inf"))
            self._flush()
        if self._engine is not None:
            self._engine.note = None
            self._engine = None
        self._lines.clear()

    def _begin(self, continues: bool) -> None:
        """Begin a part, with the engine as it is now."""
        now = self._host.now()
        assert self._parts is not None and self._settings is not None
        about = {**head(self._engine, now), "continues": continues, "settings": self._settings._asdict()}
        rows = [["head", about], ["inventory", self._engine.inventory_fact]]
        self._parts.begin([orjson.dumps(row) for row in rows])
        # A copy needs no policy that knows anything.
        copy = self._engine.fork(load_plugin("sched.plugin1"))
        self._first = itertools.chain(_jobs(copy, _asked(self._engine), now), [["begun", now]])
        self._began = time.monotonic()
        # Passes that are sliced alike make a replay from here on exact.
        self._engine.plan_anew()
        self._write_first(SLICE)

    def _write_first(self, seconds: float) -> None:
        """Write the first state of a part, for so long."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._first is None or self._parts is None:
            return
        end = time.monotonic() + seconds
        try:
            more = True
            while more:
                lines = [orjson.dumps(row) for row in itertools.islice(self._first, JOBS)]
                if lines:
                    self._parts.append(lines)
                if len(lines) < JOBS:
                    self._first = None
                    self._parts.complete()
                    self._flush()
                    return
                more = time.monotonic() < end
        except Exception as error:
            self._failed(error)
            return
        longer = SLICE if time.monotonic() - self._began < LONG else LONG_SLICE
        self._next = self._host.call_later(PAUSE, self._guard(partial(self._write_first, longer)))

    def _note(self, row: list[Any]) -> None:
        try:
            self._lines.append(orjson.dumps(row))
        except TypeError as error:
            # Whatever it is that JSON does not have, the engine has taken it.
            self._failed(error)
            return
        if len(self._lines) >= FLUSH_LINES:
            self._flush()
        elif self._timer is None:
            self._timer = self._host.call_later(FLUSH, self._guard(self._due))

    def _due(self) -> None:
        self._timer = None
        self._flush()

    def _over(self) -> None:
        """A pass is over: what it decided is written, and this is where another part may begin."""
        self._flush()
        if self._parts is not None and self._first is None and self._parts.full:
            try:
                self._begin(continues=True)
            except Exception as error:
                self._failed(error)

    def _flush(self) -> None:
        if not self._lines or self._parts is None or self._first is not None:
            return
        lines, self._lines = self._lines, []
        try:
            self._parts.append(lines)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Nothing can be written: there is no record from here on, and the engine goes on."""
        place = self._settings.record if self._settings else ""
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, OSError):
            place, text = error.filename or place, error.strerror or str(error)
        self._host.log(LOG_ERR, f"record: {place}: {text}; nothing is recorded any more")
        self._lines.clear()
        self._first = None
        for timer in (self._timer, self._next):
            if timer is not None:
                timer.cancel()
        self._timer = self._next = None
        if self._engine is not None:
            self._engine.note = None
            self._engine = None
        if self._parts is not None:
            parts, self._parts = self._parts, None
            try:
                parts.close()
            except OSError:
                pass
