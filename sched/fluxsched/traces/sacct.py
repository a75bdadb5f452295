# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Job traces as CSV: the fields of Slurm's sacct, which are also the columns of the C original's emulator.

Columns are found by name in the first line, in any order.  One thing may have several names (FIELDS); where a line has
more than one of them, the first that is above 0 counts.  Needed are a submit time, processors or nodes, and a run
time or start and end; unknown columns are passed over.  Times are seconds, [D-]HH:MM:SS, MM:SS, or (points in time)
YYYY-MM-DDTHH:MM:SS in UTC.
"""
from __future__ import annotations

import csv
import math
import os
import re
from array import array
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from fluxsched.traces.files import MAX_LINE, TraceError, check_jobs, lines
from fluxsched.traces.trace import ENDED, RUNNING, WAITING, Trace, build

_CLOCK = re.compile(r"(?:(\d{1,6})-)?(?:(\d{1,6}):)?(\d{1,2}):(\d{1,2}(?:\.\d{1,9})?)\Z", re.ASCII)
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\Z", re.ASCII)
_NUMBER = re.compile(r"([+-]?\d{1,18}(?:\.\d{1,9})?)([KMGT]?)\Z", re.ASCII)
_STEP = re.compile(r"(\d.*)\.(?:\d+|batch|extern|interactive)\Z", re.ASCII)
_WHOLE = re.compile(r"(\d{1,19})(?:\.0+)?\Z", re.ASCII)
_FEATURE = re.compile(r"[0-9A-Za-z_.:=+-]{1,64}\Z")
_PLAIN_NAME = re.compile(r"[0-9A-Za-z_.+-]{1,64}\Z")
_MISSING = {"", "unknown", "none", "n/a", "unlimited", "partition_limit", "invalid", "-1"}
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
# States, and their short forms, of jobs that wait, that run, and that do neither: held, or another cluster's.
_WAITS = {"PENDING", "PD"}
_RUNS = {"RUNNING", "R", "SUSPENDED", "S", "CONFIGURING", "CF", "STOPPED", "ST", "SIGNALING", "SI"}
_NEITHER = {"REQUEUE_FED", "RF", "REQUEUE_HOLD", "RH", "RESV_DEL_HOLD", "RD", "SPECIAL_EXIT", "SE", "REVOKED", "RV"}
# States in which a run time of 0 means that the job never started.
_NEVER_RAN = {"CANCELLED", "CA", "DEADLINE", "DL"}
_NAN = float("nan")


def seconds(word: str) -> float:
    """Seconds in a word of the forms above, NaN where it says that the time is unknown or unlimited.

    Raises ValueError for anything else.
    """
    word = word.strip()
    if word.lower() in _MISSING:
        return _NAN
    number = _NUMBER.match(word)
    if number and not number[2]:
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
        # The usual form costs a tenth of the other.
        when = datetime.fromisoformat(word) if _STAMP.match(word) else datetime.strptime(word, "%Y-%m-%dT%H:%M:%S")
        return when.replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        raise ValueError("seconds or [D-]HH:MM:SS") from None


def count(word: str) -> float:
    """A count, also as sacct shortens it (4K is 4096); NaN where it is unknown.  Raises ValueError."""
    word = word.strip()
    if word.lower() in _MISSING:
        return _NAN
    number = _NUMBER.match(word)
    if not number:
        raise ValueError("a number")
    return float(number[1]) * _UNITS[number[2]]


def limit(word: str) -> float:
    """Seconds of a time limit, infinite where it says that there is none, NaN where it is unknown; or ValueError."""
    return math.inf if word.strip().lower() == "unlimited" else seconds(word)


def minutes(word: str) -> float:
    """Seconds in a time limit in minutes, as `limit` gives them.  Raises ValueError."""
    return math.inf if word.strip().lower() == "unlimited" else count(word) * 60


def feature_constraint(text: str) -> Optional[Dict[str, Any]]:
    """The constraint that Slurm's feature expression `text` is, with names joined by & or by |; None for any other."""
    operator = "|" if "|" in text else "&"
    names = [name.strip() for name in text.split(operator)]
    if not all(_FEATURE.match(name) for name in names):
        return None
    return {"properties": names} if operator == "&" else {"or": [{"properties": [name]} for name in names]}


