# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""``flux sched queue``: the waiting jobs in the order in which the policy considers them."""
from __future__ import annotations

import json
from typing import Any

import click

from fluxsched.cli import table
from fluxsched.cli.instance import ask, connect, show_id, username
from fluxsched.formats.words import clock, plural

# Columns for the parts of a score, those that there are: the part's name, the heading, and how it is shown.
PARTS = (
    ("wait", "WAIT", table.duration),
    ("request", "LIMIT", lambda value: table.duration(value) if value else "-"),
    ("cores", "CORES", lambda value: str(int(value))),
    ("age", "AGE", lambda value: f"{value:.1f}"),
    ("size", "SIZE", lambda value: f"{value:.1f}"),
    ("fairshare", "FAIRSHARE", lambda value: f"{value:.1f}"),
    ("usage", "USAGE", lambda value: f"{100 * value:.1f}%"),
)


@click.command()
@click.option("-c", "--count", type=click.IntRange(1, 5000), default=1000, show_default=True,
              help="At most so many jobs.")
@click.option("--json", "as_json", is_flag=True, help="JSON.")
def queue(count: int, as_json: bool) -> None:
    """The waiting jobs in the order in which the policy considers them, with the parts of their scores.

    A higher PRIORITY (of Flux) is ahead of any score; among equal ones the lower SCORE of the queue's order comes
    first, then the job that was submitted earlier. Under order=multifactor AGE, SIZE and FAIRSHARE are what the score
    is made of, each with its weight, and USAGE is the user's part of all recent usage.
    """
    answer = ask(connect(), "sched.queue", count=count)
    if as_json:
        click.echo(json.dumps(answer))
        return
    for line in text(answer):
        click.echo(line)


def text(answer: dict[str, Any]) -> list[str]:
    """The table, and a line with the policy."""
    jobs, now = answer["jobs"], answer["now"]
    order = f", order {answer['order']}" if answer["order"] else ""
    head = f"{answer['plugin']}{order}: {plural(answer['waiting'], 'job')} waiting"
    if len(jobs) < answer["waiting"]:
        head += f", the first {len(jobs)} are shown"
    if not jobs:
        return [head]
    parts = [part for part in PARTS if any(part[0] in job["parts"] for job in jobs)]
    scored = any(job["score"] is not None for job in jobs)
    queues = any(job["queue"] for job in jobs)
    heads = ["JOBID", *(["QUEUE"] if queues else []), "USER", "PRIORITY", *(["SCORE"] if scored else [])]
    heads += [title for _, title, _ in parts]
    heads.append("PLANNED")
    rows = []
    for job in jobs:
        row = [show_id(job["id"]), *([job["queue"]] if queues else []), username(job["userid"]), str(job["priority"])]
        row += ["-" if job["score"] is None else f"{job['score']:.6g}"] if scored else []
        row += [show(job["parts"][name]) if name in job["parts"] else "-" for name, _, show in parts]
        row.append("-" if job["planned"] is None else clock(job["planned"], now))
        rows.append(row)
    return [head, *table.lines(heads, rows, right=("PRIORITY", "SCORE", *(title for _, title, _ in parts)))]
