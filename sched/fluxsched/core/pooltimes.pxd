# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.job cimport Job
from fluxsched.core.reservation cimport Reservation
from fluxsched.core.running cimport Running
from fluxsched.core.state cimport State
from fluxsched.core.types cimport i32, i64, usec_t


@cython.final
cdef class PoolTimes:
    """What is free of pools in a window of time."""
    cdef:
        State state
        i64 *pool               # [npools] once anybody asked
        i32 room

    cdef const i64 *least(self, usec_t start, usec_t end, usec_t now, Running running, const Job *jobs,
                          const Reservation *reserved, i32 nreserved) except NULL nogil
