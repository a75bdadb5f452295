# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""An engine run forward: what it foretells is what happens, if no other jobs come and all run as long as is said."""

import math
import random
from itertools import product

import numpy as np
import pytest
from fluxsched.core.comparison import Comparison
from fluxsched.core.forward import Forward, Spread
from fluxsched.core.history import History
from fluxsched.core.lengths import Lengths
from fluxsched.policy.orders import ORDERS
from fluxsched.simulate.loop import Loop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxsched.core import Engine, Inventory
from fluxsched.policy.loader import load_plugin
from naive import cores, machine, nodes, request

PLAIN_PYTHON = """
from fluxsched.policy.pyplugin import GO_ON

class Plugin:
    def __init__(self, options):
        self.passes = 0

    def sched_loop_setup(self, engine):
        self.passes += 1
        engine.reorder(lambda job: (job.id * 7 + self.passes) % 5)

    def find_resources(self, engine, job):
        return engine.fits_now(job)

    def select_resources(self, engine, job):
        return engine.select(job)

    def allocate_resources(self, engine, job):
        engine.start(job)

    def reserve_resources(self, engine, job):
        if engine.reserved(job) == 0:
            engine.reserve(job)
        return GO_ON
"""

POLICIES = [
    ("sched.plugin1", ""), ("backfill.plugin1", ""), ("backfill.plugin1", "reserve-depth=4"),
    ("backfill.plugin1", "reserve-depth=-1"), ("backfill.plugin1", "reserve-depth=0"),
    ("sched.plugin1", "queue-depth=3"), ("plain", ""),
    *[(plugin, f"order={order},aging=40") for order in ORDERS for plugin in ("sched.plugin1", "backfill.plugin1")],
    ("backfill.plugin1", "order=multifactor,half-life=20,max-age=30,reserve-depth=4"),
]


def some_loop(rng, policy, folder):
    """A loop of the simulator with some jobs, and the time of the last arrival in µs."""
    n, shared = rng.randint(2, 60), rng.random() < 0.4
    second = 1_000_000
    submit = np.sort(np.array([rng.choice([0, 0, 5, 9, 20, 33, 60]) for _ in range(n)])) * second
    run = np.array([rng.choice([1, 1, 2, 3, 5, 8, 13, 40]) for _ in range(n)]) * second
    nnodes = np.array([0 if shared and rng.random() < 0.5 else rng.randint(1, 6) for _ in range(n)])
    width = np.array([rng.randint(1, 4) if shared else 4 for _ in range(n)])
    name = policy[0]
    if name == "plain":
        name = str(folder / "plain.py")
        (folder / "plain.py").write_text(PLAIN_PYTHON)
    engine = Engine(Inventory.from_counts(6, 4), load_plugin(name, policy[1]))
    users = np.array([rng.randrange(3) for _ in range(n)])
    return Loop(engine, submit, run, run, nnodes, np.ones(n), width, users, history=History()), int(submit[-1])


@pytest.mark.parametrize("policy", POLICIES)
@given(rng=st.randoms(use_true_random=True))
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
def test_the_forecast_is_what_happens(rng, policy, tmp_path):
    loop, last = some_loop(rng, policy, tmp_path)
    while loop.advance(last, 1.0):
        pass
    loop.history.sanity_check()
    assert loop.arrived == loop.total
    waited = [job for job in range(loop.total) if loop.start[job] < 0]
    whole, sliced = loop.forward(), loop.forward()
    assert not whole.advance()
    while sliced.advance(budget=rng.randint(0, 3)):
        pass
    single = {}
    for job in waited:
        forward = loop.forward(job)
        assert not forward.advance()
        assert loop.foretold(forward, job) == forward.clock
        single[job] = loop.foretold(forward, job)
    while loop.advance(2**62, 1.0):
        pass
    assert [loop.foretold(whole, job) for job in waited] == [loop.start[job] for job in waited]
    assert [loop.foretold(sliced, job) for job in waited] == [loop.start[job] for job in waited]
    assert single == {job: loop.start[job] for job in waited}
    for job in (-2, loop.total, 0):
        with pytest.raises(ValueError, match="does not wait"):
            loop.forward(job)
    with pytest.raises(ValueError, match="has not come"):
        loop.foretold(whole, loop.total)
    assert whole.started == sliced.started == sum(loop.start[job] >= 0 for job in waited)


