# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.types cimport i32, i64, usec_t

cdef enum:
    FOUND = 32              # searches of a pass that each profile remembers; a power of two

# A search of this pass: what asks no less starts no earlier.
cdef struct Found:
    i32 set
    i64 units
    usec_t duration
    usec_t start

# The free units of one component over time.
cdef struct Profile:
    usec_t *time            # [npoints] ascending; time[0] = now
    i64 *free               # [npoints * width] units of each of its kinds that are free from time[i] to time[i + 1]
    i32 npoints
    i32 room                # in points, of time
    i32 free_room           # in points of width kinds, of free
    i32 width
    Found found[FOUND]
    i32 nfound
    i32 first               # points that the last search has found: the start, and the first one not before the end.
    i32 last                # Others may have come or gone since


cdef i32 place_of(const Profile *p, usec_t t) noexcept nogil
cdef void drop_profile(Profile *p) noexcept nogil
cdef int begin_profile(Profile *p, i32 width, usec_t now, const i64 *free_now) except -1 nogil
cdef i32 split(Profile *p, usec_t t) except -1 nogil
cdef void merge(Profile *p, i32 at) noexcept nogil
cdef int change(Profile *p, usec_t start, usec_t end, i32 first, i32 last, const i64 *units,
                i32 sign) except -1 nogil
cdef int extend(Profile *p, usec_t t, i32 kind, i64 units) except -1 nogil
cdef int search_one(Profile *p, i32 kind, i64 units, usec_t duration, i32 first, usec_t until,
                    usec_t *out) noexcept nogil
cdef i32 bound(const Profile *p, i32 set, i64 units, usec_t duration) noexcept nogil
cdef void remember(Profile *p, i32 set, i64 units, usec_t duration, usec_t start) noexcept nogil
