# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A job of the session: its states, events, and what commands see of it."""

from __future__ import annotations

import errno
import functools
import math
import os
import pwd
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Callable, NoReturn, Optional

from fluxsched.formats import hostlist, idset
from fluxsched.formats import jobspec as jobspecs
from fluxsched.formats.duration import parse as parse_duration
from fluxsched.service.memory import requested
from fluxsched.session import jobid as ids
from fluxsched.session import shelloptions
from fluxsched.session.broker.rpc import Int
from fluxsched.session.errors import RequestError
from fluxsched.session.memo import Memo
from fluxsched.session.rset import held

if TYPE_CHECKING:
    from fluxsched.session.broker.watch import Watch

DEPEND, PRIORITY, SCHED, RUN, CLEANUP, INACTIVE = 2, 4, 8, 16, 32, 64
STATES = {DEPEND: "DEPEND", PRIORITY: "PRIORITY", SCHED: "SCHED", RUN: "RUN", CLEANUP: "CLEANUP", INACTIVE: "INACTIVE"}

FLAG_DEBUG, FLAG_WAITABLE, FLAG_NOVALIDATE = 2, 4, 8
URGENCY_MAX = 31
PRIORITY_MAX = 2**32 - 1
DEPENDENCIES_MAX = 1000  # of one job

# where a job's resources stand
NONE, REQUESTED, CANCELLING, HELD = range(4)


def urgency_field(**options: Any) -> Int:
    """The declaration of an urgency in a request."""
    return Int(0, URGENCY_MAX, refusal=f"urgency range is [0:{URGENCY_MAX}]", **options)


