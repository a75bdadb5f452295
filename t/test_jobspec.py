# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobspec: RFC 25, the shapes of RFC 14, and whatever a user may send."""

import json
import math

import pytest

from fluxsched.formats import jobspec
from fluxsched.formats.jobspec import JobspecError, Request, Vertex
from specs import core, gpu, make, node, numbers, other, slot

# ---- shapes

# What flux submit --dry-run prints for these options.
COMMANDS = {
    "-n1": (slot(1, core(1)), (0, 1, 1, 0, False)),
    "-n4": (slot(4, core(1)), (0, 4, 1, 0, False)),
    "-n4 -c2 -g1": (slot(4, core(2), gpu(1)), (0, 4, 2, 1, False)),
    "-N2": (node(2, slot(1, core(1)), exclusive=True), (2, 1, 1, 0, True)),
    "-N2 -n4 -c2 -g1 -x": (node(2, slot(2, core(2), gpu(1)), exclusive=True), (2, 2, 2, 1, True)),
    "-N2 -n4": (node(2, slot(2, core(1))), (2, 2, 1, 0, False)),
    "-N2 -n5": (node(2, slot(3, core(1))), (2, 3, 1, 0, False)),
    "-N2 --cores=8": (node(2, slot(1, core(4))), (2, 1, 4, 0, False)),
    "-N4 --cores=8 --gpus-per-node=1": (node(4, slot(1, core(2), gpu(1))), (4, 1, 2, 1, False)),
    "-N1 -n5 -x": (node(1, slot(5, core(1)), exclusive=True), (1, 5, 1, 0, True)),
}


@pytest.mark.parametrize("options", COMMANDS)
def test_what_commands_emit(options):
    resources, expected = COMMANDS[options]
    request = jobspec.parse(make(resources))
    assert numbers(request) == expected
    assert request == Request(*expected, 0.0, "", None, None)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        # slot > node: whole nodes, unless the node says otherwise
        (slot(4, node(1)), (4, 1, 0, 0, True)),
        (slot(3, node(2)), (6, 1, 0, 0, True)),
        (slot(4, node(1, core(2), gpu(1))), (4, 1, 2, 1, True)),
        (slot(4, node(1, core(2), exclusive=False)), (4, 1, 2, 0, False)),
        # without slots
        (node(3), (3, 1, 0, 0, True)),
        (node(3, exclusive=True), (3, 1, 0, 0, True)),
        (node(3, core(4)), (3, 1, 4, 0, False)),
        (node(3, core(4), gpu(2), exclusive=True), (3, 1, 4, 2, True)),
        (core(6), (0, 6, 1, 0, False)),
        # the same type twice is asked for twice
        (slot(2, core(1), core(2)), (0, 2, 3, 0, False)),
        # sharing a core that may be shared is not needed; a unit says nothing about cores
        (slot(2, core(1, exclusive=False, unit="cores", label="c")), (0, 2, 1, 0, False)),
        (node(2, slot(2, core(1), exclusive=True)), (2, 2, 1, 0, False)),
        # only gpus of nodes that are taken whole
        (node(2, slot(1, gpu(1)), exclusive=True), (2, 1, 0, 1, True)),
    ],
)
def test_shapes_that_are_numbers(resources, expected):
    assert jobspec.parse(make(resources)) == Request(*expected, 0.0, "", None, None)


