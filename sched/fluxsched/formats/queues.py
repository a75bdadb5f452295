# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The table ``queues`` of a configuration (RFC 33), and what it makes of a job.

A queue with the key ``parent`` is a virtual queue: another name for that queue, with limits and defaults of its own.
Its jobs keep its name, run on the nodes of the parent, and are ordered with the parent's.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from fluxsched.errors import FluxSchedError
from fluxsched.formats import duration
from fluxsched.formats.quote import quote

__all__ = ["KEYS", "Limits", "QueuesError", "complete", "defaults", "domain", "limits", "parents", "requires"]

_UNITS = ("nnodes", "ncores", "ngpus")

#: Keys of a queue's table.
KEYS = frozenset(("parent", "policy", "requires"))


class QueuesError(FluxSchedError, ValueError):
    """The table ``queues`` cannot be used; the text names the key, and says what was expected."""


class Limits(NamedTuple):
    """What the jobs of a queue may ask for. A size is the number of nodes, of cores and of gpus."""

    duration: float  # s; inf = no limit
    least: tuple[float, float, float]  # 0 = no limit
    most: tuple[float, float, float]  # inf = no limit


def parents(queues: Any) -> dict[str, str]:
    """The parents of the virtual queues of a table ``queues``, by name. QueuesError.

    Whether the rest of the table is sound is not looked at."""
    if not isinstance(queues, dict):
        return {}
    found = {}
    for name, table in queues.items():
        if not isinstance(table, dict) or "parent" not in table:
            continue
        key, parent = f"queues.{quote(name)[1:-1]}", table["parent"]
        if not isinstance(parent, str):
            raise QueuesError(f"{key}.parent: expected the name of a queue, got {quote(parent)}")
        if parent == name:
            raise QueuesError(f"{key}.parent: expected another queue, got {quote(name)} itself")
        if parent not in queues:
            raise QueuesError(f"{key}.parent: expected a queue that is configured, got {quote(parent)}")
        if isinstance(queues[parent], dict) and "parent" in queues[parent]:
            raise QueuesError(f"{key}.parent: {quote(parent)} is a virtual queue itself, and cannot be a parent")
        policy = table.get("policy")
        own = [word for word in ("requires", "hosts") if word in table]
        own += ["policy.scheduler"] if isinstance(policy, dict) and "scheduler" in policy else []
        if own:
            raise QueuesError(f"{key}.{own[0]}: a virtual queue has that of its parent, {quote(parent)}")
        found[name] = parent
    return found


def domain(queue: str, parents: dict[str, str]) -> str:
    """The queue whose jobs the jobs of `queue` are ordered with: its parent, or itself."""
    return parents.get(queue, queue)


def requires(queue: str, queues: dict[str, Any]) -> list[str]:
    """The properties that the nodes of a queue have, in a table ``queues`` that is sound."""
    return list(queues[domain(queue, parents(queues))].get("requires", []))


def defaults(table: Any) -> dict[str, Any]:
    """policy.jobspec.defaults.system of a configuration, or of a queue."""
    return _inner(table, "policy", "jobspec", "defaults", "system")


def complete(system: dict[str, Any], config: dict[str, Any]) -> None:
    """Fill in what attributes.system of a jobspec leaves to the configuration of its instance, as flux-core's ingest
    does: the default queue, the properties that the queue requires, the default time limit.

    QueuesError if there is no such queue, or one must be named and is not. A `system` that is not sound in other ways
    is left to those who read it."""
    queues = config.get("queues") or {}
    default = defaults(config).get("queue")
    name = system.get("queue") or (default if isinstance(default, str) else None)
    limit = defaults(config).get("duration")
    if not queues:
        if name:
            raise QueuesError(f"{quote(name)} is not a valid queue: there are no queues here")
    elif name is None:
        raise QueuesError("no queue specified: expected one of " + ", ".join(sorted(queues)))
    elif not isinstance(name, str) or name not in queues:
        raise QueuesError(f"{quote(name)} is not a valid queue")
    else:
        system["queue"] = name
        limit = defaults(queues[name]).get("duration", limit)
        wanted = requires(name, queues)
        if wanted:
            constraint: dict[str, Any] = {"properties": wanted}
            if system.get("constraints"):
                constraint = {"and": [constraint, system["constraints"]]}
            system["constraints"] = constraint
    if limit is not None and system.get("duration") == 0:
        try:
            seconds = duration.parse(limit)
        except duration.DurationError as error:
            raise QueuesError(f"policy.jobspec.defaults.system.duration: {error}") from None
        system["duration"] = 0.0 if math.isinf(seconds) else seconds


def limits(queue: str, config: dict[str, Any]) -> Limits:
    """What the configuration's ``policy.limits``, and over them those of the queue ("": of no queue), let jobs ask for.
    QueuesError, which names the key."""
    tables = [("policy.limits", config)]
    if queue:
        tables.append((f"queues.{quote(queue)[1:-1]}.policy.limits", config["queues"][queue]))
    longest = math.inf
    sizes: dict[tuple[str, str], float] = {}
    for key, table in tables:
        found = _inner(table, "policy", "limits")
        if "duration" in found:
            try:
                longest = duration.parse(found["duration"]) or math.inf
            except duration.DurationError as error:
                raise QueuesError(f"{key}.duration: {error}") from None
        for end in ("min", "max"):
            for unit, value in _inner(found, "job-size", end).items():
                where = f"{key}.job-size.{end}.{quote(unit)[1:-1]}"
                if unit not in _UNITS:
                    raise QueuesError(f"{where}: unknown key, expected one of {', '.join(_UNITS)}")
                if type(value) is not int or value < -1:
                    raise QueuesError(f"{where}: expected a number, or -1 for no limit, got {quote(value)}")
                sizes[end, unit] = value if value >= 0 else (0 if end == "min" else math.inf)
    nnodes, ncores, ngpus = _UNITS
    least, most = (
        (sizes.get((end, nnodes), none), sizes.get((end, ncores), none), sizes.get((end, ngpus), none))
        for end, none in (("min", 0), ("max", math.inf))
    )
    return Limits(longest, least, most)


def _inner(table: Any, *path: str) -> dict[str, Any]:
    """A table inside of others; an empty one if there is none."""
    for part in path:
        table = table.get(part) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else {}
