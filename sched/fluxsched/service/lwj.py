# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The record of jobs in the KVS: ``lwj.N`` ("light-weight job").

Jobs are numbered 1, 2, 3, ... in the order in which the scheduler first sees
them; ``lwj.N.id`` holds the Flux job id.  ``lwj.first`` and ``lwj.next`` bound
the numbers in use, so that a scheduler that is loaded again goes on counting,
and knows the jobs that it has seen.  The newest `keep` records stay.

Nothing is written here: fields are staged, and :meth:`Record.take` hands them
to the service, which puts them into its next transaction.  A record whose job
is over is ready at once; another one when its first change has some age, so
that a job's start and its end soon after are one write.

States are those of the C scheduler.  The scheduler sets ``submitted``,
``allocated`` and, when it has answered, ``runrequest``; the rest follows the
events of the job manager's journal: prolog-start (``starting``), start
(``running``), finish (``complete`` or ``failed``), and exception of severity 0
(``cancelled`` or ``failed``).  A job that ends without a finish (its brokers
were lost) ends with its event clean.  A job that Flux
does not know any more (it was purged) is ``null``: how it ended is not known.
``exit_status`` is as a shell shows it: the exit code of the job, or 128 plus
the signal that ended it.
"""

from __future__ import annotations

import functools
import math
import os
from typing import Any, Callable, Iterable, Optional

from fluxsched.formats import fastjson, hostlist, idset
from fluxsched.formats.jobspec import Request, task_count

__all__ = ["FINAL_STATES", "Record"]

FINAL_STATES = frozenset(("complete", "failed", "cancelled", "null"))

# A job on more ranks than this has its counts folded into the one key
# lwj.N.rank.all, so that a record stays small on any machine.
RANKS_MAX = 256

# More records than this were never kept, unless asked for now.
KEPT_MAX = 1000000

#: The events that are asked of the job manager's journal. Each is a message for each job, so what the scheduler hears
#: anyway is not among them: its own answer stands for alloc, and where no finish came before the last free, the event
#: log is looked up.
EVENTS = {"prolog-start": 1, "start": 1, "finish": 1, "exception": 1}


def exit_code(status: Any) -> int:
    """A wait(2) status as a shell shows it; 1 for what cannot be one."""
    if type(status) is not int or not 0 <= status < 2**16:
        return 1
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)


def cmdline(jobspec: dict) -> list[str]:
    """The command of a jobspec's first task, or an empty list.  A jobspec is
    untrusted, and commands matter to no decision: anything odd is left out."""
    try:
        command = jobspec["tasks"][0]["command"]
    except (KeyError, IndexError, TypeError):
        return []
    if isinstance(command, str):
        return [command]
    if isinstance(command, list) and all(isinstance(word, str) for word in command):
        return command
    return []


class _Entry:
    """A job that is not over, as the record knows it."""

    __slots__ = ("number", "state", "cancelled", "allocated_at", "held")

    def __init__(self, number: int, state: Optional[str] = None) -> None:
        self.number = number
        self.state = state
        self.cancelled = False
        self.allocated_at = 0.0
        self.held: Optional[tuple[int, int, int]] = None    # slots, nodes and cores that its tasks were counted for


class Record:
    """Numbers, staged fields and states of the newest `keep` jobs. `now()` answers seconds since the epoch."""

    def __init__(self, keep: int, now: Callable[[], float]) -> None:
        self.keep = keep
        self._now = now
        self.first = 1
        self.next = 1
        self._loaded = False                            # numbers in use are known
        self._entries: dict[int, _Entry] = {}           # by job id, jobs that are not final
        self._ids: dict[int, int] = {}                  # number -> job id, the same jobs
        self._staged: dict[int, dict[str, Any]] = {}    # number -> {field: value}
        self._since: dict[int, float] = {}              # number -> when the first of them was staged, in that order
        self._over: set[int] = set()                    # numbers of those that will not change any more
        self._removed: list[int] = []                   # numbers to remove
        self._counted = False                           # first or next changed

    # -- taking up where the last scheduler stopped ---------------------------

    def load(self, read: Callable, done: Callable[[Optional[OSError]], None]) -> None:
        """Read the numbers in use and the jobs that were not final, with
        ``read(key, callback(value, error))``, then call ``done(error)``: the
        first error, or None."""
        if self.keep == 0:
            done(None)
            return

        def bounds(values: dict, error: Optional[OSError]) -> None:
            for name in ("first", "next"):
                value = values[f"lwj.{name}"]
                if type(value) is int and value >= 1:
                    setattr(self, name, value)
            # Bounds that cannot be ours say nothing of the records there are.
            if not 0 <= self.next - self.first <= max(self.keep, KEPT_MAX):
                self.first = self.next
            self._loaded = True
            self._trim()
            if error is None:
                keys = [f"lwj.{number}.state" for number in range(self.first, self.next)]
                _read_all(read, keys, states)
            else:
                done(error)

        def states(values: dict, error: Optional[OSError]) -> None:
            labels = {
                int(key.split(".")[1]): value
                for key, value in values.items() if isinstance(value, str) and value not in FINAL_STATES
            }
            _read_all(read, [f"lwj.{number}.id" for number in labels], functools.partial(ids, labels, error))

        def ids(labels: dict, before: Optional[OSError], values: dict, error: Optional[OSError]) -> None:
            for number, label in labels.items():
                jobid = values[f"lwj.{number}.id"]
                if type(jobid) is int:
                    self._entries[jobid] = _Entry(number, label)
                    self._ids[number] = jobid
            done(before or error)

        _read_all(read, ["lwj.first", "lwj.next"], bounds)

    def resize(self, keep: int) -> None:
        """Keep another number of records from now on."""
        self.keep = keep
        self._trim()

    # -- what happens to jobs -------------------------------------------------

    def knows(self, jobid: int) -> bool:
        """Whether there is a record of the job, and it is not final."""
        return jobid in self._entries

    def live(self) -> list[int]:
        """Ids of the jobs in the record that are not final."""
        return list(self._entries)

    def number(self, jobid: int) -> int:
        """The job's N, or 0 if it has none."""
        entry = self._entries.get(jobid)
        return entry.number if entry else 0

    def seen(self, jobid: int, t_submit: float) -> None:
        """The scheduler sees this job, perhaps for the first time."""
        if self.keep == 0 or not self._loaded or jobid in self._entries:
            return
        entry = self._entries[jobid] = _Entry(self.next)
        self._ids[entry.number] = jobid
        self.next += 1
        self._counted = True
        self._stage(entry, "id", jobid)
        self._stage(entry, "create-time", t_submit)
        self._state(entry, "submitted")
        self._trim()

    def describe(
        self, jobid: int, jobspec: dict, request: Request, count: Callable[..., int] = task_count
    ) -> None:
        """What the job asks for: the jobspec (a dict) and the parsed request; `count` is task_count of it."""
        entry = self._entries.get(jobid)
        if entry is None:
            return
        nodes = max(request.nnodes, 1)
        slots = request.nslots * nodes
        entry.held = (slots, nodes, slots * request.cores)
        self._stage(entry, "nnodes", request.nnodes)
        self._stage(entry, "ntasks", count(jobspec, *entry.held))
        self._stage(entry, "walltime", request.duration)
        self._stage(entry, "cmdline", cmdline(jobspec))

    def allocated(
        self, jobid: int, when: float, jobspec: Optional[str], slots: int, nnodes: int, held: list, tree: list
    ) -> None:
        """The job of this jobspec (JSON text) gets `slots` slots on `nnodes` nodes: `held` is a list of (ranks, core
        ids, gpu ids), `tree` the allocated part of the tree (see flat and nested)."""
        entry = self._entries.get(jobid)
        if entry is None:
            return
        counts = [(ranks, idset.count(idset.ranges(cores))) for ranks, cores, _ in held]
        total = (slots, nnodes, sum(idset.count(idset.ranges(ranks)) * count for ranks, count in counts))
        self._stage(entry, "nnodes", nnodes)
        if total != entry.held:
            self._stage(entry, "ntasks", task_count(fastjson.loads(jobspec or "null"), *total))
        if nnodes <= RANKS_MAX:
            for ranks, count in counts:
                for rank in idset.ids(ranks):
                    self._stage(entry, f"rank.{rank}.cores", count)
        else:
            self._stage(entry, "rank.all", [{"ranks": ranks, "cores": count} for ranks, count in counts])
        self._stage(entry, "rdl", tree)
        entry.allocated_at = when
        self._state(entry, "allocated")

    def requested(self, jobid: int) -> None:
        """The job manager has the job's resources, and asks for it to be started."""
        entry = self._entries.get(jobid)
        if entry is not None and entry.state == "allocated":
            self._state(entry, "runrequest")

    def withdrawn(self, jobid: int) -> None:
        """The job does not run for now, and may come again."""
        entry = self._entries.get(jobid)
        if entry is not None:
            self._state(entry, "submitted")

    def lost(self, jobid: int) -> None:
        """Flux does not know the job any more."""
        entry = self._entries.get(jobid)
        if entry is not None:
            self._final(jobid, entry, "null")

    def events(self, jobid: int, events: Iterable[dict]) -> None:
        """Events of the job, as formats.eventlog has them (RFC 18, RFC 21)."""
        for event in events:
            entry = self._entries.get(jobid)
            if entry is None:
                return
            self._event(jobid, entry, event)

    def _event(self, jobid: int, entry: _Entry, event: dict) -> None:
        name, when, context = event["name"], event["timestamp"], event["context"]
        if name == "alloc":
            entry.allocated_at = entry.allocated_at or when
            if entry.state in (None, "submitted", "allocated"):
                self._state(entry, "runrequest")
        elif name == "prolog-start":
            if entry.state == "runrequest":
                self._stage(entry, "starting-time", when)
                self._state(entry, "starting")
        elif name == "start":
            if entry.state not in ("starting", "running"):
                self._stage(entry, "starting-time", entry.allocated_at or when)
            self._stage(entry, "running-time", when)
            self._state(entry, "running")
        elif name == "finish":
            code = exit_code(context.get("status", 0))
            self._stage(entry, "exit_status", code)
            self._end(jobid, entry, "failed" if code else "complete", when)
        elif name == "exception" and context.get("severity") == 0:
            entry.cancelled = entry.cancelled or context.get("type") == "cancel"
            # One that runs is still to be ended: finish says how it did, or clean that it is over.
            if entry.state not in ("starting", "running"):
                self._end(jobid, entry, "failed", when)
        elif name == "clean":
            self._end(jobid, entry, "failed", when)

    def _end(self, jobid: int, entry: _Entry, state: str, when: float) -> None:
        self._stage(entry, "complete-time", when)
        self._final(jobid, entry, "cancelled" if entry.cancelled else state)

    def _final(self, jobid: int, entry: _Entry, state: str) -> None:
        self._state(entry, state)
        self._over.add(entry.number)
        del self._entries[jobid]
        del self._ids[entry.number]

    # -- staged fields --------------------------------------------------------

    @property
    def dirty(self) -> bool:
        """Whether something is staged."""
        return bool(self._staged or self._removed or self._counted)

    def oldest(self) -> float:
        """When the first of the changes came that are staged; -inf if none is of a record that stays."""
        return next(iter(self._since.values()), -math.inf)

    def take(self, before: float = math.inf) -> dict[str, Any]:
        """What is staged of jobs that are over, or whose first change came by `before` (or later than now, as the clock
        was set back), as KVS puts in order (see Host.commit)."""
        puts: dict[str, Any] = {f"lwj:{number}": None for number in self._removed}
        if self._counted:
            puts["lwj.first"] = self.first
            puts["lwj.next"] = self.next
        self._removed = []
        self._counted = False
        now = self._now()
        since, self._since = self._since, {}
        for number, when in since.items():
            if number not in self._over and before < when <= now:
                self._since[number] = when
            else:
                puts[f"lwj:{number}"] = self._staged.pop(number)
        self._over.clear()
        return puts

    def give_back(self, puts: dict[str, Any]) -> None:
        """What was taken could not be written: stage it again, under what has come since."""
        since = {}
        self._counted = True
        for key, value in puts.items():
            name = key[4:]
            if value is None:
                self._removed.append(int(name))
            elif isinstance(value, dict) and int(name) >= self.first:
                self._staged[int(name)] = {**value, **self._staged.get(int(name), {})}
                since[int(name)] = -math.inf
        self._since = {**since, **{number: when for number, when in self._since.items() if number not in since}}

    def _stage(self, entry: _Entry, field: str, value: Any) -> None:
        fields = self._staged.get(entry.number)
        if fields is None:
            fields = self._staged[entry.number] = {}
            self._since[entry.number] = self._now()
        fields[field] = value

    def _state(self, entry: _Entry, state: str) -> None:
        entry.state = state
        self._stage(entry, "state", state)

    def _trim(self) -> None:
        while self.next - self.first > self.keep:
            number = self.first
            self.first += 1
            self._counted = True
            self._removed.append(number)
            self._staged.pop(number, None)
            self._since.pop(number, None)
            self._over.discard(number)
            jobid = self._ids.pop(number, None)
            if jobid is not None:
                del self._entries[jobid]


