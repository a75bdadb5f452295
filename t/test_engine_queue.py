# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Long queues: kept in order by fixed scores, and passes that go on from one job that could start to the next."""

import pytest
from fluxsched.policy.orders import ORDERS
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxsched.core import Engine, Inventory
from fluxsched.policy.loader import load_plugin
from naive import cores, nodes, request, scheduler

EASY = "backfill.plugin1"
FIXED = [name for name, formula in ORDERS.items() if formula.fixed]
RANDOM = st.randoms(use_true_random=True)


def pair(inventory, options):
    """Two engines under EASY or its kin: one asks about every job, as a policy does that does not say quiet_after."""
    engines = [Engine(inventory, load_plugin(EASY, options)) for _ in range(2)]
    plain = load_plugin(EASY, options)
    assert plain.quiet_after == int(options.get("reserve-depth", 1))
    plain.quiet_after = -1
    engines[1].set_policy(plain)
    return engines


def whole_pass(engine, now, limit):
    """The jobs that a pass starts, slice by slice."""
    started, more = [], True
    while more:
        outcome = engine.schedule(now, limit)
        started += outcome.started
        more = outcome.more
    return started


def some_job(rng, ncores):
    more = {"duration": rng.choice([0, 3, 10, 10, 40, 200]), "queue": rng.choice(["", "", "b"])}
    kind = rng.random()
    if kind < 0.5:
        return nodes(rng.choice([1, 1, 2, 3, 5, 8]), **more)
    if kind < 0.6:
        return nodes(rng.choice([1, 2]), constraint={"ranks": ["0-2"]}, **more)
    if kind < 0.9:
        return cores(rng.choice([1, 1, 2, 4, 9, 17]), **more)
    return request(nnodes=rng.choice([1, 2, 4]), cores=rng.randint(1, ncores), **more)


@given(RANDOM, st.sampled_from([0, 1, 1, 2]))
@settings(max_examples=60, deadline=None)
def test_a_pass_that_jumps_is_the_pass_that_asks(rng, depth):
    kinds = rng.choice([1.0, 0.55, 0.3])
    order = rng.choice(["fcfs", "sjf", "wfp3"])
    fast, slow = pair(Inventory.from_counts(8, 4), {"reserve-depth": depth, "order": order})
    now, jobid, running = 1000.0, 0, []
    expiration = rng.choice([0.0, 0.0, 1100.0, 1100.1234567])      # the last is no whole microsecond
    for e in (fast, slow):
        e.set_expiration(expiration)
    for _ in range(rng.choice([5, 20, 40])):
        for _ in range(rng.choice([0, 1, 3, 60])):
            jobid += 1
            wanted = some_job(rng, 4)
            if rng.random() < kinds and kinds < 1:
                wanted = nodes(rng.choice([1, 2, 4, 8]), rng.choice([3, 10, 50]))
            priority = rng.choice([16, 16, 16, 17])
            for e in (fast, slow):
                e.add(jobid, wanted, priority, now)
        for gone in [j for j in running if rng.random() < 0.4]:
            running.remove(gone)
            for e in (fast, slow):
                e.free(gone)
        if rng.random() < 0.1:
            down = rng.choice(["0", "1-2", "7"])
            up = rng.random() < 0.5
            for e in (fast, slow):
                if up:
                    e.mark_up("0-7")
                else:
                    e.mark_down(down)
        limit = rng.choice([-1, -1, -1, 2])
        started = whole_pass(fast, now, limit)
        assert started == whole_pass(slow, now, limit)
        running += started
        for e in (fast, slow):
            e.sanity_check()
        assert fast.waiting() == slow.waiting()
        for waiting in fast.waiting():
            assert fast.reason(waiting) == slow.reason(waiting)
            assert fast.estimate(waiting) == slow.estimate(waiting)
        for job in started:
            assert fast.allocated_ranks(job) == slow.allocated_ranks(job)
            assert fast.selection(job) == slow.selection(job)
        now += rng.choice([0, 1, 5, 20])


