# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The engine: the pass that a plugin decides.

No I/O, no clock, no policy: time comes in as an argument, decisions go out as values. A pass walks the waiting jobs in
order and asks the plugin about each, by the five operations of the C original; the plugin answers with what the engine
offers: fits_now, select, start, earliest, reserve, explain.
"""
from libc.stdlib cimport free

from fluxsched.core.domain cimport Domain, all_stopped, begin, held_elsewhere, may_jump, meet_anew, quiet
from fluxsched.core.eligible cimport Eligible
from fluxsched.core.future cimport Future
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport (
    JOB_FREE, JOB_RUNNING, JOB_WAITING, WHY_BEHIND, WHY_DEPTH, WHY_NEVER,
    WHY_OVERLAP, WHY_RESOURCES, Job,
)
from fluxsched.core.jobs cimport Jobs
from fluxsched.core.memory cimport grow, memset, zeroed
from fluxsched.core.queue cimport Limits, Queue
from fluxsched.core.running cimport far_future
from fluxsched.core.settled cimport ASK, DUE, STANDS, Settled
from fluxsched.core.state cimport State
from fluxsched.core.types cimport USEC, i32, i64, time_add, usec_t

from fluxsched.errors import FluxSchedError


class PluginError(FluxSchedError, ValueError):
    """A plugin that cannot be found or loaded, lacks an operation, does not take the options given to it, or breaks a
    rule in a pass."""


cdef int lacks(const char *operation) except -1 nogil:
    with gil:
        raise PluginError(f"the plugin lacks the operation {operation.decode()}")


cdef class Operations:
    """What a pass asks of a policy. Each is called without the GIL; job is a slot of the engine.

    sched_loop_setup: before a pass.
    find_resources: 1 if the job's resources are free for it now, else 0.
    select_resources: 1 once the ones to use are chosen, else 0.
    allocate_resources: give them to the job.
    reserve_resources: they are not free now. Answers GO_ON, STOP or HOLD.
    """

    def __cinit__(self, *args, **kwargs):
        self.queue_depth = -1
        self.io_aware = True
        self.quiet_after = -1
        self.steady = False
        self.keeps = False

    cdef int sched_loop_setup(self, Engine e) except -1 nogil:
        lacks(b"sched_loop_setup")

    cdef int find_resources(self, Engine e, i32 job) except -1 nogil:
        lacks(b"find_resources")

    cdef int select_resources(self, Engine e, i32 job) except -1 nogil:
        lacks(b"select_resources")

    cdef int allocate_resources(self, Engine e, i32 job) except -1 nogil:
        lacks(b"allocate_resources")

    cdef int reserve_resources(self, Engine e, i32 job) except -1 nogil:
        lacks(b"reserve_resources")

    cdef int score(self, Engine e, i32 job, double *out) except -1 nogil:
        """Where a job that begins to wait stands among those of its priority: the lowest score first, equal ones in
        submit order. It holds until the policy asks for another (Engine.move, Engine.rescore)."""
        out[0] = 0.0
        return 0

    cdef int ended(self, Engine e, i32 job) except -1 nogil:
        """A running job has ended and is about to be forgotten; the pass that follows has the time."""
        return 0


cdef class Engine:

    def __cinit__(self, Inventory inventory not None, Engine like=None):
        self.inventory = inventory
        self.state = State(inventory)
        self.eligible = Eligible(self.state)
        self.jobs = Jobs(inventory)
        self.queue = Queue(self.jobs)
        self.future = Future(self.state, self.eligible, self.jobs, None if like is None else like.future.kinds)
        self.settled = Settled(self.queue, self.future)
        self.domain_index = {}
        self.domain_names = []
        self.expiration = inventory.expiration

    def __dealloc__(self):
        free(self.domain)
        free(self.started)
        free(self.denied)

    # Jobs come and go.

    cdef i32 need_domain(self, str queue) except -1:
        """The ordering domain of a queue."""
        if queue not in self.domain_index:
            self.domain = <Domain *> grow(self.domain, &self.domain_room, self.ndomains + 1, sizeof(Domain))
            memset(self.domain + self.ndomains, 0, sizeof(Domain))
            self.domain_index[queue] = self.ndomains
            self.domain_names.append(queue)
            self.ndomains += 1
        return self.domain_index[queue]

    cdef i32 add(self, const Job *template) except -1 nogil:
        """Put a job in the queue; the caller fills in id, priority, sequence, duration, the request, elig (0, or used
        once for it), domain and tree. Answers its slot."""
        cdef i32 slot
        cdef Job *j
        cdef bint queued = False, done = False
        self.queue.need_room()
        slot = self.jobs.put(template)
        j = self.jobs.item + slot
        j.added_in = self.number()
        try:
            self.policy.score(self, slot, &j.score)
            self.queue.insert(slot)
            self.waits(slot, 1)
            queued = True
            self.settled.comes(slot, self.domain)
            done = True
        finally:
            if queued and not done:
                self.queue.remove(slot)
                self.waits(slot, -1)
            if not done:
                self.jobs.refuse(slot)
        self.missed |= self.suspended
        return slot

    cdef int adopt(self, const Job *template, usec_t start, usec_t end) except -1 nogil:
        """A job that runs already; the caller fills in id, priority, tree (-1) and alloc, which is the engine's then.
        Answers its slot."""
        cdef i32 slot
        self.jobs.running.need_room()
        slot = self.jobs.take()
        self.jobs.item[slot] = template[0]
        self.stale = True
        self.settled.holds = False
        self.future.drop()
        self.run(slot, start, end, end)
        return slot

    cdef int cancel(self, i32 slot) except -1 nogil:
        """Forget a waiting job."""
        self.missed |= self.suspended
        self.settled.goes(slot, self.domain)
        self.queue.remove(slot)
        self.waits(slot, -1)
        return self.forget(slot)

    cdef int move(self, i32 slot, i64 priority, double score) except -1 nogil:
        """Give a waiting job another place in the queue."""
        self.queue.need_room()
        self.missed |= self.suspended
        self.settled.holds &= not self.settled.keeps
        self.settled.goes(slot, self.domain)
        self.queue.remove(slot)
        self.jobs.item[slot].priority = priority
        self.jobs.item[slot].score = score
        self.queue.insert(slot)
        return self.settled.comes(slot, self.domain)

    cdef int rescore(self) except -1 nogil:
        """Ask the policy for the score of each waiting job, and put the queue in order."""
        cdef i32 i
        cdef const i32 *slots
        cdef double *score
        if self.queue.count == 0:
            return 0
        self.settled.holds = False
        slots = self.queue.flat()
        score = <double *> zeroed(self.queue.count, sizeof(double))
        try:
            for i in range(self.queue.count):
                self.policy.score(self, slots[i], score + i)
            self.queue.sort(score)
        finally:
            free(score)
        return 0

    cdef void waits(self, i32 slot, i32 sign) noexcept nogil:
        """One job more (sign 1) or fewer (-1) waits."""
        cdef Domain *d = self.domain + self.jobs.item[slot].domain
        d.waiting += sign
        d.met = d.met if self.in_pass else 0
        self.future.waits(self.jobs.item + slot, sign)

    cdef int finish(self, i32 slot) except -1 nogil:
        """A running job gives back all it holds; its slot is free. After an error it still runs."""
        cdef Job *j = self.jobs.item + slot
        cdef bint holds = self.settled.holds and not self.once
        self.policy.ended(self, slot)
        self.settled.holds = False
        holds = holds and self.settled.hears(j, self.hasty)
        self.future.gives(j, &j.alloc if self.once else NULL)
        self.settled.holds = holds
        self.settled.end(j.end)
        self.jobs.running.remove(j.end, slot)
        if not self.once:
            self.state.give(&j.alloc)
            self.returned = True
        return self.forget(slot)

    cdef int forget(self, i32 slot) except -1 nogil:
        """A job that neither waits nor runs any more: its slot is free."""
        cdef i32 elig = self.jobs.item[slot].elig
        self.jobs.drop(slot)
        if elig:
            with gil:
                self.eligible.release(elig)
        return 0

    cdef int move_end(self, i32 slot, usec_t end) except -1 nogil:
        """A running job is expected to end at another time."""
        cdef Job *j = self.jobs.item + slot
        self.jobs.running.need_room()
        self.settled.holds = False
        self.stale = True
        self.future.moves(j, end)
        self.jobs.running.remove(j.end, slot)
        self.returned |= end < j.end
        j.end = j.last = end
        return self.jobs.running.insert(end, slot)

    cdef int run(self, i32 slot, usec_t start, usec_t end, usec_t last) except -1 nogil:
        """A job with its alloc filled in holds it from now on, after an error too. last: when it ends at the latest."""
        cdef Job *j = self.jobs.item + slot
        self.state.take(&j.alloc)
        self.jobs.running.insert(end, slot)
        j.state = JOB_RUNNING
        j.start = start
        j.end = end
        j.last = last
        return self.future.holds(j)

    # What plugins are made of.

    cdef usec_t end_after(self, usec_t length) noexcept nogil:
        """When what begins now ends: after so long, or with the instance, whatever is first."""
        cdef usec_t end = time_add(self.clock, length)
        return <usec_t> (self.expiration * USEC) if self.clock < self.expiration * USEC < end else end

    cdef const Job *job(self, i32 job) noexcept nogil:
        """The job's record."""
        return self.jobs.item + job

    cdef i32 blocked(self, i32 job) noexcept nogil:
        """How many jobs of its domain could not start in this pass so far."""
        return self.domain[self.jobs.item[job].domain].blocked

    cdef i32 reserved(self, i32 job) noexcept nogil:
        """How many reservations were made in its domain in this pass so far."""
        return self.domain[self.jobs.item[job].domain].reserved

    cdef bint fits_now(self, i32 job) except -1 nogil:
        """Whether the job could hold its resources from now on for its duration and delay no reservation."""
        return self.future.fits_now(job, self.end_after(self.jobs.item[job].duration))

    cdef int select(self, i32 job) except -1 nogil:
        """Choose the resources of a job that fits now; 0 if there are none."""
        return self.future.select(job, self.end_after(self.jobs.item[job].duration))

    cdef int start(self, i32 job) except -1 nogil:
        """The job starts now on what was selected for it."""
        cdef Job *j = self.jobs.item + job
        cdef Domain *d = self.domain + j.domain
        cdef usec_t end = self.end_after(j.duration)
        if self.future.selected != job or j.state != JOB_WAITING:
            with gil:
                raise PluginError("allocate_resources without resources selected for the job")
        self.jobs.running.need_room()
        self.started = <i32 *> grow(self.started, &self.started_room, self.nstarted + 1, sizeof(i32))
        self.started[self.nstarted] = job
        self.nstarted += 1
        self.future.assign(job)
        self.waits(job, -1)
        self.settled.touched = 0
        j.backfilled = d.blocked > 0
        if self.queue.reordered:
            j.backfilled = self.queue.waits_ahead(job, self.eligible.generation)
        self.nbackfilled += j.backfilled
        self.nstarted_total += 1
        self.run(job, self.clock, end, self.end_after(j.limit))
        return self.future.start(job, end)

    cdef int earliest(self, i32 job, usec_t *out) except -1 nogil:
        """1 and the earliest time at which the job could start and delay no reservation made in this pass; 0 if there
        is none. far_future() stands for the end of a job without a duration."""
        return self.future.earliest(job, self.clock, out)

    cdef int reserve(self, i32 job) except -1 nogil:
        """Reserve the job's earliest start, for this pass; 0 if it has none."""
        return self.reserve_from(job, self.clock)

    cdef int reserve_from(self, i32 job, usec_t least) except -1 nogil:
        """Reserve the job's earliest start that is not before a time, for this pass; 0 if it has none."""
        cdef Job *j = self.jobs.item + job
        cdef usec_t t
        if not self.future.earliest(job, least, &t):
            return 0
        self.settled.plan(job, j.domain, t)
        self.future.reserve(job, t)
        j.estimate = t if t < far_future() else -1
        j.was_reserved = True
        self.domain[j.domain].reserved += 1
        return 1

    cdef void explain(self, i32 job, i32 why) noexcept nogil:
        """Say why the job waits: WHY_RESOURCES or WHY_RESERVED."""
        self.jobs.item[job].why = why

    cdef bint nothing_free(self) noexcept nogil:
        """Whether no job at all could start in the rest of this pass."""
        return self.future.nothing_free()

    cdef int reorder(self, const double *score, bint within_priorities) except -1 nogil:
        """Consider the waiting jobs by ascending score in this pass; score[i] is that of the i-th in the queue, and
        equal ones keep their order. Within priorities, a higher one stays ahead of any score. For sched_loop_setup;
        the queue itself stays as it is."""
        return self.queue.reorder(score, within_priorities)

    # The pass.

    cdef int deny(self, i32 slot) except -1 nogil:
        """No node there is could ever serve a job: tell the host."""
        self.denied = <i32 *> grow(self.denied, &self.denied_room, self.ndenied + 1, sizeof(i32))
        self.denied[self.ndenied] = slot
        self.ndenied += 1
        return 0

    cdef i32 number(self) noexcept nogil:
        """Of the last pass that has begun, or was gone on with."""
        return <i32> (self.npasses + self.ncontinued)

    cdef int begin_pass(self, usec_t now) except -1 nogil:
        self.now = now
        self.clock = now
        self.npasses += 1
        self.nheld = 0
        self.asked = 0
        self.stale = False
        self.returned = False
        self.suspended = False
        self.missed = False
        self.settled.begin(self.policy.keeps)
        begin(self.domain, self.ndomains)
        self.queue.begin()
        self.future.begin(now)
        if self.policy.quiet_after >= 0 or self.hasty:
            self.queue.measure(self.future.counts_nodes())
        if self.removal:
            self.deny_hopeless()
        return 0

    cdef int deny_hopeless(self) except -1 nogil:
        """Nodes were removed: deny at once, wherever they stand, the jobs that cannot do without them."""
        cdef i32 c, i, slot
        for c in range(self.queue.nchunks):
            for i in range(self.queue.chunk[c].count):
                slot = self.queue.chunk[c].slot[i]
                if self.future.check_parked(self.jobs.item + slot, self.removal) == WHY_NEVER:
                    self.deny(slot)
                    self.jobs.item[slot].state = JOB_FREE
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
        cdef Job *j = self.jobs.item + slot
        cdef Domain *d = self.domain + j.domain
        cdef i32 nplanned
        cdef int answer
        j.estimate = -1
        if d.stopped:
            j.why = d.why_behind
            self.settled.nopen += 1
            return 0
        if self.policy.queue_depth >= 0 and d.considered >= self.policy.queue_depth:
            j.why = WHY_DEPTH
            self.settled.nopen += 1
            self.stop(j, STOP, WHY_DEPTH)
            return 0
        answer = self.future.check_parked(self.jobs.item + slot, self.removal)
        if answer == WHY_NEVER:
            self.deny(slot)
            return 0
        if answer:
            j.why = answer
            return 0
        if self.nheld and held_elsewhere(self.domain, self.ndomains, j.domain, j.elig, self.eligible):
            # It is the blocked head of its own domain, then.
            j.why = WHY_OVERLAP
            j.asked_in = <i32> self.npasses
            self.settled.nopen += 1
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
        j = self.jobs.item + slot
        d.blocked += 1
        nplanned = self.settled.nplanned
        answer = self.policy.reserve_resources(self, slot)
        self.settled.nopen += self.settled.nplanned == nplanned and self.settled.place_of(slot) < 0
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

    cdef int schedule(self, usec_t now, i32 limit) except -1 nogil:
        """A pass, or (limit >= 0) the next slice of one, in which the plugin is asked about at most limit jobs and at
        least one; what it decided is in started and denied. If suspended is set, the next call goes on with the pass.

        Between two slices jobs and resources may come and go. What came is for the next pass, and the reservations
        made so far stand. Only where resources have come back does the pass start over, so that they do not idle; it
        does so again when it has asked about twice as many jobs as the one that it replaced, so that it gets to its
        end under any stream of events. Times of jobs that start count from their slice. A pass goes on with the last
        one as far as that holds: see fluxsched.core.settled.
        """
        cdef bint done = False
        cdef i32 i
        self.nstarted = 0
        self.ndenied = 0
        self.settled.touched = 0
        self.in_pass = True
        try:
            if not self.may_go_on(now) or not self.go_on(now):
                self.settled.holds = False
                if not self.suspended or self.starts_over():
                    self.begin_pass(now)
                    self.policy.sched_loop_setup(self)
                self.clock = now if now > self.clock else self.clock
                self.future.unselect()
            self.walk(limit if limit != 0 else 1)
            self.settled.close(self.policy.steady and not self.suspended and not self.missed and not self.stale
                               and not self.returned)
            done = True
        finally:
            # After an error half way, what is started is started, but nobody hears of the denied: they wait on.
            if not done:
                for i in range(self.ndenied):
                    self.jobs.item[self.denied[i]].state = JOB_WAITING
                    self.jobs.item[self.denied[i]].parked_at = -1
                self.ndenied = 0
                self.suspended = False
                self.settled.holds = False
            self.in_pass = False
            self.close_queue()
        return 0

    cdef bint may_go_on(self, usec_t now) noexcept nogil:
        """Whether the last pass can be gone on with: all has gone as it was expected to, up to now."""
        cdef bint jumps = self.policy.quiet_after >= 0 and self.policy.queue_depth < 0
        return not self.stale and not self.removal and self.settled.may_go_on(now, self.now, self.clock,
                                                                              self.expiration > 0, jumps)

    cdef bint go_on(self, usec_t now) except -1 nogil:
        """Go on with the last pass, so that walk is to ask the jobs that it has not asked; False: that did not work."""
        cdef bint whole
        self.ncontinued += 1
        meet_anew(self.domain, self.ndomains)
        self.now = now
        self.clock = now
        self.returned = False
        self.future.advance(now)
        self.future.unselect()
        self.queue.begin()
        self.policy.sched_loop_setup(self)
        if not self.settled.holds:
            return False
        if self.settled.nended and not self.settled.keeps:
            whole = self.settled.whole() and self.settled.ordered and self.settled.ended == now
            self.nheld = self.asked = 0
            self.settled.stand(self.domain, self.ndomains, now)
            if not whole:
                # From the head on; what is reserved stands until its job's turn comes.
                self.settled.tail = -1
                return not self.queue.reordered
            if not self.start_due():
                return False
        if not self.queue.reordered:
            self.queue.resume(self.settled.tail)
        self.settled.tail = -1
        return True

    cdef bint start_due(self) except -1 nogil:
        """Something has ended when it was expected to: the jobs start that are planned for now. False if one does
        not."""
        cdef i32 slot, turn, i = 0
        while i < self.settled.nplanned:
            slot = self.settled.planned[i].slot
            i += 1
            turn = self.settled.meet(slot, self.domain, self.clock, -1) if slot >= 0 else STANDS
            if turn == ASK:
                self.settled.go_back(slot, NULL)
                self.settled.tail = slot
            elif turn == DUE:
                self.consider(slot)
                if self.jobs.item[slot].state == JOB_WAITING:
                    return False
        return True

    cdef int walk(self, i32 limit) except -1 nogil:
        """Consider the jobs of the order one after another, until the pass or the slice ends."""
        cdef i32 slot, d, turn
        cdef i64 last = <i64> self.asked + limit
        cdef usec_t over = <usec_t> (self.expiration * USEC)
        cdef Limits limits
        cdef bint jumps = self.policy.quiet_after >= 0 and self.policy.queue_depth < 0
        while self.queue.more():
            if self.hasty and self.settled.nstanding == 0 and self.settled.rest_waits(self.clock, over):
                break
            if limit > 0 and self.asked >= last and self.settled.nstanding == 0:
                self.queue.freeze()
                self.suspended = True
                return 0
            if jumps and not self.nheld and may_jump(self.domain, self.ndomains, self.policy.quiet_after):
                limits = self.future.limits(self.clock, over)
                slot = self.queue.next_within(&limits)
                while slot >= 0 and not self.may_start(slot):
                    slot = self.queue.next_within(&limits)
                self.settled.nopen += 1
                if slot < 0:
                    break
            else:
                slot = self.queue.next()
            # It may have been started before its turn, or have gone while the pass was suspended.
            d = self.jobs.item[slot].domain
            if self.jobs.item[slot].state != JOB_WAITING or self.jobs.item[slot].added_in == self.number():
                continue
            self.domain[d].met += 1
            turn = ASK
            if self.settled.nstanding:
                turn = self.settled.meet(slot, self.domain, self.clock, self.policy.quiet_after)
                if turn == STANDS:
                    continue
            elif jumps and quiet(self.domain + d, self.policy.quiet_after) and not self.nheld:
                limits = self.future.limits(self.clock, over)
                self.domain[d].jumped = True
                self.settled.nopen += 1
                if not self.queue.within(self.jobs.item + slot, &limits) or not self.may_start(slot):
                    continue
            self.consider(slot)
            if self.jobs.item[slot].state != JOB_WAITING:
                self.domain[d].met -= 1
            elif turn == DUE:       # against what was planned
                self.begin_pass(self.clock)
                self.policy.sched_loop_setup(self)
                continue
            if self.domain[d].stopped and all_stopped(self.domain, self.ndomains):
                self.settled.nopen += 1
                break
        self.removal = self.suspended = False
        self.least_asked = 0
        return 0

    cdef bint may_start(self, i32 slot) noexcept nogil:
        """False only if a job cannot start, now and in the rest of the pass: a quick look."""
        return self.future.may_start(self.jobs.item + slot, self.end_after(self.jobs.item[slot].duration))

    cdef void close_queue(self) noexcept nogil:
        """Drop from the queue what no longer waits."""
        cdef i32 i
        for i in range(self.nstarted):
            self.queue.remove(self.started[i])
        for i in range(self.ndenied):
            self.queue.remove(self.denied[i])
            self.waits(self.denied[i], -1)
            self.jobs.item[self.denied[i]].state = JOB_FREE
