# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""From a job's resources to its tasks: how many on which rank, and on which cores."""

from __future__ import annotations

from typing import Any, Optional, Sequence

from fluxsched.formats import jobspec as jobspecs
from fluxsched.session.rset import held

#: (rank, host, cores, gpus) of a job's resources.
Row = tuple[int, str, list[int], list[int]]


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


def tasks(spec: dict[str, Any], R: dict[str, Any], machine: Sequence[int]) -> list[list[Any]]:
    """[[task rank, node index, local id, cpus to pin to or None, CUDA_VISIBLE_DEVICES]].

    `machine` lists the cpus that stand for core 0, 1, ...; a rank with cores
    that the machine does not have (an emulated one) is not pinned.
    """
    request = jobspecs.parse(spec)
    rows = held(R)
    slots = _slots(request, rows, R["execution"].get("nslots", 0))
    counts = _counts(spec, request, slots, rows)
    per_slot = 0 if per_resource(spec) else spec["tasks"][0].get("count", {}).get("per_slot", 0)
    layout: list[list[Any]] = []
    number = 0
    for node, (_, _, cores, gpus) in enumerate(rows):
        known = all(core < len(machine) for core in cores)
        for local in range(counts[node]):
            own = cores
            width = request.cores
            if per_slot and width and len(cores) == width * slots[node]:
                slot = local // per_slot
                own = cores[slot * width : (slot + 1) * width]
            pins = [machine[core] for core in own] if known and own else None
            layout.append([number, node, local, pins, ",".join(map(str, gpus)) or "-1"])
            number += 1
    return layout
