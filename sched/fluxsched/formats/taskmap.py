# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Task maps (RFC 34): which task of a job is on which of its nodes.

A map is a list of blocks [first node, number of nodes, tasks on each, repetitions]: `[[0,2,4,1]]` puts tasks 0 to 3 on
node 0 and 4 to 7 on node 1. Two other forms are read and written: raw, `0-3;4-7`, the tasks of each node; and pmi,
`(vector,(0,2,4))`, the value of the PMI key PMI_process_mapping. Maps come from outside, so reading is bounded.
"""

from __future__ import annotations

import re
from typing import Any, Iterable

from fluxsched.errors import FluxSchedError
from fluxsched.formats import idset, jsontext
from fluxsched.formats.quote import quote

MAX_TASKS = 1 << 20
MAX_NODES = 1 << 20
MAX_TEXT = 1 << 20  # characters

_PMI = re.compile(r"\(\s*vector\s*((?:,\s*\(\s*\d{1,9}\s*,\s*\d{1,9}\s*,\s*\d{1,9}\s*\)\s*)*)\)", re.ASCII)
_NUMBERS = re.compile(r"\d+", re.ASCII)

#: First node, number of nodes, tasks on each, how often that is repeated.
Block = tuple[int, int, int, int]


class TaskmapError(FluxSchedError, ValueError):
    """The text or value is no task map, or is beyond a limit."""


def blocks(nodes: Iterable[int]) -> list[Block]:
    """The map of tasks whose nodes are `nodes`, in the order of the tasks."""
    runs: list[list[int]] = []  # first node, nodes, tasks on each
    for node in nodes:
        if runs and runs[-1][:2] == [node, 1]:
            runs[-1][2] += 1
        else:
            runs.append([node, 1, 1])
    found: list[list[int]] = []
    for node, _, count in runs:
        if found and found[-1][0] + found[-1][1] == node and found[-1][2] == count:
            found[-1][1] += 1
        else:
            found.append([node, 1, count])
    packed: list[Block] = []
    for start, width, count in found:
        if packed and packed[-1][:3] == (start, width, count):
            packed[-1] = (start, width, count, packed[-1][3] + 1)
        else:
            packed.append((start, width, count, 1))
    return packed


def expand(packed: Iterable[Block]) -> list[int]:
    """The node of each task. TaskmapError if there are more than MAX_TASKS tasks, or a node beyond MAX_NODES."""
    nodes: list[int] = []
    for start, width, count, repeat in packed:
        if len(nodes) + width * count * repeat > MAX_TASKS:
            raise TaskmapError(f"the map has more than {MAX_TASKS} tasks")
        if start + width > MAX_NODES:
            raise TaskmapError(f"the map has node {start + width - 1}, the largest allowed is {MAX_NODES - 1}")
        once = [node for node in range(start, start + width) for _ in range(count)]
        nodes += once * repeat
    return nodes


def decode(text: Any) -> list[int]:
    """The node of each task of a map in any form: text, or decoded JSON.  Raises TaskmapError."""
    if not isinstance(text, str):
        return expand(_blocks_of(text))
    if len(text) > MAX_TEXT:
        raise TaskmapError(f"expected at most {MAX_TEXT} characters, got {len(text)}")
    if text.startswith("("):
        return expand(_from_pmi(text))
    if text.startswith(("[[", "[]", "{")):
        try:
            value = jsontext.loads(text)
        except ValueError as error:
            raise TaskmapError(f"{quote(text)} is no task map: {error}") from None
        return expand(_blocks_of(value))
    return _from_raw(text)


def _blocks_of(value: Any) -> list[Block]:
    """The blocks in [[0,2,4,1]] or {"version": 1, "map": [[0,2,4,1]]}."""
    if isinstance(value, dict):
        if value.get("version") != 1:
            raise TaskmapError(f"version: expected 1, got {quote(value.get('version'))}")
        value = value.get("map")
    if not isinstance(value, list):
        raise TaskmapError(f"expected a list of blocks [node, nodes, tasks, repetitions], got {quote(value)}")
    found: list[Block] = []
    for i, block in enumerate(value):
        if not isinstance(block, list) or len(block) != 4 or not all(type(number) is int for number in block):
            raise TaskmapError(f"block {i}: expected four whole numbers [node, nodes, tasks, repetitions]")
        found.append(_checked(i, *block))
    return found


def _checked(i: int, node: int, width: int, count: int, repeat: int) -> Block:
    if node < 0 or min(width, count, repeat) < 1:
        raise TaskmapError(f"block {i}: expected a node of at least 0 and counts of at least 1")
    return node, width, count, repeat


def _from_pmi(text: str) -> list[Block]:
    match = _PMI.fullmatch(text.strip())
    if match is None:
        raise TaskmapError(f"{quote(text)} is no task map: expected (vector,(node,nodes,tasks),...)")
    numbers = [int(number) for number in _NUMBERS.findall(match[1])]
    return [
        _checked(i // 3, numbers[i], numbers[i + 1], numbers[i + 2], 1) for i in range(0, len(numbers), 3)
    ]  # fmt: skip


def _from_raw(text: str) -> list[int]:
    """The map of `0-3;4-7`, the tasks of each node."""
    nodes: dict[int, int] = {}
    if not text:
        return []
    for node, part in enumerate(text.split(";")):
        try:
            tasks = idset.ids(part, MAX_TASKS - 1)
        except idset.IdsetError as error:
            raise TaskmapError(f"{quote(text)} is no task map: {error}") from None
        for task in tasks:
            if task in nodes:
                raise TaskmapError(f"{quote(text)} is no task map: task {task} is on two nodes")
            nodes[task] = node
    for task in range(len(nodes)):
        if task not in nodes:
            raise TaskmapError(f"{quote(text)} is no task map: task {task} is missing")
    return [nodes[task] for task in range(len(nodes))]


def to_json(nodes: Iterable[int]) -> str:
    """`[[0,2,4,1]]`"""
    return "[" + ",".join("[" + ",".join(map(str, block)) + "]" for block in blocks(nodes)) + "]"


def to_pmi(nodes: Iterable[int]) -> str:
    """`(vector,(0,2,4))`; nothing if there are no tasks."""
    found = [f"({start},{width},{count})" for start, width, count, n in blocks(nodes) for _ in range(n)]
    return f"(vector,{','.join(found)})" if found else ""


def tasks_by_node(nodes: Iterable[int]) -> list[list[int]]:
    """The tasks of node 0, 1, ..."""
    found: list[list[int]] = []
    for task, node in enumerate(nodes):
        while len(found) <= node:
            found.append([])
        found[node].append(task)
    return found


def to_raw(nodes: Iterable[int]) -> str:
    """`0-3;4-7`"""
    return ";".join(idset.encode(tasks) for tasks in tasks_by_node(nodes))
