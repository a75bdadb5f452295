# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Job traces: the common type, and the rules that every reader follows.

Each rule is counted in ``Trace.notes`` under its name in RULES.  Lines that are not in order of submit time are sorted,
stably ("unsorted" counts those that come before their predecessor); a missing requested time becomes the run time,
and every request is at least 1 s; a job that ran longer than its request is cut there when it runs.  A job that runs
or waits in a snapshot runs for as long as it may.

Jobs larger than the machine are left out by the simulator, which alone knows the machine.
"""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, NamedTuple, Optional

import numpy as np

from fluxsched.formats.jobspec import Request
from fluxsched.traces import chains
from fluxsched.traces.files import TraceError

# Bounds of what is taken from outside.
MAX_SECONDS = 1e10            # about 317 years, for a run or a request
MAX_SUBMIT = 1e12
MAX_PROCS = 2**31 - 1
MAX_NUMBER = 2**53 - 1        # of a user, group, queue or partition
MAX_PRIORITY = 2**53 - 1

# States of a job in its source.
ENDED, RUNNING, WAITING = 0, 1, 2

# What each rule of the readers did to so many lines, for people.
RULES = {
    "no_request": "have no requested time: their run time is taken",
    "zero_run": "have a run time of 0",
    "over_request": "ran longer than they asked for: cut there",
    "unsorted": "lines were not in order of submit time: sorted",
    "duplicate": "lines repeat an earlier one: left out",
    "partial": "lines are parts of a job that is there as a whole: left out",
    "no_submit": "have no submit time: left out",
    "no_run": "never started, or have no run time: left out",
    "no_procs": "have no processors: left out",
    "running": "run in the snapshot: until their limit",
    "waiting": "wait in the snapshot: they run until their limit",
    "held": "are held: left out",
    "no_limit": "have no time limit",
    "cut": "jobs is the most that flux jobs lists: probably more have run; export with -c 0",
    "no_preceding": "wait for a job that is not in the trace: not for it",
    "other_dependency": "dependencies are of other kinds: the jobs came when they did",
    "other_constraint": "have constraints that are not read: they run on any nodes",
    "more_fields": "lines have more than 18 fields: the further ones are passed over",
}


@dataclass(frozen=True)
class Trace:
    """Jobs in queue order (submit time, then place in the file).

    All arrays have the shape (n,), n >= 1, and are read-only.

    job_id    int64    number in the source
    submit    float64  s after `unix_start`, ascending, microsecond resolution
    run       float64  s, >= 0: how long the job would run without a limit; inf = for ever
    procs     int64    processors, >= 1
    request   float64  s, >= 1: the time asked for; inf = no limit
    nodes     int64    nodes asked for, 0 = not stated
    ran_on    int64    nodes that the job had, where the source does not say whether it asked for them, 0 = not known
    exclusive bool     takes whole nodes
    user      int64    user number, -1 = unknown
    group     int64    group or account number, -1 = unknown
    queue     int64    queue number, -1 = unknown
    partition int64    partition number, where that is another thing than the queue, -1 = unknown
    gpus      int64    gpus in all, 0 = none
    memory    float64  MB in all, 0 = not stated
    constraint int64   place in `constraints`, -1 = none
    asked     int64    place in `requests`, which says what `procs`, `nodes`, `gpus` and `memory` do not; -1 = nowhere
    io_rate   float64  MB/s per processor, as in the C original, 0 = none
    priority  int64    >= 0, the higher goes first; -1 = unknown
    ready     float64  s as `submit`, and no earlier: from when on the job could be scheduled
    began     float64  s as `submit`: when the job started in the source, NaN = unknown
    state     int8     ENDED, RUNNING or WAITING when the source was written
    think     float64  s, for a job that waits for others: it is submitted so long after the last of them has ended;
                       NaN = it is submitted at `submit`, and can be scheduled when they have ended

    after     int64 (m, 3): a job, the job that it waits for, and chains.END or chains.START: for what
    """

    job_id: np.ndarray
    submit: np.ndarray
    run: np.ndarray
    procs: np.ndarray
    request: np.ndarray
    nodes: np.ndarray
    ran_on: np.ndarray
    exclusive: np.ndarray
    user: np.ndarray
    group: np.ndarray
    queue: np.ndarray
    partition: np.ndarray
    gpus: np.ndarray
    memory: np.ndarray
    constraint: np.ndarray
    asked: np.ndarray
    io_rate: np.ndarray
    priority: np.ndarray
    ready: np.ndarray
    began: np.ndarray
    state: np.ndarray
    think: np.ndarray
    after: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))
    unix_start: float = 0.0                                   # s since the epoch; 0 = unknown
    taken: Optional[float] = None                             # s as `submit`: when the snapshot was taken
    max_procs: Optional[int] = None                           # machine size that the source states
    max_nodes: Optional[int] = None
    resources: Optional[Dict[str, Any]] = None                # of a record: the machine, as in service.entries
    folder: Optional[str] = None                              # that the record is in
    domains: bool = False                                     # jobs of one queue each are ordered by themselves
    source: str = ""
    header: Dict[str, List[str]] = field(default_factory=dict)
    notes: Dict[str, int] = field(default_factory=dict)       # rule -> number of lines
    labels: Dict[str, Dict[int, str]] = field(default_factory=dict)     # user, group, queue, partition: of numbers
    constraints: List[Dict[str, Any]] = field(default_factory=list)     # RFC 31
    requests: List[Request] = field(default_factory=list)     # of jobspecs, without duration, queue and constraint
    names: Dict[int, str] = field(default_factory=dict)       # job_id -> its name in the source, if that is no number

    def __len__(self) -> int:
        return len(self.job_id)

    def select(self, keep: np.ndarray) -> Trace:
        """The jobs where `keep` (bool, shape (n,)) is true, or of these places, in this order, as a trace of their own.
        The caller keeps submit times ascending."""
        chosen: Dict[str, Any] = {name: _frozen(_chosen(getattr(self, name), keep)) for name in ARRAYS}
        return replace(self, after=chains.chosen(self.after, keep, len(self)), **chosen)

    def label(self, column: str, number: int) -> str:
        """The name of a number of a user, group, queue or partition; itself, if the source has none for it."""
        return self.labels.get(column, {}).get(number, str(number))


class _Column(NamedTuple):
    """How the array of a column is made: its type, what stands for no value, and the most that is taken."""

    kind: Any
    unknown: float
    most: float


_COLUMNS: Dict[str, _Column] = {
    "job_id": _Column(np.int64, -1, np.inf),
    "submit": _Column(np.float64, np.nan, MAX_SUBMIT),
    "run": _Column(np.float64, np.nan, MAX_SECONDS),
    "procs": _Column(np.int64, 0, MAX_PROCS),
    "request": _Column(np.float64, np.nan, MAX_SECONDS),
    "nodes": _Column(np.int64, 0, MAX_PROCS),
    "ran_on": _Column(np.int64, 0, MAX_PROCS),
    "exclusive": _Column(np.bool_, 0, 1),
    "user": _Column(np.int64, -1, MAX_NUMBER),
    "group": _Column(np.int64, -1, MAX_NUMBER),
    "queue": _Column(np.int64, -1, MAX_NUMBER),
    "partition": _Column(np.int64, -1, MAX_NUMBER),
    "gpus": _Column(np.int64, 0, MAX_PROCS),
    "memory": _Column(np.float64, 0, MAX_NUMBER),
    "constraint": _Column(np.int64, -1, np.inf),
    "asked": _Column(np.int64, -1, np.inf),
    "io_rate": _Column(np.float64, 0, np.inf),
    "priority": _Column(np.int64, -1, MAX_PRIORITY),
    "ready": _Column(np.float64, np.nan, MAX_SUBMIT),
    "began": _Column(np.float64, np.nan, MAX_SUBMIT),
    "state": _Column(np.int8, ENDED, WAITING),
    "think": _Column(np.float64, np.nan, MAX_SECONDS),
}
ARRAYS = tuple(_COLUMNS)
_NEEDED = ("job_id", "submit", "run", "procs", "request")       # with rules of their own
_TIMES = ("submit", "run", "request", "ready", "began", "think")


def _frozen(array: np.ndarray) -> np.ndarray:
    """The array, read-only; one of equal elements without a place for each stays so."""
    if array.strides != (0,):
        array = np.ascontiguousarray(array)
        array.flags.writeable = False
    return array


def _chosen(array: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Some elements of an array: by a mask or by their places."""
    if array.strides == (0,):
        count = int(keep.sum()) if keep.dtype == bool else len(keep)
        return np.broadcast_to(array[:1].reshape(()), (count,))
    return array[keep]


