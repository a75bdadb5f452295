# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobspec: whatever a user may send is taken or refused, and never anything else."""

import copy
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from fluxsched.formats import jobspec
from fluxsched.formats.jobspec import JobspecError
from specs import make, other
from test_jobspec import COMMANDS

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, 1, 2**31, 2**63, 10**400]),
    st.floats(),
    st.sampled_from(["node", "slot", "core", "gpu", "task", "GB", "1-3", "3+", "[1]", "", "\ud800"]),
    st.text(max_size=4),
)
keys = st.sampled_from(
    [
        "version", "resources", "tasks", "attributes", "type", "count", "with", "label", "unit", "exclusive", "id",
        "min", "max", "operator", "operand", "command", "slot", "per_slot", "per_resource", "total", "system",
        "duration", "queue", "constraints", "properties", "hostlist", "ranks", "and", "or", "not",
    ]
)  # fmt: skip
json_values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
count_values = st.one_of(st.integers(1, 9), st.sampled_from(["2-4", "3,5", "2+:3:^", {"min": 2}, 2**31 - 1]))
vertices = st.recursive(
    st.builds(other, st.sampled_from(["core", "gpu", "memory", "node"]), count_values),
    lambda inner: st.builds(
        lambda kind, count, below, label: other(kind, count, *below, label=label),
        st.sampled_from(["slot", "node", "socket"]),
        count_values,
        st.lists(inner, min_size=1, max_size=3),
        st.sampled_from(["task", "b", "c"]),
    ),
    max_leaves=8,
)


def labelled(roots):
    """A jobspec of these vertices, each slot with a label of its own, the task in the first slot."""
    labels = []
    for path in places(roots):
        if path and path[-1] == "label":
            inner = roots
            for key in path[:-1]:
                inner = inner[key]
            if inner["type"] == "slot":
                labels.append(f"{inner['label']}{len(labels)}")
                inner["label"] = labels[-1]
    spec = make(*roots)
    if labels:
        spec["tasks"][0]["slot"] = labels[0]
    return spec


valid_or_nearly = st.lists(vertices, min_size=1, max_size=2).map(labelled)


def places(value, path=()):
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, path + (key,))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from places(inner, path + (i,))


@st.composite
def mutated(draw):
    commands = st.sampled_from([make(resources) for resources, _ in COMMANDS.values()])
    spec = copy.deepcopy(draw(valid_or_nearly | commands))
    spec["attributes"]["system"].update(queue="q", constraints={"and": [{"properties": ["a"]}, {"ranks": ["0"]}]})
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(list(places(spec))[1:]))
        inner = spec
        for key in path[:-1]:
            inner = inner[key]
        if draw(st.booleans()):
            inner[path[-1]] = draw(json_values)
        elif isinstance(inner, dict):
            if draw(st.booleans()):
                del inner[path[-1]]
            else:
                inner[draw(keys)] = draw(json_values)
        else:
            inner.append(draw(json_values))
        if not spec:
            break
    return spec


def check_sound(spec):
    """Either refused with JobspecError, or a Request within its contract; other exceptions fail the test."""
    before = repr(spec)
    try:
        request = jobspec.parse(spec)
    except JobspecError as error:
        assert str(error)
        return
    finally:
        assert repr(spec) == before
    for number in request[:4]:
        assert type(number) is int
        assert 0 <= number < 2**31
    assert max(request.nnodes, 1) * request.nslots * max(request.cores, request.gpus, 1) < 2**31
    assert type(request.exclusive) is bool
    assert not (request.exclusive and not request.nnodes)
    assert type(request.duration) is float
    assert 0 <= request.duration < 2**40
    assert type(request.queue) is str
    json.dumps(request, ensure_ascii=False, default=repr).encode()
    for least, counts in ((request.nnodes, request.node_counts), (request.nslots, request.slot_counts)):
        assert not counts or counts[0].start == least
        assert all(run and 1 <= run[0] <= run[-1] < 2**31 for run in counts)
        assert all(run[-1] < later[0] for run, later in zip(counts, counts[1:]))
    if request.tree is None:
        assert request.nslots >= 1
        assert request.cores >= 1 or request.exclusive
    # It got the least that it accepts.
    nnodes = max(request.nnodes, 1)
    nslots = nnodes * request.nslots
    try:
        assert jobspec.task_count(spec, nslots, nnodes, nslots * max(request.cores, 1)) >= 1
    except JobspecError:
        pass


@settings(max_examples=300)
@given(mutated())
def test_mutations_are_taken_or_refused(spec):
    check_sound(spec)


@settings(max_examples=200)
@given(valid_or_nearly)
def test_resource_trees_are_taken_or_refused(spec):
    check_sound(spec)


@settings(max_examples=200)
@given(json_values)
def test_any_json_is_taken_or_refused(value):
    check_sound(value)
