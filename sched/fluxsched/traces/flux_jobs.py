# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Job traces from a Flux instance: the output of ``flux jobs -aA -c 0 --json``.

Either an object with a list "jobs", that list alone, or one job (what is printed for one id).  The keys read
are those of _NUMBERS and _NAMED, and id; times in seconds since the epoch.  Behind them may stand the ids of jobs, each
with the jobspec that ``flux job info ID jobspec`` prints, which tells what the job asked for.  Jobs are read one by
one, so that memory holds no more than one of them as text.
"""
from __future__ import annotations

import json
import os
from array import array
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

import numpy as np

from fluxsched.formats.jobspec import Request
from fluxsched.formats.quote import quote
from fluxsched.traces.chains import Links
from fluxsched.traces.files import TraceError, characters, check_jobs
from fluxsched.traces.jobspecs import Jobspecs
from fluxsched.traces.trace import ENDED, RUNNING, WAITING, Trace, build

_NUMBERS = ("t_submit", "t_priority", "t_run", "t_cleanup", "t_inactive", "expiration", "runtime", "duration",
            "ncores", "ntasks", "nnodes", "userid", "urgency", "priority")
_NAMED = ("queue", "bank", "state")
_STATES = {"DEPEND": WAITING, "PRIORITY": WAITING, "SCHED": WAITING, "RUN": RUNNING, "CLEANUP": ENDED,
           "INACTIVE": ENDED}
_CUT = 1000                   # so many jobs flux jobs lists, unless it is told otherwise
_READ = frozenset(("id", *_NUMBERS, *_NAMED))
_LONGEST = 1 << 20            # characters of one job
_BLANK = " \t\r\n"
_DIGITS = "0123456789.eE+-"


class _Text:
    """JSON text that comes in pieces, and a place in it.

    Only what lies between the place and the end of the last piece is held.  Raises TraceError with the number of the
    line for what is no JSON, is nested too deep to be read, or is one value of more than a million characters.
    """

    def __init__(self, pieces: Iterator[str], source: str):
        self.pieces = pieces
        self.source = source
        self.text = ""
        self.at = 0
        self.line = 1                        # of text[0]
        self.decoder = json.JSONDecoder()

    def more(self) -> bool:
        """Read on; false at the end of the file."""
        piece = next(self.pieces, None)
        if piece is None:
            return False
        self.line += self.text.count("\n", 0, self.at)
        self.text = self.text[self.at:] + piece
        self.at = 0
        return True

    def fail(self, what: str, at: int) -> TraceError:
        return TraceError(f"{self.source}: line {self.line + self.text.count(chr(10), 0, at)}: not JSON: {what}")

    def peek(self) -> str:
        """The next character that is no blank, "" at the end of the file."""
        while True:
            while self.at < len(self.text):
                if self.text[self.at] not in _BLANK:
                    return self.text[self.at]
                self.at += 1
            if not self.more():
                return ""

    def take(self, expected: str) -> str:
        """The next character, which has to be one of these."""
        found = self.peek()
        if not found or found not in expected:
            raise self.fail(f"{' or '.join(expected)} expected", self.at)
        self.at += 1
        return found

    def value(self) -> Tuple[Any, str]:
        """The next value, and its text."""
        self.peek()
        while True:
            try:
                found, end = self.decoder.raw_decode(self.text, self.at)
                # A number may go on in the next piece.
                if self.text[end - 1] in '}]"' or self.text[end:end + 3].strip(_DIGITS) or not self.more():
                    break
            except RecursionError:
                raise TraceError(f"{self.source}: JSON nested too deep") from None
            except json.JSONDecodeError as err:
                if len(self.text) - self.at > _LONGEST or not self.more():
                    raise self.fail(err.msg, err.pos) from None
            except ValueError as err:        # Python refuses numbers of thousands of digits
                raise self.fail(str(err), self.at) from None
        if end - self.at > _LONGEST:
            raise self.fail(f"a value of more than {_LONGEST} characters", self.at)
        text = self.text[self.at:end]
        self.at = end
        return found, text


def _listed(text: _Text) -> Iterator[Tuple[Any, str]]:
    """The values of a list that begins here."""
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    while True:
        yield text.value()
        if text.take(",]") == "]":
            return


def _jobs(text: _Text) -> Iterator[Tuple[Any, str]]:
    """The jobs of any of the three forms, each with its text."""
    first = text.peek()
    if first == "[":
        yield from _listed(text)
    elif first != "{":
        text.value()
        raise TraceError(f"{text.source}: a list of jobs expected, as flux jobs --json prints it")
    else:
        job: Dict[str, Any] = {}
        listed = False
        text.take("{")
        closed = text.peek() == "}" and bool(text.take("}"))
        while not closed:
            key, _ = text.value()
            if not isinstance(key, str):
                raise text.fail("a key in quotes expected", text.at)
            text.take(":")
            if key == "jobs":
                if text.peek() != "[":
                    raise TraceError(f"{text.source}: a list of jobs expected, as flux jobs --json prints it")
                listed = True
                yield from _listed(text)
            else:
                value, _ = text.value()
                if key in _READ:
                    job[key] = value
            closed = text.take(",}") == "}"
        if not listed:
            yield job, ""


def _jobspecs(text: _Text) -> Jobspecs:
    """What stands behind the jobs: the id and the jobspec of each, of some, or of none."""
    found = Jobspecs(text.source)
    while text.peek():
        jobid, _ = text.value()
        if not text.peek():
            raise text.fail(f"the jobspec of job {quote(jobid)} expected", text.at)
        found.add(jobid, text.value()[0])
    return found


class _Table:
    """The jobs of a trace, key by key, as they are read.

    values: key -> its number for each job, NaN where it is missing.
    words, named: key -> its words, and the place among them for each job, -1 where there is none.
    hashes: of each job's text.
    """

    def __init__(self, source: str):
        self.source = source
        self.ids = array("q")
        self.values = {name: array("d") for name in _NUMBERS}
        self.words: Dict[str, Dict[str, int]] = {name: {} for name in _NAMED}
        self.named = {name: array("q") for name in _NAMED}
        self.hashes = array("q")

    def add(self, at: int, job: Any, text: str) -> None:
        """Take a job, the number `at` of the file.  Raises TraceError, naming the job and key at fault."""
        where = f"{self.source}: jobs[{at}]"
        if not isinstance(job, dict):
            raise TraceError(f"{where}: an object expected")
        jobid = job.get("id")
        if isinstance(jobid, bool) or not isinstance(jobid, int) or not 0 <= jobid < 2**63:
            raise TraceError(f"{where}.id: a whole number expected, {quote(jobid)} found")
        self.ids.append(jobid)
        for name in _NUMBERS:
            value = job.get(name)
            if value is None or value == "":
                value = float("nan")
            elif isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 2**63:
                raise TraceError(f"{where}.{name}: a number expected, {quote(value)} found")
            self.values[name].append(value)
        for name, known in self.words.items():
            word = job.get(name) or ""
            if not isinstance(word, str):
                raise TraceError(f"{where}.{name}: a string expected")
            self.named[name].append(known.setdefault(word, len(known)) if word else -1)
        self.hashes.append(hash(text))


def read(path: str, begun: Optional[Iterator[bytes]] = None) -> Trace:
    """Read a trace from ``flux jobs --json``.  Raises TraceError, naming the job and key at fault.

    begun: the file's pieces, where somebody has begun to read it.

    The run time is from t_run to t_cleanup (else t_inactive).  A job that never ran, and is over or held, is left out;
    one that runs or waits runs for as long as it may.  Processors are ncores, else ntasks, else nnodes; nodes are
    asked for by a job that waits and has nnodes, while those of the others are what they got.  Where the file has the
    job's jobspec, that says what it asked for.  A duration of 0 is no limit.  Submit times are counted from the first
    job's.
    """
    source = os.path.basename(os.fspath(path))
    table = _Table(source)
    at = -1
    reader = _Text(characters(os.fspath(path), begun), source)
    for at, (job, text) in enumerate(_jobs(reader)):
        check_jobs(at + 1, source)
        table.add(at, job, text)
    specs = _jobspecs(reader)
    if at < 0:
        raise TraceError(f"{source}: no jobs in the trace")
    return _trace(table, specs)


def _states(table: _Table, started: np.ndarray, ended: np.ndarray) -> np.ndarray:
    """The state of each job, by its word, else by the times that it has; shape (n,)."""
    words = list(table.words["state"])
    for word in words:
        if word not in _STATES:
            raise TraceError(f"{table.source}: state {quote(word)}: one of {', '.join(_STATES)} expected")
    by_times = np.where(ended, ENDED, np.where(started, RUNNING, WAITING))
    if not words:
        return by_times
    said = np.frombuffer(table.named["state"], dtype=np.int64)
    by_word = np.array([_STATES[word] for word in words])[said]
    # An export takes a while: a job may have ended since its state was looked up.
    return np.where((said < 0) | ended, by_times, by_word)


def _trace(table: _Table, specs: Jobspecs) -> Trace:
    columns, about = _columns(table)
    keep = about.pop("keep")
    # flux jobs lists the newest first; of one submit time the lower id came first.
    if (np.diff(columns["job_id"]) < 0).any():
        order = np.argsort(columns["job_id"], kind="stable")
        keep = keep[order]
        for name in columns:
            columns[name] = columns[name][order]
    if len(specs):
        about["links"] = _with_jobspecs(columns, keep, specs, about["unix_start"], about["notes"])
        about.update(requests=specs.requests, constraints=specs.constraints)
    for name in ("nodes", "exclusive", "state", "gpus"):
        if name in columns and not columns[name].any():
            del columns[name]                 # no job waits, or has any
    return build(columns, source=table.source, keep=keep, **about,
                 labels={"queue": dict(enumerate(table.words["queue"])), "group": dict(enumerate(table.words["bank"]))},
                 header={name: list(words) for name, words in table.words.items() if words and name != "state"})


def _with_jobspecs(columns: Dict[str, np.ndarray], keep: np.ndarray, specs: Jobspecs, origin: float,
                   notes: Dict[str, int]) -> Links:
    """Put what jobs asked for into the columns. Who waits for whom."""
    told, links = specs.of(columns["job_id"])
    asked = told["asked"]
    known = asked >= 0

    def numbers(of: Callable[[Request], int]) -> np.ndarray:
        """A number of each job's request; 0 of one without a jobspec."""
        each = np.array([of(request) for request in specs.requests] + [0], dtype=np.int64)
        return each[asked]

    slots = numbers(lambda request: max(request.nnodes, 1) * request.nslots)
    cores = slots * numbers(lambda request: request.cores)
    # What has started has its number of cores; whatever else waits has that of its tasks at best.
    columns["procs"] = np.where((cores > 0) & ~(columns["ran_on"] > 0), cores, columns["procs"])
    columns["nodes"] = np.where(known, numbers(lambda request: request.nnodes), columns["nodes"])
    columns["ran_on"] = np.where(known, 0, columns["ran_on"])
    columns["exclusive"] = np.where(known, numbers(lambda request: request.exclusive), columns["exclusive"])
    columns["gpus"] = slots * numbers(lambda request: request.gpus)
    columns["request"] = np.where(known & np.isnan(columns["request"]),
                                  np.where(told["duration"] > 0, told["duration"], np.inf), columns["request"])
    columns.update(asked=asked, constraint=told["constraint"])
    # When a job could be scheduled follows from the end of those that it waits for, if they are there.
    goes = keep & ((columns["state"] > ENDED) | (columns["run"] >= 0))
    here = np.isin(links.number, columns["job_id"][goes])
    waits = np.zeros(len(keep), dtype=bool)
    waits[links.row[here]] = True
    waits[links.row[~here]] = False
    columns["ready"] = np.where(waits | np.isnan(columns["ready"]), told["begin"] - origin, columns["ready"])
    if specs.other:
        notes["other_dependency"] = specs.other
    return links


