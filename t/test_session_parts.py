# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Parts of the embedded session, each on its own."""

import errno
import gc
import json
import os
import socket
import time
import weakref
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import specs
from fluxsched.session import fsd, jobid
from fluxsched.session.broker import database, layout, loop, store
from fluxsched.session.broker import ranks as resources
from fluxsched.session.broker.active import Active
from fluxsched.session.broker.job import CLEANUP, DEPEND, RUN, SCHED, Job
from fluxsched.session.broker.log import Log
from fluxsched.session.broker.rpc import Router, rpc
from fluxsched.session.broker.server import Server
from fluxsched.session.commands import buildspec, environ
from fluxsched.session.commands import requires as constraints
from fluxsched.session.commands.client import parse_uri
from fluxsched.session.commands.submit import parser
from fluxsched.session.errors import CommandError, SessionError
from fluxsched.session.runner.worker import Worker
from fluxsched.session.templates import fill

# job ids


@given(st.integers(0, 2**64 - 1))
def test_jobid_forms_agree(number):
    for text in (jobid.f58(number), jobid.f58(number, plain=True), str(number), hex(number), jobid.dothex(number)):
        assert jobid.parse(text) == number


@pytest.mark.parametrize(
    "text", ["", "ƒ", "f0", "x", "-1", "1.2.3", "0x", "0xg", "1_0", "٣", str(2**64), "f" + "z" * 12]
)
def test_jobid_refuses(text):
    with pytest.raises(ValueError, match="invalid JobID value"):
        jobid.parse(text)


def test_generator_rises_past_the_last():
    make = jobid.Generator(epoch=4e9, last=(5 << 24) | 0x3FE)
    assert [make() for _ in range(3)] == [(5 << 24) | 0x3FF, 6 << 24, (6 << 24) | 1]


# durations


def test_durations():
    assert [fsd.show(value) for value in (0, 0.0005, 0.5, 12.345, 90, 5400, 90000)] == [
        "0s", "0s", "0.500s", "12.35s", "1.5m", "1.5h", "1.042d",
    ]  # fmt: skip
    assert fsd.show(float("inf")) == "inf"
    texts = ("2", "2s", "1.5", "2m", "100ms", "1h")
    assert [fsd.parse(text, unit=60.0) for text in texts] == [120, 2, 90, 120, 0.1, 3600]


# layout


def spec_of(*words):
    options = parser("submit").parse_args([*words, "x"])
    return buildspec.build(options, options.command, env={})


def R_of(rows):
    """R of [(cores, gpus)], rank by rank."""
    lite = [
        {"rank": str(rank), "children": {"core": cores, **({"gpu": gpus} if gpus else {})}}
        for rank, (cores, gpus) in enumerate(rows)
    ]
    nodelist = [f"n[0-{len(rows) - 1}]" if len(rows) > 1 else "n0"]
    return {"version": 1, "execution": {"R_lite": lite, "nodelist": nodelist, "starttime": 0, "expiration": 0}}


def test_layout_by_slots():
    tasks = layout.tasks(spec_of("-n4", "-c2"), R_of([("0-1", ""), ("2-7", "")]), list(range(10, 18)))
    assert tasks == [
        [0, 0, 0, [10, 11], "-1"],
        [1, 1, 0, [12, 13], "-1"],
        [2, 1, 1, [14, 15], "-1"],
        [3, 1, 2, [16, 17], "-1"],
    ]


def test_layout_of_jobs_of_several_sizes():
    node, slot, core = specs.node, specs.slot, specs.core

    def ranks(resources, rows, nslots):
        R = R_of(rows)
        R["execution"]["nslots"] = nslots
        return [task[1] for task in layout.tasks(specs.make(resources), R, list(range(8)))]

    assert ranks(node("2-4", slot(2, core(1))), [("0-1", "")] * 3, 6) == [0, 0, 1, 1, 2, 2]
    assert ranks(node(2, slot("1-4", core(1))), [("0-2", "")] * 2, 6) == [0, 0, 0, 1, 1, 1]
    assert ranks(node(2, slot("1-4", core(1)), exclusive=True), [("0-7", "")] * 2, 6) == [0, 0, 0, 1, 1, 1]
    assert ranks(slot("2-9", core(2)), [("0-3", ""), ("0-1", "")], 3) == [0, 0, 1]


