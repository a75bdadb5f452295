# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the jobs of each user did with the time that they asked for.

A job that is over leaves the part of its requested time that it ran. The last ones of a user are kept, and the run time
of another of that user's is drawn from them: of three that are drawn, the one that asked for the time that is most
alike. (A request that is large is so the more often because too much was asked for.) The model is that of Tsafrir,
Etsion and Feitelson (Backfilling using system-generated predictions rather than user runtime estimates, IEEE TPDS
18(6), 2007), who take the mean of the last two; a draw keeps the spread.
"""
from libc.math cimport INFINITY, exp2, fabs, isfinite, log2
from libc.stdlib cimport free

from fluxsched.core.check cimport must
from fluxsched.core.engine cimport Engine
from fluxsched.core.job cimport JOB_RUNNING, JOB_WAITING, Job
from fluxsched.core.memory cimport grow, memset, zeroed
from fluxsched.core.types cimport DEBUG, USEC, i32, time_never, u64, usec_t


cdef inline u64 next_random(u64 *state) noexcept nogil:
    """SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    cdef u64 z
    state[0] += <u64> 0x9E3779B97F4A7C15
    z = state[0]
    z = (z ^ (z >> 30)) * <u64> 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <u64> 0x94D049BB133111EB
    return z ^ (z >> 31)


cdef double drawn(const Past *p, double least, double asked, u64 *state) noexcept nogil:
    """The part that one of a user's jobs ran, of those that ran more than `least`; 1 if none did. asked: log2 of the
    time that the job asks for, in s."""
    cdef i32 kept[KEPT]
    cdef i32 i, chosen, count = 0
    cdef double nearest, best = 1.0
    for i in range(p.count):
        if p.part[i] > least:
            kept[count] = i
            count += 1
    for i in range(LIKE if count else 0):
        chosen = kept[next_random(state) % <u64> count]
        if i == 0 or fabs(p.asked[chosen] - asked) < nearest:
            nearest = fabs(p.asked[chosen] - asked)
            best = p.part[chosen]
    return best


cdef double expected(const Past *p, double least, double asked) noexcept nogil:
    """The mean of what is drawn: a job is what it is if no more alike one is drawn, and of those that are equally alike
    the first that is drawn."""
    cdef double apart[KEPT]
    cdef double part[KEPT]
    cdef double d, total, behind, mean = 0.0
    cdef i32 i, j, count = 0
    for i in range(p.count):
        if p.part[i] > least:
            d = fabs(p.asked[i] - asked)
            j = count
            while j and apart[j - 1] > d:
                apart[j] = apart[j - 1]
                part[j] = part[j - 1]
                j -= 1
            apart[j] = d
            part[j] = p.part[i]
            count += 1
    if count == 0:
        return 1.0
    i = 0
    while i < count:
        total = 0.0
        j = i
        while j < count and apart[j] == apart[i]:
            total += part[j]
            j += 1
        behind = <double> (count - j) / count
        d = <double> (count - i) / count
        mean += (d ** LIKE - behind ** LIKE) * total / (j - i)
        i = j
    return mean


cdef void keep(Past *p, double part, double asked) noexcept nogil:
    """One more job."""
    p.part[p.next] = part
    p.asked[p.next] = asked
    p.next = (p.next + 1) % KEPT
    p.count = min(p.count + 1, KEPT)


cdef int check_ring(const Past *p) except -1:
    """AssertionError unless a ring is filled from its beginning on, and holds parts and times."""
    cdef i32 i
    must(0 <= p.count <= KEPT and p.next == (p.count % KEPT if p.count < KEPT else p.next) and 0 <= p.next < KEPT,
         "history: the places of a ring")
    for i in range(p.count):
        must(0 <= p.part[i] <= 1, "history: a part of a time")
        must(isfinite(p.asked[i]), "history: a time")
    return 0


cdef class History:
    """The last jobs of each user. A user is whatever the host names one by."""

    def __cinit__(self):
        self.rows = {}

    def __dealloc__(self):
        free(self.past)

    def note(self, user, double part, double asked):
        """A job of a user is over, and has run this part of the time that it asked for: 0 to 1, and what is beyond
        counts as 1. asked: that time in s, more than 0. ValueError for no such numbers."""
        if not part >= 0:
            raise ValueError(f"part {part!r}: expected a number, 0 or more")
        if not 0 < asked < INFINITY:
            raise ValueError(f"time {asked!r}: expected a number of seconds, more than 0")
        if user not in self.rows:
            self.past = <Past *> grow(self.past, &self.room, self.nrows + 1, sizeof(Past))
            memset(self.past + self.nrows, 0, sizeof(Past))
            self.rows[user] = self.nrows
            self.nrows += 1
        keep(self.past + <i32> self.rows[user], min(part, 1.0), log2(asked))
        keep(&self.everyone, min(part, 1.0), log2(asked))
        if DEBUG:
            self.sanity_check()

    def jobs(self, user):
        """What is kept of a user's jobs, oldest first: (part, asked) as in note; [] for one who is not known."""
        cdef const Past *p
        cdef i32 i
        if user not in self.rows:
            return []
        p = self.past + <i32> self.rows[user]
        at = [(p.next - p.count + i + KEPT) % KEPT for i in range(p.count)]
        return [(p.part[<i32> place], exp2(p.asked[<i32> place])) for place in at]

    @property
    def users(self):
        """All users of whom something is kept, in the order in which they came."""
        return list(self.rows)

    def sanity_check(self):
        """AssertionError unless each user has a row, and what is kept of all is as much as what is kept of each. For
        tests; a debug build does it after each job."""
        cdef i32 i, total = 0
        must(sorted(self.rows.values()) == list(range(self.nrows)) and self.nrows <= self.room, "history: rows")
        for i in range(self.nrows):
            check_ring(self.past + i)
            must(self.past[i].count > 0, "history: a user without a job")
            total += self.past[i].count
        check_ring(&self.everyone)
        must(self.everyone.count == min(total, KEPT), "history: the last jobs of all")

    cdef int draw(self, Engine e, dict numbers, usec_t now, u64 seed, bint mean, usec_t *length) except -1:
        """Draw the run time of each job of an engine into length, by slot, or put the mean of what is drawn there; it
        stays as it is for a job without a limit. That of a user of whom nothing is kept is drawn from the last jobs of
        all. numbers: the engine's number of each user, from 1 on."""
        cdef i32 slot, row
        cdef usec_t limit
        cdef const Job *j
        cdef const Past *p
        cdef double least, part, asked
        cdef u64 state = seed
        cdef i32 *row_of = <i32 *> zeroed(len(numbers) + 1, sizeof(i32))
        try:
            row_of[0] = <i32> self.rows.get(None, -1)
            for user, number in numbers.items():
                row_of[<i32> number] = <i32> self.rows.get(user, -1)
            for slot in range(e.jobs.count):
                j = e.jobs.item + slot
                row = row_of[j.user]
                p = self.past + row if row >= 0 else &self.everyone
                if p.count == 0 or (j.state != JOB_WAITING and j.state != JOB_RUNNING):
                    continue
                limit = j.limit
                least = -1.0
                if j.state == JOB_RUNNING:
                    # Its limit may have changed since it was asked for.
                    limit = j.last if j.last == time_never() else j.last - j.start
                    least = (now - j.start) / <double> limit if limit > 0 else 1.0
                if limit > 0 and limit != time_never():
                    asked = log2(limit / <double> USEC)
                    part = expected(p, least, asked) if mean else drawn(p, least, asked, &state)
                    length[slot] = <usec_t> (limit * part)
        finally:
            free(row_of)
        return 0
