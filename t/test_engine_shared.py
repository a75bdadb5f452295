# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobs that share nodes: against the plain rule, core for core, and from pass to pass."""
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxsched.core import Infeasible
from fluxsched.formats import idset
from naive import PlainPlay, accepts, confined, held, mixed, request, scheduler, sizes, units
from naive_mixed import one_pass
from naive_plan import FAR, NEVER, Job, Machine

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

    def __init__(self, rows, depth, texts, styles=()):
        """rows: (cores, gpus) of each node. texts: idsets that constraints name, "" for none. styles: of the jobs of
        each text, "whole" or "cores"; others are of all sorts."""
        self.engine = scheduler(mixed(*rows), "backfill.plugin1", f"reserve-depth={depth}")
        self.depth, self.texts, self.styles = depth, texts, dict(styles)
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

    def schedule(self):
        now = self.now * 10**6
        queue = [job for *_, job in sorted(self.waiting.values())]
        used = {text for _, _, text, _ in self.waiting.values()}
        sets = [set(idset.ids(text)) if text else self.all for text in sorted(used)]
        machine = Machine(self.cores, self.gpus, self.up, sets)
        starts, planned = one_pass(machine, list(self.running.values()), queue, now, self.depth)
        outcome = self.engine.schedule(float(self.now))
        started = {jobid: by_rank(self.engine, jobid) for jobid in outcome.started}
        assert started == starts
        for jobid, ranks in started.items():
            self.running[jobid] = [now + self.waiting.pop(jobid)[3].duration, ranks]
        told = {jobid: self.engine.estimate(jobid) for jobid in self.waiting}
        told = {jobid: round(time * 10**6) for jobid, time in told.items() if time is not None}
        assert told == {jobid: time for jobid, time in planned.items() if time < FAR}
        return outcome

    def some_request(self, rng, text):
        wanted = self.some_fixed_request(rng, self.styles.get(text) if rng.random() < 0.95 else None)
        nodes, slots = [wanted.nnodes], [wanted.nslots]
        for numbers in (nodes, slots):
            for _ in range(rng.choice([0, 0, 0, 0, 1, 3])):
                numbers.append(numbers[-1] + rng.choice([1, 1, 2, 5]))
        return accepts(wanted, nodes if wanted.nnodes else (), slots)

    def some_fixed_request(self, rng, style):
        duration, queue = rng.choice([0, 1, 2, 3, 5, 8, 13]), rng.choice(["", "a", "b"])
        cores, gpus = rng.choice(SLOTS)
        what = rng.random()
        if style == "cores":
            return request(0, rng.randint(1, 9), 1, 0, False, duration, queue)
        if what < 0.2 or style == "whole":
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
            text = rng.choice(self.texts)
            self.add(text, self.some_request(rng, text), rng.choice([16, 16, 16, 5, 20]))
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
            text = rng.choice(play.texts)
            play.add(text, play.some_request(rng, text))
        ends = [end for end, _ in play.running.values() if end > play.now * 10**6]
        if ends and rng.random() < 0.3:
            play.now = min(min(ends) // 10**6, play.now + 1) if min(ends) < NEVER else play.now
        play.schedule()


def apart(rng, count):
    """Idsets on so many ranks that have none in common."""
    cuts = sorted({0, count, *(rng.randint(0, count) for _ in range(2))})
    return [idset.encode(range(first, last)) for first, last in zip(cuts, cuts[1:])]


@given(RANDOM, DEPTHS)
@PLAYS
def test_components_are_planned_by_themselves(rng, depth):
    """Queues on nodes of their own: some of whole nodes, some of cores, some of all sorts."""
    rows = some_machine(rng)
    texts = apart(rng, len(rows))
    styles = {text: rng.choice(["whole", "whole", "cores", None]) for text in texts}
    play = Play(rows, depth, texts, styles)
    for _ in range(rng.randint(1, 60)):
        play.step(rng)
    play.schedule()


@given(RANDOM, st.sampled_from([-1, 1, 2]))
@PLAYS
def test_disjoint_queues_are_problems_of_their_own(rng, depth):
    """Queues on nodes of their own do, together, what each does on its own machine, whatever their jobs."""
    count, shape = rng.randint(2, 9), rng.choice([(2, 0), (4, 1)])
    texts = apart(rng, count)
    ranks = {text: sorted(units(text)) for text in texts}
    both = Play([shape] * count, depth, texts, {text: rng.choice(["whole", "cores", None]) for text in texts})
    alone = {text: Play([shape] * len(ranks[text]), depth, [""]) for text in texts}
    for jobid in range(1, rng.randint(2, 50)):
        text = rng.choice(texts)
        wanted = both.some_request(rng, text)._replace(queue=text)
        both.add(text, wanted)
        alone[text].count = jobid - 1
        alone[text].add("", wanted._replace(queue=""))
        if rng.random() < 0.5:
            continue
        both.now += rng.randint(0, 3)
        for ended in [i for i, (end, _) in both.running.items() if end <= both.now * 10**6 or rng.random() < 0.1]:
            both.end(ended)
            next(play for play in alone.values() if ended in play.running).end(ended)
        both.schedule()
        for text, play in alone.items():
            play.now = both.now
            play.schedule()
            for i, (_, held_by_rank) in play.running.items():
                assert both.running[i][1] == {ranks[text][rank]: units for rank, units in held_by_rank.items()}
            assert {i: both.engine.estimate(i) for i in play.waiting} == {
                i: play.engine.estimate(i) for i in play.waiting}
        assert len(both.running) == sum(len(play.running) for play in alone.values())


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
