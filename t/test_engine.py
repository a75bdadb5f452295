# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The engine, one feature at a time: requests, order, queues, backfill."""

import math

import pytest

from fluxsched.core import Infeasible, Inventory
from fluxsched.formats.constraint import ConstraintError
from naive import (
    BEHIND,
    DEPTH,
    DOWN,
    EASY,
    OVERLAP,
    RESERVED,
    RESOURCES,
    cores,
    estimates,
    held,
    machine,
    mixed,
    nodes,
    reasons,
    request,
    run,
    scheduler,
    tree_request,
    vertex,
    waits,
)

# Requests.


def test_nodes_with_slots():
    e = machine(3, 4)
    run(e, request(nnodes=2, nslots=3))
    assert e.cores_by_rank(1) == [(0, "0-2", ""), (1, "0-2", "")]
    run(e, request(nnodes=3), first=2)
    assert e.cores_by_rank(2) == [(0, "3", ""), (1, "3", ""), (2, "0", "")]


def test_slots_anywhere_fill_nodes_in_use_first():
    e = machine(3, 4)
    run(e, request(nslots=2, cores=3))
    assert e.cores_by_rank(1) == [(0, "0-2", ""), (1, "0-2", "")]
    run(e, request(nslots=3), first=2)
    assert e.cores_by_rank(2) == [(0, "3", ""), (1, "3", ""), (2, "0", "")]


def test_gpus():
    e = machine(2, 4, 2)
    run(e, request(nslots=3, gpus=1), request(gpus=1, cores=3), request(gpus=1))
    assert e.cores_by_rank(1) == [(0, "0-1", "0-1"), (1, "0", "0")]
    assert e.cores_by_rank(2) == [(1, "1-3", "1")]
    assert e.waiting() == [3]
    assert run(e, request(), now=1.0, first=4).started == []
    e.cancel(3)
    assert e.schedule(2.0).started == [4]


def test_exclusive_takes_all_of_a_node():
    e = machine(3, 4, 2)
    run(e, request(), request(nnodes=1, exclusive=True))
    assert e.cores_by_rank(2) == [(1, "0-3", "0-1")]
    assert e.R(2)["execution"]["R_lite"] == [{"rank": "1", "children": {"core": "0-3", "gpu": "0-1"}}]


def test_exclusive_slots_anywhere_take_whole_nodes():
    e = machine(4, 4)
    run(e, request(nslots=5, cores=2, exclusive=True))
    assert e.resource_summary(1) == "rank[0-2]/core[0-3]"
    e = scheduler(mixed((4, 0), (2, 0), (4, 0)))
    run(e, request(nslots=5, cores=2, exclusive=True))
    assert e.resource_summary(1) == "rank[0,2]/core[0-3] rank1/core[0-1]"


def test_exclusive_node_that_names_no_core():
    e = machine(3, 4, 2)
    run(e, request(), request(nnodes=2, cores=0, exclusive=True))
    assert e.resource_summary(2) == "rank[1-2]/{core[0-3],gpu[0-1]}"
    with pytest.raises(Infeasible, match="needs 4 whole nodes: 3 of 3 nodes can serve it"):
        e.feasible(request(nnodes=4, cores=0, exclusive=True))


def test_gpu_without_core():
    e = machine(1, 2, 2)
    run(e, request(cores=0, gpus=1), request(cores=2))
    assert e.cores_by_rank(1) == [(0, "", "0")]
    assert e.cores_by_rank(2) == [(0, "0-1", "")]


