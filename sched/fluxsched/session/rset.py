# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Reading an R object by rank, for the broker and the commands."""
from __future__ import annotations

from typing import Any

from fluxsched.formats import hostlist, idset

# (rank, host, core ids, gpu ids)
Row = tuple[int, str, list[int], list[int]]


def held(R: dict[str, Any]) -> list[Row]:
    """The rows of an R object that this session has made, in its order."""
    execution = R["execution"]
    rows: list[tuple[int, list[int], list[int]]] = []
    for entry in execution["R_lite"]:
        children = entry.get("children", {})
        cores = idset.ids(children.get("core", ""))
        gpus = idset.ids(children.get("gpu", ""))
        for rank in idset.ids(entry["rank"]):
            rows.append((rank, cores, gpus))
    hosts = [host for part in execution.get("nodelist", []) for host in hostlist.decode(part)]
    return [
        (rank, hosts[i] if i < len(hosts) else "localhost", cores, gpus)
        for i, (rank, cores, gpus) in enumerate(rows)
    ]
