# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The record of what the engine is told and decides, and its replay: on a fake broker."""

import json
import os
import random
import shutil
import stat

import pytest
from click.testing import CliRunner
from fluxsched.policy.pyplugin import PythonPolicy

import test_service_random as talk
from fakehost import Bench, jobspec, make_r
from fluxsched.cli.main import main
from fluxsched.core import Engine, Inventory
from fluxsched.formats.jobspec import parse as parse_jobspec
from fluxsched.policy.loader import load_plugin
from fluxsched.service import parts as files
from fluxsched.service import recording
from fluxsched.service.entries import request_of, request_row
from fluxsched.service.service import ServiceError
from fluxsched.service.settings import ArgumentError, parse
from fluxsched.twin.read import RecordError
from fluxsched.twin.replay import Replay


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "record"


def small_parts(monkeypatch):
    """Parts that are not much more than the states that they begin with."""
    monkeypatch.setattr(files, "SHARE", 10**6)
    monkeypatch.setattr(files, "STATE_SHARE", 2)


@pytest.fixture
def small(monkeypatch):
    small_parts(monkeypatch)


def recorded(folder, *arguments, **more):
    return Bench([f"record={folder}", *arguments], **more)


def slowly(monkeypatch, jobs, pause=0.3):
    """First states are written so many jobs at a time, with pauses between."""
    monkeypatch.setattr(recording, "PAUSE", pause)
    monkeypatch.setattr(recording, "JOBS", jobs)
    monkeypatch.setattr(recording, "SLICE", 0.0)
    monkeypatch.setattr(recording, "LONG_SLICE", 0.0)


def replayed(folder):
    """A replay that went to its end without a difference."""
    run = Replay(folder)
    assert run.run() is None, run.difference
    return run


def lines(folder, number=1):
    return (folder / f"part-{number:06}.jsonl").read_bytes().splitlines(keepends=True)


def rows(folder, number=1):
    return [json.loads(line) for line in lines(folder, number) if line.startswith(b"[")]


def write(folder, content, number=1):
    (folder / f"part-{number:06}.jsonl").write_bytes(b"".join(content))


def stand_alone(folder, tmp_path):
    """Each part is replayed by itself; how many there are."""
    for number, path in files.numbered(folder):
        single = tmp_path / f"single{number}"
        single.mkdir()
        shutil.copy(path, single)
        replayed(single)
    return number


PLUGINS = [
    ("sched.plugin1", ""), ("backfill.plugin1", ""), ("backfill.plugin1", "reserve-depth=-1"),
    ("backfill.plugin1", "order=multifactor"), ("backfill.plugin1", "order=f1,aging=40"),
]


@pytest.mark.parametrize("plugin, options", PLUGINS)
def test_a_random_talk_replays_to_the_same_decisions(folder, tmp_path, small, monkeypatch, plugin, options):
    seed = PLUGINS.index((plugin, options))
    rng = random.Random(seed)
    if seed % 2:
        slowly(monkeypatch, 3, 0.01)
    more = [f"plugin-opts={options}"] if options else []
    bench = recorded(folder, f"plugin={plugin}", *more, R=make_r(6, 4, properties={"a": [0, 1, 2]}))
    bench.host.hold_commits = True
    manager = talk.JobManager(bench)
    jobid = 0
    for _ in range(120):
        jobid = talk.act(rng, bench, manager, jobid)
        manager.read()
        if rng.random() < 0.1 and manager.waiting:
            job = rng.choice(sorted(manager.waiting))
            bench.send("sched.prioritize", {"jobs": [[job, rng.randrange(32)]]})
        if rng.random() < 0.05:
            bench.acquired({rng.choice(["property-add", "property-remove"]): {rng.choice("ab"): "1,3"}})
            bench.alloc(jobid := jobid + 1, constraints={"properties": ["a"]}, duration=30.0, run=False)
            manager.waiting.add(jobid)
        if rng.random() < 0.3 and manager.held:
            manager.free(rng.choice(sorted(manager.held)))
        if rng.random() < 0.1:
            bench.acquired({"up": "0-5"})
            bench.send("feasibility.check", {"jobspec": jobspec(slots=3, constraints={"properties": ["b"]})})
    bench.service.stop()
    run = replayed(folder)
    assert run.decisions > 8 and run.passes == bench.service.passes.count
    assert stand_alone(folder, tmp_path) > 1


