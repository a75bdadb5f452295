# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Memory in an R object: how much of it each rank has, and the tree that an engine needs to give it out.

RFC 20 has no word for memory. An R says it under its opaque key `scheduling`: `{"memory": [["0-3", 64000]]}` are
64,000 MB (10^6 bytes) for each of these ranks. The embedded session writes that, from what the machine or the
configuration has.
"""

from __future__ import annotations

from typing import Any, Optional

from fluxsched.formats import idset, r
from fluxsched.formats.jobspec import Request, Vertex
from fluxsched.formats.quote import quote
from fluxsched.formats.rdl import Hierarchy

KIND = "memory"  # the type of its pools
MAX = 2**31 - 1  # MB of a rank


def memory_of(R: dict[str, Any]) -> dict[int, int]:
    """MB by rank; empty if R does not say.  Raises RError."""
    scheduling = R.get("scheduling")
    rows = scheduling.get("memory") if isinstance(scheduling, dict) else None
    if rows is None:
        return {}
    found: dict[int, int] = {}
    for row in rows if isinstance(rows, list) else [None]:
        if not (isinstance(row, list) and len(row) == 2 and type(row[1]) is int and 0 < row[1] <= MAX):
            raise r.RError(f"scheduling.memory: expected a list of [ranks, MB], got {quote(rows)}")
        try:
            found.update(dict.fromkeys(idset.ids(row[0]), row[1]))
        except idset.IdsetError as error:
            raise r.RError(f"scheduling.memory: {error}") from None
    return found


def hierarchy(R: dict[str, Any]) -> Optional[Hierarchy]:
    """The resources of R as a tree, a pool of memory in each node that has some; None if R tells of no memory.

    Nodes are in ascending order of rank.  Raises RError."""
    memory = memory_of(R)
    if not memory:
        return None
    found = r.parse(R)
    flags: dict[int, dict[str, Any]] = {rank: {} for rank in found.ranks}
    for name, ranks in found.properties.items():
        for rank in ranks:
            flags[rank][name] = True
    tree: list[tuple[str, str, Optional[int], int, int, dict[str, Any]]] = [("cluster", "cluster", None, 1, -1, {})]
    for rank, host, cores, gpus in zip(found.ranks, found.hosts, found.cores, found.gpus):
        node = len(tree)
        tree.append(("node", host, None, 1, 0, flags[rank]))
        for kind, text in (("core", cores), ("gpu", gpus)):
            tree += [(kind, kind, unit, 1, node, {}) for unit in idset.ids(text)]
        if rank in memory:
            tree.append((KIND, KIND, None, memory[rank], node, {}))
    kinds, basenames, numbers, sizes, above, own = (list(column) for column in zip(*tree))
    shown = [name if number is None else f"{name}{number}" for name, number in zip(basenames, numbers)]
    return Hierarchy("R", kinds, basenames, shown, numbers, sizes, above, [{}] * len(tree), own)


def requested(request: Request) -> int:
    """MB that a job asks for in all, 0 for none; the least, if it accepts several sizes."""
    return sum(_amount(vertex) for vertex in request.tree or ())


def _amount(vertex: Vertex) -> int:
    if vertex.type == KIND:
        return vertex.count
    return vertex.count * sum(_amount(child) for child in vertex.children)
