# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Sets of nodes as Python ints, in which bit i is node i. They are as wide as the instance."""

from __future__ import annotations

from typing import Callable, Iterable, Mapping, Optional, Sequence


def mask_of_runs(runs: Iterable[tuple[int, int]]) -> int:
    """The set of runs (first, last)."""
    mask = 0
    for first, last in runs:
        mask |= ((1 << (last - first + 1)) - 1) << first
    return mask


def runs_of_mask(mask: int) -> list[tuple[int, int]]:
    """The runs (first, last) of a set, ascending."""
    runs = []
    place = 0
    while mask:
        gap = (mask & -mask).bit_length() - 1
        mask >>= gap
        length = (~mask & (mask + 1)).bit_length() - 1
        mask >>= length
        place += gap
        runs.append((place, place + length - 1))
        place += length
    return runs


class NodeView:
    """What formats.constraint.evaluate asks of the nodes; node i is bit i."""

    def __init__(
        self,
        ranks: Sequence[int],
        hosts: Sequence[str],
        mask_of_ranks: Callable[[str], int],
        properties: Mapping[str, int],
    ) -> None:
        self.all = (1 << len(ranks)) - 1
        self._hosts = hosts
        self._mask_of_ranks = mask_of_ranks
        self._properties = properties
        self._places: Optional[dict[str, list[int]]] = None

    def property(self, name: str) -> int:
        """Nodes that have a property; a host's own name is one, as in flux-core."""
        return self._properties.get(name, 0) | self.hosts([name])

    def hosts(self, names: Iterable[str]) -> int:
        """Nodes of these hosts."""
        if self._places is None:
            # By place: a mask a host would take the square of the number of nodes.
            self._places = {}
            for i, host in enumerate(self._hosts):
                self._places.setdefault(host, []).append(i)
        bits = bytearray(len(self._hosts) // 8 + 1)
        for name in names:
            for i in self._places.get(name, ()):
                bits[i >> 3] |= 1 << (i & 7)
        return int.from_bytes(bits, "little")

    def ranks(self, idset: str) -> int:
        """Nodes of these ranks."""
        return self._mask_of_ranks(idset)
