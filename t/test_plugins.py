# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Policies as plugins: found, loaded, refused, and driving the engine."""

import math
import shutil
import subprocess
import sys
import textwrap

import pytest
from fluxsched.policy.base import Policy

from fluxsched.core import Inventory, PluginError
from fluxsched.policy.loader import load_plugin, search_path
from fluxsched.policy.options import parse_options
from naive import cores, estimates, machine, nodes, reasons, request, scheduler, tree_request, vertex

EASY = "backfill.plugin1"

# A whole plugin; what a test changes is put in its place.
OPERATIONS = {
    "sched_loop_setup": "(self, engine): pass",
    "find_resources": "(self, engine, job): return engine.fits_now(job)",
    "select_resources": "(self, engine, job): return engine.select(job)",
    "allocate_resources": "(self, engine, job): engine.start(job)",
    "reserve_resources": "(self, engine, job): return GO_ON",
}


def write_plugin(folder, name="mine", init="self.options = options", leave_out=(), **operations):
    """A plugin in Python; operations replace bodies: "(self, engine, job): …"."""
    lines = [
        "from fluxsched.policy.pyplugin import GO_ON, HOLD, RESERVED, RESOURCES, STOP",
        "class Plugin:",
        "    passes = []",
        "    def __init__(self, options):",
        textwrap.indent(textwrap.dedent(init), " " * 8),
    ]
    for operation, body in {**OPERATIONS, **operations}.items():
        if operation not in leave_out:
            lines.append(f"    def {operation}{body}")
    path = folder / (name + ".py")
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def plugin(tmp_path):
    """Makes an engine on 4 nodes of one core with a plugin in Python."""

    def make(nnodes=4, ncores=1, **arguments):
        return machine(nnodes, ncores, plugin=write_plugin(tmp_path, **arguments))

    return make


def add(engine, *requests, first=1):
    for i, wanted in enumerate(requests):
        engine.add(first + i, wanted)


# Finding and loading.


def test_the_two_that_come_along():
    for name in ("sched.plugin1", "backfill.plugin1"):
        policy = load_plugin(name)
        assert isinstance(policy, Policy)
        assert (policy.name, policy.options, policy.queue_depth) == (name, {}, -1)
        assert machine(1, plugin=name).plugin == name


def test_found_without_a_path(monkeypatch):
    monkeypatch.delenv("FLUX_MODULE_PATH")
    assert load_plugin("sched.plugin1").name == "sched.plugin1"


def test_by_path(top):
    policy = load_plugin(str(top / "sched" / "backfill.plugin1.so"), "reserve-depth=2")
    assert policy.options == {"reserve-depth": "2"}


def test_along_flux_module_path(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    write_plugin(second, "my.plugin", "self.queue_depth = 7")
    monkeypatch.setenv("FLUX_MODULE_PATH", f"{first}::{second}")
    assert [str(folder) for folder in search_path()[:2]] == [str(first), str(second)]
    assert load_plugin("my.plugin").queue_depth == 7
    # The first that has it counts.
    write_plugin(first, "my.plugin", "self.queue_depth = 8")
    assert load_plugin("my.plugin").queue_depth == 8
    # The loadables of the package are found still, but for one of the same name.
    assert load_plugin(EASY).queue_depth == -1
    write_plugin(first, EASY, "self.queue_depth = 9")
    assert load_plugin(EASY).queue_depth == 9


def test_not_found(tmp_path, monkeypatch):
    monkeypatch.setenv("FLUX_MODULE_PATH", str(tmp_path))
    with pytest.raises(PluginError, match=rf"plugin none: neither none\.so nor none\.py in {tmp_path}:"):
        load_plugin("none")
    for name in ("", "..", "no\0name"):
        with pytest.raises(PluginError, match="neither"):
            load_plugin(name)


def test_bad_path(tmp_path):
    with pytest.raises(PluginError, match=r"expected a file that ends in \.so or \.py"):
        load_plugin(str(tmp_path))
    for path in (tmp_path / "none.so", tmp_path / "none.py"):
        with pytest.raises(PluginError, match=f"{path}: there is no such file"):
            load_plugin(str(path))
    text = tmp_path / "plugin.txt"
    text.write_text("")
    with pytest.raises(PluginError, match="expected a file"):
        load_plugin(str(text))


def test_does_not_load(tmp_path):
    path = tmp_path / "mine.py"
    for text, message in (
        ("class Plugin(", "does not load: SyntaxError"),
        ("import nothing_of_that_name", "does not load: ModuleNotFoundError"),
        ("1 / 0", "does not load: ZeroDivisionError"),
        ("Plugin = 3", "has no class Plugin"),
        ("", "has no class Plugin"),
        ("def Plugin(options): pass", "has no class Plugin"),
    ):
        path.write_text(text)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        with pytest.raises(PluginError, match=message):
            load_plugin(str(path))
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"\x7fELF no library")
    with pytest.raises(PluginError, match=r"broken\.so does not load: ImportError"):
        load_plugin(str(broken))


