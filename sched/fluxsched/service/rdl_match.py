# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The resources of an instance: what it discovered, and what RDL says of them.

Each rank of the instance is matched to the RDL node of the same host name whose
cores and gpus agree (the same ids, or as many of them; then the instance's ids
count).  A rank without such a node is a mismatch, and the discovered resources
are used.  RDL nodes that have no rank are left out.

With in-sim the RDL nodes are forced on the ranks there are: the first node on
the lowest rank, and so on; hosts, cores and gpus are then those of the RDL.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Optional

from fluxsched.core import Engine, Inventory
from fluxsched.formats import idset as _idset
from fluxsched.formats import r as _r
from fluxsched.formats.rdl import Hierarchy
from fluxsched.service import memory
from fluxsched.service.host import LOG_ERR, LOG_INFO, LOG_WARNING

__all__ = [
    "Marks",
    "apply",
    "count",
    "idset",
    "inventory",
    "with_scheduling",
]

# Says whose the key "scheduling" of an R is; without it RFC 20 takes it for another scheduler's.
WRITER = "flux-sched:pools"
# How many mismatches, and nodes left out, are named in the log.
NAMED = 3


def idset(ids: Iterable[int]) -> str:
    """Whole numbers as an idset string (RFC 22)."""
    return _idset.encode(sorted(ids))


def count(ids: str) -> int:
    """How many ids an idset string holds."""
    return _idset.count(_idset.ranges(ids))


def with_scheduling(R: dict[str, Any], inherited: Any) -> dict[str, Any]:
    """A job's R with the opaque key ``scheduling`` of its instance's (None: it has none), which rides along (RFC 20).

    Our own part of it is ``pools``, what a job holds of RDL's pools; the instance's own pools are another tree's, and
    its ``memory`` is what all jobs share.
    """
    own = R.get("scheduling")
    if isinstance(inherited, dict) and not inherited.keys() <= {"writer", "memory"}:
        merged = {key: value for key, value in inherited.items() if key not in ("pools", "memory")}
    elif own is None:
        return R
    else:
        merged = {"writer": WRITER}
    return {**R, "scheduling": {**merged, **(own or {})}}


# -- what happens to resources after they were acquired -----------------------


def apply(engine: Engine, payload: dict[str, Any]) -> None:
    """Hand one response of resource.acquire to the engine.  ValueError names
    the field that cannot be used."""
    for name, change in (("up", engine.mark_up), ("down", engine.mark_down), ("shrink", engine.remove)):
        ranks = payload.get(name)
        if ranks is None:
            continue
        if not isinstance(ranks, str):
            raise ValueError(f"resource.acquire: field {name!r}: expected an idset string, got {ranks!r}")
        if ranks:
            change(ranks)
    for name, change in (("property-add", engine.property_add), ("property-remove", engine.property_remove)):
        table = payload.get(name)
        if table is None:
            continue
        if not isinstance(table, dict) or not all(isinstance(ranks, str) for ranks in table.values()):
            raise ValueError(f"resource.acquire: field {name!r}: expected idset strings by property, got {table!r}")
        for key, ranks in table.items():
            change(key, ranks)


class Marks:
    """All responses of resource.acquire since the first, folded, so that they
    can be given to another engine."""

    def __init__(self) -> None:
        self.up: set[int] = set()  # ranks
        self.gone: set[int] = set()
        self.properties: list[dict[str, Any]] = []  # responses with those keys alone

    def add(self, payload: dict[str, Any]) -> None:
        """Take up one response."""
        if isinstance(payload.get("up"), str) and payload["up"]:
            self.up.update(_idset.ids(payload["up"]))
        for name in ("down", "shrink"):
            if isinstance(payload.get(name), str) and payload[name]:
                ranks = _idset.ids(payload[name])
                self.up.difference_update(ranks)
                if name == "shrink":
                    self.gone.update(ranks)
        for name in ("property-add", "property-remove"):
            if isinstance(payload.get(name), dict) and payload[name]:
                self.properties.append({name: payload[name]})

    def replay(self, engine: Engine) -> None:
        """Give another engine all that there was."""
        for change in self.properties:
            apply(engine, change)
        apply(engine, {"up": idset(self.up), "shrink": idset(self.gone)})


# -- RDL against the instance -------------------------------------------------


