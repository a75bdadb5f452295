# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobs in slots of one array.

All else refers to a job by its slot, as the array moves when it grows. A slot is in use until its job is over, and is
then used again. A general request (through the resource tree), and several sizes that a job accepts, are kept apart, as
few jobs have them.
"""
from libc.stdlib cimport free

from fluxsched.core.alloc cimport Alloc, alloc_clear
from fluxsched.core.check cimport must
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport JOB_FREE, JOB_RUNNING, JOB_WAITING, WHY_NEW, Job
from fluxsched.core.memory cimport grow, memset, zeroed
from fluxsched.core.running cimport Running
from fluxsched.core.sizes cimport NODES, SLOTS, Size, SizeTable
from fluxsched.core.tree cimport Want
from fluxsched.core.types cimport i32, i64


cdef class Jobs:

    def __cinit__(self, Inventory inventory not None):
        self.inventory = inventory
        self.running = Running()
        self.sizes = SizeTable()

    def __dealloc__(self):
        cdef i32 i
        for i in range(self.count):
            alloc_clear(&self.item[i].alloc)
        for i in range(self.ngeneral):
            free(self.general[i].want)
        free(self.item)
        free(self.unused)
        free(self.general)

    cdef i32 take(self) except -1 nogil:
        """A slot for a new job; its alloc is empty."""
        if self.nunused:
            self.nunused -= 1
            return self.unused[self.nunused]
        self.unused = <i32 *> grow(self.unused, &self.unused_room, self.count + 1, sizeof(i32))
        self.item = <Job *> grow(self.item, &self.room, self.count + 1, sizeof(Job))
        memset(self.item + self.count, 0, sizeof(Job))
        self.item[self.count].tree = -1
        self.count += 1
        return self.count - 1

    cdef i32 put(self, const Job *template) except -1 nogil:
        """A slot with a job that begins to wait; see Engine.add."""
        cdef i32 slot = self.take()
        cdef Job *j = self.item + slot
        j[0] = template[0]
        j.limit = j.duration
        memset(&j.alloc, 0, sizeof(Alloc))
        j.state = JOB_WAITING
        j.why = WHY_NEW
        j.estimate = -1
        j.parked = 0
        j.parked_at = -1
        j.asked_in = -1
        j.place = -1
        j.was_reserved = False
        self.measure(j)
        return slot

    cdef void drop(self, i32 slot) noexcept nogil:
        """A job is over: its slot may be used again. It is in no list any more, and has no eligible set."""
        cdef Job *j = self.item + slot
        alloc_clear(&j.alloc)
        j.state = JOB_FREE
        self.drop_general(j.tree)
        self.sizes.drop(j.sizes)
        j.tree = -1
        j.sizes = 0
        self.unused[self.nunused] = slot
        self.nunused += 1

    cdef void refuse(self, i32 slot) noexcept nogil:
        """A job does not come after all: its slot may be used again, what it owns stays the caller's."""
        self.item[slot].tree = -1
        self.item[slot].sizes = 0
        self.drop(slot)

    cdef void resize(self, Job *j, const Size *size) noexcept nogil:
        """Let a job that accepts several sizes ask for this one, until shrink."""
        cdef i32 nnodes = self.sizes.number(j.sizes, NODES, size.at[NODES])
        cdef i32 nslots = self.sizes.number(j.sizes, SLOTS, size.at[SLOTS])
        cdef Want *root
        if j.tree >= 0:
            # All that it asks for is in its root, so the numbers grow with the count of that.
            root = self.general[j.tree].want
            root.count = root.count * nnodes / j.nnodes if j.nnodes else root.count * nslots / j.nslots
        j.nnodes = nnodes
        j.nslots = nslots
        self.measure(j)

    cdef void shrink(self, Job *j) noexcept nogil:
        """Let a job that accepts several sizes ask for the least again."""
        cdef Size least
        least.at[NODES] = 0
        least.at[SLOTS] = 0
        self.resize(j, &least)

    cdef void settle(self, Job *j, const Size *size) noexcept nogil:
        """A job that accepts several sizes gets this one, and has no other from now on."""
        self.resize(j, size)
        self.sizes.drop(j.sizes)
        j.sizes = 0

    cdef void measure(self, Job *j) noexcept nogil:
        """Fill in whole, least_cores and the units from the request."""
        cdef i32 c, slots
        cdef i64 least = -1
        j.node_units = 0
        j.core_units = 0
        j.least_cores = 0
        j.whole = j.exclusive
        if j.tree >= 0:
            return
        j.least_cores = <i64> (j.nnodes if j.nnodes else 1) * j.nslots * j.cores
        if self.inventory.nclasses == 1 and not j.exclusive:
            if j.nnodes:
                j.whole = (<i64> j.nslots * j.cores == self.inventory.class_cores[0]
                           and <i64> j.nslots * j.gpus == self.inventory.class_gpus[0])
            else:
                j.whole = j.cores == self.inventory.class_cores[0] and j.gpus == self.inventory.class_gpus[0]
        if j.whole:
            for c in range(self.inventory.nclasses):
                slots = self.inventory.class_cores[c] / j.cores if j.cores else self.inventory.class_gpus[c] / j.gpus
                if j.gpus and self.inventory.class_gpus[c] / j.gpus < slots:
                    slots = self.inventory.class_gpus[c] / j.gpus
                if least < 0 or slots < least:
                    least = slots
            # Any node serves as well as any other only if the least one does.
            if j.nnodes and least >= j.nslots:
                j.node_units = j.nnodes
            elif not j.nnodes and least > 0 and self.inventory.nclasses == 1:
                j.node_units = <i32> ((j.nslots + least - 1) / least)
        if not j.exclusive and j.nnodes == 0 and j.cores == 1 and j.gpus == 0:
            j.core_units = j.nslots
        if j.sizes and j.nnodes and self.sizes.item[j.sizes].count[SLOTS] > 1:
            # With more slots, not every node that would do at the least does.
            j.node_units = 0

    cdef i32 keep_general(self, list rows) except -1:
        """Keep a general request (rows of Tree.flatten); its place."""
        cdef i32 i, place = 0
        cdef Want *want
        while place < self.ngeneral and self.general[place].want is not NULL:
            place += 1
        self.general = <General *> grow(self.general, &self.general_room, place + 1, sizeof(General))
        want = <Want *> zeroed(len(rows), sizeof(Want))
        for i, row in enumerate(rows):
            want[i] = Want(row[0], row[1], row[2], row[3], row[4], row[5])
        self.general[place] = General(want, <i32> len(rows))
        self.ngeneral = max(self.ngeneral, place + 1)
        return place

    cdef void drop_general(self, i32 place) noexcept nogil:
        """Forget a general request; -1 is none."""
        if place >= 0:
            free(self.general[place].want)
            self.general[place].want = NULL

    cdef int sanity_check(self) except -1:
        """AssertionError unless slots are in use or unused, general requests have one owner, and the jobs that run are
        in the list."""
        cdef i32 i, running = 0
        unused = {self.unused[i] for i in range(self.nunused)}
        must(len(unused) == self.nunused, "jobs: a slot is unused twice")
        must(self.nunused <= self.count <= self.room and self.count <= self.unused_room, "jobs: no room for all slots")
        owned = set()
        for i in range(self.count):
            must((self.item[i].state == JOB_FREE) == (i in unused), "jobs: a free slot is not in unused")
            if i in unused:
                must(self.item[i].alloc.entry is NULL, "jobs: a free slot has an allocation")
            elif self.item[i].tree >= 0:
                must(self.item[i].tree not in owned, "jobs: a general request has two owners")
                owned.add(self.item[i].tree)
            if self.item[i].state == JOB_RUNNING:
                running += 1
                must(self.running.place(self.item[i].end, i) < self.running.count
                     and self.running.item[self.running.place(self.item[i].end, i)].job == i,
                     "jobs: a job that runs is not in the list")
        must(running == self.running.count, "jobs: in the list is a job that does not run")
        for i in range(self.ngeneral):
            must((self.general[i].want is not NULL) == (i in owned), "jobs: a general request has no owner, or is lost")
        sized = sorted([self.item[i].sizes for i in range(self.count) if self.item[i].sizes])
        must(sized == [i for i in range(self.sizes.nitems) if self.sizes.item[i].run is not NULL],
             "jobs: sizes have no owner, or two, or are lost")
        for i in range(self.count):
            if self.item[i].sizes:
                must(self.item[i].state == JOB_WAITING, "jobs: a job that runs has several sizes")
                must(self.item[i].nnodes == self.sizes.number(self.item[i].sizes, NODES, 0)
                     and self.item[i].nslots == self.sizes.number(self.item[i].sizes, SLOTS, 0),
                     "jobs: a job that waits asks for more than its least")
        return self.running.sanity_check()