def test_core_ids_beyond_a_word():
    e = scheduler(mixed(("0,63-65,130", "70"), ("1", "")))
    run(e, request(nslots=2, cores=2), request(gpus=1))
    assert e.cores_by_rank(1) == [(0, "0,63-65", "")]
    assert e.cores_by_rank(2) == [(0, "130", "70")]
    assert e.resource_summary(1) == "rank0/core[0,63-65]"
    e.free(1)
    run(e, request(cores=4), first=3)
    assert held(e, 3)[0] == {(0, 0), (0, 63), (0, 64), (0, 65)}


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (request(nnodes=5), "needs 5 nodes with 1 slot of 1 core each: 4 of 4 nodes can serve it"),
        (request(nnodes=1, nslots=3, cores=2), "needs 1 node with 3 slots of 2 cores each: 0 of 4 nodes can serve it"),
        (request(nslots=17), "needs 17 slots of 1 core: 4 nodes can hold 16"),
        (request(cores=5), "needs 1 slot of 5 cores: 4 nodes can hold 0"),
        (request(nslots=9, gpus=1), "needs 9 slots of 1 core and 1 gpu: 4 nodes can hold 8"),
        (request(nslots=9, cores=2, exclusive=True), "needs 9 slots of 2 cores on whole nodes: 4 nodes can hold 8"),
        (nodes(5, nslots=2, gpus=1), "needs 5 whole nodes with 2 slots of 1 core and 1 gpu each: 4 of 4 nodes"),
        (request(constraint={"ranks": ["9"]}), "no node matches the constraint"),
        (request(constraint={"properties": ["none"]}), "no node matches the constraint"),
        (
            request(nnodes=3, constraint={"ranks": ["0-1"]}),
            "needs 3 nodes with 1 slot of 1 core each: 2 of 2 nodes that match the constraint can serve it",
        ),
        (
            cores(9, constraint={"ranks": ["0-1"]}),
            "needs 9 slots of 1 core: 2 nodes that match the constraint can hold 8",
        ),
        (request(cores=0), "the request takes no core and no gpu"),
        (tree_request(vertex("core", 17)), "the request is larger than what there is of 4 nodes"),
        (tree_request(vertex("disk", 1)), "there is no resource of type 'disk'"),
        (tree_request(vertex("node", 1, vertex("disk"))), "there is no resource of type 'disk'"),
    ],
)
def test_infeasible(wanted, reason):
    e = machine(4, 4, 2)
    with pytest.raises(Infeasible) as caught:
        e.feasible(wanted)
    assert reason in str(caught.value)
    with pytest.raises(Infeasible):
        e.add(1, wanted)
    # Nothing of it is left.
    e.add(1, request())
    assert e.schedule(0).started == [1]


def test_feasible_changes_nothing():
    e = machine(4)
    for i in range(20):
        e.feasible(request(queue=f"queue{i}", constraint={"ranks": [str(i % 4)]}))
        e.feasible(tree_request(vertex("core", 2)))
    assert e.stats()["queues"] == []
    assert e.waiting() == []


def test_bad_constraint():
    e = machine(2)
    for wanted in ({"colour": ["red"]}, {"ranks": ["x"]}, {"and": 3}, {"hostlist": ["a["]}, {"properties": [3]}, [1]):
        with pytest.raises(ConstraintError):
            e.add(1, request(constraint=wanted))
        with pytest.raises(ConstraintError):
            e.feasible(request(constraint=wanted))
    with pytest.raises(ConstraintError):
        e.add(1, request(constraint={"properties": ["\ud800"]}))
    with pytest.raises(ConstraintError):
        e.add(1, request(constraint={"properties": [2**70]}))
    assert run(e, request()).started == [1]


def test_add_refuses():
    e = machine(2)
    e.add(1, request())
    with pytest.raises(ValueError, match="job 1 is known already"):
        e.add(1, request())
    e.schedule(0)
    with pytest.raises(ValueError, match="job 1 is known already"):
        e.add(1, request())
    for duration in (-1, math.nan):
        with pytest.raises(ValueError, match="expected a number of seconds"):
            e.add(2, request(duration=duration))
        with pytest.raises(ValueError, match="expected a number of seconds"):
            e.feasible(request(duration=duration))
    with pytest.raises(OverflowError):
        e.add(2**70, request(constraint={"ranks": ["0"]}))
    assert e.waiting() == []
    for t in (math.nan, math.inf, 1e300):
        with pytest.raises(ValueError, match="expected a number of seconds"):
            e.add(2, request(), 16, t)


def test_schedule_refuses_a_time():
    e = machine(1)
    e.add(1, request())
    for now in (math.nan, math.inf, -1.0, 1e300):
        with pytest.raises(ValueError, match="expected a number of seconds"):
            e.schedule(now)
    assert e.schedule(0.0).started == [1]


def test_durations_that_never_end():
    e = machine(1, 1, plugin=EASY)
    run(e, request(duration=1e300), request(duration=1))
    assert e.times(1) == (0.0, 0.0)
    e.free(1)
    e.schedule(5.0)
    assert e.times(2) == (5.0, 6.0)