def _columns(table: _Table) -> Tuple[Dict[str, np.ndarray], Dict[str, Any]]:
    """The columns of a trace, and what else it has, of what was read, which is taken out of the table."""
    value = {name: np.frombuffer(table.values.pop(name)) for name in _NUMBERS}
    end = np.where(value["t_cleanup"] > 0, value["t_cleanup"], value["t_inactive"])
    started = value["t_run"] > 0
    state = _states(table, started, end > 0)
    procs = np.where(value["ncores"] > 0, value["ncores"], value["ntasks"])
    procs = np.where(procs > 0, procs, value["nnodes"])
    submit = value["t_submit"]
    if np.isnan(submit).all():
        raise TraceError(f"{table.source}: no job has t_submit")
    origin = float(np.floor(np.nanmin(submit)))
    # The limit of a job that runs may have been changed.
    limit = np.where((state == RUNNING) & (value["expiration"] > value["t_run"]),
                     value["expiration"] - value["t_run"], value["duration"])
    nodes = np.nan_to_num(value["nnodes"])
    waits = state == WAITING
    columns = {
        "job_id": np.frombuffer(table.ids, dtype=np.int64), "submit": submit - origin,
        "run": np.where(started & (end > 0), end - value["t_run"], np.nan), "procs": procs,
        "request": np.where(limit == 0, np.inf, limit), "nodes": np.where(waits, nodes, 0),
        "ran_on": np.where(waits, 0, nodes), "user": value["userid"],
        # Of whole nodes nobody knows how many cores they will be.
        "exclusive": waits & (nodes > 0) & ~(value["ncores"] > 0),
        "group": np.frombuffer(table.named["bank"], dtype=np.int64),
        "queue": np.frombuffer(table.named["queue"], dtype=np.int64),
        "priority": np.where(value["priority"] >= 0, value["priority"], value["urgency"]),
        "ready": value["t_priority"] - origin, "began": value["t_run"] - origin, "state": state,
    }
    notes: Dict[str, int] = {}
    keep = _kept(table, columns, value["urgency"], notes)
    return columns, {"keep": keep, "notes": notes, "unix_start": origin, "taken": _taken(value, state, origin)}


