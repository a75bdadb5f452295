# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""``flux sched stats``: what the scheduler has done, and what it costs."""
from __future__ import annotations

import json
from typing import Any

import click

from fluxsched.cli import table
from fluxsched.cli.instance import ask, connect


@click.command()
@click.option("--prometheus", "form", flag_value="prometheus", help="The text format of Prometheus.")
@click.option("--json", "form", flag_value="json", help="JSON, as flux module stats sched has it.")
def stats(form: str | None) -> None:
    """Passes, times, depth and what there is now, since the scheduler was loaded or its statistics were cleared."""
    answer = ask(connect(), "sched.stats", format="prometheus" if form == "prometheus" else "json")
    if form == "prometheus":
        click.echo(answer["text"], nl=False)
    elif form == "json":
        click.echo(json.dumps(answer))
    else:
        for line in table.lines(("", ""), rows(answer))[1:]:
            click.echo(line)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3f} ms" if seconds < 1 else f"{seconds:.3f} s"


def rows(a: dict[str, Any]) -> list[tuple[str, str]]:
    """The table's rows: what, and how much."""
    jobs, counts, passes = a["jobs"], a["counts"], a["pass"]
    found = [
        ("policy", a["plugin"]),
        ("jobs", f"{jobs['pending']} waiting, {jobs['committing']} starting, {jobs['running']} running"),
        ("requests", f"{counts['alloc']} for resources, {counts['free']} to free them"),
        ("answers", f"{counts['success']} started, {counts['deny']} denied, {counts['cancel']} cancelled, "
                    f"{counts['annotate']} annotations"),
        ("passes", f"{passes['count']} in {passes['slices']} slices"),
        ("time of a pass", f"{_ms(passes['mean'])} mean, {_ms(passes['max'])} longest"),
        ("longest slice", _ms(passes["longest_slice"])),
        ("time in passes", f"{passes['seconds']:.3f} s"),
        ("forecasts", f"{a['forecast']['count']} in {a['forecast']['seconds']:.3f} s, longest slice "
                      f"{_ms(a['forecast']['longest_slice'])}"),
        ("questions", f"{a['when']['count']} (when, plan) in {a['when']['seconds']:.3f} s"),
        ("processor time", f"{a['cpu']:.3f} s"),
        ("errors logged", str(counts["errors"])),
    ]
    engine = a.get("engine")
    if engine is not None:
        nodes, cores = engine["nodes"], engine["cores"]
        depth = engine["considered"] / engine["passes"] if engine["passes"] else 0.0
        found += [
            ("depth", f"{depth:.1f} jobs considered in a pass"),
            ("backfilled", f"{engine['backfilled']} of {engine['started']} started"),
            ("nodes", f"{nodes['all']}, {nodes['up']} up, {nodes['idle']} idle"),
            ("cores", f"{cores['free']} of {cores['up']} free"),
        ]
    return found
