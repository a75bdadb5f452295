# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Bandwidth as a resource: tags max_bw of RDL from the node to the root, and the IORate of a trace."""
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from fluxsched.core import Inventory, PluginError
from fluxsched.formats.jobspec import Request, Vertex
from fluxsched.simulate import api
from fluxsched.simulate.api import SimulateError
from fluxsched.traces.load import load
from naive import scheduler

TOP = os.path.join(os.path.dirname(__file__), "..")

RDL = """
uses "Node"
Hierarchy "default" { Resource { "filesystem", name = "fs", tags = { max_bw = %(fs)d }, children = {
    Resource { "switch", name = "s", id = 0, tags = { max_bw = %(switch)d },
               children = { ListOf { Node, ids = "0-3", args = { name = "a", sockets = { "0-3" },
                                                                 tags = { max_bw = %(node)d } } } } },
    Resource { "switch", name = "s", id = 1, tags = { max_bw = %(switch)d },
               children = { ListOf { Node, ids = "4-7", args = { name = "a", sockets = { "0-3" },
                                                                 tags = { max_bw = %(node)d } } } } },
} } }
"""


@pytest.fixture
def rdl(tmp_path):
    def rdl(fs=100, switch=60, node=20):
        (tmp_path / "io.lua").write_text(RDL % {"fs": fs, "switch": switch, "node": node})
        return tmp_path / "io.lua"
    return rdl


def jobs(*rows):
    """(submit, run, nodes, procs, io_rate per processor)"""
    submit, run, nodes, procs, rate = (np.array(c, dtype=float) for c in zip(*rows))
    return api.trace_of(submit, run, procs, nodes=nodes, io_rate=rate)


@pytest.mark.parametrize("plugin", ["sched.plugin1", "easy", "conservative"])
def test_the_file_system_is_shared(rdl, plugin):
    # Each job draws 4 * 10 = 40 of 100 at the root: the third waits, though nodes are free.
    trace = jobs((0, 10, 2, 8, 5), (0, 10, 2, 8, 5), (0, 10, 2, 8, 5))
    assert api.run(trace, rdl=rdl(fs=100, switch=1000), plugin=plugin).start.tolist() == [0, 0, 10]
    assert api.run(trace, rdl=rdl(fs=120, switch=1000), plugin=plugin).start.tolist() == [0, 0, 0]
    aware = api.run(trace, rdl=rdl(fs=100, switch=1000), plugin=plugin, options="io-aware=false")
    assert aware.start.tolist() == [0, 0, 0]


