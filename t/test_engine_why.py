# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The facts behind a reason: what a job needs, what is free, who gives it back, who is ahead; the queue in order."""

import pytest
from fluxsched.policy.orders import ORDERS
from hypothesis import given
from hypothesis import strategies as st

from fluxsched.core import Inventory
from naive import EASY, cores, hype, machine, mixed, nodes, request, scheduler, tree_request, units, vertex


def test_what_is_free_and_who_gives_back_the_rest():
    e = machine(4, 4, plugin=EASY)
    e.add(1, nodes(1, 100.0))
    e.add(2, nodes(1, 50.0))
    e.add(3, nodes(4, 10.0))
    e.schedule(1000.0)
    why = e.why(3)
    assert (why.code, why.unit, why.need, why.able, why.up, why.free) == ("resources", "node", 4, 4, 4, 2)
    assert why.gains == [(2, 1, 1050.0), (1, 1, 1100.0)]
    assert (why.holder, why.holders) == (None, 0)
    assert e.nodes_for(3) == ("node[0-3]", 4, "", 0)


def test_gains_end_when_nothing_is_missing():
    e = machine(1, 4)
    for jobid, duration in ((1, 40.0), (2, 30.0), (3, 20.0), (4, 0.0)):
        e.add(jobid, cores(1, duration))
    e.add(5, cores(2, 10.0))
    e.schedule(0.0)
    why = e.why(5)
    assert (why.unit, why.need, why.free, why.gains) == ("slot", 2, 0, [(3, 1, 20.0), (2, 1, 30.0)])
    e.cancel(5)
    e.add(6, cores(4, 10.0))
    e.schedule(1.0)
    assert e.why(6).gains == [(3, 1, 20.0), (2, 1, 30.0), (1, 1, 40.0), (4, 1, None)]


def test_nodes_that_are_down_or_drained():
    e = machine(4, 4)
    e.mark_down("2-3")
    e.add(1, nodes(3, 10.0, constraint={"ranks": ["1-3"]}))
    e.schedule(0.0)
    why = e.why(1)
    assert (why.code, why.need, why.able, why.up, why.free, why.gains) == ("down", 3, 3, 1, 1, [])
    assert e.nodes_for(1) == ("node[1-3]", 3, "node[2-3]", 2)


def test_nodes_that_cannot_hold_it_do_not_count():
    e = scheduler(mixed((4, 0), (8, 2), (8, 0)))
    e.add(1, request(nnodes=1, nslots=2, cores=2, gpus=1, duration=10.0))
    e.add(2, request(nslots=9, cores=2, duration=10.0))
    e.schedule(0.0)
    e.add(3, request(nnodes=1, nslots=1, cores=6, gpus=1, duration=10.0))
    why = e.why(2)
    assert (why.unit, why.need, why.able, why.free) == ("slot", 9, 10, 8)
    assert e.why(3)[1:6] == ("node", 1, 1, 1, 0)
    assert e.nodes_for(3)[:2] == ("node1", 1)


def test_a_general_request_is_counted_in_cores():
    e = scheduler(Inventory.from_rdl(hype(2)), EASY)
    socket = vertex("socket", 1, vertex("core", 2), exclusive=True)
    e.add(1, tree_request(vertex("slot", 4, socket), duration=50.0))
    e.add(2, tree_request(vertex("slot", 1, socket), duration=50.0))
    e.schedule(0.0)
    assert e.why(2)[:2] == ("resources", "core")
    assert e.nodes_for(2)[:2] == ("hype[0-1]", 2)


def test_whose_reservation_it_would_delay():
    e = machine(2, 4, plugin=EASY)
    e.add(1, nodes(1, 100.0))
    e.add(2, nodes(2, 10.0))
    e.add(3, nodes(1, 200.0))
    e.add(4, nodes(1, 200.0))
    e.schedule(0.0)
    assert e.why(2).holder is None
    why = e.why(4)
    assert (why.code, why.holder, why.holders) == ("reserved", (2, "", 100.0), 1)


def test_only_reservations_within_its_time_are_in_its_way():
    e = machine(3, 1, plugin=EASY, options="reserve-depth=-1")
    e.add(1, nodes(2, 100.0))
    e.add(2, nodes(3, 10.0))        # at 100
    e.add(3, nodes(3, 10.0))        # at 110
    e.add(4, nodes(1, 105.0))
    e.add(5, nodes(1, 1000.0))
    e.schedule(0.0)
    assert e.why(4).holder == (2, "", 100.0) and e.why(4).holders == 1
    assert e.why(5).holder == (2, "", 100.0) and e.why(5).holders == 3


