# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""RDL against the resources of an instance."""

import pytest

from fakehost import Bench, make_r
from fluxsched.formats import r, rdl
from fluxsched.service import rdl_match as link
from fluxsched.service.lwj import flat, nested

NODES = """
uses "Node"
Hierarchy "default" {{ Resource{{ "cluster", name = "c", children = {{ {children} }} }} }}
"""


def hierarchy(children):
    return rdl.loads(NODES.format(children=children))


def nodes(ids, sockets='{ "0-1", "2-3" }', more=""):
    return f'ListOf{{ Node, ids = "{ids}", args = {{ name = "node", sockets = {sockets} {more} }} }}'


def linked(R, h, in_sim=False):
    lines = []
    made, described = link.inventory(R, h, in_sim, "x.lua", lambda level, text: lines.append((level, text)))
    return made, described, lines


def test_without_rdl():
    made, described, lines = linked(make_r(2), None)
    assert made.ranks == [0, 1] and not described and lines == []


def test_all_agree():
    made, described, lines = linked(make_r(4), hierarchy(nodes("0-3")))
    assert described and lines == []
    assert made.hosts == ["node0", "node1", "node2", "node3"]
    assert r.parse(made.to_r()).cores == ["0-3"] * 4


def test_ranks_keep_their_ids():
    R = make_r(ranks=[2, 5, 9], hosts=["node1", "node2", "node3"])
    made, described, _ = linked(R, hierarchy(nodes("1-3")))
    assert described and made.ranks == [2, 5, 9] and made.hosts == ["node1", "node2", "node3"]


def test_hosts_in_another_order_than_ranks():
    R = make_r(ranks=[0, 1, 2], hosts=["node2", "node0", "node1"])
    made, described, lines = linked(R, hierarchy(nodes("0-2")))
    assert described and lines == []
    assert made.ranks == [0, 1, 2] and made.hosts == ["node2", "node0", "node1"]


def rack(name, ids):
    return f'Resource{{ "rack", name = "{name}", children = {{ {nodes(ids)} }} }}'


def test_racks_follow_the_ranks():
    R = make_r(ranks=[0, 1, 2, 3], hosts=["node2", "node3", "node0", "node1"])
    made, described, lines = linked(R, hierarchy(rack("a", "0-1") + "," + rack("b", "2-3")))
    assert described and lines == []
    assert made.hosts == ["node2", "node3", "node0", "node1"]


def test_ranks_across_racks():
    R = make_r(ranks=[0, 1, 2, 3], hosts=["node0", "node2", "node1", "node3"])
    made, described, lines = linked(R, hierarchy(rack("a", "0-1") + "," + rack("b", "2-3")))
    assert described and "levels above the nodes are left out" in lines[0][1]
    assert made.hosts == ["node0", "node2", "node1", "node3"]


def test_as_many_cores_with_other_ids():
    R = r.emit([0], ["node0"], ["4-7"], [""])
    made, described, _ = linked(R, hierarchy(nodes("0")))
    assert described and r.parse(made.to_r()).cores == ["4-7"]


def test_nodes_without_rank_are_left_out():
    made, described, lines = linked(make_r(2), hierarchy(nodes("0-9")))
    assert described and made.nnodes == 2
    assert lines == [(4, "RDL(x.lua): 8 nodes have no rank and are left out: node2, node3, node4, ...")]


@pytest.mark.parametrize(
    "R, text",
    [
        (make_r(5, hosts=[f"other{i}" for i in range(5)]), "rank 0 (other0) is no node of it"),
        (make_r(2, cores=8), "rank 0 (node0) has 8 cores and 0 gpus, not 4 and 0"),
        (make_r(2, gpus=1), "rank 0 (node0) has 4 cores and 1 gpus, not 4 and 0"),
        (make_r(2, hosts=["node0", "node0"]), "rank 1 (node0) is no node of it"),
    ],
)
def test_mismatches(R, text):
    made, described, lines = linked(R, hierarchy(nodes("0-3")))
    assert not described
    assert lines[0][0] == 3 and text in lines[0][1]
    assert made.hosts == r.parse(R).hosts


def test_many_mismatches_are_not_all_named():
    R = make_r(9, hosts=[f"other{i}" for i in range(9)])
    _, _, lines = linked(R, hierarchy(nodes("0-3")))
    assert "other2" in lines[0][1] and "other3" not in lines[0][1] and "6 more" in lines[0][1]


