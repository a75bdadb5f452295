# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What becomes of a job: cancelled, freed, prioritized, with another end."""

import errno

import pytest

from fakehost import Bench, make_r
from fluxsched.service.annotate import HOLD
from fluxsched.service.commit import BATCH
from fluxsched.service.protocol import CANCEL, SUCCESS


def test_cancel_of_a_waiting_job():
    bench = Bench(R=make_r(1, 1))
    bench.alloc(1)
    bench.alloc(2)
    bench.send("sched.cancel", {"id": 2})
    assert bench.kinds(2)[-1] == CANCEL
    bench.free(1)
    bench.host.run()
    assert not bench.started(2)
    bench.send("sched.cancel", {"id": 2})
    bench.send("sched.cancel", {"id": 12345})
    assert bench.kinds(2).count(CANCEL) == 1


def test_cancel_while_the_commit_is_under_way():
    bench = Bench(R=make_r(1, 1))
    bench.host.hold_commits = True
    bench.alloc(1)
    bench.send("sched.cancel", {"id": 1})
    bench.alloc(2)
    assert bench.kinds(1) == []
    bench.host.let_commit()
    bench.host.run()
    assert bench.kinds(1) == [SUCCESS]
    assert not bench.started(2)
    # the job manager has no use for it and frees it
    bench.free(1)
    bench.host.hold_commits = False
    bench.host.run()
    assert bench.started(2)


def test_cancel_between_pass_and_commit():
    bench = Bench(R=make_r(1, BATCH + 1))
    for jobid in range(1, BATCH + 2):
        bench.alloc(jobid, run=False)
    bench.host.soon.pop(0)()    # the pass, and the first batch
    last = BATCH + 1
    bench.send("sched.cancel", {"id": last})
    bench.alloc(500)
    assert bench.kinds(last) == [CANCEL]
    assert f"R:{last}" not in bench.host.kvs
    assert bench.started(500)


def test_free_while_the_commit_is_under_way():
    bench = Bench(R=make_r(2, 1))
    bench.host.hold_commits = True
    bench.alloc(1, nodes=2)
    bench.send("sched.free", {"id": 1, "R": make_r(2, 1), "final": True})
    bench.alloc(2, nodes=2)
    assert bench.kinds(1) == []
    bench.host.hold_commits = False
    bench.host.run()
    assert bench.kinds(1) == [CANCEL]
    assert bench.started(2)


def test_partial_free_while_the_commit_is_under_way():
    bench = Bench(R=make_r(2, 1))
    bench.host.hold_commits = True
    bench.alloc(1, nodes=2)
    bench.send("sched.free", {"id": 1, "R": make_r(ranks=[1], cores=1)})
    bench.alloc(2, nodes=1)
    bench.host.hold_commits = False
    bench.host.run()
    assert bench.kinds(1) == [SUCCESS]
    assert bench.ranks(2) == [1]


def test_partial_free():
    bench = Bench(R=make_r(4, 2))
    bench.alloc(1, nodes=4, slots=1, cores=2)
    bench.alloc(2, nodes=2, slots=1, cores=2)
    bench.free(1, make_r(ranks=[1], cores=2), final=None)
    assert not bench.started(2)
    bench.free(1, make_r(ranks=[3], cores=2), final=False)
    assert bench.ranks(2) == [1, 3]
    bench.alloc(3, nodes=2, slots=1, cores=2)
    bench.free(1, make_r(ranks=[0, 2], cores=2), final=True)
    assert bench.ranks(3) == [0, 2]


@pytest.mark.parametrize("R", [{}, {"execution": {"R_lite": [{"rank": "0"}]}}, {"execution": {"R_lite": 5}}])
def test_free_of_what_is_no_r(R):
    bench = Bench()
    bench.alloc(1)
    bench.send("sched.free", {"id": 1, "R": R, "final": True})
    assert "R_lite" in bench.host.texts(3)[0]
    assert len(bench.service.jobs) == 0
    bench.alloc(2)
    bench.send("sched.free", {"id": 2, "R": R})
    assert [job.id for job in bench.service.jobs] == [2]


def test_free_of_a_job_that_holds_nothing():
    bench = Bench()
    bench.send("sched.free", {"id": 5, "R": make_r(), "final": True})
    assert "holds no resources" in bench.host.texts(3)[0]


def test_priorities():
    bench = Bench(R=make_r(1, 1))
    bench.alloc(1)
    bench.alloc(2, priority=10)
    bench.alloc(3, priority=20)
    bench.alloc(4, priority=15)
    bench.send("sched.prioritize", {"jobs": [[2, 30], [777, 5], [1, 2]]})
    order = []
    running = 1
    for _ in range(3):
        bench.free(running)
        [running] = [job for job in (2, 3, 4) if bench.started(job) and job not in order]
        order.append(running)
    assert order == [2, 3, 4]


def test_expiration_of_a_running_job_moves_an_estimate():
    bench = Bench(["plugin=backfill.plugin1"], R=make_r(1, 1))
    bench.alloc(1, duration=100.0)
    bench.alloc(2, duration=100.0)
    assert bench.annotations(2)["t_estimate"] == pytest.approx(1100.0)
    bench.send("sched.expiration", {"id": 1, "expiration": 1500.0})
    bench.host.run(HOLD + 1.0)
    assert ("sched.expiration", None) in bench.host.answers
    assert bench.annotations(2)["t_estimate"] == pytest.approx(1500.0)


def test_expiration_zero_has_no_end():
    bench = Bench(["plugin=backfill.plugin1"], R=make_r(1, 1))
    bench.alloc(1, duration=100.0)
    bench.alloc(2, duration=100.0)
    bench.send("sched.expiration", {"id": 1, "expiration": 0})
    bench.host.run(HOLD + 1.0)
    assert "t_estimate" not in bench.annotations(2)


@pytest.mark.parametrize("value", [-1, -0.5, float("inf"), float("nan")])
def test_expirations_that_are_none(value):
    bench = Bench()
    bench.alloc(1, duration=100.0)
    bench.send("sched.expiration", {"id": 1, "expiration": value})
    assert bench.host.errors[0][1] == errno.EINVAL


def test_expiration_of_a_job_that_holds_nothing():
    bench = Bench()
    bench.send("sched.expiration", {"id": 4, "expiration": 5.0})
    assert bench.host.errors[0][1] == errno.ENOENT