def _kept(table: _Table, columns: Dict[str, np.ndarray], urgency: np.ndarray, notes: Dict[str, int]) -> np.ndarray:
    """Mask of the jobs to keep: none twice, and none that is held."""
    n = len(table.ids)
    keep = np.zeros(n, dtype=bool)
    keep[np.unique(np.frombuffer(table.hashes, dtype=np.int64), return_index=True)[1]] = True
    held = keep & (columns["state"] == WAITING) & (np.where(urgency >= 0, urgency, columns["priority"]) == 0)
    for rule, count in (("cut", n if n == _CUT else 0), ("duplicate", n - int(keep.sum())), ("held", int(held.sum()))):
        if count:
            notes[rule] = count
    return keep & ~held


def _taken(value: Dict[str, np.ndarray], state: np.ndarray, origin: float) -> Optional[float]:
    """When the snapshot was taken, in s after the origin; None if no job runs or waits.

    flux jobs prints no such time, but how long each job has run by then; else it is the last time of any job.
    """
    if not (state > ENDED).any():
        return None
    running = (state == RUNNING) & (value["runtime"] >= 0)
    now = value["t_run"] + value["runtime"]
    if running.any():
        return float(now[running].max()) - origin
    times = [np.nanmax(value[name], initial=origin) for name in ("t_submit", "t_priority", "t_run", "t_inactive")]
    return float(max(times)) - origin
