# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux-sched replay: the record of a scheduler (``record=DIR``), replayed and compared."""
from __future__ import annotations

import sys
from typing import Any

import click

from fluxsched.cli.instance import show_id
from fluxsched.formats.quote import printable
from fluxsched.formats.words import plural


def stamp(time: float) -> str:
    """A time since the epoch as people here write it, to the microsecond."""
    import datetime

    return datetime.datetime.fromtimestamp(time).isoformat(" ", "microseconds")


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, exists=True))
def replay(folder: str) -> None:
    """Drive the engine with the record in DIR, which the module's argument record=DIR has written, and compare each
    decision.  Exits with 1 if one differs."""
    from fluxsched.twin.replay import Replay

    run = Replay(folder)
    difference = run.run()
    for line in run.warnings:
        click.echo(printable(f"warning: {line}"), err=True)
    if difference is not None:
        for line in different(run, difference):
            click.echo(printable(line))
        sys.exit(1)
    span = f"{stamp(run.begun)} to {stamp(run.time)}"
    passes = "1 pass" if run.passes == 1 else f"{run.passes:,} passes"
    about = f"{passes}, {plural(len(run.parts), 'part')}, {span}"
    click.echo(f"{plural(run.decisions, 'decision')}, all the same ({about})")


def different(run: Any, found: Any) -> list[str]:
    """The lines about the first decision that differs."""
    lines = [f"{found.part.path}, line {found.line}: the {found.what} of {stamp(found.time)} differs"
             f" (after {plural(run.decisions, 'decision')}):"]
    for name, value in (("recorded", found.recorded), ("replayed", found.replayed)):
        lines.append(f"  {name}: {shown(found.what, value)}")
    return lines


def shown(what: str, value: Any) -> str:
    """What was decided, in a line."""
    if what != "pass":
        return "no error" if value is None else str(value)
    started, denied, more, *error = value
    words = [f"{show_id(job)} starts on {rows}{f' and {pools}' if pools else ''}" for job, rows, pools in started]
    words += [f"{show_id(job)} is denied: {reason}" for job, reason in denied]
    words += [f"error: {each['error']}" for each in error]
    return "; ".join(words or ["nothing starts"]) + (" (the pass goes on)" if more else "")
