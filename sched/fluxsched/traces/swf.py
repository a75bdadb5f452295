# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The Standard Workload Format (version 2.2) of the Parallel Workloads Archive.

One line of 18 numbers a job, -1 where unknown; comments begin with ``;``, and those at the head carry
``Name: value`` pairs.  Chapin, Cirne, Feitelson, Jones, Leutenegger, Schwiegelshohn, Smith, Talby:
Benchmarks and standards for the evaluation of parallel job schedulers, JSSPP 1999.
"""
from __future__ import annotations

import os
import tempfile
from typing import Dict, Iterator, List, Optional

import numpy as np

from fluxsched.traces.swfscan import scan
from fluxsched.traces.trace import MAX_JOBS, Trace, TraceError, build, chunks

# Fields by their number in the format, less one.
JOB, SUBMIT, WAIT, RUN, ALLOCATED, CPU, MEMORY, PROCS, REQUEST, REQUEST_MEMORY, STATUS, USER, GROUP, PROGRAM, QUEUE, \
    PARTITION, PRECEDING, THINK = range(18)


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


def read(path: str, pieces: Optional[Iterator[bytes]] = None) -> Trace:
    """Read a trace in SWF, plain or gzip.  Raises TraceError, naming the line where one is malformed.

    Processors are field 8 if positive, else field 5; the request is field 9 if positive, else the run
    time (field 4).
    """
    source = os.path.basename(os.fspath(path))
    header: Dict[str, List[str]] = {}
    in_header = True
    lines = 0
    jobs = 0
    parts = []
    for piece in chunks(os.fspath(path), pieces):
        if in_header:
            in_header = _header(piece, header)
        out = np.empty((piece.count(b"\n") + 1, 18))
        rows, seen, problem = scan(piece, out)
        lines += seen
        jobs += rows
        if problem:
            raise TraceError(f"{source}: line {lines}: {problem}")
        if jobs > MAX_JOBS:
            raise TraceError(f"{source}: more than {MAX_JOBS} jobs")
        parts.append(out[:rows].copy())
    table = np.concatenate(parts) if parts else np.empty((0, 18))
    if not len(table):
        raise TraceError(f"{source}: no jobs in the trace")

    notes: Dict[str, int] = {}
    keep = _unique(table, notes)
    procs = np.where(table[:, PROCS] > 0, table[:, PROCS], table[:, ALLOCATED])
    start = _header_number(header, "UnixStartTime", source, 0)
    return build(
        {"job_id": table[:, JOB], "submit": table[:, SUBMIT], "run": table[:, RUN], "procs": procs,
         "request": table[:, REQUEST], "user": table[:, USER], "group": table[:, GROUP], "queue": table[:, QUEUE]},
        source=source, keep=keep, notes=notes, unix_start=float(start or 0),
        max_procs=_header_number(header, "MaxProcs", source, 1),
        max_nodes=_header_number(header, "MaxNodes", source, 1), header=header)


def _unique(table: np.ndarray, notes: Dict[str, int]) -> np.ndarray:
    """Mask of the lines to keep: no repeated lines, no parts of a job that has a line for the whole."""
    keep = np.ones(len(table), dtype=bool)
    ids = table[:, JOB]
    if (np.diff(ids) > 0).all():                  # the usual case: numbers ascend, nothing repeats
        return keep
    order = np.argsort(ids, kind="stable")
    at = 0
    while at < len(order):                        # runs of one job number, rarely longer than 1
        end = at + 1
        while end < len(order) and ids[order[end]] == ids[order[at]]:
            end += 1
        if end - at > 1:
            seen = set()
            whole = any(table[i, STATUS] not in (2, 3, 4) for i in order[at:end])
            for i in order[at:end]:
                line = table[i].tobytes()
                if line in seen:
                    keep[i] = False
                    notes["duplicate"] = notes.get("duplicate", 0) + 1
                elif whole and table[i, STATUS] in (2, 3, 4):
                    keep[i] = False
                    notes["partial"] = notes.get("partial", 0) + 1
                seen.add(line)
        at = end
    return keep


def _number(value: float) -> str:
    return "%d" % value if value == int(value) else ("%.6f" % value).rstrip("0")


def write(trace: Trace, path: str, comments: Optional[Dict[str, object]] = None) -> None:
    """Write `trace` as SWF, whole or not at all: to a temporary file beside `path`, then renamed.

    comments: further header lines, name -> value.  A name ending in .gz is compressed (and with no time
    stamp in it, so that equal traces give equal files).  Raises OSError.
    """
    import gzip

    path = os.fspath(path)
    head = {"Version": "2.2", "MaxJobs": len(trace), "MaxRecords": len(trace)}
    if trace.unix_start:
        head["UnixStartTime"] = int(trace.unix_start)
    if trace.max_nodes:
        head["MaxNodes"] = trace.max_nodes
    if trace.max_procs:
        head["MaxProcs"] = trace.max_procs
    head.update(comments or {})
    handle, temporary = tempfile.mkstemp(prefix=".swf-", dir=os.path.dirname(os.path.abspath(path)))
    try:
        with os.fdopen(handle, "wb") as raw:
            stream = gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) if path.endswith(".gz") else raw
            for name, value in head.items():
                stream.write(f"; {name}: {value}\n".encode())
            for begin in range(0, len(trace), 65536):
                part = slice(begin, begin + 65536)
                rows = zip(trace.job_id[part].tolist(), trace.submit[part].tolist(), trace.run[part].tolist(),
                           trace.procs[part].tolist(), trace.request[part].tolist(), trace.user[part].tolist(),
                           trace.group[part].tolist(), trace.queue[part].tolist())
                stream.write("".join(
                    f"{job} {_number(submit)} -1 {_number(run)} {procs} -1 -1 {procs} {_number(request)} -1 1 "
                    f"{user} {group} -1 {queue} -1 -1 -1\n"
                    for job, submit, run, procs, request, user, group, queue in rows).encode())
            if stream is not raw:
                stream.close()
            raw.flush()
            os.fsync(raw.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
