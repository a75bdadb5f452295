# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A pass in slices, and why a job waits when somebody asks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxsched.core import Inventory
from fluxsched.formats.jobspec import Request
from fluxsched.policy.loader import load_plugin
from naive import scheduler

PLUGINS = ["sched.plugin1", "backfill.plugin1", "backfill.plugin1:reserve-depth=-1", "backfill.plugin1:order=sjf"]


def machine(nodes=4, cores=4, properties=None):
    execution = {
        "R_lite": [{"rank": f"0-{nodes - 1}", "children": {"core": f"0-{cores - 1}"}}],
        "nodelist": [f"n[0-{nodes - 1}]"],
        "starttime": 0.0,
        "expiration": 0.0,
    }
    if properties:
        execution["properties"] = properties
    return Inventory.from_r({"version": 1, "execution": execution})


def engine(plugin="backfill.plugin1", **kwargs):
    name, _, options = plugin.partition(":")
    return scheduler(machine(**kwargs), name, options)


def nodes(count, duration=10.0, queue="", constraint=None):
    return Request(count, 1, 4, 0, False, duration, queue, constraint, None)


def slots(count, cores=1, duration=10.0, queue=""):
    return Request(0, count, cores, 0, False, duration, queue, None, None)


request_strategy = st.builds(
    lambda whole, count, duration, queue: nodes(min(count, 4), duration, queue) if whole
    else slots(count, 1, duration, queue),
    st.booleans(), st.integers(1, 8), st.sampled_from([1.0, 5.0, 20.0, 0.0]), st.sampled_from(["", "a"]),
)


@given(st.sampled_from(PLUGINS), st.lists(request_strategy, min_size=1, max_size=20), st.integers(1, 4))
def test_slices_without_changes_are_the_pass(plugin, requests, limit):
    whole, sliced = engine(plugin), engine(plugin)
    for jobid, request in enumerate(requests, 1):
        for one in (whole, sliced):
            one.add(jobid, request, t_submit=float(jobid))
    expected = whole.schedule(100.0)
    assert not expected.more
    started, slices = [], 0
    while True:
        outcome = sliced.schedule(100.0, limit)
        started += outcome.started
        slices += 1
        if not outcome.more:
            break
        assert len(outcome.started) <= limit
    assert slices <= len(requests) + 1
    assert started == expected.started
    for jobid in set(range(1, len(requests) + 1)) - set(started):
        assert sliced.reason(jobid) == whole.reason(jobid)
        assert sliced.estimate(jobid) == whole.estimate(jobid)


def finish(one, now, limit=1):
    """The rest of a pass: the jobs that it starts, and how many slices it takes."""
    started, slices = [], 0
    while True:
        outcome = one.schedule(now, limit)
        started += outcome.started
        slices += 1
        if not outcome.more:
            return started, slices


def test_limit_of_nothing_asks_about_one_job():
    one = engine()
    for jobid in (1, 2):
        one.add(jobid, nodes(1))
    assert one.schedule(1.0, 0).started == [1]
    assert one.schedule(1.0, 0).started == [2]


def test_arrival_waits_for_the_next_pass():
    one = engine()
    one.add(1, nodes(1))
    one.add(2, nodes(1))
    assert one.schedule(1.0, 1).more
    one.add(3, nodes(1), priority=31)
    outcome = one.schedule(1.0, 5)
    assert outcome.started == [2] and not outcome.more
    assert one.schedule(1.0, 5).started == [3]


def test_cancelled_slot_that_is_used_again():
    one = engine()
    for jobid in range(1, 4):
        one.add(jobid, nodes(1))
    assert one.schedule(1.0, 1).started == [1]
    assert one.cancel(2)
    one.add(4, nodes(1))    # takes the slot of job 2
    assert finish(one, 1.0) == ([3], 1)
    assert finish(one, 1.0) == ([4], 1)


def test_resources_that_come_back_start_the_pass_over():
    one = engine("backfill.plugin1:reserve-depth=-1")
    one.add(1, nodes(3, 100.0))
    assert one.schedule(1.0).started == [1]
    for jobid in range(2, 8):
        one.add(jobid, nodes(4, 50.0))
    assert one.schedule(2.0, 2).more
    one.free(1)
    # From the head, which would have been passed over.
    assert one.schedule(3.0, 1).started == [2]


