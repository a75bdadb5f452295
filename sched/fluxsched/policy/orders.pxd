# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.engine cimport Engine
from fluxsched.core.types cimport i32, usec_t


cdef class Order:
    """A queue order as a policy carries it; see fluxsched.policy.orders."""
    cdef:
        readonly str name
        int kind
        readonly double aging           # s; 0: none
        readonly double weight_age
        readonly double weight_size
        readonly double weight_fairshare
        readonly double max_age         # s
        readonly double half_life       # s
        bint started                    # origin is known
        usec_t origin                   # submit time of the first job seen
        usec_t usage_at                 # when usage was last decayed
        double *usage                   # [nusers] core seconds, decayed
        double total                    # their sum
        i32 nusers
        i32 user_room
        double *score                   # [score_room] scratch of a pass
        i32 score_room

    cdef void decay(self, usec_t now) noexcept nogil
    cdef int apply(self, Engine e) except -1 nogil
    cdef int charge(self, Engine e, i32 job) except -1 nogil
