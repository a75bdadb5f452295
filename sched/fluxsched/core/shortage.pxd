# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.engine cimport Engine
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport Job
from fluxsched.core.state cimport State
from fluxsched.core.types cimport i32, i64, usec_t

# What a job asks for is counted in
cdef enum:
    UNIT_NODES = 0          # nodes that hold what it wants of each
    UNIT_SLOTS = 1          # slots on any nodes
    UNIT_CORES = 2          # cores, of a general request: never the whole truth

# A running job that gives some of it back.
cdef struct Gain:
    i32 slot
    i64 units
    usec_t end


@cython.final
cdef class Shortage:
    """What a waiting job needs, what of it is free now, and which running jobs give back the rest."""
    cdef:
        Engine engine
        Inventory inv
        State state
        i32 unit                # UNIT_…
        i64 need
        i64 able                # what its nodes could hold, were all of them up and free
        i64 up                  # the same of nodes that are up
        i64 free                # of these, what is free now
        Gain *gain              # [ngains] by expected end, until nothing is missing
        i32 ngains
        i32 gain_room
        i64 gained
        i32 *cores              # [nnodes] free ones, as running jobs end
        i32 *gpus               # [nnodes]

    cdef int find(self, i32 slot) except -1 nogil
    cdef i64 on_node(self, const Job *j, i32 node) noexcept nogil
    cdef i64 counts(self, const Job *j, i64 slots) noexcept nogil
    cdef i64 give(self, const Job *j, const Job *running) noexcept nogil
    cdef void show_free(self, i32 node) noexcept nogil
