# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The rule of one pass over jobs that take whole nodes under constraints, in plain Python.

Slow and obvious: time is walked instant by instant, and nothing of the engine is used.
"""
from collections import namedtuple

NEVER = float("inf")
FAR = 10**18                        # when a job without a duration gives back: after every finite end

# ranks: that the job is confined to; counts: of nodes, that it accepts, descending; duration: in microseconds, NEVER
# without one.
Job = namedtuple("Job", "id queue ranks counts duration")


def kinds_of(up, sets):
    """The nodes that are up as {kind: ranks}: a kind is which of the sets in use contain it."""
    kinds = {}
    for rank in sorted(up):
        kind = tuple(rank in ranks for ranks in sets)
        if any(kind):
            kinds.setdefault(kind, set()).add(rank)
    return kinds


def choice(kinds, ranks):
    """The kinds that a job confined to these ranks may use, in the order in which it takes from them: those that
    fewest sets contain first, then by the lowest rank."""
    return sorted((k for k in kinds if kinds[k] <= ranks), key=lambda k: (sum(k), min(kinds[k])))


class Future:
    """Free nodes of each kind, now and later."""

    def __init__(self, kinds, idle, running, now):
        """running: [(end, ranks)]."""
        self.kinds, self.now = kinds, now
        self.idle = {kind: len(ranks & idle) for kind, ranks in kinds.items()}
        self.back = []              # (time, {kind: nodes})
        self.taken = []             # (start, end, {kind: nodes})
        for end, held in running:
            time = now + 1 if end <= now else min(end, FAR)
            self.back.append((time, {kind: len(ranks & held) for kind, ranks in kinds.items()}))

    def free(self, kind, time):
        back = sum(counts[kind] for at, counts in self.back if at <= time)
        taken = sum(counts.get(kind, 0) for start, end, counts in self.taken if start <= time < end)
        return self.idle[kind] + back - taken

    def instants(self):
        """When anything changes."""
        return sorted({self.now, *(at for at, _ in self.back), *(t for took in self.taken for t in took[:2])} - {NEVER})

    def least(self, kind, start, end):
        """The least that is free of a kind from start to end."""
        return min(self.free(kind, t) for t in [start, *(t for t in self.instants() if start < t < end)])

    def parts(self, job, count, start):
        """What a job of so many nodes that starts then takes of each kind; None: it does not fit."""
        need, parts = count, {}
        for kind in choice(self.kinds, job.ranks):
            parts[kind] = min(need, self.least(kind, start, start + job.duration))
            need -= parts[kind]
        return None if need else parts

    def take(self, job, start, parts):
        self.taken.append((start, start + job.duration if start < FAR else NEVER, parts))

    def earliest(self, job, count):
        return next((t for t in self.instants() if self.parts(job, count, t) is not None), None)


def one_pass(up, idle, running, jobs, now, depth, sets):
    """A pass of backfill over jobs in order: ({id: ranks} of those that start, {id: planned start}).

    A job that accepts several counts starts with the greatest that fits now. If none does, its reservation is of the
    count that can start first; of several that can, of the greatest.

    up, idle: sets of ranks. depth: of the jobs of a queue that cannot start, so many get a reservation; < 0: all.
    sets: [ranks] of the constraints that the jobs have (and all ranks, if one has none).
    """
    kinds = kinds_of(up, sets)
    future = Future(kinds, idle, running, now)
    idle = set(idle)
    started, planned, reserved = {}, {}, {}
    for job in jobs:
        if len(up & job.ranks) < min(job.counts):
            continue                # waits for nodes that are down
        fitting = [parts for count in job.counts for parts in [future.parts(job, count, now)] if parts is not None]
        if fitting:
            parts = fitting[0]
            # What runs gives back at FAR at the latest.
            future.taken.append((now, min(now + job.duration, FAR), parts))
            started[job.id] = set()
            for kind, count in parts.items():
                started[job.id].update(sorted(kinds[kind] & idle)[:count])
            idle -= started[job.id]
        elif depth < 0 or reserved.get(job.queue, 0) < depth:
            times = [(future.earliest(job, count), -count) for count in job.counts]
            if any(time is not None for time, _ in times):
                time, count = min(found for found in times if found[0] is not None)
                future.take(job, time, future.parts(job, -count, time))
                reserved[job.queue] = reserved.get(job.queue, 0) + 1
                planned[job.id] = time
    return started, planned
