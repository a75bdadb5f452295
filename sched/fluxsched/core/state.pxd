# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.alloc cimport Alloc
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport Job
from fluxsched.core.running cimport Running
from fluxsched.core.types cimport i32, i64, u64


# How much of so many cores each is free, when State.changes was so high.
cdef struct Room:
    i64 at
    i64 slots               # of so many cores
    i64 nodes               # with so many free cores, or more


@cython.final
cdef class State:
    cdef:
        Inventory inv
        i32 nwords              # words of a set over nodes
        i32 cw                  # core words a node
        i32 gw                  # gpu words a node
        u64 *core_free          # [nnodes * cw] held by nobody; up or not
        u64 *gpu_free           # [nnodes * gw]
        i32 *nfree              # [nnodes] number of free cores
        i32 *by_free            # [most_cores + 1] nodes that are up, by free cores
        i64 changes             # counts up with each of by_free
        Room *room              # [most_cores + 1]
        i32 most_cores          # of a node
        i64 *pool_free          # [npools] amount held by nobody
        i32 npools
        u64 *present            # [nwords] not removed
        u64 *up                 # [nwords] present, and neither down nor drained
        u64 *idle               # [nwords] up, all cores and gpus free
        u64 *some               # [nwords] up, at least one core free
        i32 nup
        i32 nidle
        i64 free_cores          # on nodes that are up
        i64 up_cores

    cdef void refresh(self, i32 node) noexcept nogil
    cdef void take_whole(self, i32 node, i32 count) noexcept nogil
    cdef void give_whole(self, i32 node, i32 count) noexcept nogil
    cdef void take(self, const Alloc *a) noexcept nogil
    cdef void give(self, const Alloc *a) noexcept nogil
    cdef void move(self, const Alloc *a, bint taken) noexcept nogil
    cdef bint is_free(self, const Alloc *a) noexcept nogil
    cdef void free_once(self, Running running, const Job *jobs, u64 *core, u64 *gpu) noexcept nogil
    cdef void set_up(self, i32 node, bint up) noexcept nogil
    cdef void remove(self, i32 node) noexcept nogil
    cdef i64 up_units(self, const Alloc *a, bint cores) noexcept nogil
    cdef bint room_for(self, i32 nnodes, i32 nslots, i32 cores) noexcept nogil
    cdef void need_pools(self) except *
    cdef int sanity_check(self) except -1
