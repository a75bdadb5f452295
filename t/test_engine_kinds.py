# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobs that take whole nodes under constraints: against the plain rule, node for node, and queues apart."""
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxsched.core import Infeasible, Inventory
from fluxsched.formats import idset
from naive import PlainPlay, accepts, confined, held, machine, nodes, scheduler
from naive_kinds import FAR, NEVER, Job, one_pass

PLAYS = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
RANDOM = st.randoms(use_true_random=False)
DEPTHS = st.sampled_from([-1, -1, 1, 1, 0, 2, 3])


def ranks_of(engine, jobid):
    return {rank for rank, _ in held(engine, jobid)[0]}


class Play(PlainPlay):
    """An engine, and all that the plain rule needs to know about it."""

    def __init__(self, count, depth, texts):
        """texts: idsets that constraints name, "" for none."""
        self.engine = machine(count, 2, 0, "backfill.plugin1", f"reserve-depth={depth}")
        self.depth, self.texts = depth, texts
        self.all = set(range(count))
        self.up = set(self.all)
        self.waiting = {}           # id -> (-priority, id, text, Job)
        self.running = {}           # id -> (end, ranks)
        self.now = 0
        self.count = 0

    def add(self, text, counts, duration, queue="", priority=16):
        """counts: that the job accepts, ascending."""
        self.count += 1
        ranks = set(idset.ids(text)) if text else self.all
        wanted = accepts(nodes(counts[0], duration, queue=queue, constraint=confined(text)), counts)
        try:
            self.engine.add(self.count, wanted, priority, float(self.count))
        except Infeasible:
            assert counts[0] > len(ranks)
            return
        job = Job(self.count, queue, ranks, counts[::-1], duration * 10**6 if duration else NEVER)
        self.waiting[self.count] = (-priority, self.count, text, job)

    def schedule(self):
        now = self.now * 10**6
        idle = self.up - set().union(*(ranks for _, ranks in self.running.values()))
        queue = [job for *_, job in sorted(self.waiting.values())]
        used = {text for _, _, text, _ in self.waiting.values()}
        sets = [set(idset.ids(text)) if text else self.all for text in sorted(used)]
        started, planned = one_pass(self.up, idle, list(self.running.values()), queue, now, self.depth, sets)
        outcome = self.engine.schedule(float(self.now))
        assert {jobid: ranks_of(self.engine, jobid) for jobid in outcome.started} == started
        for jobid, ranks in started.items():
            self.running[jobid] = (now + self.waiting.pop(jobid)[3].duration, ranks)
        told = {jobid: self.engine.estimate(jobid) for jobid in self.waiting}
        told = {jobid: round(time * 10**6) for jobid, time in told.items() if time is not None}
        assert told == {jobid: time for jobid, time in planned.items() if time < FAR}

    def step(self, rng):
        """Something happens."""
        what = rng.random()
        if what < 0.55:
            text = rng.choice(self.texts)
            size = len(set(idset.ids(text)) if text else self.all)
            count = max(1, round(rng.choice([0.1, 0.3, 0.5, 0.7, 1.0, 1.1]) * size))
            counts = [count]
            for _ in range(rng.choice([0, 0, 0, 1, 2, 3])):
                counts.append(counts[-1] + rng.choice([1, 1, 2, 5]))
            self.add(text, counts, rng.choice([0, 1, 2, 3, 5, 8, 13]), rng.choice(["", "a", "b"]),
                     rng.choice([16, 16, 16, 5, 20]))
        elif what < 0.6 and self.waiting:
            self.cancel(rng.choice(sorted(self.waiting)))
        elif what < 0.65 and self.waiting:
            self.reprioritize(rng.choice(sorted(self.waiting)), rng.choice([1, 16, 31]))
        elif what < 0.72 and self.running:
            self.end(rng.choice(sorted(self.running)))
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


def some_sets(rng, count):
    """Idsets on so many ranks: overlapping, apart, or none at all."""
    texts = [""] if rng.random() < 0.5 else []
    for _ in range(rng.randint(1, 4)):
        first = rng.randrange(count)
        last = rng.randrange(first, count)
        texts.append(idset.encode(range(first, last + 1)))
    return texts


@given(RANDOM, DEPTHS)
@PLAYS
def test_overlapping_constraints(rng, depth):
    count = rng.choice([1, 3, 5, 8, 8, 12, 67])
    play = Play(count, depth, some_sets(rng, count))
    for _ in range(rng.randint(1, 60)):
        play.step(rng)
    play.schedule()


@given(RANDOM, st.sampled_from([-1, 1, 2]))
@PLAYS
def test_disjoint_queues_are_problems_of_their_own(rng, depth):
    """Two queues on nodes of their own do, together, what each does on its own machine."""
    sizes = {"a": rng.randint(1, 9), "b": rng.randint(1, 9)}
    base = {"a": 0, "b": sizes["a"]}
    text = {q: idset.encode(range(base[q], base[q] + sizes[q])) for q in sizes}
    options = f"reserve-depth={depth}"
    both = scheduler(Inventory.from_counts(sum(sizes.values()), 2, 0), "backfill.plugin1", options)
    apart = {q: scheduler(Inventory.from_counts(sizes[q], 2, 0), "backfill.plugin1", options) for q in sizes}
    queue_of, ends, now = {}, {}, 0
    for jobid in range(1, rng.randint(2, 50)):
        q = rng.choice("ab")
        queue_of[jobid] = q
        count, duration = rng.randint(1, sizes[q]), rng.choice([0, 1, 2, 3, 5, 8])
        both.add(jobid, nodes(count, duration, queue=q, constraint=confined(text[q])), t_submit=float(jobid))
        apart[q].add(jobid, nodes(count, duration), t_submit=float(jobid))
        if rng.random() < 0.5:
            continue
        now += rng.randint(0, 3)
        for ended in [i for i, end in ends.items() if end <= now or rng.random() < 0.1]:
            del ends[ended]
            both.free(ended)
            apart[queue_of[ended]].free(ended)
        started = both.schedule(float(now)).started
        alone = {q: engine.schedule(float(now)).started for q, engine in apart.items()}
        assert sorted(started) == sorted(alone["a"] + alone["b"])
        for i in started:
            q = queue_of[i]
            assert ranks_of(both, i) == {rank + base[q] for rank in ranks_of(apart[q], i)}
            ends[i] = now + 100
        for i in both.waiting():
            assert both.estimate(i) == apart[queue_of[i]].estimate(i)


@pytest.mark.parametrize("depth", [-1, 1])
def test_takes_what_fewest_can_use_first(depth):
    """A job of either set leaves the nodes of both to the other."""
    engine = machine(6, 2, 0, "backfill.plugin1", f"reserve-depth={depth}")
    engine.add(1, nodes(2, 10, constraint=confined("0-3")))
    engine.add(2, nodes(2, 10, constraint=confined("0-1,4-5")))
    engine.add(3, nodes(2, 10))
    assert engine.schedule(0.0).started == [1, 2, 3]
    assert [ranks_of(engine, i) for i in (1, 2, 3)] == [{2, 3}, {4, 5}, {0, 1}]
