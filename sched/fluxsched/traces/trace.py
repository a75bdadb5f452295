# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Job traces: the common type, the rules that every reader follows, and reading of any format.

The rules, each counted in ``Trace.notes`` under the name in quotes:

* a line that repeats an earlier line in every field is left out ("duplicate");
* a partial execution, or a step, of a job that has a line for the whole of it is left out ("partial");
* a job without a submit time is left out ("no_submit"), one with a negative or unknown run time
  ("no_run"), and one without processors ("no_procs");
* lines that are not in order of submit time are sorted, stably ("unsorted" counts the lines that
  come before their predecessor);
* a missing requested time becomes the run time ("no_request"), and every request is at least 1 s;
* run times of zero are kept ("zero_run"); those above the request are kept and cut at the request
  when the job runs ("over_request").

Jobs larger than the machine are left out by the simulator, which alone knows the machine.
"""
from __future__ import annotations

import codecs
import gzip
import itertools
import os
import zlib
from dataclasses import dataclass, field, fields, replace
from typing import Dict, Iterator, List, Optional

import numpy as np

# Bounds of what is taken from outside.  Text this long is no trace but an accident or an attack:
# a gzip file of a few MB can hold terabytes.
MAX_BYTES = 8 << 30
MAX_TEXT = 1 << 28
MAX_LINE = 1 << 16
MAX_JOBS = 50_000_000
MAX_SECONDS = 1e10            # about 317 years, for a run or a request
MAX_SUBMIT = 1e12
MAX_PROCS = 2**31 - 1
_CHUNK = 8 << 20


class TraceError(ValueError):
    """A trace that cannot be used; the text names the file, and the line and field where there is one."""


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

    def __len__(self) -> int:
        return len(self.job_id)

    def select(self, keep: np.ndarray) -> Trace:
        """The jobs where `keep` (bool, shape (n,)) is true, as a trace of their own."""
        return replace(self, **{name: _frozen(getattr(self, name)[keep]) for name in ARRAYS})


_TYPES = {"job_id": np.int64, "submit": np.float64, "run": np.float64, "procs": np.int64, "request": np.float64,
          "nodes": np.int64, "user": np.int64, "group": np.int64, "queue": np.int64, "io_rate": np.float64}
ARRAYS = tuple(f.name for f in fields(Trace) if f.name in _TYPES)


def _frozen(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array


def build(columns: Dict[str, object], *, source: str, keep: Optional[np.ndarray] = None,
          notes: Optional[Dict[str, int]] = None, **about) -> Trace:
    """Make a Trace from raw columns by the rules above.

    columns: name -> array-like of shape (n,); "job_id", "submit" (s), "run" (s), "procs" and
    "request" (s) are needed, where a value <= 0 (submit and run: < 0, or NaN) means missing; the rest
    may be absent.
    keep: bool, shape (n,): lines that the reader's own rules leave in, counted in `notes` by it.
    Raises TraceError where nothing is left or a value is out of range.
    """
    counts = dict(notes or {})
    raw = {}
    n = len(columns["job_id"])
    for name in _TYPES:
        default = {"user": -1, "group": -1, "queue": -1}.get(name, 0)
        kind = np.int64 if name == "job_id" else np.float64        # Flux's ids need all 64 bits
        raw[name] = np.asarray(columns.get(name, np.full(n, default))).astype(kind)
    keep = np.ones(n, dtype=bool) if keep is None else keep.copy()

    def leave_out(rule: str, which: np.ndarray) -> None:
        which = which & keep
        if which.any():
            counts[rule] = counts.get(rule, 0) + int(which.sum())
            keep[which] = False

    leave_out("no_submit", ~(raw["submit"] >= 0))
    leave_out("no_run", ~(raw["run"] >= 0))
    leave_out("no_procs", ~(raw["procs"] >= 1))
    if not keep.any():
        left = ", ".join(f"{k} {v}" for k, v in counts.items()) or "it is empty"
        raise TraceError(f"{source}: no usable job in the trace ({left})")
    raw = {name: value[keep] for name, value in raw.items()}

    for name, limit in (("submit", MAX_SUBMIT), ("run", MAX_SECONDS), ("request", MAX_SECONDS), ("procs", MAX_PROCS),
                        ("nodes", MAX_PROCS)):
        if (raw[name] > limit).any():
            at = int(np.argmax(raw[name] > limit))
            raise TraceError(f"{source}: job {int(raw['job_id'][at])}: {name} {raw[name][at]:g} is above {limit:g}")

    step = np.diff(raw["submit"])
    if (step < 0).any():
        counts["unsorted"] = int((step < 0).sum())
        order = np.argsort(raw["submit"], kind="stable")
        raw = {name: value[order] for name, value in raw.items()}

    missing = ~(raw["request"] > 0)
    raw["request"] = np.maximum(np.where(missing, raw["run"], raw["request"]), 1.0)
    raw["io_rate"] = np.where(raw["io_rate"] > 0, raw["io_rate"], 0.0)
    raw["nodes"] = np.where(raw["nodes"] > 0, raw["nodes"], 0)
    for rule, which in (("no_request", missing), ("zero_run", raw["run"] == 0),
                        ("over_request", raw["run"] > raw["request"])):
        if which.any():
            counts[rule] = int(which.sum())
    for name in ("submit", "run", "request"):
        raw[name] = np.round(raw[name], 6)
    return Trace(**{name: _frozen(value.astype(_TYPES[name])) for name, value in raw.items()},
                 source=source, notes=counts, **about)


def _pieces(path: str) -> Iterator[bytes]:
    """The bytes of a file as they come; gzip is unpacked, by content, not by name."""
    try:
        with open(path, "rb") as plain:
            packed = plain.peek(2)[:2] == b"\x1f\x8b"      # not read and seek: it may be a pipe
            stream = gzip.GzipFile(fileobj=plain) if packed else plain
            mark = codecs.BOM_UTF8                             # editors of some systems put it first
            while True:
                piece = stream.read(_CHUNK)
                if mark:
                    piece = piece[len(mark):] if piece.startswith(mark) else piece
                    mark = b""
                if not piece:
                    return
                if b"\0" in piece:
                    raise TraceError(f"{path}: a binary file, not a trace")
                yield piece
    except (EOFError, zlib.error, gzip.BadGzipFile) as err:
        raise TraceError(f"{path}: truncated or broken gzip file ({err})") from err
    except OSError as err:
        raise TraceError(f"{path}: cannot be read: {err.strerror or err}") from err


def _bounded(path: str, pieces: Optional[Iterator[bytes]], limit: int) -> Iterator[bytes]:
    total = 0
    for piece in pieces or _pieces(path):
        total += len(piece)
        if total > limit:
            raise TraceError(f"{path}: more than {limit >> 20} MiB of text, too large for a trace")
        yield piece


def chunks(path: str, pieces: Optional[Iterator[bytes]] = None) -> Iterator[bytes]:
    """The text of a trace file in pieces that end at line ends.

    pieces: the file's bytes, where somebody has begun to read it.
    Raises TraceError for a file that cannot be read, is a truncated or broken gzip file, holds NUL
    bytes, has a line above 64 KiB or more than MAX_BYTES of text.
    """
    rest = b""
    for piece in _bounded(path, pieces, MAX_BYTES):
        cut = piece.rfind(b"\n") + 1
        if cut:
            yield rest + piece[:cut]
            rest = piece[cut:]
        else:
            rest += piece
        if len(rest) > MAX_LINE:
            raise TraceError(f"{path}: a line longer than {MAX_LINE} bytes, not a trace")
    if rest:
        yield rest


def text(path: str, pieces: Optional[Iterator[bytes]] = None) -> str:
    """The whole text of a trace file (UTF-8), at most MAX_TEXT bytes; for formats that are not read in pieces.

    pieces and errors are those of `chunks`; lines may be of any length (flux jobs prints a single one).
    """
    try:
        return b"".join(_bounded(path, pieces, MAX_TEXT)).decode("utf-8")
    except UnicodeDecodeError as err:
        raise TraceError(f"{path}: not UTF-8 text (byte {err.start})") from err


def load(path: str, format: Optional[str] = None) -> Trace:
    """Read a trace: "swf", "csv" or "flux" (``flux jobs --json``).

    Without `format`, the name decides (.swf, .csv, .json, each also with .gz), else the first
    character of the text: ``{`` or ``[`` is JSON, a letter a CSV header, anything else SWF.
    Raises TraceError.
    """
    from fluxsched.traces import flux_jobs, swf
    from fluxsched.traces import sacct as trace_csv

    readers = {"swf": swf.read, "csv": trace_csv.read, "flux": flux_jobs.read}
    path = os.fspath(path)
    if format is None:
        name = path.lower()
        name = name[:-3] if name.endswith(".gz") else name
        suffix = os.path.splitext(name)[1]
        format = {".swf": "swf", ".csv": "csv", ".json": "flux"}.get(suffix)
    pieces = None
    if format is None:
        pieces = _pieces(path)
        first = next(pieces, b"")
        pieces = itertools.chain([first], pieces)          # a pipe can be read once only
        head = first.lstrip()[:1]
        format = "flux" if head in (b"{", b"[") else "csv" if head.isalpha() else "swf"
    if format not in readers:
        raise TraceError(f"{path}: unknown trace format {format!r}; one of {', '.join(readers)} expected")
    return readers[format](path, pieces)
