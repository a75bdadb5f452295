# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What bounds the search for a start where jobs share nodes.

For each shape that jobs ask for, a column of the timeline counts what would
fit at each instant by itself. A start needs as much at each instant from it
to the end; so a search passes over the instants with less, and names nodes
only where there is enough.
"""
from libc.stdlib cimport free

from fluxsched.core.bits cimport count_bits, lowest, set_bit
from fluxsched.core.eligible cimport Eligible
from fluxsched.core.kinds cimport Group, Kinds
from fluxsched.core.memory cimport grow, memset, zeroed
from fluxsched.core.nodefuture cimport Free, Future, NodeFutures, free_of, point_of, times_of, words_of
from fluxsched.core.shape cimport Shape, same_shape
from fluxsched.core.state cimport State
from fluxsched.core.timeline cimport CHUNK, COLUMNS, Chunk, Place, Timeline
from fluxsched.core.types cimport i32, i64, time_never, u64, usec_t


cdef inline i32 padded(i32 ncolumns) noexcept nogil:
    """As many columns or a few more: a multiple of eight, which COLUMNS is, too."""
    return (ncolumns + 7) & ~7


cdef class Bounds:

    def __cinit__(self, State state not None, Eligible eligible not None, Kinds kinds not None):
        cdef i32 i
        self.eligible = eligible
        self.kinds = kinds
        self.cw = state.cw
        self.gw = state.gw
        self.width = state.cw + state.gw
        self.timeline = Timeline()
        self.word = <u64 *> zeroed(self.width, sizeof(u64))
        self.epoch = -1
        for i in range(state.inv.nnodes):
            self.most_cores = max(self.most_cores, state.inv.ncores[i])
            self.most_gpus = max(self.most_gpus, state.inv.ngpus[i])
        self.by_cores = <short *> zeroed(COLUMNS * (self.most_cores + 1), sizeof(short))
        self.by_gpus = <short *> zeroed(COLUMNS * (self.most_gpus + 1), sizeof(short))

    def __dealloc__(self):
        free(self.by_cores)
        free(self.by_gpus)
        free(self.difference)
        free(self.mark)
        free(self.word)
        free(self.users)
        free(self.counted)
        free(self.listed)

    cdef int reset(self, NodeFutures futures, const i32 *of) except -1:
        """Begin anew. of: the futures of the nodes, which stay the owner's."""
        self.futures = futures
        self.of = of
        self.timeline = Timeline()
        if self.difference_room:
            memset(self.difference, 0, <size_t> self.difference_room * sizeof(i32))
            memset(self.mark, 0, <size_t> self.mark_room * sizeof(u64))
        return 0

    cdef bint begin(self, usec_t now) noexcept nogil:
        """The time is now. False if the kinds have changed: then there are no columns any more."""
        self.now = now
        self.timeline.trim(now)
        if self.epoch == self.kinds.epoch:
            return True
        self.epoch = self.kinds.epoch
        self.timeline.ncolumns = 0
        self.nwhole = 0
        return False

    cdef void forget(self) noexcept nogil:
        """Something has come back: starts that were found bound no others."""
        cdef i32 k
        for k in range(self.timeline.ncolumns):
            self.column[k].nfound = 0

    cdef i32 known(self, const Shape *shape) noexcept nogil:
        """The column of a shape; -1 if it has none."""
        cdef i32 k
        for k in range(self.timeline.ncolumns):
            if same_shape(&self.column[k].shape, shape):
                return k
        return -1

    cdef usec_t bound(self, i32 k, i32 need, usec_t duration) noexcept nogil:
        """The first time worth a look, of what was found before."""
        cdef i32 i
        cdef usec_t t = self.now
        cdef Column *column = self.column + k
        for i in range(min(column.nfound, <i32> FOUND)):
            if column.found[i].need <= need and column.found[i].duration <= duration:
                t = max(t, column.found[i].start)
        return t

    cdef void remember(self, i32 k, i32 need, usec_t duration, usec_t start) noexcept nogil:
        """The earliest start that was found for what a column stands for."""
        cdef Column *column = self.column + k
        column.found[column.nfound % FOUND] = Found(need, duration, start)
        column.nfound = column.nfound + 1 if column.nfound < 2 * FOUND - 1 else FOUND

    cdef bint counts(self) noexcept nogil:
        """Whether there is a column for which changes count."""
        return self.epoch == self.kinds.epoch and self.timeline.ncolumns > 0

    cdef int open(self, usec_t start, usec_t end) except -1 nogil:
        """Nodes are about to change from start to end, which are points of the timeline, or before it, or never."""
        cdef i32 nchunks, old
        self.first = self.timeline.locate(start).c
        self.last = self.timeline.end_of(end).c
        if self.counts():
            # One more, for what lies behind the last point of the last chunk.
            nchunks = self.last - self.first + 2
            old = self.difference_room
            self.difference = <i32 *> grow(self.difference, &self.difference_room,
                                           <i64> nchunks * CHUNK * self.timeline.ncolumns, sizeof(i32))
            memset(self.difference + old, 0, <size_t> (self.difference_room - old) * sizeof(i32))
            old = self.mark_room
            self.mark = <u64 *> grow(self.mark, &self.mark_room, nchunks, sizeof(u64))
            memset(self.mark + old, 0, <size_t> (self.mark_room - old) * sizeof(u64))
        return 0

    cdef void change(self, const Change *change, usec_t start, usec_t end, const u64 *bits, bint take) noexcept nogil:
        """Count the nodes of a change, between open and close: interval by interval of what they had."""
        cdef i32 k, i, w, n = self.timeline.ncolumns
        cdef i32 nodes[COLUMNS]         # those in the set of a column
        cdef i32 more[COLUMNS]
        cdef const Group *g
        cdef Future *f = self.futures.item[change.old]
        cdef const usec_t *time = times_of(f)
        cdef const u64 *words
        cdef usec_t b
        cdef Free after
        cdef Place at
        if change.group < 0 or not self.counts():
            return
        g = self.kinds.group + change.group
        for k in range(padded(n)):
            nodes[k] = change.nodes if k < n and self.kinds.in_set(g, self.column[k].shape.elig) else 0
        at = self.timeline.locate(max(start, self.now))
        for i in range(point_of(f, max(start, self.now)), f.n):
            if time[i] >= end:
                break
            b = time[i + 1] if i + 1 < f.n else time_never()
            words = words_of(f) + <size_t> i * self.width
            for w in range(self.width):
                self.word[w] = words[w] & ~bits[w] if take else words[w] | bits[w]
            after = Free(count_bits(self.word, self.cw), count_bits(self.word + self.cw, self.gw))
            self.weigh(free_of(f)[i], after, g, nodes, more)
            self.count(at, more, 1)
            at = self.timeline.end_of(b if b < end else end)
            self.count(at, more, -1)

    cdef void weigh(self, Free before, Free after, const Group *g, const i32 *nodes, i32 *more) noexcept nogil:
        """How much more of each column fits than before, on so many nodes, which are of a kind; [COLUMNS] each."""
        cdef i32 k
        cdef short then, now, other
        # Neighbours in memory, and as many as the compiler takes at once.
        cdef i32 n = padded(self.timeline.ncolumns)
        cdef const short *cores_then = self.by_cores + before.cores * COLUMNS
        cdef const short *gpus_then = self.by_gpus + before.gpus * COLUMNS
        cdef const short *cores = self.by_cores + after.cores * COLUMNS
        cdef const short *gpus = self.by_gpus + after.gpus * COLUMNS
        for k in range(n):
            then = cores_then[k]
            other = gpus_then[k]
            then = then if then < other else other
            now = cores[k]
            other = gpus[k]
            now = now if now < other else other
            more[k] = (now - then) * nodes[k]
        for k in range(self.timeline.ncolumns if self.nwhole else 0):
            if self.column[k].shape.whole:
                more[k] = (self.fits_at(k, g, after) - self.fits_at(k, g, before)) * nodes[k]

    cdef void count(self, Place at, const i32 *more, i32 sign) noexcept nogil:
        """From a point on there is so much more, or (-1) less."""
        cdef i32 k, n = self.timeline.ncolumns, place = (at.c - self.first) * CHUNK + at.i
        cdef i32 *row = self.difference + <size_t> place * n
        for k in range(n):
            row[k] += sign * more[k]
        set_bit(self.mark, place)

    cdef void close(self) noexcept nogil:
        """All nodes have changed: the columns count them from now on."""
        if self.counts():
            self.timeline.add(self.first, self.last, self.difference, self.mark)

    # Columns.

    cdef i32 column_of(self, const Shape *shape, i32 *factor) except -1 nogil:
        """The column that bounds a shape: its own, or that of a lesser shape, of which each unit of this one holds
        factor."""
        cdef i32 k, best
        cdef Shape *s
        factor[0] = 1
        k = self.known(shape)
        if k >= 0:
            return k
        if self.timeline.ncolumns < COLUMNS:
            k = self.timeline.ncolumns
            self.column[k].shape = shape[0]
            if k == COLUMNS - 1:
                # The last one is for all others: a core, wherever it is.
                self.column[k].shape = Shape(0, 1, 0, 0, 0)
            self.column[k].nfound = 0
            self.nwhole += self.column[k].shape.whole
            self.tell(k)
            self.fill_column(k)
            self.timeline.ncolumns += 1
            if k < COLUMNS - 1:
                return k
        factor[0] = shape.cores * (shape.slots if shape.slots else 1)
        best = COLUMNS - 1
        for k in range(COLUMNS - 1):
            s = &self.column[k].shape
            # A node that holds the shape's slots holds those of the lesser one.
            if (s.elig == shape.elig and s.whole <= shape.whole and s.cores <= shape.cores and s.gpus <= shape.gpus
                    and (s.slots > 0) == (shape.slots > 0) and s.slots <= shape.slots):
                if best == COLUMNS - 1 or s.cores * max(1, s.slots) > self.column[best].shape.cores * max(
                        1, self.column[best].shape.slots):
                    best = k
                    factor[0] = 1
        return best

    cdef int fill_column(self, i32 k) except -1 nogil:
        """Count what fits at each point."""
        cdef i32 i, w, node, id, fit, last, n
        cdef u64 word
        cdef Group *g
        cdef Future *f
        cdef Place at
        cdef Chunk *chunk
        cdef Shape *shape = &self.column[k].shape
        self.need_counts()
        self.timeline.fill(k)
        for i in range(self.kinds.nkinds):
            g = self.kinds.group + i
            if g.last <= g.first or not self.kinds.in_set(g, shape.elig):
                continue
            # Nodes of the kind by future.
            n = 0
            self.query += 1
            for w in range(g.first, g.last):
                word = g.nodes[w - g.first]
                while word:
                    id = self.of[w * 64 + lowest(word)]
                    word &= word - 1
                    if self.counted[id] != self.query:
                        self.counted[id] = self.query
                        self.users[id] = 0
                        self.listed[n] = id
                        n += 1
                    self.users[id] += 1
            for w in range(n):
                id = self.listed[w]
                f = self.futures.item[id]
                last = 0
                for node in range(f.n):
                    fit = self.fits_at(k, g, free_of(f)[node])
                    at = self.timeline.locate(times_of(f)[node])
                    chunk = self.timeline.chunk[at.c]
                    chunk.value[k][at.i] += (fit - last) * self.users[id]
                    last = fit
        self.timeline.sum_up(k)
        return 0

    cdef int need_counts(self) except -1 nogil:
        """Room for a count for each future."""
        cdef i32 old = self.counted_room, n = self.futures.nitems
        self.users = <i32 *> grow(self.users, &self.users_room, n, sizeof(i32))
        self.listed = <i32 *> grow(self.listed, &self.listed_room, n, sizeof(i32))
        self.counted = <i64 *> grow(self.counted, &self.counted_room, n, sizeof(i64))
        if self.counted_room > old:
            memset(self.counted + old, 0, <size_t> (self.counted_room - old) * sizeof(i64))
        return 0

    cdef void tell(self, i32 k) noexcept nogil:
        """Fill in what fits for a column."""
        cdef const Shape *s = &self.column[k].shape
        cdef i32 n, fit
        for n in range(self.most_cores + 1):
            fit = n / s.cores if s.cores else MANY
            self.by_cores[n * COLUMNS + k] = <short> ((fit >= s.slots) if s.slots else fit)
        for n in range(self.most_gpus + 1):
            fit = n / s.gpus if s.gpus else MANY
            self.by_gpus[n * COLUMNS + k] = <short> ((fit >= s.slots) if s.slots else fit)

    cdef i32 fits_at(self, i32 k, const Group *g, Free amount) noexcept nogil:
        """Slots (or nodes: 0 or 1) of the shape of a column on a node of a kind that has so many free: what
        shape.fits_counts says."""
        if self.column[k].shape.whole and (amount.cores < g.ncores or amount.gpus < g.ngpus):
            return 0
        return min(self.by_cores[amount.cores * COLUMNS + k], self.by_gpus[amount.gpus * COLUMNS + k])