def test_layout_of_an_uneven_total():
    tasks = layout.tasks(spec_of("-N2", "-n3"), R_of([("0-1", ""), ("0-1", "")]), [0, 1])
    assert [task[:3] for task in tasks] == [[0, 0, 0], [1, 0, 1], [2, 1, 0]]
    assert tasks[0][3] == [0, 1]


def test_layout_by_resource():
    R = R_of([("0-3", "0-1"), ("0-1", "")])
    tasks = layout.tasks(spec_of("-N2", "--tasks-per-core=2"), R, [0, 1])
    assert [task[1] for task in tasks] == [0] * 8 + [1] * 4
    assert tasks[0][3:] == [None, "0,1"]  # the machine has no core 3
    assert tasks[-1][3:] == [[0, 1], "-1"]
    assert [task[1] for task in layout.tasks(spec_of("-N2", "--tasks-per-node=2"), R, [0])] == [0, 0, 1, 1]


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
def test_layout_gives_each_task_its_own_cores(nodes, per_node, cores):
    spec = spec_of(f"-N{nodes}", f"-n{nodes * per_node}", f"-c{cores}")
    R = R_of([(f"0-{per_node * cores - 1}" if per_node * cores > 1 else "0", "")] * nodes)
    tasks = layout.tasks(spec, R, list(range(per_node * cores)))
    assert [task[0] for task in tasks] == list(range(nodes * per_node))
    for node in range(nodes):
        own = [core for task in tasks if task[1] == node for core in task[3]]
        assert sorted(own) == list(range(per_node * cores))


# constraints


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("a", {"properties": ["a"]}),
        ("^a", {"properties": ["^a"]}),
        ("host:n[1-2] rank:3", {"and": [{"hostlist": ["n[1-2]"]}, {"ranks": ["3"]}]}),
        ("a|b&c", {"or": [{"properties": ["a"]}, {"and": [{"properties": ["b"]}, {"properties": ["c"]}]}]}),
        ("(a or b) and c", {"and": [{"or": [{"properties": ["a"]}, {"properties": ["b"]}]}, {"properties": ["c"]}]}),
        ("not a", {"not": [{"properties": ["a"]}]}),
        ("-a", {"not": [{"properties": ["a"]}]}),
        ("'a b'", {"properties": ["a b"]}),
    ],
)
def test_constraints(text, constraint):
    assert constraints.parse(text) == constraint


@pytest.mark.parametrize("text", ["", "(", ")", "a b)", "a and", "or a", "not", "x:y", "host:", "'a", "(a"])
def test_constraints_refused(text):
    with pytest.raises(ValueError, match=r"."):
        constraints.parse(text)


@given(st.text("ab:()|&'^- ", max_size=20))
def test_any_constraint_text_is_parsed_or_refused(text):
    try:
        assert isinstance(constraints.parse(text), dict)
    except ValueError:
        pass


# environment


def test_environment_rules(tmp_path):
    have = {"A": "1", "B": "2", "AB": "3", "FLUX_JOB_ID": "x"}
    assert environ.apply([], have) == ({"A": "1", "B": "2", "AB": "3"}, {})
    assert environ.apply(["-A*"], have)[0] == {"B": "2"}
    assert environ.apply(["-/^A.*/"], have)[0] == {"B": "2"}
    assert environ.apply(["A*", "C=${A}${B}"], have)[0] == {"A": "1", "B": "2", "AB": "3", "C": "12"}
    assert environ.apply(["-*", "B=5", "[AB]", "C=${B}"], have)[0] == {"A": "1", "B": "5", "C": "5"}
    assert environ.apply(["-*", "C={{id}}-$A"], have) == ({}, {"C": "{{id}}-$A"})
    rules = tmp_path / "rules"
    rules.write_text("# comment\n-*\n\nD=4\nE={{x}}\n")
    assert environ.apply([f"^{rules}"], have) == ({"D": "4"}, {"E": "{{x}}"})


@pytest.mark.parametrize("rule", ["C=$NONE", "C=${", "=x", "-/(/", "^/nonexistent"])
def test_environment_rules_refused(rule):
    with pytest.raises(ValueError, match=r"."):
        environ.apply([rule], {})


# files and addresses


def test_template():
    values = {"id": "f1", "taskid": 3}
    assert fill("a.{{id}}.{{ taskid }}.{{odd}}.{{open", values) == "a.f1.3.{{odd}}.{{open"


