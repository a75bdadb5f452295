# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""``flux sched when``: when a job would start, if it were submitted now."""
from __future__ import annotations

import json
import sys
from typing import Any, Optional

import click

from fluxsched.cli import table
from fluxsched.cli.instance import ask, connect
from fluxsched.errors import FluxSchedError
from fluxsched.formats import idset
from fluxsched.formats.quote import printable
from fluxsched.formats.words import clock

DOING = """When would such a job start, if it were submitted now? It is not submitted. With a list or range of sizes,
as --nodes=1-64, each has a row. The exit code is 0 if it (one of them) would start now, 1 later, 2 if never or if it
cannot be told; 3 says that the question failed."""
CODES = {"now": 0, "later": 1, "never": 2}
FAILED = 3
ROWS_MAX = 256
# The options are those of submit's own parser.
SETTINGS = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command(add_help_option=False, context_settings=SETTINGS)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def when(ctx: click.Context, words: tuple[str, ...]) -> None:
    """When a job with these options of flux submit would start, if it were submitted now."""
    try:
        ctx.exit(run(list(words)))
    except FluxSchedError as error:
        click.echo(f"flux-sched: {printable(str(error), keep=chr(10))}", err=True)
        ctx.exit(FAILED)


def run(words: list[str]) -> int:
    """The command; its exit code.  Raises FluxSchedError."""
    from fluxsched.session.commands import buildspec
    from fluxsched.session.commands.options import Options
    from fluxsched.session.commands.submit import parser

    p = parser("sched when", DOING)
    p.add_argument("--json", action="store_true", help="JSON")
    o = p.parse_args(words)
    if o.dependency:
        raise FluxSchedError("--dependency: when other jobs will be over is not known")
    if o.begin_time is not None:
        raise FluxSchedError("--begin-time: what is told is the start of a job that is handed over now")
    command = (o.command[1:] if o.command[:1] == ["--"] else o.command) or ["app"]
    urgency, asked = buildspec.urgency(o.urgency), sizes(o.nodes)
    # What the scheduler does not look at need not travel.
    specs = [buildspec.build(Options(**{**vars(o), "nodes": size}), command, env={}) for size in asked]
    if o.dry_run:
        for spec in specs:
            print(json.dumps(spec))
        return 0
    instance = connect()
    answers = [ask(instance, "sched.when", jobspec=spec, urgency=urgency) for spec in specs]
    if o.json:
        rows = [{"nodes_asked": None if size is None else int(size), **answer} for size, answer in zip(asked, answers)]
        print(json.dumps(rows if len(rows) > 1 else rows[0]))
    else:
        for line in [text(answers[0])] if len(answers) == 1 else rows_text(asked, answers):
            print(line)
    sys.stdout.flush()
    return min(CODES[answer["verdict"]] for answer in answers)


def sizes(nodes: Optional[str]) -> list[Optional[str]]:
    """The numbers of nodes to ask for: those of a list or range, or the one that was given.  Raises FluxSchedError."""
    if nodes is None or not any(sign in nodes for sign in ",-"):
        return [nodes]
    try:
        found = idset.ids(nodes)
    except ValueError as error:
        raise FluxSchedError(f"--nodes: expected a number, or a list or range of numbers: {error}") from None
    if not 0 < len(found) <= ROWS_MAX or 0 in found:
        raise FluxSchedError(f"--nodes: expected 1 to {ROWS_MAX} numbers of at least 1, got {len(found)}")
    return [str(size) for size in sorted(found)]


def text(answer: dict[str, Any]) -> str:
    """One answer as a line."""
    now, start, reason = answer["now"], answer["start"], answer["reason"]
    if answer["verdict"] == "now":
        return printable(f"now, on {answer['nodes']}")
    if answer["verdict"] == "later":
        because = "" if reason is None else f": {reason}"
        where = "" if answer["nodes"] is None else f", on {answer['nodes']}"
        return printable(f"at {clock(start, now)} ({table.until(start, now)}){where}{because}")
    return printable(f"never: {reason}")


def rows_text(asked: list[Optional[str]], answers: list[dict[str, Any]]) -> list[str]:
    """A row for each size."""
    rows = []
    for size, a in zip(asked, answers):
        start = "now" if a["verdict"] == "now" else "never" if a["start"] is None else clock(a["start"], a["now"])
        wait = "-" if a["start"] is None else table.duration(a["start"] - a["now"])
        rows.append([str(size), start, wait, a["reason"] or ""])
    return table.lines(("NODES", "START", "WAIT", "REASON"), rows, right=("NODES", "WAIT"))
