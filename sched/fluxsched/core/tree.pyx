# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
# cython: boundscheck=True, wraparound=True
"""The tree of resources, flat, and the matcher of general requests.

Vertices stand in preorder, so a subtree is a range. The matcher is the greedy
one of the C original: it walks the request and the tree together, descends
through types that the request leaves out (a node with four cores, no socket
named), and takes the first that will do. It works on a View, which it changes
as it stages resources; what a failed branch staged is put back.

Three kinds of leaf: cores and gpus are bits of their node, pools are amounts.
A tag max_bw on a node or above it is a pool of bandwidth: a request for
bandwidth is drawn from every such pool between the vertex and the root.
"""
from collections import namedtuple

from libc.stdlib cimport free, qsort

from fluxsched.core.alloc cimport Alloc, alloc_part, alloc_reset, alloc_take, grown
from fluxsched.core.bits cimport clear_bit, count_bits, get_bit, set_bit, words_for
from fluxsched.core.memory cimport no_memory, zeroed
from fluxsched.core.types cimport i32, i64, u64

from fluxsched.formats import idset as _idset

Node = namedtuple("Node", "host cores gpus flags")


cdef int compare_i32(const void *a, const void *b) noexcept nogil:
    cdef i32 x = (<const i32 *> a)[0], y = (<const i32 *> b)[0]
    return (x > y) - (x < y)


