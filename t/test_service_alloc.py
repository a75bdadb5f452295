# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Requests for resources: passes, commits, answers, denials, and what trips."""

import errno

import pytest

from fakehost import Bench, jobspec, make_r
from fluxsched.formats import r
from fluxsched.service import passes
from fluxsched.service.annotate import HEAD, LOOKS, RATE
from fluxsched.service.commit import BATCH
from fluxsched.service.jobs import PENDING, RUNNING, STARTED, Job, Jobs
from fluxsched.service.protocol import ANNOTATE, DENY, SUCCESS
from fluxsched.service.slices import BUDGET_MAX, next_budget


def test_r_is_durable_before_success():
    bench = Bench()
    bench.host.hold_commits = True
    bench.alloc(7, nodes=2, slots=1, cores=2, duration=60.0)
    assert bench.kinds(7) == []
    assert len(bench.host.held) == 1
    bench.host.let_commit()
    assert bench.kinds(7) == [SUCCESS]
    R = bench.given(7)
    assert bench.host.kvs["R:7"] == R
    assert r.parse(R).ranks == [0, 1]
    assert R["execution"]["starttime"] == 1000.0
    assert R["execution"]["expiration"] == 1060.0


def test_a_burst_is_one_pass_and_one_commit():
    bench = Bench(R=make_r(8))
    before = bench.service.passes.count
    for jobid in range(1, 9):
        bench.alloc(jobid, run=False)
    bench.host.run()
    assert all(bench.started(jobid) for jobid in range(1, 9))
    assert bench.service.passes.count == before + 1
    assert len([puts for puts in bench.host.commits if "R:1" in puts or "R:8" in puts]) == 1


def test_a_long_pass_is_followed_by_a_pause(monkeypatch):
    monkeypatch.setattr(passes, "PAUSE_MIN", -1.0)
    monkeypatch.setattr(passes.time, "monotonic", lambda: next(clock))
    clock = iter(range(0, 1000, 4))     # a pass takes seconds
    bench = Bench(R=make_r(1, 1))
    bench.alloc(1)
    clock = iter([0.0] * 100)
    bench.alloc(2)
    bench.send("sched.cancel", {"id": 2})
    bench.alloc(3, nodes=1)
    assert bench.started(1) and bench.kinds(3) == []
    bench.host.run(60.0)
    assert bench.kinds(3) == [ANNOTATE]


def slow(bench, cost):
    """An engine whose passes cost so many seconds a job, by a clock of their own; answers the times of the slices."""
    engine, clock, spent = bench.service.engine, [0.0], []

    def schedule(now, limit):
        asked = min(limit, len(engine.waiting()))
        outcome = engine.schedule(now, limit)
        clock[0] += cost * asked
        spent.append(cost * asked)
        return outcome

    bench.service.engine = Wrapped(engine, schedule=schedule)
    return clock, spent


def test_a_slow_policy_answers_messages_between_slices(monkeypatch):
    bench = Bench(["plugin=backfill.plugin1", "plugin-opts=reserve-depth=-1"], R=make_r(2, 1))
    clock, spent = slow(bench, 0.001)
    monkeypatch.setattr(passes.time, "monotonic", lambda: clock[0])
    for jobid in range(1, 1001):
        bench.alloc(jobid, duration=100.0, run=False)
    bench.host.soon.pop(0)()        # the first slice
    # What it started goes out, and a message is answered, long before the pass is over.
    assert bench.host.commits and not bench.service.passes.idle
    bench.host.let_commit()
    assert bench.kinds(1) == [SUCCESS]
    bench.send("feasibility.check", {"jobspec": jobspec()}, "asked")
    assert ("asked", None) in bench.host.answers
    bench.host.run()
    assert max(spent) <= 0.1 and len(spent) > 20
    assert bench.service.passes.idle