# Constraints and properties.


def test_constraints_choose_nodes():
    e = scheduler(
        Inventory([0, 1, 2, 3], ["a", "b", "c", "d"], ["0-3"] * 4, [""] * 4, {"big": [1, 2], "fast": [2, 3]})
    )
    for jobid, wanted, ranks in (
        (1, {"properties": ["big"]}, "1"),
        (2, {"properties": ["big", "fast"]}, "2"),
        (3, {"properties": ["^big"]}, "0"),
        (4, {"hostlist": ["c"]}, "2"),
        (5, {"ranks": ["3"]}, "3"),
        (6, {"not": [{"properties": ["fast"]}, ]}, "0"),
        (7, {"or": [{"ranks": ["3"]}, {"hostlist": ["d"]}]}, "3"),
        (8, {"and": [{"properties": ["fast"]}, {"not": [{"properties": ["big"]}]}]}, "3"),
        (9, {"properties": ["b"]}, "1"),
    ):
        e.add(jobid, request(constraint=wanted))
        assert e.schedule(0).started == [jobid]
        assert e.allocated_ranks(jobid) == ranks, wanted


def test_constraint_on_70_nodes():
    e = machine(70, 1)
    run(e, nodes(6, constraint={"ranks": ["62-67"]}), nodes(60, constraint={"not": [{"ranks": ["62-67"]}]}))
    assert e.allocated_ranks(1) == "62-67"
    assert e.allocated_ranks(2) == "0-59"
    e.free(1)
    run(e, nodes(10), first=3)
    assert e.allocated_ranks(3) == "60-69"


def test_properties_come_and_go():
    e = machine(3)
    with pytest.raises(Infeasible, match="no node matches"):
        e.feasible(request(constraint={"properties": ["new"]}))
    e.property_add("new", "1-2")
    run(e, nodes(1, constraint={"properties": ["new"]}), nodes(2, constraint={"properties": ["new"]}))
    assert e.allocated_ranks(1) == "1"
    e.property_add("new", "0")
    assert e.schedule(1).started == [2]
    assert e.allocated_ranks(2) == "0,2"
    assert e.R(2)["execution"]["properties"] == {"new": "0,2"}
    e.property_remove("new", "0-2")
    with pytest.raises(Infeasible, match="no node matches"):
        e.feasible(request(constraint={"properties": ["new"]}))
    assert "properties" not in e.R(2)["execution"]


def test_property_ends_waiting_for_a_down_node():
    e = machine(3)
    e.property_add("new", "2")
    e.mark_down("2")
    run(e, nodes(1, constraint={"properties": ["new"]}))
    assert waits(e) == [(1, DOWN, None)]
    e.property_add("new", "1")
    assert e.schedule(1).started == [1]
    assert e.allocated_ranks(1) == "1"


def test_local_property_stays_out_of_r():
    e = machine(2)
    e.property_add("+mine", "0-1")
    run(e, request(constraint={"properties": ["+mine"]}))
    assert "properties" not in e.R(1)["execution"]


# Order, cancel, priority.


def test_priority_then_submit_then_id():
    e = machine(1, 1)
    e.add(9, request(), priority=16, t_submit=5.0)
    e.add(8, request(), priority=16, t_submit=4.0)
    e.add(7, request(), priority=20, t_submit=9.0)
    e.add(6, request(), priority=16, t_submit=5.0)
    e.add(5, request(), priority=0, t_submit=0.0)
    assert e.waiting() == [7, 8, 6, 9, 5]
    assert e.schedule(0).started == [7]
    assert e.reprioritize(5, 17) is True
    assert e.reprioritize(8, 1) is True
    assert e.waiting() == [5, 6, 9, 8]
    assert e.reprioritize(7, 3) is False
    assert e.reprioritize(99, 3) is False


def test_cancel():
    e = machine(1, 1)
    run(e, request(), request(), request())
    assert e.cancel(2) is True
    assert e.cancel(2) is False
    assert e.cancel(1) is False
    assert e.cancel(99) is False
    assert e.waiting() == [3]
    e.free(1)
    assert e.schedule(1).started == [3]
    e.add(2, request(constraint={"ranks": ["0"]}))
    assert e.cancel(2)
    e.add(2, tree_request(vertex("core")))
    assert e.cancel(2)
    assert e.waiting() == []


