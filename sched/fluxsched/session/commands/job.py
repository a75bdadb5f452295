# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux job: submit, attach, wait, eventlog, info, taskmap, urgency, raise, kill, and more; flux waitjob."""
from __future__ import annotations

import errno
import json
import math
import time
from collections.abc import Iterable, Iterator
from typing import Any

from fluxsched.formats import jsontext
from fluxsched.formats.quote import printable
from fluxsched.program import tell
from fluxsched.session import jobid as ids
from fluxsched.session.commands import buildspec
from fluxsched.session.commands.client import Client, Late, RPCError
from fluxsched.session.commands.common import (
    Parser,
    call,
    complain,
    jobid,
    operands,
    seconds,
    signal_number,
    subcommands,
    whole,
    wrong,
)
from fluxsched.session.commands.options import Options
from fluxsched.session.errors import CommandError

LONGEST = 1e9  # seconds that a wait can last

HINT = """\
   submit          submit a job by its jobspec
   attach          attach to a job: pass its output on, and end with its exit code
   wait            wait for a job, or for waitable jobs
   wait-event      wait for an event of a job
   status          wait for jobs and end with their worst exit code
   eventlog        display the events of a job
   info            display data of a job: jobspec, R, eventlog
   taskmap         display which task of a job is on which node
   urgency         set the urgency of a job
   cancel          the same as flux cancel
   raise           raise an exception on jobs
   kill            send a signal to running jobs
   id              convert job ids to another form
   last            list the ids of the latest jobs
   list            list jobs, a JSON object each"""


def main(name: str, words: list[str]) -> int:
    """flux job and flux waitjob; the exit code."""
    if name == "waitjob":
        return waitjob(words)
    table = {
        "submit": submit, "attach": attach, "wait": wait, "wait-event": wait_event, "status": status,
        "eventlog": eventlog, "info": info, "urgency": urgency, "cancel": cancel, "raise": raise_, "kill": kill,
        "id": id_, "last": last, "list": list_, "taskmap": taskmap,
    }  # fmt: skip
    return subcommands("job", words, table, HINT)


def submit(words: list[str]) -> int:
    """flux job submit"""
    from fluxsched.session.commands.submit import flags_of

    p = Parser("job submit", description="Submit a job by its jobspec, and print its id.")
    p.add_argument("-u", "--urgency", metavar="N", help="urgency (0-31), hold=0, default=16, expedite=31")
    p.add_argument("-f", "--flags", metavar="FLAGS", help="comma separated: debug, waitable, novalidate")
    p.add_argument("jobspec", nargs="?", default="-", help="file with the jobspec as JSON (default -, standard input)")
    o = p.parse_args(words)
    try:
        options = {"urgency": buildspec.urgency(o.urgency), "flags": flags_of(o.flags)}
    except buildspec.SpecError as error:
        raise CommandError(str(error)) from None
    request = {"jobspec": _read_jobspec(o.jobspec), **options}
    print(ids.show(call(Client().rpc, "job.submit", request)["id"]))
    return 0


def _read_jobspec(path: str) -> dict[str, Any]:
    name = "standard input" if path == "-" else path
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            text = file.read(buildspec.MAX_FILE + 1)
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror}") from None
    if not text.strip():
        raise CommandError("required jobspec is empty")
    if len(text) > buildspec.MAX_FILE:
        raise CommandError(f"{name}: larger than {buildspec.MAX_FILE} bytes")
    try:
        spec = jsontext.loads(text)
    except ValueError as error:
        raise CommandError(f"{name}: not a jobspec: {error}") from None
    if not isinstance(spec, dict):
        raise CommandError(f"{name}: not a jobspec: expected an object")
    return spec


