# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Plugins in Python: what they see, what they may not do and how that is told, and plugins without a file."""

import math

import pytest
from fluxsched.policy.pyplugin import GO_ON

from fluxsched.core import Engine, Inventory, PluginError
from fluxsched.policy.loader import load_plugin, make_policy
from naive import cores, estimates, machine, nodes, reasons, request, tree_request, vertex
from plugin_files import OPERATIONS, add, write_plugin

EASY = "backfill.plugin1"


@pytest.fixture
def plugin(tmp_path):
    """Makes an engine on 4 nodes of one core with a plugin in Python."""

    def make(nnodes=4, ncores=1, **arguments):
        return machine(nnodes, ncores, plugin=write_plugin(tmp_path, **arguments))

    return make


# Plugins in Python at work.


def test_python_plugin_without_explanations(plugin):
    e = plugin()
    add(e, nodes(3, 10), nodes(2, 10), nodes(1, 10))
    outcome = e.schedule(0)
    assert outcome.started == [1, 3]
    assert reasons(e) == {2: "waiting for resources"}


@pytest.mark.parametrize("kind", [nodes, cores, lambda n, t: request(nnodes=n, nslots=1, duration=t)])
@pytest.mark.parametrize(("name", "twin"), [("EASY", EASY), ("FCFS", "sched.plugin1")])
def test_python_plugin_decides_as_the_compiled_one(tmp_path, kind, name, twin):
    bodies = {
        "EASY": """(self, engine, job):
        engine.explain(job, RESERVED if engine.reserved(job) else RESOURCES)
        if not engine.reserved(job):
            engine.reserve(job)
        return GO_ON""",
        "FCFS": "(self, engine, job): return HOLD",
    }
    mine = machine(6, 2, plugin=write_plugin(tmp_path, reserve_resources=bodies[name]))
    other = machine(6, 2, plugin=twin)
    # Two engines side by side, a pass of the one between passes of the other.
    for now in range(40):
        wanted = kind(1 + now * 7 % 5, 1 + now * 5 % 9)
        for e in (mine, other):
            e.add(now, wanted)
            for jobid in [j for j in e.running_jobs() if e.times(j)[1] <= now]:
                e.free(jobid)
        passes = [e.schedule(float(now)) for e in (mine, other)]
        assert passes[0].started == passes[1].started
        assert estimates(mine) == estimates(other)
        assert mine.resource_status() == other.resource_status()
    assert mine.stats()["started"] > 10


def test_what_a_python_plugin_sees(plugin, tmp_path):
    e = plugin(
        reserve_resources="""(self, engine, job):
        self.passes.append((engine.now, engine.waiting(), engine.info(job), engine.earliest(job),
                            engine.fits_now(job), engine.select(job), engine.reserved(job), engine.reserve(job),
                            engine.reserved(job)))
        return GO_ON""",
        find_resources="""(self, engine, job):
        self.__class__.seen = self
        return engine.fits_now(job)""",
        init="self.__class__.passes = []; __import__('builtins').seen_plugin = self",
    )
    import builtins

    try:
        add(e, nodes(3, 10))
        e.add(5, nodes(2, 4.5, queue="batch"), 20, 2.5)
        e.add(6, request(nslots=3))
        assert e.schedule(3.0).started == [5]
        (now, waiting, info, earliest, fits, select, before, reserve, after), last = builtins.seen_plugin.passes
    finally:
        del builtins.seen_plugin
    assert now == 3.0
    assert len(waiting) == 2
    assert info == (1, 16, 0.0, 3, 1, 1, 0, True, 10.0, "", None, 10.0)
    assert info._fields == (
        "id", "priority", "submit", "nnodes", "nslots", "cores", "gpus", "exclusive", "duration", "queue", "user",
        "predicted",
    )
    assert (earliest, fits, select, before, reserve, after) == (7.5, False, False, 0, True, 1)
    assert last[2].duration is None
    assert last[2].exclusive is False
    assert last[3] == 17.5


