# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A policy in Cython: first come, first served, but up to skip=N blocked jobs
of a queue may be passed over (default 3). None of them has a reservation.

    flux-sched plugin build doc/examples/skip.pyx
    flux module load sched plugin=$PWD/doc/examples/skip.so plugin-opts=skip=5
"""
from fluxsched.core.engine cimport GO_ON, HOLD, Engine
from fluxsched.core.job cimport WHY_RESOURCES
from fluxsched.core.types cimport i32
from fluxsched.policy.base cimport Policy

from fluxsched.policy.options import int_option, no_more_options


cdef class Plugin(Policy):
    cdef i32 skip

    def __init__(self, name, dict options not None):
        super().__init__(name, options)
        left = dict(options)
        self.skip = int_option(left, "skip", 3, 0)
        no_more_options(left, ["skip"])

    cdef int sched_loop_setup(self, Engine e) except -1 nogil:
        return 0

    cdef int find_resources(self, Engine e, i32 job) except -1 nogil:
        return e.fits_now(job)

    cdef int select_resources(self, Engine e, i32 job) except -1 nogil:
        return e.select(job)

    cdef int allocate_resources(self, Engine e, i32 job) except -1 nogil:
        return e.start(job)

    cdef int reserve_resources(self, Engine e, i32 job) except -1 nogil:
        e.explain(job, WHY_RESOURCES)
        return GO_ON if e.blocked(job) <= self.skip else HOLD
