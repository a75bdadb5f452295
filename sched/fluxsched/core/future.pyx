# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The plans of the future behind one face: the engine knows no other.

Each component of kinds (fluxsched.core.kinds) is planned as if it were a machine of its own. Where all jobs that wait
for its nodes take whole ones, or all take any cores of the same nodes, fluxsched.core.countplan says all; otherwise
fluxsched.core.sharedplan looks at each of its nodes. Which one holds is found out when a pass begins.

        component       0                   1
        jobs            whole nodes         slots, whole nodes
        plan            counted             named
        reservations    0: 3 nodes          1: node 7, cores 0-3        2: node 8       (in the order of the queue)

Reservations are numbered through both plans: what one of them has is taken back already in the other.

A job that accepts several sizes (fluxsched.core.sizes) starts now with the greatest that fits now, and waits if its
least does not. Its reservation is of the size whose start is first, which is that of the least, and of those that can
start then of the greatest. Where both nodes and slots vary, more nodes go before more slots on each. When its start
is due it is asked about anew, and may get more than was reserved.
"""
from libc.stdlib cimport free

from fluxsched.core.alloc cimport Alloc
from fluxsched.core.bits cimport count_bits
from fluxsched.core.countplan cimport COUNT_CORES, COUNT_NODES, NAMED, CountPlan
from fluxsched.core.eligible cimport Eligible
from fluxsched.core.job cimport WHY_DOWN, WHY_LACKING, WHY_NEVER, Job
from fluxsched.core.jobs cimport Jobs
from fluxsched.core.kinds cimport Kinds
from fluxsched.core.memory cimport grow, memset
from fluxsched.core.match cimport Matcher
from fluxsched.core.planned cimport Planned
from fluxsched.core.queue cimport Limits
from fluxsched.core.sharedplan cimport Request, SharedPlan
from fluxsched.core.sizes cimport Size
from fluxsched.core.state cimport State
from fluxsched.core.types cimport i32, i64, time_add, time_never, usec_t
from fluxsched.core.wholenodes cimport take_nodes


cdef class Future:

    def __cinit__(self, State state not None, Eligible eligible not None, Jobs jobs not None, Kinds like=None):
        self.state = state
        self.eligible = eligible
        self.jobs = jobs
        self.kinds = Kinds(state, eligible, like)
        self.count = CountPlan(state, self.kinds)
        self.nodes = SharedPlan(state, eligible, self.kinds)
        self.units_generation = -1
        self.selected = -1

    def __dealloc__(self):
        free(self.how)
        free(self.mix)
        free(self.freed)

    # What it hears of.

    cdef void waits(self, const Job *j, i32 sign) noexcept nogil:
        """One job more (sign 1) or fewer (-1) waits."""
        self.eligible.count_waiting(j, sign)

    cdef int holds(self, Job *j) except -1 nogil:
        """A job runs on what is in its alloc until its end."""
        self.nrunning_whole += self.holds_whole(j)
        self.set_units(j)
        return self.nodes.hold(&j.alloc, j.end)

    cdef int gives(self, Job *j, const Alloc *lost) except -1 nogil:
        """A job is about to give back what is in its alloc, of which nobody gets what is in lost (NULL: nothing)."""
        if lost is not NULL:
            # What is reserved may hold some of it, and would give it back.
            self.nodes.clear()
        self.nodes.give(&j.alloc, j.end)
        if lost is not NULL:
            self.nodes.lose(lost)
        self.nrunning_whole -= self.holds_whole(j)
        return 0

    cdef bint keeps(self, const Job *j) except -1 nogil:
        """A job has given back what is in its alloc, and what is reserved is to stay; False if the plan cannot tell
        what is free then."""
        return not self.counting() or self.count.give(&j.alloc, j.units, j.end)

    cdef int moves(self, Job *j, usec_t end) except -1 nogil:
        """A job that runs is about to be expected to end at another time."""
        self.nodes.clear()
        self.nodes.give(&j.alloc, j.end)
        return self.nodes.hold(&j.alloc, end)

    cdef void drop(self) noexcept nogil:
        """Forget what is reserved, and what is known of what runs: the next pass begins with that."""
        self.nodes.built = self.nodes.parted = False
        self.nodes.nreserved = 0

    cdef int need_tree(self) except -1:
        """There is a general request."""
        if self.nodes.matcher is None:
            self.state.need_pools()
            self.nodes.matcher = Matcher(self.state.inv)
        return 0

    cdef bint holds_whole(self, const Job *j) noexcept nogil:
        cdef i32 i
        for i in range(j.alloc.nentries):
            if j.alloc.entry[i].count == 0:
                return False
        return True

    cdef void set_units(self, Job *j) noexcept nogil:
        """Units that a running job gives back: nodes, or cores where that is
        what is counted, if only as a bound."""
        j.units = self.state.up_units(&j.alloc, self.units_are_cores)

    # In a pass.

    cdef int begin(self, usec_t now) except -1 nogil:
        """A pass begins: nothing is reserved."""
        cdef i32 i
        self.selected = -1
        self.general = False
        self.nodes.clear()
        self.kinds.refresh()
        self.ncomponents = self.kinds.ncomponents
        self.how = <i32 *> grow(self.how, &self.how_room, self.ncomponents, sizeof(i32))
        self.mix = <Mix *> grow(self.mix, &self.mix_room, self.ncomponents, sizeof(Mix))
        self.freed = <usec_t *> grow(self.freed, &self.freed_room, self.ncomponents, sizeof(usec_t))
        self.forget_freed()
        self.count_mix()
        self.ncores = self.nnamed = 0
        for i in range(self.ncomponents):
            self.how[i] = self.choose(i)
            self.ncores += self.how[i] == COUNT_CORES
            self.nnamed += self.how[i] == NAMED
        if self.nnamed:
            self.nodes.begin(now, self.jobs.running, self.jobs.item)
        return self.begin_counts(now) if self.counting() else 0

    cdef int begin_counts(self, usec_t now) except -1 nogil:
        cdef i32 i
        cdef bint shared = self.nrunning_whole < self.jobs.running.count
        # All that are up are of one component, and all is of one kind.
        cdef bint cores = self.ncores == 1 and self.eligible.waiting[0] > 0
        cdef bint plain = cores or (self.nnamed == 0 and self.ncores == 0 and self.kinds.plain and not shared)
        if plain and (self.units_are_cores != cores or self.units_generation != self.eligible.generation):
            self.units_are_cores = cores
            self.units_generation = self.eligible.generation
            for i in range(self.jobs.running.count):
                self.set_units(self.jobs.item + self.jobs.running.item[i].job)
        return self.count.begin(now, self.state.free_cores if cores else self.state.nidle, plain, shared, self.how)

    cdef void count_mix(self) noexcept nogil:
        """Find out about the jobs that wait now."""
        cdef i32 set, c
        memset(self.mix, 0, self.ncomponents * sizeof(Mix))
        for set in range(self.kinds.nsets):
            c = self.kinds.set_component[set]
            if c >= 0:
                self.mix[c].nsets += 1
                self.mix[c].nwhole += self.eligible.whole[set] == self.eligible.waiting[set]
                self.mix[c].ncores += self.eligible.cores[set] == self.eligible.waiting[set]

    cdef i32 choose(self, i32 c) noexcept nogil:
        """How a component is to be planned, by its mix."""
        cdef const Mix *mix = self.mix + c
        # What some running jobs hold of pools may keep a job from nodes that are idle.
        if mix.nwhole == mix.nsets and (self.state.npools == 0 or self.nrunning_whole == self.jobs.running.count):
            return COUNT_NODES
        return COUNT_CORES if mix.nsets == 1 and mix.ncores == 1 else NAMED

    cdef bint same(self) noexcept nogil:
        """Whether a pass that began now would plan for the same kinds of nodes in the same way."""
        cdef i32 c
        if self.kinds.generation != self.eligible.generation or self.kinds.version != self.eligible.version:
            return False
        self.count_mix()
        for c in range(self.ncomponents):
            if self.how[c] != self.choose(c):
                return False
        return True

    cdef void note_freed(self, const Job *j) noexcept nogil:
        """A job is about to give back what is in its alloc."""
        cdef i32 i, node, c
        for i in range(j.alloc.nentries):
            for node in range(j.alloc.entry[i].node, j.alloc.entry[i].node + max(j.alloc.entry[i].count, 1)):
                c = self.kinds.component_of[self.kinds.kind_of[node]] if self.kinds.kind_of[node] >= 0 else -1
                if 0 <= c < self.ncomponents:
                    self.freed[c] = max(self.freed[c], j.end)

    cdef void forget_freed(self) noexcept nogil:
        """All that has become free is planned with."""
        memset(self.freed, 0, self.ncomponents * sizeof(usec_t))

    cdef i32 component(self, const Job *j) noexcept nogil:
        """That of the nodes to which a job is confined; -1: none of them was up when the pass began."""
        return self.kinds.set_component[j.elig] if j.elig < self.kinds.nsets else -1

    cdef bint counting(self) noexcept nogil:
        """Whether anything is counted in this pass."""
        return self.nnamed == 0 or self.nnamed < self.ncomponents

    cdef bint is_counted(self, const Job *j) noexcept nogil:
        """Whether a job that waits is one of those for which nodes or cores are counted."""
        cdef i32 c = self.component(j)
        return c >= 0 and self.how[c] != NAMED

    cdef bint is_named(self, i32 place) noexcept nogil:
        """Whether a reservation that stands is of nodes that are looked at one by one."""
        return self.nnamed > 0 and self.nodes.reservation[place].end >= 0

    cdef bint repeats(self) noexcept nogil:
        """Whether a job that starts at its planned time gets what was reserved, whatever else is reserved by then."""
        return not self.general and self.state.npools == 0

    cdef bint may_grow(self, i32 slot, i32 place) noexcept nogil:
        """Whether a job whose reservation, the given one, is due and was taken back may get more than that."""
        cdef const Job *j = self.jobs.item + slot
        return j.sizes > 0 and (not self.is_counted(j) or self.count.fits_now(
            j.elig, self.count.reserved[place].units + 1, self.count.now + 1))

    cdef void advance(self, usec_t now) noexcept nogil:
        """The pass is gone on with at a later time; what has happened since was planned."""
        if self.nnamed:
            self.nodes.advance(now)
        if self.counting():
            self.count.advance(now, self.state.free_cores if self.ncores else self.state.nidle)

    cdef void unselect(self) noexcept nogil:
        """Forget what is selected."""
        self.selected = -1

    cdef Request request_of(self, const Job *j) noexcept nogil:
        cdef Request request
        request.elig = self.eligible.bits[j.elig]
        request.want = self.jobs.general[j.tree].want if j.tree >= 0 else NULL
        request.nwant = self.jobs.general[j.tree].nwant if j.tree >= 0 else 0
        return request

    cdef i64 units_of(self, const Job *j) noexcept nogil:
        """What a job takes of what is counted in this pass."""
        return j.core_units if self.how[self.kinds.set_component[j.elig]] == COUNT_CORES else j.node_units

    cdef bint fits_now(self, i32 slot, usec_t end) except -1 nogil:
        """Whether a job could hold its resources from now to end, and no reservation of this pass be delayed."""
        cdef Job *j = self.jobs.item + slot
        cdef Request request
        if self.is_counted(j):
            return self.count.fits_now(j.elig, self.units_of(j), end)
        self.selected = -1
        request = self.request_of(j)
        if self.nodes.fits_now(j, &request, end, self.jobs.running, self.jobs.item):
            self.selected = slot
        return self.selected == slot

    cdef bint may_start(self, const Job *j, usec_t end) noexcept nogil:
        """False only if the same is False, now and in the rest of the pass: a quick look, or that nodes are down."""
        if j.parked and j.parked_at == self.eligible.generation:
            return False
        if self.is_counted(j):
            return self.count.fits_now(j.elig, self.units_of(j), end)
        return self.nodes.may_start(j, end)

    cdef bint select(self, i32 slot, usec_t end) except -1 nogil:
        """Choose the resources of a job that fits now until end: the most that it accepts; False if there are none."""
        if self.jobs.item[slot].sizes:
            return self.greatest(slot, -1, end, &self.chosen)
        return self.select_one(slot, end)

    cdef bint select_one(self, i32 slot, usec_t end) except -1 nogil:
        """The same, for the size that the job has."""
        cdef Job *j = self.jobs.item + slot
        cdef Request request
        if self.selected == slot:
            return True
        self.selected = -1
        if not self.is_counted(j):
            request = self.request_of(j)
            if not self.nodes.fits_now(j, &request, end, self.jobs.running, self.jobs.item):
                return False
        elif not self.count.plain and not self.count.share_now(j.elig, self.units_of(j), end):
            return False
        elif self.how[self.kinds.set_component[j.elig]] == COUNT_CORES:
            if not self.nodes.take_cores(j):
                return False
        elif not take_nodes(self.state, self.kinds, j, NULL if self.count.plain else self.count.part,
                            &self.nodes.picked):
            return False
        self.selected = slot
        return True

    cdef void assign(self, i32 slot) noexcept nogil:
        """Put what is selected into the alloc of the job that it was selected for."""
        cdef Alloc swap = self.jobs.item[slot].alloc
        if self.jobs.item[slot].sizes:
            self.jobs.settle(self.jobs.item + slot, &self.chosen)
        self.jobs.item[slot].alloc = self.nodes.picked
        self.nodes.picked = swap
        self.selected = -1

    cdef int start(self, i32 slot, usec_t end) except -1 nogil:
        """A job has started in this pass, is in the running list, and ends at end."""
        cdef const Job *j = self.jobs.item + slot
        return self.count.start(&j.alloc, j.units, end) if self.is_counted(j) else 0

    cdef bint earliest(self, i32 slot, usec_t least, usec_t *out) except -1 nogil:
        """True and the earliest time, not before `least`, at which a job could start and delay no reservation of this
        pass; False if there is none. far_future() stands for the end of a job without a duration."""
        if not self.earliest_one(slot, least, out):
            return False
        return self.jobs.item[slot].sizes == 0 or self.greatest(slot, out[0], 0, &self.planned)

    cdef bint earliest_one(self, i32 slot, usec_t least, usec_t *out) except -1 nogil:
        """The same, for the size that the job has."""
        cdef Job *j = self.jobs.item + slot
        cdef Request request
        if self.is_counted(j):
            return self.count.earliest(j.elig, self.units_of(j), j.duration, least, self.jobs.running, self.jobs.item,
                                       out)
        self.selected = -1
        request = self.request_of(j)
        return self.nodes.earliest(j, &request, least, self.jobs.running, self.jobs.item, out)

    cdef bint may_move_up(self, i32 slot, i32 place) except -1 nogil:
        """False only if a job that has a reservation, the given one, could not start earlier without it."""
        cdef const Job *j = self.jobs.item + slot
        if j.sizes:
            return True
        if self.is_counted(j):
            return self.count.may_move_up(j.elig, self.units_of(j), j.duration, place)
        self.selected = -1
        return self.nodes.may_move_up(j, place, self.jobs.running, self.jobs.item)

    cdef bint may_start_early(self, i32 slot, i32 place) except -1 nogil:
        """False only if a job that has a reservation, the given one, could not start now without it."""
        cdef const Job *j = self.jobs.item + slot
        if j.sizes:
            return True
        if self.is_counted(j):
            return self.count.may_start_early(j.elig, self.units_of(j), j.duration)
        return self.nodes.may_start_early(j, place)

    cdef void loosen(self, i32 place) noexcept nogil:
        """Whether there is an earlier start than that of a reservation is not known."""
        if self.is_named(place):
            self.nodes.reservation[place].seen = -1
        else:
            self.count.reserved[place].seen = -1

    cdef int reserve(self, i32 slot, usec_t start) except -1 nogil:
        """Keep a job's resources from the start that earliest has just found for it, for its duration."""
        if self.jobs.item[slot].sizes == 0:
            return self.reserve_one(slot, start)
        self.jobs.resize(self.jobs.item + slot, &self.planned)
        try:
            self.reserve_one(slot, start)
        finally:
            self.jobs.shrink(self.jobs.item + slot)
        return 0

    cdef int reserve_one(self, i32 slot, usec_t start) except -1 nogil:
        """The same, for the size that the job has."""
        cdef Job *j = self.jobs.item + slot
        self.general |= j.tree >= 0
        if not self.is_counted(j):
            self.nodes.reserve(start, time_add(start, j.duration))
            return self.count.skip() if self.counting() else 0
        self.count.reserve(j.elig, self.units_of(j), start, j.duration, self.jobs.running, self.jobs.item)
        return self.nodes.skip() if self.nnamed else 0

    # Jobs that accept several sizes.

    cdef bint greatest(self, i32 slot, usec_t start, usec_t end, Size *size) except -1 nogil:
        """Find the greatest size of a job that can start at a time at which its least can (-1: now, until end), and
        let that be what is found for it; False if the least cannot, after all."""
        cdef i32 what, high, middle
        cdef bint done = False          # the last one tried is size, and fits
        cdef Size tried
        size.at[0] = 0
        size.at[1] = 0
        try:
            for what in range(2):
                high = self.jobs.sizes.item[self.jobs.item[slot].sizes].count[what] - 1
                middle = high
                while size.at[what] < high:
                    tried = size[0]
                    tried.at[what] = middle
                    done = self.fits_size(slot, &tried, start, end)
                    if done:
                        size[0] = tried
                    else:
                        high = middle - 1
                    middle = high - (high - size.at[what]) / 2
            return done or self.fits_size(slot, size, start, end)
        finally:
            self.jobs.shrink(self.jobs.item + slot)

    cdef bint fits_size(self, i32 slot, const Size *size, usec_t start, usec_t end) except -1 nogil:
        """Whether a job of this size can start then; if so, that is what is found for it."""
        cdef usec_t t
        self.jobs.resize(self.jobs.item + slot, size)
        if start >= 0:
            return self.earliest_one(slot, start, &t) and t == start
        self.selected = -1
        return self.fits_now(slot, end) and self.select_one(slot, end)

    cdef int retract(self, i32 i) except -1 nogil:
        """Take back reservation i of this pass."""
        return self.nodes.retract(i) if self.is_named(i) else self.count.retract(i) if self.counting() else 0

    cdef void cut(self, i32 count) noexcept nogil:
        """Forget all reservations but the first so many; the others were taken back."""
        if self.nnamed:
            self.nodes.nreserved = count
        if self.counting():
            self.count.cut(count)

    cdef void pack(self, const Planned *planned, i32 count) noexcept nogil:
        """Leave out the reservations of jobs that have started."""
        cdef i32 i, n = 0
        for i in range(count):
            if planned[i].slot < 0:
                continue
            if self.nnamed:
                self.nodes.shift(i, n)
            if self.counting():
                self.count.shift(i, n)
            n += 1
        self.cut(n)

    cdef bint nothing_free(self) noexcept nogil:
        """Whether no job at all could start in the rest of this pass."""
        if self.counts_nodes():
            return self.count.free_now == 0
        return self.state.free_cores == 0 and (self.nnamed == 0 or self.state.gw == 0)

    cdef bint counts_nodes(self) noexcept nogil:
        """Whether limits count nodes (Job.node_units) in this pass, and not cores (Job.least_cores)."""
        return self.nnamed == 0 and self.ncores == 0

    cdef Limits limits(self, usec_t now, usec_t last) noexcept nogil:
        """What a job may need, and how long it may run, at the most if it starts now: no job beyond it fits_now, but
        not all within it do. last: when all jobs end; not after now: they need not."""
        cdef Limits limits
        limits.free = self.count.free_now if self.counts_nodes() else self.state.free_cores
        limits.extra = limits.free
        limits.window = time_never()
        if self.nnamed == 0 and self.count.plain and not self.count.built and self.count.nreserved:
            limits.extra = min(limits.free, self.count.extra)
            if not now < last <= self.count.shadow:
                limits.window = self.count.shadow - now
        return limits

    # At any time.

    cdef bint fits_free(self, const Job *j, usec_t now) except -1 nogil:
        """Whether what is free now would do for a job, were there no reservation and no other job that waits."""
        cdef Request request = self.request_of(j)
        if j.least_cores > self.state.free_cores or (j.whole and j.nnodes > self.state.nidle):
            return False
        return self.nodes.fits_idle(j, &request)

    cdef bint could_fit(self, const Job *j, bint up) except -1 nogil:
        """Whether a job fits on its nodes that are up (or: on all there are), were all of them free."""
        cdef Request request
        if j.tree < 0:
            return self.eligible.capacity(j, up) >= (j.nnodes if j.nnodes else j.nslots)
        request = self.request_of(j)
        self.nodes.matcher.show(self.state.inv.core_all, self.state.inv.gpu_all, self.nodes.matcher.tree.pool_size,
                                self.state.up if up else self.state.present, request.elig)
        self.selected = -1
        return self.nodes.matcher.match(request.want, request.nwant, &self.nodes.picked)

    cdef int check_parked(self, Job *j, bint removal) except -1 nogil:
        """Find out whether a job waits for nodes that are not up: 0, or why; WHY_NEVER if no node there is could ever
        serve it. removal: nodes were removed since the last pass."""
        if j.parked_at != self.eligible.generation:
            j.parked = 0 if self.could_fit(j, True) else WHY_DOWN
            j.parked_at = self.eligible.generation
            if j.parked and not self.could_fit(j, False):
                if removal or j.elig == 0:
                    # Whoever asks next is to hear the same.
                    j.parked_at = -1
                    return WHY_NEVER
                # Properties come and go: what was taken may be given again.
                j.parked = WHY_LACKING
        return j.parked

    cdef bint found_units(self) noexcept nogil:
        """Whether what could_fit has just found for a general request has a core or a gpu in it."""
        return count_bits(self.nodes.picked.bits, self.nodes.picked.nbits) > 0
