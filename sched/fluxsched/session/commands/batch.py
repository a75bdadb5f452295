# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux batch: submit a script that runs in a session of its own, on the resources of its job."""

from __future__ import annotations

import sys

from fluxsched.session import jobid as ids
from fluxsched.session.commands import directives, nested, submit
from fluxsched.session.commands.buildspec import SpecError
from fluxsched.session.commands.common import Parser, operands
from fluxsched.session.commands.options import Options
from fluxsched.session.errors import CommandError

MAX_SCRIPT = 8 << 20  # bytes
OUTPUT = "flux-{{id}}.out"


def parser() -> Parser:
    """The options of flux batch."""
    usage = "flux batch [OPTIONS...] SCRIPT [ARGS...]\n       flux batch [OPTIONS...] --wrap COMMAND [ARGS...]"
    p = Parser("batch", description="Submit a script that runs in a session of its own.", usage=usage)
    submit.job_options(p)
    submit.stream_options(p)
    nested.add_options(p)
    p.add_argument("--quiet", action="store_true", help="do not print the job's id")
    p.add_argument("--wrap", action="store_true", help="the words, or standard input, are commands of a shell")
    p.add_argument("script", nargs="...", metavar="SCRIPT", help="script and its arguments (default: standard input)")
    return p


def main(name: str, words: list[str]) -> int:
    """flux batch; the exit code."""
    o = parser().parse_args(words)
    script_words = operands(o.script)
    with nested.refusals():
        nested.check_dump(o)
        text = _text(o, script_words)
        if not o.wrap:
            o = _with_directives(script_words[0] if script_words else "stdin", text, words, o)
        o.job_name = o.job_name or (script_words[0] if script_words and not o.wrap else "batch")
        o.output = o.output or OUTPUT
        arguments = [] if o.wrap else script_words[1:]
        payload = nested.request(o, ["{{tmpdir}}/script", *arguments], [], script=text)
    found = nested.submitted(payload, o.dry_run)
    if found is not None and not o.quiet:
        print(ids.show(found[1]))
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
