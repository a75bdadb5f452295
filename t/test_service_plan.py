# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""sched.plan: the whole future, and how it is drawn."""

import errno
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakehost import Bench, jobspec, make_r
from fluxsched.cli import gantt
from fluxsched.cli.plan import Until, text
from fluxsched.cli.table import duration, lines, until
from fluxsched.formats import hostlist
from fluxsched.formats import jobspec as jobspecs
from fluxsched.service import slices
from test_service_ask import EASY, ask, busy, refusal
from test_service_when import POLICIES, SHAPES


def starts(answer):
    return {job["id"]: job["start"] for job in answer["jobs"]}


def test_what_runs_and_what_will():
    bench = busy()
    bench.host.run(10.0)
    answer = ask(bench, "sched.plan")
    assert (answer["now"], answer["until"], answer["plugin"]) == (1010.0, None, "backfill.plugin1")
    assert answer["nodes"] == "node[0-3]" and answer["unplanned"] == []
    assert answer["jobs"] == [
        {"id": 1, "userid": 100, "name": "true", "priority": 16, "state": "running", "start": 1000.0, "end": 1600.0,
         "nodes": "node[0-1]", "runs": [[0, 1]]},
        {"id": 2, "userid": 7, "name": "true", "priority": 16, "state": "planned", "start": 1600.0, "end": 1660.0,
         "nodes": "node[0-3]", "runs": [[0, 3]]},
        {"id": 3, "userid": 100, "name": "true", "priority": 16, "state": "planned", "start": 1660.0, "end": 7660.0,
         "nodes": "node[0-1]", "runs": [[0, 1]]},
    ]


def test_until():
    answer = ask(busy(), "sched.plan", until=1650.0)
    assert starts(answer) == {1: 1000.0, 2: 1600.0} and answer["until"] == 1650.0
    assert [job["id"] for job in answer["unplanned"]] == [3]
    assert "would delay 2" in answer["unplanned"][0]["reason"]
    # In the past: what starts at once.
    assert starts(ask(busy(), "sched.plan", until=0)) == {1: 1000.0}


def test_jobs_that_no_start_can_be_told_for():
    bench = Bench(EASY, R=make_r(3, 1, expiration=9000.0))
    bench.acquired({"down": "2"})
    bench.alloc(1, nodes=1, duration=7990.0)
    bench.alloc(2, nodes=3, duration=10.0)
    bench.alloc(3, nodes=2, duration=10.0)
    bench.alloc(4, nodes=2, duration=20.0)
    answer = ask(bench, "sched.plan")
    assert starts(answer) == {1: 1000.0, 3: 8990.0}
    assert [job["id"] for job in answer["unplanned"]] == [2, 4]
    assert "down or drained" in answer["unplanned"][0]["reason"]


def test_names():
    bench = Bench(R=make_r(2, 1))
    bench.alloc(1, duration=10.0, command=["/bin/sleep", "1"])
    bench.alloc(2, duration=10.0, job={"name": "a\x1bb"})
    assert [job["name"] for job in ask(bench, "sched.plan")["jobs"]] == ["sleep", "a\x1bb"]
    for own in ({"name": 5}, {"name": ""}, {}, 7):
        assert jobspecs.name(jobspec(job=own)) == "true"


@pytest.mark.parametrize("payload", [{"until": -1.0}, {"until": "1"}, {"until": 9e12}, {"until": True}])
def test_refusals(payload):
    number, said = refusal(busy(), "sched.plan", payload)
    assert number == errno.EPROTO and said.startswith("sched.plan: field 'until': expected a number from 0 to")


