# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Why a job waits and when it is planned to start, when somebody asks."""
from fluxsched.core.bits cimport intersects
from fluxsched.core.domain cimport Domain
from fluxsched.core.engine cimport HOLD, Engine
from fluxsched.core.job cimport (
    WHY_BEHIND, WHY_DEPTH, WHY_NEW, WHY_OTHER, WHY_OVERLAP, WHY_POLICY, WHY_RESERVED, WHY_RESOURCES, Job,
)
from fluxsched.core.types cimport i32, time_add, time_never, usec_t


cdef i32 why_waits(Engine e, i32 slot) except -1 nogil:
    """The reason that is true of a waiting job, wherever the last pass stopped: WHY_…."""
    cdef Job *j = e.jobs.item + slot
    cdef Domain *d = e.domain + j.domain
    cdef i32 other, why = e.future.check_parked(e.jobs.item + slot, e.removal)
    cdef bint asked = j.asked_in == e.npasses
    cdef bint seen = j.added_in != e.number() and not e.suspended
    cdef bint jumped = not asked and d.jumped and seen
    if why:
        return why
    # A job ahead of it, or of another queue, holds it up whatever is free.
    if not asked and d.stopped == HOLD:
        return WHY_BEHIND
    if asked and j.why == WHY_OVERLAP:
        return WHY_OVERLAP
    if not e.future.fits_free(j, e.clock):
        return WHY_RESOURCES
    if not asked and not jumped:
        return WHY_DEPTH if d.stopped and d.why_behind == WHY_DEPTH else WHY_NEW
    if asked and j.why != WHY_RESOURCES and j.why != WHY_RESERVED:
        return j.why
    # It fits, so a reservation keeps it from what is free; its own does not count.
    if d.reserved > (asked and j.estimate >= 0):
        return WHY_RESERVED
    for other in range(e.ndomains):
        if other != j.domain and e.domain[other].reserved:
            return WHY_OTHER
    return WHY_NEW if e.returned else WHY_POLICY


cdef usec_t planned(Engine e, const Job *j) noexcept nogil:
    """The start that the last pass that asked about the job has reserved for it; -1: none."""
    cdef bint before = e.suspended or e.settled.tail >= 0
    if j.asked_in == e.npasses or (before and j.asked_in == e.npasses - 1):
        return j.estimate
    return -1


cdef usec_t first_planned(Engine e) noexcept nogil:
    """The earliest start that is planned for a waiting job; never: there is none."""
    cdef i32 c, i
    cdef usec_t t, first = time_never()
    for c in range(e.queue.nchunks):
        for i in range(e.queue.chunk[c].count):
            t = planned(e, e.jobs.item + e.queue.chunk[c].slot[i])
            if 0 <= t < first:
                first = t
    return first


cdef Holders holders(Engine e, i32 slot, i32 why) noexcept nogil:
    """The waiting jobs that hold up a job which waits for this reason: those whose reservations it would delay, or the
    blocked head of a queue."""
    cdef const Job *j = e.jobs.item + slot
    cdef const Job *other
    cdef Holders out = Holders(-1, 0)
    cdef i32 c, i, at
    cdef bint found, before = True
    for c in range(e.queue.nchunks):
        for i in range(e.queue.chunk[c].count):
            at = e.queue.chunk[c].slot[i]
            other = e.jobs.item + at
            if at == slot:
                before = False
                continue
            if why == WHY_RESERVED or why == WHY_OTHER:
                # Only one that is planned for before this job would end can be delayed by it.
                found = (0 <= planned(e, other) < time_add(e.clock, j.duration)
                         and (other.domain == j.domain) == (why == WHY_RESERVED)
                         and (before or other.domain != j.domain or e.queue.reordered))
            elif why == WHY_BEHIND:
                found = other.domain == j.domain and (before or e.queue.reordered) and (
                    other.asked_in == e.npasses or out.count > 0)
            elif why == WHY_OVERLAP:
                found = other.domain != j.domain and other.asked_in == e.npasses and (
                    e.domain[other.domain].stopped == HOLD and intersects(
                        e.eligible.bits[other.elig], e.eligible.bits[j.elig], e.state.nwords))
            else:
                found = False
            if found and out.first < 0:
                out.first = at
            out.count += found
    return out
