# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Counters over time: one axis of time, and columns of numbers that hold from point to point.

The points lie in chunks, each with the least and the greatest value of each
column, so that a search passes over a chunk that does not matter, an interval
changes whole chunks by their ends alone where it can, and a new point moves
no more than its chunk:

        chunk        0                   1                  2
        time         now  t1   t2   t3   t4   t5            t6   t7 …
        column 0     4    6    6    5    2    2             9    12
        low, high    4, 6                2, 2               9, 12

(An unrolled list; Shao, Reppy and Appel: Unrolling lists, LFP 1994.)
"""
from libc.stdlib cimport free

from fluxsched.core.bits cimport lowest
from fluxsched.core.memory cimport grow, memcpy, memmove, memset, zeroed
from fluxsched.core.types cimport i32, time_add, time_never, u64, usec_t


cdef class Timeline:

    def __cinit__(self):
        self.new_chunk(0)
        self.chunk[0].n = 1

    def __dealloc__(self):
        cdef i32 c
        for c in range(self.nchunks):
            free(self.chunk[c])
        free(self.chunk)
        free(self.begin)

    cdef int new_chunk(self, i32 at) except -1 nogil:
        """An empty chunk before chunk `at`."""
        cdef Chunk *made
        self.chunk = <Chunk **> grow(self.chunk, &self.room, self.nchunks + 1, sizeof(Chunk *))
        self.begin = <usec_t *> grow(self.begin, &self.begin_room, self.nchunks + 1, sizeof(usec_t))
        made = <Chunk *> zeroed(1, sizeof(Chunk))
        memmove(self.chunk + at + 1, self.chunk + at, (self.nchunks - at) * sizeof(Chunk *))
        memmove(self.begin + at + 1, self.begin + at, (self.nchunks - at) * sizeof(usec_t))
        self.chunk[at] = made
        self.begin[at] = 0
        self.nchunks += 1
        return 0

    cdef int copy(self, Timeline other) except -1 nogil:
        """Become the same as another one."""
        cdef i32 c, k
        cdef Chunk *to
        cdef const Chunk *chunk
        self.ncolumns = 0
        while self.nchunks > other.nchunks:
            self.nchunks -= 1
            free(self.chunk[self.nchunks])
        while self.nchunks < other.nchunks:
            self.new_chunk(self.nchunks)
        memcpy(self.begin, other.begin, self.nchunks * sizeof(usec_t))
        self.ncolumns = other.ncolumns
        for c in range(self.nchunks):
            to = self.chunk[c]
            chunk = other.chunk[c]
            to.n = chunk.n
            memcpy(to.uses, chunk.uses, chunk.n * sizeof(i32))
            memcpy(to.time, chunk.time, chunk.n * sizeof(usec_t))
            memcpy(to.stale, chunk.stale, self.ncolumns * sizeof(i32))
            memcpy(to.low, chunk.low, self.ncolumns * sizeof(i32))
            memcpy(to.high, chunk.high, self.ncolumns * sizeof(i32))
            for k in range(self.ncolumns):
                memcpy(to.value[k], chunk.value[k], chunk.n * sizeof(i32))
        return 0

    cdef void exchange(self, Timeline other) noexcept nogil:
        """Let each of the two be what the other one was."""
        self.chunk, other.chunk = other.chunk, self.chunk
        self.begin, other.begin = other.begin, self.begin
        self.nchunks, other.nchunks = other.nchunks, self.nchunks
        self.room, other.room = other.room, self.room
        self.begin_room, other.begin_room = other.begin_room, self.begin_room
        self.ncolumns, other.ncolumns = other.ncolumns, self.ncolumns

    cdef Place locate(self, usec_t t) noexcept nogil:
        """The last point that is not after t, or the first point of all."""
        cdef i32 low = 0, high = self.nchunks - 1, middle, c
        cdef Chunk *chunk
        while low < high:
            middle = (low + high + 1) >> 1
            if self.begin[middle] <= t:
                low = middle
            else:
                high = middle - 1
        c = low
        chunk = self.chunk[c]
        low = 0
        high = chunk.n - 1
        while low < high:
            middle = (low + high + 1) >> 1
            if chunk.time[middle] <= t:
                low = middle
            else:
                high = middle - 1
        return Place(c, low)

    cdef Place end_of(self, usec_t t) noexcept nogil:
        """The place behind the last point of an interval that ends at t, which is a point, or not after the first
        one, or never."""
        if t == time_never():
            return Place(self.nchunks - 1, self.chunk[self.nchunks - 1].n)
        return self.locate(t)

    cdef int mark(self, usec_t t, i32 uses) except -1 nogil:
        """So many more intervals begin or end at t: it is a point, unless it is not after the first one, or never."""
        cdef Place at = self.locate(t)
        cdef Chunk *chunk = self.chunk[at.c]
        cdef i32 k, i
        if t <= chunk.time[at.i] or t == time_never():
            if t == chunk.time[at.i]:
                chunk.uses[at.i] += uses
            return 0
        if chunk.n == CHUNK:
            self.divide(at.c)
            at = self.locate(t)
            chunk = self.chunk[at.c]
        i = at.i + 1
        memmove(chunk.time + i + 1, chunk.time + i, (chunk.n - i) * sizeof(usec_t))
        memmove(chunk.uses + i + 1, chunk.uses + i, (chunk.n - i) * sizeof(i32))
        chunk.time[i] = t
        chunk.uses[i] = uses
        for k in range(self.ncolumns):
            memmove(chunk.value[k] + i + 1, chunk.value[k] + i, (chunk.n - i) * sizeof(i32))
            chunk.value[k][i] = chunk.value[k][i - 1]
        chunk.n += 1
        return 0

    cdef int divide(self, i32 c) except -1 nogil:
        """Make two chunks of a full one."""
        cdef i32 k, half = CHUNK // 2
        cdef Chunk *chunk
        cdef Chunk *other
        self.new_chunk(c + 1)
        chunk = self.chunk[c]
        other = self.chunk[c + 1]
        other.n = CHUNK - half
        chunk.n = half
        memcpy(other.time, chunk.time + half, other.n * sizeof(usec_t))
        memcpy(other.uses, chunk.uses + half, other.n * sizeof(i32))
        for k in range(self.ncolumns):
            memcpy(other.value[k], chunk.value[k] + half, other.n * sizeof(i32))
        self.begin[c + 1] = other.time[0]
        self.spoil(c)
        self.spoil(c + 1)
        return 0

    cdef void unmark(self, usec_t t) noexcept nogil:
        """One interval fewer begins or ends at t; the point goes with the last one."""
        cdef Place at = self.locate(t)
        cdef Chunk *chunk = self.chunk[at.c]
        if chunk.time[at.i] != t or (at.c == 0 and at.i == 0):
            return
        chunk.uses[at.i] -= 1
        if chunk.uses[at.i] <= 0:
            self.remove(at)

    cdef void remove(self, Place at) noexcept nogil:
        """Drop a point at which nothing changes."""
        cdef i32 c = at.c, i = at.i, k
        cdef Chunk *chunk = self.chunk[c]
        chunk.n -= 1
        if chunk.n == 0:
            free(chunk)
            self.nchunks -= 1
            memmove(self.chunk + c, self.chunk + c + 1, (self.nchunks - c) * sizeof(Chunk *))
            memmove(self.begin + c, self.begin + c + 1, (self.nchunks - c) * sizeof(usec_t))
            return
        memmove(chunk.time + i, chunk.time + i + 1, (chunk.n - i) * sizeof(usec_t))
        memmove(chunk.uses + i, chunk.uses + i + 1, (chunk.n - i) * sizeof(i32))
        for k in range(self.ncolumns):
            memmove(chunk.value[k] + i, chunk.value[k] + i + 1, (chunk.n - i) * sizeof(i32))
        if i == 0:
            self.begin[c] = chunk.time[0]
            # The value that has gone may stand nowhere else in the chunk.
            self.spoil(c)

    cdef void trim(self, usec_t now) noexcept nogil:
        """Drop the points that end in the past."""
        cdef Place at = self.locate(now)
        cdef i32 c, k
        cdef Chunk *chunk
        if at.c:
            for c in range(at.c):
                free(self.chunk[c])
            self.nchunks -= at.c
            memmove(self.chunk, self.chunk + at.c, self.nchunks * sizeof(Chunk *))
            memmove(self.begin, self.begin + at.c, self.nchunks * sizeof(usec_t))
        if at.i == 0:
            return
        chunk = self.chunk[0]
        chunk.n -= at.i
        memmove(chunk.time, chunk.time + at.i, chunk.n * sizeof(usec_t))
        memmove(chunk.uses, chunk.uses + at.i, chunk.n * sizeof(i32))
        self.begin[0] = chunk.time[0]
        for k in range(self.ncolumns):
            memmove(chunk.value[k], chunk.value[k] + at.i, chunk.n * sizeof(i32))
        self.spoil(0)

    cdef void spoil(self, i32 c) noexcept nogil:
        """The least and the greatest values of a chunk are not known any more."""
        cdef i32 k
        for k in range(self.ncolumns):
            self.chunk[c].stale[k] = True

    cdef void measure(self, i32 c, i32 column) noexcept nogil:
        """Find the least and the greatest value of a column in a chunk, unless they are known."""
        cdef Chunk *chunk = self.chunk[c]
        cdef const i32 *value = chunk.value[column]
        cdef i32 k, low = value[0], high = value[0]
        if not chunk.stale[column]:
            return
        for k in range(1, chunk.n):
            low = value[k] if value[k] < low else low
            high = value[k] if value[k] > high else high
        chunk.low[column] = low
        chunk.high[column] = high
        chunk.stale[column] = False

    cdef void add(self, i32 first, i32 last, i32 *difference, u64 *mark) noexcept nogil:
        """Change all columns in chunks first to last: at point i of the n-th of these, row n * CHUNK + i of difference,
        [ncolumns], is by how much the change is more than at the point before. A bit of mark stands for each row that
        is not all zeros; both are zeros afterwards."""
        cdef i32 c, k, i, n
        cdef i32 at[CHUNK]              # [n] points at which the change is another one than before
        cdef i32 amount[COLUMNS]
        cdef u64 word
        memset(amount, 0, sizeof(amount))
        for c in range(first, last + 1):
            n = 0
            word = mark[0]
            while word:
                i = lowest(word)
                word &= word - 1
                if i < self.chunk[c].n:
                    at[n] = i
                    n += 1
            for k in range(self.ncolumns):
                amount[k] = self.add_to(self.chunk[c], k, amount[k], difference + k, at, n)
            while mark[0]:
                memset(difference + <size_t> lowest(mark[0]) * self.ncolumns, 0, self.ncolumns * sizeof(i32))
                mark[0] &= mark[0] - 1
            mark += 1
            difference += <size_t> CHUNK * self.ncolumns
        if mark[0]:
            # Behind the last point of a full chunk.
            memset(difference, 0, self.ncolumns * sizeof(i32))
            mark[0] = 0

    cdef i32 add_to(self, Chunk *chunk, i32 column, i32 amount, const i32 *difference, const i32 *at,
                    i32 n) noexcept nogil:
        """The same for a column in a chunk. amount: the change at the point before it; answers that at its last point.
        at: [n] its points that have a difference."""
        cdef i32 k = 0, i, begin = 0, step, steps = 0
        cdef i32 *value = chunk.value[column]
        if n and at[0] == 0:
            amount += difference[0]
            k = 1
        while k < n:
            step = difference[<size_t> at[k] * self.ncolumns]
            if step:
                for i in range(begin, at[k] if amount else 0):
                    value[i] += amount
                begin = at[k]
                amount += step
                steps += 1
            k += 1
        if amount:
            for i in range(begin, chunk.n):
                value[i] += amount
        if steps:
            chunk.stale[column] = True
        elif amount:
            chunk.low[column] += amount
            chunk.high[column] += amount
        return amount

    # A column at once: fill, then the change of its value at each point, then sum_up.

    cdef void fill(self, i32 column) noexcept nogil:
        cdef i32 c
        for c in range(self.nchunks):
            memset(self.chunk[c].value[column], 0, self.chunk[c].n * sizeof(i32))

    cdef void sum_up(self, i32 column) noexcept nogil:
        cdef i32 c, k, total = 0
        cdef i32 *value
        for c in range(self.nchunks):
            value = self.chunk[c].value[column]
            for k in range(self.chunk[c].n):
                total += value[k]
                value[k] = total
            self.chunk[c].stale[column] = True

    cdef usec_t after(self, usec_t t) noexcept nogil:
        """The first point after t; never if there is none."""
        cdef Place at = self.locate(t)
        if self.chunk[at.c].time[at.i] > t:
            return self.chunk[at.c].time[at.i]
        if at.i + 1 < self.chunk[at.c].n:
            return self.chunk[at.c].time[at.i + 1]
        return self.begin[at.c + 1] if at.c + 1 < self.nchunks else time_never()

    cdef Place fails(self, i32 column, i32 least, Place at, usec_t end) noexcept nogil:
        """The first point behind a place and before end at which a column is less than least; chunk nchunks: none."""
        cdef i32 c = at.c, i = at.i + 1
        cdef Chunk *chunk
        while True:
            chunk = self.chunk[c]
            self.measure(c, column)
            if i == 0 and chunk.low[column] >= least:
                i = chunk.n
            while i < chunk.n and chunk.time[i] < end and chunk.value[column][i] >= least:
                i += 1
            if i < chunk.n:
                return Place(c, i) if chunk.time[i] < end else Place(self.nchunks, 0)
            c += 1
            i = 0
            if c == self.nchunks or self.begin[c] >= end:
                return Place(self.nchunks, 0)

    cdef bint lasts(self, i32 column, i32 least, usec_t start, usec_t end) noexcept nogil:
        """Whether a column is nowhere less than least from start to end."""
        cdef Place at = self.locate(start)
        return (self.chunk[at.c].value[column][at.i] >= least
                and self.fails(column, least, at, end).c == self.nchunks)

    cdef int find_less(self, i32 column, i32 least, usec_t end, usec_t *t, i32 *value) noexcept nogil:
        """1, the first time from t on and before end at which a column is less than least, and its value; or 0."""
        cdef Place at = self.locate(t[0])
        if self.chunk[at.c].value[column][at.i] >= least:
            at = self.fails(column, least, at, end)
            if at.c == self.nchunks:
                return 0
        value[0] = self.chunk[at.c].value[column][at.i]
        t[0] = max(t[0], self.chunk[at.c].time[at.i])
        return 1

    cdef int search(self, i32 column, i32 least, usec_t duration, usec_t start, usec_t until,
                    usec_t *out) noexcept nogil:
        """1 and the first time from start on, and before until, that begins an interval of this duration in which a
        column is nowhere less than least before until; else 0. Only start and points are looked at."""
        cdef usec_t t
        cdef Chunk *chunk
        cdef Place at = self.locate(start)
        while True:
            # The next point at which there is enough,
            while True:
                chunk = self.chunk[at.c]
                self.measure(at.c, column)
                if at.i == 0 and chunk.high[column] < least:
                    at.i = chunk.n
                while at.i < chunk.n and chunk.value[column][at.i] < least:
                    at.i += 1
                if at.i < chunk.n:
                    break
                at.c += 1
                at.i = 0
                if at.c == self.nchunks:
                    return 0
            t = chunk.time[at.i] if chunk.time[at.i] > start else start
            if t >= until:
                return 0
            # and whether it lasts.
            at = self.fails(column, least, at, min(time_add(t, duration), until))
            if at.c == self.nchunks:
                out[0] = t
                return 1
