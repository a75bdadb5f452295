# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.job cimport Job
from fluxsched.core.jobs cimport Jobs
from fluxsched.core.types cimport i32, i64


@cython.final
cdef class Queue:
    """The waiting jobs in order, and the order in which a pass considers them."""
    cdef:
        Jobs jobs
        i32 *item               # [count] slots
        i32 count
        i32 room
        # The order of the pass, if it is not that of the queue.
        i32 *order              # [norder] slots
        i32 norder
        i32 order_room
        bint reordered

    cdef i32 place(self, const Job *j) noexcept nogil
    cdef int need_room(self) except -1 nogil
    cdef int insert(self, i32 slot) except -1 nogil
    cdef void remove(self, i32 slot) noexcept nogil
    cdef void begin(self) noexcept nogil
    cdef int reorder(self, const double *score, bint within_priorities) except -1 nogil
    cdef int freeze(self) except -1 nogil
    cdef i32 length(self) noexcept nogil
    cdef i32 at(self, i32 place) noexcept nogil
    cdef void close(self, i32 passed) noexcept nogil
