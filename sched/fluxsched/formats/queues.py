# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The table ``queues`` of a configuration (RFC 33).

A queue with the key ``parent`` is a virtual queue: another name for that queue, with limits and defaults of its own.
Its jobs keep its name, run on the nodes of the parent, and are ordered with the parent's.
"""

from __future__ import annotations

from typing import Any

from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import quote

__all__ = ["KEYS", "QueuesError", "domain", "parents", "requires"]

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
