# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which cpus and gpus each task of a job gets of those that the job has on a node: --setopt=cpu-affinity, gpu-affinity.

Without these options a task has the cpus of its own slot, and sees all gpus of the job on its node. With
`gpu-affinity=per-task`, tasks get those of the cpus that are near their gpus, where the machine says which are.
"""

from __future__ import annotations

from typing import Mapping, Optional, Sequence

from fluxsched.formats import idset
from fluxsched.session.shelloptions import Affinity

#: The cpus of each task; None: it is not bound.
Cpus = list[Optional[list[int]]]


def _shares(items: Sequence[int], n: int) -> list[list[int]]:
    """`items` in n runs that are as even as can be; with fewer items than runs, an item for each."""
    size = len(items)
    if size < n:
        return [[items[i * size // n]] for i in range(n)]
    return [list(items[i * size // n : (i + 1) * size // n]) for i in range(n)]


def cpus(choice: Affinity, slots: list[list[int]], own: Sequence[int], machine: Sequence[int]) -> Cpus:
    """The cpus of each task on a node.  `own` are those of the job there, none if nobody knows them; `slots` those of
    each task's slot; `machine` all of the session.  Raises ValueError for a map to none of these."""
    n = len(slots)
    if choice.kind == "map":
        for wanted in choice.sets[:n]:
            if machine and not set(wanted).intersection(machine):
                have = f"the session has {idset.encode(machine)}"
                raise ValueError(f"cpu-affinity: map: {idset.encode(wanted)}: no such cpu, {have}")
        return [choice.sets[i % len(choice.sets)] for i in range(n)]
    if choice.kind == "off" or not own:
        return [None] * n
    if choice.kind == "on":
        return [list(own)] * n
    if choice.kind == "per-task":
        return list(_shares(own, n))
    return list(slots)


def gpus(choice: Affinity, own: Sequence[int], n: int) -> list[Optional[list[int]]]:
    """The gpus that each of the n tasks on a node sees; None: as it finds them.  `own` are those of the job there."""
    if choice.kind == "off":
        return [None] * n
    if choice.kind == "map":
        return [choice.sets[i % len(choice.sets)] for i in range(n)]
    if choice.kind == "per-task":
        each = len(own) // n
        return [list(own[i * each : (i + 1) * each]) for i in range(n)]
    return [list(own)] * n


def nearest(groups: Cpus, seen: Sequence[Optional[list[int]]], near: Mapping[int, frozenset[int]]) -> Cpus:
    """The same cpus dealt out anew, as many to each task, so that tasks have cpus near the gpus that they see, as far
    as there are some.  Only where tasks share neither cpus nor gpus."""
    flat = [cpu for group in groups for cpu in group or ()]
    devices = [gpu for own in seen for gpu in own or ()]
    if len(set(flat)) < len(flat) or len(set(devices)) < len(devices) or not any(gpu in near for gpu in devices):
        return groups
    left = dict.fromkeys(flat)
    dealt: Cpus = list(groups)
    close = [frozenset().union(*(near.get(gpu, frozenset()) for gpu in own or ())) for own in seen]
    for i in sorted(range(len(groups)), key=lambda i: not close[i]):  # who is near nothing takes what is left
        chosen = sorted(left, key=lambda cpu: cpu not in close[i])[: len(groups[i] or ())]
        if groups[i] is not None:
            dealt[i] = sorted(chosen)
        for cpu in chosen:
            del left[cpu]
    return dealt
