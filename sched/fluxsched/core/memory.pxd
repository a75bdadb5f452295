# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from libc.stdint cimport int64_t

from fluxsched.core.types cimport i32


cdef void *zeroed(size_t count, size_t size) except NULL nogil
cdef void *duplicate(const void *array, size_t count, size_t size) except NULL nogil
cdef void *enlarge(void *array, i32 *room, int64_t need, size_t size) except NULL nogil
cdef int no_memory(const char *purpose) except -1 nogil


cdef inline void *grow(void *array, i32 *room, int64_t need, size_t size) except NULL nogil:
    """The array with room for at least need items of a size (room: for how many it has room), and for at least one.
    MemoryError, and then array and room are as they were."""
    if need <= room[0] and array is not NULL:
        return array
    return enlarge(array, room, need, size)
