# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.alloc cimport Alloc
from fluxsched.core.tree cimport Tree, Want
from fluxsched.core.types cimport i32, i64, u64

# The resources a match may use. It takes from them as it goes.
cdef struct View:
    u64 *core               # [nnodes * cw]
    u64 *gpu                # [nnodes * gw]
    i64 *pool               # [npools]
    u64 *nodes              # [nwords] nodes that may be used

# One thing that the match has taken so far.
cdef struct Staged:
    i32 vertex              # core, gpu or pool vertex (for a path pool: pool)
    i32 kind                # VERTEX_…
    i64 amount


@cython.final
cdef class Matcher:
    """Matches general requests for one engine, and holds the scratch of it."""
    cdef:
        Tree tree
        i32 cw                  # core words a node
        i32 gw                  # gpu words a node
        i32 nwords              # words of a set over nodes
        View view
        Staged *log             # [nlog] what is taken, in order
        i32 nlog
        i32 log_room

    cdef void show(self, const u64 *core, const u64 *gpu, const i64 *pool, const u64 *nodes,
                   const u64 *eligible) noexcept nogil
    cdef int match(self, const Want *want, i32 nwant, Alloc *out) except -1 nogil
    cdef int _all(self, i32 scope, const Want *want, i32 first, i32 end) except -1 nogil
    cdef int _one(self, i32 scope, const Want *want, i32 q) except -1 nogil
    cdef int _vertex(self, i32 v, const Want *want, i32 q) except -1 nogil
    cdef int _collect(self, i32 scope, const Want *want, i32 q) except -1 nogil
    cdef int _path(self, i32 scope, i64 amount) except -1 nogil
    cdef int _whole(self, i32 v) except -1 nogil
    cdef int _stage(self, i32 vertex, i32 kind, i64 amount) except -1 nogil
    cdef void _undo(self, i32 mark) noexcept nogil
    cdef int _export(self, Alloc *out) except -1 nogil