def test_each_switch_on_the_path(rdl):
    # 15 a node: a switch of 40 carries two of its four nodes, so 4 nodes for one job, and the second waits.
    trace = jobs((0, 10, 4, 4, 15), (0, 10, 1, 1, 15))
    r = api.run(trace, rdl=rdl(fs=1000, switch=40), plugin="easy")
    assert r.start.tolist() == [0, 10]
    nodes = [first // 4 for first in r.first[r.offset[0]:r.offset[1]]]
    assert sum(n < 4 for n in nodes) == sum(n >= 4 for n in nodes) == 2


def test_the_node_itself(rdl):
    # Three processors of 8 are 24 on a node of 20: only two of them share one.
    trace = jobs((0, 10, 1, 2, 8), (0, 10, 1, 2, 8), (0, 10, 1, 1, 4))
    r = api.run(trace, rdl=rdl(), plugin="easy")
    nodes = (r.first // 4).tolist()
    assert r.start.tolist() == [0, 0, 0] and nodes[0] != nodes[1]
    assert nodes[2] in nodes[:2]               # 16 + 4 are just 20


def test_what_can_never_run_is_denied(rdl):
    r = api.run(jobs((0, 10, 1, 4, 6), (0, 10, 1, 4, 5)), rdl=rdl(), plugin="easy")
    assert r.left_out == {"denied": 1} and r.trace.job_id.tolist() == [2] and r.start.tolist() == [0]


def test_easy_reserves_bandwidth(rdl):
    """The head waits for bandwidth; a later job that would take it at the shadow time must not start."""
    path = rdl(fs=50, switch=50)
    rows = [(0, 100, 2, 8, 5), (1, 50, 1, 4, 5), (2, 500, 1, 4, 2), (3, 90, 1, 4, 2)]
    # Job 0 draws 40 of 50 until 100; job 1 needs 20.  At 100 there are 50 - 20 = 30 to spare: both later ones fit now
    # (8 of 10), but only one of them.
    assert api.run(jobs(*rows), rdl=path, plugin="easy").start.tolist() == [0, 100, 2, 100]
    # With 44 at the shadow time for a head that needs 40, a job of 8 must end by then.
    path = rdl(fs=44, switch=44)
    rows = [(0, 100, 1, 4, 4), (1, 50, 2, 8, 5), (2, 500, 1, 4, 2), (3, 90, 1, 4, 2)]
    assert api.run(jobs(*rows), rdl=path, plugin="easy").start.tolist() == [0, 100, 150, 3]


def test_whole_nodes_with_bandwidth(rdl):
    trace = jobs((0, 10, 1, 1, 6), (0, 10, 1, 1, 6), (0, 10, 1, 4, 0))
    r = api.run(trace, rdl=rdl(fs=10), plugin="easy", exclusive=True)
    assert r.start.tolist() == [0, 10, 0]
    held = [(r.last[s] - r.first[s] + 1).sum() for s in map(slice, r.offset[:-1], r.offset[1:])]
    assert held == [4, 4, 4]


def test_whole_nodes_want_equal_ones(tmp_path):
    (tmp_path / "x.lua").write_text("""
uses "Node"
Hierarchy "default" { Resource { "cluster", name = "c", tags = { max_bw = 10 }, children = {
    Node { name = "a", id = 1, sockets = { "0-3" } }, Node { name = "a", id = 2, sockets = { "0-1" } } } } }
""")
    with pytest.raises(SimulateError, match="nodes of equal cores"):
        api.run(jobs((0, 10, 1, 1, 6)), rdl=tmp_path / "x.lua", exclusive=True)


def test_without_nodes_or_tags(rdl):
    # No nodes stated: each processor draws its own.  No tags: rates mean nothing.
    trace = jobs((0, 10, 0, 3, 9.5), (0, 10, 0, 1, 10))
    assert api.run(trace, rdl=rdl(fs=30), plugin="easy").start.tolist() == [0, 10]
    assert api.run(trace, nodes=2, cores=4, plugin="easy").start.tolist() == [0, 0]


row = st.tuples(st.integers(0, 20), st.integers(1, 30), st.integers(1, 4), st.integers(1, 4), st.integers(0, 6))


@given(st.lists(row, min_size=1, max_size=25), st.sampled_from(["sched.plugin1", "easy", "conservative", "hybrid2"]))
@settings(max_examples=60, deadline=None)
def test_nothing_on_the_path_is_ever_overdrawn(tmp_path_factory, rows, plugin):
    path = tmp_path_factory.getbasetemp() / "io-random.lua"
    path.write_text(RDL % {"fs": 100, "switch": 60, "node": 20})
    rows = sorted(rows)
    trace = jobs(*[(s, run, nodes, nodes * cores, rate) for s, run, nodes, cores, rate in rows])
    r = api.run(trace, rdl=path, plugin=plugin)
    assert not np.isnan(r.start).any()
    share = []
    for i in range(len(r.trace)):
        used = np.zeros(8)
        for k in range(r.offset[i], r.offset[i + 1]):
            for p in range(r.first[k], r.last[k] + 1):
                used[p // 4] += r.trace.io_rate[i]
        share.append(used)
    for at in np.unique(r.start):
        node = sum((share[i] for i in range(len(share)) if r.start[i] <= at < r.finish[i]), np.zeros(8))
        assert node.max() <= 20 and node[:4].sum() <= 60 and node[4:].sum() <= 60 and node.sum() <= 100


@given(st.lists(row, min_size=1, max_size=25))
@settings(max_examples=60, deadline=None)
def test_first_come_first_served_with_a_shared_file_system(tmp_path_factory, rows):
    """One-node jobs and a root that is the only narrow place: two numbers say all, so the plain statement is short."""
    path = tmp_path_factory.getbasetemp() / "io-fcfs.lua"
    path.write_text(RDL % {"fs": 24, "switch": 1000, "node": 1000})
    rows = sorted((s, run, 1, 4, rate) for s, run, _, _, rate in rows)
    trace = jobs(*rows)
    start, running, now = [], [], 0
    for submit, run, _, procs, rate in rows:
        now = max(now, submit)
        while True:
            running = [(end, draw) for end, draw in running if end > now]
            if len(running) < 8 and sum(draw for _, draw in running) + rate * procs <= 24:
                break
            now = min(end for end, _ in running)
        start.append(now)
        running.append((now + run, rate * procs))
    assert api.run(trace, rdl=path).start.tolist() == start


WIDE = """
uses "Node"
Hierarchy "default" { Resource { "cluster", name = "c", tags = { max_bw = 24 }, children = {
    ListOf { Node, ids = "0-39", args = { name = "a", sockets = { "0" } } } } } }
"""
POLICIES = {"sched.plugin1": oracle.fcfs, "easy": oracle.easy, "conservative": oracle.conservative,
            "hybrid2": oracle.hybrid(2), "first-fit": oracle.hybrid(0)}


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30), st.integers(1, 30), st.integers(1, 24)), min_size=1,
                max_size=30), st.sampled_from(sorted(POLICIES)))
