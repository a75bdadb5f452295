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
import os
import re
from array import array
from datetime import datetime, timezone
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from fluxsched.traces.files import MAX_LINE, TraceError, check_jobs, lines
from fluxsched.traces.trace import Trace, build

_CLOCK = re.compile(r"(?:(\d{1,6})-)?(?:(\d{1,6}):)?(\d{1,2}):(\d{1,2}(?:\.\d{1,9})?)\Z", re.ASCII)
_NUMBER = re.compile(r"([+-]?\d{1,18}(?:\.\d{1,9})?)([KMG]?)\Z", re.ASCII)
_STEP = re.compile(r"(\d.*)\.(?:\d+|batch|extern|interactive)\Z", re.ASCII)
_WHOLE = re.compile(r"(\d{1,19})(?:\.0+)?\Z", re.ASCII)
_PLAIN_NAME = re.compile(r"[0-9A-Za-z_.+-]{1,64}\Z")
_MISSING = {"", "unknown", "none", "n/a", "unlimited", "partition_limit", "invalid", "-1"}
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
# States, and their short forms, of jobs that have not started or still run, and of one that another cluster ran.
_NOT_OVER = {"PENDING", "PD", "RUNNING", "R", "SUSPENDED", "S", "CONFIGURING", "CF", "REQUEUE_FED", "RF",
             "REQUEUE_HOLD", "RH", "RESV_DEL_HOLD", "RD", "SPECIAL_EXIT", "SE", "STOPPED", "ST", "SIGNALING", "SI",
             "REVOKED", "RV"}
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
        return datetime.strptime(word, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc).timestamp()
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


def minutes(word: str) -> float:
    """Seconds in a number of minutes, NaN where it is unknown or unlimited.  Raises ValueError."""
    return count(word) * 60


def tres(name: str) -> Callable[[str], float]:
    """A reader of the count of `name` in a word such as billing=4,cpu=4,node=1; it gives NaN where there is none."""
    def parse(word: str) -> float:
        for part in word.split(","):
            key, equals, value = part.partition("=")
            if equals and key.strip() == name:
                return count(value)
        return _NAN
    return parse


_Field = Tuple[Tuple[str, Callable[[str], float]], ...]
FIELDS: Dict[str, _Field] = {
    "submit": (("Submit", seconds),),
    "start": (("Start", seconds),),
    "end": (("End", seconds),),
    "elapsed": (("Elapsed", seconds), ("ElapsedRaw", seconds)),
    "request": (("Timelimit", seconds), ("TimelimitRaw", minutes)),
    "cpus": (("NCPUS", count), ("AllocCPUS", count), ("AllocTRES", tres("cpu")), ("ReqCPUS", count),
             ("ReqTRES", tres("cpu"))),
    "nodes": (("NNodes", count), ("AllocNodes", count), ("AllocTRES", tres("node")), ("ReqNodes", count),
              ("ReqTRES", tres("node"))),
    "io_rate": (("IORate(MB)", count),),
}
NAMED = {"user": ("User", "UID"), "group": ("Account", "Group", "GID"), "queue": ("Partition",)}
_IDS = ("JobID", "JobIDRaw")
_KNOWN = {name.lower(): name for name in (*(name for field in FIELDS.values() for name, _ in field),
                                          *(name for some in NAMED.values() for name in some),
                                          *_IDS, "State", "NodeList")}


class _Table:
    """The lines of a trace, column by column, as they are read.

    values: name of a field -> its number in each line, NaN where unknown.
    numbers: name of a named field -> the place of its word in `words`, -1 where there is none.
    ids: the job's number, -1 where its id is another word; that is in `others`, by line.
    hashes: of the line as it is written.
    """

    def __init__(self, header: Sequence[str], source: str):
        self.source = source
        self.place = _places(header, source)
        self.values = {name: array("d") for name in FIELDS}
        self.words: Dict[str, Dict[str, int]] = {name: {} for name in NAMED}
        self.numbers = {name: array("q") for name in NAMED}
        self.ids = array("q")
        self.others: Dict[int, str] = {}
        self.hashes = array("q")
        self.readers = {field: [(self.place[name], name, parse) for name, parse in spellings if name in self.place]
                        for field, spellings in FIELDS.items()}

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
        if not self.ran(row, found):
            found["elapsed"] = found["start"] = _NAN
        for field, value in found.items():
            self.values[field].append(value)
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

    def ran(self, row: Sequence[str], found: Dict[str, float]) -> bool:
        """Whether a job started and is over, by all that a line says about it."""
        for name, field in (("Start", "start"), ("End", "end")):
            if name in self.place and found[field] != found[field]:
                return False
        if "NodeList" in self.place and row[self.place["NodeList"]].strip().lower() == "none assigned":
            return False
        words = row[self.place["State"]].upper().split() if "State" in self.place else []
        state = words[0].rstrip("+") if words else ""         # CANCELLED by 1000; CANCELLED+ where it is cut
        return state not in _NOT_OVER and not (state in _NEVER_RAN and not found["elapsed"] > 0
                                               and not found["end"] > found["start"])


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
    A job that never started or still runs, by its start, end, state or nodes, has no run time.  Submit times are
    counted from the first where they are calendar times.
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
    value = {name: np.frombuffer(column) for name, column in table.values.items()}
    run = np.where(np.isnan(value["elapsed"]), value["end"] - value["start"], value["elapsed"])
    submit = value["submit"]
    start = 0.0
    if np.nanmin(submit, initial=np.inf) > 1e8 and not np.isnan(submit).all():     # calendar times
        start = float(np.floor(np.nanmin(submit)))
        submit = submit - start
    notes: Dict[str, int] = {}
    keep = _kept(table, notes)
    ids, names = _numbered(table)
    named = {name: np.frombuffer(column, dtype=np.int64) for name, column in table.numbers.items()}
    return build({"job_id": ids, "submit": submit, "run": run, "request": value["request"],
                  "procs": np.where(value["cpus"] > 0, value["cpus"], value["nodes"]),
                  "nodes": np.nan_to_num(value["nodes"]), "io_rate": np.nan_to_num(value["io_rate"]), **named},
                 source=table.source, keep=keep, notes=notes, unix_start=start, names=names,
                 header={NAMED[name][0]: list(words) for name, words in table.words.items() if words})


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
