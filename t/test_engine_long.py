# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Plans of more times, shapes and futures of nodes than one piece of the core's structures holds, by the plain rule."""

import random

from naive import request
from test_engine_shared import Play

CORES, GPUS = 8, 2
# Each that a node can hold: (slots, cores, gpus); without slots, single ones wherever they fit.
SHAPES = [
    (slots, cores, gpus) for cores in range(1, CORES + 1) for gpus in range(GPUS + 1) for slots in range(CORES + 1)
    if slots * cores <= CORES and slots * gpus <= GPUS
]


def test_more_shapes_times_and_nodes_than_a_piece_holds():
    rng = random.Random(1)
    play = Play([(CORES, GPUS)] * 70, -1, [""])
    for node in range(70):
        play.add("", request(1, 1, CORES, rng.choice([0, GPUS]), duration=10 + node))
    play.schedule()
    assert len(play.running) == 70 and len(SHAPES) > 48
    rng.shuffle(SHAPES)
    for slots, cores, gpus in SHAPES:
        nodes = rng.randint(1, 8)
        play.add("", request(nodes if slots else 0, slots or nodes, cores, gpus, duration=rng.choice([7, 31, 64])))
    for play.now in (0, 15, 15, 16, 75, 100):
        for jobid in [jobid for jobid, (end, _) in play.running.items() if end <= play.now * 10**6]:
            play.end(jobid)
        play.schedule()
        play.engine.sanity_check()
