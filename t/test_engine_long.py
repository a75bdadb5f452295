# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Plans of more times, shapes and futures of nodes than one piece of the core's structures holds, by the plain rule."""

import random

from naive import request
from test_engine_shared import Play

CORES, GPUS = 8, 2
# Each that a node can hold: (slots, cores, gpus) of it.
SHAPES = [
    (slots, cores, gpus) for cores in range(1, CORES + 1) for gpus in range(GPUS + 1) for slots in range(1, CORES + 1)
    if slots * cores <= CORES and slots * gpus <= GPUS
] + [(0, cores, 1) for cores in range(1, CORES + 1)]  # fmt: skip


def go_on(play, *times):
    for play.now in times:
        for jobid in [jobid for jobid, (end, _) in play.running.items() if end <= play.now * 10**6]:
            play.end(jobid)
        play.schedule()
        play.engine.sanity_check()


def test_many_shapes_of_jobs():
    rng = random.Random(1)
    play = Play([(CORES, GPUS)] * 2, -1, [""])
    assert len(SHAPES) == 48
    play.add("", request(2, 1, 1, duration=10))
    play.add("", request(2, 1, 1, 1, True, 10))
    for slots, cores, gpus in rng.sample(SHAPES, len(SHAPES)):
        play.add("", request(1 if slots else 0, max(slots, 1), cores, gpus, duration=rng.choice([7, 20])))
    # Those that come last have no column of their own.
    for cores in range(3, CORES + 1):
        play.add("", request(0, 2, cores, duration=15))
    go_on(play, 0, 10)


def test_many_times_and_nodes():
    play = Play([(2, 0)] * 66, -1, [""])
    for node in range(66):
        play.add("", request(1, 1, 1 + node % 2, duration=10 + node))
    go_on(play, 0)
    assert len(play.running) == 66
    play.add("", request(50, 1, 2, duration=30))
    play.add("", request(0, 70, 1, duration=30))
    play.add("", request(64, 1, 1, duration=200))
    go_on(play, 0, 30)
    play.add("", request(3, 1, 2, duration=5))
    go_on(play, 72, 90, 200)


def test_many_reservations_among_many_ends():
    play = Play([(2, 0)] * 66, -1, [""])
    for node in range(66):
        play.add("", request(1, 1, 1 + node % 2, duration=10 + node))
    go_on(play, 0)
    for jobid in range(9):
        play.add("", request(60, 1, 2, duration=3 + jobid))
    go_on(play, 1)
    # All are late.
    play.now = 70
    play.schedule()
    play.engine.sanity_check()
    go_on(play, 71)
    for jobid in range(9):
        play.add("", request(60, 1, 2, duration=2 + jobid))
    go_on(play, 72, 80)
