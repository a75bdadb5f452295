# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A picture of the plan that ``sched.plan`` answers: nodes over time, a box a job."""
from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fluxsched.cli.gantt import span
from fluxsched.formats import hostlist
from fluxsched.formats.quote import printable
from fluxsched.simulate.plots import JOB_COLOURS, STYLE, time_unit

LABELS_MAX = 32         # nodes that are named on the axis
NAMED_SHARE = 0.05      # of the width; a narrower box has no name in it


def draw(answer: dict[str, Any], path: Path, kind: str, show_id: Callable[[int], str]) -> None:
    """Draw an answer of ``sched.plan`` into a file of a kind: "png" or "svg".  Raises OSError."""
    hosts = hostlist.decode(answer["nodes"]) if answer["nodes"] else []
    seconds = span(answer)
    unit, unit_name = time_unit(seconds)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, min(max(2.0 + 0.28 * len(hosts), 3.2), 9.0)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for number, job in enumerate(sorted(answer["jobs"], key=lambda job: (job["start"], job["id"]))):
            _job(axes, job, number, answer["now"], seconds, unit, show_id)
        axes.set_xlim(0, seconds / unit)
        axes.set_ylim(len(hosts) or 1, 0)
        step = -(-len(hosts) // LABELS_MAX) or 1
        axes.set_yticks([row + 0.5 for row in range(0, len(hosts), step)], [printable(host) for host in hosts[::step]])
        axes.grid(False, axis="y")
        axes.set_xlabel(f"{unit_name} from {time.strftime('%b %d %H:%M', time.localtime(answer['now']))} on")
        planned = sum(job["state"] == "planned" for job in answer["jobs"])
        axes.set_title(
            f"{len(answer['jobs']) - planned} running, {planned} planned (hatched), {len(answer['unplanned'])} without "
            f"a start: {printable(answer['plugin'])}"
        )
        figure.savefig(path, format=kind, metadata={"Date": None} if kind == "svg" else None)


def _job(axes: Any, job: dict[str, Any], number: int, now: float, seconds: float, unit: float,
         show_id: Callable[[int], str]) -> None:
    """The boxes of a job, with its id where there is room."""
    left = max(job["start"] - now, 0.0)
    right = seconds if job["end"] is None else min(job["end"] - now, seconds)
    if right <= left:
        return
    planned = job["state"] == "planned"
    for first, last in job["runs"]:
        axes.add_patch(Rectangle(
            (left / unit, first + 0.06), (right - left) / unit, last - first + 0.88,
            facecolor=JOB_COLOURS[number % len(JOB_COLOURS)], edgecolor="white", linewidth=0.8,
            alpha=0.75 if planned else 1.0, hatch="//" if planned else None,
        ))
    if right - left >= NAMED_SHARE * seconds and job["runs"]:
        first, last = max(job["runs"], key=lambda run: run[1] - run[0])
        label = axes.text((left + right) / 2 / unit, (first + last + 1) / 2, show_id(job["id"]), ha="center",
                          va="center", fontsize=7.5, color="black", clip_on=True)
        label.set_bbox({"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1.2})