cdef class Tree:

    def __cinit__(self):
        self.type_names = []
        self.type_index = {}
        self.nodes = []
        self.names = []

    def __dealloc__(self):
        free(self.type)
        free(self.kind)
        free(self.parent)
        free(self.last)
        free(self.node)
        free(self.unit)
        free(self.path_pool)
        free(self.pool_size)
        free(self.pool_vertex)
        free(self.node_vertex)
        free(self.type_in_node)
        free(self.log)

    @staticmethod
    def from_hierarchy(h):
        """From a formats.rdl.Hierarchy. Raises ValueError for a node inside a
        node, two cores or gpus of a node with one id, or one without an id."""
        cdef Tree tree = Tree()
        tree._fill(h.uri, h.type, h.name, h.id, h.size, h.parent, h.tags, h.properties)
        return tree

    @staticmethod
    def of_nodes(hosts, cores, gpus):
        """A tree of nothing but nodes with these core and gpu sets (idset strings)."""
        cdef Tree tree = Tree()
        types, names, ids, parents = ["cluster"], ["cluster"], [None], [-1]
        for host, core_set, gpu_set in zip(hosts, cores, gpus):
            place = len(types)
            types.append("node")
            names.append(host)
            ids.append(None)
            parents.append(0)
            for kind, text in (("core", core_set), ("gpu", gpu_set)):
                for unit in _idset.ids(text) if text else ():
                    types.append(kind)
                    names.append(kind)
                    ids.append(unit)
                    parents.append(place)
        empty = [{}] * len(types)
        tree._fill("R", types, names, ids, [1] * len(types), parents, empty, empty)
        return tree

    def _fill(self, uri, types, names, ids, sizes, parents, tags, properties):
        cdef i32 v, p, n = len(types), node, npools = 0
        cdef dict units
        self.names = list(names)
        self.nvertices = n
        self.type = <i32 *> zeroed(n, sizeof(i32))
        self.kind = <i32 *> zeroed(n, sizeof(i32))
        self.parent = <i32 *> zeroed(n, sizeof(i32))
        self.last = <i32 *> zeroed(n, sizeof(i32))
        self.node = <i32 *> zeroed(n, sizeof(i32))
        self.unit = <i32 *> zeroed(n, sizeof(i32))
        self.path_pool = <i32 *> zeroed(n, sizeof(i32))
        for v in range(n):
            self.parent[v] = parents[v]
            self.last[v] = v + 1
            name = types[v]
            if name not in self.type_index:
                self.type_index[name] = len(self.type_names)
                self.type_names.append(name)
            self.type[v] = self.type_index[name]
        for v in range(n - 1, -1, -1):
            p = self.parent[v]
            if p >= 0 and self.last[v] > self.last[p]:
                self.last[p] = self.last[v]
        self.type_in_node = <u64 *> zeroed(words_for(len(self.type_names) + 1), sizeof(u64))
        for v in range(len(self.type_names)):
            set_bit(self.type_in_node, v)
        pools = []
        node_vertices = []
        units = {}
        for v in range(n):
            p = self.parent[v]
            self.node[v] = self.node[p] if p >= 0 else -1
            self.unit[v] = -1
            self.path_pool[v] = -1
            name = types[v]
            node = self.node[v]
            if name == "node":
                if node >= 0:
                    raise ValueError(f"{uri}: node {names[v]} lies inside node {names[self.parent[v]]}")
                self.kind[v] = VERTEX_NODE
                self.node[v] = len(node_vertices)
                node_vertices.append(v)
                flags = [k for k, value in properties[v].items() if value is not False]
                flags += [k for k, value in tags[v].items() if value is True and k not in flags]
                self.nodes.append((names[v], [], [], flags))
            elif name in ("core", "gpu"):
                self.kind[v] = VERTEX_CORE if name == "core" else VERTEX_GPU
                if node < 0:
                    raise ValueError(f"{uri}: {name} {names[v]} is not inside a node")
                if ids[v] is None or ids[v] < 0:
                    raise ValueError(f"{uri}: {name} {names[v]} of node {self.nodes[node][0]} has no id")
                if units.setdefault((node, name, ids[v]), v) != v:
                    raise ValueError(f"{uri}: node {self.nodes[node][0]} has two {name}s with id {ids[v]}")
                self.unit[v] = ids[v]
                self.nodes[node][1 if name == "core" else 2].append(ids[v])
            elif self.last[v] == v + 1:
                self.kind[v] = VERTEX_POOL
                self.unit[v] = npools
                npools += 1
                pools.append((v, sizes[v]))
            if self.node[v] < 0 or name == "node":
                clear_bit(self.type_in_node, self.type[v])
                width = tags[v].get("max_bw")
                if isinstance(width, (int, float)) and not isinstance(width, bool):
                    self.path_pool[v] = npools
                    npools += 1
                    pools.append((v, int(width)))
        self.npools = npools
        self.pool_size = <i64 *> zeroed(npools, sizeof(i64))
        self.pool_vertex = <i32 *> zeroed(npools, sizeof(i32))
        for p, (vertex, size) in enumerate(pools):
            self.pool_vertex[p] = vertex
            self.pool_size[p] = size
        self.nnodes = len(node_vertices)
        self.node_vertex = <i32 *> zeroed(self.nnodes, sizeof(i32))
        for p, vertex in enumerate(node_vertices):
            self.node_vertex[p] = vertex
        self.nodes = [Node(host, _idset.encode(sorted(cores)), _idset.encode(sorted(gpus)), flags)
                      for host, cores, gpus, flags in self.nodes]
        for node_ in self.nodes:
            if not node_.cores:
                raise ValueError(f"{uri}: node {node_.host} has no core")

    def describe_nodes(self):
        """The nodes in order: host, cores and gpus as idset strings, flags."""
        return self.nodes

    def pools(self):
        """Each pool as (vertex name, type, amount)."""
        out = []
        for p in range(self.npools):
            v = self.pool_vertex[p]
            out.append((self.names[v], "bandwidth" if self.path_pool[v] == p else self.type_names[self.type[v]],
                        self.pool_size[p]))
        return out

    def flatten(self, vertices):
        """A request (tuple of formats.jobspec.Vertex) as a list of
        (type, kind, count, exclusive, last, in_node) in preorder.

        Raises LookupError naming a type that there is not.
        """
        out = []
        self._flatten(vertices, out)
        return out

    def _flatten(self, vertices, out):
        for vertex in vertices:
            place = len(out)
            out.append(None)
            self._flatten(vertex.children, out)
            in_node = False
            if vertex.type == "slot":
                kind, index = VERTEX_SLOT, -1
                in_node = all(row[1] in (VERTEX_CORE, VERTEX_GPU) or row[1] == VERTEX_PATH or row[5]
                              or (row[0] >= 0 and get_bit(self.type_in_node, row[0]))
                              for row in out[place + 1:])
            elif vertex.type == "bandwidth" and "bandwidth" not in self.type_index and self._has_paths():
                kind, index = VERTEX_PATH, -1
            elif vertex.type in self.type_index:
                index = self.type_index[vertex.type]
                kind = self._kind_of(index)
            else:
                raise LookupError(vertex.type)
            out[place] = (index, kind, vertex.count, vertex.exclusive, len(out), in_node)

    def _has_paths(self):
        return any(self.path_pool[v] >= 0 for v in range(self.nvertices))

    def _kind_of(self, i32 index):
        cdef i32 v
        for v in range(self.nvertices):
            if self.type[v] == index:
                return self.kind[v]
        return VERTEX_PLAIN

    def part(self, taken_cores, taken_gpus, taken_pools):
        """The held part of the tree: list of (name, type, amount, depth) in
        preorder. taken_cores, taken_gpus: sets of (node, id); taken_pools:
        {pool: amount}."""
        cdef i32 v, p
        keep = {}
        for v in range(self.nvertices):
            amount = 0
            if self.kind[v] == VERTEX_CORE:
                amount = 1 if (self.node[v], self.unit[v]) in taken_cores else 0
            elif self.kind[v] == VERTEX_GPU:
                amount = 1 if (self.node[v], self.unit[v]) in taken_gpus else 0
            elif self.kind[v] == VERTEX_POOL:
                amount = taken_pools.get(self.unit[v], 0)
            if amount:
                keep[v] = amount
                p = self.parent[v]
                while p >= 0 and p not in keep:
                    keep[p] = 1
                    p = self.parent[p]
        depth = {}
        out = []
        for v in sorted(keep):
            depth[v] = depth[self.parent[v]] + 1 if self.parent[v] in depth else 0
            out.append((self.names[v], self.type_names[self.type[v]], keep[v], depth[v]))
        return out

    cdef void shape(self, i32 core_words, i32 gpu_words) noexcept nogil:
        """How many words a node has in a View."""
        self.cw = core_words
        self.gw = gpu_words

    cdef int match(self, const Want *want, i32 nwant, View *view, Alloc *out) except -1 nogil:
        """1 and what it found in out, or 0; view is changed by what was found."""
        self.nlog = 0
        alloc_reset(out)
        if not self._all(-1, want, 0, nwant, view):
            self._undo(0, view)
            return 0
        if not self._export(view, out):
            self._undo(0, view)
            return 0
        return 1

    cdef int _all(self, i32 scope, const Want *want, i32 first, i32 end, View *view) except -1 nogil:
        """Stage every sibling request of [first, end) below scope."""
        cdef i32 q = first
        while q < end:
            if not self._one(scope, want, q, view):
                return 0
            q = want[q].last
        return 1

    cdef int _one(self, i32 scope, const Want *want, i32 q, View *view) except -1 nogil:
        cdef i64 found = 0
        cdef i32 v, i, mark, end
        if want[q].kind == VERTEX_SLOT:
            if scope >= 0 and self.node[scope] >= 0 or not want[q].in_node:
                while found < want[q].count:
                    if not self._all(scope, want, q + 1, want[q].last, view):
                        return 0
                    found += 1
                return 1
            # Above the nodes, each slot lies on one node of those below.
            for i in range(self.nnodes):
                v = self.node_vertex[i]
                if scope >= 0 and not (scope < v < self.last[scope]) or not get_bit(view.nodes, i):
                    continue
                while found < want[q].count:
                    mark = self.nlog
                    if not self._all(v, want, q + 1, want[q].last, view):
                        self._undo(mark, view)
                        break
                    found += 1
                if found == want[q].count:
                    return 1
            return 0
        if want[q].kind == VERTEX_PATH:
            return self._path(scope, want[q].count, view)
        if want[q].kind in (VERTEX_CORE, VERTEX_GPU, VERTEX_POOL):
            return self._collect(scope, want, q, view)
        if want[q].kind == VERTEX_NODE and (scope < 0 or self.node[scope] < 0):
            for i in range(self.nnodes):
                v = self.node_vertex[i]
                if scope >= 0 and not (scope < v < self.last[scope]):
                    continue
                found += self._vertex(v, want, q, view)
                if found == want[q].count:
                    return 1
            return 0
        v = scope + 1 if scope >= 0 else 0
        end = self.last[scope] if scope >= 0 else self.nvertices
        while v < end:
            if self.type[v] == want[q].type and self._vertex(v, want, q, view):
                found += 1
                if found == want[q].count:
                    return 1
                v = self.last[v]
            else:
                v += 1
        return 0

    cdef int _vertex(self, i32 v, const Want *want, i32 q, View *view) except -1 nogil:
        """Whether vertex v serves request q; if so, it is staged."""
        cdef i32 mark = self.nlog
        if self.node[v] >= 0 and not get_bit(view.nodes, self.node[v]):
            return 0
        if want[q].last > q + 1:
            if not self._all(v, want, q + 1, want[q].last, view):
                self._undo(mark, view)
                return 0
            if not want[q].exclusive:
                return 1
            # The parts fit, so it is large enough: take all of it instead.
            self._undo(mark, view)
        if self._whole(v, view):
            return 1
        self._undo(mark, view)
        return 0

    cdef int _collect(self, i32 scope, const Want *want, i32 q, View *view) except -1 nogil:
        """Stage count cores, gpus, or units of pools, wherever below scope."""
        cdef i64 need = want[q].count, amount
        cdef i32 v = scope + 1 if scope >= 0 else 0
        cdef i32 end = self.last[scope] if scope >= 0 else self.nvertices
        cdef i32 kind = want[q].kind
        while v < end and need > 0:
            if self.kind[v] == VERTEX_NODE and not get_bit(view.nodes, self.node[v]):
                v = self.last[v]
                continue
            if self.type[v] == want[q].type:
                if kind == VERTEX_CORE:
                    amount = get_bit(view.core + self.node[v] * self.cw, self.unit[v])
                elif kind == VERTEX_GPU:
                    amount = get_bit(view.gpu + self.node[v] * self.gw, self.unit[v])
                else:
                    amount = min(view.pool[self.unit[v]], need)
                if amount > 0:
                    self._stage(v, kind, amount, view)
                    need -= amount
            v += 1
        return need == 0

    cdef int _path(self, i32 scope, i64 amount, View *view) except -1 nogil:
        """Stage an amount of bandwidth in each pool from scope to the root."""
        cdef i32 v = scope, pools = 0
        while v >= 0:
            if self.path_pool[v] >= 0:
                if view.pool[self.path_pool[v]] < amount:
                    return 0
                pools += 1
            v = self.parent[v]
        v = scope
        while v >= 0:
            if self.path_pool[v] >= 0:
                self._stage(self.path_pool[v], VERTEX_PATH, amount, view)
            v = self.parent[v]
        return pools > 0

    cdef int _whole(self, i32 v, View *view) except -1 nogil:
        """Stage all that is below v (or v itself), if nobody holds any of it."""
        cdef i32 u
        cdef i64 amount
        for u in range(v, self.last[v]):
            if self.node[u] >= 0 and not get_bit(view.nodes, self.node[u]):
                return 0
            if self.kind[u] == VERTEX_CORE:
                amount = get_bit(view.core + self.node[u] * self.cw, self.unit[u])
            elif self.kind[u] == VERTEX_GPU:
                amount = get_bit(view.gpu + self.node[u] * self.gw, self.unit[u])
            elif self.kind[u] == VERTEX_POOL:
                amount = self.pool_size[self.unit[u]]
                if view.pool[self.unit[u]] < amount:
                    return 0
                if amount == 0:
                    continue
            else:
                continue
            if amount <= 0:
                return 0
            self._stage(u, self.kind[u], amount, view)
        return 1

    cdef int _stage(self, i32 vertex, i32 kind, i64 amount, View *view) except -1 nogil:
        cdef void *room = grown(self.log, &self.log_room, self.nlog + 1, sizeof(Staged))
        if room is NULL:
            no_memory(b"no memory to match a request")
        self.log = <Staged *> room
        self.log[self.nlog] = Staged(vertex, kind, amount)
        self.nlog += 1
        if kind == VERTEX_CORE:
            clear_bit(view.core + self.node[vertex] * self.cw, self.unit[vertex])
        elif kind == VERTEX_GPU:
            clear_bit(view.gpu + self.node[vertex] * self.gw, self.unit[vertex])
        elif kind == VERTEX_POOL:
            view.pool[self.unit[vertex]] -= amount
        else:
            view.pool[vertex] -= amount
        return 0

    cdef void _undo(self, i32 mark, View *view) noexcept nogil:
        """Put back what was staged since the log was mark long."""
        cdef Staged *s
        while self.nlog > mark:
            self.nlog -= 1
            s = self.log + self.nlog
            if s.kind == VERTEX_CORE:
                set_bit(view.core + self.node[s.vertex] * self.cw, self.unit[s.vertex])
            elif s.kind == VERTEX_GPU:
                set_bit(view.gpu + self.node[s.vertex] * self.gw, self.unit[s.vertex])
            elif s.kind == VERTEX_POOL:
                view.pool[self.unit[s.vertex]] += s.amount
            else:
                view.pool[s.vertex] += s.amount

    cdef int _export(self, View *view, Alloc *out) except -1 nogil:
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
                    nodes[nnodes] = self.node[s.vertex]
                    nnodes += 1
                else:
                    if s.kind == VERTEX_POOL and self.node[s.vertex] >= 0:
                        nodes[nnodes] = self.node[s.vertex]
                        nnodes += 1
                    alloc_take(out, self.unit[s.vertex] if s.kind == VERTEX_POOL else s.vertex, s.amount)
            qsort(nodes, nnodes, sizeof(i32), compare_i32)
            for k in range(nnodes):
                if nodes[k] == node:
                    continue
                node = nodes[k]
                for i in range(words):
                    bits[i] = 0
                for i in range(self.nlog):
                    s = self.log + i
                    if s.kind == VERTEX_CORE and self.node[s.vertex] == node:
                        set_bit(bits, self.unit[s.vertex])
                    elif s.kind == VERTEX_GPU and self.node[s.vertex] == node:
                        set_bit(bits + self.cw, self.unit[s.vertex])
                if count_bits(bits, self.cw) == 0 and count_bits(bits + self.cw, self.gw):
                    return 0
                alloc_part(out, node, bits, self.cw, bits + self.cw, self.gw)
        finally:
            free(nodes)
            free(bits)
        return 1

    cdef bint pools_whole(self, i32 node, const i64 *left) noexcept nogil:
        """Whether all pools inside a node are left whole."""
        cdef i32 u
        for u in range(self.node_vertex[node], self.last[self.node_vertex[node]]):
            if self.kind[u] == VERTEX_POOL and left[self.unit[u]] < self.pool_size[self.unit[u]]:
                return False
        return True

    cdef int whole_pools(self, i32 node, Alloc *out) except -1 nogil:
        """Add all pools inside a node, for a job that has it to itself."""
        cdef i32 u
        for u in range(self.node_vertex[node], self.last[self.node_vertex[node]]):
            if self.kind[u] == VERTEX_POOL:
                alloc_take(out, self.unit[u], self.pool_size[self.unit[u]])
        return 0
