# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What flux sched asks: why a job waits, the queue, statistics; and the line of a reason."""

import errno
import json
import re
import time

import pytest

from fakehost import Bench, make_r
from fluxsched.cli.why import running, text
from fluxsched.formats.jobspec import Request
from fluxsched.formats.words import clock, plural
from fluxsched.service import prometheus
from fluxsched.service.reasons import Line, wanted

EASY = ["plugin=backfill.plugin1"]


def at(t):
    return time.strftime("%H:%M", time.localtime(t))


def ask(bench, topic, **payload):
    """The answer to a request of the owner."""
    bench.send(topic, payload, "question")
    bench.host.run()
    found = [answer for request, answer in bench.host.answers if request == "question"]
    assert found, bench.host.errors
    json.dumps(found[-1])
    return found[-1]


def refusal(bench, topic, payload, guest=None):
    """(errno, text) of a refused request."""
    if guest is not None:
        bench.host.guests["question"] = guest
    bench.send(topic, payload, "question")
    bench.host.run()
    [(_, number, text)] = bench.host.errors
    bench.host.errors.clear()
    bench.host.guests.clear()
    return number, text


def busy(arguments=EASY, **more):
    """Four nodes, of which job 1 holds two until 1600; job 2 wants all, and 3 would delay it."""
    bench = Bench(arguments, R=make_r(4, 4), **more)
    bench.alloc(1, nodes=2, exclusive=True, duration=600.0)
    bench.alloc(2, nodes=4, exclusive=True, duration=60.0, userid=7)
    bench.alloc(3, nodes=2, exclusive=True, duration=6000.0)
    return bench


# -- why ----------------------------------------------------------------------


def test_why_a_job_waits_for_resources():
    bench = busy()
    bench.host.run(10.0)
    answer = ask(bench, "sched.why", id=2)
    assert answer["reason"] == f"needs 4 nodes, 2 free; 2 more at {at(1600)} when 1 ends"
    assert (answer["state"], answer["code"], answer["now"]) == ("waiting", "resources", 1010.0)
    assert (answer["userid"], answer["priority"], answer["t_submit"], answer["queue"]) == (7, 16, 1000.0, "")
    assert answer["needs"] == {"unit": "node", "count": 4, "text": "4 nodes", "duration": 60.0}
    assert (answer["free"], answer["missing"], answer["up"], answer["able"]) == (2, 2, 4, 4)
    assert answer["nodes"] == {"able": "node[0-3]", "count": 4, "down": "", "downs": 0}
    assert answer["gains"] == [{"id": 1, "count": 2, "end": 1600.0}] and answer["enough_at"] == 1600.0
    assert answer["ahead"] == {"count": 0, "jobs": [], "queue": ""} and answer["obstacles"] == []
    assert answer["planned"]["start"] == 1600.0 and answer["planned"]["by"] in ("forecast", "reservation")
    assert answer["unplanned"] is None


def test_why_a_job_waits_for_one_ahead():
    bench = busy()
    answer = ask(bench, "sched.why", id=3)
    assert answer["reason"] == f"needs 2 nodes, 2 free; starting now would delay 2, planned for {at(1600)}"
    ahead = {"id": 2, "by": "submission", "priority": 16, "t_submit": 1000.0, "planned": 1600.0}
    assert answer["ahead"] == {"count": 1, "jobs": [ahead], "queue": ""}
    assert (answer["missing"], answer["gains"], answer["enough_at"], answer["planned"]) == (0, [], None, None)


def test_a_job_without_a_reservation_has_its_start_from_the_forecast():
    bench = busy()
    bench.host.run(10.0)
    answer = ask(bench, "sched.why", id=3)
    assert answer["planned"] == {"start": 1660.0, "by": "forecast", "likely": 1660.0, "late": 1660.0}
    assert ask(bench, "sched.queue")["jobs"][1]["planned"] == 1660.0
    assert running("3", ask(bench, "sched.why", id=1)).startswith("3 has been running since")
    shown = text("3", answer)
    assert shown[-1].startswith(f"Planned     {at(1660)} (in 10m50s); as likely as not by {at(1660)}, in nine of ten")
    bench.alloc(4, nodes=4, exclusive=True)
    bench.alloc(5, nodes=4, exclusive=True, duration=6000.0)
    bench.host.run(10.0)
    answer = ask(bench, "sched.why", id=5)
    assert answer["planned"] is None
    assert text("5", answer)[-1] == "Planned     a job without a time limit is ahead: no start can be told"


