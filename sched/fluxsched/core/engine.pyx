# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The engine: jobs, their order, and the pass that a plugin decides.

No I/O, no clock, no policy: time comes in as an argument, decisions go out as
values. A pass walks the waiting jobs in order and asks the plugin about each,
by the five operations of the C original; the plugin answers with what the
engine offers: fits_now, select, start, earliest, reserve, explain.

Jobs live in slots of one array; all else refers to slots, as the array grows.
"""
from libc.stdlib cimport free, qsort
from libc.string cimport memmove, memset

from fluxsched.core.alloc cimport Alloc, alloc_clear, grown
from fluxsched.core.bits cimport intersects
from fluxsched.core.countplan cimport CountPlan, Running, far_future
from fluxsched.core.eligible cimport Eligible
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport (
    JOB_FREE, JOB_RUNNING, JOB_WAITING, WHY_BEHIND, WHY_DEPTH, WHY_DOWN, WHY_LACKING, WHY_NEW, WHY_OTHER,
    WHY_OVERLAP, WHY_POLICY, WHY_RESERVED, WHY_RESOURCES, Job,
)
from fluxsched.core.kinds cimport Kinds
from fluxsched.core.memory cimport no_memory, zeroed
from fluxsched.core.nodeplan cimport NodePlan, Request
from fluxsched.core.state cimport State
from fluxsched.core.types cimport USEC, i32, i64, time_add, time_never, usec_t


class PluginError(ValueError):
    """A plugin that cannot be found or loaded, lacks an operation, or does
    not take the options given to it."""


cdef int lacks(const char *operation) except -1 nogil:
    with gil:
        raise PluginError(f"the plugin lacks the operation {operation.decode()}")


cdef class Policy:
    """Base of every plugin: one object for each engine it serves.

    Each operation is called without the GIL; job is a slot of the engine.

    sched_loop_setup: before a pass.
    find_resources: 1 if the job's resources are free for it now, else 0.
    select_resources: 1 once the ones to use are chosen, else 0.
    allocate_resources: give them to the job.
    reserve_resources: they are not free now. Answers GO_ON, STOP or HOLD.
    """

    def __init__(self, name="", dict options=None):
        self.name = name
        self.options = options or {}
        self.queue_depth = -1
        self.io_aware = True

    cdef int sched_loop_setup(self, EngineBase e) except -1 nogil:
        lacks(b"sched_loop_setup")

    cdef int find_resources(self, EngineBase e, i32 job) except -1 nogil:
        lacks(b"find_resources")

    cdef int select_resources(self, EngineBase e, i32 job) except -1 nogil:
        lacks(b"select_resources")

    cdef int allocate_resources(self, EngineBase e, i32 job) except -1 nogil:
        lacks(b"allocate_resources")

    cdef int reserve_resources(self, EngineBase e, i32 job) except -1 nogil:
        lacks(b"reserve_resources")


cdef inline bint before(const Job *a, const Job *b) noexcept nogil:
    """Whether a stands ahead of b: priority, then submit order, then id."""
    if a.priority != b.priority:
        return a.priority > b.priority
    if a.sequence != b.sequence:
        return a.sequence < b.sequence
    return a.id < b.id


cdef struct Scored:
    i64 priority
    double score
    i32 place


cdef int compare_scored(const void *a, const void *b) noexcept nogil:
    cdef const Scored *x = <const Scored *> a
    cdef const Scored *y = <const Scored *> b
    if x.priority != y.priority:
        return (x.priority < y.priority) - (x.priority > y.priority)
    if x.score != y.score:
        return (x.score > y.score) - (x.score < y.score)
    return (x.place > y.place) - (x.place < y.place)


cdef inline int append(i32 **array, i32 *count, i32 *room, i32 value) except -1 nogil:
    cdef void *grew = grown(array[0], room, count[0] + 1, sizeof(i32))
    if grew is NULL:
        no_memory(b"no memory for a list of jobs")
    array[0] = <i32 *> grew
    array[0][count[0]] = value
    count[0] += 1
    return 0


cdef class EngineBase:

    def __cinit__(self, Inventory inventory not None, *args, **kwargs):
        self.inventory = inventory
        self.state = State(inventory)
        self.eligible = Eligible(self.state)
        self.running = Running()
        self.count = CountPlan(self.state, Kinds(self.state, self.eligible))
        self.nodes = NodePlan(self.state)
        self.slot_of = {}
        self.domain_index = {}
        self.domain_names = []
        self.selected = -1
        self.units_generation = -1
        self.expiration = inventory.expiration

    def __dealloc__(self):
        cdef i32 i
        for i in range(self.njobs):
            alloc_clear(&self.jobs[i].alloc)
        for i in range(self.ngeneral):
            free(self.general[i].want)
        free(self.jobs)
        free(self.free_slot)
        free(self.queue)
        free(self.order)
        free(self.general)
        free(self.domain)
        free(self.started)
        free(self.denied)

    # Slots and the queue.

    cdef i32 take_slot(self) except -1 nogil:
        cdef void *room
        if self.nfree_slots:
            self.nfree_slots -= 1
            return self.free_slot[self.nfree_slots]
        room = grown(self.jobs, &self.job_room, self.njobs + 1, sizeof(Job))
        if room is NULL:
            no_memory(b"no memory for a job")
        self.jobs = <Job *> room
        memset(self.jobs + self.njobs, 0, sizeof(Job))
        self.njobs += 1
        return self.njobs - 1

    cdef int drop_slot(self, i32 slot) except -1 nogil:
        cdef Job *j = self.jobs + slot
        alloc_clear(&j.alloc)
        j.state = JOB_FREE
        if j.tree >= 0:
            free(self.general[j.tree].want)
            self.general[j.tree].want = NULL
            j.tree = -1
        if j.elig:
            with gil:
                self.eligible.release(j.elig)
        return append(&self.free_slot, &self.nfree_slots, &self.free_slot_room, slot)

    cdef i32 queue_place(self, const Job *j) noexcept nogil:
        """Index of the first waiting job that is not ahead of j."""
        cdef i32 low = 0, high = self.nqueue, middle
        if high and before(self.jobs + self.queue[high - 1], j):
            return high
        while low < high:
            middle = (low + high) >> 1
            if before(self.jobs + self.queue[middle], j):
                low = middle + 1
            else:
                high = middle
        return low

    cdef int queue_insert(self, i32 slot) except -1 nogil:
        cdef i32 place = self.queue_place(self.jobs + slot)
        append(&self.queue, &self.nqueue, &self.queue_room, slot)
        memmove(self.queue + place + 1, self.queue + place, (self.nqueue - 1 - place) * sizeof(i32))
        self.queue[place] = slot
        return 0

    cdef i32 queue_find(self, i32 slot) noexcept nogil:
        """Index of a waiting job; it is found by its place in the order."""
        return self.queue_place(self.jobs + slot)

    # Counting units, to know which plan holds.

    cdef void unit_needs(self, Job *j) noexcept nogil:
        """Fill in whole, least_cores and the units from the request."""
        cdef i32 c, slots
        cdef i64 least = -1
        j.node_units = 0
        j.core_units = 0
        j.least_cores = 0
        j.whole = j.exclusive
        if j.tree >= 0:
            return
        j.least_cores = <i64> (j.nnodes if j.nnodes else 1) * j.nslots * j.cores
        if self.inventory.nclasses == 1 and not j.exclusive:
            if j.nnodes:
                j.whole = (<i64> j.nslots * j.cores == self.inventory.class_cores[0]
                           and <i64> j.nslots * j.gpus == self.inventory.class_gpus[0])
            else:
                j.whole = j.cores == self.inventory.class_cores[0] and j.gpus == self.inventory.class_gpus[0]
        if j.whole:
            for c in range(self.inventory.nclasses):
                slots = self.inventory.class_cores[c] / j.cores if j.cores else self.inventory.class_gpus[c] / j.gpus
                if j.gpus and self.inventory.class_gpus[c] / j.gpus < slots:
                    slots = self.inventory.class_gpus[c] / j.gpus
                if least < 0 or slots < least:
                    least = slots
            # Any node serves as well as any other only if the least one does.
            if j.nnodes and least >= j.nslots:
                j.node_units = j.nnodes
            elif not j.nnodes and least > 0 and self.inventory.nclasses == 1:
                j.node_units = <i32> ((j.nslots + least - 1) / least)
        if not j.exclusive and j.nnodes == 0 and j.cores == 1 and j.gpus == 0:
            j.core_units = j.nslots

    cdef void count_waiting(self, const Job *j, i32 sign) noexcept nogil:
        self.eligible.count_waiting(j.elig, sign)
        self.nwaiting_nodes += sign if j.node_units else 0
        self.nwaiting_cores += sign if j.core_units and j.elig == 0 else 0

    cdef bint holds_whole(self, const Job *j) noexcept nogil:
        cdef i32 i
        for i in range(j.alloc.nentries):
            if j.alloc.entry[i].count == 0:
                return False
        return True

    cdef void set_units(self, Job *j) noexcept nogil:
        """Units that a running job gives back: nodes, or cores where that is
        what is counted, if only as a bound."""
        j.units = self.state.up_units(&j.alloc, self.plan != PLAN_NODES)

    # Jobs come and go.

    cdef i32 c_add(self, const Job *template) except -1 nogil:
        """Put a job in the queue; the caller fills in id, priority, sequence,
        duration, the request, elig (0, or used once for it), domain and tree.
        Answers its slot."""
        cdef i32 slot = self.take_slot()
        cdef Job *j = self.jobs + slot
        cdef Alloc empty = j.alloc
        j[0] = template[0]
        j.alloc = empty
        j.state = JOB_WAITING
        j.why = WHY_NEW
        j.estimate = -1
        j.parked = 0
        j.parked_at = -1
        j.asked_in = -1
        j.was_reserved = False
        j.added_in = <i32> self.npasses if self.suspended else -1
        self.unit_needs(j)
        self.queue_insert(slot)
        self.count_waiting(j, 1)
        return slot

    cdef int c_free(self, i32 slot) except -1 nogil:
        """A running job gives back all it holds; its slot is free."""
        cdef Job *j = self.jobs + slot
        self.running.remove(j.end, slot)
        self.nrunning_whole -= self.holds_whole(j)
        if not self.once:
            self.state.give(&j.alloc)
            self.returned = True
        return self.drop_slot(slot)

    cdef int run(self, i32 slot, usec_t start, usec_t end) except -1 nogil:
        """A job with its alloc filled in holds it from now on."""
        cdef Job *j = self.jobs + slot
        self.state.take(&j.alloc)
        self.running.insert(end, slot)
        j.state = JOB_RUNNING
        j.start = start
        j.end = end
        self.nrunning_whole += self.holds_whole(j)
        self.set_units(j)
        return 0

    # What plugins are made of.

    cdef Request request_of(self, const Job *j) noexcept nogil:
        cdef Request request
        request.elig = self.eligible.bits[j.elig]
        request.want = self.general[j.tree].want if j.tree >= 0 else NULL
        request.nwant = self.general[j.tree].nwant if j.tree >= 0 else 0
        return request

    cdef usec_t end_of(self, const Job *j) noexcept nogil:
        """When the job ends if it starts now: after its duration, or with the instance, whatever is first."""
        cdef usec_t end = time_add(self.clock, j.duration)
        if self.expiration * USEC > self.clock and end > self.expiration * USEC:
            return <usec_t> (self.expiration * USEC)
        return end

    cdef bint fits_now(self, i32 job) except -1 nogil:
        """Whether the job could hold its resources from now on for its
        duration, and no reservation made in this pass be delayed."""
        cdef Job *j = self.jobs + job
        cdef Request request
        cdef usec_t end = self.end_of(j)
        if self.plan != PLAN_EACH:
            return self.count.fits_now(j.elig, j.node_units if self.plan == PLAN_NODES else j.core_units, end)
        # What is free in all says no quickly, if not yes.
        self.selected = -1
        if self.count.fits_now(0, j.least_cores, end):
            request = self.request_of(j)
            if self.nodes.fits_now(j, &request, end, self.running, self.jobs):
                self.selected = job
        return self.selected == job

    cdef int select(self, i32 job) except -1 nogil:
        """Choose the resources of a job that fits now; 0 if there are none."""
        cdef Job *j = self.jobs + job
        cdef Request request
        if self.selected != job:
            self.selected = -1
            if self.plan == PLAN_NODES and not self.count.plain:
                if not self.count.share_now(j.elig, j.node_units, self.end_of(j)):
                    return 0
                if not self.nodes.pick_kinds(j, self.count.kinds.kind_of, self.count.part):
                    return 0
                self.selected = job
                return 1
            request = self.request_of(j)
            if not self.nodes.fits_now(j, &request, self.end_of(j), self.running, self.jobs):
                return 0
            self.selected = job
        return 1

    cdef int start(self, i32 job) except -1 nogil:
        """The job starts now on what was selected for it."""
        cdef Job *j = self.jobs + job
        cdef Domain *d = self.domain + j.domain
        cdef Alloc swap
        cdef usec_t end = self.end_of(j)
        if self.selected != job or j.state != JOB_WAITING:
            with gil:
                raise PluginError("allocate_resources without resources selected for the job")
        append(&self.started, &self.nstarted, &self.started_room, job)
        self.scattered |= job != self.current
        swap = j.alloc
        j.alloc = self.nodes.picked
        self.nodes.picked = swap
        self.selected = -1
        self.count_waiting(j, -1)
        self.run(job, self.clock, end)
        self.count.start(&j.alloc, j.units, end)
        self.nstarted_total += 1
        self.jobs[job].backfilled = d.blocked > 0
        self.nbackfilled += d.blocked > 0
        return 0

    cdef int earliest(self, i32 job, usec_t *out) except -1 nogil:
        """1 and the earliest time at which the job could start and delay no
        reservation made in this pass; 0 if there is none. far_future() stands
        for the end of a job without a duration."""
        cdef Job *j = self.jobs + job
        cdef Request request
        cdef usec_t bound
        if self.plan != PLAN_EACH:
            return self.count.earliest(j.elig, j.node_units if self.plan == PLAN_NODES else j.core_units, j.duration,
                                       self.running, self.jobs, out)
        self.selected = -1
        if not self.count.earliest(0, j.least_cores, j.duration, self.running, self.jobs, &bound):
            return 0
        request = self.request_of(j)
        return self.nodes.earliest(j, &request, self.running, self.jobs, bound, out)

    cdef int reserve(self, i32 job) except -1 nogil:
        """Reserve the job's earliest start, for this pass; 0 if it has none."""
        cdef Job *j = self.jobs + job
        cdef usec_t t
        if not self.earliest(job, &t):
            return 0
        if self.plan != PLAN_EACH:
            self.count.reserve(j.elig, j.node_units if self.plan == PLAN_NODES else j.core_units, t, j.duration,
                               self.running, self.jobs)
        else:
            self.count.reserve(0, self.state.up_units(&self.nodes.picked, True), t, j.duration, self.running, self.jobs)
            self.nodes.reserve(t, time_add(t, j.duration))
        j.estimate = t if t < far_future() else -1
        j.was_reserved = True
        self.domain[j.domain].reserved += 1
        return 1

    cdef void explain(self, i32 job, i32 why) noexcept nogil:
        self.jobs[job].why = why

    cdef bint nothing_free(self) noexcept nogil:
        """Whether no job at all could start in the rest of this pass."""
        if self.plan != PLAN_EACH:
            return self.count.free_now == 0
        return self.state.free_cores == 0 and self.state.gw == 0

    cdef int reorder(self, const double *score, bint within_priorities) except -1 nogil:
        """Consider the waiting jobs by ascending score in this pass; score[i]
        is that of queue[i], and equal ones keep their order. Within
        priorities, a higher one stays ahead of any score. For
        sched_loop_setup; the queue itself stays as it is."""
        cdef i32 i
        cdef Scored *scored = <Scored *> zeroed(self.nqueue, sizeof(Scored))
        cdef void *room = grown(self.order, &self.order_room, self.nqueue, sizeof(i32))
        if room is NULL:
            free(scored)
            no_memory(b"no memory for the order of jobs")
        self.order = <i32 *> room
        for i in range(self.nqueue):
            scored[i] = Scored(self.jobs[self.queue[i]].priority if within_priorities else 0, score[i], i)
        qsort(scored, self.nqueue, sizeof(Scored), compare_scored)
        for i in range(self.nqueue):
            self.order[i] = self.queue[scored[i].place]
        free(scored)
        self.norder = self.nqueue
        self.reordered = True
        return 0

    # The pass.

    cdef bint could_fit(self, const Job *j, bint up) except -1 nogil:
        """Whether the job fits on its nodes that are up (or: on all there
        are), were all of them free."""
        cdef Request request
        if j.tree < 0:
            return self.eligible.capacity(j, up) >= (j.nnodes if j.nnodes else j.nslots)
        request = self.request_of(j)
        self.nodes.matcher.show(self.inventory.core_all, self.inventory.gpu_all, self.nodes.matcher.tree.pool_size,
                                self.state.up if up else self.state.present, request.elig)
        self.selected = -1
        return self.nodes.matcher.match(request.want, request.nwant, &self.nodes.picked)

    cdef int check_parked(self, i32 slot) except -1 nogil:
        """Find out whether a job waits for nodes that are not up: 0, or why;
        -2 if no node there is could ever serve it."""
        cdef Job *j = self.jobs + slot
        if j.parked_at != self.eligible.generation:
            j.parked = 0 if self.could_fit(j, True) else WHY_DOWN
            j.parked_at = self.eligible.generation
            if j.parked and not self.could_fit(j, False):
                if self.removal or j.elig == 0:
                    # Whoever asks next is to hear the same.
                    j.parked_at = -1
                    return -2
                # Properties come and go: what was taken may be given again.
                j.parked = WHY_LACKING
        return j.parked

    cdef bint held_elsewhere(self, const Job *j) noexcept nogil:
        """Whether a blocked head of another domain waits for nodes of j."""
        cdef i32 d
        for d in range(self.ndomains):
            if d != j.domain and self.domain[d].stopped == HOLD and intersects(
                    self.eligible.bits[self.domain[d].held_elig], self.eligible.bits[j.elig], self.state.nwords):
                return True
        return False

    cdef int begin_pass(self, usec_t now) except -1 nogil:
        cdef i32 d, i
        cdef bint cores
        self.now = now
        self.npasses += 1
        self.nheld = 0
        self.passed = 0
        self.asked = 0
        self.next_place = 0
        self.stale = False
        self.returned = False
        self.suspended = False
        self.selected = -1
        self.reordered = False
        self.scattered = False
        self.current = -1
        for d in range(self.ndomains):
            memset(self.domain + d, 0, sizeof(Domain))
        if self.nwaiting_nodes == self.nqueue and self.nrunning_whole == self.running.count:
            self.plan = PLAN_NODES
        elif self.nwaiting_cores == self.nqueue:
            self.plan = PLAN_CORES
        else:
            self.plan = PLAN_EACH
        self.nodes.begin(now)
        cores = self.plan != PLAN_NODES
        if self.units_are_cores != cores or self.units_generation != self.eligible.generation:
            for i in range(self.running.count):
                self.set_units(self.jobs + self.running.item[i].job)
            self.units_are_cores = cores
            self.units_generation = self.eligible.generation
        self.count.begin(now, self.state.free_cores if cores else self.state.nidle, not cores)
        if self.removal:
            self.deny_hopeless()
        return 0

    cdef int deny_hopeless(self) except -1 nogil:
        """Nodes were removed: deny at once, wherever they stand in the queue,
        the jobs that cannot do without them."""
        cdef i32 i
        for i in range(self.nqueue):
            if self.check_parked(self.queue[i]) == -2:
                append(&self.denied, &self.ndenied, &self.denied_room, self.queue[i])
                self.jobs[self.queue[i]].state = JOB_FREE
                self.scattered = True
        return 0

    cdef void stop(self, const Job *j, i32 how, i32 why) noexcept nogil:
        """No job behind j in its domain is considered in this pass."""
        cdef Domain *d = self.domain + j.domain
        d.stopped = how
        d.why_behind = why
        d.held_elig = j.elig
        self.nheld += how == HOLD

    cdef int consider(self, i32 slot) except -1 nogil:
        """Ask the plugin about one waiting job."""
        cdef Job *j = self.jobs + slot
        cdef Domain *d = self.domain + j.domain
        cdef int answer
        j.estimate = -1
        if d.stopped:
            j.why = d.why_behind
            return 0
        if self.policy.queue_depth >= 0 and d.considered >= self.policy.queue_depth:
            j.why = WHY_DEPTH
            self.stop(j, STOP, WHY_DEPTH)
            return 0
        answer = self.check_parked(slot)
        if answer == -2:
            append(&self.denied, &self.ndenied, &self.denied_room, slot)
            return 0
        if answer:
            j.why = answer
            return 0
        if self.nheld and self.held_elsewhere(j):
            # It is the blocked head of its own domain, then.
            j.why = WHY_OVERLAP
            j.asked_in = <i32> self.npasses
            self.stop(j, HOLD, WHY_BEHIND)
            return 0
        # Until the plugin says otherwise.
        j.why = WHY_RESOURCES
        j.asked_in = <i32> self.npasses
        self.asked += 1
        d.considered += 1
        self.nconsidered += 1
        if self.policy.find_resources(self, slot) and self.policy.select_resources(self, slot):
            self.policy.allocate_resources(self, slot)
            return 0
        j = self.jobs + slot
        d.blocked += 1
        answer = self.policy.reserve_resources(self, slot)
        if answer != GO_ON:
            self.stop(j, answer, WHY_BEHIND)
        return 0

    cdef bint starts_over(self) noexcept nogil:
        """Whether the suspended pass has to begin anew, now that something came in."""
        if self.stale:
            return True
        if not self.returned or self.asked < self.least_asked:
            return False
        self.least_asked = 2 * self.asked
        return True

    cdef int c_schedule(self, usec_t now, i32 limit) except -1 nogil:
        """A pass, or (limit >= 0) the next slice of one, in which the plugin is asked about at most limit jobs and at
        least one; what it decided is in started and denied. If suspended is set, the next call goes on with the pass.

        Between two slices jobs and resources may come and go. What came is for the next pass, and the reservations
        made so far stand. Only where resources have come back does the pass start over, so that they do not idle; it
        does so again when it has asked about twice as many jobs as the one that it replaced, so that it gets to its
        end under any stream of events. Times of jobs that start count from their slice.
        """
        cdef bint done = False
        cdef i32 i
        self.nstarted = 0
        self.ndenied = 0
        self.in_pass = True
        try:
            if not self.suspended or self.starts_over():
                self.begin_pass(now)
                self.clock = now
                self.policy.sched_loop_setup(self)
            self.clock = now if now > self.clock else self.clock
            self.selected = -1
            self.walk(limit if limit != 0 else 1)
            done = True
        finally:
            # A plugin may have failed half way: what it started is started,
            # but nobody hears of the denied, so they wait for the next pass.
            if not done:
                for i in range(self.ndenied):
                    self.jobs[self.denied[i]].state = JOB_WAITING
                    self.jobs[self.denied[i]].parked_at = -1
                self.ndenied = 0
                self.suspended = False
            self.in_pass = False
            self.close_queue()
        return 0

    cdef int walk(self, i32 limit) except -1 nogil:
        """Consider the jobs of the order from next_place on, until the pass or the slice ends."""
        cdef i32 i, d, slot, live, last = self.asked + limit
        cdef i32 *order = self.order if self.reordered else self.queue
        cdef i32 n = self.norder if self.reordered else self.nqueue
        for i in range(self.next_place, n):
            if limit > 0 and self.asked >= last:
                self.next_place = i
                return self.suspend()
            self.passed = i + 1
            slot = order[i]
            # A plugin may have started it before its turn, or it may have gone while the pass was suspended.
            if self.jobs[slot].state != JOB_WAITING or self.jobs[slot].added_in == self.npasses:
                continue
            self.current = slot
            self.consider(slot)
            if self.domain[self.jobs[slot].domain].stopped:
                live = 0
                for d in range(self.ndomains):
                    live += self.domain[d].stopped == GO_ON
                if live == 0:
                    break
        if self.reordered or self.scattered:
            self.passed = self.nqueue
        self.removal = False
        self.suspended = False
        self.least_asked = 0
        return 0

    cdef int suspend(self) except -1 nogil:
        """Keep the order of the pass apart from the queue, which may change until the next slice."""
        cdef void *room
        self.suspended = True
        if not self.reordered:
            room = grown(self.order, &self.order_room, self.nqueue, sizeof(i32))
            if room is NULL:
                no_memory(b"no memory for the order of jobs")
            self.order = <i32 *> room
            memmove(self.order, self.queue, self.nqueue * sizeof(i32))
            self.norder = self.nqueue
            self.reordered = True
        return 0

    # Why a job waits, when somebody asks.

    cdef bint fits_free(self, const Job *j) except -1 nogil:
        """Whether what is free now would do for the job, were there no reservation and no other job that waits."""
        cdef Request request = self.request_of(j)
        if j.least_cores > self.state.free_cores or (j.whole and j.nnodes > self.state.nidle):
            return False
        with gil:
            if self.bare is None:
                self.bare = NodePlan(self.state)
            self.bare.matcher = self.nodes.matcher
        self.bare.begin(self.clock)
        return self.bare.fits_now(j, &request, time_never(), self.running, self.jobs)

    cdef i32 why_waits(self, i32 slot) except -1 nogil:
        """The reason that is true of a waiting job, wherever the last pass stopped; -2: no node could ever serve it."""
        cdef Job *j = self.jobs + slot
        cdef Domain *d = self.domain + j.domain
        cdef i32 other, why = self.check_parked(slot)
        if why:
            return why
        # A job ahead of it, or of another queue, holds it up whatever is free.
        if j.asked_in != self.npasses and d.stopped == HOLD:
            return WHY_BEHIND
        if j.asked_in == self.npasses and j.why == WHY_OVERLAP:
            return WHY_OVERLAP
        if not self.fits_free(j):
            return WHY_RESOURCES
        if j.asked_in != self.npasses:
            return WHY_DEPTH if d.stopped and d.why_behind == WHY_DEPTH else WHY_NEW
        if j.why != WHY_RESOURCES and j.why != WHY_RESERVED:
            return j.why
        # It fits, so a reservation keeps it from what is free; its own does not count.
        if d.reserved > (j.estimate >= 0):
            return WHY_RESERVED
        for other in range(self.ndomains):
            if other != j.domain and self.domain[other].reserved:
                return WHY_OTHER
        return WHY_NEW if self.returned else WHY_POLICY

    cdef usec_t planned(self, const Job *j) noexcept nogil:
        """The start that the last pass that asked about the job has reserved for it; -1: none."""
        if j.asked_in == self.npasses or (self.suspended and j.asked_in == self.npasses - 1):
            return j.estimate
        return -1

    cdef void close_queue(self) noexcept nogil:
        """Drop from the queue what no longer waits."""
        cdef i32 i, kept = 0
        cdef Job *j
        for i in range(self.ndenied):
            self.count_waiting(self.jobs + self.denied[i], -1)
            self.jobs[self.denied[i]].state = JOB_FREE
        if self.nstarted + self.ndenied == 0:
            return
        if self.reordered or self.scattered:
            self.passed = self.nqueue
        while kept < self.nqueue and self.jobs[self.queue[kept]].state == JOB_WAITING:
            kept += 1
        for i in range(kept, self.passed):
            j = self.jobs + self.queue[i]
            if j.state == JOB_WAITING:
                self.queue[kept] = self.queue[i]
                kept += 1
        memmove(self.queue + kept, self.queue + self.passed, (self.nqueue - self.passed) * sizeof(i32))
        self.nqueue -= self.passed - kept
        self.passed = kept
