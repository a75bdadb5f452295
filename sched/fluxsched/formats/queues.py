# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The table ``queues`` of a configuration (RFC 33), and what it makes of a job.

A queue with the key ``parent`` is a virtual queue: another name for that queue, with limits and defaults of its own.
Its jobs keep its name, run on the nodes of the parent, and are ordered with the parent's.
"""

from __future__ import annotations

import math
from typing import Any

from fluxsched.errors import FluxSchedError
from fluxsched.formats import duration
from fluxsched.formats.quote import quote

__all__ = ["KEYS", "QueuesError", "complete", "domain", "parents", "requires"]

#: Keys of a queue's table.
KEYS = frozenset(("parent", "policy", "requires"))


class QueuesError(FluxSchedError, ValueError):
    """The table ``queues`` cannot be used; the text names the key, and says what was expected."""


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


def _defaults(table: Any) -> dict[str, Any]:
    """policy.jobspec.defaults.system of a configuration, or of a queue."""
    for part in ("policy", "jobspec", "defaults", "system"):
        table = table.get(part) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else {}


def complete(system: dict[str, Any], config: dict[str, Any]) -> None:
    """Fill in what attributes.system of a jobspec leaves to the configuration of its instance, as flux-core's ingest
    does: the default queue, the properties that the queue requires, the default time limit.

    QueuesError if there is no such queue, or one must be named and is not. A `system` that is not sound in other ways
    is left to those who read it."""
    queues = config.get("queues") or {}
    default = _defaults(config).get("queue")
    name = system.get("queue") or (default if isinstance(default, str) else None)
    limit = _defaults(config).get("duration")
    if not queues:
        if name:
            raise QueuesError(f"{quote(name)} is not a valid queue: there are no queues here")
    elif name is None:
        raise QueuesError("no queue specified: expected one of " + ", ".join(sorted(queues)))
    elif not isinstance(name, str) or name not in queues:
        raise QueuesError(f"{quote(name)} is not a valid queue")
    else:
        system["queue"] = name
        limit = _defaults(queues[name]).get("duration", limit)
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
