# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Shadows: policies that follow the live instance, and what they would have done."""

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakehost import Bench, make_r
from fluxsched.cli.shadow import text
from fluxsched.formats import idset
from fluxsched.service import deadline, shadow
from fluxsched.service.protocol import ServiceError
from test_forward import PLAIN_PYTHON
from test_service_ask import ask, refusal

FCFS = "plugin=sched.plugin1"


def follow(*policies, arguments=(FCFS,), **more):
    return Bench([*arguments, f"shadow={','.join(policies)}"], **more)


def pause(bench, seconds=0.3):
    """Let the shadows take their turns."""
    bench.host.run(seconds)


def told(bench):
    """What the shadows tell, by name."""
    answer = ask(bench, "sched.shadow")
    return answer, {found["name"]: found for found in answer["shadows"]}


def over(bench, jobid, at):
    """A job ends at a time."""
    bench.host.run(at - bench.host.time)
    bench.free(jobid)


def test_a_backfilled_job_that_waits_live():
    bench = follow("easy", "fcfs", R=make_r(2, 1))
    bench.alloc(1, nodes=1, duration=100.0)
    bench.alloc(2, nodes=2, duration=50.0)
    bench.alloc(3, nodes=1, duration=60.0)
    pause(bench)
    answer, found = told(bench)
    assert answer["live"] == {"started": 1, "wait": 0.0}
    easy, fcfs = found["easy"], found["fcfs"]
    # Under EASY job 3 runs beside 1 at once; for how long is not known before it has run live.
    assert (easy["started"], easy["ahead"], easy["both"]) == (2, 1, 1) and easy["clock"] == pytest.approx(1000.0)
    assert (fcfs["started"], fcfs["ahead"], fcfs["both"]) == (1, 0, 1) and fcfs["clock"] > 1000.0
    over(bench, 1, 1080.0)
    over(bench, 2, 1120.0)
    assert bench.started(3)
    pause(bench)
    _, found = told(bench)
    # It has started live at 1120, so that it is known that it runs for as long as since then.
    assert 1000.0 <= found["easy"]["clock"] <= 1000.4 and found["easy"]["both"] == 2
    over(bench, 3, 1150.0)
    pause(bench, 2.0)
    answer, found = told(bench)
    assert answer["live"]["started"] == 3 and answer["live"]["wait"] == pytest.approx((0 + 80 + 120) / 3, abs=0.1)
    easy, fcfs = found["easy"], found["fcfs"]
    # 3 ends at 1030 there and 1 at 1080, when 2 starts; so only 3 starts sooner.
    assert (easy["started"], easy["both"], easy["ahead"], easy["waiting"]) == (3, 3, 0, 0)
    assert easy["wait"] == pytest.approx(80 / 3, abs=0.2) and easy["saved"] == pytest.approx(120.0, abs=0.5)
    assert easy["clock"] == pytest.approx(bench.host.time, abs=1.5)
    assert fcfs["saved"] == pytest.approx(0.0, abs=1e-6) and fcfs["wait"] == answer["live"]["wait"]
    shown = text(answer)
    assert shown[0].startswith("live since ") and shown[0].endswith(": 3 jobs started, mean wait 1m7s")
    assert shown[3].split() == ["easy", "now", "3", "27s", "3", "40s", "2m", "0"]
    assert shown[4].split() == ["fcfs", "now", "3", "1m7s", "3", "0s", "0s", "0"]


