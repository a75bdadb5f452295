# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Reservations that stay from pass to pass on shared nodes: against the plain rule, core for core."""
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from naive import mixed, request, scheduler, sizes, units
from naive_plan import Job, Machine, keep_pass

KEPT = "reserve-depth=-1,compression=true"
NODES = [(5, 0), (5, 1), (7, 0), (5, 0), (7, 2), (5, 0)]
SLOTS = [(2, 0), (3, 0), (2, 0), (2, 1), (4, 0), (0, 1)]


class Play:
    """An engine, and all that the plain rule needs to know about it. No job takes a whole node or just any cores: the
    rule is that of nodes that are looked at."""

    def __init__(self, interval=0):
        """interval: of compression, in seconds."""
        self.engine = scheduler(mixed(*NODES), "backfill.plugin1", f"{KEPT},compression-interval={interval}")
        ranks = range(len(NODES))
        self.machine = Machine({i: set(range(NODES[i][0])) for i in ranks}, {i: set(range(NODES[i][1])) for i in ranks},
                               set(ranks), [set(ranks)])
        self.waiting, self.running, self.kept = {}, {}, {}
        self.now = self.count = 0
        self.anew = self.gone = False
        self.latest = 0                 # of the jobs that have ended since the last pass, when the last was expected to
        self.interval = interval
        self.compressed = None          # when a pass last did
        self.owed = False               # something has become free early since

    def add(self, rng):
        self.count += 1
        slots = rng.choice(SLOTS)
        duration = rng.choice([2, 3, 5, 8, 13])
        if rng.random() < 0.5:
            wanted = request(0, rng.randint(1, 6), *slots, False, duration)
        else:
            wanted = request(rng.randint(1, 2 if slots[1] else 4), 1, *slots, False, duration)
        if wanted.gpus and not wanted.nnodes:
            wanted = wanted._replace(nslots=rng.randint(1, 3))
        self.engine.add(self.count, wanted, 16, float(self.count))
        self.waiting[self.count] = Job(self.count, "", self.machine.up, sizes(wanted), *slots, False, duration * 10**6)

    def end(self, jobid):
        self.engine.free(jobid)
        self.latest = max(self.latest, self.running.pop(jobid)[0])

    def cancel(self, jobid):
        self.engine.cancel(jobid)
        del self.waiting[jobid]
        self.gone |= self.kept.pop(jobid, None) is not None

    def step(self, rng):
        what = rng.random()
        if what < 0.5:
            self.add(rng)
        elif what < 0.7:
            self.now += rng.choice([1, 1, 2, 3])
            first = min((end for end, _ in self.running.values()), default=None)
            self.now = self.now if first is None else min(self.now, first // 10**6)
            for jobid in [jobid for jobid, (end, _) in self.running.items() if end == self.now * 10**6]:
                self.end(jobid)
            for jobid in sorted(self.running):
                if rng.random() < 0.2:
                    self.end(jobid)
        elif what < 0.75 and self.waiting:
            self.cancel(rng.choice(sorted(self.waiting)))
        elif what < 0.8:
            self.engine.plan_anew()
            self.anew = True
        else:
            self.check()

    def check(self):
        now = self.now * 10**6
        # Where a start has gone by, all places are found anew.
        self.anew |= any(start < now for start, _ in self.kept.values())
        early = self.gone or self.latest > now
        self.owed |= early
        whole = self.owed and (self.compressed is None or self.now - self.compressed >= self.interval)
        if whole:
            self.compressed, self.owed = self.now, False
        expected = keep_pass(self.machine, list(self.running.values()), list(self.waiting.values()), self.kept, now,
                             early or whole, self.anew, not whole)
        self.anew = self.gone = False
        self.latest = 0
        started = {jobid: {rank: (units(cores), units(gpus)) for rank, cores, gpus in self.engine.cores_by_rank(jobid)}
                   for jobid in self.engine.schedule(float(self.now)).started}
        assert started == expected
        for jobid, held in started.items():
            self.running[jobid] = now + self.waiting.pop(jobid).duration, held
        assert {jobid: round(self.engine.estimate(jobid) * 10**6) for jobid in self.waiting} == {
            jobid: start for jobid, (start, _) in self.kept.items()}
        self.engine.sanity_check()


@given(st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_reservations_stay_and_move_up(rng):
    play = Play(rng.choice([0, 0, 5, 20]))
    for _ in range(60):
        play.step(rng)
    play.check()
