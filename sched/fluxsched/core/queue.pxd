# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.job cimport Job
from fluxsched.core.jobs cimport Jobs
from fluxsched.core.types cimport i32, i64, usec_t

cdef enum:
    CHUNK = 128             # jobs of a chunk
    CLASSES = 32            # of needs, by their number of bits: what fits an i32

# Some neighbours in the queue, and of each what a pass looks at first.
cdef struct Chunk:
    i32 count
    i32 slot[CHUNK]
    i32 need[CHUNK]         # units that it takes
    usec_t duration[CHUNK]

# What could start now: jobs that need no more than free, and run no longer than window or need no more than extra.
cdef struct Limits:
    i64 free
    i64 extra
    usec_t window

# A job with its key in an order that is made for one pass.
cdef struct Scored:
    i64 priority
    double score
    i32 place               # in the queue
    i32 slot


@cython.final
cdef class Queue:
    """The waiting jobs in order, and the order in which a pass considers them."""
    cdef:
        Jobs jobs
        i32 count               # waiting jobs
        Chunk **chunk           # [nchunks] none is empty
        i32 nchunks
        i32 chunk_room
        i32 *least              # [nchunks] least need in a chunk
        i32 least_room
        usec_t *shortest        # [CLASSES][shortest_room] shortest duration in a chunk of needs up to a class
        i32 shortest_room
        Chunk *spare            # for the next chunk; NULL: none
        bint by_nodes           # what need counts: nodes, or cores
        i32 *all                # [count] scratch of flat
        i32 all_room
        # Where the pass is: in the queue, or
        i32 at_chunk
        i32 at_index
        # in an order of its own.
        i32 seen_chunk          # where look_ahead has found a job
        i32 seen_index
        bint reordered
        i32 *order              # [norder] slots
        i32 norder
        i32 order_room
        i32 at_order
        Scored *heap            # [nheap] what comes behind order, first at the top
        i32 nheap
        i32 heap_room
        i32 version             # changes whenever a job comes, or takes another place

    cdef bint find(self, const Job *j, i32 *chunk, i32 *index) noexcept nogil
    cdef int need_room(self) except -1 nogil
    cdef int insert(self, i32 slot) except -1 nogil
    cdef bint is_last(self, i32 slot) noexcept nogil
    cdef bint precedes(self, i32 slot, i32 other) noexcept nogil
    cdef bint waits_ahead(self, i32 slot, i32 generation) noexcept nogil
    cdef i32 behind(self, i32 slot) noexcept nogil
    cdef void remove(self, i32 slot) noexcept nogil
    cdef int sort(self, const double *score) except -1 nogil
    cdef const i32 *flat(self) except NULL nogil
    cdef void measure(self, bint by_nodes) noexcept nogil
    cdef void begin(self) noexcept nogil
    cdef void again(self) noexcept nogil
    cdef void resume(self, i32 slot) noexcept nogil
    cdef i32 peek(self) noexcept nogil
    cdef int reorder(self, const double *score, bint within_priorities) except -1 nogil
    cdef int freeze(self) except -1 nogil
    cdef int reorder_rest(self, const double *score) except -1 nogil
    cdef i32 rest(self) except -1 nogil
    cdef void expect(self, const usec_t *duration) noexcept nogil
    cdef bint more(self) noexcept nogil
    cdef i32 next(self) noexcept nogil
    cdef i32 next_within(self, const Limits *limits) noexcept nogil
    cdef void step(self) noexcept nogil
    cdef i32 scan(self, i32 *chunk, i32 *index, const Limits *limits) noexcept nogil
    cdef i32 seen(self) noexcept nogil
    cdef i32 look_ahead(self, const Limits *limits) noexcept nogil
    cdef bint within(self, const Job *j, const Limits *limits) noexcept nogil

    cdef i32 need_of(self, const Job *j) noexcept nogil
    cdef void open_chunk(self, i32 at) noexcept nogil
    cdef void close_chunk(self, i32 at) noexcept nogil
    cdef void put(self, Chunk *k, i32 index, i32 slot) noexcept nogil
    cdef void count_in(self, i32 chunk, i32 need, usec_t duration) noexcept nogil
    cdef void summarize(self, i32 chunk) noexcept nogil
    cdef void merge(self, i32 chunk) noexcept nogil
    cdef int sanity_check(self) except -1
