# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A pass that goes on with the last one decides what a pass from scratch decides: random plays on two engines, of which
one always plans from scratch."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxsched.core import Engine, Inventory
from fluxsched.formats.jobspec import Request
from fluxsched.policy.loader import load_plugin
from naive import accepts

DURATIONS = [1, 2, 3, 5, 8, 13]


def whole(nnodes, duration, queue="", constraint=None):
    return Request(nnodes, 1, 0, 0, True, float(duration), queue, constraint, None)


def slots(nslots, cores, duration, queue="", constraint=None, gpus=0, nnodes=0):
    return Request(nnodes, nslots, cores, gpus, False, float(duration), queue, constraint, None)


def engine(nnodes, ncores, options, steady=True):
    policy = load_plugin("backfill.plugin1", options)
    assert policy.steady
    policy.steady = steady
    return Engine(Inventory.from_counts(nnodes, ncores, 1), policy)


class Play:
    """The same happens to both engines, which must answer alike."""

    def __init__(self, rng):
        self.rng = rng
        self.nnodes = rng.choice([1, 3, 5, 8])
        depth = rng.choice([-1, -1, -1, 0, 1, 2, 3])
        options = f"reserve-depth={depth}{rng.choice(['', '', ',order=sjf', ',order=laf,aging=5'])}"
        ncores = rng.choice([2, 4])
        self.engines = [engine(self.nnodes, ncores, options, steady) for steady in (True, False)]
        self.shared = rng.random() < 0.6
        half = self.nnodes // 2
        self.sets = [f"0-{half}", f"{half + rng.randint(0, 1)}-{self.nnodes}"] if rng.random() < 0.5 else []
        self.apart = rng.random() < 0.5                 # no job may go to all nodes
        self.quiet = rng.choice([0.45, 0.45, 0.8])      # how often time passes
        self.early = rng.choice([0, 0, 0.2])            # how often a job ends early
        self.now = 0
        self.last = 0
        self.ends = {}

    def both(self, name, *args):
        answers = []
        for one in self.engines:
            try:
                answers.append(getattr(one, name)(*args))
            except Exception as error:
                answers.append((type(error), str(error)))
        assert answers[0] == answers[1]
        return answers[0]

    def request(self):
        wanted, rng = self.one_size(), self.rng
        if rng.random() < 0.85:
            return wanted
        nodes = [wanted.nnodes + more for more in (0, 1, 3)] if wanted.nnodes else ()
        return accepts(wanted, nodes, () if wanted.exclusive else [wanted.nslots, wanted.nslots + rng.randint(1, 3)])

    def one_size(self):
        rng = self.rng
        confined = self.sets and (self.apart or rng.random() < 0.5)
        constraint = {"ranks": [rng.choice(self.sets)]} if confined else None
        queue, duration = rng.choice(["", "", "b", "c"]), rng.choice(DURATIONS)
        if not self.shared or rng.random() < 0.4:
            return whole(rng.randint(1, 4), duration, queue, constraint)
        if rng.random() < 0.5:
            return slots(rng.randint(1, 6), rng.randint(1, 2), duration, queue, constraint, rng.random() < 0.15)
        return slots(rng.randint(1, 2), 1, duration, queue, constraint, nnodes=rng.randint(1, 3))

    def end(self, jobid):
        self.both("free", jobid)
        del self.ends[jobid]

    def change(self):
        """Something comes in."""
        rng = self.rng
        waiting = self.engines[0].waiting()
        what = rng.random()
        if self.ends and rng.random() < self.early:
            self.end(rng.choice(sorted(self.ends)))
        elif what < 0.65:
            self.last += 1
            priority = 16 if rng.random() < 0.8 else rng.randint(14, 18)
            self.both("add", self.last, self.request(), priority, float(self.now))
        elif what < 0.78 and waiting:
            self.both("cancel", rng.choice(waiting))
        elif what < 0.88 and waiting:
            self.both("reprioritize", rng.choice(waiting), rng.randint(14, 18))
        elif what < 0.94 and self.ends:
            self.end(rng.choice(sorted(self.ends)))
        elif what < 0.97:
            self.both(rng.choice(["mark_up", "mark_down"]), str(rng.randrange(self.nnodes)))
        elif self.ends:
            jobid = rng.choice(sorted(self.ends))
            self.ends[jobid] = self.now + rng.randint(1, 9)
            self.both("update_expiration", jobid, float(self.ends[jobid]))

    def tick(self):
        """Time passes: mostly to the next expected end, when what is expected to end does."""
        if self.ends and self.rng.random() < 0.85:
            due = min(self.ends.values())
            if self.rng.random() < 0.9:
                self.now = max(self.now, due)
                for jobid in sorted(jobid for jobid, end in self.ends.items() if end <= self.now):
                    self.end(jobid)
            else:
                self.now = max(self.now, due - 1)
        elif self.rng.random() < 0.5:
            self.now += self.rng.randint(0, 2)

    def schedule(self):
        most = self.rng.choice([-1, -1, -1, 1, 2])
        started = []
        for one in self.engines:
            ids, more = [], True
            while more:
                outcome = one.schedule(float(self.now), most)
                ids += outcome.started
                more = outcome.more
            started.append(sorted(ids))
        assert started[0] == started[1]
        backfilled = [one.stats()["backfilled"] for one in self.engines]
        assert backfilled[0] == backfilled[1]
        for jobid in started[0]:
            assert self.both("cores_by_rank", jobid)
            _, end = self.both("times", jobid)
            self.ends[jobid] = round(end)
        for jobid in self.both("waiting"):
            self.both("estimate", jobid)
            self.both("reason", jobid)
        for one in self.engines:
            one.sanity_check()

    def run(self, steps):
        for _ in range(steps):
            if self.rng.random() < self.quiet:
                self.tick()
                self.schedule()
            else:
                self.change()
                # Several at once, so that there is a queue.
                while self.quiet > 0.5 and self.rng.random() < 0.8:
                    self.change()


