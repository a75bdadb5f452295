# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Run times predicted by the system (Tsafrir, Etsion and Feitelson: Backfilling using system-generated predictions
rather than user runtime estimates, IEEE TPDS 18(6), 2007).

The rule. A job that waits is predicted to run for the mean of the run times of the two jobs of its user that ended
last, in whole microseconds rounded down, but for no less than one second, and for no more than it asked for. If fewer
than two have ended, it is predicted to run for as long as it asked for. Of jobs that end at one instant, that which the
host gives back last counts as last. The prediction is made anew at each pass, until the job starts.

A job that runs is expected to end when it was predicted to at its start. If a pass finds it running then or later, the
prediction was too low: it is raised by the first of 1, 5, 15 and 30 minutes, 1, 2, 5, 10, 20, 50 and 100 hours, then by
the second, and so on, until it lies in the future; but the job is never expected to run for longer than it may, and it
is expected to do so once the steps are used up.

It is killed when it has run for as long as it asked for, as ever. All users who are not known are one.
"""
from libc.stdlib cimport free

from fluxsched.core.engine cimport Engine
from fluxsched.core.expect cimport expect_end
from fluxsched.core.job cimport JOB_RUNNING, Job
from fluxsched.core.memory cimport duplicate, grow, memset
from fluxsched.core.types cimport USEC, i32, time_add, usec_t

cdef enum:
    STEPS = 11

# s by which a prediction that was too low is raised, one time after another.
cdef usec_t[STEPS] RAISED
RAISED[:] = [60, 300, 900, 1800, 3600, 7200, 18000, 36000, 72000, 180000, 360000]


cdef class Predictor:

    def __cinit__(self):
        self.running = {}

    def __dealloc__(self):
        free(self.user)
        free(self.fresh)
        free(self.duration)

    cdef Predictor fork(self):
        """One that knows the same, for a copy of the engine."""
        cdef Predictor out = Predictor()
        out.user = <Ended *> duplicate(self.user, self.nusers, sizeof(Ended))
        out.nusers = out.user_room = self.nusers
        out.fresh = <Fresh *> duplicate(self.fresh, self.nfresh, sizeof(Fresh))
        out.nfresh = out.fresh_room = self.nfresh
        out.running = dict(self.running)
        out.restored = self.restored
        return out

    def state(self):
        """What it has learnt, for restore: a dict of JSON values."""
        cdef i32 i
        return {"users": [[self.user[i].last, self.user[i].previous, self.user[i].count] for i in range(self.nusers)],
                "fresh": [[self.fresh[i].user, self.fresh[i].start] for i in range(self.nfresh)],
                "running": {str(jobid): length for jobid, length in self.running.items()}}

    def restore(self, state not None):
        """Be in the state that another one told of. Raises KeyError, TypeError, ValueError."""
        cdef i32 i
        users, fresh = list(state["users"]), list(state["fresh"])
        self.user = <Ended *> grow(self.user, &self.user_room, len(users), sizeof(Ended))
        self.nusers = len(users)
        for i in range(self.nusers):
            self.user[i] = Ended(users[i][0], users[i][1], users[i][2])
        self.fresh = <Fresh *> grow(self.fresh, &self.fresh_room, len(fresh), sizeof(Fresh))
        self.nfresh = len(fresh)
        for i in range(self.nfresh):
            self.fresh[i] = Fresh(fresh[i][0], fresh[i][1])
        self.running = {int(jobid): length for jobid, length in state["running"].items()}
        self.restored = True

    cdef int started(self, const Job *j) except -1 nogil:
        """A job is about to start."""
        with gil:
            self.running[j.id] = j.duration
        return 0

    cdef int ended(self, const Job *j) except -1 nogil:
        """A job has ended; when, the next call of settle tells."""
        self.fresh = <Fresh *> grow(self.fresh, &self.fresh_room, self.nfresh + 1, sizeof(Fresh))
        self.fresh[self.nfresh] = Fresh(j.user, j.start)
        self.nfresh += 1
        with gil:
            self.running.pop(j.id, None)
        return 0

    cdef int settle(self, usec_t now) except -1 nogil:
        """The jobs of which it has heard ended now."""
        cdef i32 i, old = self.nusers
        cdef Ended *user
        for i in range(self.nfresh):
            if self.fresh[i].user >= self.nusers:
                self.user = <Ended *> grow(self.user, &self.user_room, self.fresh[i].user + 1, sizeof(Ended))
                self.nusers = self.fresh[i].user + 1
                memset(self.user + old, 0, (self.nusers - old) * sizeof(Ended))
                old = self.nusers
            user = self.user + self.fresh[i].user
            user.previous = user.last
            user.last = max(now - self.fresh[i].start, 0)
            user.count = min(user.count + 1, 2)
        self.nfresh = 0
        return 0

    cdef usec_t predicted(self, const Job *j) noexcept nogil:
        """How long a job is predicted to run."""
        cdef usec_t mean
        if j.user >= self.nusers or self.user[j.user].count < 2:
            return j.limit
        mean = (self.user[j.user].last + self.user[j.user].previous) // 2
        return min(max(mean, <usec_t> USEC), j.limit)

    cdef usec_t end(self, const Job *j, usec_t now) noexcept nogil:
        """When a running job is expected to end."""
        cdef i32 k
        cdef usec_t end = time_add(j.start, j.duration)
        for k in range(STEPS):
            if end > now:
                break
            end += RAISED[k] * USEC
        return j.last if end <= now or end > j.last else end

    cdef int apply(self, Engine e) except -1 nogil:
        """Let the plan of the pass that begins go by what is predicted; for sched_loop_setup."""
        cdef i32 i, slot
        cdef const i32 *slots
        self.settle(e.now)
        if self.restored:
            with gil:
                self.take_up(e)
        if e.queue.count:
            slots = e.queue.flat()
            self.duration = <usec_t *> grow(self.duration, &self.duration_room, e.queue.count, sizeof(usec_t))
            for i in range(e.queue.count):
                self.duration[i] = self.predicted(e.job(slots[i]))
            e.queue.expect(self.duration)
        # Those that are overdue stand first; one that is raised goes to a later place.
        i = 0
        while i < e.jobs.running.count and e.jobs.running.item[i].end <= e.now:
            slot = e.jobs.running.item[i].job
            if e.job(slot).end == e.job(slot).last:
                i += 1
            else:
                expect_end(e, slot, self.end(e.job(slot), e.now))
        return 0

    cdef int take_up(self, Engine e) except -1:
        """Running jobs that another engine has started were predicted to run as long as there; when they are expected
        to end, the engine has been told."""
        cdef i32 slot
        for slot in range(e.jobs.count):
            length = self.running.get(e.job(slot).id) if e.job(slot).state == JOB_RUNNING else None
            if length is not None:
                e.jobs.item[slot].duration = length
        self.restored = False
        return 0