def test_steady_ends_do_not_keep_a_pass_from_its_end():
    one = engine("backfill.plugin1:reserve-depth=-1", nodes=64)
    one.add(1000, nodes(1, 0.0))
    for jobid in range(1, 40):
        one.add(2000 + jobid, nodes(1, 0.0))
    one.schedule(1.0)
    for jobid in range(1, 41):
        one.add(jobid, nodes(60, 50.0))
    one.add(41, nodes(1, 1.0))
    ended = slices = 0
    while True:
        outcome = one.schedule(2.0, 1)
        slices += 1
        if not outcome.more:
            break
        if ended < 30:
            ended += 1
            one.free(2000 + ended)
            one.add(3000 + ended, nodes(1, 0.0), priority=31)     # takes what came back, once it is seen
        assert slices < 300
    assert slices < 150


def test_start_counts_from_its_slice():
    one = engine()
    one.add(1, nodes(1, 10.0))
    one.add(2, nodes(1, 10.0))
    one.schedule(100.0, 1)
    one.schedule(107.0, 1)
    one.add(3, nodes(4, 10.0))
    one.schedule(108.0)
    assert one.estimate(3) == pytest.approx(117.0)


def test_new_policy_starts_the_pass_over():
    one = engine("sched.plugin1")
    one.add(1, nodes(1))
    one.add(2, nodes(1))
    one.schedule(1.0, 1)
    one.set_policy(load_plugin("backfill.plugin1", "queue-depth=0"))
    assert finish(one, 1.0) == ([], 1)


def test_reason_needs_resources_though_others_have_reservations():
    one = engine()
    one.add(1, nodes(3, 100.0))
    one.add(2, nodes(4, 100.0))
    one.add(3, nodes(2, 100.0))
    one.add(4, nodes(1, 500.0))
    one.schedule(1.0)
    assert one.reason(2) == "waiting for resources"
    assert one.reason(3) == "waiting for resources"
    assert one.reason(4) == "starting now would delay a job ahead in the queue"
    assert one.estimate(2) == pytest.approx(101.0)
    assert one.estimate(3) is None


def test_reason_of_a_node_that_another_queue_reserved():
    one = engine()
    one.add(1, nodes(3, 100.0, "a"))
    one.add(2, nodes(4, 100.0, "a"))
    one.add(3, nodes(1, 500.0, "b"))
    one.schedule(1.0)
    assert one.reason(3) == "starting now would delay a job of another queue on the same nodes"


def test_reason_behind_the_blocked_head():
    one = engine("sched.plugin1")
    one.add(1, nodes(3, 100.0))
    one.add(2, nodes(4, 100.0))
    one.add(3, nodes(1, 500.0))
    one.schedule(1.0)
    assert one.reason(2) == "waiting for resources"
    assert one.reason(3) == "waiting for jobs ahead in the queue"


def test_reason_beyond_the_depth_and_of_a_new_job():
    one = engine("backfill.plugin1:queue-depth=1")
    one.add(1, nodes(1, 100.0))
    one.add(2, nodes(1, 100.0))
    assert one.reason(1) is None
    one.schedule(1.0)
    assert one.reason(2) == "beyond the queue depth of a scheduling pass"
    with pytest.raises(ValueError, match="1"):
        one.reason(1)
    with pytest.raises(ValueError, match="9"):
        one.estimate(9)


def test_reason_of_nodes_that_are_down():
    one = engine()
    one.mark_down("0-1")
    one.add(1, nodes(3))
    one.schedule(1.0)
    assert one.reason(1) == "waiting for nodes that are down or drained"
    one.mark_up("0")
    assert one.reason(1) is None


def test_removal_starts_a_pass_over_once():
    one = engine("backfill.plugin1:reserve-depth=-1", nodes=4)
    one.add(1, nodes(3, 100.0))
    assert one.schedule(1.0).started == [1]
    for jobid in range(2, 10):
        one.add(jobid, nodes(2, 50.0))
    one.remove("3")
    slices = 0
    while one.schedule(2.0, 1).more:
        slices += 1
        assert slices < 20
    assert one.waiting() == list(range(2, 10))


def test_reason_asked_before_the_pass_keeps_no_job_from_denial():
    one = engine(nodes=4)
    one.add(1, nodes(4, 100.0))
    one.add(2, nodes(4, 50.0))
    assert one.schedule(1.0).started == [1]
    one.remove("3")
    for _ in range(2):
        assert one.reason(2) == "the nodes that it needs have been removed"
    assert one.schedule(2.0).denied == [(2, "the nodes that it needs have been removed")]
