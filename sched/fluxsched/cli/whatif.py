# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""``flux sched whatif``: what would become of the jobs that are there under other policies."""
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Optional

import click

from fluxsched.cli import table
from fluxsched.cli.instance import ask, connect, show_id, username
from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import printable
from fluxsched.formats.words import plural

NAME_MAX = 16


@click.command()
@click.argument("policies", metavar="POLICY,...")
@click.option("--times", type=click.Choice(["expected", "requested"]), default="expected", show_default=True,
              help="How long jobs run: as their users' earlier jobs let one expect, or as they asked for.")
@click.option("-c", "--count", type=click.IntRange(0, 1000), default=3, show_default=True,
              help="Name so many jobs that gain, and that lose, most.")
@click.option("--json", "as_json", is_flag=True, help="JSON.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Draw the waits into this file, .png or .svg.")
def whatif(policies: str, times: str, count: int, as_json: bool, plot: Optional[Path]) -> None:
    """What would become of the jobs that run and wait now under other policies, beside the present one: easy,
    conservative, hybridN, first-fit, fcfs, each also with +ORDER (easy+saf), the name of a plugin, or a file of one
    (./my.py). Options follow a colon: easy:queue-depth=100.

    Copies of the scheduler are run forward with each policy, and no other jobs come; nothing changes in the scheduler
    itself. A wait counts from the submission. Only the owner of the instance may ask, as a policy has the
    scheduler's rights.
    """
    kind = "" if plot is None else kind_of(plot)
    items = [item(word.strip()) for word in policies.split(",")]
    answer = ask(connect(), "sched.whatif", policies=items, times=times, most=count, starts=plot is not None)
    if plot is not None:
        from fluxsched.simulate.whatifplot import draw

        draw(answer, plot, kind)
    if as_json:
        click.echo(json.dumps(answer))
        return
    for line in text(answer):
        click.echo(line)
    if plot is not None:
        click.echo(f"{plot}: written")


def kind_of(path: Path) -> str:
    """The kind of picture that a file's name tells.  Raises FluxSchedError."""
    kind = path.suffix[1:].lower()
    if kind not in ("png", "svg"):
        raise FluxSchedError(f"--plot {path}: expected a file that ends in .png or .svg")
    return kind


def item(word: str) -> dict[str, str]:
    """What is sent of a policy: a plugin in Python by its text, as the scheduler may be on another node; another file
    by its absolute path.  Raises FluxSchedError."""
    file, colon, options = word.partition(":")
    if not file.endswith((".py", ".so")):
        return {"name": word}
    if file.endswith(".so"):
        return {"name": os.path.abspath(file) + colon + options}
    try:
        return {"name": word, "source": Path(file).read_text(encoding="utf-8")}
    except OSError as error:
        raise FluxSchedError(f"{file}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise FluxSchedError(f"{file}: expected the text of a plugin, in UTF-8") from None


def text(a: dict[str, Any]) -> list[str]:
    """The table, and below it for each policy who gains and loses."""
    present = a["policies"][0]
    found = [f"{plural(a['waiting'], 'job')} waiting, {a['running']} running; {assumed(a)}"]
    rows = [row(policy, a["waiting"]) for policy in a["policies"]]
    heads = ("POLICY", "STARTED", "MEAN WAIT", "P95 WAIT", "MAKESPAN", "SOONER", "LATER")
    found += ["", *table.lines(heads, rows, right=heads[1:])]
    lines = [f"present: {plugin(present)}"]
    for policy in a["policies"]:
        if policy["problem"] is not None:
            lines.append(f"{policy['name']}: {policy['problem']}")
        elif policy["against"] is not None:
            lines += changes(policy)
    return [*found, "", *map(printable, lines)]


def assumed(a: dict[str, Any]) -> str:
    """What the runs assume, in words."""
    if a["times"] == "requested":
        return "each runs as long as it asked for"
    if a["plans"] == "expected":
        return "each runs as long as is expected, and the policies plan with that"
    return "each runs as long as is expected"


def plugin(policy: dict[str, Any]) -> str:
    """A policy's plugin and its options."""
    return " ".join([policy["plugin"], *(f"{key}={value}" for key, value in policy["options"].items())])


def row(policy: dict[str, Any], waiting: int) -> list[str]:
    """The row of a policy."""
    name = policy["name"]
    if policy["problem"] is not None:
        return [name, *["-"] * 6]
    started, wait, against = policy["started"], policy["wait"], policy["against"]
    waits = ["-", "-"] if wait is None else [span(wait["mean"]), span(wait["p95"])]
    counts = ["", ""] if against is None else [str(against["sooner"]), str(against["later"])]
    return [name, str(started) if started == waiting else f"{started} of {waiting}", *waits,
            span(policy["makespan"]), *counts]


def span(seconds: float) -> str:
    """A duration; a short one to the tenth of a second."""
    return f"{seconds:.1f}s" if 0 < seconds < 10 else table.duration(seconds)


def changes(policy: dict[str, Any]) -> list[str]:
    """The jobs that gain and lose most under a policy."""
    found = []
    for key, word, never in (("gain", "sooner", "instead of never"), ("lose", "later", "never")):
        named = [
            f"{job_name(job)} {never if job['seconds'] is None else 'by ' + span(job['seconds'])}"
            for job in policy["against"][key]
        ]
        if named:
            found.append(f"{policy['name']}: start {word}, most: {', '.join(named)}")
    return found or [f"{policy['name']}: no job starts sooner or later"]


def job_name(job: dict[str, Any]) -> str:
    """A job, with its user and name."""
    name = job["name"] if len(job["name"]) <= NAME_MAX else job["name"][:NAME_MAX - 1] + "+"
    return f"{show_id(job['id'])} ({' '.join(word for word in (username(job['userid']), name) if word)})"
