# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What becomes of the jobs that wait, in one run forward beside another: under one policy and another."""
from collections import namedtuple

from libc.stdlib cimport free

from fluxsched.core.api cimport Engine as PythonEngine
from fluxsched.core.check cimport must
from fluxsched.core.forward cimport Forward
from fluxsched.core.job cimport Job
from fluxsched.core.memory cimport grow, memcpy, qsort, zeroed
from fluxsched.core.seconds cimport to_instant
from fluxsched.core.types cimport DEBUG, USEC, i32, i64, time_never, usec_t

Measures = namedtuple("Measures", "started mean p95 end")
Changes = namedtuple("Changes", "sooner later gain lose")

# A start that differs by less is the same: passes of one time are not.
cdef usec_t SAME = USEC


cdef int compare_times(const void *a, const void *b) noexcept nogil:
    cdef usec_t x = (<const usec_t *> a)[0], y = (<const usec_t *> b)[0]
    return (x > y) - (x < y)


cdef int compare_changes(const void *a, const void *b) noexcept nogil:
    """The most sooner first, then the order of the queue."""
    cdef const Change *x = <const Change *> a
    cdef const Change *y = <const Change *> b
    if x.sooner != y.sooner:
        return -1 if x.sooner > y.sooner else 1
    return (x.place > y.place) - (x.place < y.place)


