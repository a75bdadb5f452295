# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.alloc cimport Alloc
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport Job
from fluxsched.core.match cimport Matcher
from fluxsched.core.running cimport Running
from fluxsched.core.state cimport State
from fluxsched.core.tree cimport Want
from fluxsched.core.types cimport i32, i64, u64, usec_t

cdef struct Reservation:
    usec_t start
    usec_t end
    Alloc alloc

# Reservation r holds (part of) a node; the next one of that node follows.
cdef struct Link:
    i32 reservation
    i32 entry               # of its Alloc; the node lies in it
    i32 next                # -1: last

# A request that found no room in this pass, so that larger ones need not ask.
cdef struct Failed:
    i32 elig
    i32 nnodes
    i32 nslots
    i32 cores
    i32 gpus
    i32 exclusive
    usec_t end

# What a request may use and, for a general one, what it wants.
cdef struct Request:
    const u64 *elig         # [nwords] eligible nodes
    const Want *want        # [nwant]
    i32 nwant


@cython.final
cdef class NodePlan:
    """The future node by node, core by core."""
    cdef:
        State state
        Inventory inv
        i32 cw                  # core words a node
        i32 gw                  # gpu words a node
        Reservation *reservation
        i32 nreserved
        i32 reservation_room
        Link *link
        i32 nlinks
        i32 link_room
        i32 *head               # [nnodes] first link of a node by start; -1 none
        Running by_start        # reservations by start, and by end
        Running by_end
        u64 *reserved           # [nwords] nodes that have a link
        Failed failed[16]
        i32 nfailed
        usec_t now
        # Scratch of a look into the future: what is free then.
        u64 *core               # [nnodes * cw]
        u64 *gpu                # [nnodes * gw]
        i64 *pool               # [npools] once there are any
        Matcher matcher         # None until there is a general request
        i32 *slots              # [nnodes] what fits: slots, or 1 for a node
        i32 *cursor             # [nnodes] first link that may still matter
        u64 *word               # [cw + gw]
        Alloc picked

    cdef const u64 *all_cores(self, i32 node) noexcept nogil
    cdef const u64 *all_gpus(self, i32 node) noexcept nogil
    cdef const u64 *now_core(self, i32 node) noexcept nogil
    cdef const u64 *now_gpu(self, i32 node) noexcept nogil
    cdef const u64 *then_core(self, i32 node) noexcept nogil
    cdef const u64 *then_gpu(self, i32 node) noexcept nogil
    cdef void begin(self, usec_t now) noexcept nogil
    cdef bint hopeless(self, const Job *j, usec_t end) noexcept nogil
    cdef void remember(self, const Job *j, usec_t end) noexcept nogil
    cdef i32 usable(self, const Job *j, i32 node, usec_t start, usec_t end, const u64 *core, const u64 *gpu,
                    i32 *first) noexcept nogil
    cdef int pick(self, const Job *j, i32 node, i32 nslots) except -1 nogil
    cdef i32 pick_of(self, const Job *j, i32 node, i32 fit, i32 need) except -1 nogil
    cdef int fits_now(self, const Job *j, const Request *request, usec_t end, Running running,
                      const Job *jobs) except -1 nogil
    cdef int fits_flat(self, const Job *j, const u64 *elig, usec_t end) except -1 nogil
    cdef int fits_runs(self, const Job *j, const u64 *elig) except -1 nogil
    cdef int fits_tree(self, const Request *request, usec_t start, usec_t end, Running running,
                       const Job *jobs) except -1 nogil
    cdef int pick_kinds(self, const Job *j, const i32 *kind_of, i32 *part) except -1 nogil
    cdef i64 reserved_at(self, i32 pool, usec_t t) noexcept nogil
    cdef i64 least_free(self, i32 pool, i64 amount, usec_t start, usec_t end, Running running,
                        const Job *jobs) noexcept nogil
    cdef int earliest(self, const Job *j, const Request *request, Running running, const Job *jobs, usec_t bound,
                      usec_t *out) except -1 nogil
    cdef int select_at(self, const Job *j, const u64 *elig, usec_t start, usec_t end) except -1 nogil
    cdef i64 recheck(self, const Job *j, i32 node, const u64 *elig, usec_t start, usec_t end) noexcept nogil
    cdef i64 recheck_alloc(self, const Job *j, const Alloc *a, const u64 *elig, usec_t start, usec_t end) noexcept nogil
    cdef void release(self, const Alloc *a) noexcept nogil
    cdef int reserve(self, usec_t start, usec_t end) except -1 nogil
    cdef int link_node(self, i32 node, i32 reservation, i32 entry) except -1 nogil