def tres(name: str) -> Callable[[str], float]:
    """A reader of the count of `name` in a word such as billing=4,cpu=4,node=1; it gives NaN where there is none."""
    def parse(word: str) -> float:
        for part in word.split(","):
            key, equals, value = part.partition("=")
            if equals and key.strip() == name:
                return count(value)
        return _NAN
    return parse


def memory_per(unit: str) -> Callable[[str], float]:
    """A reader of the memory for each node ("n") or processor ("c"), in bytes, in a word of ReqMem such as 4Gn, or ("")
    for the job; it gives NaN where the word says another."""
    def parse(word: str) -> float:
        word = word.strip()
        per = word[-1:] if word[-1:] in ("n", "c") else ""
        value = count(word.removesuffix(per))
        # Without a letter for the size it is MB, as Slurm's options have it.
        return (value if word.removesuffix(per)[-1:].isalpha() else value * _UNITS["M"]) if per == unit else _NAN
    return parse


_Field = Tuple[Tuple[str, Callable[[str], float]], ...]
FIELDS: Dict[str, _Field] = {
    "submit": (("Submit", seconds),),
    "start": (("Start", seconds),),
    "end": (("End", seconds),),
    "elapsed": (("Elapsed", seconds), ("ElapsedRaw", seconds)),
    "ready": (("Eligible", seconds),),
    "request": (("Timelimit", limit), ("TimelimitRaw", minutes)),
    "cpus": (("NCPUS", count), ("AllocCPUS", count), ("AllocTRES", tres("cpu")), ("ReqCPUS", count),
             ("ReqTRES", tres("cpu"))),
    "nodes": (("NNodes", count), ("AllocNodes", count), ("AllocTRES", tres("node")), ("ReqNodes", count),
              ("ReqTRES", tres("node"))),
    "io_rate": (("IORate(MB)", count),),
    "priority": (("Priority", count),),
    "gpus": (("AllocTRES", tres("gres/gpu")), ("ReqTRES", tres("gres/gpu"))),
    "memory": (("ReqTRES", tres("mem")), ("AllocTRES", tres("mem")), ("ReqMem", memory_per(""))),
    "memory_node": (("ReqMem", memory_per("n")),),
    "memory_cpu": (("ReqMem", memory_per("c")),),
}
NAMED = {"user": ("User", "UID"), "group": ("Account", "Group", "GID"), "queue": ("Partition",),
         "constraint": ("Constraints",)}
_IDS = ("JobID", "JobIDRaw")
_KNOWN = {name.lower(): name for name in (*(name for field in FIELDS.values() for name, _ in field),
                                          *(name for some in NAMED.values() for name in some),
                                          *_IDS, "State", "NodeList", "OverSubscribe", "SubmitLine")}