def test_init_fails(tmp_path):
    for init, message in (
        ("raise ValueError('no such option')", r"mine\.py: ValueError: no such option"),
        ("self.queue_depth = 'many'", r"mine\.py: ValueError"),
        ("self.queue_depth = 2**40", r"mine\.py: OverflowError"),
    ):
        with pytest.raises(PluginError, match=message):
            load_plugin(write_plugin(tmp_path, init=init))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_python_plugin_lacks_an_operation(tmp_path, operation):
    with pytest.raises(PluginError, match=f"lacks the operation {operation}$"):
        load_plugin(write_plugin(tmp_path, leave_out=[operation]))


def test_lacking_operations_are_all_named(tmp_path):
    with pytest.raises(PluginError, match="lacks the operation find_resources, select_resources$"):
        load_plugin(write_plugin(tmp_path, leave_out=["find_resources", "select_resources"]))


def test_python_class_cannot_derive_from_policy(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from fluxsched.policy.base import Policy\n"
        "class Plugin(Policy):\n"
        + "".join(f"    def {name}{body}\n" for name, body in OPERATIONS.items() if name != "reserve_resources")
    )
    with pytest.raises(PluginError, match="lacks the operation sched_loop_setup"):
        load_plugin(str(path))


def test_engine_keeps_its_policy_when_another_does_not_load():
    e = machine(2, 1)
    for name, options in (("none", ""), (EASY, "x=1")):
        with pytest.raises(PluginError):
            e.set_policy(load_plugin(name, options))
    assert e.plugin == "sched.plugin1"
    with pytest.raises(PluginError):
        machine(2, plugin="none")


def test_set_policy():
    e = machine(3, 1)
    add(e, nodes(2, 10), nodes(2, 10), nodes(1, 10))
    assert e.schedule(0).started == [1]
    e.set_policy(load_plugin(EASY, "reserve-depth=-1"))
    assert e.plugin == EASY
    assert e.schedule(0).started == [3]
    e.set_policy(load_plugin("sched.plugin1", "queue-depth=0"))
    e.free(1)
    assert e.schedule(1).started == []


# Options.


def test_parse_options():
    assert parse_options("") == parse_options(None) == parse_options({}) == {}
    assert parse_options("a=1, b = x ,,c=") == {"a": "1", "b": "x", "c": ""}
    assert parse_options("a=b=c") == {"a": "b=c"}
    assert parse_options({"a": 1, "b": True}) == {"a": "1", "b": "True"}
    for text, message in (
        ("a", "plugin option 'a': expected key=value"),
        ("=3", "plugin option '=3': expected key=value"),
        ("a=1,a=2", "plugin option 'a' is given twice"),
    ):
        with pytest.raises(PluginError, match=message):
            parse_options(text)


@pytest.mark.parametrize("name", ["sched.plugin1", EASY])
def test_unknown_options(name):
    with pytest.raises(PluginError, match=f"plugin {name}: unknown option 'colour'; it knows .*queue-depth"):
        load_plugin(name, "queue-depth=3,colour=red")
    with pytest.raises(PluginError, match=f"plugin {name}: unknown option 'a'"):
        machine(2, plugin=name, options={"b": 1, "a": 2})


@pytest.mark.parametrize("value", ["x", "", "1.5", "-2", "99999999999", "0x10"])
def test_bad_option_values(value):
    for name, key in (("sched.plugin1", "queue-depth"), (EASY, "queue-depth"), (EASY, "reserve-depth")):
        with pytest.raises(PluginError, match=f"plugin option {key}={value}: expected a whole number from -1 to"):
            load_plugin(name, {key: value})


