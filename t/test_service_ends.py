# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""When running jobs end: by their R as it is now, by sched.expiration, and with the instance."""

import pytest

from fakehost import Bench, make_r

END = 2000.1234567  # no whole microseconds; of the instance; the clock begins at 1000
WHOLE = {"slots": 1, "cores": 4}


def bench_of(expiration=END, **more):
    return Bench(["plugin=backfill.plugin1"], R=make_r(4, 4, expiration=expiration), **more)


def estimate(bench, jobid):
    bench.host.run(2.0)
    return bench.annotations(jobid).get("t_estimate")


def test_jobs_without_a_limit_end_with_the_instance_and_are_backfilled():
    bench = bench_of()
    bench.alloc(1, nodes=3, **WHOLE)
    bench.alloc(2, nodes=4, **WHOLE)
    bench.alloc(3, nodes=1, **WHOLE)
    assert bench.given(1)["execution"]["expiration"] == END
    assert bench.started(3) and bench.given(3)["execution"]["expiration"] == END
    # it could start when the instance is over only
    assert not bench.started(2) and estimate(bench, 2) is None
    assert bench.annotations(2)["reason_pending"]


def test_without_an_end_of_the_instance_they_never_end():
    bench = bench_of(expiration=0.0)
    bench.alloc(1, nodes=3, duration=100.0, **WHOLE)
    bench.alloc(2, nodes=4, **WHOLE)
    bench.alloc(3, nodes=1, **WHOLE)
    assert not bench.started(3) and estimate(bench, 2) == 1100.0


def test_a_job_without_a_limit_still_waits_where_it_would_delay_a_start():
    bench = bench_of()
    bench.alloc(1, nodes=3, duration=100.0, **WHOLE)
    bench.alloc(2, nodes=4, **WHOLE)
    bench.alloc(3, nodes=1, **WHOLE)
    assert not bench.started(3) and estimate(bench, 2) == 1100.0


def test_a_limit_beyond_the_end_stays_in_r_and_ends_with_the_instance_in_the_plan():
    """As with flux-core's schedulers; it refuses such a job at submission only."""
    bench = bench_of()
    bench.alloc(1, nodes=3, duration=5000.0, **WHOLE)
    bench.alloc(2, nodes=4, duration=10.0, **WHOLE)
    bench.alloc(3, nodes=1, duration=3000.0, **WHOLE)
    assert bench.given(1)["execution"]["expiration"] == 6000.0
    assert bench.started(3) and estimate(bench, 2) is None


def test_the_end_of_the_instance_moves_and_with_it_jobs_without_a_limit():
    bench = bench_of()
    bench.alloc(1, nodes=3, **WHOLE)
    bench.alloc(2, nodes=1, duration=500.0, **WHOLE)
    bench.alloc(3, nodes=4, duration=10.0, **WHOLE)
    bench.acquired({"expiration": 3000.0})
    assert bench.service.jobs[1].expiration == 3000.0 and bench.service.jobs[2].expiration == 1500.0
    assert estimate(bench, 3) is None
    bench.acquired({"expiration": 1200.0})
    bench.alloc(4, nodes=4, duration=10.0, **WHOLE)
    assert bench.service.jobs[1].expiration == 1200.0
    bench.acquired({"expiration": 0.0})
    assert bench.service.jobs[1].expiration == 0.0
    bench.free(1)
    assert estimate(bench, 3) == 1500.0


def test_an_update_wins_until_the_limit_is_taken_away():
    bench = bench_of()
    bench.alloc(1, nodes=4, **WHOLE)
    bench.alloc(2, nodes=4, duration=10.0, **WHOLE)
    assert estimate(bench, 2) is None
    bench.send("sched.expiration", {"id": 1, "expiration": 1500.0})
    assert estimate(bench, 2) == 1500.0
    bench.acquired({"expiration": 3000.0})
    assert estimate(bench, 2) == 1500.0
    bench.send("sched.expiration", {"id": 1, "expiration": 0})
    bench.host.run(5.0)
    assert estimate(bench, 2) is None
    bench.acquired({"expiration": 4000.0})
    assert bench.service.jobs[1].expiration == 4000.0


@pytest.mark.parametrize("end, moves", [(END, True), (0.0, True), (1500.0, False), (1999.0, False)])
def test_jobs_that_are_found_running(end, moves):
    held = make_r(4, 4, starttime=900.0, expiration=end)
    running = [{"id": 7, "priority": 16, "userid": 1, "t_submit": 900.0}]
    bench = bench_of(kvs={"R:7": held}, running=running)
    bench.alloc(8, nodes=4, duration=10.0, **WHOLE)
    planned = end if 0 < end < END else None
    assert estimate(bench, 8) == planned
    bench.acquired({"expiration": 3000.0})
    assert bench.service.jobs[7].expiration == (3000.0 if moves else end)
    assert estimate(bench, 8) == planned


def test_another_engine_plans_with_the_same_ends(tmp_path):
    path = tmp_path / "four.lua"
    path.write_text(
        'uses "Node" Hierarchy "default" { Resource { "cluster", children = { ListOf { Node, ids = "0-3",'
        ' args = { name = "node", sockets = { "0-3" } } } } } }'
    )
    bench = bench_of()
    bench.alloc(1, nodes=3, duration=5000.0, **WHOLE)
    bench.alloc(2, nodes=4, **WHOLE)
    bench.host.conf = {"sched": {"rdl-conf": str(path)}}
    bench.service.reconfigure()
    bench.alloc(3, nodes=1, **WHOLE)
    assert bench.started(3) and estimate(bench, 2) is None


@pytest.mark.parametrize("value", [-1, "soon", True, float("inf"), 10**400, [1]])
def test_an_end_that_is_none_is_refused(value):
    bench = bench_of()
    bench.acquired({"expiration": value})
    assert "resource.acquire: field 'expiration'" in bench.host.texts(3)[-1]
    bench.alloc(1, nodes=1, **WHOLE)
    assert bench.given(1)["execution"]["expiration"] == END


@pytest.mark.parametrize("R", [[], 5, "R", {"version": 1}, {"version": 1, "execution": []}, None])
def test_a_bad_r_of_a_running_job_ends_it(R):
    """Whatever it is: no object, or an object that is no R."""
    bench = Bench(kvs={"R:7": R}, running=[{"id": 7, "priority": 16, "userid": 1, "t_submit": 900.0}])
    [asked] = bench.host.requests("job-manager.raise")
    assert asked["id"] == 7 and asked["type"] == "scheduler-restart"
    assert bench.service.jobs.get(7) is None
    if R is not None:
        assert "expected" in bench.host.texts(3)[0] and "TypeError" not in bench.host.texts(3)[0]
    bench.alloc(8, nodes=4)
    assert bench.started(8)
