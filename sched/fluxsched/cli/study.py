# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux-sched simulate: tables over several seeds, and by class of jobs."""
from __future__ import annotations

import json
import os
from typing import Any, Callable, Sequence

from fluxsched.formats.quote import printable
from fluxsched.simulate import results, study
from fluxsched.simulate.metrics import Result
from fluxsched.simulate.study import Interval

MOST_CLASSES = 20       # rows of a table by class; the rest is in the files

LABELS = {key: label for key, label, _ in results.LINES}
# Measures that are times in s, shares, or numbers of jobs.
_TIMES = ("makespan", "mean_wait", "median_wait", "p95_wait", "max_wait")
_SHARES = ("utilisation", "backfilled_share")


def row_of(name: str, values: Sequence[Interval | None]) -> list[str]:
    """The cells of a row, all in one unit: a mean, and half of its interval where it has one."""
    factor, unit = 1.0, ""
    most = max((abs(value.mean) for value in values if value is not None), default=0.0)
    if name in _TIMES:
        factor, unit = next(((size, f" {text}") for text, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0))
                             if most >= 2 * size), (1.0, " s"))
    elif name in _SHARES:
        factor, unit = 0.01, " %"
    digits = 2 if most / factor < 100 else 1
    return ["-" if value is None else _cell(value.mean / factor, value.half / factor, digits, unit) for value in values]


def _cell(mean: float, half: float, digits: int, unit: str) -> str:
    spread = "" if half != half else f" ± {half:,.{digits}f}"
    return f"{mean:,.{digits}f}{spread}{unit}"


def over_seeds(ran: Sequence[Sequence[Result]]) -> list[list[str]]:
    """Rows of a table: a column for each policy, of whose results over the seeds each member of ran is."""
    measured = [study.over_seeds(of_policy) for of_policy in ran]
    rows = [["", *(of_policy[0].policy for of_policy in ran)],
            ["traces", *(str(len(of_policy)) for of_policy in ran)]]
    for name in study.OVER_SEEDS:
        values = [m.get(name) for m in measured]
        if any(value is not None for value in values):
            rows.append([LABELS[name], *row_of(name, values)])
    return rows


def by_class(ran: Sequence[Sequence[Result]], by: str) -> list[tuple[str, list[list[str]]]]:
    """Tables by class of jobs, one for each measure: its name, and rows; a column for each policy."""
    found = [_class_intervals(of_policy, by) for of_policy in ran]
    names = sorted({name for classes in found for name in classes}, key=lambda name: _place(found, name, by))
    left_out = len(names) - MOST_CLASSES if len(names) > MOST_CLASSES else 0
    tables = []
    for measure in study.BY_CLASS[1:]:
        rows = [[by, "jobs", *(of_policy[0].policy for of_policy in ran)]]
        for name in names[:MOST_CLASSES]:
            values = [classes.get(name, {}).get(measure) for classes in found]
            jobs = max(classes[name]["jobs"].mean for classes in found if name in classes)
            rows.append([name, f"{jobs:,.0f}", *row_of(measure, values)])
        if left_out:
            rows.append([f"and {left_out:,} more", "", *([""] * len(ran))])
        tables.append((LABELS[measure], rows))
    return tables


def _place(found: Sequence[dict[str, dict[str, Any]]], name: str, by: str) -> tuple[float, float]:
    """Where a class stands: users and queues with most jobs first, sizes from small to large."""
    number = float(name.partition("-")[0].replace(",", "")) if name[:1].isdigit() else -1.0
    if by == "size":
        return number, 0.0
    return -max(classes[name]["jobs"].mean for classes in found if name in classes), number


def _class_intervals(of_policy: Sequence[Result], by: str) -> dict[str, dict[str, Any]]:
    """The measures of each class over the seeds, where a class has them."""
    each = [study.measure_by(result, by) for result in of_policy]
    out: dict[str, dict[str, Any]] = {}
    for name in {name for classes in each for name in classes}:
        of_class = [classes[name] for classes in each if name in classes]
        out[name] = {key: study.interval([float(m[key]) for m in of_class if m[key] is not None])
                     for key in study.BY_CLASS if any(m[key] is not None for m in of_class)}
    return out


def show(ran: Sequence[Sequence[Result]], by: str | None, seeds: bool, print_rows: Callable[[list[list[str]]], None],
         ) -> None:
    """Print the tables; seeds: also that of the measures over seeds, which is all that is known of the traces."""
    if seeds:
        print("means over generated traces, ± half the width of their 95 % confidence intervals\n")
        print_rows(over_seeds(ran))
    for title, rows in by_class(ran, by) if by else ():
        print(f"\n{title} by {by}")
        print_rows(rows)


def write(ran: Sequence[Sequence[Result]], by: str | None, folder: str) -> None:
    """Write seeds.json: what each policy ran with, and its measures on each trace with means and intervals.  Raises
    OSError."""
    def pair(value: Interval) -> dict[str, float | None]:
        return {"mean": value.mean, "half": None if value.half != value.half else value.half}

    out = []
    for of_policy in ran:
        entry: dict[str, Any] = {
            "policy": of_policy[0].policy, "plugin": of_policy[0].plugin, "plugin_opts": of_policy[0].options,
            "measures": {name: pair(value) for name, value in study.over_seeds(of_policy).items()},
            "traces": [{key: value for key, value in results.summary(result).items() if key != "timing"}
                       for result in of_policy]}
        if by:
            entry["by"] = {name: {key: pair(value) for key, value in measures.items()}
                           for name, measures in sorted(_class_intervals(of_policy, by).items())}
        out.append(entry)
    with open(os.path.join(folder, results.SEEDS), "w", encoding="utf-8") as file:
        json.dump(out, file, indent=2)
        file.write("\n")


def title(text: str, seeds: int) -> str:
    """What was simulated, for people."""
    return f"{seeds} generated trace{'s' if seeds > 1 else ''}: {printable(text) or 'as generate-trace makes it'}"