def test_uri():
    assert parse_uri("local:///run/x/local-12") == ("/run/x/local-0", 12)
    for text in ("ssh://h/local-0", "local:///run/x/sock", "local:///run/local-"):
        with pytest.raises(CommandError, match="FLUX_URI"):
            parse_uri(text)


def test_configured_resources():
    a = {"hosts": "a[1-2]", "cores": "0-3", "properties": ["p"]}
    R = resources.configured({"config": [a, {"hosts": "b", "cores": "0"}]})
    assert layout.held(R) == [(0, "a1", [0, 1, 2, 3], []), (1, "a2", [0, 1, 2, 3], []), (2, "b", [0], [])]
    assert R["execution"]["properties"] == {"p": "0-1"}
    assert resources.configured({}) is None
    both = [{"hosts": "a,b,a", "cores": 0}, {"hosts": "b", "cores": "2-3", "gpus": "1"}]
    assert layout.held(resources.configured({"config": both})) == [(0, "a", [0], []), (1, "b", [0, 2, 3], [1])]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (7, "resource.config: expected a list of tables"),
        ([5], "resource.config[0]: expected a table, got 5"),
        ([{}], "resource.config[0]: expected a host list string, got null"),
        ([{"hosts": "a["}], "resource.config[0]: 'a[' is not a host list"),
        ([{"hosts": "a[0-16384]", "cores": "0"}], "resource.config[0]: 'a[0-16384]' stands for too many hosts"),
        ([{"hosts": f"{c}[1-9000]", "cores": "0"} for c in "ab"], "resource.config: 18000 hosts, the most allowed is"),
        ([{"hosts": "a", "cores": "x"}], "resource.config[0]: cores: "),
        ([{"hosts": "a", "cores": True}], "resource.config[0]: cores: "),
        ([{"hosts": "a", "cores": "0", "gpus": "65536"}], "resource.config[0]: gpus: "),
        ([{"hosts": "a", "cores": "0", "core": "0"}], "resource.config[0]: 'core': unknown key, expected hosts"),
        ([{"hosts": "a", "cores": "0", "properties": "p"}], "resource.config[0]: properties: expected a list of names"),
        ([{"hosts": "a", "cores": "0", "properties": ["p q|"]}], "resource.config: execution.properties: illegal"),
        ([{"hosts": "a,b"}], "resource.config: execution.R_lite[0].children.core: expected at least one core"),
    ],
)  # fmt: skip
def test_resources_that_cannot_be_configured(config, text):
    """Refused before a session starts with them."""
    with pytest.raises(SessionError) as caught:
        resources.configured({"config": config})
    assert str(caught.value).startswith(f"configuration: {text}")


# the log


def test_log_keeps_the_newest():
    log = Log(size=2)
    for text in ("one", "two\nthree"):
        log("here", 3, text)
    assert [entry["text"] for entry in log.entries()] == ["two", "three"]
    assert log.entries()[0]["name"] == "here.err[0]"


# the store


def test_store_writes_a_turn_at_once_and_calls_back(tmp_path):
    kept = store.Store(str(tmp_path))
    calls = []
    kept.request(kept.ops_kvs("a.b", "1"), calls.append)
    kept.change(kept.ops_kvs("a.c", {"x": 1}), lambda: calls.append("changed"))
    assert calls == []
    assert kept.flush()
    assert calls == ["changed", None]  # a request when it is on the disk
    assert kept.kvs_read("a.b") == "1"
    assert kept.kvs_read("a.c") == {"x": 1}
    assert kept.kvs_below("a") == [("a.b", "1"), ("a.c", '{"x":1}')]
    kept.close()


def test_store_keeps_changes_that_cannot_be_written(tmp_path):
    lines = []
    kept = store.Store(str(tmp_path), log=lambda *words: lines.append(words))
    calls = []
    broken = [("INSERT INTO nosuch VALUES (1)", ())]
    kept.request(broken, calls.append)
    kept.change(kept.ops_kvs("k", "v"), lambda: calls.append("first"))
    assert kept.flush()
    # the request is refused, and takes no change with it
    assert [type(calls[0]), *calls[1:]] == [OSError, "first"]
    assert "cannot write" in calls[0].strerror
    assert lines == []
    kept.change(broken, lambda: calls.append("second"))
    assert not kept.flush()
    assert not kept.flush()
    assert len(lines) == 1 and "kept and tried again" in lines[0][2]
    kept._db.execute("CREATE TABLE nosuch (x)")
    assert kept.flush(again=True)
    assert calls[2:] == ["second"]
    assert len(lines) == 2 and "can be written again" in lines[1][2]
    kept.close()


