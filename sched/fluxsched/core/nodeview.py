# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Nodes as a constraint sees them. In Python, where a shift has no width."""


class NodeView:
    """What formats.constraint.evaluate asks of the nodes; node i is bit i."""

    def __init__(self, ranks, hosts, mask_of_ranks, properties):
        self.all = (1 << len(ranks)) - 1
        self._mask_of_ranks = mask_of_ranks
        self._properties = properties
        self._by_host = {}
        for i, host in enumerate(hosts):
            self._by_host[host] = self._by_host.get(host, 0) | 1 << i

    def property(self, name):
        """Nodes that have a property; a host's own name is one, as in flux-core."""
        return self._properties.get(name, 0) | self._by_host.get(name, 0)

    def hosts(self, names):
        """Nodes of these hosts."""
        mask = 0
        for name in names:
            mask |= self._by_host.get(name, 0)
        return mask

    def ranks(self, idset):
        """Nodes of these ranks."""
        return self._mask_of_ranks(idset)