def test_it_is_made_in_slices(monkeypatch):
    monkeypatch.setattr(slices, "FIRST", 1)
    monkeypatch.setattr(slices, "SLICE", 0.0)
    bench = Bench(EASY, R=make_r(4, 1))
    for jobid in range(1, 60):
        bench.alloc(jobid, nodes=1 + jobid % 4, duration=10.0 + jobid)
    before = ask(bench, "sched.stats")["when"]["count"]
    bench.send("sched.plan", {}, "plan")
    bench.host.soon.pop(0)()
    bench.send("sched.cancel", {"id": 59})
    assert not [request for request, _ in bench.host.answers if request == "plan"]
    bench.host.run(10.0)
    [answer] = [payload for request, payload in bench.host.answers if request == "plan"]
    assert len(answer["jobs"]) + len(answer["unplanned"]) == 59
    # One that has gone meanwhile has no name any more.
    assert [job["userid"] for job in answer["jobs"] if job["id"] == 59] == [None]
    assert ask(bench, "sched.stats")["when"]["count"] == before + 1


@given(st.sampled_from(POLICIES), st.lists(SHAPES, max_size=12))
def test_the_plan_comes_true(policy, shapes):
    """Starts and nodes, where all jobs take as long as they asked for and no other comes."""
    bench = Bench(policy.split(), R=make_r(4, 4))
    for jobid, shape in enumerate(shapes, 1):
        bench.alloc(jobid, **shape)
    told = {job["id"]: (job["start"], job["nodes"]) for job in ask(bench, "sched.plan")["jobs"]}
    engine, happened = bench.service.engine, {}
    while True:
        running = {jobid: engine.times(jobid)[1] for jobid in engine.running_jobs()}
        for jobid in running:
            happened.setdefault(jobid, (engine.place(jobid).start, engine.place(jobid).nodes))
        if not running:
            break
        first = min(running.values())
        bench.host.run(first - bench.host.time)
        for jobid, end in sorted(running.items()):
            if end == first:
                bench.send("sched.free", {"id": jobid, "R": bench.given(jobid), "final": True})
        bench.host.run()
    assert len(happened) == len(shapes) == len(told)
    for jobid, (start, nodes) in happened.items():
        assert told[jobid] == (pytest.approx(start, abs=1e-5), nodes)


# -- the chart ----------------------------------------------------------------


def plan_of(jobs, nodes="n[0-3]", until=None, unplanned=()):
    rows = [
        {"id": i, "userid": 0, "name": "x", "priority": 16, "state": state, "start": start, "end": end, "runs": runs,
         "nodes": ",".join(f"n[{first}-{last}]" for first, last in runs)}
        for i, (state, start, end, runs) in enumerate(jobs, 1)
    ]
    return {"now": 1000.0, "until": until, "plugin": "p", "nodes": nodes, "jobs": rows, "unplanned": list(unplanned)}


def test_a_chart():
    plan = plan_of([("running", 900.0, 1050.0, [[0, 1]]), ("planned", 1050.0, 1100.0, [[1, 2]]),
                    ("planned", 1075.0, None, [[2, 3]])])
    keys = gantt.letters(plan["jobs"])
    assert keys == {1: "A", 2: "B", 3: "C"}
    rows = gantt.chart(plan, keys, width=25, height=24)
    assert rows[:4] == [
        "n0 |AAAAAAAAAA..........|",
        "n1 |AAAAAAAAAABBBBBBBBBB|",
        "n2 |..........BBBBB*****|",
        "n3 |...............CCCCC|",
    ]
    assert rows[4].startswith("    ^") and rows[5].strip().startswith(time.strftime("%H:%M", time.localtime(1000)))
    assert rows[6].strip() == "a column is 5s"
    assert all(len(row) <= 25 for row in rows)


def test_a_chart_of_many_nodes_has_shades():
    plan = plan_of([("running", 900.0, 1100.0, [[0, 49]]), ("planned", 1050.0, 1100.0, [[50, 74]])], nodes="n[0-99]")
    rows = gantt.chart(plan, gantt.letters(plan["jobs"]), width=32, height=4)
    assert [row.partition("|")[0].strip() for row in rows[:4]] == ["n0 +24", "n25 +24", "n50 +24", "n75 +24"]
    assert [set(row.split("|")[1]) for row in rows[:4]] == [{"█"}, {"█"}, {" ", "█"}, {" "}]
    rows = gantt.chart(plan, gantt.letters(plan["jobs"]), width=32, height=2)
    assert rows[1].split("|")[1].strip() and set(rows[1].split("|")[1]) == {" ", "▒"}