#: A line for the log: its level (syslog) and text.
Log = Callable[[int, str], Any]


class _Node:
    """One RDL node: its place in the hierarchy, and what is below it."""

    __slots__ = ("at", "name", "cores", "gpus")

    def __init__(self, at: int, name: str) -> None:
        self.at = at
        self.name = name
        self.cores: list[int] = []     # vertices
        self.gpus: list[int] = []


#: An RDL node, its rank, and the ids of its cores and gpus.
_Match = tuple[_Node, int, list[int], list[int]]


def _nodes(hierarchy: Hierarchy) -> list[_Node]:
    """The nodes of a hierarchy in its order."""
    found: list[_Node] = []
    owner: list[Optional[_Node]] = [None] * len(hierarchy.type)
    for at, (kind, parent) in enumerate(zip(hierarchy.type, hierarchy.parent)):
        if kind == "node":
            owner[at] = node = _Node(at, hierarchy.name[at])
            found.append(node)
        elif parent >= 0:
            owner[at] = inside = owner[parent]
            if inside is not None and kind == "core":
                inside.cores.append(at)
            elif inside is not None and kind == "gpu":
                inside.gpus.append(at)
    return found


#: An inventory, and the hierarchy that it was made of; None: it is as discovered.
Found = tuple[Inventory, Optional[Hierarchy]]


def inventory(R: Any, hierarchy: Optional[Hierarchy], in_sim: bool, path: str, log: Log) -> Found:
    """The inventory to schedule, from the instance's R and an RDL hierarchy
    (None: only what was discovered), and the part of the RDL that it is, if it
    is, or the tree of an R that tells of memory.  RError, ValueError.
    """
    if hierarchy is None:
        made = memory.hierarchy(R)
        return (Inventory.from_r(R), None) if made is None else (Inventory.from_rdl(made, _r.parse(R).ranks), made)
    found = _r.parse(R)
    nodes = _nodes(hierarchy)
    if in_sim:
        return _forced(found, hierarchy, nodes, path, log)
    matched, wrong = _matched(found, hierarchy, nodes)
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        log(LOG_ERR, f"RDL({path}) does not agree with the instance: {'; '.join(wrong[:NAMED])}{more}")
        log(LOG_INFO, "using the resources that the instance discovered")
        return Inventory.from_r(R), None
    left = len(nodes) - len(matched)
    if left:
        taken = {node.at for node, *_ in matched}
        names = ", ".join([node.name for node in nodes if node.at not in taken][:NAMED])
        dots = ", ..." if left > NAMED else ""
        log(LOG_WARNING, f"RDL({path}): {left} nodes have no rank and are left out: {names}{dots}")
    return _assemble(hierarchy, matched, log)


def _ids(hierarchy: Hierarchy, vertices: list[int]) -> Optional[list[int]]:
    """Ids of cores or gpus below a node, if they are told apart by them."""
    ids = [number for number in (hierarchy.id[at] for at in vertices) if number is not None]
    return ids if len(set(ids)) == len(vertices) else None


def _agree(hierarchy: Hierarchy, vertices: list[int], ids: str) -> Optional[list[int]]:
    """How vertices are numbered if they are these ids: a list, or None."""
    wanted = _idset.ids(ids)
    own = _ids(hierarchy, vertices)
    if own is not None and set(own) == set(wanted):
        return own
    return wanted if len(wanted) == len(vertices) else None


def _matched(found: _r.RNodes, hierarchy: Hierarchy, nodes: list[_Node]) -> tuple[list[_Match], list[str]]:
    """Ranks to nodes: [(node, rank, core ids, gpu ids)] and the mismatches."""
    by_name: dict[str, list[_Node]] = {}
    for node in nodes:
        by_name.setdefault(node.name, []).append(node)
    matched = []
    wrong = []
    for rank, host, cores, gpus in zip(found.ranks, found.hosts, found.cores, found.gpus):
        candidates = by_name.get(host, [])
        for place, node in enumerate(candidates):
            core_ids = _agree(hierarchy, node.cores, cores)
            gpu_ids = _agree(hierarchy, node.gpus, gpus)
            if core_ids is not None and gpu_ids is not None:
                matched.append((node, rank, core_ids, gpu_ids))
                del candidates[place]
                break
        else:
            if not candidates:
                wrong.append(f"rank {rank} ({host}) is no node of it")
            else:
                node = candidates[0]
                wrong.append(
                    f"rank {rank} ({host}) has {count(cores)} cores and {count(gpus)} gpus,"
                    f" not {len(node.cores)} and {len(node.gpus)}"
                )
    return matched, wrong


