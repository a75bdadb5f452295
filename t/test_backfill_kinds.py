# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Backfill with predicted run times (EASY++), and with reservations that are kept and compressed: every start is the
one that the plain statement of the policy gives."""
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxsched.core import Engine, Inventory, PluginError
from fluxsched.policy.loader import load_plugin
from fluxsched.simulate import api
from fluxsched.traces.generator import generate
from naive import EASY, cores, estimates, machine, nodes
from naive_backfill import SECOND, Compressing, Predicting, replay
from oracle import Job, Profile

PREDICTED = "reserve-depth=1,run-times=predicted"
COMPRESSED = "reserve-depth=-1,compression=true"


def plain_jobs(trace):
    """The jobs of a trace, in microseconds."""
    return [Job(round(submit * SECOND), round(run * SECOND), round(request * SECOND), int(procs))
            for submit, run, request, procs in zip(trace.submit, trace.run, trace.request, trace.procs)]


def seconds(starts):
    return [start / SECOND for start in starts]


# Bursts at few instants, requests above the run times, kills, and run times of 0; the steps by which predictions are
# raised begin with a minute.
job = st.tuples(st.sampled_from([0, 0, 10, 50, 300, 400, 1000]), st.sampled_from([0, 1, 3, 20, 70, 200, 500, 3000]),
                st.sampled_from([1, 10, 60, 100, 600, 4000]), st.sampled_from([1, 1, 2, 3, 4, 5, 8, 11, 15, 16]))


def trace_of(rows, users=None):
    rows = sorted(rows, key=lambda row: row[0])
    submit, run, request, procs = (np.array(column, dtype=float) for column in zip(*rows))
    return api.trace_of(submit, run, procs, request, user=users)


@given(st.lists(job, min_size=1, max_size=50), st.booleans(), st.integers(0, 9), st.sampled_from([(16, 1), (4, 4)]))
@settings(max_examples=150, deadline=None)
def test_predicted_run_times(rows, shortest, seed, shape):
    users = np.random.default_rng(seed).integers(0, 3, len(rows))
    trace = trace_of(rows, users)
    order = "shortest" if shortest else "queue"
    result = api.run(trace, nodes=shape[0], cores=shape[1], plugin="backfill.plugin1",
                     options=f"{PREDICTED},backfill-order={order}")
    jobs = plain_jobs(trace)
    assert result.start.tolist() == seconds(replay(jobs, 16, Predicting(jobs, trace.user.tolist(), shortest)))


@given(st.lists(job, min_size=1, max_size=50), st.sampled_from([(16, 1), (4, 4)]))
@settings(max_examples=150, deadline=None)
def test_compression(rows, shape):
    trace = trace_of(rows)
    result = api.run(trace, nodes=shape[0], cores=shape[1], plugin="conservative:compression=true")
    jobs = plain_jobs(trace)
    assert result.start.tolist() == seconds(replay(jobs, 16, Compressing(jobs)))


@pytest.mark.parametrize("seed", range(2))
def test_long_queues(seed):
    trace = generate(500, 64, 1.3, seed=seed, overestimate=6, users=5, model=("batch", "interactive")[seed])
    jobs = plain_jobs(trace)
    users = trace.user.tolist()
    easy = api.run(trace, procs=64, plugin="easy++")
    assert easy.options == "reserve-depth=1,run-times=predicted,backfill-order=shortest"
    assert easy.start.tolist() == seconds(replay(jobs, 64, Predicting(jobs, users)))
    kept = api.run(trace, procs=64, plugin="conservative:compression=true")
    assert kept.start.tolist() == seconds(replay(jobs, 64, Compressing(jobs)))
    # They are other policies than those without.
    for other, name in ((easy, "easy"), (kept, "conservative")):
        assert api.run(trace, procs=64, plugin=name).start.tolist() != other.start.tolist()


def test_backfilled_is_told_by_the_queue():
    """Where all jobs run for as long as they asked for there is nothing to compress: the same starts, ahead of the same
    jobs, though a pass goes by the reservations' starts."""
    trace = generate(300, 64, 1.3, seed=5)
    trace = api.trace_of(trace.submit, trace.run, trace.procs, trace.run)
    plain, kept = (api.run(trace, procs=64, plugin=f"conservative{options}") for options in ("", ":compression=true"))
    assert kept.start.tolist() == plain.start.tolist()
    assert kept.backfilled.tolist() == plain.backfilled.tolist() and 0 < plain.backfilled.mean() < 1


