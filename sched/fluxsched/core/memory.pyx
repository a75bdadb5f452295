# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Memory of the engine's arrays: each allocation is checked for overflow, and raises MemoryError when there is none."""
from libc.stdint cimport INT32_MAX, SIZE_MAX, int64_t
from libc.stdlib cimport calloc, malloc, realloc

from fluxsched.core.types cimport i32

# Allocations until the one that is made to fail; 0: none is. For tests, which run one thread.
cdef int64_t failing = 0


def fail_allocation(int64_t n):
    """Let the n-th allocation from now on fail, once, and return what was left of the last such count: 0 if the
    allocation has failed since. n = 0: let none fail. For tests."""
    global failing
    cdef int64_t left = failing
    if n < 0:
        raise ValueError(f"allocation {n}: 0 or more expected")
    failing = n
    return left


cdef bint fails() noexcept nogil:
    """Whether the allocation that is about to be made is to fail."""
    global failing
    if failing == 0:
        return False
    failing -= 1
    return failing == 0


cdef int no_memory(const char *purpose) except -1 nogil:
    """Raise the MemoryError of a nogil function."""
    with gil:
        raise MemoryError(purpose.decode())


cdef void *raw(size_t size) noexcept nogil:
    """malloc of a size that is not 0; NULL when there is no memory."""
    return NULL if fails() else malloc(size)


cdef void *zeroed(size_t count, size_t size) except NULL nogil:
    """calloc of at least one item; MemoryError when there is no memory."""
    cdef void *out = NULL if fails() else calloc(count if count else 1, size)
    if out is NULL:
        no_memory(b"no memory for an array of the engine")
    return out


cdef void *duplicate(const void *array, size_t count, size_t size) except NULL nogil:
    """A copy of an array, with room for at least one item; MemoryError when there is no memory."""
    cdef void *out = NULL
    if count <= SIZE_MAX / size and not fails():
        out = malloc((count if count else 1) * size)
    if out is NULL:
        no_memory(b"no memory for an array of the engine")
    memcpy(out, array, count * size)
    return out


cdef void *enlarge(void *array, i32 *room, int64_t need, size_t size) except NULL nogil:
    """The slow part of grow: it at least doubles the room, so that appending costs a constant time each."""
    cdef int64_t wanted = need if need > 2 * <int64_t> room[0] else 2 * <int64_t> room[0]
    cdef void *out = NULL
    if wanted > INT32_MAX:
        wanted = need
    if wanted < 1:
        wanted = 1
    if wanted <= INT32_MAX and <size_t> wanted <= SIZE_MAX / size and not fails():
        out = realloc(array, <size_t> wanted * size)
    if out is NULL:
        no_memory(b"no memory for an array of the engine")
    room[0] = <i32> wanted
    return out
