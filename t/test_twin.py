# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is made of a record: explanations, traces, other policies, copies without names."""

import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from fakehost import Bench, make_r
from fluxsched.cli.main import main
from fluxsched.formats import idset
from fluxsched.policy.loader import load_plugin
from fluxsched.policy.names import choose
from fluxsched.service import parts as files
from fluxsched.simulate import api
from fluxsched.traces.files import TraceError
from fluxsched.traces.load import load
from fluxsched.traces.swf import read
from fluxsched.traces.trace import RUNNING
from fluxsched.twin.lives import Lives
from fluxsched.twin.onward import onward
from fluxsched.twin.replay import Replay


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "record"


def replay(folder, *words, code=0):
    done = CliRunner().invoke(main, ["replay", str(folder), *words])
    assert done.exit_code == code, done.output
    return done.output


def asked_why(bench, jobid):
    bench.send("sched.why", {"id": jobid}, "why")
    return [payload for request, payload in bench.host.answers if request == "why"][-1]


@pytest.fixture
def day(folder):
    """Two cores. Job 1 takes one for 100 s, and is asked for 200; job 2 wants both, from 1010 on; job 3, from 1020 on,
    one for 30 s. First come, first served: 2 waits until 1100, 3 until 2 is over at 1150."""
    bench = Bench([f"record={folder}"], R=make_r(2, 1))
    bench.host.run(0.0)
    bench.alloc(1, duration=200.0, userid=7)
    bench.host.run(10.0)
    bench.alloc(2, slots=2, duration=60.0, userid=8)
    bench.host.run(10.0)
    bench.alloc(3, duration=30.0, userid=7)
    bench.host.run(10.0)
    bench.answer = asked_why(bench, 3)
    bench.host.run(70.0)
    bench.free(1)
    bench.host.run(50.0)
    bench.free(2)
    bench.host.run(30.0)
    bench.free(3)
    bench.alloc(4, userid=9, queue="debug")
    bench.host.run(5.0)
    bench.service.stop()
    return bench


def test_until(day, folder):
    assert replay(folder, "--until", "1099.5").startswith("1 decision, all the same (3 passes, 1 part, ")
    assert replay(folder, "--until", "+100s").startswith("2 decisions, ")
    assert replay(folder, "--until", "1970-01-01T00:18:20+00:00").startswith("2 decisions, ")
    assert replay(folder, "--until", "0").startswith("0 decisions, ")
    for wrong in ("soon", "inf", "+x", "-3"):
        assert "expected" in replay(folder, f"--until={wrong}", code=2)


def test_why(day, folder):
    """The text of flux sched why, and the same facts."""
    text = replay(folder, "--until", "1030", "--why", "3")
    assert "ƒ4 waits: waiting for jobs ahead in the queue, first ƒ3\n" in text
    assert "Ahead       1 job\n" in text and re.search(r"^Planned +\d\d:\d\d \(in 3m50s\)$", text, re.M)
    from fluxsched.twin.explain import why

    run = Replay(folder)
    run.run(1030.0)
    answer = why(run.engine, 3, 1030.0)
    # The fake broker has no names for jobs.
    day.answer["reason"] = day.answer["reason"].replace("first 2", "first ƒ3")
    assert answer.pop("planned")["start"] == day.answer.pop("planned")["start"] == 1260.0
    assert answer == day.answer


def test_why_of_others(day, folder):
    assert "ƒ2 has been running since " in replay(folder, "--until", "1030", "--why", "1")
    out = replay(folder, "--until", "1030", "--why", "4", code=1)
    assert "ƒ5: neither waits nor runs at that time" in out


def test_trace(day, folder, tmp_path):
    out = replay(folder, "--trace", str(tmp_path / "out.swf"))
    assert out.endswith("out.swf: 4 jobs; 1 job still ran at the end\n")
    trace = read(str(tmp_path / "out.swf"))
    assert trace.unix_start == 1000.0
    assert trace.job_id.tolist() == [1, 2, 3, 4] and trace.submit.tolist() == [0, 10, 20, 180]
    assert trace.run.tolist() == [100, 50, 30, 0] and trace.procs.tolist() == [1, 2, 1, 1]
    assert trace.request.tolist()[:3] == [200, 60, 30] and trace.user.tolist() == [7, 8, 7, 9]
    assert trace.queue.tolist() == [-1, -1, -1, 1] and trace.label("queue", 1) == "debug"
    assert (trace.max_procs, trace.max_nodes) == (2, 2) and api.run(trace).start.tolist()[:2] == [0, 100]
    out = replay(folder, "--until", "1030", "--trace", str(tmp_path / "early.swf"))
    assert out.endswith("early.swf: 1 job; 1 job still ran at the end; 2 jobs that never started left out\n")


