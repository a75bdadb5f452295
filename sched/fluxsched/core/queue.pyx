# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The waiting jobs: priority, then the policy's score, then order of submission, then id.

They are a sorted list in chunks, so that one that comes or goes moves a chunk's worth at the most:

    chunk      [ a b c d ] [ e f g ] [ h i j k ]
    least          1           4         2          of the units that its jobs need
    shortest       9          20         5          duration of its jobs of each class of needs and below

A pass walks the list from its head. Where nothing but what could start now matters any more, next_within goes to the
next such job: whole chunks are passed over by their least need and shortest duration; look_ahead finds out whether
there is one, and where. Jobs that a pass starts stay in the list until it ends, so that places hold.

A policy whose scores change with time has an order made for each pass (reorder): a heap, which is sorted only as far
as the pass gets. While a pass is suspended, the rest of its order is set apart (freeze), so that jobs may come and go.
"""
from libc.stdlib cimport free

from fluxsched.core.bits cimport highest
from fluxsched.core.check cimport must
from fluxsched.core.job cimport JOB_WAITING, Job
from fluxsched.core.jobs cimport Jobs
from fluxsched.core.memory cimport grow, memcpy, memmove, qsort, zeroed
from fluxsched.core.types cimport i32, i64, time_never, usec_t


cdef inline bint before(const Job *a, const Job *b) noexcept nogil:
    """Whether a stands ahead of b."""
    if a.priority != b.priority:
        return a.priority > b.priority
    if a.score != b.score:
        return a.score < b.score
    if a.sequence != b.sequence:
        return a.sequence < b.sequence
    return a.id < b.id


cdef inline bint ahead(const Scored *a, const Scored *b) noexcept nogil:
    if a.priority != b.priority:
        return a.priority > b.priority
    if a.score != b.score:
        return a.score < b.score
    return a.place < b.place


cdef inline i32 class_of(i64 need) noexcept nogil:
    """The class of a need, or of a limit: its number of bits."""
    if need <= 0:
        return 0
    return highest(need) + 1 if need < 0x40000000 else CLASSES - 1


# A job with its key, for sort.
cdef struct Keyed:
    i64 priority
    double score
    i64 sequence
    i64 id
    i32 slot


cdef int compare_keyed(const void *a, const void *b) noexcept nogil:
    cdef const Keyed *x = <const Keyed *> a
    cdef const Keyed *y = <const Keyed *> b
    if x.priority != y.priority:
        return (x.priority < y.priority) - (x.priority > y.priority)
    if x.score != y.score:
        return (x.score > y.score) - (x.score < y.score)
    if x.sequence != y.sequence:
        return (x.sequence > y.sequence) - (x.sequence < y.sequence)
    return (x.id > y.id) - (x.id < y.id)


cdef void sift(Scored *heap, i32 count, i32 at) noexcept nogil:
    """Let the item at a place sink to where it belongs."""
    cdef Scored item = heap[at]
    cdef i32 down
    while True:
        down = 2 * at + 1
        if down >= count:
            break
        if down + 1 < count and ahead(heap + down + 1, heap + down):
            down += 1
        if not ahead(heap + down, &item):
            break
        heap[at] = heap[down]
        at = down
    heap[at] = item


cdef class Queue:

    def __cinit__(self, Jobs jobs not None):
        self.jobs = jobs

    def __dealloc__(self):
        cdef i32 c
        for c in range(self.nchunks):
            free(self.chunk[c])
        free(self.chunk)
        free(self.least)
        free(self.shortest)
        free(self.spare)
        free(self.all)
        free(self.order)
        free(self.heap)

    # Chunks.

    cdef i32 need_of(self, const Job *j) noexcept nogil:
        """What a job needs of what is counted."""
        if self.by_nodes:
            return j.node_units
        return <i32> j.least_cores if j.least_cores < 0x7FFFFFFF else 0x7FFFFFFF

    cdef bint find(self, const Job *j, i32 *chunk, i32 *index) noexcept nogil:
        """Where a job stands, or would: behind all that are before it; False: behind all."""
        cdef i32 low = 0, high = self.nchunks - 1, middle
        cdef const Chunk *k
        if high < 0:
            chunk[0] = 0
            index[0] = 0
            return False
        k = self.chunk[high]
        if before(self.jobs.item + k.slot[k.count - 1], j):
            chunk[0] = high
            index[0] = k.count
            return False
        while low < high:
            middle = (low + high) >> 1
            k = self.chunk[middle]
            if before(self.jobs.item + k.slot[k.count - 1], j):
                low = middle + 1
            else:
                high = middle
        chunk[0] = low
        k = self.chunk[low]
        low = 0
        high = k.count - 1
        while low < high:
            middle = (low + high) >> 1
            if before(self.jobs.item + k.slot[middle], j):
                low = middle + 1
            else:
                high = middle
        index[0] = low
        return True

    cdef int need_room(self) except -1 nogil:
        """Room for one more, so that the next insert does not fail."""
        cdef usec_t *rows
        cdef i32 k
        if self.spare is NULL:
            self.spare = <Chunk *> zeroed(1, sizeof(Chunk))
        self.chunk = <Chunk **> grow(self.chunk, &self.chunk_room, self.nchunks + 1, sizeof(Chunk *))
        self.least = <i32 *> grow(self.least, &self.least_room, self.nchunks + 1, sizeof(i32))
        if self.shortest_room < self.chunk_room:
            rows = <usec_t *> zeroed(<size_t> CLASSES * self.chunk_room, sizeof(usec_t))
            for k in range(CLASSES if self.nchunks else 0):
                memcpy(rows + <size_t> k * self.chunk_room, self.shortest + <size_t> k * self.shortest_room,
                       self.nchunks * sizeof(usec_t))
            free(self.shortest)
            self.shortest = rows
            self.shortest_room = self.chunk_room
        return 0

    cdef void open_chunk(self, i32 at) noexcept nogil:
        """The spare chunk, empty, becomes number `at`."""
        cdef i32 k, behind = self.nchunks - at
        cdef usec_t *row
        memmove(self.chunk + at + 1, self.chunk + at, behind * sizeof(Chunk *))
        memmove(self.least + at + 1, self.least + at, behind * sizeof(i32))
        for k in range(CLASSES):
            row = self.shortest + <size_t> k * self.shortest_room + at
            memmove(row + 1, row, behind * sizeof(usec_t))
            row[0] = time_never()
        self.least[at] = 0x7FFFFFFF
        self.chunk[at] = self.spare
        self.chunk[at].count = 0
        self.spare = NULL
        self.nchunks += 1

    cdef void close_chunk(self, i32 at) noexcept nogil:
        """Take an empty chunk out."""
        cdef i32 k, behind = self.nchunks - at - 1
        cdef usec_t *row
        if self.spare is NULL:
            self.spare = self.chunk[at]
        else:
            free(self.chunk[at])
        memmove(self.chunk + at, self.chunk + at + 1, behind * sizeof(Chunk *))
        memmove(self.least + at, self.least + at + 1, behind * sizeof(i32))
        for k in range(CLASSES):
            row = self.shortest + <size_t> k * self.shortest_room + at
            memmove(row, row + 1, behind * sizeof(usec_t))
        self.nchunks -= 1

    cdef void put(self, Chunk *k, i32 index, i32 slot) noexcept nogil:
        cdef const Job *j = self.jobs.item + slot
        k.slot[index] = slot
        k.need[index] = self.need_of(j)
        k.duration[index] = j.duration

    cdef void count_in(self, i32 chunk, i32 need, usec_t duration) noexcept nogil:
        """Let a chunk's summary hold for one more job."""
        cdef i32 k = class_of(need)
        cdef usec_t *cell = self.shortest + <size_t> k * self.shortest_room + chunk
        if need < self.least[chunk]:
            self.least[chunk] = need
        while k < CLASSES and duration < cell[0]:
            cell[0] = duration
            cell += self.shortest_room
            k += 1

    cdef void summarize(self, i32 chunk) noexcept nogil:
        """Find out a chunk's summary anew."""
        cdef const Chunk *k = self.chunk[chunk]
        cdef i32 i
        self.least[chunk] = 0x7FFFFFFF
        for i in range(CLASSES):
            self.shortest[<size_t> i * self.shortest_room + chunk] = time_never()
        for i in range(k.count):
            self.count_in(chunk, k.need[i], k.duration[i])

    cdef void merge(self, i32 chunk) noexcept nogil:
        """Join a chunk with few jobs to the next one, if both have room for what comes."""
        cdef Chunk *k
        cdef Chunk *other
        if chunk == self.nchunks - 1 and chunk:
            chunk -= 1
        if chunk >= self.nchunks - 1:
            return
        k = self.chunk[chunk]
        other = self.chunk[chunk + 1]
        if k.count + other.count > CHUNK / 2:
            return
        memcpy(k.slot + k.count, other.slot, other.count * sizeof(i32))
        memcpy(k.need + k.count, other.need, other.count * sizeof(i32))
        memcpy(k.duration + k.count, other.duration, other.count * sizeof(usec_t))
        k.count += other.count
        self.close_chunk(chunk + 1)
        self.summarize(chunk)

    cdef int insert(self, i32 slot) except -1 nogil:
        """Another job waits."""
        cdef i32 c, i, half
        cdef Chunk *k
        cdef Chunk *other
        self.need_room()
        self.find(self.jobs.item + slot, &c, &i)
        if c == self.nchunks:
            self.open_chunk(c)
        elif self.chunk[c].count == CHUNK:
            self.open_chunk(c + 1)
            k = self.chunk[c]
            other = self.chunk[c + 1]
            # At the end, where most come, chunks are left full.
            half = CHUNK if i == CHUNK else CHUNK / 2
            memcpy(other.slot, k.slot + half, (CHUNK - half) * sizeof(i32))
            memcpy(other.need, k.need + half, (CHUNK - half) * sizeof(i32))
            memcpy(other.duration, k.duration + half, (CHUNK - half) * sizeof(usec_t))
            other.count = CHUNK - half
            k.count = half
            self.summarize(c)
            self.summarize(c + 1)
            if i >= half:
                c += 1
                i -= half
        k = self.chunk[c]
        memmove(k.slot + i + 1, k.slot + i, (k.count - i) * sizeof(i32))
        memmove(k.need + i + 1, k.need + i, (k.count - i) * sizeof(i32))
        memmove(k.duration + i + 1, k.duration + i, (k.count - i) * sizeof(usec_t))
        self.put(k, i, slot)
        k.count += 1
        self.count_in(c, k.need[i], k.duration[i])
        self.count += 1
        self.version += 1
        return 0

    cdef bint is_last(self, i32 slot) noexcept nogil:
        """Whether a job stands at the end."""
        cdef Chunk *k = self.chunk[self.nchunks - 1]
        return k.slot[k.count - 1] == slot

    cdef bint precedes(self, i32 slot, i32 other) noexcept nogil:
        """Whether a job stands before another one."""
        return before(self.jobs.item + slot, self.jobs.item + other)

    cdef bint waits_ahead(self, i32 slot, i32 generation) noexcept nogil:
        """Whether a job of the same domain waits that stands before this one, and is not parked in this generation of
        the nodes' state."""
        cdef i32 c, i, other
        cdef const Job *j = self.jobs.item + slot
        for c in range(self.nchunks):
            for i in range(self.chunk[c].count):
                other = self.chunk[c].slot[i]
                if not before(self.jobs.item + other, j):
                    return False
                if (self.jobs.item[other].state == JOB_WAITING and self.jobs.item[other].domain == j.domain
                        and not (self.jobs.item[other].parked and self.jobs.item[other].parked_at == generation)):
                    return True
        return False

    cdef i32 behind(self, i32 slot) noexcept nogil:
        """The job that stands next behind one in the queue; -1: it is the last."""
        cdef i32 c, i
        self.find(self.jobs.item + slot, &c, &i)
        if i + 1 < self.chunk[c].count:
            return self.chunk[c].slot[i + 1]
        return self.chunk[c + 1].slot[0] if c + 1 < self.nchunks else -1

    cdef void remove(self, i32 slot) noexcept nogil:
        """A job waits no more, or is about to change its place."""
        cdef i32 c, i
        cdef Chunk *k
        self.find(self.jobs.item + slot, &c, &i)
        k = self.chunk[c]
        k.count -= 1
        memmove(k.slot + i, k.slot + i + 1, (k.count - i) * sizeof(i32))
        memmove(k.need + i, k.need + i + 1, (k.count - i) * sizeof(i32))
        memmove(k.duration + i, k.duration + i + 1, (k.count - i) * sizeof(usec_t))
        self.count -= 1
        if k.count == 0:
            self.close_chunk(c)
            return
        self.summarize(c)
        if k.count < CHUNK / 4:
            self.merge(c)

    cdef int sort(self, const double *score) except -1 nogil:
        """Give the i-th waiting job score[i], and bring all in order; the chunks that there are have room for it."""
        cdef i32 i, c
        cdef const i32 *slots = self.flat()
        cdef Job *j
        cdef Keyed *keyed = <Keyed *> zeroed(self.count, sizeof(Keyed))
        for i in range(self.count):
            j = self.jobs.item + slots[i]
            j.score = score[i]
            keyed[i] = Keyed(j.priority, j.score, j.sequence, j.id, slots[i])
        qsort(keyed, self.count, sizeof(Keyed), compare_keyed)
        for c in range(self.nchunks):
            self.chunk[c].count = 0
        for i in range(self.count):
            self.put(self.chunk[i / CHUNK], i % CHUNK, keyed[i].slot)
            self.chunk[i / CHUNK].count += 1
        free(keyed)
        while self.nchunks and self.chunk[self.nchunks - 1].count == 0:
            self.close_chunk(self.nchunks - 1)
        for c in range(self.nchunks):
            self.summarize(c)
        self.version += 1
        return 0

    cdef const i32 *flat(self) except NULL nogil:
        """The waiting jobs in one array of count slots, which holds until the next call."""
        cdef i32 c, n = 0
        self.all = <i32 *> grow(self.all, &self.all_room, self.count, sizeof(i32))
        for c in range(self.nchunks):
            memcpy(self.all + n, self.chunk[c].slot, self.chunk[c].count * sizeof(i32))
            n += self.chunk[c].count
        return self.all

    cdef void expect(self, const usec_t *duration) noexcept nogil:
        """Let the plan go by duration[i] for the i-th waiting job."""
        cdef i32 c, i, n = 0
        cdef Chunk *k
        cdef bint changed
        for c in range(self.nchunks):
            k = self.chunk[c]
            changed = False
            for i in range(k.count):
                if k.duration[i] != duration[n]:
                    self.jobs.item[k.slot[i]].duration = k.duration[i] = duration[n]
                    changed = True
                n += 1
            if changed:
                self.summarize(c)

    cdef void measure(self, bint by_nodes) noexcept nogil:
        """Let needs count nodes, or cores."""
        cdef i32 c, i
        cdef Chunk *k
        if self.by_nodes == by_nodes:
            return
        self.by_nodes = by_nodes
        for c in range(self.nchunks):
            k = self.chunk[c]
            for i in range(k.count):
                k.need[i] = self.need_of(self.jobs.item + k.slot[i])
            self.summarize(c)

    # The order of a pass.

    cdef void begin(self) noexcept nogil:
        """A pass begins, in the order of the queue."""
        self.seen_chunk = -1
        self.reordered = False
        self.at_chunk = 0
        self.at_index = 0

    cdef void again(self) noexcept nogil:
        """Let the pass that begins go by the order that was made last; no job has come since."""
        self.reordered = True
        self.at_order = 0

    cdef void resume(self, i32 slot) noexcept nogil:
        """The pass goes on in the order of the queue, from a job on; -1: from its end."""
        self.begin()
        if slot >= 0:
            self.find(self.jobs.item + slot, &self.at_chunk, &self.at_index)
        else:
            self.at_chunk = self.nchunks

    cdef i32 peek(self) noexcept nogil:
        """The next job of the queue's own order; there is one."""
        return self.chunk[self.at_chunk].slot[self.at_index]

    cdef int reorder(self, const double *score, bint within_priorities) except -1 nogil:
        """Let the pass that begins go by ascending score; score[i] is that of the i-th in the queue, and equal ones
        keep their order. Within priorities, a higher one stays ahead of any score."""
        cdef i32 i, c, n = 0
        cdef i32 slot
        self.order = <i32 *> grow(self.order, &self.order_room, self.count, sizeof(i32))
        self.heap = <Scored *> grow(self.heap, &self.heap_room, self.count, sizeof(Scored))
        for c in range(self.nchunks):
            for i in range(self.chunk[c].count):
                slot = self.chunk[c].slot[i]
                self.heap[n] = Scored(self.jobs.item[slot].priority if within_priorities else 0, score[n], n, slot)
                n += 1
        self.nheap = n
        for i in range(n / 2 - 1, -1, -1):
            sift(self.heap, n, i)
        self.norder = 0
        self.at_order = 0
        self.reordered = True
        return 0

    cdef int freeze(self) except -1 nogil:
        """Set what is left of the order of the pass apart, so that the queue may change."""
        cdef i32 left, c
        if self.reordered:
            return 0
        self.order = <i32 *> grow(self.order, &self.order_room, self.count, sizeof(i32))
        self.norder = 0
        for c in range(self.at_chunk, self.nchunks):
            left = self.chunk[c].count - self.at_index
            memcpy(self.order + self.norder, self.chunk[c].slot + self.at_index, left * sizeof(i32))
            self.norder += left
            self.at_index = 0
        self.nheap = 0
        self.at_order = 0
        self.reordered = True
        return 0

    cdef i32 rest(self) except -1 nogil:
        """Set apart what is still to come in the order of the pass: their number; they are order[at_order + i]."""
        cdef i32 at
        self.freeze()
        at = self.at_order
        while self.next() >= 0:
            pass
        self.at_order = at
        return self.norder - at

    cdef int reorder_rest(self, const double *score) except -1 nogil:
        """Let the rest of the pass go by ascending score within a priority; score[i] is that of the i-th of `rest`,
        which is called just before."""
        cdef i32 i, slot, n = self.norder - self.at_order
        self.heap = <Scored *> grow(self.heap, &self.heap_room, n, sizeof(Scored))
        for i in range(n):
            slot = self.order[self.at_order + i]
            self.heap[i] = Scored(self.jobs.item[slot].priority, score[i], i, slot)
        self.nheap = n
        for i in range(n / 2 - 1, -1, -1):
            sift(self.heap, n, i)
        self.norder = 0
        self.at_order = 0
        return 0

    cdef bint more(self) noexcept nogil:
        """Whether there is a next job of the order of the pass."""
        if self.reordered:
            return self.at_order < self.norder or self.nheap > 0
        return self.at_chunk < self.nchunks

    cdef void step(self) noexcept nogil:
        """The pass takes the next job of the queue's own order; there is one."""
        self.at_index += 1
        if self.at_index == self.chunk[self.at_chunk].count:
            self.at_chunk += 1
            self.at_index = 0

    cdef i32 next(self) noexcept nogil:
        """The next job of the order of the pass; -1: there is none."""
        cdef i32 slot = -1
        if not self.reordered:
            if self.at_chunk < self.nchunks:
                slot = self.peek()
                self.step()
        elif self.at_order < self.norder or self.nheap:
            if self.at_order == self.norder:
                self.order[self.norder] = self.heap[0].slot
                self.norder += 1
                self.nheap -= 1
                self.heap[0] = self.heap[self.nheap]
                sift(self.heap, self.nheap, 0)
            slot = self.order[self.at_order]
            self.at_order += 1
        return slot

    cdef bint within(self, const Job *j, const Limits *limits) noexcept nogil:
        """Whether a job is within the limits."""
        cdef i64 need = self.need_of(j)
        return need <= limits.free and (j.duration <= limits.window or need <= limits.extra)

    cdef i32 scan(self, i32 *chunk, i32 *index, const Limits *limits) noexcept nogil:
        """The first job from a place on that is within the limits, and its place; -1: there is none."""
        cdef i32 c = chunk[0], i, first = index[0]
        cdef const Chunk *k
        # Not beyond its class, a need may still be more than is free: then the chunk is looked at in vain.
        cdef const usec_t *shortest = self.shortest + <size_t> class_of(limits.free) * self.shortest_room
        while c < self.nchunks:
            k = self.chunk[c]
            for i in range(first, k.count):
                if k.need[i] <= limits.free and (k.duration[i] <= limits.window or k.need[i] <= limits.extra):
                    chunk[0] = c
                    index[0] = i
                    return k.slot[i]
            first = 0
            c += 1
            while c < self.nchunks and (self.least[c] > limits.free or (
                    shortest[c] > limits.window and self.least[c] > limits.extra)):
                c += 1
        chunk[0] = c
        index[0] = 0
        return -1

    cdef i32 next_within(self, const Limits *limits) noexcept nogil:
        """The next job of the order of the pass that is within the limits; -1: there is none."""
        cdef i32 slot
        if self.reordered:
            slot = self.next()
            while slot >= 0 and not self.within(self.jobs.item + slot, limits):
                slot = self.next()
            return slot
        slot = self.scan(&self.at_chunk, &self.at_index, limits)
        if slot >= 0:
            self.step()
        return slot

    cdef i32 seen(self) noexcept nogil:
        """The job that look_ahead has found last; -1: the pass has got beyond it, or there was none."""
        if self.seen_chunk == self.nchunks or self.seen_chunk < self.at_chunk or (
                self.seen_chunk == self.at_chunk and self.seen_index < self.at_index):
            return -1
        return self.chunk[self.seen_chunk].slot[self.seen_index]

    cdef i32 look_ahead(self, const Limits *limits) noexcept nogil:
        """The next job of the queue's own order that is within the limits, behind the one that was found last; -1:
        there is none. The pass stays where it is."""
        if self.seen() >= 0:
            self.seen_index += 1
        elif self.seen_chunk < self.nchunks:
            self.seen_chunk = self.at_chunk
            self.seen_index = self.at_index
        return self.scan(&self.seen_chunk, &self.seen_index, limits)

    cdef int sanity_check(self) except -1:
        """AssertionError unless the chunks hold the waiting jobs in order, and their summaries are true. Not in a
        pass."""
        cdef i32 c, i, k, count = 0, last = -1
        cdef const Chunk *chunk
        cdef const Job *j
        must(self.nchunks <= self.chunk_room and self.nchunks <= self.least_room
             and self.nchunks <= self.shortest_room, "queue: more chunks than room")
        for c in range(self.nchunks):
            chunk = self.chunk[c]
            must(0 < chunk.count <= CHUNK, "queue: a chunk is empty or too full")
            count += chunk.count
            for i in range(chunk.count):
                j = self.jobs.item + chunk.slot[i]
                must(j.state == JOB_WAITING, "queue: a job in it does not wait")
                must(last < 0 or before(self.jobs.item + last, j), "queue: not in order")
                must(chunk.need[i] == self.need_of(j) and chunk.duration[i] == j.duration, "queue: a copy is stale")
                last = chunk.slot[i]
            must(self.least[c] == min([chunk.need[i] for i in range(chunk.count)]), "queue: least of a chunk")
            for k in range(CLASSES):
                must(self.shortest[<size_t> k * self.shortest_room + c] == min(
                    [chunk.duration[i] for i in range(chunk.count) if class_of(chunk.need[i]) <= k],
                    default=time_never()), "queue: shortest of a chunk")
        must(count == self.count, "queue: count")
        must(count == sum([self.jobs.item[i].state == JOB_WAITING for i in range(self.jobs.count)]),
             "queue: a job that waits is not in it")
        return 0