@functools.cache
def username(uid: int) -> str:
    """The name of a user; the number if there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class Job:
    """A job that is not over, or whose end is not in the store yet."""
    __slots__ = (
        "_events", "_name", "R", "alloc", "executing", "id", "info", "jobspec", "launched", "state", "watchers"
    )  # fmt: skip

    def __init__(self, jobid: int, state: int, jobspec: dict[str, Any], info: dict[str, Any], R: Any = None) -> None:
        self._name: Optional[str] = None
        self.id = jobid
        self.state = state
        self.jobspec = jobspec  # without the environment, to which nobody but the executor looks
        self.info = info
        self.R = R
        self._events: list[dict[str, Any]] | Callable[[int], list[dict[str, Any]]] = []
        self.alloc = NONE
        self.launched = False  # a launch is committed or on the way there
        self.executing = False  # with the executor
        self.watchers: list[Watch] = []

    @property
    def name(self) -> str:
        """The job's id as people write it."""
        if self._name is None:
            self._name = ids.f58(self.id)
        return self._name

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its events (RFC 18) from the first on. May be set to a function of the id, which reads them when they are
        wanted."""
        if not isinstance(self._events, list):
            self._events = self._events(self.id)
        return self._events

    @events.setter
    def events(self, events: list[dict[str, Any]] | Callable[[int], list[dict[str, Any]]]) -> None:
        self._events = events

    @property
    def events_unread(self) -> bool:
        """Whether its events are a function still, which nobody has called."""
        return not isinstance(self._events, list)

    @property
    def turn(self) -> float:
        """Time of submission, in seconds since the epoch. It rises from job to job even if the clock was set back."""
        return self.info.get("t_turn", self.info["t_submit"])

    def order(self) -> tuple[bool, int, int]:
        """Sorts jobs: those that wait for others come last; by priority, then as they were submitted."""
        return (self.state == DEPEND, -self.info["priority"], self.id)


def redact(jobspec: dict[str, Any]) -> dict[str, Any]:
    """The jobspec without the environment; shares the rest."""
    out = dict(jobspec)
    out["attributes"] = dict(jobspec["attributes"])
    system = out["attributes"]["system"] = dict(out["attributes"]["system"])
    system.pop("environment", None)
    return out


def refuse(text: str) -> NoReturn:
    """Refuse a jobspec: raise RequestError."""
    raise RequestError(errno.EINVAL, f"jobspec: {text}")


def check(jobspec: Any) -> jobspecs.Request:
    """Check a jobspec, with all that the executor uses of it. Returns the parsed request.  Raises RequestError."""
    try:
        request = jobspecs.parse(jobspec)
        wanted(jobspec, request)
    except jobspecs.JobspecError as error:
        text = str(error) if str(error).startswith("jobspec") else f"jobspec: {error}"
        raise RequestError(errno.EINVAL, text) from None
    tasks = jobspec.get("tasks")
    if not (isinstance(tasks, list) and len(tasks) == 1 and isinstance(tasks[0], dict)):
        refuse("tasks: expected a list of one object")
    check_command(tasks[0].get("command"))
    attributes = jobspec.get("attributes")
    system = attributes.get("system") if isinstance(attributes, dict) else None
    if not isinstance(system, dict):
        refuse("attributes.system: expected an object")
    check_environment(system.get("environment", {}))
    if not _plain(system.get("cwd", "/")):
        refuse("attributes.system.cwd: expected a string")
    _check_dependencies(system.get("dependencies", []))
    _check_shell(system.get("shell", {}))
    run_duration(system)
    return request


def check_command(command: Any) -> None:
    """Check the words of a command.  Raises RequestError."""
    if not (isinstance(command, list) and command and all(_plain(word) for word in command) and command[0]):
        refuse("tasks[0].command: expected a list of strings")


def check_environment(environment: Any) -> None:
    """Check an environment.  Raises RequestError."""
    if not isinstance(environment, dict) or not all(_variable(*item) for item in environment.items()):
        refuse("attributes.system.environment: expected an object of strings")


def _check_dependencies(entries: Any) -> None:
    where = "attributes.system.dependencies"
    if not isinstance(entries, list) or len(entries) > DEPENDENCIES_MAX:
        refuse(f"{where}: expected a list of at most {DEPENDENCIES_MAX}")
    for i, entry in enumerate(entries):
        if not (isinstance(entry, dict) and _plain(entry.get("scheme")) and _plain(entry.get("value"))):
            refuse(f"{where}[{i}]: expected an object with scheme and value, both strings")


def _plain(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _variable(name: Any, value: Any) -> bool:
    return _plain(name) and _plain(value) and name != "" and "=" not in name


def _check_shell(shell: Any) -> None:
    options = shell.get("options", {}) if isinstance(shell, dict) else None
    if not isinstance(options, dict):
        refuse("attributes.system.shell.options: expected an object")
    templates = options.get("env-expand", {})
    if not isinstance(templates, dict) or not all(_variable(*item) for item in templates.items()):
        refuse("attributes.system.shell.options.env-expand: expected an object of strings")
    warning(options)
    for direction, streams in (("input", ("stdin",)), ("output", ("stdout", "stderr"))):
        table = options.get(direction, {})
        if not isinstance(table, dict):
            refuse(f"attributes.system.shell.options.{direction}: expected an object")
        for stream in streams:
            entry = table.get(stream, {})
            where = f"attributes.system.shell.options.{direction}.{stream}"
            if not (isinstance(entry, dict) and _plain(entry.get("path", "")) and _plain(entry.get("type", ""))):
                refuse(f"{where}: expected an object with type and path")
            if not isinstance(entry.get("buffer", {}), dict):
                refuse(f"{where}.buffer: expected an object")
    try:
        shelloptions.check(options)
    except shelloptions.OptionError as error:
        refuse(f"attributes.system.shell.options.{error}")


def warning(options: dict[str, Any]) -> Optional[tuple[int, float]]:
    """The shell option "signal": a signal, and how long before the time limit it is sent, in seconds; or None."""
    found = options.get("signal")
    where = "attributes.system.shell.options.signal"
    if found is None or found == 0:
        return None
    table = {} if type(found) is int else found
    if not isinstance(table, dict):
        refuse(f"{where}: expected an object with signum and timeleft, or a number")
    number, left = table.get("signum", int(signal.SIGUSR1)), table.get("timeleft", 60.0)
    if type(number) is not int or number not in set(signal.Signals):
        refuse(f"{where}.signum: expected the number of a signal")
    try:
        seconds = parse_duration(left)
    except ValueError as error:
        refuse(f"{where}.timeleft: {error}")
    if math.isinf(seconds):
        refuse(f"{where}.timeleft: expected a time before the limit")
    return number, seconds


def is_session(command: list[str]) -> bool:
    """Whether a command opens a nested session.  Signals to its job are for that, which knows whom they concern."""
    return os.path.basename(command[0]) in ("flux", "flux-session") and command[1:2] == ["start"]


def run_duration(system: dict[str, Any]) -> Optional[float]:
    """Seconds of a pretended run (attributes.system.exec.test.run_duration), or None."""
    value = system.get("exec")
    for part in ("test", "run_duration"):
        if value is None:
            return None
        if not isinstance(value, dict):
            refuse("attributes.system.exec.test: expected an object")
        value = value.get(part)
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        refuse(f"attributes.system.exec.test.run_duration: {error}")


def wanted(jobspec: Any, request: jobspecs.Request) -> tuple[int, int]:
    """(tasks, cores) that the job asks for.  Raises JobspecError."""
    nodes = request.nnodes or 1
    slots = request.nslots * nodes
    ncores = slots * request.cores
    return jobspecs.task_count(jobspec, slots, nodes, ncores), ncores


def job_name(system: dict[str, Any], command: list[str]) -> str:
    """The name that a job was given, or that of its command."""
    name = system.get("job", {}).get("name") if isinstance(system.get("job"), dict) else None
    return name if isinstance(name, str) else os.path.basename(command[0])


def first_events(info: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a new job until it waits for resources."""
    now = info["t_submit"]
    submit = {"userid": info["userid"], "urgency": info["urgency"], "flags": info["flags"], "version": 1}
    return [
        {"timestamp": now, "name": "submit", "context": submit},
        {"timestamp": now, "name": "validate"},
        {"timestamp": now, "name": "depend"},
        {"timestamp": now, "name": "priority", "context": {"priority": info["priority"]}},
    ]