def test_a_shadow_that_is_slower():
    bench = follow("fcfs", arguments=["plugin=backfill.plugin1"], R=make_r(2, 1))
    bench.alloc(1, nodes=1, duration=100.0)
    bench.alloc(2, nodes=2, duration=50.0)
    bench.alloc(3, nodes=1, duration=60.0)
    over(bench, 3, 1040.0)
    over(bench, 1, 1080.0)
    over(bench, 2, 1120.0)
    pause(bench, 2.0)
    answer, found = told(bench)
    # 3 starts at 1120 there, and ends at 1160, which is still to come.
    assert (found["fcfs"]["started"], found["fcfs"]["saved"]) == (3, pytest.approx(-120.0, abs=0.5))
    assert found["fcfs"]["both"] == 3 and text(answer)[3].split()[5] == "-40s"
    bench.alloc(4, nodes=2, duration=10.0)
    over(bench, 4, 1130.0)
    pause(bench, 40.0)
    _, found = told(bench)
    assert found["fcfs"]["started"] == 4 and found["fcfs"]["saved"] == pytest.approx(-120.0 - 38.0, abs=2.0)


def test_cancelled_while_it_waits_live():
    bench = follow("easy", R=make_r(2, 1))
    bench.alloc(1, nodes=1, duration=100.0)
    bench.alloc(2, nodes=2, duration=50.0)
    bench.alloc(3, nodes=1, duration=60.0)
    bench.alloc(4, nodes=1, duration=60.0)
    pause(bench, 10.0)
    bench.send("sched.cancel", {"id": 3})
    bench.send("sched.cancel", {"id": 4})
    pause(bench, 5.0)
    _, found = told(bench)
    easy = found["easy"]
    # 3 ran in the shadow until it was cancelled; 4 waited there, too.
    assert (easy["started"], easy["waiting"], easy["ahead"]) == (2, 1, 0)
    assert easy["clock"] == pytest.approx(bench.host.time, abs=1.1)
    bench.alloc(3, nodes=1, duration=60.0)
    pause(bench)
    assert told(bench)[1]["easy"]["started"] == 3


def test_every_input_goes_to_the_shadow():
    bench = follow("fcfs", R=make_r(4, 1, properties={"big": [3]}))
    engine = bench.service.shadows.engines()["fcfs"]
    bench.acquired({"down": "0"})
    pause(bench)
    assert engine.stats()["nodes"]["up"] == 3
    bench.acquired({"up": "0"})
    bench.acquired({"shrink": "1"})
    pause(bench)
    assert engine.stats()["nodes"]["up"] == 3
    bench.acquired({"expiration": 5000.0})
    bench.alloc(1, nodes=1)
    pause(bench)
    assert engine.times(1)[1] == 5000.0
    bench.acquired({"expiration": 6000.0})
    bench.alloc(2, nodes=2, duration=100.0)
    pause(bench)
    assert engine.times(1)[1] == 6000.0 and engine.times(2)[1] == pytest.approx(bench.host.time + 100.0, abs=1.0)
    bench.send("sched.expiration", {"id": 2, "expiration": bench.host.time + 500.0})
    bench.alloc(3, nodes=1, duration=10.0)
    bench.alloc(4, nodes=1, duration=10.0)
    bench.send("sched.prioritize", {"jobs": [[4, 20]]})
    pause(bench)
    assert engine.times(2)[1] == pytest.approx(bench.host.time + 500.0, abs=1.0)
    assert engine.waiting() == bench.service.engine.waiting() == [4, 3]
    engine.sanity_check()


def test_a_limit_that_changes_before_the_job_starts_in_the_shadow():
    bench = follow("fcfs", arguments=["plugin=backfill.plugin1"], R=make_r(2, 1))
    engine = bench.service.shadows.engines()["fcfs"]
    bench.alloc(1, nodes=1, duration=100.0)
    bench.alloc(2, nodes=2, duration=50.0)
    bench.alloc(3, nodes=1, duration=60.0)
    bench.send("sched.expiration", {"id": 3, "expiration": 1090.0})
    bench.send("sched.cancel", {"id": 2})
    pause(bench)
    start, end = engine.times(3)
    assert start >= 1000.0 and end == pytest.approx(start + 90.0)