@settings(max_examples=100, deadline=None)
def test_exact_where_only_bandwidth_is_scarce(tmp_path_factory, rows, policy):
    """With nodes in plenty, MB/s of the root are to the policies what processors are without bandwidth."""
    path = tmp_path_factory.getbasetemp() / "io-wide.lua"
    path.write_text(WIDE)
    rows = sorted(rows, key=lambda row: row[0])
    submit, run, request, rate = (np.array(c, dtype=float) for c in zip(*rows))
    trace = api.trace_of(submit, run, np.ones(len(rows)), request, nodes=np.ones(len(rows)), io_rate=rate)
    expected = oracle.replay([oracle.Job(*row) for row in rows], 24, POLICIES[policy])
    assert api.run(trace, rdl=path, plugin=policy).start.tolist() == expected


def test_the_trace_and_cluster_of_the_c_original():
    """hype with bandwidth: 64 nodes of 16 cores at 2 MB/s are 2048 of 10000; 100 of them 3200."""
    r = api.run(load(os.path.join(TOP, "t/data/hype-io.csv")), rdl=os.path.join(TOP, "conf/hype-io.lua"),
                plugin="easy")
    assert r.left_out == {} and not np.isnan(r.start).any()


def test_jobspec_bandwidth_follows_the_option(rdl):
    """In the engine that every host has: the same request, with the option and without."""
    from fluxsched.formats import rdl as rdl_format
    each = (Vertex("core", 1, False, ()), Vertex("bandwidth", 15, False, ()))
    request = Request(0, 1, 0, 0, False, 10.0, "", None, (Vertex("node", 5, False, each),))
    for options, started in (("", [1]), ("io-aware=true", [1]), ("io-aware=false", [1, 2])):
        machine = Inventory.from_rdl(rdl_format.load(str(rdl(fs=80, switch=1000))))
        engine = scheduler(machine, "backfill.plugin1", options)
        engine.add(1, request)
        engine.add(2, request._replace(tree=(Vertex("node", 3, False, each),)))
        assert engine.schedule(1.0).started == started


@pytest.mark.parametrize("plugin", ["sched.plugin1", "backfill.plugin1"])
def test_a_bad_option(plugin):
    with pytest.raises(PluginError, match="io-aware=maybe: expected true or false"):
        scheduler(Inventory.from_counts(1, 1), plugin, "io-aware=maybe")
