# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.alloc cimport Alloc
from fluxsched.core.countplan cimport CountPlan
from fluxsched.core.eligible cimport Eligible
from fluxsched.core.job cimport Job
from fluxsched.core.jobs cimport Jobs
from fluxsched.core.kinds cimport Kinds
from fluxsched.core.planned cimport Planned
from fluxsched.core.queue cimport Limits
from fluxsched.core.sharedplan cimport Request, SharedPlan
from fluxsched.core.sizes cimport Size
from fluxsched.core.state cimport State
from fluxsched.core.types cimport i32, i64, usec_t

# What waits for the nodes of a component.
cdef struct Mix:
    i32 nsets               # sets in use
    i32 nwhole              # of these, such of which all jobs take whole nodes, and
    i32 ncores              # single cores


@cython.final
cdef class Future:
    """What the engine asks of its plans, and what it tells them."""
    cdef:
        State state
        Eligible eligible
        Jobs jobs
        Kinds kinds
        CountPlan count
        SharedPlan nodes
        # Of this pass:
        i32 *how                # [ncomponents] COUNT_NODES, COUNT_CORES or NAMED
        i32 ncomponents         # of the kinds
        i32 ncores              # of these, such whose cores are counted, and
        i32 nnamed              # such whose nodes are named
        # At any time:
        Mix *mix                # [ncomponents] scratch
        usec_t *freed           # [ncomponents] until when jobs that have ended since were expected to hold some of it
        i32 how_room
        i32 mix_room
        i32 freed_room
        bint units_are_cores    # what the running jobs' units are, else nodes
        i32 units_generation    # of the nodes' state, for which they hold
        i32 nrunning_whole      # running jobs that hold whole nodes only
        bint general            # a job has a reservation that may get others than are reserved
        i32 selected            # job whose resources are chosen; -1: none
        Size chosen             # the size that it gets, if it accepts several
        Size planned            # the size that earliest has just found, of a job that accepts several

    # What it hears of, as it happens.
    cdef void waits(self, const Job *j, i32 sign) noexcept nogil
    cdef int holds(self, Job *j) except -1 nogil
    cdef int gives(self, Job *j, const Alloc *lost) except -1 nogil
    cdef bint keeps(self, const Job *j) except -1 nogil
    cdef int moves(self, Job *j, usec_t end) except -1 nogil
    cdef void drop(self) noexcept nogil
    cdef int need_tree(self) except -1
    # In a pass.
    cdef int begin(self, usec_t now) except -1 nogil
    cdef int begin_counts(self, usec_t now) except -1 nogil
    cdef bint same(self) noexcept nogil
    cdef bint repeats(self) noexcept nogil
    cdef bint may_grow(self, i32 slot, i32 place) noexcept nogil
    cdef void advance(self, usec_t now) noexcept nogil
    cdef void count_mix(self) noexcept nogil
    cdef i32 choose(self, i32 c) noexcept nogil
    cdef void note_freed(self, const Job *j) noexcept nogil
    cdef void forget_freed(self) noexcept nogil
    cdef i32 component(self, const Job *j) noexcept nogil
    cdef bint counting(self) noexcept nogil
    cdef bint is_counted(self, const Job *j) noexcept nogil
    cdef bint is_named(self, i32 place) noexcept nogil
    cdef void unselect(self) noexcept nogil
    cdef bint fits_now(self, i32 slot, usec_t end) except -1 nogil
    cdef bint may_start(self, const Job *j, usec_t end) noexcept nogil
    cdef bint select(self, i32 slot, usec_t end) except -1 nogil
    cdef bint select_one(self, i32 slot, usec_t end) except -1 nogil
    cdef void assign(self, i32 slot) noexcept nogil
    cdef int start(self, i32 slot, usec_t end) except -1 nogil
    cdef bint earliest(self, i32 slot, usec_t least, usec_t *out) except -1 nogil
    cdef bint earliest_one(self, i32 slot, usec_t least, usec_t *out) except -1 nogil
    cdef bint may_move_up(self, i32 slot, i32 place) except -1 nogil
    cdef bint may_start_early(self, i32 slot, i32 place) except -1 nogil
    cdef void loosen(self, i32 place) noexcept nogil
    cdef int reserve(self, i32 slot, usec_t start) except -1 nogil
    cdef int reserve_one(self, i32 slot, usec_t start) except -1 nogil
    cdef bint greatest(self, i32 slot, usec_t start, usec_t end, Size *size) except -1 nogil
    cdef bint fits_size(self, i32 slot, const Size *size, usec_t start, usec_t end) except -1 nogil
    cdef int retract(self, i32 i) except -1 nogil
    cdef void cut(self, i32 count) noexcept nogil
    cdef void pack(self, const Planned *planned, i32 count) noexcept nogil
    cdef bint nothing_free(self) noexcept nogil
    cdef bint counts_nodes(self) noexcept nogil
    cdef Limits limits(self, usec_t now, usec_t last) noexcept nogil
    # At any time.
    cdef bint fits_free(self, const Job *j, usec_t now) except -1 nogil
    cdef bint could_fit(self, const Job *j, bint up) except -1 nogil
    cdef int check_parked(self, Job *j, bint removal) except -1 nogil
    cdef bint found_units(self) noexcept nogil

    cdef Request request_of(self, const Job *j) noexcept nogil
    cdef i64 units_of(self, const Job *j) noexcept nogil
    cdef bint holds_whole(self, const Job *j) noexcept nogil
    cdef void set_units(self, Job *j) noexcept nogil
