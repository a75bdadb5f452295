# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""When each waiting job is going to start.

A forecast is the policy itself, run forward in virtual time on a copy of the engine (fluxsched.core.forward): first
with the run times that jobs have asked for, which gives t_estimate; then some times with run times drawn from what
their users' earlier jobs did, which give t_likely and t_late.

It is made apart from the passes, after one that has followed a change, and in slices of some milliseconds: between two
slices the host handles the messages that have come.
"""

from __future__ import annotations

import math
import time
from typing import Any, Callable, Generator, Iterable, NamedTuple, Optional

from fluxsched.core import Engine, PluginError
from fluxsched.core.forward import Forward, Spread
from fluxsched.core.history import History
from fluxsched.service.ends import Ends
from fluxsched.service.host import LOG_WARNING, Host
from fluxsched.service.jobs import PENDING, Jobs
from fluxsched.service.rpc import rpc
from fluxsched.service.runtimes import RunTimes
from fluxsched.service.slices import next_budget

__all__ = ["Forecast", "Outlook"]

#: Seconds that a slice is to take, and the pause before the next one at the least.
SLICE = 0.005
BREAK = 0.001
#: What the first slice of a run may cost, in jobs that the plugin is asked about; their time tells what the next may.
FIRST = 64
#: A forecast is followed by a pause of this many times what it took, so that it takes no more than a fifth of the time.
PAUSE = 4.0
#: Runs with drawn run times, at the most and at the least, and the seconds that all of them are to take.
RUNS, RUNS_MIN = 20, 3
RUNS_SECONDS = 0.4
#: The first of these numbers is told before the others are known, if it took so many seconds.
LONG = 1.0
#: Seconds after which a start that has passed without its job is forecast anew, at the least.
REFRESH_MIN = 5.0
#: Jobs of a forecast whose t_late is kept, to see whether it holds.
WATCHED = 200

ENDLESS = "a job without a time limit is ahead: no start can be told"
INSTANCE = "the instance ends before that"
POLICY = "the scheduling policy starts it at no time that can be told"


class Outlook(NamedTuple):
    """What is foretold of a job: times in s since the epoch, None if there is none; then `reason` says why there is no
    t_estimate."""

    t_estimate: Optional[float]
    t_likely: Optional[float]
    t_late: Optional[float]
    reason: Optional[str]


class _Runs(NamedTuple):
    """Runs forward: when they began, the starts in them, and whether jobs without a limit were left at the end."""

    now: float
    starts: Spread
    endless: bool


class Forecast:
    """Makes forecasts.

    `interval`: seconds from one forecast to the next at the least; None: there are none. `engine` answers the engine of
    now, `settled` whether no pass is under way; `over()` is told that there is a new forecast. `guarded` wraps
    callbacks.
    """

    def __init__(
        self,
        host: Host,
        engine: Callable[[], Engine],
        jobs: Jobs,
        ends: Ends,
        run_times: RunTimes,
        settled: Callable[[], bool],
        over: Callable[[], None],
        interval: Optional[float],
        guarded: Callable[..., Callable[..., None]],
    ) -> None:
        self._host = host
        self._engine = engine
        self._jobs = jobs
        self._ends = ends
        self._run_times = run_times
        self._settled = settled
        self._over = over
        self._guarded = guarded
        self.interval = interval
        self.clear()
        self._asked_for: Optional[_Runs] = None     # the run with the times that jobs asked for, and
        self._drawn: Optional[_Runs] = None         # those with times drawn from their users' history
        self._fresh = False             # nothing has happened since the forecast that there is began
        self._wanted = False            # another one is to be made
        self._steps: Optional[Generator[None, None, None]] = None    # of the one that is under way
        self._timer: Optional[Any] = None
        self._next_at = 0.0             # monotonic time before which none begins
        self._took = 0.0                # the one that is under way, so far
        self._cost = FIRST
        self._late: dict[int, float] = {}       # t_late that jobs had first
        self._refused = ""              # why the last copy of the engine could not be made

    def clear(self) -> None:
        """Count from 0 again."""
        self.count = self.runs = self.slices = 0
        self.seconds = self.longest = self.longest_slice = 0.0

    @property
    def statistics(self) -> dict[str, Any]:
        """Forecasts made, runs forward in them, and their time in s."""
        return {
            "count": self.count, "runs": self.runs, "seconds": self.seconds, "max": self.longest,
            "slices": self.slices, "longest_slice": self.longest_slice, "level": self._run_times.coverage.level,
        }

    # -- what is foretold -----------------------------------------------------

    def get(self, jobid: int) -> Optional[Outlook]:
        """What is foretold of a waiting job; None: it came after the last forecast, or there is none."""
        made, drawn = self._asked_for, self._drawn
        if made is None or jobid not in made.starts:
            return None
        start = made.starts.starts(jobid, (1.0,))[0]
        estimate = self._within(start)
        if estimate is None:
            return Outlook(None, None, None, self._why_not(jobid, start, made))
        if drawn is None or jobid not in drawn.starts:
            return Outlook(estimate, estimate, estimate, None)
        likely, late = self._run_times.coverage.times(drawn.starts, jobid, drawn.now)
        return Outlook(estimate, self._within(likely), self._within(late), None)

    @property
    def fresh(self) -> bool:
        """Whether nothing has happened since the forecast that there is began."""
        return self._fresh

    def _within(self, t: Optional[float]) -> Optional[float]:
        """A start, if it comes before the end of the instance."""
        return None if t is None or self._ends.reached(t) else t

    def _why_not(self, jobid: int, start: Optional[float], made: _Runs) -> str:
        """Why a job has no start in a forecast, or one after the end of the instance."""
        parked: Optional[str] = self._engine().parked(jobid)
        if parked is not None:
            return parked
        if start is None and made.endless:
            return ENDLESS
        return INSTANCE if self._ends.instance else POLICY

    # -- when -----------------------------------------------------------------

    def changed(self) -> bool:
        """A pass is over, so something has changed: forecast anew. Whether the new forecast is there at once."""
        self._fresh = False
        if self.interval is None:
            return False
        self._wanted = True
        if self._steps is not None:
            return False
        return self._later() and self._took < SLICE

    def started(self, jobids: Iterable[int], now: float) -> None:
        """Jobs have started: whether their t_late has held."""
        for jobid in jobids:
            late = self._late.pop(jobid, None)
            if late is not None:
                self._run_times.coverage.note(now <= late)
                self._run_times.changed()

    def stop(self) -> None:
        """The end: no forecast is made any more."""
        self.interval = self._steps = None
        if self._timer is not None:
            self._timer.cancel()

    def _later(self) -> bool:
        """Begin once the pause is over. Whether it is."""
        if self._timer is not None:
            self._timer.cancel()
        wait = max(self._next_at - time.monotonic(), 0.0)
        self._timer = self._host.call_later(wait, self._guarded(self._begin))
        return wait == 0.0

    def _begin(self) -> None:
        self._timer = None
        if self.interval is None:
            return
        if not self._settled():
            # The pass that is under way asks again when it is over.
            self._over()
            return
        self._wanted = False
        self._fresh = True
        self._took = 0.0
        self._cost = FIRST
        self._next_at = time.monotonic() + self.interval
        if not self._engine().waiting(0, 1):
            self._asked_for = self._drawn = None
            self._over()
            return
        self._steps = self._make()
        self._slice()

    # -- one forecast ---------------------------------------------------------

    def _slice(self) -> None:
        """The next slice of the forecast that is under way."""
        if self._steps is None:
            return
        begin = time.monotonic()
        took, done = 0.0, False
        error: Optional[Exception] = None
        try:
            while not done:
                done = next(self._steps, self) is self
                took = time.monotonic() - begin
                if took >= SLICE:
                    break
        except Exception as raised:
            took, done, error = time.monotonic() - begin, True, raised
        self._took += took
        self.seconds += took
        self.slices += 1
        self.longest_slice = max(self.longest_slice, took)
        if done:
            self._steps = None
            self._end(error)
        else:
            # As long for others as for this.
            self._timer = self._host.call_later(max(took, BREAK), self._guarded(self._slice))

    def _make(self) -> Generator[None, None, None]:
        """Make a forecast; a step takes some milliseconds at the most."""
        base, now = self._engine().fork(), self._host.now()
        starts = Spread(base)
        yield
        endless = yield from self._run(base, now, starts, None)
        self._asked_for = _Runs(now, starts, endless)
        if self._took > LONG:
            self._over()
        if not self._run_times.history.users:
            self._drawn = None
            return
        drawn, runs, begun = Spread(base), RUNS, self._took
        while drawn.nruns < runs:
            yield from self._run(base, now, drawn, self._run_times.history)
            each = (self._took - begun) / drawn.nruns
            if each > 0:
                runs = max(RUNS_MIN, min(RUNS, int(RUNS_SECONDS / each)))
        self._drawn = _Runs(now, drawn, endless)

    def _run(
        self, base: Engine, now: float, starts: Spread, history: Optional[History]
    ) -> Generator[None, None, bool]:
        """Run a copy forward to its end, or to that of the instance, and take down its starts. Whether jobs without a
        time limit are left."""
        self.runs += 1
        until = self._ends.instance or None
        forward = Forward(base.fork(), now, history, starts.nruns, passed=True)
        more = True
        while more:
            begin = time.monotonic()
            more = forward.advance(until, self._cost)
            took = time.monotonic() - begin
            self._cost = next_budget(self._cost, took, SLICE)
            yield
        starts.add(forward)
        return bool(forward.endless)

    def _end(self, error: Optional[Exception]) -> None:
        self.count += 1
        self.longest = max(self.longest, self._took)
        self._next_at = max(self._next_at, time.monotonic() + PAUSE * self._took)
        if error is not None:
            self._asked_for = self._drawn = None
        if isinstance(error, PluginError):
            # A plugin that cannot be copied is no fault of ours: said once, and it has no forecasts.
            if str(error) != self._refused:
                self._refused = str(error)
                self._host.log(LOG_WARNING, f"no forecasts: {error}")
        elif error is not None:
            raise error
        self._watch()
        self._over()
        if self._wanted:
            self._later()
        else:
            self._refresh_later()

    def _watch(self) -> None:
        """Keep the t_late of some jobs that are new in this forecast."""
        runs, left = self._drawn, WATCHED
        if runs is None:
            return
        if len(self._late) > len(runs.starts):
            self._late = {jobid: late for jobid, late in self._late.items() if jobid in runs.starts}
        for jobid in runs.starts:
            if jobid in self._late or jobid not in self._jobs or self._jobs[jobid].stage != PENDING:
                continue
            late = self._run_times.coverage.times(runs.starts, jobid, runs.now)[1]
            self._late[jobid] = math.inf if late is None else late
            left -= 1
            if not left:
                return

    def _refresh_later(self) -> None:
        """Forecast anew once the first start that is foretold has passed."""
        first = None if self._asked_for is None else self._asked_for.starts.first
        if first is not None:
            delay = max(first - self._host.now(), REFRESH_MIN)
            self._timer = self._host.call_later(delay, self._guarded(self._refresh))

    def _refresh(self) -> None:
        self._timer = None
        self.changed()

    # -- for others -----------------------------------------------------------

    @rpc("sched.forecast", after=True)
    def _forecast(self, message: Any) -> None:
        """What is foretold of each waiting job, in the order of the queue."""
        rows = []
        for jobid in self._engine().waiting():
            outlook = self.get(jobid)
            if outlook is not None:
                rows.append({"id": jobid, **outlook._asdict()})
        made, drawn = self._asked_for, self._drawn
        self._host.respond(message, {
            "t": None if made is None else made.now, "fresh": self._fresh, "now": self._host.now(),
            "runs": 0 if drawn is None else drawn.starts.nruns, "jobs": rows,
        })
