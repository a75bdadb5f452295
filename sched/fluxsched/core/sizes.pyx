# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobs that accept several sizes (RFC 14: a count that is a range).

The numbers are kept as arithmetic runs, so that "any number of nodes" takes no more room than one:

        2-4                 2 3 4               run 2 … 4 by 1
        2-16:2:*            2 4 8 16            runs of one number each
        1,8-9               1 8 9               runs 1 … 1, 8 … 9 by 1

While such a job waits, its request (Job.nnodes, Job.nslots) is the least that it accepts: its place in an order by
size, what keeps it waiting and whether it could ever run go by that. The rule for the size that it gets is the plan's:
fluxsched.core.future. A size fits wherever a greater one does, which the search makes use of.
"""
from libc.stdlib cimport free

from fluxsched.core.memory cimport grow, zeroed
from fluxsched.core.types cimport i32


cdef class SizeTable:

    def __cinit__(self):
        self.item = <Sizes *> grow(NULL, &self.room, 1, sizeof(Sizes))
        self.item[0].run = NULL
        self.nitems = 1

    def __dealloc__(self):
        cdef i32 i
        for i in range(self.nitems):
            free(self.item[i].run)
        free(self.item)

    cdef i32 keep(self, list nodes, list slots) except -1:
        """Keep runs (first, last, step) of the acceptable numbers, each list ascending and not empty; their place,
        from 1 on."""
        cdef i32 i, place = 1
        cdef Sizes *sizes
        while place < self.nitems and self.item[place].run is not NULL:
            place += 1
        self.item = <Sizes *> grow(self.item, &self.room, place + 1, sizeof(Sizes))
        sizes = self.item + place
        sizes.run = <Run *> zeroed(len(nodes) + len(slots), sizeof(Run))
        for i, (first, last, step) in enumerate(nodes + slots):
            sizes.run[i] = Run(first, last, step)
        for i, runs in enumerate((nodes, slots)):
            sizes.nruns[i] = len(runs)
            sizes.count[i] = sum([(last - first) // step + 1 for first, last, step in runs])
        self.nitems = max(self.nitems, place + 1)
        return place

    cdef void drop(self, i32 place) noexcept nogil:
        """Forget what is kept at a place; at 0 there is nothing."""
        if place:
            free(self.item[place].run)
            self.item[place].run = NULL

    cdef i32 number(self, i32 place, i32 what, i32 at) noexcept nogil:
        """The number of nodes or slots at a place among those that are accepted."""
        cdef i32 count
        cdef const Run *run = self.item[place].run + (self.item[place].nruns[NODES] if what == SLOTS else 0)
        while True:
            count = (run.last - run.first) / run.step + 1
            if at < count:
                return run.first + at * run.step
            at -= count
            run += 1