def test_a_trace_of_nothing(folder, tmp_path):
    bench = Bench([f"record={folder}"])
    bench.service.stop()
    assert "no jobs in the record" in replay(folder, "--trace", str(tmp_path / "out.swf"), code=1)
    bench = Bench([f"record={folder}"])
    bench.acquired({"down": "0-3"})
    bench.alloc(1)
    bench.service.stop()
    assert "out.swf: no job has started" in replay(folder, "--trace", str(tmp_path / "out.swf"), code=1)


def test_a_record_is_a_trace_for_the_simulator(folder):
    """Its machine, nodes that went and came back, queues, priorities, requests and constraints, and what ran or waited
    at its end: the policy of the record does the same again."""
    R = make_r(4, 2, properties={"big": [2, 3]})
    bench = Bench([f"record={folder}", "plugin=backfill.plugin1"], R=R, up="0-2")
    bench.host.run(5.0)
    big = {"constraints": {"properties": ["big"]}}
    shapes = [dict(slots=3), dict(nodes=1, exclusive=True, **big), dict(slots=5, queue="a"), dict(nodes=2, queue="b"),
              dict(slots=1, cores=2, priority=20), dict(slots={"min": 1, "max": 4}), dict(nodes=2, cores=2, **big)]
    for jobid, shape in enumerate(shapes, 1):
        bench.alloc(jobid, duration=40.0 + jobid, userid=100 + jobid % 2, **shape)
        bench.host.run(1.0)
    bench.alloc(8, nodes=9)
    bench.alloc(9, slots=1, duration=10.0)
    bench.send("sched.cancel", {"id": 9})
    bench.host.run(6.0)
    bench.acquired({"up": "3"})
    over = set()
    for _ in range(4):
        bench.end_next(over)
        bench.host.run(3.0)
    bench.acquired({"down": "0"})
    live = bench.service.engine
    bench.service.stop()
    trace = load(folder)
    assert trace.folder == str(folder) and trace.source == "record" and trace.unix_start == 1005.0
    assert trace.notes.pop("no_run") == 2 and sorted(trace.job_id.tolist()) == list(range(1, 8))
    assert trace.state.tolist().count(RUNNING) == len(live.running_jobs())
    assert trace.priority.tolist() == [16, 16, 16, 16, 20, 16, 16] and trace.user.tolist()[:2] == [101, 100]
    assert trace.constraints == [{"properties": ["big"]}] and trace.labels["queue"] == {1: "a", 2: "b"}
    result = api.run(trace, plugin="easy")
    assert (result.nodes, result.cores) == (4, 2)
    began = dict(zip(trace.job_id.tolist(), trace.began.tolist()))
    for jobid, start in zip(result.trace.job_id.tolist(), result.start.tolist()):
        # A job that waits at the end starts after it, if it does.
        assert start == pytest.approx(began[jobid], abs=0.01) or (np.isnan(began[jobid]) and not start <= trace.taken)
    # On another machine, or without its own events, it is any trace.
    assert api.run(trace, plugin="easy", nodes=16, cores=2).start.tolist() == pytest.approx(trace.ready.tolist())
    later = api.run(trace, plugin="easy", snapshot=True)
    assert len(later.trace) == np.count_nonzero(trace.state)


def test_records_that_are_no_traces(day, folder, tmp_path):
    with pytest.raises(TraceError, match="there is no record in it"):
        load(tmp_path)
    line = (folder / "part-000001.jsonl").read_bytes().replace(b'[[2,[[0,1,', b'[[2,[[0,0,', 1)
    rows = [json.loads(row) for row in line.splitlines() if row.startswith(b"[")]
    shutil.rmtree(folder)
    writer = files.Parts(str(folder), 2**20, 1e9)
    writer.begin([json.dumps(row).encode() for row in rows])
    writer.complete()
    writer.close()
    with pytest.raises(TraceError, match="part-000001.jsonl, line [0-9]+: a decision differs when it is replayed"):
        load(folder)


