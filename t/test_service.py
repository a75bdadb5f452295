# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The scheduler protocol, on a broker made for it (see fakehost)."""

import errno
import random

import pytest

from fakehost import Bench, FakeHost, jobspec, make_r
from fluxsched.formats import r
from fluxsched.service import passes
from fluxsched.service.annotate import HOLD, RATE
from fluxsched.service.commit import BATCH
from fluxsched.service.protocol import ANNOTATE, CANCEL, DENY, SUCCESS
from fluxsched.service.service import Service, ServiceError

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


# -- arguments and configuration ----------------------------------------------


@pytest.mark.parametrize(
    "argument, text",
    [
        ("plugin=nothing.at.all", "nothing.at.all"),
        ("colour=blue", "unknown argument"),
        ("queue-depth=0", "queue-depth"),
        ("rdl-conf=/no/such/file.lua", "/no/such/file.lua"),
        ("plugin-opts=colour=blue", "colour"),
    ],
)
def test_what_cannot_be_loaded(argument, text):
    with pytest.raises(ServiceError, match=text):
        Service(FakeHost(), [argument])


def test_configuration_that_cannot_be_loaded():
    with pytest.raises(ServiceError, match="sched.colour"):
        Service(FakeHost({"sched": {"colour": 1}}), [])


def test_configuration_sets_the_same_things():
    bench = Bench(config={"sched": {"queue-depth": 4, "plugin": "backfill.plugin1"}})
    assert bench.host.requests("job-manager.sched-ready") == [{"mode": "limited", "limit": 4}]
    assert bench.service.settings.plugin == "backfill.plugin1"


def test_fair_share_knows_the_users():
    bench = Bench(["plugin-opts=order=multifactor,weight-age=0,weight-size=0"], R=make_r(1, 1))
    for jobid, userid in ((1, 7), (2, 7), (3, 8)):
        bench.alloc(jobid, nodes=1, slots=1, cores=1, duration=100.0, userid=userid)
    assert bench.started(1)
    bench.free(1)
    assert bench.started(3) and not bench.started(2)


def test_reload_of_configuration_changes_the_plugin():
    bench = Bench(R=make_r(2, 4))
    bench.alloc(1, nodes=1, slots=1, cores=4, duration=100.0)
    bench.alloc(2, nodes=2, slots=1, cores=4, duration=100.0)
    bench.alloc(3, nodes=1, slots=1, cores=4, duration=50.0)
    assert [bench.started(job) for job in (1, 2, 3)] == [True, False, False]
    bench.host.conf = {"sched": {"plugin": "backfill.plugin1"}}
    bench.service.reconfigure()
    bench.host.run()
    assert bench.started(3)
    assert bench.to(3)[-1]["annotations"]["sched"]["selection_type"] == "backfilled"
    bench.free(1)
    bench.free(3)
    assert bench.started(2)


def test_reload_of_configuration_that_cannot_be_used():
    bench = Bench()
    bench.host.conf = {"sched": {"plugin": "no.such"}}
    with pytest.raises(ServiceError, match="no.such"):
        bench.service.reconfigure()
    assert bench.service.settings.plugin == "sched.plugin1"
    bench.alloc(1)
    assert bench.started(1)


def test_reload_keeps_marks():
    bench = Bench(R=make_r(3))
    bench.acquired({"down": "0", "property-add": {"big": "2"}})
    bench.acquired({"shrink": "1", "down": "1"})
    bench.host.conf = {"sched": {"sched-once": True}}
    bench.service.reconfigure()
    bench.alloc(1, nodes=1, exclusive=True, constraints={"properties": ["big"]})
    bench.alloc(2, nodes=1)
    assert bench.ranks(1) == [2]
    assert not bench.started(2)
    bench.acquired({"up": "0"})
    bench.host.run()
    assert bench.ranks(2) == [0]


RDL = """
uses "Node"
Hierarchy "default" { Resource{ "cluster", name = "c", children = {
    ListOf{ Node, ids = "0-3", args = { name = "node", sockets = { "0-1", "2-3" } } } } } }
"""


@pytest.fixture
def rdl(tmp_path):
    path = tmp_path / "nodes.lua"
    path.write_text(RDL)
    return path


