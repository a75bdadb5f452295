# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.types cimport i32, time_never, usec_t

# A running job, in the order in which they are expected to end.
cdef struct Ending:
    usec_t end
    i32 job


cdef inline usec_t far_future() noexcept nogil:
    """A time after every finite end: when jobs without a duration give back, in a plan."""
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
        Ending *item            # [count] in all, from its place `first` on
        i32 count
        Ending *all             # [room]
        i32 first
        i32 room

    cdef i32 place(self, usec_t end, i32 job) noexcept nogil
    cdef int need_room(self) except -1 nogil
    cdef void move_to(self, i32 first) noexcept nogil
    cdef int copy_to(self, Running other) except -1 nogil
    cdef int insert(self, usec_t end, i32 job) except -1 nogil
    cdef void remove(self, usec_t end, i32 job) noexcept nogil
    cdef int sanity_check(self) except -1