def test_a_part_that_is_missing(folder, tmp_path, monkeypatch):
    """The next one is a new beginning, in a copy without names, too."""
    monkeypatch.setattr(files, "SHARE", 10**6)
    monkeypatch.setattr(files, "STATE_SHARE", 2)
    bench = Bench([f"record={folder}"], R=make_r(2, 2))
    for jobid in range(1, 60):
        bench.alloc(jobid, duration=10.0)
        if jobid % 2:
            bench.free(next(iter(bench.service.engine.running_jobs())))
    bench.service.stop()
    numbers = [number for number, _ in files.numbered(folder)]
    assert len(numbers) > 5
    whole = Replay(str(folder))
    assert whole.run() is None and whole.warnings == []
    for number in (3, 4):
        (folder / f"part-{number:06}.jsonl").unlink()
    run = Replay(str(folder))
    assert run.run() is None and run.decisions < whole.decisions
    assert [text.partition(": ")[2] for text in run.warnings] == [
        "parts 3 to 4 are not there: what happened meanwhile is not known"]
    assert " all the same (" in replay(folder, "--anonymise", str(tmp_path / "copy"))
    assert " all the same (" in replay(folder, "--policy", "easy")


def test_times_outside_of_the_record(day, folder, tmp_path):
    for words in (["--policy", "easy"], ["--why", "3"], ["--trace", str(tmp_path / "x.swf")]):
        out = replay(folder, "--until", "1", *words, code=1)
        assert "begin, " in out and out.endswith(" expected\n")
    out = replay(folder, "--until", "9000", "--policy", "easy", code=1)
    assert ": a time from its begin, " in out and ", to its end, " in out


def test_a_job_that_nobody_asks_for_again(folder):
    """It waits when the module goes, and is cancelled before the next one comes."""
    bench = Bench([f"record={folder}"], R=make_r(1, 1))
    bench.alloc(1, duration=30.0)
    bench.alloc(2, duration=500.0)
    bench.host.run(10.0)
    bench.service.stop()
    bench = Bench([f"record={folder}", "plugin=backfill.plugin1"], R=make_r(1, 1), start=False)
    bench.host.time = 1020.0
    bench.start()
    bench.alloc(3, duration=20.0)
    bench.host.run(5.0)
    bench.service.stop()
    lives = Lives()
    Replay(str(folder), lives).run()
    assert lives.jobs[2].gone == 1020.0 and lives.vanished == {2}
    found = onward(str(folder), load_plugin("backfill.plugin1"))
    assert found.jobs == 2 and found.recorded.policy == "sched.plugin1, backfill.plugin1"
    assert "recorded (sched.plugin1, backfill.plugin1)" in replay(folder, "--policy", "easy")


def test_another_policy_from_the_begin(day, folder):
    """Backfill lets job 3 go first, on the core that is free."""
    choice = choose("first-fit")
    found = onward(str(folder), load_plugin(choice.plugin, choice.options))
    assert (found.begin, found.jobs) == (1000.0, 4)
    assert found.recorded[:2] == ("sched.plugin1", 4) and found.recorded.mean == (0 + 90 + 130 + 0) / 4
    assert found.other[:2] == ("backfill.plugin1", 4) and found.other.mean == (0 + 90 + 0 + 0) / 4
    assert found.recorded.late == 130.0 and found.other.late == 90.0
    assert found.recorded.used == 100 + 2 * 50 + 30 == found.other.used
    out = replay(folder, "--policy", "first-fit")
    assert [line.split() for line in out.splitlines()[-5:]] == [
        ["recorded", "(sched.plugin1)", "first-fit"], ["jobs", "started", "4", "4"],
        ["mean", "wait", "55s", "22s"], ["95th", "percentile", "of", "waits", "2m10s", "1m30s"],
        ["core", "hours", "used", "0.06", "0.06"],
    ]


def test_another_policy_from_a_time_on(day, folder):
    choice = choose("first-fit")
    found = onward(str(folder), load_plugin(choice.plugin, choice.options), 1105.0)
    assert found.jobs == 2 and found.recorded.mean == 130 / 2
    assert found.other.mean == 130 / 2      # job 2 holds both cores until 1150