def test_another_engine_takes_over_all_jobs(rdl):
    bench = Bench(["plugin=backfill.plugin1"])
    bench.host.hold_commits = True
    bench.alloc(1, nodes=2, slots=1, cores=4, duration=100.0)
    bench.host.let_commit()
    bench.free(1, make_r(ranks=[1]), final=False)
    bench.alloc(2, nodes=2, slots=1, cores=4, duration=10.0)    # its commit is under way
    bench.alloc(3, nodes=4, slots=1, cores=4)
    bench.host.conf = {"sched": {"rdl-conf": str(rdl)}}
    before = bench.service.engine
    bench.service.reconfigure()
    assert bench.service.engine is not before
    bench.host.hold_commits = False
    bench.alloc(4, nodes=1, slots=1, cores=4, duration=5.0)
    assert bench.ranks(2) == [1, 2] and bench.ranks(4) == [3]
    assert bench.annotations(3)["t_estimate"] == pytest.approx(1100.0)
    for jobid in (2, 4, 1):
        bench.free(jobid)
    assert bench.started(3)
    bench.host.run(1.0)
    assert "socket1" in str(bench.host.kvs["lwj.3.rdl"])
    assert bench.host.texts(3) == []


def test_memory_that_is_held_is_held_over_a_reload(tmp_path):
    path = tmp_path / "memory.lua"
    path.write_text(RDL.replace('"0-3"', '"0"').replace("sockets =", "memory_per_socket = 1000, sockets ="))

    def memory(amount):
        spec = jobspec()
        spec["resources"][0]["with"].append({"type": "memory", "count": amount})
        return spec

    arguments = [f"rdl-conf={path}"]
    first = Bench(arguments, R=make_r(1))
    first.alloc(1, spec=memory(700))
    first.alloc(2, spec=memory(600))
    assert first.started(1) and first.started(2)
    first.alloc(3, spec=memory(800))
    assert not first.started(3)
    assert first.host.kvs["R:1"]["scheduling"]["pools"]
    running = [{"id": jobid, "priority": 16, "userid": 1, "t_submit": 1.0} for jobid in (1, 2)]
    second = Bench(arguments, R=make_r(1), kvs=first.host.kvs, running=running)
    second.alloc(3, spec=memory(800))
    assert not second.started(3)
    second.free(1, first.given(1))
    assert second.started(3)
    assert second.host.texts(3) == []


def test_another_engine_that_does_not_hold_the_jobs(tmp_path):
    path = tmp_path / "small.lua"
    path.write_text(RDL.replace('"0-3"', '"0-1"').replace('"2-3"', '"2"'))
    bench = Bench()
    bench.alloc(1, nodes=4, slots=1, cores=4)
    bench.host.conf = {"sched": {"rdl-conf": str(path), "in-sim": True}}
    with pytest.raises(ServiceError, match="cannot be taken over"):
        bench.service.reconfigure()
    assert bench.service.settings.rdl_conf == ""
    bench.free(1)
    bench.alloc(2, nodes=4, slots=1, cores=4)
    assert bench.started(2)
    bench.host.run(1.0)
    assert bench.host.kvs["lwj.2.rdl"][0]["hosts"] == ["node[0-3]"]


def test_another_engine_denies_what_cannot_run_in_it(tmp_path):
    path = tmp_path / "small.lua"
    path.write_text(RDL.replace('"0-3"', '"0-1"'))
    bench = Bench()
    bench.alloc(1, nodes=1, slots=1, cores=4)
    bench.alloc(2, nodes=4, slots=1, cores=4)
    bench.host.conf = {"sched": {"rdl-conf": str(path), "in-sim": True}}
    bench.service.reconfigure()
    assert bench.kinds(2)[-1] == DENY


# -- alloc --------------------------------------------------------------------


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


def test_annotations_keep_to_a_budget():
    bench = Bench(["plugin=backfill.plugin1"], R=make_r(2, 1))
    for jobid in range(1, 1003):
        bench.alloc(jobid, duration=100.0, run=False)
    bench.host.run()
    told = bench.service.counts["annotate"]
    assert 0 < told <= RATE
    # The foremost first; in time all.
    assert bench.kinds(3) == [ANNOTATE] and bench.kinds(1002) == []
    for _ in range(10):
        before = bench.service.counts["annotate"]
        bench.host.run(1.0)
        assert bench.service.counts["annotate"] <= before + RATE + 1
    bench.host.run(10.0)
    assert bench.kinds(1002) == [ANNOTATE]


