# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Job traces as CSV: the columns of the C original's emulator, which are those of Slurm's sacct.

Columns are found by name in the first line, in any order: JobID, User, JobName, Account, Partition, NNodes,
NCPUS, Timelimit, State, Submit, Start, Elapsed, End, IORate(MB).  Needed are Submit, NCPUS or NNodes, and
Elapsed or Start with End; unknown columns are passed over.  Times are seconds, [D-]HH:MM:SS, MM:SS, or (Submit,
Start, End) YYYY-MM-DDTHH:MM:SS in UTC.
"""
from __future__ import annotations

import csv
import io
import os
import re
from datetime import datetime, timezone
from typing import Dict, Iterator, List, Optional

import numpy as np

from fluxsched.traces.trace import MAX_JOBS, Trace, TraceError, build, text

_CLOCK = re.compile(r"(?:(\d{1,6})-)?(?:(\d{1,6}):)?(\d{1,2}):(\d{1,2}(?:\.\d{1,9})?)\Z")
_NUMBER = re.compile(r"[+-]?\d{1,18}(?:\.\d{1,9})?\Z")
_STEP = re.compile(r"(\d.*)\.(?:\d+|batch|extern|interactive)\Z")
_MISSING = {"", "unknown", "none", "n/a", "unlimited", "partition_limit", "-1"}


def seconds(word: str) -> float:
    """Seconds in a word of the forms above, NaN where it says that the time is unknown or unlimited.

    Raises ValueError for anything else.
    """
    word = word.strip()
    if word.lower() in _MISSING:
        return float("nan")
    if _NUMBER.match(word):
        return float(word)
    clock = _CLOCK.match(word)
    if clock:
        days, hours, minutes, secs = clock.groups()
        if days is not None and hours is None:
            raise ValueError("seconds or [D-]HH:MM:SS")
        if int(minutes) > 59 or float(secs) >= 60:
            raise ValueError("minutes and seconds below 60")
        return int(days or 0) * 86400 + int(hours or 0) * 3600 + int(minutes) * 60 + float(secs)
    try:
        return datetime.strptime(word, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        raise ValueError("seconds or [D-]HH:MM:SS") from None


def count(word: str) -> float:
    """A count, NaN where it is unknown.  Raises ValueError."""
    word = word.strip()
    if word.lower() in _MISSING:
        return float("nan")
    if not _NUMBER.match(word):
        raise ValueError("a number")
    return float(word)


_PARSERS = {"JobID": count, "NNodes": count, "NCPUS": count, "Timelimit": seconds, "Submit": seconds,
            "Start": seconds, "Elapsed": seconds, "End": seconds, "IORate(MB)": count}
_NAMED = ("User", "Account", "Partition")


def read(path: str, pieces: Optional[Iterator[bytes]] = None) -> Trace:
    """Read a trace in CSV (comma, or ``|`` as in ``sacct -P``).  Raises TraceError, naming line and column.

    A step (JobID 12.batch, 12.0) of a job that has a line of its own (12) is left out and counted as "partial".
    Processors are NCPUS if positive, else NNodes.  The run time is Elapsed, or End less Start.  Submit times
    are counted from the first where they are calendar times.
    """
    source = os.path.basename(os.fspath(path))
    content = text(os.fspath(path), pieces)
    first = content[:content.find("\n")] if "\n" in content else content
    reader = csv.reader(io.StringIO(content, newline=""), delimiter="|" if "|" in first else ",", strict=True)
    columns: Dict[str, List[float]] = {}
    names: Dict[str, Dict[str, int]] = {name: {} for name in _NAMED}
    named: Dict[str, List[int]] = {name: [] for name in _NAMED}
    seen = set()
    duplicates = 0
    rows = 0
    steps: Dict[int, str] = {}                    # row -> the job that it would be a step of
    jobs = set()
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, source)
        place = {name: i for i, name in enumerate(header)}
        columns = {name: [] for name in _PARSERS}
        for row in reader:
            if not any(word.strip() for word in row):
                continue
            if len(row) != len(header):
                raise TraceError(f"{source}: line {reader.line_num}: {len(header)} columns expected, {len(row)} found")
            key = tuple(row)
            if key in seen:
                duplicates += 1
                continue
            seen.add(key)
            rows += 1
            if rows > MAX_JOBS:
                raise TraceError(f"{source}: more than {MAX_JOBS} jobs")
            if "JobID" in place:
                word = row[place["JobID"]].strip()
                step = _STEP.match(word)
                if step:
                    steps[rows - 1] = step.group(1)
                jobs.add(word)
            for name, parse in _PARSERS.items():
                if name not in place:
                    columns[name].append(float("nan"))
                    continue
                try:
                    columns[name].append(parse(row[place[name]]))
                except ValueError as err:
                    if name == "JobID":          # sacct has 12_3 and 12+1, too: those are numbered by place
                        columns[name].append(float("nan"))
                        continue
                    raise TraceError(f"{source}: line {reader.line_num}: {name}: {err} expected, "
                                     f"{row[place[name]][:40]!r} found") from None
            for name in _NAMED:
                word = row[place[name]].strip() if name in place else ""
                named[name].append(names[name].setdefault(word, len(names[name])) if word else -1)
    except csv.Error as err:
        raise TraceError(f"{source}: line {reader.line_num}: {err}") from None
    if not rows:
        raise TraceError(f"{source}: no jobs in the trace")

    notes = {"duplicate": duplicates} if duplicates else {}
    keep = np.ones(rows, dtype=bool)
    for at, job in steps.items():
        keep[at] = job not in jobs
    if not keep.all():
        notes["partial"] = int((~keep).sum())

    value = {name: np.array(column) for name, column in columns.items()}
    place_in_file = np.arange(1, rows + 1)
    job_id = np.where(np.isnan(value["JobID"]), place_in_file, value["JobID"])
    run = np.where(np.isnan(value["Elapsed"]), value["End"] - value["Start"], value["Elapsed"])
    procs = np.where(value["NCPUS"] > 0, value["NCPUS"], value["NNodes"])
    submit = value["Submit"]
    start = 0.0
    if np.nanmin(submit, initial=np.inf) > 1e8 and not np.isnan(submit).all():     # calendar times
        start = float(np.floor(np.nanmin(submit)))
        submit = submit - start
    return build({"job_id": job_id, "submit": submit, "run": run, "procs": procs, "request": value["Timelimit"],
                  "nodes": np.nan_to_num(value["NNodes"]), "user": named["User"], "group": named["Account"],
                  "queue": named["Partition"], "io_rate": np.nan_to_num(value["IORate(MB)"])},
                 source=source, keep=keep, notes=notes, unix_start=start,
                 header={name: list(words) for name, words in names.items() if words})


def _check_header(header: List[str], source: str) -> None:
    if not any(header):
        raise TraceError(f"{source}: no jobs in the trace")
    have = set(header)
    for name in header:
        if name in _PARSERS and header.count(name) > 1:
            raise TraceError(f"{source}: line 1: column {name} is there twice")
    if "Submit" not in have:
        raise TraceError(f"{source}: line 1: no column Submit; a header of column names is expected")
    if not have & {"NCPUS", "NNodes"}:
        raise TraceError(f"{source}: line 1: no column NCPUS or NNodes")
    if "Elapsed" not in have and not {"Start", "End"} <= have:
        raise TraceError(f"{source}: line 1: no column Elapsed, nor Start with End")