def test_all_inputs_are_there_in_order_with_what_was_decided(folder):
    bench = recorded(folder, R=make_r(4, 2))
    bench.alloc(1, nodes=1, duration=60.0)
    bench.alloc(2, nodes=9)
    bench.alloc(3, nodes=4, exclusive=True, queue="big")
    bench.send("sched.prioritize", {"jobs": [[3, 20]]})
    bench.send("sched.expiration", {"id": 1, "expiration": 1500.0})
    bench.host.run(1.0)
    bench.acquired({"down": "3", "property-add": {"fast": "0"}})
    bench.acquired({"up": "3", "property-remove": {"fast": "0"}})
    bench.acquired({"expiration": 9000.0})
    bench.send("sched.cancel", {"id": 3})
    bench.alloc(4, nodes=2)
    bench.free(4, make_r(1, 2), final=False)
    bench.acquired({"shrink": "3"})
    bench.free(1)
    bench.service.stop()
    found = rows(folder)
    assert [row[0] for row in found[:3]] == ["head", "inventory", "begun"]
    assert found[0][1]["settings"]["plugin"] == "sched.plugin1" and found[0][1]["policy"]["name"] == "sched.plugin1"
    happened = [row for row in found[3:] if row[0] != "pass"]
    assert [row[0] for row in happened] == [
        "add", "add", "add", "priority", "end", "down", "property-add", "up", "property-remove", "expiration", "end",
        "cancel", "add", "free", "gone", "free",
    ]
    assert happened[0][2:] == [1, [1, 1, 1, 0, False, 60.0, ""], 16, 1000.0, 100, 1]
    run = replayed(folder)
    assert run.decisions == 3


def test_settings():
    assert parse([]).record == "" and parse([], None, {"FLUX_SCHED_RECORD": "/a"}).record == "/a"
    assert parse([], {"record": "/b"}, {"FLUX_SCHED_RECORD": "/a"}).record == "/b"
    assert parse(["record=/c"], {"record": "/b"}).record == "/c"
    found = parse(["record-size=64k", "record-age=2h"])
    assert (found.record_size, found.record_age) == (65536, 7200.0)
    found = parse([], {"record-size": 70000, "record-age": 90})
    assert (found.record_size, found.record_age) == (70000, 90.0)
    assert parse(["record-size=3G"]).record_size == 3 * 2**30


@pytest.mark.parametrize("argument, text", [
    ("record=", "argument record: expected the absolute path of a folder, got ''"),
    ("record=here", "argument record: expected the absolute path of a folder, got 'here'"),
    ("record-size=1k", "argument record-size: expected bytes, at least 64k, as a number with k, M, G or T, got '1k'"),
    ("record-size=99999T", "argument record-size: expected bytes"),
    ("record-size=-1", "argument record-size: expected bytes"),
    ("record-age=0", "argument record-age: expected seconds, or a number with s, m, h or d, at least 1s, got '0'"),
    ("record-age=inf", "argument record-age: expected seconds"),
    ("record-age=old", "argument record-age: expected seconds"),
])
def test_settings_that_are_refused(argument, text):
    with pytest.raises(ArgumentError) as caught:
        parse([argument])
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("table", [{"record": 5}, {"record-size": True}, {"record-size": 1.5}, {"record-age": True}])
def test_a_table_that_is_refused(table):
    with pytest.raises(ArgumentError, match=f"configuration: sched.{next(iter(table))}: expected"):
        parse([], table)


