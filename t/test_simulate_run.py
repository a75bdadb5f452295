# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The simulator's Python API: machines, what is left out, cuts, plugins in Python."""
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from fluxsched.simulate.loop import Loop

from fluxsched.core import Inventory, PluginError
from fluxsched.policy import names
from fluxsched.policy.loader import load_plugin
from fluxsched.simulate import api, metrics
from fluxsched.simulate.api import SimulateError
from fluxsched.traces import swf
from fluxsched.traces.generator import generate
from fluxsched.traces.trace import TraceError
from naive import scheduler
from oracle import Job, easy, hybrid, replay
from simulate_result import trace_of

JOBS = [Job(0, 100, 100, 6), Job(1, 50, 50, 8), Job(2, 500, 500, 1), Job(2, 500, 500, 1), Job(2, 600, 500, 1)]

GREEDY = """
class Plugin:
    def __init__(self, options):
        assert options == {}
    def sched_loop_setup(self, engine): pass
    def find_resources(self, engine, job): return engine.fits_now(job)
    def select_resources(self, engine, job): return engine.select(job)
    def allocate_resources(self, engine, job): engine.start(job)
    def reserve_resources(self, engine, job): return 0
"""


def test_by_hand():
    r = api.run(trace_of(JOBS), procs=10, plugin="easy")
    assert r.start.tolist() == [0, 100, 2, 2, 150]
    assert r.finish.tolist() == [100, 150, 502, 502, 650]
    assert (r.policy, r.plugin, r.options) == ("easy", "backfill.plugin1", "reserve-depth=1")
    assert (r.nodes, r.cores, r.procs, r.ended, r.stopped) == (10, 1, 10, 650, "")
    # Instants with something to do: 0, 1, 2, 100, 150, 502, 650.
    assert r.passes == 7 == r.pass_count.sum()
    assert r.backfilled.tolist() == [False, False, True, True, False]
    assert 0 < r.passes_time <= r.loop_time < 10
    assert r.start.dtype == np.float64 and r.backfilled.dtype == bool and r.first.dtype == np.int32


def test_passes_of_an_instant():
    # Three jobs of run time 0 on a full machine: at 5 a pass, and a further round for each end.
    r = api.run(trace_of([Job(5, 0, 1, 4)] * 3), procs=4)
    assert r.start.tolist() == [5, 5, 5] and r.passes == 4 and r.ended == 5
    m = metrics.measure(r)
    assert m["makespan"] == 0 and m["utilisation"] is None and m["finished"] == 3


def test_fractions_of_a_second():
    r = api.run(api.trace_of([0.25, 0.5], [1.125, 1], [1, 1]), procs=1)
    assert r.start.tolist() == [0.25, 1.375] and r.finish.tolist() == [1.375, 2.375]


def test_two_runs_are_equal():
    trace = generate(2000, 64, 1.1, seed=8, overestimate=3)
    a, b = (api.run(trace, procs=64, plugin="easy") for _ in range(2))
    for name in ("start", "finish", "backfilled", "offset", "first", "last"):
        assert np.array_equal(getattr(a, name), getattr(b, name))


def test_machines(tmp_path):
    trace = trace_of([Job(0, 10, 10, 5)])
    assert api.machine(procs=7).procs == 7 and api.machine(procs=7).nodes == 7
    assert api.machine(nodes=3).procs == 3
    m = api.machine(nodes=3, cores=4)
    assert (m.nodes, m.procs, m.cores.tolist()) == (3, 12, [4, 4, 4])
    assert api.run(trace, nodes=3, cores=4).nodes == 3
    trace = generate(10, 96, 0.5)
    assert api.run(trace).procs == 96                           # as its header states
    swf.write(trace, tmp_path / "x.swf")
    assert api.run(tmp_path / "x.swf").procs == 96


def test_an_rdl_machine(tmp_path):
    hype = os.path.join(os.path.dirname(__file__), "..", "conf", "hype.lua")
    m = api.machine(rdl=hype)
    assert (m.nodes, m.procs) == (154, 2464)
    r = api.run(trace_of([Job(0, 10, 10, 2464), Job(0, 10, 10, 2465)]), rdl=hype, plugin="easy")
    assert (r.nodes, r.cores, r.procs, r.left_out) == (154, 16, 2464, {"too_large": 1})


