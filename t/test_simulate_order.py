# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Queue orders: the formulas, that both plugins follow them, aging, and priorities."""
import math

import numpy as np
import pytest
from fluxsched.policy.orders import ORDERS
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxsched.core import Inventory, PluginError
from fluxsched.formats.jobspec import Request
from fluxsched.policy.loader import load_plugin
from fluxsched.simulate import api
from naive import scheduler
from oracle import Job, conservative, easy, fcfs, replay
from simulate_result import trace_of

PLAIN = {
    "fcfs": lambda s, r, n, now: s,
    "sjf": lambda s, r, n, now: r,
    "ljf": lambda s, r, n, now: -r,
    "saf": lambda s, r, n, now: r * n,
    "laf": lambda s, r, n, now: -r * n,
    "wfp3": lambda s, r, n, now: -((now - s) / r)**3 * n,
    "unicef": lambda s, r, n, now: -(now - s) / (max(math.log2(n), 1) * r),
    "f1": lambda s, r, n, now: math.log10(r) * n + 870 * math.log10(max(s, 1)),
    "f2": lambda s, r, n, now: math.sqrt(r) * n + 25600 * math.log10(max(s, 1)),
    "f3": lambda s, r, n, now: r * n + 6860000 * math.log10(max(s, 1)),
    "f4": lambda s, r, n, now: r * math.sqrt(n) + 530000 * math.log10(max(s, 1)),
}
POLICIES = {"fcfs": fcfs, "easy": easy, "conservative": conservative}


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_formulas(name):
    for s, r, n, now in ((0, 1, 1, 0), (5, 10, 2, 100), (1000, 3600, 64, 5000), (0.5, 7, 1000, 90)):
        score = ORDERS[name](submit=s, request=r, cores=n, now=now)
        assert score == pytest.approx(PLAIN[name](s, r, n, now), rel=1e-14)
    assert set(ORDERS) == {*PLAIN, "multifactor"} and all(order.meaning for order in ORDERS.values())
    with pytest.raises(TypeError, match="'users': expected one of submit, request"):
        ORDERS[name](users=1)


def test_multifactor_formula():
    score = ORDERS["multifactor"]
    assert score(wait=0, cores=1, machine=100, usage=0, share=0.5) == -(0 + 10 + 1000)
    assert score(wait=302400, cores=50, machine=100, usage=0.5, share=0.5) == -(500 + 500 + 500)
    assert score(wait=1e9, cores=100, machine=100, usage=1.0, share=0.25, weight_age=2, weight_size=3,
                 weight_fairshare=16) == -(2 + 3 + 1)


def key(name, origin, aging=604800):
    def order(index, job, now):
        if aging and now - job.submit >= aging:
            return -1e300
        return PLAIN[name](job.submit - origin, job.request, job.procs, now - origin)
    return order


jobs = st.lists(st.tuples(st.sampled_from([3, 3, 4, 9, 25, 60]), st.sampled_from([0, 1, 3, 9, 40]), st.integers(1, 60),
                          st.sampled_from([1, 2, 3, 5, 8, 13, 16])), min_size=1, max_size=40)


@given(jobs, st.sampled_from(sorted(PLAIN)), st.sampled_from(sorted(POLICIES)), st.sampled_from([0, 30, 604800]))
@settings(max_examples=300, deadline=None)
def test_followed_by_both_plugins(rows, name, policy, aging):
    trace = trace_of(sorted(rows, key=lambda row: row[0]))
    plain = [Job(*map(int, row)) for row in zip(trace.submit, trace.run, trace.request, trace.procs)]
    order = None if name == "fcfs" else key(name, plain[0].submit, aging)
    expected = replay(plain, 16, POLICIES[policy], order)
    result = api.run(trace, procs=16, plugin=policy, options={"order": name, "aging": aging})
    assert result.start.tolist() == expected


class FairShare:
    """Multifactor, as its docstring says it, for the oracle; charges the jobs that start."""

    def __init__(self, users, machine, half_life):
        self.users, self.machine, self.half_life = users, machine, half_life
        self.usage, self.at = {}, 0

    def decayed(self, now):
        factor = 2.0**(-(now - self.at) / self.half_life)
        self.usage = {user: value * factor for user, value in self.usage.items()}
        self.at = now

    def order(self, index, job, now):
        self.decayed(now)
        total = sum(self.usage.values())
        used = self.usage.get(self.users[index], 0) / total if total else 0
        share = 1 / max(sum(value > 0 for value in self.usage.values()), 1)
        age = min((now - job.submit) / 604800, 1)
        return -(1000 * age + 1000 * job.procs / self.machine + 1000 * 2**(-used / share))

    def charging(self, policy):
        def pass_(queue, running, free, now):
            started = policy(queue, running, free, now)
            self.decayed(now)
            jobs = dict(queue)
            for index in started:
                job = jobs[index]
                self.usage[self.users[index]] = self.usage.get(self.users[index], 0) + job.procs * job.request
            return started
        return pass_


