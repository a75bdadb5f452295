# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The Standard Workload Format (version 2.2) of the Parallel Workloads Archive.

One line of 18 numbers a job, -1 where unknown, and possibly further fields; comments begin with ``;``, and those at
the head carry ``Name: value`` pairs.  Chapin, Cirne, Feitelson, Jones, Leutenegger, Schwiegelshohn, Smith, Talby:
Benchmarks and standards for the evaluation of parallel job schedulers, JSSPP 1999.
"""
from __future__ import annotations

import gzip
import os
import tempfile
from typing import Dict, Iterator, List, Optional, Tuple

import numpy as np

from fluxsched.interrupts import uninterrupted
from fluxsched.traces.chains import END, Links
from fluxsched.traces.files import TraceError, check_jobs, chunks
from fluxsched.traces.swfscan import most_rows, scan
from fluxsched.traces.trace import Trace, build

# Fields by their number in the format, less one.
JOB, SUBMIT, WAIT, RUN, ALLOCATED, CPU, MEMORY, PROCS, REQUEST, REQUEST_MEMORY, STATUS, USER, GROUP, PROGRAM, QUEUE, \
    PARTITION, PRECEDING, THINK = range(18)
# What few traces have.
_RARE = {"partition": PARTITION, "preceding": PRECEDING, "think": THINK, "memory": REQUEST_MEMORY}
_CANCELLED = 5
_MB = 1024 / 1e6              # of a kilobyte
_PARTIAL = (2, 3, 4)


def _header(head: bytes, into: Dict[str, List[str]]) -> bool:
    """Collect ``; Name: value`` lines at the head of a piece; true if the piece was nothing else."""
    for line in head.split(b"\n"):
        line = line.strip()
        if not line:
            continue
        if not line.startswith(b";"):
            return False
        name, colon, value = line[1:].decode("utf-8", "replace").partition(":")
        name = name.strip()
        if colon and name and " " not in name and len(into) < 1000:
            into.setdefault(name, []).append(value.strip())
    return True


def _header_number(header: Dict[str, List[str]], name: str, source: str, least: int) -> Optional[int]:
    if name not in header:
        return None
    word = header[name][0].split()[0] if header[name][0].split() else ""
    try:
        value = int(float(word))
    except (ValueError, OverflowError):
        raise TraceError(f"{source}: header {name}: a number expected, {word!r} found") from None
    return value if value >= least else None


def _labels(header: Dict[str, List[str]], name: str) -> Dict[int, str]:
    """The names of numbers in header lines such as ``; Queue: 1 batch``."""
    found = {}
    for line in header.get(name, ()):
        number, _, label = line.partition(" ")
        if number.isdecimal() and len(number) < 16 and label.split():
            found[int(number)] = label.split()[0]
    return found


def _columns(table: np.ndarray, job: np.ndarray, hashes: np.ndarray) -> Dict[str, np.ndarray]:
    """What is kept of the fields, shape (n, 18), of n jobs."""
    run = table[:, RUN].copy()
    # A job that was cancelled before it got any processor.
    run[(table[:, STATUS] == _CANCELLED) & (run <= 0) & (table[:, ALLOCATED] <= 0)] = -1
    return {"job_id": job.copy(), "submit": table[:, SUBMIT].copy(), "run": run,
            "procs": np.where(table[:, PROCS] > 0, table[:, PROCS], table[:, ALLOCATED]),
            "request": table[:, REQUEST].copy(), "user": table[:, USER].copy(), "group": table[:, GROUP].copy(),
            "queue": table[:, QUEUE].copy(), "partial": np.isin(table[:, STATUS], _PARTIAL), "hash": hashes.copy(),
            **{name: _if_known(table[:, place]) for name, place in _RARE.items()}}


def _if_known(column: np.ndarray) -> np.ndarray:
    """A copy of the column; where it holds nothing, one of -1 that takes no room."""
    return column.copy() if (column >= 0).any() else np.broadcast_to(-1.0, column.shape)


def _joined(parts: List[np.ndarray]) -> np.ndarray:
    if all(part.strides == (0,) for part in parts):
        return np.broadcast_to(parts[0][0], (sum(map(len, parts)),))
    return np.concatenate(parts)


def _scan_all(path: str, source: str, begun: Optional[Iterator[bytes]],
              header: Dict[str, List[str]]) -> Tuple[Dict[str, np.ndarray], int]:
    """The columns of all jobs and the number of lines with further fields; fills `header`."""
    in_header = True
    lines = jobs = longer = 0
    parts: List[Dict[str, np.ndarray]] = []
    for piece in chunks(path, begun):
        if in_header:
            in_header = _header(piece, header)
        most = most_rows(len(piece))
        table, job, hashes = np.empty((most, 18)), np.empty(most, dtype=np.int64), np.empty(most, dtype=np.uint64)
        found = scan(piece, table, job, hashes)
        lines += found.lines
        jobs += found.rows
        longer += found.longer
        if found.problem:
            raise TraceError(f"{source}: line {lines}: {found.problem}")
        check_jobs(jobs, source)
        if found.rows:
            parts.append(_columns(table[:found.rows], job[:found.rows], hashes[:found.rows]))
    if not parts:
        raise TraceError(f"{source}: no jobs in the trace")
    return {name: _joined([part.pop(name) for part in parts]) for name in tuple(parts[0])}, longer


def read(path: str, begun: Optional[Iterator[bytes]] = None) -> Trace:
    """Read a trace in SWF, plain or gzip.  Raises TraceError, naming the line where one is malformed.

    begun: the file's pieces, where somebody has begun to read it.

    Processors are field 8 if positive, else field 5; the request is field 9 if positive, else the run
    time (field 4).  A job waits for that of field 17, and is submitted the time of field 18 after it has ended, if that
    is known.  A job with status 5, no run time and no processors allocated was cancelled before it started.
    """
    source = os.path.basename(os.fspath(path))
    header: Dict[str, List[str]] = {}
    columns, longer = _scan_all(os.fspath(path), source, begun, header)
    notes = {"more_fields": longer} if longer else {}
    keep = _unique(columns["job_id"], columns.pop("hash"), columns.pop("partial"), notes)
    start = _header_number(header, "UnixStartTime", source, 0)
    preceding = columns.pop("preceding")
    waits = np.flatnonzero(keep & (preceding > 0))
    links = Links(waits, preceding[waits].astype(np.int64), np.full(len(waits), END))
    rare = {name: columns.pop(name) for name in _RARE if name in columns}
    columns.update((name, column) for name, column in rare.items() if column.strides != (0,))
    if "memory" in columns:                       # of each processor in KB
        columns["memory"] = np.maximum(columns["memory"], 0) * columns["procs"] * _MB
    return build(columns, source=source, keep=keep, notes=notes, links=links, unix_start=float(start or 0),
                 max_procs=_header_number(header, "MaxProcs", source, 1),
                 max_nodes=_header_number(header, "MaxNodes", source, 1), header=header,
                 labels={"queue": _labels(header, "Queue"), "partition": _labels(header, "Partition")})


def _unique(ids: np.ndarray, hashes: np.ndarray, partial: np.ndarray, notes: Dict[str, int]) -> np.ndarray:
    """Mask of the lines to keep: no repeated lines, no parts of a job that has a line for the whole.

    ids, hashes, partial: shape (n,), number of the job, hash of the line, and whether it is a partial execution.
    """
    keep = np.ones(len(ids), dtype=bool)
    if (np.diff(ids) > 0).all():                  # the usual case: numbers ascend, nothing repeats
        return keep
    order = np.argsort(ids, kind="stable")
    begins = np.flatnonzero(np.append(True, np.diff(ids[order]) != 0))
    ends = np.append(begins[1:], len(ids))
    for at in np.flatnonzero(ends - begins > 1).tolist():
        seen = set()
        lines = order[begins[at]:ends[at]].tolist()
        whole = not partial[lines].all()
        for i in lines:
            line = int(hashes[i])
            if line in seen:
                keep[i] = False
                notes["duplicate"] = notes.get("duplicate", 0) + 1
            elif whole and partial[i]:
                keep[i] = False
                notes["partial"] = notes.get("partial", 0) + 1
            seen.add(line)
    return keep


def _number(value: float) -> str:
    if value - value != 0:
        return "-1"                       # NaN or infinite: the format has no word for it
    return "%d" % value if value == int(value) else ("%.6f" % value).rstrip("0")


def _written(trace: Trace) -> List[np.ndarray]:
    """The columns that are written, in order; NaN and infinity are -1."""
    preceding = np.full(len(trace), -1, dtype=np.int64)
    ends = trace.after[trace.after[:, 2] == END]
    preceding[ends[:, 0]] = trace.job_id[ends[:, 1]]
    memory = np.where(trace.memory > 0, trace.memory / trace.procs / _MB, np.nan)
    return [trace.job_id, trace.submit, trace.began - trace.submit, trace.run, trace.procs, trace.request, memory,
            trace.user, trace.group, trace.queue, trace.partition, preceding, trace.think]


def write(trace: Trace, path: str, comments: Optional[Dict[str, object]] = None) -> None:
    """Write `trace` as SWF, whole or not at all: to a temporary file beside `path`, then renamed.

    comments: further header lines, name -> value.  A name ending in .gz is compressed (and with no time
    stamp in it, so that equal traces give equal files).  Raises OSError.
    """
    path = os.fspath(path)
    head = {"Version": "2.2", "MaxJobs": len(trace), "MaxRecords": len(trace)}
    if trace.unix_start:
        head["UnixStartTime"] = int(trace.unix_start)
    if trace.max_nodes:
        head["MaxNodes"] = trace.max_nodes
    if trace.max_procs:
        head["MaxProcs"] = trace.max_procs
    lines = list({**head, **(comments or {})}.items())
    for column in ("queue", "partition"):
        lines += [(column.capitalize(), f"{number} {label}") for number, label in trace.labels.get(column, {}).items()]
    temporary = ""
    try:
        with uninterrupted():
            handle, temporary = tempfile.mkstemp(prefix=".swf-", dir=os.path.dirname(os.path.abspath(path)))
        with os.fdopen(handle, "wb") as raw:
            columns = _written(trace)
            stream = gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) if path.endswith(".gz") else raw
            for name, value in lines:
                stream.write(f"; {name}: {value}\n".encode())
            for begin in range(0, len(trace), 65536):
                part = slice(begin, begin + 65536)
                rows = zip(*(column[part].tolist() for column in columns))
                stream.write("".join(
                    f"{job} {_number(submit)} {_number(wait)} {_number(run)} {procs} -1 -1 {procs} {_number(request)} "
                    f"{_number(memory)} 1 {user} {group} -1 {queue} {partition} {preceding} {_number(think)}\n"
                    for job, submit, wait, run, procs, request, memory, user, group, queue, partition, preceding, think
                    in rows).encode())
            if stream is not raw:
                stream.close()
            raw.flush()
            os.fsync(raw.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        with uninterrupted():
            os.replace(temporary, path)
            temporary = ""
    except BaseException:
        if temporary:
            os.unlink(temporary)
        raise
