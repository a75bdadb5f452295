# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux queue: list, status, disable, enable, stop, start, drain, idle."""

from __future__ import annotations

import math
import time
from typing import Any

from fluxsched.formats.quote import printable
from fluxsched.session.commands.client import Client, Late, RPCError
from fluxsched.session.commands.common import Parser, json_option, print_json, seconds, subcommands
from fluxsched.session.commands.options import SUPPRESS, Options
from fluxsched.session.commands.outputformat import FormatError, OutputFormat
from fluxsched.session.errors import CommandError

UNITS = ("nodes", "cores", "gpus")
HINT = """\
   list            list queues and their constraints
   status          tell whether jobs are taken and started
   disable         take no more jobs
   enable          take jobs again
   stop            start no more jobs; those that run go on
   start           start jobs again
   drain           wait until there are no more jobs
   idle            wait until no job runs"""


def main(name: str, words: list[str]) -> int:
    """flux queue; the exit code."""
    table = {
        "list": list_queues,
        "status": status,
        "disable": lambda rest: change("disable", rest),
        "enable": lambda rest: change("enable", rest),
        "stop": lambda rest: change("stop", rest),
        "start": lambda rest: change("start", rest),
        "drain": drain,
        "idle": idle,
    }
    return subcommands(name, words, table, HINT)


HEADINGS = {
    "queue": "QUEUE", "queuem": "QUEUE", "submission": "SUBMIT", "scheduling": "SCHED", "enabled": "EN",
    "started": "ST", "parent": "PARENT", "requires": "REQUIRES", "defaults.timelimit": "TDEFAULT",
    "limits.timelimit": "TLIMIT",
    **{f"limits.range.{unit}": unit.upper() for unit in ("nnodes", "ncores", "ngpus")},
    **{f"limits.range.effective.{unit}": unit.upper() for unit in ("nnodes", "ncores", "ngpus")},
    **{f"limits.{end}.n{unit}": f"{end}{unit}".upper() for end in ("min", "max") for unit in UNITS},
    **{f"resources.all.n{unit}": unit.upper() for unit in UNITS},
}  # fmt: skip
_HEAD = "?:{queuem:<8.8} {enabled:>2} {started:>2} {defaults.timelimit!F:>8} {limits.timelimit!F:>8} "
_TAIL = " ?:{parent:<8} ?:{requires}"
FORMATS = {
    "default": _HEAD + " ".join(f"{{limits.range.effective.n{unit}:>10}}" for unit in UNITS) + _TAIL,
    "policy": _HEAD + " ".join(f"{{limits.range.n{unit}:>10}}" for unit in UNITS) + _TAIL,
}


def _field(queue: dict[str, Any], name: str) -> Any:
    """A field of a queue, as the broker describes it."""
    simple = {
        "queue": queue["name"], "queuem": queue["name"] + "*" * queue["default"], "parent": queue["parent"],
        "submission": "enabled" if queue["enabled"] else "disabled", "enabled": "y" if queue["enabled"] else "n",
        "scheduling": "started" if queue["started"] else "stopped", "started": "y" if queue["started"] else "n",
        "requires": ",".join(queue["requires"]), "defaults.timelimit": _or_inf(queue["timelimit"]),
        "limits.timelimit": _or_inf(queue["limit"]),
    }  # fmt: skip
    if name in simple:
        return simple[name]
    unit = UNITS.index(name.rpartition(".")[2][1:])
    least, most, there = queue["min"][unit], _or_inf(queue["max"][unit]), queue["all"][unit]
    if name.startswith("limits.range."):
        return f"{least}-{min(most, there) if '.effective.' in name else most}"
    return {"limits.min": least, "limits.max": most, "resources.all": there}[name.rpartition(".")[0]]


def _or_inf(value: float | None) -> float:
    return math.inf if value is None else value


def list_queues(words: list[str]) -> int:
    """flux queue list"""
    p = Parser("queue list", description="List the queues, with what their jobs may ask for.")
    p.add_argument("-q", "--queue", metavar="QUEUE,...", action="append", help="only these queues")
    p.add_argument("-o", "--format", metavar="FORMAT", default="default", help="format string, default or policy")
    p.add_argument("-n", "--no-header", action="store_true", help="no header line")
    json_option(p)
    o = p.parse_args(words)
    try:
        layout = OutputFormat(FORMATS.get(o.format, o.format), HEADINGS.get, _field)
        names = [name for text in o.queue or [] for name in text.split(",") if name]
        queues = _rpc(Client(), "job-manager.queue-list", {"names": names})["queues"]
        if o.json:
            sizes = ("min", "max", "all")
            rows = [{**one, **{key: dict(zip(UNITS, one[key])) for key in sizes}} for one in queues]
            print_json({"queues": rows})
            return 0
        lines = layout.lines(queues, header=not o.no_header)
    except FormatError as error:
        raise CommandError(f"ERROR: --format: {error}") from None
    for line in lines:
        print(printable(line))
    return 0


