# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pools over time: memory, bandwidth, licenses.

A pool is an amount; what runs holds some of it until its expected end, and a reservation some of it in its window.
"""
from libc.stdlib cimport free

from fluxsched.core.alloc cimport Alloc
from fluxsched.core.job cimport Job
from fluxsched.core.memory cimport grow, memcpy
from fluxsched.core.reservation cimport Reservation
from fluxsched.core.running cimport Running, release_time
from fluxsched.core.state cimport State
from fluxsched.core.types cimport i32, i64, usec_t


cdef i64 in_alloc(const Alloc *a, i32 pool) noexcept nogil:
    """How much of a pool is in a."""
    cdef i64 amount = 0
    cdef i32 k
    for k in range(a.ntakes):
        if a.take[k].pool == pool:
            amount += a.take[k].amount
    return amount


cdef i64 reserved_at(const Reservation *reserved, i32 n, i32 pool, usec_t t) noexcept nogil:
    """How much of a pool is reserved at t."""
    cdef i64 amount = 0
    cdef i32 i
    for i in range(n):
        if reserved[i].start <= t and t < reserved[i].end:
            amount += in_alloc(&reserved[i].alloc, pool)
    return amount


cdef class PoolTimes:

    def __cinit__(self, State state not None):
        self.state = state

    def __dealloc__(self):
        free(self.pool)

    cdef const i64 *least(self, usec_t start, usec_t end, usec_t now, Running running, const Job *jobs,
                          const Reservation *reserved, i32 nreserved) except NULL nogil:
        """[npools] the least of each pool that is free at one time from start to end; it holds until the next call.

        Running jobs give back meanwhile, and what they give back may be what a reservation waits for: so the starts of
        reservations are looked at one by one."""
        cdef i32 i, k, pool
        cdef usec_t t
        cdef i64 amount, left
        cdef const Alloc *a
        self.pool = <i64 *> grow(self.pool, &self.room, self.state.npools + 1, sizeof(i64))
        memcpy(self.pool, self.state.pool_free, self.state.npools * sizeof(i64))
        for i in range(running.count):
            if release_time(running.item[i].end, now) > start:
                break
            a = &jobs[running.item[i].job].alloc
            for k in range(a.ntakes):
                self.pool[a.take[k].pool] += a.take[k].amount
        if nreserved == 0:
            return self.pool
        for pool in range(self.state.npools):
            amount = self.pool[pool]
            self.pool[pool] -= reserved_at(reserved, nreserved, pool, start)
            for i in range(nreserved):
                t = reserved[i].start
                if t <= start or t >= end or reserved[i].end < 0:
                    continue
                left = amount - reserved_at(reserved, nreserved, pool, t)
                for k in range(running.count):
                    if release_time(running.item[k].end, now) > t:
                        break
                    if release_time(running.item[k].end, now) > start:
                        left += in_alloc(&jobs[running.item[k].job].alloc, pool)
                self.pool[pool] = min(self.pool[pool], left)
        return self.pool