@pytest.mark.parametrize(
    ("resources", "expected", "tree"),
    [
        # RFC 14, use cases 1.3 and 1.4
        (
            [slot(4, node(1, other("socket", {"min": 2}, core({"min": 4})), exclusive=False))],
            (4, 1, 8, 0, False),
            "slot:4!(node:1(socket:2!(core:4!)))",
        ),
        (
            [slot(4, node(1, other("socket", 2, core(4))))],
            (4, 1, 8, 0, True),
            "slot:4!(node:1!(socket:2!(core:4!)))",
        ),
        # 1.5
        (
            [
                other("cluster", 1, slot(2, node(1, other("memory", 4, unit="GB"), other("ib10g", 1)))),
                other("switch", 1, slot(2, node(1, core(2)), label="bicore")),
            ],
            (4, 1, 1, 0, True),
            "cluster:1(slot:2!(node:1!(memory:4000!,ib10g:1!))),switch:1(slot:2!(node:1!(core:2!)))",
        ),
        # 1.6 and 1.7
        (
            [other("cluster", 2, slot(1, node({"min": 1}, core(30), exclusive=False)))],
            (2, 1, 30, 0, False),
            "cluster:2(slot:1!(node:1(core:30!)))",
        ),
        # 2.4: two kinds of slot in a node
        (
            [
                node(
                    1,
                    slot(10, core(1), other("memory", 4, unit="GB")),
                    slot(1, core(6), other("memory", 24, unit="GB"), label="db"),
                )
            ],
            (1, 11, 0, 0, False),
            "node:1(slot:10!(core:1!,memory:4000!),slot:1!(core:6!,memory:24000!))",
        ),
        # 2.5 and 2.6
        (
            [slot(10, other("memory", {"min": 2}, unit="GB"), core(1))],
            (0, 10, 1, 0, False),
            "slot:10!(memory:2000!,core:1!)",
        ),
        (
            [slot(2, node(1, other("memory", {"min": 4}, unit="GB")))],
            (2, 1, 0, 0, True),
            "slot:2!(node:1!(memory:4000!))",
        ),
        # sparse: no socket between, no slot, no node
        ([node(2, core(4), other("memory", 100))], (2, 1, 4, 0, False), "node:2(core:4,memory:100)"),
        ([other("socket", 2, core(4))], (0, 1, 8, 0, False), "socket:2(core:4)"),
        ([other("socket", 1)], (0, 1, 0, 0, False), "socket:1"),
        ([node(2, other("socket", 1, slot(1, core(3))))], (2, 1, 3, 0, False), "node:2(socket:1(slot:1!(core:3!)))"),
        # a slot of several nodes beside something else
        ([slot(2, node(3), other("ssd", 1))], (0, 2, 0, 0, False), "slot:2!(node:3!,ssd:1!)"),
        # several at the top
        ([core(4), gpu(1)], (0, 1, 4, 1, False), "core:4,gpu:1"),
        ([node(1, core(2)), core(2)], (0, 1, 4, 0, False), "node:1(core:2),core:2"),
        ([node(1, core(2)), node(2, core(3))], (3, 1, 0, 0, False), "node:1(core:2),node:2(core:3)"),
        ([core(4, **{"with": [other("pu", 2)]})], (0, 1, 4, 0, False), "core:4(pu:2)"),
        ([slot(2, core(1), node(1))], (0, 2, 1, 0, False), "slot:2!(core:1!,node:1!)"),
        # slots of different sizes: no whole number of cores each
        ([slot(2, core(1)), slot(1, core(3), label="b")], (0, 3, 0, 0, False), "slot:2!(core:1!),slot:1!(core:3!)"),
    ],
)
def test_shapes_that_are_trees(resources, expected, tree):
    def show(vertices):
        return ",".join(
            f"{v.type}:{v.count}{'!' * v.exclusive}" + (f"({show(v.children)})" if v.children else "") for v in vertices
        )

    request = jobspec.parse(make(*resources))
    assert show(request.tree) == tree
    assert numbers(request) == expected
    assert all(type(vertex) is Vertex for vertex in request.tree)


# ---- counts


@pytest.mark.parametrize(
    ("count", "least"),
    [
        (7, 7), (2**31 - 1, 2**31 - 1),
        ("7", 7), ("3-30", 3), ("[3-30]", 3), ("4,9,16,25", 4), ("[4,9]", 4), ("1-5:2", 1), ("1-5:2:+", 1),
        ("2-64:2:*", 2), ("[100+]", 100), ("3+", 3), ("2+:2:^", 2),
        ({"min": 3}, 3), ({"min": 3, "max": 3}, 3), ({"min": 3, "max": 30, "operator": "+", "operand": 1}, 3),
        ({"min": 2, "max": 64, "operator": "^", "operand": 2}, 2), ({"min": 1, "operator": "*", "operand": 3}, 1),
    ],
)  # fmt: skip
def test_counts(count, least):
    assert jobspec.parse(make(slot(count, core(1)))).nslots == least
    if least < 100:
        assert jobspec.parse(make(slot(1, core(count)))).cores == least


