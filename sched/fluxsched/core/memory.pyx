# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Memory of the engine's arrays: every allocation raises MemoryError when there is none."""
from libc.stdint cimport INT32_MAX, SIZE_MAX, int64_t
from libc.stdlib cimport realloc

from fluxsched.core.types cimport i32


cdef void *enlarge(void *array, i32 *room, int64_t need, size_t size) except NULL nogil:
    """The slow part of grow: at least doubles the room, so that appending costs a constant time each."""
    cdef int64_t wanted = need if need > 2 * <int64_t> room[0] else 2 * <int64_t> room[0]
    cdef void *out = NULL
    if wanted > INT32_MAX:
        wanted = need
    if wanted < 1:
        wanted = 1
    if wanted <= INT32_MAX and <size_t> wanted <= SIZE_MAX / size:
        out = realloc(array, <size_t> wanted * size)
    if out is NULL:
        no_memory(b"no memory for an array of the engine")
    room[0] = <i32> wanted
    return out