def test_what_a_chart_spans():
    assert gantt.span(plan_of([])) == 60.0
    assert gantt.span(plan_of([("running", 900.0, 1500.0, [[0, 0]])])) == 500.0
    assert gantt.span(plan_of([("running", 900.0, 1500.0, [[0, 0]])], until=1100.0)) == 100.0
    assert gantt.span(plan_of([("running", 900.0, 1500.0, [[0, 0]])], until=0.0)) == 1.0
    assert gantt.chart(plan_of([], nodes=""), {}, 80, 24) == ["no nodes"]


@given(
    st.lists(st.tuples(st.sampled_from(["running", "planned"]), st.floats(0, 5000), st.none() | st.floats(1000, 9000),
                       st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)).map(sorted), max_size=3)), max_size=80),
    st.integers(1, 30), st.integers(1, 120), st.none() | st.floats(0, 9000),
)
def test_every_plan_has_a_chart(jobs, height, width, until_):
    plan = plan_of(jobs, nodes="host[0-6]", until=until_)
    rows = gantt.chart(plan, gantt.letters(plan["jobs"]), width, height)
    lengths = {len(row) for row in rows if row.endswith("|")}
    assert len(lengths) == 1 and len([row for row in rows if row.endswith("|")]) <= height


def test_the_table():
    gone = {"id": 9, "userid": 0, "name": "a\x1b[31m" + "b" * 30, "priority": 16, "reason": None}
    plan = plan_of([("running", 900.0, None, [[0, 1]]), ("planned", 1050.0, 1100.0, [[1, 2]])], unplanned=[gone])
    found = text(plan, 50)
    rows = [row.split() for row in found[found.index("") + 1:]]
    assert " ".join(rows[0]) == "1 job running, 1 planned, 1 without a start (p)"
    assert [row[0] for row in rows[2:4]] == ["A", "B"] and "(" in rows[2][4] and rows[2][5] == "-"
    assert "\\x1b[31m" in found[-1] and "\x1b" not in "".join(found)
    assert text(plan, 1)[-1] == "and 2 others: -c 0 shows all"
    assert "later than" in " ".join(text({**plan, "until": 1060.0}, 0))


def test_picture(tmp_path):
    pytest.importorskip("matplotlib")
    from fluxsched.simulate.planplot import draw

    plan = plan_of([("running", 900.0, 1050.0, [[0, 1]]), ("planned", 1050.0, 1100.0, [[1, 2]]),
                    ("planned", 1075.0, None, [[2, 3]]), ("planned", 5000.0, None, [[0, 0]])], until=1200.0)
    draw(plan, tmp_path / "a.png", "png", str)
    draw(plan, tmp_path / "a.svg", "svg", str)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.svg").read_text().count("<path") > 5
    draw(plan_of([], nodes=""), tmp_path / "empty.png", "png", str)
    draw(plan_of([], nodes=hostlist.encode(["odd\x7f".rstrip("\x7f")])), tmp_path / "one.png", "png", str)


def test_times_on_the_command_line():
    before = time.time()
    assert Until().convert("2h", None, None) - before == pytest.approx(7200, abs=5)
    assert Until().convert("+90", None, None) - before == pytest.approx(90, abs=5)
    assert Until().convert("1900000000", None, None) == 1900000000.0
    for odd in ("soon", "-1h", "inf", "1e300"):
        with pytest.raises(Exception, match="expected a"):
            Until().convert(odd, None, None)


def test_tables_and_durations():
    assert [duration(seconds) for seconds in (0, 0.4, 1, 61, 3600, 93784, -5)] == [
        "0s", "0s", "1s", "1m1s", "1h", "1d2h", "0s"]
    assert until(1000.5, 1000.0) == "now" and until(1060.0, 1000.0) == "in 1m"
    assert lines(("A", "N"), [["x\n", "1"], ["", "22"]], right=("N",)) == ["A     N", "x\\n   1", "     22"]