def _options(name: str, description: str) -> Parser:
    p = Parser(f"queue {name}", description=description)
    p.add_argument("-q", "--queue", dest="other", metavar="NAME", help=SUPPRESS)
    p.add_argument("-v", "--verbose", action="store_true", help="tell of all queues, and how many jobs wait and run")
    p.add_argument("queue", metavar="QUEUE", nargs="?", help="the queue")
    return p


def _name(o: Options) -> str | None:
    if o.other and o.queue:
        raise CommandError("ERROR: specify the queue once")
    return o.other or o.queue


def status(words: list[str]) -> int:
    """flux queue status"""
    p = _options("status", "Tell whether jobs are taken and started.")
    json_option(p)
    o = p.parse_args(words)
    client = Client()
    if o.json:
        found = _rpc(client, "job-manager.queue-status", {"name": _name(o)})
        rows = [dict(zip(("name", "disabled", "stopped"), row)) for row in found["queues"]]
        print_json({"queues": rows, "scheduling": found["scheduling"]})
        return 0
    _tell(client, _name(o), o.verbose, submission=True, scheduling=True)
    if o.verbose:
        _count(client)
    return 0


def _tell(client: Client, name: str | None, verbose: bool, submission: bool, scheduling: bool) -> None:
    """Lines on one queue, or on all."""
    found = _rpc(client, "job-manager.queue-status", {"name": None if verbose else name})
    for queue, disabled, stopped in found["queues"]:
        lines = []
        if submission:
            lines.append("Job submission is enabled" if disabled is None else f"Job submission is disabled: {disabled}")
        if scheduling and stopped is None and not found["scheduling"]:
            lines.append("Scheduling is stopped: no scheduler is loaded")
        elif scheduling and stopped is None:
            lines.append("Scheduling is started")
        elif scheduling:
            lines.append("Scheduling is stopped" + (f": {stopped}" if stopped else ""))
        for line in lines:
            print(printable(f"{queue}: {line}" if queue else line))


def _count(client: Client) -> None:
    found = _rpc(client, "job-manager.alloc-query", {})
    print(f"{found['queued']} alloc requests queued")
    print(f"{found['pending']} alloc requests pending to scheduler")
    print(f"{found['running']} running jobs")


def _rpc(client: Client, topic: str, payload: dict[str, Any]) -> Any:
    try:
        return client.rpc(topic, payload)
    except RPCError as error:
        raise CommandError(f"ERROR: {error.text}") from None


_DOES = {
    "disable": "Take no more jobs.",
    "enable": "Take jobs.",
    "stop": "Start no more jobs. Those that wait stay, and those that run go on.",
    "start": "Start jobs.",
}


def change(verb: str, words: list[str]) -> int:
    """flux queue disable, enable, stop and start"""
    p = _options(verb, _DOES[verb])
    p.add_argument("-a", "--all", action="store_true", help="all queues")
    p.add_argument("--quiet", action="store_true", help="say nothing but errors")
    if verb in ("disable", "stop"):
        p.add_argument("--nocheckpoint", action="store_true", help="only for this session, not for one after it")
        p.add_argument("-m", "--message", metavar="REASON", help="why")
    o = p.parse_args(words)
    client = Client()
    payload = {"name": _name(o), "all": o.all}
    if verb in ("disable", "stop"):
        payload.update(nocheckpoint=o.nocheckpoint, reason=o.message)
    submission = verb in ("disable", "enable")
    if verb == "disable":
        payload["reason"] = o.message or "disabled by administrator"
    field = "enable" if submission else "start"
    payload[field] = verb == field
    _rpc(client, f"job-manager.queue-{field}", payload)
    if not o.quiet:
        _tell(client, _name(o), o.verbose, submission, not submission)
        if o.verbose and not submission:
            _count(client)
    return 0


def _wait(verb: str, queue: str | None, timeout: float | None) -> Any:
    client = Client()
    deadline = None if timeout is None else time.monotonic() + timeout
    client.send(f"job-manager.{verb}", {"name": queue})
    try:
        _, answer, error = client.receive(deadline)
    except Late:
        raise CommandError(f"ERROR: {verb}: timeout") from None
    if error is not None:
        raise CommandError(f"ERROR: {verb}: {error.text}")
    return answer


def drain(words: list[str]) -> int:
    """flux queue drain"""
    p = Parser("queue drain", description="Wait until there are no jobs that wait or run.")
    p.add_argument("-t", "--timeout", metavar="DURATION", type=seconds, help="fail after DURATION")
    p.add_argument("queue", metavar="QUEUE", nargs="?", help="of this queue (default: of all)")
    o = p.parse_args(words)
    _wait("drain", o.queue, o.timeout)
    return 0


def idle(words: list[str]) -> int:
    """flux queue idle"""
    p = Parser("queue idle", description="Wait until no job runs, and tell how many wait.")
    p.add_argument("-t", "--timeout", metavar="DURATION", type=seconds, help="fail after DURATION")
    p.add_argument("--quiet", action="store_true", help="say how many jobs wait only if there are some")
    p.add_argument("queue", metavar="QUEUE", nargs="?", help="of this queue (default: of all)")
    o = p.parse_args(words)
    pending = _wait("idle", o.queue, o.timeout)["pending"]
    if pending or not o.quiet:
        print(f"{pending} jobs")
    return 0
