# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The rule of one pass of backfill where jobs share nodes, in plain Python.

Slow and obvious: time is walked instant by instant, cores and gpus are sets, and nothing of the engine is used.
Where all jobs take whole nodes, the rule is another: see naive_mixed.
"""
from collections import namedtuple

NEVER = float("inf")
FAR = 10**18                        # when a job without a duration gives back: after every finite end

# ranks: that the job is confined to; sizes: [(nnodes, nslots)] that it accepts, the one that it would like best first,
# with nnodes 0 for slots on any nodes; duration: in microseconds, NEVER without one. A Sized is a job of one size.
Job = namedtuple("Job", "id queue ranks sizes cores gpus exclusive duration")
Sized = namedtuple("Sized", "ranks nnodes nslots cores gpus exclusive duration")


def sized(job):
    """A job in each of its sizes."""
    return [Sized(job.ranks, *size, job.cores, job.gpus, job.exclusive, job.duration) for size in job.sizes]


class Machine:
    """What there is: cores and gpus as {rank: set of ids}, the ranks that are up, and the sets in use ([ranks])."""

    def __init__(self, cores, gpus, up, sets):
        self.cores, self.gpus, self.up, self.sets = cores, gpus, up, sets
        kinds = {}
        for rank in sorted(up):
            kinds.setdefault(self.kind(rank), rank)
        self.first_of = kinds

    def kind(self, rank):
        """Nodes that the jobs cannot tell apart."""
        return len(self.gpus[rank]), tuple(rank in ranks for ranks in self.sets), len(self.cores[rank])

    def place(self, rank):
        """Where a rank stands in the order in which jobs take nodes: first what has fewest gpus, then what fewest sets
        in use contain, then by the lowest rank of the kind."""
        ngpus, member, _ = self.kind(rank)
        return ngpus, sum(member), self.first_of[self.kind(rank)], rank


class Future:
    """Who holds what when: taken is [(start, end, {rank: (cores, gpus)})]."""

    def __init__(self, machine, running, now):
        """running: [(end, {rank: (cores, gpus)})]."""
        self.machine, self.now = machine, now
        self.taken = [(now, now + 1 if end <= now else min(end, FAR), held) for end, held in running]

    def instants(self):
        """When anything changes."""
        return sorted({self.now, *(t for took in self.taken for t in took[:2] if t >= self.now)} - {NEVER})

    def free(self, rank, start, end):
        """Cores and gpus of a rank that nobody holds from start to end."""
        cores, gpus = set(self.machine.cores[rank]), set(self.machine.gpus[rank])
        for first, last, held in self.taken:
            if first < end and start < last and rank in held:
                cores -= held[rank][0]
                gpus -= held[rank][1]
        return cores, gpus

    def slots(self, job, rank, start, end):
        """Slots of a job that fit on a rank all along."""
        cores, gpus = self.free(rank, start, end)
        if job.exclusive and (cores != self.machine.cores[rank] or gpus != self.machine.gpus[rank]):
            return 0
        return min(len(free) // count for free, count in ((cores, job.cores), (gpus, job.gpus)) if count)

    def fit(self, job, start):
        """What a job that starts then holds, {rank: (cores, gpus)}; None: it does not fit."""
        end = start + job.duration
        need, held = job.nnodes or job.nslots, {}
        for rank in sorted(self.machine.up & job.ranks, key=self.machine.place):
            slots = self.slots(job, rank, start, end)
            if job.nnodes:
                slots = job.nslots if slots >= job.nslots else 0
            else:
                slots = min(slots, need)
            if slots and need:
                cores, gpus = self.free(rank, start, end)
                if not job.exclusive:
                    cores = set(sorted(cores)[: slots * job.cores])
                    gpus = set(sorted(gpus)[: slots * job.gpus])
                held[rank] = cores, gpus
                need -= 1 if job.nnodes else slots
        return None if need else held

    def start(self, job, end, held):
        """A job holds something from now on: what that is."""
        self.hold(self.now, end, held)
        return held

    def hold(self, start, end, held):
        self.taken.append((start, end, held))

    def take(self, job, start, held):
        self.hold(start, start + job.duration if start < FAR else NEVER, held)

    def earliest(self, job):
        return next((t for t in self.instants() if self.fit(job, t) is not None), None)


def plan(future, empty, jobs, sized, now, depth):
    """A pass over jobs in order: ({id: what it holds} of those that start, {id: planned start}).

    A job that accepts several sizes starts with the best that fits now. If none does, its reservation is of the size
    that can start first; of several that can, of the best.

    future: what runs. empty: the same machine, of which nothing is taken. sized(job): in each of its sizes. depth: of
    the jobs of a queue that cannot start, so many get a reservation; < 0: all.
    """
    started, planned, reserved = {}, {}, {}
    for job in jobs:
        if all(empty.fit(size, now) is None for size in sized(job)):
            continue                # waits for nodes that are down
        held = next((held for size in sized(job) for held in [future.fit(size, now)] if held is not None), None)
        if held is not None:
            # What runs gives back at FAR at the latest.
            started[job.id] = future.start(job, min(max(now + job.duration, now + 1), FAR), held)
        elif depth < 0 or reserved.get(job.queue, 0) < depth:
            times = [(future.earliest(size), i) for i, size in enumerate(sized(job))]
            if any(time is not None for time, _ in times):
                time, i = min(found for found in times if found[0] is not None)
                future.take(job, time, future.fit(sized(job)[i], time))
                reserved[job.queue] = reserved.get(job.queue, 0) + 1
                planned[job.id] = time
    return started, planned


def keep_pass(machine, running, jobs, kept, now, early, anew, at_once=False):
    """A pass of conservative backfill whose reservations stay: what starts, as {id: what it holds}. kept, {id: (start,
    what it holds)}, is changed.

    jobs: in the order of the queue. early: something has ended before it was expected to, or a job that had a
    reservation has left the queue. Then each reservation in turn, the earliest first, is taken back, and made anew
    where that is earlier. anew: the reservations are first given places again, in the order of the queue, not before
    they were. at_once: a reservation is taken back only if its job can then start now, in the order of the queue.
    """
    future = Future(machine, running, now)
    started = {}
    order = jobs
    if not (early and at_once):
        order = sorted(jobs, key=lambda job: kept[job.id][0] if job.id in kept else NEVER)          # stable
    for job in jobs:
        if job.id in kept and anew:
            size, least = sized(job)[0], max(now, kept[job.id][0])
            times = sorted(t for t in {least, *future.instants()} if t >= least)
            start = next(t for t in times if future.fit(size, t) is not None)
            kept[job.id] = start, future.fit(size, start)
        if job.id in kept:
            future.take(sized(job)[0], *kept[job.id])
    for job in order:
        size = sized(job)[0]
        if job.id in kept:
            old, held = kept[job.id]
            if old > now and not early:
                continue
            future.taken.remove((old, old + job.duration, held))
            start = future.earliest(size)
            if at_once and start > now:
                start = old
            if start < old or old <= now:
                held = future.fit(size, start)
        else:
            start = future.earliest(size)
            held = future.fit(size, start)
        future.take(size, start, held)
        kept[job.id] = start, held
        if start == now:
            started[job.id] = kept.pop(job.id)[1]
    return started