def attach(words: list[str]) -> int:
    """flux job attach"""
    p = Parser("job attach", description="Pass the output of a job on, and end with its exit code.")
    p.add_argument("-E", "--show-events", action="store_true", help="show events on standard error")
    p.add_argument("-l", "--label-io", action="store_true", help="label lines with the task's rank")
    p.add_argument("-q", "--quiet", action="store_true", help="say nothing about how the job ended")
    p.add_argument("-r", "--read-only", action="store_true", help="do not read standard input or catch signals")
    p.add_argument("-w", "--wait-event", metavar="NAME", help="detach after this event")
    p.add_argument("id", type=jobid)
    o = p.parse_args(words)
    from fluxsched.session.commands.attach import Attach

    job = Attach(
        Client(),
        o.id,
        label=o.label_io,
        events=o.show_events,
        quiet=o.quiet,
        stdin=not o.read_only and _reads_stdin(o.id),
        until=o.wait_event,
    )
    return job.run(signals=not o.read_only)


def _reads_stdin(number: int) -> bool:
    """Whether the job was submitted to read from who attaches."""
    try:
        spec = Client().rpc("job.info", {"id": number, "key": "jobspec"})["value"]
    except RPCError as error:
        raise CommandError(f"Failed to attach to {ids.show(number)}: {error.text}") from None
    options = spec["attributes"]["system"].get("shell", {}).get("options", {})
    return options.get("input", {}).get("stdin", {}).get("type") == "service"


def wait(words: list[str]) -> int:
    """flux job wait"""
    p = Parser("job wait", description="Wait for a job to end; without an id for the next waitable one.")
    p.add_argument("-a", "--all", action="store_true", help="wait for all waitable jobs")
    p.add_argument("-v", "--verbose", action="store_true", help="a line for all jobs, not just failing ones")
    p.add_argument("id", type=jobid, nargs="?")
    o = p.parse_args(words)
    client = Client()
    code = 0
    while True:
        try:
            answer = client.rpc("job.wait", {"id": o.id})
        except RPCError as error:
            if o.all and error.errno == errno.ECHILD:
                return code
            raise CommandError(error.text, 2) from None
        if o.id is None and not o.all:
            print(ids.show(answer["id"]))
        prefix = f"{ids.show(answer['id'])}: " if o.all else ""
        if not answer["success"]:
            tell(f"flux-job: {prefix}{printable(answer['errstr'])}")
            code = 1
        elif o.verbose:
            tell(f"flux-job: {prefix}job completed successfully")
        if not o.all:
            return code


def waitjob(words: list[str]) -> int:
    """flux waitjob"""
    p = Parser("waitjob", description="Wait for one job to end; fails if it failed.")
    p.add_argument("id", type=jobid)
    o = p.parse_args(words)
    answer = call(Client().rpc, "job.wait", {"id": o.id})
    if not answer["success"]:
        raise CommandError(printable(answer["errstr"]))
    return 0


def _events(client: Client, number: int, until: str | None = None, deadline: float | None = None) -> Iterator[Any]:
    """Events of a job as they come; they end with the job, or with `until`.  Raises RPCError, and Late."""
    for answer in client.stream("job.watch", {"id": number, "output": False}, deadline):
        if "event" in answer:
            yield answer["event"]
            if answer["event"]["name"] == until:
                return


def wait_event(words: list[str]) -> int:
    """flux job wait-event"""
    p = Parser("job wait-event", description="Wait for an event of a job.")
    p.add_argument("-t", "--timeout", metavar="DURATION", type=seconds, help="give up after this long")
    p.add_argument("-q", "--quiet", action="store_true", help="do not print the event")
    p.add_argument("-v", "--verbose", action="store_true", help="print the events before it too")
    p.add_argument("-f", "--format", choices=("text", "json"), default="text")
    p.add_argument("id", type=jobid)
    p.add_argument("event")
    o = p.parse_args(words)
    deadline = None if o.timeout is None or math.isinf(o.timeout) else time.monotonic() + min(o.timeout, LONGEST)
    try:
        for entry in _events(Client(), o.id, until=o.event, deadline=deadline):
            if (entry["name"] == o.event or o.verbose) and not o.quiet:
                print(_line(entry, o.format), flush=True)
            if entry["name"] == o.event:
                return 0
    except RPCError as error:
        raise CommandError(error.text) from None
    except Late:
        raise CommandError(f"wait-event timeout on event '{o.event}'") from None
    raise CommandError(f"event '{o.event}' never received")


