# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a waiting job needs and how much of it is free: the numbers behind its reason.

Nodes that are up and that the job's constraint leaves are counted by what is free on each; then the running jobs end in
the order in which they are expected to, each of them gives back what it holds, until nothing is missing. Neither other
waiting jobs nor reservations count here. A general request is counted in cores, which says how much it lacks at the
least.
"""
from libc.stdlib cimport free

from fluxsched.core.alloc cimport Entry
from fluxsched.core.bits cimport count_bits, get_bit
from fluxsched.core.engine cimport Engine
from fluxsched.core.job cimport Job
from fluxsched.core.memory cimport grow, zeroed
from fluxsched.core.running cimport release_time
from fluxsched.core.types cimport i32, i64, u64, usec_t


cdef class Shortage:

    def __cinit__(self, Engine engine not None):
        self.engine = engine
        self.inv = engine.inventory
        self.state = engine.state
        self.cores = <i32 *> zeroed(engine.inventory.nnodes, sizeof(i32))
        self.gpus = <i32 *> zeroed(engine.inventory.nnodes, sizeof(i32))

    def __dealloc__(self):
        free(self.gain)
        free(self.cores)
        free(self.gpus)

    cdef int find(self, i32 slot) except -1 nogil:
        """Find it out for a waiting job."""
        cdef const Job *j = self.engine.jobs.item + slot
        cdef i32 i, node, number
        cdef usec_t end
        cdef i64 units
        cdef const u64 *elig = self.engine.eligible.bits[j.elig]
        self.unit = UNIT_CORES if j.tree >= 0 else UNIT_NODES if j.nnodes else UNIT_SLOTS
        self.need = j.nnodes if j.nnodes else j.nslots
        if j.tree >= 0:
            # By its averages; 0 where they are not whole.
            self.need = <i64> (j.nnodes if j.nnodes else 1) * j.nslots * j.cores
        self.able = self.up = self.free = self.gained = 0
        self.ngains = 0
        for node in range(self.inv.nnodes):
            if not get_bit(elig, node) or not get_bit(self.state.present, node):
                continue
            self.cores[node] = self.inv.ncores[node]
            self.gpus[node] = self.inv.ngpus[node]
            units = self.counts(j, self.on_node(j, node))
            self.able += units
            if not get_bit(self.state.up, node):
                continue
            self.up += units
            self.show_free(node)
            self.free += self.counts(j, self.on_node(j, node))
        for i in range(self.engine.jobs.running.count):
            if self.free + self.gained >= self.need:
                break
            number = self.engine.jobs.running.item[i].job
            units = self.give(j, self.engine.jobs.item + number)
            if units:
                self.gain = <Gain *> grow(self.gain, &self.gain_room, self.ngains + 1, sizeof(Gain))
                end = release_time(self.engine.jobs.running.item[i].end, self.engine.clock)
                self.gain[self.ngains] = Gain(number, units, end)
                self.ngains += 1
                self.gained += units
        return 0

    cdef void show_free(self, i32 node) noexcept nogil:
        """Count what is free on a node."""
        self.cores[node] = self.state.nfree[node]
        self.gpus[node] = count_bits(self.state.gpu_free + <i64> node * self.state.gw, self.state.gw)

    cdef i64 on_node(self, const Job *j, i32 node) noexcept nogil:
        """Slots (cores, of a general request) that fit in what is counted as free on a node."""
        cdef i32 slots
        if j.tree >= 0:
            return self.cores[node]
        if j.exclusive and (self.cores[node] < self.inv.ncores[node] or self.gpus[node] < self.inv.ngpus[node]):
            return 0
        slots = self.cores[node] / j.cores if j.cores else self.gpus[node] / j.gpus
        if j.gpus and self.gpus[node] / j.gpus < slots:
            slots = self.gpus[node] / j.gpus
        return slots

    cdef i64 counts(self, const Job *j, i64 slots) noexcept nogil:
        """What slots on one node count for."""
        return slots if j.nnodes == 0 or j.tree >= 0 else slots >= j.nslots

    cdef i64 give(self, const Job *j, const Job *running) noexcept nogil:
        """A running job ends: how much more is free for j."""
        cdef const Entry *entry
        cdef i32 i, node
        cdef i64 more = 0
        cdef const u64 *elig = self.engine.eligible.bits[j.elig]
        for i in range(running.alloc.nentries):
            entry = running.alloc.entry + i
            for node in range(entry.node, entry.node + (entry.count if entry.count else 1)):
                if not get_bit(elig, node) or not get_bit(self.state.up, node):
                    continue
                more -= self.counts(j, self.on_node(j, node))
                if entry.count:
                    self.cores[node] = self.inv.ncores[node]
                    self.gpus[node] = self.inv.ngpus[node]
                else:
                    self.cores[node] += count_bits(running.alloc.bits + entry.bits, self.state.cw)
                    self.gpus[node] += count_bits(running.alloc.bits + entry.bits + self.state.cw, self.state.gw)
                more += self.counts(j, self.on_node(j, node))
        return more
