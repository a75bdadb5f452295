# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The entries of a record: what an engine was told, and what it decided, as rows of JSON values.

A part of a record begins with the whole state of the engine, in rows of the same kinds, and can be read by itself:

    ["head", {...}]                                     settings, policy, users, marks on resources, and what of them
                                                        is used up, where all is used once
    ["inventory", {"R"} or {"hierarchy", "ranks"}]      what there is
    ["hold", t, id, rows, pools, start, end, priority, t_submit, user, queue, expected]
                                                        a job that runs, and ends then at the latest; 0: never;
                                                        expected: when the policy expects that, if earlier, or null
    ["add", t, id, request, priority, t_submit, user, sequence]
    ["begun", t]                                        the state is complete

and goes on with what happened, in order; t is the time in seconds since the epoch:

    ["add" ...]                                         as above
    ["adopt", t, id, R, freed, priority, t_submit, user]  a job that ran when the module was loaded, and has given back
                                                        the ranks freed
    ["end", t, id, expiration]                          it is expected to end then
    ["cancel", t, id]  ["priority", t, id, priority]
    ["free", t, id, ranks or null, final]
    ["up", t, ranks]  ["down", t, ranks]  ["gone", t, ranks]
    ["property-add", t, name, ranks]  ["property-remove", t, name, ranks]
    ["expiration", t, when]                             of the instance
    ["policy", t, {...}]                                another policy
    ["settings", t, {...}]                              the module's settings from now on, for the reader
    ["pass", now, limit, started, denied, more]         a slice of a pass, and what it decided

rows and pools are as Engine.holding gives them, `started` has [id, rows, pools], `denied` [id, reason]. Where the
engine raised an error, its text is the last value of the row, as {"error": TEXT}.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any, Optional

import orjson

from fluxsched.core import Inventory, PluginError
from fluxsched.formats.jobspec import Request, Vertex
from fluxsched.formats.quote import quote
from fluxsched.formats.rdl import Hierarchy
from fluxsched.policy.loader import find_plugin

__all__ = [
    "FORMAT", "hash_of", "hierarchy_fact", "inventory_of", "policy_fact", "refused", "request_of", "request_row",
]

#: Of the rows here. A reader refuses another.
FORMAT = 2


def refused(row: list[Any]) -> bool:
    """Whether the engine raised an error, which is the row's last value."""
    return isinstance(row[-1], dict) and row[-1].keys() == {"error"}


def _counts(counts: tuple[range, ...]) -> list[list[int]]:
    return [[found.start, found.stop, found.step] for found in counts]


def _vertex_row(vertex: Vertex) -> list[Any]:
    children = [_vertex_row(child) for child in vertex.children]
    return [vertex.type, vertex.count, vertex.exclusive, children, _counts(vertex.counts)]


def _vertex_of(row: list[Any]) -> Vertex:
    kind, count, exclusive, children, counts = row
    return Vertex(kind, count, exclusive, tuple(map(_vertex_of, children)), tuple(range(*found) for found in counts))


def request_row(request: Request) -> list[Any]:
    """A request as JSON values; what is seldom there is left out at the end."""
    if request.tree is None and not request.node_counts and not request.slot_counts:
        return list(request[:8] if request.constraint is not None else request[:7])
    tree = None if request.tree is None else [_vertex_row(vertex) for vertex in request.tree]
    return [*request[:8], tree, _counts(request.node_counts), _counts(request.slot_counts)]


def request_of(row: list[Any]) -> Request:
    """The request of a row.  TypeError, ValueError: it is none."""
    rest: list[Any] = [*row[7:], *[None] * (11 - len(row))]
    constraint, tree, nodes, slots = rest
    nnodes, nslots, cores, gpus, exclusive, duration, queue = row[:7]
    for name, value, kinds in (("nodes", nnodes, int), ("slots", nslots, int), ("cores", cores, int),
                               ("gpus", gpus, int), ("duration", duration, (int, float)),
                               ("queue", queue, str), ("constraint", constraint or {}, dict)):
        if not isinstance(value, kinds):
            raise TypeError(f"{name} of a request: expected another type, got {quote(value)}")
    return Request(
        nnodes, nslots, cores, gpus, exclusive, duration, queue, constraint,
        None if tree is None else tuple(map(_vertex_of, tree)),
        tuple(range(*found) for found in nodes or ()), tuple(range(*found) for found in slots or ()),
    )


def hierarchy_fact(hierarchy: Hierarchy, ranks: list[int]) -> dict[str, Any]:
    """A hierarchy whose nodes are these ranks; compressed, as it has a row for each core."""
    packed = zlib.compress(orjson.dumps(dict(zip(hierarchy._fields, hierarchy))), 1)
    return {"hierarchy": base64.b64encode(packed).decode(), "ranks": ranks}


def hierarchy_of(fact: dict[str, Any]) -> Hierarchy:
    """The hierarchy of an inventory.  KeyError, TypeError, ValueError, zlib.error: it is none."""
    return Hierarchy(**orjson.loads(zlib.decompress(base64.b64decode(fact["hierarchy"]))))


def inventory_of(fact: dict[str, Any]) -> Any:
    """The inventory of a row.  Raises what hierarchy_of does, and RError."""
    if "R" in fact:
        return Inventory.from_r(fact["R"])
    return Inventory.from_rdl(hierarchy_of(fact), fact["ranks"])


def hash_of(plugin: str) -> Optional[str]:
    """Half of the SHA-256 of a plugin's file, if it is plain Python; None: it is compiled, or is not found."""
    try:
        path = find_plugin(plugin)
        return hashlib.sha256(path.read_bytes()).hexdigest()[:32] if path.suffix == ".py" else None
    except (OSError, PluginError):
        return None


def policy_fact(policy: Any) -> dict[str, Any]:
    """Which policy it is, and what it has learnt."""
    name = policy.name
    return {"name": name, "options": dict(policy.options), "hash": hash_of(name), "state": policy.state()}
