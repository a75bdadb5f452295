# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What jobs may ask for: ``policy.limits`` of the configuration, and over them those of a job's queue.

As in flux-core, a job without a time limit is over any limit, and the counts are those that the job asks for: 0 nodes
where it asks for none, the cores of its slots where it gets whole nodes.  Of a job that accepts several sizes all must
be allowed.
"""

from __future__ import annotations

import errno
import math
from typing import Any

from fluxsched.formats import queues
from fluxsched.formats.jobspec import Request
from fluxsched.session import fsd
from fluxsched.session.errors import RequestError

UNITS = ("nodes", "cores", "gpus")


def sizes(request: Request) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The least and the most (nodes, cores, gpus) that a job accepts."""
    found = []
    for at in (0, -1):
        nodes = request.node_counts[at][at] if request.node_counts else request.nnodes
        slots = (request.slot_counts[at][at] if request.slot_counts else request.nslots) * max(nodes, 1)
        found.append((nodes, slots * request.cores, slots * request.gpus))
    return found[0], found[1]


class Limits:
    """The limits of a configuration, by queue; "" is no queue."""

    def __init__(self, config: dict[str, Any]) -> None:
        """The configuration is one that was checked."""
        self.by_queue = {name: queues.limits(name, config) for name in ["", *config.get("queues", {})]}
        nothing = queues.Limits(math.inf, (0, 0, 0), (math.inf, math.inf, math.inf))
        self._any = any(limits != nothing for limits in self.by_queue.values())

    def check(self, request: Request) -> None:
        """Raises RequestError for a job that asks for more or less than it may."""
        if not self._any:
            return
        limits = self.by_queue[request.queue]
        where = f" in queue {request.queue}" if request.queue else ""
        if (request.duration or math.inf) > limits.duration:
            asked = f"a time limit of {fsd.show(request.duration)}" if request.duration else "no time limit"
            raise RequestError(
                errno.EINVAL, f"the job has {asked}, but it may have at most {fsd.show(limits.duration)}{where}"
            )
        least, most = sizes(request)
        for unit, small, large, lower, upper in zip(UNITS, least, most, limits.least, limits.most):
            if large > upper:
                raise _refusal(unit, large, f"at most {upper}{where}")
            if small < lower:
                raise _refusal(unit, small, f"at least {lower}{where}")


def _refusal(unit: str, asked: int, allowed: str) -> RequestError:
    return RequestError(errno.EINVAL, f"the job asks for {asked} {unit}, but it may ask for {allowed}")