BAD_COUNTS = [
    0, -1, 2**31, 10**400, 1.0, 1.5, math.nan, math.inf, True, None, [], [1], "", "0", "0-3", "a", "-1", "1.0", "01",
    "3-1", "1-", "2-4:0", "2-4:1:*", "1-8:2:^", "2-4:2:/", "5+:2:",
    "4,2", "[4", "2147483648", "3000000000+", "9" * 9999,
    "1_0", {}, {"max": 3}, {"min": 0}, {"min": "1"}, {"min": True}, {"min": 3, "max": 2}, {"min": 1, "max": 2**31},
    {"min": 1, "operator": "+"}, {"min": 1, "operand": 1}, {"min": 1, "operator": "-", "operand": 1},
    {"min": 1, "operator": ["+"], "operand": 1}, {"min": 1, "operator": "*", "operand": 1},
    {"min": 1, "operator": "^", "operand": 2}, {"min": 1, "operator": "+", "operand": 0}, {"min": 1, "step": 2},
    {"min": {"min": 1}},
]  # fmt: skip


@pytest.mark.parametrize("count", BAD_COUNTS)
def test_bad_counts(count):
    with pytest.raises(JobspecError, match=r"^resources\[0\]\.with\[0\]\.count"):
        jobspec.parse(make(node(1, slot(count, core(1)))))


@pytest.mark.parametrize(
    ("count", "unit", "amount"),
    [
        (4, "GB", 4000), (4, "MB", 4), (1, "TB", 10**6), (1, "GiB", 1074), (1, "MiB", 2), (1, "B", 1),
        (1000001, "B", 2), (5, "kB", 1), (5, "KB", 1), (3, "GB/s", 3000), ("2-4", "GB", 2000),
    ],
)  # fmt: skip
def test_units(count, unit, amount):
    request = jobspec.parse(make(slot(1, core(1), other("memory", count, unit=unit))))
    assert request.tree[0].children[1] == Vertex("memory", amount, True, ())


# ---- the other fields


@pytest.mark.parametrize(("value", "seconds"), [(0, 0.0), (0.0, 0.0), (300, 300.0), (0.25, 0.25), (10**11, 1e11)])
def test_duration(value, seconds):
    request = jobspec.parse(make(duration=value))
    assert request.duration == seconds
    assert type(request.duration) is float


@pytest.mark.parametrize(
    "value", ["300", "5m", True, False, None, -1, -0.001, math.nan, math.inf, 1e300, 10**400, [], {}]
)
def test_bad_duration(value):
    with pytest.raises(JobspecError, match=r"^attributes\.system\.duration: expected a number of seconds"):
        jobspec.parse(make(duration=value))


@pytest.mark.parametrize("attributes, missing", [
    (None, "system"), ({}, "system"), ({"user": {"a": 1}}, "system"), ({"system": {}}, "system"),
    ({"system": {"queue": "debug"}}, "duration"),
])
def test_a_duration_is_required(attributes, missing):
    """By RFC 25; flux-core's schedulers deny with these words."""
    spec = make()
    spec["attributes"] = attributes
    with pytest.raises(JobspecError, match=f"getting duration: Object item not found: {missing}$"):
        jobspec.parse(spec)


def test_only_the_duration_is_required():
    spec = make()
    spec["attributes"] = {"system": {"duration": 5}}
    assert jobspec.parse(spec)[5:8] == (5.0, "", None)


def test_queue_and_constraint():
    limits = {"and": [{"properties": ["a", "^b"]}, {"ranks": ["0-3"]}]}
    request = jobspec.parse(make(queue="batch", constraints=limits))
    assert request.queue == "batch"
    assert request.constraint == limits
    assert jobspec.parse(make(constraints={})).constraint is None


def changed(value, *path):
    spec = make(node(1, slot(1, core(1))))
    inner = spec
    for key in path[:-1]:
        inner = inner[key]
    if value is DELETED:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return spec


DELETED = object()
DEEP = json.loads("[" * 500 + "]" * 500)
VERTEX = ("resources", 0)
TASK = ("tasks", 0)


def chain(depth):
    vertex = core(1)
    for i in range(depth - 1):
        vertex = other(f"t{i}", 1, vertex)
    return vertex


