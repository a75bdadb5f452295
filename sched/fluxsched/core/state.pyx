# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is free now: flat arrays over the nodes, and sets derived from them.

A resource that a job holds stays out of core_free, gpu_free and pool_free,
whether its node is up or not; idle and some say what may be given out.
"""
from libc.stdlib cimport free

from fluxsched.core.alloc cimport Alloc, Entry
from fluxsched.core.bits cimport clear_bit, count_bits, get_bit, popcount, range_mask, same_bits, set_bit
from fluxsched.core.check cimport must
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport Job
from fluxsched.core.memory cimport memcpy, memset, zeroed
from fluxsched.core.running cimport Running
from fluxsched.core.tree cimport Tree
from fluxsched.core.types cimport i32, i64, u64


cdef class State:

    def __cinit__(self, Inventory inv not None):
        cdef i32 i, n = inv.nnodes
        self.inv = inv
        self.nwords = inv.nwords
        self.cw = inv.core_words
        self.gw = inv.gpu_words
        self.core_free = <u64 *> zeroed(<size_t> n * self.cw, sizeof(u64))
        self.gpu_free = <u64 *> zeroed(<size_t> n * self.gw, sizeof(u64))
        self.nfree = <i32 *> zeroed(n, sizeof(i32))
        self.present = <u64 *> zeroed(self.nwords, sizeof(u64))
        self.up = <u64 *> zeroed(self.nwords, sizeof(u64))
        self.idle = <u64 *> zeroed(self.nwords, sizeof(u64))
        self.some = <u64 *> zeroed(self.nwords, sizeof(u64))
        memcpy(self.core_free, inv.core_all, <size_t> n * self.cw * sizeof(u64))
        memcpy(self.gpu_free, inv.gpu_all, <size_t> n * self.gw * sizeof(u64))
        for i in range(inv.nclasses):
            self.most_cores = max(self.most_cores, inv.class_cores[i])
        self.by_free = <i32 *> zeroed(self.most_cores + 1, sizeof(i32))
        self.room = <Room *> zeroed(self.most_cores + 1, sizeof(Room))
        self.changes = 1
        for i in range(n):
            set_bit(self.present, i)
            self.nfree[i] = inv.ncores[i]
        if inv.tree is not None:
            self.need_pools()

    def __dealloc__(self):
        free(self.core_free)
        free(self.gpu_free)
        free(self.nfree)
        free(self.by_free)
        free(self.room)
        free(self.pool_free)
        free(self.present)
        free(self.up)
        free(self.idle)
        free(self.some)

    cdef void need_pools(self) except *:
        """Room for the pools of the tree, made when the first is wanted."""
        cdef Tree tree = self.inv.need_tree()
        if self.pool_free is NULL:
            self.pool_free = <i64 *> zeroed(tree.npools, sizeof(i64))
            self.npools = tree.npools
            memcpy(self.pool_free, tree.pool_size, tree.npools * sizeof(i64))

    cdef void refresh(self, i32 node) noexcept nogil:
        """Bring the derived sets and counts up to date after a change of node."""
        cdef bint up = get_bit(self.up, node)
        cdef bint was = get_bit(self.idle, node)
        cdef i32 nfree = count_bits(self.core_free + node * self.cw, self.cw)
        cdef bint now = (up and nfree == self.inv.ncores[node]
                         and same_bits(self.gpu_free + node * self.gw, self.inv.gpu_all + node * self.gw, self.gw))
        self.changes += 1
        if up:
            self.free_cores += nfree - self.nfree[node]
            self.by_free[self.nfree[node]] -= 1
            self.by_free[nfree] += 1
        self.nfree[node] = nfree
        if now != was:
            if now:
                set_bit(self.idle, node)
                self.nidle += 1
            else:
                clear_bit(self.idle, node)
                self.nidle -= 1
        if up and nfree:
            set_bit(self.some, node)
        else:
            clear_bit(self.some, node)

    cdef void take_whole(self, i32 node, i32 count) noexcept nogil:
        """Hold count idle nodes; word by word, as jobs may be large."""
        cdef i32 w, taken
        cdef u64 mask
        for w in range(node >> 6, ((node + count - 1) >> 6) + 1):
            mask = range_mask(w, node, node + count)
            taken = popcount(self.idle[w] & mask)
            self.nidle -= taken
            self.idle[w] &= ~mask
            self.some[w] &= ~mask
        self.changes += 1
        # Down nodes count in no total, and a job may be put on them (hello).
        if self.nup == self.inv.nnodes and self.inv.nclasses == 1:
            self.free_cores -= <i64> count * self.most_cores
            self.by_free[self.most_cores] -= count
            self.by_free[0] += count
            memset(self.nfree + node, 0, count * sizeof(i32))
        else:
            for w in range(node, node + count):
                if get_bit(self.up, w):
                    self.free_cores -= self.nfree[w]
                    self.by_free[self.nfree[w]] -= 1
                    self.by_free[0] += 1
                self.nfree[w] = 0
        memset(self.core_free + node * self.cw, 0, <size_t> count * self.cw * sizeof(u64))
        memset(self.gpu_free + node * self.gw, 0, <size_t> count * self.gw * sizeof(u64))

    cdef void give_whole(self, i32 node, i32 count) noexcept nogil:
        """Free count nodes that were held whole."""
        cdef i32 w
        cdef u64 mask, usable
        for w in range(node >> 6, ((node + count - 1) >> 6) + 1):
            mask = range_mask(w, node, node + count)
            usable = self.up[w] & mask
            self.nidle += popcount(usable)
            self.idle[w] |= usable
            self.some[w] |= usable
        self.changes += 1
        if self.nup == self.inv.nnodes and self.inv.nclasses == 1:
            self.free_cores += <i64> count * self.most_cores
            self.by_free[self.most_cores] += count
            self.by_free[0] -= count
        else:
            for w in range(node, node + count):
                if get_bit(self.up, w):
                    self.free_cores += self.inv.ncores[w]
                    self.by_free[self.inv.ncores[w]] += 1
                    self.by_free[0] -= 1
        memcpy(self.nfree + node, self.inv.ncores + node, count * sizeof(i32))
        memcpy(self.core_free + node * self.cw, self.inv.core_all + node * self.cw,
               <size_t> count * self.cw * sizeof(u64))
        memcpy(self.gpu_free + node * self.gw, self.inv.gpu_all + node * self.gw,
               <size_t> count * self.gw * sizeof(u64))

    cdef void take(self, const Alloc *a) noexcept nogil:
        """Hold what is in a; the caller made sure that it is free."""
        self.move(a, True)

    cdef void give(self, const Alloc *a) noexcept nogil:
        """Free what is in a."""
        self.move(a, False)

    cdef void move(self, const Alloc *a, bint taken) noexcept nogil:
        cdef i32 i, w
        cdef const Entry *e
        cdef u64 *core
        cdef u64 *gpu
        cdef const u64 *bits
        for i in range(a.nentries):
            e = a.entry + i
            if e.count:
                if taken:
                    self.take_whole(e.node, e.count)
                else:
                    self.give_whole(e.node, e.count)
                continue
            bits = a.bits + e.bits
            core = self.core_free + <size_t> e.node * self.cw
            gpu = self.gpu_free + <size_t> e.node * self.gw
            for w in range(self.cw):
                core[w] = core[w] & ~bits[w] if taken else core[w] | bits[w]
            for w in range(self.gw):
                gpu[w] = gpu[w] & ~bits[self.cw + w] if taken else gpu[w] | bits[self.cw + w]
            self.refresh(e.node)
        for i in range(a.ntakes):
            self.pool_free[a.take[i].pool] += -a.take[i].amount if taken else a.take[i].amount

    cdef bint is_free(self, const Alloc *a) noexcept nogil:
        """Whether nobody holds any of it."""
        cdef i32 i, w, node
        cdef const Entry *e
        cdef const u64 *bits
        for i in range(a.nentries):
            e = a.entry + i
            if e.count:
                for node in range(e.node, e.node + e.count):
                    if not (same_bits(self.core_free + node * self.cw, self.inv.core_all + node * self.cw, self.cw)
                            and same_bits(self.gpu_free + node * self.gw, self.inv.gpu_all + node * self.gw, self.gw)):
                        return False
            else:
                bits = a.bits + e.bits
                for w in range(self.cw):
                    if bits[w] & ~self.core_free[e.node * self.cw + w]:
                        return False
                for w in range(self.gw):
                    if bits[self.cw + w] & ~self.gpu_free[e.node * self.gw + w]:
                        return False
        for i in range(a.ntakes):
            if a.take[i].amount > self.pool_free[a.take[i].pool]:
                return False
        return True

    cdef void free_once(self, Running running, const Job *jobs, u64 *core, u64 *gpu) noexcept nogil:
        """The cores and gpus of each node that are free or will be, once the running jobs end: all, but where resources
        are used once. core has nnodes * cw words, gpu nnodes * gw."""
        cdef i32 i, k, w
        cdef const Alloc *a
        cdef const Entry *e
        memcpy(core, self.core_free, <size_t> self.inv.nnodes * self.cw * sizeof(u64))
        memcpy(gpu, self.gpu_free, <size_t> self.inv.nnodes * self.gw * sizeof(u64))
        for i in range(running.count):
            a = &jobs[running.item[i].job].alloc
            for k in range(a.nentries):
                e = a.entry + k
                if e.count:
                    memcpy(core + <size_t> e.node * self.cw, self.inv.core_all + <size_t> e.node * self.cw,
                           <size_t> e.count * self.cw * sizeof(u64))
                    memcpy(gpu + <size_t> e.node * self.gw, self.inv.gpu_all + <size_t> e.node * self.gw,
                           <size_t> e.count * self.gw * sizeof(u64))
                    continue
                for w in range(self.cw):
                    core[<size_t> e.node * self.cw + w] |= a.bits[e.bits + w]
                for w in range(self.gw):
                    gpu[<size_t> e.node * self.gw + w] |= a.bits[e.bits + self.cw + w]

    cdef void set_up(self, i32 node, bint up) noexcept nogil:
        """Mark a node up or down; a removed node stays removed."""
        if up == get_bit(self.up, node) or not get_bit(self.present, node):
            return
        if up:
            set_bit(self.up, node)
            self.nup += 1
            self.up_cores += self.inv.ncores[node]
            self.free_cores += self.nfree[node]
            self.by_free[self.nfree[node]] += 1
        else:
            clear_bit(self.up, node)
            self.nup -= 1
            self.up_cores -= self.inv.ncores[node]
            self.free_cores -= self.nfree[node]
            self.by_free[self.nfree[node]] -= 1
        self.refresh(node)

    cdef void remove(self, i32 node) noexcept nogil:
        self.set_up(node, False)
        clear_bit(self.present, node)

    cdef bint room_for(self, i32 nnodes, i32 nslots, i32 cores) noexcept nogil:
        """Whether enough cores are free on enough nodes, wherever they are;
        quick, as it counts nodes by their free cores."""
        cdef i64 least = <i64> nslots * cores if nnodes else cores
        cdef Room *room
        cdef i32 c
        if cores == 0:
            return True
        if least > self.most_cores:
            return False
        room = self.room + least
        if room.at != self.changes:
            room[0] = Room(self.changes, 0, 0)
            for c in range(<i32> least, self.most_cores + 1):
                room.nodes += self.by_free[c]
                room.slots += self.by_free[c] * (c / <i32> least)
        return room.nodes >= nnodes if nnodes else room.slots >= nslots

    cdef i64 up_units(self, const Alloc *a, bint cores) noexcept nogil:
        """Nodes (or cores) of a that will be usable once it is freed."""
        cdef i64 total = 0
        cdef i32 i, node
        cdef const Entry *e
        for i in range(a.nentries):
            e = a.entry + i
            if not e.count:
                if get_bit(self.up, e.node):
                    total += count_bits(a.bits + e.bits, self.cw) if cores else 1
                continue
            if self.nup == self.inv.nnodes and not cores:
                total += e.count
                continue
            for node in range(e.node, e.node + e.count):
                if get_bit(self.up, node):
                    total += self.inv.ncores[node] if cores else 1
        return total

    cdef int sanity_check(self) except -1:
        """AssertionError unless the derived sets and counts follow from what is free and up, and nothing is free that
        there is not."""
        cdef i32 i, w, nfree, nup = 0, nidle = 0
        cdef i64 free_cores = 0, up_cores = 0
        cdef bint up, idle
        cdef list by_free = [0] * (self.most_cores + 1)
        for i in range(self.inv.nnodes):
            for w in range(self.cw):
                must(not self.core_free[i * self.cw + w] & ~self.inv.core_all[i * self.cw + w], "state: a core more")
            for w in range(self.gw):
                must(not self.gpu_free[i * self.gw + w] & ~self.inv.gpu_all[i * self.gw + w], "state: a gpu more")
            nfree = count_bits(self.core_free + i * self.cw, self.cw)
            up = get_bit(self.up, i)
            idle = (up and nfree == self.inv.ncores[i]
                    and same_bits(self.gpu_free + i * self.gw, self.inv.gpu_all + i * self.gw, self.gw))
            must(self.nfree[i] == nfree, "state: nfree")
            must(not up or get_bit(self.present, i), "state: up, and not present")
            must(get_bit(self.idle, i) == idle, "state: idle")
            must(get_bit(self.some, i) == (up and nfree > 0), "state: some")
            nup += up
            nidle += idle
            if up:
                free_cores += nfree
                up_cores += self.inv.ncores[i]
                by_free[nfree] += 1
        must((nup, nidle, free_cores, up_cores) == (self.nup, self.nidle, self.free_cores, self.up_cores),
             "state: a count of nodes or cores")
        must(by_free == [self.by_free[i] for i in range(self.most_cores + 1)], "state: by_free")
        for i in range(self.npools):
            must(0 <= self.pool_free[i] <= self.inv.tree.pool_size[i], "state: a pool")
        return 0
