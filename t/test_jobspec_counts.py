# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Counts of a jobspec that are ranges or idsets: which numbers of nodes and slots a job accepts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxsched.formats import jobspec
from fluxsched.formats.jobspec import MAX_COUNT, MAX_RANGES, JobspecError
from specs import core, gpu, make, node, numbers, other, slot


def listed(counts):
    return [number for run in counts for number in run]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        ({"min": 2, "max": 4}, [2, 3, 4]),
        ({"min": 2, "max": 9, "operator": "+", "operand": 3}, [2, 5, 8]),
        ({"min": 3, "max": 30, "operator": "*", "operand": 2}, [3, 6, 12, 24]),
        ({"min": 2, "max": 300, "operator": "^", "operand": 2}, [2, 4, 16, 256]),
        ({"min": 2, "operator": "^", "operand": 2}, [2, 4, 16, 256, 65536]),
        ({"min": 3, "operator": "^", "operand": 10**9}, []),
        ({"min": 3, "max": 3}, []),
        ({"min": 3, "max": 5, "operator": "+", "operand": 9}, []),
        ("2-4", [2, 3, 4]),
        ("[2-4]", [2, 3, 4]),
        ("2-9:3", [2, 5, 8]),
        ("2-9:3:+", [2, 5, 8]),
        ("[2-8:2:*]", [2, 4, 8]),
        ("2-16:2:^", [2, 4, 16]),
        ("4,9,16,25", [4, 9, 16, 25]),
        ("[1,3-5]", [1, 3, 4, 5]),
        ("7", []),
        (7, []),
    ],
)
def test_counts_of_nodes(count, expected):
    request = jobspec.parse(make(node(count, slot(1, core(2)))))
    least = expected[0] if expected else 3 if isinstance(count, dict) else 7
    assert numbers(request) == (least, 1, 2, 0, False)
    assert listed(request.node_counts) == expected
    assert request.slot_counts == ()
    assert request.tree is None


@pytest.mark.parametrize("count", [{"min": 2}, "2+", "[2+:1]", {"min": 2, "operator": "+", "operand": 1}])
def test_at_least_so_many(count):
    assert jobspec.parse(make(node(count, slot(1, core(2))))).node_counts == (range(2, MAX_COUNT + 1),)


@pytest.mark.parametrize(
    ("resources", "expected", "nodes", "slots"),
    [
        (node("2-3"), (2, 1, 0, 0, True), [2, 3], []),
        (node("2-3", core(4), gpu(1)), (2, 1, 4, 1, False), [2, 3], []),
        (node(2, slot("1,4", core(1))), (2, 1, 1, 0, False), [], [1, 4]),
        (node("2-3", slot("1,4", core(1)), exclusive=True), (2, 1, 1, 0, True), [2, 3], [1, 4]),
        (slot("2-3", core(2)), (0, 2, 2, 0, False), [], [2, 3]),
        (core("2-3"), (0, 2, 1, 0, False), [], [2, 3]),
        # a slot of several nodes is as many slots of one node
        (slot("2-3", node(1)), (2, 1, 0, 0, True), [2, 3], []),
        (slot("2-3", node(4)), (8, 1, 0, 0, True), [8, 12], []),
        (slot("2-7:5", node(4, core(1))), (8, 1, 1, 0, True), [8, 28], []),
        (slot(3, node("2,4-5")), (6, 1, 0, 0, True), [6, 12, 15], []),
        # what else may vary is at its least
        (slot("2-3", node("2-5")), (4, 1, 0, 0, True), [4, 6], []),
        (node(2, slot(3, core("2-4"))), (2, 3, 2, 0, False), [], []),
        (node(2, core("2-4")), (2, 1, 2, 0, False), [], []),
        (slot(3, core(1), gpu("1-2")), (0, 3, 1, 1, False), [], []),
    ],
)
def test_shapes(resources, expected, nodes, slots):
    request = jobspec.parse(make(resources))
    assert numbers(request) == expected
    assert (listed(request.node_counts), listed(request.slot_counts)) == (nodes, slots)


MEMORY = other("memory", 4, unit="GB")