def test_reasons_that_stay_are_told_once():
    bench = Bench(["plugin=backfill.plugin1"], R=make_r(2, 1))
    for jobid in range(1, 40):
        bench.alloc(jobid, nodes=1 + jobid % 2, duration=100.0, run=False)
    bench.host.run(5.0)
    told = bench.service.counts["annotate"]
    for jobid in range(100, 110):
        bench.alloc(jobid, nodes=2, duration=100.0)
    bench.host.run(30.0)
    assert bench.service.counts["annotate"] == told + 10


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
    assert "test_service.py" in bench.host.texts(3)[0]
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


# -- cancel, free, prioritize, expiration -------------------------------------


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
    assert bench.service.jobs == {}
    bench.alloc(2)
    bench.send("sched.free", {"id": 2, "R": R})
    assert list(bench.service.jobs) == [2]


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


# -- a long random talk -------------------------------------------------------


@pytest.mark.parametrize("plugin", ["sched.plugin1", "backfill.plugin1"])
@pytest.mark.parametrize("seed", range(6))
def test_no_core_is_ever_held_twice(seed, plugin):
    """Alloc, cancel, free, ranks up and down in any order, commits that come
    late: what the job manager was given never overlaps, and each request is
    answered exactly once for good."""
    rng = random.Random(seed)
    bench = Bench([f"plugin={plugin}"], R=make_r(6, 4))
    bench.host.hold_commits = True
    jobid = 0
    held = {}           # job -> {rank: set of cores}, as the job manager knows it
    waiting = set()
    seen = 0
    for _ in range(400):
        action = rng.random()
        if action < 0.45:
            jobid += 1
            shape = rng.choice([
                {"slots": rng.randint(1, 6)},
                {"nodes": rng.randint(1, 3), "slots": 1, "cores": rng.randint(1, 4)},
                {"nodes": rng.randint(1, 2), "exclusive": True},
            ])
            bench.alloc(jobid, duration=rng.choice([0.0, 30.0, 300.0]), run=False, **shape)
            waiting.add(jobid)
        elif action < 0.55 and waiting:
            bench.send("sched.cancel", {"id": rng.choice(sorted(waiting))})
        elif action < 0.7 and held:
            job = rng.choice(sorted(held))
            bench.send("sched.free", {"id": job, "R": bench.given(job), "final": True})
            del held[job]
        elif action < 0.75:
            bench.acquired({rng.choice(["up", "down"]): str(rng.randrange(6))})
        elif action < 0.85 and bench.host.held:
            bench.host.let_commit()
        else:
            bench.host.run(rng.choice([0.0, 1.0, 20.0]))
        for _, payload in bench.host.answers[seen:]:
            if "type" not in payload or payload["type"] == ANNOTATE:
                continue
            waiting.remove(payload["id"])
            if payload["type"] == SUCCESS:
                nodes = r.parse(payload["R"])
                held[payload["id"]] = dict(zip(nodes.ranks, map(ids, nodes.cores)))
        seen = len(bench.host.answers)
        taken = set()
        for job in held.values():
            for rank, cores in job.items():
                for core in cores:
                    assert (rank, core) not in taken
                    taken.add((rank, core))
    assert bench.host.texts(3) == []
    assert bench.host.failed is None
    # all come back, all come up: everybody gets their turn
    bench.host.hold_commits = False
    bench.acquired({"up": "0-5"})
    for _ in range(2000):
        bench.host.run(5.0)
        for _, payload in bench.host.answers[seen:]:
            if "type" in payload and payload["type"] != ANNOTATE:
                waiting.remove(payload["id"])
                if payload["type"] == SUCCESS:
                    held[payload["id"]] = {}
        seen = len(bench.host.answers)
        if not held:
            break
        job = held.popitem()[0]
        bench.send("sched.free", {"id": job, "R": bench.given(job), "final": True})
    assert not waiting


def ids(text):
    from fluxsched.formats import idset

    return idset.ids(text)