def test_fcfs_head_holds_back():
    e = machine(4, 1)
    outcome = run(e, nodes(3, 10), nodes(2, 1), nodes(1, 1))
    assert outcome.started == [1]
    assert waits(e) == [(2, RESOURCES, None), (3, BEHIND, None)]
    # Told once.
    e.schedule(1)
    e.cancel(2)
    assert e.schedule(2).started == [3]


def test_fcfs_goes_on_after_a_parked_job():
    e = machine(4, 1)
    e.mark_down("3")
    outcome = run(e, nodes(4), nodes(3), nodes(1))
    assert outcome.started == [2]
    assert waits(e) == [(1, DOWN, None), (3, RESOURCES, None)]
    e.mark_up("3")
    outcome = e.schedule(1)
    assert reasons(e) == {1: RESOURCES, 3: BEHIND}
    e.free(2)
    assert e.schedule(2).started == [1]


# Queues.


def test_queues_on_disjoint_nodes_are_apart():
    e = machine(4, 1)
    left, right = {"ranks": ["0-1"]}, {"ranks": ["2-3"]}
    outcome = run(
        e,
        nodes(1, queue="a", constraint=left),
        nodes(2, queue="a", constraint=left),
        nodes(1, queue="a", constraint=left),
        nodes(1, queue="b", constraint=right),
        nodes(2, queue="b", constraint=right),
    )
    assert outcome.started == [1, 4]
    assert reasons(e) == {2: RESOURCES, 3: BEHIND, 5: RESOURCES}
    assert e.stats()["queues"] == ["a", "b"]


def test_blocked_head_holds_overlapping_queue():
    e = machine(4, 1)
    outcome = run(
        e,
        nodes(3, queue="a"),
        nodes(2, queue="a", constraint={"ranks": ["2-3"]}),
        nodes(1, queue="b", constraint={"ranks": ["3"]}),
        nodes(1, queue="b", constraint={"ranks": ["1"]}),
        nodes(1, queue="c", constraint={"ranks": ["1"]}),
    )
    assert outcome.started == [1]
    # 3 could take a node of 2; 4 stands behind 3 in its own queue, 5 behind nobody (and its node is in use).
    assert reasons(e) == {2: RESOURCES, 3: OVERLAP, 4: BEHIND, 5: RESOURCES}


def test_blocked_head_lets_disjoint_queue_go():
    e = machine(4, 1)
    outcome = run(
        e,
        nodes(3, queue="a", constraint={"ranks": ["0-2"]}),
        nodes(1, queue="a", constraint={"ranks": ["0-2"]}),
        nodes(1, queue="b", constraint={"ranks": ["3"]}),
    )
    assert outcome.started == [1, 3]


def test_queue_depth():
    e = machine(4, 1, options="queue-depth=2")
    outcome = run(e, nodes(1), nodes(1), nodes(1), nodes(1))
    assert outcome.started == [1, 2]
    assert reasons(e) == {3: DEPTH, 4: DEPTH}
    assert e.schedule(1).started == [3, 4]
    e = machine(4, 1, options="queue-depth=0")
    outcome = run(e, nodes(1))
    assert (outcome.started, reasons(e)) == ([], {1: DEPTH})


@pytest.mark.parametrize("plugin", ["sched.plugin1", EASY])
def test_queue_depth_counts_each_queue(plugin):
    e = machine(6, 1, plugin=plugin, options="queue-depth=1")
    a, b = {"ranks": ["0-2"]}, {"ranks": ["3-5"]}
    outcome = run(
        e,
        nodes(1, queue="a", constraint=a),
        nodes(1, queue="a", constraint=a),
        nodes(1, queue="a", constraint=a),
        nodes(1, queue="b", constraint=b),
        nodes(1, queue="b", constraint=b),
    )
    assert outcome.started == [1, 4]
    assert reasons(e) == {2: DEPTH, 3: DEPTH, 5: DEPTH}


def test_parked_jobs_count_to_no_depth():
    e = machine(2, 1, options="queue-depth=1")
    e.mark_down("1")
    outcome = run(e, nodes(2), nodes(2), nodes(1))
    assert outcome.started == [3]
    assert reasons(e) == {1: DOWN, 2: DOWN}


