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
from fluxsched.core.nodefuture cimport Future, NodeFutures, gains, point_of, times_of, words_of
from fluxsched.core.shape cimport Shape, same_shape
from fluxsched.core.state cimport State
from fluxsched.core.timeline cimport CHUNK, COLUMNS, Chunk, Place, Timeline
from fluxsched.core.types cimport i32, i64, time_never, u64, usec_t


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
        free(self.piece)
        free(self.word)
        free(self.count)
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

    cdef int change(self, const Change *change, usec_t start, usec_t end, const u64 *bits, bint take) except -1 nogil:
        """Count the nodes of a change, between open and close."""
        cdef i32 k
        cdef const Group *g
        cdef i32 serves[COLUMNS]
        if change.group < 0 or not self.counts():
            return 0
        g = self.kinds.group + change.group
        for k in range(self.timeline.ncolumns):
            serves[k] = self.kinds.in_set(g, self.column[k].shape.elig)
        self.npieces = 0
        self.find_pieces(change, start, end, bits, take)
        for k in range(self.npieces):
            self.count_piece(self.piece + k, g, serves)
        self.npieces = 0
        self.find_rises(change.old, start, end, -change.nodes)
        self.find_rises(change.new, start, end, change.nodes)
        for k in range(self.npieces):
            self.count_rise(self.piece + k, g, serves)
        return 0

    cdef void weigh(self, const Piece *p, const Group *g, const i32 *serves, i32 *out) noexcept nogil:
        """How much more fits for each column than before, on the nodes of a piece, which are of a kind; serves: whether
        they are in the set of a column."""
        cdef i32 k
        cdef short before, after, other
        # Neighbours in memory, so that the compiler takes several at once.
        cdef const short *cores_before = self.by_cores + p.cores_before * COLUMNS
        cdef const short *cores = self.by_cores + p.cores * COLUMNS
        cdef const short *gpus_before = self.by_gpus + p.gpus_before * COLUMNS
        cdef const short *gpus = self.by_gpus + p.gpus * COLUMNS
        for k in range(self.timeline.ncolumns):
            before = cores_before[k]
            other = gpus_before[k]
            before = before if before < other else other
            after = cores[k]
            other = gpus[k]
            after = after if after < other else other
            out[k] = (after - before) * p.nodes * serves[k]
        for k in range(self.timeline.ncolumns if self.nwhole else 0):
            if self.column[k].shape.whole:
                out[k] = (self.fits_at(k, g, p.cores, p.gpus)
                          - self.fits_at(k, g, p.cores_before, p.gpus_before)) * p.nodes * serves[k]

    cdef void count_piece(self, const Piece *p, const Group *g, const i32 *serves) noexcept nogil:
        """Count the nodes of a piece from its start to its end."""
        cdef i32 k, n = self.timeline.ncolumns
        cdef i32 weight[COLUMNS]
        cdef i32 *row = self.difference + <size_t> p.from_ * n
        self.weigh(p, g, serves, weight)
        for k in range(n):
            row[k] += weight[k]
        row = self.difference + <size_t> p.to * n
        for k in range(n):
            row[k] -= weight[k]
        set_bit(self.mark, p.from_)
        set_bit(self.mark, p.to)

    cdef void count_rise(self, const Piece *p, const Group *g, const i32 *serves) noexcept nogil:
        """Count what gets free at the start of a piece."""
        cdef i32 k
        cdef i32 weight[COLUMNS]
        cdef Chunk *chunk = self.timeline.chunk[p.start.c]
        self.weigh(p, g, serves, weight)
        for k in range(self.timeline.ncolumns):
            if weight[k]:
                chunk.rise[k][p.start.i] += weight[k]

    cdef void close(self) noexcept nogil:
        """All nodes have changed: the columns count them from now on."""
        if self.counts():
            self.timeline.add(self.first, self.last, self.difference, self.mark)

    cdef i32 place(self, Place at) noexcept nogil:
        """Of a point in difference."""
        return (at.c - self.first) * CHUNK + at.i

    cdef int find_pieces(self, const Change *change, usec_t start, usec_t end, const u64 *bits,
                         bint take) except -1 nogil:
        """What a change does to the numbers of free cores and gpus, interval by interval."""
        cdef Future *f = self.futures.item[change.old]
        cdef const usec_t *time = times_of(f)
        cdef const u64 *words
        cdef i32 i, w
        cdef usec_t b
        cdef Piece *p
        cdef Place at = self.timeline.locate(max(start, self.now))
        for i in range(point_of(f, max(start, self.now)), f.n):
            if time[i] >= end:
                break
            b = time[i + 1] if i + 1 < f.n else time_never()
            b = b if b < end else end
            words = words_of(f) + <size_t> i * self.width
            for w in range(self.width):
                self.word[w] = words[w] & ~bits[w] if take else words[w] | bits[w]
            p = self.new_piece()
            p.cores_before = count_bits(words, self.cw)
            p.gpus_before = count_bits(words + self.cw, self.gw)
            p.cores = count_bits(self.word, self.cw)
            p.gpus = count_bits(self.word + self.cw, self.gw)
            p.nodes = change.nodes
            p.from_ = self.place(at)
            at = self.timeline.end_of(b)
            p.to = self.place(at)
        return 0

    cdef int find_rises(self, i32 id, usec_t start, usec_t end, i32 nodes) except -1 nogil:
        """The points from start to end at which cores or gpus of a future get free: what then fits is how much more may
        fit there than before, as the cores that are free may be others."""
        cdef Future *f = self.futures.item[id]
        cdef const usec_t *time = times_of(f)
        cdef const u64 *words = words_of(f)
        cdef i32 i
        cdef Piece *p
        for i in range(max(1, point_of(f, max(start - 1, self.now)) + 1), f.n):
            if time[i] > end:
                break
            if not gains(words + <size_t> (i - 1) * self.width, words + <size_t> i * self.width, self.width):
                continue
            p = self.new_piece()
            p.cores_before = 0
            p.gpus_before = 0
            p.cores = count_bits(words + <size_t> i * self.width, self.cw)
            p.gpus = count_bits(words + <size_t> i * self.width + self.cw, self.gw)
            p.nodes = nodes
            p.start = self.timeline.locate(time[i])
        return 0

    cdef Piece *new_piece(self) except NULL nogil:
        self.piece = <Piece *> grow(self.piece, &self.piece_room, self.npieces + 1, sizeof(Piece))
        self.npieces += 1
        return self.piece + self.npieces - 1

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
                        self.count[id] = 0
                        self.listed[n] = id
                        n += 1
                    self.count[id] += 1
            for w in range(n):
                id = self.listed[w]
                f = self.futures.item[id]
                last = 0
                for node in range(f.n):
                    fit = self.fits_at(k, g, count_bits(words_of(f) + node * self.width, self.cw),
                                       count_bits(words_of(f) + node * self.width + self.cw, self.gw))
                    at = self.timeline.locate(times_of(f)[node])
                    chunk = self.timeline.chunk[at.c]
                    chunk.value[k][at.i] += (fit - last) * self.count[id]
                    if node and fit and gains(words_of(f) + (node - 1) * self.width,
                                              words_of(f) + node * self.width, self.width):
                        chunk.rise[k][at.i] += fit * self.count[id]
                    last = fit
        self.timeline.sum_up(k)
        return 0

    cdef int need_counts(self) except -1 nogil:
        """Room for a count for each future."""
        cdef i32 old = self.counted_room, n = self.futures.nitems
        self.count = <i32 *> grow(self.count, &self.count_room, n, sizeof(i32))
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

    cdef i32 fits_at(self, i32 k, const Group *g, i32 ncores, i32 ngpus) noexcept nogil:
        """Slots (or nodes: 0 or 1) of the shape of a column on a node of a kind that has so many free: what
        shape.fits_counts says."""
        if self.column[k].shape.whole and (ncores < g.ncores or ngpus < g.ngpus):
            return 0
        return min(self.by_cores[ncores * COLUMNS + k], self.by_gpus[ngpus * COLUMNS + k])
