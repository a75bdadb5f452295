# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Reading an R object by rank, for the broker and the commands."""
from __future__ import annotations

from typing import Any

from fluxsched.formats import hostlist, idset
from fluxsched.session.memo import Memo

# (rank, host, core ids, gpu ids)
Row = tuple[int, str, list[int], list[int]]

# On a small machine jobs get the same resource sets again and again.
_rows = Memo()


def held(R: dict[str, Any]) -> list[Row]:
    """The rows of an R object that this session has made, in its order. Nobody changes the lists in them."""
    execution = R["execution"]
    text = repr((execution["R_lite"], execution.get("nodelist")))
    return list(_rows.get(text, lambda: _read(execution)))


def _read(execution: dict[str, Any]) -> list[Row]:
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


def without(all_rows: list[Row], taken: list[Row]) -> list[Row]:
    """Rows with the cores and gpus that are left, of ranks that have any left or had none taken."""
    used: dict[int, tuple[set[int], set[int]]] = {}
    for rank, _, cores, gpus in taken:
        have = used.setdefault(rank, (set(), set()))
        have[0].update(cores)
        have[1].update(gpus)
    left = []
    for rank, host, cores, gpus in all_rows:
        c, g = used.get(rank, (set(), set()))
        rest = (rank, host, [i for i in cores if i not in c], [i for i in gpus if i not in g])
        if rest[2] or rest[3]:
            left.append(rest)
    return left