def test_a_folder_that_cannot_be_used_is_refused_at_load(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match=r"record=.*/file: Not a directory"):
        Bench([f"record={tmp_path}/file"], start=False)
    with pytest.raises(ServiceError, match=r"record=.*/no/where: No such file or directory"):
        Bench([f"record={tmp_path}/no/where"], start=False)


def test_nobody_else_reads_it(folder):
    recorded(folder).service.stop()
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_one_scheduler_at_a_time_writes(folder):
    first = recorded(folder)
    second = recorded(folder)
    assert any("another scheduler records there; nothing is recorded any more" in text for text in second.host.texts(3))
    second.alloc(1)
    assert second.started(1)
    first.alloc(1)
    first.service.stop()
    assert replayed(folder).decisions == 1 and len(files.numbered(folder)) == 1


def test_each_load_begins_a_part(folder):
    for turn in range(3):
        bench = recorded(folder)
        bench.alloc(turn + 1)
        bench.service.stop()
    assert [number for number, _ in files.numbered(folder)] == [1, 2, 3]
    assert replayed(folder).decisions == 3


def test_the_configuration_changes(folder):
    """Another policy is a row; what needs another engine, and the record itself, begin a part or end it."""
    bench = recorded(folder, config={"sched": {}})
    bench.alloc(1, slots=8, duration=10.0)
    bench.alloc(2, slots=16)
    bench.host.conf = {"sched": {"plugin": "backfill.plugin1"}}
    bench.service.reconfigure()
    bench.alloc(3, slots=2, duration=5.0)
    assert bench.started(3)
    bench.host.conf = {"sched": {"plugin": "backfill.plugin1", "sched-once": True}}
    bench.service.reconfigure()
    bench.free(1)
    bench.service.stop()
    assert [row[2]["name"] for row in rows(folder) if row[0] == "policy"] == ["backfill.plugin1"]
    assert [row[2]["plugin"] for row in rows(folder) if row[0] == "settings"] == ["backfill.plugin1"]
    assert rows(folder, 2)[0][1]["once"] is True
    assert replayed(folder).decisions == 2


def test_a_record_begins_and_ends_by_the_configuration(folder):
    bench = Bench(config={})
    bench.alloc(1)
    bench.alloc(2, nodes=4, exclusive=True)
    bench.host.conf = {"sched": {"record": str(folder)}}
    bench.service.reconfigure()
    bench.free(1)
    assert bench.started(2)
    bench.host.conf = {}
    bench.service.reconfigure()
    bench.free(2)
    assert [row[0] for row in rows(folder) if row[0] not in ("pass", "settings")] == [
        "head", "inventory", "hold", "add", "begun", "free",
    ]
    assert replayed(folder).decisions == 1


# What a reader says.


@pytest.fixture
def some(folder):
    """A record of a few jobs."""
    bench = recorded(folder, R=make_r(2, 2))
    for jobid in range(1, 7):
        bench.alloc(jobid)
    bench.free(1)
    bench.service.stop()
    return folder


def test_a_torn_end_is_no_error(some):
    whole = lines(some)
    write(some, [*whole[:-1], whole[-1][:4]])
    run = replayed(some)
    [warning] = run.warnings
    assert "part-000001.jsonl: the scheduler was killed, or its disk was full: the last" in warning
    write(some, whole[:-2] + [whole[-2][:7]])
    assert len(replayed(some).warnings) == 1
    write(some, [*whole, b"\0" * 100])
    assert len(replayed(some).warnings) == 1


def test_the_end_of_a_record_that_is_being_written_is_no_news(folder):
    bench = recorded(folder)
    bench.alloc(1)
    whole = lines(folder)
    write(folder, [*whole[:-1], whole[-1][:4]])
    assert replayed(folder).warnings == []
    bench.service.stop()
    assert len(replayed(folder).warnings) == 1


