# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Kinds of nodes: nodes that the waiting jobs cannot tell apart.

A set is in use while a waiting job is confined to it (set 0, all nodes: while
one is confined to none). Two nodes that are up, have as many cores, gpus and pools,
and lie in the same sets in use are of one kind. Kinds that lie in one set
are connected; what is connected, directly or by other kinds, is a component:
jobs of one component never take a node of another.

        sets in use     a:  a a a a a a            c: . . . . . . . . c c
                        b:          b b b b
        nodes               0 1 2 3 4 5 6 7 8 9
        kinds               0 0 0 0 2 2 1 1 3 3    (2: in a and b)
        components          0 0 0 0 0 0 0 0 1 1

Kinds are numbered by component, then by the gpus and pools (memory, bandwidth)
of a node, then by the number of sets in use that contain them, then by their
lowest node. A job takes from the kinds of its set that can serve it in this
order: first what has least that the job did not ask for and fewest others
could use.
"""
from libc.stdlib cimport free

from fluxsched.core.bits cimport get_bit, lowest, set_bit
from fluxsched.core.eligible cimport Eligible
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.memory cimport grow, memcpy, memset, qsort, zeroed
from fluxsched.core.state cimport State
from fluxsched.core.types cimport i32, u64


cdef int compare_kinds(const void *a, const void *b) noexcept nogil:
    cdef const Kind *x = <const Kind *> a
    cdef const Kind *y = <const Kind *> b
    if x.component != y.component:
        return (x.component > y.component) - (x.component < y.component)
    if x.extra != y.extra:
        return (x.extra > y.extra) - (x.extra < y.extra)
    if x.nsets != y.nsets:
        return (x.nsets > y.nsets) - (x.nsets < y.nsets)
    return (x.node > y.node) - (x.node < y.node)


cdef int compare_numbers(const void *a, const void *b) noexcept nogil:
    cdef i32 x = (<const i32 *> a)[0], y = (<const i32 *> b)[0]
    return (x > y) - (x < y)


cdef class Kinds:

    def __cinit__(self, State state not None, Eligible eligible not None, Kinds like=None):
        cdef i32 n = state.inv.nnodes
        self.state = state
        self.eligible = eligible
        self.kind_of = <i32 *> zeroed(n, sizeof(i32))
        self.first = <i32 *> zeroed(n + 1, sizeof(i32))
        self.component_of = <i32 *> zeroed(n, sizeof(i32))
        self.kind = <Kind *> zeroed(n + 1, sizeof(Kind))
        self.size = <i32 *> zeroed(n + 1, sizeof(i32))
        self.inside = <i32 *> zeroed(n + 1, sizeof(i32))
        self.child = <i32 *> zeroed(n + 1, sizeof(i32))
        self.class_of = <i32 *> zeroed(n, sizeof(i32))
        self.extra = <i32 *> zeroed(n, sizeof(i32))
        if like is None:
            self.find_classes()
        else:
            # Of the same inventory.
            self.nclasses = like.nclasses
            memcpy(self.class_of, like.class_of, n * sizeof(i32))
            memcpy(self.extra, like.extra, n * sizeof(i32))
        self.generation = -1
        self.version = -1

    def find_classes(self):
        """Number the nodes that are alike alike."""
        cdef i32 node, npools
        cdef Inventory inv = self.state.inv
        cdef dict classes = {}
        for node in range(inv.nnodes):
            npools = inv.tree.pools_of(node) if inv.tree is not None else 0
            self.class_of[node] = classes.setdefault((inv.node_class[node], npools), len(classes))
            self.extra[self.class_of[node]] = inv.ngpus[node] + npools
        self.nclasses = len(classes)

    def __dealloc__(self):
        free(self.class_of)
        free(self.group)
        free(self.group_words)
        free(self.extra)
        free(self.kind_of)
        free(self.first)
        free(self.component_of)
        free(self.set_component)
        free(self.set_first)
        free(self.member)
        free(self.kind)
        free(self.size)
        free(self.inside)
        free(self.child)

    cdef int refresh(self) except -1 nogil:
        """Find the kinds anew, if nodes or the sets in use have changed: O(nodes) for each set in use."""
        cdef i32 set, nconstrained = 0
        cdef bint was_plain = self.plain
        if self.generation == self.eligible.generation and self.version == self.eligible.version:
            return 0
        self.need_sets()
        for set in range(1, self.nsets):
            nconstrained += self.eligible.waiting[set] > 0
        self.plain = nconstrained == 0 and self.nclasses <= 1
        if self.plain:
            if not was_plain or self.generation != self.eligible.generation:
                self.epoch += 1
                self.mark_up()
                self.nkinds = 1
                self.list_nodes()
            self.set_plain()
        else:
            self.epoch += 1
            self.start_from_classes()
            for set in range(self.nsets):
                if self.eligible.waiting[set]:
                    self.split_by(set)
            for set in range(self.nkinds):
                self.kind[set].component = set
            for set in range(self.nsets):
                if self.eligible.waiting[set]:
                    self.join_by(set)
            self.arrange()
            self.list_members()
            self.list_nodes()
        self.generation = self.eligible.generation
        self.version = self.eligible.version
        return 0

    cdef void mark_up(self) noexcept nogil:
        """All nodes that are up are of kind 0."""
        cdef i32 node
        for node in range(self.state.inv.nnodes):
            self.kind_of[node] = 0 if get_bit(self.state.up, node) else -1

    cdef void start_from_classes(self) noexcept nogil:
        """All nodes of a class that are up are one kind, until a set tells them apart."""
        cdef i32 k, node
        self.nkinds = self.nclasses
        for k in range(self.nkinds):
            self.kind[k] = Kind(0, self.extra[k], 0, 0, k)
            self.size[k] = 0
        for node in range(self.state.inv.nnodes):
            self.kind_of[node] = -1
            if get_bit(self.state.up, node):
                self.kind_of[node] = self.class_of[node]
                self.size[self.class_of[node]] += 1

    cdef int set_plain(self) except -1 nogil:
        """One kind, which set 0 contains."""
        cdef i32 set
        self.member = <i32 *> grow(self.member, &self.member_room, 1, sizeof(i32))
        self.member[0] = 0
        self.nkinds = 1
        self.ncomponents = 1
        self.first[0] = 0
        self.first[1] = 1
        self.component_of[0] = 0
        for set in range(self.nsets):
            self.set_component[set] = 0 if set == 0 else -1
            self.set_first[set + 1] = 1
        self.set_first[0] = 0
        return 0

    cdef int need_sets(self) except -1 nogil:
        self.set_component = <i32 *> grow(self.set_component, &self.set_room, self.eligible.nsets, sizeof(i32))
        self.set_first = <i32 *> grow(self.set_first, &self.first_room, self.eligible.nsets + 1, sizeof(i32))
        self.nsets = self.eligible.nsets
        return 0

    cdef void split_by(self, i32 set) noexcept nogil:
        """Tell the nodes in a set from the others."""
        cdef i32 w, node, k, old = self.nkinds
        cdef u64 word
        memset(self.inside, 0, old * sizeof(i32))
        for w in range(self.state.nwords):
            word = self.eligible.bits[set][w] & self.state.up[w]
            while word:
                self.inside[self.kind_of[w * 64 + lowest(word)]] += 1
                word &= word - 1
        for k in range(old):
            self.child[k] = k
            if self.inside[k] and self.inside[k] == self.size[k]:
                self.kind[k].nsets += 1
            elif self.inside[k]:
                self.child[k] = self.nkinds
                self.size[k] -= self.inside[k]
                self.size[self.nkinds] = self.inside[k]
                self.kind[self.nkinds] = Kind(0, self.kind[k].extra, self.kind[k].nsets + 1, 0, self.nkinds)
                self.nkinds += 1
        if self.nkinds == old:
            return
        for w in range(self.state.nwords):
            word = self.eligible.bits[set][w] & self.state.up[w]
            while word:
                node = w * 64 + lowest(word)
                word &= word - 1
                self.kind_of[node] = self.child[self.kind_of[node]]

    cdef i32 root(self, i32 kind) noexcept nogil:
        """The lowest kind that is connected with a kind."""
        while self.kind[kind].component != kind:
            self.kind[kind].component = self.kind[self.kind[kind].component].component
            kind = self.kind[kind].component
        return kind

    cdef void join_by(self, i32 set) noexcept nogil:
        """Connect the kinds in a set."""
        cdef i32 w, a, b, last = -1
        cdef u64 word
        for w in range(self.state.nwords):
            word = self.eligible.bits[set][w] & self.state.up[w]
            while word:
                a = self.kind_of[w * 64 + lowest(word)]
                word &= word - 1
                if a == last:
                    continue
                if last >= 0:
                    a, b = self.root(a), self.root(last)
                    if a < b:
                        self.kind[b].component = a
                    else:
                        self.kind[a].component = b
                    last = a
                last = a

    cdef void arrange(self) noexcept nogil:
        """Number the kinds as the file's head says, and drop the one that no set contains."""
        cdef i32 node, k, kept = 0
        for node in range(self.state.inv.nnodes - 1, -1, -1):
            if self.kind_of[node] >= 0:
                self.kind[self.kind_of[node]].node = node
        for k in range(self.nkinds):
            self.kind[k].component = self.root(k)
        for k in range(self.nkinds):
            self.child[k] = -1
            if self.kind[k].nsets and self.size[k]:
                self.kind[kept] = self.kind[k]
                kept += 1
        qsort(self.kind, kept, sizeof(Kind), compare_kinds)
        self.nkinds = kept
        self.ncomponents = 0
        for k in range(kept):
            self.child[self.kind[k].id] = k
            if k == 0 or self.kind[k].component != self.kind[k - 1].component:
                self.first[self.ncomponents] = k
                self.ncomponents += 1
            self.component_of[k] = self.ncomponents - 1
        self.first[self.ncomponents] = kept
        for node in range(self.state.inv.nnodes):
            if self.kind_of[node] >= 0:
                self.kind_of[node] = self.child[self.kind_of[node]]

    cdef int list_members(self) except -1 nogil:
        """The kinds of each set in use."""
        cdef i32 set, w, k, n = 0
        cdef u64 word
        memset(self.inside, 0xff, (self.nkinds + 1) * sizeof(i32))      # the set that listed it last; -1
        for set in range(self.nsets):
            self.set_first[set] = n
            self.set_component[set] = -1
            if not self.eligible.waiting[set]:
                continue
            for w in range(self.state.nwords):
                word = self.eligible.bits[set][w] & self.state.up[w]
                while word:
                    k = self.kind_of[w * 64 + lowest(word)]
                    word &= word - 1
                    if self.inside[k] == set:
                        continue
                    self.inside[k] = set
                    self.member = <i32 *> grow(self.member, &self.member_room, n + 1, sizeof(i32))
                    self.member[n] = k
                    n += 1
            if n > self.set_first[set]:
                self.set_component[set] = self.component_of[self.member[n - 1]]
                qsort(self.member + self.set_first[set], n - self.set_first[set], sizeof(i32), compare_numbers)
        self.set_first[self.nsets] = n
        return 0

    cdef int list_nodes(self) except -1 nogil:
        """The nodes of each kind."""
        cdef i32 k, w, node, total = 0
        cdef Group *g
        self.group = <Group *> grow(self.group, &self.group_room, self.nkinds + 1, sizeof(Group))
        for k in range(self.nkinds):
            self.group[k] = Group(NULL, self.state.nwords, 0, 0, 0)
        for node in range(self.state.inv.nnodes):
            k = self.kind_of[node]
            if k >= 0:
                g = self.group + k
                w = node >> 6
                if g.first > w:
                    g.first = w
                    g.ncores = self.state.inv.ncores[node]
                    g.ngpus = self.state.inv.ngpus[node]
                g.last = w + 1
        for k in range(self.nkinds):
            total += max(0, self.group[k].last - self.group[k].first)
        self.group_words = <u64 *> grow(self.group_words, &self.group_words_room, total + 1, sizeof(u64))
        memset(self.group_words, 0, <size_t> total * sizeof(u64))
        total = 0
        for k in range(self.nkinds):
            self.group[k].nodes = self.group_words + total
            total += max(0, self.group[k].last - self.group[k].first)
        for node in range(self.state.inv.nnodes):
            k = self.kind_of[node]
            if k >= 0:
                set_bit(self.group[k].nodes, node - 64 * self.group[k].first)
        return 0

    cdef bint in_set(self, const Group *g, i32 set) noexcept nogil:
        """Whether the nodes of a group are in a set in use."""
        return get_bit(self.eligible.bits[set], g.first * 64 + lowest(g.nodes[0]))
