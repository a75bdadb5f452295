# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport Job
from fluxsched.core.running cimport Running
from fluxsched.core.sizes cimport Size, SizeTable
from fluxsched.core.tree cimport Want
from fluxsched.core.types cimport i32

# A general request, flattened; see fluxsched.core.tree.
cdef struct General:
    Want *want              # NULL: the place is free
    i32 nwant


@cython.final
cdef class Jobs:
    """The jobs of an engine in slots of one array, their general requests, and the list of those that run."""
    cdef:
        Inventory inventory
        Job *item               # [count] by slot; it moves as it grows
        i32 count
        i32 room
        i32 *unused             # [nunused] slots to be used again; has room for all of them
        i32 nunused
        i32 unused_room
        General *general        # [ngeneral]
        i32 ngeneral
        i32 general_room
        SizeTable sizes
        Running running

    cdef i32 take(self) except -1 nogil
    cdef i32 put(self, const Job *template) except -1 nogil
    cdef void drop(self, i32 slot) noexcept nogil
    cdef void refuse(self, i32 slot) noexcept nogil
    cdef void resize(self, Job *j, const Size *size) noexcept nogil
    cdef void shrink(self, Job *j) noexcept nogil
    cdef void settle(self, Job *j, const Size *size) noexcept nogil
    cdef void measure(self, Job *j) noexcept nogil
    cdef i32 keep_general(self, list rows) except -1
    cdef void drop_general(self, i32 place) noexcept nogil
    cdef int sanity_check(self) except -1
