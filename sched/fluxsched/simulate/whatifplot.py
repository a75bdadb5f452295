# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A picture of what ``sched.whatif`` answers: the waits under each policy."""
from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fluxsched.formats.quote import printable
from fluxsched.simulate.plots import COLOURS, STYLE, time_unit

#: Where a wait is far beyond the median of all, a logarithmic axis shows both.
SPREAD = 50.0


def waits(answer: dict[str, Any], policy: dict[str, Any]) -> np.ndarray:
    """The waits of the jobs that start under a policy, in s from their submission on, ascending."""
    pairs = zip(policy["starts"], answer["t_submit"])
    return np.sort(np.array([max(start - submit, 0.0) for start, submit in pairs if start is not None]))


def draw(answer: dict[str, Any], path: Path, kind: str) -> None:
    """Draw an answer of ``sched.whatif`` that has the starts into a file of a kind: "png" or "svg".  Raises OSError."""
    shown = [policy for policy in answer["policies"] if policy["wait"] is not None]
    curves = [waits(answer, policy) for policy in shown]
    longest = max([float(curve[-1]) for curve in curves], default=60.0)
    unit, unit_name = time_unit(longest)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, max(3.6, 1.6 + 0.42 * len(shown))), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
        _bars(left, shown, unit, unit_name)
        _curves(right, shown, curves, answer["waiting"], unit, unit_name)
        when = time.strftime("%b %d %H:%M", time.localtime(answer["now"]))
        figure.suptitle(f"What if: {answer['waiting']:,} jobs waiting, {answer['running']:,} running on {when}",
                        x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.savefig(path, format=kind, metadata={"Date": None} if kind == "svg" else None)


def _label(policy: dict[str, Any]) -> str:
    return printable(policy["name"])


def _bars(axes: Any, shown: list[dict[str, Any]], unit: float, unit_name: str) -> None:
    """Mean wait, 95th percentile and makespan, a row a policy."""
    for row, policy in enumerate(shown):
        colour = COLOURS[row % len(COLOURS)]
        mean, p95, makespan = policy["wait"]["mean"] / unit, policy["wait"]["p95"] / unit, policy["makespan"] / unit
        axes.plot([mean, p95], [row, row], color=colour, linewidth=1.2, alpha=0.6)
        axes.plot(mean, row, "o", color=colour, markersize=7)
        axes.plot(p95, row, "|", color=colour, markersize=13, markeredgewidth=2)
        axes.plot(makespan, row, "D", markerfacecolor="none", color=colour, markersize=5)
    axes.set_yticks(range(len(shown)), [_label(policy) for policy in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.grid(False, axis="y")
    axes.set_xlabel(unit_name)
    axes.set_title("Wait: mean (dot), p95 (bar); makespan (diamond)")


def _curves(axes: Any, shown: list[dict[str, Any]], curves: list[np.ndarray], waiting: int, unit: float,
            unit_name: str) -> None:
    """The part of the jobs that has started after a wait of so long."""
    every = np.concatenate(curves) if curves else np.zeros(0)
    spread = len(every) and float(every[-1]) > 0 and float(np.max(every)) > SPREAD * max(float(np.median(every)), 1.0)
    for row, (policy, curve) in enumerate(zip(shown, curves)):
        part = np.arange(1, len(curve) + 1) / max(waiting, 1) * 100
        axes.step(np.append(0.0, curve) / unit, np.append(0.0, part), where="post", linewidth=1.4,
                  color=COLOURS[row % len(COLOURS)], label=_label(policy))
    if spread:
        axes.set_xscale("symlog", linthresh=60.0 / unit)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 101)
    axes.set_xlabel(f"wait, {unit_name}")
    axes.set_ylabel("% of the jobs started")
    axes.set_title("Jobs started after a wait of")
    if shown:
        axes.legend(loc="upper left")
