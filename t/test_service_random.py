# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A long random talk with the service."""

import random

import pytest

from fakehost import Bench, make_r
from fluxsched.formats import r
from fluxsched.service.protocol import ANNOTATE, SUCCESS


@pytest.mark.parametrize("plugin", ["sched.plugin1", "backfill.plugin1"])
@pytest.mark.parametrize("seed", range(6))
def test_no_core_is_ever_held_twice(seed, plugin):
    """Alloc, cancel, free, ranks up and down in any order, commits that come
    late: what the job manager was given never overlaps, and each request is
    answered exactly once for good."""
    rng = random.Random(seed)
    bench = Bench([f"plugin={plugin}"], R=make_r(6, 4))
    bench.host.hold_commits = True
    jobid = 0
    held = {}           # job -> {rank: set of cores}, as the job manager knows it
    waiting = set()
    seen = 0
    for _ in range(400):
        action = rng.random()
        if action < 0.45:
            jobid += 1
            shape = rng.choice([
                {"slots": rng.randint(1, 6)},
                {"nodes": rng.randint(1, 3), "slots": 1, "cores": rng.randint(1, 4)},
                {"nodes": rng.randint(1, 2), "exclusive": True},
            ])
            bench.alloc(jobid, duration=rng.choice([0.0, 30.0, 300.0]), run=False, **shape)
            waiting.add(jobid)
        elif action < 0.55 and waiting:
            bench.send("sched.cancel", {"id": rng.choice(sorted(waiting))})
        elif action < 0.7 and held:
            job = rng.choice(sorted(held))
            bench.send("sched.free", {"id": job, "R": bench.given(job), "final": True})
            del held[job]
        elif action < 0.75:
            bench.acquired({rng.choice(["up", "down"]): str(rng.randrange(6))})
        elif action < 0.85 and bench.host.held:
            bench.host.let_commit()
        else:
            bench.host.run(rng.choice([0.0, 1.0, 20.0]))
        for _, payload in bench.host.answers[seen:]:
            if "type" not in payload or payload["type"] == ANNOTATE:
                continue
            waiting.remove(payload["id"])
            if payload["type"] == SUCCESS:
                nodes = r.parse(payload["R"])
                held[payload["id"]] = dict(zip(nodes.ranks, map(ids, nodes.cores)))
        seen = len(bench.host.answers)
        taken = set()
        for job in held.values():
            for rank, cores in job.items():
                for core in cores:
                    assert (rank, core) not in taken
                    taken.add((rank, core))
    assert bench.host.texts(3) == []
    assert bench.host.failed is None
    # all come back, all come up: everybody gets their turn
    bench.host.hold_commits = False
    bench.acquired({"up": "0-5"})
    for _ in range(2000):
        bench.host.run(5.0)
        for _, payload in bench.host.answers[seen:]:
            if "type" in payload and payload["type"] != ANNOTATE:
                waiting.remove(payload["id"])
                if payload["type"] == SUCCESS:
                    held[payload["id"]] = {}
        seen = len(bench.host.answers)
        if not held:
            break
        job = held.popitem()[0]
        bench.send("sched.free", {"id": job, "R": bench.given(job), "final": True})
    assert not waiting


def ids(text):
    from fluxsched.formats import idset

    return idset.ids(text)
