# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Ordering domains: what a pass has come to in each."""

from fluxsched.core.bits cimport intersects
from fluxsched.core.eligible cimport Eligible
from fluxsched.core.engine cimport GO_ON, HOLD
from fluxsched.core.memory cimport memset
from fluxsched.core.types cimport i32


cdef void begin(Domain *domain, i32 count) noexcept nogil:
    """A pass begins."""
    cdef i32 d, waiting
    for d in range(count):
        waiting = domain[d].waiting
        memset(domain + d, 0, sizeof(Domain))
        domain[d].waiting = waiting


cdef void meet_anew(Domain *domain, i32 count) noexcept nogil:
    """A pass is gone on with, from some job on."""
    cdef i32 d
    for d in range(count):
        domain[d].met = 0


cdef bint all_stopped(const Domain *domain, i32 count) noexcept nogil:
    """Whether no domain with waiting jobs considers any more in this pass."""
    cdef i32 d
    for d in range(count):
        if domain[d].stopped == GO_ON and domain[d].waiting:
            return False
    return True


cdef bint held_elsewhere(const Domain *domain, i32 count, i32 own, i32 elig, Eligible eligible) noexcept nogil:
    """Whether a blocked head of another domain waits for nodes of an eligible set."""
    cdef i32 d
    for d in range(count):
        if d != own and domain[d].stopped == HOLD and intersects(
                eligible.bits[domain[d].held_elig], eligible.bits[elig], eligible.state.nwords):
            return True
    return False


cdef bint quiet(const Domain *d, i32 after) noexcept nogil:
    """Whether a job that cannot start changes nothing in the rest of the pass; after: Operations.quiet_after."""
    return d.reserved >= after and d.blocked > 0


cdef bint may_jump(Domain *domain, i32 count, i32 after) noexcept nogil:
    """Whether no job that cannot start changes anything in the rest of the pass, whatever its domain."""
    cdef i32 d
    for d in range(count):
        if domain[d].stopped == GO_ON and domain[d].met < domain[d].waiting and not quiet(domain + d, after):
            return False
    for d in range(count):
        domain[d].jumped |= domain[d].stopped == GO_ON
    return True