KEYS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join)


@given(st.lists(st.tuples(KEYS, st.one_of(st.none(), st.integers(), st.text("xy", max_size=2)))))
def test_kvs_is_a_tree(steps):
    """Against a dict: a value takes the place of a directory, and of values on its way."""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        kept = store.Store(directory)
        model = {}
        for key, value in steps:
            kept.change(kept.ops_kvs(key, value))
            ways = {key[:i] for i in range(len(key)) if key[i : i + 1] == "."} if value is not None else set()
            model = {k: v for k, v in model.items() if k != key and not k.startswith(key + ".") and k not in ways}
            if value is not None:
                model[key] = value
        assert {key: kept.kvs_read(key) for key, _ in kept.kvs_below("")} == model
        kept.close()


@pytest.mark.parametrize("key", ["", ".", "..", "a\0b", "x" * 5000])
def test_kvs_keys_refused(key):
    with pytest.raises(ValueError, match="invalid KVS key"):
        store.normalize(key)


# the loop


def test_loop_order_and_errors():
    errors = []
    turning = loop.Loop(errors.append)
    seen = []
    turning.call_later(0.02, lambda: (seen.append("later"), turning.stop()))
    turning.call_later(0.01, lambda: seen.append("never")).cancel()
    turning.call_soon(lambda: seen.append("soon"))
    turning.call_soon(lambda: 1 / 0)
    turning.turn_end.append(lambda: seen.append("turn") if seen[-1] != "turn" else None)
    turning.run()
    turning.close()
    assert seen == ["soon", "turn", "later", "turn"]
    assert [type(error) for error in errors] == [ZeroDivisionError]


def test_jobspec_of_options():
    words = ["--setopt=verbose", "--unbuffered", "-l", "--output=o", "-S", 'user.x={"y":1}']
    spec = spec_of("-N2", "-n4", "-t90s", *words)
    system = spec["attributes"]["system"]
    assert system["duration"] == 90
    assert system["shell"]["options"]["verbose"] == 1
    assert system["shell"]["options"]["output"]["stdout"] == {
        "type": "file", "path": "o", "label": True, "buffer": {"type": "none"},
    }  # fmt: skip
    assert spec["attributes"]["user"] == {"x": {"y": 1}}
    assert json.loads(json.dumps(spec)) == spec
    with pytest.raises(buildspec.SpecError, match="no multiple"):
        spec_of("-N2", "--cores=3")
    with pytest.raises(buildspec.SpecError, match="need --nodes or --cores"):
        spec_of("--tasks-per-node=3")
    with pytest.raises(buildspec.SpecError, match="needs --nodes"):
        spec_of("--gpus-per-node=1")


# sockets, when there are no more descriptors


class Full:
    """A listening socket that has somebody waiting, and no descriptor for them; `refuse` is what accepting raises."""

    def __init__(self, refuse):
        self.refuse = refuse

    def accept(self):
        if self.refuse:
            raise OSError(self.refuse, os.strerror(self.refuse))
        raise BlockingIOError

    def fileno(self):
        return 7

    def close(self):
        pass


class Waiting:
    """The loop as a listener sees it: what it watches, and what is due later."""

    def __init__(self):
        self.watched = {}
        self.later = []

    def watch(self, fd, mask, callback):
        self.watched[fd] = mask

    def call_later(self, seconds, callback):
        self.later.append((seconds, callback))


def test_broker_without_descriptors_waits(tmp_path):
    """It looks again twice a second, and says so once."""
    waiting, log = Waiting(), Log()
    server = Server(waiting, log, str(tmp_path / "local-0"), Router())
    server._listener.close()
    server._listener = Full(errno.EMFILE)
    for _ in range(3):
        server._accept(loop.READ)
        assert waiting.watched[7] == 0
        seconds, again = waiting.later.pop()
        assert seconds >= 0.1 and waiting.later == []
        again()
        assert waiting.watched[7] == loop.READ
    assert [entry["text"] for entry in log.entries()] == ["cannot accept a connection: Too many open files"]
    server._listener.refuse = 0
    server._accept(loop.READ)
    server._listener.refuse = errno.EMFILE
    server._accept(loop.READ)
    assert len(log.entries()) == 2
    server.close()


