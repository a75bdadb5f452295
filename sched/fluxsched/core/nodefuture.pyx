# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is free of a node over time, kept once for all nodes that share it.

A future is a step function of time, whose values are sets of cores and gpus:

        time     0        t1       t2
        free     0-3      0-7      4-7

Nodes with the same future have the same number, so what is found out about
one of them holds for all, and to plan costs what there are of distinct
futures. A future is never changed: a node on which something is reserved gets
another one. Equal ones are found by hash (hash consing; Ershov: On
programming of arithmetic operations, CACM 1(8), 1958). Points in the past are
left out when a future is made from another.
"""
from libc.stdlib cimport free

from fluxsched.core.bits cimport count_bits, same_bits
from fluxsched.core.memory cimport grow, memcmp, memcpy, memset, no_memory, raw, zeroed
from fluxsched.core.types cimport i32, time_never, u64, usec_t


cdef inline u64 hash_point(usec_t time, const u64 *words, i32 width) noexcept nogil:
    cdef u64 hash = <u64> time * <u64> 0xC2B2AE3D27D4EB4F
    cdef i32 w
    for w in range(width):
        hash = (hash ^ words[w]) * <u64> 0x9E3779B97F4A7C15
        hash ^= hash >> 29
    return hash * <u64> 0x165667B19E3779F9


cdef class NodeFutures:

    def __cinit__(self, i32 cw, i32 gw):
        cdef i32 width = cw + gw
        self.cw = cw
        self.gw = gw
        self.width = width
        self.nbuckets = 64
        self.bucket = <i32 *> zeroed(self.nbuckets, sizeof(i32))
        self.word = <u64 *> zeroed(width, sizeof(u64))
        memset(self.bucket, 0xff, self.nbuckets * sizeof(i32))

    def __dealloc__(self):
        cdef i32 i
        for i in range(self.nitems):
            free(self.item[i])
        free(self.item)
        free(self.spare)
        free(self.bucket)
        free(self.made)
        free(self.word)

    cdef i32 constant(self, const u64 *words) except -1 nogil:
        """The future in which words are free for ever; used once more."""
        self.make(1)
        self.push(0, words)
        return self.intern()

    cdef i32 change(self, i32 id, usec_t start, usec_t end, const u64 *bits, bint take, usec_t now) except -1 nogil:
        """The future that differs from id in that bits are taken (or given back) from start to end; used once more.
        What lies between the points that matter is copied, and its part of the hash with it."""
        cdef Future *f = self.item[id]
        cdef const usec_t *time = times_of(f)
        cdef const u64 *words
        cdef i32 i, w, low = point_of(f, now), first = low, last = f.n - 1
        cdef usec_t a, b
        if end <= now or end <= start:
            f.users += 1
            return id
        if start > now:
            first = point_of(f, start)
        if end != time_never():
            last = point_of(f, end - 1)
        self.make(f.n - low + 2)
        self.made.hash = f.hash
        for i in range(low + 1):
            self.made.hash -= hash_point(time[i], words_of(f) + <size_t> i * self.width, self.width)
        if low < first:
            self.push(0, words_of(f) + <size_t> low * self.width)
            self.copy(f, low + 1, first)
        for i in range(first, last + 1):
            words = words_of(f) + <size_t> i * self.width
            if i > low:
                self.made.hash -= hash_point(time[i], words, self.width)
            a = time[i]
            b = time[i + 1] if i + 1 < f.n else time_never()
            if a < start:
                self.push(a, words)
                a = start
            for w in range(self.width):
                self.word[w] = words[w] & ~bits[w] if take else words[w] | bits[w]
            self.push(a, self.word)
            if end < b:
                self.push(end, words)
        last += 1
        if last < f.n:
            words = words_of(f) + <size_t> last * self.width
            if same_bits(words, words_of(self.made) + <size_t> (self.made.n - 1) * self.width, self.width):
                self.made.hash -= hash_point(time[last], words, self.width)
                last += 1
            self.copy(f, last, f.n)
        return self.intern()

    cdef int make(self, i32 room) except -1 nogil:
        """Begin a future of no points, with room for some."""
        cdef void *made
        if self.made is NULL or self.made.room < room:
            free(self.made)
            self.made = NULL
            made = raw(sizeof(Future) + <size_t> room * (sizeof(usec_t) + sizeof(Free) + self.width * sizeof(u64)))
            if made is NULL:
                no_memory(b"no memory for the future of a node")
            self.made = <Future *> made
            self.made.room = room
        self.made.n = 0
        self.made.hash = 0
        return 0

    cdef void push(self, usec_t time, const u64 *words) noexcept nogil:
        """One more point of the future that is being made, unless it is as the last one."""
        cdef Future *f = self.made
        cdef u64 *out = words_of(f) + <size_t> f.n * self.width
        if f.n and same_bits(words, out - self.width, self.width):
            return
        time = time if f.n else 0
        times_of(f)[f.n] = time
        free_of(f)[f.n] = Free(count_bits(words, self.cw), count_bits(words + self.cw, self.gw))
        memcpy(out, words, self.width * sizeof(u64))
        f.hash += hash_point(time, words, self.width)
        f.n += 1

    cdef void copy(self, Future *f, i32 first, i32 last) noexcept nogil:
        """Points first … last - 1 of another one as they are; the hash has them already."""
        if last <= first:
            return
        memcpy(times_of(self.made) + self.made.n, times_of(f) + first, (last - first) * sizeof(usec_t))
        memcpy(free_of(self.made) + self.made.n, free_of(f) + first, (last - first) * sizeof(Free))
        memcpy(words_of(self.made) + <size_t> self.made.n * self.width, words_of(f) + <size_t> first * self.width,
               <size_t> (last - first) * self.width * sizeof(u64))
        self.made.n += last - first

    cdef i32 intern(self) except -1 nogil:
        """The number of the future that was made."""
        cdef Future *made = self.made
        cdef Future *f
        cdef i32 id = self.bucket[made.hash & (self.nbuckets - 1)]
        cdef size_t times = made.n * sizeof(usec_t), words = <size_t> made.n * self.width * sizeof(u64)
        while id >= 0:
            f = self.item[id]
            if (f.hash == made.hash and f.n == made.n and memcmp(times_of(f), times_of(made), times) == 0
                    and memcmp(words_of(f), words_of(made), words) == 0):
                f.users += 1
                return id
            id = f.next
        if self.nspare == 0:
            self.item = <Future **> grow(self.item, &self.room, self.nitems + 1, sizeof(Future *))
            # So that giving one back never asks for memory.
            self.spare = <i32 *> grow(self.spare, &self.spare_room, self.nitems + 1, sizeof(i32))
            id = self.nitems
            self.nitems += 1
        else:
            self.nspare -= 1
            id = self.spare[self.nspare]
        made.users = 1
        made.next = self.bucket[made.hash & (self.nbuckets - 1)]
        self.item[id] = made
        self.bucket[made.hash & (self.nbuckets - 1)] = id
        self.made = NULL
        if self.nitems > self.nbuckets:
            self.rehash()
        return id

    cdef int rehash(self) except -1 nogil:
        cdef i32 i, size = self.nbuckets * 4
        cdef i32 *bucket = <i32 *> raw(size * sizeof(i32))
        if bucket is NULL:
            return 0            # slower, no more
        memset(bucket, 0xff, size * sizeof(i32))
        free(self.bucket)
        self.bucket = bucket
        self.nbuckets = size
        for i in range(self.nitems):
            if self.item[i] is not NULL:
                self.item[i].next = bucket[self.item[i].hash & (size - 1)]
                bucket[self.item[i].hash & (size - 1)] = i
        return 0

    cdef void use(self, i32 id, i32 count) noexcept nogil:
        """count more nodes have this future."""
        self.item[id].users += count

    cdef void drop(self, i32 id, i32 count) noexcept nogil:
        """count fewer nodes have this future; it goes with the last one."""
        cdef Future *f = self.item[id]
        cdef i32 *place
        f.users -= count
        if f.users:
            return
        place = &self.bucket[f.hash & (self.nbuckets - 1)]
        while place[0] != id:
            place = &self.item[place[0]].next
        place[0] = f.next
        free(f)
        self.item[id] = NULL
        self.spare[self.nspare] = id
        self.nspare += 1

    cdef void least(self, i32 id, usec_t start, usec_t end, u64 *out) noexcept nogil:
        """What is free all along from start to end; [width] words."""
        cdef Future *f = self.item[id]
        cdef const usec_t *time = times_of(f)
        cdef i32 w, i = point_of(f, start)
        cdef const u64 *words = words_of(f) + <size_t> i * self.width
        memcpy(out, words, self.width * sizeof(u64))
        i += 1
        while i < f.n and time[i] < end:
            words += self.width
            for w in range(self.width):
                out[w] &= words[w]
            i += 1
