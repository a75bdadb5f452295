# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.alloc cimport Alloc
from fluxsched.core.types cimport i32, i64, usec_t

cdef enum:
    GAINS = 64              # that are remembered

# What has become free, from start to end.
cdef struct Gain:
    usec_t start
    usec_t end
    i64 units               # where units are counted,
    i32 component           # of these kinds; else 0, and it is
    Alloc alloc             # this, where each node is looked at


@cython.final
cdef class Gains:
    """What has come back into a plan, the last of it."""
    cdef:
        Gain item[GAINS]    # the n-th of all at n % GAINS
        i64 count           # of all
        i64 told            # the greatest count that was told

    cdef int add(self, usec_t start, usec_t end, i64 units, i32 component, const Alloc *alloc) except -1 nogil
    cdef void undo(self, usec_t start, usec_t end, i64 units, i32 component, const Alloc *alloc) noexcept nogil
    cdef i64 tell(self) noexcept nogil
    cdef bint knows(self, i64 since) noexcept nogil
    cdef const Gain *at(self, i64 n) noexcept nogil
