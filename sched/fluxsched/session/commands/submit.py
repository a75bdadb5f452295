# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux submit, flux run, flux wreckrun."""

from __future__ import annotations

import sys

from fluxsched.program import tell
from fluxsched.session import jobid as ids
from fluxsched.session.commands import buildspec
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.commands.common import Parser, operands
from fluxsched.session.commands.follow import Follower
from fluxsched.session.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from fluxsched.session.commands.options import Options
    from fluxsched.session.commands.teller import Teller

FLAGS = {"debug": 2, "waitable": 4, "novalidate": 8}


RUN = "Run a job: submit it, pass its output on, wait for it."


def parser(name: str, doing: str = RUN) -> Parser:
    """The options of submit, run or wreckrun, or of another command that takes a job's; `doing` says what it does."""
    doing = "Enqueue a job." if name == "submit" else doing
    p = Parser(name, description=doing, usage=f"flux {name} [OPTIONS...] COMMAND [ARGS...]")
    job_options(p)
    stream_options(p)
    g = p.add_argument_group("resources")
    nodes = ["-N", "--nodes"] + (["--nnodes"] if name == "wreckrun" else [])
    g.add_argument(*nodes, metavar="N", help="number of nodes")
    g.add_argument("-x", "--exclusive", action="store_true", help="with --nodes: nodes are not shared")
    g.add_argument("-n", "--ntasks", metavar="N", help="number of tasks")
    g.add_argument("-c", "--cores-per-task", metavar="N", help="cores for each task")
    g.add_argument("-g", "--gpus-per-task", metavar="N", help="gpus for each task")
    g.add_argument("--cores", metavar="N", help="total number of cores")
    g.add_argument("--tasks-per-node", metavar="N", help="number of tasks on each node")
    g.add_argument("--tasks-per-core", metavar="N", help="number of tasks on each core")
    g.add_argument("--gpus-per-node", metavar="N", help="gpus on each node, with --nodes")
    g.add_argument("--taskmap", metavar="SCHEME",
                   help="node of each task: block, cyclic[:N], manual:TASKMAP, hostfile:FILE")
    if name in ("submit", "bulksubmit"):
        _many(p)
    p.add_argument("command", nargs="...", metavar="COMMAND", help="command and its arguments")
    return p


def job_options(p: Parser) -> None:
    """The options of all commands that submit jobs."""
    p.add_argument("-q", "--queue", metavar="NAME", help="submit to a queue")
    p.add_argument("-t", "--time-limit", metavar="MIN|FSD", help="time limit: minutes, or with a unit 30s, 1.5h, 2d")
    p.add_argument("--urgency", metavar="N", help="urgency (0-31), hold=0, default=16, expedite=31")
    p.add_argument("--job-name", metavar="NAME", help="name of the job (default: that of the command)")
    p.add_argument("-o", "--setopt", metavar="OPT", action="append", help="set a shell option, OPT[=VAL]")
    p.add_argument("-S", "--setattr", metavar="ATTR", action="append", help="set a job attribute, ATTR[=VAL]")
    p.add_argument("--dependency", metavar="URI", action="append",
                   help="wait for afterok:ID, afternotok:ID, afterany:ID, afterstart:ID, afterexcept:ID or singleton")
    p.add_argument("--begin-time", metavar="TIME", help="start no earlier: +1h, 2030-01-31 12:00, tomorrow 8am")
    p.add_argument("--requires", metavar="CONSTRAINT", help="constraint: PROPERTY, host:LIST, rank:IDSET, and, or, not")
    p.add_argument("--env", metavar="RULE", action="append", help="VAR=VALUE, PATTERN, -PATTERN or ^FILE")
    p.add_argument("--env-remove", metavar="PATTERN", dest="env", action="append", type=lambda text: "-" + text,
                   help="take variables away")
    p.add_argument("--env-file", metavar="FILE", dest="env", action="append", type=lambda text: "^" + text,
                   help="read rules from FILE")
    p.add_argument("--cwd", metavar="DIRECTORY", help="working directory of the job")
    p.add_argument("--mem", metavar="SIZE", help="memory on each node of --nodes, else of the job: 4G, 512M")
    p.add_argument("--signal", metavar="[SIG][@TIME]", help="send SIG (USR1) TIME (60s) before the time limit")
    p.add_argument("--flags", metavar="FLAGS", help="comma separated: debug, waitable, novalidate")
    p.add_argument("--dry-run", action="store_true", help="print the jobspec and do nothing")
    p.add_argument("-v", "--verbose", action="count", default=0, help="say more on standard error")


