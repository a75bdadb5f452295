# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Running a trace through the engine."""
from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from fluxsched.core import Engine, Inventory
from fluxsched.core.history import History
from fluxsched.policy.names import Choice, PolicyError, options_text
from fluxsched.service.entries import inventory_of
from fluxsched.simulate import outages
from fluxsched.simulate.forecast import Watch
from fluxsched.simulate.inputs import LAST, Inputs, Machine, SimulateError, prepare
from fluxsched.simulate.loop import Loop, node_cores
from fluxsched.simulate.memory import with_memory
from fluxsched.simulate.metrics import Foretold, Result
from fluxsched.simulate.outages import Outage
from fluxsched.simulate.policy import load as load_policy
from fluxsched.simulate.site import Site
from fluxsched.traces.load import load
from fluxsched.traces.trace import RUNNING, Trace, build

MAX_MEMORY = 2**31 - 1         # MB of a node
SLICE = 0.05                   # s of real time in the loop between looks at signals


def machine(*, procs: Optional[int] = None, nodes: Optional[int] = None, cores: Optional[int] = None,
            rdl: Optional[str] = None, uri: str = "default", config: Optional[str] = None,
            trace: Optional[Trace] = None, memory: Optional[float] = None) -> Machine:
    """The machine to simulate: `procs` processors, one a node; or `nodes` of `cores` (default 1); or the nodes of an
    RDL file (or an RDL hierarchy); or, without any of these, that of the configuration in a file, or that of the record
    that the trace is, or as many processors as the trace's header states. The jobs go by the queues of the
    configuration, whatever the machine. memory: MB of each node; else memory counts where the RDL has pools of it.

    Raises SimulateError, and RDLError and SiteError for the files.
    """
    given = [name for name, value in (("procs", procs), ("nodes", nodes), ("rdl", rdl)) if value is not None]
    if len(given) > 1:
        raise SimulateError(f"the machine is given twice: {' and '.join(given)}")
    if cores is not None and nodes is None:
        raise SimulateError("cores are cores of a node: nodes expected with them")
    for name, value in (("procs", procs), ("nodes", nodes), ("cores", cores)):
        if value is not None and not (_is_whole(value) and 1 <= value <= 10_000_000):
            raise SimulateError(f"{name}: a number from 1 to 10000000 expected, {value!r} found")
    site = None if config is None else Site(config)
    configured = site.inventory() if site is not None and not given else None
    recorded = trace.resources if trace is not None and not given and configured is None else None
    if configured is not None:
        inventory = configured
    elif rdl is not None:
        from fluxsched.formats import rdl as rdl_format

        hierarchy = rdl_format.load(os.fspath(rdl), uri) if isinstance(rdl, (str, os.PathLike)) else rdl
        try:
            inventory = Inventory.from_rdl(hierarchy)
        except ValueError as err:
            raise SimulateError(str(err)) from None
    elif recorded is not None:
        inventory = inventory_of(recorded)
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
    by_rdl = rdl is not None or (recorded is not None and "hierarchy" in recorded)
    if memory is not None:
        inventory = _with_memory(inventory, memory, by_rdl)
    pools = {kind for _, kind, _ in inventory.need_tree().pools()} if by_rdl or memory is not None else set()
    by_node = by_rdl or not (configured is None and recorded is None and nodes is None)
    return Machine(inventory, node_cores(inventory), by_node, "bandwidth" in pools, "memory" in pools,
                   recorded is not None, site)


def _with_memory(inventory: Inventory, memory: Any, by_rdl: bool) -> Inventory:
    """The inventory with so many MB in each node. Raises SimulateError."""
    if by_rdl:
        raise SimulateError("memory: an RDL file has its own")
    if not (isinstance(memory, (int, float, np.number)) and 1 <= memory <= MAX_MEMORY):
        raise SimulateError(f"memory: MB from 1 to {MAX_MEMORY} expected, {memory!r} found")
    return with_memory(inventory, int(memory))


