# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.domain cimport Domain
from fluxsched.core.future cimport Future
from fluxsched.core.job cimport Job
from fluxsched.core.planned cimport Planned
from fluxsched.core.queue cimport Queue
from fluxsched.core.types cimport i32, usec_t

# What becomes of a job when the pass comes to it.
cdef enum:
    ASK = 0                 # it is asked about
    STANDS = 1              # all that the last pass has decided about it stands
    DUE = 2                 # its reservation was due: it is to start


@cython.final
cdef class Settled:
    """What the last pass has decided, as far as it holds still."""
    cdef:
        Queue queue
        Future future
        bint holds              # the pass came to its end, and what has happened since is said by the rest
        i32 nopen               # jobs ahead of the tail, not parked, that wait and have no planned start
        i32 tail                # the first job in the order that is to be asked; -1: none
        Planned *planned        # [nplanned] in the order of the queue
        i32 nplanned
        i32 planned_room
        i32 ngone               # of these, jobs that have started since
        usec_t first            # no planned start is earlier
        bint keeps              # what is reserved stays, whatever comes or goes
        i32 nended              # jobs that have ended since; the first and the last of them were expected to end at
        usec_t first_end
        usec_t ended
        bint untold             # of some of these, the plan does not know what they have given back before that
        bint ordered            # planned is in the order of the queue
        usec_t touched          # since the job that look_ahead found was seen to fit, nothing was taken before then
        i32 nstanding           # reservations of the last pass to whose jobs this one has not come yet, and
        i32 *standing           # [components] those of each
        i32 standing_room

    cdef void begin(self, bint keeps) noexcept nogil
    cdef i32 place_of(self, i32 slot) noexcept nogil
    cdef bint late(self, usec_t now) noexcept nogil
    cdef void ask_all(self, Domain *domain, i32 ndomains, usec_t now) noexcept nogil
    cdef void close(self, bint holds) noexcept nogil
    cdef bint may_go_on(self, usec_t now, usec_t began, usec_t clock, bint expires, bint jumps) noexcept nogil
    cdef bint hears(self, const Job *j, bint hasty) except -1 nogil
    cdef bint spares(self, usec_t now) noexcept nogil
    cdef int unplan(self, i32 place) except -1 nogil
    cdef int fall_back(self, i32 slot, i32 component) except -1 nogil
    cdef int stand(self, Domain *domain, i32 ndomains, usec_t now) except -1 nogil
    cdef i32 meet(self, i32 slot, Domain *domain, usec_t now, i32 quiet_after) except -1 nogil
    cdef int plan(self, i32 slot, i32 domain, usec_t start) except -1 nogil
    cdef void end(self, usec_t end) noexcept nogil
    cdef bint rest_waits(self, usec_t now, usec_t last) noexcept nogil
    cdef bint may_start(self, i32 slot, usec_t now, usec_t last) noexcept nogil
    cdef bint whole(self) noexcept nogil
    cdef void pack(self) noexcept nogil
    cdef int comes(self, i32 slot, Domain *domain) except -1 nogil
    cdef int goes(self, i32 slot, Domain *domain) except -1 nogil
    cdef int leaves(self, i32 slot, Domain *domain) except -1 nogil
    cdef int retract(self, i32 place, Domain *domain) except -1 nogil
    cdef int go_back(self, i32 slot, Domain *domain) except -1 nogil
