# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Engines that share an inventory and run at the same time, each in its own thread."""

import threading

from fluxsched.core import Inventory
from naive import EASY, held, hype, scheduler, tree_request, vertex

NODES = 24


def bandwidth(slots, cores, width, duration):
    """Slots of cores and bandwidth, each inside a node."""
    inside = vertex("node", 1, vertex("core", cores), vertex("memory", 100), vertex("bandwidth", width))
    return tree_request(vertex("slot", slots, inside), duration=duration)


def play(inventory, seed):
    """Jobs come, start and end on an engine of its own; what each of them got, in order."""
    engine = scheduler(inventory, EASY, "reserve-depth=3")
    log = []
    for turn in range(60):
        for k in range(4):
            size = 1 + (seed + 5 * turn + 3 * k) % 17
            jobid = 4 * turn + k
            engine.add(jobid, bandwidth(size, 1 + k % 2, 5, 3.0 + k), t_submit=float(jobid))
        outcome = engine.schedule(float(turn))
        log.append((outcome.started, [sorted(held(engine, jobid)[0]) for jobid in outcome.started]))
        for jobid in engine.running_jobs():
            if engine.times(jobid)[1] <= turn:
                engine.free(jobid)
    return log


def side_by_side(inventory):
    """The plays of two threads at once."""
    logs = [None, None]
    errors = []
    barrier = threading.Barrier(2)

    def work(place):
        try:
            barrier.wait()
            logs[place] = play(inventory, place)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    return logs


def test_two_engines_of_one_inventory():
    """Each does what it does alone: nothing that one writes is the other's."""
    inventory = Inventory.from_rdl(hype(NODES, 10_000, 100))
    alone = [play(inventory, seed) for seed in range(2)]
    assert any(started for started, _ in alone[0])
    for _ in range(3):
        assert side_by_side(inventory) == alone


def test_two_engines_make_the_tree():
    """An inventory from R has no tree until a request needs one; two engines may need it at the same time."""

    def wanted(i):
        return tree_request(vertex("node", 1, vertex("core", 1 + i % 2)), duration=1.0)

    inventory = Inventory.from_counts(2000, 4)
    barrier = threading.Barrier(2)
    summaries = [None, None]

    def work(place):
        engine = scheduler(inventory)
        barrier.wait()
        for i in range(20):
            engine.add(i, wanted(i))
            engine.schedule(0.0)
        summaries[place] = [engine.resource_summary(i) for i in range(20)]

    threads = [threading.Thread(target=work, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert summaries[0] == summaries[1] is not None
