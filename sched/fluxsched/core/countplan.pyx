# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The future as a number of free units over time.

Where all jobs take whole nodes that are as good as each other (or all take
single cores), the number of free units over time says everything: any set of
intervals that never exceeds the number of nodes can be given nodes. So this
plan is exact, and it is small. Otherwise fluxsched.core.nodeplan is used.

A plan lasts one pass. Reservations are made in it, not kept: every pass plans
from scratch. A running job returns what it holds at its expected end (one
tick from now, if that is past); a job without a duration returns it at
far_future(), a time after every finite end, so a reservation that depends on
it still protects its nodes from jobs without a duration.

The profile never holds two neighbours with as many free units, so its length
follows what changes in it, not the number of jobs. Within a pass free units
only become fewer, so the start found for one job bounds that of every later
one that asks for as many units, or more, for as long, or longer.
"""
from libc.stdlib cimport free
from libc.string cimport memmove

from fluxsched.core.alloc cimport grown
from fluxsched.core.job cimport Job
from fluxsched.core.memory cimport no_memory
from fluxsched.core.types cimport i32, i64, time_add, time_never, usec_t


cdef class Running:

    def __dealloc__(self):
        free(self.item)

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

    cdef int insert(self, usec_t end, i32 job) except -1 nogil:
        cdef i32 i
        cdef void *room = grown(self.item, &self.room, self.count + 1, sizeof(Ending))
        if room is NULL:
            no_memory(b"no memory for the list of running jobs")
        self.item = <Ending *> room
        i = self.place(end, job)
        memmove(self.item + i + 1, self.item + i, (self.count - i) * sizeof(Ending))
        self.item[i] = Ending(end, job)
        self.count += 1
        return 0

    cdef void remove(self, usec_t end, i32 job) noexcept nogil:
        cdef i32 i = self.place(end, job)
        self.count -= 1
        memmove(self.item + i, self.item + i + 1, (self.count - i) * sizeof(Ending))


cdef class CountPlan:

    def __dealloc__(self):
        free(self.time)
        free(self.free)

    cdef void begin(self, usec_t now, i64 free_now) noexcept nogil:
        self.now = now
        self.free_now = free_now
        self.nreserved = 0
        self.built = False
        self.nfound = 0
        self.oldest = 0

    cdef bint fits_now(self, i64 units, usec_t end) noexcept nogil:
        """Whether so many units are free from now to end, reservations kept."""
        cdef i32 i
        if units > self.free_now:
            return False
        if not self.built:
            return self.nreserved == 0 or end <= self.shadow or units <= self.extra
        for i in range(self.npoints):
            if self.time[i] >= end:
                break
            if self.free[i] < units:
                return False
        return True

    cdef int start(self, i64 units, usec_t end) except -1 nogil:
        """A job starts now; the caller has put it in the running list, too."""
        self.free_now -= units
        if self.built:
            self.subtract(self.now, end, units)
        elif self.nreserved and end > self.shadow:
            self.extra -= units
        return 0

    cdef int earliest(self, i64 units, usec_t duration, Running running, const Job *jobs,
                      usec_t *out) except -1 nogil:
        """1 and the earliest start that no reservation forbids, or 0: never."""
        cdef i32 i, j
        cdef i64 total
        cdef usec_t t, end
        if self.nreserved == 0:
            total = self.free_now
            if total >= units:
                out[0] = self.now
                return 1
            i = 0
            while i < running.count:
                t = release_time(running.item[i].end, self.now)
                while i < running.count and release_time(running.item[i].end, self.now) == t:
                    total += jobs[running.item[i].job].units
                    i += 1
                if total >= units:
                    out[0] = t
                    return 1
            return 0
        if not self.built:
            self.build(running, jobs)
        t = self.bound(units, duration)
        i = self.place(t)
        # Between its neighbours, where the step that the bound came from is gone.
        if i == self.npoints or self.time[i] > t:
            i -= 1
        while i < self.npoints:
            if self.free[i] < units:
                i += 1
                continue
            end = time_add(self.time[i], duration)
            j = i + 1
            while j < self.npoints and self.time[j] < end and self.free[j] >= units:
                j += 1
            if j == self.npoints or self.time[j] >= end:
                out[0] = self.time[i]
                self.remember(units, duration, out[0])
                return 1
            i = j
        return 0

    cdef int reserve(self, i64 units, usec_t start, usec_t duration, Running running,
                     const Job *jobs) except -1 nogil:
        """Keep units from start on for duration."""
        cdef i32 i
        if self.nreserved == 0:
            # One reservation needs no profile: before it nothing changes, and
            # from it on what counts is what is free at its start.
            self.shadow = start
            self.shadow_end = time_add(start, duration)
            self.shadow_units = units
            self.extra = self.free_now - units
            for i in range(running.count):
                if release_time(running.item[i].end, self.now) > start:
                    break
                self.extra += jobs[running.item[i].job].units
            self.nreserved = 1
            return 0
        if not self.built:
            self.build(running, jobs)
        self.subtract(start, time_add(start, duration), units)
        self.nreserved += 1
        return 0

    cdef int need(self, i32 points) except -1 nogil:
        """Room for so many points of the profile."""
        cdef i32 old = self.room
        cdef void *room = grown(self.time, &self.room, points, sizeof(usec_t))
        if room is NULL:
            no_memory(b"no memory for the plan")
        self.time = <usec_t *> room
        if self.room != old:
            room = grown(self.free, &old, self.room, sizeof(i64))
            if room is NULL:
                no_memory(b"no memory for the plan")
            self.free = <i64 *> room
        return 0

    cdef int build(self, Running running, const Job *jobs) except -1 nogil:
        """The whole profile, from the running jobs and the first reservation."""
        cdef i32 i
        cdef usec_t t
        self.need(running.count + 1)
        self.time[0] = self.now
        self.free[0] = self.free_now
        self.npoints = 1
        for i in range(running.count):
            t = release_time(running.item[i].end, self.now)
            if t != self.time[self.npoints - 1]:
                self.time[self.npoints] = t
                self.free[self.npoints] = self.free[self.npoints - 1]
                self.npoints += 1
            self.free[self.npoints - 1] += jobs[running.item[i].job].units
        self.built = True
        self.subtract(self.shadow, self.shadow_end, self.shadow_units)
        return 0

    cdef usec_t bound(self, i64 units, usec_t duration) noexcept nogil:
        """A time before which so many units are not free for so long."""
        cdef i32 i
        cdef usec_t t = self.now
        for i in range(self.nfound):
            if self.found[i].start > t and self.found[i].units <= units and self.found[i].duration <= duration:
                t = self.found[i].start
        return t

    cdef void remember(self, i64 units, usec_t duration, usec_t start) noexcept nogil:
        """Note a start that was found, in place of what it makes useless."""
        cdef i32 i
        for i in range(self.nfound):
            if (units <= self.found[i].units and duration <= self.found[i].duration
                    and start >= self.found[i].start):
                break
        else:
            if self.nfound < MOST_FOUND:
                i = self.nfound
                self.nfound += 1
            else:
                i = self.oldest
                self.oldest = (self.oldest + 1) % MOST_FOUND
        self.found[i] = Found(units, duration, start)

    cdef i32 place(self, usec_t t) noexcept nogil:
        """Index of the first point not before t."""
        cdef i32 low = 0, high = self.npoints, middle
        while low < high:
            middle = (low + high) >> 1
            if self.time[middle] < t:
                low = middle + 1
            else:
                high = middle
        return low

    cdef void drop(self, i32 i) noexcept nogil:
        """Remove a point that says no more than the one before it."""
        if i < 1 or i >= self.npoints or self.free[i] != self.free[i - 1]:
            return
        self.npoints -= 1
        memmove(self.time + i, self.time + i + 1, (self.npoints - i) * sizeof(usec_t))
        memmove(self.free + i, self.free + i + 1, (self.npoints - i) * sizeof(i64))

    cdef i32 split(self, usec_t t) except -1 nogil:
        """Index of the point at t, made if there is none; now <= t."""
        cdef i32 low = self.place(t)
        if low < self.npoints and self.time[low] == t:
            return low
        self.need(self.npoints + 1)
        memmove(self.time + low + 1, self.time + low, (self.npoints - low) * sizeof(usec_t))
        memmove(self.free + low + 1, self.free + low, (self.npoints - low) * sizeof(i64))
        self.time[low] = t
        self.free[low] = self.free[low - 1]
        self.npoints += 1
        return low

    cdef int subtract(self, usec_t start, usec_t end, i64 units) except -1 nogil:
        """units fewer from start to end."""
        cdef i32 i, first = self.split(start), last
        last = self.split(end) if end != time_never() else self.npoints
        for i in range(first, last):
            self.free[i] -= units
        self.drop(last)
        self.drop(first)
        return 0
