# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The rule of a pass where each component of nodes is planned by itself, in plain Python.

A component is the nodes that the sets in use connect. Where all jobs that wait for its nodes take whole ones, numbers
of nodes of each kind say all, as in naive_kinds, and names are found at a start; a node of which running jobs hold
parts is free when the last of them ends. Where all are confined to the same set and take any cores, the number of cores
says all. Elsewhere nodes are named, as in naive_plan.
"""
import naive_plan
from naive_plan import FAR, NEVER


def components(up, sets):
    """The nodes that are up and in a set, as disjoint sets of ranks that no set connects."""
    out = []
    for ranks in sets:
        joined = ranks & up
        for other in [other for other in out if other & joined]:
            out.remove(other)
            joined = joined | other
        out += [joined] if joined else []
    return out


def nodes_of(machine, size):
    """How many nodes a job of this size takes, if it takes whole ones and any that hold one slot of it will do; else
    None."""
    shapes = {(len(machine.cores[rank]), len(machine.gpus[rank])) for rank in machine.cores}
    slots = size.nslots if size.nnodes else 1
    if not size.exclusive and shapes != {(slots * size.cores, slots * size.gpus)}:
        return None
    least = min(min(have // count for have, count in zip(shape, (size.cores, size.gpus)) if count) for shape in shapes)
    if size.nnodes:
        return size.nnodes if least >= size.nslots else None
    return -(-size.nslots // least) if least and len(shapes) == 1 else None


def takes_whole(machine, job):
    """Whether a job takes whole nodes, and any will do in each of its sizes that there could ever be room for."""
    if nodes_of(machine, naive_plan.sized(job)[-1]) is None:
        return False
    there = [len(ids) // count for ids, count in
             [(ids, job.cores or job.gpus) for ids in (machine.cores if job.cores else machine.gpus).values()]]
    return not job.sizes[-1][0] or sum(nslots <= max(there) for nslots in {nslots for _, nslots in job.sizes}) == 1


def takes_cores(job):
    """Whether a job takes any cores of the nodes that it is confined to."""
    return (job.sizes[0][0], job.cores, job.gpus, job.exclusive) == (0, 1, 0, False)


class Cores:
    """Free cores: taken is [(start, end, ranks, cores)], of any of these ranks."""

    def __init__(self, machine, running, now):
        """running: [(end, {rank: (cores, gpus)})]."""
        self.machine, self.now, self.taken = machine, now, []
        self.held = [(now + 1 if end <= now else min(end, FAR), held) for end, held in running]
        self.left = {rank: set(machine.cores[rank]) for rank in machine.up}
        for _, held in running:
            for rank in self.left.keys() & held:
                self.left[rank] -= held[rank][0]

    def instants(self):
        times = [t for took in self.taken for t in took[:2] if t >= self.now]
        return {self.now, *(end for end, _ in self.held), *times} - {NEVER}

    def free(self, ranks, time):
        all_there = sum(len(self.machine.cores[rank]) for rank in ranks)
        busy = sum(len(held[rank][0]) for end, held in self.held if end > time for rank in ranks & held.keys())
        return all_there - busy - sum(n for start, end, of, n in self.taken if start <= time < end and of & ranks)

    def fit(self, job, start):
        """The ranks of which a job that starts then takes cores, and how many; None: it does not fit."""
        ranks = job.ranks & self.machine.up
        times = [start, *(t for t in self.instants() if start < t < start + job.duration)]
        return (ranks, job.nslots) if min(self.free(ranks, t) for t in times) >= job.nslots else None

    def hold(self, start, end, held):
        self.taken.append((start, end, *held))

    def name(self, held):
        """What a job gets that starts now."""
        ranks, need = held
        out = {}
        for rank in sorted(ranks, key=self.machine.place):
            cores = set(sorted(self.left[rank])[:need])
            self.left[rank] -= cores
            need -= len(cores)
            out.update({rank: (cores, set())} if cores else {})
        return out


class Counted:
    """Free nodes of each kind: taken is [(start, end, {kind: nodes})]."""

    def __init__(self, machine, running, now):
        """running: [(end, {rank: …})]."""
        self.machine, self.now, self.taken = machine, now, []
        self.kinds = {}
        for rank in sorted(machine.up, key=machine.place):
            self.kinds.setdefault(machine.kind(rank), []).append(rank)
        self.last = {}                  # {rank: when the last job on it ends}
        for end, held in running:
            end = now + 1 if end <= now else min(end, FAR)
            self.last.update({rank: max(end, self.last.get(rank, end)) for rank in held})
        self.used = set(self.last)

    def instants(self):
        return {self.now, *self.last.values(), *(t for took in self.taken for t in took[:2] if t >= self.now)} - {NEVER}

    def free(self, kind, time):
        there = sum(self.last.get(rank, self.now) <= time for rank in self.kinds[kind])
        return there - sum(held.get(kind, 0) for start, end, held in self.taken if start <= time < end)

    def fit(self, job, start):
        """What a job that starts then takes of each kind; None: it does not fit."""
        need, held = nodes_of(self.machine, job), {}
        if need is None:
            return None                 # larger than any node
        for kind, ranks in self.kinds.items():
            if ranks[0] in job.ranks:
                times = [start, *(t for t in self.instants() if start < t < start + job.duration)]
                held[kind] = min(need, *(self.free(kind, t) for t in times))
                need -= held[kind]
        return None if need else held

    def hold(self, start, end, held):
        self.taken.append((start, end, held))

    def name(self, held):
        """What a job gets that starts now."""
        ranks = [rank for kind, count in held.items()
                 for rank in [r for r in self.kinds[kind] if r not in self.used][:count]]
        self.used.update(ranks)
        return {rank: (self.machine.cores[rank], self.machine.gpus[rank]) for rank in ranks}


class Future:
    """Each of them, for the components of which it says all."""

    def __init__(self, machine, running, jobs, now):
        """jobs: all that wait."""
        self.now = now
        self.named = naive_plan.Future(machine, running, now)
        self.counted = Counted(machine, running, now)
        self.cores = Cores(machine, running, now)
        self.plans = []                 # [(ranks, plan)]
        for ranks in components(machine.up, machine.sets):
            here = [job for job in jobs if job.ranks & ranks]
            if all(takes_whole(machine, job) for job in here):
                self.plans.append((ranks, self.counted))
            elif all(map(takes_cores, here)) and sum(bool(some & ranks) for some in machine.sets) == 1:
                self.plans.append((ranks, self.cores))

    def of(self, job):
        return next((plan for ranks, plan in self.plans if ranks & job.ranks), self.named)

    def fit(self, job, start):
        return self.of(job).fit(job, start)

    def start(self, job, end, held):
        """A job holds something from now on: what that is."""
        if self.of(job) is self.named:
            return self.named.start(job, end, held)
        self.of(job).hold(self.now, end, held)
        return self.of(job).name(held)

    def take(self, job, start, held):
        self.of(job).hold(start, start + job.duration if start < FAR else NEVER, held)

    def earliest(self, job):
        return next((t for t in sorted(self.of(job).instants()) if self.fit(job, t) is not None), None)


def one_pass(machine, running, jobs, now, depth):
    """A pass over jobs in order, on a Machine: see naive_plan.plan."""
    empty = naive_plan.Future(machine, [], now)
    return naive_plan.plan(Future(machine, running, jobs, now), empty, jobs, naive_plan.sized, now, depth)
