# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux batch: submit a script that runs in a session of its own, on the resources of its job."""

from __future__ import annotations

import json
import sys
from typing import Any

from fluxsched.formats import config
from fluxsched.session import jobid as ids
from fluxsched.session.commands import buildspec, directives, submit
from fluxsched.session.commands.buildspec import SpecError
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.commands.common import Parser, operands
from fluxsched.session.commands.options import Options
from fluxsched.session.errors import CommandError

MAX_SCRIPT = 8 << 20  # bytes
OUTPUT = "flux-{{id}}.out"


def nested_options(p: Parser) -> None:
    """The options of batch and alloc: resources in slots, and the configuration of the nested session."""
    g = p.add_argument_group("resources")
    g.add_argument("-N", "--nodes", metavar="N", help="number of nodes; without -n whole nodes")
    g.add_argument("-x", "--exclusive", action="store_true", help="with --nodes: nodes are not shared")
    g.add_argument("-n", "--nslots", metavar="N", help="number of slots")
    g.add_argument("-c", "--cores-per-slot", metavar="N", help="cores of each slot (default 1)")
    g.add_argument("-g", "--gpus-per-slot", metavar="N", help="gpus of each slot")
    g.add_argument("--conf", metavar="FILE", help="configuration of the nested session, TOML or JSON")


def parser() -> Parser:
    """The options of flux batch."""
    usage = "flux batch [OPTIONS...] SCRIPT [ARGS...]\n       flux batch [OPTIONS...] --wrap COMMAND [ARGS...]"
    p = Parser("batch", description="Submit a script that runs in a session of its own.", usage=usage)
    submit.job_options(p)
    submit.stream_options(p)
    nested_options(p)
    p.add_argument("--quiet", action="store_true", help="do not print the job's id")
    p.add_argument("--wrap", action="store_true", help="the words, or standard input, are commands of a shell")
    p.add_argument("script", nargs="...", metavar="SCRIPT", help="script and its arguments (default: standard input)")
    return p


def main(name: str, words: list[str]) -> int:
    """flux batch; the exit code."""
    o = parser().parse_args(words)
    script_words = operands(o.script)
    try:
        text = _text(o, script_words)
        if not o.wrap:
            o = _with_directives(script_words[0] if script_words else "stdin", text, words, o)
        request = _request(o, text, script_words)
    except SpecError as error:
        raise CommandError(f"ERROR: {error}") from None
    if o.dry_run:
        print(json.dumps(request["jobspec"]))
        return 0
    try:
        jobid = Client().rpc("job.submit", request)["id"]
    except RPCError as error:
        raise CommandError(f"ERROR: {error.text}", logged=True) from None
    if not o.quiet:
        print(ids.show(jobid))
    return 0


def _text(o: Options, words: list[str]) -> str:
    """The script.  Raises SpecError."""
    if o.wrap and words:
        return f"#!/bin/sh\n{' '.join(words)}\n"
    name = words[0] if words else "stdin"
    try:
        if words:
            with open(words[0], "rb") as file:
                data = file.read(MAX_SCRIPT + 1)
        else:
            data = sys.stdin.buffer.read(MAX_SCRIPT + 1)
        text = data.decode()
    except OSError as error:
        raise SpecError(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SpecError(f"{name}: expected a script, got what is no UTF-8 text") from None
    if len(data) > MAX_SCRIPT:
        raise SpecError(f"{name}: expected a script of at most {MAX_SCRIPT} bytes")
    if "\0" in text:
        raise SpecError(f"{name}: expected a script, got a byte 0")
    if o.wrap:
        return f"#!/bin/sh\n{text}"
    if not text.startswith("#!"):
        raise SpecError(f"{name}: expected a script that begins with #!, such as #!/bin/sh, or --wrap")
    return text


def _with_directives(name: str, text: str, words: list[str], given: Options) -> Options:
    """The options in the script, under those of the command line.  Raises SpecError, CommandError."""
    found: list[str] = []
    try:
        for number, own in directives.parse(text):
            try:
                o = parser().parse_args(own)
            except CommandError as error:
                raise CommandError(f"{name}: line {number}: {error}", error.code) from None
            if o.script:
                raise SpecError(f"{name}: line {number}: expected options, got {o.script[0]!r}")
            if o.wrap:
                raise SpecError(f"{name}: line {number}: --wrap: expected on the command line, if at all")
            found += own
    except directives.DirectiveError as error:
        raise SpecError(f"{name}: {error}") from None
    return parser().parse_args([*found, *words]) if found else given


def nested(o: Options, command: list[str], options: list[str], **more: Any) -> dict[str, Any]:
    """The jobspec of a session that runs `command`; `options` are those of flux start.  Raises SpecError."""
    files = {}
    if o.conf is not None:
        try:
            files["conf.json"] = {"mode": 0o100600, "data": config.load(o.conf)}
        except config.ConfigError as error:
            raise SpecError(f"--conf: {error}") from None
        options = [*options, "-c", "{{tmpdir}}/conf.json"]
    words = ["flux", "start", *options, *(["--"] if command else []), *command]
    spec = buildspec.build(o, words, plan=buildspec.slots(o), **more)
    if files:
        spec["attributes"]["system"].setdefault("files", {}).update(files)
    return spec


def _request(o: Options, text: str, words: list[str]) -> dict[str, Any]:
    """The payload of job.submit.  Raises SpecError."""
    o.job_name = o.job_name or (words[0] if words and not o.wrap else "batch")
    o.output = o.output or OUTPUT
    arguments = [] if o.wrap else words[1:]
    flags, urgency = submit.flags_of(o.flags), buildspec.urgency(o.urgency)
    spec = nested(o, ["{{tmpdir}}/script", *arguments], [])
    script = {"mode": 0o100700, "encoding": "utf-8", "data": text}
    spec["attributes"]["system"].setdefault("files", {})["script"] = script
    return {"jobspec": spec, "urgency": urgency, "flags": flags}
