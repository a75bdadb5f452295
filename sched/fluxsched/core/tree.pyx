# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
# cython: boundscheck=True, wraparound=True
"""The tree of resources, flat. It is only read once it is built.

Vertices stand in preorder, so a subtree is a range. Three kinds of leaf: cores and gpus are bits of their node, pools
are amounts. A tag max_bw on a node or above it is a pool of bandwidth: a request for bandwidth is drawn from every
such pool between the vertex and the root. Requests are matched by fluxsched.core.match.
"""
from collections import namedtuple

from libc.stdlib cimport free

from fluxsched.core.alloc cimport Alloc, alloc_take
from fluxsched.core.bits cimport clear_bit, get_bit, set_bit, words_for
from fluxsched.core.check cimport must
from fluxsched.core.memory cimport zeroed
from fluxsched.core.types cimport i32, i64, u64

from fluxsched.formats import idset as _idset

Node = namedtuple("Node", "host cores gpus flags")


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

    cdef bint pools_whole(self, i32 node, const i64 *left) noexcept nogil:
        """Whether all pools inside a node are left whole."""
        cdef i32 u
        for u in range(self.node_vertex[node], self.last[self.node_vertex[node]]):
            if self.kind[u] == VERTEX_POOL and left[self.unit[u]] < self.pool_size[self.unit[u]]:
                return False
        return True

    cdef i32 pools_of(self, i32 node) noexcept nogil:
        """Number of pools that are a node's own: inside it, and its bandwidth."""
        cdef i32 u, count = self.path_pool[self.node_vertex[node]] >= 0
        for u in range(self.node_vertex[node], self.last[self.node_vertex[node]]):
            count += self.kind[u] == VERTEX_POOL
        return count

    cdef int whole_pools(self, i32 node, Alloc *out) except -1 nogil:
        """Add all pools inside a node, for a job that has it to itself."""
        cdef i32 u
        for u in range(self.node_vertex[node], self.last[self.node_vertex[node]]):
            if self.kind[u] == VERTEX_POOL:
                alloc_take(out, self.unit[u], self.pool_size[self.unit[u]])
        return 0

    cdef int sanity_check(self) except -1:
        """AssertionError unless vertices are in preorder, and nodes and pools are where they say."""
        cdef i32 v, p, node = 0
        for v in range(self.nvertices):
            p = self.parent[v]
            must(-1 <= p < v < self.last[v] <= self.nvertices, "tree: not in preorder")
            must(p < 0 or self.last[v] <= self.last[p], "tree: a subtree reaches out of its parent's")
            if self.kind[v] == VERTEX_NODE:
                must(self.node[v] == node and self.node_vertex[node] == v, "tree: a node")
                node += 1
            else:
                must(self.node[v] == (self.node[p] if p >= 0 else -1), "tree: a vertex is not in its parent's node")
            if self.kind[v] == VERTEX_POOL:
                must(self.pool_vertex[self.unit[v]] == v, "tree: a pool")
            if self.path_pool[v] >= 0:
                must(self.pool_vertex[self.path_pool[v]] == v, "tree: a pool of bandwidth")
        must(node == self.nnodes, "tree: number of nodes")
        return 0