def test_cores_are_those_that_jobs_would_have_held(folder):
    """Whole nodes, of a job that has not started in the record."""
    bench = Bench([f"record={folder}"], R=make_r(2, 4))
    bench.alloc(1, nodes=1, exclusive=True, duration=1000.0)
    bench.alloc(2, nodes=2, exclusive=True, duration=1000.0)
    bench.alloc(3, nodes=1, exclusive=True, duration=10.0)
    bench.host.run(50.0)
    bench.acquired({"up": "1"})
    bench.service.stop()
    found = onward(str(folder), load_plugin("backfill.plugin1"))
    assert (found.begin, found.end, found.recorded.started, found.other.started) == (1000.0, 1050.0, 1, 2)
    assert (found.recorded.used, found.other.used) == (4 * 50.0, 4 * 50.0 + 4 * 10.0)


def test_the_same_policy_does_the_same(folder):
    """Jobs start when they did, whatever came and went: priorities, cancels, drains, ends that moved, parts that were
    given back early."""
    bench = Bench([f"record={folder}"], R=make_r(3, 2))
    for jobid in range(1, 10):
        bench.alloc(jobid, slots=1 + jobid % 4, duration=40.0 + jobid)
        bench.host.run(3.0)
    bench.send("sched.prioritize", {"jobs": [[9, 20]]})
    bench.acquired({"down": "2"})
    bench.send("sched.cancel", {"id": 8})
    bench.send("sched.expiration", {"id": 1, "expiration": 1055.0})
    bench.host.run(1.0)
    over, early = set(), 0
    while len(over) < 8:
        bench.host.run(7.0)
        for jobid in range(1, 10):
            if bench.started(jobid) and jobid not in over:
                ranks = idset.ids(bench.service.engine.allocated_ranks(jobid))
                if len(ranks) > 1:
                    bench.free(jobid, make_r(ranks=ranks[:1], cores=2), final=False)
                    bench.host.run(7.0)
                    early += 1
                bench.free(jobid, make_r(ranks=ranks[-1:], cores=2))
                over.add(jobid)
                break
        if len(over) == 4:
            bench.acquired({"up": "2"})
    bench.service.stop()
    assert early > 2
    lives = Lives()
    assert Replay(str(folder), lives).run() is None
    found = onward(str(folder), load_plugin("sched.plugin1"))
    assert found.jobs == 8 and found.other == found.recorded
    assert sorted(lives.jobs) == list(range(1, 10)) and lives.jobs[8].gone is not None


def test_options_that_do_not_go_together(day, folder):
    assert "no --why" in replay(folder, "--policy", "easy", "--why", "3", code=2)
    assert "are those of --policy" in replay(folder, "--plugin-opts", "order=f1", code=2)
    assert "neither nothere.so" in replay(folder, "--policy", "nothere", code=1)


def test_a_load_between_two_parts(folder):
    """Jobs that run go on; what waits is asked for again; what has ended meanwhile ended there."""
    bench = Bench([f"record={folder}"], R=make_r(2, 1))
    bench.alloc(1, duration=100.0)
    bench.alloc(2, duration=100.0)
    bench.alloc(3, duration=100.0)
    bench.host.run(10.0)
    held = bench.given(1)
    bench.service.stop()
    bench = Bench([f"record={folder}"], R=make_r(2, 1), kvs={"R:1": held},
                  running=[{"id": 1, "priority": 16, "userid": 100, "t_submit": 1000.0}])
    bench.host.time = 1050.0
    bench.alloc(3, duration=100.0, t_submit=1000.0)
    bench.host.run(50.0)
    bench.free(1, held)
    bench.service.stop()
    lives = Lives()
    run = Replay(str(folder), lives)
    assert run.run() is None and run.decisions == 3
    assert {jobid: (life.start, life.end) for jobid, life in lives.jobs.items()} == {
        1: (1000.0, 1100.0), 2: (1000.0, 1000.0), 3: (1050.0, None),
    }


# Without names.

SECRETS = ("secretnode", "secretqueue", "secretprop", "4711", "secretplugin", "/opt", "secrethost")
PLUGIN = """
from fluxsched.policy.pyplugin import GO_ON
class Plugin:
    def __init__(self, options):
        self.seen = {}
    def sched_loop_setup(self, engine):
        self.seen["secretqueue"] = len(self.seen)
    def find_resources(self, engine, job):
        return engine.fits_now(job)
    def select_resources(self, engine, job):
        return engine.select(job)
    def allocate_resources(self, engine, job):
        engine.start(job)
    def reserve_resources(self, engine, job):
        return GO_ON
"""


