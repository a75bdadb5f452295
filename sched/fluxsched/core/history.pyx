# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the jobs of each user did with the time that they asked for.

A job that is over leaves the part of its requested time that it ran. The last ones of a user are kept, and the run time
of another of that user's is drawn from them. This is the model of Tsafrir, Etsion and Feitelson (Backfilling using
system-generated predictions rather than user runtime estimates, IEEE TPDS 18(6), 2007), who take the mean of the last
two; a draw keeps their spread.
"""
from libc.stdlib cimport free
from libc.string cimport memset

from fluxsched.core.engine cimport Engine
from fluxsched.core.job cimport JOB_RUNNING, JOB_WAITING, Job
from fluxsched.core.memory cimport grow, zeroed
from fluxsched.core.types cimport i32, time_never, u64, usec_t


cdef inline u64 next_random(u64 *state) noexcept nogil:
    """SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    cdef u64 z
    state[0] += <u64> 0x9E3779B97F4A7C15
    z = state[0]
    z = (z ^ (z >> 30)) * <u64> 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <u64> 0x94D049BB133111EB
    return z ^ (z >> 31)


cdef double drawn(const Past *p, double least, u64 *state) noexcept nogil:
    """The part that one of a user's jobs ran, of those that ran more than `least`; 1 if none did."""
    cdef i32 i, count = 0
    cdef u64 place
    for i in range(p.count):
        count += p.part[i] > least
    if count == 0:
        return 1.0
    place = next_random(state) % <u64> count
    for i in range(p.count):
        if p.part[i] > least:
            if place == 0:
                return p.part[i]
            place -= 1
    return 1.0


cdef class History:
    """The last jobs of each user. A user is whatever the host names one by."""

    def __cinit__(self):
        self.rows = {}

    def __dealloc__(self):
        free(self.past)

    def note(self, user, double part):
        """A job of a user is over, and has run this part of the time that it asked for: 0 to 1, and what is beyond
        counts as 1. ValueError for no number."""
        cdef Past *p
        if not part >= 0:
            raise ValueError(f"part {part!r}: expected a number, 0 or more")
        if user not in self.rows:
            self.past = <Past *> grow(self.past, &self.room, self.nrows + 1, sizeof(Past))
            memset(self.past + self.nrows, 0, sizeof(Past))
            self.rows[user] = self.nrows
            self.nrows += 1
        p = self.past + <i32> self.rows[user]
        p.part[p.next] = min(part, 1.0)
        p.next = (p.next + 1) % KEPT
        p.count = min(p.count + 1, KEPT)

    def parts(self, user):
        """What is kept of a user, oldest first; [] for one who is not known."""
        cdef const Past *p
        cdef i32 i
        if user not in self.rows:
            return []
        p = self.past + <i32> self.rows[user]
        return [p.part[(p.next - p.count + i + KEPT) % KEPT] for i in range(p.count)]

    @property
    def users(self):
        """All users of whom something is kept, in the order in which they came."""
        return list(self.rows)

    cdef int draw(self, Engine e, dict numbers, usec_t now, u64 seed, usec_t *length) except -1:
        """Draw the run time of each job of an engine into length, by slot; it stays as it is for a job without a limit
        and for one whose user is not known. numbers: the engine's number of each user, from 1 on."""
        cdef i32 slot, row
        cdef usec_t limit
        cdef const Job *j
        cdef double least
        cdef u64 state = seed
        cdef i32 *row_of = <i32 *> zeroed(len(numbers) + 1, sizeof(i32))
        try:
            row_of[0] = <i32> self.rows.get(None, -1)
            for user, number in numbers.items():
                row_of[<i32> number] = <i32> self.rows.get(user, -1)
            for slot in range(e.jobs.count):
                j = e.jobs.item + slot
                row = row_of[j.user]
                if row < 0 or (j.state != JOB_WAITING and j.state != JOB_RUNNING):
                    continue
                limit = j.duration
                least = -1.0
                if j.state == JOB_RUNNING:
                    # Its limit may have changed since it was asked for.
                    limit = j.end if j.end == time_never() else j.end - j.start
                    least = (now - j.start) / <double> limit if limit > 0 else 1.0
                if limit > 0 and limit != time_never():
                    length[slot] = <usec_t> (limit * drawn(self.past + row, least, &state))
        finally:
            free(row_of)
        return 0