def test_of_jobs_that_run_and_wait():
    engine = machine(2, 4, plugin="sched.plugin1")
    for jobid, wanted in enumerate([nodes(1, 100), nodes(1, 50), nodes(1, 10), nodes(2, 10), nodes(1)], 1):
        engine.add(jobid, wanted, t_submit=float(jobid))
    engine.schedule(10.0)
    forward = Forward(engine.fork(), 20.0)
    assert forward.start_of(3) is None
    assert not forward.advance()
    assert [forward.start_of(jobid) for jobid in (3, 4, 5)] == [60.0, 110.0, 120.0]
    assert forward.started == 3
    # The copy ran, not the engine.
    assert engine.waiting() == [3, 4, 5]
    with pytest.raises(ValueError, match="job 9 is not known"):
        forward.start_of(9)
    # Only up to a time, or to the job that is asked about.
    forward = Forward(engine.fork(), 20.0)
    assert not forward.advance(until=60.0)
    assert (forward.start_of(3), forward.start_of(4), forward.clock) == (60.0, None, 60_000_000)
    forward = Forward(engine.fork(), 20.0)
    forward.ask(4)
    assert not forward.advance()
    assert (forward.start_of(4), forward.start_of(5)) == (110.0, None)
    with pytest.raises(ValueError, match="job 1 does not wait"):
        forward.ask(1)
    # With run times that are said.
    forward = Forward(engine.fork(), 20.0)
    forward.run_time(3, 45.5)
    forward.run_time(4, 0)
    with pytest.raises(ValueError, match="expected seconds, 0 or more"):
        forward.run_time(4, -1)
    with pytest.raises(ValueError, match="does not wait"):
        forward.run_time(2, 1)
    forward.advance()
    assert [forward.start_of(jobid) for jobid in (3, 4, 5)] == [60.0, 110.0, 110.0]
    with pytest.raises(ValueError, match="time -1.0"):
        Forward(engine.fork(), -1.0)


def test_of_jobs_past_their_end_and_jobs_without_one():
    engine = machine(2, 4, plugin="backfill.plugin1")
    engine.add(1, nodes(1, 100))
    engine.add(2, nodes(1))
    engine.add(3, nodes(1, 10))
    engine.add(4, nodes(2, 10))
    engine.add(5, nodes(1, 10))
    engine.schedule(0.0)
    forward = Forward(engine.fork(), 500.0)
    assert not forward.advance()
    # Job 1 is overdue: it ends a tick from now. Job 2 never ends, so job 4 has no start.
    assert forward.start_of(3) == 500.000001
    assert forward.start_of(4) is None
    assert forward.start_of(5) == 510.000001
    assert forward.endless
    engine.update_expiration(2, 900.0)
    forward = Forward(engine.fork(), 500.0)
    forward.advance()
    assert forward.start_of(4) == 900.0
    assert not forward.endless


def test_a_job_that_runs_goes_on_as_long_as_those_that_ran_so_long():
    engine = machine(1, 4)
    engine.add(1, nodes(1, 100), user="ann")
    engine.add(2, nodes(1, 100), user="ann")
    engine.add(3, nodes(1, 100), user="bob")
    engine.schedule(0.0)
    history = History()
    for part in (0.1, 0.2, 0.5, 0.7):
        history.note("ann", part, 100.0)

    def starts(now):
        found = []
        for seed in range(200):
            forward = Forward(engine.fork(), now, history, seed)
            forward.advance()
            found.append((forward.start_of(2), forward.start_of(3)))
        return found

    assert {second for second, _ in starts(0.0)} == {10.0, 20.0, 50.0, 70.0}
    assert {second for second, _ in starts(30.0)} == {50.0, 70.0}
    assert {round(third - second) for second, third in starts(30.0)} == {10, 20, 50, 70}
    # None has run so long: it goes on to its limit.
    assert {second for second, _ in starts(71.0)} == {100.0}
    # The same seed draws the same.
    assert starts(0.0) == starts(0.0)
    # Without any history all is as asked for.
    forward = Forward(engine.fork(), 1.0, History(), 7)
    forward.advance()
    assert (forward.start_of(2), forward.start_of(3)) == (100.0, 200.0)


