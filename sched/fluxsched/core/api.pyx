# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
# cython: boundscheck=True, wraparound=True
"""The engine as Python hosts use it: job ids, requests, R objects, texts.

Times here are seconds since the epoch as float; inside they are microseconds.
"""
from collections import namedtuple

from libc.stdlib cimport free
from libc.string cimport memset

from fluxsched.core.alloc cimport Alloc, Entry, alloc_clear, alloc_part, alloc_take, alloc_whole, grown
from fluxsched.core.bits cimport count_bits, get_bit, same_bits, set_bit
from fluxsched.core.engine cimport Domain, General
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport (
    JOB_RUNNING, JOB_WAITING, WHY_BEHIND, WHY_DEPTH, WHY_DOWN, WHY_LACKING, WHY_OTHER, WHY_OVERLAP, WHY_POLICY,
    WHY_RESERVED, WHY_RESOURCES, Job,
)
from fluxsched.core.match cimport Matcher
from fluxsched.core.memory cimport zeroed
from fluxsched.core.report cimport EngineReports
from fluxsched.core.tree cimport (
    VERTEX_CORE, VERTEX_GPU, VERTEX_NODE, VERTEX_PLAIN, Tree, Want,
)
from fluxsched.core.types cimport USEC, i32, i64, time_never, u64, usec_t

from fluxsched.formats import idset as _idset
from fluxsched.formats import r as _r

Pass = namedtuple("Pass", "started denied more")

REASONS = {
    WHY_RESOURCES: "waiting for resources",
    WHY_BEHIND: "waiting for jobs ahead in the queue",
    WHY_RESERVED: "starting now would delay a job ahead in the queue",
    WHY_DOWN: "waiting for nodes that are down or drained",
    WHY_LACKING: "no node has the properties that the constraint asks for",
    WHY_DEPTH: "beyond the queue depth of a scheduling pass",
    WHY_OVERLAP: "waiting for a job of another queue on the same nodes",
    WHY_POLICY: "held back by the scheduling policy",
    WHY_OTHER: "starting now would delay a job of another queue on the same nodes",
}


def _load_plugin(plugin, options):
    # Policies are made of what the engine offers, so their module imports this one.
    from fluxsched.policy.loader import load_plugin

    return load_plugin(plugin, options)


_REMOVED = "the nodes that it needs have been removed"


class Infeasible(ValueError):
    """A request that the resources there are can never serve; says why."""


cdef usec_t to_usec(double seconds) except? -1:
    """Seconds as microseconds; 0, infinite or too late is never."""
    if seconds != seconds or seconds < 0:
        raise ValueError(f"time {seconds!r}: expected a number of seconds, 0 or more")
    if seconds == 0 or seconds >= 9e12:
        return time_never()
    return <usec_t> (seconds * USEC + 0.5)


cdef usec_t to_instant(double seconds) except? -1:
    """Seconds since the epoch as microseconds."""
    if not 0 <= seconds < 9e12:
        raise ValueError(f"time {seconds!r}: expected a number of seconds from 0 to 9e12")
    return <usec_t> (seconds * USEC + 0.5)


def _plural(n, noun):
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _need(request):
    """A request in words."""
    parts = [_plural(request.cores, "core")] if request.cores else []
    if request.gpus:
        parts.append(_plural(request.gpus, "gpu"))
    slot = " and ".join(parts)
    if not parts:
        return _plural(request.nnodes, "whole node")
    if not request.nnodes:
        return f"{_plural(request.nslots, 'slot')} of {slot}" + (" on whole nodes" if request.exclusive else "")
    whole = "whole " if request.exclusive else ""
    return f"{_plural(request.nnodes, whole + 'node')} with {_plural(request.nslots, 'slot')} of {slot} each"


def _without_bandwidth(vertices):
    """A general request without what it asks of bandwidth."""
    return tuple(vertex._replace(children=_without_bandwidth(vertex.children))
                 for vertex in vertices if vertex.type != "bandwidth")


