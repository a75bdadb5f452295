# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pictures of results, as PNG and SVG, drawn without a display."""
from __future__ import annotations

import math
import os
from typing import Any, Dict, List, Sequence, Tuple

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from fluxsched.formats.quote import printable
from fluxsched.simulate.metrics import Result, measure, queue_length, utilisation

# Okabe and Ito's colours, told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")
JOB_COLOURS = ("#4477AA", "#66CCEE", "#228833", "#CCBB44", "#EE6677", "#AA3377", "#8899BB", "#99AA77", "#CC8866")
MOST_BOXES = 3000           # above this the eye cannot part jobs: the load of the processors is drawn instead
FACTOR = 20.0               # values that differ by more than this have a logarithmic axis
NAME = 26                   # letters of a policy's name beside an axis
BINS = 1200                 # columns of a curve or patch over time, about the pixels of the picture
COARSE = 150                # the same where several curves overlap
PATCHES = (64, 300)         # rows and columns of the load of processors, at the most
MOST_CURVES = 4             # above this, curves of the processors in use hide one another

STYLE: Dict[str, Any] = {
    "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6, "axes.axisbelow": True, "legend.frameon": False, "svg.hashsalt": "flux-sched",
    "savefig.dpi": 120,
}


def time_unit(span: float) -> Tuple[float, str]:
    """The unit in which a span of seconds is shown: its seconds, and its name."""
    for size, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if span >= 3 * size:
            return size, name
    return 1.0, "seconds"


def binned(time: np.ndarray, value: np.ndarray, begin: float, end: float,
           bins: int = BINS) -> Tuple[np.ndarray, np.ndarray]:
    """Mean of a step function in `bins` equal parts of [begin, end]: edges (bins+1,) and means (bins,).

    time, value: (m,), each value holding until the next time; zero before the first.
    """
    area = np.concatenate(([0.0], np.cumsum(value[:-1] * np.diff(time))))
    edges = np.linspace(begin, end, bins + 1)
    at = np.interp(edges, time, area)
    width = (end - begin) / bins
    return edges, np.diff(at) / width if width > 0 else np.zeros(bins)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, folder: str, name: str) -> List[str]:
    os.makedirs(folder, exist_ok=True)
    paths = [os.path.join(folder, f"{name}.{kind}") for kind in ("png", "svg")]
    figure.savefig(paths[0])
    figure.savefig(paths[1], metadata={"Date": None})
    return paths


def _span(results: Sequence[Result]) -> Tuple[float, float, float, str]:
    begin = min(float(r.trace.submit[0]) for r in results)
    end = max(r.ended for r in results)
    unit, name = time_unit(end - begin)
    return begin, max(end, begin + 1.0), unit, name


def _draw_steps(axes: Any, time: np.ndarray, value: np.ndarray, begin: float, end: float, unit: float,
                look: Dict[str, str], label: str, filled: bool) -> None:
    if len(time) < 4 * BINS:
        x, y = np.append(time, end), np.append(value, value[-1:])
    else:                      # more steps than pixels: the mean of each pixel
        edges, mean = binned(time, value, begin, end)
        x, y = edges, np.append(mean, mean[-1])
    x = (x - begin) / unit
    if filled:
        axes.fill_between(x, y, step="post", color=look["color"], alpha=0.25, linewidth=0)
    axes.step(x, y, where="post", linewidth=0.9, label=label, **look)