def test_damage_is_named_with_its_line(some):
    whole = lines(some)
    at = next(i for i, line in enumerate(whole) if line.startswith(b'["add"'))
    write(some, [*whole[:at], whole[at].replace(b"]", b"", 1), *whole[at + 1:]])
    with pytest.raises(RecordError, match=rf"part-000001.jsonl, line {at + 1}: is damaged: "):
        Replay(some).run()
    changed = whole[at].replace(b"100", b"101")
    assert changed != whole[at]
    write(some, [*whole[:at], changed, *whole[at + 1:]])
    with pytest.raises(RecordError, match=r"line \d+: lines \d+ to \d+ are damaged: their checksum is not"):
        Replay(some).run()


def test_folders_without_a_record(tmp_path):
    with pytest.raises(RecordError, match="there is no record in it: no file part-000001.jsonl or later"):
        Replay(tmp_path)
    with pytest.raises(RecordError, match="No such file"):
        Replay(tmp_path / "none")
    (tmp_path / "part-000001.jsonl").write_bytes(b"")
    with pytest.raises(RecordError, match="there is nothing in the record so far"):
        Replay(tmp_path)


def forged(folder, change):
    """A record whose rows are changed, with good checksums."""
    content = [json.loads(line) for line in lines(folder) if line.startswith(b"[")]
    change(content)
    shutil.rmtree(folder)
    writer = files.Parts(str(folder), 2**20, 1e9)
    writer.begin([json.dumps(row).encode() for row in content])
    writer.complete()
    writer.close()


def pass_of(content):
    return next(row for row in content if row[0] == "pass" and row[3])


@pytest.mark.parametrize("change, text", [
    (lambda rows: rows[0][1].update(format=7), "line 1: is a record of format 7, and this flux-sched reads 2"),
    (lambda rows: rows.pop(0), r'line 1: expected a row \["head"'),
    (lambda rows: rows[1].__setitem__(1, {"R": {}}), r"line 1: RError: "),
    (lambda rows: rows[0][1].pop("users"), "line 1: KeyError: 'users'"),
    (lambda rows: rows[0][1].update(time=[1]), "line 1: time: expected seconds since the epoch, got a list"),
    (lambda rows: rows.__delitem__(slice(2, None)), "ends in its first state"),
    (lambda rows: rows.insert(4, ["dance", 1000.0]), "line 5: KeyError: 'dance'"),
    (lambda rows: rows.insert(4, ["add", 1000.0, 1]), "line 5: TypeError: "),
    (lambda rows: rows.insert(4, ["up", "soon"]), "line 5: TypeError: expected a time, got 'soon'"),
    (lambda rows: rows.insert(4, ["pass", 1000.0, -1]), "line 5: IndexError: "),
])
def test_rows_that_are_not_what_they_should_be(some, change, text):
    forged(some, change)
    with pytest.raises(RecordError, match=text):
        Replay(some).run()


def test_the_first_difference_is_named(some):
    forged(some, lambda rows: pass_of(rows)[3][0][1].__setitem__(0, [1, 1, "1", ""]))
    done = CliRunner().invoke(main, ["replay", str(some)])
    assert done.exit_code == 1
    first, recorded_, replayed_ = done.output.splitlines()
    assert "part-000001.jsonl, line 5: the pass of " in first and first.endswith("differs (after 1 decision):")
    assert recorded_ == "  recorded: ƒ2 starts on [[1, 1, '1', '']]"
    assert replayed_ == "  replayed: ƒ2 starts on [[0, 0, '0', '']]"


def test_all_the_same(some):
    done = CliRunner().invoke(main, ["replay", str(some)])
    assert done.exit_code == 0
    assert done.output.startswith("5 decisions, all the same (") and " passes, 1 part, 1970-01-01 " in done.output


def test_another_state_is_a_difference(some, tmp_path):
    """A part that goes on from the one before it begins in the state in which that ended."""
    content = rows(some)
    jobs = [row for row in content if row[0] == "add"]
    head = content[0][1] | {"continues": True, "time": 1000.0}
    writer = files.Parts(str(some), 2**20, 1e9)
    writer.begin([json.dumps(row).encode() for row in [["head", head], content[1], jobs[0], ["begun", 1000.0]]])
    writer.complete()
    writer.close()
    run = Replay(some)
    assert run.run().what == "state" and run.difference.part.number == 2


