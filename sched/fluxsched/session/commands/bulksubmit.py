# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux bulksubmit: a job for each input."""
from __future__ import annotations

import random
import shlex
from collections.abc import Iterator
from typing import Any

from fluxsched.session.commands import buildspec, copies, inputs, submit
from fluxsched.session.commands.common import operands
from fluxsched.session.commands.options import Options
from fluxsched.session.errors import CommandError

MORE = ("cc", "bcc")  # options that may name inputs, beside those of a job

Job = tuple[Options, list[str]]


def main(name: str, words: list[str]) -> int:
    """Submit the jobs; the exit code."""
    p = submit.parser(name)
    p.usage = f"flux {name} [OPTIONS...] [COMMAND [ARGS...]] [::: INPUTS...]..."
    p.add_argument("--shuffle", action="store_true", help="submit the jobs in a random order")
    p.add_argument("--sep", metavar="STRING", default="\\n", help="what separates inputs in files; none: white space")
    p.add_argument("--define", metavar="NAME=CODE", action="append",
                   help="{0.NAME} is what this expression of Python makes of the input x")
    o = p.parse_args(words)
    o.name = name
    command = operands(o.command)
    try:
        jobs = _jobs(o, command)
        if o.shuffle:
            random.shuffle(jobs)
        total = sum(len(copies.members(own)) for own, _ in jobs)
        if not total:
            raise CommandError("ERROR: no jobs provided for bulk submission")
        if o.dry_run:
            for own, found in jobs:
                for member in copies.members(own):
                    shown = found if member is None else copies.substitute(own, found, copies.of_copy(member))[1]
                    print(f"bulksubmit: submit {shlex.join(shown)}")
            return 0
        payload = _alike(o, jobs)
        return submit.submit_each(o, _requests(jobs), total) if payload is None else submit.submit_copies(o, payload)
    except buildspec.SpecError as error:
        raise CommandError(f"ERROR: {error}") from None


def _jobs(o: Options, words: list[str]) -> list[Job]:
    """The options and the command of each input.  Raises SpecError."""
    defined = inputs.methods(o.define or [])
    command, rows = inputs.split(words, inputs.separator(o.sep))
    found = []
    for number, row in enumerate(rows):
        found.append(copies.substitute(o, command, inputs.fields(row, number, defined), MORE))
    return found


def _requests(jobs: list[Job]) -> Iterator[tuple[Options, dict[str, Any]]]:
    """The options and the payload of each job.  Raises SpecError."""
    for own, command in jobs:
        yield from submit.requests_of(own, command)


def _alike(o: Options, jobs: list[Job]) -> dict[str, Any] | None:
    """The payload of one request for all jobs, if only their commands differ; None if more does.

    Raises SpecError."""
    if copies.options_differ(o, MORE) or o.cc is not None or o.bcc is not None:
        return None
    payload = submit.request_of(jobs[0][0], jobs[0][1])
    payload["copies"] = [{"command": command} for _, command in jobs]
    return payload