def _gantt(axes: Any, result: Result, begin: float, unit: float) -> None:
    """Boxes of processors by time, a colour a job; or, where they are too many, how busy the processors are."""
    started = np.flatnonzero(~np.isnan(result.start))
    end = np.where(np.isnan(result.finish), result.ended, result.finish)
    assert result.offset is not None and result.first is not None and result.last is not None
    count = np.diff(result.offset)
    job = np.repeat(np.arange(len(count)), count)
    keep = ~np.isnan(result.start[job]) & (end[job] > result.start[job])
    job, first, last = job[keep], result.first[:len(keep)][keep], result.last[:len(keep)][keep]
    left, right = (result.start[job] - begin) / unit, (end[job] - begin) / unit
    if len(job) <= MOST_BOXES:
        low, high = first.astype(float), last + 1.0
        boxes = np.stack([np.stack([left, low], 1), np.stack([right, low], 1), np.stack([right, high], 1),
                          np.stack([left, high], 1)], 1)
        colours = [JOB_COLOURS[k % len(JOB_COLOURS)] for k in job.tolist()]
        edge = 0.3 if len(job) < 1500 else 0.0
        axes.add_collection(PolyCollection(list(boxes), facecolors=colours, edgecolors="white", linewidths=edge,
                                           rasterized=len(job) > 1500))
    else:
        span = (result.ended - begin) / unit
        image = patches(left / span, right / span, first / result.procs, (last + 1) / result.procs,
                        min(result.procs, PATCHES[0]), PATCHES[1])
        _shade(axes, image, (0, span, 0, result.procs))
    what = "Jobs on processors" if len(job) <= MOST_BOXES else "Load of processors"
    axes.set_title(printable(f"{what}: {result.policy}, {len(started):,} jobs of {result.trace.source}"))
    axes.set_ylim(0, result.procs)
    axes.set_ylabel("processor")
    axes.grid(False)


