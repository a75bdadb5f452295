# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobs that share nodes: against the plain rule, core for core, and from pass to pass."""
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxsched.core import Infeasible
from fluxsched.formats import idset
from naive import PlainPlay, accepts, confined, held, mixed, request, scheduler, sizes, units
from naive_plan import FAR, NEVER, Job, Machine, one_pass

PLAYS = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
RANDOM = st.randoms(use_true_random=False)
DEPTHS = st.sampled_from([-1, -1, -1, 1, 1, 0, 2, 3])
# What jobs ask of a node: (cores, gpus) of a slot.
SLOTS = [(1, 0), (1, 0), (2, 0), (3, 0), (4, 0), (1, 1), (2, 1), (0, 1)]


def by_rank(engine, jobid):
    """What a job holds: {rank: (cores, gpus)}."""
    return {rank: (units(cores), units(gpus)) for rank, cores, gpus in engine.cores_by_rank(jobid)}


class Play(PlainPlay):
    """An engine, and all that the plain rule needs to know about it."""

    def __init__(self, rows, depth, texts):
        """rows: (cores, gpus) of each node. texts: idsets that constraints name, "" for none."""
        self.engine = scheduler(mixed(*rows), "backfill.plugin1", f"reserve-depth={depth}")
        self.depth, self.texts = depth, texts
        self.cores = {i: set(range(cores)) for i, (cores, _) in enumerate(rows)}
        self.gpus = {i: set(range(gpus)) for i, (_, gpus) in enumerate(rows)}
        self.all = set(self.cores)
        self.up = set(self.all)
        self.waiting = {}           # id -> (-priority, id, text, Job)
        self.running = {}           # id -> [end, {rank: (cores, gpus)}]
        self.now = 0
        self.count = 0

    def add(self, text, wanted, priority=16):
        self.count += 1
        ranks = set(idset.ids(text)) if text else self.all
        try:
            self.engine.add(self.count, wanted._replace(constraint=confined(text)), priority, float(self.count))
        except Infeasible:
            return
        duration = int(wanted.duration) * 10**6 if wanted.duration else NEVER
        job = Job(self.count, wanted.queue, ranks, sizes(wanted), wanted.cores, wanted.gpus, wanted.exclusive, duration)
        self.waiting[self.count] = (-priority, self.count, text, job)

    def end_part(self, jobid, rank):
        self.engine.free(jobid, str(rank), final=False)
        del self.running[jobid][1][rank]

    def move_end(self, jobid, end):
        self.engine.update_expiration(jobid, float(end or 0))
        self.running[jobid][0] = end * 10**6 if end else NEVER

    def counted(self):
        """Whether numbers of whole nodes, or of cores, say all, so that another rule holds."""
        jobs = [job for *_, job in self.waiting.values()]
        whole = all(job.exclusive or self.takes_all(job) for job in jobs) and all(
            all(held == (self.cores[rank], self.gpus[rank]) for rank, held in ranks.items())
            for _, ranks in self.running.values()
        )
        return whole or all(
            (job.sizes[-1][0], job.cores, job.gpus, job.exclusive) == (0, 1, 0, False) and job.ranks == self.all
            for job in jobs
        )

    def takes_all(self, job):
        """Whether a job asks for all of each node, where nodes are alike."""
        shapes = {(len(self.cores[rank]), len(self.gpus[rank])) for rank in self.all}
        nnodes, nslots = job.sizes[-1]
        slots = nslots if nnodes else 1
        return shapes == {(slots * job.cores, slots * job.gpus)}

    def schedule(self):
        now = self.now * 10**6
        expected = None
        if not self.counted():
            queue = [job for *_, job in sorted(self.waiting.values())]
            used = {text for _, _, text, _ in self.waiting.values()}
            sets = [set(idset.ids(text)) if text else self.all for text in sorted(used)]
            machine = Machine(self.cores, self.gpus, self.up, sets)
            expected = one_pass(machine, list(self.running.values()), queue, now, self.depth)
        outcome = self.engine.schedule(float(self.now))
        started = {jobid: by_rank(self.engine, jobid) for jobid in outcome.started}
        if expected:
            assert started == expected[0]
        for jobid, ranks in started.items():
            self.running[jobid] = [now + self.waiting.pop(jobid)[3].duration, ranks]
        if expected:
            told = {jobid: self.engine.estimate(jobid) for jobid in self.waiting}
            told = {jobid: round(time * 10**6) for jobid, time in told.items() if time is not None}
            assert told == {jobid: time for jobid, time in expected[1].items() if time < FAR}
        return outcome

    def some_request(self, rng):
        wanted = self.some_fixed_request(rng)
        nodes, slots = [wanted.nnodes], [wanted.nslots]
        for numbers in (nodes, slots):
            for _ in range(rng.choice([0, 0, 0, 0, 1, 3])):
                numbers.append(numbers[-1] + rng.choice([1, 1, 2, 5]))
        return accepts(wanted, nodes if wanted.nnodes else (), slots)

    def some_fixed_request(self, rng):
        duration, queue = rng.choice([0, 1, 2, 3, 5, 8, 13]), rng.choice(["", "a", "b"])
        cores, gpus = rng.choice(SLOTS)
        what = rng.random()
        if what < 0.2:
            return request(rng.randint(1, 3), 1, 1, 0, True, duration, queue)
        if what < 0.25:
            return request(0, rng.randint(1, 6), cores, gpus, True, duration, queue)
        if what < 0.6:
            return request(0, rng.randint(1, 8), cores, gpus, False, duration, queue)
        return request(rng.randint(1, 3), rng.randint(1, 2), cores, gpus, False, duration, queue)

    def step(self, rng):
        """Something happens."""
        what = rng.random()
        if what < 0.5:
            self.add(rng.choice(self.texts), self.some_request(rng), rng.choice([16, 16, 16, 5, 20]))
        elif what < 0.55 and self.waiting:
            self.cancel(rng.choice(sorted(self.waiting)))
        elif what < 0.6 and self.waiting:
            self.reprioritize(rng.choice(sorted(self.waiting)), rng.choice([1, 16, 31]))
        elif what < 0.67 and self.running:
            self.end(rng.choice(sorted(self.running)))
        elif what < 0.7 and self.running:
            jobid = rng.choice(sorted(self.running))
            if len(self.running[jobid][1]) > 1:
                self.end_part(jobid, rng.choice(sorted(self.running[jobid][1])))
        elif what < 0.73 and self.running:
            self.move_end(rng.choice(sorted(self.running)), rng.choice([None, self.now + 2, self.now + 20]))
        elif what < 0.8:
            some = {rng.choice(sorted(self.all)) for _ in range(rng.randint(1, 3))}
            self.mark(rng.choice(["mark_up", "mark_up", "mark_down"]), some)
        else:
            self.now += rng.choice([0, 1, 1, 2, 3, 5])
            late = rng.random() < 0.2
            for jobid in [i for i, (end, _) in self.running.items() if end <= self.now * 10**6]:
                if not late:
                    self.end(jobid)
            self.schedule()
        self.engine.sanity_check()


