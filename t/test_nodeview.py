# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Nodes as constraints see them."""
import tracemalloc

from fluxsched.core.nodeview import NodeView


def view_of(hosts, properties=None):
    return NodeView(list(range(len(hosts))), hosts, lambda ranks: 0b10, properties or {})


def test_hosts_properties_and_ranks():
    view = view_of(["a", "b", "a", "c"], {"big": 0b1000})
    assert view.all == 0b1111
    assert view.hosts(["a"]) == 0b0101 and view.hosts(["a", "c", "nobody", "a"]) == 0b1101 and view.hosts([]) == 0
    assert view.property("big") == 0b1000 and view.property("b") == 0b0010 and view.property("small") == 0
    assert view.ranks("1") == 0b10


def test_memory_grows_with_nodes_not_their_square():
    hosts = [f"node{i}" for i in range(60_000)]
    tracemalloc.start()
    try:
        view = view_of(hosts)
        assert view.hosts(hosts) == view.all and view.property("node59999") == 1 << 59_999
        assert tracemalloc.get_traced_memory()[1] < 30e6          # a mask a host would be 240 MB
    finally:
        tracemalloc.stop()
