# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What one job holds, or a reservation will: nodes, and amounts of pools.

Whole nodes are kept as runs, so that a job on all of a large machine costs
one entry. A node held in part has its core and gpu bits behind the entry.
Each node stands in one entry at the most, in ascending order of node unless
said otherwise. The owner of an Alloc calls alloc_clear once it is done.
"""
from libc.stdlib cimport free

from fluxsched.core.memory cimport grow, memcpy
from fluxsched.core.types cimport i32, i64, u64

cdef struct Entry:
    i32 node
    i32 count       # > 0: nodes node … node + count - 1, whole; 0: part of node
    i32 bits        # part: offset into Alloc.bits, core words then gpu words

cdef struct Take:
    i32 pool
    i64 amount

cdef struct Alloc:
    Entry *entry
    u64 *bits
    Take *take
    i32 nentries
    i32 nbits
    i32 ntakes
    i32 entry_room
    i32 bits_room
    i32 take_room


cdef inline void alloc_clear(Alloc *a) noexcept nogil:
    """Release the memory; the Alloc is empty and can be used again."""
    free(a.entry)
    free(a.bits)
    free(a.take)
    a.entry = NULL
    a.bits = NULL
    a.take = NULL
    a.nentries = a.nbits = a.ntakes = 0
    a.entry_room = a.bits_room = a.take_room = 0


cdef inline void alloc_reset(Alloc *a) noexcept nogil:
    """Empty it, and keep the memory for the next use."""
    a.nentries = a.nbits = a.ntakes = 0


cdef inline int alloc_whole(Alloc *a, i32 node, i32 count) except -1 nogil:
    """Add count whole nodes from node on."""
    cdef Entry *last
    if a.nentries:
        last = a.entry + a.nentries - 1
        if last.count > 0 and last.node + last.count == node:
            last.count += count
            return 0
    a.entry = <Entry *> grow(a.entry, &a.entry_room, a.nentries + 1, sizeof(Entry))
    a.entry[a.nentries] = Entry(node, count, -1)
    a.nentries += 1
    return 0


cdef inline int alloc_part(Alloc *a, i32 node, const u64 *cores, i32 core_words,
                           const u64 *gpus, i32 gpu_words) except -1 nogil:
    """Add part of a node: these cores and gpus of it."""
    a.entry = <Entry *> grow(a.entry, &a.entry_room, a.nentries + 1, sizeof(Entry))
    a.bits = <u64 *> grow(a.bits, &a.bits_room, <i64> a.nbits + core_words + gpu_words, sizeof(u64))
    memcpy(a.bits + a.nbits, cores, core_words * sizeof(u64))
    if gpu_words:
        memcpy(a.bits + a.nbits + core_words, gpus, gpu_words * sizeof(u64))
    a.entry[a.nentries] = Entry(node, 0, a.nbits)
    a.nentries += 1
    a.nbits += core_words + gpu_words
    return 0


cdef inline int alloc_take(Alloc *a, i32 pool, i64 amount) except -1 nogil:
    """Add an amount of a pool."""
    cdef i32 i
    for i in range(a.ntakes):
        if a.take[i].pool == pool:
            a.take[i].amount += amount
            return 0
    a.take = <Take *> grow(a.take, &a.take_room, a.ntakes + 1, sizeof(Take))
    a.take[a.ntakes] = Take(pool, amount)
    a.ntakes += 1
    return 0


cdef inline bint alloc_holds(const Alloc *a, i32 node) noexcept nogil:
    """Whether a node, or any of it, is in a."""
    cdef i32 i
    for i in range(a.nentries):
        if a.entry[i].node <= node < a.entry[i].node + max(a.entry[i].count, 1):
            return True
    return False
