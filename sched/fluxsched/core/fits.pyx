# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What fits on which nodes from a time to another, and the choice among them.

The nodes are gone through in their order (fluxsched.core.kinds) until there is enough. While resources are only taken,
what did not fit on a node does not fit later: for each shape that the bounds have a column of, a node keeps what was
last found out about it (fluxsched.core.lacks where it is that none fits), so that most nodes are passed over without a
look at their futures:

        node 3          ....xxxxxxxxx....       x: too few cores for a slot, at each instant
        windows         [-----)  no                     [----) to be looked at
"""
from libc.stdlib cimport free

from fluxsched.core.alloc cimport Alloc, Entry, alloc_holds, alloc_part, alloc_reset, alloc_whole
from fluxsched.core.bits cimport count_bits, low_bits, lowest, popcount
from fluxsched.core.job cimport Job
from fluxsched.core.kinds cimport Group, Kinds
from fluxsched.core.lacks cimport Lacks, lacking, set_lacking, tick_of, time_of
from fluxsched.core.memory cimport memcpy, memset, zeroed
from fluxsched.core.nodefuture cimport Free, Future, NodeFutures, free_of, gains, point_of, times_of, words_of
from fluxsched.core.shape cimport Shape, fits_counts
from fluxsched.core.state cimport State
from fluxsched.core.timeline cimport COLUMNS
from fluxsched.core.types cimport i32, i64, time_never, u64, usec_t


cdef i32 smallest(i32 *value, i32 count, i32 k) noexcept nogil:
    """The k-th smallest (from 1) of the values, which are put in another order (quickselect; Hoare: Algorithm 65,
    CACM 4(7), 1961)."""
    cdef i32 low = 0, high = count - 1, i, m
    cdef i32 pivot, swap
    k -= 1
    while low < high:
        pivot = value[(low + high) >> 1]
        i = low
        m = high
        while i <= m:
            while value[i] < pivot:
                i += 1
            while value[m] > pivot:
                m -= 1
            if i <= m:
                swap = value[i]
                value[i] = value[m]
                value[m] = swap
                i += 1
                m -= 1
        if k <= m:
            high = m
        elif k >= i:
            low = i
        else:
            break
    return value[k]


cdef inline Free least_of(const Shape *shape, const Group *g) noexcept nogil:
    """What has to be free of a node of a kind for any of a shape to fit."""
    if shape.whole:
        return Free(g.ncores, g.ngpus)
    return Free(shape.cores * max(1, shape.slots), shape.gpus * max(1, shape.slots))


cdef inline bint is_less(Free amount, Free least) noexcept nogil:
    """Whether too little is free."""
    return amount.cores < least.cores or amount.gpus < least.gpus


cdef usec_t first_gain(Future *f, usec_t start, i32 width) noexcept nogil:
    """The first point after start at which anything gets free; never if there is none."""
    cdef i32 i
    cdef const u64 *words
    for i in range(point_of(f, start) + 1, f.n):
        words = words_of(f) + <size_t> i * width
        if gains(words - width, words, width):
            return times_of(f)[i]
    return time_never()


cdef class Fits:

    def __cinit__(self, State state not None, Kinds kinds not None):
        self.state = state
        self.inv = state.inv
        self.kinds = kinds
        self.cw = state.cw
        self.gw = state.gw
        self.width = state.cw + state.gw
        self.epoch = 1
        self.node = <i32 *> zeroed(state.inv.nnodes, sizeof(i32))
        self.fit = <i32 *> zeroed(state.inv.nnodes, sizeof(i32))
        self.later = <i32 *> zeroed(state.nwords * 64, sizeof(i32))
        self.word = <u64 *> zeroed(self.width, sizeof(u64))
        self.chosen = <u64 *> zeroed(self.width, sizeof(u64))

    def __dealloc__(self):
        cdef i32 k
        for k in range(COLUMNS):
            free(self.soon[k])
            free(self.lacks[k].first)
            free(self.lacks[k].last)
        free(self.node)
        free(self.fit)
        free(self.later)
        free(self.word)
        free(self.chosen)

    cdef int reset(self, NodeFutures futures, const i32 *of, usec_t now) except -1:
        """Begin anew. of: the futures of the nodes, which stay the owner's."""
        self.base = now
        self.futures = futures
        self.of = of
        self.forget()
        return 0

    cdef void forget(self) noexcept nogil:
        """Resources have come back, or the columns are others."""
        self.epoch += 1

    cdef int need(self, i32 k) except -1 nogil:
        """Room for what is found out for a column."""
        cdef Lacks *lacks = self.lacks + k
        if lacks.first is NULL:
            lacks.first = <i32 *> zeroed(self.state.nwords * 64, sizeof(i32))
        if lacks.last is NULL:
            lacks.last = <i32 *> zeroed(self.state.nwords * 64, sizeof(i32))
        if lacks.found < self.epoch:
            lacks.found = self.epoch
            memset(lacks.last, 0, self.state.nwords * 64 * sizeof(i32))
        return 0

    cdef void unsee(self, i32 k, i32 node, i32 count) noexcept nogil:
        """Forget what was found out about so many nodes: for column k, or (-1) for all."""
        cdef i32 m, i
        for m in range(k if k >= 0 else 0, k + 1 if k >= 0 else COLUMNS):
            for i in range(count if self.soon[m] is not NULL else 0):
                self.soon[m][node + i].found = 0
            if self.lacks[m].last is not NULL:
                memset(self.lacks[m].last + node, 0, count * sizeof(i32))

    cdef bint serves(self, const Shape *shape, const Group *g) noexcept nogil:
        """Whether a node of a kind is large enough."""
        return g.ngpus >= shape.gpus * max(1, shape.slots) and g.ncores >= shape.cores * max(1, shape.slots)

    cdef u64 candidates(self, const Shape *shape, const Group *g, i32 w, bint now) noexcept nogil:
        """The nodes of a kind in a word, without those that are of no use now."""
        return g.nodes[w - g.first] & self.usable(shape, w) if now else g.nodes[w - g.first]

    cdef u64 usable(self, const Shape *shape, i32 w) noexcept nogil:
        """The nodes of a word that may be of use now."""
        if shape.whole:
            return self.state.idle[w]
        return self.state.some[w] if shape.cores else self.state.up[w]

    cdef int gather(self, const Job *j, const Shape *shape, i32 k, i32 need, usec_t start, usec_t end, bint now,
                    const i64 *pool, Alloc *picked) except -1 nogil:
        """1 and the resources of a job in picked, if it fits from start to end; else 0. k: the column of its shape, or
        -1; now: that is when it starts; pool: what is free of the pools, which the nodes must have all of, or NULL."""
        cdef i32 m, w, i, node, fit, most
        cdef u64 word
        cdef Group *g
        cdef Lacks *lacks = NULL
        self.nfound = 0
        self.nlater = 0
        if k >= 0:
            self.need(k)
            lacks = self.lacks + k
        for m in range(self.kinds.set_first[shape.elig], self.kinds.set_first[shape.elig + 1]):
            g = self.kinds.group + self.kinds.member[m]
            if not self.serves(shape, g):
                continue
            for w in range(g.first, g.last):
                word = self.candidates(shape, g, w, now)
                if word == 0:
                    continue
                most = need if pool is NULL else 0x7FFFFFFF
                word = self.fitting(shape, g, lacks, w, word, most, start, end)
                while word and need:
                    node = w * 64 + lowest(word)
                    word &= word - 1
                    # A job that holds memory of a node may have its cores elsewhere.
                    if pool is not NULL and not self.inv.tree.pools_whole(node, pool):
                        continue
                    fit = self.fit_there[node & 63]
                    self.node[self.nfound] = node
                    self.fit[self.nfound] = fit if fit < need else need
                    need -= self.fit[self.nfound]
                    self.nfound += 1
                if need == 0:
                    break
            if need == 0:
                break
        if need:
            self.missing = need
            self.next = start
            if shape.slots and k >= 0 and not now and pool is NULL:
                self.next = time_never()
                if need <= self.nlater:
                    self.next = time_of(smallest(self.later, self.nlater, need), self.base)
            return 0
        self.chosen_of = -1
        alloc_reset(picked)
        for i in range(self.nfound):
            self.pick(j, self.node[i], start, end, j.nslots if j.nnodes else self.fit[i], False, picked)
        return 1

    cdef bint fits_early(self, const Shape *shape, i32 k, i32 need, usec_t now, usec_t end, const Alloc *own,
                         usec_t until, bint exact) except -1 nogil:
        """Whether need slots of a shape fit from now to end for a job that would give up what it has in own, which is
        from `until` to some time after end. Not exact: first it is found out whether they may."""
        cdef i32 m, w, node, at, left = need
        cdef u64 word
        cdef Group *g
        cdef Soon *s
        if self.soon[k] is NULL:
            self.soon[k] = <Soon *> zeroed(self.inv.nnodes, sizeof(Soon))
        for m in range(self.kinds.set_first[shape.elig], self.kinds.set_first[shape.elig + 1]):
            g = self.kinds.group + self.kinds.member[m]
            if not self.serves(shape, g):
                continue
            for w in range(g.first, g.last):
                word = self.candidates(shape, g, w, True)
                while word:
                    node = w * 64 + lowest(word)
                    word &= word - 1
                    s = self.soon[k] + node
                    if s.found < self.epoch or s.of != self.of[node] or now >= s.holds:
                        self.look_ahead(shape, g, self.of[node], now, s)
                    if s.until < end and (s.until < until or not alloc_holds(own, node)):
                        continue
                    if not exact:
                        left -= s.fit
                    elif alloc_holds(own, node):
                        left -= self.fit_without(shape, g, node, now, end, own, until)
                    elif s.fit == 1:
                        left -= 1
                    else:
                        left -= self.fit_of(shape, g, self.futures.item[self.of[node]], now, end, &at)
                    if left <= 0:
                        return exact or self.fits_early(shape, k, need, now, end, own, until, True)
        return False

    cdef void look_ahead(self, const Shape *shape, const Group *g, i32 id, usec_t now, Soon *soon) noexcept nogil:
        """Find out for a node of a kind that has this future until when anything fits, from now on, and how much."""
        cdef Future *f = self.futures.item[id]
        cdef i32 at
        soon.found = self.epoch
        soon.of = id
        soon.holds = first_gain(f, now, self.width)
        soon.fit = self.fit_of(shape, g, f, now, now + 1, &at)
        soon.until = now
        if soon.fit:
            soon.until = time_never() if self.fit_of(shape, g, f, now, time_never(), &at) else times_of(f)[at]

    cdef i32 fit_without(self, const Shape *shape, const Group *g, i32 node, usec_t start, usec_t end, const Alloc *own,
                         usec_t until) noexcept nogil:
        """How much fits on a node of which something is in own without that."""
        cdef i32 w
        cdef const Entry *e = own.entry
        while not e.node <= node < e.node + max(e.count, 1):
            e += 1
        self.futures.least(self.of[node], start, min(end, until), self.chosen)
        if end > until and e.count == 0:
            # A whole node would be all free from then on.
            self.futures.least(self.of[node], until, end, self.word)
            for w in range(self.width):
                self.chosen[w] &= self.word[w] | own.bits[e.bits + w]
        self.chosen_of = -1
        return fits_counts(shape, g.ncores, g.ngpus, count_bits(self.chosen, self.cw),
                           count_bits(self.chosen + self.cw, self.gw))

    cdef u64 fitting(self, const Shape *shape, const Group *g, Lacks *lacks, i32 w, u64 word, i32 need, usec_t start,
                     usec_t end) noexcept nogil:
        """Of these nodes of a word of a kind, those on which any fits from start to end, as many as it takes for need;
        how much does is in fit_there. When the others may is added to later, where whole nodes are wanted, or so many
        slots on each. lacks: those of the column of the shape, or NULL."""
        cdef i32 i, n, at = 0, id, looked = -1, fit = 0
        cdef u64 known = 0, rest = word, out = 0
        if lacks is not NULL:
            known = word & lacking(lacks, w, tick_of(start, self.base), tick_of(end, self.base))
            rest = word & ~known
            if shape.slots:
                self.put_off(lacks.last + w * 64, known)
        while rest:
            # Neighbours that have one future are looked at together: i … n - 1.
            i = n = lowest(rest)
            id = self.of[w * 64 + i]
            while n < 64 and rest >> n & 1 and self.of[w * 64 + n] == id:
                n += 1
            rest = rest >> n << n if n < 64 else 0
            if id != looked:
                fit = self.fit_of(shape, g, self.futures.item[id], start, end, &at)
                looked = id
            if fit == 0:
                if lacks is not NULL:
                    self.lack(lacks, shape, g, w * 64 + i, n - i, start, at)
                continue
            need -= fit * (n - i)
            while i < n:
                self.fit_there[i] = fit
                out |= <u64> 1 << i
                i += 1
            if need <= 0:
                break
        return out

    cdef void put_off(self, const i32 *last, u64 word) noexcept nogil:
        """Add to later when the nodes of a word that are known to lack do so no more. last: [64] these ticks."""
        if ~word == 0:
            memcpy(self.later + self.nlater, last, 64 * sizeof(i32))
            self.nlater += 64
            return
        while word:
            self.later[self.nlater] = last[lowest(word)]
            self.nlater += 1
            word &= word - 1

    cdef void lack(self, Lacks *lacks, const Shape *shape, const Group *g, i32 node, i32 count, usec_t start,
                   i32 i) noexcept nogil:
        """Too little for a window that begins at start is on so many nodes of a kind, which have one future, as fit_of
        has found out, and i. Keep from when on and until when each instant by itself has too little, if it is that; add
        to later when they may have enough."""
        cdef Future *f = self.futures.item[self.of[node]]
        cdef const usec_t *time = times_of(f)
        cdef const Free *amount = free_of(f)
        cdef i32 first = i
        cdef Free least = least_of(shape, g)
        cdef usec_t until = start
        # Where other cores were free before, it may have.
        while i < f.n and is_less(amount[i], least):
            i += 1
            until = time[i] if i < f.n else time_never()
        if i > first:
            set_lacking(lacks, node, count, tick_of(time[first], self.base), tick_of(until, self.base))
        if shape.slots:
            for i in range(self.nlater, self.nlater + count):
                self.later[i] = tick_of(until, self.base)
            self.nlater += count

    cdef i32 fit_of(self, const Shape *shape, const Group *g, Future *f, usec_t start, usec_t end,
                    i32 *at) noexcept nogil:
        """How much of a shape fits on a node of a kind that has this future; at: the point at which start lies, or from
        which on there is too little. It looks no further than there is enough for one."""
        cdef const usec_t *time = times_of(f)
        cdef const Free *amount = free_of(f)
        cdef i32 i = point_of(f, start), w
        cdef Free left = amount[i]
        cdef Free least = least_of(shape, g)
        cdef const u64 *words = words_of(f) + <size_t> i * self.width
        cdef u64 *word = self.word
        cdef u64 lost
        at[0] = i
        if is_less(left, least):
            return 0
        for w in range(self.width):
            word[w] = words[w]
        i += 1
        while i < f.n and time[i] < end:
            words += self.width
            lost = 0
            for w in range(self.width):
                lost |= word[w] & ~words[w]
                word[w] &= words[w]
            if lost:
                left = Free(count_bits(word, self.cw), count_bits(word + self.cw, self.gw))
                if is_less(left, least):
                    at[0] = i
                    return 0
            i += 1
        return fits_counts(shape, g.ncores, g.ngpus, left.cores, left.gpus)

    cdef void windows(self, const Shape *shape, const Group *g, i32 id, usec_t first, usec_t last, usec_t duration,
                      usec_t until, usec_t *low, usec_t *high) noexcept nogil:
        """Windows of a duration that begin from first to before last, and in which a node of a kind with this future
        has enough for a shape, each instant by itself, until the window's end or `until`: let none of them begin before
        low or after high."""
        cdef Future *f = self.futures.item[id]
        cdef const usec_t *time = times_of(f)
        cdef const Free *amount = free_of(f)
        cdef i32 i = point_of(f, first)
        cdef Free least = least_of(shape, g)
        cdef usec_t begin = -1, end
        while i < f.n and (begin >= 0 or time[i] < last):
            if is_less(amount[i], least):
                begin = -1
            else:
                begin = max(time[i], first) if begin < 0 else begin
                end = time[i + 1] if i + 1 < f.n else time_never()
                if end >= until:
                    end = time_never()
                if end - begin >= duration:
                    low[0] = min(low[0], begin)
                    high[0] = max(high[0], min(last - 1, end - duration))
                    if end == time_never():
                        return
            i += 1

    # Names.

    cdef int gather_idle(self, const Job *j, const Shape *shape, i32 need, Alloc *picked) except -1 nogil:
        """The same for what is free now, were nothing reserved."""
        cdef i32 m, w, node, fit
        cdef u64 word
        cdef Group *g
        alloc_reset(picked)
        for m in range(self.kinds.set_first[shape.elig], self.kinds.set_first[shape.elig + 1]):
            g = self.kinds.group + self.kinds.member[m]
            if not self.serves(shape, g):
                continue
            for w in range(g.first, g.last):
                word = self.candidates(shape, g, w, True)
                while word:
                    node = w * 64 + lowest(word)
                    word &= word - 1
                    self.show(node, 0, 0, True)
                    fit = fits_counts(shape, g.ncores, g.ngpus, count_bits(self.word, self.cw),
                                      count_bits(self.word + self.cw, self.gw))
                    if fit == 0:
                        continue
                    fit = fit if fit < need else need
                    self.pick(j, node, 0, 0, j.nslots if j.nnodes else fit, True, picked)
                    need -= fit
                    if need == 0:
                        return 1
        return 0

    cdef void show(self, i32 node, usec_t start, usec_t end, bint idle) noexcept nogil:
        """What is free of a node from start to end (idle: now, were nothing reserved), in word."""
        if idle:
            memcpy(self.word, self.state.core_free + <size_t> node * self.cw, self.cw * sizeof(u64))
            memcpy(self.word + self.cw, self.state.gpu_free + <size_t> node * self.gw, self.gw * sizeof(u64))
        else:
            self.futures.least(self.of[node], start, end, self.word)

    cdef int pick(self, const Job *j, i32 node, usec_t start, usec_t end, i32 nslots, bint idle,
                  Alloc *picked) except -1 nogil:
        """Add nslots slots of a node to picked: its lowest cores and gpus, or all of it."""
        cdef i32 w, k, ncores = nslots * j.cores, ngpus = nslots * j.gpus
        if not j.whole and (ncores < self.inv.ncores[node] or ngpus < self.inv.ngpus[node]):
            # Nodes with one future give the same.
            if idle or self.chosen_of != self.of[node] or self.chosen_slots != nslots:
                self.show(node, start, end, idle)
                for w in range(self.width):
                    k = popcount(self.word[w])
                    if w < self.cw:
                        self.chosen[w] = low_bits(self.word[w], ncores)
                        ncores -= k if k < ncores else ncores
                    else:
                        self.chosen[w] = low_bits(self.word[w], ngpus)
                        ngpus -= k if k < ngpus else ngpus
                self.chosen_of = -1 if idle else self.of[node]
                self.chosen_slots = nslots
            return alloc_part(picked, node, self.chosen, self.cw, self.chosen + self.cw, self.gw)
        alloc_whole(picked, node, 1)
        if j.exclusive and self.state.npools:
            self.inv.tree.whole_pools(node, picked)
        return 0
