# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""sched.when: the start that a job would get, without submitting it."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakehost import Bench, jobspec, make_r
from fluxsched.service import slices
from test_service_ask import EASY, ask, at, busy, refusal


def wanted(**shape):
    return {"jobspec": jobspec(**shape)}


def test_now():
    answer = ask(busy(), "sched.when", **wanted(nodes=1, exclusive=True, duration=60.0))
    assert answer == {
        "now": 1000.0, "verdict": "now", "start": 1000.0, "reason": None, "nodes": "node2", "duration": 60.0}


def test_later():
    answer = ask(busy(), "sched.when", **wanted(nodes=1, exclusive=True, duration=700.0))
    # Behind 2, which starts at 1600, and beside 3, which takes two of the nodes from 1660 on.
    assert (answer["verdict"], answer["start"], answer["nodes"]) == ("later", 1660.0, "node2")
    assert answer["reason"] == f"needs 1 node, 2 free; starting now would delay 2, planned for {at(1600)}"


def test_where_the_pass_reserves_a_start_that_is_the_answer():
    bench = busy(["plugin=backfill.plugin1", "plugin-opts=reserve-depth=-1"])
    answer = ask(bench, "sched.when", **wanted(nodes=1, exclusive=True, duration=700.0))
    assert (answer["verdict"], answer["start"], answer["nodes"]) == ("later", 1660.0, None)


def test_nothing_is_submitted():
    bench = busy()
    before = ask(bench, "sched.stats")
    ask(bench, "sched.when", **wanted(nodes=1, exclusive=True, duration=60.0))
    ask(bench, "sched.when", **wanted(nodes=4, exclusive=True, duration=60.0))
    after = ask(bench, "sched.stats")
    assert after["engine"] == before["engine"] and after["jobs"] == before["jobs"]
    assert after["when"]["count"] == 2 and after["when"]["seconds"] >= after["when"]["longest"] > 0
    bench.send("sched.stats-clear", None)
    assert ask(bench, "sched.stats")["when"] == {"count": 0, "seconds": 0.0, "longest": 0.0}
    bench.alloc(4, nodes=1, exclusive=True, duration=60.0)
    assert bench.started(4)


def test_never():
    bench = busy()
    answer = ask(bench, "sched.when", **wanted(nodes=5, exclusive=True))
    assert (answer["verdict"], answer["start"]) == ("never", None)
    assert answer["reason"].startswith("unsatisfiable request: needs 5 whole nodes")
    answer = ask(bench, "sched.when", **wanted(nodes=1, constraints={"properties": ["odd"]}))
    assert answer["reason"] == "unsatisfiable request: no node matches the constraint"
    answer = ask(bench, "sched.when", urgency=0, **wanted())
    assert (answer["verdict"], answer["reason"]) == ("never", "a job of urgency 0 is held")


def test_behind_a_job_without_a_time_limit_no_start_can_be_told():
    bench = Bench(EASY, R=make_r(2, 1))
    bench.alloc(1, nodes=1)
    answer = ask(bench, "sched.when", **wanted(nodes=2, duration=10.0))
    assert (answer["verdict"], answer["start"]) == ("never", None)
    assert answer["reason"] == (
        "needs 2 nodes with 1 core each, 1 free; 1 more when 1 ends, without a time limit; "
        "no start can be told, as 1 has no time limit")


def test_waiting_for_nodes_that_are_down():
    bench = Bench(EASY, R=make_r(2, 1))
    bench.acquired({"down": "1"})
    answer = ask(bench, "sched.when", **wanted(nodes=2, duration=10.0))
    assert answer["verdict"] == "never" and answer["reason"] == (
        "needs 2 nodes with 1 core each, 1 up: waiting for nodes that are down or drained; no start can be told")


def test_the_instance_ends_before():
    bench = Bench(EASY, R=make_r(1, 1, expiration=1100.0))
    bench.alloc(1, duration=99.0)
    assert ask(bench, "sched.when", **wanted(duration=1.0))["start"] == 1099.0
    bench.alloc(2, duration=10.0)
    answer = ask(bench, "sched.when", **wanted(duration=1.0))
    assert answer["verdict"] == "never" and answer["reason"].endswith("; the instance ends before that")


