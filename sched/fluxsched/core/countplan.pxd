# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.alloc cimport Alloc, Entry
from fluxsched.core.gains cimport Gains
from fluxsched.core.job cimport Job
from fluxsched.core.kinds cimport Kinds
from fluxsched.core.profile cimport Profile
from fluxsched.core.running cimport Running
from fluxsched.core.state cimport State
from fluxsched.core.types cimport i32, i64, usec_t

# How a component is planned.
cdef enum:
    COUNT_NODES = 0         # whole nodes are counted
    COUNT_CORES = 1         # cores are counted, whatever their kinds: all jobs are confined to the same set
    NAMED = 2               # by fluxsched.core.sharedplan

# What is reserved.
cdef struct Reserved:
    usec_t start
    usec_t end              # < 0: it was taken back
    i64 units
    i64 seen                # gains that there were when it had no earlier start; < 0: nobody knows
    i32 component
    i32 part                # [nparts] from here on, what it takes of each kind of the component; if not plain
    i32 nparts

# What a reservation takes of one kind.
cdef struct Part:
    i32 kind
    i32 units


@cython.final
cdef class CountPlan:
    """The future as numbers of free units over time."""
    cdef:
        State state
        Kinds kinds
        bint plain              # all units are alike, and those of running jobs are in Job.units
        bint shared             # running jobs may hold parts of nodes: such nodes come back when the last job ends
        const i32 *how          # [ncomponents]
        usec_t now
        i64 free_now            # of any kind, or none
        Reserved *reserved      # [nmade] in the order in which they were made
        i32 nmade
        i32 made_room
        i32 nreserved           # of these, such that were not taken back
        Part *parts             # [nparts] of all reservations
        i32 nparts
        i32 parts_room
        usec_t shadow           # start of the first reservation
        usec_t shadow_end
        i64 shadow_units
        i64 extra               # units free at the shadow time and not reserved
        Gains gains
        bint built              # the profiles below hold
        Profile *profile        # [ncomponents], but one if plain
        i32 nprofiles           # made so far
        # Where cores are counted, the first kind of a component stands for all of it here:
        i64 *idle               # [nkinds] units free now; if not plain
        i64 *low                # [nkinds] scratch: the least that is free of each kind of a set in a window
        i64 *part               # [nkinds] units that a job takes of each kind; see share
        i32 *holders            # [nnodes] scratch: running jobs on a node that have not ended

    cdef int begin(self, usec_t now, i64 free_now, bint plain, bint shared, const i32 *how) except -1 nogil
    cdef i32 width(self, i32 c) noexcept nogil
    cdef i32 component_of(self, i32 node) noexcept nogil
    cdef const i32 *members(self, i32 set, i32 *count) noexcept nogil
    cdef void count_idle(self) noexcept nogil
    cdef void advance(self, usec_t now, i64 free_now) noexcept nogil
    cdef bint fits_now(self, i32 set, i64 units, usec_t end) noexcept nogil
    cdef bint share_now(self, i32 set, i64 units, usec_t end) noexcept nogil
    cdef int start(self, const Alloc *a, i64 units, usec_t end) except -1 nogil
    cdef int earliest(self, i32 set, i64 units, usec_t duration, usec_t least, Running running, const Job *jobs,
                      usec_t *out) except -1 nogil
    cdef int reserve(self, i32 set, i64 units, usec_t start, usec_t duration, Running running,
                     const Job *jobs) except -1 nogil
    cdef int keep_parts(self, Reserved *r) except -1 nogil
    cdef int skip(self) except -1 nogil
    cdef Reserved *next_reserved(self) except NULL nogil
    cdef int retract(self, i32 i) except -1 nogil
    cdef void shift(self, i32 i, i32 to) noexcept nogil
    cdef void cut(self, i32 count) noexcept nogil
    cdef bint give(self, const Alloc *a, i64 units, usec_t end) except -1 nogil
    cdef bint may_start_early(self, i32 set, i64 units, usec_t duration) noexcept nogil
    cdef bint may_move_up(self, i32 set, i64 units, usec_t duration, i32 place) noexcept nogil
    cdef int earliest_plain(self, i64 units, Running running, const Job *jobs, usec_t *out) noexcept nogil
    cdef i64 open_window(self, i32 set, const i64 *row) noexcept nogil
    cdef i64 widen(self, i32 set, const i64 *row, i64 total) noexcept nogil
    cdef i64 least(self, i32 set, i32 first, usec_t end, i64 enough) noexcept nogil
    cdef const i64 *rows(self, i32 set) noexcept nogil
    cdef void share(self, i32 set, i64 units) noexcept nogil
    cdef int search(self, i32 set, i64 units, usec_t duration, i32 first, usec_t until, usec_t *out) noexcept nogil
    cdef bint count_parts(self, const Alloc *a) noexcept nogil
    cdef i32 cores_of(self, i32 node, const Alloc *a, const Entry *e) noexcept nogil
    cdef void count_holders(self, Running running, const Job *jobs) noexcept nogil
    cdef int take_part(self, i32 c, usec_t start, usec_t end, i32 sign) except -1 nogil
    cdef void find_parts(self, const Reserved *r) noexcept nogil
    cdef int build(self, Running running, const Job *jobs) except -1 nogil