cdef class Engine(EngineReports):
    """One scheduler: an inventory, a policy and the jobs.

    plugin: name or path of a plugin, options: its options (a string
    "key=value,…" or a dict); raises PluginError. With sched_once, resources
    are given out once and never come back (a test mode of the C original).
    All ranks are up at first unless down is set.
    """

    def __init__(self, Inventory inventory not None, plugin="sched.plugin1", options="", sched_once=False,
                 down=False):
        self.user_numbers = {}
        self.policy = _load_plugin(plugin, options)
        self.once = sched_once
        if not down:
            for node in range(inventory.nnodes):
                self.state.set_up(node, True)

    def set_policy(self, plugin, options=""):
        """Change the plugin between passes; raises PluginError and keeps the
        old one."""
        self.policy = _load_plugin(plugin, options)
        self.stale = True

    @property
    def plugin(self):
        """Name of the plugin."""
        return self.policy.name

    @property
    def io_aware(self):
        """Whether bandwidth that jobs ask for is a resource."""
        return bool(self.policy.io_aware)

    # Resources.

    def _each_node(self, ranks):
        """Node indices of ranks (idset string or ints) that there are."""
        ids = (_idset.ids(ranks) if ranks else ()) if isinstance(ranks, str) else ranks
        index = self.inventory.rank_index
        return [index[rank] for rank in ids if rank in index]

    def mark_up(self, ranks):
        """Ranks whose resources may be used from now on."""
        for node in self._each_node(ranks):
            self.state.set_up(node, True)
        self.eligible.generation += 1
        self.returned = True

    def mark_down(self, ranks):
        """Ranks (down or drained) that get no more jobs; jobs there go on."""
        for node in self._each_node(ranks):
            self.state.set_up(node, False)
        self.eligible.generation += 1

    def remove(self, ranks):
        """Ranks that are gone for good. Jobs that cannot do without them are
        denied by the next pass."""
        for node in self._each_node(ranks):
            self.state.remove(node)
            self.removal = self.stale = True
        self.eligible.generation += 1

    def property_add(self, name, ranks):
        """Give ranks a property; constraints are evaluated again."""
        self.eligible.set_property(name, ranks, True)
        self.returned = True

    def property_remove(self, name, ranks):
        """Take a property from ranks."""
        self.eligible.set_property(name, ranks, False)
        self.returned = True

    def set_expiration(self, double t):
        """When the instance ends (0: never): so do jobs without a duration."""
        to_usec(t)
        self.expiration = t if t < 9e12 else 0

    # Jobs.

    cdef i32 _domain(self, str queue) except -1:
        cdef void *room
        cdef i32 size = self.ndomains
        if queue not in self.domain_index:
            room = grown(self.domain, &size, self.ndomains + 1, sizeof(self.domain[0]))
            if room is NULL:
                raise MemoryError("no memory for a queue")
            self.domain = <Domain *> room
            memset(self.domain + self.ndomains, 0, sizeof(self.domain[0]))
            self.domain_index[queue] = self.ndomains
            self.domain_names.append(queue)
            self.ndomains += 1
        return self.domain_index[queue]

    cdef i32 _general(self, vertices) except -1:
        """Keep a general request. Raises Infeasible."""
        cdef Tree tree = self.inventory.need_tree()
        cdef i32 i, place
        cdef void *room
        cdef Want *want
        if not self.policy.io_aware:
            vertices = _without_bandwidth(vertices)
        self.state.need_pools()
        if self.nodes.matcher is None:
            self.nodes.matcher = Matcher(self.inventory)
        try:
            rows = tree.flatten(vertices)
        except LookupError as error:
            raise Infeasible(f"there is no resource of type {error.args[0]!r}") from None
        if not any(row[1] in (VERTEX_CORE, VERTEX_GPU) or (row[1] in (VERTEX_NODE, VERTEX_PLAIN)
                                                           and (row[3] or row[4] == i + 1))
                   for i, row in enumerate(rows)):
            raise Infeasible("the request takes no core and no gpu")
        want = <Want *> zeroed(len(rows), sizeof(Want))
        for i, row in enumerate(rows):
            want[i] = Want(row[0], row[1], row[2], row[3], row[4], row[5])
        for place in range(self.ngeneral):
            if self.general[place].want is NULL:
                break
        else:
            place = self.ngeneral
            room = grown(self.general, &self.general_room, place + 1, sizeof(General))
            if room is NULL:
                free(want)
                raise MemoryError("no memory for a request")
            self.general = <General *> room
            self.ngeneral += 1
        self.general[place] = General(want, len(rows))
        return place

    cdef int _fill(self, Job *j, request) except -1:
        """A job from a request; its eligible set is used once. Raises
        Infeasible, formats.constraint.ConstraintError, ValueError."""
        memset(j, 0, sizeof(Job))
        j.tree = -1
        j.duration = to_usec(request.duration)
        if request.tree is not None:
            j.tree = self._general(request.tree)
        elif request.cores <= 0 and request.gpus <= 0 and not (request.exclusive and request.nnodes > 0):
            raise Infeasible("the request takes no core and no gpu")
        try:
            j.nnodes = request.nnodes
            j.nslots = request.nslots
            j.cores = request.cores
            j.gpus = request.gpus
            j.exclusive = request.exclusive
            if j.tree < 0 and j.cores == 0 and j.gpus == 0:
                # Whole nodes, whatever is in them: at least a core.
                j.nslots = 1
                j.cores = 1
            j.elig = self.eligible.use(request.constraint)
            try:
                if not self.could_fit(j, False):
                    raise Infeasible(self._why_not(j, request))
                if j.tree >= 0 and not count_bits(self.nodes.picked.bits, self.nodes.picked.nbits):
                    raise Infeasible("the request takes no core and no gpu")
            except BaseException:
                self.eligible.release(j.elig)
                raise
        except BaseException:
            self._drop_general(j)
            raise
        return 0

    cdef int _drop_general(self, Job *j) except -1:
        if j.tree >= 0:
            free(self.general[j.tree].want)
            self.general[j.tree].want = NULL
        return 0

    cdef _why_not(self, Job *j, request):
        """Why no set of the nodes there are could serve a request."""
        self.eligible.count(j.elig)
        nodes = sum([self.eligible.present[j.elig * self.inventory.nclasses + c]
                     for c in range(self.inventory.nclasses)])
        there = f"of {_plural(nodes, 'node')}" + (" that match the constraint" if j.elig else "")
        if request.constraint and not nodes:
            return "no node matches the constraint"
        if request.tree is not None:
            return f"the request is larger than what there is {there}"
        able = self.eligible.capacity(j, False)
        if j.nnodes:
            return f"needs {_need(request)}: {able} {there} can serve it"
        return f"needs {_need(request)}: {there[3:]} can hold {able}"

    def feasible(self, request):
        """Raises Infeasible (or ConstraintError) for a request that can never
        be served."""
        cdef Job j
        self._fill(&j, request)
        self.eligible.release(j.elig)
        self._drop_general(&j)

    cdef i32 _user(self, user) except -1:
        """Number of a user: from 1 in the order in which they came; None is 0."""
        if user is None:
            return 0
        return self.user_numbers.setdefault(user, len(self.user_numbers) + 1)

    def add(self, jobid, request, i64 priority=16, double t_submit=0.0, user=None, sequence=None):
        """A job waits from now on.

        request: formats.jobspec.Request; t_submit: seconds; sequence: its
        place in the order of submission, which decides among equal
        priorities (None: t_submit does, then the id); user: whose it is, for
        fair share, as anything hashable (the Flux userid); None is unknown,
        and all such jobs count as one user's. Raises Infeasible (with the
        reason), ConstraintError, ValueError for a job id that is known or a
        time out of range, OverflowError for a sequence beyond 63 bits, and
        TypeError for a user that is not hashable.
        """
        cdef Job j
        cdef i64 number = jobid
        cdef usec_t submitted = to_instant(t_submit)
        cdef i32 owner = self._user(user)
        if jobid in self.slot_of:
            raise ValueError(f"job {jobid} is known already")
        self._fill(&j, request)
        j.user = owner
        j.id = number
        j.priority = priority
        j.sequence = submitted if sequence is None else sequence
        j.submitted = submitted
        j.domain = self._domain(request.queue)
        self.slot_of[jobid] = self.c_add(&j)

    def adopt(self, jobid, R, freed_ranks="", i64 priority=16, double t_submit=0.0):
        """A job that holds R already (all but freed_ranks, an idset string)
        and runs until R's expiration. Raises ValueError where it does not
        agree with what is there and free."""
        cdef i32 slot, node, cw = self.state.cw, gw = self.state.gw
        cdef Job j
        cdef u64 *bits = NULL
        if jobid in self.slot_of:
            raise ValueError(f"job {jobid} is known already")
        held = _r.parse(R)
        freed = set(_idset.ids(freed_ranks)) if freed_ranks else ()
        memset(&j, 0, sizeof(Job))
        j.id = jobid
        j.priority = priority
        j.submitted = <usec_t> (t_submit * USEC)
        j.tree = -1
        bits = <u64 *> zeroed(cw + gw, sizeof(u64))
        try:
            for rank, cores, gpus in sorted(zip(held.ranks, held.cores, held.gpus)):
                if rank in freed:
                    continue
                if rank not in self.inventory.rank_index:
                    raise ValueError(f"job {jobid}: R names rank {rank}, which there is not")
                node = self.inventory.rank_index[rank]
                memset(bits, 0, (cw + gw) * sizeof(u64))
                for first, width, text, kind in ((0, cw, cores, "core"), (cw, gw, gpus, "gpu")):
                    for unit in _idset.ids(text) if text else ():
                        if unit >= width * 64 or not get_bit(
                                self.inventory.gpu_all + node * gw if first else self.inventory.core_all + node * cw,
                                unit):
                            raise ValueError(f"job {jobid}: R names {kind} {unit} of rank {rank}, which there is not")
                        set_bit(bits + <i32> first, unit)
                if (same_bits(bits, self.inventory.core_all + node * cw, cw)
                        and same_bits(bits + cw, self.inventory.gpu_all + node * gw, gw)):
                    alloc_whole(&j.alloc, node, 1)
                else:
                    alloc_part(&j.alloc, node, bits, cw, bits + cw, gw)
            for pool, amount in self._pools(R):
                alloc_take(&j.alloc, pool, amount)
            if not self.state.is_free(&j.alloc):
                raise ValueError(f"job {jobid}: another job holds some of its resources")
            end = to_usec(held.expiration)
        except BaseException:
            alloc_clear(&j.alloc)
            raise
        finally:
            free(bits)
        slot = self.take_slot()
        self.jobs[slot] = j
        self.stale = True
        self.run(slot, <usec_t> (min(held.starttime, 9e12) * USEC), end)
        self.slot_of[jobid] = slot

    def _pools(self, R):
        """Pools in an R of this scheduler, as far as they are of this tree."""
        scheduling = R.get("scheduling")
        pools = scheduling.get("pools") if isinstance(scheduling, dict) else None
        out = []
        for row in pools if isinstance(pools, list) and self.state.npools else ():
            if (isinstance(row, list) and len(row) == 2 and all(type(item) is int for item in row)
                    and 0 <= row[0] < self.state.npools
                    and 0 < row[1] <= self.inventory.tree.pool_size[<i32> row[0]]):
                out.append(row)
        return out

    def cancel(self, jobid):
        """Forget a waiting job; False if there is none of that id."""
        cdef i32 slot
        try:
            slot = self._slot(jobid, JOB_WAITING)
        except ValueError:
            return False
        self._unqueue(slot)
        self.count_waiting(self.jobs + slot, -1)
        self.drop_slot(slot)
        del self.slot_of[jobid]
        return True

    cdef int _unqueue(self, i32 slot) except -1:
        cdef i32 i, place = self.queue_find(slot)
        self.nqueue -= 1
        for i in range(place, self.nqueue):
            self.queue[i] = self.queue[i + 1]
        return 0

    def reprioritize(self, jobid, i64 priority):
        """Change the priority of a waiting job; False if there is none."""
        cdef i32 slot
        try:
            slot = self._slot(jobid, JOB_WAITING)
        except ValueError:
            return False
        self._unqueue(slot)
        self.jobs[slot].priority = priority
        self.queue_insert(slot)
        return True

    def free(self, jobid, ranks=None, final=True):
        """A job gives back its resources on ranks (idset string; None: all).
        After the final time it is forgotten. Raises ValueError for a job that
        holds nothing, or a rank that it does not hold."""
        cdef i32 slot = self._slot(jobid, JOB_RUNNING)
        if ranks is not None:
            self._free_part(slot, ranks)
        if final:
            self.c_free(slot)
            del self.slot_of[jobid]

    cdef int _free_part(self, i32 slot, ranks) except -1:
        cdef Job *j = self.jobs + slot
        cdef Alloc kept, gone
        cdef Alloc *side
        cdef Entry *e
        cdef i32 i, node, found = 0
        cdef u64 *wanted = <u64 *> zeroed(self.state.nwords, sizeof(u64))
        cdef Tree tree = self.inventory.tree
        memset(&kept, 0, sizeof(Alloc))
        memset(&gone, 0, sizeof(Alloc))
        try:
            nodes = self._each_node(ranks)
            for node in nodes:
                set_bit(wanted, node)
            for i in range(j.alloc.nentries):
                e = j.alloc.entry + i
                for node in range(e.node, e.node + (e.count if e.count else 1)):
                    side = &gone if get_bit(wanted, node) else &kept
                    found += get_bit(wanted, node)
                    if e.count:
                        alloc_whole(side, node, 1)
                    else:
                        alloc_part(side, node, j.alloc.bits + e.bits, self.state.cw,
                                   j.alloc.bits + e.bits + self.state.cw, self.state.gw)
            # A rank that there is not is not held either.
            if found != len(_idset.ids(ranks)) or found == 0:
                raise ValueError(f"job {j.id} does not hold all of ranks {ranks}")
            for i in range(j.alloc.ntakes):
                node = tree.node[tree.pool_vertex[j.alloc.take[i].pool]]
                side = &gone if node >= 0 and get_bit(wanted, node) else &kept
                alloc_take(side, j.alloc.take[i].pool, j.alloc.take[i].amount)
        except BaseException:
            alloc_clear(&kept)
            alloc_clear(&gone)
            raise
        finally:
            free(wanted)
        self.nrunning_whole -= self.holds_whole(j)
        if not self.once:
            self.state.give(&gone)
            self.returned = True
        alloc_clear(&gone)
        alloc_clear(&j.alloc)
        j.alloc = kept
        self.nrunning_whole += self.holds_whole(j)
        self.set_units(j)
        return 0

    def update_expiration(self, jobid, double t):
        """A running job is expected to end at t (0: never); False if there is
        none of that id. Raises ValueError for a negative time."""
        cdef i32 slot
        cdef usec_t end = to_usec(t)
        try:
            slot = self._slot(jobid, JOB_RUNNING)
        except ValueError:
            return False
        self.running.remove(self.jobs[slot].end, slot)
        self.returned |= end < self.jobs[slot].end
        self.jobs[slot].end = end
        self.running.insert(end, slot)
        return True

    # A pass.

    def schedule(self, double now, i32 limit=-1):
        """A pass at time now (s), or the next slice of one: a Pass.

        limit: the plugin is asked about at most so many jobs (at least one); < 0: all. The Pass has started (job
        ids), denied (pairs of job id and reason), and more: the pass has not come to its end, and the next call goes
        on with it. Jobs and resources may change in between; a pass that resources came back to starts over, by the
        rule of EngineBase.c_schedule. What is true of the waiting jobs, reason and estimate tell.
        """
        cdef i32 i, slot
        cdef usec_t t = to_instant(now)
        with nogil:
            self.c_schedule(t, limit)
        started = [self.jobs[self.started[i]].id for i in range(self.nstarted)]
        denied = []
        for i in range(self.ndenied):
            slot = self.denied[i]
            jobid = self.jobs[slot].id
            denied.append((jobid, _REMOVED))
            self.drop_slot(slot)
            del self.slot_of[jobid]
        return Pass(started, denied, bool(self.suspended))

    def reason(self, jobid):
        """Why a waiting job waits, as a text: what is true of it now, wherever the last pass stopped; None: nothing
        keeps it, and the next pass decides. Raises ValueError for a job that does not wait."""
        cdef i32 why = self.why_waits(self._slot(jobid, JOB_WAITING))
        return _REMOVED if why < 0 else REASONS.get(why)

    def first_estimate(self):
        """The earliest of the starts that are planned for waiting jobs, in s since the epoch; None: there is none."""
        cdef i32 i
        cdef usec_t t, first = time_never()
        for i in range(self.nqueue):
            t = self.planned(self.jobs + self.queue[i])
            if 0 <= t < first:
                first = t
        return None if first == time_never() else first / <double> USEC

    def selection(self, jobid):
        """How a job that holds resources came to them: "backfilled" (a job ahead of it in its queue stayed blocked),
        "reserved" (a start had been reserved for it) or "immediate". Raises ValueError for a job that holds none."""
        cdef const Job *j = self.jobs + self._slot(jobid, JOB_RUNNING)
        return "backfilled" if j.backfilled else "reserved" if j.was_reserved else "immediate"

    def estimate(self, jobid):
        """When a waiting job is planned to start, in s since the epoch; None: no start is reserved for it. Raises
        ValueError for a job that does not wait."""
        cdef usec_t t = self.planned(self.jobs + self._slot(jobid, JOB_WAITING))
        return None if t < 0 else t / <double> USEC
