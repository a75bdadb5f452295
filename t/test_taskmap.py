# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Task maps (RFC 34): their forms, and what is none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxsched.formats import taskmap

# As flux-core 0.88 shows them: RFC 34, raw, pmi, node of each task.
MAPS = [
    ("[[0,2,4,1]]", "0-3;4-7", "(vector,(0,2,4))", [0] * 4 + [1] * 4),
    ("[[0,2,1,2],[0,1,1,1]]", "0,2,4;1,3", "(vector,(0,2,1),(0,2,1),(0,1,1))", [0, 1, 0, 1, 0]),
    ("[[0,2,2,1],[1,1,1,1]]", None, "(vector,(0,2,2),(1,1,1))", [0, 0, 1, 1, 1]),
    ("[[1,1,3,1],[0,1,1,1],[2,1,1,1]]", "3;0-2;4", "(vector,(1,1,3),(0,1,1),(2,1,1))", [1, 1, 1, 0, 2]),
    ("[]", "", "", []),
]


@pytest.mark.parametrize("json, raw, pmi, nodes", MAPS)
def test_forms(json, raw, pmi, nodes):
    assert taskmap.decode(json) == taskmap.decode('{"version":1,"map":%s}' % json) == nodes
    assert taskmap.decode(pmi) == nodes
    if raw is not None:
        assert taskmap.decode(raw) == nodes
        assert (taskmap.to_json(nodes), taskmap.to_raw(nodes), taskmap.to_pmi(nodes)) == (json, raw, pmi)
    assert taskmap.decode(" ( vector , ( 0 , 1 , 2 ) ) ".strip()) == [0, 0]
    assert taskmap.tasks_by_node([2, 0]) == [[1], [], [0]]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=24))
def test_any_map_comes_back_from_each_form(nodes):
    for form in (taskmap.to_json, taskmap.to_raw, taskmap.to_pmi):
        assert taskmap.decode(form(nodes)) == nodes
    assert taskmap.expand(taskmap.blocks(nodes)) == nodes


@pytest.mark.parametrize(
    "text, said",
    [
        ("0;2", "task 1 is missing"),
        ("0;0", "task 0 is on two nodes"),
        ("x", "'x' is no task map: 'x' is not an idset"),
        ("0-1048576", "the largest allowed is 1048575"),
        ("[[0,1]]", "block 0: expected four whole numbers"),
        ("[[0,1,1,1],[0,1,1,true]]", "block 1: expected four whole numbers"),
        ("[[-1,1,1,1]]", "block 0: expected a node of at least 0"),
        ("[[0,1,0,1]]", "block 0: expected a node of at least 0 and counts of at least 1"),
        ("[[0,1048577,1,1]]", "more than 1048576 tasks"),
        ("[[1048576,1,1,1]]", "node 1048576, the largest allowed is 1048575"),
        ("[[0,99999999,99999999,99999999]]", "more than 1048576 tasks"),
        ("[[0,1,1,1]", "is no task map: "),
        ('{"version":2,"map":[]}', "version: expected 1, got 2"),
        ('{"version":1}', "expected a list of blocks"),
        ("(vector,(0,1))", "expected (vector,(node,nodes,tasks),...)"),
        ("(vector,(0,0,1))", "block 0: expected a node"),
        ("(vector", "expected (vector,(node,nodes,tasks),...)"),
        ("0," * 600000, "expected at most 1048576 characters, got 1200000"),
        (7, "expected a list of blocks [node, nodes, tasks, repetitions], got 7"),
    ],
)
def test_what_is_no_map(text, said):
    with pytest.raises(taskmap.TaskmapError) as error:
        taskmap.decode(text)
    assert said in str(error.value)
    assert len(str(error.value)) < 300
