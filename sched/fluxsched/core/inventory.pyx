# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
# cython: boundscheck=True, wraparound=True
"""What there is: the nodes of an instance, with their cores and gpus.

An inventory never changes once it is made, but for the properties that the
resource module may add or remove. What is free is kept by the engine.
"""
from libc.stdlib cimport free

from fluxsched.core.bits cimport count_bits, set_bit, words_for
from fluxsched.core.check cimport must
from fluxsched.core.memory cimport zeroed
from fluxsched.core.tree cimport Tree
from fluxsched.core.types cimport i32, u64

from fluxsched.formats import hostlist as _hostlist
from fluxsched.formats import idset as _idset
from fluxsched.formats import r as _r

# Ids of cores and gpus come from outside; a bit set is as long as the largest.
MAX_UNIT = 4096


def _unit_ids(text, field, rank, cache):
    """Ids of an idset string, checked; parsed once for each distinct text."""
    ids = cache.get(text)
    if ids is None:
        ids = cache[text] = list(_idset.ids(text)) if text else []
        if ids and ids[-1] >= MAX_UNIT:
            raise ValueError(f"{field} id {ids[-1]} on rank {rank} is too large (limit {MAX_UNIT - 1})")
    return ids


cdef class Inventory:
    """Nodes in ascending order of rank; node index i is their place in it."""

    def __cinit__(self):
        self.ranks = []
        self.hosts = []
        self.properties = {}
        self.rank_index = {}

    def __dealloc__(self):
        free(self.core_all)
        free(self.gpu_all)
        free(self.ncores)
        free(self.ngpus)
        free(self.node_class)
        free(self.run_last)
        free(self.class_cores)
        free(self.class_gpus)

    def __init__(self, ranks, hosts, cores, gpus, properties=None, expiration=0.0):
        """From one entry a node: ranks (int), hosts (str), cores and gpus
        (idset strings, "" for none); properties maps a name to ranks.

        Raises ValueError for a rank named twice, lists of unequal length, or
        an id beyond MAX_UNIT.
        """
        cdef i32 i, j, n = len(ranks)
        cdef i32 core_words = 1, gpu_words = 0
        cdef dict cache = {}
        if not len(hosts) == len(cores) == len(gpus) == n:
            raise ValueError(
                f"{n} ranks, {len(hosts)} hosts, {len(cores)} core sets and {len(gpus)} gpu sets: "
                "expected as many of each")
        order = sorted(range(n), key=ranks.__getitem__)
        core_ids = []
        gpu_ids = []
        for i in order:
            core_ids.append(_unit_ids(cores[i], "core", ranks[i], cache))
            gpu_ids.append(_unit_ids(gpus[i], "gpu", ranks[i], cache))
        for text in set(cores):
            if cache[text]:
                core_words = max(core_words, words_for(cache[text][-1] + 1))
        for text in set(gpus):
            if cache[text]:
                gpu_words = max(gpu_words, words_for(cache[text][-1] + 1))
        self._allocate(n, core_words, gpu_words)
        self.ranks = [ranks[i] for i in order]
        self.hosts = [hosts[i] for i in order]
        self.rank_index = {rank: i for i, rank in enumerate(self.ranks)}
        if len(self.rank_index) != n:
            raise ValueError("a rank is named twice")
        for i in range(n):
            for j in <list> core_ids[i]:
                set_bit(self.core_all + i * core_words, j)
            for j in <list> gpu_ids[i]:
                set_bit(self.gpu_all + i * gpu_words, j)
        self._finish()
        self.expiration = expiration
        for name, members in (properties or {}).items():
            self.properties[name] = self.mask_of_ranks(members)

    cdef void _allocate(self, i32 nnodes, i32 core_words, i32 gpu_words) except *:
        self.nnodes = nnodes
        self.nwords = words_for(nnodes) if nnodes else 1
        self.core_words = core_words
        self.gpu_words = gpu_words
        self.core_all = <u64 *> zeroed(<size_t> nnodes * core_words, sizeof(u64))
        self.gpu_all = <u64 *> zeroed(<size_t> nnodes * gpu_words, sizeof(u64))
        self.ncores = <i32 *> zeroed(nnodes, sizeof(i32))
        self.ngpus = <i32 *> zeroed(nnodes, sizeof(i32))
        self.node_class = <i32 *> zeroed(nnodes, sizeof(i32))
        self.run_last = <i32 *> zeroed(nnodes, sizeof(i32))

    cdef void _finish(self) except *:
        """Counts, classes and texts, from the core and gpu sets."""
        cdef i32 i
        cdef dict classes = {}, texts = {}
        self.core_text = []
        self.gpu_text = []
        for i in range(self.nnodes):
            self.core_text.append(shared_text(texts, self.core_all + i * self.core_words, self.core_words))
            self.gpu_text.append(shared_text(texts, self.gpu_all + i * self.gpu_words, self.gpu_words))
            self.ncores[i] = count_bits(self.core_all + i * self.core_words, self.core_words)
            self.ngpus[i] = count_bits(self.gpu_all + i * self.gpu_words, self.gpu_words)
            key = (self.ncores[i], self.ngpus[i])
            self.node_class[i] = classes.setdefault(key, len(classes))
        self.dense = self.ranks == list(range(self.nnodes))
        for i in range(self.nnodes - 1, -1, -1):
            self.run_last[i] = i
            if (i + 1 < self.nnodes and self.ranks[i] + 1 == self.ranks[i + 1]
                    and self.core_text[i] == self.core_text[i + 1] and self.gpu_text[i] == self.gpu_text[i + 1]
                    and _hostlist.follows(self.hosts[i + 1], self.hosts[i])):
                self.run_last[i] = self.run_last[i + 1]
        self.nclasses = len(classes)
        self.class_cores = <i32 *> zeroed(self.nclasses, sizeof(i32))
        self.class_gpus = <i32 *> zeroed(self.nclasses, sizeof(i32))
        for (ncores, ngpus), i in classes.items():
            self.class_cores[i] = ncores
            self.class_gpus[i] = ngpus

    @staticmethod
    def from_r(dict R):
        """From an R object (RFC 20, version 1); raises formats.r.RError."""
        nodes = _r.parse(R)
        try:
            return Inventory(nodes.ranks, nodes.hosts, nodes.cores, nodes.gpus,
                             nodes.properties, nodes.expiration)
        except ValueError as error:
            raise _r.RError(f"R: {error}") from None

    @staticmethod
    def from_counts(nnodes, cores, gpus=0, prefix="node"):
        """nnodes equal nodes named prefix0…, with so many cores and gpus each.

        Raises ValueError for a count that is negative or too large, or no
        cores at all.
        """
        for name, value, least, most in (("nodes", nnodes, 1, 1 << 24), ("cores", cores, 1, MAX_UNIT),
                                         ("gpus", gpus, 0, MAX_UNIT)):
            if not isinstance(value, int) or not least <= value <= most:
                raise ValueError(f"number of {name} {value!r}: expected a whole number from {least} to {most}")
        core_set = f"0-{cores - 1}" if cores > 1 else "0"
        gpu_set = "" if not gpus else (f"0-{gpus - 1}" if gpus > 1 else "0")
        return Inventory(list(range(nnodes)), [f"{prefix}{i}" for i in range(nnodes)],
                         [core_set] * nnodes, [gpu_set] * nnodes)

    @staticmethod
    def from_rdl(hierarchy, ranks=None):
        """From a formats.rdl.Hierarchy: each vertex of type node is a node.

        ranks: the rank of each node in the order of the tree (default 0, 1,
        2, …). A node's flags (tags or properties that are true) are its
        properties. Raises ValueError when there is no node, a node has no
        core, or two cores of one node have the same id.
        """
        tree = Tree.from_hierarchy(hierarchy)
        nodes = tree.describe_nodes()
        if not nodes:
            raise ValueError(f"{hierarchy.uri}: no resource of type node")
        if ranks is None:
            ranks = list(range(len(nodes)))
        if len(ranks) != len(nodes):
            raise ValueError(f"{hierarchy.uri}: {len(nodes)} nodes for {len(ranks)} ranks")
        if list(ranks) != sorted(ranks):
            raise ValueError(f"{hierarchy.uri}: ranks must be in ascending order")
        properties = {}
        for rank, node in zip(ranks, nodes):
            for name in node.flags:
                properties.setdefault(name, []).append(rank)
        inventory = Inventory(ranks, [node.host for node in nodes], [node.cores for node in nodes],
                              [node.gpus for node in nodes], properties)
        (<Inventory> inventory).tree = tree
        return inventory

    cdef int sanity_check(self) except -1:
        """AssertionError unless counts, classes and runs follow from the sets of cores and gpus."""
        cdef i32 i
        must(self.ranks == sorted(set(self.ranks)) and len(self.ranks) == len(self.hosts) == self.nnodes,
             "inventory: ranks")
        must(self.rank_index == {rank: i for i, rank in enumerate(self.ranks)}, "inventory: rank_index")
        must(self.dense == (self.ranks == list(range(self.nnodes))), "inventory: dense")
        for i in range(self.nnodes):
            must(self.ncores[i] == count_bits(self.core_all + i * self.core_words, self.core_words)
                 and self.ngpus[i] == count_bits(self.gpu_all + i * self.gpu_words, self.gpu_words),
                 "inventory: counts of a node")
            must(0 <= self.node_class[i] < self.nclasses and self.class_cores[self.node_class[i]] == self.ncores[i]
                 and self.class_gpus[self.node_class[i]] == self.ngpus[i], "inventory: class of a node")
            must(i <= self.run_last[i] < self.nnodes, "inventory: a run")
            if self.run_last[i] > i:
                must(self.run_last[i] == self.run_last[i + 1] and self.ranks[i] + 1 == self.ranks[i + 1]
                     and self.core_text[i] == self.core_text[i + 1] and self.gpu_text[i] == self.gpu_text[i + 1],
                     "inventory: a run of unlike nodes")
        return 0 if self.tree is None else self.tree.sanity_check()

    cpdef Tree need_tree(self):
        """The tree of resources; one of nodes, cores and gpus if none was given."""
        cdef Tree made
        if self.tree is None:
            made = Tree.of_nodes(self.hosts, [self.core_set(i) for i in range(self.nnodes)],
                                 [self.gpu_set(i) for i in range(self.nnodes)])
            # Meanwhile another engine may have made one, and use it without the GIL.
            if self.tree is None:
                self.tree = made
        return self.tree

    def mask_of_ranks(self, ranks):
        """Ranks (idset string, or ints) as a bit set over node indices; ranks
        that there are not are left out."""
        cdef bytearray bits = bytearray(self.nwords * 8)
        cdef i32 i
        if isinstance(ranks, str):
            ranks = _idset.ids(ranks) if ranks else ()
        for rank in ranks:
            index = self.rank_index.get(rank)
            if index is not None:
                i = index
                bits[i >> 3] |= 1 << (i & 7)
        return int.from_bytes(bits, "little")

    def core_set(self, i32 node):
        """Ids of the cores of a node, as an idset string."""
        return self.core_text[node]

    def gpu_set(self, i32 node):
        """Ids of the gpus of a node, as an idset string."""
        return self.gpu_text[node]

    def to_r(self, ranks=None):
        """The R object of these ranks (idset string; default: all)."""
        mask = self.mask_of_ranks(self.ranks if ranks is None else ranks)
        chosen = [i for i in range(self.nnodes) if mask >> i & 1]
        properties = {}
        for name, members in self.properties.items():
            held = [self.ranks[i] for i in chosen if members >> i & 1]
            if held:
                properties[name] = held
        return _r.emit([self.ranks[i] for i in chosen], [self.hosts[i] for i in chosen],
                       [self.core_set(i) for i in chosen], [self.gpu_set(i) for i in chosen],
                       properties, 0, self.expiration)


cdef str shared_text(dict texts, const u64 *words, i32 nwords):
    """idset_text, made once for all nodes with an equal set."""
    cdef bytes key = (<const char *> words)[:nwords * 8]
    if key not in texts:
        texts[key] = idset_text(words, nwords)
    return texts[key]


cdef str idset_text(const u64 *words, i32 nwords):
    """A set of words as idset text: "0-3,8"; "" when empty."""
    cdef i32 i = 0, start, end = nwords * 64
    cdef list parts = []
    while i < end:
        if not (words[i >> 6] >> (i & 63)) & 1:
            if words[i >> 6] >> (i & 63) == 0:
                i = ((i >> 6) + 1) << 6
            else:
                i += 1
            continue
        start = i
        while i < end and (words[i >> 6] >> (i & 63)) & 1:
            i += 1
        parts.append(str(start) if i - start == 1 else f"{start}-{i - 1}")
    return ",".join(parts)