def _read_all(read: Callable, keys: list[str], done: Callable[[dict, Optional[OSError]], None]) -> None:
    """Read keys, then call ``done({key: value}, error)`` with the first error there was, or None. What cannot be read
    has the value None."""
    values: dict[str, Any] = {}
    errors: list[OSError] = []
    if not keys:
        done(values, None)

    def got(key: str, value: Any, error: Optional[OSError]) -> None:
        values[key] = value
        if error is not None:
            errors.append(error)
        if len(values) == len(keys):
            done(values, errors[0] if errors else None)

    for key in keys:
        read(key, functools.partial(got, key))


def flat(held: list, nodelist: list, host_of: dict) -> list:
    """What a job holds, for ``lwj.N.rdl``, where no RDL says how nodes are
    made: one entry for all nodes with the same cores and gpus.  `held` is as
    for Record.allocated, `nodelist` the job's hosts, `host_of` names a rank's."""
    tree: list[dict] = []
    for ranks, cores, gpus in held:
        children = [{"type": kind, "ids": ids} for kind, ids in (("core", cores), ("gpu", gpus)) if ids]
        hosts = nodelist if len(held) == 1 else [hostlist.encode([host_of[rank] for rank in idset.ids(ranks)])]
        tree.append({"type": "node", "ranks": ranks, "hosts": hosts, "children": children})
    return tree


def nested(rows: Iterable) -> list:
    """What a job holds of an RDL tree, for ``lwj.N.rdl``, from rows of (name,
    type, amount, depth) in preorder.  Siblings like core0, core1 are one entry
    with their ids."""
    root: list[dict] = []
    levels = [root]     # lists of children by depth
    for name, kind, amount, depth in rows:
        del levels[depth + 1:]
        siblings = levels[depth]
        number = name[len(kind):] if name.startswith(kind) else ""
        if kind in ("core", "gpu") and number.isdigit():
            last = siblings[-1] if siblings else None
            if last is None or last["type"] != kind or "ids" not in last:
                siblings.append({"type": kind, "ids": []})
            siblings[-1]["ids"].append(int(number))
            levels.append([])
            continue
        children: list[dict] = []
        siblings.append({"type": kind, "name": name, "children": children})
        if amount != 1:
            siblings[-1]["size"] = amount
        levels.append(children)
    _close(root)
    return root


def _close(siblings: list) -> None:
    for entry in siblings:
        if "ids" in entry:
            entry["ids"] = idset.encode(sorted(entry["ids"]))
        elif entry["children"]:
            _close(entry["children"])
        else:
            del entry["children"]
