# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.eligible cimport Eligible
from fluxsched.core.types cimport i32

# An ordering domain in the current pass.
cdef struct Domain:
    i32 waiting             # jobs that wait; the rest is of the pass
    i32 stopped             # GO_ON, STOP or HOLD
    i32 met                 # waiting jobs to which the pass has come: no fewer are behind it than the others
    i32 considered          # jobs considered
    i32 blocked             # of these, jobs that could not start
    i32 reserved            # reservations made
    i32 why_behind          # once stopped: why the jobs behind wait
    i32 held_elig           # with HOLD: eligible set of the blocked head
    i32 jumped              # jobs that could not start were passed over without a question


cdef void begin(Domain *domain, i32 count) noexcept nogil
cdef void meet_anew(Domain *domain, i32 count) noexcept nogil
cdef bint all_stopped(const Domain *domain, i32 count) noexcept nogil
cdef bint held_elsewhere(const Domain *domain, i32 count, i32 own, i32 elig, Eligible eligible) noexcept nogil
cdef bint quiet(const Domain *d, i32 after) noexcept nogil
cdef bint may_jump(Domain *domain, i32 count, i32 after) noexcept nogil