@pytest.mark.parametrize(
    ("roots", "least", "nodes", "slots"),
    [
        # the root varies, and all that is in it with it
        ([node("2-3", slot(2, core(1), MEMORY))], 2, [2, 3], []),
        ([node("2,5", core(1), MEMORY)], 2, [2, 5], []),
        ([slot("2-3", core(1), MEMORY)], 2, [], [2, 3]),
        ([slot("2-3", node(2, core(1), MEMORY))], 2, [4, 6], []),
        ([slot("2-3", node(2), other("ssd", 1))], 2, [], [2, 3]),
        # no other count
        ([node(2, slot("2-3", core(1), MEMORY))], 2, [], []),
        ([slot(2, node("2-3", core(1), MEMORY))], 2, [], []),
        ([node("2-3", core(1)), core(2)], 2, [], []),
        ([other("socket", "2-3", core(1))], 2, [], []),
        ([core("2-3", **{"with": [other("pu", 2)]})], 2, [], []),
    ],
)
def test_general_requests(roots, least, nodes, slots):
    request = jobspec.parse(make(*roots))
    assert request.tree[0].count == least
    assert (listed(request.node_counts), listed(request.slot_counts)) == (nodes, slots)


def test_counts_stay_within_what_a_job_may_ask_for():
    request = jobspec.parse(make(slot("2+", node(1000))))
    assert (request.nnodes, request.node_counts[0][-1]) == (2000, MAX_COUNT // 1000 * 1000)
    request = jobspec.parse(make(slot(f"2,{MAX_COUNT}", node(1000))))
    assert listed(request.node_counts) == [2000]


def test_an_idset_of_too_many_ranges():
    text = ",".join(str(2 * i + 1) for i in range(MAX_RANGES))
    assert len(jobspec.parse(make(node(text))).node_counts) == MAX_RANGES
    with pytest.raises(JobspecError, match=r"resources\[0\].count: 257 ranges, the most allowed is 256"):
        jobspec.parse(make(node(f"{text},9999")))


@given(st.integers(1, 40), st.integers(0, 3000), st.sampled_from("+*^"), st.integers(1, 9))
def test_operators(least, more, operator, operand):
    """Against the words of RFC 14: the operator gives the next acceptable value, from min to max."""
    text = f"{least}-{least + more}:{operand}:{operator}"
    if (operator != "+" and operand < 2) or (operator == "^" and least < 2):
        with pytest.raises(JobspecError):
            jobspec.parse(make(slot(text, core(1))))
        return
    expected, value = [], least
    while value <= least + more:
        expected.append(value)
        value = {"+": value + operand, "*": value * operand, "^": value**operand}[operator]
    counts = jobspec.parse(make(slot(text, core(1)))).slot_counts
    assert (listed(counts) or [least]) == expected


PER_NODE = {"per_resource": {"type": "node", "count": 3}}
PER_CORE = {"per_resource": {"type": "core", "count": 1}}
PER_GPU = {"per_resource": {"type": "gpu", "count": 1}}


@pytest.mark.parametrize(
    ("resources", "count", "got", "tasks"),
    [
        # got: slots of one node, nodes, cores
        (node("2-4", slot(2, core(1))), {"per_slot": 1}, (6, 3, 6), 6),
        (node(2, slot("1-4", core(1))), {"per_slot": 2}, (6, 2, 6), 12),
        (node("2-4", slot("1-4", core(1))), {"per_slot": 1}, (9, 3, 9), 9),
        (node("2-4", slot(2, core(1))), {"total": 5}, (6, 3, 6), 5),
        (node("2-4", slot(2, core(1))), PER_NODE, (6, 3, 6), 9),
        (node("2-4", core(2)), {"per_slot": 1}, (3, 3, 6), 3),
        (core("2-4"), {"per_slot": 1}, (4, 2, 4), 4),
        (slot("2-4", core(2)), {"per_slot": 1}, (3, 1, 6), 3),
        (slot("2-4", core(2)), PER_CORE, (3, 1, 6), 6),
        (slot("2-4", core(2), gpu(3)), PER_GPU, (3, 1, 6), 9),
        # slots of several nodes
        (slot("2-4", node(2)), {"per_slot": 1}, (6, 6, 24), 3),
        (slot(3, node("2-4")), {"per_slot": 1}, (9, 9, 36), 3),
        (slot(3, node("2-4", core(1), gpu(2))), PER_GPU, (9, 9, 9), 18),
        (slot("2-4", node(2, core(1), gpu(2))), PER_GPU, (6, 6, 6), 12),
        # general requests
        (node("2-4", slot(2, core(1), MEMORY)), {"per_slot": 1}, (6, 3, 6), 6),
        (slot("2-4", core(1), MEMORY), {"per_slot": 2}, (3, 2, 3), 6),
        (slot("2-4", node(2, core(1), MEMORY)), {"per_slot": 1}, (0, 6, 6), 3),
    ],
)
def test_tasks_of_what_was_granted(resources, count, got, tasks):
    assert jobspec.task_count(make(resources, count=count), *got) == tasks