def test_parts_that_are_given_back_early():
    """Job 2 gives back two of its three nodes 10 and 20 s after its start, also where it starts later than live."""
    bench = follow("fcfs", "easy+ljf", R=make_r(3, 1))
    bench.alloc(1, nodes=1, duration=100.0)
    bench.alloc(2, nodes=3, duration=100.0)
    bench.alloc(3, nodes=2, duration=300.0)
    bench.host.run(1.0)
    over(bench, 1, 1050.0)
    bench.host.run(10.0)
    bench.free(2, make_r(ranks=[1], cores=1), final=False)
    bench.host.run(10.0)
    bench.free(2, make_r(ranks=[0], cores=1), final=False)
    bench.host.run(1.0)
    assert bench.started(3)
    pause(bench, 5.0)
    found = told(bench)[1]
    live = bench.service.engine
    fcfs = bench.service.shadows.engines()["fcfs"]
    assert (fcfs.hosts(2), fcfs.hosts(3)) == (live.hosts(2), live.hosts(3)) and fcfs.allocated_ranks(2) == "2"
    assert fcfs.times(3) == live.times(3) and found["fcfs"]["saved"] == pytest.approx(0.0, abs=1e-6)
    # Where the longest goes first, 3 runs from the begin; 2 waits for it.
    assert bench.service.shadows.engines()["easy+ljf"].allocated_ranks(3) == "1-2"
    over(bench, 2, 1090.0)
    over(bench, 3, 1170.0)
    pause(bench, 200.0)
    assert told(bench)[1]["easy+ljf"]["started"] == 3
    for engine in bench.service.shadows.engines().values():
        engine.sanity_check()


def test_jobs_that_run_at_the_load():
    R = make_r(2, 1)
    before = Bench([FCFS], R=R)
    before.alloc(7, nodes=1, duration=300.0)
    kvs = {"R:7": before.given(7)}
    running = [{"id": 7, "priority": 16, "userid": 100, "t_submit": 900.0}]
    bench = follow("easy", R=R, kvs=kvs, running=running)
    pause(bench)
    engine = bench.service.shadows.engines()["easy"]
    assert engine.running_jobs() == [7] and engine.times(7) == (1000.0, 1300.0)
    bench.alloc(8, nodes=2, duration=10.0)
    bench.free(7, R=before.given(7))
    pause(bench)
    answer, found = told(bench)
    assert found["easy"]["started"] == answer["live"]["started"] == 1 and engine.running_jobs() == [8]


def test_a_job_that_is_denied():
    bench = follow("fcfs", R=make_r(2, 1))
    bench.alloc(1, nodes=1, duration=100.0)
    bench.alloc(2, nodes=2, duration=50.0)
    bench.acquired({"shrink": "1"})
    pause(bench)
    assert 2 in bench.kinds(2)
    _, found = told(bench)
    assert (found["fcfs"]["waiting"], found["fcfs"]["stopped"]) == (0, None)
    bench.alloc(3, nodes=9)
    pause(bench)
    assert told(bench)[1]["fcfs"]["stopped"] is None


RAISES = PLAIN_PYTHON.replace("return engine.fits_now(job)", "{}")


@pytest.mark.parametrize("code, why", [
    ("raise RuntimeError('unlucky')", "RuntimeError: unlucky ("),
    ("raise SystemExit(3)", "SystemExit: 3 ("),
    ("\n        while True:\n            n = 0", "Overrun: it has not come back within 0.05 s"),
])
def test_an_error_ends_the_shadow_and_nothing_else(tmp_path, monkeypatch, code, why):
    monkeypatch.setattr(deadline, "DEADLINE", 0.05 if "while" in code else 60.0)
    path = tmp_path / "mine.py"
    path.write_text(RAISES.format(code))
    bench = follow(str(path), "easy", R=make_r(2, 1))
    bench.alloc(1, nodes=1, duration=100.0)
    pause(bench)
    answer, found = told(bench)
    assert found[str(path)]["stopped"].startswith(why)
    assert [line for line in bench.host.texts(3) if f"shadow {path} has stopped: {why}" in line]
    assert text(answer)[-1].startswith(f"{path} has stopped: {why}")
    assert bench.started(1) and found["easy"]["stopped"] is None and found["easy"]["started"] == 1
    bench.alloc(2, nodes=1, duration=100.0)
    pause(bench)
    assert bench.started(2) and told(bench)[1]["easy"]["started"] == 2
    assert len(bench.host.texts(3)) == 1