def test_an_urgent_job_comes_first():
    bench = busy()
    shape = wanted(nodes=4, exclusive=True, duration=60.0)
    assert ask(bench, "sched.when", urgency=20, **shape)["start"] == 1600.0
    assert ask(bench, "sched.when", **shape)["start"] > 1660.0


def test_guests():
    bench = busy()
    bench.host.guests["question"] = 7
    assert ask(bench, "sched.when", **wanted(nodes=1, exclusive=True, duration=60.0))["verdict"] == "now"
    number, text = refusal(bench, "sched.when", {"urgency": 17, **wanted()}, guest=7)
    assert (number, text) == (errno.EPERM, "only the instance owner can submit with urgency >16")


def test_a_guest_counts_with_what_the_user_has_used():
    bench = Bench(["plugin-opts=order=multifactor,weight-age=0,weight-size=0"], R=make_r(1, 1))
    bench.alloc(1, duration=50.0, userid=7)
    bench.alloc(2, duration=50.0, userid=7)
    bench.host.run(1.0)
    shape = wanted(duration=5.0)
    bench.host.guests["question"] = 8
    assert ask(bench, "sched.when", **shape)["start"] == 1050.0
    bench.host.guests["question"] = 7
    assert ask(bench, "sched.when", **shape)["start"] == 1100.0


@pytest.mark.parametrize("payload, number, text", [
    ({}, errno.EPROTO, "sched.when: field 'jobspec' is missing"),
    ({"jobspec": []}, errno.EPROTO, "sched.when: field 'jobspec': expected an object"),
    ({"jobspec": {}}, errno.EINVAL, "version: expected an integer"),
    ({"jobspec": {**jobspec(), "attributes": 5}}, errno.EINVAL, "attributes"),
    ({"jobspec": {**jobspec(), "attributes": {"system": 5}}}, errno.EINVAL, "attributes.system"),
    ({"jobspec": jobspec(queue="odd")}, errno.EINVAL, "'odd' is not a valid queue: there are no queues here"),
    ({"jobspec": jobspec(), "urgency": 32}, errno.EPROTO, "sched.when: field 'urgency': expected an integer from 0 to"),
    ({"jobspec": jobspec(), "urgency": -1}, errno.EPROTO, "sched.when: field 'urgency'"),
    ({"jobspec": jobspec(), "urgency": "hold"}, errno.EPROTO, "sched.when: field 'urgency'"),
])
def test_refusals(payload, number, text):
    got, said = refusal(busy(), "sched.when", payload)
    assert got == number and said.startswith(text)


def test_queues_and_defaults_are_those_of_the_instance():
    defaults = {"jobspec": {"defaults": {"system": {"queue": "batch", "duration": "1h"}}}}
    own = {"jobspec": {"defaults": {"system": {"duration": 60}}}}
    config = {"policy": defaults, "queues": {"batch": {"requires": ["big"]}, "quick": {"policy": own}, "slow": {}}}
    bench = Bench(EASY, R=make_r(4, 1, properties={"big": [3]}), config=config)
    answer = ask(bench, "sched.when", **wanted(nodes=1))
    assert (answer["nodes"], answer["duration"]) == ("node3", 3600.0)
    assert ask(bench, "sched.when", **wanted(nodes=1, queue="quick"))["duration"] == 60.0
    assert ask(bench, "sched.when", **wanted(nodes=1, queue="quick", duration=5.0))["duration"] == 5.0
    assert "properties" not in str(jobspec(nodes=1))
    assert ask(bench, "sched.when", **wanted(nodes=2))["verdict"] == "never"
    assert refusal(bench, "sched.when", wanted(queue="odd")) == (errno.EINVAL, "'odd' is not a valid queue")


def test_questions_wait_for_each_other_and_not_without_end():
    bench = busy()
    for number in range(slices.WAITING_MAX + 1):
        bench.send("sched.when", wanted(nodes=4, exclusive=True, duration=60.0), f"q{number}")
    assert [code for _, code, _ in bench.host.errors] == [errno.EAGAIN]
    bench.host.run(10.0)
    answered = [request for request, _ in bench.host.answers if request.startswith("q")]
    assert answered == [f"q{number}" for number in range(slices.WAITING_MAX)]


