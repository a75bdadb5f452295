# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The record of jobs in the KVS: ``lwj.N`` ("light-weight job").

Jobs are numbered 1, 2, 3, ... in the order in which the scheduler first sees
them; ``lwj.N.id`` holds the Flux job id.  ``lwj.first`` and ``lwj.next`` bound
the numbers in use, so that a scheduler that is loaded again goes on counting,
and knows the jobs that it has seen.  The newest `keep` records stay.

Nothing is written here: fields are staged, and :meth:`Record.take` hands them
to the service, which puts them into its next transaction.

States are those of the C scheduler.  The scheduler sets ``submitted`` and
``allocated``; the rest follows the events of the job manager's journal:
alloc (the job manager now asks for the job to be started: ``runrequest``),
prolog-start (``starting``), start (``running``), finish (``complete`` or
``failed``), and exception of severity 0 (``cancelled`` or ``failed``).
``exit_status`` is as a shell shows it: the exit code of the job, or 128 plus
the signal that ended it.
"""

import functools
import os

from fluxsched.formats import hostlist, idset
from fluxsched.formats.jobspec import task_count

__all__ = ["FINAL_STATES", "Record"]

FINAL_STATES = frozenset(("complete", "failed", "cancelled"))

# A job on more ranks than this has its counts folded into the one key
# lwj.N.rank.all, so that a record stays small on any machine.
RANKS_MAX = 256

# More records than this were never kept, unless asked for now.
KEPT_MAX = 1000000

EVENTS = {"alloc": 1, "prolog-start": 1, "start": 1, "finish": 1, "exception": 1}


def exit_code(status):
    """A wait(2) status as a shell shows it."""
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)


def cmdline(jobspec):
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
    __slots__ = ("number", "state", "cancelled", "allocated_at")

    def __init__(self, number, state=None):
        self.number = number
        self.state = state
        self.cancelled = False
        self.allocated_at = 0.0


class Record:
    """Numbers, staged fields and states of the newest `keep` jobs."""

    def __init__(self, keep):
        self.keep = keep
        self.first = 1
        self.next = 1
        self._entries = {}      # job id -> _Entry, jobs that are not final
        self._ids = {}          # number -> job id, the same jobs
        self._staged = {}       # number -> {field: value}
        self._removed = []      # numbers to remove
        self._counted = False   # first or next changed

    # -- taking up where the last scheduler stopped ---------------------------

    def load(self, read, done):
        """Read the numbers in use and the jobs that were not final, with
        ``read(key, callback(value, error))``, then call ``done(error)``: the
        first error, or None."""
        if self.keep == 0:
            done(None)
            return
        state = {"left": 0, "error": None}

        def finish(error):
            state["error"] = state["error"] or error
            state["left"] -= 1
            if state["left"] == 0:
                done(state["error"])

        def got_id(number, label, value, error):
            if isinstance(value, int):
                self._entries[value] = _Entry(number, label)
                self._ids[number] = value
            finish(error)

        def got_state(number, value, error):
            if error is None and isinstance(value, str) and value not in FINAL_STATES:
                read(f"lwj.{number}.id", functools.partial(got_id, number, value))
            else:
                finish(error)

        def got_bound(name, value, error):
            if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
                setattr(self, name, value)
            finish_bounds(error)

        def finish_bounds(error):
            state["error"] = state["error"] or error
            state["left"] -= 1
            if state["left"] == 0:
                # Bounds that cannot be ours say nothing of the records there are.
                if not 0 <= self.next - self.first <= max(self.keep, KEPT_MAX):
                    self.first = self.next
                self._trim()
                numbers = range(self.first, self.next)
                if not numbers or state["error"]:
                    done(state["error"])
                    return
                state["left"] = len(numbers)
                for number in numbers:
                    read(f"lwj.{number}.state", functools.partial(got_state, number))

        state["left"] = 2
        for name in ("first", "next"):
            read(f"lwj.{name}", functools.partial(got_bound, name))

    def resize(self, keep):
        """Keep another number of records from now on."""
        self.keep = keep
        self._trim()

    # -- what happens to jobs -------------------------------------------------

    def knows(self, jobid):
        return jobid in self._entries

    def live(self):
        """Ids of the jobs in the record that are not final."""
        return list(self._entries)

    def number(self, jobid):
        """The job's N, or 0 if it has none."""
        entry = self._entries.get(jobid)
        return entry.number if entry else 0

    def seen(self, jobid, t_submit):
        """The scheduler sees this job, perhaps for the first time."""
        if self.keep == 0 or jobid in self._entries:
            return
        entry = self._entries[jobid] = _Entry(self.next)
        self._ids[entry.number] = jobid
        self.next += 1
        self._counted = True
        self._stage(entry, "id", jobid)
        self._stage(entry, "create-time", t_submit)
        self._state(entry, "submitted")
        self._trim()

    def describe(self, jobid, jobspec, request):
        """What the job asks for: the jobspec (a dict) and the parsed request."""
        entry = self._entries.get(jobid)
        if entry is None:
            return
        nodes = max(request.nnodes, 1)
        slots = request.nslots * nodes
        self._stage(entry, "nnodes", request.nnodes)
        self._stage(entry, "ntasks", task_count(jobspec, slots, nodes, slots * request.cores))
        self._stage(entry, "walltime", request.duration)
        self._stage(entry, "cmdline", cmdline(jobspec))

    def allocated(self, jobid, when, nnodes, held, ntasks, tree):
        """The job gets resources on `nnodes` nodes: `held` is a list of (ranks,
        core ids, gpu ids), `tree` the allocated part of the tree (see flat and
        nested)."""
        entry = self._entries.get(jobid)
        if entry is None:
            return
        self._stage(entry, "nnodes", nnodes)
        self._stage(entry, "ntasks", ntasks)
        counts = [(ranks, idset.count(idset.ranges(cores))) for ranks, cores, _ in held]
        if nnodes <= RANKS_MAX:
            for ranks, count in counts:
                for rank in idset.ids(ranks):
                    self._stage(entry, f"rank.{rank}.cores", count)
        else:
            self._stage(entry, "rank.all", [{"ranks": ranks, "cores": count} for ranks, count in counts])
        self._stage(entry, "rdl", tree)
        entry.allocated_at = when
        self._state(entry, "allocated")

    def withdrawn(self, jobid):
        """The job does not run for now, and may come again."""
        entry = self._entries.get(jobid)
        if entry is not None:
            self._state(entry, "submitted")

    def events(self, jobid, entries):
        """Events of the job manager's journal: dicts with name, timestamp and
        perhaps context (RFC 18, RFC 21)."""
        for event in entries:
            entry = self._entries.get(jobid)
            if entry is None:
                return
            self._event(jobid, entry, event)

    def _event(self, jobid, entry, event):
        name = event["name"]
        when = event["timestamp"]
        context = event.get("context") or {}
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
            if entry.cancelled:
                self._end(jobid, entry, "cancelled", when)
            else:
                self._end(jobid, entry, "failed" if code else "complete", when)
        elif name == "exception" and context.get("severity") == 0:
            if context.get("type") == "cancel":
                entry.cancelled = True
            if entry.state not in ("starting", "running"):
                self._end(jobid, entry, "cancelled" if entry.cancelled else "failed", when)

    def _end(self, jobid, entry, state, when):
        self._stage(entry, "complete-time", when)
        self._state(entry, state)
        del self._entries[jobid]
        del self._ids[entry.number]

    # -- staged fields --------------------------------------------------------

    @property
    def dirty(self):
        return bool(self._staged or self._removed or self._counted)

    def take(self):
        """All that is staged, as KVS puts in order (see Host.commit)."""
        puts = {f"lwj.{number}": None for number in self._removed}
        if self._counted:
            puts["lwj.first"] = self.first
            puts["lwj.next"] = self.next
        for number, fields in self._staged.items():
            for field, value in fields.items():
                puts[f"lwj.{number}.{field}"] = value
        self._removed.clear()
        self._staged.clear()
        self._counted = False
        return puts

    def _stage(self, entry, field, value):
        self._staged.setdefault(entry.number, {})[field] = value

    def _state(self, entry, state):
        entry.state = state
        self._stage(entry, "state", state)

    def _trim(self):
        while self.next - self.first > self.keep:
            number = self.first
            self.first += 1
            self._counted = True
            self._removed.append(number)
            self._staged.pop(number, None)
            jobid = self._ids.pop(number, None)
            if jobid is not None:
                del self._entries[jobid]


