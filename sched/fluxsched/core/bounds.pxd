# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.eligible cimport Eligible
from fluxsched.core.kinds cimport Group, Kinds
from fluxsched.core.nodefuture cimport Free, NodeFutures
from fluxsched.core.shape cimport Shape
from fluxsched.core.timeline cimport COLUMNS, Place, Timeline
from fluxsched.core.types cimport i32, i64, u64, usec_t

cdef enum:
    FOUND = 16
    MANY = 0x7FFF           # more than fits on any node

# A search since resources last came back: what asks no less starts no earlier.
cdef struct Found:
    i32 need
    usec_t duration
    usec_t start

# A column of the timeline: nodes (or slots) that could serve a shape, each instant by itself.
cdef struct Column:
    Shape shape
    i32 nfound
    Found found[FOUND]

# Nodes that change from one future to another together.
cdef struct Change:
    i32 old
    i32 new
    i32 group
    i32 nodes


@cython.final
cdef class Bounds:
    """How much of each shape could be had when, were each instant by itself."""
    cdef:
        Eligible eligible
        Kinds kinds
        NodeFutures futures
        const i32 *of           # [nnodes] future of a node
        i32 cw                  # core words a node
        i32 gw                  # gpu words a node
        i32 width               # both
        usec_t now
        i32 epoch               # of the kinds for which the columns hold
        Timeline timeline
        Column column[COLUMNS]
        i32 most_cores          # of a node
        i32 most_gpus
        short *by_cores         # [most_cores + 1][COLUMNS] what fits where so many are free, as far as cores say
        short *by_gpus          # [most_gpus + 1][COLUMNS] and gpus
        i32 nwhole              # no fewer columns are of shapes that need all of a node
        # Scratch.
        i32 first               # chunk in which the change that is made begins
        i32 last                # and ends
        i32 *difference         # rows of [ncolumns]: by how much a point's change is more than that of the one before
                                # it; a point has a row by its chunk, from first on, and its number there
        u64 *mark               # [chunks] a bit for each row; the rows without are zeros
        i32 difference_room
        i32 mark_room
        u64 *word               # [width]
        i32 *users              # [futures] nodes with it, if
        i64 *counted            # [futures] they were counted in this query
        i32 *listed             # [futures]
        i32 users_room
        i32 counted_room
        i32 listed_room
        i64 query

    cdef int reset(self, NodeFutures futures, const i32 *of) except -1
    cdef bint begin(self, usec_t now) noexcept nogil
    cdef void forget(self) noexcept nogil
    cdef i32 known(self, const Shape *shape) noexcept nogil
    cdef usec_t bound(self, i32 k, i32 need, usec_t duration) noexcept nogil
    cdef void remember(self, i32 k, i32 need, usec_t duration, usec_t start) noexcept nogil
    cdef int open(self, usec_t start, usec_t end) except -1 nogil
    cdef void close(self) noexcept nogil
    cdef bint counts(self) noexcept nogil
    cdef void tell(self, i32 k) noexcept nogil
    cdef i32 fits_at(self, i32 k, const Group *g, Free amount) noexcept nogil
    cdef void change(self, const Change *change, usec_t start, usec_t end, const u64 *bits, bint take) noexcept nogil
    cdef void weigh(self, Free before, Free after, const Group *g, const i32 *nodes, i32 *more) noexcept nogil
    cdef void count(self, Place at, const i32 *more, i32 sign) noexcept nogil
    cdef i32 column_of(self, const Shape *shape, i32 *factor) except -1 nogil
    cdef int fill_column(self, i32 k) except -1 nogil
    cdef int need_counts(self) except -1 nogil
