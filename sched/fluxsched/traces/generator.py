# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Synthetic traces after Lublin and Feitelson.

U. Lublin and D. G. Feitelson: The workload on parallel supercomputers: modeling the characteristics of rigid
jobs.  Journal of Parallel and Distributed Computing 63(11), 2003, 1105-1122.

* Size: one processor with some probability; else 2 to the power of a two-stage uniform variable between
  `low` and log2 of the machine, its exponent rounded for most jobs, so that most sizes are powers of two.
* Run time: e to the power of a hyper-gamma variable, whose share of the first (short) gamma falls linearly
  with the size.
* Arrivals: gaps of e to the power of a gamma variable, stretched and squeezed over the day by how many jobs
  come in each half hour (a gamma distribution over the day that begins at half past five).

The model has neither users nor requested times.  Users are drawn by Zipf's law.  Requested times are the run
times, or uniform between the run time and `overestimate` times that (the f-model of Mu'alem and Feitelson,
IEEE TPDS 12(6), 2001).
"""
from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fluxsched.traces.files import MAX_JOBS, TraceError
from fluxsched.traces.trace import MAX_PROCS, Trace, build


class Model(NamedTuple):
    """The published constants of one kind of jobs."""

    serial: float       # probability of one processor
    power2: float       # probability of a power of two among all jobs
    low: float          # log2 of the smallest parallel size, less 0.2 or so
    medium: float       # log2 of the machine less this is where the two stages meet
    low_share: float    # probability of the lower stage
    top: float          # log2 of the machine less this is the largest size
    a1: float           # hyper-gamma of ln(run time): two gammas (shape a, scale b)
    b1: float
    a2: float
    b2: float
    pa: float           # share of the first gamma: pa * size + pb
    pb: float
    arrive_a: float     # gamma of ln(gap), shape times the published rush-to-all ratio
    arrive_b: float
    day_a: float        # gamma of the number of arrivals over the day, in half hours
    day_b: float


MODELS = {
    "batch": Model(0.2927, 0.6686, 1.2, 2.0, 0.875, 0.0, 6.57, 0.823, 639.1, 0.0156, -0.003, 0.6986,
                   6.0415 * 1.0519, 0.8531, 6.1271, 5.2740),
    "interactive": Model(0.1541, 0.625, 1.0, 4.0, 0.705, 1.5, 3.8351, 0.6605, 7.073, 0.6856, -0.0118, 0.9156,
                         6.5510 * 0.9797, 0.6621, 8.9186, 3.6680),
    "all": Model(0.244, 0.576, 0.8, 2.5, 0.86, 0.0, 4.2, 0.94, 312.0, 0.03, -0.0054, 0.78,
                 10.2303 * 1.0225, 0.4871, 8.1737, 3.9631),
}

HALF_HOURS = 48
DAY_BEGINS = 11             # the half hour where the day's gamma distribution begins
LN_RUN_MAX = 12.0           # larger draws are drawn again: about 45 hours
LN_GAP_MAX = 13.0


def generate(jobs: int, procs: int, load: float, seed: int = 0, model: str = "batch", overestimate: float = 1.0,
             users: int = 1) -> Trace:
    """A synthetic trace.

    jobs: number of jobs, from 2 to the most that is read.
    procs: processors of the machine.
    load: offered load, sum(processors * run time) / (procs * time from first to last arrival), which the
        trace has to within the rounding of times to seconds; > 0.
    seed: of numpy's default generator: equal arguments give equal traces.
    model: "batch", "interactive" or "all" (fitted to both without telling them apart).
    overestimate: largest request over run time, >= 1; 1 = requests are exact.
    users: number of users, >= 1.

    Returns a Trace from time 0 (midnight), times in whole seconds, run times >= 1 s.  Raises TraceError.
    """
    for name, value, least, most in (("jobs", jobs, 2, MAX_JOBS), ("procs", procs, 1, MAX_PROCS),
                                     ("users", users, 1, 1_000_000), ("seed", seed, 0, 2**63)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
            raise TraceError(f"{name}: a whole number from {least} to {most} expected, {value!r} found")
    if not 0 < load <= 100:
        raise TraceError(f"load: a number above 0, at most 100, expected, {load!r} found")
    if not 1 <= overestimate <= 1000:
        raise TraceError(f"overestimate: a number from 1 to 1000 expected, {overestimate!r} found")
    if model not in MODELS:
        raise TraceError(f"model: one of {', '.join(MODELS)} expected, {model!r} found")
    constants = MODELS[model]
    rng = np.random.default_rng(seed)
    size = sizes(rng, jobs, procs, constants)
    run = run_times(rng, size, constants)
    work = float((size.astype(np.float64) * run).sum())
    submit = arrivals(rng, jobs, work / (procs * load), constants)
    request = run
    if overestimate > 1:
        request = np.ceil(run * rng.uniform(1.0, overestimate, jobs))
    share = 1.0 / np.arange(1, users + 1)
    user = rng.choice(users, size=jobs, p=share / share.sum()) + 1
    return build({"job_id": np.arange(1, jobs + 1), "submit": submit, "run": run, "procs": size, "request": request,
                  "user": user}, source=f"lublin-{model}", max_procs=int(procs), max_nodes=int(procs))


def sizes(rng: np.random.Generator, jobs: int, procs: int, model: Model) -> np.ndarray:
    """Processors of each job: int64, shape (jobs,), from 1 to `procs`."""
    top = max(math.log2(procs) - model.top, 0.0)
    low = min(model.low, top)
    middle = max(math.log2(procs) - model.medium, low)
    middle = min(middle, top)
    kind = rng.random(jobs)
    lower = rng.random(jobs) <= model.low_share
    u = rng.random(jobs)
    exponent = np.where(lower, low + u * (middle - low), middle + u * (top - middle))
    exponent = np.where(kind <= model.serial + model.power2, np.floor(exponent + 0.5), exponent)
    size = np.floor(2.0**exponent + 0.5)
    size = np.where(kind <= model.serial, 1, size)
    return np.clip(size, 1, procs).astype(np.int64)


def run_times(rng: np.random.Generator, size: np.ndarray, model: Model) -> np.ndarray:
    """Run time of each job in whole seconds, >= 1: float64, the shape of `size`."""
    first = np.clip(model.pa * size + model.pb, 0.0, 1.0)
    out = np.empty(len(size))
    todo = np.arange(len(size))
    while len(todo):
        short = rng.random(len(todo)) <= first[todo]
        draw = rng.gamma(np.where(short, model.a1, model.a2), np.where(short, model.b1, model.b2))
        good = draw <= LN_RUN_MAX
        out[todo[good]] = draw[good]
        todo = todo[~good]
    return np.maximum(np.floor(np.exp(out)), 1.0)


def day_weights(model: Model) -> np.ndarray:
    """Share of the arrivals in each half hour from midnight, mean 1: float64, shape (48,)."""
    weights = np.empty(HALF_HOURS)
    for i in range(DAY_BEGINS, HALF_HOURS + DAY_BEGINS):
        x = np.linspace(i - 0.5, i + 0.5, 65)
        density = np.exp((model.day_a - 1) * np.log(x) - x / model.day_b - math.lgamma(model.day_a)
                         - model.day_a * math.log(model.day_b))
        weights[(i - 1) % HALF_HOURS] = ((density[1:] + density[:-1]) / 2).mean()
    return weights / weights.mean()


def arrivals(rng: np.random.Generator, jobs: int, span: float, model: Model) -> np.ndarray:
    """Arrival times in whole seconds, the last `span` seconds after the first: float64, shape (jobs,), ascending.

    A gap is paid for in points: a half hour of the day costs its weight.  So the daily cycle is a piecewise
    linear map from points to time, and the load is set by scaling the points.
    """
    gap = np.empty(jobs - 1)
    todo = np.arange(jobs - 1)
    while len(todo):
        draw = rng.gamma(model.arrive_a, model.arrive_b, len(todo))
        good = draw <= LN_GAP_MAX
        gap[todo[good]] = draw[good]
        todo = todo[~good]
    points = np.concatenate(([0.0], np.cumsum(np.exp(gap))))
    clock = np.arange(HALF_HOURS + 1) * 1800.0
    paid = np.concatenate(([0.0], np.cumsum(day_weights(model))))
    days, last = divmod(span, 86400.0)
    points *= (days * HALF_HOURS + np.interp(last, clock, paid)) / points[-1]
    day, rest = np.divmod(points, HALF_HOURS)
    return np.round(day * 86400.0 + np.interp(rest, paid, clock))