def _is_whole(value: Any) -> bool:
    """Whether an argument is a whole number, of Python's or numpy's."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def trace_of(submit: Any, run: Any, procs: Any, request: Any = None, user: Any = None, nodes: Any = None,
             io_rate: Any = None, job_id: Any = None) -> Trace:
    """A trace from arrays of shape (n,): submit, run, request in s; procs; user numbers; nodes; io_rate in MB/s.

    They are put in queue order and cleaned by the rules of fluxsched.traces.trace.  Raises TraceError, and
    SimulateError where they are no arrays of numbers, or their lengths differ.
    """
    columns = {"submit": submit, "run": run, "procs": procs, "request": request, "user": user, "nodes": nodes,
               "io_rate": io_rate, "job_id": job_id}
    columns = {name: np.asarray(value) for name, value in columns.items()
               if value is not None or name in ("submit", "run", "procs")}
    n = columns["submit"].size
    for name, value in columns.items():
        if value.dtype.kind not in "iufb":
            raise SimulateError(f"{name}: an array of numbers expected, one of {value.dtype.name} found")
        if value.shape != (n,):
            raise SimulateError(f"{name}: an array of shape ({n},) expected, {value.shape} found")
    columns.setdefault("job_id", np.arange(1, n + 1))
    columns.setdefault("request", np.zeros(n))
    return build(columns, source="arrays")


def run(trace: Trace | str | os.PathLike, *, procs: Optional[int] = None, nodes: Optional[int] = None,
        cores: Optional[int] = None, rdl: Optional[str] = None, plugin: Any = "sched.plugin1",
        options: str | Dict[str, str] = "", name: Optional[str] = None, until: Optional[float] = None,
        exclusive: bool = False, record: bool = True, forecast: Optional[int] = None, snapshot: Optional[bool] = None,
        priority: bool = True, config: Optional[str] = None, down: Any = None, memory: Optional[float] = None,
        on: Optional[Machine] = None,
        progress: Optional[Callable[[int, int, int], None]] = None) -> Result:
    """Replay a trace on a machine under a plugin; gives start and finish of each job, and measures of the run.

    trace: a Trace, or the path of one.
    procs, nodes, cores, rdl, memory: the machine, see `machine`; or one that is made already, as `on`.
    plugin, options: a plugin as in production, also the path of a plain-Python one, or a short name such as "easy"
        (see fluxsched.policy.names); or a plugin in Python itself: its class, or an object of it, which takes no
        options; name: what to call it in results.
    until: s in the trace's time; events after it do not happen.
    exclusive: jobs take whole nodes.
    record: keep which processors each job had (8 bytes a range).
    forecast: foretell the start of so many jobs at the most, each when it is submitted; 0: of all.
    snapshot: begin with the jobs that run and wait in the snapshot that the trace is, when it was taken; what had ended
        by then is left out. None: where no job had ended.
    priority: priorities (urgencies) of the trace count.
    config: the configuration of an instance, whose queues the jobs go by; also the machine, if it has resources.
    down: a file of outages (see fluxsched.simulate.outages), or a list of them; None: those of the record that the
        trace is, on its machine.
    progress: called now and then with (ended, arrived, all) jobs.

    Ctrl-C ends the run: the result says stopped="interrupted", and holds what was reached (a second one, in
    a plugin that hangs, is raised).

    Raises TraceError, SimulateError, RDLError, PluginError.
    """
    if isinstance(trace, (str, os.PathLike)):
        trace = load(trace)
    _check(trace, on, until, forecast, progress)
    if on is None:
        on = machine(procs=procs, nodes=nodes, cores=cores, rdl=rdl, config=config, trace=trace, memory=memory)
    elif config is not None or memory is not None:
        name = "config" if config is not None else "memory"
        raise SimulateError(f"{name} is the machine's: not with one that is made already")
    try:
        choice, policy = load_policy(plugin, options)
    except PolicyError as err:
        raise SimulateError(str(err)) from None
    given = prepare(trace, on, exclusive, snapshot, priority, _outages(down, on, trace))
    jobs = given.jobs
    engine = Engine(on.inventory, policy)
    loop = given.loop(engine, record, None if forecast is None else History())
    # A policy hears of users as the trace numbers them.
    policy.user_numbers = {user: number for number, user in enumerate(np.unique(jobs.user).tolist())}
    watch = None if forecast is None else Watch(loop, given.course.arrival, forecast, given.jobs.after[:, 0])
    limit = int(until * 1e6) if until is not None else 2**62
    with _interrupts() as interrupted:
        more = True
        while more and not interrupted:
            more = loop.advance(limit, SLICE) if watch is None else watch.advance(limit)
            if progress is not None:
                progress(loop.ended, loop.arrived, len(jobs))
    return _result(loop, given, choice, name, until, more, None if watch is None else watch.foretold())


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


def _outages(down: Any, on: Machine, trace: Trace) -> Sequence[Outage]:
    if down is None and on.recorded:
        down = trace.folder
    if down is None or not isinstance(down, (str, os.PathLike)):
        return down or ()
    return outages.read(down, on.inventory, trace.unix_start)


@contextmanager
def _interrupts() -> Iterator[List[int]]:
    """A list that is no longer empty once SIGINT came; only the main thread can look."""
    came: List[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def note(number: int, frame: Any) -> None:
        came.append(number)
        # Nothing else is done here. A policy that hangs keeps the loop from looking, so the next one does what it
        # always does, which is the exception of Python's own handler.
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)


def _processors(loop: Loop, keep: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """offset, first and last as in Result of the jobs of these places, from the loop's ranges: a job's lie together, in
    the order in which its nodes were chosen."""
    count = loop.range_count[keep].astype(np.int64)
    job = np.repeat(np.arange(len(keep)), count)
    row = np.repeat(loop.range_begin[keep] - (np.cumsum(count) - count), count) + np.arange(len(job))
    first, last = loop.ranges()[row].T
    order = np.lexsort((first, job))
    first, last = first[order], last[order]
    begins = np.ones(len(job), dtype=bool)                        # a range that touches the one before joins it
    begins[1:] = (job[1:] != job[:-1]) | (first[1:] != last[:-1] + 1)
    ends = np.append(begins[1:], True)[:len(job)]
    offset = np.zeros(len(keep) + 1, dtype=np.int64)
    np.cumsum(np.bincount(job[begins], minlength=len(keep)), out=offset[1:])
    return offset, first[begins], last[ends]


def _stopped(loop: Loop, jobs: int) -> str:
    """What kept jobs from their ends, as in Result, when the loop came to its own."""
    if loop.ended == jobs:
        return ""
    if not loop.over:
        return "until"
    if loop.waiting == 0 and loop.arrived == loop.total:
        return ""
    alone = jobs - loop.ended == loop.waiting
    return "stalled" if alone and loop.cut is None else "blocked"


def _submitted(loop: Loop, given: Inputs) -> np.ndarray:
    """When the jobs came to the scheduler, in s: float64 (n,); infinite for one that waited for others and never came.
    """
    if given.taken is not None:
        return given.jobs.submit
    if loop.came is None:
        return given.jobs.ready
    submit = given.jobs.ready.copy()
    follows = given.jobs.after[:, 0]
    submit[follows] = np.where(loop.came[follows] < 0, np.inf, loop.came[follows] / 1e6)
    return submit


def _result(loop: Loop, given: Inputs, choice: Choice, name: Optional[str], until: Optional[float], more: bool,
            foretold: Optional[Foretold]) -> Result:
    denied = loop.denied.astype(bool)
    left_out = {**given.left_out, "denied": int(denied.sum())} if denied.any() else given.left_out
    keep = np.flatnonzero(~denied)
    submit = _submitted(loop, given)
    if loop.came is not None:
        keep = keep[np.argsort(submit[keep], kind="stable")]
    jobs, on = given.jobs, given.on
    start = np.where(loop.start < 0, np.nan, loop.start / 1e6)
    if given.taken is not None:
        start = np.where((jobs.state == RUNNING) & ~np.isnan(start), jobs.began, start)
    finish = start + np.minimum(jobs.run, jobs.request)
    if loop.cut is not None:
        finish = np.where(loop.cut >= 0, loop.cut / 1e6, finish)
        left_out = {**left_out, **{rule: count for rule, count in (
            ("struck", int((loop.cut >= 0).sum())), ("restarted", loop.restarts)) if count}}
    ended = loop.clock / 1e6
    stopped = "interrupted" if more else _stopped(loop, len(keep))
    if stopped == "until" and until is not None:
        ended = until
    finish[~(finish <= ended + 1e-9)] = np.nan
    offset = first = last = None
    if loop.record:
        offset, first, last = _processors(loop, keep)
    uniform = bool((on.cores == on.cores[0]).all())
    return Result(
        trace=replace(jobs, submit=submit) if len(keep) == len(jobs) and loop.came is None
        else replace(jobs, submit=submit).select(keep), start=start[keep], finish=finish[keep],
        backfilled=loop.backfilled.astype(bool)[keep], procs=on.procs,
        nodes=on.nodes, cores=int(on.cores[0]) if uniform else 0, policy=name or choice.name, plugin=choice.plugin,
        options=options_text(choice.options), ended=ended, stopped=stopped, offset=offset, first=first, last=last,
        passes=loop.passes, passes_time=float(loop.pass_ns.sum()) / 1e9, loop_time=loop.loop_ns / 1e9,
        pass_count=loop.pass_count, pass_time=loop.pass_ns / 1e9, left_out=left_out,
        foretold=None if foretold is None else foretold.select(keep))
