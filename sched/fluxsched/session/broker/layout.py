# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""From a job's resources to its tasks: how many on which rank, and on which cores."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Mapping, Optional, Sequence

from fluxsched.formats import hostlist, idset
from fluxsched.formats import jobspec as jobspecs
from fluxsched.session import jobid as ids
from fluxsched.session import shelloptions
from fluxsched.session.broker import affinity
from fluxsched.session.rset import held

#: (rank, host, cores, gpus) of a job's resources.
Row = tuple[int, str, list[int], list[int]]
NOTHING: Mapping[int, frozenset[int]] = MappingProxyType({})


def per_resource(spec: dict[str, Any]) -> Optional[dict[str, Any]]:
    """The shell option of --tasks-per-node and --tasks-per-core, or None."""
    return spec["attributes"]["system"].get("shell", {}).get("options", {}).get("per-resource")


def _slots(request: jobspecs.Request, rows: Sequence[Row], total: int) -> list[int]:
    """Slots on each rank; total: of the job, by its R."""
    if request.slot_counts and request.nnodes:
        return [total // len(rows)] * len(rows)
    if request.nnodes:
        return [request.nslots] * len(rows)
    if request.cores:
        return [len(cores) // request.cores for _, _, cores, _ in rows]
    if request.gpus:
        return [len(gpus) // request.gpus for _, _, _, gpus in rows]
    return _spread(total if request.slot_counts else request.nslots, len(rows))


def _spread(total: int, n: int) -> list[int]:
    return [total // n + (i < total % n) for i in range(n)]


def _counts(spec: dict[str, Any], request: jobspecs.Request, slots: list[int], rows: Sequence[Row]) -> list[int]:
    """Tasks on each rank."""
    ncores = sum(len(cores) for _, _, cores, _ in rows)
    total = jobspecs.task_count(spec, sum(slots), len(rows), ncores)
    count = spec["tasks"][0]["count"]
    per = per_resource(spec) or count.get("per_resource", {})
    each: list[int] = []
    if per.get("type") == "node":
        each = [per.get("count", 1)] * len(rows)
    elif per.get("type") == "core":
        each = [per.get("count", 1) * len(cores) for _, _, cores, _ in rows]
    elif "per_slot" in count:
        each = [n * count["per_slot"] for n in slots]
    return each if sum(each) == total else _spread(total, len(rows))


def _arranged(scheme: str, argument: Any, counts: list[int], hosts: list[str]) -> list[int]:
    """The node of each task, where `counts` are the tasks on each node, and `hosts` their names.  Raises ValueError."""
    if scheme == "hostfile":
        return _on_hosts(argument, sum(counts), hosts)
    if scheme == "manual":
        if len(argument) != sum(counts) or max(argument) >= len(counts):
            have = f"{len(argument)} tasks on {max(argument, default=-1) + 1} nodes"
            raise ValueError(f"taskmap: manual: the job has {sum(counts)} tasks on {len(counts)} nodes, the map {have}")
        return argument
    left = list(counts)
    found: list[int] = []
    while any(left):
        for node, n in enumerate(left):
            here = n if scheme == "block" else min(n, argument)
            found += [node] * here
            left[node] -= here
    return found


def _on_hosts(named: list[str], total: int, hosts: list[str]) -> list[int]:
    """The node of each of so many tasks, which go to the hosts that are named, one after the other and from the first
    again.  Raises ValueError."""
    places = {host: node for node, host in reversed(list(enumerate(hosts)))}
    used = named[:total]
    for host in used:
        if host not in places:
            raise ValueError(f"taskmap: hostfile: {host} is not a host of the job, which has {hostlist.encode(hosts)}")
    return [places[used[task % len(used)]] for task in range(total)]


def nodes(spec: dict[str, Any], R: dict[str, Any]) -> list[int]:
    """The node of each task, by its index among the job's.  Raises ValueError."""
    request = jobspecs.parse(spec)
    rows = held(R)
    return _nodes(spec, request, rows, _slots(request, rows, R["execution"].get("nslots", 0)))


def _nodes(spec: dict[str, Any], request: jobspecs.Request, rows: Sequence[Row], slots: list[int]) -> list[int]:
    options = spec["attributes"]["system"].get("shell", {}).get("options", {})
    hosts = [host for _, host, _, _ in rows]
    return _arranged(*shelloptions.taskmap(options), _counts(spec, request, slots, rows), hosts)


def tasks(
    spec: dict[str, Any],
    R: dict[str, Any],
    machine: Sequence[int],
    near: Mapping[int, frozenset[int]] = NOTHING,
    dry: bool = True,
) -> list[list[Any]]:
    """[[task rank, node index, local id, cpus to pin to or None, gpus to see as text, or None]].

    `machine` lists the cpus that stand for core 0, 1, ...; a rank with cores
    that the machine does not have (an emulated one) is not pinned.  `near` are the cpus near gpus, where that is known.
    With `dry` a dry run of cpu-affinity pins nothing. Raises ValueError for a task map of other tasks, and cpus that
    are not there.
    """
    request = jobspecs.parse(spec)
    rows = held(R)
    slots = _slots(request, rows, R["execution"].get("nslots", 0))
    per_slot = 0 if per_resource(spec) else spec["tasks"][0].get("count", {}).get("per_slot", 0)
    options = spec["attributes"]["system"].get("shell", {}).get("options", {})
    cpu_choice, gpu_choice = (shelloptions.affinity(options, name) for name in shelloptions.AFFINITIES)
    layout: list[list[Any]] = []
    by_node: list[list[list[Any]]] = [[] for _ in rows]
    for number, node in enumerate(_nodes(spec, request, rows, slots)):
        layout.append([number, node, len(by_node[node])])
        by_node[node].append(layout[-1])
    for node, entries in enumerate(by_node):
        if not entries:
            continue
        _, _, cores, gpus = rows[node]
        own = [machine[core] for core in cores] if all(core < len(machine) for core in cores) else []
        width = request.cores
        parts = [own] * len(entries)
        if per_slot and width and len(own) == width * slots[node]:
            parts = [own[i // per_slot * width : (i // per_slot + 1) * width] or own for i in range(len(entries))]
        pins = affinity.cpus(cpu_choice, parts, own, machine)
        seen = affinity.gpus(gpu_choice, gpus, len(entries))
        if gpus and near and cpu_choice.kind in ("default", "per-task"):
            pins = affinity.nearest(pins, seen, near)
        if cpu_choice.dry_run and dry:
            pins = [None] * len(entries)
        for entry, cpus, devices in zip(entries, pins, seen):
            entry += [cpus, devices if devices is None else ",".join(map(str, devices)) or "-1"]
    return layout


def notes(spec: dict[str, Any], R: dict[str, Any], machine: Sequence[int], near: Mapping[int, frozenset[int]]) -> str:
    """What is told on standard error of which cpus tasks have, if that is asked for: a line each."""
    options = spec["attributes"]["system"].get("shell", {}).get("options", {})
    choice = shelloptions.affinity(options, "cpu-affinity")
    if not (choice.verbose or choice.dry_run):
        return ""
    lines = []
    for rank, _, _, cpus, _ in tasks(spec, R, machine, near, dry=False):
        lines.append(f"cpu-affinity: task {rank}: {'not bound' if cpus is None else 'cpus ' + idset.encode(cpus)}\n")
    return "".join(lines)


def node_values(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """What the names in templates stand for on each of a job's nodes, such as {{node.name}}, by the node's index."""
    found = {}
    for node, (rank, host, cores, gpus) in enumerate(rows):
        found[str(node)] = {
            "node.id": node,
            "node.name": host,
            "node.broker_rank": rank,
            "node.cores": idset.encode(cores),
            "node.gpus": idset.encode(gpus),
            "node.ncores": len(cores),
        }
    return found


def values(jobid: int, name: str, size: int, nnodes: int, tmpdir: str) -> dict[str, Any]:
    """What the names in templates stand for, such as {{id}}, but for those of a node and a task."""
    shown = ids.f58(jobid)
    return {
        "id": shown,
        "jobid": shown,
        "id.f58": shown,
        "id.f58plain": ids.f58(jobid, plain=True),
        "id.dec": jobid,
        "id.hex": hex(jobid),
        "id.dothex": ids.dothex(jobid),
        "name": name,
        "size": size,
        "ntasks": size,
        "nnodes": nnodes,
        "tmpdir": tmpdir,
    }