def test_history_keeps_the_last_jobs_of_each_user():
    history = History()
    assert history.users == [] and history.jobs("ann") == []
    for i in range(40):
        history.note("ann", i / 100, 64.0)
    history.note(7, 2.5, 100.0)
    assert history.users == ["ann", 7]
    assert history.jobs("ann") == [(i / 100, 64.0) for i in range(8, 40)]
    assert history.jobs(7) == [(1.0, pytest.approx(100.0))]
    for bad in (-0.5, float("nan")):
        with pytest.raises(ValueError, match="part .*: expected a number, 0 or more"):
            history.note("ann", bad, 1.0)
    for bad in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="time .*: expected a number of seconds"):
            history.note("ann", 0.5, bad)


def drawn_parts(history, asked, user):
    """Parts of its time that a job of a user ran in many runs."""
    engine = machine(1, 4)
    engine.add(1, nodes(1, asked), user=user)
    engine.add(2, nodes(1, 1), user="nobody")
    found = []
    for seed in range(300):
        forward = Forward(engine.fork(), 0.0, history, seed)
        forward.advance()
        found.append(forward.start_of(2) / asked)
    return found


def test_jobs_that_asked_for_alike_times_are_drawn_the_most():
    history = History()
    for _ in range(8):
        history.note("ann", 0.2, 100.0)
        history.note("ann", 0.8, 10000.0)
    short, long = drawn_parts(history, 128.0, "ann"), drawn_parts(history, 8192.0, "ann")
    # Of three that are drawn, one is of its kind in seven of eight cases.
    assert short.count(0.2) / 300 == pytest.approx(7 / 8, abs=0.08)
    assert long.count(0.8) / 300 == pytest.approx(7 / 8, abs=0.08)
    # Of a user who is not known, the last jobs of all tell.
    assert set(drawn_parts(history, 128.0, "bob")) == {0.2, 0.8}
    assert set(drawn_parts(History(), 128.0, "bob")) == {1.0}


def test_spread_of_several_runs():
    engine = machine(1, 4)
    for jobid in (1, 2, 3, 4):
        engine.add(jobid, cores(4, 100 if jobid != 3 else 0), user="ann")
    engine.schedule(0.0)
    spread = Spread(engine)
    assert list(spread) == [2, 3, 4] and len(spread) == 3 and 4 in spread and 1 not in spread
    assert spread.first is None
    with pytest.raises(ValueError, match="no run"):
        spread.starts(2, [0.5])
    history = History()
    for part in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        history.note("ann", part, 100.0)
    seen = {}
    for seed in range(20):
        forward = Forward(engine.fork(), 0.0, history, seed)
        forward.advance()
        spread.add(forward)
        for jobid in spread:
            seen.setdefault(jobid, []).append(forward.start_of(jobid))
    assert spread.nruns == 20
    with pytest.raises(ValueError, match="job 1: no run knows it"):
        spread.starts(1, [0.5])
    low, high, top = zip(*[spread.starts(jobid, [0.5, 0.9, 1.0]) for jobid in spread])
    assert spread.first == min(seen[2])
    assert low[:2] == tuple(sorted(seen[jobid])[9] for jobid in (2, 3))
    assert high[:2] == tuple(sorted(seen[jobid])[17] for jobid in (2, 3))
    assert top[:2] == tuple(max(seen[jobid]) for jobid in (2, 3))
    # Behind a job that never ends there is no start.
    assert low[2] is high[2] is top[2] is None


