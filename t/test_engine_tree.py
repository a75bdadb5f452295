# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The engine, one feature at a time: requests through the tree."""


import pytest

from fluxsched.core import Infeasible, Inventory
from naive import (
    DOWN,
    EASY,
    core,
    estimates,
    held,
    hierarchy,
    hype,
    nodes,
    reasons,
    request,
    run,
    scheduler,
    tree_request,
    vertex,
)

# Requests through the tree.


def test_sockets():
    e = scheduler(Inventory.from_rdl(hype(2)))
    run(
        e,
        tree_request(vertex("socket", 1)),
        tree_request(vertex("socket", 2)),
        tree_request(vertex("socket", 2)),
    )
    assert e.cores_by_rank(1) == [(0, "0-1", "")]
    assert e.cores_by_rank(2) == [(0, "2-3", ""), (1, "0-1", "")]
    assert e.waiting() == [3]
    assert e.tree_part(1) == [
        ("hype", "cluster", 1, 0),
        ("hype0", "node", 1, 1),
        ("socket0", "socket", 1, 2),
        ("core0", "core", 1, 3),
        ("core1", "core", 1, 3),
        ("memory", "memory", 1000, 3),
    ]
    e.free(1)
    e.free(2)
    assert e.schedule(1).started == [3]


def test_sparse_request():
    e = scheduler(Inventory.from_rdl(hype(2)))
    run(e, tree_request(vertex("node", 1, vertex("core", 3), vertex("memory", 1500))))
    assert e.cores_by_rank(1) == [(0, "0-2", "")]
    amounts = [row[2] for row in e.tree_part(1) if row[1] == "memory"]
    assert amounts == [1000, 500]
    # What is left of node 0: a core and 500 MB.
    run(e, tree_request(vertex("node", 1, vertex("core", 1), vertex("memory", 501))), first=2)
    assert e.allocated_ranks(2) == "1"
    run(e, tree_request(vertex("node", 1, vertex("core", 1), vertex("memory", 500))), first=3)
    assert e.allocated_ranks(3) == "0"


def test_memory_comes_back():
    e = scheduler(Inventory.from_rdl(hype(1)), EASY)
    big = tree_request(vertex("slot", 1, vertex("core", 1), vertex("memory", 1500)), duration=10)
    outcome = run(e, big, big, tree_request(vertex("slot", 1, vertex("core", 1), vertex("memory", 500)), duration=20))
    # At 10 job 1 gives back what job 2 waits for, and 500 are to spare all the while: job 3 delays nobody.
    assert outcome.started == [1, 3]
    assert estimates(e) == {2: 10.0}
    e.free(1)
    assert e.schedule(10.0).started == [2]


def test_slots_in_the_tree():
    e = scheduler(Inventory.from_rdl(hype(2)))
    wanted = tree_request(vertex("node", 2, vertex("slot", 2, vertex("socket", 1, vertex("core", 1), exclusive=True))))
    assert run(e, wanted).started == [1]
    assert e.resource_summary(1) == "rank[0-1]/core[0-3]"
    e.free(1)
    # Slots that share a socket.
    wanted = tree_request(vertex("node", 2, vertex("slot", 2, vertex("socket", 1, vertex("core", 1)))))
    assert run(e, wanted, first=2).started == [2]
    assert e.resource_summary(2) == "rank[0-1]/core[0-1]"


def test_exclusive_vertex_takes_all_of_it():
    e = scheduler(Inventory.from_rdl(hype(2)))
    run(e, tree_request(vertex("socket", 1, vertex("core", 1), exclusive=True)))
    assert e.cores_by_rank(1) == [(0, "0-1", "")]
    run(e, tree_request(vertex("node", 1, vertex("core", 1), exclusive=True)), first=2)
    assert e.cores_by_rank(2) == [(1, "0-3", "")]


def test_tree_request_keeps_to_constraint_and_up_nodes():
    e = scheduler(Inventory.from_rdl(hype(4)))
    e.mark_down("1")
    run(e, tree_request(vertex("socket", 1), constraint={"ranks": ["1-2"]}))
    assert e.allocated_ranks(1) == "2"
    run(e, tree_request(vertex("socket", 1), constraint={"ranks": ["1"]}), first=2)
    assert reasons(e) == {2: DOWN}
    e.mark_up("1")
    assert e.schedule(1).started == [2]
    e.remove("3")
    with pytest.raises(Infeasible, match="larger than what there is of 1 node that match|no node matches"):
        e.feasible(tree_request(vertex("socket", 3), constraint={"ranks": ["1,3"]}))


def test_bandwidth_is_drawn_up_to_the_root():
    def wants(amount, duration=10):
        return tree_request(
            vertex("slot", 1, vertex("node", 1, vertex("core", 1), vertex("bandwidth", amount))), duration=duration
        )

    e = scheduler(Inventory.from_rdl(hype(4, width=100, node_width=60)), EASY)
    outcome = run(e, wants(60), wants(40), wants(1, 5))
    assert outcome.started == [1, 2]
    assert e.allocated_ranks(2) == "1"
    assert estimates(e) == {3: 10.0}
    with pytest.raises(Infeasible):
        e.feasible(wants(61))
    e.free(2)
    assert e.schedule(1.0).started == [3]


def test_bandwidth_needs_a_pool():
    e = scheduler(Inventory.from_rdl(hype(2)))
    with pytest.raises(Infeasible, match="no resource of type 'bandwidth'"):
        e.feasible(tree_request(vertex("node", 1, vertex("core", 1), vertex("bandwidth", 1))))


