# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.domain cimport Domain
from fluxsched.core.eligible cimport Eligible
from fluxsched.core.future cimport Future
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport Job
from fluxsched.core.jobs cimport Jobs
from fluxsched.core.queue cimport Limits, Queue
from fluxsched.core.settled cimport Settled
from fluxsched.core.state cimport State
from fluxsched.core.types cimport i32, i64, usec_t

# What reserve_resources answers about the jobs behind this one.
cdef enum:
    GO_ON = 0               # consider the next one
    STOP = 1                # this domain is done: nothing more can start
    HOLD = 2                # blocked: all behind it in the domain wait, and so
                            # do jobs of other domains that could take its nodes


cdef class Operations:
    """What a pass asks of a policy; fluxsched.policy.base makes policies of it."""
    cdef:
        public int queue_depth      # jobs of a domain considered in a pass; < 0: all
        public bint io_aware        # bandwidth that jobs ask for is a resource
        public bint steady          # see fluxsched.policy.base
        public bint keeps           # see fluxsched.policy.base
        public int quiet_after      # reservations of a domain behind which a job that cannot start changes nothing: to
                                    # the question what to do about it the answer is GO_ON, or STOP if nothing is free,
                                    # so that the pass need not ask; < 0: there is no such number
        public dict user_numbers    # of the engine: user as the host names it -> Job.user; None: there is none

    cdef int sched_loop_setup(self, Engine e) except -1 nogil
    cdef int find_resources(self, Engine e, i32 job) except -1 nogil
    cdef int select_resources(self, Engine e, i32 job) except -1 nogil
    cdef int allocate_resources(self, Engine e, i32 job) except -1 nogil
    cdef int reserve_resources(self, Engine e, i32 job) except -1 nogil
    cdef int score(self, Engine e, i32 job, double *out) except -1 nogil
    cdef int ended(self, Engine e, i32 job) except -1 nogil


@cython.final
cdef class Engine:
    """Resources, jobs, their order, the plan of the future, and the pass that a policy decides."""
    cdef:
        Inventory inventory
        State state
        Eligible eligible
        Jobs jobs
        Queue queue
        Future future
        Operations policy
        # Ordering domains.
        Domain *domain          # [ndomains]
        i32 ndomains
        i32 domain_room
        dict domain_index       # name -> domain
        list domain_names       # [ndomains]
        # The pass.
        usec_t now              # when it began
        usec_t clock            # when the slice of it began that runs
        bint in_pass
        bint suspended          # more slices are to come
        Settled settled         # what holds of it still
        bint missed             # jobs came while it was suspended
        bint stale              # what it began with does not hold any more
        bint returned           # resources have come back since it began
        bint removal            # nodes were removed since the last pass
        i32 asked               # jobs the plugin was asked about
        i32 least_asked         # it is not started over before so many
        i32 nheld               # domains on HOLD
        i32 *started            # [nstarted] slots
        i32 nstarted
        i32 started_room
        i32 *denied             # [ndenied] slots, which the host hands back by forget
        i32 ndenied
        i32 denied_room
        bint once               # resources are used once
        bint hasty              # a pass ends once no more job can start in it: nobody asks for planned starts
        double expiration       # of the instance; 0: none
        # Statistics.
        i64 npasses
        i64 ncontinued          # times that a pass was gone on with
        i64 nstarted_total
        i64 nbackfilled
        i64 nconsidered

    # For hosts in Cython.
    cdef i32 need_domain(self, str queue) except -1
    cdef i32 add(self, const Job *template) except -1 nogil
    cdef int adopt(self, const Job *template, usec_t start, usec_t end) except -1 nogil
    cdef int cancel(self, i32 slot) except -1 nogil
    cdef int move(self, i32 slot, i64 priority, double score) except -1 nogil
    cdef int rescore(self) except -1 nogil
    cdef int finish(self, i32 slot) except -1 nogil
    cdef int forget(self, i32 slot) except -1 nogil
    cdef int move_end(self, i32 slot, usec_t end) except -1 nogil
    cdef int schedule(self, usec_t now, i32 limit) except -1 nogil

    # For plugins: what a policy is made of.
    cdef const Job *job(self, i32 job) noexcept nogil
    cdef i32 blocked(self, i32 job) noexcept nogil
    cdef i32 reserved(self, i32 job) noexcept nogil
    cdef usec_t end_after(self, usec_t length) noexcept nogil
    cdef bint fits_now(self, i32 job) except -1 nogil
    cdef int select(self, i32 job) except -1 nogil
    cdef int start(self, i32 job) except -1 nogil
    cdef int earliest(self, i32 job, usec_t *out) except -1 nogil
    cdef int reserve(self, i32 job) except -1 nogil
    cdef int reserve_from(self, i32 job, usec_t least) except -1 nogil
    cdef int reorder(self, const double *score, bint within_priorities) except -1 nogil
    cdef void explain(self, i32 job, i32 why) noexcept nogil
    cdef bint nothing_free(self) noexcept nogil

    cdef void waits(self, i32 slot, i32 sign) noexcept nogil
    cdef int run(self, i32 slot, usec_t start, usec_t end, usec_t last) except -1 nogil
    cdef int deny(self, i32 slot) except -1 nogil
    cdef int deny_hopeless(self) except -1 nogil
    cdef i32 number(self) noexcept nogil
    cdef int begin_pass(self, usec_t now) except -1 nogil
    cdef bint starts_over(self) noexcept nogil
    cdef int walk(self, i32 limit) except -1 nogil
    cdef bint may_go_on(self, usec_t now) noexcept nogil
    cdef bint go_on(self, usec_t now) except -1 nogil
    cdef bint start_due(self) except -1 nogil
    cdef int consider(self, i32 slot) except -1 nogil
    cdef void stop(self, const Job *j, i32 how, i32 why) noexcept nogil
    cdef bint may_start(self, i32 slot) noexcept nogil
    cdef void close_queue(self) noexcept nogil
