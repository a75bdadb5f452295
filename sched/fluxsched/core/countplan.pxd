# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.job cimport Job
from fluxsched.core.types cimport i32, i64, time_never, usec_t

# A running job, in the order in which they are expected to end.
cdef struct Ending:
    usec_t end
    i32 job


cdef inline usec_t far_future() noexcept nogil:
    return time_never() - 1


cdef inline usec_t release_time(usec_t end, usec_t now) noexcept nogil:
    """When a job that is expected to end at `end` gives back, seen from now."""
    if end <= now:
        return now + 1
    return far_future() if end == time_never() else end


@cython.final
cdef class Running:
    """Running jobs sorted by (end, job)."""
    cdef:
        Ending *item
        i32 count
        i32 room

    cdef i32 place(self, usec_t end, i32 job) noexcept nogil
    cdef int insert(self, usec_t end, i32 job) except -1 nogil
    cdef void remove(self, usec_t end, i32 job) noexcept nogil


# No start earlier than this was found for so many units and so long.
cdef struct Found:
    i64 units
    usec_t duration
    usec_t start

cdef enum:
    MOST_FOUND = 32


@cython.final
cdef class CountPlan:
    """The future as a number of free units over time."""
    cdef:
        usec_t now
        i64 free_now
        i32 nreserved
        usec_t shadow           # start of the first reservation
        usec_t shadow_end
        i64 shadow_units
        i64 extra               # units free at the shadow time and not reserved
        bint built              # the profile below holds
        usec_t *time            # [npoints] ascending; time[0] = now
        i64 *free               # [npoints] units free from time[i] to time[i + 1]
        i32 npoints
        i32 room
        Found found[MOST_FOUND] # of this pass, once the profile is built
        i32 nfound
        i32 oldest              # the next to make way

    cdef void begin(self, usec_t now, i64 free_now) noexcept nogil
    cdef bint fits_now(self, i64 units, usec_t end) noexcept nogil
    cdef int start(self, i64 units, usec_t end) except -1 nogil
    cdef int earliest(self, i64 units, usec_t duration, Running running, const Job *jobs, usec_t *out) except -1 nogil
    cdef int reserve(self, i64 units, usec_t start, usec_t duration, Running running, const Job *jobs) except -1 nogil
    cdef int need(self, i32 points) except -1 nogil
    cdef int build(self, Running running, const Job *jobs) except -1 nogil
    cdef i32 place(self, usec_t t) noexcept nogil
    cdef void drop(self, i32 i) noexcept nogil
    cdef usec_t bound(self, i64 units, usec_t duration) noexcept nogil
    cdef void remember(self, i64 units, usec_t duration, usec_t start) noexcept nogil
    cdef i32 split(self, usec_t t) except -1 nogil
    cdef int subtract(self, usec_t start, usec_t end, i64 units) except -1 nogil
