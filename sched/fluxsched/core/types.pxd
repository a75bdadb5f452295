# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The typedefs of the engine: one of each, in one place."""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

ctypedef int32_t i32
ctypedef int64_t i64
ctypedef uint32_t u32
ctypedef uint64_t u64

# Time is microseconds since the epoch (of the trace, in a simulation). A
# double holds such a number exactly until the year 2255.
ctypedef int64_t usec_t

cdef enum:
    USEC = 1000000

# Whether this is a debug build (make debug): core structures then check
# themselves after each step. The C compiler drops what stands under it else.
cdef extern from *:
    """
    #ifdef FLUXSCHED_DEBUG
    #define FLUXSCHED_IS_DEBUG 1
    #else
    #define FLUXSCHED_IS_DEBUG 0
    #endif
    """
    const bint DEBUG "FLUXSCHED_IS_DEBUG"

# A time that never comes: the end of a job without a duration.
cdef inline usec_t time_never() noexcept nogil:
    return <usec_t> 0x7FFFFFFFFFFFFFFF


cdef inline usec_t time_add(usec_t start, usec_t length) noexcept nogil:
    """start + length, with never for what would lie beyond it."""
    if length >= time_never() - start:
        return time_never()
    return start + length
