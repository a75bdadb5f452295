# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the tests of the engine share: short requests, machines, and a plain model of who holds what.

Slow and simple on purpose, with Python sets of (rank, id); nothing of the engine is used but its answers.
"""

from collections import namedtuple

from fluxsched.core import Engine, Infeasible, Inventory
from fluxsched.formats import idset
from fluxsched.formats.jobspec import Request, Vertex
from fluxsched.policy.loader import load_plugin

RESOURCES = "waiting for resources"
BEHIND = "waiting for jobs ahead in the queue"
RESERVED = "starting now would delay a job ahead in the queue"
DOWN = "waiting for nodes that are down or drained"
DEPTH = "beyond the queue depth of a scheduling pass"
OVERLAP = "waiting for a job of another queue on the same nodes"

EASY = "backfill.plugin1"

Hierarchy = namedtuple("Hierarchy", "uri type basename name id size parent tags properties")


def scheduler(inventory, plugin="sched.plugin1", options="", **more):
    """An Engine under a plugin with these options."""
    return Engine(inventory, load_plugin(plugin, options), **more)


def request(
    nnodes=0, nslots=1, cores=1, gpus=0, exclusive=False, duration=0.0, queue="", constraint=None, tree=None, **counts
):
    """A Request; by default one core for as long as it likes. node_counts, slot_counts: see accepts()."""
    return Request(nnodes, nslots, cores, gpus, exclusive, float(duration), queue, constraint, tree, **counts)


def accepts(wanted, nodes=(), slots=()):
    """A request that accepts these numbers of nodes, and of slots, ascending; (): what it asks for alone."""

    def runs(numbers):
        return tuple(range(number, number + 1) for number in numbers)

    return wanted._replace(
        nnodes=nodes[0] if nodes else wanted.nnodes,
        nslots=slots[0] if slots else wanted.nslots,
        node_counts=runs(nodes),
        slot_counts=runs(slots),
    )


def sizes(wanted):
    """What a job may get by its request: (nnodes, nslots), in the order in which it would have them."""
    nodes = [number for run in wanted.node_counts for number in run] or [wanted.nnodes]
    slots = [number for run in wanted.slot_counts for number in run] or [wanted.nslots]
    return [(n, s) for n in reversed(nodes) for s in reversed(slots)]


def nodes(n, duration=0.0, **more):
    """n whole nodes."""
    return request(nnodes=n, exclusive=True, duration=duration, **more)


def cores(n, duration=0.0, **more):
    """n cores, wherever they are."""
    return request(nslots=n, duration=duration, **more)


def vertex(type, count=1, *children, exclusive=False):
    """A vertex of a general request."""
    return Vertex(type, count, exclusive, tuple(children))


def tree_request(*vertices, duration=0.0, **more):
    """A request through the tree."""
    return request(nslots=0, cores=0, tree=tuple(vertices), duration=duration, **more)


def hierarchy(root, uri="default"):
    """A Hierarchy from nested (type, name, id, size, tags, children) tuples; the last four may be left out."""
    columns = Hierarchy(uri, [], [], [], [], [], [], [], [])

    def walk(item, parent):
        type, name, id, size, tags, children = item + (None, 1, {}, ())[len(item) - 2 :]
        place = len(columns.type)
        columns.type.append(type)
        columns.basename.append(name)
        columns.name.append(name if id is None else f"{name}{id}")
        columns.id.append(id)
        columns.size.append(size)
        columns.parent.append(parent)
        columns.tags.append(tags)
        columns.properties.append({})
        for child in children:
            walk(child, place)

    walk(root, -1)
    return columns


def hype(nnodes, width=None, node_width=None):
    """A small hype: nodes of two sockets, each of 2 cores and 1000 MB; width: bandwidth of all, node_width: of one."""
    members = []
    for node in range(nnodes):
        sockets = []
        for socket in range(2):
            parts = tuple(("core", "core", core) for core in (2 * socket, 2 * socket + 1))
            sockets.append(("socket", "socket", socket, 1, {}, parts + (("memory", "memory", None, 1000),)))
        members.append(("node", "hype", node, 1, {} if node_width is None else {"max_bw": node_width}, tuple(sockets)))
    return hierarchy(("cluster", "hype", None, 1, {} if width is None else {"max_bw": width}, tuple(members)))


def mixed(*rows):
    """An Inventory of nodes that differ: rows of (cores, gpus), idset strings or counts."""

    def text(ids):
        return ids if isinstance(ids, str) else idset.encode(range(ids))

    return Inventory(
        list(range(len(rows))),
        [f"node{i}" for i in range(len(rows))],
        [text(core) for core, _ in rows],
        [text(gpu) for _, gpu in rows],
    )


def units(text):
    """Ids of an idset string."""
    return set(idset.ids(text)) if text else set()


def held(engine, jobid):
    """What a job holds: ({(rank, core)}, {(rank, gpu)})."""
    rows = engine.cores_by_rank(jobid)
    return (
        {(rank, core) for rank, text, _ in rows for core in units(text)},
        {(rank, gpu) for rank, _, text in rows for gpu in units(text)},
    )


def waits(engine):
    """The waiting jobs in queue order: [(job id, reason, planned start or None)]."""
    return [(jobid, engine.reason(jobid), engine.estimate(jobid)) for jobid in engine.waiting()]


def reasons(engine):
    """Why the jobs wait: {job id: reason}."""
    return {jobid: reason for jobid, reason, _ in waits(engine)}


def estimates(engine):
    """Planned starts: {job id: time or None}."""
    return {jobid: estimate for jobid, _, estimate in waits(engine)}


def machine(nnodes, ncores=4, ngpus=0, plugin="sched.plugin1", options="", **more):
    """An engine on equal nodes."""
    return scheduler(Inventory.from_counts(nnodes, ncores, ngpus), plugin, options, **more)


def run(engine, *requests, now=0.0, first=1):
    """Add jobs first, first + 1, … and make a pass."""
    for i, wanted in enumerate(requests):
        engine.add(first + i, wanted)
    return engine.schedule(now)


def core(i):
    """Core i, for hierarchy()."""
    return ("core", "core", i)


def confined(text):
    """A constraint to ranks."""
    return {"ranks": [text]} if text else None


class PlainPlay:
    """What happens to an engine and to what a plain rule knows of it: engine, up, waiting {id: (-priority, …)} and
    running {id: …}, which a play fills in."""

    def cancel(self, jobid):
        assert self.engine.cancel(jobid)
        del self.waiting[jobid]

    def reprioritize(self, jobid, priority):
        self.engine.reprioritize(jobid, priority)
        self.waiting[jobid] = (-priority, *self.waiting[jobid][1:])

    def end(self, jobid):
        self.engine.free(jobid)
        del self.running[jobid]

    def mark(self, name, ranks):
        getattr(self.engine, name)(idset.encode(sorted(ranks)))
        self.up = self.up | ranks if name == "mark_up" else self.up - ranks


class Model:
    """Who holds what on an engine's machine, and what a pass had to do.

    Every change goes through here to one or more engines at once, whose answers must be the same. Ranks and units
    are sets; a waiting job is (priority, submit, id, request), a running one (cores, gpus, end).
    """

    def __init__(self, make, depth=None):
        """make: makes an engine; called for each. depth: reserve-depth of backfill.plugin1, None for sched.plugin1."""
        self.make = make
        self.engines = [make(), make()]
        self.engine = self.engines[0]
        inventory = self.engine.inventory
        self.cores = {rank: units(inventory.core_set(i)) for i, rank in enumerate(inventory.ranks)}
        self.gpus = {rank: units(inventory.gpu_set(i)) for i, rank in enumerate(inventory.ranks)}
        self.ranks = set(inventory.ranks)
        self.present = set(self.ranks)
        self.up = set(self.ranks)
        self.depth = depth
        self.waiting = {}
        self.running = {}
        self.told = {}
        self.told_again = {}        # the same by the second engine
        self.now = 0
        self.count = 0
        self.promise = None         # (job, time): the head's last estimate, while nothing may move it back

    def both(self, name, *arguments, **more):
        """Call a method of both engines; they answer the same."""
        answers = []
        for engine in self.engines:
            try:
                answers.append(getattr(engine, name)(*arguments, **more))
            except ValueError as error:
                answers.append((type(error), str(error)))
        assert answers[0] == answers[1]
        return answers[0]

    # What fits where.

    def eligible(self, wanted):
        if wanted.constraint is None:
            return self.ranks
        return units(wanted.constraint["ranks"][0])

    def slots(self, wanted, rank, cores, gpus):
        """Slots of a request that go on a node with these free."""
        if wanted.exclusive and (cores != self.cores[rank] or gpus != self.gpus[rank]):
            return 0
        if not wanted.cores and not wanted.gpus:
            return wanted.nslots
        counts = [(cores, wanted.cores), (gpus, wanted.gpus)]
        return min(len(free) // count for free, count in counts if count)

    def fits(self, wanted, ranks, cores, gpus):
        """Whether a request fits on these ranks, of which cores and gpus ({rank: set}) are free."""
        counts = [self.slots(wanted, rank, cores[rank], gpus[rank]) for rank in ranks & self.eligible(wanted)]
        if wanted.nnodes:
            return sum(count >= wanted.nslots for count in counts) >= wanted.nnodes
        return sum(counts) >= wanted.nslots

    def free(self, running):
        """({rank: cores}, {rank: gpus}) that these running jobs leave."""
        cores = {rank: set(ids) for rank, ids in self.cores.items()}
        gpus = {rank: set(ids) for rank, ids in self.gpus.items()}
        for held_cores, held_gpus, _ in running.values():
            for rank, unit in held_cores:
                assert unit in cores[rank], "a core is held by two jobs"
                cores[rank].remove(unit)
            for rank, unit in held_gpus:
                assert unit in gpus[rank], "a gpu is held by two jobs"
                gpus[rank].remove(unit)
        return cores, gpus

    def idle(self):
        """Ranks that are up and all free."""
        cores, gpus = self.free(self.running)
        return {rank for rank in self.up if cores[rank] == self.cores[rank] and gpus[rank] == self.gpus[rank]}

    def earliest(self, wanted, running):
        """When a request fits if the running jobs end when they said; None: never. Microseconds."""
        now = self.now * 10**6
        ends = {jobid: None if job[2] is None else max(job[2] * 10**6, now + 1) for jobid, job in running.items()}
        for time in sorted({now, *(end for end in ends.values() if end is not None)}):
            left = {jobid: running[jobid] for jobid, end in ends.items() if end is None or end > time}
            if self.fits(wanted, self.up, *self.free(left)):
                return time
        return None

    # What happens.

    def add(self, wanted, priority=16):
        self.count += 1
        answer = self.both("add", self.count, wanted, priority, float(self.count // 2))
        if self.fits(wanted, self.present, self.cores, self.gpus):
            assert answer is None
            self.waiting[self.count] = (-priority, self.count // 2, self.count, wanted)
            if self.promise and self.waiting[self.promise[0]] > self.waiting[self.count]:
                self.promise = None
        else:
            assert answer[0] is Infeasible
        self.check()

    def order(self):
        return sorted(self.waiting, key=self.waiting.get)

    def cancel(self, jobid):
        assert self.both("cancel", jobid) is (jobid in self.waiting)
        self.waiting.pop(jobid, None)
        self.told_again.pop(jobid, None)
        self.promise = None
        self.check()

    def reprioritize(self, jobid, priority):
        assert self.both("reprioritize", jobid, priority) is (jobid in self.waiting)
        if jobid in self.waiting:
            self.waiting[jobid] = (-priority, *self.waiting[jobid][1:])
        self.promise = None
        self.check()

    def end(self, jobid):
        assert self.both("free", jobid) is None
        del self.running[jobid]
        self.check()

    def end_part(self, jobid, ranks):
        """Some ranks of a job are free; those that it does not hold are refused."""
        cores, gpus, end = self.running[jobid]
        answer = self.both("free", jobid, idset.encode(sorted(ranks)), final=False)
        if ranks and ranks <= {rank for rank, _ in cores | gpus}:
            assert answer is None
            self.running[jobid] = (
                {unit for unit in cores if unit[0] not in ranks},
                {unit for unit in gpus if unit[0] not in ranks},
                end,
            )
        else:
            assert answer[0] is ValueError
        self.check()

    def move_end(self, jobid, end):
        """A running job is expected to end at another time, None for never."""
        assert self.both("update_expiration", jobid, float(end or 0)) is True
        self.running[jobid] = (*self.running[jobid][:2], end)
        self.promise = None

    def mark(self, name, ranks):
        """mark_up, mark_down or remove."""
        assert self.both(name, idset.encode(sorted(ranks))) is None
        if name == "remove":
            self.present -= ranks
        self.up = (self.up | ranks) & self.present if name == "mark_up" else self.up - ranks
        self.promise = None
        self.check()

    def check(self):
        """What is free is what nobody holds, and the jobs are those that there should be."""
        cores, _ = self.free(self.running)
        stats, again = (engine.stats() for engine in self.engines)
        assert (stats["nodes"], stats["cores"]) == (again["nodes"], again["cores"])
        assert stats["nodes"] == {"all": len(self.present), "up": len(self.up), "idle": len(self.idle())}
        assert stats["cores"] == {
            "up": sum(len(self.cores[rank]) for rank in self.up),
            "free": sum(len(cores[rank]) for rank in self.up),
        }
        assert self.both("waiting") == self.order()
        for engine in self.engines:
            assert sorted(engine.running_jobs()) == sorted(self.running)

    def restart(self):
        """The second engine is another from now on, which is told all anew."""
        if any(not text for jobid in self.running for _, text, _ in self.engine.cores_by_rank(jobid)):
            return                  # no R says so: RFC 20 has cores on every rank
        self.engines[1] = new = self.make()
        self.told_again = {}
        for jobid, (_, _, end) in self.running.items():
            new.adopt(jobid, self.engine.R(jobid, 0.0, float(end or 0)))
        for jobid, (priority, submit, _, wanted) in self.waiting.items():
            if self.fits(wanted, self.present, self.cores, self.gpus):
                new.add(jobid, wanted, -priority, float(submit))
        new.mark_down(idset.encode(sorted(self.present - self.up)))
        new.remove(idset.encode(sorted(self.ranks - self.present)))
        # Those that the next pass would have denied are denied at once.
        for jobid in set(self.waiting) - set(new.waiting()):
            assert self.engine.cancel(jobid)
            del self.waiting[jobid]
        self.check()

    def check_status(self):
        """The same in terms of R."""
        cores, gpus = self.free(self.running)
        status = self.both("resource_status")
        allocated = {}
        for entry in status["allocated"]["execution"]["R_lite"]:
            for rank in units(entry["rank"]):
                allocated[rank] = (units(entry["children"]["core"]), units(entry["children"].get("gpu")))
        expected = {rank: (self.cores[rank] - cores[rank], self.gpus[rank] - gpus[rank]) for rank in self.present}
        assert allocated == {rank: taken for rank, taken in expected.items() if taken != (set(), set())}
        for name, ranks in (("all", self.present), ("down", self.present - self.up)):
            rows = status[name]["execution"]["R_lite"]
            assert {rank for row in rows for rank in units(row["rank"])} == ranks

    # A pass.

    def schedule(self, now):
        """A pass at a time (whole seconds), and whether it did what the policy says."""
        self.now = now
        outcome, again = (engine.schedule(float(now)) for engine in self.engines)
        assert outcome == again
        self.told, self.told_again = (
            {jobid: (reason, None if estimate is None else round(estimate * 10**6))
             for jobid, reason, estimate in waits(engine)}
            for engine in self.engines
        )
        started = set(outcome.started)
        queue = self.order()
        requests = {jobid: self.waiting[jobid][3] for jobid in queue}
        denied = {
            jobid for jobid in queue if not self.fits(requests[jobid], self.present, self.cores, self.gpus)
        }
        # Those behind a blocked job are denied later.
        assert {jobid for jobid, _ in outcome.denied} <= denied
        for jobid, _ in outcome.denied:
            self.told.pop(jobid, None)
        for jobid in started:
            self.check_start(jobid, requests[jobid])
        if self.depth is None:
            self.check_fcfs(queue, requests, started, denied)
        else:
            self.check_backfill(queue, requests, started, denied)
        for jobid in started | {jobid for jobid, _ in outcome.denied}:
            del self.waiting[jobid]
            self.told.pop(jobid, None)
            self.told_again.pop(jobid, None)
        assert self.told_again == {jobid: self.told[jobid] for jobid in self.waiting}
        self.check()
        self.check_promise(requests, started)
        return outcome

    def size_of(self, jobid, wanted):
        """(nnodes, nslots) that a job got, as sizes() has them."""
        slots = self.engine.R(jobid)["execution"]["nslots"]
        nnodes = len({rank for units in held(self.engine, jobid) for rank, _ in units})
        return (nnodes, slots // nnodes) if wanted.nnodes else (0, slots)

    def greatest(self, wanted):
        """The greatest size of a job that fits beside what runs."""
        for nnodes, nslots in sizes(wanted):
            if self.fits(wanted._replace(nnodes=nnodes, nslots=nslots), self.up, *self.free(self.running)):
                return nnodes, nslots
        return None

    def take(self, jobid, wanted):
        cores, gpus = held(self.engine, jobid)
        self.running[jobid] = (cores, gpus, self.now + int(wanted.duration) if wanted.duration else None)

    def check_start(self, jobid, wanted):
        """What a job got is what it asked for, in one of the sizes that it accepts."""
        assert self.both("cores_by_rank", jobid) == self.engine.cores_by_rank(jobid)
        cores, gpus = held(self.engine, jobid)
        ranks = {rank for rank, _ in cores | gpus}
        assert ranks <= self.up & self.eligible(wanted)
        size = self.size_of(jobid, wanted)
        assert size in sizes(wanted)
        wanted = wanted._replace(nnodes=size[0], nslots=size[1])
        slots = 0
        for rank in ranks:
            mine = {unit for r, unit in cores if r == rank}
            my_gpus = {unit for r, unit in gpus if r == rank}
            assert mine <= self.cores[rank] and my_gpus <= self.gpus[rank]
            fit = self.slots(wanted, rank, mine, my_gpus)
            if wanted.exclusive:
                assert mine == self.cores[rank] and my_gpus == self.gpus[rank]
                assert fit >= (wanted.nslots if wanted.nnodes else 1)
            else:
                assert (len(mine), len(my_gpus)) == (fit * wanted.cores, fit * wanted.gpus)
                assert fit == wanted.nslots or not wanted.nnodes
            slots += fit
        if wanted.nnodes:
            assert len(ranks) == wanted.nnodes
        elif not wanted.exclusive:
            assert slots == wanted.nslots
        else:
            assert slots >= wanted.nslots

    def cannot(self, jobid, requests, denied, started):
        """Whether a job is not to be considered: no up node will do; it says so."""
        if jobid in denied:
            assert jobid not in started
            return True
        if not self.fits(requests[jobid], self.up, self.cores, self.gpus):
            assert jobid not in started
            assert self.told[jobid] == (DOWN, None)
            return True
        return False

    def check_fcfs(self, queue, requests, started, denied):
        blocked = {}
        for jobid in queue:
            wanted = requests[jobid]
            if wanted.queue in blocked:
                assert jobid not in started
                down = not self.fits(wanted, self.up, self.cores, self.gpus)
                assert jobid in denied or self.told[jobid] == (DOWN if down else BEHIND, None)
            elif self.cannot(jobid, requests, denied, started):
                pass
            elif any(self.eligible(wanted) & ranks for ranks in blocked.values()):
                assert jobid not in started
                assert self.told[jobid] == (OVERLAP, None)
                blocked[wanted.queue] = self.eligible(wanted)
            elif self.fits(wanted, self.up, *self.free(self.running)):
                assert jobid in started
                assert self.size_of(jobid, wanted) == self.greatest(wanted)
                self.take(jobid, wanted)
            else:
                assert jobid not in started
                assert self.told[jobid] == (RESOURCES, None)
                blocked[wanted.queue] = self.eligible(wanted)

    def check_backfill(self, queue, requests, started, denied):
        reserved = []               # estimates of jobs that may have a reservation
        of_queue = {}
        head = None
        plan = []                   # (start, end, cores at the least) of those with an estimate
        for jobid in queue:
            wanted = requests[jobid]
            if self.cannot(jobid, requests, denied, started):
                continue
            if jobid in started:
                if not reserved:
                    assert self.size_of(jobid, wanted) == self.greatest(wanted)
                self.take(jobid, wanted)
                continue
            estimate = self.told[jobid][1]
            end = self.now * 10**6 + int(wanted.duration) * 10**6 if wanted.duration else None
            if all(time is None or (end is not None and end <= time) for time in reserved) and (end or not reserved):
                assert not self.fits(wanted, self.up, *self.free(self.running)), "it could start"
            count = of_queue.get(wanted.queue, 0)
            if 0 <= self.depth <= count:
                assert estimate is None
                continue
            if not reserved:
                assert estimate == self.earliest(wanted, self.running)
                head = (jobid, estimate)
            elif estimate is not None:
                earliest = self.earliest(wanted, self.running)
                assert earliest is not None and estimate >= earliest
                ends = [job[2] and job[2] * 10**6 for job in self.running.values()] + [end for _, end, _ in plan]
                if None not in ends and None not in reserved:
                    # Once all that was there before has ended.
                    assert estimate <= max([self.now * 10**6 + 1, *ends])
            if estimate is not None:
                ncores = max(wanted.nnodes, 1) * wanted.nslots * wanted.cores
                end = estimate + int(wanted.duration) * 10**6 if wanted.duration else None
                plan.append((estimate, end, ncores))
            reserved.append(estimate)
            of_queue[wanted.queue] = count + (estimate is not None)
        for time, _, _ in plan:
            # Nothing is promised twice.
            taken = sum(len(job[0]) for job in self.running.values() if job[2] is None or job[2] * 10**6 > time)
            taken += sum(n for start, end, n in plan if start <= time and (end is None or end > time))
            assert taken <= sum(map(len, self.cores.values()))
        if head and head[1] is not None:
            assert self.earliest(requests[head[0]], self.running) <= head[1], "the reservation is not kept"

    def check_promise(self, requests, started):
        """While nothing that may disturb it happens, the head starts no later than it was told."""
        late = any(job[2] is not None and job[2] <= self.now for job in self.running.values())
        if self.promise and not late:
            jobid, time = self.promise
            assert jobid in started or (self.told[jobid][1] <= time and time > self.now * 10**6)
        self.promise = None
        for jobid in self.order():
            if self.fits(requests[jobid], self.up, self.cores, self.gpus):
                if self.depth and not late and self.told[jobid][1] is not None:
                    self.promise = (jobid, self.told[jobid][1])
                break