def test_who_is_ahead_and_why():
    bench = busy(["plugin=sched.plugin1", "plugin-opts=order=sjf"])
    bench.alloc(4, nodes=4, exclusive=True, duration=9000.0, priority=20)
    bench.alloc(5, nodes=1, exclusive=True, duration=6000.0)
    ahead = ask(bench, "sched.why", id=5)["ahead"]
    assert [(job["id"], job["by"]) for job in ahead["jobs"]] == [
        (4, "priority"), (2, "order"), (3, "submission")]
    for jobid in range(10, 40):
        bench.alloc(jobid, nodes=4, exclusive=True, duration=6000.0)
    ahead = ask(bench, "sched.why", id=39)["ahead"]
    assert ahead["count"] == 33 and len(ahead["jobs"]) == 20


def test_only_jobs_of_its_queue_are_ahead():
    config = {"queues": {"a": {}, "b": {}, "c": {"parent": "b"}}}
    bench = Bench(EASY, R=make_r(2, 1), config=config)
    bench.alloc(1, nodes=2, queue="a", duration=100.0)
    for jobid, queue in ((2, "a"), (3, "b"), (4, "c")):
        bench.alloc(jobid, nodes=2, queue=queue, duration=10.0)
    answer = ask(bench, "sched.why", id=4)
    assert [job["id"] for job in answer["ahead"]["jobs"]] == [3]
    assert (answer["queue"], answer["ahead"]["queue"]) == ("c", "b")


def test_what_else_stands_in_the_way():
    bench = Bench(["plugin=backfill.plugin1", "plugin-opts=queue-depth=1"],
                  R=make_r(4, 4, properties={"big": [1, 2, 3]}, expiration=5000.0))
    bench.acquired({"down": "2-3"})
    bench.alloc(1, nodes=2, exclusive=True, duration=100.0, constraints={"properties": ["big"]})
    answer = ask(bench, "sched.why", id=1)
    assert answer["code"] == "down"
    assert answer["reason"] == "needs 2 nodes, 1 up: waiting for nodes that are down or drained"
    assert answer["obstacles"] == [
        {"kind": "constraint", "text": "the constraint leaves 3 of 4 nodes"},
        {"kind": "drain", "text": "of the nodes that it could use 2 are down or drained: node[2-3]"},
    ]
    bench.acquired({"up": "3"})
    bench.alloc(2, nodes=3, exclusive=True, duration=9000.0)
    bench.alloc(3, nodes=4, duration=10.0)
    bench.alloc(4, slots=1, duration=10.0)
    obstacles = ask(bench, "sched.why", id=2)["obstacles"]
    assert [(entry["kind"], entry["text"]) for entry in obstacles] == [
        ("drain", "a node that it could use is down or drained: node2"),
        ("limit", "the instance ends before the job would"),
    ]
    answer = ask(bench, "sched.why", id=4)
    assert answer["code"] == "depth" and answer["obstacles"][-1] == {
        "kind": "limit", "text": "a scheduling pass considers 1 job of a queue (queue-depth)"}


def test_why_of_a_job_that_runs_or_is_about_to():
    bench = busy()
    answer = ask(bench, "sched.why", id=1)
    assert (answer["state"], answer["start"], answer["end"]) == ("running", 1000.0, 1600.0)
    assert answer["resources"] == "rank[0-1]/core[0-3]"
    bench.host.hold_commits = True
    bench.alloc(9, slots=1, duration=10.0)
    answer = ask(bench, "sched.why", id=9)
    assert (answer["state"], answer["resources"]) == ("starting", "rank2/core0")
    bench.host.hold_commits = False
    bench.host.run()
    bench.alloc(10, slots=1)
    assert ask(bench, "sched.why", id=9)["end"] == 1010.0


def test_guests_may_ask_for_their_own_jobs():
    bench = busy()
    bench.host.guests["question"] = 7
    assert ask(bench, "sched.why", id=2)["reason"].startswith("needs 4 nodes")
    number, text = refusal(bench, "sched.why", {"id": 3}, guest=7)
    assert (number, text) == (errno.EPERM, "job 3 is not yours")
    assert refusal(bench, "sched.why", {"id": 1}, guest=7)[0] == errno.EPERM
    assert refusal(bench, "sched.why", {"id": 99}, guest=7) == (errno.ENOENT, "the scheduler has no job 99")
    # Nothing of it is worth a line of the log.
    assert bench.host.texts(4) == []