@pytest.mark.parametrize("limit", [-1, 1])
def test_ahead_of_a_parked_job_is_no_backfilling(limit):
    """A job that waits for a node that is down is not blocked by others, in a pass of slices as in one."""
    e = scheduler(Inventory.from_counts(2, 2), EASY)
    e.mark_down("1")
    for jobid, wanted in enumerate([nodes(2), cores(1, 50), cores(1, 50)], 1):
        e.add(jobid, wanted)
    assert whole_pass(e, 0.0, limit) == [2, 3]
    assert [e.selection(jobid) for jobid in (2, 3)] == ["immediate", "immediate"]
    e.free(2)
    for jobid, wanted in ((4, cores(2)), (5, cores(1, 10))):
        e.add(jobid, wanted)
    assert whole_pass(e, 1.0, limit) == [5]
    assert e.selection(5) == "backfilled"


def key_of(order, aging, now, origin):
    def key(item):
        jobid, priority, submit, duration, ncores = item
        score = ORDERS[order](submit=submit - origin, request=duration, cores=ncores, now=now - origin)
        if order == "fcfs":
            score = 0.0
        elif aging and now - submit >= aging:
            score = -1e300
        return -priority, score, submit, jobid
    return key


@given(RANDOM, st.sampled_from(FIXED), st.sampled_from([0, 30, 604800]))
@settings(max_examples=60, deadline=None)
def test_the_queue_is_kept_in_order(rng, order, aging):
    one = scheduler(Inventory.from_counts(1, 64), options={"order": order, "aging": aging})
    one.mark_down("0")      # all wait
    known, origin, now = [], None, 5000.0
    for jobid in range(1, rng.choice([10, 300, 700])):
        priority, submit = rng.choice([16, 16, 16, 17, 31]), now - rng.choice([0, 0, 1, 50])
        job = jobid, priority, submit, rng.randint(1, 9), rng.randint(1, 64)
        known.append(job)
        if origin is not None:
            origin = min(origin, submit)
        one.add(jobid, cores(job[4], job[3]), job[1], job[2])
        if rng.random() < 0.2:
            gone = rng.choice(known)
            known.remove(gone)
            assert one.cancel(gone[0])
        if known and rng.random() < 0.1:
            old = known.pop(rng.randrange(len(known)))
            known.append((old[0], 20, *old[2:]))
            assert one.reprioritize(old[0], 20)
        if rng.random() < 0.1:
            now += rng.choice([0, 1, 7, 20, -15])       # a clock may be set back
            if known and origin is None:
                origin = min(item[2] for item in known)
            one.schedule(now)
            assert one.waiting() == [item[0] for item in sorted(known, key=key_of(order, aging, now, origin or 0))]
            one.sanity_check()


def test_a_new_policy_has_its_own_order():
    one = scheduler(Inventory.from_counts(1, 1))
    one.add(9, cores(1, 1.0), t_submit=1.0)
    one.schedule(1.0)
    for jobid in range(1, 6):
        one.add(jobid, cores(1, 10.0 - jobid), t_submit=float(jobid))
    one.set_policy(load_plugin("sched.plugin1", "order=sjf"))
    one.schedule(10.0)
    assert one.waiting() == [5, 4, 3, 2, 1]
    one.set_policy(load_plugin("sched.plugin1", "order=wfp3"))
    one.schedule(10.0)
    assert one.waiting() == [1, 2, 3, 4, 5]     # made for each pass, so the queue is in the order of submission
    one.sanity_check()


@pytest.mark.parametrize("order", ["wfp3", "unicef", "multifactor"])
def test_an_order_of_the_time_is_made_once_for_a_time(order):
    one = scheduler(Inventory.from_counts(1, 4), "sched.plugin1", {"order": order})
    for jobid in range(1, 9):
        one.add(jobid, cores(4, 10.0 * jobid), t_submit=float(jobid), user=jobid % 2)
    first = one.schedule(50.0).started
    assert one.schedule(50.0).started == []     # from the order that was made
    one.free(first[0])
    one.add(9, cores(4, 1.0), t_submit=1.0, user=7)
    second = one.schedule(50.0).started
    other = scheduler(Inventory.from_counts(1, 4), "sched.plugin1", {"order": order})
    other.add(first[0], cores(4, 10.0 * first[0]), t_submit=float(first[0]), user=first[0] % 2)
    assert other.schedule(50.0).started == first
    other.free(first[0])
    for jobid in set(range(1, 9)) - set(first):
        other.add(jobid, cores(4, 10.0 * jobid), t_submit=float(jobid), user=jobid % 2)
    other.add(9, cores(4, 1.0), t_submit=1.0, user=7)
    assert other.schedule(50.0).started == second
    one.sanity_check()
