# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobs that accept several counts of nodes or slots: how many they get, when, and what is said of them meanwhile."""

import pytest

from fluxsched.core import Infeasible, Inventory
from naive import (
    DOWN,
    EASY,
    RESOURCES,
    accepts,
    confined,
    cores,
    held,
    hype,
    machine,
    mixed,
    nodes,
    request,
    run,
    scheduler,
    tree_request,
    vertex,
)

ALL = "reserve-depth=-1"


def ranks(engine, jobid):
    return {rank for rank, _ in held(engine, jobid)[0]}


def shared(nnodes, nslots, ncores, duration=0.0):
    return request(nnodes, nslots, ncores, duration=duration)


@pytest.mark.parametrize(("taken", "got"), [(0, 4), (1, 4), (2, 3), (3, 2)])
@pytest.mark.parametrize("plugin", ["sched.plugin1", EASY])
def test_gets_as_many_as_are_free(plugin, taken, got):
    engine = machine(5, plugin=plugin)
    wanted = [accepts(nodes(2, 10), (2, 3, 4))]
    if taken:
        wanted.insert(0, nodes(taken))
    assert run(engine, *wanted).started == list(range(1, len(wanted) + 1))
    assert len(ranks(engine, len(wanted))) == got
    R = engine.R(len(wanted))
    assert R["execution"]["nslots"] == got and len(R["execution"]["R_lite"]) == 1
    assert engine.stats()["nodes"]["idle"] == 5 - taken - got


@pytest.mark.parametrize("plugin", ["sched.plugin1", EASY])
def test_waits_where_its_least_does_not_fit(plugin):
    engine = machine(5, plugin=plugin)
    assert run(engine, nodes(4, 10), accepts(nodes(2, 5), (2, 3))).started == [1]
    assert engine.reason(2) == RESOURCES
    engine.free(1)
    assert engine.schedule(3.0).started == [2]
    assert len(ranks(engine, 2)) == 3


def test_only_acceptable_counts():
    """Of 1, 2, 4 and 8, with 7 free nodes, 4."""
    engine = machine(8)
    assert run(engine, nodes(1), accepts(nodes(1), (1, 2, 4, 8))).started == [1, 2]
    assert len(ranks(engine, 2)) == 4


@pytest.mark.parametrize(("depth", "told"), [("-1", 20.0), ("1", 20.0), ("0", None)])
def test_reserves_the_count_that_starts_first(depth, told):
    """Two nodes are free at 20, four at 30; the job behind fits beside two, not beside what four would need."""
    engine = machine(4, plugin=EASY, options=f"reserve-depth={depth}")
    wanted = nodes(2, 20), nodes(2, 30), accepts(nodes(2, 50), (2, 3, 4))
    assert run(engine, *wanted).started == [1, 2]
    assert engine.estimate(3) == told


@pytest.mark.parametrize(
    ("counts", "started"), [((3,), [4, 5]), ((3, 4), [4]), ((3, 5), []), ((3, 6), [4, 5]), ((3, 4, 6), [4])]
)
def test_of_counts_that_start_as_early_the_greatest_is_reserved(counts, started):
    """Two of six nodes are free now, five at 20. What is not reserved of these is for long jobs, from now on."""
    engine = machine(6, plugin=EASY)
    wanted = nodes(3, 20), nodes(1, 100), accepts(nodes(3, 50), counts), nodes(1, 90), nodes(1, 90)
    assert run(engine, *wanted).started == [1, 2, *started]
    assert engine.estimate(3) == 20.0


def test_gets_more_than_was_reserved_where_more_has_come_back():
    engine = machine(4, plugin=EASY)
    assert run(engine, nodes(2, 20), nodes(2, 30), accepts(nodes(2, 50), (2, 3, 4))).started == [1, 2]
    assert engine.estimate(3) == 20.0
    engine.free(2)
    engine.free(1)
    assert engine.schedule(20.0).started == [3]
    assert len(ranks(engine, 3)) == 4
    assert engine.selection(3) == "reserved"


def test_delays_no_reservation():
    """Three of six nodes are free, of which two are reserved from 10 on: a long job gets one, a short one three."""
    for duration, got in ((50, 1), (10, 3)):
        engine = machine(6, plugin=EASY)
        wanted = nodes(3, 10), nodes(5, 10), accepts(nodes(1, duration), (1, 2, 3))
        assert run(engine, *wanted).started == [1, 3]
        assert engine.estimate(2) == 10.0
        assert len(ranks(engine, 3)) == got
        assert engine.selection(3) == "backfilled"