def test_whole_nodes_are_planned_alike():
    """On nodes that jobs take whole, and where nodes are looked at one by one: the same starts."""
    trace = generate(150, 16, 1.2, seed=3, overestimate=5, users=3)
    for plugin in ("easy++", "conservative:compression=true"):
        counted = api.run(trace, procs=16, plugin=plugin)
        # A job of whole nodes takes half as many of two cores.
        double = api.trace_of(trace.submit, trace.run, trace.procs * 2, trace.request, user=trace.user)
        whole = api.run(double, nodes=16, cores=2, plugin=plugin, exclusive=True)
        assert whole.start.tolist() == counted.start.tolist()


# By hand.


def ended(engine, now, *jobids):
    for jobid in jobids:
        engine.free(jobid)
    return engine.schedule(now).started


def test_a_prediction_is_the_mean_of_the_last_two():
    e = machine(4, 1, plugin=EASY, options=PREDICTED)
    for jobid in (1, 2):
        e.add(jobid, nodes(4, 1000.0), user="ann", t_submit=jobid)
        assert e.schedule(100.0 * jobid).started == [jobid]
        ended(e, 100.0 * jobid + (20, 41)[jobid - 1], jobid)
    # Job 3 holds the machine; how long others have to wait follows from its prediction of 30.5 s.
    e.add(3, nodes(3, 1000.0), user="ann")
    e.add(4, nodes(4, 1000.0), user="ann")
    assert e.schedule(500.0).started == [3]
    assert estimates(e) == {4: 530.5}
    # The plan goes by it; the job may run for as long as it asked for.
    assert e.expected_end(3) == 530.5 and e.times(3) == (500.0, 1500.0)
    # Another user's is what it asked for; it would delay job 4.
    e.add(5, nodes(1, 100.0), user="bob")
    assert e.schedule(501.0).started == []
    # Of ann it would not.
    e.add(6, nodes(1, 29.0), user="ann")
    assert e.schedule(501.0).started == [6]
    # It runs on: a minute more, and then five.
    e.schedule(530.5)
    assert e.expected_end(3) == 590.5 and estimates(e)[4] == 590.5
    e.schedule(600.0)
    assert e.expected_end(3) == 890.5
    # Never beyond its limit.
    e.schedule(900.0)
    assert e.expected_end(3) == 1500.0


def test_a_prediction_is_a_second_at_least_and_no_more_than_the_request():
    e = machine(4, 1, plugin=EASY, options=PREDICTED)
    for jobid in (1, 2):
        e.add(jobid, nodes(1, 1000.0))
        e.schedule(float(jobid))
        ended(e, float(jobid), jobid)
    e.add(3, nodes(1, 1000.0))
    e.add(4, nodes(1, 0.25))
    e.schedule(10.0)
    assert (e.expected_end(3), e.expected_end(4)) == (11.0, 10.25)


def test_who_has_no_limit_is_predicted_too():
    e = machine(4, 1, plugin=EASY, options=PREDICTED)
    for jobid in (1, 2):
        e.add(jobid, nodes(1, 0.0))
        e.schedule(0.0)
    ended(e, 10.0, 1, 2)
    e.add(3, nodes(4, 0.0))
    e.schedule(10.0)
    assert e.expected_end(3) == 20.0 and e.times(3) == (10.0, 0.0)
    with pytest.raises(ValueError, match="job 4 holds no resources"):
        e.expected_end(4)


def test_another_policy_goes_by_the_limits_again():
    e = machine(4, 1, plugin=EASY, options=PREDICTED)
    for jobid in (1, 2):
        e.add(jobid, nodes(4, 100.0))
        e.schedule(10.0 * jobid)
        ended(e, 10.0 * jobid + 5, jobid)
    e.add(3, nodes(4, 100.0))
    e.add(4, nodes(4, 100.0))
    e.schedule(30.0)
    assert e.expected_end(3) == 35.0 and estimates(e) == {4: 35.0}
    e.set_policy(load_plugin(EASY, "reserve-depth=-1"))
    e.add(5, nodes(4, 50.0))
    e.schedule(31.0)
    assert e.expected_end(3) == 130.0 and estimates(e) == {4: 130.0, 5: 230.0}


def test_backfill_in_order_of_predicted_time():
    e = machine(4, 1, plugin=EASY, options="backfill-order=shortest")
    e.add(1, nodes(3, 100.0))
    e.add(2, nodes(4, 100.0))
    for jobid, duration in ((3, 90.0), (4, 20.0), (5, 50.0)):
        e.add(jobid, nodes(1, duration))
    assert e.schedule(0.0).started == [1, 4]
    e.add(6, nodes(1, 95.0), 20)                    # a higher priority stays ahead
    assert ended(e, 5.0, 4) == [6]
    assert e.waiting() == [2, 3, 5]