class _Table:
    """The lines of a trace, column by column, as they are read.

    values: name of a field that the trace has columns for -> its number in each line, NaN where unknown.
    numbers: name of a named field -> the place of its word in `words`, -1 where there is none.
    states: of the jobs, as in Trace.
    held: 1 for a job that waits, and may not start.
    exclusive: 1 for a job that has its nodes for itself.
    ids: the job's number, -1 where its id is another word; that is in `others`, by line.
    hashes: of the line as it is written.
    """

    def __init__(self, header: Sequence[str], source: str):
        self.source = source
        self.place = _places(header, source)
        self.words: Dict[str, Dict[str, int]] = {name: {} for name in NAMED}
        self.numbers = {name: array("q") for name in NAMED}
        self.states = array("b")
        self.held = array("b")
        self.exclusive = array("b")
        self.ids = array("q")
        self.others: Dict[int, str] = {}
        self.hashes = array("q")
        self.readers = {field: [(self.place[name], name, parse) for name, parse in spellings if name in self.place]
                        for field, spellings in FIELDS.items()}
        self.values = {field: array("d") for field, columns in self.readers.items() if columns}

    def __len__(self) -> int:
        return len(self.ids)

    def word(self, row: Sequence[str], names: Sequence[str]) -> str:
        """The first of these columns that says something, "" if none does."""
        return next((row[self.place[name]].strip() for name in names
                     if name in self.place and row[self.place[name]].strip()), "")

    def add(self, row: Sequence[str], line: int) -> None:
        """Take one line's words.  Raises TraceError, naming the line and column."""
        check_jobs(len(self) + 1, self.source)
        found = {field: self.number(row, field, line) for field in FIELDS}
        state = self.state(row, found)
        self.states.append(ENDED if state is None else state)
        self.held.append(state == WAITING and found["priority"] == 0)
        if state is None or state == WAITING:
            found["elapsed"] = found["start"] = _NAN
        for field, column in self.values.items():
            column.append(found[field])
        self.exclusive.append(self.alone(row))
        for name, columns in NAMED.items():
            word, known = self.word(row, columns), self.words[name]
            self.numbers[name].append(known.setdefault(word, len(known)) if word else -1)
        word = self.word(row, _IDS)
        whole = _WHOLE.match(word)
        number = int(whole[1]) if whole and int(whole[1]) < 2**63 else -1
        if number < 0 or whole is None or whole[1] != word:
            self.others[len(self)] = word
        self.ids.append(number)
        self.hashes.append(hash(tuple(row)))

    def number(self, row: Sequence[str], field: str, line: int) -> float:
        """A field's value in a line: of its columns the first that is above 0, else the first that is known."""
        known = _NAN
        for place, name, parse in self.readers[field]:
            try:
                value = parse(row[place])
            except ValueError as err:
                raise TraceError(f"{self.source}: line {line}: {name}: {err} expected, "
                                 f"{row[place][:40]!r} found") from None
            if value > 0:
                return value
            if known != known:
                known = value
        return known

    def alone(self, row: Sequence[str]) -> bool:
        """Whether the job has its nodes for itself: OverSubscribe, as squeue and scontrol show it, is NO then, or there
        is --exclusive in the command that submitted it. What lines #SBATCH of its script say, sacct does not tell."""
        if "OverSubscribe" in self.place and row[self.place["OverSubscribe"]].strip().upper() in ("NO", "EXCLUSIVE"):
            return True
        return "SubmitLine" in self.place and "--exclusive" in row[self.place["SubmitLine"]].split()

    def state(self, row: Sequence[str], found: Dict[str, float]) -> Optional[int]:
        """The state of a job, by all that a line says about it; None for one that is over and never started."""
        words = row[self.place["State"]].upper().split() if "State" in self.place else []
        state = words[0].rstrip("+") if words else ""         # CANCELLED by 1000; CANCELLED+ where it is cut
        if state in _WAITS:
            return WAITING
        if state in _RUNS:
            return RUNNING
        for name, field in (("Start", "start"), ("End", "end")):
            if name in self.place and found[field] != found[field]:
                return None
        if "NodeList" in self.place and row[self.place["NodeList"]].strip().lower() == "none assigned":
            return None
        never = state in _NEVER_RAN and not found["elapsed"] > 0 and not found["end"] > found["start"]
        return None if never or state in _NEITHER else ENDED


def _places(header: Sequence[str], source: str) -> Dict[str, int]:
    """Name -> place of the columns that are used, whatever the case of their letters."""
    if not any(header):
        raise TraceError(f"{source}: no jobs in the trace")
    place: Dict[str, int] = {}
    for at, word in enumerate(header):
        name = _KNOWN.get(word.lower())
        if name in place:
            raise TraceError(f"{source}: line 1: column {name} is there twice")
        if name is not None:
            place[name] = at
    if "Submit" not in place:
        raise TraceError(f"{source}: line 1: no column Submit; a header of column names is expected")
    if not any(name in place for field in ("cpus", "nodes") for name, _ in FIELDS[field]):
        raise TraceError(f"{source}: line 1: no column NCPUS or NNodes, nor another name of these")
    if not any(name in place for name, _ in FIELDS["elapsed"]) and not {"Start", "End"} <= set(place):
        raise TraceError(f"{source}: line 1: no column Elapsed, nor Start with End")
    return place


def _quoted(line: str, delimiter: str) -> Optional[List[str]]:
    """The words of a line with quoting, None where a quote is not closed or closed early."""
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return None


