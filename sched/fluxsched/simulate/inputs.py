# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What goes into a run: which jobs of a trace take part on a machine, what they ask for, and when they come."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from fluxsched.core import Engine, Inventory
from fluxsched.core.history import History
from fluxsched.errors import FluxSchedError
from fluxsched.formats.jobspec import Request, Vertex, without
from fluxsched.simulate.loop import DEFAULT_PRIORITY, NEVER, Loop
from fluxsched.simulate.outages import Outage
from fluxsched.simulate.site import Site
from fluxsched.traces.trace import ENDED, RUNNING, Trace

LAST = 9e12                    # s: later times would not fit the engine's microseconds

_Constraint = Optional[Dict[str, Any]]


class SimulateError(FluxSchedError, ValueError):
    """A simulation that cannot be set up; the text says what was expected."""


class Machine(NamedTuple):
    """What jobs run on.  cores: int64 (nodes,), cores of each node."""

    inventory: Inventory
    cores: np.ndarray
    by_node: bool           # jobs that state nodes ask for nodes, not for processors alone
    has_bandwidth: bool     # there are tags max_bw
    has_memory: bool        # there are pools of memory
    recorded: bool          # it is the one of the trace's record
    site: Optional[Site] = None     # whose queues the jobs go by

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self.cores)

    @property
    def procs(self) -> int:
        """Processors of all nodes together."""
        return int(self.cores.sum())

    @property
    def has_gpus(self) -> bool:
        """Whether any node has gpus."""
        return any(map(self.inventory.gpu_set, range(self.nodes)))


class _Asked(NamedTuple):
    """What jobs ask for, as numbers for the engine, of shape (jobs,)."""

    nodes: np.ndarray       # int32; 0: any
    slots: np.ndarray       # int32: on each node, or in all
    cores: np.ndarray       # int32: of a slot
    gpus: np.ndarray        # int32: of a slot
    exclusive: np.ndarray   # uint8: whole nodes

    def select(self, keep: np.ndarray) -> _Asked:
        """Those of some jobs, by a mask."""
        return _Asked(*(column[keep] for column in self))


class _Course(NamedTuple):
    """When jobs come and how long they run, int64 of shape (jobs,), µs."""

    arrival: np.ndarray
    run: np.ndarray
    request: np.ndarray
    submit: np.ndarray