def test_each_queue_has_its_head_before_any_backfills():
    e = machine(8, 1, plugin=EASY, options="backfill-order=shortest")
    rows = ((6, 100.0, "a"), (7, 100.0, "a"), (1, 90.0, "a"), (1, 50.0, "b"), (8, 10.0, "b"), (1, 20.0, "b"))
    for jobid, (count, duration, queue) in enumerate(rows, 1):
        e.add(jobid, nodes(count, duration, queue=queue))
    # Job 4 is the head of its queue, so it goes before job 6, which is shorter; job 3 is left without a node.
    assert e.schedule(0.0).started == [1, 4, 6]


def test_slices_of_a_pass_make_no_difference():
    rng = np.random.default_rng(5)
    asked = [(int(n), float(t)) for n, t in zip(rng.integers(1, 9, 60), rng.integers(1, 90, 60))]
    for options in (f"{PREDICTED},backfill-order=shortest", COMPRESSED):
        whole, sliced = (machine(8, 1, plugin=EASY, options=options) for _ in range(2))
        for now in range(0, 200, 7):
            for jobid in range(now, now + 3):
                for e in (whole, sliced):
                    e.add(jobid, nodes(*asked[jobid % 60]), user=jobid % 2)
            for jobid in [j for j in whole.running_jobs() if (j + now) % 3 == 0]:
                for e in (whole, sliced):
                    e.free(jobid)
            started = whole.schedule(float(now)).started
            done = sliced.schedule(float(now), 1)
            parts = list(done.started)
            while done.more:
                done = sliced.schedule(float(now), 1)
                parts += done.started
            assert parts == started
            for e in (whole, sliced):
                e.sanity_check()


def test_a_reservation_stays_and_moves_earlier_in_turn():
    e = machine(4, 1, plugin=EASY, options=COMPRESSED)
    e.add(1, nodes(3, 100.0))
    e.add(2, nodes(4, 50.0))
    e.add(3, nodes(2, 200.0))
    assert e.schedule(0.0).started == [1] and estimates(e) == {2: 100.0, 3: 150.0}
    # From scratch job 4, of a higher priority, would go before both.
    e.add(4, nodes(2, 60.0), 31)
    e.schedule(10.0)
    assert estimates(e) == {4: 150.0, 2: 100.0, 3: 150.0}
    # Job 2 moves to now, and the others behind it.
    assert ended(e, 20.0, 1) == [2]
    assert estimates(e) == {4: 70.0, 3: 70.0}


def test_a_cancelled_reservation_is_a_hole_to_move_into():
    e = machine(4, 1, plugin=EASY, options=COMPRESSED)
    for jobid, wanted in enumerate((nodes(4, 100.0), nodes(4, 50.0), nodes(4, 20.0)), 1):
        e.add(jobid, wanted)
    e.schedule(0.0)
    assert estimates(e) == {2: 100.0, 3: 150.0}
    e.cancel(2)
    e.schedule(1.0)
    assert estimates(e) == {3: 100.0}


def test_nodes_that_go_and_come():
    e = machine(4, 1, plugin=EASY, options=COMPRESSED)
    e.add(1, nodes(2, 100.0))
    e.add(2, nodes(4, 50.0))
    e.add(3, nodes(3, 20.0))
    e.schedule(0.0)
    assert estimates(e) == {2: 100.0, 3: 150.0}
    e.mark_down("3")
    e.schedule(1.0)                     # job 2 waits for the node, and holds nothing
    assert estimates(e) == {2: None, 3: 100.0}
    e.mark_up("3")
    e.schedule(2.0)
    assert estimates(e) == {2: 120.0, 3: 100.0}
    e.sanity_check()


def test_copies_keep_what_they_know():
    for options in (f"{PREDICTED},backfill-order=shortest", COMPRESSED):
        e = machine(4, 1, plugin=EASY, options=options)
        for jobid in range(1, 7):
            e.add(jobid, nodes(jobid % 4 + 1, 20.0 * jobid), user=jobid % 2)
        e.schedule(0.0)
        copy = e.fork()
        for now in range(1, 9):
            running = e.running_jobs()
            for each in (e, copy):
                each.free(running[0])
            assert e.schedule(10.0 * now).started == copy.schedule(10.0 * now).started
            assert estimates(e) == estimates(copy)
            if not e.running_jobs():
                break
        assert e.waiting() == []