def test_jobs_that_are_too_large_are_left_out_and_counted():
    r = api.run(trace_of([Job(0, 5, 5, 4), Job(0, 5, 5, 5), Job(1, 5, 5, 9)]), procs=4)
    assert r.left_out == {"too_large": 2} and len(r.trace) == 1


def test_nodes_of_a_trace():
    """Where trace and machine know nodes, so many nodes are asked for; on a machine of processors, processors."""
    trace = api.trace_of(submit=[0, 0, 0, 0], run=[10, 10, 10, 10], procs=[4, 4, 6, 4], nodes=[2, 4, 2, 1])
    r = api.run(trace, nodes=3, cores=4)
    # Four nodes are too many.  3 cores on each of 2 nodes do not fit beside 2 on each of 2, though 8 cores are free.
    assert r.left_out == {"too_large": 1} and r.trace.job_id.tolist() == [1, 3, 4]
    assert r.start.tolist() == [0, 10, 10]
    per_node = [sorted(np.bincount(np.concatenate([np.arange(a, b + 1) for a, b in zip(r.first[s], r.last[s])]) // 4,
                                   minlength=3).tolist()) for s in map(slice, r.offset[:-1], r.offset[1:])]
    assert per_node == [[0, 2, 2], [0, 3, 3], [0, 0, 4]]
    assert api.run(trace, procs=12).left_out == {}


def test_whole_nodes():
    r = api.run(trace_of([Job(0, 10, 10, 1), Job(0, 10, 10, 5), Job(0, 10, 10, 1)]), nodes=3, cores=4, exclusive=True)
    assert r.start.tolist() == [0, 0, 10]
    held = [(r.last[s] - r.first[s] + 1).sum() for s in map(slice, r.offset[:-1], r.offset[1:])]
    assert held == [4, 8, 4]


def test_cut_at_a_time():
    whole = api.run(trace_of(JOBS), procs=10, plugin="easy")
    r = api.run(trace_of(JOBS), procs=10, plugin="easy", until=120)
    assert r.stopped == "until" and r.ended == 120
    assert r.start[:4].tolist() == whole.start[:4].tolist() and np.isnan(r.start[4])
    assert r.finish[0] == 100 and np.isnan(r.finish[1:]).all()
    m = metrics.measure(r)
    assert (m["finished"], m["running"], m["waiting"], m["makespan"]) == (1, 3, 1, 120)
    later = api.run(trace_of(JOBS), procs=10, plugin="easy", until=100000)
    assert later.stopped == "" and later.ended == 650


def test_a_plugin_in_python(tmp_path):
    (tmp_path / "greedy.py").write_text(GREEDY)
    trace = generate(150, 32, 1.2, seed=5, overestimate=3)
    jobs = [Job(*map(int, row)) for row in zip(trace.submit, trace.run, trace.request, trace.procs)]
    r = api.run(trace, procs=32, plugin=str(tmp_path / "greedy.py"))
    assert r.start.tolist() == replay(jobs, 32, hybrid(0))


def test_a_plugin_that_fails(tmp_path):
    (tmp_path / "broken.py").write_text(GREEDY.replace("return engine.fits_now(job)", "return 1 // 0"))
    with pytest.raises(ZeroDivisionError):
        api.run(trace_of(JOBS), procs=10, plugin=str(tmp_path / "broken.py"))


def test_a_plugin_that_starts_nothing(tmp_path):
    (tmp_path / "lazy.py").write_text(GREEDY.replace("return engine.fits_now(job)", "return False"))
    r = api.run(trace_of(JOBS), procs=10, plugin=str(tmp_path / "lazy.py"))
    assert r.stopped == "stalled" and np.isnan(r.start).all() and metrics.measure(r)["waiting"] == 5


