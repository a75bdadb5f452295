# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The simulator: a job trace replayed in virtual time by the engine and the plugins of production.

    from fluxsched import simulate
    result = simulate.run("last-month.swf.gz", plugin="easy")
    simulate.measure(result)["mean_wait"]

Pictures are in fluxsched.simulate.plots, which imports matplotlib; queue orders in fluxsched.policy.orders.
"""
from fluxsched.simulate.api import Machine, SimulateError, machine, run, trace_of
from fluxsched.simulate.metrics import Result, bounded_slowdown, measure, queue_length, utilisation
from fluxsched.simulate.study import Interval, interval, measure_by, over_seeds
from fluxsched.traces.generator import generate

__all__ = ["Interval", "Machine", "Result", "SimulateError", "bounded_slowdown", "generate", "interval", "machine",
           "measure", "measure_by", "over_seeds", "queue_length", "run", "trace_of", "utilisation"]