def test_many_jobs_in_slices():
    rng = random.Random(5)
    engine = machine(8, 4, plugin="backfill.plugin1", options="reserve-depth=-1")
    for jobid in range(1, 200):
        engine.add(jobid, request(nslots=rng.randint(1, 16), cores=1, duration=rng.randint(1, 50)))
    engine.schedule(0.0)
    whole = Forward(engine.fork(), 0.0)
    assert not whole.advance()
    sliced, slices = Forward(engine.fork(), 0.0), 1
    while sliced.advance(budget=20):
        slices += 1
    assert slices > 20
    assert [whole.start_of(j) for j in engine.waiting()] == [sliced.start_of(j) for j in engine.waiting()]
    assert whole.passes == sliced.passes


def test_the_first_pass():
    engine = machine(2, 4, plugin="sched.plugin1", options="queue-depth=1")
    engine.add(1, nodes(1, 10))
    engine.schedule(0.0)
    engine.add(2, nodes(1, 10))
    for passed, start in ((False, 5.0), (True, 10.0)):
        forward = Forward(engine.fork(), 5.0, passed=passed)
        forward.advance()
        assert forward.start_of(2) == start


# -- run times that are expected ----------------------------------------------


def mean_drawn(kept, asked, least=-1.0):
    """The mean part over all three that may be drawn: of the first drawn of those that asked for what is most alike."""
    kept = [(part, math.log2(time)) for part, time in kept if part > least]
    if not kept:
        return 1.0
    picked = [min(three, key=lambda job: abs(job[1] - math.log2(asked)))[0] for three in product(kept, repeat=3)]
    return sum(picked) / len(picked)


@given(st.lists(st.tuples(st.integers(0, 100), st.sampled_from([100.0, 200.0, 400.0, 5000.0])), min_size=1, max_size=6),
       st.sampled_from([50.0, 200.0, 300.0, 3000.0]))
def test_expected_run_times_are_the_mean_of_what_is_drawn(kept, asked):
    history = History()
    for part, time in kept:
        history.note(1, part / 100, time)
        history.sanity_check()
    e = Engine(Inventory.from_counts(4, 4), load_plugin("backfill.plugin1"))
    e.add(1, nodes(4, duration=900.0), user=1)
    e.schedule(0.0)
    e.add(2, nodes(4, duration=asked), user=1)
    e.add(3, nodes(4, duration=asked), user=9)
    e.add(4, nodes(4), user=1)
    lengths = Lengths(e, 300.0, history)
    kept = [(part / 100, time) for part, time in kept]
    # Of a user of whom nothing is known all are drawn, who are the same here.
    assert lengths.of(e, 2) == lengths.of(e, 3) == pytest.approx(asked * mean_drawn(kept, asked), abs=1e-5)
    # No job that ran for less than this one does already says anything.
    assert lengths.of(e, 1) == pytest.approx(900.0 * mean_drawn(kept, 900.0, 300.0 / 900.0), abs=1e-5)
    assert lengths.of(e, 4) is None
    with pytest.raises(ValueError, match="job 9 is not known"):
        lengths.of(e, 9)


def test_run_times_of_another_engine_are_refused():
    e = Engine(Inventory.from_counts(1, 1), load_plugin("backfill.plugin1"))
    lengths = Lengths(e, 0.0, History())
    e.add(1, nodes(1, duration=5.0))
    e.add(2, nodes(1, duration=5.0))
    for call in (lambda: Forward(e.fork(), 0.0, lengths=lengths), lambda: lengths.limit(e)):
        with pytest.raises(ValueError, match="run times of [0-9]+ slots, for an engine of"):
            call()


def test_run_times_as_limits():
    history = History()
    history.note(1, 0.5, 100.0)
    e = Engine(Inventory.from_counts(1, 1), load_plugin("backfill.plugin1", "reserve-depth=-1"))
    for jobid, duration in ((1, 100.0), (2, 200.0), (3, 0.0)):
        e.add(jobid, nodes(1, duration=duration), user=1)
    e.schedule(0.0)
    copy = e.fork()
    Lengths(e, 10.0, history).limit(copy)
    copy.schedule(10.0)
    copy.sanity_check()
    assert copy.times(1) == (0.0, 50.0) and copy.estimate(2) == 50.0 and copy.estimate(3) == 150.0
    assert e.times(1) == (0.0, 100.0) and e.estimate(2) == 100.0