def test_a_fault_in_what_it_hears_ends_the_shadows_only(monkeypatch):
    bench = follow("easy", R=make_r(2, 1))
    monkeypatch.setattr(bench.service.shadows, "_note_add", lambda kind, values: 1 / 0)
    bench.alloc(1, nodes=1, duration=100.0)
    pause(bench)
    assert bench.started(1) and told(bench)[1]["easy"]["stopped"].startswith("ZeroDivisionError")
    bench.alloc(2, nodes=1, duration=100.0)
    assert bench.started(2) and len(bench.host.texts(3)) == 1


def test_a_shadow_that_lags_too_far_ends(monkeypatch):
    monkeypatch.setattr(shadow, "INPUTS_MAX", 20)
    bench = follow("easy", R=make_r(2, 1))
    bench.alloc(1, nodes=1, duration=100.0)
    bench.alloc(2, nodes=2, duration=50.0)
    bench.alloc(3, nodes=1, duration=60.0)
    pause(bench)
    for jobid in range(10, 40):
        bench.alloc(jobid, nodes=2, duration=60.0)
        pause(bench)
    _, found = told(bench)
    assert found["easy"]["stopped"].startswith("more than 20 inputs wait for it: it lags ")
    assert found["easy"]["inputs"] == 0 and any("easy has stopped" in line for line in bench.host.texts(3))


def test_it_is_run_in_slices(monkeypatch):
    monkeypatch.setattr(shadow, "SLICE", 0.0)
    monkeypatch.setattr(shadow, "FIRST", 1)
    bench = follow("easy", "conservative", R=make_r(4, 1))
    for jobid in range(1, 40):
        bench.alloc(jobid, nodes=1 + jobid % 4, duration=10.0 + jobid, run=False)
    bench.host.run()
    slices = []
    one = shadow.Shadow._pass
    monkeypatch.setattr(shadow.Shadow, "_pass", lambda self: (slices.append(bench.host.time), one(self)))
    bench.host.run(60.0)
    # A slice at a time, each followed by a pause.
    assert len(slices) > 40 and len(set(slices)) == len(slices)
    for engine in bench.service.shadows.engines().values():
        engine.sanity_check()


def test_refusals(tmp_path):
    for value, why in (
        ("odd", "shadow=odd: policy 'odd': expected fcfs, easy, easy++, conservative, first-fit, hybridN, "),
        ("easy,easy", "argument shadow: easy is named twice"),
        ("easy,,fcfs", "argument shadow: expected names of policies with commas between them"),
        ("easy+odd", "shadow=easy+odd: policy 'easy+odd': unknown order"),
        (",".join(f"hybrid{n}" for n in range(1, 10)), "argument shadow: expected at most 8 policies, got 9"),
    ):
        with pytest.raises(ServiceError) as refused:
            follow(value)
        assert str(refused.value).startswith(why), refused.value
    with pytest.raises(ServiceError, match="expected names"):
        Bench([], config={"sched": {"shadow": [5]}})
    bench = Bench([], config={"sched": {"shadow": ["easy", "fcfs"]}})
    assert list(told(bench)[1]) == ["easy", "fcfs"]
    bare = Bench([])
    assert told(bare)[1] == {} and text(told(bare)[0])[1].startswith("no shadows: ")
    assert refusal(bare, "sched.shadow", [])[0] == errno.EPROTO


def test_only_the_owner_may_ask():
    from fluxsched.service.service import RPCS

    assert not RPCS["sched.shadow"].guests