INTERRUPT = GREEDY.replace("def sched_loop_setup(self, engine): pass", """
    def sched_loop_setup(self, engine):
        import os, signal
        if engine.now >= 100:
            os.kill(os.getpid(), signal.SIGINT)
""")


def test_a_second_interrupt_is_raised(tmp_path, monkeypatch):
    monkeypatch.setattr(api, "SLICE", 1000.0)       # the plugin sends both before anybody looks
    (tmp_path / "int.py").write_text(INTERRUPT)
    # A program's main function that another test has called in this process may have set its own.
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            api.run(api.trace_of(np.arange(0, 2000, 2.0), np.full(1000, 1.0), np.ones(1000)), procs=4,
                    plugin=str(tmp_path / "int.py"))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, earlier)


def test_interrupted_once(tmp_path, monkeypatch):
    monkeypatch.setattr(api, "SLICE", 0.0)          # look at signals after every instant
    calls = []

    def progress(ended, arrived, total):
        calls.append((ended, arrived, total))
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    r = api.run(trace_of(JOBS), procs=10, plugin="easy", progress=progress)
    assert r.stopped == "interrupted" and calls == [(0, 1, 5), (0, 2, 5), (0, 5, 5)]
    assert r.ended == 2 and r.start[:1].tolist() == [0] and np.isnan(r.start[1]) and np.isnan(r.finish).all()


def test_not_in_the_main_thread():
    got = []
    thread = threading.Thread(target=lambda: got.append(api.run(trace_of(JOBS), procs=10).stopped))
    thread.start()
    thread.join()
    assert got == [""]


@pytest.mark.parametrize("arguments, what", [
    (dict(), "no machine: procs, nodes or rdl expected"),
    (dict(procs=4, nodes=4), "the machine is given twice: procs and nodes"),
    (dict(cores=4), "nodes expected with them"),
    (dict(procs=0), "procs: a number from 1"),
    (dict(nodes=4, cores=-1), "cores: a number from 1"),
    (dict(procs=10**8), "procs: a number from 1"),
    (dict(procs=5), "every job is larger than the machine of 5 processors"),
    (dict(procs=10, until=-1), "until: seconds from 0"),
    (dict(procs=10, until=float("nan")), "until: seconds from 0"),
    (dict(procs="many"), "procs: a number from 1 to 10000000 expected, 'many' found"),
    (dict(nodes=1.5), "nodes: a number from 1 to 10000000 expected, 1.5 found"),
    (dict(procs=True), "procs: a number from 1 to 10000000 expected, True found"),
    (dict(procs=10, until="soon"), "until: seconds from 0 to 9e.12 expected, 'soon' found"),
    (dict(procs=10, forecast=-1), "forecast: a number of jobs expected, -1 found"),
    (dict(procs=10, forecast=0.5), "forecast: a number of jobs expected, 0.5 found"),
    (dict(procs=10, progress=3), "progress: a function expected, 3 found"),
    (dict(on="nodes"), "on: a Machine expected, str found"),
    (dict(procs=10, plugin=None), "plugin: a name, a class or an object with the five operations expected, None found"),
    (dict(procs=10, plugin=int), "plugin: a name, a class or .* expected, <class 'int'> found"),
    (dict(procs=10, options=3), "options: a text or a dict expected, 3 found"),
    (dict(procs=10, plugin="easy+random"), "unknown order 'random'"),
    (dict(procs=10, plugin=":x=1"), "a name expected"),
    (dict(procs=10, plugin="easy", options="x"), "plugin option 'x': key=value expected"),
    (dict(procs=10, plugin="easy", options="aging=1,aging=1"), "plugin option 'aging' is given twice"),
    (dict(procs=10, plugin="easy", options="reserve-depth=4"),
     "policy 'easy': option reserve-depth is given twice, as 1 and 4"),
    (dict(procs=10, plugin="easy+sjf", options={"order": "f1"}), "option order is given twice, as sjf and f1"),
    (dict(procs=10, plugin="easy:queue-depth=9", options="queue-depth=8"), "given twice, as 9 and 8"),
])
def test_bad_arguments(arguments, what):
    with pytest.raises(SimulateError, match=what):
        api.run(trace_of(JOBS[:2]), **arguments)