def test_forced():
    R = make_r(ranks=[3, 4, 8], cores=64)
    made, described, lines = linked(R, hierarchy(nodes("0-9")), in_sim=True)
    assert described and made.ranks == [3, 4, 8] and made.hosts == ["node0", "node1", "node2"]
    assert r.parse(made.to_r()).cores == ["0-3"] * 3
    assert lines == [(6, "RDL(x.lua): 3 of 10 nodes forced on 3 ranks")]


def test_forced_with_fewer_nodes_than_ranks():
    made, _, _ = linked(make_r(5), hierarchy(nodes("0-1")), in_sim=True)
    assert made.ranks == [0, 1]


def test_forced_without_nodes():
    h = hierarchy('Resource{ "filesystem", name = "fs" }')
    with pytest.raises(ValueError, match="no resource of type node"):
        linked(make_r(1), h, in_sim=True)


def test_forced_numbers_cores_that_have_the_same_ids():
    h = hierarchy(
        'Resource{ "node", name = "n", id = 0, children = {'
        ' Resource{ "socket", id = 0, children = { Resource{ "core", id = 0 }, Resource{ "core", id = 1 } } },'
        ' Resource{ "socket", id = 1, children = { Resource{ "core", id = 0 }, Resource{ "core", id = 1 } } } } }'
    )
    made, _, _ = linked(make_r(1), h, in_sim=True)
    assert r.parse(made.to_r()).cores == ["0-3"]


@pytest.mark.parametrize("shape", [
    {"nodes": 2, "slots": 1, "cores": 4}, {"slots": 1}, {"slots": 6}, {"nodes": 1, "slots": 2, "gpus": 1},
])
def test_summary_is_the_engines(shape):
    bench = Bench(R=make_r(4, 4, 2))
    bench.alloc(1, **shape)
    assert r.summary(bench.given(1)) == bench.service.engine.resource_summary(1)


def test_the_key_scheduling():
    R = {"version": 1}
    held = {"version": 1, "scheduling": {"pools": [[0, 5]]}}
    assert link.with_scheduling(R, None) is R
    assert link.with_scheduling(R, {"writer": "x:y", "a": 1, "pools": [[7, 7]]}) == {
        "version": 1, "scheduling": {"writer": "x:y", "a": 1},
    }
    assert link.with_scheduling(held, None) == {
        "version": 1, "scheduling": {"writer": "flux-sched:pools", "pools": [[0, 5]]},
    }
    assert link.with_scheduling(held, {"a": 1, "pools": [[7, 7]]})["scheduling"] == {"a": 1, "pools": [[0, 5]]}


def test_flat():
    held = [("0-1", "0-1", ""), ("2", "0", "0")]
    assert flat(held, ["a[0-2]"], {0: "a0", 1: "a1", 2: "a2"}) == [
        {"type": "node", "ranks": "0-1", "hosts": ["a[0-1]"], "children": [{"type": "core", "ids": "0-1"}]},
        {"type": "node", "ranks": "2", "hosts": ["a2"],
         "children": [{"type": "core", "ids": "0"}, {"type": "gpu", "ids": "0"}]},
    ]
    assert flat(held[:1], ["a[0-1]"], {})[0]["hosts"] == ["a[0-1]"]


def test_nested():
    rows = [
        ("c", "cluster", 1, 0),
        ("node0", "node", 1, 1),
        ("socket0", "socket", 1, 2),
        ("core0", "core", 1, 3),
        ("core1", "core", 1, 3),
        ("socket1", "socket", 1, 2),
        ("core3", "core", 1, 3),
        ("memory0", "memory", 500, 3),
        ("node1", "node", 1, 1),
        ("core0", "core", 1, 2),
    ]
    assert nested(rows) == [{"type": "cluster", "name": "c", "children": [
        {"type": "node", "name": "node0", "children": [
            {"type": "socket", "name": "socket0", "children": [{"type": "core", "ids": "0-1"}]},
            {"type": "socket", "name": "socket1", "children": [
                {"type": "core", "ids": "3"}, {"type": "memory", "name": "memory0", "size": 500},
            ]},
        ]},
        {"type": "node", "name": "node1", "children": [{"type": "core", "ids": "0"}]},
    ]}]
