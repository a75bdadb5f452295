# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Job traces: the common type, and the rules that every reader follows.

Each rule is counted in ``Trace.notes`` under its name in RULES.  Lines that are not in order of submit time are sorted,
stably ("unsorted" counts those that come before their predecessor); a missing requested time becomes the run time,
and every request is at least 1 s; a job that ran longer than its request is cut there when it runs.

Jobs larger than the machine are left out by the simulator, which alone knows the machine.
"""
from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Dict, List, Mapping, Optional

import numpy as np

from fluxsched.traces.files import TraceError

# Bounds of what is taken from outside.
MAX_SECONDS = 1e10            # about 317 years, for a run or a request
MAX_SUBMIT = 1e12
MAX_PROCS = 2**31 - 1
MAX_NUMBER = 2**53 - 1        # of a user, group or queue

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
    "more_fields": "lines have more than 18 fields: the further ones are passed over",
}


@dataclass(frozen=True)
class Trace:
    """Jobs in queue order (submit time, then place in the file).

    All arrays have the shape (n,), n >= 1, and are read-only.

    job_id   int64    number in the source
    submit   float64  s after `unix_start`, ascending, microsecond resolution
    run      float64  s, >= 0: how long the job would run without a limit
    procs    int64    processors, >= 1
    request  float64  s, >= 1: the time asked for
    nodes    int64    nodes asked for, 0 = not stated
    user     int64    user number, -1 = unknown
    group    int64    group or account number, -1 = unknown
    queue    int64    queue number, -1 = unknown
    io_rate  float64  MB/s per processor, as in the C original, 0 = none
    """

    job_id: np.ndarray
    submit: np.ndarray
    run: np.ndarray
    procs: np.ndarray
    request: np.ndarray
    nodes: np.ndarray
    user: np.ndarray
    group: np.ndarray
    queue: np.ndarray
    io_rate: np.ndarray
    unix_start: float = 0.0                                   # s since the epoch; 0 = unknown
    max_procs: Optional[int] = None                           # machine size that the source states
    max_nodes: Optional[int] = None
    source: str = ""
    header: Dict[str, List[str]] = field(default_factory=dict)
    notes: Dict[str, int] = field(default_factory=dict)       # rule -> number of lines
    names: Dict[int, str] = field(default_factory=dict)       # job_id -> its name in the source, if that is no number

    def __len__(self) -> int:
        return len(self.job_id)

    def select(self, keep: np.ndarray) -> Trace:
        """The jobs where `keep` (bool, shape (n,)) is true, as a trace of their own."""
        chosen: Dict[str, Any] = {name: _frozen(getattr(self, name)[keep]) for name in ARRAYS}
        return replace(self, **chosen)


_TYPES: Dict[str, Any] = {
    "job_id": np.int64, "submit": np.float64, "run": np.float64, "procs": np.int64, "request": np.float64,
    "nodes": np.int64, "user": np.int64, "group": np.int64, "queue": np.int64, "io_rate": np.float64,
}
_NUMBERED = ("user", "group", "queue")
_MOST = {"submit": MAX_SUBMIT, "run": MAX_SECONDS, "request": MAX_SECONDS, "procs": MAX_PROCS, "nodes": MAX_PROCS,
         **dict.fromkeys(_NUMBERED, MAX_NUMBER)}
ARRAYS = tuple(f.name for f in fields(Trace) if f.name in _TYPES)


def _frozen(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array


def build(columns: Mapping[str, Any], *, source: str, keep: Optional[np.ndarray] = None,
          notes: Optional[Dict[str, int]] = None, **about: Any) -> Trace:
    """Make a Trace from raw columns by the rules.

    columns: name -> array-like of shape (n,); "job_id", "submit" (s), "run" (s), "procs" and
    "request" (s) are needed, where a value <= 0 (submit and run: < 0, or NaN) means missing; the rest
    may be absent.
    keep: bool, shape (n,): lines that the reader's own rules leave in, counted in `notes` by it.
    about: further members of the Trace.
    Raises TraceError where nothing is left or a value is out of range.
    """
    counts = dict(notes or {})
    raw = {}
    n = len(columns["job_id"])
    for name in _TYPES:
        default = -1.0 if name in _NUMBERED else 0.0
        kind = np.int64 if name == "job_id" else np.float64        # Flux's ids need all 64 bits
        raw[name] = np.asarray(columns[name], dtype=kind) if name in columns else np.full(n, default)
    keep = _usable(raw, np.ones(n, dtype=bool) if keep is None else keep, counts)
    if not keep.any():
        left = ", ".join(f"{k} {v}" for k, v in counts.items()) or "it is empty"
        raise TraceError(f"{source}: no usable job in the trace ({left})")
    if not keep.all():
        raw = {name: value[keep] for name, value in raw.items()}
    _check_range(raw, source)
    step = np.diff(raw["submit"])
    if (step < 0).any():
        counts["unsorted"] = int((step < 0).sum())
        order = np.argsort(raw["submit"], kind="stable")
        raw = {name: value[order] for name, value in raw.items()}

    missing = ~(raw["request"] > 0)
    raw["request"] = np.maximum(np.where(missing, raw["run"], raw["request"]), 1.0)
    for name, unknown in (("io_rate", 0.0), ("nodes", 0.0), ("user", -1.0), ("group", -1.0), ("queue", -1.0)):
        raw[name] = np.where(raw[name] >= 0, raw[name], unknown)
    for rule, which in (("no_request", missing), ("zero_run", raw["run"] == 0),
                        ("over_request", raw["run"] > raw["request"])):
        if which.any():
            counts[rule] = int(which.sum())
    for name in ("submit", "run", "request"):
        raw[name] = np.round(raw[name], 6)
    arrays: Dict[str, Any] = {name: _frozen(raw.pop(name).astype(kind)) for name, kind in _TYPES.items()}
    return Trace(**arrays, source=source, notes=counts, **about)


def _usable(raw: Dict[str, np.ndarray], keep: np.ndarray, counts: Dict[str, int]) -> np.ndarray:
    """`keep` without the jobs that lack what every job needs; each is counted under the first thing it lacks."""
    keep = keep.copy()
    for rule, good in (("no_submit", raw["submit"] >= 0), ("no_run", raw["run"] >= 0), ("no_procs", raw["procs"] >= 1)):
        left_out = keep & ~good
        if left_out.any():
            counts[rule] = counts.get(rule, 0) + int(left_out.sum())
            keep &= good
    return keep


def _check_range(raw: Dict[str, np.ndarray], source: str) -> None:
    for name, limit in _MOST.items():
        above = raw[name] > limit
        if above.any():
            at = int(np.argmax(above))
            raise TraceError(f"{source}: job {int(raw['job_id'][at])}: {name} {raw[name][at]:g} is above {limit:g}")
