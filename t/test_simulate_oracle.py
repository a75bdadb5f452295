# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The oracles themselves, on cases small enough to schedule by hand."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle import Job, conservative, easy, fcfs, hybrid, replay

# Machine of 10.  Job 0 holds 6 until 100; job 1 needs 8 and waits for it.
BASE = [Job(0, 100, 100, 6), Job(1, 50, 50, 8)]


def starts(jobs, policy, procs=10):
    return replay(jobs, procs, policy)


def test_fcfs_holds_back_all_behind_the_head():
    assert starts(BASE + [Job(2, 5, 5, 1)], fcfs) == [0, 100, 100]


def test_easy_starts_what_ends_by_the_shadow_time():
    assert starts(BASE + [Job(2, 98, 98, 4)], easy) == [0, 100, 2]        # ends at 100, the shadow time
    assert starts(BASE + [Job(2, 99, 99, 4)], easy) == [0, 100, 150]      # one second too long, 2 extra


def test_easy_extra_nodes_are_used_up():
    # At the shadow time 10 are free and the head takes 8: 2 are extra.
    jobs = BASE + [Job(2, 500, 500, 1), Job(2, 500, 500, 1), Job(2, 500, 500, 1)]
    assert starts(jobs, easy) == [0, 100, 2, 2, 150]


def test_easy_shadow_counts_all_that_ends_at_that_time():
    # Jobs 0 and 1 both end at 100: 10 free then, 5 extra beyond the head's 5.
    jobs = [Job(0, 100, 100, 4), Job(0, 100, 100, 3), Job(1, 10, 10, 5), Job(2, 900, 900, 3)]
    assert starts(jobs, easy) == [0, 0, 100, 2]


def test_completion_before_the_request_moves_the_reservation():
    jobs = [Job(0, 30, 100, 6), Job(1, 50, 50, 8)]
    for policy in (fcfs, easy, conservative, hybrid(2)):
        assert starts(jobs, policy) == [0, 30]


def test_a_job_is_killed_at_its_request():
    for policy in (fcfs, easy, conservative, hybrid(2)):
        assert starts([Job(0, 500, 20, 10), Job(0, 1, 1, 10)], policy) == [0, 20]


def test_the_policies_differ():
    # Job 2 (10 processors) waits behind job 1; job 3 fits beside job 1's reservation but runs into job 2's.
    jobs = BASE + [Job(2, 20, 20, 10), Job(3, 200, 200, 2)]
    assert starts(jobs, fcfs) == [0, 100, 150, 170]
    assert starts(jobs, easy) == [0, 100, 203, 3]            # 2 extra beside job 1: delays job 2
    assert starts(jobs, conservative) == [0, 100, 150, 170]  # job 2 has a reservation too
    assert starts(jobs, hybrid(2)) == [0, 100, 150, 170]
    assert starts(jobs, hybrid(1)) == starts(jobs, easy)
    assert starts(jobs, hybrid(0)) == [0, 100, 203, 3]       # nothing is reserved


def test_hybrid_0_lets_anything_pass_the_head():
    jobs = BASE + [Job(2, 500, 500, 4)]
    assert starts(jobs, hybrid(0)) == [0, 502, 2]
    assert starts(jobs, easy) == [0, 100, 150]


def test_conservative_plans_from_scratch():
    # Job 0 ends early: all reservations are made anew in order, so job 2 follows job 1.
    jobs = [Job(0, 10, 100, 6), Job(1, 50, 50, 8), Job(2, 30, 30, 5), Job(3, 98, 98, 4)]
    assert starts(jobs, conservative) == [0, 10, 60, 60]


def test_zero_run_times_end_in_a_further_round():
    # Each needs the whole machine: three rounds at the instant 5, in order.
    jobs = [Job(5, 0, 1, 10), Job(5, 0, 1, 10), Job(5, 3, 3, 10), Job(5, 0, 1, 10)]
    for policy in (fcfs, easy, conservative, hybrid(2)):
        assert starts(jobs, policy) == [5, 5, 5, 8]


def test_one_pass_for_all_that_arrives_at_one_instant():
    # A pass after each arrival alone would also start job 1 at 0; a pass before the completion at 10
    # would backfill job 3 ahead of job 2.
    jobs = [Job(0, 10, 10, 10), Job(10, 10, 10, 8), Job(10, 10, 10, 2)]
    for policy in (fcfs, easy, conservative, hybrid(2)):
        assert starts(jobs, policy) == [0, 10, 10]


def random_jobs(most=40):
    job = st.tuples(st.integers(0, 30), st.integers(0, 60), st.integers(1, 60), st.integers(1, 16))
    return st.lists(job, min_size=1, max_size=most).map(
        lambda rows: [Job(*row) for row in sorted(rows, key=lambda row: row[0])])


@given(random_jobs())
@settings(max_examples=150, deadline=None)
def test_easy_is_hybrid_with_one_reservation(jobs):
    assert starts(jobs, easy, 16) == starts(jobs, hybrid(1), 16)


@given(random_jobs())
@settings(max_examples=150, deadline=None)
def test_conservative_is_hybrid_without_bound(jobs):
    assert starts(jobs, conservative, 16) == starts(jobs, hybrid(len(jobs)), 16)


@given(random_jobs(), st.sampled_from([fcfs, easy, conservative, hybrid(0), hybrid(3)]))
@settings(max_examples=150, deadline=None)
def test_the_machine_is_never_overfull(jobs, policy):
    start = starts(jobs, policy, 16)
    assert all(s >= job.submit for s, job in zip(start, jobs))
    for at in start:
        held = sum(j.procs for s, j in zip(start, jobs) if s <= at < s + min(j.run, j.request))
        assert held <= 16


@pytest.mark.parametrize("policy", [fcfs, easy, conservative, hybrid(2)])
def test_a_queue_order_is_followed(policy):
    jobs = [Job(0, 10, 10, 10), Job(1, 9, 9, 10), Job(2, 3, 3, 10), Job(3, 5, 5, 10)]
    shortest = replay(jobs, 10, policy, order=lambda i, job, now: job.request)
    assert shortest == [0, 18, 10, 13]
