# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A long random talk with the service."""

import random

import pytest

from fakehost import Bench, make_r
from fluxsched.formats import idset, r
from fluxsched.service.protocol import ANNOTATE, SUCCESS


class JobManager:
    """What the job manager knows: jobs that wait, and what those hold that were given resources."""

    def __init__(self, bench):
        self.bench = bench
        self.waiting = set()
        self.held = {}  # job -> {rank: set of cores}
        self.seen = 0  # answers

    def read(self):
        """Take in new answers; each request is answered once for good."""
        for _, payload in self.bench.host.answers[self.seen :]:
            if not payload or payload.get("type", ANNOTATE) == ANNOTATE:
                continue
            self.waiting.remove(payload["id"])
            if payload["type"] == SUCCESS:
                nodes = r.parse(payload["R"])
                self.held[payload["id"]] = dict(zip(nodes.ranks, map(idset.ids, nodes.cores)))
        self.seen = len(self.bench.host.answers)

    def check(self):
        """No core is held twice."""
        taken = [(rank, core) for job in self.held.values() for rank, cores in job.items() for core in cores]
        assert len(taken) == len(set(taken))

    def free(self, job):
        self.bench.send("sched.free", {"id": job, "R": self.bench.given(job), "final": True})
        del self.held[job]


def act(rng, bench, manager, jobid):
    """Do something at random; the id of the last job."""
    action = rng.random()
    if action < 0.45:
        jobid += 1
        shape = rng.choice([
            {"slots": rng.randint(1, 6)},
            {"nodes": rng.randint(1, 3), "slots": 1, "cores": rng.randint(1, 4)},
            {"nodes": rng.randint(1, 2), "exclusive": True},
        ])
        bench.alloc(jobid, duration=rng.choice([0.0, 30.0, 300.0]), run=False, **shape)
        manager.waiting.add(jobid)
    elif action < 0.55 and manager.waiting:
        bench.send("sched.cancel", {"id": rng.choice(sorted(manager.waiting))})
    elif action < 0.7 and manager.held:
        manager.free(rng.choice(sorted(manager.held)))
    elif action < 0.75:
        bench.acquired({rng.choice(["up", "down"]): str(rng.randrange(6))})
    elif action < 0.85 and bench.host.held:
        bench.host.let_commit()
    else:
        bench.host.run(rng.choice([0.0, 1.0, 20.0]))
    return jobid


@pytest.mark.parametrize("plugin", ["sched.plugin1", "backfill.plugin1"])
@pytest.mark.parametrize("seed", range(4))
def test_no_core_is_ever_held_twice(seed, plugin):
    """Alloc, cancel, free, ranks up and down in any order, commits that come late."""
    rng = random.Random(seed)
    bench = Bench([f"plugin={plugin}"], R=make_r(6, 4))
    bench.host.hold_commits = True
    manager = JobManager(bench)
    jobid = 0
    for _ in range(400):
        jobid = act(rng, bench, manager, jobid)
        manager.read()
        manager.check()
    assert bench.host.texts(3) == []
    assert bench.host.failed is None
    # All come back, all come up: everybody gets their turn.
    bench.host.hold_commits = False
    bench.acquired({"up": "0-5"})
    for _ in range(2000):
        bench.host.run(5.0)
        manager.read()
        if not manager.held:
            break
        manager.free(max(manager.held))
    assert not manager.waiting
