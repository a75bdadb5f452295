# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.engine cimport Engine
from fluxsched.core.types cimport i32, u64, usec_t

cdef enum:
    KEPT = 32               # jobs of a user
    LIKE = 3                # jobs among which the most alike is drawn

# The last jobs of a user, in a ring.
cdef struct Past:
    double part[KEPT]       # of the time that a job asked for, which it ran
    double asked[KEPT]      # log2 of that time in s
    i32 count
    i32 next


cdef class History:
    cdef:
        dict rows               # user -> row
        Past *past              # [nrows]
        i32 nrows
        Past everyone           # the last jobs of all users
        i32 room

    cdef int draw(self, Engine e, dict numbers, usec_t now, u64 seed, bint mean, usec_t *length) except -1