@pytest.mark.parametrize("options", [f"{PREDICTED},backfill-order=shortest", COMPRESSED])
def test_what_a_policy_knows_can_be_told_to_another(options):
    """As a record does, whose parts begin with the state of the policy: the new engine goes on as the first one."""
    rng = np.random.default_rng(3)
    inventory = Inventory.from_counts(6, 1)
    e = Engine(inventory, load_plugin(EASY, options))
    asked = {}

    def step(now, *engines):
        jobid = int(now)
        asked[jobid] = nodes(int(rng.integers(1, 7)), float(rng.integers(5, 200)))
        ending = [j for j in e.running_jobs() if (j * 7 + jobid) % 5 == 0 or e.times(j)[1] <= now]
        for each in engines:
            each.add(jobid, asked[jobid], t_submit=now, user="ann")
            for other in ending:
                each.free(other)
        return [(each.schedule(now).started, estimates(each), {j: each.expected_end(j) for j in each.running_jobs()})
                for each in engines]

    for now in range(40):
        step(float(now), e)
    assert len(e.waiting()) > 5
    policy = load_plugin(EASY, options)
    policy.restore(json.loads(json.dumps(e.policy.state())))
    new = Engine(inventory, policy)
    for jobid in e.running_jobs():
        new.adopt(jobid, e.R(jobid, *e.times(jobid)), t_submit=float(jobid), user="ann")
    for jobid in e.waiting():
        new.add(jobid, asked[jobid], t_submit=float(jobid), user="ann")
    for now in range(40, 100):
        first, second = step(float(now), e, new)
        assert first == second


def test_shared_nodes_keep_their_invariants():
    """Nodes that jobs share: places are found anew, and no core is promised twice."""
    rng = np.random.default_rng(7)
    for options in (f"{PREDICTED},backfill-order=shortest", COMPRESSED):
        e = machine(4, 4, plugin=EASY, options=options)
        for now in range(60):
            wanted = cores(int(rng.integers(1, 9)), float(rng.integers(1, 40)))
            e.add(now, nodes(2, 15.0) if now % 5 == 0 else wanted, user=now % 3)
            for jobid in [j for j in e.running_jobs() if e.expected_end(j) <= now or (j + now) % 7 == 0]:
                e.free(jobid)
            e.schedule(float(now))
            e.sanity_check()
        assert e.stats()["started"] > 20


@pytest.mark.parametrize("options, what", [
    ("compression=true", "compression=true: only with reserve-depth=-1, run-times=requested"),
    (f"{COMPRESSED},run-times=predicted", "compression=true: only with reserve-depth=-1, run-times=requested"),
    (f"{COMPRESSED},backfill-order=shortest", "compression=true: only with reserve-depth=-1"),
    (f"{COMPRESSED},order=wfp3", "compression=true: not with order=wfp3, which depends on the time"),
    ("reserve-depth=-1,compression-interval=5", "compression-interval: only with compression=true"),
    (f"{COMPRESSED},compression-interval=-1", "compression-interval=-1: expected"),
    ("compression=yes", "compression=yes: expected true or false"),
    ("run-times=guessed", "run-times=guessed: expected requested or predicted"),
    ("backfill-order=longest", "backfill-order=longest: expected queue or shortest"),
    ("reserve-depth=0,backfill-order=shortest", "backfill-order=shortest: only with a reserve-depth other than 0"),
])
def test_bad_options(options, what):
    with pytest.raises(PluginError, match=what):
        load_plugin(EASY, options)


@pytest.mark.parametrize(("kind", "units"), [(nodes, 8), (cores, 32)])
def test_a_plan_of_many_points(kind, units):
    """Each job has a time limit of its own, so that the plan has more points than one piece of it holds; then half of
    the jobs go, and time goes on."""
    e = machine(8, 4, plugin="backfill.plugin1", options="reserve-depth=-1")
    jobs = {number: (1 + number * 5 % (units // 2), 100.0 + number * 79 % 503) for number in range(1, 121)}
    for number, (count, length) in jobs.items():
        e.add(number, kind(count, length))
    running = {}
    for now, gone in ((0.0, 0), (20.0, 2), (90.0, 3)):
        for number in [number for number in jobs if gone and number % gone == 0]:
            del jobs[number]
            e.cancel(number)
        free = units - sum(count for _, count in running.values())
        profile = Profile(running.values(), free, now)
        expected = {}
        for number, (count, length) in jobs.items():
            expected[number] = profile.earliest(length, count)
            profile.take(expected[number], length, count)
        assert now or len(profile.steps) > 64
        started = [number for number, at in expected.items() if at == now]
        assert e.schedule(now).started == started
        assert estimates(e) == {number: at for number, at in expected.items() if at > now}
        running.update({number: (now + jobs[number][1], jobs[number][0]) for number in started})
        for number in started:
            del jobs[number]
        e.sanity_check()