@pytest.mark.parametrize("trace", [None, 3, [1, 2]])
def test_a_trace_that_is_none(trace):
    with pytest.raises(SimulateError, match="trace: a Trace or the path of one expected, (NoneType|int|list) found"):
        api.run(trace, procs=4)


def test_a_plugin_as_a_class_or_an_object(tmp_path):
    space = {}
    exec(GREEDY, space)
    kind = space["Plugin"]
    trace = generate(100, 32, 1.2, seed=5, overestimate=3)
    (tmp_path / "greedy.py").write_text(GREEDY)
    expected = api.run(trace, procs=32, plugin=tmp_path / "greedy.py")          # a Path
    mine = kind({})
    for plugin in (kind, mine):
        r = api.run(trace, procs=32, plugin=plugin)
        assert r.start.tolist() == expected.start.tolist()
        assert (r.policy, r.options) == ("Plugin", "") and r.plugin.endswith(".Plugin")
    assert api.run(trace, procs=32, plugin=mine, name="mine").policy == "mine"
    with pytest.raises(PluginError, match="plugin Plugin: an object has its options already"):
        api.run(trace, procs=32, plugin=mine, options="a=1")
    kind = type(load_plugin("backfill.plugin1"))
    compiled = api.run(trace, procs=32, plugin=kind, options="reserve-depth=0,order=sjf")
    assert compiled.options == "reserve-depth=0,order=sjf,aging=0"
    assert compiled.start.tolist() == api.run(trace, procs=32, plugin="first-fit+sjf").start.tolist()


def test_a_plugin_sees_the_users_of_the_trace():
    seen = set()
    space = {}
    exec(GREEDY, space)

    class Seeing(space["Plugin"]):
        def find_resources(self, engine, job):
            seen.add((engine.info(job).user, engine.info(job).predicted))
            return engine.fits_now(job)

    trace = api.trace_of([0, 0, 100], [10, 20, 5], [2, 2, 2], [50, 50, 50], user=[712, 712, 712])
    api.run(trace, procs=4, plugin=Seeing({}))
    assert seen == {(712, 50.0), (712, 15.0)}


def test_a_header_with_too_many_processors():
    trace = trace_of(JOBS)
    object.__setattr__(trace, "max_procs", 10**9)
    with pytest.raises(SimulateError, match="MaxProcs: at most"):
        api.run(trace)


def test_a_trace_that_is_too_long():
    trace = api.trace_of([9e11] + [9e11] * 1000, np.full(1001, 1e10), np.ones(1001))
    with pytest.raises(SimulateError, match="too long"):
        api.run(trace, procs=1)


@pytest.mark.parametrize("plugin, options, what", [
    ("/no/such.py", "", "plugin /no/such.py: there is no such file"),
    ("sched.plugin1", "reserve-depth=1", "unknown option 'reserve-depth'"),
    ("backfill.plugin1", "reserve-depth=many", "expected a whole number"),
])
def test_unknown_plugins_and_options(plugin, options, what):
    with pytest.raises(PluginError, match=what):
        api.run(trace_of(JOBS), procs=10, plugin=plugin, options=options)


def test_a_policy_that_nobody_knows():
    with pytest.raises(SimulateError, match="policy 'esay': expected fcfs, easy, .* or the name or file of a plugin"):
        api.run(trace_of(JOBS), procs=10, plugin="esay")


def test_arrays_of_different_lengths():
    with pytest.raises(SimulateError, match=r"run: an array of shape \(2,\) expected, \(3,\) found"):
        api.trace_of([0, 1], [1, 2, 3], [1, 1])
    for arguments, what in ((([0, "x"], [1, 1], [1, 1]), "submit: an array of numbers expected, one of str"),
                            (([0, 1], None, [1, 1]), "run: an array of numbers expected, one of object found"),
                            ((0, 1, 1), r"submit: an array of shape \(1,\) expected, \(\) found"),
                            (([0, 1], [1, 1], [[1], [1]]), r"procs: an array of shape \(2,\) expected, \(2, 1\)")):
        with pytest.raises(SimulateError, match=what):
            api.trace_of(*arguments)
    with pytest.raises(TraceError, match="no usable job"):
        api.trace_of([0, 1], [-1, -1], [1, 1])
    with pytest.raises(TypeError):
        Loop(None, [], [], [], [], [], [], [])


