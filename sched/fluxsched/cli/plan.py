# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""``flux sched plan``: the whole future, as a table and as a chart of nodes over time."""
from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Optional

import click

from fluxsched.cli import gantt, table
from fluxsched.cli.instance import ask, connect, show_id, username
from fluxsched.formats import duration
from fluxsched.formats.words import clock, plural

CLEAR = "\x1b[H\x1b[2J"


class Until(click.ParamType):
    """A time: seconds since the epoch, or a duration from now on, such as +2h or 2h."""

    name = "TIME"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> float:
        """Read one; a time of the clock is more than a year of seconds."""
        try:
            seconds = duration.parse(value.lstrip("+"))
        except duration.DurationError as error:
            self.fail(str(error), param, ctx)
        if not seconds < 9e12 - 1:
            self.fail(f"{value}: expected a time before the year 287000", param, ctx)
        plain = value.replace(".", "", 1).isdigit()
        return seconds if plain and seconds > 366 * 86400 else time.time() + seconds


@click.command()
@click.option("--until", type=Until(), help="Up to then: 2h from now, or seconds since the epoch.")
@click.option("-c", "--count", type=click.IntRange(0, 2**31 - 1), default=50, show_default=True,
              help="At most so many jobs in the table; 0: all.")
@click.option("--json", "as_json", is_flag=True, help="JSON.")
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Draw the chart into this file.")
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="The same, as SVG.")
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option("--interval", type=click.FloatRange(0.2, 3600.0), default=2.0, show_default=True,
              help="Seconds from one picture to the next.")
def plan(until: Optional[float], count: int, as_json: bool, png: Optional[Path], svg: Optional[Path], watch: bool,
         interval: float) -> None:
    """Which jobs run when, and on which nodes, if all take the time that they asked for and no other comes.

    The policy is run forward on a copy of what there is. Jobs are in order of their start; those that no start can be
    told for come last, with the reason. In the chart each job has a letter, rows are nodes (or as many as fit), and a
    column is a span of time: several jobs on a node are a *, and where a row is several nodes, shades tell how many of
    them are busy.
    """
    instance = connect()
    while True:
        answer = ask(instance, "sched.plan", until=until)
        if as_json:
            click.echo(json.dumps(answer))
        elif png is None and svg is None:
            if watch and sys.stdout.isatty():
                click.echo(CLEAR, nl=False)
            for line in text(answer, count):
                click.echo(line)
        for path in (png, svg):
            if path is not None:
                _draw(answer, path, "png" if path is png else "svg")
        if not watch:
            return
        sys.stdout.flush()
        time.sleep(interval)


def _draw(answer: dict[str, Any], path: Path, kind: str) -> None:
    from fluxsched.simulate.planplot import draw

    draw(answer, path, kind, show_id)
    click.echo(f"{path}: written")


def text(a: dict[str, Any], count: int) -> list[str]:
    """The chart, and the table below it."""
    size = shutil.get_terminal_size((100, 40))
    jobs = sorted(a["jobs"], key=lambda job: (job["start"], job["id"]))
    keys = gantt.letters(jobs)
    found = gantt.chart(a, keys, width=size.columns, height=min(24, max(8, size.lines // 2)))
    running = sum(job["state"] == "running" for job in jobs)
    left = "without a start" if a["until"] is None else f"later than {clock(a['until'], a['now'])} or never"
    found += ["", f"{plural(running, 'job')} running, {len(jobs) - running} planned, {len(a['unplanned'])} {left} "
                  f"({a['plugin']})"]
    rows = [_row(keys[job["id"]], job, a["now"]) for job in jobs]
    rows += [["", *_names(job), "-", "-", job["reason"] or ""] for job in a["unplanned"]]
    more = len(rows) - count if count and len(rows) > count else 0
    if rows:
        found += table.lines(("", "JOBID", "USER", "NAME", "START", "END", "NODES"), rows[:len(rows) - more])
    if more:
        found.append(f"and {plural(more, 'other')}: -c 0 shows all")
    return found


def _names(job: dict[str, Any]) -> list[str]:
    name = job["name"] if len(job["name"]) <= 16 else job["name"][:15] + "+"
    return [show_id(job["id"]), username(job["userid"]), name]


def _row(key: str, job: dict[str, Any], now: float) -> list[str]:
    end = "-" if job["end"] is None else clock(job["end"], now)
    nodes = job["nodes"] if len(job["nodes"]) <= 40 else job["nodes"][:39] + "…"
    start = clock(job["start"], now) if job["state"] == "planned" else f"({clock(job['start'], now)})"
    return [key, *_names(job), start, end, nodes]