def test_python_plugin_sees_what_runs_and_what_is_free(tmp_path):
    class Watching:
        def __init__(self):
            self.seen = []

        def sched_loop_setup(self, engine):
            self.seen.append((engine.running(), engine.free_nodes, engine.free_cores))
            self.kept = engine

        def find_resources(self, engine, job):
            return engine.fits_now(job)

        def select_resources(self, engine, job):
            return engine.select(job)

        def allocate_resources(self, engine, job):
            engine.start(job)
            self.after = engine.running(), engine.free_nodes, engine.free_cores

        def reserve_resources(self, engine, job):
            return GO_ON

    mine = Watching()
    e = Engine(Inventory.from_counts(4, 4, 2), make_policy(mine, "mine"))
    e.add(1, nodes(2, 100.0, queue="batch"), user="ann")
    e.add(2, request(nslots=3, cores=1, gpus=1, duration=50.0), user=1001)
    e.add(3, request(nslots=1))
    e.schedule(10.0)
    assert mine.seen == [([], 4, 16)]
    expected = [(2, 1001, 10.0, 60.0, 50.0, 2, 3, 3, ""), (1, "ann", 10.0, 110.0, 100.0, 2, 8, 4, "batch"),
                (3, None, 10.0, None, None, 1, 1, 0, "")]
    assert mine.after == (expected, 0, 4)
    assert mine.after[0][0]._fields == ("id", "user", "start", "end", "limit", "nodes", "cores", "gpus", "queue")
    e.free(1)
    e.mark_down("3")
    e.schedule(11.0)
    # Nodes 0 and 1 are idle, and one core of node 2 is free.
    assert mine.seen[1] == ([expected[0], expected[2]], 2, 9)
    for what in ("running", "free_nodes", "free_cores"):
        with pytest.raises(PluginError, match="the pass is over"):
            getattr(mine.kept, what)()


def test_python_plugin_sees_users_and_predicted_times(plugin):
    e = plugin(sched_loop_setup="""(self, engine):
        self.__class__.passes.append([engine.info(job)[-2:] for job in engine.waiting()])""")
    passes = e.policy.plugin.passes
    for jobid in (1, 2):
        e.add(jobid, nodes(4, 100.0), user="ann")
        e.schedule(100.0 * jobid)
        e.free(jobid)
        e.schedule(100.0 * jobid + 10 * jobid)
    for jobid, user in enumerate(("ann", "bob", None), 3):
        e.add(jobid, nodes(4, 100.0), user=user)
    e.add(6, nodes(1, 5.0), user="ann")
    e.add(7, nodes(1), user="bob")
    e.schedule(300.0)
    assert passes[0] == [("ann", 100.0)]
    assert passes[-1] == [("ann", 15.0), ("bob", 100.0), (None, 100.0), ("ann", 5.0), ("bob", None)]
    # A copy knows the same.
    copy = e.fork()
    copy.schedule(301.0)
    assert passes[-1] == [("bob", 100.0), (None, 100.0), ("ann", 5.0), ("bob", None)]


def test_python_plugin_reorders(plugin):
    e = plugin(sched_loop_setup="(self, engine): engine.reorder(lambda job: -job.nnodes)")
    add(e, nodes(1), nodes(2), nodes(3), nodes(2))
    outcome = e.schedule(0)
    assert outcome.started == [3, 1]
    assert e.waiting() == [2, 4]
    # The queue itself keeps its order, and the reasons are those of this pass.
    assert set(reasons(e)) == {2, 4}
    e.free(3)
    assert e.schedule(1).started == [2]


def test_reorder_with_a_bad_key(plugin):
    for key, error in (("math.nan", PluginError), ("'x'", TypeError), ("1 / 0", ZeroDivisionError)):
        e = plugin(sched_loop_setup=f"(self, engine): import math; engine.reorder(lambda job: {key})")
        add(e, nodes(1), nodes(1))
        with pytest.raises(error):
            e.schedule(0)
        assert e.waiting() == [1, 2]
        e.set_policy(load_plugin("sched.plugin1"))
        assert e.schedule(0).started == [1, 2]


