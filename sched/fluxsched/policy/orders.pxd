# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.engine cimport Engine
from fluxsched.core.job cimport Job
from fluxsched.core.types cimport i32, i64, usec_t

# What a score may depend on; times in s.
cdef struct Facts:
    double submit               # since the oldest job's
    double request              # requested time, more than 0
    double cores
    double now                  # since the oldest job's submit time
    double wait                 # now - submit, at least 0
    double machine              # cores that are up
    double usage                # the user's part of all decayed usage, 0 to 1
    double share                # 1 / number of users that have run jobs
    double weight_age
    double weight_size
    double weight_fairshare
    double max_age

ctypedef double (*score_t)(const Facts *f) noexcept nogil


cdef class Formula:
    """The score of a queue order; called with the names of Facts, it answers a job's score."""
    cdef:
        score_t score
        readonly str name
        readonly bint fixed     # does not depend on now, nor on what has run
        readonly str meaning
        readonly str source     # where it comes from; "": nowhere in particular


# A waiting job until it is old enough to go to the front.
cdef struct Aging:
    usec_t submitted
    i64 id
    i32 slot


cdef class Order:
    """A queue order as a policy carries it; see fluxsched.policy.orders."""
    cdef:
        readonly Formula formula
        readonly double aging           # s; 0: none
        readonly double half_life       # s
        Facts facts                     # with the weights; the rest is filled in for each job
        bint started                    # origin is known
        usec_t origin                   # the oldest submit time of the jobs seen
        usec_t usage_at                 # when usage was last decayed
        double *usage                   # [nusers] core seconds, decayed
        double total                    # their sum
        i32 nusers
        i32 user_room
        # An order by fixed scores is kept in the queue.
        bint scored                     # the scores in the queue are those of this order
        usec_t kept_at                  # time of the last pass
        Aging *young                    # [nyoung] heap, oldest at the top; some may wait no more
        i32 nyoung
        i32 young_room
        # For any other, one is made when the time or the queue has changed.
        usec_t made_at
        i32 made_for                    # version of the queue
        i64 made_machine                # cores that were up
        bint charged                    # since then
        double *score                   # [score_room] scratch of a pass
        i32 score_room

    cdef Order fork(self)
    cdef void look_at(self, Engine e, const Job *j) noexcept nogil
    cdef tuple rank(self, Engine e, const Job *j)
    cdef void decay(self, usec_t now) noexcept nogil
    cdef int apply(self, Engine e) except -1 nogil
    cdef int score_of(self, Engine e, i32 job, double *out) except -1 nogil
    cdef int keep(self, Engine e) except -1 nogil
    cdef int make(self, Engine e) except -1 nogil
    cdef int watch(self, Engine e, i32 job) except -1 nogil
    cdef bint watched(self, Engine e, const Aging *young) noexcept nogil
    cdef int charge(self, Engine e, i32 job) except -1 nogil
