# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""For each node a span of time in which it has too little for a shape.

The times are whole ticks since a base, so that the nodes of a word are compared with a window all at once. They are
rounded down, and compared so that what is said of a window is true: one that begins in an earlier tick than the span
ends, and ends in a later tick than the span begins, holds some of the span.
"""
from fluxsched.core.bits cimport gather_bits
from fluxsched.core.types cimport i32, i64, u64, usec_t

cdef enum:
    TICK = 18               # log2 of the microseconds of a tick: a quarter of a second
    LAST_TICK = 0x7FFFFFFF  # or any later one: 17 years

cdef struct Lacks:
    i32 *first              # [nodes, up to a whole word] tick in which the span begins, and
    i32 *last               # ends; 0: there is none
    i64 found               # Fits.epoch when they were all forgotten


cdef inline i32 tick_of(usec_t t, usec_t base) noexcept nogil:
    """The tick in which a time lies, of those from the base on."""
    if t <= base:
        return 0
    t = (t - base) >> TICK
    return <i32> t if t < LAST_TICK else LAST_TICK


cdef inline usec_t time_of(i32 tick, usec_t base) noexcept nogil:
    """When a tick begins."""
    return base + (<usec_t> tick << TICK)


cdef inline u64 lacking(const Lacks *lacks, i32 w, i32 start, i32 end) noexcept nogil:
    """The nodes of a word that are known to lack in any window that begins and ends in these ticks."""
    cdef unsigned char flag[64]
    cdef const i32 *first = lacks.first + w * 64
    cdef const i32 *last = lacks.last + w * 64
    cdef i32 i
    # One loop without a branch: the compiler takes several nodes at once.
    for i in range(64):
        flag[i] = (last[i] > start) & (first[i] < end)
    return gather_bits(flag)


cdef inline void set_lacking(Lacks *lacks, i32 node, i32 count, i32 first, i32 last) noexcept nogil:
    """Let so many nodes have a span."""
    cdef i32 i
    for i in range(node, node + count):
        lacks.first[i] = first
        lacks.last[i] = last