def test_a_job_that_ran_before_the_load_has_its_user():
    R = make_r(1, 4, starttime=1.0, expiration=5000.0)
    bench = Bench(R=make_r(4, 4), kvs={"R:5": R}, running=[{"id": 5, "priority": 16, "t_submit": 1.0, "userid": 7}])
    bench.host.guests["question"] = 7
    assert ask(bench, "sched.why", id=5)["state"] == "running"


@pytest.mark.parametrize("payload", [None, {}, {"id": -1}, {"id": 2**64}, {"id": "1"}, {"id": 1.5}, {"id": True}])
def test_why_refuses(payload):
    number, text = refusal(busy(), "sched.why", payload)
    assert number == errno.EPROTO and text.startswith("sched.why: field 'id'")


# -- the line -----------------------------------------------------------------


def line(bench, jobid):
    return ask(bench, "sched.why", id=jobid)["reason"]


def test_lines_about_what_is_free():
    bench = Bench(EASY, R=make_r(4, 4))
    for jobid, duration in ((1, 600.0), (2, 700.0), (3, 800.0)):
        bench.alloc(jobid, nodes=1, exclusive=True, duration=duration)
    bench.alloc(4, nodes=4, exclusive=True, duration=60.0)
    assert line(bench, 4) == f"needs 4 nodes, 1 free; 3 more by {at(1800)} when 3 and 2 others end"
    bench.alloc(5, nodes=2, cores=2, duration=60.0, priority=20)
    assert line(bench, 5) == f"needs 2 nodes with 2 cores each, 1 free; 1 more at {at(1600)} when 1 ends"
    bench.alloc(6, slots=9, cores=1, duration=60.0)
    assert line(bench, 6) == f"needs 9 cores, 4 free; 5 more by {at(1700)} when 2 and 1 other end"
    bench = Bench(EASY, R=make_r(2, 4))
    for jobid in (1, 2):
        bench.alloc(jobid, nodes=1, exclusive=True)
    bench.alloc(3, nodes=1, exclusive=True)
    bench.alloc(4, nodes=2, exclusive=True)
    assert line(bench, 3) == "needs 1 node, 0 free; 1 more when 1 ends, without a time limit"
    assert line(bench, 4) == "needs 2 nodes, 0 free; 2 more when 2 and 1 other end, without a time limit"


def test_lines_about_jobs_ahead():
    bench = busy(["plugin=sched.plugin1"])
    assert line(bench, 3) == "waiting for jobs ahead in the queue, first 2"
    bench = busy(["plugin=backfill.plugin1", "plugin-opts=reserve-depth=-1"])
    bench.alloc(4, nodes=2, exclusive=True, duration=60000.0)
    assert line(bench, 4) == (
        f"needs 2 nodes, 2 free; starting now would delay 2, planned for {at(1600)} or 1 other ahead")
    config = {"queues": {"a": {}, "b": {}}}
    bench = Bench(EASY, R=make_r(2, 1), config=config)
    bench.alloc(1, nodes=1, queue="a", duration=100.0)
    bench.alloc(2, nodes=2, queue="a", duration=10.0)
    bench.alloc(3, nodes=1, queue="b", duration=1000.0)
    assert line(bench, 3) == (
        f"needs 1 node with 1 core, 1 free; starting now would delay 2 of queue a on the same nodes, "
        f"planned for {at(1100)}")
    bench = Bench(R=make_r(2, 1), config=config)
    bench.alloc(1, nodes=1, queue="a", duration=100.0)
    bench.alloc(2, nodes=2, queue="a", duration=10.0)
    bench.alloc(3, nodes=1, queue="b", duration=1000.0)
    assert line(bench, 3) == "waiting for 2 of queue a on the same nodes"