def test_slots_on_any_nodes():
    engine = machine(3, 4)
    assert run(engine, cores(3), accepts(request(cores=2), (), (1, 2, 3, 4, 5, 6))).started == [1, 2]
    assert len(held(engine, 2)[0]) == 2 * 4
    assert engine.R(2)["execution"]["nslots"] == 4


def test_single_cores():
    engine = machine(2, 4)
    assert run(engine, cores(3), accepts(cores(1), (), range(1, 100))).started == [1, 2]
    assert len(held(engine, 2)[0]) == 5


@pytest.mark.parametrize(("counts", "got"), [((1, 2), 2), ((1, 2, 3), 2), ((1, 3), 1)])
def test_slots_of_each_node(counts, got):
    """Two nodes have two cores left, and one has four."""
    engine = machine(3, 4)
    assert run(engine, shared(2, 1, 2), accepts(shared(2, 1, 1), (), counts)).started == [1, 2]
    assert len(held(engine, 2)[0]) == 2 * got == engine.R(2)["execution"]["nslots"]
    assert ranks(engine, 2) == {0, 1}


def test_more_nodes_go_before_more_slots():
    engine = machine(3, 4)
    engine.add(1, shared(1, 1, 3))
    engine.add(2, accepts(shared(1, 1, 1), (1, 2, 3), (1, 2, 3, 4)))
    assert engine.schedule(0.0).started == [1, 2]
    assert ranks(engine, 2) == {0, 1, 2} and len(held(engine, 2)[0]) == 3


def test_whole_nodes_that_hold_as_many_slots_as_there_is_room_for():
    """Of whole nodes, how many slots they are counted as is all that varies; one kind of node holds more."""
    engine = scheduler(mixed((2, 0), (4, 0), (4, 0)))
    wanted = request(2, 1, 1, 0, True)
    assert run(engine, accepts(wanted, (), (1, 2, 3, 4))).started == [1]
    assert ranks(engine, 1) == {1, 2}
    assert engine.R(1)["execution"]["nslots"] == 8
    engine.free(1)
    assert run(engine, nodes(1, constraint=confined("2")), accepts(wanted, (), (1, 2, 3, 4)), first=2).started == [2, 3]
    assert ranks(engine, 3) == {0, 1}
    assert engine.R(3)["execution"]["nslots"] == 4


def test_no_more_than_there_could_ever_be():
    """"At least one" is kept in the place of one range."""
    engine = machine(3)
    assert run(engine, nodes(1), nodes(1)._replace(node_counts=(range(1, 2**31),))).started == [1, 2]
    assert len(ranks(engine, 2)) == 2
    engine.sanity_check()


def test_refused_where_its_least_never_fits():
    engine = machine(3)
    with pytest.raises(Infeasible, match="needs 4 whole nodes"):
        engine.add(1, accepts(nodes(4), (4, 5)))
    with pytest.raises(Infeasible):
        engine.feasible(accepts(nodes(4), (4, 5)))
    engine.feasible(accepts(nodes(3), (3, 5)))
    engine.sanity_check()


def test_parked_only_where_its_least_is_down():
    engine = machine(3)
    engine.mark_down("0")
    engine.add(1, nodes(2, 10))
    engine.add(2, accepts(nodes(2), (2, 3)))
    engine.add(3, accepts(nodes(3), (3, 4)))
    assert engine.schedule(0.0).started == [1]
    assert (engine.reason(2), engine.reason(3)) == (RESOURCES, DOWN)
    engine.mark_up("0")
    engine.free(1)
    assert engine.schedule(1.0).started == [2]
    assert len(ranks(engine, 2)) == 3


def test_denied_when_what_its_least_needs_is_removed():
    engine = machine(3)
    engine.add(1, nodes(3))
    engine.schedule(0.0)
    engine.add(2, accepts(nodes(2), (2, 3)))
    engine.add(3, accepts(nodes(3), (3, 4)))
    engine.remove("2")
    assert [jobid for jobid, _ in engine.schedule(1.0).denied] == [3]
    engine.sanity_check()


