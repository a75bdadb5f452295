# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The running jobs, in the order in which they are expected to end.

Most jobs go at the front, so the shorter side is moved: there is room before the first item, too.
"""
from libc.stdlib cimport free

from fluxsched.core.check cimport must
from fluxsched.core.memory cimport duplicate, grow, memmove
from fluxsched.core.types cimport i32, i64, usec_t


cdef class Running:

    def __dealloc__(self):
        free(self.all)

    cdef i32 place(self, usec_t end, i32 job) noexcept nogil:
        """Index of the first item not before (end, job)."""
        cdef i32 low = 0, high = self.count, middle
        while low < high:
            middle = (low + high) >> 1
            if self.item[middle].end < end or (self.item[middle].end == end and self.item[middle].job < job):
                low = middle + 1
            else:
                high = middle
        return low

    cdef int need_room(self) except -1 nogil:
        """Room for one more, so that the next insert does not fail."""
        if self.first + self.count < self.room:
            return 0
        if self.first > self.count:
            self.move_to(0)
            return 0
        self.all = <Ending *> grow(self.all, &self.room, <i64> self.first + self.count + 1, sizeof(Ending))
        self.item = self.all + self.first
        return 0

    cdef void move_to(self, i32 first) noexcept nogil:
        """Let the items begin at another place."""
        memmove(self.all + first, self.item, self.count * sizeof(Ending))
        self.first = first
        self.item = self.all + first

    cdef int copy_to(self, Running other) except -1 nogil:
        """The same list in another object, which is empty."""
        other.all = other.item = <Ending *> duplicate(self.item, self.count, sizeof(Ending))
        other.count = other.room = self.count
        return 0

    cdef int insert(self, usec_t end, i32 job) except -1 nogil:
        """Another job runs, and is expected to end then."""
        cdef i32 i
        self.need_room()
        i = self.place(end, job)
        if self.first and i < self.count - i:
            self.first -= 1
            self.item -= 1
            memmove(self.item, self.item + 1, i * sizeof(Ending))
        else:
            memmove(self.item + i + 1, self.item + i, (self.count - i) * sizeof(Ending))
        self.item[i] = Ending(end, job)
        self.count += 1
        return 0

    cdef void remove(self, usec_t end, i32 job) noexcept nogil:
        """A job that was inserted with this end runs no more."""
        cdef i32 i = self.place(end, job)
        self.count -= 1
        if i < self.count - i:
            memmove(self.item + 1, self.item, i * sizeof(Ending))
            self.first += 1
            self.item += 1
        else:
            memmove(self.item + i, self.item + i + 1, (self.count - i) * sizeof(Ending))

    cdef int sanity_check(self) except -1:
        """AssertionError unless the list is sorted."""
        cdef i32 i
        must(0 <= self.count and 0 <= self.first <= self.room - self.count, "running: more items than room")
        must(self.item == self.all + self.first, "running: items are not where they are said to be")
        for i in range(1, self.count):
            must((self.item[i - 1].end, self.item[i - 1].job) < (self.item[i].end, self.item[i].job),
                 "running: not in order")
        return 0