def test_a_client_that_has_gone_leaves_no_ring(tmp_path):
    """Python's search for garbage passes over what has lived long, so nothing may depend on it."""
    events, gone = [], []
    turn = loop.Loop(events.append)

    class Handlers:
        @rpc("test.wait")
        def wait(self, request):
            """Wait for the client to go."""
            request.on_close = lambda: events.append(request.id)
            gone.extend([weakref.ref(request.connection), weakref.ref(request.connection.channel)])

    server = Server(turn, Log(), str(tmp_path / "local-0"), Router(Handlers()))
    gc.disable()
    try:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(server.path)
        client.sendall(b'{"id":7,"topic":"test.wait"}\n')
        client.close()
        turn.turn_end.append(lambda: turn.stop() if events else None)
        turn.call_later(60.0, turn.stop)
        turn.run()
        assert events == [7] and [one() for one in gone] == [None, None]
    finally:
        gc.enable()
    server.close()
    turn.close()


def test_worker_without_descriptors_waits(tmp_path):
    ours, theirs = socket.socketpair()
    worker = Worker(ours, -1, str(tmp_path / "w"), "", None)
    worker.watch = Waiting().watch
    watched = worker.watch.__self__.watched
    worker.listener = Full(errno.EMFILE)
    worker.accept(loop.READ)
    assert watched == {7: 0}
    when, again = worker.timers.pop("accept")
    assert when > time.monotonic() + 0.1
    again()
    assert watched == {7: loop.READ}
    worker.listener.refuse = 0
    worker.accept(loop.READ)
    assert worker.timers == {}
    theirs.close()


# active jobs

CHANGES = st.one_of(
    st.tuples(st.just("add"), st.sampled_from((DEPEND, SCHED)), st.sampled_from((0, 16, 31))),
    st.tuples(st.just("remove"), st.integers(0, 9), st.just(0)),
    st.tuples(st.sampled_from((DEPEND, SCHED, RUN, CLEANUP)), st.integers(0, 9), st.sampled_from((None, 0, 16))),
)


@settings(max_examples=50)
@given(st.lists(CHANGES, max_size=25))
def test_active_jobs_are_listed_in_the_order_of_all_of_them(changes):
    active, gone = Active(), Job(99, SCHED, {}, {"priority": 1})
    for number, (what, which, priority) in enumerate(changes):
        if what == "add":
            active.add(Job(number, which, {}, {"priority": priority}))
        elif which in range(len(active)):
            job = list(active.values())[which]
            if what == "remove":
                active.remove(job)
            else:
                active.change(job, what, priority)
                assert job.state == what and priority in (None, job.info["priority"])
        waiting = sorted((job for job in active.values() if job.state in (DEPEND, SCHED)), key=Job.order)
        assert list(active.waiting()) == waiting
        assert sorted(job.id for job in active.others()) == sorted(set(active) - {job.id for job in waiting})
        assert active.count_waiting() == len(waiting)
        for state in (DEPEND, SCHED):
            assert active.count_waiting(state) == sum(job.state == state for job in waiting)
    active.change(gone, CLEANUP, 2)
    assert (gone.state, gone.info["priority"], gone.id in active, gone in active.others()) == (CLEANUP, 2, False, False)


# syncs of the database


@pytest.mark.parametrize(("took", "apart"), [(0.001, 0.004), (0.004, 0.016), (0.02, 0.025), (0.1, 0.1)])
def test_syncs_come_as_often_as_the_disk_is_fast(tmp_path, monkeypatch, took, apart):
    """One takes `took` seconds; they come `apart`, as a mean."""
    now, syncs, pauses = [100.0], [], []
    thread = SimpleNamespace(do=lambda work, done: syncs.append(done), close=lambda: None)
    turn = SimpleNamespace(
        call_later=lambda seconds, callback: pauses.append((seconds, callback)),
        call=lambda callback, *words: callback(*words),
    )
    monkeypatch.setattr(database, "time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))
    monkeypatch.setattr(database, "Background", lambda loop: thread)
    kept = store.Store(str(tmp_path), loop=turn)
    syncs.pop()(None)  # of the new database
    for i in range(100):
        kept.request(kept.ops_kvs("a", str(i)), lambda error: None)
        assert kept.flush()
        if pauses:
            seconds, callback = pauses.pop()
            now[0] += seconds
            callback()
        now[0] += took
        syncs.pop()(None)
        assert not (pauses or syncs)
    assert 90 * apart < now[0] - 100.0 < 100 * max(apart, took) + 0.1
    kept.close()
