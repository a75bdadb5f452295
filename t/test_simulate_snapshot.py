# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Traces of a live instance in the simulator: priorities, jobs that run or wait or have no limit, nodes or slots."""
import json

import numpy as np
import pytest

from fluxsched.simulate import api, metrics, results
from fluxsched.simulate.api import SimulateError
from fluxsched.traces.load import load

NAN = float("nan")


@pytest.fixture
def read(tmp_path):
    """A trace of jobs that are given as (submit, start or None, end or None, more keys)."""
    def read(*rows):
        jobs = []
        for number, (submit, start, end, more) in enumerate(rows, 1):
            times = {"t_submit": submit, "t_run": start, "t_cleanup": end}
            jobs.append({"id": number, "userid": 1, "duration": 100.0, "ncores": 4,
                         **{key: 1000.0 + value for key, value in times.items() if value is not None}, **more})
        (tmp_path / "jobs.json").write_text(json.dumps({"jobs": jobs}))
        return load(tmp_path / "jobs.json")
    return read


def test_the_higher_priority_goes_first(read):
    t = read((0, 0, 10, {}), (1, 9, 19, {"urgency": 16}), (2, 9, 19, {"urgency": 20}), (3, 9, 19, {"urgency": 17}))
    assert api.run(t, procs=4).start.tolist() == [0, 30, 10, 20]


def test_a_job_without_a_limit_never_ends_in_the_plan(read):
    """The second needs the whole machine: the third may go ahead if it delays nobody, by the limits that are known."""
    def starts(first, third):
        t = read((0, 0, 10, {"duration": first}), (1, 10, 20, {"ncores": 8}), (2, 2, 60, {"duration": third}))
        return api.run(t, procs=8, plugin="easy").start.tolist()

    assert starts(50.0, 40.0) == [0, 42, 2]
    assert starts(50.0, 60.0) == [0, 10, 20]
    assert starts(0.0, 60.0) == [0, 60, 2]


def test_slots_lie_on_any_nodes(read):
    """Of two nodes of three cores one core each is free from 10 on. Whoever had not all cores of a node asked for none.
    """
    two, one = {"ncores": 2, "nnodes": 1}, {"ncores": 1, "nnodes": 1}
    t = read((0, 0, 50, two), (0, 0, 10, one), (0, 0, 50, two), (0, 0, 10, one), (1, 1, 100, two),
             (2, 2, 12, {"ncores": 3, "nnodes": 1}))
    r = api.run(t, nodes=2, cores=3, plugin="first-fit")
    assert r.start.tolist() == [0, 0, 0, 0, 10, 109]
    assert [results.ranges(r, k) for k in range(6)] == ["0-1", "2", "3-4", "5", "2 5", "0-2"]
    # A machine without nodes knows no whole ones.
    assert api.run(t, procs=6, plugin="first-fit").start.tolist() == [0, 0, 0, 0, 10, 50]


def test_history_goes_on_with_what_runs_and_waits(read):
    t = read((0, 0, 10, {}), (1, 10, None, {"runtime": 5.0, "duration": 30.0}), (2, None, None, {"duration": 20.0}))
    r = api.run(t, procs=4)
    assert r.start.tolist() == [0, 10, 40] and r.finish.tolist() == [10, 40, 60] and r.stopped == ""


@pytest.mark.parametrize("ended, option", [([], None), ([(0, 0, 10, {})], True)])
def test_a_snapshot_begins_when_it_was_taken(read, ended, option):
    """What runs goes on, also where another job would have had its place by the policy; what waits has waited."""
    t = read(*ended, (1, None, None, {"ncores": 8, "duration": 20.0}),
             (5, 10, None, {"runtime": 5.0, "duration": 30.0}), (6, 12, None, {"runtime": 3.0, "duration": 100.0}),
             (7, None, None, {"ncores": 4, "duration": 30.0}))
    r = api.run(t, procs=12, plugin="easy", snapshot=option)
    assert r.trace.job_id.tolist() == [k + len(ended) for k in (1, 2, 3, 4)]
    origin = 0 if ended else 1
    assert t.taken == 15 - origin
    assert (r.start + origin).tolist() == [40, 10, 12, 60]
    assert (r.finish + origin).tolist() == [60, 40, 112, 90]
    assert r.wait.tolist() == [39, 5, 6, 53]


def test_a_job_past_its_limit_ends_before_long(read):
    t = read((0, 0, None, {"runtime": 50.0, "duration": 30.0}), (1, None, None, {"duration": 20.0}))
    r = api.run(t, procs=4)
    assert r.start.tolist() == [0, pytest.approx(50, abs=1e-5)] and r.stopped == ""


def test_jobs_that_never_end(read):
    endless = {"runtime": 10.0, "duration": 0.0}
    r = api.run(read((0, 0, None, endless), (1, None, None, {"duration": 20.0})), procs=8)
    assert r.stopped == "" and r.start.tolist() == [0, 10] and r.ended == 30
    assert np.isnan(r.finish[0]) and metrics.measure(r)["running"] == 1
    r = api.run(read((0, 0, None, endless), (1, None, None, {"duration": 20.0})), procs=4)
    assert r.stopped == "blocked" and metrics.measure(r)["waiting"] == 1


def test_a_time_without_end_is_empty(read, tmp_path):
    results.write_jobs(api.run(read((0, 0, 10, {"duration": 0.0})), procs=4), tmp_path / "jobs.csv")
    assert (tmp_path / "jobs.csv").read_text().splitlines()[1].startswith("1,jobs,0,4,,1,0,10,10,")


def test_whole_nodes_that_are_waited_for(read):
    t = read((0, 0, None, {"runtime": 1.0, "nnodes": 1, "ncores": 1}), (0, None, None, {"nnodes": 2, "ncores": ""}))
    r = api.run(t, nodes=2, cores=4)
    assert r.start.tolist() == [0, 100] and results.ranges(r, 1) == "0-7"


def test_no_snapshot(read):
    with pytest.raises(SimulateError, match="no snapshot: a job that runs or waits expected, all have ended"):
        api.run(read((0, 0, 10, {})), procs=4, snapshot=True)