def test_bad_flag():
    with pytest.raises(PluginError, match="plugin option io-aware=yes: expected true or false"):
        load_plugin(EASY, "io-aware=yes")
    load_plugin(EASY, "io-aware=false")


def test_python_plugin_gets_its_options(tmp_path):
    path = write_plugin(tmp_path, init="self.queue_depth = int(options['depth'])")
    e = machine(3, 1, plugin=path, options="depth=2")
    add(e, nodes(1), nodes(1), nodes(1))
    assert e.schedule(0).started == [1, 2]
    assert e.stats()["plugin_options"] == {"depth": "2"}


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
    assert info == (1, 16, 0.0, 3, 1, 1, 0, True, 10.0, "")
    assert info._fields == (
        "id", "priority", "submit", "nnodes", "nslots", "cores", "gpus", "exclusive", "duration", "queue"
    )
    assert (earliest, fits, select, before, reserve, after) == (7.5, False, False, 0, True, 1)
    assert last[2].duration is None
    assert last[2].exclusive is False
    assert last[3] == 17.5


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


# In Cython.


def build(source, folder):
    """Compile a plugin as the README does; the loadable's path."""
    start = "from fluxsched.cli.main import main; main()"
    command = [sys.executable, "-c", start, "plugin", "build", str(source), "-o", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done, str(folder / (source.stem + ".so"))


@pytest.fixture(scope="module")
def skip_plugin(top, tmp_path_factory):
    done, path = build(top / "doc" / "examples" / "skip.pyx", tmp_path_factory.mktemp("skip"))
    assert done.returncode == 0, done.stderr
    assert "has all operations" in done.stdout
    return path


def test_cython_example(skip_plugin):
    e = machine(4, 1, plugin=skip_plugin, options="skip=1")
    add(e, nodes(3), nodes(2), nodes(1), nodes(1), nodes(1))
    outcome = e.schedule(0)
    assert outcome.started == [1, 3]
    assert reasons(e) == {
        2: "waiting for resources", 4: "waiting for resources", 5: "waiting for jobs ahead in the queue",
    }
    with pytest.raises(PluginError, match="unknown option 'x'"):
        load_plugin(skip_plugin, "x=1")
    # State is in the object: two engines side by side.
    other = machine(4, 1, plugin=skip_plugin, options="skip=0")
    add(other, nodes(3), nodes(2), nodes(1))
    assert other.schedule(0).started == [1]
    e.cancel(2)
    e.free(1)
    assert e.schedule(1).started == [4, 5]


def test_python_example(top):
    e = machine(4, 1, plugin=str(top / "doc" / "examples" / "smallest.py"), options="limit=3")
    add(e, nodes(4, 10), nodes(1, 10), nodes(2, 10), nodes(3, 10))
    outcome = e.schedule(0)
    assert outcome.started == [2, 3]
    assert estimates(e) == {1: None, 4: 10.0}
    with pytest.raises(PluginError, match="unknown option 'x'"):
        load_plugin(str(top / "doc" / "examples" / "smallest.py"), "x=1")


def test_cython_plugin_lacks_operations(top, tmp_path):
    text = (top / "doc" / "examples" / "skip.pyx").read_text()
    begin = text.index("    cdef int select_resources")
    end = text.index("    cdef int reserve_resources")
    source = tmp_path / "part.pyx"
    source.write_text(text[:begin] + text[end:])
    done, path = build(source, tmp_path)
    assert done.returncode != 0
    assert "lacks the operation select_resources, allocate_resources" in done.stderr
    with pytest.raises(PluginError, match="lacks the operation select_resources, allocate_resources$"):
        load_plugin(path)


# Side by side.


def test_engines_share_an_inventory():
    inventory = Inventory.from_counts(4, 2)
    first = scheduler(inventory, EASY, "reserve-depth=-1")
    second = scheduler(inventory, EASY, "reserve-depth=0")
    for e in (first, second):
        add(e, nodes(3, 10), nodes(4, 10), nodes(1, 20), tree_request(vertex("core", 1), duration=99))
    assert first.schedule(0).started == [1]
    assert second.schedule(0).started == [1, 3]
    first.mark_down("0-3")
    first.property_add("mine", "0")
    assert second.stats()["nodes"]["up"] == 4
    assert "mine" not in str(second.resource_status())
