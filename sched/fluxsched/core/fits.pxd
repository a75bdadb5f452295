# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.alloc cimport Alloc
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport Job
from fluxsched.core.kinds cimport Group, Kinds
from fluxsched.core.lacks cimport Lacks
from fluxsched.core.nodefuture cimport Future, NodeFutures
from fluxsched.core.shape cimport Shape
from fluxsched.core.state cimport State
from fluxsched.core.timeline cimport COLUMNS
from fluxsched.core.types cimport i32, i64, u64, usec_t

# What was last found out about a shape on a node in windows that begin now: while resources are only taken, and before
# `holds`, anything fits until then at most, and no more than so much.
cdef struct Soon:
    usec_t until
    usec_t holds
    i32 fit
    i32 of                  # the future that the node had
    i64 found               # Fits.epoch when it was found out


@cython.final
cdef class Fits:
    """What fits on which nodes from a time to another, and the choice among them."""
    cdef:
        State state
        Inventory inv
        Kinds kinds
        NodeFutures futures
        const i32 *of           # [nnodes] future of a node
        i32 cw                  # core words a node
        i32 gw                  # gpu words a node
        i32 width               # both
        Lacks lacks[COLUMNS]    # when none fits; for each column of the bounds
        usec_t base             # of their ticks
        Soon *soon[COLUMNS]     # [nnodes]; NULL: not yet
        i64 epoch               # counts up when resources come back: what was found out in this one holds still
        usec_t next             # if there was too little in the last search: no start before it is worth a look, and
        i32 missing             # by so much it was too little
        # Scratch.
        i32 *node               # [nfound] what serves,
        i32 *fit                # [nfound] and how much of it
        i32 nfound
        i32 *later              # [nlater] ticks in which nodes that do not fit may
        i32 nlater
        i32 fit_there[64]       # of each node of a word
        u64 *word               # [width]
        u64 *chosen             # [width] the lowest cores and gpus for
        i32 chosen_slots        # so many slots on a node of
        i32 chosen_of           # this future; -1: none

    cdef int reset(self, NodeFutures futures, const i32 *of, usec_t now) except -1
    cdef void forget(self) noexcept nogil
    cdef int gather(self, const Job *j, const Shape *shape, i32 k, i32 need, usec_t start, usec_t end, bint now,
                    const i64 *pool, Alloc *picked) except -1 nogil
    cdef int gather_idle(self, const Job *j, const Shape *shape, i32 need, Alloc *picked) except -1 nogil
    cdef int need(self, i32 k) except -1 nogil
    cdef void unsee(self, i32 k, i32 node, i32 count) noexcept nogil
    cdef bint serves(self, const Shape *shape, const Group *g) noexcept nogil
    cdef u64 usable(self, const Shape *shape, i32 w) noexcept nogil
    cdef u64 candidates(self, const Shape *shape, const Group *g, i32 w, bint now) noexcept nogil
    cdef bint fits_early(self, const Shape *shape, i32 k, i32 need, usec_t now, usec_t end, const Alloc *own,
                         usec_t until, bint exact) except -1 nogil
    cdef void look_ahead(self, const Shape *shape, const Group *g, i32 id, usec_t now, Soon *soon) noexcept nogil
    cdef i32 fit_without(self, const Shape *shape, const Group *g, i32 node, usec_t start, usec_t end, const Alloc *own,
                         usec_t until) noexcept nogil
    cdef u64 fitting(self, const Shape *shape, const Group *g, Lacks *lacks, i32 w, u64 word, i32 need, usec_t start,
                     usec_t end) noexcept nogil
    cdef void put_off(self, const i32 *last, u64 word) noexcept nogil
    cdef void lack(self, Lacks *lacks, const Shape *shape, const Group *g, i32 node, i32 count, usec_t start,
                   i32 i) noexcept nogil
    cdef i32 fit_of(self, const Shape *shape, const Group *g, Future *f, usec_t start, usec_t end,
                    i32 *at) noexcept nogil
    cdef void windows(self, const Shape *shape, const Group *g, i32 id, usec_t first, usec_t last, usec_t duration,
                      usec_t until, usec_t *low, usec_t *high) noexcept nogil
    cdef void show(self, i32 node, usec_t start, usec_t end, bint idle) noexcept nogil
    cdef int pick(self, const Job *j, i32 node, usec_t start, usec_t end, i32 nslots, bint idle,
                  Alloc *picked) except -1 nogil