def test_a_copy_without_names_replays_all_the_same(folder, tmp_path, monkeypatch):
    (tmp_path / "secretplugin.py").write_text(PLUGIN)
    monkeypatch.setattr(files, "SHARE", 10**6)
    hosts = ["secretnode1", "secretnode2", "secrethost", "secretnode3"]
    R = make_r(4, 2, hosts=hosts, properties={"secretprop": [0, 2]})
    R["scheduling"] = {"writer": "secretqueue"}
    bench = Bench([f"record={folder}", f"plugin={tmp_path}/secretplugin.py"], R=R)
    for jobid in range(1, 15):
        constraint = [
            {"properties": ["^secretprop"]},
            {"or": [{"hostlist": ["secretnode[2-3]"]}, {"properties": ["secretprop"]}]},
            {"ranks": ["0-1"]}, None,
        ][jobid % 4]
        more = {"constraints": constraint} if constraint else {}
        bench.alloc(jobid, slots=1 + jobid % 3, userid=47110 + jobid % 2, queue="secretqueue", **more)
        bench.host.run(1.0)
        if bench.started(jobid // 2):
            bench.free(jobid // 2, None, True) if jobid % 2 else None
    bench.alloc(99, constraints={"properties": ["secretpropnone"]})
    bench.acquired({"property-add": {"secretprop2": "3", "+secretprop3": "1"}})
    bench.acquired({"property-remove": {"secretprop": "0"}})
    bench.host.run(1.0)
    bench.service.stop()
    assert Replay(str(folder)).run() is None
    raw = b"".join(path.read_bytes() for _, path in files.numbered(folder)).decode()
    assert all(name in raw for name in SECRETS if name != "/opt")
    monkeypatch.setenv("FLUX_MODULE_PATH", str(tmp_path))
    out = replay(folder, "--anonymise", str(tmp_path / "copy"))
    assert " without names\n" in out and "all the same" in out
    copy = b"".join(path.read_bytes() for _, path in files.numbered(tmp_path / "copy")).decode()
    assert [name for name in SECRETS if name in copy] == ["secretplugin"]
    assert str(tmp_path) not in copy
    assert '"property1"' in copy and '"queue1"' in copy and "node" in copy and '"^property1"' in copy
    assert "is not empty" in replay(folder, "--anonymise", str(tmp_path / "copy"), code=1)


def test_rdl_without_names(folder, tmp_path):
    conf = tmp_path / "secretqueue.lua"
    conf.write_text("""
uses "Node"
Hierarchy "default" { Resource { "cluster", name = "secretnode", children = {
    ListOf{ Node, ids = "0-3", args = {
        name = "secrethost", sockets = { "0-1", "2-3" }, memory_per_socket = 1000,
        tags = { ["max_bw"] = 100, ["secretprop"] = true, ["secrettag"] = "4711" } } } } } }
""")
    R = make_r(4, hosts=[f"secrethost{i}" for i in range(4)])
    bench = Bench([f"record={folder}", f"rdl-conf={conf}"], R=R)
    spec = {
        "version": 1, "tasks": [{"command": ["true"], "slot": "task", "count": {"per_slot": 1}}],
        "attributes": {"system": {"duration": 50.0, "constraints": {"properties": ["secretprop"]}}},
        "resources": [{"type": "slot", "count": 1, "label": "task", "with": [{"type": "socket", "count": 1, "with": [
            {"type": "core", "count": 2}, {"type": "memory", "count": 600}]}]}],
    }
    for jobid in range(1, 11):
        bench.alloc(jobid, spec)
    assert sum(map(bench.started, range(1, 11))) == 8, bench.host.lines
    bench.free(2)
    bench.service.stop()
    assert Replay(str(folder)).run() is None
    out = replay(folder, "--anonymise", str(tmp_path / "copy"))
    assert "9 decisions, all the same" in out
    content = (tmp_path / "copy" / "part-000001.jsonl").read_text().splitlines()
    head, inventory = map(json.loads, content[:2])
    from fluxsched.service.entries import hierarchy_of

    shown = json.dumps([head, *hierarchy_of(inventory[1])])
    assert [name for name in (*SECRETS, "secrettag") if name in shown] == []
    assert "memory" in shown and '"max_bw": 100' in shown and "property1" in shown
