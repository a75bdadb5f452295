# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pictures of results, as PNG and SVG, drawn without a display."""
from __future__ import annotations

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
MOST_BOXES = 200_000        # above this a Gantt chart shows how busy each patch is, not single jobs
BINS = 1200                 # columns of a curve or patch over time, about the pixels of the picture
COARSE = 150                # the same where several curves overlap

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
    """Boxes of processors by time, a colour a job; or, where they were not recorded, how many are in use."""
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
        rows = min(result.procs, 512)
        image = np.zeros((rows + 1, BINS + 1))
        span = (result.ended - begin) / unit
        x0 = np.clip((left / span * BINS).astype(int), 0, BINS - 1)
        x1 = np.clip(np.ceil(right / span * BINS).astype(int), 1, BINS)
        # Each box adds its share of a patch; corners of a two-dimensional sum.
        y0, y1 = first * rows // result.procs, np.minimum(last * rows // result.procs + 1, rows)
        share = (right - left) / span * BINS / (x1 - x0) * (last + 1 - first) / result.procs * rows / (y1 - y0)
        for y, x, sign in ((y0, x0, 1), (y0, x1, -1), (y1, x0, -1), (y1, x1, 1)):
            np.add.at(image, (y, x), sign * share)
        image = np.clip(image.cumsum(0).cumsum(1)[:rows, :BINS], 0, 1)
        picture = axes.imshow(image, origin="lower", aspect="auto", cmap="Blues", vmin=0, vmax=1,
                              extent=(0, span, 0, result.procs), interpolation="nearest")
        axes.figure.colorbar(picture, ax=axes, label="share in use", pad=0.01)
    axes.set_title(printable(f"Jobs on processors: {result.policy}, {len(started):,} jobs of {result.trace.source}"))
    axes.set_ylim(0, result.procs)
    axes.set_ylabel("processor")
    axes.grid(False)


def _wait_distribution(axes: Any, results: Sequence[Result]) -> None:
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
    axes.legend(loc="best")


def _colours(n: int) -> List[str]:
    return [COLOURS[k % len(COLOURS)] for k in range(n)]


def _looks(n: int) -> List[Dict[str, str]]:
    """Colour and line style of each of n curves; no two look alike up to 32."""
    styles = ("-", "--", ":", "-.")
    return [{"color": colour, "linestyle": styles[k // len(COLOURS) % len(styles)]}
            for k, colour in enumerate(_colours(n))]


def _draw_load(axes: Any, results: Sequence[Result], begin: float, end: float, unit: float, filled: bool) -> None:
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
    for result, look in zip(results, _looks(len(results))):
        _draw_steps(axes, *queue_length(result), begin, end, unit, look, result.policy, filled)
    axes.set_title("Jobs waiting")
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
        figure = _figure(12, 9)
        grid = figure.add_gridspec(3, 3, height_ratios=[1.25, 1, 1])
        _wait_distribution(figure.add_subplot(grid[0, :2]), results)
        bars = figure.add_subplot(grid[0, 2])
        _bars(bars, results)
        queue = figure.add_subplot(grid[1, :])
        _draw_queue(queue, results, begin, end, unit, False)
        load = figure.add_subplot(grid[2, :], sharex=queue)
        _draw_load(load, results, begin, end, unit, False)
        load.set_xlim(0, (end - begin) / unit)
        load.set_xlabel(f"time in {name}")
        return _save(figure, folder, "compare")


def _bars(axes: Any, results: Sequence[Result]) -> None:
    """Mean wait of each policy, with its bounded slowdown as text."""
    measured = [measure(result) for result in results]
    wait = np.array([m["mean_wait"] or 0.0 for m in measured])
    unit, name = time_unit(float(wait.max()))
    place = np.arange(len(results))[::-1]
    axes.barh(place, wait / unit, color=_colours(len(results)), height=0.65)
    most = float(wait.max()) / unit or 1.0
    for y, w, m in zip(place, wait / unit, measured):
        slowdown = m["mean_bounded_slowdown"]
        text = f"{w:.3g}" + ("" if slowdown is None else f"  (slowdown {slowdown:,.{1 if slowdown < 100 else 0}f})")
        inside = w > 0.55 * most
        axes.text(w - 0.02 * most if inside else w + 0.02 * most, y, text, va="center",
                  ha="right" if inside else "left", color="white" if inside else "black", fontsize=8)
    axes.set_yticks(place, [result.policy for result in results])
    axes.set_xlim(0, most * 1.05)
    axes.set_title(f"Mean wait in {name}")
    axes.grid(False, axis="y")
