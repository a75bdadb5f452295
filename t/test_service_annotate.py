# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What waiting jobs are told, and resources that come and go."""


import pytest

from fakehost import Bench, make_r
from fluxsched.service import annotate
from fluxsched.service.annotate import HOLD
from fluxsched.service.protocol import CANCEL, DENY

# -- annotations --------------------------------------------------------------


def test_annotations_are_sent_when_they_change_and_cleared_at_start():
    bench = Bench(["plugin=backfill.plugin1"], R=make_r(1, 1))
    bench.alloc(1, duration=100.0)
    bench.alloc(2, duration=100.0)
    shown = bench.annotations(2)
    assert shown["t_estimate"] == pytest.approx(1100.0) and shown["reason_pending"]
    sent = len(bench.to(2))
    bench.alloc(3, duration=50.0)
    bench.alloc(4, nodes=7)
    assert len(bench.to(2)) == sent
    bench.free(1)
    shown = bench.annotations(2)
    assert set(shown) == {"resource_summary", "selection_type"}
    assert shown["resource_summary"] == "rank0/core0"
    assert shown["selection_type"] == "reserved"


def test_a_more_urgent_job_moves_the_estimates():
    bench = Bench(["plugin=backfill.plugin1", "plugin-opts=reserve-depth=-1"], R=make_r(1, 1))
    bench.alloc(1, duration=100.0)
    bench.alloc(2, duration=100.0)
    bench.alloc(3, duration=100.0, priority=31)
    bench.host.run(HOLD + 1.0)
    assert bench.annotations(3)["t_estimate"] == pytest.approx(1100.0)
    assert bench.annotations(2)["t_estimate"] == pytest.approx(1200.0)


def test_what_changes_again_and_again_is_told_once_in_some_seconds():
    bench = Bench(["plugin=backfill.plugin1", "plugin-opts=reserve-depth=-1"], R=make_r(1, 1))
    bench.alloc(1, duration=100.0)
    for jobid in (2, 3, 4):
        bench.alloc(jobid, duration=100.0)
    sent = len(bench.to(4))
    for expiration in (1200.0, 1300.0, 1400.0):
        bench.send("sched.expiration", {"id": 1, "expiration": expiration})
        bench.host.run()
    assert len(bench.to(4)) == sent
    bench.send("sched.cancel", {"id": 3})
    bench.host.run(HOLD + 1.0)
    assert len(bench.to(4)) == sent + 1
    assert bench.annotations(4)["t_estimate"] == pytest.approx(1500.0)
    assert bench.kinds(3)[-1] == CANCEL
    bench.send("sched.expiration", {"id": 1, "expiration": 1600.0})
    bench.host.run()
    bench.service.stop()
    bench.host.run(HOLD + 1.0)
    assert len(bench.to(4)) == sent + 1


def test_jobs_that_have_gone_do_not_keep_new_ones_from_being_told(monkeypatch):
    monkeypatch.setattr(annotate, "GONE", 300)
    bench = Bench(["plugin=backfill.plugin1"], R=make_r(1, 1))
    for jobid in range(1, 1002):
        bench.alloc(jobid, duration=100.0)
    for jobid in range(2, 1001):
        bench.send("sched.cancel", {"id": jobid})
    bench.alloc(2000, duration=100.0)
    bench.host.run(10 * annotate.INTERVAL)
    assert bench.annotations(1001)["reason_pending"] and bench.annotations(2000)["reason_pending"]


def test_a_look_is_in_slices_with_messages_in_between(monkeypatch):
    """One job is cancelled when its reason is known and not yet told; one's reason fails, and is told later."""
    monkeypatch.setattr(annotate, "SLICE", -1.0)
    bench = Bench(["plugin=backfill.plugin1"], R=make_r(1, 1))
    bench.alloc(1, duration=100.0)
    bench.host.run(5.0)
    compare, seen = bench.service.annotator._compare, []

    def spy(job, now):
        seen.append(job.id)
        if job.id == 3:
            bench.host.call_soon(lambda: bench.service.handle("sched.cancel", None, {"id": 3}))
        if job.id == 4 and seen.count(4) == 1:
            raise RuntimeError("not yet")
        return compare(job, now)

    monkeypatch.setattr(bench.service.annotator, "_compare", spy)
    for jobid in (2, 3, 4):
        bench.alloc(jobid, duration=100.0, run=False)
    bench.host.run()
    assert seen[:3] == [2, 3, 4] and bench.kinds(3) == [CANCEL]
    assert bench.annotations(2)["reason_pending"] and "not yet" in str(bench.host.lines)
    bench.alloc(5, duration=100.0)
    bench.host.run(2 * annotate.INTERVAL)
    assert bench.annotations(4)["reason_pending"] and bench.annotations(5)["reason_pending"]


def test_an_estimate_that_passes_is_renewed():
    bench = Bench(["plugin=backfill.plugin1"], R=make_r(1, 1))
    bench.alloc(1, duration=100.0)
    bench.alloc(2, duration=100.0)
    bench.host.run(130.0)
    assert bench.annotations(2).get("t_estimate", 2000.0) >= 1125.0


def test_immediate():
    bench = Bench()
    bench.alloc(1)
    assert bench.annotations(1)["selection_type"] == "immediate"


# -- resources that come and go -----------------------------------------------


def test_down_and_up():
    bench = Bench(R=make_r(2, 1))
    bench.acquired({"down": "0"})
    bench.alloc(1, nodes=2)
    assert not bench.started(1)
    assert bench.annotations(1)["reason_pending"]
    bench.acquired({"up": "0"})
    bench.host.run()
    assert bench.started(1)


def test_a_rank_down_keeps_what_runs_on_it():
    bench = Bench(R=make_r(1, 1))
    bench.alloc(1)
    bench.acquired({"down": "0"})
    bench.acquired({"up": "0"})
    bench.alloc(2)
    assert not bench.started(2)
    bench.free(1)
    assert bench.started(2)


def test_shrink_denies_what_can_never_run():
    bench = Bench(R=make_r(2, 1))
    bench.alloc(1, nodes=1)
    bench.alloc(2, nodes=2)
    bench.acquired({"shrink": "1", "down": "1"})
    bench.host.run()
    assert bench.kinds(2)[-1] == DENY


def test_properties_come_and_go():
    bench = Bench(R=make_r(2, 1))
    bench.acquired({"property-add": {"fast": "1"}})
    bench.alloc(1, constraints={"properties": ["fast"]})
    assert bench.ranks(1) == [1]
    assert bench.given(1)["execution"]["properties"] == {"fast": "1"}
    bench.acquired({"property-remove": {"fast": "1"}})
    bench.alloc(2, constraints={"properties": ["fast"]})
    assert bench.kinds(2) == [DENY]


def test_local_properties_do_not_leak_into_a_jobs_r():
    bench = Bench(R=make_r(2, 1, properties={"+hidden": [0, 1], "open": [0]}))
    bench.alloc(1, nodes=2)
    assert bench.given(1)["execution"]["properties"] == {"open": "0"}


@pytest.mark.parametrize("payload", [{"up": 5}, {"up": "x"}, {"property-add": []}, {"expiration": "never"}])
def test_broken_updates_are_reported(payload):
    bench = Bench()
    bench.acquired(payload)
    assert bench.host.texts(3)
    bench.alloc(1)
    assert bench.started(1)