def test_an_end_that_comes_in_a_long_pass_is_seen(monkeypatch):
    """The pass begins anew, and the next job starts long before all of the queue has been looked at."""
    bench = Bench(["plugin=backfill.plugin1", "plugin-opts=reserve-depth=-1"], R=make_r(2, 1))
    clock, spent = slow(bench, 0.001)
    monkeypatch.setattr(passes.time, "monotonic", lambda: clock[0])
    for jobid in range(1, 1001):
        bench.alloc(jobid, duration=100.0, run=False)
    while not bench.started(2):
        bench.host.soon.pop(0)()
        while bench.host.held:
            bench.host.let_commit()
    bench.host.soon.pop(0)()
    assert not bench.service.passes.idle and bench.service.passes.count <= 1
    ended = len(spent)
    bench.send("sched.free", {"id": 2, "R": bench.given(2), "final": True})
    while not bench.started(3):
        bench.host.soon.pop(0)()
        while bench.host.held:
            bench.host.let_commit()
    assert not bench.service.passes.idle and len(spent) <= ended + 3
    bench.host.run()
    assert not bench.started(4)


def test_waiting_jobs_are_no_burden_for_the_search_for_garbage():
    """The jobspec of one that waits is text, or is not kept where no record needs it."""
    for keep, kind in ((1000, str), (0, type(None))):
        bench = Bench([f"lwj-keep={keep}"], R=make_r(1, 1))
        bench.alloc(1)
        bench.alloc(2)
        assert type(bench.service.jobs[2].jobspec) is kind and bench.service.jobs[1].jobspec is None