def test_a_copy_with_another_policy():
    e = Engine(Inventory.from_counts(2, 1), load_plugin("sched.plugin1"))
    e.add(1, nodes(1, duration=100.0))
    e.add(2, nodes(2, duration=10.0))
    e.add(3, nodes(1, duration=50.0))
    e.schedule(0.0)
    copy = e.fork(load_plugin("backfill.plugin1"))
    assert copy.schedule(1.0).started == [3] and copy.plugin == "backfill.plugin1"
    assert e.schedule(1.0).started == [] and e.plugin == "sched.plugin1"
    for each in (e, copy):
        each.sanity_check()


# -- one run beside another ---------------------------------------------------


def compared():
    """One node; jobs 2, 3 and 4 wait, and 5 never starts."""
    e = Engine(Inventory.from_counts(2, 1), load_plugin("backfill.plugin1"))
    e.add(1, nodes(2, duration=100.0))
    e.schedule(0.0)
    for jobid, size, duration in ((2, 2, 100.0), (3, 2, 10.0), (4, 2, 10.0), (5, 1, 0.0), (6, 2, 1.0)):
        e.add(jobid, nodes(size, duration=duration), t_submit=float(jobid))
    comparison = Comparison(e)
    for order in ("fcfs", "sjf", "ljf"):
        forward = Forward(e.fork(load_plugin("backfill.plugin1", f"order={order}")), 50.0)
        forward.advance()
        comparison.add(forward)
        comparison.sanity_check()
    return comparison


def test_comparison():
    found = compared()
    assert found.jobs == [2, 3, 4, 5, 6] and len(found) == 5 and found.nruns == 3
    assert found.submitted_at == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert found.starts(0) == [100.0, 200.0, 210.0, 220.0, None]
    assert found.starts(1) == [121.0, 101.0, 111.0, 221.0, 100.0]
    assert found.starts(2) == [None, None, None, 100.0, None]
    assert found.measures(0) == (4, (98 + 197 + 206 + 215) / 4, 215.0, 220.0)
    assert found.measures(1) == (5, (119 + 98 + 107 + 216 + 94) / 5, 216.0, 221.0)
    assert found.changes(1, 0, 2) == (3, 2, [(6, None), (3, 99.0)], [(2, 21.0), (5, 1.0)])
    assert found.changes(0, 0, 9) == (0, 0, [], [])
    assert found.changes(2, 1, 0) == (1, 4, [], [])
    for call in (lambda: found.starts(3), lambda: found.measures(-1), lambda: found.changes(0, 3, 1)):
        with pytest.raises(ValueError, match="expected one of 3"):
            call()


def test_a_run_that_another_process_tells():
    found, other = compared(), compared()
    assert other.take(found.told(1)) == 3 and other.nruns == 4
    other.sanity_check()
    assert other.starts(3) == found.starts(1) and other.measures(3) == found.measures(1)
    with pytest.raises(ValueError, match="expected one of 3"):
        found.told(3)
    for wrong in (b"", found.told(0)[1:], found.told(0) + b"x"):
        with pytest.raises(ValueError, match=rf"{len(wrong)} bytes of a run: expected 48, for 5 jobs"):
            other.take(wrong)
    assert other.nruns == 4


def test_comparison_up_to_the_end_of_the_instance():
    e = Engine(Inventory.from_counts(1, 1), load_plugin("sched.plugin1"))
    for jobid in (1, 2, 3):
        e.add(jobid, nodes(1, duration=10.0))
    e.schedule(0.0)
    comparison = Comparison(e)
    forward = Forward(e.fork(), 0.0)
    forward.advance()
    assert comparison.add(forward, 20.0) == 0
    assert comparison.starts(0) == [10.0, None] and comparison.measures(0) == (1, 10.0, 10.0, 20.0)
    assert comparison.add(forward) == 1 and comparison.measures(1).end == 30.0
    empty = Comparison(Engine(Inventory.from_counts(1, 1), load_plugin("sched.plugin1")))
    empty.add(forward)
    assert empty.measures(0) == (0, None, None, 30.0) and empty.starts(0) == []
