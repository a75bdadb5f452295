# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Each allocation of a play fails in turn: MemoryError, and the engine goes on, sane."""

import pytest

from fluxsched.core import Inventory, memory
from naive import accepts, hype, nodes, request, scheduler, tree_request, vertex

PLUGINS = [
    ("sched.plugin1", ""), ("backfill.plugin1", "order=sjf,aging=5"), ("backfill.plugin1", "reserve-depth=-1"),
    ("backfill.plugin1", "order=multifactor,reserve-depth=2"),
]


def whole(engine):
    """Whole nodes, constraints, queues: (what is done, by which function)."""
    for jobid in range(1, 300):
        more = {"queue": "ab"[jobid % 2]}
        if jobid % 7 == 0:
            more["constraint"] = {"ranks": [f"{jobid % 3}-5"]}
        wanted = nodes(1 + jobid % 3, 5 + jobid % 9, **more)
        if jobid % 5 == 0:
            wanted = accepts(wanted, (wanted.nnodes, 4, 6))
        yield engine.add, jobid, wanted, 16, float(jobid), jobid % 4
    yield engine.schedule, 300.0
    yield engine.schedule, 301.0, 1
    yield engine.schedule, 302.0, 1
    yield engine.schedule, 303.0


def shared(engine):
    """The same where jobs share nodes."""
    for jobid in range(1, 40):
        more = {"constraint": {"ranks": [f"{jobid % 3}-5"]}} if jobid % 7 == 0 else {}
        wanted = request(nslots=1 + jobid % 4, cores=1 + jobid % 3, duration=5.0 + jobid % 9, **more)
        if jobid % 5 == 0:
            wanted = accepts(wanted, (), (wanted.nslots, 6, 8, 9))
        yield engine.add, jobid, wanted, 16, float(jobid), jobid % 4
    yield engine.schedule, 40.0
    yield engine.schedule, 41.0, 1
    yield engine.schedule, 60.0


def through_tree(engine):
    """Sockets, cores with memory of their node's pool, and slots with bandwidth on their way up, beside other jobs."""
    for jobid in range(1, 30):
        kind, more = jobid % 5, {"duration": 5.0 + jobid % 9}
        if kind == 0:
            wanted = tree_request(vertex("socket", 1 + jobid % 3), **more)
        elif kind == 1:
            parts = vertex("core", 1), vertex("memory", 400)
            wanted = tree_request(vertex("node", 1 + jobid % 2, *parts), **more)
        elif kind == 2:
            inside = vertex("node", 1, vertex("core", 1), vertex("bandwidth", 25))
            wanted = tree_request(vertex("slot", 1 + jobid % 4, inside), **more)
        elif kind == 3:
            wanted = request(nslots=1 + jobid % 4, **more)
        else:
            wanted = nodes(1, **more)
        yield engine.add, jobid, wanted, 16, float(jobid), jobid % 4
    yield engine.schedule, 40.0
    yield engine.schedule, 41.0, 1
    yield engine.schedule, 60.0


def play(make, script=whole):
    """The engine, and how many calls raised MemoryError; each of these is made again."""
    failed = 0
    while True:
        try:
            engine = make()
            break
        except MemoryError:
            failed += 1
    for call, *arguments in script(engine):
        while True:
            try:
                call(*arguments)
                break
            except MemoryError:
                failed += 1
                engine.sanity_check()
    return engine, failed


def even():
    return Inventory.from_counts(6, 4)


def with_pools():
    """Four nodes of two sockets, with memory by socket and bandwidth by node and of all."""
    return Inventory.from_rdl(hype(4, 100, 60))


@pytest.mark.parametrize("inventory, script", [(even, whole), (even, shared), (with_pools, through_tree)])
@pytest.mark.parametrize("plugin, options", PLUGINS)
def test_each_allocation_fails_in_turn(plugin, options, inventory, script):
    def make():
        return scheduler(inventory(), plugin, options)

    expected, failed = play(make, script)
    assert failed == 0
    n = 0
    while True:
        n += 1
        memory.fail_allocation(n)
        try:
            engine, failed = play(make, script)
        finally:
            left = memory.fail_allocation(0)
        if left:
            assert failed == 0 and left <= n
            break
        assert failed == 1
        engine.sanity_check()
        assert sorted(engine.waiting() + engine.running_jobs()) == sorted(expected.waiting() + expected.running_jobs())
        for jobid in engine.running_jobs():
            engine.free(jobid)
        engine.schedule(1000.0)
        engine.sanity_check()
    assert n > 20


def test_fail_allocation_counts():
    with pytest.raises(ValueError, match="0 or more"):
        memory.fail_allocation(-1)
    memory.fail_allocation(5)
    assert memory.fail_allocation(0) == 5
    memory.fail_allocation(1)
    with pytest.raises(MemoryError):
        Inventory.from_counts(1, 1)
    assert memory.fail_allocation(0) == 0