def build(columns: Dict[str, Any], *, source: str, keep: Optional[np.ndarray] = None,
          notes: Optional[Dict[str, int]] = None, links: Optional[chains.Links] = None, **about: Any) -> Trace:
    """Make a Trace from raw columns by the rules.

    columns: name -> array-like of shape (n,); "job_id", "submit" (s), "run" (s), "procs" and
    "request" (s) are needed, where a value <= 0 (submit and run: < 0, or NaN) means missing; the rest
    may be absent, and what is negative or NaN in them is unknown. They are taken out of the dict, as a copy of each
    would be half of all memory.
    keep: bool, shape (n,): lines that the reader's own rules leave in, counted in `notes` by it.
    links: which jobs wait for others.
    about: further members of the Trace.
    Raises TraceError where nothing is left or a value is out of range.
    """
    counts = dict(notes or {})
    n = len(columns["job_id"])
    # Flux's job ids need all 64 bits.
    raw = {name: np.asarray(columns.pop(name), dtype=np.int64 if name == "job_id" else np.float64)
           for name in ARRAYS if name in columns}
    stated = set(raw)
    keep = _usable(raw, np.ones(n, dtype=bool) if keep is None else keep, counts)
    if not keep.any():
        left = ", ".join(f"{k} {v}" for k, v in counts.items()) or "it is empty"
        raise TraceError(f"{source}: no usable job in the trace ({left})")
    order = np.flatnonzero(keep)
    if not keep.all():
        raw = {name: raw.pop(name)[keep] for name in tuple(raw)}
    step = np.diff(raw["submit"])
    if (step < 0).any():
        counts["unsorted"] = int((step < 0).sum())
        sort = np.argsort(raw["submit"], kind="stable")
        order = order[sort]
        raw = {name: raw.pop(name)[sort] for name in tuple(raw)}
    _complete(raw, counts)
    _check_range(raw, source)
    if links is not None and len(links.row):
        about["after"], missing = chains.placed(links, order, raw["job_id"], source)
        if missing:
            counts["no_preceding"] = missing
    n = len(order)
    arrays: Dict[str, Any] = {name: _array(raw.pop(name, None), name, n) for name in ARRAYS}
    if "ready" not in stated or (arrays["ready"] == arrays["submit"]).all():
        arrays["ready"] = arrays["submit"]
    return Trace(**arrays, source=source, notes=counts, **about)


