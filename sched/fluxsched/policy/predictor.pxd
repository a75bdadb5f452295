# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.engine cimport Engine
from fluxsched.core.job cimport Job
from fluxsched.core.types cimport i32, usec_t

# What is known of a user's jobs that have ended.
cdef struct Ended:
    usec_t last             # run time of the last one
    usec_t previous         # and of the one before it
    i32 count               # of these two that there are

# A job that has ended since the last pass.
cdef struct Fresh:
    i32 user
    usec_t start


@cython.final
cdef class Predictor:
    """Run times that are predicted from those of each user's last two jobs."""
    cdef:
        Ended *user             # [nusers] by the number of the user
        i32 nusers
        i32 user_room
        Fresh *fresh            # [nfresh]
        i32 nfresh
        i32 fresh_room
        dict running            # job id -> µs that it was predicted to run, at its start
        bint restored           # running is of jobs that another engine started
        usec_t *duration        # scratch
        i32 duration_room

    cdef Predictor fork(self)
    cdef int started(self, const Job *j) except -1 nogil
    cdef int ended(self, const Job *j) except -1 nogil
    cdef int settle(self, usec_t now) except -1 nogil
    cdef usec_t predicted(self, const Job *j) noexcept nogil
    cdef usec_t end(self, const Job *j, usec_t now) noexcept nogil
    cdef int apply(self, Engine e) except -1 nogil
    cdef int take_up(self, Engine e) except -1
