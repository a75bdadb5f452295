# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Profiles: the free units of one component of kinds over time.

        time    now      t1       t2       t3
        free    2 0 1    2 4 1    5 4 1    6 4 3      (three kinds)

Neighbours that are equal are merged.
"""
from libc.stdlib cimport free

from fluxsched.core.memory cimport grow, memcpy, memmove
from fluxsched.core.types cimport i32, i64, time_add, time_never, usec_t


cdef inline bint is_place(const Profile *p, i32 at, usec_t t) noexcept nogil:
    """Whether point `at` is the first one not before t."""
    return 0 < at <= p.npoints and p.time[at - 1] < t and (at == p.npoints or p.time[at] >= t)


cdef i32 place_of(const Profile *p, usec_t t) noexcept nogil:
    """Index of the first point not before t."""
    cdef i32 low = 0, high = p.npoints, middle
    if is_place(p, p.first, t):
        return p.first
    if is_place(p, p.last, t):
        return p.last
    while low < high:
        middle = (low + high) >> 1
        if p.time[middle] < t:
            low = middle + 1
        else:
            high = middle
    return low


cdef int need_points(Profile *p, i32 points) except -1 nogil:
    """Room for so many points."""
    p.time = <usec_t *> grow(p.time, &p.room, points, sizeof(usec_t))
    p.free = <i64 *> grow(p.free, &p.free_room, points, p.width * sizeof(i64))
    return 0


cdef void drop_profile(Profile *p) noexcept nogil:
    """Give back its memory."""
    free(p.time)
    free(p.free)
    p.time = NULL
    p.free = NULL
    p.room = 0
    p.free_room = 0


cdef int begin_profile(Profile *p, i32 width, usec_t now, const i64 *free_now) except -1 nogil:
    """One point."""
    if width != p.width:
        drop_profile(p)
        p.width = width
    need_points(p, 64)
    p.time[0] = now
    memcpy(p.free, free_now, width * sizeof(i64))
    p.npoints = 1
    p.nfound = 0
    return 0


cdef i32 split(Profile *p, usec_t t) except -1 nogil:
    """Index of the point at t, made if there is none; now <= t."""
    cdef i32 at = place_of(p, t)
    cdef size_t width = p.width
    if at < p.npoints and p.time[at] == t:
        return at
    need_points(p, p.npoints + 1)
    memmove(p.time + at + 1, p.time + at, (p.npoints - at) * sizeof(usec_t))
    memmove(p.free + (at + 1) * width, p.free + at * width, (p.npoints - at) * width * sizeof(i64))
    p.time[at] = t
    memcpy(p.free + at * width, p.free + (at - 1) * width, width * sizeof(i64))
    p.npoints += 1
    return at


cdef void merge(Profile *p, i32 at) noexcept nogil:
    """Drop a point at which nothing changes."""
    cdef size_t width = p.width
    cdef i32 k
    if at <= 0 or at >= p.npoints:
        return
    for k in range(p.width):
        if p.free[at * width + k] != p.free[(at - 1) * width + k]:
            return
    p.npoints -= 1
    memmove(p.time + at, p.time + at + 1, (p.npoints - at) * sizeof(usec_t))
    memmove(p.free + at * width, p.free + (at + 1) * width, (p.npoints - at) * width * sizeof(i64))


cdef int change(Profile *p, usec_t start, usec_t end, i32 first, i32 last, const i64 *units,
                i32 sign) except -1 nogil:
    """units[k - first] more (sign 1) or fewer (-1) of each kind k, first … last - 1, from start to end."""
    cdef i32 i, k, low = split(p, start), high
    cdef size_t width = p.width
    high = split(p, end) if end != time_never() else p.npoints
    for i in range(low, high):
        for k in range(first, last):
            p.free[i * width + k] += sign * units[k - first]
    if end != time_never():
        merge(p, high)
    merge(p, low)
    return 0


cdef int extend(Profile *p, usec_t t, i32 kind, i64 units) except -1 nogil:
    """units more of a kind from t on; no point lies behind t."""
    cdef size_t width = p.width
    if units == 0:
        return 0
    if p.time[p.npoints - 1] != t:
        need_points(p, p.npoints + 1)
        p.time[p.npoints] = t
        memcpy(p.free + p.npoints * width, p.free + (p.npoints - 1) * width, width * sizeof(i64))
        p.npoints += 1
    p.free[(p.npoints - 1) * width + kind] += units
    return 0


cdef int search_one(Profile *p, i32 kind, i64 units, usec_t duration, i32 first, usec_t until,
                    usec_t *out) noexcept nogil:
    """1 and the first point before until from which on the units of one kind are free for the duration, or until then;
    else 0."""
    cdef i32 i = first, j
    cdef size_t width = p.width
    cdef usec_t end
    cdef const i64 *row = p.free + kind
    while True:
        while i < p.npoints and row[i * width] < units:
            i += 1
        if i >= p.npoints or p.time[i] >= until:
            return 0
        end = min(time_add(p.time[i], duration), until)
        j = i + 1
        while j < p.npoints and p.time[j] < end and row[j * width] >= units:
            j += 1
        if j == p.npoints or p.time[j] >= end:
            out[0] = p.time[i]
            p.first = i
            p.last = j
            return 1
        i = j


cdef i32 bound(const Profile *p, i32 set, i64 units, usec_t duration) noexcept nogil:
    """The first point worth a look: within a pass what is free only shrinks."""
    cdef i32 i
    cdef usec_t t = p.time[0]
    cdef const Found *f
    # The last ones first: what was found last is mostly the latest.
    for i in range(p.nfound - 1, max(0, p.nfound - FOUND) - 1, -1):
        f = p.found + (i & (FOUND - 1))
        if f.start > t and f.set == set and f.units <= units and f.duration <= duration:
            t = f.start
    return place_of(p, t)


cdef void remember(Profile *p, i32 set, i64 units, usec_t duration, usec_t start) noexcept nogil:
    """A search has found this start."""
    p.found[p.nfound % FOUND] = Found(set, units, duration, start)
    p.nfound = p.nfound + 1 if p.nfound < 2 * FOUND - 1 else FOUND
