# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What several runs say together: means over generated traces with their confidence intervals, and measures per class
of jobs."""
from __future__ import annotations

import math
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from fluxsched.errors import FluxSchedError
from fluxsched.simulate.metrics import Result, bounded_slowdown, measure
from fluxsched.traces.generator import generate
from fluxsched.traces.trace import Trace

#: What jobs may be divided by.
CLASSES = ("user", "size", "queue")
#: Measures of a class, in the order in which they are shown.
BY_CLASS = ("jobs", "mean_wait", "p95_wait", "mean_bounded_slowdown")
#: Measures that have a mean over seeds.
OVER_SEEDS = ("makespan", "utilisation", "mean_wait", "median_wait", "p95_wait", "max_wait", "mean_bounded_slowdown",
              "mean_queue_length", "backfilled_share", "killed")

# 97.5 % points of Student's distribution for 1 to 9 degrees of freedom.
_QUANTILES = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622)
_NORMAL = 1.959964


class StudyError(FluxSchedError, ValueError):
    """What cannot be studied; the text says what was expected."""


class Interval(NamedTuple):
    """A mean, and half the width of its 95 % confidence interval; NaN: of fewer than two values there is none."""

    mean: float
    half: float


def quantile(freedom: int) -> float:
    """The 97.5 % point of Student's distribution, to three digits."""
    if freedom <= len(_QUANTILES):
        return _QUANTILES[freedom - 1]
    # The first terms of its expansion about the normal one's (Fisher and Cornish, Technometrics 2, 1960).
    z, n = _NORMAL, float(freedom)
    return (z + (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
            + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3))


def interval(values: Sequence[float]) -> Interval:
    """The mean of independent values and its confidence interval, by Student's distribution.  ValueError for none."""
    if not len(values):
        raise ValueError("values: at least one expected")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Interval(mean, float("nan"))
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return Interval(mean, quantile(len(values) - 1) * math.sqrt(variance / len(values)))


def generated(text: str, seeds: int) -> List[Trace]:
    """Traces of seeds 0, 1, … by the generator's arguments: "jobs=2000,procs=128,load=0.9,…"; jobs is 10,000, procs
    128 and load 0.8 unless given.  Raises StudyError, TraceError."""
    chosen: Dict[str, Any] = {"jobs": 10_000, "procs": 128, "load": 0.8}
    kinds: Dict[str, Any] = {"jobs": int, "procs": int, "load": float, "model": str, "overestimate": float,
                             "users": int}
    given = set()
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (word.strip() for word in item.partition("="))
        if not equals or key not in kinds:
            raise StudyError(f"generated trace {item!r}: KEY=VALUE with one of {', '.join(kinds)} expected")
        if key in given:
            raise StudyError(f"generated trace: {key} is given twice")
        given.add(key)
        try:
            chosen[key] = kinds[key](value)
        except ValueError:
            raise StudyError(f"generated trace: {key}={value}: a number expected") from None
    if seeds < 1:
        raise StudyError(f"seeds: a number from 1 expected, {seeds} found")
    return [generate(seed=seed, **chosen) for seed in range(seeds)]


def over_seeds(results: Sequence[Result]) -> Dict[str, Interval]:
    """The measures of one policy on several traces: their means and confidence intervals, by name.  A measure that
    some run does not have is left out."""
    measured = [measure(result) for result in results]
    return {name: interval([float(m[name]) for m in measured]) for name in OVER_SEEDS
            if all(m[name] is not None for m in measured)}


def classes(trace: Trace, by: str) -> List[Tuple[str, np.ndarray]]:
    """The classes of a trace's jobs: their names, and which jobs are of them, bool (n,).

    by: "user" or "queue", in order of their numbers, "unknown" first, by their names if the trace has any; or "size":
    processors, from 1, 2, 3-4, 5-8 on by powers of two.  Raises StudyError.
    """
    if by not in CLASSES:
        raise StudyError(f"by: one of {', '.join(CLASSES)} expected, {by!r} found")
    if by == "size":
        power = np.ceil(np.log2(trace.procs)).astype(np.int64)
        return [(_size(k), power == k) for k in np.unique(power).tolist()]
    column = getattr(trace, by)
    return [("unknown" if number < 0 else trace.label(by, number), column == number)
            for number in np.unique(column).tolist()]


def _size(power: int) -> str:
    most = 2**power
    least = most // 2 + 1
    return str(most) if power < 2 else f"{least:,}-{most:,}"


def measure_by(result: Result, by: str) -> Dict[str, Dict[str, Any]]:
    """The measures BY_CLASS of each class of a result's jobs: jobs, the number of them that started; mean_wait and
    p95_wait (s); mean_bounded_slowdown; None where nothing is to be measured.  Raises StudyError."""
    return {name: _measures(result, which) for name, which in classes(result.trace, by)}


def _measures(result: Result, which: np.ndarray) -> Dict[str, Any]:
    wait = result.wait[which & ~np.isnan(result.start)]
    slow = bounded_slowdown(result.wait, result.execution)[which & ~np.isnan(result.finish)]
    return {"jobs": len(wait), "mean_wait": float(wait.mean()) if len(wait) else None,
            "p95_wait": float(np.percentile(wait, 95)) if len(wait) else None,
            "mean_bounded_slowdown": float(slow.mean()) if len(slow) else None}