# What a part begins with.


SPECS = [
    jobspec(), jobspec(nodes=2, cores=2, gpus=1, queue="q", duration=1.5),
    jobspec(constraints={"and": [{"properties": ["^a"]}, {"ranks": ["0-1"]}]}),
    {**jobspec(), "resources": [{"type": "node", "count": {"min": 2, "max": 8, "operator": "*", "operand": 2}, "with": [
        {"type": "slot", "count": "1,3-4", "label": "task", "with": [{"type": "core", "count": 1}]}]}]},
    {**jobspec(), "resources": [{"type": "slot", "count": "2-4", "label": "task", "with": [
        {"type": "socket", "count": 1, "with": [{"type": "core", "count": 2}, {"type": "memory", "count": 5}]}]}]},
]


@pytest.mark.parametrize("spec", SPECS)
def test_requests_are_the_same_again(spec):
    request = parse_jobspec(spec)
    assert request_of(json.loads(json.dumps(request_row(request)))) == request


def test_what_a_job_holds_is_taken_over_by_another_engine():
    inventory = Inventory.from_counts(4, 4, 2)
    first, second = Engine(inventory, load_plugin("sched.plugin1")), Engine(inventory, load_plugin("sched.plugin1"))
    first.mark_down("3")
    first.property_add("p", "0-1")
    first.set_expiration(5000.0)
    specs = [jobspec(slots=3), jobspec(nodes=2, exclusive=True), jobspec(gpus=1, duration=9.25)]
    for jobid, spec in enumerate(specs, 1):
        first.add(jobid, parse_jobspec(spec), t_submit=10.0)
    first.schedule(100.125)
    assert first.marks() == {
        "up": "0-2", "gone": "", "denies": False, "expiration": 5000.0, "properties": {"p": "0-1"},
        "changes": 2,
    }
    for jobid in (1, 2, 3):
        second.adopt_holding(jobid, *first.holding(jobid), *first.times(jobid))
        assert second.holding(jobid) == first.holding(jobid) and second.times(jobid) == first.times(jobid)
    assert first.times(3) == (100.125, 109.375)
    assert [row[2:] for row in first.holding(1)[0]] == [("0-2", "")]
    assert first.holding(2) == ([(1, 2, "0-3", "0-1")], [])
    with pytest.raises(ValueError, match="job 1 is known already"):
        second.adopt_holding(1, [], [], 0.0, 0.0)
    with pytest.raises(ValueError, match="another job holds some"):
        second.adopt_holding(9, *first.holding(2), 0.0, 0.0)
    with pytest.raises(ValueError, match="job 9 holds no resources"):
        first.holding(9)
    third = Engine(inventory, load_plugin("sched.plugin1"))
    third.adopt_holding(2, *first.holding(2), *first.times(2), 16, 10.0, None, "debug", 104.0)
    assert third.times(2) == first.times(2) and third.expected_end(2) == 104.0 and third.domain(2) == "debug"
    assert second.expected_end(2) == first.times(2)[1] and second.domain(2) == first.domain(1) == ""
    with pytest.raises(ValueError, match="job 1 is not known"):
        third.domain(1)
    third.know_changes(7)
    assert third.marks()["changes"] == 7
    third.sanity_check()
    third.schedule(100.0)
    third.sanity_check()


def test_a_job_that_has_been_taken_may_wait_for_what_is_gone():
    engine = Engine(Inventory.from_counts(2, 4), load_plugin("sched.plugin1"))
    engine.remove("1")
    engine.schedule(1.0)
    request = parse_jobspec(jobspec(nodes=2, exclusive=True))
    with pytest.raises(ValueError, match="needs 2 whole nodes"):
        engine.add(1, request)
    engine.add(1, request, known=True)
    assert engine.waits(1) and not engine.schedule(2.0).started


