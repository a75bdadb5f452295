# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a simulation gives, and the measures computed from it."""
from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Dict, Optional, Tuple

import numpy as np

from fluxsched.traces.trace import Trace

TAU = 10.0      # s: bound of the bounded slowdown (Feitelson, Metrics for parallel job scheduling, JSSPP 2001)


def _same(a: Any, b: Any) -> bool:
    """Whether two values are equal; of arrays all of it, NaN being equal to NaN."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f")
    if isinstance(a, Trace) and isinstance(b, Trace):
        return all(_same(getattr(a, f.name), getattr(b, f.name)) for f in fields(Trace))
    return not isinstance(a, np.ndarray) and not isinstance(b, np.ndarray) and bool(a == b)


@dataclass(frozen=True, eq=False)
class Foretold:
    """What was foretold of each job when it was submitted: float64 (n,), s in the trace's time; NaN = nothing.

    estimate  its start, if all jobs take the time that they asked for
    likely    the median over runs with run times drawn from what users' earlier jobs did
    late      the time by which nine of ten start
    """

    estimate: np.ndarray
    likely: np.ndarray
    late: np.ndarray

    def __eq__(self, other: object) -> bool:
        """Whether the same was foretold."""
        if not isinstance(other, Foretold):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    def select(self, keep: np.ndarray) -> Foretold:
        """Those of some jobs."""
        return Foretold(self.estimate[keep], self.likely[keep], self.late[keep])


# How long it took: the only part of a result that differs between two runs.
_TIMED = frozenset(("passes_time", "loop_time", "pass_time"))


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """One trace under one policy.

    Two are equal if all that is in them is, but for the time that they took. Printed, it is a summary; in a notebook, a
    table.

    trace      the n jobs that were simulated, in queue order
    start      float64 (n,), s in the trace's time, NaN = not started
    finish     float64 (n,), s, NaN = not finished by `ended`
    backfilled bool (n,): started while a job ahead of it in the queue went on waiting
    procs      processors of the machine
    ended      s: time of the last event, or where the simulation was cut
    stopped    "" = ran to its end, "until" = cut at a time, "interrupted", "blocked" = jobs wait for others that have
               no time limit, "stalled" = the plugin starts no more jobs, though all is free
    offset     int64 (n+1,), and first, last: int64 (offset[n],): processors first..last of range k, both
               included, offset[i] <= k < offset[i+1], are those of job i; None where they were not recorded.
               Processor p is core p % cores of node p // cores.
    passes     scheduling passes, and their time in s
    loop_time  s in the event loop, passes included
    pass_count, pass_time  (64,): passes by queue length, and their time in s: [k] is for lengths from
               2**(k-1) to 2**k - 1 ([0] is the empty queue)
    left_out   rule -> number of jobs of the trace that were not simulated
    foretold   what was foretold of the jobs; None where that was not asked for
    """

    trace: Trace
    start: np.ndarray
    finish: np.ndarray
    backfilled: np.ndarray
    procs: int
    nodes: int
    cores: int
    policy: str
    plugin: str
    options: str
    ended: float
    stopped: str = ""
    offset: Optional[np.ndarray] = None
    first: Optional[np.ndarray] = None
    last: Optional[np.ndarray] = None
    passes: int = 0
    passes_time: float = 0.0
    loop_time: float = 0.0
    pass_count: np.ndarray = field(default_factory=lambda: np.zeros(64, dtype=np.int64))
    pass_time: np.ndarray = field(default_factory=lambda: np.zeros(64))
    left_out: Dict[str, int] = field(default_factory=dict)
    foretold: Optional[Foretold] = None

    def __eq__(self, other: object) -> bool:
        """Whether it is the same schedule, of the same trace under a policy of the same name."""
        if not isinstance(other, Result):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self) if f.name not in _TIMED)

    def __repr__(self) -> str:
        """A summary, with arrays as numpy shortens them."""
        arrays = [f"{name}={np.array2string(getattr(self, name), threshold=10, precision=1, separator=', ')}"
                  for name in ("start", "finish")]
        about = f"policy={self.policy!r}, trace={self.trace.source!r}, jobs={len(self.trace)}, procs={self.procs}"
        stopped = f", stopped={self.stopped!r}" if self.stopped else ""
        return f"Result({about}{stopped},\n       " + ",\n       ".join(arrays) + ")"

    def _repr_html_(self) -> str:
        """Its measures, as a notebook shows them."""
        from fluxsched.simulate.results import html_table

        return html_table([self])

    def to_frame(self) -> Any:
        """The jobs that started as a pandas DataFrame, a row each, in the columns of jobs.csv.  ModuleNotFoundError
        without pandas."""
        from fluxsched.simulate.results import frame

        return frame(self)

    @property
    def wait(self) -> np.ndarray:
        """Waiting time in s, NaN for jobs that did not start: float64 (n,)."""
        return self.start - self.trace.submit

    @property
    def execution(self) -> np.ndarray:
        """Run time in s, at most the request, NaN for jobs that did not finish: float64 (n,)."""
        return self.finish - self.start

    @property
    def killed(self) -> np.ndarray:
        """Whether a job ended at its request, which it would have run beyond: bool (n,)."""
        return ~np.isnan(self.finish) & (self.trace.run > self.trace.request)


def utilisation(result: Result) -> Tuple[np.ndarray, np.ndarray]:
    """Share of processors in use: times (m,) in s and values (m,), each holding until the next time."""
    started = ~np.isnan(result.start)
    size = result.trace.procs[started].astype(np.float64)
    end = np.where(np.isnan(result.finish), result.ended, result.finish)[started]
    time, value = _steps(result.start[started], end, size, result)
    return time, value / result.procs


def queue_length(result: Result) -> Tuple[np.ndarray, np.ndarray]:
    """Number of waiting jobs: times (m,) in s and values (m,), each holding until the next time."""
    came = result.trace.submit <= result.ended
    end = np.where(np.isnan(result.start), result.ended, result.start)[came]
    return _steps(result.trace.submit[came], end, np.ones(int(came.sum())), result)


def _steps(begin: np.ndarray, end: np.ndarray, height: np.ndarray, result: Result) -> Tuple[np.ndarray, np.ndarray]:
    """The sum of boxes of these heights as a step function from the first submit to the end."""
    time = np.concatenate((begin, end, [result.trace.submit[0], result.ended]))
    change = np.concatenate((height, -height, [0.0, 0.0]))
    order = np.argsort(time, kind="stable")
    total = np.cumsum(change[order])
    time = time[order]
    last = np.append(np.diff(time) > 0, True)          # of several changes at one time, the state after them
    return time[last], np.round(total[last], 6)


def bounded_slowdown(wait: np.ndarray, run: np.ndarray, tau: float = TAU) -> np.ndarray:
    """max(1, (wait + run) / max(run, tau)), all in s; NaN where either is."""
    return np.maximum(1.0, (wait + run) / np.maximum(run, tau))


def _number(value: float) -> Optional[float]:
    return None if np.isnan(value) else float(value)


def measure(result: Result) -> Dict[str, Any]:
    """The measures of a run; None where there is nothing to measure.

    Over all started jobs: mean_wait, median_wait, p95_wait, max_wait (s), mean_bounded_slowdown (jobs whose end
    is known), backfilled_share.  Over the time from the first submit to the end: makespan (s), utilisation,
    mean_queue_length (time average).
    """
    trace = result.trace
    started = ~np.isnan(result.start)
    finished = ~np.isnan(result.finish)
    came = trace.submit <= result.ended
    span = result.ended - float(trace.submit[0])
    wait = result.wait[started]
    end = np.where(finished, result.finish, result.ended)
    work = (trace.procs[started] * (end - result.start)[started]).sum()
    queued = (np.where(started, result.start, result.ended) - trace.submit)[came].sum()
    slowdown = bounded_slowdown(result.wait, result.execution)[finished]
    nan = float("nan")
    return {
        "jobs": len(trace),
        "finished": int(finished.sum()),
        "running": int((started & ~finished).sum()),
        "waiting": int((came & ~started).sum()),
        "not_submitted": int((~came).sum()),
        "killed": int(result.killed.sum()),
        "makespan": span,
        "utilisation": _number(work / (result.procs * span) if span > 0 else nan),
        "mean_wait": _number(wait.mean() if len(wait) else nan),
        "median_wait": _number(np.median(wait) if len(wait) else nan),
        "p95_wait": _number(np.percentile(wait, 95) if len(wait) else nan),
        "max_wait": _number(wait.max() if len(wait) else nan),
        "mean_bounded_slowdown": _number(slowdown.mean() if len(slowdown) else nan),
        "mean_queue_length": _number(queued / span if span > 0 else nan),
        "backfilled_share": _number(result.backfilled[started].mean() if len(wait) else nan),
        "passes": int(result.passes),
        "time_per_pass": _number(result.passes_time / result.passes if result.passes else nan),
        "loop_time": float(result.loop_time),
    }
