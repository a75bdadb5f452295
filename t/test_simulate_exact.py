# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Exactness: every start time is the one that the plain statement of the policy gives."""
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxsched.simulate import api
from fluxsched.traces.generator import generate
from fluxsched.traces.load import load
from oracle import Job, conservative, easy, fcfs, hybrid, replay
from simulate_result import trace_of

QUARTER = Path(__file__).resolve().parent / "data/quarter.swf.gz"

POLICIES = {"fcfs": fcfs, "easy": easy, "conservative": conservative, "first-fit": hybrid(0), "hybrid2": hybrid(2),
            "hybrid5": hybrid(5)}


def expected(trace, procs, policy, order=None):
    jobs = [Job(*map(int, row)) for row in zip(trace.submit, trace.run, trace.request, trace.procs)]
    return replay(jobs, procs, policy, order)


def check_processors(result):
    """No processor is held twice, and each job has as many as it asked for."""
    events = []
    for i in range(len(result.trace)):
        span = slice(result.offset[i], result.offset[i + 1])
        first, last = result.first[span], result.last[span]
        assert (last - first + 1).sum() == result.trace.procs[i]
        assert (first[1:] > last[:-1] + 1).all() and first[0] >= 0 and last[-1] < result.procs
        events.append((result.finish[i], 0, i))
        events.append((result.start[i], 1, i))
    held = np.zeros(result.procs, dtype=bool)
    # A job of run time 0 ends before the next pass of its instant: it holds nothing any longer.
    for _, begins, i in sorted(events):
        if result.finish[i] == result.start[i]:
            continue
        for k in range(result.offset[i], result.offset[i + 1]):
            part = held[result.first[k]:result.last[k] + 1]
            assert (part != bool(begins)).all()
            part[:] = bool(begins)


# Long queues: bursts at few instants, requests above the run time, kills, run times of zero, wide jobs.
job = st.tuples(st.sampled_from([0, 0, 1, 5, 20, 40]), st.sampled_from([0, 1, 2, 3, 7, 20, 50]),
                st.integers(1, 60), st.sampled_from([1, 1, 2, 3, 4, 5, 8, 11, 15, 16]))


@given(st.lists(job, min_size=1, max_size=60), st.sampled_from(sorted(POLICIES)),
       st.sampled_from([(16, 1), (4, 4), (2, 8)]))
@settings(max_examples=400, deadline=None)
def test_random_traces(rows, policy, shape):
    trace = trace_of(sorted(rows, key=lambda row: row[0]))
    result = api.run(trace, nodes=shape[0], cores=shape[1], plugin=policy)
    assert result.start.tolist() == expected(trace, 16, POLICIES[policy])
    check_processors(result)


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("seed", range(3))
def test_synthetic_traces_with_long_queues(policy, seed):
    trace = generate(400, 64, 1.3, seed=seed, overestimate=6, model=("batch", "interactive", "all")[seed])
    trace = api.trace_of(trace.submit, trace.run * np.where(np.arange(400) % 7 == 0, 2, 1), trace.procs, trace.request)
    result = api.run(trace, procs=64, plugin=policy)
    assert result.start.tolist() == expected(trace, 64, POLICIES[policy])
    check_processors(result)


@pytest.mark.parametrize("policy", ["fcfs", "easy", "conservative", "hybrid2"])
def test_a_quarter(policy):
    """A trace as archives have them: no requested times, so that every request is exact."""
    trace = load(QUARTER)
    result = api.run(trace, plugin=policy)
    assert result.start.tolist() == expected(trace, 128, POLICIES[policy])
    assert not np.isnan(result.finish).any()
    assert (result.wait > 0).any()
    check_processors(result)


@pytest.mark.parametrize("policy", ["fcfs", "easy", "conservative", "hybrid2"])
def test_a_quarter_squeezed(policy):
    """The same in less time and with requests that are not exact: now there are long queues."""
    trace = load(QUARTER)
    keep = np.arange(len(trace)) < 400
    rng = np.random.default_rng(1)
    request = np.ceil(np.maximum(trace.run, 1) * rng.uniform(0.8, 5, len(trace)))
    trace = api.trace_of(np.floor(trace.submit[keep] / 2), trace.run[keep], trace.procs[keep], request[keep])
    result = api.run(trace, procs=128, plugin=policy)
    assert result.start.tolist() == expected(trace, 128, POLICIES[policy])
    assert (result.wait > 0).mean() > 0.1
