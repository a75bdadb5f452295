# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Policies that follow the live instance on engines of their own (``shadow=NAME,...``): what they would have done.

Each input of the live engine goes to each shadow too. What a shadow starts runs in its world alone, from its start
there, for the time that the job really ran. That is known once the job has ended in the live instance, so a shadow
keeps a time of its own, which is never later than what is known:

- A job that runs in a shadow and has started live, too, has run for at least as long as it has run live.
- Of a job that runs in a shadow and waits live nothing is known yet: the shadow's time stands still at its start, until
  the job has started live.

So a shadow lags behind, by no more than its jobs wait longer live than in the shadow, and what it tells is exact up to
its own time. A job that is cancelled live while it waits ends in the shadow at that time if it runs there. What a job
gives back before its end it gives back in the shadow, too, as long after its start there.

Shadows take their turns between the messages that the service handles, in slices. An error in one of them ends that
shadow, with a line in the log.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections import deque
from typing import Any, NamedTuple, Optional

from fluxsched.core import Engine
from fluxsched.formats import idset
from fluxsched.policy import names
from fluxsched.service import deadline
from fluxsched.service.ends import Ends
from fluxsched.service.entries import refused, request_of
from fluxsched.service.guard import Guard, where
from fluxsched.service.host import LOG_ERR, LOG_INFO, Host
from fluxsched.service.lives import GivenBack, Life
from fluxsched.service.rpc import rpc
from fluxsched.service.slices import SLICE, next_budget

__all__ = ["Shadow", "Shadows"]

#: Inputs that may wait for a shadow that lags behind; with more it ends.
INPUTS_MAX = 100_000
#: A pass waits so long for what comes with what has just happened, as the live one does; s.
SETTLE = 0.1
#: The pause after a slice, in slices, so that shadows take no more than a fifth of the time; and the least one, s.
PAUSE = 4.0
PAUSE_MIN = 0.02
#: What is known goes on with the clock alone, too: looked at so often while something is to come, s.
WAKE = 1.0
#: Jobs that the policy is asked about in the first slice of a pass, at most.
FIRST = 64


class Input(NamedTuple):
    """An input of the live engine: when it came, what it was, of which job, and its values."""

    t: float
    kind: str
    life: Optional[Life]
    values: tuple[Any, ...]


class Tally:
    """Jobs that have started, and how long they waited."""

    def __init__(self) -> None:
        self.count = 0
        self.wait = 0.0

    def add(self, wait: float) -> None:
        """One more."""
        self.count += 1
        self.wait += max(wait, 0.0)

    @property
    def mean(self) -> Optional[float]:
        """The mean wait, s; None: no job has started."""
        return self.wait / self.count if self.count else None


