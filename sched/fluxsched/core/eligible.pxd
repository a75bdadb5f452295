# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.job cimport Job
from fluxsched.core.state cimport State
from fluxsched.core.types cimport i32, i64, u64


@cython.final
cdef class Eligible:
    """The sets of nodes that constraints leave; set 0 is all nodes."""
    cdef:
        State state
        u64 **bits              # [nsets] each [nwords]
        i32 *users              # [nsets] jobs that use it; 0: free to reuse
        i32 *waiting            # [nsets] waiting jobs that are confined to it; those with any are in use
        i32 *whole              # [nsets] of these, jobs that take whole nodes (Job.node_units), and
        i32 *cores              # [nsets] single cores (Job.core_units)
        i32 version             # changes whenever a set comes into use, or goes out of it
        i32 *counted_at         # [nsets] generation of the counts below
        i32 *up                 # [nsets * nclasses] nodes of a class, up
        i32 *present            # [nsets * nclasses] nodes of a class, up or not
        i32 nsets
        i32 set_room
        i32 generation          # changes whenever a node's state does
        dict index              # canonical text of a constraint -> set
        list constraint         # [nsets] the constraint, None for all nodes
        dict properties         # name -> bit set over nodes (int)

    cdef void count_waiting(self, const Job *j, i32 sign) noexcept nogil
    cdef i32 new_set(self) except -1
    cdef void count(self, i32 set) noexcept nogil
    cdef i64 capacity(self, const Job *j, bint up) noexcept nogil
    cdef int release(self, i32 set) except -1
    cdef int fill(self, i32 set) except -1
    cdef int sanity_check(self) except -1
