# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.types cimport i32, u64, usec_t

# How much of a node is free.
cdef struct Free:
    i32 cores
    i32 gpus

# What is free of a node from now on; immutable. Behind it lie its points: time[room], then free[room], then
# words[room * width]. words i are free from time[i] to time[i + 1], the last ones for ever, and so many they are;
# time[0] is 0.
cdef struct Future:
    u64 hash                # sum over the points
    i32 users
    i32 n
    i32 room                # >= n
    i32 next                # in its bucket; -1: last


cdef inline usec_t *times_of(Future *f) noexcept nogil:
    return <usec_t *> (f + 1)


cdef inline Free *free_of(Future *f) noexcept nogil:
    return <Free *> (times_of(f) + f.room)


cdef inline u64 *words_of(Future *f) noexcept nogil:
    return <u64 *> (free_of(f) + f.room)


cdef inline i32 point_of(Future *f, usec_t t) noexcept nogil:
    """The last point that is not after t."""
    cdef const usec_t *time = times_of(f)
    cdef i32 low = 0, high = f.n - 1, middle
    while low < high:
        middle = (low + high + 1) >> 1
        if time[middle] <= t:
            low = middle
        else:
            high = middle - 1
    return low


cdef inline bint gains(const u64 *before, const u64 *after, i32 width) noexcept nogil:
    """Whether there is anything in a set that was not in it before."""
    cdef i32 w
    for w in range(width):
        if after[w] & ~before[w]:
            return True
    return False


@cython.final
cdef class NodeFutures:
    """The futures of nodes, each once."""
    cdef:
        i32 cw                  # words of a point: of cores,
        i32 gw                  # then of gpus
        i32 width               # both
        Future **item           # [nitems] NULL: not in use
        i32 nitems
        i32 room
        i32 *spare              # [nspare] items that are not in use
        i32 nspare
        i32 spare_room
        i32 *bucket             # [nbuckets] first item of a hash; -1: none
        i32 nbuckets
        Future *made            # the one that is being made
        u64 *word               # [width]

    cdef i32 constant(self, const u64 *words) except -1 nogil
    cdef i32 change(self, i32 id, usec_t start, usec_t end, const u64 *bits, bint take, usec_t now) except -1 nogil
    cdef void use(self, i32 id, i32 count) noexcept nogil
    cdef void drop(self, i32 id, i32 count) noexcept nogil
    cdef void least(self, i32 id, usec_t start, usec_t end, u64 *out) noexcept nogil
    cdef int make(self, i32 room) except -1 nogil
    cdef void push(self, usec_t time, const u64 *words) noexcept nogil
    cdef void copy(self, Future *f, i32 first, i32 last) noexcept nogil
    cdef i32 intern(self) except -1 nogil
    cdef int rehash(self) except -1 nogil