class Shadow:
    """One policy and its world. `now`: when it begins, in s since the epoch; `engine` is its own."""

    def __init__(self, choice: names.Choice, engine: Engine, now: float) -> None:
        self.choice = choice
        self.engine: Any = engine
        self.clock = now                    # all that happened up to then is known and done
        self.inputs: deque[Input] = deque()     # that it has not come to
        self.stopped: Optional[str] = None  # why it has ended
        self.started = Tally()
        self.same = Tally()                 # of the jobs that have started in both worlds: their waits here,
        self.live = Tally()                 # and live
        self.seconds = 0.0                  # that it took
        self.starts: dict[int, tuple[Life, float]] = {}     # jobs that have started here and not live yet
        self._lives: dict[int, Life] = {}   # of the jobs in the engine
        self._running: dict[int, float] = {}    # job id -> start here
        # Heap of what is known to come: when, in which order at one time, of which job, and the parts that it has given
        # back by then; 0: all, it is its end.
        self._ends: list[tuple[float, int, int, Life, int]] = []
        self._order = itertools.count()
        self._parts: dict[int, GivenBack] = {}      # jobs that run here and have given back some
        self._ahead: dict[int, Life] = {}   # jobs that run here, and of which it is not known how long they will
        self._limits: dict[int, float] = {}     # changed time limits of waiting jobs, s from their start on
        self._changed: Optional[float] = None   # since when a pass is due
        self._passing = False               # it goes on
        self._budget = FIRST

    def adopt(self, jobid: int, life: Life) -> None:
        """A job that runs in the engine already."""
        assert life.start is not None
        self._lives[jobid] = life
        self._running[jobid] = life.start

    def expect(self, jobid: int, life: Life) -> None:
        """A job that waits in the engine already."""
        self._lives[jobid] = life

    # -- what is learnt of a job ----------------------------------------------

    def known(self, jobid: int, life: Life) -> None:
        """The job is over live: if it runs here, its end is known now."""
        if self._lives.get(jobid) is life and jobid in self._running:
            self._ahead.pop(jobid, None)
            self._end(jobid, life)
        if life.gone is not None and self.starts.get(jobid, (None, 0.0))[0] is life:
            del self.starts[jobid]

    def live_start(self, jobid: int, life: Life) -> None:
        """The job has started live."""
        found = self.starts.get(jobid)
        if found is not None and found[0] is life:
            del self.starts[jobid]
            self._both(life, found[1])

    def _both(self, life: Life, start: float) -> None:
        assert life.start is not None
        self.same.add(start - life.submit)
        self.live.add(life.start - life.submit)

    def _end(self, jobid: int, life: Life) -> None:
        """The end of a job that runs here is known."""
        start = self._running[jobid]
        if life.gone is not None:
            end = max(start, life.gone)
        else:
            assert life.end is not None and life.start is not None
            end = life.end if start == life.start else start + (life.end - life.start)
        self._push(end, jobid, life, 0)

    def _push(self, when: float, jobid: int, life: Life, parts: int) -> None:
        heapq.heappush(self._ends, (max(when, self.clock), next(self._order), jobid, life, parts))

    def given_back(self, jobid: int, life: Life) -> None:
        """The job has given back some of its ranks live: if it runs here, it does so after as long a time."""
        if self._lives.get(jobid) is life and jobid in self._running:
            self._push(self._running[jobid] + life.parts[-1][0], jobid, life, len(life.parts))

    # -- time -----------------------------------------------------------------

    def _bound(self, now: float) -> float:
        """Up to when all is known at a time of the clock."""
        least = now
        for jobid, life in self._ahead.items():
            start = self._running[jobid]
            least = min(least, start if life.start is None else start + max(now - life.start, 0.0))
        return max(least, self.clock)

    def up_to(self, now: float) -> float:
        """Up to when all that happened is known and done, at a time of the clock."""
        if self.stopped is not None or self._passing or self._changed is not None:
            return self.clock
        return max(self.clock, min(self._bound(now), self._next()))

    def _next(self) -> float:
        """When the next thing happens."""
        first = self.inputs[0].t if self.inputs else math.inf
        return min(first, self._ends[0][0]) if self._ends else first

    @property
    def waiting(self) -> int:
        """How many jobs wait here."""
        return len(self._lives) - len(self._running)

    def forget(self) -> None:
        """It has ended: only what it has come to is kept."""
        for kept in (self.inputs, self.starts, self._lives, self._running, self._ends, self._parts, self._ahead,
                     self._limits):
            kept.clear()
        self._changed, self._passing = None, False
        self.engine = None

    @property
    def waits(self) -> bool:
        """Whether something is to happen that is not known to be due."""
        return self.stopped is None and (self._passing or self._changed is not None or self._next() < math.inf)

    def advance(self, now: float, seconds: float) -> bool:
        """Go on to what is known at this time of the clock, for so long. Whether there is more to do at once. Raises
        what the policy raises."""
        begin = time.monotonic()
        bound = self._bound(now)
        while True:
            due = self._changed is not None and now >= self._changed + SETTLE < self._next()
            if self._passing or due:
                self._pass()
                bound = min(bound, self._bound(now))
            elif self._next() <= bound:
                self._at(self._next())
            else:
                self.clock = max(self.clock, min(bound, self._next()))
                return False
            if time.monotonic() - begin >= seconds:
                return True

    def _at(self, t: float) -> None:
        """All that happens at a time, up to a pass of the live instance, which is one here, too."""
        self.clock = max(self.clock, t)
        while self._ends and self._ends[0][0] <= t:
            _, _, jobid, life, parts = heapq.heappop(self._ends)
            if self._lives.get(jobid) is life:
                self._finish(jobid, life, parts)
        while self.inputs and self.inputs[0].t <= t:
            given = self.inputs.popleft()
            if given.kind == "pass":
                self._passing = self._changed is not None
                return
            getattr(self, "_on_" + given.kind)(given.life, *given.values)
            if self._changed is None:
                self._changed = t

    def _finish(self, jobid: int, life: Life, parts: int) -> None:
        """A job is over, or (with parts) has given back so many."""
        if not parts:
            self.engine.free(jobid)
            self._forget(jobid)
        else:
            if jobid not in self._parts:
                self._parts[jobid] = GivenBack(life, self.engine.allocated_ranks(jobid))
            ranks = self._parts[jobid].take(parts)
            if not ranks:
                return
            self.engine.free(jobid, ranks, False)
        if self._changed is None:
            self._changed = self.clock

    def _forget(self, jobid: int) -> None:
        del self._lives[jobid]
        self._running.pop(jobid, None)
        self._limits.pop(jobid, None)
        self._ahead.pop(jobid, None)
        self._parts.pop(jobid, None)

    def _pass(self) -> None:
        """A pass, or a slice of it."""
        self._changed = None
        begin = time.monotonic()
        outcome = self.engine.schedule(self.clock, self._budget)
        self._budget = next_budget(self._budget, time.monotonic() - begin, SLICE)
        self._passing = outcome.more
        for jobid, _ in outcome.denied:
            self._forget(jobid)
        for jobid in outcome.started:
            self._start(jobid, self._lives[jobid])

    def _start(self, jobid: int, life: Life) -> None:
        """A job has started here."""
        start = self.clock
        self._running[jobid] = start
        limit = self._limits.pop(jobid, None)
        if limit is not None:
            self.engine.update_expiration(jobid, start + limit if limit < math.inf else 0.0)
        self.started.add(start - life.submit)
        if life.start is not None:
            self._both(life, start)
        elif life.gone is None:
            self.starts[jobid] = (life, start)
        for number, (after, _) in enumerate(life.parts, 1):
            self._push(start + after, jobid, life, number)
        if life.end is not None or life.gone is not None:
            self._end(jobid, life)
        elif life.start is None or start < life.start:
            self._ahead[jobid] = life

    # -- inputs ---------------------------------------------------------------

    def _on_add(self, life: Life, jobid: int, row: list[Any], priority: int, t_submit: float, user: Any,
                sequence: Optional[int]) -> None:
        self.engine.add(jobid, request_of(row), priority, t_submit, user, sequence)
        self._lives[jobid] = life

    def _on_adopt(self, life: Life, jobid: int, R: Any, freed: str, priority: int, t_submit: float, user: Any) -> None:
        self.engine.adopt(jobid, R, freed, priority, t_submit, user)
        self.adopt(jobid, life)
        if life.end is not None:
            self._end(jobid, life)

    def _on_cancel(self, life: Life, jobid: int) -> None:
        # If it runs here, its end is there already.
        if self._lives.get(jobid) is life and jobid not in self._running:
            self.engine.cancel(jobid)
            self._forget(jobid)

    def _on_priority(self, life: Life, jobid: int, priority: int) -> None:
        if self._lives.get(jobid) is life:
            self.engine.reprioritize(jobid, priority)

    def _on_end(self, life: Life, jobid: int, limit: float, end: float) -> None:
        """A job that runs live has another time limit, from its start on; inf: none, and `end` is the instance's."""
        if self._lives.get(jobid) is not life:
            return
        if jobid not in self._running:
            self._limits[jobid] = limit
        else:
            start = self._running[jobid]
            self.engine.update_expiration(jobid, start + limit if limit < math.inf else end)

    def _on_up(self, life: None, ranks: Any) -> None:
        self.engine.mark_up(ranks)

    def _on_down(self, life: None, ranks: Any) -> None:
        self.engine.mark_down(ranks)

    def _on_gone(self, life: None, ranks: Any) -> None:
        self.engine.remove(ranks)

    def _on_property_add(self, life: None, name: str, ranks: Any) -> None:
        self.engine.property_add(name, ranks)

    def _on_property_remove(self, life: None, name: str, ranks: Any) -> None:
        self.engine.property_remove(name, ranks)

    def _on_expiration(self, life: None, t: float) -> None:
        self.engine.set_expiration(t)


