# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The engine, one feature at a time: what there is, who holds it, and what is told of it."""


import pytest

from fluxsched.core import Infeasible, Inventory
from fluxsched.formats import r as rset
from naive import (
    DOWN,
    EASY,
    RESOURCES,
    core,
    cores,
    estimates,
    held,
    hierarchy,
    hype,
    machine,
    nodes,
    request,
    run,
    scheduler,
    waits,
)

# Inventories.


def test_from_counts_refuses():
    for arguments, message in (
        ((0, 1), "number of nodes 0: expected a whole number from 1 to 16777216"),
        ((-3, 1), "number of nodes -3"),
        ((2, 0), "number of cores 0"),
        ((2, 5000), "number of cores 5000"),
        ((2, 4, -1), "number of gpus -1"),
        ((2, 4, 1.5), "number of gpus 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            Inventory.from_counts(*arguments)


def test_inventory_refuses():
    with pytest.raises(ValueError, match="2 ranks, 1 hosts, 2 core sets and 2 gpu sets"):
        Inventory([0, 1], ["a"], ["0", "0"], ["", ""])
    with pytest.raises(ValueError, match="a rank is named twice"):
        Inventory([1, 1], ["a", "b"], ["0", "0"], ["", ""])
    with pytest.raises(ValueError, match="core id 4096 on rank 3 is too large"):
        Inventory([3], ["a"], ["4096"], [""])
    with pytest.raises(ValueError, match="gpu id 9999 on rank 0 is too large"):
        Inventory([0], ["a"], ["0"], ["9999"])


def test_inventory_r_round_trip():
    R = rset.emit(
        [7, 3, 4], ["c", "a", "b"], ["0-3", "64-70,129", "0-3"], ["0-1", "", "0-1"], {"big": [3], "fast": [4, 7]}, 0, 99
    )
    inventory = Inventory.from_r(R)
    assert inventory.ranks == [3, 4, 7]
    assert inventory.hosts == ["a", "b", "c"]
    assert inventory.expiration == 99
    assert rset.parse(inventory.to_r()) == rset.parse(R)
    part = rset.parse(inventory.to_r("4,9"))
    assert (part.ranks, part.hosts, part.properties) == ([4], ["b"], {"fast": [4]})


def test_from_r_names_a_unit_too_large():
    R = rset.emit([0], ["a"], ["0-5000"], [""])
    with pytest.raises(rset.RError, match="core id 5000 on rank 0"):
        Inventory.from_r(R)


def test_from_rdl():
    inventory = Inventory.from_rdl(hype(2))
    assert inventory.hosts == ["hype0", "hype1"]
    assert [inventory.core_set(i) for i in range(2)] == ["0-3", "0-3"]
    assert Inventory.from_rdl(hype(2), [3, 9]).ranks == [3, 9]


def test_from_rdl_flags_are_properties():
    h = hierarchy(
        (
            "cluster",
            "c",
            None,
            1,
            {},
            (
                ("node", "a", 0, 1, {"big": True, "max_bw": 3, "off": False}, (core(0),)),
                ("node", "a", 1, 1, {}, (core(0),)),
            ),
        )
    )
    assert Inventory.from_rdl(h).properties == {"big": 1}


@pytest.mark.parametrize(
    ("root", "message"),
    [
        (("cluster", "c"), "no resource of type node"),
        (("cluster", "c", None, 1, {}, (("node", "n", 0),)), "node n0 has no core"),
        (("cluster", "c", None, 1, {}, (("core", "core", 0),)), "core core0 is not inside a node"),
        (("node", "n", 0, 1, {}, (("core", "core"),)), "core core of node n0 has no id"),
        (("node", "n", 0, 1, {}, (core(1), core(1))), "node n0 has two cores with id 1"),
        (("node", "n", 0, 1, {}, (core(1), ("gpu", "g", 2), ("gpu", "h", 2))), "node n0 has two gpus with id 2"),
        (("node", "n", 0, 1, {}, (core(1), ("node", "m", 1))), "node m1 lies inside node n0"),
        (("node", "n", 0, 1, {}, (core(5000),)), "core id 5000"),
    ],
)
def test_from_rdl_refuses(root, message):
    with pytest.raises(ValueError, match=message):
        Inventory.from_rdl(hierarchy(root))


def test_from_rdl_refuses_ranks():
    with pytest.raises(ValueError, match="2 nodes for 1 ranks"):
        Inventory.from_rdl(hype(2), [0])
    with pytest.raises(ValueError, match="ascending"):
        Inventory.from_rdl(hype(2), [1, 0])
    with pytest.raises(ValueError, match="named twice"):
        Inventory.from_rdl(hype(2), [1, 1])


# Nodes up, down and gone.


def test_down_nodes_get_no_jobs():
    e = machine(3, 2, down=True)
    run(e, request())
    assert waits(e) == [(1, DOWN, None)]
    e.mark_up("1")
    assert e.schedule(1).started == [1]
    assert e.allocated_ranks(1) == "1"
    e.mark_down("1")
    assert e.running_jobs() == [1]
    run(e, request(), now=2.0, first=2)
    e.mark_up("0,2")
    assert e.schedule(3.0).started == [2]
    assert e.allocated_ranks(2) == "0"
    e.free(1)
    e.mark_up("1")
    assert e.stats()["nodes"] == {"all": 3, "up": 3, "idle": 2}
    assert e.stats()["cores"] == {"up": 6, "free": 5}


def test_marks_of_unknown_ranks_change_nothing():
    e = machine(2)
    e.mark_down("7-9")
    e.mark_up("7-9")
    e.remove("7-9")
    e.mark_down("")
    assert e.stats()["nodes"]["up"] == 2
    for mark in (e.mark_up, e.mark_down, e.remove):
        with pytest.raises(ValueError, match="not an idset"):
            mark("1-")


def test_removed_nodes_deny_what_needs_them():
    e = machine(3, 1)
    run(e, nodes(3), nodes(3), nodes(2), nodes(1, constraint={"ranks": ["2"]}))
    e.remove("2")
    e.mark_up("2")
    e.free(1)
    outcome = e.schedule(1.0)
    assert [jobid for jobid, _ in outcome.denied] == [2, 4]
    assert "removed" in outcome.denied[0][1]
    assert outcome.started == [3]
    assert e.waiting() == []
    assert e.resource_status()["all"]["execution"]["R_lite"] == [{"rank": "0-1", "children": {"core": "0"}}]
    with pytest.raises(Infeasible, match="2 of 2 nodes"):
        e.add(5, nodes(3))
    # Their ids are free again.
    e.add(2, nodes(1))
    assert e.waiting() == [2]


def test_estimates_do_not_count_on_nodes_that_went_down():
    for wanted in (nodes(2, 5), request(nnodes=2, nslots=1, duration=5)):
        e = machine(4, 2, plugin=EASY)
        run(e, nodes(2, 10), nodes(2, 20), wanted)
        e.mark_down("0")
        e.schedule(1.0)
        assert estimates(e) == {3: 20.0}
        e.mark_up("0")
        e.schedule(2.0)
        assert estimates(e) == {3: 10.0}


# Freeing.


def test_free():
    e = machine(3, 2)
    run(e, nodes(2), request(nslots=1))
    with pytest.raises(ValueError, match="job 3 holds no resources"):
        e.free(3)
    e.free(1)
    with pytest.raises(ValueError, match="job 1 holds no resources"):
        e.free(1)
    e.add(1, nodes(3))
    with pytest.raises(ValueError, match="job 1 holds no resources"):
        e.free(1)
    assert e.running_jobs() == [2]


def test_partial_free():
    e = machine(4, 2)
    run(e, nodes(4))
    e.free(1, "1-2", final=False)
    assert e.allocated_ranks(1) == "0,3"
    assert e.stats()["cores"]["free"] == 4
    run(e, nodes(2), first=2)
    assert e.allocated_ranks(2) == "1-2"
    for ranks in ("1", "0-1", "9", "3,9", ""):
        with pytest.raises(ValueError, match="does not hold all of ranks"):
            e.free(1, ranks, final=False)
    with pytest.raises(ValueError, match="not an idset"):
        e.free(1, "x")
    e.free(1, "0", final=True)
    assert e.running_jobs() == [2]
    assert e.stats()["cores"]["free"] == 4


def test_partial_free_to_the_last_node():
    e = machine(2, 2)
    run(e, nodes(2))
    e.free(1, "0", final=False)
    e.free(1, "1", final=False)
    assert e.running_jobs() == [1]
    assert e.cores_by_rank(1) == []
    e.free(1)
    assert e.running_jobs() == []


def test_partial_free_of_parts_of_nodes():
    e = machine(3, 4, 1)
    run(e, request(nnodes=3, nslots=1, cores=2, gpus=1))
    e.free(1, "0,2", final=False)
    assert e.cores_by_rank(1) == [(1, "0-1", "0")]
    assert e.stats()["cores"]["free"] == 10
    assert e.stats()["nodes"]["idle"] == 2


def test_partial_free_moves_an_estimate():
    e = machine(4, 1, plugin=EASY)
    run(e, nodes(2, 10), nodes(2, 20), nodes(3, 5))
    e.free(2, "2", final=False)
    # Node 2 is free; 3 wants two more, and has them when 1 ends.
    e.schedule(1.0)
    assert estimates(e) == {3: 10.0}
    e.free(1, "0", final=False)
    e.schedule(2.0)
    e.free(2, "3", final=False)
    assert e.schedule(3.0).started == [3]


def test_sched_once():
    e = machine(2, 1, sched_once=True)
    run(e, nodes(1))
    e.free(1)
    assert run(e, nodes(1), now=1.0, first=2).started == [2]
    e.free(2, "1", final=False)
    e.free(2)
    assert run(e, nodes(1), now=2.0, first=3).started == []
    assert e.stats()["nodes"]["idle"] == 0


def test_sched_once_under_a_reservation():
    """What a job has used up does not come back with the reservation of another job for the same nodes."""
    e = machine(4, 2, plugin="backfill.plugin1", options="reserve-depth=-1", sched_once=True)
    e.add(1, cores(2, 10.0))
    e.add(2, nodes(4))
    assert e.schedule(66.0).started == [1] and held(e, 1)[0] == {(0, 0), (0, 1)}
    e.free(1)
    e.add(3, cores(7, 10.0), t_submit=1.0)
    e.add(4, cores(6, 10.0), t_submit=2.0)
    assert e.schedule(67.0).started == [4] and {node for node, _ in held(e, 4)[0]} == {1, 2, 3}


# Jobs that hold R already.


def r_of(ranks, core, gpu="", expiration=0):
    ids = [int(rank) for rank in ranks.split(",")]
    return rset.emit(ids, [f"node{i}" for i in ids], [core] * len(ids), [gpu] * len(ids), None, 0, expiration)


def test_adopt():
    e = machine(4, 4, 2, plugin=EASY)
    e.adopt(1, r_of("0,1", "0-3", "0-1", 50), "", priority=3, t_submit=1.0)
    e.adopt(2, r_of("2", "1-2", "1"))
    assert e.cores_by_rank(1) == [(0, "0-3", "0-1"), (1, "0-3", "0-1")]
    assert e.cores_by_rank(2) == [(2, "1-2", "1")]
    assert e.running_jobs() == [1, 2]
    assert e.times(1) == (0.0, 50.0)
    outcome = run(e, nodes(3, 5), cores(3), cores(2), now=10.0, first=3)
    assert estimates(e) == {3: 50.0, 4: None}
    assert outcome.started == [5]
    assert e.cores_by_rank(5) == [(2, "0,3", "")]
    for jobid in (1, 2, 5):
        e.free(jobid)
    assert e.stats()["nodes"]["idle"] == 4


def test_adopt_with_freed_ranks():
    e = machine(4, 2)
    e.adopt(1, r_of("0,1,2", "0-1"), "0,2")
    assert e.allocated_ranks(1) == "1"
    e.adopt(2, r_of("0", "0"), "0")
    assert e.cores_by_rank(2) == []
    assert e.stats()["nodes"]["idle"] == 3
    e.free(2)
    e.free(1)
    assert e.stats()["nodes"]["idle"] == 4


def test_adopt_on_a_down_node():
    e = machine(2, 2)
    e.mark_down("0")
    e.adopt(1, r_of("0", "0-1"))
    e.adopt(2, r_of("1", "1"))
    assert e.stats()["cores"] == {"up": 2, "free": 1}
    e.mark_up("0")
    assert e.stats()["cores"] == {"up": 4, "free": 1}
    e.free(1)
    assert e.stats()["cores"] == {"up": 4, "free": 3}


@pytest.mark.parametrize(
    ("R", "freed", "message"),
    [
        ({}, "", "version"),
        (r_of("7", "0"), "", "R names rank 7, which there is not"),
        (r_of("0", "2"), "", "R names core 2 of rank 0, which there is not"),
        (r_of("0", "0-200"), "", "R names core 2 of rank 0"),
        (r_of("0", "0", "0"), "", "R names gpu 0 of rank 0"),
        (r_of("0", "0"), "1-", "not an idset"),
        (r_of("1", "0"), "", "another job holds some of its resources"),
        (r_of("1,2", "0-1"), "", "another job holds some of its resources"),
    ],
)
def test_adopt_refuses(R, freed, message):
    e = machine(3, 2)
    e.adopt(1, r_of("1", "0-1"))
    before = e.stats()
    with pytest.raises(ValueError, match=message):
        e.adopt(2, R, freed)
    with pytest.raises(ValueError, match="job 1 is known already"):
        e.adopt(1, r_of("0", "0"))
    assert e.stats() == before
    e.adopt(2, r_of("0,2", "0-1"))


def test_adopt_with_times_out_of_range():
    e = machine(1, 1)
    R = rset.emit([0], ["node0"], ["0"], [""], None, 2.0**52, 2.0**53)
    e.adopt(1, R)
    assert e.times(1)[1] == 0.0
    assert e.times(1)[0] >= 0.0


# What it tells.


def test_r_of_a_job():
    e = scheduler(Inventory([3, 5, 8], ["a", "b", "c"], ["0-3"] * 3, ["0"] * 3, {"fast": [5, 8], "old": [3]}))
    run(e, request(nnodes=2, nslots=2, gpus=0, constraint={"properties": ["fast"]}))
    R = e.R(1, 100.0, 200.0)
    assert R == {
        "version": 1,
        "execution": {
            "R_lite": [{"rank": "5,8", "children": {"core": "0-1"}}],
            "nodelist": ["b,c"],
            "starttime": 100.0,
            "expiration": 200.0,
            "nslots": 4,
            "properties": {"fast": "5,8"},
        },
    }
    assert rset.parse(R).hosts == ["b", "c"]
    for ask in (e.R, e.cores_by_rank, e.allocated_ranks, e.resource_summary, e.tree_part, e.times):
        with pytest.raises(ValueError, match="job 7 holds no resources"):
            ask(7)


def test_r_can_be_adopted_by_another_engine():
    first = machine(4, 4, 2)
    run(first, request(nslots=7, gpus=1), nodes(1), request(cores=2))
    second = machine(4, 4, 2)
    for jobid in first.running_jobs():
        second.adopt(jobid, first.R(jobid))
        assert second.cores_by_rank(jobid) == first.cores_by_rank(jobid)
    assert second.resource_status() == first.resource_status()


def test_resource_summary():
    e = machine(4, 4, 2)
    run(e, request(nnodes=2, nslots=1), request(nslots=1, cores=3, gpus=2), request(nslots=5), nodes(1))
    assert e.resource_summary(1) == "rank[0-1]/core0"
    assert e.resource_summary(2) == "rank0/{core[1-3],gpu[0-1]}"
    assert e.resource_summary(3) == "rank1/core[1-3] rank2/core[0-1]"
    assert e.resource_summary(4) == "rank3/{core[0-3],gpu[0-1]}"


def test_resource_status():
    e = machine(3, 2)
    run(e, request(nnodes=1), nodes(1))
    e.mark_down("2")
    status = e.resource_status()
    assert status["all"]["execution"]["R_lite"] == [{"rank": "0-2", "children": {"core": "0-1"}}]
    assert status["allocated"]["execution"]["R_lite"] == [
        {"rank": "0", "children": {"core": "0"}},
        {"rank": "1", "children": {"core": "0-1"}},
    ]
    assert status["down"]["execution"] == {
        "R_lite": [{"rank": "2", "children": {"core": "0-1"}}],
        "nodelist": ["node2"],
        "starttime": 0.0,
        "expiration": 0.0,
    }
    for part in status.values():
        rset.parse(part)


def test_stats():
    e = machine(3, 2, plugin=EASY, options="reserve-depth=2")
    run(e, nodes(2, 10), nodes(2, 10), nodes(1, 10))
    assert e.stats() == {
        "plugin": "backfill.plugin1",
        "plugin_options": {"reserve-depth": "2"},
        "passes": 1,
        "continued": 0,
        "considered": 3,
        "started": 2,
        "backfilled": 1,
        "waiting": 1,
        "running": 2,
        "queues": [""],
        "nodes": {"all": 3, "up": 3, "idle": 0},
        "cores": {"up": 6, "free": 0},
    }


def test_reasons_change_as_the_queue_moves():
    e = machine(2, 1, plugin=EASY)
    run(e, nodes(2, 10), nodes(2, 10), nodes(1, 10))
    assert waits(e) == [(2, RESOURCES, 10.0), (3, RESOURCES, None)]
    e.free(1)
    outcome = e.schedule(5.0)
    assert outcome.started == [2]
    assert waits(e) == [(3, RESOURCES, 15.0)]


def test_many_jobs_on_70_nodes_all_run():
    e = machine(70, 2)
    for jobid in range(200):
        e.add(jobid, nodes(1 + jobid % 67))
    done = []
    now = 0.0
    while e.waiting() or e.running_jobs():
        e.schedule(now)
        ranks = [rank for jobid in e.running_jobs() for rank, _, _ in e.cores_by_rank(jobid)]
        assert len(ranks) == len(set(ranks))
        first = min(e.running_jobs())
        e.free(first)
        done.append(first)
        now += 1
    assert done == list(range(200))
    assert e.stats()["nodes"]["idle"] == 70


def test_removal_denies_at_once_behind_a_blocked_head():
    e = scheduler(Inventory.from_counts(3, 1), "sched.plugin1")
    run(e, request(nnodes=2))
    run(e, request(nnodes=2), request(nnodes=3), request(nnodes=1), first=2, now=1.0)
    e.remove("2")
    outcome = e.schedule(2.0)
    assert [jobid for jobid, _ in outcome.denied] == [3]
    assert e.waiting() == [2, 4]


def test_a_lost_property_is_waited_for():
    R = Inventory.from_counts(2, 1).to_r()
    R["execution"]["properties"] = {"big": "1"}
    e = scheduler(Inventory.from_r(R), "sched.plugin1")
    e.property_remove("big", "1")
    e.property_add("big", "1")
    e.mark_down("1")
    run(e, request(nnodes=1, constraint={"properties": ["big"]}))
    e.property_remove("big", "1")
    outcome = e.schedule(1.0)
    assert outcome.denied == [] and "properties" in e.reason(1)
    e.property_add("big", "0")
    assert e.schedule(2.0).started == [1]
