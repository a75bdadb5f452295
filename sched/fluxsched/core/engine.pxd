# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.alloc cimport Alloc
from fluxsched.core.countplan cimport CountPlan, Running
from fluxsched.core.eligible cimport Eligible
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport Job
from fluxsched.core.nodeplan cimport NodePlan, Request
from fluxsched.core.state cimport State
from fluxsched.core.tree cimport Want
from fluxsched.core.types cimport i32, i64, u64, usec_t

# What reserve_resources answers about the jobs behind this one.
cdef enum:
    GO_ON = 0               # consider the next one
    STOP = 1                # this domain is done: nothing more can start
    HOLD = 2                # blocked: all behind it in the domain wait, and so
                            # do jobs of other domains that could take its nodes

# Which plan holds in a pass.
cdef enum:
    PLAN_NODES = 0          # count whole nodes
    PLAN_CORES = 1          # count cores
    PLAN_EACH = 2           # look at each node

# An ordering domain in the current pass.
cdef struct Domain:
    i32 stopped             # GO_ON, STOP or HOLD
    i32 considered          # jobs considered
    i32 blocked             # of these, jobs that could not start
    i32 reserved            # reservations made
    i32 why_behind          # once stopped: why the jobs behind wait
    i32 held_elig           # with HOLD: eligible set of the blocked head

# A general request, flattened; see fluxsched.core.tree.
cdef struct General:
    Want *want
    i32 nwant


cdef class Policy:
    """The operations of a plugin; see fluxsched.policy.loader."""
    cdef:
        readonly str name
        readonly dict options
        public int queue_depth      # jobs of a domain considered in a pass; < 0: all
        public bint io_aware        # bandwidth that jobs ask for is a resource

    cdef int sched_loop_setup(self, EngineBase e) except -1 nogil
    cdef int find_resources(self, EngineBase e, i32 job) except -1 nogil
    cdef int select_resources(self, EngineBase e, i32 job) except -1 nogil
    cdef int allocate_resources(self, EngineBase e, i32 job) except -1 nogil
    cdef int reserve_resources(self, EngineBase e, i32 job) except -1 nogil


cdef class EngineBase:
    cdef:
        # What there is, and what is free.
        readonly Inventory inventory
        State state
        Eligible eligible
        # Jobs, in slots that are used again; the queue holds slots.
        Job *jobs
        i32 njobs               # slots made so far
        i32 job_room
        i32 *free_slot
        i32 nfree_slots
        i32 free_slot_room
        i32 *queue              # [nqueue] waiting jobs in order
        i32 nqueue
        i32 queue_room
        i32 *order              # [norder] order of this pass, if reordered
        i32 norder
        i32 order_room
        bint reordered
        bint scattered          # a plugin started other jobs than it was asked about
        bint in_pass
        i32 current             # job that the plugin is asked about; -1
        Running running
        General *general
        i32 ngeneral
        i32 general_room
        dict slot_of            # job id -> slot
        # Ordering domains.
        dict domain_index
        readonly list domain_names
        Domain *domain
        i32 ndomains
        # Plans.
        Policy policy
        CountPlan count
        NodePlan nodes
        NodePlan bare           # no reservations, to see what is free; None at first
        i32 plan                # PLAN_… of this pass
        bint units_are_cores    # what the running jobs' units are, else nodes
        i32 units_generation
        i32 nwaiting_nodes      # waiting jobs that node_units says all of
        i32 nwaiting_cores
        i32 nrunning_whole      # running jobs that hold whole nodes only
        # The pass.
        usec_t now              # when it began
        usec_t clock            # when the slice of it began that runs
        bint suspended          # more slices are to come
        bint stale              # what it began with does not hold any more
        bint returned           # resources have come back since it began
        i32 next_place          # place in the order that the next slice begins at
        i32 asked               # jobs the plugin was asked about
        i32 least_asked         # it is not started over before so many
        i32 selected            # job whose resources are in nodes.picked; -1
        i32 passed              # queue places the last pass looked at
        i32 *started            # [nstarted] slots
        i32 nstarted
        i32 started_room
        i32 *denied             # [ndenied] slots
        i32 ndenied
        bint removal            # nodes were removed since the last pass
        i32 denied_room
        i32 nheld               # domains on HOLD
        bint once               # resources are used once
        double expiration       # of the instance; 0: none
        # Statistics.
        readonly i64 npasses
        readonly i64 nstarted_total
        readonly i64 nbackfilled
        readonly i64 nconsidered

    # For hosts in Cython (the simulator): all without the GIL.
    cdef i32 c_add(self, const Job *template) except -1 nogil
    cdef int c_free(self, i32 slot) except -1 nogil
    cdef int c_schedule(self, usec_t now, i32 limit) except -1 nogil

    # For plugins: what a policy is made of.
    cdef usec_t end_of(self, const Job *j) noexcept nogil
    cdef bint fits_now(self, i32 job) except -1 nogil
    cdef int select(self, i32 job) except -1 nogil
    cdef int start(self, i32 job) except -1 nogil
    cdef int earliest(self, i32 job, usec_t *out) except -1 nogil
    cdef int reserve(self, i32 job) except -1 nogil
    cdef int reorder(self, const double *score, bint within_priorities) except -1 nogil
    cdef void explain(self, i32 job, i32 why) noexcept nogil
    cdef bint nothing_free(self) noexcept nogil

    cdef i32 take_slot(self) except -1 nogil
    cdef int drop_slot(self, i32 slot) except -1 nogil
    cdef i32 queue_place(self, const Job *j) noexcept nogil
    cdef int queue_insert(self, i32 slot) except -1 nogil
    cdef i32 queue_find(self, i32 slot) noexcept nogil
    cdef void count_waiting(self, const Job *j, i32 sign) noexcept nogil
    cdef void set_units(self, Job *j) noexcept nogil
    cdef bint holds_whole(self, const Job *j) noexcept nogil
    cdef void unit_needs(self, Job *j) noexcept nogil
    cdef Request request_of(self, const Job *j) noexcept nogil
    cdef bint could_fit(self, const Job *j, bint up) except -1 nogil
    cdef int check_parked(self, i32 slot) except -1 nogil
    cdef int deny_hopeless(self) except -1 nogil
    cdef bint held_elsewhere(self, const Job *j) noexcept nogil
    cdef int begin_pass(self, usec_t now) except -1 nogil
    cdef bint starts_over(self) noexcept nogil
    cdef int walk(self, i32 limit) except -1 nogil
    cdef int suspend(self) except -1 nogil
    cdef bint fits_free(self, const Job *j) except -1 nogil
    cdef i32 why_waits(self, i32 slot) except -1 nogil
    cdef usec_t planned(self, const Job *j) noexcept nogil
    cdef int consider(self, i32 slot) except -1 nogil
    cdef void stop(self, const Job *j, i32 how, i32 why) noexcept nogil
    cdef int run(self, i32 slot, usec_t start, usec_t end) except -1 nogil
    cdef void close_queue(self) noexcept nogil
