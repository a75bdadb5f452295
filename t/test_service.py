# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The scheduler protocol, on a broker made for it (see fakehost): start, running jobs, the other services."""

import errno

import pytest

from fakehost import Bench, jobspec, make_r
from fluxsched.formats import r

# -- start --------------------------------------------------------------------


def test_start_in_order():
    bench = Bench()
    topics = [topic for topic, _, _ in bench.host.sent]
    assert topics == [
        "resource.acquire",
        "job-manager.sched-hello",
        "job-manager.sched-ready",
        "job-manager.events-journal",
    ]
    assert bench.host.requests("job-manager.sched-hello") == [{"partial-ok": True}]
    assert bench.host.requests("job-manager.sched-ready") == [{"mode": "unlimited"}]


def test_limited_mode():
    bench = Bench(["queue-depth=8"])
    assert bench.host.requests("job-manager.sched-ready") == [{"mode": "limited", "limit": 8}]


def test_all_is_down_until_said_to_be_up():
    bench = Bench(R=make_r(2), up="1")
    bench.alloc(1, nodes=1, slots=1)
    bench.alloc(2, nodes=1, slots=1, exclusive=True)
    assert bench.ranks(1) == [1]
    assert not bench.started(2)


def test_a_failed_hello_is_fatal():
    bench = Bench(start=False)
    bench.service.start()
    bench.acquired({"resources": bench.R, "up": "0-3"})
    bench.host.callback("job-manager.sched-hello")(None, OSError(errno.EPROTO, "no"))
    assert bench.host.failed.errno == errno.EPROTO


def test_a_failed_ready_is_fatal():
    bench = Bench(start=False)
    bench.service.start()
    bench.acquired({"resources": bench.R, "up": "0-3"})
    bench.host.callback("job-manager.sched-hello")(None, OSError(errno.ENODATA, ""))
    bench.host.run()
    bench.host.callback("job-manager.sched-ready")(None, OSError(errno.EPROTO, "no"))
    assert bench.host.failed.errno == errno.EPROTO


def test_a_failed_acquire_is_fatal():
    bench = Bench()
    bench.host.callback("resource.acquire")(None, OSError(errno.EPROTO, "no"))
    assert bench.host.failed.errno == errno.EPROTO


def test_resources_that_are_taken_away_end_the_module():
    bench = Bench()
    bench.host.callback("resource.acquire")(None, OSError(errno.ECANCELED, "unloaded"))
    assert bench.host.finished.errno == errno.ECANCELED
    assert bench.host.failed is None and bench.host.texts(3) == []


@pytest.mark.parametrize("payload", [{}, {"resources": 5}, {"resources": {"version": 7}}])
def test_resources_that_cannot_be_read_are_fatal(payload):
    bench = Bench(start=False)
    bench.service.start()
    bench.acquired(payload)
    assert bench.host.failed is not None
    assert "resource.acquire" in bench.host.texts(3)[0]


def test_early_messages_are_handled_when_ready():
    bench = Bench(start=False)
    bench.send("feasibility.check", {"jobspec": jobspec(nodes=2)})
    assert bench.host.answers == []
    bench.start()
    assert bench.host.answers == [("feasibility.check", None)]


def test_stats_are_answered_before_ready():
    bench = Bench(start=False)
    bench.send("sched.stats-get", None)
    assert bench.host.answers[0][1]["ready"] is False


# -- hello --------------------------------------------------------------------


def hello(jobid, **more):
    return {"id": jobid, "priority": 16, "userid": 1, "t_submit": 900.0, **more}


def test_running_jobs_keep_what_they_hold():
    held = make_r(ranks=[0, 1], cores=4, starttime=900.0, expiration=1100.0)
    bench = Bench(["plugin=backfill.plugin1"], R=make_r(3, 4), running=[hello(5)], kvs={"R:5": held})
    bench.alloc(6, nodes=1, slots=1, cores=4, duration=10.0)
    assert bench.ranks(6) == [2]
    bench.alloc(7, nodes=3, slots=1, cores=4, duration=10.0)
    assert bench.annotations(7)["t_estimate"] == pytest.approx(1100.0)
    bench.free(5, held)
    bench.free(6)
    assert bench.started(7)