def _forced(found: _r.RNodes, hierarchy: Hierarchy, nodes: list[_Node], path: str, log: Log) -> Found:
    matched = []
    for node, rank in zip(nodes, sorted(found.ranks)):
        core_ids = _ids(hierarchy, node.cores)
        gpu_ids = _ids(hierarchy, node.gpus)
        matched.append((
            node,
            rank,
            core_ids if core_ids is not None else list(range(len(node.cores))),
            gpu_ids if gpu_ids is not None else list(range(len(node.gpus))),
        ))
    if not matched:
        raise ValueError(f"RDL({path}): no resource of type node")
    log(LOG_INFO, f"RDL({path}): {len(matched)} of {len(nodes)} nodes forced on {len(found.ranks)} ranks")
    return _assemble(hierarchy, matched, log)


def _assemble(hierarchy: Hierarchy, matched: list[_Match], log: Log) -> Found:
    """The inventory of the matched nodes, and their part of the hierarchy."""
    pruned, ordered = _prune(hierarchy, matched)
    ranks = [rank for _, rank, _, _ in ordered]
    if ranks != sorted(ranks):
        log(LOG_WARNING, "ranks run across the branches of the RDL tree: levels above the nodes are left out")
        pruned, ordered = _prune(hierarchy, matched, flat=True)
        ranks = [rank for _, rank, _, _ in ordered]
    return Inventory.from_rdl(pruned, ranks), pruned


def _prune(hierarchy: Hierarchy, matched: list[_Match], flat: bool = False) -> tuple[Hierarchy, list[_Match]]:
    """A hierarchy of the matched nodes alone, siblings in order of rank, cores
    and gpus numbered as matched; and the matches in its order of nodes.  `flat`:
    all nodes right below the root."""
    size = len(hierarchy.type)
    children: list[list[int]] = [[] for _ in range(size)]
    for at, parent in enumerate(hierarchy.parent):
        if parent >= 0:
            children[parent].append(at)
    chosen = {match[0].at: match for match in matched}
    holds = [False] * size  # a node, matched or not, here or below
    least: list[Optional[int]] = [None] * size   # lowest rank here or below
    for at in range(size - 1, -1, -1):
        if hierarchy.type[at] == "node":
            holds[at] = True
            least[at] = chosen[at][1] if at in chosen else None
        for child in children[at]:
            holds[at] = holds[at] or holds[child]
            below, here = least[child], least[at]
            if below is not None and (here is None or below < here):
                least[at] = below
    numbers: dict[int, int] = {}
    for node, _, core_ids, gpu_ids in matched:
        numbers.update(zip(node.cores, core_ids))
        numbers.update(zip(node.gpus, gpu_ids))

    names = ("type", "basename", "name", "id", "size", "tags", "properties")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    parents: list[int] = []
    ordered: list[_Match] = []

    def emit(at: int, parent: int) -> int:
        for name in names:
            columns[name].append(getattr(hierarchy, name)[at])
        parents.append(parent)
        if at in numbers and numbers[at] != hierarchy.id[at]:
            columns["id"][-1] = numbers[at]
            columns["name"][-1] = f"{hierarchy.basename[at]}{numbers[at]}"
        if at in chosen:
            ordered.append(chosen[at])
        return len(parents) - 1

    def order(at: int) -> tuple[bool, int, int]:
        return (least[at] is not None, least[at] or 0, at)

    root = hierarchy.parent.index(-1)
    stack = [(root, -1)]
    if flat:
        top = emit(root, -1)
        stack = [(match[0].at, top) for match in sorted(matched, key=lambda match: -match[1])]
    while stack:
        at, parent = stack.pop()
        if holds[at] and least[at] is None:
            continue
        place = emit(at, parent)
        stack.extend((child, place) for child in sorted(children[at], key=order, reverse=True))
    return Hierarchy(uri=hierarchy.uri, parent=parents, **columns), ordered