def test_python_plugin_stops_a_queue(plugin):
    e = plugin(reserve_resources="(self, engine, job): return STOP")
    add(e, nodes(5 - 1, queue="a"), nodes(1, queue="a"), nodes(1, queue="a"), nodes(1, queue="b"))
    outcome = e.schedule(0)
    assert outcome.started == [1]
    assert reasons(e) == dict.fromkeys((2, 3, 4), "waiting for resources")


def test_python_plugin_starts_jobs_before_their_turn(plugin):
    # All in sched_loop_setup, last first, as far as there is room.
    e = plugin(
        sched_loop_setup="""(self, engine):
        for job in reversed(engine.waiting()):
            if engine.fits_now(job) and engine.select(job):
                engine.start(job)""",
        reserve_resources="(self, engine, job): return HOLD",
    )
    add(e, nodes(3), nodes(1), nodes(2), nodes(1), nodes(1))
    outcome = e.schedule(0)
    assert outcome.started == [5, 4, 3]
    assert e.waiting() == [1, 2]
    assert reasons(e) == {1: "waiting for resources", 2: "waiting for jobs ahead in the queue"}
    assert sorted(e.running_jobs()) == [3, 4, 5]
    assert e.stats()["nodes"]["idle"] == 0
    for jobid in (3, 4, 5):
        e.free(jobid)
    assert e.schedule(1).started == [2, 1]
    assert e.waiting() == []


def test_python_plugin_starts_another_job(plugin):
    # Asked about the first that does not fit, it starts the last.
    e = plugin(
        reserve_resources="""(self, engine, job):
        last = engine.waiting()[-1]
        if engine.select(last):
            engine.start(last)
        return HOLD"""
    )
    add(e, nodes(3), nodes(4), nodes(2), nodes(2), nodes(1))
    outcome = e.schedule(0)
    assert outcome.started == [1, 5]
    assert e.waiting() == [2, 3, 4]
    assert set(reasons(e)) == {2, 3, 4}


def test_select_of_one_job_is_not_that_of_another(plugin):
    e = plugin(
        nnodes=4,
        allocate_resources="""(self, engine, job):
        others = [other for other in engine.waiting() if other != job]
        for other in others:
            engine.select(other)
        if engine.select(job):
            engine.start(job)""",
    )
    add(e, nodes(2), nodes(3), nodes(2))
    assert e.schedule(0).started == [1, 3]
    assert e.allocated_ranks(1) == "0-1"
    assert e.allocated_ranks(3) == "2-3"


@pytest.mark.parametrize("ncores", [1, 3])
def test_start_after_a_failed_select_is_refused(plugin, ncores):
    e = plugin(
        ncores=ncores,
        allocate_resources="""(self, engine, job):
        for other in engine.waiting():
            if other != job:
                engine.select(other)
        engine.start(job)""",
    )
    add(e, nodes(3), nodes(4), request(nslots=2))
    e.cancel(3)
    with pytest.raises(PluginError, match="allocate_resources without resources selected"):
        for _ in range(2):
            e.schedule(0)
            add(e, nodes(4), first=4)
    assert e.running_jobs() in ([], [1])
    e.set_policy(load_plugin("sched.plugin1"))
    for jobid in e.running_jobs():
        e.free(jobid)
    for jobid in e.waiting()[1:]:
        e.cancel(jobid)
    e.schedule(1)
    assert len(e.running_jobs()) == 1


def test_start_without_select_is_refused(plugin):
    e = plugin(select_resources="(self, engine, job): return True")
    add(e, nodes(1))
    with pytest.raises(PluginError, match="allocate_resources without resources selected for the job"):
        e.schedule(0)
    assert e.waiting() == [1]


def test_plugin_that_never_starts(plugin):
    e = plugin(allocate_resources="(self, engine, job): pass")
    add(e, nodes(1))
    e.schedule(0)
    assert reasons(e) == {1: "held back by the scheduling policy"}