cdef class Comparison:
    """engine: of whose copies the runs are; the jobs are those that wait in it now."""

    def __cinit__(self, PythonEngine engine not None):
        cdef i32 i
        cdef const Job *j
        cdef const i32 *slots = engine.core.queue.flat()
        self.njobs = engine.core.queue.count
        self.id = <i64 *> zeroed(self.njobs, sizeof(i64))
        self.slot = <i32 *> zeroed(self.njobs, sizeof(i32))
        self.submitted = <usec_t *> zeroed(self.njobs, sizeof(usec_t))
        self.change = <Change *> zeroed(self.njobs, sizeof(Change))
        for i in range(self.njobs):
            j = engine.core.jobs.item + slots[i]
            self.slot[i] = slots[i]
            self.id[i] = j.id
            self.submitted[i] = j.submitted

    def __dealloc__(self):
        free(self.id)
        free(self.slot)
        free(self.submitted)
        free(self.change)
        free(self.start)
        free(self.last)

    def __len__(self):
        return self.njobs

    @property
    def jobs(self):
        """Ids of the jobs, in the order of the queue."""
        return [self.id[i] for i in range(self.njobs)]

    @property
    def submitted_at(self):
        """When each was submitted, in s since the epoch."""
        return [self.submitted[i] / <double> USEC for i in range(self.njobs)]

    def add(self, Forward forward not None, double until=0.0):
        """Take down one more run, and answer its number. until: starts from then on (s since the epoch; 0: never) do
        not count, as the instance has ended. ValueError for a time out of range."""
        cdef i32 i
        cdef usec_t *row
        cdef usec_t limit = to_instant(until) if until else time_never()
        self.make_room()
        row = self.start + <size_t> self.nruns * self.njobs
        for i in range(self.njobs):
            row[i] = forward.start[self.slot[i]]
            if row[i] < 0 or row[i] >= limit:
                row[i] = time_never()
        self.last[self.nruns] = min(forward.last, limit)
        self.nruns += 1
        if DEBUG:
            self.sanity_check()
        return self.nruns - 1

    def told(self, i32 run):
        """A run as bytes, for the Comparison of another process that has the same jobs. ValueError for a run that
        there is not."""
        cdef const usec_t *row = self.row(run)
        return (<const char *> (self.last + run))[:sizeof(usec_t)] + (<const char *> row)[:self.njobs * sizeof(usec_t)]

    def take(self, bytes told not None):
        """Take down a run that another process has told, and answer its number. ValueError for what no process tells
        that has these jobs."""
        cdef const char *given = told
        cdef size_t length = self.njobs * sizeof(usec_t)
        if <size_t> len(told) != sizeof(usec_t) + length:
            raise ValueError(f"{len(told)} bytes of a run: expected {sizeof(usec_t) + length}, for {self.njobs} jobs")
        self.make_room()
        memcpy(self.last + self.nruns, given, sizeof(usec_t))
        memcpy(self.start + <size_t> self.nruns * self.njobs, given + sizeof(usec_t), length)
        self.nruns += 1
        if DEBUG:
            self.sanity_check()
        return self.nruns - 1

    def sanity_check(self):
        """AssertionError unless each job is there once, and each run says when it starts or that it does not. For
        tests; a debug build does it after each run."""
        cdef i32 i
        cdef size_t place
        must(len({self.id[i] for i in range(self.njobs)}) == self.njobs, "comparison: a job is there twice")
        must(len({self.slot[i] for i in range(self.njobs)}) == self.njobs, "comparison: two jobs have one slot")
        must(0 <= self.nruns <= self.room and self.nruns <= self.last_room or self.nruns == 0,
             "comparison: more runs than there is room for")
        for place in range(<size_t> self.nruns * self.njobs):
            must(self.start[place] >= 0, "comparison: a start")
        for i in range(self.nruns):
            must(self.last[i] >= 0, "comparison: an end")

    cdef int make_room(self) except -1:
        """For one more run."""
        self.start = <usec_t *> grow(self.start, &self.room, self.nruns + 1, max(self.njobs, 1) * sizeof(usec_t))
        self.last = <usec_t *> grow(self.last, &self.last_room, self.nruns + 1, sizeof(usec_t))
        return 0

    cdef const usec_t *row(self, i32 run) except NULL:
        if not 0 <= run < self.nruns:
            raise ValueError(f"run {run}: expected one of {self.nruns}")
        return self.start + <size_t> run * self.njobs

    def starts(self, i32 run):
        """When each job starts in a run, in s since the epoch; None: never. ValueError for a run that there is not."""
        cdef i32 i
        cdef const usec_t *row = self.row(run)
        return [None if row[i] == time_never() else row[i] / <double> USEC for i in range(self.njobs)]

    def measures(self, i32 run):
        """A tuple of started, the number of jobs that start in a run; mean and p95, the mean and the 95th percentile of
        their waits in s from their submission on, None if none starts; end, when all has ended of which the end is
        known, the jobs that run now too, in s since the epoch. ValueError for a run that there is not."""
        cdef i32 i, count = 0
        cdef double total = 0.0
        cdef const usec_t *row = self.row(run)
        cdef usec_t *wait = <usec_t *> zeroed(self.njobs, sizeof(usec_t))
        try:
            for i in range(self.njobs):
                if row[i] != time_never():
                    wait[count] = max(row[i] - self.submitted[i], <usec_t> 0)
                    total += wait[count]
                    count += 1
            end = self.last[run] / <double> USEC
            if count == 0:
                return Measures(0, None, None, end)
            qsort(wait, count, sizeof(usec_t), compare_times)
            # Of 20 waits the 95th percentile is the 19th.
            i = <i32> ((19 * <i64> count + 19) / 20) - 1
            return Measures(count, total / count / USEC, wait[i] / <double> USEC, end)
        finally:
            free(wait)

    def changes(self, i32 run, i32 base, i32 most):
        """How the starts in a run differ from those in another, the base: a tuple of sooner and later, how many jobs
        start a second or more sooner or later; gain and lose, lists of (id, seconds) of the jobs to which that happens,
        the largest difference first, at most `most` of each. seconds is None if the job never starts in one of the two.
        ValueError for a run that there is not."""
        cdef i32 i, count = 0, sooner = 0, later = 0
        cdef const usec_t *row = self.row(run)
        cdef const usec_t *other = self.row(base)
        for i in range(self.njobs):
            if row[i] == other[i]:
                continue
            self.change[count].place = i
            self.change[count].sooner = other[i] - row[i]
            if self.change[count].sooner >= SAME:
                sooner += 1
            elif self.change[count].sooner <= -SAME:
                later += 1
            else:
                continue
            count += 1
        qsort(self.change, count, sizeof(Change), compare_changes)
        return Changes(
            sooner, later, [self.changed(row, other, i) for i in range(min(sooner, most))],
            [self.changed(row, other, count - 1 - i) for i in range(min(later, most))])

    cdef tuple changed(self, const usec_t *row, const usec_t *other, i32 at):
        """A job whose start differs, and by how many seconds."""
        cdef const Change *c = self.change + at
        if row[c.place] == time_never() or other[c.place] == time_never():
            return self.id[c.place], None
        return self.id[c.place], abs(c.sooner) / <double> USEC
