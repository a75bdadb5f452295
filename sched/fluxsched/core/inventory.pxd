# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.tree cimport Tree
from fluxsched.core.types cimport i32, u64


cdef class Inventory:
    cdef:
        readonly i32 nnodes
        i32 nwords              # words of a set over nodes
        i32 core_words          # words of a node's core set
        i32 gpu_words           # words of a node's gpu set (0: no gpus at all)
        u64 *core_all           # [nnodes * core_words], cores a node has
        u64 *gpu_all            # [nnodes * gpu_words]
        i32 *ncores             # [nnodes]
        i32 *ngpus              # [nnodes]
        i32 *node_class         # [nnodes], index of its class
        i32 *run_last           # [nnodes], last node of the run of alike nodes it is
                                # in: ranks and host names follow, sets are equal
        bint dense              # rank i is node i
        i32 nclasses            # a class: nodes with equal core and gpu counts
        i32 *class_cores        # [nclasses]
        i32 *class_gpus         # [nclasses]
        readonly list ranks     # [nnodes] int, ascending
        readonly list hosts     # [nnodes] str
        list core_text          # [nnodes] idset strings
        list gpu_text
        readonly dict properties    # name -> int, bit set over node indices
        readonly double expiration  # of the instance, seconds; 0: none
        dict rank_index         # rank -> node index
        Tree tree               # None until the inventory has or needs one

    cdef void _allocate(self, i32 nnodes, i32 core_words, i32 gpu_words) except *
    cdef void _finish(self) except *
    cpdef Tree need_tree(self)
    cdef int sanity_check(self) except -1


cdef str idset_text(const u64 *words, i32 nwords)
cdef str shared_text(dict texts, const u64 *words, i32 nwords)