def _split(line: str, delimiter: str, width: int) -> Optional[List[str]]:
    """The `width` words of a line, None if it has another number of them.

    sacct quotes nothing, whatever its delimiter, while programs that write commas quote where they must: what reads
    as the right number of words is taken, first without quoting for bars, first with it for commas.
    """
    plain = line.split(delimiter)
    if '"' not in line:
        return plain if len(plain) == width else None
    quoted = _quoted(line, delimiter)
    for words in (plain, quoted) if delimiter == "|" else (quoted, plain):
        if words is not None and len(words) == width:
            return words
    return None


def _rows(text: Iterator[str], delimiter: str, width: int, source: str) -> Iterator[Tuple[int, List[str]]]:
    """Number and words of each line below the header that is not blank; a quoted word may go on in the next line."""
    number = 1
    for line in text:
        number += 1
        if not line.replace(delimiter, "").strip():
            continue
        first, words = number, _split(line, delimiter, width)
        while words is None and delimiter == "," and _quoted(line, delimiter) is None and len(line) < MAX_LINE:
            more = next(text, None)
            if more is None:
                raise TraceError(f"{source}: line {first}: a quote is not closed")
            number += 1
            line += "\n" + more
            words = _quoted(line, delimiter)
            words = words if words is not None and len(words) == width else None
        if words is None:
            found = len(line.split(delimiter))
            hint = ""
            if delimiter == "|" and found > width:
                hint = "; sacct does not quote: leave out names that may hold a bar"
            raise TraceError(f"{source}: line {first}: {width} columns expected, {found} found{hint}")
        yield first, words


def read(path: str, begun: Optional[Iterator[bytes]] = None) -> Trace:
    """Read a trace in CSV (comma, or ``|`` as in ``sacct -P``).  Raises TraceError, naming line and column.

    begun: the file's pieces, where somebody has begun to read it.

    A step (JobID 12.batch, 12.0) of a job that has a line of its own (12) is left out and counted as "partial".
    A job that is over and never started, by its start, end, state or nodes, has no run time; one that runs or waits by
    its state runs for as long as it may.  Submit times are counted from the first where they are calendar times.
    """
    source = os.path.basename(os.fspath(path))
    text = lines(os.fspath(path), begun)
    first = next(text, "")
    delimiter = "|" if "|" in first else ","
    header = [name.strip() for name in _quoted(first, delimiter) or []]
    table = _Table(header, source)
    for number, words in _rows(text, delimiter, len(header), source):
        table.add(words, number)
    if not len(table):
        raise TraceError(f"{source}: no jobs in the trace")
    return _trace(table)


def _trace(table: _Table) -> Trace:
    nothing = np.broadcast_to(np.nan, len(table))
    value = {name: np.frombuffer(table.values[name]) if name in table.values else nothing for name in FIELDS}
    run = np.where(np.isnan(value["elapsed"]), value["end"] - value["start"], value["elapsed"])
    submit = value["submit"]
    start = 0.0
    if np.nanmin(submit, initial=np.inf) > 1e8 and not np.isnan(submit).all():     # calendar times
        start = float(np.floor(np.nanmin(submit)))
        submit = submit - start
    notes: Dict[str, int] = {}
    keep = _kept(table, notes)
    states = np.frombuffer(table.states, dtype=np.int8)
    held = keep & (np.frombuffer(table.held, dtype=np.int8) > 0)
    if held.any():
        notes["held"] = int(held.sum())
    constraints, constraint = _constraints(table, keep & ~held, notes)
    ids, names = _numbered(table)
    named = {name: np.frombuffer(column, dtype=np.int64) for name, column in table.numbers.items()
             if name != "constraint"}
    procs = np.where(value["cpus"] > 0, value["cpus"], value["nodes"])
    rare = {"ready": value["ready"] - start, "priority": value["priority"], "gpus": value["gpus"],
            "memory": _memory(value, procs) / 1e6, "constraint": constraint, "state": states}
    if any(table.exclusive):
        rare["exclusive"] = np.frombuffer(table.exclusive, dtype=np.int8)
    return build({"job_id": ids, "submit": submit, "run": run, "request": value["request"], "procs": procs,
                  "nodes": np.nan_to_num(value["nodes"]), "io_rate": np.nan_to_num(value["io_rate"]),
                  "began": value["start"] - start, **named,
                  **{name: column for name, column in rare.items() if (column > -1).any()}},
                 source=table.source, keep=keep & ~held, notes=notes, unix_start=start, names=names,
                 taken=_taken(value, states, start), constraints=constraints,
                 labels={name: dict(enumerate(words)) for name, words in table.words.items() if name != "constraint"},
                 header={NAMED[name][0]: list(words) for name, words in table.words.items() if words})