def test_no_slice_grows_beyond_what_the_dearest_jobs_allow():
    assert next_budget(100, 0.001, 0.01) == 400
    assert next_budget(100, 0.1, 0.01) == 10
    assert next_budget(100, 10.0, 0.01) == 1
    assert next_budget(BUDGET_MAX // 2, 0.0, 0.01) == next_budget(BUDGET_MAX, 0.0, 0.01) == BUDGET_MAX


def test_annotations_keep_to_a_budget():
    bench = Bench(["plugin=backfill.plugin1"], R=make_r(2, 1))
    for jobid in range(1, 1003):
        bench.alloc(jobid, duration=100.0, run=False)
    bench.host.run(0.4)
    told = bench.service.answers.counts["annotate"]
    assert 0 < told <= RATE
    # The foremost first; in time all.
    assert bench.kinds(3) == [ANNOTATE] and bench.kinds(1002) == []
    for _ in range(10):
        before = bench.service.answers.counts["annotate"]
        bench.host.run(1.0)
        assert bench.service.answers.counts["annotate"] <= before + RATE
    bench.host.run(20.0)
    assert bench.kinds(1002)[0] == ANNOTATE


def test_a_pass_has_only_so_many_waiting_jobs_looked_at():
    """What follows a pass does not grow with the queue."""
    bench = Bench(["plugin=backfill.plugin1", "forecast=off"], R=make_r(2, 1))
    for jobid in range(1, 503):
        bench.alloc(jobid, duration=100.0, run=False)
    bench.host.run(30.0)        # all have been told
    engine, asked = bench.service.engine, []

    def waiting(first, most):
        asked.append((first, most))
        return engine.waiting(first, most)

    bench.service.engine = Wrapped(engine, waiting=waiting)
    bench.alloc(600, duration=100.0)
    assert asked == [(0, LOOKS - 1)]
    # in time the whole queue, a piece at a time
    bench.host.run(5.0)
    assert asked[1:3] == [(0, HEAD), (LOOKS - 1, LOOKS - HEAD)] and max(most for _, most in asked) <= LOOKS
    pieces = [each for each in asked if each != (0, HEAD)]
    assert sum(len(engine.waiting(*each)) for each in pieces) == 501
    count = len(asked)
    bench.alloc(601, duration=100.0)
    assert asked[count:] == [(0, LOOKS - 1)]


def test_jobs_are_counted_by_stage():
    jobs = Jobs()
    first, second = Job(1, 16, 0.0), Job(2, 16, 0.0)
    jobs.add(first)
    jobs.add(second)
    assert (len(jobs), jobs.held, jobs.count(PENDING)) == (2, 0, 2)
    jobs.move(first, STARTED)
    jobs.move(first, RUNNING)
    assert (jobs.held, jobs.count(PENDING, RUNNING), jobs.count(STARTED)) == (1, 2, 0)
    assert jobs[1] is first and jobs.get(3) is None and list(jobs) == [first, second]
    jobs.remove(first)
    assert (len(jobs), jobs.held, jobs.count(RUNNING)) == (1, 0, 0)


def test_reasons_that_stay_are_told_once():
    bench = Bench(["plugin=backfill.plugin1", "forecast=off"], R=make_r(2, 1))
    for jobid in range(1, 40):
        bench.alloc(jobid, nodes=1 + jobid % 2, duration=100.0, run=False)
    bench.host.run(5.0)
    told = bench.service.answers.counts["annotate"]
    for jobid in range(100, 110):
        bench.alloc(jobid, nodes=2, duration=100.0)
    bench.host.run(30.0)
    assert bench.service.answers.counts["annotate"] == told + 10


def test_quiescent_is_answered_when_all_is_decided():
    bench = Bench(R=make_r(2, 1))
    bench.host.hold_commits = True
    bench.alloc(1)
    bench.send("sched.quiescent", None, "early")
    assert "early" not in dict(bench.host.answers)
    bench.host.hold_commits = False
    bench.host.run()
    bench.send("sched.quiescent", None, "late")
    answers = dict(bench.host.answers)
    assert answers["early"] == answers["late"] == {"status": 0, "alloc_current": 1}


def test_large_bursts_are_committed_in_batches():
    bench = Bench(R=make_r(64, 4))
    for jobid in range(1, 101):
        bench.alloc(jobid, run=False)
    bench.host.run()
    assert all(bench.started(jobid) for jobid in range(1, 101))
    sizes = [sum(key.startswith("R:") for key in puts) for puts in bench.host.commits]
    assert max(sizes) == BATCH and sum(sizes) == 100


def test_a_failed_commit_is_fatal():
    bench = Bench()
    bench.host.commit_error = OSError(errno.ENOSPC, "no space")
    bench.alloc(1)
    assert bench.host.failed.errno == errno.ENOSPC
    assert bench.kinds(1) == []


def test_the_key_scheduling_rides_along():
    bench = Bench(R={**make_r(), "scheduling": {"writer": "other:x", "data": [1]}})
    bench.alloc(1)
    assert bench.host.kvs["R:1"]["scheduling"] == {"writer": "other:x", "data": [1]}
    assert "scheduling" not in bench.given(1)


def test_expiration_of_the_instance_is_a_jobs_without_duration():
    bench = Bench(R=make_r(expiration=5000.0))
    bench.alloc(1)
    bench.alloc(2, duration=10.0)
    assert bench.given(1)["execution"]["expiration"] == 5000.0
    assert bench.given(2)["execution"]["expiration"] == 1010.0
    bench.acquired({"expiration": 0.0})
    bench.alloc(3)
    assert not bench.given(3)["execution"].get("expiration")


@pytest.mark.parametrize(
    "spec, text",
    [
        ({"version": 1}, "resources"),
        (jobspec(duration="1h"), "duration"),
        (jobspec(constraints={"properties": 5}), "properties"),
        (jobspec(constraints={"hostlist": ["a["]}), "hostlist"),
        (jobspec(nodes=5), "5"),
        (jobspec(nodes=1, slots=5, exclusive=True), ""),
        (jobspec(slots=1, gpus=1), "gpu"),
        (jobspec(constraints={"properties": ["nowhere"]}), ""),
    ],
)
def test_denied_with_the_reason(spec, text):
    bench = Bench()
    bench.alloc(1, spec=spec)
    [answer] = bench.to(1)
    assert answer["type"] == DENY
    assert text in answer["note"] and answer["note"]
    bench.alloc(2)
    assert bench.started(2)


def test_impossible_behind_a_blocked_head_is_denied_at_once():
    bench = Bench(R=make_r(2, 2))
    bench.alloc(1, nodes=2, slots=1, cores=2)
    bench.alloc(2, nodes=2, slots=1, cores=2)
    bench.alloc(3, nodes=3)
    assert bench.kinds(3) == [DENY]


def test_an_engine_that_trips_denies_the_job():
    bench = Bench()

    def trip(*values, **named):
        raise RecursionError("too deep")

    engine = bench.service.engine
    bench.service.engine = Wrapped(engine, add=trip)
    bench.alloc(1)
    assert bench.kinds(1) == [DENY]
    assert "too deep" in bench.to(1)[0]["note"]
    assert "test_service_alloc.py" in bench.host.texts(3)[0]
    bench.service.engine = engine
    bench.alloc(2)
    assert bench.started(2)


def test_a_pass_that_trips_loses_nothing():
    bench = Bench()
    engine = bench.service.engine

    def half(now, limit):
        engine.schedule(now, limit)
        raise ZeroDivisionError("half way")

    bench.service.engine = Wrapped(engine, schedule=half)
    bench.alloc(1)
    assert bench.kinds(1) == [SUCCESS]
    assert "half way" in bench.host.texts(3)[0]


def test_a_job_that_cannot_be_started_holds_up_no_other():
    bench = Bench()
    engine = bench.service.engine

    def trip(jobid, *times):
        if jobid == 2:
            raise ValueError("no R today")
        return engine.R(jobid, *times)

    bench.service.engine = Wrapped(engine, R=trip)
    for jobid in (1, 2, 3):
        bench.alloc(jobid, run=False)
    bench.host.run()
    assert bench.started(1) and bench.started(3)
    assert bench.kinds(2) == [DENY] and "no R today" in bench.to(2)[0]["note"]
    assert "R:2" not in bench.host.kvs
    bench.service.engine = engine
    bench.alloc(4, slots=14)
    assert bench.started(4)


def test_an_answer_that_cannot_be_sent_holds_up_no_other():
    bench = Bench()
    respond = bench.host.respond

    def trip(request, payload):
        if request == "alloc-1":
            raise OSError(errno.EHOSTUNREACH, "gone")
        respond(request, payload)

    bench.host.respond = trip
    for jobid in (1, 2):
        bench.alloc(jobid, run=False)
    bench.host.run()
    assert bench.started(2)
    assert "gone" in bench.host.texts(3)[0]


def test_a_commit_that_cannot_be_sent_is_fatal():
    bench = Bench()

    def trip(puts, callback):
        raise OSError(errno.ENOMEM, "no memory")

    bench.host.commit = trip
    bench.alloc(1)
    assert bench.host.failed.errno == errno.ENOMEM


def test_ahead_of_another_queue_is_not_backfilled():
    bench = Bench(R=make_r(2, 1, properties={"a": [0], "b": [1]}))
    bench.alloc(1, queue="a", constraints={"properties": ["a"]})
    bench.alloc(2, queue="a", constraints={"properties": ["a"]}, priority=30)
    bench.alloc(3, queue="b", constraints={"properties": ["b"]})
    assert not bench.started(2)
    assert bench.annotations(3)["selection_type"] == "immediate"


class Wrapped:
    """An engine with some methods replaced."""

    def __init__(self, engine, **changed):
        self._engine = engine
        self._changed = changed

    def __getattr__(self, name):
        return self._changed.get(name) or getattr(self._engine, name)


def test_asked_again_the_later_request_is_answered():
    bench = Bench(R=make_r(1, 1))
    bench.alloc(1)
    bench.alloc(2)
    payload = {"id": 2, "priority": 16, "userid": 1, "t_submit": 1.0, "jobspec": jobspec()}
    bench.send("sched.alloc", payload, "again")
    bench.free(1)
    assert [payload["type"] for request, payload in bench.host.answers if request == "again"][-1] == SUCCESS


@pytest.mark.parametrize(
    "topic, payload",
    [
        ("sched.alloc", {}),
        ("sched.alloc", {"id": True, "priority": 1, "jobspec": {}}),
        ("sched.alloc", {"id": 1, "priority": 16, "jobspec": [], "t_submit": 0}),
        ("sched.alloc", [1]),
        ("sched.cancel", {"id": "x"}),
        ("sched.free", {"id": 1, "final": 3}),
        ("sched.free", {"id": 1, "R": 5}),
        ("sched.free", {"id": 1, "final": True}),
        ("sched.prioritize", {"jobs": [[1]]}),
        ("sched.prioritize", {"jobs": 1}),
        ("sched.expiration", {"id": 1, "expiration": "soon"}),
    ],
)
def test_broken_messages(topic, payload):
    bench = Bench()
    bench.send(topic, payload)
    assert topic in bench.host.texts(3)[0]
    if topic in ("sched.alloc", "sched.expiration"):
        assert bench.host.errors[0][1] == (errno.EINVAL if topic == "sched.expiration" else errno.EPROTO)
    else:
        assert bench.host.errors == []
    bench.alloc(99)
    assert bench.started(99)


def test_unknown_topic():
    bench = Bench()
    bench.send("sched.nonsense", {})
    assert bench.host.errors[0][1] == errno.ENOSYS