def test_it_is_run_in_slices(monkeypatch):
    monkeypatch.setattr(slices, "FIRST", 1)
    monkeypatch.setattr(slices, "SLICE", 0.0)
    bench = Bench(EASY, R=make_r(4, 1))
    for jobid in range(1, 60):
        bench.alloc(jobid, nodes=1 + jobid % 4, duration=10.0 + jobid)
    monkeypatch.setattr(slices, "PAUSE_AFTER", 60.0)    # however slow this is
    whole = ask(bench, "sched.when", **wanted(nodes=4, duration=60.0))
    bench.send("sched.when", wanted(nodes=4, duration=60.0), "sliced")
    count = 0
    while not [request for request, _ in bench.host.answers if request == "sliced"]:
        count += 1
        bench.send("sched.queue", {}, "meanwhile")
        bench.host.soon.pop(0)() if bench.host.soon else bench.host.run(0.1)
    assert count > 20
    assert [request for request, _ in bench.host.answers][-2:] == ["meanwhile", "sliced"]
    assert bench.host.answers[-1][1]["start"] == whole["start"]


def test_what_is_too_far_away(monkeypatch):
    monkeypatch.setattr(slices, "FIRST", 1)
    monkeypatch.setattr(slices, "SLICE", 0.0)
    monkeypatch.setattr(slices, "SLICES_MAX", 3)
    bench = Bench(EASY, R=make_r(4, 1))
    for jobid in range(1, 60):
        bench.alloc(jobid, nodes=1 + jobid % 4, duration=10.0 + jobid)
    bench.send("sched.when", wanted(nodes=4, duration=60.0), "question")
    bench.host.run(10.0)
    assert bench.host.errors == [("question", errno.ETIMEDOUT, "the answer is too far away")]


FAULTY = """
class Plugin:
    def __init__(self, options): self.fails = False
    def sched_loop_setup(self, e): pass
    def find_resources(self, e, job):
        if e.info(job).duration == 13.0:
            raise RuntimeError("unlucky")
        return e.fits_now(job)
    def select_resources(self, e, job): return e.select(job)
    def allocate_resources(self, e, job): e.start(job)
    def reserve_resources(self, e, job): return 0
"""


def test_a_policy_that_fails(tmp_path):
    path = tmp_path / "faulty.plugin1.py"
    path.write_text(FAULTY)
    bench = Bench([f"plugin={path}"], R=make_r(1, 1))
    bench.send("sched.when", wanted(duration=13.0), "question")
    bench.host.run()
    [(_, number, text)] = bench.host.errors
    assert number == errno.EINVAL and "unlucky" in text
    assert any("sched.when" in line for line in bench.host.texts(3))
    assert ask(bench, "sched.when", **wanted(duration=5.0))["verdict"] == "now"


POLICIES = ["plugin=sched.plugin1", "plugin=backfill.plugin1", "plugin=backfill.plugin1 plugin-opts=reserve-depth=-1",
            "plugin=backfill.plugin1 plugin-opts=reserve-depth=2", "plugin=sched.plugin1 plugin-opts=order=wfp3",
            "plugin=backfill.plugin1 plugin-opts=order=saf"]
SHAPES = st.fixed_dictionaries({
    "nodes": st.integers(0, 4), "slots": st.integers(1, 2), "cores": st.integers(1, 2),
    "duration": st.sampled_from([7.0, 20.0, 50.0]),
})


@given(st.sampled_from(POLICIES), st.lists(SHAPES, max_size=12), SHAPES)
def test_it_comes_true(policy, shapes, shape):
    """Where all jobs take as long as they asked for and no other comes, the job starts when it was told."""
    bench = Bench(policy.split(), R=make_r(4, 4))
    for jobid, other in enumerate(shapes, 1):
        bench.alloc(jobid, **other)
    told = ask(bench, "sched.when", **wanted(**shape))
    last = len(shapes) + 1
    bench.alloc(last, **shape)
    over = set()
    while not bench.started(last):
        bench.end_next(over)
    assert bench.service.engine.times(last)[0] == pytest.approx(told["start"], abs=1e-5)
    assert told["verdict"] == ("now" if told["start"] == told["now"] else "later")
