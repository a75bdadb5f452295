# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.alloc cimport Alloc
from fluxsched.core.types cimport i32, i64, u64

# What a vertex is to the matcher.
cdef enum:
    VERTEX_PLAIN = 0        # holds others: cluster, switch, socket, …
    VERTEX_NODE = 1
    VERTEX_CORE = 2
    VERTEX_GPU = 3
    VERTEX_POOL = 4         # an amount without parts: memory, licences, …
    VERTEX_PATH = 5         # bandwidth: drawn from every pool up to the root
    VERTEX_SLOT = 6

# One vertex of a request; a request is an array of them in preorder.
cdef struct Want:
    i32 type                # index of the type name
    i32 kind                # VERTEX_…
    i64 count
    i32 exclusive           # the whole subtree of each vertex found
    i32 last                # index after its children
    i32 in_node             # a slot whose parts all lie inside one node


@cython.final
cdef class Tree:
    cdef:
        readonly list type_names    # distinct types; index is the type
        dict type_index
        i32 nvertices
        i32 *type                   # [nvertices]
        i32 *kind                   # [nvertices] VERTEX_…
        i32 *parent                 # [nvertices] -1: root
        i32 *last                   # [nvertices] index after its subtree
        i32 *node                   # [nvertices] node index; -1: above nodes
        i32 *unit                   # [nvertices] core or gpu id; pool index
        i32 *path_pool              # [nvertices] its bandwidth pool; -1: none
        readonly i32 nnodes
        i32 npools
        i64 *pool_size              # [npools]
        i32 *pool_vertex            # [npools]
        i32 *node_vertex            # [nnodes]
        u64 *type_in_node           # bit set over types: found only inside nodes
        list nodes
        readonly list names         # [nvertices]

    cdef bint pools_whole(self, i32 node, const i64 *left) noexcept nogil
    cdef int whole_pools(self, i32 node, Alloc *out) except -1 nogil
    cdef i32 pools_of(self, i32 node) noexcept nogil
    cdef int sanity_check(self) except -1
