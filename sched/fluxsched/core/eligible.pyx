# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
# cython: boundscheck=True, wraparound=True
"""Constraints (RFC 31) as sets of nodes, and what such a set could ever hold."""
import orjson

from libc.stdlib cimport free

from fluxsched.core.bits cimport get_bit
from fluxsched.core.check cimport must
from fluxsched.core.job cimport Job
from fluxsched.core.memory cimport grow, memcpy, memset, zeroed
from fluxsched.core.state cimport State
from fluxsched.core.types cimport i32, i64, u64

from fluxsched.core.nodeview import NodeView
from fluxsched.formats import constraint as _constraint


cdef class Eligible:

    def __cinit__(self, State state not None):
        self.state = state
        self.index = {}
        self.constraint = []
        self.properties = dict(state.inv.properties)
        self.fill(self.new_set())

    def __dealloc__(self):
        cdef i32 i
        for i in range(self.nsets):
            free(self.bits[i])
        free(self.bits)
        free(self.users)
        free(self.waiting)
        free(self.whole)
        free(self.cores)
        free(self.counted_at)
        free(self.up)
        free(self.present)

    cdef i32 new_set(self) except -1:
        """A set that nobody uses yet, beyond those there are."""
        cdef i32 set = self.nsets
        cdef size_t classes = max(self.state.inv.nclasses, 1)
        cdef i32 rooms[8]
        for i in range(8):
            rooms[i] = self.set_room
        self.bits = <u64 **> grow(self.bits, &rooms[0], set + 1, sizeof(u64 *))
        self.users = <i32 *> grow(self.users, &rooms[1], set + 1, sizeof(i32))
        self.waiting = <i32 *> grow(self.waiting, &rooms[2], set + 1, sizeof(i32))
        self.whole = <i32 *> grow(self.whole, &rooms[3], set + 1, sizeof(i32))
        self.cores = <i32 *> grow(self.cores, &rooms[4], set + 1, sizeof(i32))
        self.counted_at = <i32 *> grow(self.counted_at, &rooms[5], set + 1, sizeof(i32))
        self.up = <i32 *> grow(self.up, &rooms[6], set + 1, classes * sizeof(i32))
        self.present = <i32 *> grow(self.present, &rooms[7], set + 1, classes * sizeof(i32))
        self.set_room = rooms[0]
        self.bits[set] = <u64 *> zeroed(self.state.nwords, sizeof(u64))
        self.users[set] = 0
        self.waiting[set] = 0
        self.whole[set] = 0
        self.cores[set] = 0
        self.counted_at[set] = -1
        self.constraint.append(None)
        self.nsets += 1
        return set

    def use(self, constraint):
        """The set of a constraint (None: all nodes), used once more.

        Raises formats.constraint.ConstraintError.
        """
        cdef i32 set
        if not constraint:
            return 0
        try:
            key = orjson.dumps(constraint, option=orjson.OPT_SORT_KEYS)
        except TypeError:
            # No JSON, so no constraint; this says where.
            _constraint.validate(constraint)
            raise
        if key in self.index:
            set = self.index[key]
            self.users[set] += 1
            return set
        for set in range(1, self.nsets):
            if self.users[set] == 0:
                break
        else:
            set = self.new_set()
        self.constraint[set] = (key, constraint)
        self.fill(set)
        self.index[key] = set
        self.users[set] = 1
        return set

    cdef int release(self, i32 set) except -1:
        """One job fewer uses a set."""
        if set == 0:
            return 0
        self.users[set] -= 1
        if self.users[set] == 0:
            del self.index[self.constraint[set][0]]
            self.constraint[set] = None
        return 0

    cdef void count_waiting(self, const Job *j, i32 sign) noexcept nogil:
        """One job more (sign 1) or fewer (-1) waits."""
        self.waiting[j.elig] += sign
        self.whole[j.elig] += sign if j.node_units else 0
        self.cores[j.elig] += sign if j.core_units else 0
        self.version += self.waiting[j.elig] == (sign > 0)

    cdef int fill(self, i32 set) except -1:
        """Evaluate the constraint of a set."""
        cdef bytes raw
        view = NodeView(self.state.inv.ranks, self.state.inv.hosts, self.state.inv.mask_of_ranks,
                        self.properties)
        mask = view.all if set == 0 else _constraint.evaluate(self.constraint[set][1], view)
        raw = mask.to_bytes(self.state.nwords * 8, "little")
        memcpy(self.bits[set], <const char *> raw, self.state.nwords * sizeof(u64))
        self.counted_at[set] = -1
        return 0

    def set_property(self, name, ranks, bint present):
        """Give or take a property of ranks (idset string); evaluate all again."""
        cdef i32 set
        mask = self.state.inv.mask_of_ranks(ranks)
        old = self.properties.get(name, 0)
        self.properties[name] = old | mask if present else old & ~mask
        if not self.properties[name]:
            del self.properties[name]
        self.generation += 1
        for set in range(1, self.nsets):
            if self.users[set]:
                self.fill(set)

    cdef void count(self, i32 set) noexcept nogil:
        """Count the nodes of each class in a set, if that is out of date."""
        cdef i32 node, classes = self.state.inv.nclasses
        cdef i32 *up = self.up + <size_t> set * classes
        cdef i32 *present = self.present + <size_t> set * classes
        if self.counted_at[set] == self.generation:
            return
        memset(up, 0, classes * sizeof(i32))
        memset(present, 0, classes * sizeof(i32))
        for node in range(self.state.inv.nnodes):
            if get_bit(self.bits[set], node) and get_bit(self.state.present, node):
                present[self.state.inv.node_class[node]] += 1
                if get_bit(self.state.up, node):
                    up[self.state.inv.node_class[node]] += 1
        self.counted_at[set] = self.generation

    cdef i64 capacity(self, const Job *j, bint up) noexcept nogil:
        """How many nodes (or slots, if j names no nodes) of what j asks for
        its set of nodes could hold at once, were all of it free."""
        cdef i32 c, slots, classes = self.state.inv.nclasses
        cdef i64 total = 0
        cdef i32 *counts
        self.count(j.elig)
        counts = (self.up if up else self.present) + <size_t> j.elig * classes
        for c in range(classes):
            slots = self.state.inv.class_cores[c] / j.cores if j.cores else self.state.inv.class_gpus[c] / j.gpus
            if j.gpus and self.state.inv.class_gpus[c] / j.gpus < slots:
                slots = self.state.inv.class_gpus[c] / j.gpus
            if j.nnodes:
                total += counts[c] if slots >= j.nslots else 0
            else:
                total += <i64> slots * counts[c]
        return total

    cdef int sanity_check(self) except -1:
        """AssertionError unless each set in use is found by its constraint and is what that leaves."""
        cdef i32 set, c
        view = NodeView(self.state.inv.ranks, self.state.inv.hosts, self.state.inv.mask_of_ranks, self.properties)
        must(0 < self.nsets <= self.set_room and len(self.constraint) == self.nsets, "eligible: sets")
        must(sorted(self.index.values()) == [set for set in range(1, self.nsets) if self.users[set]],
             "eligible: a set in use is not in the index, or the index knows another")
        for set in range(self.nsets):
            must(set == 0 or 0 <= self.waiting[set] <= self.users[set], "eligible: more jobs wait than use a set")
            if set and not self.users[set]:
                continue
            mask = view.all
            if set:
                must(self.index[self.constraint[set][0]] == set, "eligible: a constraint has another set")
                mask = _constraint.evaluate(self.constraint[set][1], view)
            must(mask.to_bytes(self.state.nwords * 8, "little")
                 == (<const char *> self.bits[set])[:self.state.nwords * 8], "eligible: bits of a set")
            if self.counted_at[set] == self.generation:
                counts = [self.present[set * self.state.inv.nclasses + c] for c in range(self.state.inv.nclasses)]
                self.counted_at[set] = -1
                self.count(set)
                must(counts == [self.present[set * self.state.inv.nclasses + c]
                                for c in range(self.state.inv.nclasses)], "eligible: counts of a set")
        return 0