def test_who_blocks_the_queue():
    e = machine(2, 4)
    e.add(1, nodes(1, 100.0))
    e.add(2, nodes(2, 10.0))
    e.add(3, nodes(1, 10.0))
    e.schedule(0.0)
    assert e.why(3)[0] == "behind" and e.why(3).holder[:2] == (2, "")


def test_who_blocks_another_queue():
    e = machine(2, 4)
    e.add(1, nodes(1, 100.0, queue="a"))
    e.add(2, nodes(2, 10.0, queue="a"))
    e.add(3, nodes(1, 10.0, queue="b"))
    e.schedule(0.0)
    assert e.why(3)[0] == "overlap" and e.why(3).holder[:2] == (2, "a")
    e = machine(2, 4, plugin=EASY)
    e.add(1, nodes(1, 100.0, queue="a"))
    e.add(2, nodes(2, 10.0, queue="a"))
    e.add(3, nodes(1, 1000.0, queue="b"))
    e.schedule(0.0)
    assert e.why(3)[0] == "other" and e.why(3).holder == (2, "a", 100.0)


def test_of_a_job_that_does_not_wait():
    e = machine(2, 4)
    e.add(1, nodes(1, 100.0))
    e.schedule(0.0)
    for ask in (e.why, e.nodes_for, lambda jobid: e.ahead(jobid, 0.0, 1)):
        for jobid in (1, 7):
            with pytest.raises(ValueError, match=f"job {jobid} does not wait"):
                ask(jobid)
    assert e.domain(1) == ""
    with pytest.raises(ValueError, match="job 7 is not known"):
        e.domain(7)


def test_a_new_job():
    e = machine(2, 4)
    e.add(1, nodes(1, 100.0))
    assert e.why(1).code == "new"
    assert e.domain(1) == ""


# -- against a plain model ----------------------------------------------------

SHAPES = st.one_of(
    st.builds(nodes, st.integers(1, 3), st.sampled_from([5.0, 20.0, 0.0])),
    st.builds(cores, st.integers(1, 9), st.sampled_from([5.0, 20.0, 0.0])),
    st.builds(request, nnodes=st.integers(1, 3), nslots=st.integers(1, 2), cores=st.integers(1, 2),
              duration=st.sampled_from([5.0, 20.0, 0.0])),
)


def slots_on(wanted, free, total):
    if wanted.exclusive and free < total:
        return 0
    count = free // wanted.cores
    return count if wanted.nnodes == 0 else int(count >= wanted.nslots)


@given(st.lists(SHAPES, min_size=1, max_size=14), st.sets(st.integers(0, 2), max_size=1))
def test_numbers_are_those_of_a_plain_model(shapes, down):
    e = machine(3, 4, plugin=EASY)
    for jobid, wanted in enumerate(shapes):
        e.add(jobid, wanted)
        if jobid == len(shapes) // 2:
            e.schedule(0.0)
    e.mark_down(down)
    e.schedule(1.0)
    held = {jobid: {} for jobid in e.running_jobs()}
    for jobid, ranks in held.items():
        for rank, ids, _ in e.cores_by_rank(jobid):
            ranks[rank] = len(units(ids))
    up = [rank for rank in range(3) if rank not in down]
    for jobid in e.waiting():
        wanted, why = shapes[jobid], e.why(jobid)
        free = {rank: 4 - sum(ranks.get(rank, 0) for ranks in held.values()) for rank in up}
        total = lambda: sum(slots_on(wanted, count, 4) for count in free.values())  # noqa: B023, E731
        assert why.free == total()
        assert why.up == sum(slots_on(wanted, 4, 4) for _ in up)
        assert why.need == (wanted.nnodes or wanted.nslots)
        gains = []
        for other in sorted(held, key=lambda other: (e.times(other)[1] or 1e99, e.running_jobs().index(other))):
            before = total()
            if before >= why.need:
                break
            for rank, count in held[other].items():
                if rank in free:
                    free[rank] += count
            if total() > before:
                gains.append((other, total() - before, e.times(other)[1] or None))
        assert why.gains == gains


@given(
    st.sampled_from(sorted(ORDERS)),
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(0, 2), st.integers(0, 30), st.integers(0, 1)),
             min_size=1, max_size=12),
    st.sampled_from(["", ",aging=40"]),
)
def test_the_first_of_the_ranking_starts_first(order, jobs, more):
    e = machine(1, 4, options=f"order={order}{more}")
    e.add(100, nodes(1, 10.0), t_submit=0.0, user=1)
    e.schedule(0.0)
    for jobid, (duration, count, priority, t_submit, user) in enumerate(jobs):
        e.add(jobid, request(nnodes=1, cores=count, exclusive=True, duration=float(duration)), priority=priority,
              t_submit=float(t_submit), user=user)
    now, running = 30.0, 100
    for _ in jobs:
        now += 7.0
        e.free(running)
        ranking = e.ranking(now)
        assert sorted(row[0] for row in ranking) == sorted(e.waiting()) and e.nwaiting == len(ranking)
        assert e.ranking(now, 2) == ranking[:2]
        [running] = e.schedule(now).started
        assert running == ranking[0][0]
    assert e.ranking(now) == []