def _wait_distribution(axes: Any, results: Sequence[Result], legend: bool = True) -> None:
    """How many jobs wait how long.  legend: the axes have one, too."""
    longest = 1.0
    lowest = 1.0
    for result, look in zip(results, _looks(len(results))):
        wait = np.sort(result.wait[~np.isnan(result.wait)])
        if not len(wait):
            continue
        share = np.arange(1, len(wait) + 1) / len(wait)
        step = max(len(wait) // 4000, 1)
        chosen = np.unique(np.append(np.arange(0, len(wait), step), len(wait) - 1))
        longest = max(longest, wait[-1])
        none = float((wait <= 0).mean())
        lowest = min(lowest, none)
        digits = 2 if 0.99 < none < 1 else 0
        axes.step(np.append(np.maximum(wait[chosen], 0.5), [1e12]), np.append(share[chosen], [1.0]), where="post",
                  **look, linewidth=1.3, label=f"{result.policy}: {100 * none:.{digits}f} % do not wait")
    axes.set_xscale("log")
    axes.set_xlim(0.8, max(longest * 1.3, 100.0))
    ticks = [(1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min"), (3600, "1 h"), (6 * 3600, "6 h"), (86400, "1 d"),
             (3 * 86400, "3 d"), (7 * 86400, "1 w"), (30 * 86400, "30 d"), (365 * 86400, "1 y")]
    ticks = [(at, label) for at, label in ticks if at <= max(longest * 1.3, 100.0)]
    axes.set_xticks([at for at, _ in ticks], [label for _, label in ticks])
    axes.minorticks_off()
    axes.set_ylim(max(lowest - 0.05, 0.0) if lowest > 0.5 else 0.0, 1.005)
    axes.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
    axes.set_title("Wait")
    axes.set_ylabel("jobs that wait no longer")
    axes.set_xlabel("wait")
    if legend:
        axes.legend(loc="best")


def patches(left: np.ndarray, right: np.ndarray, low: np.ndarray, high: np.ndarray, rows: int,
            columns: int) -> np.ndarray:
    """How much of each patch of the unit square is covered by boxes that do not overlap: (rows, columns), 0 to 1.

    left, right, low, high: (n,), the boxes' sides, 0 to 1.
    """
    # The area that a box covers left of x and below y is a sum, over its corners (a, b), of (x - a) (y - b) where both
    # are positive: at the corners of patches, sums of 1, a, b and a b.
    sums = np.zeros((4, (rows + 1) * (columns + 1)))
    for a, b, sign in ((left, low, 1.0), (left, high, -1.0), (right, low, -1.0), (right, high, 1.0)):
        at = np.clip(np.ceil(b * rows), 0, rows) * (columns + 1) + np.clip(np.ceil(a * columns), 0, columns)
        for k, weight in enumerate((np.ones(len(a)), a, b, a * b)):
            sums[k] += sign * np.bincount(at.astype(np.int64), weight, sums.shape[1])
    count, of_a, of_b, of_ab = sums.reshape(4, rows + 1, columns + 1).cumsum(1).cumsum(2)
    x, y = np.arange(columns + 1) / columns, np.arange(rows + 1)[:, None] / rows
    covered = count * x * y - of_a * y - of_b * x + of_ab
    return np.clip(np.diff(np.diff(covered, axis=0), axis=1) * rows * columns, 0, 1)


def _shade(axes: Any, image: np.ndarray, extent: Tuple[float, float, float, float]) -> None:
    """Patches by the share in use; row 0 of the image is the lowest."""
    picture = axes.imshow(image, origin="lower", aspect="auto", cmap="Blues", vmin=0, vmax=1, extent=extent,
                          interpolation="nearest")
    bar = axes.figure.colorbar(picture, ax=axes, label="in use", pad=0.01)
    bar.ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
    axes.grid(False)


def _far_apart(values: Sequence[float]) -> bool:
    """Whether positive values differ by so much that the small ones are lost on a linear axis."""
    positive = [value for value in values if value > 0]
    return len(positive) > 1 and max(positive) > FACTOR * min(positive)


def _short(name: str) -> str:
    return name if len(name) <= NAME else name[:NAME - 1] + "…"


def _colours(n: int) -> List[str]:
    return [COLOURS[k % len(COLOURS)] for k in range(n)]


def _looks(n: int) -> List[Dict[str, str]]:
    """Colour and line style of each of n curves; no two look alike up to 32."""
    styles = ("-", "--", ":", "-.")
    return [{"color": colour, "linestyle": styles[k // len(COLOURS) % len(styles)]}
            for k, colour in enumerate(_colours(n))]


def _draw_load(axes: Any, results: Sequence[Result], begin: float, end: float, unit: float, filled: bool) -> None:
    """Processors in use over time: a curve for each policy, or a row of shades where curves are too many."""
    if len(results) > MOST_CURVES:
        rows = [binned(*utilisation(result), begin, end, PATCHES[1])[1] for result in results]
        _shade(axes, np.array(rows[::-1]), (0, (end - begin) / unit, 0, len(results)))
        axes.set_yticks(np.arange(len(results))[::-1] + 0.5, [printable(_short(result.policy)) for result in results])
        axes.set_title("Processors in use")
        return
    for result, look in zip(results, _looks(len(results))):
        time, share = utilisation(result)
        if len(results) > 1:          # lines over one another are only readable as means
            time, share = binned(time, share, begin, end, COARSE)
            time = time[:-1]
        _draw_steps(axes, time, share, begin, end, unit, look, result.policy, filled)
    axes.set_title("Processors in use" if len(results) == 1 else f"Processors in use (means of 1/{COARSE} of the time)")
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")


def _draw_queue(axes: Any, results: Sequence[Result], begin: float, end: float, unit: float, filled: bool) -> None:
    longest, mean = 0.0, []
    for result, look in zip(results, _looks(len(results))):
        time, length = queue_length(result)
        longest = max(longest, float(length.max()))
        mean.append(measure(result)["mean_queue_length"] or 0.0)
        _draw_steps(axes, time, length, begin, end, unit, look, result.policy, filled)
    axes.set_title("Jobs waiting")
    if len(results) > 1 and _far_apart(mean):
        axes.set_yscale("symlog", linthresh=1.0)
        axes.set_ylim(0, 1.5 * longest)
        axes.yaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
        return
    axes.set_ylim(0, max(axes.get_ylim()[1], 1.0))
    axes.yaxis.get_major_locator().set_params(integer=True)


def plot(result: Result, folder: str) -> List[str]:
    """Draw gantt, load (utilisation and queue length over time) and wait, each .png and .svg; gives the paths."""
    with mpl.rc_context(STYLE):
        begin, end, unit, name = _span([result])
        paths = []
        if result.offset is not None:
            figure = _figure(11, 5)
            axes = figure.subplots()
            _gantt(axes, result, begin, unit)
            axes.set_xlim(0, (end - begin) / unit)
            axes.set_xlabel(f"time in {name}")
            paths += _save(figure, folder, "gantt")
        figure = _figure(11, 5)
        top, bottom = figure.subplots(2, 1, sharex=True)
        _draw_load(top, [result], begin, end, unit, True)
        _draw_queue(bottom, [result], begin, end, unit, True)
        bottom.set_xlim(0, (end - begin) / unit)
        bottom.set_xlabel(f"time in {name}")
        paths += _save(figure, folder, "load")
        figure = _figure(7, 4)
        _wait_distribution(figure.subplots(), [result])
        paths += _save(figure, folder, "wait")
        return paths


def compare(results: Sequence[Result], folder: str) -> List[str]:
    """Draw one figure, compare.png and .svg, of several runs over the same trace; gives the paths."""
    with mpl.rc_context(STYLE):
        begin, end, unit, name = _span(results)
        columns = 3 if max(len(result.policy) for result in results) <= 24 else 2
        figure = _figure(12, 9 + 0.22 * max(len(results) - 4, 0))
        grid = figure.add_gridspec(3, 3, height_ratios=[1.25 + 0.07 * max(len(results) - 4, 0), 1, 1])
        waits = figure.add_subplot(grid[0, :2])
        _wait_distribution(waits, results, legend=False)
        bars = figure.add_subplot(grid[0, 2])
        _bars(bars, results)
        queue = figure.add_subplot(grid[1, :])
        _draw_queue(queue, results, begin, end, unit, False)
        load = figure.add_subplot(grid[2, :], sharex=queue)
        _draw_load(load, results, begin, end, unit, False)
        load.set_xlim(0, (end - begin) / unit)
        load.set_xlabel(f"time in {name}")
        # One for all panels, outside them, so that it hides no curve.
        lines, labels = waits.get_legend_handles_labels()
        figure.legend(lines, [printable(label) for label in labels], loc="outside lower center", ncols=columns)
        return _save(figure, folder, "compare")


def _bars(axes: Any, results: Sequence[Result]) -> None:
    """Mean wait of each policy, with its bounded slowdown as text."""
    measured = [measure(result) for result in results]
    wait = np.array([m["mean_wait"] or 0.0 for m in measured])
    unit, name = time_unit(float(wait.max()))
    place = np.arange(len(results))[::-1]
    value = wait / unit
    most = float(value.max()) or 1.0
    least = 0.0
    if _far_apart(value.tolist()):
        least = float(value[value > 0].min()) / 3
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
    axes.barh(place, np.maximum(value - least, 0.0), left=least, color=_colours(len(results)), height=0.65)
    for y, w, m in zip(place, value, measured):
        slowdown = m["mean_bounded_slowdown"]
        text = f"{w:.3g}" + ("" if slowdown is None else f"  (slowdown {slowdown:,.{1 if slowdown < 100 else 0}f})")
        far = math.log(max(w, least) / least) > 0.6 * math.log(most / least) if least else w > 0.55 * most
        axes.annotate(text, (max(w, least), y), xytext=(-4 if far else 4, 0), textcoords="offset points", va="center",
                      ha="right" if far else "left", color="white" if far else "black", fontsize=8)
    axes.set_yticks(place, [printable(_short(result.policy)) for result in results])
    axes.set_xlim(least, most * (1.3 if least else 1.05))
    axes.set_title(f"Mean wait in {name}")
    axes.grid(False, axis="y")