def stream_options(p: Parser) -> None:
    """The options of where a job's input comes from and its output goes."""
    p.add_argument("--input", metavar="FILENAME", help="standard input from FILENAME")
    p.add_argument("--output", metavar="FILENAME", help="standard output to FILENAME, with {{id}}, {{taskid}}, ...")
    p.add_argument("--error", metavar="FILENAME", help="standard error to FILENAME")
    p.add_argument("-u", "--unbuffered", action="store_true", help="pass output on as it comes, not by lines")
    p.add_argument("-l", "--label-io", action="store_true", help="label lines of output with the task's rank")


def _many(p: Parser) -> None:
    """The options of commands that submit many jobs."""
    p.add_argument("--quiet", action="store_true", help="do not print the job's id")
    p.add_argument("--cc", metavar="IDSET", help="submit a copy for each id, for {cc} and in FLUX_JOB_CC")
    p.add_argument("--bcc", metavar="IDSET", help="the same without FLUX_JOB_CC")
    p.add_argument("--wait", action="store_const", const="clean", dest="wait_event", help="wait for the jobs to end")
    p.add_argument("--wait-event", metavar="NAME", help="wait for this event of all jobs")
    p.add_argument("--watch", action="store_true", help="show the jobs' output (implies --wait)")
    p.add_argument("--progress", action="store_true", help="show how many are submitted, with --wait how many are over")
    p.add_argument("--jps", action="store_true", help="with --progress, show how many in a second")
    p.add_argument("--log", metavar="FILE", help="ids, messages and output to FILE")
    p.add_argument("--log-stderr", metavar="FILE", help="errors to FILE")


def flags_of(text: str | None) -> int:
    """--flags: the sum of those named.  Raises SpecError."""
    flags = 0
    for word in (text or "").split(","):
        if word and word not in FLAGS:
            raise buildspec.SpecError(f"--flags: Unknown flag {word}")
        flags |= FLAGS.get(word, 0)
    return flags


def main(name: str, words: list[str]) -> int:
    """Submit a job, or several; for all but `submit` also follow it.  The exit code."""
    o = parser(name).parse_args(words)
    o.name = name
    command = operands(o.command)
    try:
        if name == "submit":
            if o.cc is None and o.bcc is None:  # most jobs do without what copies need
                request = request_of(o, command)
                return _print([request]) if o.dry_run else submit_each(o, [(o, request)], 1)
            bulk = None if o.dry_run else _copies(o, command)
            if bulk is not None:
                return submit_copies(o, bulk)
            from fluxsched.session.commands import copies

            requests = requests_of(o, command)
            if o.dry_run:
                return _print(request for _, request in requests)
            return submit_each(o, requests, len(copies.members(o)))
        request = request_of(o, command, stdin="service")
    except buildspec.SpecError as error:
        raise CommandError(f"ERROR: {error}") from None
    return _print([request]) if o.dry_run else _run(o, request)


def _print(requests: Iterable[dict[str, Any]]) -> int:
    import json

    for request in requests:
        print(json.dumps(request["jobspec"]))
    return 0


def request_of(o: Options, command: list[str], stdin: str = "none") -> dict[str, Any]:
    """The payload of job.submit.  Raises SpecError."""
    flags, urgency = flags_of(o.flags), buildspec.urgency(o.urgency)
    return {"jobspec": buildspec.build(o, command, stdin=stdin), "urgency": urgency, "flags": flags}


def requests_of(o: Options, command: list[str]) -> Iterator[tuple[Options, dict[str, Any]]]:
    """The options and the payload of each copy.  Raises SpecError."""
    from fluxsched.session.commands import copies

    for member in copies.members(o):
        if member is None:
            yield o, request_of(o, command)
            continue
        own, words = copies.substitute(o, command, copies.of_copy(member))
        request = request_of(own, words)
        environment = request["jobspec"]["attributes"]["system"]["environment"]
        if o.cc is not None and isinstance(environment, dict):  # --setattr may have put something else there
            environment["FLUX_JOB_CC"] = str(member)
        yield own, request


