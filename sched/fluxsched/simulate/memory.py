# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Memory as a resource of the machine: pools of MB, as RDL has them, which jobs of a trace draw from."""
from __future__ import annotations

from typing import Any, List, Tuple

from fluxsched.core import Inventory
from fluxsched.formats import idset
from fluxsched.formats.rdl import Hierarchy


def with_memory(inventory: Inventory, megabytes: int) -> Inventory:
    """An inventory of the same nodes, each with a pool of so many MB."""
    rows: List[Tuple[str, str, Any, int, int, Any]] = [("cluster", "cluster", None, 1, -1, {})]
    for node, host in enumerate(inventory.hosts):
        place = len(rows)
        flags = {name: True for name, members in inventory.properties.items() if members >> node & 1}
        rows.append(("node", host, None, 1, 0, flags))
        for kind, text in (("core", inventory.core_set(node)), ("gpu", inventory.gpu_set(node))):
            rows += [(kind, kind, unit, 1, place, {}) for unit in (idset.ids(text) if text else ())]
        rows.append(("memory", "memory", None, megabytes, place, {}))
    types, names, ids, sizes, parents, properties = map(list, zip(*rows))
    tree = Hierarchy("memory", types, names, names, ids, sizes, parents, [{}] * len(rows), properties)
    return Inventory.from_rdl(tree, inventory.ranks)