@given(jobs, st.sampled_from(sorted(POLICIES)), st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_multifactor_with_fair_share(rows, policy, seed):
    rows = sorted(rows, key=lambda row: row[0])
    users = np.random.default_rng(seed).integers(0, 3, len(rows))
    trace = api.trace_of(*(np.array(c, dtype=float) for c in (list(zip(*rows))[k] for k in (0, 1, 3, 2))), user=users)
    plain = [Job(*map(int, row)) for row in zip(trace.submit, trace.run, trace.request, trace.procs)]
    share = FairShare(trace.user.tolist(), 16, 100)
    expected = replay(plain, 16, share.charging(POLICIES[policy]), share.order)
    result = api.run(trace, procs=16, plugin=policy, options="order=multifactor,half-life=100")
    assert result.start.tolist() == expected


def test_fair_share_prefers_who_used_less():
    # User 0 has just used the machine; user 1's later job goes first.
    trace = api.trace_of(submit=[0, 1, 2], run=[100, 10, 10], procs=[4, 4, 4], user=[0, 0, 1])
    start = {name: api.run(trace, procs=4, plugin="sched.plugin1", options=f"order={name}").start.tolist()
             for name in ("fcfs", "multifactor")}
    assert start == {"fcfs": [0, 100, 110], "multifactor": [0, 110, 100]}


@pytest.mark.parametrize("plugin", ["sched.plugin1", "backfill.plugin1"])
@pytest.mark.parametrize("users, expected", [
    ((1001, 1001, 1002), [1, 3, 2]),                # as above, with Flux userids, which are no small numbers
    (("ann", "ann", "bob"), [1, 3, 2]),
    ((1001, 1001, None), [1, 3, 2]),                # unknown is a user, too
    ((None, None, None), [1, 2, 3]),                # all unknown are one
    ((2**32 - 2, None, 2**32 - 2), [1, 2, 3]),
])
def test_hosts_name_the_user(plugin, users, expected):
    engine = scheduler(Inventory.from_counts(1, 4), plugin=plugin, options="order=multifactor")
    request = Request(0, 4, 1, 0, False, 100.0, "", None, None)
    order = []
    engine.add(1, request, t_submit=1.0, user=users[0])
    for now in (1.0, 2.0, 3.0):
        order += engine.schedule(now).started
        if now == 1.0:
            engine.add(2, request, t_submit=1.5, user=users[1])
            engine.add(3, request, t_submit=1.6, user=users[2])
        engine.free(order[-1])
    assert order == expected


def test_a_user_must_be_hashable():
    engine = scheduler(Inventory.from_counts(1, 4))
    with pytest.raises(TypeError, match="hash"):
        engine.add(1, Request(0, 1, 1, 0, False, 1.0, "", None, None), user=[1001])
    assert engine.waiting() == []


@pytest.mark.parametrize("plugin", ["sched.plugin1", "backfill.plugin1"])
def test_the_submit_time_counts_from_the_oldest_job(plugin):
    """Not from that of the foremost, which has a higher priority and came later."""
    request = Request(0, 4, 1, 0, False, 100.0, "", None, None)
    engine = scheduler(Inventory.from_counts(1, 4), plugin=plugin, options="order=f1,aging=0")
    for jobid, priority, submit in ((1, 20, 1000.0), (2, 16, 400.0), (3, 16, 990.0)):
        engine.add(jobid, request, priority, submit)
    def scores():
        return {jobid: score for jobid, score, _ in engine.ranking(2000.0)}
    def told(origin):
        return {jobid: pytest.approx(PLAIN["f1"](submit - origin, 100, 4, 0))
                for jobid, submit in ((1, 1000), (2, 400), (3, 990))}
    assert scores() == told(400)
    assert engine.schedule(2000.0).started == [1]
    expected = told(400)
    del expected[1]
    assert scores() == expected
    # One that is older still comes, as when jobs are handed over after a reload: all are counted from it.
    engine.add(4, request, 16, 100.0)
    engine.free(1)
    assert engine.schedule(2001.0).started == [4]
    expected = told(100)
    del expected[1]
    assert scores() == expected and engine.waiting() == [2, 3]


def test_the_orders_of_the_simulator_are_those_of_the_papers():
    """No aging, unless it is asked for; and a result says what it ran with."""
    trace = api.trace_of(submit=[0.0, 1.0, 604900.0], run=[605000.0, 900.0, 10.0], procs=[4, 4, 4])
    run = api.run(trace, procs=4, plugin="easy+sjf")
    assert run.start.tolist() == [0, 605010, 605000]
    assert run.options == "reserve-depth=1,order=sjf,aging=0"
    aged = api.run(trace, procs=4, plugin="easy+sjf", options="aging=604800")
    assert aged.start.tolist() == [0, 605000, 605900]
    assert aged.options == "reserve-depth=1,order=sjf,aging=604800"
    for plugin in ("easy", "backfill.plugin1"):
        assert api.run(trace, procs=4, plugin=plugin).options == "reserve-depth=1"
    options = dict(item.split("=") for item in api.run(trace, procs=4, options="order=multifactor,max-age=99"
                                                       ).options.split(","))
    assert options == {"order": "multifactor", "aging": "0", "max-age": "99", "weight-age": "1000",
                       "weight-size": "1000", "weight-fairshare": "1000", "half-life": "604800"}
    # In production it is a week still.
    assert load_plugin("sched.plugin1", "order=sjf").in_effect() == {"order": "sjf", "aging": "604800"}


@pytest.mark.parametrize("plugin", ["sched.plugin1", "easy", "conservative"])
def test_aging_ends_starvation(plugin):
    """Short jobs come for ever; the long one waits for a gap that they never leave, unless it ages."""
    n = 400
    submit = np.concatenate(([0.0, 1.0], np.arange(n) * 5.0 + 2))
    run = np.concatenate(([10.0, 50.0], np.full(n, 10.0)))
    procs = np.concatenate(([4, 4], np.full(n, 2)))
    trace = api.trace_of(submit, run, procs)
    starved = api.run(trace, procs=4, plugin=plugin, options="order=sjf,aging=0").wait[1]
    aged = api.run(trace, procs=4, plugin=plugin, options="order=sjf,aging=300").wait[1]
    assert starved > 1900 and 300 <= aged <= 330


def test_backfilled_is_told_by_the_order_of_the_pass():
    # Shortest first: job 2 goes ahead of job 1 by order; that is no backfill.
    trace = trace_of([Job(0, 10, 10, 4), Job(1, 50, 50, 4), Job(2, 5, 5, 4)])
    result = api.run(trace, procs=4, plugin="easy+sjf")
    assert result.start.tolist() == [0, 15, 10] and not result.backfilled.any()
    # Under EASY, job 2 passes a blocked head.
    trace = trace_of([Job(0, 10, 10, 3), Job(1, 50, 50, 4), Job(2, 5, 5, 1)])
    assert api.run(trace, procs=4, plugin="easy").backfilled.tolist() == [False, False, True]


@pytest.mark.parametrize("plugin", ["sched.plugin1", "backfill.plugin1"])
def test_priority_goes_before_the_order(plugin):
    engine = scheduler(Inventory.from_counts(1, 4), plugin=plugin, options="order=sjf")
    for jobid, priority, duration in ((1, 16, 50.0), (2, 16, 20.0), (3, 31, 90.0), (4, 31, 80.0), (5, 16, 10.0)):
        engine.add(jobid, Request(0, 4, 1, 0, False, duration, "", None, None), priority, float(jobid))
    order = []
    now = 10.0
    while len(order) < 5:
        started = engine.schedule(now).started
        assert len(started) == 1
        order += started
        engine.free(started[0])
        now += 1
    assert order == [4, 3, 5, 2, 1]


@pytest.mark.parametrize("plugin", ["sched.plugin1", "backfill.plugin1"])
@pytest.mark.parametrize("options, what", [
    ("order=random", "order=random: expected one of fcfs, sjf"),
    ("order=sjf,aging=soon", "aging=soon: expected a number from 0"),
    ("order=sjf,aging=-1", "aging=-1: expected a number"),
    ("order=sjf,aging=nan", "aging=nan: expected a number"),
    ("order=sjf,weight-age=3", "weight-age: only with order=multifactor"),
    ("order=multifactor,half-life=0", "half-life=0: expected a number from 1"),
    ("ordre=sjf", "unknown option 'ordre'"),
])
def test_bad_options(plugin, options, what):
    with pytest.raises(PluginError, match=what):
        scheduler(Inventory.from_counts(1, 1), plugin=plugin, options=options)