def _copies(o: Options, command: list[str]) -> dict[str, Any] | None:
    """The payload of job.submit-copies, for copies whose options are all alike; None if they are not.

    Raises SpecError."""
    from fluxsched.session.commands import copies

    members = copies.members(o)
    if len(members) < 2 or copies.options_differ(o):
        return None
    payload = request_of(o, command)
    environment = payload["jobspec"]["attributes"]["system"]["environment"]
    if not isinstance(environment, dict):  # --setattr has put something else there
        return None
    payload["copies"] = found = []
    varies = any("{" in word or "}" in word for word in command)
    for member in members:
        one: dict[str, Any] = {}
        if varies:
            lookup = copies.of_copy(int(member or 0))
            one["command"] = [copies.replace(word, lookup, "command") for word in command]
        if o.cc is not None:
            one["environment"] = {"FLUX_JOB_CC": str(member)}
        found.append(one)
    return payload


def submit_copies(o: Options, payload: dict[str, Any]) -> int:
    """Submit copies in one request; the exit code."""
    from fluxsched.session.commands.teller import Teller

    client = Client()
    submitted: list[int] = []
    code = 0
    with Teller(o, len(payload["copies"])) as teller:
        try:
            for answer in client.stream("job.submit-copies", payload):
                submitted += answer["ids"]
                teller.submitted(o, answer["ids"])
        except RPCError as refusal:
            teller.refused(o, refusal.text)  # the broker has logged it
            code = 1
        if o.wait_event or o.watch:
            code = max(code, _wait(client, o, dict.fromkeys(submitted, o), teller))
    return code


def submit_each(o: Options, requests: Iterable[tuple[Options, dict[str, Any]]], total: int) -> int:
    """Submit jobs, each with its own options, in a request each; the exit code."""
    from fluxsched.session.commands.teller import Teller

    # What is wrong with the first one is said before there is a session to ask.
    remaining = iter(requests)
    own, first = next(remaining)
    client = Client()
    asked = [(own, client.send("job.submit", first))]
    wrong = None
    try:
        asked.extend((own, client.send("job.submit", request)) for own, request in remaining)
    except buildspec.SpecError as error:
        wrong = error  # told when the ids of those before it have been
    answers: dict[int, tuple[Any, RPCError | None]] = {}
    submitted = {}
    code = 0
    with Teller(o, total) as teller:
        for own, number in asked:
            while number not in answers:
                sys.stdout.flush()
                got, *rest = client.receive()
                answers[got] = (rest[0], rest[1])
            answer, refusal = answers.pop(number)
            if refusal is not None:
                teller.refused(own, refusal.text)  # the broker has logged it
                code = 1
                continue
            submitted[answer["id"]] = own
            teller.submitted(own, [answer["id"]])
        sys.stdout.flush()
        if wrong is not None:
            raise wrong
        if o.wait_event or o.watch:
            code = max(code, _wait(client, o, submitted, teller))
    return code


def _run(o: Options, request: dict[str, Any]) -> int:
    from fluxsched.session.commands import attach

    label = o.label_io and not o.output
    return attach.submit_and_attach(request, label=label, events=o.verbose > 1)


def _wait(client: Client, o: Options, jobs: dict[int, Options], teller: Teller) -> int:
    """Wait for jobs, with their output if asked for; the worst exit code.  `jobs`: the options of each."""
    following = {}
    events = None if o.watch else list(dict.fromkeys(["exception", "finish", "retry", "requeue", o.wait_event]))
    for jobid, own in jobs.items():
        number = client.send("job.watch", {"id": jobid, "output": o.watch, "events": events})
        streams = teller.streams(own)
        following[number] = Follower(jobid, label=o.label_io, quiet=not o.watch, until=o.wait_event, streams=streams)
    code = 0
    while following:
        number, payload, error = client.receive()
        job = following.get(number)
        if job is None:
            continue
        job.arrived(payload, error)
        if job.done:
            del following[number]
            if job.error is not None:
                raise CommandError(job.error)
            teller.over()
            code = max(code, job.code)
            if job.code and o.verbose:
                tell(f"{ids.show(job.jobid)}: failed: status={job.code << 8}")
    return code
