# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The plans of the future behind one face: the engine knows no other.

Where all jobs take whole nodes, or all take single cores, fluxsched.core.countplan says all; otherwise
fluxsched.core.nodeplan looks at each node, and the count of cores is a bound that says no quickly. Which one holds is
found out when a pass begins, from counts of the jobs that wait and run.
"""
from fluxsched.core.alloc cimport Alloc
from fluxsched.core.bits cimport count_bits
from fluxsched.core.countplan cimport CountPlan
from fluxsched.core.eligible cimport Eligible
from fluxsched.core.job cimport Job
from fluxsched.core.jobs cimport Jobs
from fluxsched.core.kinds cimport Kinds
from fluxsched.core.match cimport Matcher
from fluxsched.core.nodeplan cimport NodePlan, Request
from fluxsched.core.state cimport State
from fluxsched.core.types cimport i32, i64, time_add, time_never, usec_t


cdef class Future:

    def __cinit__(self, State state not None, Eligible eligible not None, Jobs jobs not None):
        self.state = state
        self.eligible = eligible
        self.jobs = jobs
        self.count = CountPlan(state, Kinds(state, eligible))
        self.nodes = NodePlan(state)
        self.units_generation = -1
        self.selected = -1

    # What it hears of.

    cdef void waits(self, const Job *j, i32 sign) noexcept nogil:
        """One job more (sign 1) or fewer (-1) waits."""
        self.eligible.count_waiting(j.elig, sign)
        self.nwaiting += sign
        self.nwaiting_nodes += sign if j.node_units else 0
        self.nwaiting_cores += sign if j.core_units and j.elig == 0 else 0

    cdef void holds(self, Job *j, i32 sign) noexcept nogil:
        """A job holds what is in its alloc from now on (sign 1), or is about to give it back (-1)."""
        self.nrunning_whole += sign * self.holds_whole(j)
        if sign > 0:
            self.set_units(j)

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
        j.units = self.state.up_units(&j.alloc, self.plan != PLAN_NODES)

    # In a pass.

    cdef int begin(self, usec_t now) except -1 nogil:
        """A pass begins: nothing is reserved."""
        cdef i32 i
        cdef bint cores
        self.selected = -1
        if self.nwaiting_nodes == self.nwaiting and self.nrunning_whole == self.jobs.running.count:
            self.plan = PLAN_NODES
        elif self.nwaiting_cores == self.nwaiting:
            self.plan = PLAN_CORES
        else:
            self.plan = PLAN_EACH
        self.nodes.begin(now)
        cores = self.plan != PLAN_NODES
        if self.units_are_cores != cores or self.units_generation != self.eligible.generation:
            for i in range(self.jobs.running.count):
                self.set_units(self.jobs.item + self.jobs.running.item[i].job)
            self.units_are_cores = cores
            self.units_generation = self.eligible.generation
        return self.count.begin(now, self.state.free_cores if cores else self.state.nidle, not cores)

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
        return j.node_units if self.plan == PLAN_NODES else j.core_units

    cdef bint fits_now(self, i32 slot, usec_t end) except -1 nogil:
        """Whether a job could hold its resources from now to end, and no reservation of this pass be delayed."""
        cdef Job *j = self.jobs.item + slot
        cdef Request request
        if self.plan != PLAN_EACH:
            return self.count.fits_now(j.elig, self.units_of(j), end)
        # What is free in all says no quickly, if not yes.
        self.selected = -1
        if self.count.fits_now(0, j.least_cores, end):
            request = self.request_of(j)
            if self.nodes.fits_now(j, &request, end, self.jobs.running, self.jobs.item):
                self.selected = slot
        return self.selected == slot

    cdef bint select(self, i32 slot, usec_t end) except -1 nogil:
        """Choose the resources of a job that fits now until end; False if there are none."""
        cdef Job *j = self.jobs.item + slot
        cdef Request request
        if self.selected == slot:
            return True
        self.selected = -1
        if self.plan == PLAN_NODES and not self.count.plain:
            if not self.count.share_now(j.elig, j.node_units, end):
                return False
            if not self.nodes.pick_kinds(j, self.count.kinds.kind_of, self.count.part):
                return False
        else:
            request = self.request_of(j)
            if not self.nodes.fits_now(j, &request, end, self.jobs.running, self.jobs.item):
                return False
        self.selected = slot
        return True

    cdef void assign(self, i32 slot) noexcept nogil:
        """Put what is selected into the alloc of the job that it was selected for."""
        cdef Alloc swap = self.jobs.item[slot].alloc
        self.jobs.item[slot].alloc = self.nodes.picked
        self.nodes.picked = swap
        self.selected = -1

    cdef int start(self, i32 slot, usec_t end) except -1 nogil:
        """A job has started in this pass, is in the running list, and ends at end."""
        return self.count.start(&self.jobs.item[slot].alloc, self.jobs.item[slot].units, end)

    cdef bint earliest(self, i32 slot, usec_t *out) except -1 nogil:
        """True and the earliest time at which a job could start and delay no reservation of this pass; False if there
        is none. far_future() stands for the end of a job without a duration."""
        cdef Job *j = self.jobs.item + slot
        cdef Request request
        cdef usec_t bound
        if self.plan != PLAN_EACH:
            return self.count.earliest(j.elig, self.units_of(j), j.duration, self.jobs.running, self.jobs.item, out)
        self.selected = -1
        if not self.count.earliest(0, j.least_cores, j.duration, self.jobs.running, self.jobs.item, &bound):
            return False
        request = self.request_of(j)
        return self.nodes.earliest(j, &request, self.jobs.running, self.jobs.item, bound, out)

    cdef int reserve(self, i32 slot, usec_t start) except -1 nogil:
        """Keep a job's resources from the start that earliest has just found for it, for its duration."""
        cdef Job *j = self.jobs.item + slot
        if self.plan != PLAN_EACH:
            return self.count.reserve(j.elig, self.units_of(j), start, j.duration, self.jobs.running, self.jobs.item)
        self.count.reserve(0, self.state.up_units(&self.nodes.picked, True), start, j.duration, self.jobs.running,
                           self.jobs.item)
        return self.nodes.reserve(start, time_add(start, j.duration))

    cdef bint nothing_free(self) noexcept nogil:
        """Whether no job at all could start in the rest of this pass."""
        if self.plan != PLAN_EACH:
            return self.count.free_now == 0
        return self.state.free_cores == 0 and self.state.gw == 0

    # At any time.

    cdef bint fits_free(self, const Job *j, usec_t now) except -1 nogil:
        """Whether what is free now would do for a job, were there no reservation and no other job that waits."""
        cdef Request request = self.request_of(j)
        if j.least_cores > self.state.free_cores or (j.whole and j.nnodes > self.state.nidle):
            return False
        with gil:
            if self.bare is None:
                self.bare = NodePlan(self.state)
            self.bare.matcher = self.nodes.matcher
        self.bare.begin(now)
        return self.bare.fits_now(j, &request, time_never(), self.jobs.running, self.jobs.item)

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

    cdef bint found_units(self) noexcept nogil:
        """Whether what could_fit has just found for a general request has a core or a gpu in it."""
        return count_bits(self.nodes.picked.bits, self.nodes.picked.nbits) > 0