@dataclass(frozen=True)
class Inputs:
    """The jobs that take part in a run, and what its loop is given of them.

    jobs      in the order in which they come
    taken     s: when the snapshot was taken that the run begins with; None: it begins with the first arrival
    left_out  rule -> number of jobs of the trace that do not take part
    """

    jobs: Trace
    taken: Optional[float]
    left_out: Dict[str, int]
    on: Machine
    asked: _Asked
    course: _Course
    priority: Optional[np.ndarray]
    queue: Optional[np.ndarray]
    queues: Sequence[Tuple[str, _Constraint]]
    outages: Sequence[Outage]
    excluded: str           # ranks that get no jobs
    requests: Sequence[Request]     # those of the trace, less what the machine has not; (): they do not count

    def loop(self, engine: Engine, record: bool, history: Optional[History]) -> Loop:
        """The loop of a run in an engine of the machine."""
        jobs, asked, course = self.jobs, self.asked, self.course
        if self.excluded:
            engine.remove(self.excluded)
        return Loop(engine, course.arrival, course.run, course.request, asked.nodes, asked.slots, asked.cores,
                    np.unique(jobs.user, return_inverse=True)[1].astype(np.int32), submit=course.submit,
                    priority=self.priority, gpus=asked.gpus if asked.gpus.any() else None,
                    exclusive=asked.exclusive if asked.exclusive.any() else None, queue=self.queue, queues=self.queues,
                    request_of=self._request_of(engine.io_aware), after=jobs.after,
                    think=_micro(np.where(np.isnan(jobs.think), -1, jobs.think)) if len(jobs.after) else None,
                    outages=self.outages, record=record, history=history)

    def _request_of(self, io_aware: bool) -> Optional[Callable[[int], Optional[Request]]]:
        """What gives the request of a job that arrays cannot say, or None where there is none such."""
        jobs = self.jobs
        constrained = (jobs.constraint >= 0) & bool(self.on.inventory.properties)
        general = np.zeros(len(jobs), dtype=bool)
        if self.requests:
            general = np.array([not _plain(each) for each in self.requests] + [False])[jobs.asked]
        draws = self.on.has_bandwidth & io_aware & (jobs.io_rate > 0)
        if (draws & (self.asked.exclusive > 0)).any() and (self.on.cores != self.on.cores[0]).any():
            raise SimulateError("bandwidth and whole nodes: nodes of equal cores expected")
        own = general | draws | (self.on.has_memory & (jobs.memory > 0))
        if not own.any() and not constrained.any():
            return None

        def request_of(i: int) -> Optional[Request]:
            if not own[i] and not constrained[i]:
                return None
            domain, wanted = self.queues[0 if self.queue is None else self.queue[i]]
            both = [part for part in (wanted, jobs.constraints[jobs.constraint[i]] if constrained[i] else None) if part]
            limits = {"and": both} if len(both) > 1 else both[0] if both else None
            if general[i]:
                return self.requests[jobs.asked[i]]._replace(queue=domain, constraint=limits)
            numbers = [int(column[i]) for column in self.asked[:4]]
            return Request(numbers[0], numbers[1], numbers[2], numbers[3], bool(self.asked.exclusive[i]), 0.0, domain,
                           limits, self._tree(i, bool(draws[i])) if own[i] else None)

        return request_of

    def _tree(self, i: int, draws: bool) -> Tuple[Vertex, ...]:
        """The request of job i with its memory, and its bandwidth if it draws any."""
        nodes, slots, cores, gpus = (int(column[i]) for column in self.asked[:4])
        whole = bool(self.asked.exclusive[i])
        if nodes:
            # All slots of a node are one; where bandwidth counts, whole nodes are so many cores, as what is taken as a
            # whole draws none.
            cores, gpus = cores * slots, gpus * slots
            taken = int(self.on.cores[0]) if whole and draws else cores
        else:
            taken = cores
        amounts = [("core", taken), ("gpu", gpus)]
        if self.on.has_memory:
            # Rounded down, so that what fills a node in the units of the trace does so in MB; but not to nothing.
            amount = float(self.jobs.memory[i])
            amounts.append(("memory", max(int(amount / (nodes or slots) + 1e-6), amount > 0)))
        if draws:
            amounts.append(("bandwidth", math.ceil(float(self.jobs.io_rate[i]) * cores)))
        each = tuple(Vertex(kind, amount, False, ()) for kind, amount in amounts if amount > 0)
        if not nodes:
            return (Vertex("slot", slots, False, each),)
        return (Vertex("node", nodes, whole and not draws, each),)


def prepare(trace: Trace, on: Machine, exclusive: bool, snapshot: Optional[bool], priority: bool,
            outages: Sequence[Outage]) -> Inputs:
    """What goes into a run of a trace on a machine.

    exclusive: all jobs take whole nodes. snapshot: see simulate.run. priority: those that the trace has count.
    Raises SimulateError, SiteError.
    """
    trace, taken = _part(trace, snapshot)
    left_out: Dict[str, int] = {}
    queue: Optional[np.ndarray] = None
    queues: List[Tuple[str, _Constraint]] = [("", None)]
    excluded = ""
    if on.site is not None:
        excluded = on.site.excluded(on.inventory)
        placed = on.site.place(trace)
        trace, queue, queues = placed.trace, placed.queue, placed.queues
        if placed.beyond:
            left_out["over_limits"] = placed.beyond
    elif trace.domains:
        numbers, inverse = np.unique(trace.queue, return_inverse=True)
        queue = inverse.reshape(-1).astype(np.int32)
        queues = [(trace.label("queue", number) if number >= 0 else "", None) for number in numbers.tolist()]
    types = {name for name, there in (("memory", on.has_memory), ("bandwidth", on.has_bandwidth)) if not there}
    requests = [without(request, types) for request in trace.requests] if on.by_node and not exclusive else []
    asked, fits = _asked(trace, on, exclusive, requests)
    if not fits.any():
        raise SimulateError(f"{trace.source}: every job is larger than the machine of {on.procs} processors")
    if not fits.all():
        left_out["too_large"] = int((~fits).sum())
        trace, asked = trace.select(fits), asked.select(fits)
        queue = None if queue is None else queue[fits]
    return Inputs(trace, taken, left_out, on, asked, _course(trace, taken), _priority(trace, taken, priority), queue,
                  queues, outages, excluded, requests)


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
        taken = trace.taken
        if taken is None:
            raise SimulateError(f"{trace.source}: nothing tells when the snapshot was taken")
        trace = trace.select(going)
        order = np.argsort(np.fmax(trace.ready, taken), kind="stable")
        return trace.select(order) if (np.diff(order) < 0).any() else trace, taken
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
        arrival = _micro(np.where(jobs.state == RUNNING, taken, np.maximum(jobs.ready, taken)))
    thought = float(jobs.think[np.isfinite(jobs.think)].sum())
    if arrival[-1] / 1e6 + float(run[np.isfinite(run)].sum()) + thought > LAST:
        raise SimulateError("the trace is too long: times beyond 285,000 years")
    return _Course(arrival, _micro(run), _micro(request), submit)