@given(st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_pass_that_goes_on_decides_as_one_from_scratch(rng):
    Play(rng).run(rng.randint(5, 60))


def continued(one):
    return one.stats()["continued"]


@pytest.mark.parametrize("make", [lambda n, d: whole(n, d), lambda n, d: slots(n, 1, d, nnodes=1)])
def test_an_expected_end_starts_what_was_planned(make):
    """Whole nodes, or cores of one node of four: the plan of the first pass is what happens."""
    one = engine(4 if make(1, 1).exclusive else 1, 4, "reserve-depth=-1")
    one.add(1, make(4, 10))
    one.add(2, make(2, 5), t_submit=1.0)
    one.add(3, make(4, 5), t_submit=2.0)
    one.add(4, make(2, 5), t_submit=3.0)
    assert one.schedule(0.0).started == [1]
    assert [one.estimate(i) for i in (2, 3, 4)] == [10.0, 15.0, 10.0]
    one.free(1)
    before = continued(one)
    assert one.schedule(10.0).started == [2, 4]
    assert continued(one) == before + 1
    one.free(2)
    one.free(4)
    assert one.schedule(15.0).started == [3]
    assert continued(one) == before + 2


def test_an_early_end_is_planned_from_scratch():
    one = engine(4, 4, "reserve-depth=-1")
    one.add(1, whole(4, 10))
    one.add(2, whole(4, 10), t_submit=1.0)
    one.schedule(0.0)
    one.free(1)
    before = continued(one)
    assert one.schedule(9.0).started == [2]
    assert continued(one) == before


def test_a_late_end_is_planned_from_scratch():
    """It was overdue in the last pass, and so taken to end a tick later."""
    one = engine(4, 4, "reserve-depth=-1")
    one.add(1, whole(4, 10))
    one.add(2, whole(4, 10), t_submit=1.0)
    one.schedule(0.0)
    assert one.schedule(10.0).started == []
    one.free(1)
    before = continued(one)
    assert one.schedule(10.0).started == [2]
    assert continued(one) == before


def test_a_late_end_in_several_kinds_of_nodes():
    """The plan has what is free of each kind from the tick on at which the job was taken to end."""
    one = engine(4, 4, "reserve-depth=-1")
    for jobid in (1, 2, 3):
        one.add(jobid, whole(1, 10, constraint={"ranks": ["0"]}), t_submit=float(jobid))
    one.schedule(0.0)
    one.schedule(15.0)
    one.free(1)
    one.sanity_check()
    assert one.schedule(16.0).started == [2]
    one.sanity_check()


def test_jobs_that_come_go_and_move_between_others():
    """What stands ahead of them is not asked again."""
    one = engine(4, 4, "reserve-depth=-1")
    for i in range(1, 7):
        one.add(i, whole(4, 10), t_submit=float(i))
    one.schedule(0.0)
    asked, before = one.stats()["considered"], continued(one)
    one.cancel(5)
    one.schedule(0.0)
    assert one.estimate(6) == 40.0
    one.add(7, whole(4, 10), priority=17, t_submit=7.0)
    one.schedule(0.0)
    assert [one.estimate(i) for i in (7, 2, 3, 4, 6)] == [10.0, 20.0, 30.0, 40.0, 50.0]
    one.reprioritize(7, 15)
    one.schedule(0.0)
    assert [one.estimate(i) for i in (2, 3, 4, 6, 7)] == [10.0, 20.0, 30.0, 40.0, 50.0]
    assert continued(one) == before + 3
    assert one.stats()["considered"] == asked + 1 + 5 + 5


def test_plans_of_jobs_that_started_are_left_out():
    """Hundreds of planned starts come due one after another, as they were planned."""
    one = engine(1, 1, "reserve-depth=-1")
    for i in range(300):
        one.add(i + 1, whole(1, 1), t_submit=float(i))
    one.schedule(0.0)
    for i in range(1, 300):
        one.free(i)
        assert one.schedule(float(i)).started == [i + 1]
        one.sanity_check()
    assert continued(one) == 299