def flat(held, nodelist, host_of):
    """What a job holds, for ``lwj.N.rdl``, where no RDL says how nodes are
    made: one entry for all nodes with the same cores and gpus.  `held` is as
    for Record.allocated, `nodelist` the job's hosts, `host_of` names a rank's."""
    tree = []
    for ranks, cores, gpus in held:
        children = [{"type": kind, "ids": ids} for kind, ids in (("core", cores), ("gpu", gpus)) if ids]
        hosts = nodelist if len(held) == 1 else [hostlist.encode([host_of[rank] for rank in idset.ids(ranks)])]
        tree.append({"type": "node", "ranks": ranks, "hosts": hosts, "children": children})
    return tree


def nested(rows):
    """What a job holds of an RDL tree, for ``lwj.N.rdl``, from rows of (name,
    type, amount, depth) in preorder.  Siblings like core0, core1 are one entry
    with their ids."""
    root = []
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
        children = []
        siblings.append({"type": kind, "name": name, "children": children})
        if amount != 1:
            siblings[-1]["size"] = amount
        levels.append(children)
    _close(root)
    return root


def _close(siblings):
    for entry in siblings:
        if "ids" in entry:
            entry["ids"] = idset.encode(sorted(entry["ids"]))
        elif entry["children"]:
            _close(entry["children"])
        else:
            del entry["children"]
