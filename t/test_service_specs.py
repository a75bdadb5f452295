# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobspecs that are read once: what is remembered is what reading says."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import specs
from fluxsched.formats import jobspec
from fluxsched.service.specs import LONGEST, Specs

VALUES = {
    ("version",): [1, 2, True, 1.0, 0, "1"],
    ("tasks", 0, "command"): [["a"], ["a", "b"], [], [1], "a", None],
    ("tasks", 0, "slot"): ["task", "other", 1],
    ("tasks", 0, "count"): [{"per_slot": 1}, {"total": 4}, {"per_slot": True}, {}, {"per_slot": 1.0}],
    ("resources", 0, "count"): [1, 3, 0, True, 1.0, "1", 2**70],
    ("attributes", "system", "duration"): [0, 1, 1.5, True, -1, None],
    ("attributes", "system", "cwd"): ["/", "\udcff", 7],
    ("attributes", "system", "queue"): ["batch", "other", ""],
    ("attributes", "system", "dependencies"): [[{"scheme": "afterok", "value": "1"}]],
    ("attributes", "system", "constraints"): [{"properties": ["a"]}, {}, {"nosuch": []}],
    ("attributes", "system", "shell"): [{"options": {"per-resource": {"type": "node", "count": 2}}}, {"options": []}],
    ("attributes",): [None, {}, {"system": {"duration": 0}}],
}  # fmt: skip


def outcome(function, *arguments):
    try:
        return function(*arguments)
    except jobspec.JobspecError as error:
        return str(error)


@settings(max_examples=60)
@given(st.lists(st.lists(st.sampled_from(list(VALUES)), max_size=3, unique=True), min_size=2, max_size=6), st.data())
def test_what_is_remembered_is_what_reading_says(series, data):
    known = Specs()
    for paths in series:
        spec = specs.make(specs.slot(2, specs.core(1)))
        for path in sorted(paths, key=len, reverse=True):
            place = spec
            for part in path[:-1]:
                place = place[part]
            place[path[-1]] = copy.deepcopy(data.draw(st.sampled_from(VALUES[path])))
        found, expected = outcome(known.read, spec), outcome(jobspec.parse, spec)
        if isinstance(expected, str):
            assert found == expected
            continue
        assert found.request == expected
        assert type(found.request.duration) is type(expected.duration)
        for held in ((2, 1, 2), (4, 2, 4), (2, 1, 2)):
            count = outcome(jobspec.task_count, spec, *held)
            assert outcome(found.task_count, spec, *held) == count
            assert outcome(jobspec.task_count, json.loads(found.text), *held) == count


def test_copies_share_what_they_ask_for():
    known = Specs()
    one, other = specs.make(cwd="/a"), specs.make(cwd="/b", environment={"A": "1"})
    other["tasks"][0]["command"] = ["sleep", "7"]
    assert known.read(one) is known.read(other)
    assert known.read(specs.make(duration=5)) is not known.read(one)
    large = specs.make(shell={"options": {"x": "y" * LONGEST}})
    assert known.read(large).request == known.read(large).request == jobspec.parse(large)
    for number in range(100):
        known.read(specs.make(duration=number + 10))
    assert len(known._known) == 64
    with pytest.raises(jobspec.JobspecError):
        known.read({})