def test_loop_wants_arrays_of_one_length():
    with pytest.raises(ValueError, match="arrays of one length"):
        Loop(scheduler(Inventory.from_counts(1, 1)), [0, 1], [1], [1], [0], [1], [1], [0])


@pytest.mark.parametrize("text, expected", [
    ("fcfs", ("fcfs", "sched.plugin1", {})),
    ("easy", ("easy", "backfill.plugin1", {"reserve-depth": "1"})),
    ("conservative+sjf", ("conservative+sjf", "backfill.plugin1", {"reserve-depth": "-1", "order": "sjf"})),
    ("first-fit", ("first-fit", "backfill.plugin1", {"reserve-depth": "0"})),
    ("hybrid12", ("hybrid12", "backfill.plugin1", {"reserve-depth": "12"})),
    ("hybrid:3+f1", ("hybrid3+f1", "backfill.plugin1", {"reserve-depth": "3", "order": "f1"})),
    ("my.plugin:a=1:b=2", ("my.plugin:a=1:b=2", "my.plugin", {"a": "1", "b": "2"})),
    ("./x.py", ("./x.py", "./x.py", {})),
    ("x.py:depth=3", ("x.py:depth=3", "x.py", {"depth": "3"})),
    ("easy+sjf:aging=0", ("easy+sjf:aging=0", "backfill.plugin1",
                          {"reserve-depth": "1", "order": "sjf", "aging": "0"})),
])
def test_names_of_policies(text, expected):
    assert names.choose(text) == expected
    assert names.choose(text, expected[2]) == expected            # the same again is no contradiction
    assert names.choose(text, "queue-depth=5").options == {**expected[2], "queue-depth": "5"}
    assert names.options_text(names.choose(text, {"q": 1}).options).endswith("q=1")


def test_queue_depth_bounds_a_pass():
    jobs = JOBS[:2] + [Job(2, 50, 50, 4)] * 3
    assert api.run(trace_of(jobs), procs=10, plugin="easy").start.tolist() == replay(jobs, 10, easy)
    assert api.run(trace_of(jobs), procs=10, plugin="easy", options="queue-depth=1").start.tolist() == [
        0, 100, 150, 200, 250]


def test_the_loop_runs_without_the_gil():
    """While one call advances the whole trace, another thread goes on."""
    trace = generate(3000, 128, 1.6, seed=4, overestimate=4)
    engine = scheduler(Inventory.from_counts(128, 1), plugin="backfill.plugin1", options="reserve-depth=-1")
    none, one = np.zeros(len(trace), dtype=int), np.ones(len(trace), dtype=int)
    loop = Loop(engine, trace.submit * 1e6, trace.run * 1e6, trace.request * 1e6, none, trace.procs, one, none)
    stamps, stop = [], threading.Event()

    def stamp():
        while not stop.is_set():
            stamps.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=stamp)
    thread.start()
    begin = time.perf_counter()
    more = loop.advance(2**62, 1e9)
    end = time.perf_counter()
    stop.set()
    thread.join()
    tenth = (end - begin) / 10
    assert not more and loop.ended == len(trace)
    assert any(begin + tenth < at < end - tenth for at in stamps)


def test_the_example_in_the_documents(tmp_path):
    example = os.path.join(os.path.dirname(__file__), "..", "doc", "examples", "simulate.py")
    library = os.path.join(os.path.dirname(__file__), "..", "build", "lib")
    done = subprocess.run([sys.executable, example, str(tmp_path / "pictures")],
                          env={**os.environ, "PYTHONPATH": library}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "easy+f1" in done.stdout and {"compare.svg", "gantt.png"} <= set(os.listdir(tmp_path / "pictures"))
