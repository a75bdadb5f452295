# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Running a trace through the engine."""
from __future__ import annotations

import math
import os
import signal
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from fluxsched.core import Engine, Inventory
from fluxsched.core.history import History
from fluxsched.errors import FluxSchedError
from fluxsched.formats.jobspec import Vertex
from fluxsched.policy.names import Choice, PolicyError, options_text
from fluxsched.simulate.forecast import Watch
from fluxsched.simulate.loop import DEFAULT_PRIORITY, NEVER, Loop, node_cores
from fluxsched.simulate.metrics import Result
from fluxsched.simulate.policy import load as load_policy
from fluxsched.traces.load import load
from fluxsched.traces.trace import ENDED, RUNNING, Trace, build

SLICE = 0.05                   # s of real time in the loop between looks at signals
LAST = 9e12                    # s: later times would not fit the engine's microseconds


class SimulateError(FluxSchedError, ValueError):
    """A simulation that cannot be set up; the text says what was expected."""


class _Request(NamedTuple):
    """What jobs ask for, as numbers for the engine, of shape (jobs,)."""

    nodes: np.ndarray       # int32; 0: any
    slots: np.ndarray       # int32: on each node, or in all
    cores: np.ndarray       # int32: of a slot
    exclusive: np.ndarray   # uint8: whole nodes


class _Course(NamedTuple):
    """When jobs come and how long they run, int64 of shape (jobs,), µs."""

    arrival: np.ndarray
    run: np.ndarray
    request: np.ndarray
    submit: np.ndarray


class Machine(NamedTuple):
    """What jobs run on.  cores: int64 (nodes,), cores of each node."""

    inventory: Inventory
    cores: np.ndarray
    by_node: bool           # jobs that state nodes ask for nodes, not for processors alone
    has_bandwidth: bool     # there are tags max_bw

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self.cores)

    @property
    def procs(self) -> int:
        """Processors of all nodes together."""
        return int(self.cores.sum())


def machine(*, procs: Optional[int] = None, nodes: Optional[int] = None, cores: Optional[int] = None,
            rdl: Optional[str] = None, uri: str = "default", trace: Optional[Trace] = None) -> Machine:
    """The machine to simulate: `procs` processors, one a node; or `nodes` of `cores` (default 1); or the nodes of an
    RDL file (or an RDL hierarchy); or, without any of these, as many processors as the trace's header states.

    Raises SimulateError, and RDLError for the file.
    """
    given = [name for name, value in (("procs", procs), ("nodes", nodes), ("rdl", rdl)) if value is not None]
    if len(given) > 1:
        raise SimulateError(f"the machine is given twice: {' and '.join(given)}")
    if cores is not None and nodes is None:
        raise SimulateError("cores are cores of a node: nodes expected with them")
    for name, value in (("procs", procs), ("nodes", nodes), ("cores", cores)):
        if value is not None and not (_is_whole(value) and 1 <= value <= 10_000_000):
            raise SimulateError(f"{name}: a number from 1 to 10000000 expected, {value!r} found")
    if rdl is not None:
        from fluxsched.formats import rdl as rdl_format

        hierarchy = rdl_format.load(os.fspath(rdl), uri) if isinstance(rdl, (str, os.PathLike)) else rdl
        try:
            inventory = Inventory.from_rdl(hierarchy)
        except ValueError as err:
            raise SimulateError(str(err)) from None
    elif nodes is not None:
        inventory = Inventory.from_counts(int(nodes), int(cores or 1))
    else:
        if procs is None:
            procs = (trace.max_procs or trace.max_nodes) if trace is not None else None
        if procs is None:
            raise SimulateError("no machine: procs, nodes or rdl expected, as the trace states no MaxProcs")
        if procs > 10_000_000:
            raise SimulateError(f"the trace's MaxProcs: at most 10000000 expected, {procs} found")
        inventory = Inventory.from_counts(int(procs), 1)
    bandwidth = rdl is not None and any(kind == "bandwidth" for _, kind, _ in inventory.need_tree().pools())
    return Machine(inventory, node_cores(inventory), rdl is not None or nodes is not None, bandwidth)


