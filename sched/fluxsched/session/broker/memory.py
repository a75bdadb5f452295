# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The memory that jobs ask for (--mem), and how much of each rank's is held."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

from fluxsched.formats import jobspec as jobspecs
from fluxsched.formats import sizes
from fluxsched.service import memory


def total(request: jobspecs.Request, R: Mapping[str, Any]) -> int:
    """The bytes that a job has asked for on all its nodes, 0 if it has not.  `R` is what it was given."""
    amount = memory.requested(request)
    if amount and (request.node_counts or request.slot_counts):  # it has got at least that
        amount = max(amount, sum(_held(R).values()))
    return amount * sizes.MEGABYTE


def _held(R: Mapping[str, Any]) -> dict[int, int]:
    scheduling = R.get("scheduling")
    pools = scheduling.get("pools", ()) if isinstance(scheduling, dict) else ()
    return dict(pools)


def held(resources: Iterable[Mapping[str, Any]], ranks: Sequence[int]) -> dict[int, int]:
    """MB by rank that jobs hold.  `resources` are their R's, `ranks` those that have memory, in ascending order, which
    is that of the pools in the scheduler's tree."""
    found: dict[int, int] = {}
    for R in resources:
        for pool, amount in _held(R).items():
            if pool < len(ranks):
                found[ranks[pool]] = found.get(ranks[pool], 0) + amount
    return found