def new_info(
    jobspec: dict[str, Any], request: jobspecs.Request, urgency: int, flags: int, t_submit: float
) -> dict[str, Any]:
    """The record of a new job that is stored beside its jobspec, R and events."""
    system = jobspec["attributes"]["system"]
    command = jobspec["tasks"][0]["command"]
    ntasks, ncores = wanted(jobspec, request)
    memory = requested(request)
    return {
        "urgency": urgency,
        "priority": PRIORITY_MAX if urgency == URGENCY_MAX else urgency,
        "flags": flags,
        "userid": os.getuid(),
        "t_submit": t_submit,
        "t_depend": t_submit,
        "t_priority": t_submit,
        "t_sched": t_submit,
        "name": job_name(system, command),
        "cwd": system.get("cwd", ""),
        "queue": request.queue,
        "duration": request.duration,
        "ntasks": ntasks,
        "ncores": ncores,
        "nnodes": request.nnodes,
        **({"memory": memory} if memory else {}),
    }


def place(info: dict[str, Any], jobspec: dict[str, Any], R: dict[str, Any]) -> None:
    """Note in `info` where the job runs, and with how many tasks if its size was open."""
    execution = R["execution"]
    info.update(_places.get(repr((execution["R_lite"], execution.get("nodelist"))), lambda: _place(R)))
    nslots = R["execution"].get("nslots", 0)
    if nslots:
        info["ntasks"] = jobspecs.task_count(jobspec, nslots, info["nnodes"], info["ncores"])
    info["expiration"] = R["execution"].get("expiration", 0.0)


_places = Memo()


def _place(R: dict[str, Any]) -> dict[str, Any]:
    rows = held(R)
    ranks = idset.encode(sorted({row[0] for row in rows}))
    return {
        "ranks": f"[{ranks}]" if len(rows) > 1 and not ranks.isdigit() else ranks,
        "nodelist": hostlist.encode([row[1] for row in rows]),
        "nnodes": len(rows),
        "ncores": sum(len(row[2]) for row in rows),
    }


def result(info: dict[str, Any]) -> str:
    """How a job that is over has ended: "COMPLETED", "FAILED", "CANCELED" or "TIMEOUT"."""
    exception = info.get("exception")
    if exception is not None:
        kind = exception["type"]
        if kind == "cancel":
            return "CANCELED"
        return "TIMEOUT" if kind == "timeout" else "FAILED"
    return "COMPLETED" if info.get("waitstatus") == 0 else "FAILED"


_SHOWN = ("urgency", "priority", "userid", "name", "cwd", "duration", "ntasks", "ncores", "t_submit")
_IF_ANY = ("nnodes", "queue", "memory", "expiration")
_TIMES = ("t_depend", "t_priority", "t_sched", "t_run", "t_cleanup", "t_inactive", "ranks", "nodelist")


def recovered(jobid: int, state: int, info: dict[str, Any]) -> dict[str, Any]:
    """What an earlier broker has kept of a job, with texts that many jobs have in common as one. KeyError, TypeError
    or the like if something is missing that a list shows."""
    info["name"], info["cwd"] = sys.intern(info["name"]), sys.intern(info["cwd"])
    if state in (DEPEND, SCHED):
        float(sum([info[key] for key in _SHOWN if key not in ("name", "cwd")]))
        username(info["userid"])
    else:
        describe(jobid, state, info)
    return info


def describe(jobid: int, state: int, info: dict[str, Any], now: Optional[float] = None) -> dict[str, Any]:
    """The job as `flux jobs --json` shows it."""
    out = {"id": jobid, "jobid": ids.f58(jobid), "state": STATES[state], **{key: info[key] for key in _SHOWN}}
    out.update([(key, info[key]) for key in _TIMES if key in info])
    out.update([(key, info[key]) for key in _IF_ANY if info.get(key)])
    if info.get("attempts"):
        out["attempts"] = info["attempts"] + 1
    out["username"] = username(info["userid"])
    out["dependencies"] = info.get("dependencies", [])
    out["runtime"] = 0.0
    if "t_run" in info:
        out["runtime"] = max(0.0, (info.get("t_cleanup") or now or time.time()) - info["t_run"])
    out["annotations"] = info.get("annotations", {})
    exception = info.get("exception")
    out["exception"] = {"occurred": False} if exception is None else dict(exception, occurred=True)
    out["status"] = STATES[state]
    if state == INACTIVE:
        out["result"] = out["status"] = result(info)
        out["success"] = out["result"] == "COMPLETED"
        if "waitstatus" in info:
            out["waitstatus"] = info["waitstatus"]
            out["returncode"] = info["waitstatus"] >> 8
        else:
            out["returncode"] = -128 if out["result"] == "CANCELED" else 1
    return out
