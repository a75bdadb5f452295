# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What has come back into a plan that stays from pass to pass.

A reservation that had no earlier start when it was looked at last has one only if its window then holds something
that has become free since. So each reservation has the number of gains that there were at that time, and only those
behind it are looked at:

        gains        0      1      2      3         (ends of jobs, reservations that moved or were given back)
        looked at               ^ at 2: gains 2 and 3 may let it move
"""

from fluxsched.core.alloc cimport Alloc, Entry, alloc_clear, alloc_reset
from fluxsched.core.memory cimport grow, memcmp, memcpy
from fluxsched.core.types cimport i32, i64, u64, usec_t


cdef class Gains:

    def __dealloc__(self):
        cdef i32 i
        for i in range(GAINS):
            alloc_clear(&self.item[i].alloc)

    cdef int add(self, usec_t start, usec_t end, i64 units, i32 component, const Alloc *alloc) except -1 nogil:
        """From start to end, units of a component have become free, or what is in alloc (NULL: they are counted)."""
        cdef Gain *g = self.item + self.count % GAINS
        cdef Alloc *to = &g.alloc
        alloc_reset(to)
        if alloc is not NULL:
            to.entry = <Entry *> grow(to.entry, &to.entry_room, alloc.nentries, sizeof(Entry))
            to.bits = <u64 *> grow(to.bits, &to.bits_room, alloc.nbits, sizeof(u64))
            memcpy(to.entry, alloc.entry, alloc.nentries * sizeof(Entry))
            memcpy(to.bits, alloc.bits, alloc.nbits * sizeof(u64))
            to.nentries = alloc.nentries
            to.nbits = alloc.nbits
        g.start = start
        g.end = end
        g.units = units
        g.component = component
        self.count += 1
        return 0

    cdef void undo(self, usec_t start, usec_t end, i64 units, i32 component, const Alloc *alloc) noexcept nogil:
        """From start to end, that much is taken: forget the last gain, if it was of that."""
        cdef Gain *g = self.item + (self.count - 1) % GAINS
        if self.count == 0 or start > g.start or end < g.end or g.units != units or g.component != component:
            return
        if alloc is not NULL and (
                g.alloc.nentries != alloc.nentries or g.alloc.nbits != alloc.nbits
                or memcmp(g.alloc.entry, alloc.entry, alloc.nentries * sizeof(Entry))
                or memcmp(g.alloc.bits, alloc.bits, alloc.nbits * sizeof(u64))):
            return
        if self.count > self.told:
            self.count -= 1
        else:
            g.end = g.start

    cdef i64 tell(self) noexcept nogil:
        """How many there are, for a reservation that is looked at now."""
        self.told = self.count
        return self.count

    cdef bint knows(self, i64 since) noexcept nogil:
        """Whether all gains from number `since` on are remembered; < 0: that of a reservation nobody has looked at."""
        return since >= 0 and self.count - since <= GAINS

    cdef const Gain *at(self, i64 n) noexcept nogil:
        """The n-th gain."""
        return self.item + n % GAINS