def status(words: list[str]) -> int:
    """flux job status"""
    p = Parser("job status", description="Wait for jobs to end, and end with the worst of their exit codes.")
    p.add_argument("-v", "--verbose", action="count", default=0)
    p.add_argument("id", type=jobid, nargs="+")
    o = p.parse_args(words)
    client = Client()
    worst = 0
    for number in o.id:
        call(client.rpc, "job.wait", {"id": number})
        job = call(client.rpc, "job.list", {"ids": [number]})["jobs"][0]
        code = job.get("returncode", 1)
        worst = max(worst, code if code >= 0 else 1)
        if o.verbose:
            tell(f"flux-job: {ids.show(number)}: {job['result'].lower()}, exit code {code}")
    return worst


def _line(entry: dict[str, Any], form: str = "text") -> str:
    """An event as one line; what users put into it has no control characters."""
    if form == "json":
        return json.dumps(entry, separators=(",", ":"))
    context = entry.get("context") or {}
    words = [f"{key}={json.dumps(value, separators=(',', ':'), ensure_ascii=False)}" for key, value in context.items()]
    return printable(" ".join([f"{entry['timestamp']:.6f}", entry["name"], *words]))


def eventlog(words: list[str]) -> int:
    """flux job eventlog"""
    p = Parser("job eventlog", description="Display the events of a job.")
    p.add_argument("-f", "--format", choices=("text", "json"), default="text")
    p.add_argument("-T", "--time-format", choices=("raw", "iso", "offset"), default="raw")
    p.add_argument("-H", "--human", action="store_true", help="readable time stamps")
    p.add_argument("-F", "--follow", action="store_true", help="go on until the job has ended")
    p.add_argument("id", type=jobid)
    o = p.parse_args(words)
    client = Client()
    if o.follow:
        entries: Iterable[Any] = _events(client, o.id)
    else:
        try:
            entries = client.rpc("job.info", {"id": o.id, "key": "eventlog"})["value"]
        except RPCError as error:
            missing = error.errno == errno.ENOENT
            raise CommandError(f"job {ids.show(o.id)} not found" if missing else error.text) from None
    first = None
    try:
        for entry in entries:
            print(_shown(entry, o, first), flush=o.follow)
            first = entry["timestamp"] if first is None else first
    except RPCError as error:
        raise CommandError(error.text) from None
    return 0


def _shown(entry: dict[str, Any], o: Options, first: float | None) -> str:
    """`first` is the time of the first entry, None at that entry."""
    if o.format == "json":
        return _line(entry, "json")
    rest = _line(entry).partition(" ")[2]
    t = entry["timestamp"]
    if o.human:
        stamp = f"{t - first:+11.6f}" if first is not None else time.strftime("%b%d %H:%M", time.localtime(t))
        stamp = f"[{stamp}]"
    elif o.time_format == "iso":
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t)) + f".{int(t % 1 * 1e6):06d}Z"
    elif o.time_format == "offset":
        stamp = f"{t - (first or t):.6f}"
    else:
        stamp = f"{t:.6f}"
    return f"{stamp} {rest}"


def info(words: list[str]) -> int:
    """flux job info"""
    p = Parser("job info", description="Display data of a job.")
    p.add_argument("-o", "--original", action="store_true", help="for jobspec: as submitted (it is never changed here)")
    p.add_argument("id", type=jobid)
    p.add_argument("key", help="jobspec, R or eventlog")
    o = p.parse_args(words)
    value = call(Client().rpc, "job.info", {"id": o.id, "key": o.key})["value"]
    if o.key == "eventlog":
        for entry in value:
            print(_line(entry, "json"))
    else:
        print(json.dumps(value))
    return 0


def taskmap(words: list[str]) -> int:
    """flux job taskmap"""
    from fluxsched.session.commands import taskmap as command

    return command.taskmap(words)


def urgency(words: list[str]) -> int:
    """flux job urgency"""
    p = Parser("job urgency", description="Set the urgency of a job that waits.")
    p.add_argument("-v", "--verbose", action="store_true", help="print the urgency it had")
    p.add_argument("id", type=jobid)
    p.add_argument("urgency", help="0-31, HOLD, EXPEDITE, DEFAULT")
    o = p.parse_args(words)
    try:
        value = buildspec.urgency(o.urgency)
    except buildspec.SpecError as error:
        raise CommandError(str(error)) from None
    old = call(Client().rpc, "job-manager.urgency", {"id": o.id, "urgency": value})["old_urgency"]
    if o.verbose:
        tell(f"flux-job: old job urgency: {old}")
    return 0


