# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The waiting jobs: priority, then order of submission, then id.

A pass walks them in this order, or in one that the policy makes for it (reorder). Jobs that it starts stay in the
queue until it ends (close), so that places hold. Jobs may come and go while a pass is suspended; before that, the
order of the pass is set apart (freeze).
"""
from libc.stdlib cimport free, qsort
from libc.string cimport memcpy, memmove

from fluxsched.core.job cimport JOB_WAITING, Job
from fluxsched.core.jobs cimport Jobs
from fluxsched.core.memory cimport grow, zeroed
from fluxsched.core.types cimport i32, i64


cdef inline bint before(const Job *a, const Job *b) noexcept nogil:
    """Whether a stands ahead of b."""
    if a.priority != b.priority:
        return a.priority > b.priority
    if a.sequence != b.sequence:
        return a.sequence < b.sequence
    return a.id < b.id


cdef struct Scored:
    i64 priority
    double score
    i32 place


cdef int compare_scored(const void *a, const void *b) noexcept nogil:
    cdef const Scored *x = <const Scored *> a
    cdef const Scored *y = <const Scored *> b
    if x.priority != y.priority:
        return (x.priority < y.priority) - (x.priority > y.priority)
    if x.score != y.score:
        return (x.score > y.score) - (x.score < y.score)
    return (x.place > y.place) - (x.place < y.place)


cdef class Queue:

    def __cinit__(self, Jobs jobs not None):
        self.jobs = jobs

    def __dealloc__(self):
        free(self.item)
        free(self.order)

    cdef i32 place(self, const Job *j) noexcept nogil:
        """Index of the first waiting job that is not ahead of j: of j itself, if it waits."""
        cdef i32 low = 0, high = self.count, middle
        if high and before(self.jobs.item + self.item[high - 1], j):
            return high
        while low < high:
            middle = (low + high) >> 1
            if before(self.jobs.item + self.item[middle], j):
                low = middle + 1
            else:
                high = middle
        return low

    cdef int need_room(self) except -1 nogil:
        """Room for one more, so that the next insert does not fail."""
        self.item = <i32 *> grow(self.item, &self.room, self.count + 1, sizeof(i32))
        return 0

    cdef int insert(self, i32 slot) except -1 nogil:
        """Another job waits."""
        cdef i32 place = self.place(self.jobs.item + slot)
        self.need_room()
        memmove(self.item + place + 1, self.item + place, (self.count - place) * sizeof(i32))
        self.item[place] = slot
        self.count += 1
        return 0

    cdef void remove(self, i32 slot) noexcept nogil:
        """A job waits no more, or is about to change its place."""
        cdef i32 place = self.place(self.jobs.item + slot)
        self.count -= 1
        memmove(self.item + place, self.item + place + 1, (self.count - place) * sizeof(i32))

    # The order of a pass.

    cdef void begin(self) noexcept nogil:
        """A pass begins, in the order of the queue."""
        self.reordered = False

    cdef int reorder(self, const double *score, bint within_priorities) except -1 nogil:
        """Let the pass that begins go by ascending score; score[i] is that of item[i], and equal ones keep their order.
        Within priorities, a higher one stays ahead of any score."""
        cdef i32 i
        cdef Scored *scored
        self.order = <i32 *> grow(self.order, &self.order_room, self.count, sizeof(i32))
        scored = <Scored *> zeroed(self.count, sizeof(Scored))
        for i in range(self.count):
            scored[i] = Scored(self.jobs.item[self.item[i]].priority if within_priorities else 0, score[i], i)
        qsort(scored, self.count, sizeof(Scored), compare_scored)
        for i in range(self.count):
            self.order[i] = self.item[scored[i].place]
        free(scored)
        self.norder = self.count
        self.reordered = True
        return 0

    cdef int freeze(self) except -1 nogil:
        """Set the order of the pass apart, so that the queue may change."""
        if not self.reordered:
            self.order = <i32 *> grow(self.order, &self.order_room, self.count, sizeof(i32))
            memcpy(self.order, self.item, self.count * sizeof(i32))
            self.norder = self.count
            self.reordered = True
        return 0

    cdef i32 length(self) noexcept nogil:
        """Number of places in the order of the pass."""
        return self.norder if self.reordered else self.count

    cdef i32 at(self, i32 place) noexcept nogil:
        """The job at a place of the order of the pass."""
        return self.order[place] if self.reordered else self.item[place]

    cdef void close(self, i32 passed) noexcept nogil:
        """Drop what waits no more; it lies within the first so many places."""
        cdef i32 i, kept = 0
        while kept < passed and self.jobs.item[self.item[kept]].state == JOB_WAITING:
            kept += 1
        for i in range(kept, passed):
            if self.jobs.item[self.item[i]].state == JOB_WAITING:
                self.item[kept] = self.item[i]
                kept += 1
        memmove(self.item + kept, self.item + passed, (self.count - passed) * sizeof(i32))
        self.count -= passed - kept