def test_lines_about_constraints():
    bench = Bench(R=make_r(4, 1, properties={"big": [0, 1]}))
    bench.alloc(1, nodes=2, constraints={"properties": ["big"]}, duration=10.0)
    bench.alloc(2, nodes=2, constraints={"properties": ["big"]}, duration=10.0)
    bench.acquired({"property-remove": {"big": "1"}})
    bench.host.run()
    assert line(bench, 2) == "needs 2 nodes with 1 core each, and only 1 can be had where the constraint allows"
    bench.acquired({"property-remove": {"big": "0"}})
    bench.host.run()
    assert line(bench, 2) == "no node has the properties that the constraint asks for"


def test_nothing_keeps_it():
    bench = busy()
    bench.service.passes.stop()
    bench.alloc(9, slots=1, duration=10.0, run=False)
    answer = ask(bench, "sched.why", id=9)
    assert (answer["code"], answer["reason"]) == ("new", None)


@pytest.mark.parametrize("request_, unit, need, text", [
    (Request(4, 1, 1, 0, True, 0.0, "", None, None), "node", 4, "4 nodes"),
    (Request(1, 2, 3, 1, False, 0.0, "", None, None), "node", 1, "1 node with 6 cores and 2 gpus"),
    (Request(3, 1, 1, 0, False, 0.0, "", None, None), "node", 3, "3 nodes with 1 core each"),
    (Request(0, 8, 1, 0, False, 0.0, "", None, None), "slot", 8, "8 cores"),
    (Request(0, 1, 0, 1, False, 0.0, "", None, None), "slot", 1, "1 gpu"),
    (Request(0, 2, 4, 1, False, 0.0, "", None, None), "slot", 2, "2 slots of 4 cores and 1 gpu"),
    (Request(0, 2, 4, 0, True, 0.0, "", None, None), "slot", 2, "2 slots of 4 cores on whole nodes"),
    (Request(2, 1, 1, 0, True, 0.0, "", None, None, node_counts=((2, 4),)), "node", 2, "at least 2 nodes"),
    (Request(0, 0, 0, 0, False, 0.0, "", None, ()), "core", 0, "what its jobspec asks for"),
    (Request(0, 2, 4, 0, False, 0.0, "", None, ()), "core", 8, "8 cores"),
])
def test_what_a_job_asks_for(request_, unit, need, text):
    assert wanted(request_, unit, need) == text


def test_when_a_line_says_something_else():
    told = Line("needs 4, 2 free", ("resources", 1), 1000.0)
    assert not told.differs(told, 0.0)
    assert told.differs(None, 0.0)
    assert not Line("needs 4, 1 free", ("resources", 1), 1000.0).differs(told, 0.0)
    assert told._replace(meaning=("resources", 2)).differs(told, 0.0)
    assert told._replace(meaning=("reserved", 1)).differs(told, 0.0)
    assert told._replace(at=None).differs(told, 0.0)
    assert not Line("", ("down", None), None).differs(Line("a", ("down", None), None), 0.0)
    # A tenth of what is left, and a minute.
    assert not told._replace(at=1099.0).differs(told, 0.0) and told._replace(at=1100.0).differs(told, 0.0)
    assert not told._replace(at=1059.0).differs(told, 900.0) and told._replace(at=1060.0).differs(told, 900.0)


def test_annotations_have_the_line_and_repeat_it_only_when_its_meaning_changes():
    bench = busy()
    bench.alloc(4, nodes=3, exclusive=True, duration=6000.0)
    first = f"needs 3 nodes, 2 free; 1 more at {at(1600)} when 1 ends"
    assert bench.annotations(4)["reason_pending"] == first
    # A node less is free, which is a number.
    bench.alloc(5, slots=1, duration=590.0, priority=31)
    bench.host.run(10.0)
    assert line(bench, 4) == f"needs 3 nodes, 1 free; 2 more by {at(1600)} when 1 and 1 other end"
    assert bench.annotations(4)["reason_pending"] == first
    # Another job gives back what is missing.
    bench.send("sched.expiration", {"id": 1, "expiration": 1400.0})
    bench.host.run(10.0)
    assert bench.annotations(4)["reason_pending"] == f"needs 3 nodes, 1 free; 2 more at {at(1400)} when 1 ends"
    bench.free(1)
    bench.host.run(10.0)
    assert "when 1 ends" not in bench.annotations(4)["reason_pending"]


def test_words():
    assert (plural(1, "node"), plural(0, "node"), plural(2, "node")) == ("1 node", "0 nodes", "2 nodes")
    day = time.mktime((2026, 5, 6, 12, 3, 0, 0, 0, -1))
    assert clock(day, day - 3600) == "12:03"
    assert clock(day, day - 86400) == "May 06 12:03"
    assert clock(day, day - 400 * 86400) == "2026-05-06 12:03"