def test_ranks_that_are_gone_deny_only_once():
    engine = Engine(Inventory.from_counts(4, 1), load_plugin("sched.plugin1"))
    engine.remove("1,3")
    assert engine.marks()["gone"] == "1,3" and engine.marks()["denies"]
    engine.schedule(1.0)
    assert not engine.marks()["denies"]


def test_fair_share_goes_on_in_a_part(folder, tmp_path, small):
    """Usage is of the state: the part by itself orders as the engine did."""
    options = "plugin-opts=order=multifactor,weight-fairshare=1e6"
    bench = recorded(folder, "plugin=sched.plugin1", options, R=make_r(1, 2))
    for jobid in range(1, 30):
        bench.alloc(jobid, slots=1 + jobid % 2, duration=50.0, userid=[1, 2, 2][jobid % 3])
        bench.host.run(3.0)
        for other in range(1, jobid):
            if bench.started(other) and other in bench.service.jobs and jobid % 4 == 0:
                bench.free(other)
    bench.service.stop()
    replayed(folder)
    assert stand_alone(folder, tmp_path) > 3
    policy = rows(folder, 4)[0][1]["policy"]
    assert policy["state"]["started"] and sum(policy["state"]["usage"]) > 0 and policy["hash"] is None
    assert rows(folder, 4)[0][1]["users"] == [2, 1]


PLUGIN = """
from fluxsched.policy.pyplugin import GO_ON, RESOURCES
class Plugin:
    def __init__(self, options):
        self.passes = 0
    def sched_loop_setup(self, engine):
        self.passes += 1
    def find_resources(self, engine, job):
        return self.passes % 3 == 0 and engine.fits_now(job)
    def select_resources(self, engine, job):
        return engine.select(job)
    def allocate_resources(self, engine, job):
        engine.start(job)
    def reserve_resources(self, engine, job):
        return GO_ON
"""


def test_a_plugin_in_python_goes_on_with_what_it_has_learnt(folder, tmp_path, small):
    plugin = tmp_path / "third.py"
    plugin.write_text(PLUGIN)
    bench = recorded(folder, f"plugin={plugin}", R=make_r(2, 2))
    for jobid in range(1, 20):
        bench.alloc(jobid)
    bench.service.stop()
    assert replayed(folder).warnings == []
    assert stand_alone(folder, tmp_path) > 1
    plugin.write_text(PLUGIN.replace("self.passes % 3 == 0", "False"))
    run = Replay(folder)
    assert run.run().what == "pass"
    assert run.warnings[0] == f"plugin {plugin}: its file is not the one that was recorded"


def test_what_a_plugin_in_python_tells_of_itself():
    class Plain:
        sched_loop_setup = find_resources = select_resources = allocate_resources = reserve_resources = print

    policy = PythonPolicy("x", {}, Plain())
    state = policy.state()
    assert state["plugin"] is None
    policy.restore(state)
    policy.restore({**state, "plugin": {"a": [1, "b"]}})
    assert policy.state() == {**state, "plugin": {"a": [1, "b"]}}
    policy.restore({**state, "plugin": {"a": {1: 2}}})
    assert policy.state() == state      # a key of JSON is a text
    policy.restore({**state, "plugin": {"a": object()}})
    assert policy.state() == state


def test_an_error_of_a_plugin_is_a_decision(folder, tmp_path):
    plugin = tmp_path / "bad.py"
    plugin.write_text(PLUGIN.replace("self.passes % 3 == 0 and", "1 / (self.passes % 3) and"))
    bench = recorded(folder, f"plugin={plugin}", R=make_r(2, 2))
    for jobid in range(1, 9):
        bench.alloc(jobid)
    bench.service.stop()
    failed = [row for row in rows(folder) if (row[0] == "pass" and row[-1] == {"error": "float division by zero"})
              or row[-1] == {"error": "division by zero"}]
    assert failed
    replayed(folder)
    plugin.write_text(PLUGIN.replace("self.passes % 3 == 0 and", ""))
    assert Replay(folder).run().what == "pass"
