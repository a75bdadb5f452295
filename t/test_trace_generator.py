# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The generator after Lublin and Feitelson: that its samples have the model's distributions."""
import math

import numpy as np
import pytest

from fluxsched.traces import generator as lublin
from fluxsched.traces import swf, trace
from fluxsched.traces.generator import MODELS, generate
from fluxsched.traces.load import load


@pytest.fixture(scope="module")
def batch():
    return generate(100_000, 128, 0.8, seed=1)


def test_equal_arguments_give_equal_traces(tmp_path):
    for name in ("a", "b"):
        swf.write(generate(500, 100, 0.7, seed=5, overestimate=3, users=4), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    swf.write(generate(500, 100, 0.7, seed=6, overestimate=3, users=4), tmp_path / "c")
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


PINNED = ([0.0, 2145.0, 24687.0, 31835.0], [4, 64, 8, 32], [375.0, 30186.0, 116.0, 3222.0])


def test_a_sample_is_pinned():
    t = generate(4, 128, 0.5, seed=42)
    assert (t.submit.tolist(), t.procs.tolist(), t.run.tolist()) == PINNED


@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize("procs, load", [(1, 0.5), (3, 1.2), (100, 0.9), (128, 0.1), (16384, 0.95)])
def test_size_and_load_are_what_was_asked_for(model, procs, load):
    t = generate(2000, procs, load, seed=3, model=model)
    assert len(t) == 2000 and t.max_procs == procs
    assert t.procs.min() >= 1 and t.procs.max() <= procs
    assert (t.run * t.procs).sum() / (procs * (t.submit[-1] - t.submit[0])) == pytest.approx(load, rel=1e-3)
    assert t.submit[0] == 0 and (np.diff(t.submit) >= 0).all()
    assert (t.run >= 1).all() and (t.run == np.floor(t.run)).all() and (t.submit == np.floor(t.submit)).all()


def test_sizes(batch):
    model = MODELS["batch"]
    assert (batch.procs == 1).mean() == pytest.approx(model.serial, abs=0.006)
    # The few that are not rounded hit a power of two now and then.
    assert model.serial + model.power2 < ((batch.procs & (batch.procs - 1)) == 0).mean() < 0.98
    # Two stages meet at 2**5; rounding moves half a unit of the exponent.
    parallel = batch.procs[batch.procs > 1]
    upper = (1 - model.low_share) * (7 - 5.5) / 2
    assert (parallel > 2**5.5).mean() == pytest.approx(upper, abs=0.01)


def test_run_times(batch):
    model = MODELS["batch"]
    share = np.clip(model.pa * batch.procs + model.pb, 0, 1)
    long_ = batch.run[batch.procs == 128]
    assert np.log(batch.run).max() <= lublin.LN_RUN_MAX
    # ln of the second gamma is close to a1 * b1 = 9.97, the first to 5.41 (less what is drawn again).
    mean = np.log(batch.run[batch.procs == 1] + 0.5).mean()
    assert mean == pytest.approx(share[batch.procs == 1][0] * 5.37 + (1 - share[batch.procs == 1][0]) * 9.97, abs=0.1)
    assert np.log(long_).mean() > mean + 1


def test_daily_cycle(batch):
    weights = lublin.day_weights(MODELS["batch"])
    assert weights.mean() == pytest.approx(1)
    hour = (batch.submit % 86400 // 1800).astype(int)
    share = np.bincount(hour, minlength=48) / len(batch) * 48
    assert np.corrcoef(share, weights)[0, 1] > 0.97
    assert 18 <= weights.argmax() <= 28 and 0 <= weights.argmin() < 14     # busy afternoons, quiet before dawn


def test_day_weights_are_the_gamma_distribution():
    model = MODELS["all"]
    x = np.linspace(10.5, 58.5, 200_001)
    density = x**(model.day_a - 1) * np.exp(-x / model.day_b) / (math.gamma(model.day_a) * model.day_b**model.day_a)
    inside = (x > 19.5) & (x <= 20.5)                 # half hour 20 of the model is index 19
    assert lublin.day_weights(model)[19] == pytest.approx(density[inside].sum() / density.sum() * 48, rel=1e-3)


def test_requests_and_users():
    t = generate(20_000, 64, 0.8, seed=2, overestimate=5, users=10)
    ratio = t.request / t.run
    assert ratio.min() >= 1 and (ratio[t.run > 1000] <= 5.001).all()
    assert ratio[t.run > 1000].mean() == pytest.approx(3, abs=0.05)
    count = np.bincount(t.user)
    assert count[0] == 0 and len(count) == 11 and count[1] > 2.5 * count[4] > 0
    assert (generate(100, 64, 0.8).request == generate(100, 64, 0.8).run).all()


def test_written_and_read_back(tmp_path):
    t = generate(300, 16, 0.8, seed=2, overestimate=2, users=3)
    swf.write(t, tmp_path / "x.swf.gz")
    u = load(tmp_path / "x.swf.gz")
    for name in trace.ARRAYS:
        assert np.array_equal(getattr(t, name), getattr(u, name), equal_nan=True)


@pytest.mark.parametrize("change, what", [
    (dict(jobs=1), "jobs: a whole number from 2"),
    (dict(jobs=2.5), "jobs: a whole number"),
    (dict(jobs=10**9), "jobs: a whole number"),
    (dict(procs=0), "procs: a whole number from 1"),
    (dict(users=0), "users: a whole number from 1"),
    (dict(seed=-1), "seed: a whole number from 0"),
    (dict(load=0), "load: a number above 0"),
    (dict(load=float("nan")), "load: a number above 0"),
    (dict(overestimate=0.5), "overestimate: a number from 1"),
    (dict(model="jann"), "model: one of batch, interactive, all expected, 'jann' found"),
])
def test_bad_arguments(change, what):
    arguments = dict(jobs=10, procs=8, load=0.5)
    arguments.update(change)
    with pytest.raises(ValueError, match=what):
        generate(**arguments)