def _priority(jobs: Trace, taken: Optional[float], counts: bool) -> Optional[np.ndarray]:
    """The priority of each job, or None where all are alike. What runs in a snapshot goes before what waits."""
    known = counts and bool((jobs.priority >= 0).any())
    if not known and taken is None:
        return None
    priority = np.where((jobs.priority >= 0) & counts, jobs.priority, DEFAULT_PRIORITY)
    return np.where(jobs.state == RUNNING, 2**62, priority) if taken is not None else priority


def _asked(
    trace: Trace, on: Machine, exclusive: bool, requests: Sequence[Request]
) -> Tuple[_Asked, np.ndarray]:
    """What the jobs ask for, and whether the machine is large enough for it: bool (jobs,). requests: those of the
    trace, if they count."""
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
    fits = np.where(nodes > 0, nodes <= fitting, trace.procs <= on.procs)
    placed = nodes > 0
    # With nodes: one slot of all its cores on each; else single cores anywhere.
    slots, cores = np.where(placed, 1, trace.procs), np.where(placed, per_node, 1)
    gpus = np.zeros(len(trace), dtype=np.int32)
    if (trace.gpus > 0).any() and on.has_gpus:
        # Without nodes: as many slots of like cores and gpus as there can be.
        shared = (trace.gpus > 0) & ~placed
        slots = np.where(shared, np.gcd(trace.procs, trace.gpus), slots)
        cores = np.where(shared, trace.procs // slots, cores)
        gpus = -(-trace.gpus // np.where(placed, nodes, slots))
    if requests:
        nodes, slots, cores, gpus, fits = _stated(trace, on, requests, (nodes, slots, cores, gpus, fits))
    as_engine = [column.astype(np.int32) for column in (nodes, slots, np.minimum(cores, 2**31 - 1), gpus)]
    return _Asked(as_engine[0], as_engine[1], as_engine[2], as_engine[3], whole.astype(np.uint8)), fits


def _plain(request: Request) -> bool:
    """Whether the numbers of a request say it all."""
    return request.tree is None and not request.node_counts and not request.slot_counts


def _stated(
    trace: Trace, on: Machine, requests: Sequence[Request], otherwise: Tuple[np.ndarray, ...]
) -> Tuple[np.ndarray, ...]:
    """Nodes, slots, cores, gpus, and whether the machine is large enough, of the jobs whose requests are known; of the
    rest as they are `otherwise`. What is no matter of numbers alone is left to the engine."""
    known = trace.asked >= 0
    rows = [(r.nnodes, r.nslots, r.cores, r.gpus if on.has_gpus else 0) for r in requests]
    # Whole nodes, whatever is in them: at least a core.
    rows = [(nodes, 1, 1, 0) if not cores and not gpus else (nodes, slots, cores, gpus)
            for nodes, slots, cores, gpus in rows]
    table = np.array(rows, dtype=np.int64)[np.where(known, trace.asked, 0)]
    nodes, slots, cores, _ = table.T
    wide = np.sort(on.cores)[::-1]
    fitting = np.searchsorted(-wide, -np.minimum(slots * cores, wide[0] + 1), side="right")
    plain = np.array([_plain(r) for r in requests])
    fits = np.where(nodes > 0, nodes <= fitting, slots * cores <= on.procs) | ~plain[np.where(known, trace.asked, 0)]
    return tuple(np.where(known, own, other) for own, other in zip((*table.T, fits), otherwise))
