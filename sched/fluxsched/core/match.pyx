# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The matcher of general requests.

It is greedy, as the one of the C original: it walks the request and the tree together, descends through types that
the request leaves out (a node with four cores, no socket named), and takes the first that will do. It works on a
view of what is free, from which it takes as it goes; what a failed branch took is put back.

The tree is only read, so engines that share it may match side by side; each has a Matcher of its own.
"""
from libc.stdlib cimport free

from fluxsched.core.alloc cimport Alloc, alloc_part, alloc_reset, alloc_take
from fluxsched.core.bits cimport clear_bit, count_bits, get_bit, set_bit
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.memory cimport grow, memcpy, qsort, zeroed
from fluxsched.core.tree cimport VERTEX_CORE, VERTEX_GPU, VERTEX_NODE, VERTEX_PATH, VERTEX_POOL, VERTEX_SLOT, Want
from fluxsched.core.types cimport i32, i64, u64


cdef int compare_i32(const void *a, const void *b) noexcept nogil:
    cdef i32 x = (<const i32 *> a)[0], y = (<const i32 *> b)[0]
    return (x > y) - (x < y)


cdef class Matcher:

    def __cinit__(self, Inventory inventory not None):
        self.tree = inventory.need_tree()
        self.cw = inventory.core_words
        self.gw = inventory.gpu_words
        self.nwords = inventory.nwords
        self.view.core = <u64 *> zeroed(<size_t> self.tree.nnodes * self.cw, sizeof(u64))
        self.view.gpu = <u64 *> zeroed(<size_t> self.tree.nnodes * self.gw, sizeof(u64))
        self.view.pool = <i64 *> zeroed(self.tree.npools, sizeof(i64))
        self.view.nodes = <u64 *> zeroed(self.nwords, sizeof(u64))

    def __dealloc__(self):
        free(self.view.core)
        free(self.view.gpu)
        free(self.view.pool)
        free(self.view.nodes)
        free(self.log)

    cdef void show(self, const u64 *core, const u64 *gpu, const i64 *pool, const u64 *nodes,
                   const u64 *eligible) noexcept nogil:
        """Let the next match use these resources, of the nodes that are in both sets."""
        cdef i32 w
        memcpy(self.view.core, core, <size_t> self.tree.nnodes * self.cw * sizeof(u64))
        memcpy(self.view.gpu, gpu, <size_t> self.tree.nnodes * self.gw * sizeof(u64))
        if self.tree.npools:
            memcpy(self.view.pool, pool, self.tree.npools * sizeof(i64))
        for w in range(self.nwords):
            self.view.nodes[w] = nodes[w] & eligible[w]

    cdef int match(self, const Want *want, i32 nwant, Alloc *out) except -1 nogil:
        """1 and what was found in out, or 0. What was found is gone from the view."""
        self.nlog = 0
        alloc_reset(out)
        if not self._all(-1, want, 0, nwant):
            self._undo(0)
            return 0
        if not self._export(out):
            self._undo(0)
            return 0
        return 1

    cdef int _all(self, i32 scope, const Want *want, i32 first, i32 end) except -1 nogil:
        """Stage every sibling request of [first, end) below scope."""
        cdef i32 q = first
        while q < end:
            if not self._one(scope, want, q):
                return 0
            q = want[q].last
        return 1

    cdef int _one(self, i32 scope, const Want *want, i32 q) except -1 nogil:
        cdef i64 found = 0
        cdef i32 v, i, mark, end
        if want[q].kind == VERTEX_SLOT:
            if scope >= 0 and self.tree.node[scope] >= 0 or not want[q].in_node:
                while found < want[q].count:
                    if not self._all(scope, want, q + 1, want[q].last):
                        return 0
                    found += 1
                return 1
            # Above the nodes, each slot lies on one node of those below.
            for i in range(self.tree.nnodes):
                v = self.tree.node_vertex[i]
                if scope >= 0 and not (scope < v < self.tree.last[scope]) or not get_bit(self.view.nodes, i):
                    continue
                while found < want[q].count:
                    mark = self.nlog
                    if not self._all(v, want, q + 1, want[q].last):
                        self._undo(mark)
                        break
                    found += 1
                if found == want[q].count:
                    return 1
            return 0
        if want[q].kind == VERTEX_PATH:
            return self._path(scope, want[q].count)
        if want[q].kind in (VERTEX_CORE, VERTEX_GPU, VERTEX_POOL):
            return self._collect(scope, want, q)
        if want[q].kind == VERTEX_NODE and (scope < 0 or self.tree.node[scope] < 0):
            for i in range(self.tree.nnodes):
                v = self.tree.node_vertex[i]
                if scope >= 0 and not (scope < v < self.tree.last[scope]):
                    continue
                found += self._vertex(v, want, q)
                if found == want[q].count:
                    return 1
            return 0
        v = scope + 1 if scope >= 0 else 0
        end = self.tree.last[scope] if scope >= 0 else self.tree.nvertices
        while v < end:
            if self.tree.type[v] == want[q].type and self._vertex(v, want, q):
                found += 1
                if found == want[q].count:
                    return 1
                v = self.tree.last[v]
            else:
                v += 1
        return 0

    cdef int _vertex(self, i32 v, const Want *want, i32 q) except -1 nogil:
        """Whether vertex v serves request q; if so, it is staged."""
        cdef i32 mark = self.nlog
        if self.tree.node[v] >= 0 and not get_bit(self.view.nodes, self.tree.node[v]):
            return 0
        if want[q].last > q + 1:
            if not self._all(v, want, q + 1, want[q].last):
                self._undo(mark)
                return 0
            if not want[q].exclusive:
                return 1
            # The parts fit, so it is large enough: take all of it instead.
            self._undo(mark)
        if self._whole(v):
            return 1
        self._undo(mark)
        return 0

    cdef int _collect(self, i32 scope, const Want *want, i32 q) except -1 nogil:
        """Stage count cores, gpus, or units of pools, wherever below scope."""
        cdef i64 need = want[q].count, amount
        cdef i32 v = scope + 1 if scope >= 0 else 0
        cdef i32 end = self.tree.last[scope] if scope >= 0 else self.tree.nvertices
        cdef i32 kind = want[q].kind
        while v < end and need > 0:
            if self.tree.kind[v] == VERTEX_NODE and not get_bit(self.view.nodes, self.tree.node[v]):
                v = self.tree.last[v]
                continue
            if self.tree.type[v] == want[q].type:
                if kind == VERTEX_CORE:
                    amount = get_bit(self.view.core + self.tree.node[v] * self.cw, self.tree.unit[v])
                elif kind == VERTEX_GPU:
                    amount = get_bit(self.view.gpu + self.tree.node[v] * self.gw, self.tree.unit[v])
                else:
                    amount = min(self.view.pool[self.tree.unit[v]], need)
                if amount > 0:
                    self._stage(v, kind, amount)
                    need -= amount
            v += 1
        return need == 0

    cdef int _path(self, i32 scope, i64 amount) except -1 nogil:
        """Stage an amount of bandwidth in each pool from scope to the root."""
        cdef i32 v = scope, pools = 0
        while v >= 0:
            if self.tree.path_pool[v] >= 0:
                if self.view.pool[self.tree.path_pool[v]] < amount:
                    return 0
                pools += 1
            v = self.tree.parent[v]
        v = scope
        while v >= 0:
            if self.tree.path_pool[v] >= 0:
                self._stage(self.tree.path_pool[v], VERTEX_PATH, amount)
            v = self.tree.parent[v]
        return pools > 0

    cdef int _whole(self, i32 v) except -1 nogil:
        """Stage all that is below v (or v itself), if nobody holds any of it."""
        cdef i32 u
        cdef i64 amount
        for u in range(v, self.tree.last[v]):
            if self.tree.node[u] >= 0 and not get_bit(self.view.nodes, self.tree.node[u]):
                return 0
            if self.tree.kind[u] == VERTEX_CORE:
                amount = get_bit(self.view.core + self.tree.node[u] * self.cw, self.tree.unit[u])
            elif self.tree.kind[u] == VERTEX_GPU:
                amount = get_bit(self.view.gpu + self.tree.node[u] * self.gw, self.tree.unit[u])
            elif self.tree.kind[u] == VERTEX_POOL:
                amount = self.tree.pool_size[self.tree.unit[u]]
                if self.view.pool[self.tree.unit[u]] < amount:
                    return 0
                if amount == 0:
                    continue
            else:
                continue
            if amount <= 0:
                return 0
            self._stage(u, self.tree.kind[u], amount)
        return 1

    cdef int _stage(self, i32 vertex, i32 kind, i64 amount) except -1 nogil:
        self.log = <Staged *> grow(self.log, &self.log_room, self.nlog + 1, sizeof(Staged))
        self.log[self.nlog] = Staged(vertex, kind, amount)
        self.nlog += 1
        if kind == VERTEX_CORE:
            clear_bit(self.view.core + self.tree.node[vertex] * self.cw, self.tree.unit[vertex])
        elif kind == VERTEX_GPU:
            clear_bit(self.view.gpu + self.tree.node[vertex] * self.gw, self.tree.unit[vertex])
        elif kind == VERTEX_POOL:
            self.view.pool[self.tree.unit[vertex]] -= amount
        else:
            self.view.pool[vertex] -= amount
        return 0

    cdef void _undo(self, i32 mark) noexcept nogil:
        """Put back what was staged since the log was mark long."""
        cdef Staged *s
        while self.nlog > mark:
            self.nlog -= 1
            s = self.log + self.nlog
            if s.kind == VERTEX_CORE:
                set_bit(self.view.core + self.tree.node[s.vertex] * self.cw, self.tree.unit[s.vertex])
            elif s.kind == VERTEX_GPU:
                set_bit(self.view.gpu + self.tree.node[s.vertex] * self.gw, self.tree.unit[s.vertex])
            elif s.kind == VERTEX_POOL:
                self.view.pool[self.tree.unit[s.vertex]] += s.amount
            else:
                self.view.pool[s.vertex] += s.amount

    cdef int _export(self, Alloc *out) except -1 nogil:
        """The staged resources as an Alloc, nodes in ascending order; 0 if a
        node gives gpus but no core, which R has no way to say. A node of which
        only pools are taken has an entry, too, without bits."""
        cdef i32 i, k, node = -1, nnodes = 0, words = self.cw + self.gw
        cdef Staged *s
        cdef i32 *nodes = NULL
        cdef u64 *bits = NULL
        try:
            nodes = <i32 *> zeroed(self.nlog, sizeof(i32))
            bits = <u64 *> zeroed(words, sizeof(u64))
            for i in range(self.nlog):
                s = self.log + i
                if s.kind == VERTEX_CORE or s.kind == VERTEX_GPU:
                    nodes[nnodes] = self.tree.node[s.vertex]
                    nnodes += 1
                else:
                    if s.kind == VERTEX_POOL and self.tree.node[s.vertex] >= 0:
                        nodes[nnodes] = self.tree.node[s.vertex]
                        nnodes += 1
                    alloc_take(out, self.tree.unit[s.vertex] if s.kind == VERTEX_POOL else s.vertex, s.amount)
            qsort(nodes, nnodes, sizeof(i32), compare_i32)
            for k in range(nnodes):
                if nodes[k] == node:
                    continue
                node = nodes[k]
                for i in range(words):
                    bits[i] = 0
                for i in range(self.nlog):
                    s = self.log + i
                    if s.kind == VERTEX_CORE and self.tree.node[s.vertex] == node:
                        set_bit(bits, self.tree.unit[s.vertex])
                    elif s.kind == VERTEX_GPU and self.tree.node[s.vertex] == node:
                        set_bit(bits + self.cw, self.tree.unit[s.vertex])
                if count_bits(bits, self.cw) == 0 and count_bits(bits + self.cw, self.gw):
                    return 0
                alloc_part(out, node, bits, self.cw, bits + self.cw, self.gw)
        finally:
            free(nodes)
            free(bits)
        return 1
