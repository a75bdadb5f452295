# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""``flux sched shadow``: what the policies of ``shadow=NAME,...`` would have done so far."""
from __future__ import annotations

import json
from typing import Any, Optional

import click

from fluxsched.cli import table
from fluxsched.cli.instance import ask, connect
from fluxsched.formats.quote import printable
from fluxsched.formats.words import clock, plural


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON.")
def shadow(as_json: bool) -> None:
    """What the policies that follow the live one (shadow=NAME,... at load) would have done so far.

    A job runs in a shadow for the time that it really ran, so a shadow waits for what is not known yet: UP TO is its
    own time. MEAN WAIT is that of all jobs that have STARTED there. SAVED is by how much the jobs that have started in
    BOTH worlds wait less there, each and in all; with a minus they wait longer. AHEAD are jobs that have started there
    and wait live.
    """
    answer = ask(connect(), "sched.shadow")
    if as_json:
        click.echo(json.dumps(answer))
        return
    for line in text(answer):
        click.echo(line)


def text(a: dict[str, Any]) -> list[str]:
    """The table, and a line for each shadow that has stopped."""
    live, now = a["live"], a["now"]
    wait = "" if live["wait"] is None else f", mean wait {table.duration(live['wait'])}"
    head = f"live since {clock(a['since'], now)}: {plural(live['started'], 'job')} started{wait}"
    if not a["shadows"]:
        return [head, "no shadows: flux module reload sched shadow=NAME,... makes some"]
    heads = ("SHADOW", "UP TO", "STARTED", "MEAN WAIT", "BOTH", "SAVED A JOB", "SAVED IN ALL", "AHEAD")
    rows = [row(found, now) for found in a["shadows"]]
    lines = [head, "", *table.lines(heads, rows, right=heads[2:])]
    for found in a["shadows"]:
        if found["stopped"] is not None:
            lines.append(printable(f"{found['name']} has stopped: {found['stopped']}"))
    return lines


def row(found: dict[str, Any], now: float) -> list[str]:
    """The row of a shadow."""
    behind = now - found["clock"]
    until = "now" if behind < 2 else f"{clock(found['clock'], now)} ({table.duration(behind)} ago)"
    each = None if found["both"] == 0 else found["saved"] / found["both"]
    return [
        found["name"], until if found["stopped"] is None else f"{until}, stopped", str(found["started"]),
        signed(found["wait"]), str(found["both"]), signed(each), signed(found["saved"]), str(found["ahead"]),
    ]


def signed(seconds: Optional[float]) -> str:
    """A duration, with a minus if it is less than none."""
    if seconds is None:
        return "-"
    text = table.duration(abs(seconds))
    return f"-{text}" if seconds < 0 and text != "0s" else text