def test_parts_of_a_score():
    e = machine(2, 4, options="order=multifactor,weight-age=100,max-age=100,weight-size=10,weight-fairshare=1")
    e.add(1, nodes(2, 100.0), t_submit=0.0, user="a")
    e.schedule(0.0)
    e.add(2, cores(2, 60.0), t_submit=0.0, user="a")
    e.add(3, cores(4, 0.0), t_submit=25.0, user="b")
    e.schedule(25.0)
    rows = {jobid: (score, parts) for jobid, score, parts in e.ranking(50.0)}
    score, parts = rows[2]
    assert parts == {
        "wait": 50.0, "request": 60.0, "cores": 2, "age": 50.0, "size": 2.5, "fairshare": 0.5, "usage": 1.0}
    assert score == -53.0
    score, parts = rows[3]
    assert parts == {
        "wait": 25.0, "request": 0.0, "cores": 4, "age": 25.0, "size": 5.0, "fairshare": 1.0, "usage": 0.0}
    assert e.order_name == "multifactor" and [row[0] for row in e.ranking(50.0)] == [2, 3]


@given(
    st.sampled_from([*sorted(ORDERS), "plain"]),
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(0, 2), st.integers(0, 30), st.integers(0, 1),
                       st.sampled_from("ab")), min_size=1, max_size=15),
    st.sampled_from(["", ",aging=40"]), st.integers(1, 4),
)
def test_who_is_ahead_is_told_as_by_the_ranking(plain_plugin, order, jobs, more, most):
    e = machine(1, 4, plugin=plain_plugin) if order == "plain" else machine(1, 4, options=f"order={order}{more}")
    for jobid, (duration, count, priority, t_submit, user, queue) in enumerate(jobs):
        e.add(jobid, request(nnodes=1, cores=count, exclusive=True, duration=float(duration), queue=queue),
              priority=priority, t_submit=float(t_submit), user=user)
    for jobid in range(len(jobs)):
        ranking = [(other, score) for other, score, _ in e.ranking(35.0) if e.domain(other) == e.domain(jobid)]
        place = [other for other, _ in ranking].index(jobid)
        assert e.ahead(jobid, 35.0, most) == (place, ranking[:place][:most], ranking[place][1])


def test_who_is_ahead_where_the_policy_has_no_order(plain_plugin):
    e = machine(1, 4, plugin=plain_plugin)
    for jobid, queue in enumerate("abaaba"):
        e.add(jobid, cores(4, 60.0)._replace(queue=queue), t_submit=float(jobid))
    assert e.ahead(5, 0.0, 1) == (3, [(0, None)], None)
    assert e.ahead(4, 0.0, 9) == (1, [(1, None)], None)
    assert e.ahead(0, 0.0, 9) == (0, [], None)


def test_asking_for_the_ranking_changes_nothing():
    def play(ask):
        e = machine(1, 4, options="order=multifactor,half-life=3")
        starts = []
        for jobid in range(20):
            e.add(jobid, cores(1 + jobid % 3, 5.0 + jobid), t_submit=float(jobid), user=jobid % 3)
        for now in range(20, 200, 3):
            if ask:
                e.ranking(now + 1.5)
                for jobid in e.waiting(0, 2):
                    e.ahead(jobid, now + 1.5, 3)
            for jobid in e.running_jobs():
                if e.times(jobid)[1] <= now:
                    e.free(jobid)
            starts += [(now, jobid) for jobid in e.schedule(float(now)).started]
        return starts

    assert play(True) == play(False)


PLUGIN = """
class Plugin:
    def __init__(self, options): pass
    def sched_loop_setup(self, e): pass
    def find_resources(self, e, job): return e.fits_now(job)
    def select_resources(self, e, job): return e.select(job)
    def allocate_resources(self, e, job): e.start(job)
    def reserve_resources(self, e, job): return 0
"""


@pytest.fixture(scope="module")
def plain_plugin(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "own.plugin1.py"
    path.write_text(PLUGIN)
    return str(path)


def test_a_policy_that_does_not_tell(plain_plugin):
    e = machine(1, 1, plugin=plain_plugin)
    for jobid in (1, 2, 3):
        e.add(jobid, cores(1, 10.0), priority=jobid)
    assert e.ranking(0.0) == [(3, None, {}), (2, None, {}), (1, None, {})] and e.order_name == ""