def test_jobs_of_several_sizes_after_a_reload():
    """One that runs keeps what it got; one that waits is asked for again, and gets what is left."""
    first = Bench(R=make_r(5, 4))
    wanted = {"nodes": "2-3", "slots": 1, "cores": 4}
    first.alloc(5, **wanted)
    bench = Bench(R=make_r(5, 4), running=[hello(5)], kvs=first.host.kvs)
    bench.alloc(6, **wanted)
    assert (first.ranks(5), bench.ranks(6)) == ([0, 1, 2], [3, 4])
    bench.free(5, first.given(5))
    bench.alloc(7, **wanted)
    assert bench.ranks(7) == [0, 1, 2]


def test_hello_with_ranks_already_free():
    held = make_r(ranks=[0, 1], cores=4)
    bench = Bench(R=make_r(2, 4), running=[hello(5, free="1")], kvs={"R:5": held})
    bench.alloc(6, nodes=1, slots=1, cores=4)
    assert bench.ranks(6) == [1]
    bench.alloc(7, nodes=1, slots=1, cores=4)
    bench.free(5, make_r(ranks=[0], cores=4), final=True)
    assert bench.ranks(7) == [0]


@pytest.mark.parametrize(
    "kvs",
    [{}, {"R:5": {"version": 9}}, {"R:5": make_r(ranks=[17])}, {"R:5": make_r(1, 64)}],
    ids=["missing", "version", "rank", "cores"],
)
def test_a_job_whose_r_cannot_be_taken_over(kvs):
    bench = Bench(R=make_r(2, 4), running=[hello(5)], kvs=kvs)
    [raised] = bench.host.requests("job-manager.raise")
    assert raised["id"] == 5 and raised["severity"] == 0 and raised["type"] == "scheduler-restart"
    bench.host.callback("job-manager.raise")(None, OSError(errno.ENOENT, "inactive"))
    bench.alloc(1)
    assert bench.started(1)


def test_two_jobs_with_the_same_r():
    held = make_r(ranks=[0], cores=4)
    bench = Bench(R=make_r(2, 4), running=[hello(5), hello(6)], kvs={"R:5": held, "R:6": held})
    [raised] = bench.host.requests("job-manager.raise")
    assert raised["id"] == 6


# -- the other services -------------------------------------------------------


def test_resource_status():
    bench = Bench(R=make_r(3, 2))
    bench.alloc(1, nodes=1, slots=1, cores=2)
    bench.acquired({"down": "2"})
    bench.send("sched.resource-status", None)
    status = bench.host.answers[-1][1]
    assert r.parse(status["all"]).ranks == [0, 1, 2]
    assert r.parse(status["allocated"]).ranks == [0]
    assert r.parse(status["down"]).ranks == [2]


@pytest.mark.parametrize(
    "payload, number",
    [
        ({"jobspec": jobspec(nodes=4)}, 0),
        ({"jobspec": jobspec(nodes=5)}, errno.EOVERFLOW),
        ({"jobspec": jobspec(nodes=1, slots=5, exclusive=True)}, errno.EOVERFLOW),
        ({"jobspec": {"version": 1}}, errno.EINVAL),
        ({"jobspec": jobspec(constraints={"and": 5})}, errno.EINVAL),
        ({"jobspec": 7}, errno.EPROTO),
        ({}, errno.EPROTO),
    ],
)
def test_feasibility(payload, number):
    bench = Bench()
    bench.acquired({"down": "0-3"})
    bench.send("feasibility.check", payload)
    if number:
        assert [code for _, code, _ in bench.host.errors] == [number]
        assert bench.host.errors[0][2]
        assert bench.host.texts(3) == []
    else:
        assert bench.host.answers[-1] == ("feasibility.check", None)


def test_stats():
    bench = Bench(R=make_r(1, 1))
    bench.alloc(1)
    bench.alloc(2)
    bench.send("sched.stats-get", None)
    stats = bench.host.answers[-1][1]
    assert stats["jobs"] == {"pending": 1, "committing": 0, "running": 1}
    assert stats["counts"]["alloc"] == 2 and stats["counts"]["success"] == 1
    assert stats["plugin"] == "sched.plugin1" and stats["ready"]
    assert stats["lwj"] == {"first": 1, "next": 3}


def test_nothing_after_stop():
    bench = Bench()
    bench.alloc(1, run=False)
    bench.service.stop()
    bench.host.run()
    bench.alloc(2)
    assert bench.kinds(1) == [] and bench.kinds(2) == []
