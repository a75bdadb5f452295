# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from libc.stdint cimport int64_t

from fluxsched.core.types cimport i32

# An array that never had an item is NULL here, and C forbids NULL to these even for a length of 0: a compiler may take
# the pointer for valid from then on. Here a length of 0 does nothing, and where the length is a constant that costs
# nothing.
cdef extern from *:
    """
    #include <stdlib.h>
    #include <string.h>
    static CYTHON_INLINE void fluxsched_memset(void *to, int byte, size_t length)
    {
        if (length)
            memset(to, byte, length);
    }
    static CYTHON_INLINE void fluxsched_memcpy(void *to, const void *from, size_t length)
    {
        if (length)
            memcpy(to, from, length);
    }
    static CYTHON_INLINE void fluxsched_memmove(void *to, const void *from, size_t length)
    {
        if (length)
            memmove(to, from, length);
    }
    static CYTHON_INLINE int fluxsched_memcmp(const void *a, const void *b, size_t length)
    {
        return length ? memcmp(a, b, length) : 0;
    }
    static CYTHON_INLINE void fluxsched_qsort(void *array, size_t count, size_t size,
                                              int (*compare)(const void *, const void *))
    {
        if (count > 1)
            qsort(array, count, size, compare);
    }
    """
    void memset "fluxsched_memset"(void *to, int byte, size_t length) noexcept nogil
    void memcpy "fluxsched_memcpy"(void *to, const void *from_, size_t length) noexcept nogil
    void memmove "fluxsched_memmove"(void *to, const void *from_, size_t length) noexcept nogil
    int memcmp "fluxsched_memcmp"(const void *a, const void *b, size_t length) noexcept nogil
    void qsort "fluxsched_qsort"(void *array, size_t count, size_t size,
                                 int (*compare)(const void *, const void *) noexcept nogil) noexcept nogil


cdef void *raw(size_t size) noexcept nogil
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
