# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.eligible cimport Eligible
from fluxsched.core.state cimport State
from fluxsched.core.types cimport i32, u64

# A kind while it is found out; then they are sorted by these, in this order.
cdef struct Kind:
    i32 component           # lowest kind (as first numbered) that is connected with it
    i32 extra               # gpus and pools of each of its nodes
    i32 nsets               # sets in use that contain it
    i32 node                # its lowest node
    i32 id                  # its first number

# The nodes of a kind.
cdef struct Group:
    u64 *nodes              # [last - first] the words first … last - 1 of the set of its nodes
    i32 first
    i32 last
    i32 ncores              # of each of its nodes
    i32 ngpus


@cython.final
cdef class Kinds:
    """Nodes that are up, by what they have and the sets in use that contain them."""
    cdef:
        State state
        Eligible eligible
        bint plain              # no constraint in use, and all nodes are alike: those that are up are of kind 0
        i32 epoch               # changes whenever a kind does
        i32 *class_of           # [nnodes] nodes of one number are alike but for sets
        i32 *extra              # [nclasses] gpus and pools of a node
        i32 nclasses
        i32 nkinds
        i32 ncomponents
        i32 *kind_of            # [nnodes] kind of a node; -1: none (not up, or in no set in use)
        i32 *first              # [ncomponents + 1] kinds first[c] … first[c + 1] - 1 are component c
        i32 *component_of       # [nkinds]
        i32 *set_component      # [nsets] component of a set in use; -1: it has no node that is up, or is not in use
        i32 *set_first          # [nsets + 1] set s contains kinds member[set_first[s]] … member[set_first[s + 1] - 1]
        i32 *member             # ascending for each set: the order in which a job takes from them
        i32 nsets
        i32 set_room
        i32 first_room
        i32 member_room
        i32 generation          # of the nodes' state, and
        i32 version             # of the sets in use, for which all this holds
        Group *group            # [nkinds]
        i32 group_room
        u64 *group_words
        i32 group_words_room
        # Scratch, [nnodes] each.
        Kind *kind
        i32 *size
        i32 *inside
        i32 *child

    cdef int refresh(self) except -1 nogil
    cdef int set_plain(self) except -1 nogil
    cdef void mark_up(self) noexcept nogil
    cdef void start_from_classes(self) noexcept nogil
    cdef int need_sets(self) except -1 nogil
    cdef void split_by(self, i32 set) noexcept nogil
    cdef i32 root(self, i32 kind) noexcept nogil
    cdef void join_by(self, i32 set) noexcept nogil
    cdef void arrange(self) noexcept nogil
    cdef int list_members(self) except -1 nogil
    cdef int list_nodes(self) except -1 nogil
    cdef bint in_set(self, const Group *g, i32 set) noexcept nogil
