# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from libc.stdlib cimport calloc


cdef inline int no_memory(const char *purpose) except -1 nogil:
    """Raise the MemoryError of a nogil function."""
    with gil:
        raise MemoryError(purpose.decode())


cdef inline void *zeroed(size_t count, size_t size) except NULL nogil:
    """calloc of at least one item; MemoryError when there is no memory."""
    cdef void *out = calloc(count if count else 1, size)
    if out is NULL:
        no_memory(b"no memory for an array of the engine")
    return out