# Backfill.


def backfill_example(depth):
    """Node counts on 4 nodes: 1 runs on 3 until 10; 2 wants 4, 3 wants 3, 4 wants 1 until 20, 5 wants 1 until 10."""
    e = machine(4, 2, plugin=EASY, options={} if depth is None else {"reserve-depth": depth})
    return e, run(e, nodes(3, 10), nodes(4, 10), nodes(3, 10), nodes(1, 20), nodes(1, 10))


def test_easy():
    for depth in (None, 1):
        e, outcome = backfill_example(depth)
        assert outcome.started == [1, 5]
        assert estimates(e) == {2: 10.0, 3: None, 4: None}
        assert reasons(e) == dict.fromkeys((2, 3, 4), RESOURCES)
        assert e.stats()["backfilled"] == 1


def test_backfill_without_reservations():
    e, outcome = backfill_example(0)
    assert outcome.started == [1, 4]
    assert estimates(e) == {2: None, 3: None, 5: None}


def test_hybrid_and_conservative():
    e, outcome = backfill_example(2)
    assert outcome.started == [1, 5]
    assert estimates(e) == {2: 10.0, 3: 20.0, 4: None}
    e, outcome = backfill_example(-1)
    assert outcome.started == [1, 5]
    assert estimates(e) == {2: 10.0, 3: 20.0, 4: 20.0}


def test_conservative_fills_holes_in_the_plan():
    e = machine(4, 1, plugin=EASY, options="reserve-depth=-1")
    outcome = run(e, nodes(2, 10), nodes(3, 10), nodes(2, 30), nodes(1, 10), nodes(1, 11), nodes(1, 100))
    # 4 fits in the hole before 2, 5 beside 2, and 6 beside it as soon as 5 has ended.
    assert outcome.started == [1, 4, 5]
    assert estimates(e) == {2: 10.0, 3: 20.0, 6: 11.0}


def test_backfill_core_by_core():
    e = machine(2, 4, 1, plugin=EASY)
    outcome = run(
        e,
        request(nnodes=1, nslots=1, cores=4, duration=10),
        request(nnodes=2, nslots=1, cores=3, duration=5),
        request(cores=2, duration=20),
        request(cores=1, duration=20),
        request(cores=1, gpus=1, duration=9),
    )
    # 2 needs three cores of both nodes at 10: one core of node 1 is left for long, the others until 10.
    assert outcome.started == [1, 4, 5]
    assert estimates(e) == {2: 10.0, 3: None}


def part(nnodes, ncores, duration):
    """Some cores of nodes, for which the engine has to look at each node."""
    return request(nnodes=nnodes, cores=ncores, duration=duration)


def test_reservation_is_kept_to_its_very_end():
    e = machine(2, 2, plugin=EASY, options="reserve-depth=-1")
    run(e, part(1, 2, 10), part(1, 2, 19), part(1, 2, 10), part(2, 1, 5), part(1, 1, 1))
    # 3 has node 0 from 10 to 20; at 19 node 1 is free, but 4 wants one core of both. 5 comes between.
    assert estimates(e) == {3: 10.0, 4: 20.0, 5: 19.0}


@pytest.mark.parametrize(("duration", "started"), [(9, [1, 3]), (10, [1, 3]), (11, [1])])
def test_job_may_end_as_a_reservation_starts(duration, started):
    e = machine(2, 2, plugin=EASY)
    assert run(e, part(1, 2, 10), part(2, 1, 5), part(1, 2, duration)).started == started


def test_no_duration_never_delays_a_reservation():
    for wanted, expected in ((nodes(1), []), (nodes(1, 10), [3]), (nodes(1, 11), [])):
        e = machine(4, 1, plugin=EASY)
        outcome = run(e, nodes(3, 10), nodes(4, 10), wanted)
        assert outcome.started == [1] + expected
    # A node that the reservation leaves free is another matter.
    e = machine(5, 1, plugin=EASY)
    assert run(e, nodes(3, 10), nodes(4, 10), nodes(1), nodes(1)).started == [1, 3]