def test_its_place_in_an_order_by_size_is_that_of_the_least():
    engine = machine(8, plugin="sched.plugin1", options="order=saf")
    engine.add(1, nodes(8, 10))
    engine.schedule(0.0)
    engine.add(2, nodes(3, 10), t_submit=1.0)
    engine.add(3, accepts(nodes(2, 10), (2, 8)), t_submit=2.0)
    engine.schedule(1.0)
    assert engine.waiting() == [3, 2]


def test_charged_for_what_it_got():
    """Fair share: a job that got seven nodes weighs more than two jobs of another user."""
    engine = machine(8, options="order=multifactor,weight-age=0,weight-size=0")
    engine.add(1, accepts(nodes(1, 100), (1, 7)), user="greedy")
    engine.add(2, nodes(1, 200), user="other")
    assert engine.schedule(0.0).started == [1, 2]
    engine.add(3, nodes(8, 10), user="greedy", t_submit=1.0)
    engine.add(4, nodes(8, 10), user="other", t_submit=2.0)
    engine.free(1)
    engine.free(2)
    assert engine.schedule(10.0).started == [4]


def test_cancelled_and_forgotten():
    engine = machine(2)
    engine.add(1, nodes(2))
    engine.schedule(0.0)
    for jobid in (2, 3, 4):
        engine.add(jobid, accepts(nodes(1), (1, 2)))
    engine.cancel(3)
    engine.sanity_check()
    engine.add(5, accepts(nodes(1), (1, 2)), priority=20)
    engine.free(1)
    assert engine.schedule(1.0).started == [5]
    assert len(ranks(engine, 5)) == 2
    engine.sanity_check()


@pytest.mark.parametrize(("taken", "got"), [(0, 4), (1, 3), (2, 2), (3, None)])
def test_a_general_request_of_nodes(taken, got):
    """Nodes of four cores and 2000 MB, of which other jobs hold the memory."""
    engine = scheduler(Inventory.from_rdl(hype(4)), EASY)
    for jobid in range(1, taken + 1):
        engine.add(jobid, tree_request(vertex("node", 1, vertex("core", 1), vertex("memory", 1500)), duration=10))
    node = vertex("node", 2, vertex("slot", 2, vertex("core", 1), vertex("memory", 400)))
    wanted = request(2, 2, 1, tree=(node,), duration=5)._replace(node_counts=(range(2, 5),))
    engine.add(9, wanted)
    started = engine.schedule(0.0).started
    engine.sanity_check()
    if got is None:
        assert 9 not in started and engine.estimate(9) == 10.0
        for jobid in started:
            engine.free(jobid)
        assert engine.schedule(4.0).started == [9]
        got = 4
    assert len(held(engine, 9)[0]) == 2 * got == engine.R(9)["execution"]["nslots"]
    assert len(ranks(engine, 9)) == got
    engine.sanity_check()


def test_a_general_request_of_slots():
    engine = scheduler(Inventory.from_rdl(hype(2)))
    slot = vertex("slot", 1, vertex("core", 1), vertex("memory", 900))
    wanted = request(0, 1, 1, tree=(slot,))._replace(slot_counts=(range(1, 2**31),))
    assert run(engine, tree_request(vertex("memory", 500), vertex("core", 1)), wanted).started == [1, 2]
    # Of four pools of 1000 MB one lacks 500.
    assert len(held(engine, 2)[0]) == 3 == engine.R(2)["execution"]["nslots"]
    engine.free(2)
    copy = engine.fork()
    for each in (engine, copy):
        each.add(3, wanted)
        assert each.schedule(1.0).started == [3]
        assert len(held(each, 3)[0]) == 3
        each.sanity_check()


def test_a_plugin_in_python_sees_the_least(tmp_path, monkeypatch):
    (tmp_path / "least.py").write_text(
        "class Plugin:\n"
        "    def __init__(self, options): self.seen = []\n"
        "    def sched_loop_setup(self, e): pass\n"
        "    def find_resources(self, e, job): return e.info(job).nnodes == 2 and e.fits_now(job)\n"
        "    def select_resources(self, e, job): return e.select(job) and e.info(job).nnodes == 2\n"
        "    def allocate_resources(self, e, job): e.start(job)\n"
        "    def reserve_resources(self, e, job): return 0\n"
    )
    monkeypatch.setenv("FLUX_MODULE_PATH", str(tmp_path))
    engine = machine(3, plugin="least")
    assert run(engine, accepts(nodes(2), (2, 3))).started == [1]
    assert len(ranks(engine, 1)) == 3