def test_a_changed_configuration_begins_anew():
    bench = Bench([FCFS], R=make_r(2, 1))
    bench.alloc(1, nodes=1, duration=100.0)
    bench.alloc(2, nodes=2, duration=100.0)
    bench.host.conf["sched"] = {"shadow": "easy"}
    bench.service.reconfigure()
    bench.alloc(3, nodes=1, duration=10.0)
    pause(bench)
    _, found = told(bench)
    assert (found["easy"]["started"], found["easy"]["waiting"]) == (1, 1)
    bench.host.conf["sched"] = {}
    bench.service.reconfigure()
    bench.alloc(4, nodes=1, duration=10.0)
    pause(bench)
    assert told(bench)[1] == {}


STEPS = st.lists(st.one_of(
    st.tuples(st.just("add"), st.integers(1, 4), st.sampled_from([5.0, 20.0, 60.0])),
    st.tuples(st.just("end"), st.integers(0, 9), st.just(0.0)),
    st.tuples(st.just("part"), st.integers(0, 9), st.just(0.0)),
    st.tuples(st.just("cancel"), st.integers(0, 9), st.just(0.0)),
    st.tuples(st.just("urgency"), st.integers(0, 9), st.sampled_from([8.0, 24.0])),
    st.tuples(st.just("down"), st.integers(0, 3), st.just(0.0)),
    st.tuples(st.just("up"), st.integers(0, 3), st.just(0.0)),
    st.tuples(st.just("wait"), st.integers(1, 9), st.just(0.0)),
), max_size=40)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["fcfs", "easy", "conservative", "easy+sjf"]), STEPS)
def test_a_shadow_of_the_live_policy_does_what_it_does(policy, steps):
    from fluxsched.policy import names

    choice = names.choose(policy)
    arguments = [f"plugin={choice.plugin}", f"plugin-opts={names.options_text(choice.options)}"]
    bench = follow(policy, "easy+saf", "hybrid2", arguments=arguments, R=make_r(4, 1))
    engine = bench.service.shadows.engines()[policy]
    jobid = 0
    for step, number, value in steps:
        live = bench.service.engine
        if step == "add":
            jobid += 1
            bench.alloc(jobid, nodes=number, duration=value)
        elif step == "end" and live.running_jobs():
            bench.free(sorted(live.running_jobs())[number % len(live.running_jobs())])
        elif step == "part" and live.running_jobs():
            # The last rank is given back at the end.
            chosen = sorted(live.running_jobs())[number % len(live.running_jobs())]
            ranks = idset.ids(live.allocated_ranks(chosen))
            if len(ranks) > 1:
                bench.free(chosen, make_r(ranks=[ranks[number % len(ranks)]], cores=1), final=False)
        elif step in ("cancel", "urgency") and live.waiting():
            chosen = sorted(live.waiting())[number % len(live.waiting())]
            if step == "cancel":
                bench.send("sched.cancel", {"id": chosen})
            else:
                bench.send("sched.prioritize", {"jobs": [[chosen, int(value)]]})
        elif step in ("down", "up"):
            bench.acquired({step: str(number)})
        else:
            bench.host.run(float(number))
        bench.host.run(0.0)
        bench.host.run(0.15)
    bench.host.run(2.0)
    live = bench.service.engine
    assert engine.waiting() == live.waiting()
    assert {jobid: (engine.times(jobid), engine.hosts(jobid)) for jobid in engine.running_jobs()} \
        == {jobid: (live.times(jobid), live.hosts(jobid)) for jobid in live.running_jobs()}
    answer, found = told(bench)
    assert found[policy]["started"] == answer["live"]["started"] == found[policy]["both"]
    assert found[policy]["saved"] == pytest.approx(0.0, abs=1e-6)
    for other in found.values():
        assert other["stopped"] is None
    for shadowed in bench.service.shadows.engines().values():
        shadowed.sanity_check()