def test_plugin_that_starts_twice(plugin):
    e = plugin(allocate_resources="(self, engine, job): engine.start(job); engine.start(job)")
    add(e, nodes(1), nodes(1))
    with pytest.raises(PluginError, match="does not wait"):
        e.schedule(0)
    # What it started is started, the rest waits.
    assert e.running_jobs() == [1]
    assert e.waiting() == [2]
    assert e.stats()["nodes"]["idle"] == 3


@pytest.mark.parametrize("operation", OPERATIONS)
def test_plugin_that_fails(plugin, operation):
    arguments = "(self, engine)" if operation == "sched_loop_setup" else "(self, engine, job)"
    e = plugin(**{operation: f"{arguments}: raise RuntimeError('{operation}')"})
    add(e, nodes(4), nodes(5 - 1))
    with pytest.raises(RuntimeError, match=operation):
        e.schedule(0)
    started = [1] if operation == "reserve_resources" else []
    assert e.running_jobs() == started
    assert e.waiting() == [1, 2][len(started) :]
    e.set_policy(load_plugin("sched.plugin1"))
    if started:
        e.free(1)
    assert e.schedule(1).started == [1, 2][len(started) :][:1]


def test_plugin_that_fails_after_a_denial(plugin):
    e = plugin(reserve_resources="(self, engine, job): raise RuntimeError('late')")
    add(e, nodes(1, constraint={"ranks": ["3"]}), nodes(3), nodes(2))
    e.remove("3")
    with pytest.raises(RuntimeError, match="late"):
        e.schedule(0)
    # Nobody has heard that 1 is denied.
    assert e.waiting() == [1, 3]
    e.set_policy(load_plugin("sched.plugin1"))
    outcome = e.schedule(1)
    assert [jobid for jobid, _ in outcome.denied] == [1]
    assert e.waiting() == [3]


@pytest.mark.parametrize("answer", ["3", "None", "'HOLD'", "-1"])
def test_bad_answer(plugin, answer):
    e = plugin(reserve_resources=f"(self, engine, job): return {answer}")
    add(e, nodes(4), nodes(1))
    with pytest.raises(PluginError, match="reserve_resources answered .*: expected GO_ON, STOP or HOLD"):
        e.schedule(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("fits_now(10**6)", "job 1000000: expected the number of a waiting job"),
        ("fits_now(-1)", "job -1: expected"),
        ("fits_now('x')", "job 'x': expected"),
        ("info(None)", "job None: expected"),
        ("explain(job, 0)", "reason 0: expected RESOURCES or RESERVED"),
        ("explain(job, 99)", "reason 99: expected RESOURCES or RESERVED"),
    ],
)
def test_bad_calls(plugin, call, message):
    e = plugin(reserve_resources=f"(self, engine, job): engine.{call}; return GO_ON")
    add(e, nodes(4), nodes(1))
    with pytest.raises(PluginError, match=message):
        e.schedule(0)


def test_a_pass_ends(tmp_path):
    import builtins

    e = machine(2, 1, plugin=write_plugin(
        tmp_path, sched_loop_setup="(self, engine): __import__('builtins').kept_pass = engine"))
    add(e, nodes(2), nodes(1))
    try:
        e.schedule(0)
        for call in ("fits_now", "select", "start", "earliest", "reserve", "info", "reserved"):
            with pytest.raises(PluginError, match="the pass is over"):
                getattr(builtins.kept_pass, call)(1)
        for call in ("waiting", "reorder"):
            with pytest.raises(PluginError, match="the pass is over"):
                getattr(builtins.kept_pass, call)(*([len] if call == "reorder" else []))
        kind = type(builtins.kept_pass)
    finally:
        del builtins.kept_pass
    with pytest.raises(TypeError, match="made by the engine"):
        kind()


def test_general_requests_through_a_python_plugin(plugin):
    e = plugin(nnodes=2, ncores=2, reserve_resources="(self, engine, job): engine.reserve(job); return GO_ON")
    add(
        e,
        tree_request(vertex("node", 1, vertex("core", 2)), duration=5),
        tree_request(vertex("node", 2, vertex("core", 1)), duration=5),
        cores(1, 5),
    )
    outcome = e.schedule(0)
    assert outcome.started == [1, 3]
    assert estimates(e) == {2: 5.0}