class Shadows:
    """The shadows of an instance."""

    def __init__(self, host: Host, guard: Guard, ends: Ends) -> None:
        self._host = host
        self._guard = guard
        self._ends = ends
        self._engine: Any = None                # the live one, where there are shadows
        self._shadows: list[Shadow] = []
        self._lives: dict[int, Life] = {}       # of the jobs that are there live
        self._live = Tally()                    # jobs that have started live
        self._since = 0.0
        self._last = 0.0                        # time of the last input
        self._timer: Optional[Any] = None
        self._due = 0.0                         # when it is, by the monotonic clock
        self._turn = 0

    def begin(self, engine: Any, policies: tuple[str, ...]) -> None:
        """Begin anew with these policies, from the live engine as it is now; it is a RecordedEngine, if there are any.
        A policy that cannot be made is logged."""
        self.stop()
        self._live, self._lives = Tally(), {}
        self._since = self._last = now = self._host.now()
        if not policies:
            return
        self._engine = engine
        engine.clock = self._host.now
        engine.follower = self.note
        for jobid, asked in engine.asked.items():
            start = None if engine.waits(jobid) else engine.times(jobid)[0]
            self._lives[jobid] = Life(asked.t_submit, start)
        for policy in policies:
            try:
                choice = names.choose(policy)
                shadow = Shadow(choice, engine.fork(names.load(choice)), now)
            except Exception as error:
                self._host.log(LOG_ERR, f"shadow {policy}: {error}")
                continue
            shadow.engine.hasty = True
            for jobid, life in self._lives.items():
                (shadow.expect if life.start is None else shadow.adopt)(jobid, life)
            self._shadows.append(shadow)
        self._host.log(LOG_INFO, f"shadow={','.join(policies)}: they follow what comes from now on")
        self._wake(PAUSE_MIN)

    def stop(self) -> None:
        """The end: they follow nothing any more."""
        self._shadows = []
        if self._engine is not None:
            self._engine.follower = None
            self._engine = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- what the live engine is told, and decides ----------------------------

    def note(self, row: list[Any]) -> None:
        """A row of fluxsched.service.entries.  Whatever is wrong here, the live engine does not hear of it."""
        try:
            self._hear(row)
        except Exception as error:
            for shadow in self._shadows:
                if shadow.stopped is None:
                    self._end(shadow, f"{type(error).__name__}: {error} ({where(error)})")

    def _hear(self, row: list[Any]) -> None:
        if not any(shadow.stopped is None for shadow in self._shadows):
            return
        kind, t, *values = row
        if kind != "pass" and refused(row):
            return
        self._last = max(self._last, t)
        getattr(self, "_note_" + kind.replace("-", "_"), self._note_other)(kind.replace("-", "_"), values)
        self._wake(PAUSE_MIN)

    def _give(self, kind: str, life: Optional[Life], *values: Any) -> None:
        """An input for all shadows."""
        given = Input(self._last, kind, life, values)
        for shadow in self._shadows:
            if shadow.stopped is None:
                shadow.inputs.append(given)
                if len(shadow.inputs) > INPUTS_MAX:
                    behind = self._last - shadow.clock
                    self._end(shadow, f"more than {INPUTS_MAX} inputs wait for it: it lags {behind:.0f} s behind")

    def _note_other(self, kind: str, values: list[Any]) -> None:
        if kind in ("up", "down", "gone", "property_add", "property_remove", "expiration"):
            self._give(kind, None, *values)

    def _note_add(self, kind: str, values: list[Any]) -> None:
        life = self._lives[values[0]] = Life(values[3])
        self._give(kind, life, *values)

    def _note_adopt(self, kind: str, values: list[Any]) -> None:
        life = self._lives[values[0]] = Life(values[4], self._engine.times(values[0])[0])
        self._give(kind, life, *values)

    def _note_cancel(self, kind: str, values: list[Any]) -> None:
        self._gone(values[0])

    def _note_priority(self, kind: str, values: list[Any]) -> None:
        life = self._lives.get(values[0])
        if life is not None:
            self._give(kind, life, *values)

    def _note_end(self, kind: str, values: list[Any]) -> None:
        jobid, end = values
        life = self._lives.get(jobid)
        if life is None or life.start is None:
            return
        # One that ends with the instance does so wherever it runs.
        unlimited = not end or end == self._ends.instance
        self._give(kind, life, jobid, math.inf if unlimited else end - life.start, end)

    def _note_free(self, kind: str, values: list[Any]) -> None:
        jobid, ranks, final = values
        life = self._lives.get(jobid)
        if life is None or life.start is None:
            return
        if not final:
            if ranks:
                held = set(idset.ids(self._engine.allocated_ranks(jobid))).union(idset.ids(ranks))
                life.give_back(self._last, idset.encode(sorted(held)), ranks)
                for shadow in self._shadows:
                    shadow.given_back(jobid, life)
        else:
            del self._lives[jobid]
            life.end = self._last
            for shadow in self._shadows:
                shadow.known(jobid, life)

    def _note_pass(self, kind: str, values: list[Any]) -> None:
        _, started, denied, more = values[:4]
        for jobid, *_ in started:
            life = self._lives[jobid]
            life.start = self._last
            self._live.add(life.start - life.submit)
            for shadow in self._shadows:
                shadow.live_start(jobid, life)
        for jobid, _ in denied:
            self._gone(jobid)
        if not more:
            self._give(kind, None)

    def _gone(self, jobid: int) -> None:
        """A job waits no more, and has never started."""
        life = self._lives.pop(jobid, None)
        if life is not None:
            life.gone = self._last
            self._give("cancel", life, jobid)
            for shadow in self._shadows:
                shadow.known(jobid, life)

    # -- their turns ----------------------------------------------------------

    def _wake(self, seconds: float) -> None:
        """Have the next turn so soon, or sooner."""
        due = time.monotonic() + seconds
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = self._host.call_later(seconds, self._guard(self._run))

    def _run(self) -> None:
        """A slice for the shadows, in turn, that have something to do."""
        self._timer = None
        now, spent = max(self._host.now(), self._last), 0.0
        for _ in range(len(self._shadows)):
            self._turn = (self._turn + 1) % len(self._shadows)
            shadow = self._shadows[self._turn]
            if shadow.stopped is not None:
                continue
            begin = time.monotonic()
            more = self._advance(shadow, now)
            took = time.monotonic() - begin
            shadow.seconds += took
            spent += took
            if more or spent > SLICE:
                self._wake(max(PAUSE * spent, PAUSE_MIN))
                return
        if any(shadow.waits for shadow in self._shadows):
            self._wake(WAKE)

    def _advance(self, shadow: Shadow, now: float) -> bool:
        try:
            with deadline.deadline(shadow.engine.policy, deadline.DEADLINE):
                return shadow.advance(now, SLICE)
        except (Exception, SystemExit, deadline.Overrun) as error:
            self._end(shadow, f"{type(error).__name__}: {error} ({where(error)})")
            return False

    def _end(self, shadow: Shadow, why: str) -> None:
        """A shadow cannot go on."""
        shadow.stopped = why
        shadow.forget()
        self._host.log(LOG_ERR, f"shadow {shadow.choice.name} has stopped: {why}")

    # -- what they tell -------------------------------------------------------

    def engines(self) -> dict[str, Engine]:
        """The engines of those that have not stopped, by the names of their policies."""
        return {shadow.choice.name: shadow.engine for shadow in self._shadows if shadow.stopped is None}

    @rpc("sched.shadow", after=True)
    def _shadow(self, message: Any) -> None:
        """What the shadows have done so far, beside what has been done live."""
        now = max(self._host.now(), self._last)
        self._host.respond(message, {
            "now": now, "since": self._since,
            "live": {"started": self._live.count, "wait": self._live.mean},
            "shadows": [self._row(shadow, now) for shadow in self._shadows],
        })

    @staticmethod
    def _row(shadow: Shadow, now: float) -> dict[str, Any]:
        both, choice = shadow.same.count, shadow.choice
        return {
            "name": choice.name, "plugin": choice.plugin, "options": choice.options, "clock": shadow.up_to(now),
            "stopped": shadow.stopped, "started": shadow.started.count, "wait": shadow.started.mean,
            "both": both, "both_wait": shadow.same.mean, "both_live": shadow.live.mean,
            "saved": shadow.live.wait - shadow.same.wait, "ahead": len(shadow.starts), "waiting": shadow.waiting,
            "inputs": len(shadow.inputs), "seconds": shadow.seconds,
        }