REFUSED = [
    (None, "jobspec: expected an object, got null"),
    ([], "jobspec: expected an object, got a list"),
    (changed(DELETED, "version"), "version: expected an integer of 1 or more, got null"),
    (changed(0, "version"), "version: expected an integer of 1 or more, got 0"),
    (changed(True, "version"), "version: expected an integer of 1 or more, got true"),
    (changed("1", "version"), "version: expected an integer of 1 or more, got '1'"),
    (changed(DELETED, "resources"), "resources: expected a list, got null"),
    (changed({}, "resources"), "resources: expected a list, got an object"),
    (changed([], "resources"), "resources: expected at least one resource"),
    (changed(DEEP, "resources"), r"resources\[0\]: expected an object, got a list"),
    (changed("core", *VERTEX), r"resources\[0\]: expected an object, got 'core'"),
    (changed("x", *VERTEX, "exlusive"), r"resources\[0\]: unknown key 'exlusive'"),
    (changed(DELETED, *VERTEX, "type"), r"resources\[0\].type: expected a string of 1 to 256 characters, got null"),
    (changed("", *VERTEX, "type"), r"resources\[0\].type: expected a string of 1 to 256 characters, got ''"),
    (changed("x" * 257, *VERTEX, "type"), r"resources\[0\].type: expected a string"),
    (changed(["node"], *VERTEX, "type"), r"resources\[0\].type: expected a string .* got a list"),
    (changed(DELETED, *VERTEX, "count"), r"resources\[0\].count: expected a positive integer, .* got null"),
    (changed(1, *VERTEX, "exclusive"), r"resources\[0\].exclusive: expected true or false, got 1"),
    (changed(None, *VERTEX, "exclusive"), r"resources\[0\].exclusive: expected true or false, got null"),
    (changed("0", *VERTEX, "id"), r"resources\[0\].id: resources cannot be asked for by id"),
    (changed(1, *VERTEX, "unit"), r"resources\[0\].unit: expected a string"),
    (changed(1, *VERTEX, "label"), r"resources\[0\].label: expected a string"),
    (changed([], *VERTEX, "with"), r"resources\[0\].with: expected at least one resource"),
    (changed(None, *VERTEX, "with"), r"resources\[0\].with: expected a list, got null"),
    (changed(DELETED, *VERTEX, "with", 0, "with"), r"with\[0\].with: expected the resources of the slot"),
    (changed(DELETED, *VERTEX, "with", 0, "label"), r"resources\[0\].with\[0\].label: expected a string, got null"),
    (make(other("memory", 4, unit="furlong")), r"resources\[0\].unit: expected one of B, KB, .* got 'furlong'"),
    (make(other("memory", 4000, unit="TB")), r"resources\[0\].unit: 4000000000 MB, the most allowed is 2147483647"),
    (make(slot(1, core(1)), slot(1, core(1))), r"resources\[1\].label: 'task' is there twice"),
    (make(slot(1, slot(1, core(1), label="b"))), r"resources\[0\].with\[0\]: a slot cannot be inside a slot"),
    (make(slot(1, node(1, slot(1, core(1), label="b")))), "a slot cannot be inside a slot"),
    (make(node(1, other("socket", 1, node(1)))), "a node cannot be inside a node"),
    (make(slot(1, gpu(1))), "resources: expected a core, or exclusive nodes"),
    (make(gpu(1)), "resources: expected a core, or exclusive nodes"),
    (make(node(2, exclusive=False)), "resources: expected a core, or exclusive nodes"),
    (make(node(2, slot(1, gpu(1)))), "resources: expected a core, or exclusive nodes"),
    (make(slot(2, node(2**30, core(1)))), r"with\[0\]: 2147483648 of 'node', the most allowed is 2147483647"),
    (make(node(2**20, slot(2**20, core(1)))), "1099511627776 of 'slot', the most allowed"),
    (make(node(2**10, slot(2**10, core(2**11)))), "2147483648 of 'core', the most allowed"),
    (make(slot(1, core(2**31 - 1), core(1))), "2147483648 of 'core', the most allowed"),
    (make(other("a", 2**31 - 1, other("b", 2**31 - 1, other("c", 2**31 - 1)))), "of 'c', the most allowed is 9223"),
    (make(chain(33)), "nested deeper than 32"),
    (make(*[core(1)] * 10001), "resources: more than 10000 vertices"),
    (make(*[other("a", 1, *[core(1)] * 101)] * 100), "resources: more than 10000 vertices"),
    (changed(DELETED, "tasks"), "tasks: expected a list of 1 to 10000 tasks, got null"),
    (changed([], "tasks"), "tasks: expected a list of 1 to 10000 tasks"),
    (changed([1] * 10001, "tasks"), "tasks: expected a list of 1 to 10000 tasks"),
    (changed("true", *TASK), r"tasks\[0\]: expected an object"),
    (changed(DELETED, *TASK, "command"), r"tasks\[0\].command: expected a list of strings, got null"),
    (changed("true", *TASK, "command"), r"tasks\[0\].command: expected a list of strings"),
    (changed([], *TASK, "command"), r"tasks\[0\].command: expected a list of strings"),
    (changed(["sleep", 1], *TASK, "command"), r"tasks\[0\].command: expected a list of strings"),
    (changed(DELETED, *TASK, "slot"), r"tasks\[0\].slot: expected a string"),
    (changed("nosuch", *TASK, "slot"), r"tasks\[0\].slot: no slot is labelled 'nosuch'"),
    (changed(4, *TASK, "count"), r"tasks\[0\].count: expected an object, got 4"),
    (changed({}, *TASK, "count"), r"tasks\[0\].count: expected exactly one of per_slot, per_resource, total"),
    (changed({"per_slot": 1, "total": 1}, *TASK, "count"), r"tasks\[0\].count: expected exactly one of"),
    (changed({"per_slot": 0}, *TASK, "count"), r"tasks\[0\].count.per_slot: expected an integer from 1"),
    (changed({"total": "4"}, *TASK, "count"), r"tasks\[0\].count.total: expected an integer from 1 .* got '4'"),
    (changed({"total": True}, *TASK, "count"), r"tasks\[0\].count.total: .* got true"),
    (changed({"per_resource": 1}, *TASK, "count"), r"tasks\[0\].count.per_resource: expected an object"),
    (changed({"per_resource": {"count": 1}}, *TASK, "count"), r"count.per_resource.type: expected a string"),
    (changed({"per_resource": {"type": "gpu", "count": 1}}, *TASK, "count"), "type: 'gpu' is not in the slot"),
    (changed({"per_resource": {"type": "core"}}, *TASK, "count"), "per_resource.count: expected an integer from 1"),
    (changed(DELETED, "attributes"), "attributes: expected an object, got nothing"),
    (changed([], "attributes"), "attributes: expected an object, got a list"),
    (changed(None, "attributes", "system"), "attributes.system: expected an object, got null"),
    (make(queue=1), "attributes.system.queue: expected a string"),
    (make(queue="\ud800"), "attributes.system.queue: expected valid UTF-8"),
    (make(other("\ud800", 1)), r"resources\[0\].type: expected valid UTF-8"),
    (make(queue=None), "attributes.system.queue: expected a string"),
    (make(queue="x" * 257), "attributes.system.queue: expected a string"),
    (make(constraints=None), "attributes.system.constraints: expected an object, got null"),
    (make(constraints={"nosuch": []}), "attributes.system.constraints: unknown operator 'nosuch'"),
    (make(constraints={"ranks": ["a"]}), "attributes.system.constraints: ranks: 'a' is not an idset"),
    (make(constraints={"and": DEEP}), "attributes.system.constraints: expected an object, got a list"),
]


