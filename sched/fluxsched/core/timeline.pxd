# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.types cimport i32, u64, usec_t

cdef enum:
    CHUNK = 64              # points; a bit of a word for each
    COLUMNS = 48

cdef struct Chunk:
    i32 n
    i32 uses[CHUNK]         # intervals that begin or end at a point
    usec_t time[CHUNK]      # ascending, and before those of the next chunk
    i32 stale[COLUMNS]      # low and high are to be found again
    i32 low[COLUMNS]        # least and greatest value of a column
    i32 high[COLUMNS]
    i32 value[COLUMNS][CHUNK]

# A place in it.
cdef struct Place:
    i32 c
    i32 i


@cython.final
cdef class Timeline:
    """Counters over time."""
    cdef:
        Chunk **chunk           # [nchunks], at least one
        usec_t *begin           # [nchunks] first time of each
        i32 nchunks
        i32 room
        i32 begin_room
        i32 ncolumns

    cdef int copy(self, Timeline other) except -1 nogil
    cdef void exchange(self, Timeline other) noexcept nogil
    cdef Place locate(self, usec_t t) noexcept nogil
    cdef Place end_of(self, usec_t t) noexcept nogil
    cdef int mark(self, usec_t t, i32 uses) except -1 nogil
    cdef void unmark(self, usec_t t) noexcept nogil
    cdef int new_chunk(self, i32 at) except -1 nogil
    cdef int divide(self, i32 c) except -1 nogil
    cdef void remove(self, Place at) noexcept nogil
    cdef void trim(self, usec_t now) noexcept nogil
    cdef void spoil(self, i32 c) noexcept nogil
    cdef void measure(self, i32 c, i32 column) noexcept nogil
    cdef void add(self, i32 first, i32 last, i32 *difference, u64 *mark) noexcept nogil
    cdef i32 add_to(self, Chunk *chunk, i32 column, i32 amount, const i32 *difference, const i32 *at,
                    i32 n) noexcept nogil
    cdef void fill(self, i32 column) noexcept nogil
    cdef void sum_up(self, i32 column) noexcept nogil
    cdef usec_t after(self, usec_t t) noexcept nogil
    cdef Place fails(self, i32 column, i32 least, Place at, usec_t end) noexcept nogil
    cdef bint lasts(self, i32 column, i32 least, usec_t start, usec_t end) noexcept nogil
    cdef int find_less(self, i32 column, i32 least, usec_t end, usec_t *t, i32 *value) noexcept nogil
    cdef int search(self, i32 column, i32 least, usec_t duration, usec_t start, usec_t until,
                    usec_t *out) noexcept nogil