def some_machine(rng):
    """Rows of (cores, gpus): alike, or of two or three kinds."""
    kinds = [rng.choice([(2, 0), (4, 0), (4, 1), (4, 2), (8, 2), (66, 0)]) for _ in range(rng.choice([1, 1, 2, 3]))]
    return [rng.choice(kinds) for _ in range(rng.choice([1, 2, 3, 4, 6, 9]))]


def some_sets(rng, count):
    """Idsets on so many ranks: overlapping, apart, or none at all."""
    texts = [""]
    for _ in range(rng.choice([0, 0, 1, 2, 3])):
        first = rng.randrange(count)
        texts.append(idset.encode(range(first, rng.randrange(first, count) + 1)))
    return texts


@given(RANDOM, DEPTHS)
@PLAYS
def test_shared_nodes(rng, depth):
    rows = some_machine(rng)
    play = Play(rows, depth, some_sets(rng, len(rows)))
    for _ in range(rng.randint(1, 60)):
        play.step(rng)
    play.schedule()


@given(RANDOM, DEPTHS)
@PLAYS
def test_pass_after_pass(rng, depth):
    """Passes with little or nothing between them decide what one from scratch does."""
    rows = some_machine(rng)
    play = Play(rows, depth, some_sets(rng, len(rows)))
    for _ in range(rng.randint(1, 40)):
        if rng.random() < 0.2:
            play.step(rng)
        for _ in range(rng.randint(0, 2)):
            play.add(rng.choice(play.texts), play.some_request(rng))
        ends = [end for end, _ in play.running.values() if end > play.now * 10**6]
        if ends and rng.random() < 0.3:
            play.now = min(min(ends) // 10**6, play.now + 1) if min(ends) < NEVER else play.now
        play.schedule()


def test_pass_goes_on_with_the_last_one():
    """After nothing, the plugin is asked about no job; after an arrival, about that one."""
    engine = scheduler(mixed(*[(4, 0)] * 3), "backfill.plugin1", "reserve-depth=-1")
    for jobid in range(1, 20):
        engine.add(jobid, request(nslots=3, cores=2, duration=10), t_submit=float(jobid))
    assert engine.schedule(0.0).started == [1, 2]
    considered = engine.stats()["considered"]
    assert engine.schedule(3.0).started == []
    assert engine.stats()["considered"] == considered
    engine.add(20, request(cores=1, duration=5), t_submit=20.0)
    engine.add(21, request(nslots=3, cores=2, duration=10), t_submit=21.0)
    assert engine.schedule(4.0).started == []
    assert engine.stats()["considered"] == considered + 2
    assert engine.estimate(20) == 90.0 and engine.estimate(21) == 95.0
    # Whoever goes ahead of others, or leaves, changes what was decided.
    engine.cancel(3)
    assert engine.schedule(4.0).started == []
    assert engine.stats()["considered"] == considered + 2 + 18
    engine.free(1)
    assert engine.schedule(4.0).started == [4]


@pytest.mark.parametrize("depth", [-1, 1])
def test_leaves_gpus_to_those_that_ask(depth):
    """Single-core jobs take the nodes without gpus first, and a job that wants a gpu starts."""
    engine = scheduler(mixed((4, 2), (4, 0), (4, 0)), "backfill.plugin1", f"reserve-depth={depth}")
    for jobid in range(1, 9):
        engine.add(jobid, request(duration=10))
    engine.add(9, request(cores=1, gpus=1, duration=10))
    assert engine.schedule(0.0).started == list(range(1, 10))
    assert {rank for jobid in range(1, 9) for rank, _ in held(engine, jobid)[0]} == {1, 2}
    assert held(engine, 9) == ({(0, 0)}, {(0, 0)})


def test_plans_decades_ahead():
    """Jobs that run for years: the plan goes on behind what ticks of times can tell, and to a job without a limit."""
    year = 365 * 86400.0
    engine = scheduler(mixed((2, 0), (2, 0)), "backfill.plugin1", "reserve-depth=-1")
    for jobid in range(1, 6):
        engine.add(jobid, request(nnodes=2, cores=2, duration=15 * year))
    engine.add(6, request(nnodes=2, cores=1, duration=year))
    engine.add(7, request(nnodes=2, cores=1))
    engine.add(8, request(nnodes=1, duration=10.0))
    assert engine.schedule(0.0).started == [1]
    engine.sanity_check()
    starts = [15 * year, 30 * year, 45 * year, 60 * year, 75 * year, 75 * year, 76 * year]
    assert [engine.estimate(jobid) for jobid in range(2, 9)] == starts