@pytest.mark.parametrize(("spec", "text"), REFUSED)
def test_refuses(spec, text):
    with pytest.raises(JobspecError, match=text) as caught:
        jobspec.parse(spec)
    assert len(str(caught.value)) < 400


def test_at_the_limits():
    assert jobspec.parse(make(chain(32))).tree
    assert jobspec.parse(make(*[core(1)] * 10000)).cores == 10000
    assert jobspec.parse(make(slot(1, core(2**31 - 1)))).cores == 2**31 - 1


def test_nesting_beyond_the_recursion_limit():
    vertex = core(1)
    for _ in range(100000):
        vertex = other("a", 1, vertex)
    with pytest.raises(JobspecError, match="nested deeper than 32"):
        jobspec.parse(make(vertex))
    while "with" in vertex:  # taken apart by hand, as freeing it in one go would nest as deep
        vertex = vertex["with"].pop()


# ---- tasks


def per(kind, count):
    return {"per_resource": {"type": kind, "count": count}}


@pytest.mark.parametrize(
    ("spec", "allocated", "tasks"),
    [
        # allocated: slots, nodes, cores
        (make(slot(4, core(2))), (4, 2, 8), 4),
        (make(slot(4, core(2)), count={"per_slot": 3}), (4, 2, 8), 12),
        (make(node(2, slot(3, core(1))), count={"total": 5}), (6, 2, 6), 5),
        (make(slot(4, core(2)), count=per("core", 2)), (4, 2, 8), 16),
        (make(slot(4, core(2), gpu(3)), count=per("gpu", 2)), (4, 2, 8), 24),
        (make(node(2, slot(3, core(1))), count=per("node", 2)), (6, 2, 6), 4),
        (make(node(2, slot(1, core(1)), exclusive=True), count=per("core", 1)), (2, 2, 32), 32),
        # a task of a slot of three nodes is one task
        (make(slot(2, node(3))), (6, 6, 96), 2),
        (make(slot(2, node(3)), count=per("node", 1)), (6, 6, 96), 6),
        # no slot
        (make(core(6)), (6, 1, 6), 6),
        (make(node(3, core(4))), (3, 3, 12), 3),
        (make(core(6), count=per("core", 2)), (6, 1, 6), 12),
        # inside other types
        (make(node(2, other("socket", 2, slot(3, core(1))))), (12, 2, 12), 12),
        (make(slot(3, other("socket", 2, core(1))), count=per("socket", 1)), (3, 1, 6), 6),
        # the shell's option goes first
        (make(slot(8, core(1)), shell={"options": {"per-resource": {"type": "node", "count": 2}}}), (8, 3, 8), 6),
        (make(slot(8, core(1)), shell={"options": {"per-resource": {"type": "core", "count": 2}}}), (8, 3, 8), 16),
        (make(slot(8, core(1)), shell={"options": {"per-resource": {"type": "node"}}}), (8, 3, 8), 3),
        (make(slot(8, core(1)), shell={"options": {"rlimit": {}}}), (8, 3, 8), 8),
        (make(slot(8, core(1)), shell={}), (8, 3, 8), 8),
    ],
)  # fmt: skip
def test_task_count(spec, allocated, tasks):
    jobspec.parse(spec)
    assert jobspec.task_count(spec, *allocated) == tasks


