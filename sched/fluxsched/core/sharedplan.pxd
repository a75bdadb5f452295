# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.alloc cimport Alloc
from fluxsched.core.bounds cimport Bounds, Change
from fluxsched.core.eligible cimport Eligible
from fluxsched.core.failures cimport Failures
from fluxsched.core.fits cimport Fits
from fluxsched.core.gains cimport Gain, Gains
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport Job
from fluxsched.core.kinds cimport Kinds
from fluxsched.core.match cimport Matcher
from fluxsched.core.nodefuture cimport Future, NodeFutures
from fluxsched.core.pooltimes cimport PoolTimes
from fluxsched.core.reservation cimport Reservation
from fluxsched.core.running cimport Running
from fluxsched.core.shape cimport Shape
from fluxsched.core.state cimport State
from fluxsched.core.timeline cimport Timeline
from fluxsched.core.tree cimport Want
from fluxsched.core.types cimport i32, i64, u64, usec_t

# What a request may use and, for a general one, what it wants.
cdef struct Request:
    const u64 *elig         # [nwords] eligible nodes
    const Want *want        # [nwant]
    i32 nwant

cdef enum:
    CHANGES = 64
    FEW = 8                 # reservations


@cython.final
cdef class SharedPlan:
    """The future node by node, core by core."""
    cdef:
        State state
        Inventory inv
        Eligible eligible
        Kinds kinds
        i32 cw                  # core words a node
        i32 gw                  # gpu words a node
        i32 width               # both
        bint built
        usec_t now
        NodeFutures futures
        i32 *of                 # [nnodes] future of a node
        Timeline timeline
        i32 *bare_of            # the same without what is reserved, if parted
        Timeline bare_timeline
        bint parted
        Bounds bounds
        Fits fits
        Reservation *reservation    # in the order in which they were made; end < 0: it was taken back
        i32 nreserved
        i32 reservation_room
        Failures failures
        Gains gains
        i32 *lifted             # [nnodes] futures of the nodes of the reservation that is lifted, as they were
        i32 nlifted             # of these
        # Scratch.
        Change changes[CHANGES]
        u64 *bits               # [width] that change
        u64 *word               # [width]
        u64 *core               # [nnodes * cw] scratch: of each node, what is free once, or in a window
        u64 *gpu                # [nnodes * gw]
        PoolTimes pools
        Matcher matcher         # None until there is a general request
        Alloc picked

    cdef int begin(self, usec_t now, Running running, const Job *jobs) except -1 nogil
    cdef void advance(self, usec_t now) noexcept nogil
    cdef int build(self, Running running, const Job *jobs) except -1 nogil
    cdef int hold(self, const Alloc *a, usec_t end) except -1 nogil
    cdef int lose(self, const Alloc *a) except -1 nogil
    cdef int give(self, const Alloc *a, usec_t end) except -1 nogil
    cdef int apply_twice(self, const Alloc *a, usec_t end, bint take, i32 uses) except -1 nogil
    cdef void swap(self) noexcept nogil
    cdef int part(self) except -1 nogil
    cdef int apply(self, const Alloc *a, usec_t start, usec_t end, bint take, i32 uses) except -1 nogil
    cdef int set_bits(self, const u64 *core, const u64 *gpu, usec_t start, usec_t end, bint take) except -1 nogil
    cdef int move_node(self, i32 node, usec_t start, usec_t end, bint take) except -1 nogil
    cdef int flush_all(self, usec_t start, usec_t end, bint take) except -1 nogil
    cdef int flush(self, Change *change, usec_t start, usec_t end, bint take) except -1 nogil
    cdef bint may_start(self, const Job *j, usec_t end) noexcept nogil
    cdef int fits_now(self, const Job *j, const Request *request, usec_t end, Running running,
                      const Job *jobs) except -1 nogil
    cdef bint fits_idle(self, const Job *j, const Request *request) except -1 nogil
    cdef int take_cores(self, const Job *j) except -1 nogil
    cdef int earliest(self, const Job *j, const Request *request, usec_t least, Running running, const Job *jobs,
                      usec_t *out) except -1 nogil
    cdef bint may_move_up(self, const Job *j, i32 place, Running running, const Job *jobs) except -1 nogil
    cdef bint may_start_early(self, const Job *j, i32 place) except -1 nogil
    cdef void windows(self, const Job *j, const Shape *shape, const Reservation *r, const Gain *g, usec_t *low,
                      usec_t *high) noexcept nogil
    cdef int lift(self, const Reservation *r, i32 k) except -1 nogil
    cdef void unlift(self, const Reservation *r, i32 k) noexcept nogil
    cdef int earliest_until(self, const Job *j, usec_t least, usec_t until, Running running, const Job *jobs,
                            usec_t *out) except -1 nogil
    cdef bint confined_here(self, const Shape *shape) noexcept nogil
    cdef int earliest_tree(self, const Job *j, const Request *request, usec_t least, Running running, const Job *jobs,
                           usec_t *out) except -1 nogil
    cdef int fits_tree(self, const Request *request, usec_t start, usec_t end, Running running,
                       const Job *jobs) except -1 nogil
    cdef const i64 *pools_then(self, usec_t start, usec_t end, Running running, const Job *jobs) except NULL nogil
    cdef int reserve(self, usec_t start, usec_t end) except -1 nogil
    cdef int skip(self) except -1 nogil
    cdef Reservation *next_reservation(self) except NULL nogil
    cdef int retract(self, i32 i) except -1 nogil
    cdef int take_back(self, const Reservation *r) except -1 nogil
    cdef void shift(self, i32 i, i32 to) noexcept nogil
    cdef int clear(self) except -1 nogil