# -- queue --------------------------------------------------------------------


def test_queue():
    bench = busy()
    bench.alloc(4, nodes=4, exclusive=True, duration=6.0, priority=20, userid=8)
    bench.host.run(5.0)
    answer = ask(bench, "sched.queue")
    assert (answer["plugin"], answer["order"], answer["waiting"], answer["now"]) == (
        "backfill.plugin1", "fcfs", 3, 1005.0)
    assert [job["id"] for job in answer["jobs"]] == [4, 2, 3]
    assert answer["jobs"][0] == {
        "id": 4, "userid": 8, "queue": "", "priority": 20, "t_submit": 1000.0, "score": None, "planned": 1600.0,
        "parts": {"wait": 5.0, "request": 6.0, "cores": 16},
    }
    answer = ask(bench, "sched.queue", count=1)
    assert [job["id"] for job in answer["jobs"]] == [4] and answer["waiting"] == 3


@pytest.mark.parametrize("count", [0, -1, 5001, "1", None, 1.0])
def test_queue_refuses(count):
    number, text = refusal(busy(), "sched.queue", {"count": count})
    assert number == errno.EPROTO and text.startswith("sched.queue: field 'count': expected an integer from 1 to")


def test_the_parts_of_the_score_are_the_orders():
    bench = busy(["plugin=backfill.plugin1", "plugin-opts=order=multifactor"])
    bench.host.run(5.0)
    row = ask(bench, "sched.queue")["jobs"][0]
    assert {"age", "size", "fairshare", "usage"} <= set(row["parts"])
    assert row["score"] == pytest.approx(-sum(row["parts"][name] for name in ("age", "size", "fairshare")))


# -- statistics ---------------------------------------------------------------

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (-?[0-9.e+-]+)')


def parse(text):
    """The samples of a text in Prometheus' format, checked as its reader would: {(name, labels): value}."""
    kinds, found, current = {}, {}, None
    assert text.endswith("\n")
    for row in text.splitlines():
        if row.startswith("# HELP "):
            current = row.split()[2]
            assert len(row.split()) > 3
        elif row.startswith("# TYPE "):
            _, _, name, kind = row.split()
            assert name == current and name not in kinds and kind in ("counter", "gauge")
            kinds[name] = kind
        else:
            name, labels, value = SAMPLE.fullmatch(row).groups()
            assert name == current and (name, labels) not in found
            assert name.endswith("_total") == (kinds[name] == "counter")
            found[name, labels] = float(value)
    return found


def test_statistics_for_prometheus():
    bench = busy()
    stats = ask(bench, "sched.stats")
    assert stats["counts"]["alloc"] == 3 and stats["engine"]["waiting"] == 2
    bench.send("sched.stats-get", None, "other")
    assert set(bench.host.answers[-1][1]) == set(stats)
    answer = ask(bench, "sched.stats", format="prometheus")
    assert set(answer) == {"text"}
    found = parse(answer["text"])
    assert found["flux_sched_requests_total", 'kind="alloc"'] == 3
    assert found["flux_sched_jobs", 'state="pending"'] == 2
    assert found["flux_sched_nodes", 'state="idle"'] == 2
    assert found["flux_sched_ready", None] == 1
    assert {name for name, _ in found} == {metric.name for metric in prometheus.METRICS}


def test_statistics_before_there_is_an_engine():
    bench = Bench(start=False)
    found = parse(ask(bench, "sched.stats", format="prometheus")["text"])
    assert found["flux_sched_ready", None] == 0 and "flux_sched_nodes" not in {name for name, _ in found}


def test_labels_are_escaped():
    stats = {"plugin": 'a"b\\c\nd', "ready": True, "jobs": {}, "counts": {}, "pass": {}}
    text = prometheus.exposition(stats)
    assert r'flux_sched_info{plugin="a\"b\\c\nd",version=' in text
    assert parse(text)


@pytest.mark.parametrize("form", ["xml", "", 1, None])
def test_stats_refuses(form):
    number, text = refusal(busy(), "sched.stats", {"format": form})
    assert number == errno.EPROTO and "expected one of 'json', 'prometheus'" in text