def test_tree_request_needs_a_core():
    e = scheduler(Inventory.from_rdl(hype(2)))
    with pytest.raises(Infeasible, match="takes no core"):
        e.feasible(tree_request(vertex("memory", 100)))
    with pytest.raises(Infeasible, match="takes no core"):
        e.feasible(tree_request(vertex("node", 1, vertex("memory", 100))))
    bank = ("bank", "bank", 0, 1, {}, (("memory", "memory", None, 10),))
    e = scheduler(Inventory.from_rdl(hierarchy(("node", "n", 0, 1, {}, (core(0), bank)))))
    with pytest.raises(Infeasible, match="takes no core"):
        e.feasible(tree_request(vertex("bank", 1)))


def test_tree_and_flat_requests_share():
    e = scheduler(Inventory.from_rdl(hype(2)), EASY)
    outcome = run(
        e,
        request(nnodes=1, cores=3, duration=10),
        tree_request(vertex("socket", 3), duration=5),
        nodes(1, 30),
        request(cores=1, duration=5),
    )
    assert outcome.started == [1, 4]
    assert estimates(e)[2] == 10.0
    taken = held(e, 1)[0] | held(e, 4)[0]
    assert len(taken) == 4


def test_exclusive_node_has_its_memory():
    e = scheduler(Inventory.from_rdl(hype(2)), EASY)
    run(e, nodes(1, 10))
    assert [row[2] for row in e.tree_part(1) if row[1] == "memory"] == [1000, 1000]
    # Memory of node 0, cores of node 1: a node whose memory is in use is not whole.
    e = scheduler(Inventory.from_rdl(hype(2)), EASY)
    apart = tree_request(vertex("core", 1), vertex("memory", 500), duration=99)
    run(e, request(nnodes=1, nslots=4, duration=10), apart)
    assert e.allocated_ranks(2) == "1"
    e.free(1)
    outcome = run(e, nodes(1, 5), now=1.0, first=3)
    assert outcome.started == []
    assert estimates(e) == {3: 99.0}
    # Nor is it whole to a reservation, and memory alone is in no R.
    e.cancel(3)
    run(e, nodes(2, 9), tree_request(vertex("core", 1), vertex("memory", 500), duration=97), now=2.0, first=4)
    assert e.resource_summary(2) == "rank1/core0"
    assert e.waiting() == [4]


def test_whole_cores_of_a_node_whose_memory_is_in_use():
    """That an exclusive job found no room says nothing of one that wants all cores of a node, and not its memory."""
    e = scheduler(Inventory.from_rdl(hype(2)), EASY)
    apart = tree_request(vertex("core", 1), vertex("memory", 500), duration=99)
    run(e, request(nnodes=1, nslots=4, duration=10), apart)
    e.free(1)
    assert run(e, nodes(1, 5), request(nnodes=1, nslots=4, duration=5), now=1.0, first=3).started == [4]
    e.sanity_check()


def test_partial_free_returns_memory():
    e = scheduler(Inventory.from_rdl(hype(2)))
    wanted = tree_request(vertex("node", 2, vertex("core", 1), vertex("memory", 2000)))
    run(e, wanted)
    e.free(1, "0", final=False)
    assert [row[:3] for row in e.tree_part(1) if row[1] == "node"] == [("hype1", "node", 1)]
    one = tree_request(vertex("node", 1, vertex("core", 1), vertex("memory", 2000)))
    assert run(e, one, one, first=2).started == [2]
    assert e.allocated_ranks(2) == "0"
    e.free(1)
    assert e.schedule(1.0).started == [3]


def test_gpus_come_with_a_core_of_their_node():
    first = ("node", "a", None, 1, {}, (core(0),))
    second = ("node", "b", None, 1, {}, (core(0), ("gpu", "gpu", 0, 1)))
    e = scheduler(Inventory.from_rdl(hierarchy(("cluster", "c", None, 1, {}, (first, second)))))
    # The greedy match would take the core of a and the gpu of b, and no R could say so.
    with pytest.raises(Infeasible):
        e.feasible(tree_request(vertex("core", 1), vertex("gpu", 1)))
    assert run(e, tree_request(vertex("core", 2), vertex("gpu", 1))).started == [1]


def test_r_carries_pools_to_a_restart():
    wanted = tree_request(vertex("node", 1, vertex("core", 1), vertex("memory", 1500)))
    e = scheduler(Inventory.from_rdl(hype(1)))
    run(e, wanted)
    R = e.R(1)
    again = scheduler(Inventory.from_rdl(hype(1)))
    again.adopt(1, R)
    assert run(again, wanted, first=2).started == []
    again.free(1)
    assert run(again, first=3).started == [2]
    # What another scheduler or another tree wrote there is nobody's.
    for odd in ({"pools": [[0, 10**9], [77, 1], [0], "x", [True, 1]]}, {"pools": 3}, [], "x", {}):
        fresh = scheduler(Inventory.from_rdl(hype(1)))
        fresh.adopt(1, {**R, "scheduling": odd})
        assert run(fresh, wanted, first=2).started == [2]


@pytest.mark.parametrize("wanted", [nodes(1), nodes(3)])
def test_a_whole_node_is_one_whose_memory_nobody_holds(wanted):
    e = scheduler(Inventory.from_rdl(hype(3)))
    run(e, request(nnodes=1, nslots=4), tree_request(vertex("core", 1), vertex("memory", 500)), nodes(1))
    assert [e.allocated_ranks(jobid) for jobid in (1, 2, 3)] == ["0", "1", "2"]
    e.free(1)
    # Cores of node 0 are free, and its memory is job 2's.
    assert run(e, wanted, now=1.0, first=4).started == []
    e.free(3)
    one = wanted.nnodes == 1
    assert e.schedule(2.0).started == ([4] if one else [])
    e.free(2)
    assert e.schedule(3.0).started == ([] if one else [4])
    assert e.allocated_ranks(4) == ("2" if one else "0-2")
