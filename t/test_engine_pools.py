# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""General requests, memory and bandwidth: against the plain rule, part for part, and from pass to pass."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxsched.core import Infeasible, Inventory
from fluxsched.formats import idset
from naive import PlainPlay, confined, hype, scheduler
from naive_plan import FAR, NEVER, plan
from naive_pools import Future, Job, machine
from naive_tree import Shape, as_request, parts_held

PLAYS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
RANDOM = st.randoms(use_true_random=False)
DEPTHS = st.sampled_from([-1, -1, -1, 1, 1, 0, 2, 3])


def some_shape(rng, nnodes):
    kind = rng.choice(["sockets", "nodes", "nodes", "slots", "slots", "paths", "paths", "whole", "flat"])
    count = rng.choice([1, 1, 2, 3, nnodes, 2 * nnodes])
    return Shape(
        kind,
        min(count, nnodes) if kind in ("nodes", "whole") else count,
        rng.randint(1, 4),
        rng.choice([0, 1, 400, 600, 1000, 1500, 2000]) if kind in ("nodes", "slots") else 0,
        rng.choice([10, 30, 50, 60]) if kind == "paths" else rng.randint(0, 1),
        rng.choice([0, 1, 2, 3, 5, 8, 13]),
    )


class Play(PlainPlay):
    """An engine on a hype, and all that the plain rule needs to know about it."""

    def __init__(self, nnodes, width, node_width, depth, texts):
        """texts: idsets that constraints name, "" for none."""
        self.engine = scheduler(
            Inventory.from_rdl(hype(nnodes, width, node_width)), "backfill.plugin1", f"reserve-depth={depth}"
        )
        self.all = machine(nnodes, width, node_width)
        self.nodes = set(range(nnodes))
        self.up = set(self.nodes)
        self.depth, self.texts = depth, texts
        self.waiting = {}           # id -> (-priority, id, text, Job)
        self.running = {}           # id -> [end, what it holds]
        self.now = 0
        self.count = 0

    def add(self, text, shape, queue, priority):
        self.count += 1
        wanted = as_request(shape)._replace(constraint=confined(text), queue=queue)
        try:
            self.engine.add(self.count, wanted, priority, float(self.count))
        except Infeasible:
            return
        duration = shape.duration * 10**6 if shape.duration else NEVER
        job = Job(self.count, queue, set(idset.ids(text)) if text else self.nodes, shape, duration)
        self.waiting[self.count] = (-priority, self.count, text, job)

    def nodes_of(self, jobid):
        """Where a job has cores."""
        return sorted({key[1] for key in self.running[jobid][1] if key[0] == "core"})

    def end_part(self, jobid, node):
        """A job gives back what it holds of a node; what it has of bandwidth above that it keeps until it ends."""
        self.engine.free(jobid, str(node), final=False)
        held = self.running[jobid][1]
        self.running[jobid][1] = {key: amount for key, amount in held.items() if key[1:2] != (node,)}

    def counted(self):
        """Whether numbers of whole nodes, or of cores, may say all, so that another rule holds."""
        jobs = [job for *_, job in self.waiting.values()]
        return all(job.shape.kind == "whole" and job.shape.width for job in jobs) or all(
            job.shape.kind == "flat" for job in jobs
        )

    def schedule(self):
        now = self.now * 10**6
        queue = [job for *_, job in sorted(self.waiting.values())]
        used = {text for _, _, text, _ in self.waiting.values()}
        sets = [set(idset.ids(text)) if text else self.nodes for text in sorted(used)]
        future = Future(self.all, self.up, sets, list(self.running.values()), now)
        empty = Future(self.all, self.up, sets, [], now)
        started, planned = plan(future, empty, queue, lambda job: [job], now, self.depth)
        outcome = self.engine.schedule(float(self.now))
        if self.counted():
            # Which nodes is for other tests to say; of bandwidth such jobs hold none.
            started = {jobid: parts_held(self.engine, jobid) for jobid in outcome.started}
        else:
            assert outcome.started == [job.id for job in queue if job.id in started]
            for jobid, held in started.items():
                assert parts_held(self.engine, jobid) == {key: n for key, n in held.items() if key[0] != "width"}
            told = {jobid: self.engine.estimate(jobid) for jobid in self.waiting if jobid not in started}
            told = {jobid: round(time * 10**6) for jobid, time in told.items() if time is not None}
            assert told == {jobid: time for jobid, time in planned.items() if time < FAR}
        for jobid, held in started.items():
            self.running[jobid] = [now + self.waiting.pop(jobid)[3].duration, held]

    def step(self, rng):
        """Something happens."""
        what = rng.random()
        if what < 0.5:
            shape = some_shape(rng, len(self.nodes))
            self.add(rng.choice(self.texts), shape, rng.choice(["", "a"]), rng.choice([16, 16, 16, 5, 20]))
        elif what < 0.55 and self.waiting:
            self.cancel(rng.choice(sorted(self.waiting)))
        elif what < 0.6 and self.waiting:
            self.reprioritize(rng.choice(sorted(self.waiting)), rng.choice([1, 16, 31]))
        elif what < 0.68 and self.running:
            self.end(rng.choice(sorted(self.running)))
        elif what < 0.71 and any(len(self.nodes_of(jobid)) > 1 for jobid in self.running):
            jobid = rng.choice([jobid for jobid in sorted(self.running) if len(self.nodes_of(jobid)) > 1])
            self.end_part(jobid, rng.choice(self.nodes_of(jobid)))
        elif what < 0.76:
            self.mark(rng.choice(["mark_up", "mark_up", "mark_down"]), {rng.choice(sorted(self.nodes))})
        else:
            self.now += rng.choice([0, 1, 1, 2, 3, 5])
            if rng.random() < 0.8:
                for jobid in [i for i, (end, _) in self.running.items() if end <= self.now * 10**6]:
                    self.end(jobid)
            self.schedule()
        self.engine.sanity_check()


@given(RANDOM, DEPTHS)
@PLAYS
def test_general_requests(rng, depth):
    nnodes = rng.randint(1, 4)
    some = [{rng.randrange(nnodes), rng.randrange(nnodes)} for _ in range(rng.randint(0, 2))]
    texts = ["", *(idset.encode(sorted(ranks)) for ranks in some)]
    play = Play(nnodes, rng.choice([100, 60, 1000]), rng.choice([60, 90]), depth, texts)
    for _ in range(rng.randint(1, 40)):
        play.step(rng)
    play.schedule()