def _array(value: Optional[np.ndarray], name: str, n: int) -> np.ndarray:
    """The array of a column; of one that is not there, of one element n times."""
    column = _COLUMNS[name]
    if value is None:
        return np.broadcast_to(np.asarray(column.unknown, dtype=column.kind), (n,))
    return _frozen((np.round(value, 6) if name in _TIMES else value).astype(column.kind))


def _usable(raw: Dict[str, np.ndarray], keep: np.ndarray, counts: Dict[str, int]) -> np.ndarray:
    """`keep` without the jobs that lack what every job needs; each is counted under the first thing it lacks."""
    keep = keep.copy()
    going = raw["state"] > ENDED if "state" in raw else np.zeros(len(keep), dtype=bool)
    for rule, good in (("no_submit", raw["submit"] >= 0), ("no_run", (raw["run"] >= 0) | going),
                       ("no_procs", raw["procs"] >= 1)):
        left_out = keep & ~good
        if left_out.any():
            counts[rule] = counts.get(rule, 0) + int(left_out.sum())
            keep &= good
    return keep


def _complete(raw: Dict[str, np.ndarray], counts: Dict[str, int]) -> None:
    """Fill in what jobs do not state, by the rules."""
    if "state" in raw:
        for rule, state in (("running", RUNNING), ("waiting", WAITING)):
            which = raw["state"] == state
            if which.any():
                counts[rule] = int(which.sum())
        going = raw["state"] > ENDED
        # Without a limit nobody knows when they will end.
        limit = np.where(raw["request"] > 0, raw["request"], np.inf)
        raw["run"] = np.where(going, limit, raw["run"])
    missing = ~(raw["request"] > 0)
    raw["request"] = np.maximum(np.where(missing, raw["run"], raw["request"]), 1.0)
    for name in raw:
        if name not in _NEEDED:
            raw[name] = np.where(raw[name] >= 0, raw[name], _COLUMNS[name].unknown)
    if "ready" in raw:
        raw["ready"] = np.fmax(raw["ready"], raw["submit"])
    for rule, which in (("no_request", missing), ("no_limit", np.isinf(raw["request"])), ("zero_run", raw["run"] == 0),
                        ("over_request", raw["run"] > raw["request"])):
        if which.any():
            counts[rule] = int(which.sum())


def _check_range(raw: Dict[str, np.ndarray], source: str) -> None:
    for name, value in raw.items():
        limit = _COLUMNS[name].most
        above = (value > limit) & (np.isfinite(value) if name in ("run", "request") else True)
        if above.any():
            at = int(np.argmax(above))
            raise TraceError(f"{source}: job {int(raw['job_id'][at])}: {name} {raw[name][at]:g} is above {limit:g}")