def _ids_and_note(words: list[str]) -> tuple[list[int], str]:
    """Ids, then a note in the remaining words."""
    numbers = []
    while words:
        try:
            numbers.append(ids.stored(ids.parse(words[0])))
        except ValueError:
            break
        words = words[1:]
    return numbers, " ".join(operands(words))


def cancel(words: list[str]) -> int:
    """flux job cancel, the older name of flux cancel"""
    from fluxsched.session.commands.cancel import main as flux_cancel

    return flux_cancel("job cancel", words)


def raise_(words: list[str]) -> int:
    """flux job raise"""
    p = Parser("job raise", description="Raise an exception on jobs; severity 0 ends them.")
    p.add_argument("-s", "--severity", metavar="N", type=whole(0, 7), default=0, help="0 to 7 (default 0)")
    p.add_argument("-t", "--type", metavar="TYPE", default="cancel", help="type (default cancel)")
    p.add_argument("-m", "--message", metavar="NOTE", help="note")
    p.add_argument("words", nargs="...", metavar="id... [--] [message...]")
    o = p.parse_args(words)
    numbers, note = _ids_and_note(o.words)
    if not numbers:
        raise CommandError("raise: a job id is missing")
    payload = {"type": o.type, "severity": o.severity, "note": o.message or note}
    return _for_each(numbers, "raise", "job-manager.raise", payload)


def _for_each(numbers: list[int], verb: str, topic: str, payload: dict[str, Any]) -> int:
    client = Client()
    code = 0
    for number in numbers:
        try:
            client.rpc(topic, dict(payload, id=number))
        except RPCError as error:
            complain("flux-job", f"{verb}: {error.text}")
            code = 1
    return code


def kill(words: list[str]) -> int:
    """flux job kill"""
    p = Parser("job kill", description="Send a signal to the processes of running jobs.")
    p.add_argument("-s", "--signal", metavar="SIG", default="SIGTERM", help="signal (default SIGTERM)")
    p.add_argument("id", type=jobid, nargs="+")
    o = p.parse_args(words)
    try:
        number = signal_number(o.signal)
    except ValueError as error:
        raise CommandError(f"kill: --signal: {error}") from None
    return _for_each(o.id, "kill", "job-manager.kill", {"signum": number})


def _any_id(text: str) -> int:
    """A job id of 64 bits, from this session or not."""
    try:
        return ids.parse(text)
    except ValueError as error:
        raise wrong(str(error)) from None


def id_(words: list[str]) -> int:
    """flux job id"""
    p = Parser("job id", description="Convert job ids to another form.")
    p.add_argument("-t", "--to", choices=tuple(ids.FORMS), default="dec")
    p.add_argument("id", type=_any_id, nargs="+")
    o = p.parse_args(words)
    for number in o.id:
        print(ids.FORMS[o.to](number))
    return 0


def last(words: list[str]) -> int:
    """flux job last"""
    p = Parser("job last", description="List the ids of the latest jobs.")
    p.add_argument("n", type=whole(), nargs="?", default=1, help="how many (default 1)")
    o = p.parse_args(words)
    found = call(Client().rpc, "job.list", {"inactive": True, "count": 0})["jobs"]
    if not found:
        raise CommandError("job history is empty")
    for number in sorted((job["id"] for job in found), reverse=True)[: o.n]:
        print(ids.show(number))
    return 0


def list_(words: list[str]) -> int:
    """flux job list"""
    p = Parser("job list", description="List jobs, a JSON object each.")
    p.add_argument("-c", "--count", metavar="N", type=whole(), default=1000)
    p.add_argument("-a", "--all-user", action="store_true", help="my jobs in all states")
    p.add_argument("-A", "--all", action="store_true", help="all jobs in all states")
    o = p.parse_args(words)
    payload = {"count": o.count, "inactive": o.all or o.all_user}
    for job in call(Client().rpc, "job.list", payload)["jobs"]:
        print(json.dumps(job))
    return 0