def test_times_in_a_python_plugin(plugin):
    # Behind a job without a duration there is no estimate, but a reservation.
    e = plugin(
        reserve_resources="""(self, engine, job):
        assert engine.earliest(job) is None
        assert engine.reserve(job) is (engine.info(job).nnodes == 4)
        return GO_ON"""
    )
    add(e, nodes(3), nodes(4, 5), nodes(1), nodes(1, 1000))
    outcome = e.schedule(0)
    assert outcome.started == [1, 4]
    assert math.isclose(e.times(4)[1], 1000.0)


# What they may not do, and plugins without a file.


@pytest.mark.parametrize(("operation", "body", "message"), [
    ("find_resources", "engine.reorder(len)", "reorder: only in sched_loop_setup"),
    ("reserve_resources", "engine.reorder(len)", "reorder: only in sched_loop_setup"),
    ("sched_loop_setup", "engine.select(0) and engine.start(0) or engine.reorder(len)",
     "reorder: only before a job is started in this pass"),
    ("allocate_resources", "engine.start(job) or engine.start(job)", "job 0 does not wait"),
    ("allocate_resources", "engine.info(99)", "job 99: expected the number"),
])
def test_what_a_plugin_may_not_do_is_told_with_its_place(tmp_path, operation, body, message):
    arguments = "(self, engine)" if operation == "sched_loop_setup" else "(self, engine, job)"
    path = write_plugin(tmp_path, **{operation: f"{arguments}: {body}"})
    e = machine(4, 1, plugin=path)
    add(e, nodes(5 - 1), nodes(1))
    with pytest.raises(PluginError) as info:
        e.schedule(0)
    with open(path) as lines:
        line = next(number for number, text in enumerate(lines, 1) if body in text)
    text = str(info.value)
    assert text.startswith(f"plugin {path}: {operation}: {message}") and text.endswith(f" ({path}, line {line})")


def test_reorder_by_a_setup_that_is_over(plugin):
    e = plugin(sched_loop_setup="(self, engine): self.kept = engine",
               find_resources="(self, engine, job): self.kept.reorder(len)")
    add(e, nodes(1))
    with pytest.raises(PluginError, match="reorder: only in sched_loop_setup"):
        e.schedule(0)


def test_reorder_where_a_job_was_denied(plugin):
    e = plugin(sched_loop_setup="(self, engine): engine.reorder(lambda job: -job.nnodes)")
    add(e, nodes(4), nodes(1), nodes(2))
    e.remove("3")
    done = e.schedule(0)
    assert [jobid for jobid, _ in done.denied] == [1] and done.started == [3, 2]


def test_classes_and_objects(tmp_path):
    class Deep:
        def __init__(self, options):
            self.options = options

        def sched_loop_setup(self, engine):
            pass

        def find_resources(self, engine, job):
            return False

        select_resources = allocate_resources = find_resources

        def reserve_resources(self, engine, job):
            return 0

    policy = make_policy(Deep, "Deep", "a=1")
    assert (policy.name, policy.options, policy.plugin.options) == ("Deep", {"a": "1"}, {"a": "1"})
    mine = Deep({"b": "2"})
    assert make_policy(mine, "mine").plugin is mine
    with pytest.raises(PluginError, match="plugin mine: an object has its options already: none expected, a found"):
        make_policy(mine, "mine", "a=1")
    del Deep.reserve_resources
    for broken in (Deep, mine):
        with pytest.raises(PluginError, match="^plugin mine: lacks the operation reserve_resources$"):
            make_policy(broken, "mine")
    compiled = load_plugin(EASY)
    assert make_policy(compiled, "mine") is compiled
    assert make_policy(type(compiled), "again", "reserve-depth=2", {"aging": "0"}).options == {
        "aging": "0", "reserve-depth": "2"}