def _is_whole(value: Any) -> bool:
    """Whether an argument is a whole number, of Python's or numpy's."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def trace_of(submit: Any, run: Any, procs: Any, request: Any = None, user: Any = None, nodes: Any = None,
             io_rate: Any = None, job_id: Any = None) -> Trace:
    """A trace from arrays of shape (n,): submit, run, request in s; procs; user numbers; nodes; io_rate in MB/s.

    They are put in queue order and cleaned by the rules of fluxsched.traces.trace.  Raises TraceError, and
    SimulateError where the lengths differ.
    """
    columns = {"submit": submit, "run": run, "procs": procs, "request": request, "user": user, "nodes": nodes,
               "io_rate": io_rate, "job_id": job_id}
    columns = {name: np.asarray(value) for name, value in columns.items() if value is not None}
    n = len(columns["submit"])
    for name, value in columns.items():
        if value.shape != (n,):
            raise SimulateError(f"{name}: an array of shape ({n},) expected, {value.shape} found")
    columns.setdefault("job_id", np.arange(1, n + 1))
    columns.setdefault("request", np.zeros(n))
    return build(columns, source="arrays")


def run(trace: Trace | str | os.PathLike, *, procs: Optional[int] = None, nodes: Optional[int] = None,
        cores: Optional[int] = None, rdl: Optional[str] = None, plugin: Any = "sched.plugin1",
        options: str | Dict[str, str] = "", name: Optional[str] = None, until: Optional[float] = None,
        exclusive: bool = False, record: bool = True, forecast: Optional[int] = None, snapshot: Optional[bool] = None,
        on: Optional[Machine] = None, progress: Optional[Callable[[int, int, int], None]] = None) -> Result:
    """Replay a trace on a machine under a plugin; gives start and finish of each job, and measures of the run.

    trace: a Trace, or the path of one.
    procs, nodes, cores, rdl: the machine, see `machine`; or one that is made already, as `on`.
    plugin, options: a plugin as in production, also the path of a plain-Python one, or a short name such as "easy"
        (see fluxsched.policy.names); or a plugin in Python itself: its class, or an object of it, which takes no
        options; name: what to call it in results.
    until: s in the trace's time; events after it do not happen.
    exclusive: jobs take whole nodes.
    record: keep which processors each job had (8 bytes a range).
    forecast: foretell the start of so many jobs at the most, each when it is submitted; 0: of all.
    snapshot: begin with the jobs that run and wait in the snapshot that the trace is, when it was taken; what had ended
        by then is left out. None: where no job had ended.
    progress: called now and then with (ended, arrived, all) jobs.

    Ctrl-C ends the run: the result says stopped="interrupted", and holds what was reached (a second one, in
    a plugin that hangs, is raised).

    Raises TraceError, SimulateError, RDLError, PluginError.
    """
    if isinstance(trace, (str, os.PathLike)):
        trace = load(trace)
    _check(trace, on, until, forecast, progress)
    if on is None:
        on = machine(procs=procs, nodes=nodes, cores=cores, rdl=rdl, trace=trace)
    try:
        choice, policy = load_policy(plugin, options)
    except PolicyError as err:
        raise SimulateError(str(err)) from None
    trace, taken = _part(trace, snapshot)
    jobs, left_out, request = _requests(trace, on, exclusive)
    course = _course(jobs, taken)
    engine = Engine(on.inventory, policy)
    loop = Loop(engine, course.arrival, course.run, course.request, request.nodes, request.slots, request.cores,
                np.unique(jobs.user, return_inverse=True)[1], submit=course.submit, priority=_priority(jobs, taken),
                exclusive=request.exclusive if request.exclusive.any() else None, record=record,
                tree_of=_bandwidth(jobs, on, request, exclusive) if engine.io_aware else None,
                history=None if forecast is None else History())
    watch = None if forecast is None else Watch(loop, course.arrival, forecast)
    limit = int(until * 1e6) if until is not None else 2**62
    with _interrupts() as interrupted:
        more = True
        while more and not interrupted:
            more = loop.advance(limit, SLICE) if watch is None else watch.advance(limit)
            if progress is not None:
                progress(loop.ended, loop.arrived, len(jobs))
    result = _result(loop, jobs, on, choice, name, left_out, until, more, taken)
    if watch is not None:
        result = replace(result, foretold=watch.foretold().select(~loop.denied.astype(bool)))
    return result


def _check(trace: Any, on: Any, until: Any, forecast: Any, progress: Any) -> None:
    """Refuse arguments of `run` that are of no use, by name.  Raises SimulateError."""
    if not isinstance(trace, Trace):
        raise SimulateError(f"trace: a Trace or the path of one expected, {type(trace).__name__} found")
    if on is not None and not isinstance(on, Machine):
        raise SimulateError(f"on: a Machine expected, {type(on).__name__} found")
    if until is not None and not (isinstance(until, (int, float, np.number)) and 0 <= until <= LAST):
        raise SimulateError(f"until: seconds from 0 to {LAST:g} expected, {until!r} found")
    if forecast is not None and not (_is_whole(forecast) and forecast >= 0):
        raise SimulateError(f"forecast: a number of jobs expected, {forecast!r} found")
    if progress is not None and not callable(progress):
        raise SimulateError(f"progress: a function expected, {progress!r} found")


def _micro(seconds: np.ndarray) -> np.ndarray:
    """Seconds as int64 microseconds, infinite ones as NEVER."""
    finite = np.isfinite(seconds)
    if finite.all():
        return np.rint(seconds * 1e6).astype(np.int64)
    return np.where(finite, np.rint(np.where(finite, seconds, 0) * 1e6).astype(np.int64), NEVER)


def _part(trace: Trace, snapshot: Optional[bool]) -> Tuple[Trace, Optional[float]]:
    """The jobs that take part, in the order in which they come; and the time of the snapshot to begin with, or None."""
    going = trace.state > ENDED
    if snapshot and not going.any():
        raise SimulateError(f"{trace.source}: no snapshot: a job that runs or waits expected, all have ended")
    if snapshot or (snapshot is None and going.all()):
        if trace.taken is None:
            raise SimulateError(f"{trace.source}: nothing tells when the snapshot was taken")
        return trace.select(going), trace.taken
    if (np.diff(trace.ready) < 0).any():
        trace = trace.select(np.argsort(trace.ready, kind="stable"))
    return trace, None


def _course(jobs: Trace, taken: Optional[float]) -> _Course:
    """The course of the jobs, which begins at a snapshot that was taken, or (None) with the first arrival."""
    run, request, submit = np.minimum(jobs.run, jobs.request), jobs.request, _micro(jobs.submit)
    arrival = submit if jobs.ready is jobs.submit else _micro(jobs.ready)
    if taken is not None:
        # A job that is past its limit will end before long; as in a forecast, a tick from now.
        left = np.maximum(request - np.where(jobs.state == RUNNING, np.fmax(taken - jobs.began, 0), 0), 1e-6)
        run = request = left
        arrival = np.full(len(jobs), round(taken * 1e6), dtype=np.int64)
    if arrival[-1] / 1e6 + float(run[np.isfinite(run)].sum()) > LAST:
        raise SimulateError("the trace is too long: times beyond 285,000 years")
    return _Course(arrival, _micro(run), _micro(request), submit)


def _priority(jobs: Trace, taken: Optional[float]) -> Optional[np.ndarray]:
    """The priority of each job, or None where all are alike. What runs in a snapshot goes before what waits."""
    if not (jobs.priority >= 0).any() and taken is None:
        return None
    priority = np.where(jobs.priority >= 0, jobs.priority, DEFAULT_PRIORITY)
    return np.where(jobs.state == RUNNING, 2**62, priority) if taken is not None else priority


def _requests(trace: Trace, on: Machine, exclusive: bool) -> Tuple[Trace, Dict[str, int], _Request]:
    """Jobs that the machine can run, how many it cannot, and their nnodes, nslots and cores for the engine."""
    nodes = np.zeros(len(trace), dtype=np.int64)
    whole = trace.exclusive | exclusive
    most = int(on.cores.max())
    if on.by_node:
        # A job that had all cores of its nodes has asked for nodes; those of any other are where its slots came to lie.
        each = trace.procs / np.maximum(trace.ran_on, 1)
        had_all = (trace.ran_on > 0) & np.isin(each, on.cores)
        nodes = np.where(had_all, trace.ran_on, trace.nodes)
        whole = whole | had_all
    if exclusive:
        nodes = np.where(nodes > 0, nodes, -(-trace.procs // most))
    per_node = -(-trace.procs // np.maximum(nodes, 1))
    wide = np.sort(on.cores)[::-1]
    # Nodes that have so many cores, for each number of cores a job wants of each of its nodes.
    fitting = np.searchsorted(-wide, -np.minimum(per_node, most + 1), side="right")
    too_large = np.where(nodes > 0, nodes > fitting, trace.procs > on.procs)
    if too_large.all():
        raise SimulateError(f"{trace.source}: every job is larger than the machine of {on.procs} processors")
    jobs = trace.select(~too_large) if too_large.any() else trace
    keep = ~too_large
    nodes, per_node = nodes[keep].astype(np.int32), per_node[keep]
    left_out = {"too_large": int(too_large.sum())} if too_large.any() else {}
    placed = nodes > 0
    # With nodes: one slot of all its cores on each; else single cores anywhere.
    return jobs, left_out, _Request(nodes, np.where(placed, 1, jobs.procs).astype(np.int32),
                                    np.where(placed, per_node, 1).astype(np.int32), whole[keep].astype(np.uint8))


def _bandwidth(jobs: Trace, on: Machine, request: _Request, exclusive: bool) -> Optional[Callable[[int], Any]]:
    """What gives the request of job i as a tree with its bandwidth, or None where there is nothing to look at."""
    if not on.has_bandwidth or not (jobs.io_rate > 0).any():
        return None
    if exclusive and (on.cores != on.cores[0]).any():
        raise SimulateError("bandwidth and whole nodes: nodes of equal cores expected")
    nnodes, nslots, cores, _ = request

    def tree_of(i: int) -> Optional[Tuple[Vertex, ...]]:
        if jobs.io_rate[i] <= 0:
            return None
        rate = float(jobs.io_rate[i])
        if not nnodes[i]:
            each = (Vertex("core", 1, False, ()), Vertex("bandwidth", math.ceil(rate), False, ()))
            return (Vertex("slot", int(nslots[i]), False, each),)
        width = math.ceil(rate * int(cores[i]))
        taken = int(on.cores[0]) if exclusive else int(cores[i])
        each = (Vertex("core", taken, False, ()), Vertex("bandwidth", width, False, ()))
        return (Vertex("node", int(nnodes[i]), False, each),)

    return tree_of


@contextmanager
def _interrupts() -> Iterator[List[int]]:
    """A list that is no longer empty once SIGINT came; only the main thread can look."""
    came: List[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def note(number: int, frame: Any) -> None:
        came.append(number)
        signal.signal(signal.SIGINT, before)  # if the loop does not look, the next one does what it always does

    before = signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)


def _processors(loop: Loop) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """offset, first and last as in Result, from the loop's ranges: those lie in order of start, and a job's in the
    order in which its nodes were chosen."""
    table = loop.ranges()
    ran = np.flatnonzero(loop.range_count)
    ran = ran[np.argsort(loop.range_begin[ran])]
    job = np.repeat(ran, loop.range_count[ran])
    order = np.lexsort((table[:, 0], job))
    job, first, last = job[order], table[order, 0], table[order, 1]
    begins = np.ones(len(job), dtype=bool)                        # a range that touches the one before joins it
    begins[1:] = (job[1:] != job[:-1]) | (first[1:] != last[:-1] + 1)
    ends = np.append(begins[1:], True)[:len(job)]
    offset = np.zeros(len(loop.range_count) + 1, dtype=np.int64)
    np.cumsum(np.bincount(job[begins], minlength=len(loop.range_count)), out=offset[1:])
    return offset, first[begins], last[ends]


def _stopped(loop: Loop, jobs: int) -> str:
    """What kept jobs from their ends, as in Result, when the loop came to its own."""
    if loop.ended == jobs:
        return ""
    if not loop.over:
        return "until"
    if loop.waiting == 0:
        return ""
    return "stalled" if jobs - loop.ended == loop.waiting else "blocked"


def _result(loop: Loop, jobs: Trace, on: Machine, choice: Choice, name: Optional[str], left_out: Dict[str, int],
            until: Optional[float], more: bool, taken: Optional[float]) -> Result:
    denied = loop.denied.astype(bool)
    if denied.any():
        left_out = {**left_out, "denied": int(denied.sum())}
    start = np.where(loop.start < 0, np.nan, loop.start / 1e6)
    if taken is None:
        jobs = replace(jobs, submit=jobs.ready)          # when they came to the scheduler
    else:
        start = np.where((jobs.state == RUNNING) & ~np.isnan(start), jobs.began, start)
    finish = start + np.minimum(jobs.run, jobs.request)
    ended = loop.clock / 1e6
    stopped = "interrupted" if more else _stopped(loop, len(jobs) - int(denied.sum()))
    if stopped == "until" and until is not None:
        ended = until
    finish[~(finish <= ended + 1e-9)] = np.nan
    offset = first = last = None
    if loop.record:
        offset, first, last = _processors(loop)
    if denied.any():
        jobs, start, finish = jobs.select(~denied), start[~denied], finish[~denied]
        if offset is not None:
            offset = np.append(0, np.cumsum(np.diff(offset)[~denied]))
    uniform = bool((on.cores == on.cores[0]).all())
    return Result(
        trace=jobs, start=start, finish=finish, backfilled=loop.backfilled.astype(bool)[~denied], procs=on.procs,
        nodes=on.nodes, cores=int(on.cores[0]) if uniform else 0, policy=name or choice.name, plugin=choice.plugin,
        options=options_text(choice.options), ended=ended, stopped=stopped, offset=offset, first=first, last=last,
        passes=loop.passes, passes_time=float(loop.pass_ns.sum()) / 1e9, loop_time=loop.loop_ns / 1e9,
        pass_count=loop.pass_count, pass_time=loop.pass_ns / 1e9, left_out=left_out)