def _memory(value: Dict[str, np.ndarray], procs: np.ndarray) -> np.ndarray:
    """Bytes of each job, NaN where they are not known."""
    nodes = np.fmax(value["nodes"], 1)
    of_parts = np.fmax(value["memory_node"] * nodes, value["memory_cpu"] * procs)
    return np.where(value["memory"] > 0, value["memory"], of_parts)


def _constraints(table: _Table, keep: np.ndarray, notes: Dict[str, int]) -> Tuple[List[Dict[str, Any]], np.ndarray]:
    """The constraints that are read, and the place among them of each job's, -1 for none."""
    read = [feature_constraint(text) for text in table.words["constraint"]]
    found = [constraint for constraint in read if constraint is not None]
    known = np.array([constraint is not None for constraint in read], dtype=bool)
    place = np.append(np.where(known, np.cumsum(known) - 1, -2), -1)
    of_job = place[np.frombuffer(table.numbers["constraint"], dtype=np.int64)]
    if (keep & (of_job == -2)).any():
        notes["other_constraint"] = int((keep & (of_job == -2)).sum())
    return found, np.maximum(of_job, -1)


def _taken(value: Dict[str, np.ndarray], states: np.ndarray, origin: float) -> Optional[float]:
    """When jobs that run or wait were exported, in s after the origin, by how long they have run, else the last time of
    any; None if there are none such."""
    if not (states > ENDED).any():
        return None
    now = (value["start"] + value["elapsed"])[states == RUNNING]
    if not np.isnan(now).all():
        return float(np.nanmax(now)) - origin
    return float(max(np.nanmax(value[name], initial=origin) for name in ("submit", "start", "end"))) - origin


def _kept(table: _Table, notes: Dict[str, int]) -> np.ndarray:
    """Mask of the lines to keep: no repeated lines, no steps of a job that has a line for the whole."""
    keep = np.ones(len(table), dtype=bool)
    hashes = np.frombuffer(table.hashes, dtype=np.int64)
    first = np.unique(hashes, return_index=True)[1]
    if len(first) < len(table):
        keep[:] = False
        keep[first] = True
        notes["duplicate"] = len(table) - len(first)
    steps = [(at, step[1]) for at, step in ((at, _STEP.match(word)) for at, word in table.others.items()) if step]
    if steps:
        jobs = {str(number) for at, number in enumerate(table.ids) if at not in table.others}
        jobs.update(table.others.values())
        parts = [at for at, job in steps if job in jobs and keep[at]]
        keep[parts] = False
        if parts:
            notes["partial"] = len(parts)
    return keep


def _numbered(table: _Table) -> Tuple[np.ndarray, Dict[int, str]]:
    """A number for each line's job, and the names of those whose id is no number.

    A number is kept as it is, also written as 12.0 by programs that take it for one with a fraction; other words are
    numbered above all of these, the same word alike, so that no two jobs get one number.
    """
    ids = np.frombuffer(table.ids, dtype=np.int64).copy()
    if not table.others:
        return ids, {}
    whole = np.ones(len(ids), dtype=bool)
    whole[list(table.others)] = False
    taken = set(ids[whole].tolist())
    above = int(ids.max(initial=0))
    if above >= 2**63 - 1 - len(ids):                      # no room above: then below
        above = -len(ids) - 2
    given: Dict[str, int] = {}
    for at, word in table.others.items():
        number = int(ids[at])
        if not word:
            above += 1                                     # without an id each line is a job of its own
            ids[at] = above
        elif number < 0 or number in taken:
            if word not in given:
                above += 1
                given[word] = above
            ids[at] = given[word]
    return ids, {number: word for word, number in given.items() if _PLAIN_NAME.match(word)}
