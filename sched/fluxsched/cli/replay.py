# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux-sched replay: the record of a scheduler (``record=DIR``), replayed and compared."""
from __future__ import annotations

import datetime
import math
import sys
from typing import Any, Optional

import click

from fluxsched.cli import table
from fluxsched.cli.instance import JobId, show_id
from fluxsched.cli.table import duration
from fluxsched.errors import FluxSchedError
from fluxsched.formats import duration as spans
from fluxsched.formats.quote import printable
from fluxsched.formats.words import plural


class When(click.ParamType):
    """A time: seconds since the epoch, a date and time of day here, or + and a duration from the record's begin, which
    is negative then."""

    name = "time"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> float:
        """The seconds."""
        if isinstance(value, float):
            return value
        try:
            if value.startswith("+"):
                found = -spans.parse(value[1:])
            elif value.replace(".", "", 1).isdecimal():
                found = float(value)
            else:
                found = datetime.datetime.fromisoformat(value).timestamp()
        except (OverflowError, ValueError):
            found = math.inf
        if not math.isfinite(found):
            self.fail(f"{value!r}: seconds since the epoch, a date and time such as 2026-11-26T09:30, or +2h from the "
                      "record's begin expected", param, ctx)
        return found


def stamp(time: float) -> str:
    """A time since the epoch as people here write it, to the microsecond."""
    return datetime.datetime.fromtimestamp(time).isoformat(" ", "microseconds")


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, exists=True))
@click.option("--until", type=When(), metavar="TIME",
              help="Stop there: 2026-11-26T09:30, seconds since the epoch, or +2h from the record's begin.")
@click.option("--why", "jobid", type=JobId(), metavar="JOBID",
              help="Tell why this job waits at the end, or at --until, as flux sched why would have told.")
@click.option("--policy", metavar="NAME",
              help="Go on from the begin, or from --until, with this policy: a plugin, or a name as simulate takes it.")
@click.option("--plugin-opts", default="", metavar="K=V,...", help="Options for the policy's plugin.")
@click.option("--trace", "trace_path", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write the jobs that have started as a job trace in SWF.")
@click.option("--anonymise", "copy", type=click.Path(file_okay=False), metavar="NEWDIR",
              help="Write a copy of the record without names of users, queues, hosts and properties.")
def replay(
    folder: str, until: Optional[float], jobid: Optional[int], policy: Optional[str], plugin_opts: str,
    trace_path: Optional[str], copy: Optional[str],
) -> None:
    """Drive the engine with the record in DIR, which the module's argument record=DIR has written, and compare each
    decision.  Exits with 1 if one differs."""
    from fluxsched.twin.lives import Lives
    from fluxsched.twin.replay import Replay

    if policy is not None and (jobid is not None or trace_path is not None):
        raise click.UsageError("--policy goes on from the record: no --why or --trace with it")
    if plugin_opts and policy is None:
        raise click.UsageError("--plugin-opts are those of --policy")
    if copy is not None:
        from fluxsched.twin.anonymise import anonymise

        click.echo(f"{copy}: {plural(anonymise(folder, copy), 'part')} without names")
        folder = copy
    lives = Lives() if trace_path is not None else None
    run = Replay(folder, lives)
    end = math.inf if until is None else run.begun - until if until < 0 else until
    difference = run.run(end)
    for line in run.warnings:
        click.echo(printable(f"warning: {line}"), err=True)
    if difference is not None:
        for line in different(run, difference):
            click.echo(printable(line))
        sys.exit(1)
    span = f"{stamp(run.begun)} to {stamp(run.time)}"
    passes = "1 pass" if run.passes == 1 else f"{run.passes:,} passes"
    about = f"{passes}, {plural(run.replayed, 'part')}, {span}"
    click.echo(f"{run.decisions:,} {'decision' if run.decisions == 1 else 'decisions'}, all the same ({about})")
    if run.engine is None and (trace_path is not None or jobid is not None):
        raise FluxSchedError(f"{folder}: a time after its begin, {stamp(run.begun)}, expected")
    if trace_path is not None and lives is not None:
        write_trace(lives, run, trace_path)
    if jobid is not None:
        explain(run, jobid, run.time if until is None else end)
    if policy is not None:
        go_on(folder, policy, plugin_opts, None if until is None else end)


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


def write_trace(lives: Any, run: Any, path: str) -> None:
    """The jobs as SWF."""
    from fluxsched.twin.trace import write

    written, going, left = write(lives, run, path)
    notes = [f"{plural(going, 'job')} still ran at the end" if going else "",
             f"{plural(left, 'job')} that never started left out" if left else ""]
    click.echo(printable("; ".join([f"{path}: {plural(written, 'job')}", *filter(None, notes)])))


def explain(run: Any, jobid: int, now: float) -> None:
    """Why a job waits."""
    from fluxsched.cli.why import running, text
    from fluxsched.twin.explain import why

    answer = why(run.engine, jobid, now)
    name = show_id(jobid)
    for line in text(name, answer) if answer["state"] == "waiting" else [running(name, answer)]:
        click.echo(printable(line))


def go_on(folder: str, name: str, options: str, begin: Optional[float]) -> None:
    """The table of what another policy would have done."""
    from fluxsched.policy.loader import load_plugin
    from fluxsched.policy.names import choose
    from fluxsched.twin.onward import onward

    choice = choose(name, options)
    found = onward(folder, load_plugin(choice.plugin, choice.options), begin)
    columns = (found.recorded, found.other)
    heads = ("", f"recorded ({found.recorded.policy})", printable(name))
    rows = [
        ["jobs started", *(f"{column.started:,}" for column in columns)],
        ["mean wait", *(duration(column.mean) for column in columns)],
        ["95th percentile of waits", *(duration(column.late) for column in columns)],
        ["core hours used", *(f"{column.used / 3600:,.2f}" for column in columns)],
    ]
    click.echo(f"{plural(found.jobs, 'job')} from {stamp(found.begin)} to {stamp(found.end)}:")
    for line in table.lines(heads, rows, right=heads[1:]):
        click.echo(line)