@pytest.mark.parametrize("unit", [nodes, lambda n, duration=0: request(nnodes=n, duration=duration)])
def test_reservation_behind_a_job_without_duration(unit):
    e = machine(3, 2, plugin=EASY)
    outcome = run(e, nodes(2), nodes(3, 10), unit(1), unit(1, 1000))
    # No estimate, but a job that ends may pass, one that never ends may not.
    assert outcome.started == [1, 4]
    assert estimates(e) == {2: None, 3: None}
    # A whole node is not free; a core is, but for the reservation.
    assert reasons(e)[3] == (RESOURCES if unit is nodes else RESERVED)


def test_reservations_end_too():
    # 3 has a place before the reservation of 2; 4 takes one core of each node until 18, so 5 comes after it.
    e = machine(2, 2, plugin=EASY, options="reserve-depth=-1")
    outcome = run(
        e,
        request(nnodes=1, cores=2, duration=10),
        request(nnodes=2, cores=2, duration=5),
        request(nnodes=1, cores=1, duration=10),
        request(nnodes=2, cores=1, duration=3),
        request(nnodes=1, cores=2, duration=11),
    )
    assert outcome.started == [1, 3]
    assert estimates(e) == {2: 10.0, 4: 15.0, 5: 18.0}


def test_estimate_after_an_overdue_end():
    e = machine(1, 1, plugin=EASY)
    run(e, nodes(1, 10), nodes(1, 10))
    assert estimates(e) == {2: 10.0}
    e.schedule(12.0)
    assert estimates(e) == {2: pytest.approx(12.0, abs=1e-3)}


def test_parked_job_holds_no_reservation():
    e = machine(4, 1, plugin=EASY)
    e.mark_down("0")
    outcome = run(e, nodes(3, 10), nodes(4, 10), nodes(2, 5), nodes(1, 5))
    assert outcome.started == [1]
    assert waits(e) == [(2, DOWN, None), (3, RESOURCES, 10.0), (4, RESOURCES, None)]


def test_a_queue_each_has_its_reservations():
    e = machine(4, 1, plugin=EASY)
    a, b = {"ranks": ["0-1"]}, {"ranks": ["2-3"]}
    outcome = run(
        e,
        nodes(1, 10, queue="a", constraint=a),
        nodes(2, 10, queue="a", constraint=a),
        nodes(1, 20, queue="b", constraint=b),
        nodes(2, 10, queue="b", constraint=b),
        nodes(1, 10, queue="a", constraint=a),
        nodes(1, 21, queue="b", constraint=b),
    )
    assert outcome.started == [1, 3, 5]
    assert estimates(e) == {2: 10.0, 4: 20.0, 6: None}


def test_instance_expiration_ends_jobs_without_duration():
    e = machine(2, 1, plugin=EASY)
    e.set_expiration(50.0)
    run(e, nodes(1), nodes(2, 5), now=10.0)
    assert e.times(1) == (10.0, 50.0)
    assert estimates(e) == {2: 50.0}
    assert e.resource_status()["all"]["execution"]["expiration"] == 50.0
    e.set_expiration(0)
    run(e, nodes(1), now=11.0, first=3)
    e.cancel(2)
    e.schedule(12.0)
    assert e.times(3) == (12.0, 0.0)
    for t in (-1, math.nan):
        with pytest.raises(ValueError, match="expected a number of seconds"):
            e.set_expiration(t)
    for t in (math.inf, 2.0**53):
        e = machine(2, 1)
        e.set_expiration(t)
        run(e, nodes(1))
        assert e.times(1) == (0.0, 0.0)


def test_changed_expiration():
    e = machine(2, 1, plugin=EASY)
    run(e, nodes(2, 10), nodes(1, 10))
    assert e.update_expiration(1, 30.0) is True
    e.schedule(1.0)
    assert estimates(e) == {2: 30.0}
    assert e.times(1) == (0.0, 30.0)
    assert e.update_expiration(1, 0) is True
    assert e.times(1) == (0.0, 0.0)
    e.schedule(2.0)
    assert estimates(e) == {2: None}
    assert e.update_expiration(1, 5.0) is True
    e.schedule(3.0)
    assert estimates(e) == {2: 5.0}
    assert e.update_expiration(2, 5.0) is False
    assert e.update_expiration(9, 5.0) is False
    with pytest.raises(ValueError, match="expected a number of seconds"):
        e.update_expiration(1, -5.0)
