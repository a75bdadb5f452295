# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The future where jobs share nodes: which cores and gpus of which nodes are free when.

Each node has a future (fluxsched.core.nodefuture), which what runs and what is
reserved on it has shaped. A job of s slots (or n nodes of s slots each) starts
at the first time t at which the nodes of its set hold them all along from t to
t + duration, by cores and gpus that stay free. It takes from the nodes in
their order: kinds as fluxsched.core.kinds has them, what fewest others could
use first, then from the lowest node on; of a node, the lowest cores and gpus.

The order is the same at all times and whatever is in use, so that a plan is
the same whether it is made at once or piece by piece: a job that others leave
room for takes the very cores that it would take without them.

        futures     0: all free      1: cores 4-7 until t1      2: …
        nodes       0 0 1 1 2 0 …

        timeline         now    t1     t2   …
        a slot of 4       7      9      9         (if each instant were by itself)
        2 nodes of 8      3      5      5

The timeline bounds a search: for each shape that jobs ask for, it counts what would fit at each instant by itself.
Where that is enough for the whole duration, the nodes are looked at (fluxsched.core.fits). What running jobs hold
stays in the plan from pass to pass; an expected end changes nothing.

Where there are more than a few reservations, there are two of all this: the bare one is without them, so that to drop
them all is to go on with that one.
"""
from libc.stdlib cimport free

from fluxsched.core.alloc cimport Alloc, Entry, alloc_clear, alloc_holds
from fluxsched.core.bits cimport count_bits, get_bit, lowest, same_bits
from fluxsched.core.bounds cimport Bounds
from fluxsched.core.eligible cimport Eligible
from fluxsched.core.failures cimport Failures
from fluxsched.core.fits cimport Fits
from fluxsched.core.gains cimport Gain, Gains
from fluxsched.core.job cimport Job
from fluxsched.core.kinds cimport Group, Kinds
from fluxsched.core.memory cimport grow, memcpy, memset, zeroed
from fluxsched.core.nodefuture cimport NodeFutures
from fluxsched.core.pooltimes cimport PoolTimes
from fluxsched.core.reservation cimport Reservation
from fluxsched.core.running cimport Running, release_time
from fluxsched.core.shape cimport Shape, fits_counts, same_shape, shape_of
from fluxsched.core.state cimport State
from fluxsched.core.timeline cimport Timeline
from fluxsched.core.types cimport i32, i64, time_add, time_never, u64, usec_t


cdef void gain(SharedPlan plan, const Alloc *a) noexcept nogil:
    """What is in a is about to become free: what is known of it holds no longer."""
    cdef i32 i
    plan.failures.forget()
    plan.bounds.forget()
    for i in range(a.nentries):
        plan.fits.unsee(-1, a.entry[i].node, max(a.entry[i].count, 1))


cdef class SharedPlan:

    def __cinit__(self, State state not None, Eligible eligible not None, Kinds kinds not None):
        self.state = state
        self.inv = state.inv
        self.eligible = eligible
        self.kinds = kinds
        self.cw = state.cw
        self.gw = state.gw
        self.width = state.cw + state.gw
        self.futures = NodeFutures(self.cw, self.gw)
        self.bounds = Bounds(state, eligible, kinds)
        self.fits = Fits(state, kinds)
        self.of = <i32 *> zeroed(state.inv.nnodes, sizeof(i32))
        self.bare_of = <i32 *> zeroed(state.inv.nnodes, sizeof(i32))
        self.bare_timeline = Timeline()
        self.pools = PoolTimes(state)
        self.gains = Gains()
        self.failures = Failures()
        self.lifted = <i32 *> zeroed(state.inv.nnodes, sizeof(i32))
        self.bits = <u64 *> zeroed(self.width, sizeof(u64))
        self.word = <u64 *> zeroed(self.width, sizeof(u64))
        self.core = <u64 *> zeroed(<size_t> state.inv.nnodes * self.cw, sizeof(u64))
        self.gpu = <u64 *> zeroed(<size_t> state.inv.nnodes * self.gw, sizeof(u64))

    def __dealloc__(self):
        cdef i32 i
        for i in range(self.reservation_room):
            alloc_clear(&self.reservation[i].alloc)
        free(self.reservation)
        free(self.of)
        free(self.bare_of)
        free(self.lifted)
        free(self.bits)
        free(self.word)
        free(self.core)
        free(self.gpu)
        alloc_clear(&self.picked)

    # What runs.

    cdef int begin(self, usec_t now, Running running, const Job *jobs) except -1 nogil:
        """The time is now. Nodes and sets in use may have changed, and jobs may be overdue."""
        cdef i32 i
        self.failures.forget()
        if self.built and now < self.now:
            self.clear()
            self.built = False
        self.now = now
        if not self.built:
            self.build(running, jobs)
        if not self.bounds.begin(now):
            self.fits.forget()
        for i in range(running.count):
            if running.item[i].end > now:
                break
            self.apply(&jobs[running.item[i].job].alloc, 0, now + 1, True, 1)
        return 0

    cdef void advance(self, usec_t now) noexcept nogil:
        """The time is now; what has changed since it was less was planned."""
        self.failures.forget()
        self.now = now
        if self.parted:
            self.bare_timeline.trim(now)
        if not self.bounds.begin(now):
            self.fits.forget()

    cdef int build(self, Running running, const Job *jobs) except -1 nogil:
        """The futures of all nodes, from the running jobs."""
        cdef i32 i, node
        with gil:
            self.futures = NodeFutures(self.cw, self.gw)
            self.bounds.reset(self.futures, self.of)
            self.fits.reset(self.futures, self.of, self.now)
            self.timeline = self.bounds.timeline
        self.parted = False
        self.state.free_once(running, jobs, self.core, self.gpu)
        for node in range(self.inv.nnodes):
            memcpy(self.word, self.core + <size_t> node * self.cw, self.cw * sizeof(u64))
            memcpy(self.word + self.cw, self.gpu + <size_t> node * self.gw, self.gw * sizeof(u64))
            self.of[node] = self.futures.constant(self.word)
        self.built = True
        for i in range(running.count):
            self.hold(&jobs[running.item[i].job].alloc, running.item[i].end)
        return 0

    cdef int hold(self, const Alloc *a, usec_t end) except -1 nogil:
        """A job runs on a and is expected to end then."""
        self.gains.undo(self.now, end, 0, 0, a)
        return self.apply_twice(a, release_time(end, self.now), True, 1) if self.built else 0

    cdef int give(self, const Alloc *a, usec_t end) except -1 nogil:
        """A job that was expected to end then gives back a."""
        if not self.built:
            return 0
        end = release_time(end, self.now)
        gain(self, a)
        self.gains.add(self.now, end, 0, 0, a)
        # Overdue, it held until one tick from now.
        return self.apply_twice(a, end, False, 0)

    cdef int lose(self, const Alloc *a) except -1 nogil:
        """Nobody gets a any more."""
        return self.apply_twice(a, time_never(), True, 1) if self.built else 0

    cdef int apply_twice(self, const Alloc *a, usec_t end, bint take, i32 uses) except -1 nogil:
        """What is in a is taken (or given back) until end, with and without what is reserved."""
        cdef i32 _plan
        for _plan in range(1 + self.parted):
            self.apply(a, 0, end, take, uses)
            if not take and self.built:
                self.timeline.unmark(end)
            if self.parted:
                self.swap()
        return 0

    cdef void swap(self) noexcept nogil:
        """Let what follows be about the other one of the two: with what is reserved, or without."""
        cdef i32 *of = self.of
        self.of = self.bare_of
        self.bare_of = of
        self.timeline.exchange(self.bare_timeline)
        self.bounds.of = self.fits.of = self.of

    cdef int part(self) except -1 nogil:
        """Make two of the plan, of which one is without what is reserved."""
        cdef i32 i, node
        self.bare_timeline.copy(self.timeline)
        for node in range(self.inv.nnodes):
            self.bare_of[node] = self.of[node]
            self.futures.use(self.of[node], 1)
        self.parted = True
        self.swap()
        for i in range(self.nreserved):
            self.take_back(self.reservation + i)
        self.swap()
        return 0

    # What jobs hold and reservations will.

    cdef int apply(self, const Alloc *a, usec_t start, usec_t end, bint take, i32 uses) except -1 nogil:
        """What is in a is taken (or given back) from start to end. uses: so many more intervals begin and end there."""
        cdef i32 i, k, node
        cdef const Entry *e
        cdef bint done = False
        for k in range(CHANGES):
            self.changes[k].nodes = 0
        try:
            self.timeline.mark(start, uses)
            self.timeline.mark(end, uses)
            self.bounds.open(start, end)
            for i in range(a.nentries):
                e = a.entry + i
                if e.count == 0:
                    self.set_bits(a.bits + e.bits, a.bits + e.bits + self.cw, start, end, take)
                    self.move_node(e.node, start, end, take)
                    continue
                for node in range(e.node, e.node + e.count):
                    self.set_bits(self.inv.core_all + <size_t> node * self.cw,
                                  self.inv.gpu_all + <size_t> node * self.gw, start, end, take)
                    self.move_node(node, start, end, take)
            self.flush_all(start, end, take)
            self.bounds.close()
            done = True
        finally:
            if not done:
                # Without memory it is half done: the next pass begins with what runs.
                self.built = False
                self.parted = False
                self.nreserved = 0
        return 0

    cdef int set_bits(self, const u64 *core, const u64 *gpu, usec_t start, usec_t end, bint take) except -1 nogil:
        """The cores and gpus that the nodes to come lose or gain."""
        if same_bits(self.bits, core, self.cw) and same_bits(self.bits + self.cw, gpu, self.gw):
            return 0
        self.flush_all(start, end, take)
        memcpy(self.bits, core, self.cw * sizeof(u64))
        memcpy(self.bits + self.cw, gpu, self.gw * sizeof(u64))
        return 0

    cdef int move_node(self, i32 node, usec_t start, usec_t end, bint take) except -1 nogil:
        """A node changes; those that had the same future and are of one kind change together."""
        cdef i32 old = self.of[node], kind = self.kinds.kind_of[node]
        cdef Change *change = self.changes + ((old ^ (kind << 3)) & (CHANGES - 1))
        if change.nodes == 0 or change.old != old or change.group != kind:
            self.flush(change, start, end, take)
            # Counted for this node; that of the nodes to come is added by flush.
            change.new = self.futures.change(old, start, end, self.bits, take, self.now)
            change.old = old
            change.group = kind
        change.nodes += 1
        self.of[node] = change.new
        return 0

    cdef int flush_all(self, usec_t start, usec_t end, bint take) except -1 nogil:
        cdef i32 k
        for k in range(CHANGES):
            self.flush(self.changes + k, start, end, take)
        return 0

    cdef int flush(self, Change *change, usec_t start, usec_t end, bint take) except -1 nogil:
        """The nodes of a change have another future from now on."""
        if change.nodes == 0:
            return 0
        self.bounds.change(change, start, end, self.bits, take)
        self.futures.use(change.new, change.nodes - 1)
        self.futures.drop(change.old, change.nodes)
        change.nodes = 0
        return 0

    # Now.

    cdef bint may_start(self, const Job *j, usec_t end) noexcept nogil:
        """Whether j may fit from now to end, by counts."""
        cdef Shape shape = shape_of(j)
        cdef i32 k, value, need = j.nnodes if j.nnodes else j.nslots
        cdef usec_t t = self.now
        if j.tree >= 0:
            return True
        if (j.whole and j.nnodes > self.state.nidle or not self.state.room_for(j.nnodes, j.nslots, j.cores)
                or self.failures.rule_out(&shape, need, end, j.exclusive)):
            return False
        k = self.bounds.known(&shape)
        if k < 0 or self.timeline.find_less(k, need, end, &t, &value) == 0:
            return True
        # More than there is at that instant finds no room either.
        self.failures.add(&shape, value + 1, t + 1, False)
        return False

    cdef int fits_now(self, const Job *j, const Request *request, usec_t end, Running running,
                      const Job *jobs) except -1 nogil:
        """1 and the resources in picked, if j can hold them from now to end without touching a reservation; else 0."""
        cdef Shape shape = shape_of(j)
        cdef i32 k, need = j.nnodes if j.nnodes else j.nslots
        cdef const i64 *pool = NULL
        if j.tree >= 0:
            return self.fits_tree(request, self.now, end, running, jobs)
        if not self.may_start(j, end):
            return 0
        k = self.bounds.known(&shape)
        if not self.confined_here(&shape):
            return 0
        if self.state.npools and j.exclusive:
            pool = self.pools_then(self.now, end, running, jobs)
        if self.fits.gather(j, &shape, k, need, self.now, end, True, pool, &self.picked):
            return 1
        self.failures.add(&shape, need - self.fits.missing + 1, end, pool is not NULL)
        return 0

    cdef bint fits_idle(self, const Job *j, const Request *request) except -1 nogil:
        """Whether what is free now would do for j, were nothing reserved. At any time, in a pass or not."""
        cdef Shape shape = shape_of(j)
        cdef i32 w, node, need = j.nnodes if j.nnodes else j.nslots
        cdef u64 word
        if j.tree >= 0:
            self.matcher.show(self.state.core_free, self.state.gpu_free, self.state.pool_free, self.state.up,
                              request.elig)
            return self.matcher.match(request.want, request.nwant, &self.picked)
        for w in range(self.state.nwords):
            word = self.fits.usable(&shape, w) & request.elig[w]
            while word:
                node = w * 64 + lowest(word)
                word &= word - 1
                if j.exclusive and self.state.npools and not self.inv.tree.pools_whole(node, self.state.pool_free):
                    continue
                self.fits.show(node, 0, 0, True)
                need -= fits_counts(&shape, self.inv.ncores[node], self.inv.ngpus[node],
                                    count_bits(self.fits.word, self.cw),
                                    count_bits(self.fits.word + self.cw, self.gw))
                if need <= 0:
                    return True
        return False

    # Now, where numbers say that there is enough, and only names are wanted.

    cdef int take_cores(self, const Job *j) except -1 nogil:
        """1 and the resources of a job that takes any cores in picked; 0 if there are not so many."""
        cdef Shape shape = shape_of(j)
        return self.confined_here(&shape) and self.fits.gather_idle(j, &shape, j.nslots, &self.picked)

    # Later.

    cdef int earliest(self, const Job *j, const Request *request, usec_t least, Running running, const Job *jobs,
                      usec_t *out) except -1 nogil:
        """1, the earliest start, not before `least`, that no reservation forbids, and the resources in picked; or 0:
        never."""
        if j.tree >= 0:
            return self.earliest_tree(j, request, max(self.now, least), running, jobs, out)
        return self.earliest_until(j, max(self.now, least), time_never(), running, jobs, out)

    cdef bint may_start_early(self, const Job *j, i32 place) except -1 nogil:
        """False only if a job could not start now, were its own reservation, number place, taken back."""
        cdef Shape shape = shape_of(j)
        cdef i32 factor, k, need = j.nnodes if j.nnodes else j.nslots
        cdef usec_t end = time_add(self.now, j.duration)
        cdef Reservation *r = self.reservation + place
        if j.tree >= 0 or (self.state.npools and j.exclusive):
            return True
        if not self.state.room_for(j.nnodes, j.nslots, j.cores):
            return False
        k = self.bounds.column_of(&shape, &factor)
        # Before its start, nothing is free without it that is not free with it.
        return self.timeline.lasts(k, factor * need, self.now, min(end, r.start)) and (
            not same_shape(&self.bounds.column[k].shape, &shape)
            or self.fits.fits_early(&shape, k, need, self.now, end, &r.alloc, r.start, False))

    cdef bint may_move_up(self, const Job *j, i32 place, Running running, const Job *jobs) except -1 nogil:
        """False only if a job could not start earlier, were its own reservation, number place, taken back."""
        cdef Shape shape = shape_of(j)
        cdef i32 factor, k
        cdef i64 n
        cdef bint found = False
        cdef usec_t t = self.now, until
        cdef Reservation *r = self.reservation + place
        if j.tree >= 0 or (self.state.npools and j.exclusive):
            return True
        until = r.start
        if self.gains.knows(r.seen):
            # Only what has become free since may let it start earlier.
            t = time_never()
            until = 0
            for n in range(r.seen, self.gains.count):
                self.windows(j, &shape, r, self.gains.at(n), &t, &until)
            until += 1
        r.seen = self.gains.tell()
        k = self.bounds.column_of(&shape, &factor)
        # Before its start, nothing is free without it that is not free with it.
        if t >= until or not self.timeline.search(k, factor * (j.nnodes if j.nnodes else j.nslots), j.duration, t,
                                                  until, &t):
            return False
        self.lift(r, k)
        try:
            found = self.earliest_until(j, t, until, running, jobs, &t)
        finally:
            self.unlift(r, k)
        return found

    cdef void windows(self, const Job *j, const Shape *shape, const Reservation *r, const Gain *g, usec_t *low,
                      usec_t *high) noexcept nogil:
        """Starts before a reservation's at which a node of what has become free may serve its job, with that: let none
        of them be before low or after high."""
        cdef usec_t first = max(self.now, g.start - j.duration + 1), last = min(g.end, r.start)
        cdef i32 i, m, node, id = -1
        cdef bint own
        cdef const Entry *e
        cdef const Group *group
        if first >= last:
            return
        for i in range(g.alloc.nentries):
            e = g.alloc.entry + i
            for node in range(e.node, e.node + max(e.count, 1)):
                own = alloc_holds(&r.alloc, node)
                if (self.of[node] == id and not own) or not get_bit(self.eligible.bits[j.elig], node):
                    continue
                id = self.of[node]
                m = self.kinds.kind_of[node]
                if m < 0:
                    continue
                group = self.kinds.group + m
                if self.fits.serves(shape, group):
                    # On its own nodes it may go on with what it has.
                    self.fits.windows(shape, group, id, first, last, j.duration, r.start if own else time_never(), low,
                                      high)

    cdef int lift(self, const Reservation *r, i32 k) except -1 nogil:
        """Let the nodes of a reservation have the futures that they had without it, until unlift. It is not for what
        counts, and of what is known of fits it is only for column k."""
        cdef i32 i, node
        cdef const Entry *e
        cdef const u64 *bits
        cdef bint done = False
        self.nlifted = 0
        try:
            for i in range(r.alloc.nentries):
                e = r.alloc.entry + i
                for node in range(e.node, e.node + max(e.count, 1)):
                    bits = self.word
                    if e.count:
                        memcpy(self.word, self.inv.core_all + <size_t> node * self.cw, self.cw * sizeof(u64))
                        memcpy(self.word + self.cw, self.inv.gpu_all + <size_t> node * self.gw, self.gw * sizeof(u64))
                    else:
                        bits = r.alloc.bits + e.bits
                    self.lifted[node] = self.of[node]
                    self.of[node] = self.futures.change(self.of[node], r.start, r.end, bits, False, self.now)
                    self.nlifted += 1
                    self.fits.unsee(k, node, 1)
            done = True
        finally:
            if not done:
                self.unlift(r, k)
        return 0

    cdef void unlift(self, const Reservation *r, i32 k) noexcept nogil:
        cdef i32 i, node
        cdef const Entry *e
        for i in range(r.alloc.nentries):
            e = r.alloc.entry + i
            for node in range(e.node, e.node + max(e.count, 1)):
                if self.nlifted == 0:
                    return
                self.nlifted -= 1
                self.futures.drop(self.of[node], 1)
                self.of[node] = self.lifted[node]
                self.fits.unsee(k, node, 1)

    cdef int earliest_until(self, const Job *j, usec_t least, usec_t until, Running running, const Job *jobs,
                            usec_t *out) except -1 nogil:
        """The same as earliest for slots, for a start before until: from then on counts are not looked at."""
        cdef Shape shape = shape_of(j)
        cdef i32 k, factor, need = j.nnodes if j.nnodes else j.nslots
        cdef usec_t t, end, from_ = least
        cdef bint exact, known
        cdef const i64 *pool = NULL
        if not self.confined_here(&shape):
            return 0
        k = self.bounds.column_of(&shape, &factor)
        exact = same_shape(&self.bounds.column[k].shape, &shape) and not (self.state.npools and j.exclusive)
        known = exact and until == time_never()
        if known:
            from_ = max(from_, self.bounds.bound(k, need, j.duration))
        while from_ != time_never() and self.timeline.search(k, need * factor, j.duration, from_, until, &t):
            end = time_add(t, j.duration)
            if self.state.npools and j.exclusive:
                pool = self.pools_then(t, end, running, jobs)
            if self.fits.gather(j, &shape, k if exact else -1, need, t, end, t == self.now, pool, &self.picked):
                if known and least <= self.now:
                    self.bounds.remember(k, need, j.duration, t)
                out[0] = t
                return 1
            from_ = self.timeline.after(max(t, self.fits.next - 1) if exact else t)
        return 0

    cdef bint confined_here(self, const Shape *shape) noexcept nogil:
        """Whether there is any node that is up of those to which a job is confined."""
        return shape.elig < self.kinds.nsets and self.kinds.set_component[shape.elig] >= 0

    # General requests, and pools.

    cdef int earliest_tree(self, const Job *j, const Request *request, usec_t least, Running running, const Job *jobs,
                           usec_t *out) except -1 nogil:
        """The same for a general request: each point is tried."""
        cdef usec_t t = least
        while not self.fits_tree(request, t, time_add(t, j.duration), running, jobs):
            t = self.timeline.after(t)
            if t == time_never():
                return 0
        out[0] = t
        return 1

    cdef int fits_tree(self, const Request *request, usec_t start, usec_t end, Running running,
                       const Job *jobs) except -1 nogil:
        """Whether a general request fits from start to end; if so, what it gets is in picked."""
        cdef i32 node
        for node in range(self.inv.nnodes):
            self.futures.least(self.of[node], start, end, self.word)
            memcpy(self.core + <size_t> node * self.cw, self.word, self.cw * sizeof(u64))
            memcpy(self.gpu + <size_t> node * self.gw, self.word + self.cw, self.gw * sizeof(u64))
        self.matcher.show(self.core, self.gpu, self.pools_then(start, end, running, jobs), self.state.up, request.elig)
        return self.matcher.match(request.want, request.nwant, &self.picked)

    cdef const i64 *pools_then(self, usec_t start, usec_t end, Running running, const Job *jobs) except NULL nogil:
        """The least of each pool that is free at one time from start to end."""
        return self.pools.least(start, end, self.now, running, jobs, self.reservation, self.nreserved)

    # Reservations.

    cdef int reserve(self, usec_t start, usec_t end) except -1 nogil:
        """Keep picked from start to end."""
        cdef Reservation *r = self.next_reservation()
        cdef Alloc swap = r.alloc
        r.alloc = self.picked
        self.picked = swap
        # What is not later than now is no point of its own.
        start = start if start > self.now else 0
        r.start = start
        r.end = end
        self.gains.undo(start, end, 0, 0, &r.alloc)
        r.seen = self.gains.tell()
        self.nreserved += 1
        self.apply(&r.alloc, start, end, True, 1)
        return self.part() if self.nreserved >= FEW and not self.parted else 0

    cdef Reservation *next_reservation(self) except NULL nogil:
        """Room for one more."""
        cdef i32 old = self.reservation_room
        self.reservation = <Reservation *> grow(self.reservation, &self.reservation_room, self.nreserved + 1,
                                                sizeof(Reservation))
        memset(self.reservation + old, 0, <size_t> (self.reservation_room - old) * sizeof(Reservation))
        return self.reservation + self.nreserved

    cdef int skip(self) except -1 nogil:
        """The next reservation is in another plan: its number stands for one that was taken back."""
        self.next_reservation().end = -1
        self.nreserved += 1
        return 0

    cdef int retract(self, i32 i) except -1 nogil:
        """Take back a reservation."""
        cdef Reservation *r = self.reservation + i
        if r.end < 0:
            return 0
        gain(self, &r.alloc)
        self.gains.add(r.start, r.end, 0, 0, &r.alloc)
        self.take_back(r)
        r.end = -1
        return 0

    cdef int take_back(self, const Reservation *r) except -1 nogil:
        """Let what is reserved be free, unless it was taken back."""
        if r.end < 0:
            return 0
        self.apply(&r.alloc, r.start, r.end, False, 0)
        self.timeline.unmark(r.start)
        self.timeline.unmark(r.end)
        return 0

    cdef void shift(self, i32 i, i32 to) noexcept nogil:
        """A reservation becomes number `to`, which was taken back, or is itself."""
        cdef Reservation swap = self.reservation[to]
        self.reservation[to] = self.reservation[i]
        self.reservation[i] = swap

    cdef int clear(self) except -1 nogil:
        """Drop all reservations."""
        cdef i32 i, node
        if not self.parted:
            for i in range(self.nreserved - 1, -1, -1):
                self.retract(i)
        else:
            self.swap()
            for node in range(self.inv.nnodes):
                self.futures.drop(self.bare_of[node], 1)
            self.parted = False
            self.failures.forget()
            self.bounds.forget()
            self.fits.forget()
        self.nreserved = 0
        return 0
