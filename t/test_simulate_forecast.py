# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is foretold in a simulation, and how it is measured."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fluxsched.simulate import api
from fluxsched.simulate.forecast import accuracy
from fluxsched.simulate.metrics import Foretold
from fluxsched.traces import generator
from test_simulate_cli import command


def test_forecasts_that_come_true():
    """Under FCFS with exact run times later arrivals change nothing."""
    trace = generator.generate(400, 32, 0.6, seed=3, users=5)
    result = api.run(trace, procs=32, plugin="fcfs", forecast=0)
    told = result.foretold
    assert np.array_equal(told.estimate, result.start)
    plain = api.run(trace, procs=32, plugin="fcfs")
    assert plain.foretold is None and np.array_equal(plain.start, result.start)
    (what, of_all), (_, waited) = accuracy(result)
    assert what == "all jobs" and of_all["jobs"] == 400 and 0 < waited["jobs"] < 400
    assert waited["estimate within 1 min"] == waited["estimate held"] == 1.0 and waited["estimate error"] == 0.0


@pytest.mark.parametrize("plugin", ["easy", "conservative", "fcfs", "hybrid4+sjf"])
def test_forecasts_are_made_for_some_or_all(plugin):
    trace = generator.generate(300, 32, 0.8, seed=1, overestimate=3.0, users=5)
    result = api.run(trace, procs=32, plugin=plugin, forecast=0)
    assert not np.isnan(result.foretold.estimate).any()
    assert np.array_equal(result.start, api.run(trace, procs=32, plugin=plugin).start)
    assert (result.foretold.likely <= result.foretold.late).all()
    some = api.run(trace, procs=32, plugin=plugin, forecast=50)
    assert (~np.isnan(some.foretold.estimate)).sum() == 50
    # A forecast of one job is what it is, whoever else is foretold.
    chosen = ~np.isnan(some.foretold.estimate)
    assert np.array_equal(some.foretold.estimate[chosen], result.foretold.estimate[chosen])


def test_measures():
    jobs = api.trace_of([0] * 5, [10] * 5, [1] * 5)
    result = api.run(jobs, procs=1, plugin="fcfs", forecast=0)
    start = result.start
    assert start.tolist() == [0, 10, 20, 30, 40]
    told = Foretold(start + [0, 30, 60.5, -700, np.nan], start + [0, 3601, 0, 0, 0], start + [0, 1, -1, 0, np.nan])
    (_, of_all), (_, waited) = accuracy(replace(result, foretold=told))
    assert (of_all["jobs"], waited["jobs"]) == (4, 3)
    assert of_all["estimate within 1 min"] == 2 / 4 and waited["estimate within 1 min"] == 1 / 3
    assert waited["estimate within 10 min"] == 2 / 3 and waited["estimate within 1 h"] == 1.0
    assert waited["estimate error"] == pytest.approx((30 + 60.5 + 700) / 3)
    assert waited["likely within 1 h"] == 2 / 3 and waited["likely held"] == 1.0
    assert waited["estimate held"] == 2 / 3 and waited["late held"] == 2 / 3


@pytest.mark.parametrize("plugin", ["easy", "conservative"])
def test_t_late_holds_for_nine_of_ten(plugin):
    """On a trace that nothing was tuned on."""
    trace = generator.generate(1500, 64, 0.8, seed=77, overestimate=4.0, users=20)
    result = api.run(trace, procs=64, plugin=plugin, record=False, forecast=0)
    assert 0.87 <= accuracy(result)[1][1]["late held"] <= 0.93


def test_command(tmp_path):
    generator_words = ("generate-trace", "--jobs", 200, "--procs", 32, "--load", 0.8, "--overestimate", 3, "t.swf")
    assert command(*generator_words, cwd=tmp_path).wait() == 0
    run = command("simulate", "--trace", "t.swf", "--compare", "easy,fcfs", "--forecast", "--out", "o", cwd=tmp_path)
    out, err = run.communicate()
    assert run.returncode == 0, err
    assert "forecasts at submission, easy" in out and "forecasts at submission, fcfs" in out
    assert "t_estimate within 10 min" in out and "t_likely, mean error" in out and "started by t_late" in out
    kept = json.loads((tmp_path / "o" / "compare.json").read_text())
    assert kept[0]["forecast"]["all jobs"]["jobs"] == 200
    run = command("simulate", "--trace", "t.swf", "--forecast=20", cwd=tmp_path)
    out, _ = run.communicate()
    assert run.returncode == 0
    assert [line.split()[1] for line in out.splitlines() if line.startswith("jobs ")][-1] == "20"
    assert command("simulate", "--trace", "t.swf", "--forecast=-1", cwd=tmp_path).wait() == 2
