# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.shape cimport Shape
from fluxsched.core.types cimport i32, usec_t

cdef enum:
    FAILURES = 48           # that are remembered

# A request that found no room now.
cdef struct Failed:
    Shape shape
    i32 need
    usec_t end
    bint pools              # all of the pools of its nodes were wanted, too


@cython.final
cdef class Failures:
    """Requests that found no room now since resources last came back."""
    cdef:
        Failed item[FAILURES]
        i32 count

    cdef void forget(self) noexcept nogil
    cdef bint rule_out(self, const Shape *shape, i32 need, usec_t end, bint pools) noexcept nogil
    cdef void add(self, const Shape *shape, i32 need, usec_t end, bint pools) noexcept nogil