def test_tasks_of_two_kinds_of_slot():
    spec = make(node(2, slot(10, core(1)), slot(1, core(6), label="db")))
    spec["tasks"].append({"command": ["db"], "slot": "db", "count": {"per_resource": {"type": "core", "count": 1}}})
    assert jobspec.task_count(spec, 22, 2, 32) == 20 + 12


@pytest.mark.parametrize(
    ("shell", "text"),
    [
        (1, "attributes.system.shell: expected an object, got 1"),
        ({"options": []}, "attributes.system.shell.options: expected an object, got a list"),
        ({"options": {"per-resource": 2}}, "attributes.system.shell.options.per-resource: expected an object"),
        ({"options": {"per-resource": {}}}, "per-resource.type: expected node or core, got null"),
        ({"options": {"per-resource": {"type": "gpu"}}}, "per-resource.type: expected node or core, got 'gpu'"),
        ({"options": {"per-resource": {"type": ["node"]}}}, "per-resource.type: expected node or core, got a list"),
        ({"options": {"per-resource": {"type": "node", "count": 0}}}, "per-resource.count: expected an integer from 1"),
    ],
)
def test_task_count_refuses(shell, text):
    spec = make(shell=shell)
    assert jobspec.parse(spec)
    with pytest.raises(JobspecError, match=text):
        jobspec.task_count(spec, 1, 1, 1)


def test_too_many_tasks():
    spec = make(slot(4, core(1)), count={"per_slot": 2**30})
    with pytest.raises(JobspecError, match="tasks: 4294967296 tasks, the most allowed"):
        jobspec.task_count(spec, 4, 1, 4)
    with pytest.raises(JobspecError, match="jobspec: expected an object"):
        jobspec.task_count([], 1, 1, 1)
