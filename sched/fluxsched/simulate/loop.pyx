# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The event loop: arrivals and completions in virtual time, and a pass of the engine after each instant's.

At one instant: all completions, then all arrivals, then one pass.  A job of run time 0 started in that pass ends
in a further round at the same instant: completions, then a pass.  Arrivals are an array in queue order; completions a
binary heap of what runs.  No event outlives its job, so memory grows with jobs, not with events.
"""
import numpy as np

from libc.stdlib cimport free
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fluxsched.core cimport api
from fluxsched.core.alloc cimport Alloc
from fluxsched.core.engine cimport Engine
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport Job
from fluxsched.core.memory cimport grow, zeroed
from fluxsched.core.request cimport keep_general
from fluxsched.core.types cimport i32, i64, u64, usec_t

# A completion to come.
cdef struct Event:
    usec_t end
    i32 job                 # place in the arrays
    i32 slot                # of the engine


cdef inline i64 clock_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <i64> t.tv_sec * 1000000000 + t.tv_nsec


cdef inline bint sooner(const Event *a, const Event *b) noexcept nogil:
    return a.end < b.end or (a.end == b.end and a.job < b.job)


def node_cores(Inventory inventory not None):
    """Number of cores of each node: int64, shape (nnodes,)."""
    cdef i32 i
    cdef i64[::1] count = np.empty(inventory.nnodes, dtype=np.int64)
    for i in range(inventory.nnodes):
        count[i] = inventory.ncores[i]
    return np.asarray(count)


cdef class Loop:
    """One run of a trace through an engine that is the loop's alone.

    submit, run, request   int64 (n,), microseconds, submit ascending; run: how long the job will run
    nnodes, nslots, cores  int32 (n,), the request: nslots slots of cores (on each of nnodes nodes, if that is
                           not 0, else on any)
    users                  int32 (n,) number of the job's user, >= 0, for fair share
    exclusive              whole nodes
    record                 keep which processors each job had
    tree_of                gives the general request (tuple of formats.jobspec.Vertex) of job i, or None where the
                           arrays say all; called when the job arrives

    Attributes: start (int64 (n,), microseconds, -1 = not started), backfilled (uint8 (n,)), denied
    (uint8 (n,)), range_begin (int64 (n,)) and range_count (int32 (n,)): rows of ranges(), pass_count, pass_ns (int64
    (64,)), arrived and ended (jobs so far), clock (microseconds,
    time of the last event).
    """
    cdef:
        Engine engine
        readonly object start, backfilled, denied, pass_count, pass_ns, range_begin, range_count
        i64[::1] submit_, run_, request_, start_, count_, ns_, range_begin_
        i32[::1] nnodes_, nslots_, cores_, users_, range_count_
        unsigned char[::1] backfilled_, denied_
        bint exclusive
        readonly bint record
        object tree_of
        bint has_trees
        i32 domain
        readonly i64 total
        readonly i64 arrived
        readonly i64 ended
        readonly i64 passes
        readonly i64 loop_ns
        readonly usec_t clock
        Event *heap
        i32 nheap
        i32 heap_room
        i32 *job_of                 # [slots] place of the job in a slot
        i32 job_of_room
        i64 *core_base              # [nnodes + 1] processor number of a node's first core
        i32 *ranges_                # [2 * nranges] first, last processor
        i64 nranges
        i32 range_room

    def __cinit__(self, api.Engine engine not None, submit, run, request, nnodes, nslots, cores, users, *,
                  bint exclusive=False, bint record=True, tree_of=None):
        cdef Inventory inv = engine.core.inventory
        cdef i32 node
        cdef Py_ssize_t n = len(submit)
        self.engine = engine.core
        self.engine.hasty = True
        self.submit_ = np.array(submit, dtype=np.int64)
        self.run_ = np.array(run, dtype=np.int64)
        self.request_ = np.array(request, dtype=np.int64)
        self.nnodes_ = np.array(nnodes, dtype=np.int32)
        self.nslots_ = np.array(nslots, dtype=np.int32)
        self.cores_ = np.array(cores, dtype=np.int32)
        self.users_ = np.array(users, dtype=np.int32)
        if any(len(a) != n for a in (run, request, nnodes, nslots, cores, users)):
            raise ValueError("arrays of one length expected")
        self.total = n
        self.exclusive = exclusive
        self.record = record
        self.domain = engine.core.need_domain("")
        self.tree_of = tree_of
        self.has_trees = tree_of is not None
        self.start = np.full(n, -1, dtype=np.int64)
        self.backfilled = np.zeros(n, dtype=np.uint8)
        self.denied = np.zeros(n, dtype=np.uint8)
        self.pass_count = np.zeros(64, dtype=np.int64)
        self.pass_ns = np.zeros(64, dtype=np.int64)
        self.range_begin = np.zeros(n if record else 0, dtype=np.int64)
        self.range_count = np.zeros(n if record else 0, dtype=np.int32)
        self.start_, self.backfilled_, self.denied_ = self.start, self.backfilled, self.denied
        self.count_, self.ns_ = self.pass_count, self.pass_ns
        self.range_begin_, self.range_count_ = self.range_begin, self.range_count
        self.core_base = <i64 *> zeroed(inv.nnodes + 1, sizeof(i64))
        for node in range(inv.nnodes):
            self.core_base[node + 1] = self.core_base[node] + inv.ncores[node]

    def __dealloc__(self):
        free(self.heap)
        free(self.job_of)
        free(self.core_base)
        free(self.ranges_)

    # The heap.

    cdef int push(self, usec_t end, i32 job, i32 slot) except -1 nogil:
        cdef i32 at, up
        cdef Event event = Event(end, job, slot)
        self.heap = <Event *> grow(self.heap, &self.heap_room, self.nheap + 1, sizeof(Event))
        at = self.nheap
        self.nheap += 1
        while at:
            up = (at - 1) >> 1
            if not sooner(&event, self.heap + up):
                break
            self.heap[at] = self.heap[up]
            at = up
        self.heap[at] = event
        return 0

    cdef Event pop(self) noexcept nogil:
        cdef Event top = self.heap[0]
        cdef Event event
        cdef i32 at = 0, down
        self.nheap -= 1
        event = self.heap[self.nheap]
        while True:
            down = 2 * at + 1
            if down >= self.nheap:
                break
            if down + 1 < self.nheap and sooner(self.heap + down + 1, self.heap + down):
                down += 1
            if not sooner(self.heap + down, &event):
                break
            self.heap[at] = self.heap[down]
            at = down
        self.heap[at] = event
        return top

    # One event each.

    cdef int arrive(self, i32 job) except -1 nogil:
        cdef Job template
        cdef i32 slot
        memset(&template, 0, sizeof(Job))
        template.id = job + 1
        template.priority = 16
        template.sequence = self.submit_[job]        # the engine's submit order is (time, id)
        template.submitted = self.submit_[job]
        template.user = self.users_[job]
        template.duration = self.request_[job]
        template.nnodes = self.nnodes_[job]
        template.nslots = self.nslots_[job]
        template.cores = self.cores_[job]
        template.exclusive = self.exclusive
        template.domain = self.domain
        template.tree = -1
        if self.has_trees:
            with gil:
                vertices = self.tree_of(job)
                if vertices is not None:
                    template.tree = keep_general(self.engine, vertices)
        slot = self.engine.add(&template)
        self.job_of = <i32 *> grow(self.job_of, &self.job_of_room, slot + 1, sizeof(i32))
        self.job_of[slot] = job
        return 0

    cdef int keep_range(self, i64 first, i64 last, i64 begin) except -1 nogil:
        """Note processors first..last of the job whose ranges begin at `begin`."""
        if self.nranges > begin and self.ranges_[2 * self.nranges - 1] + 1 == first:
            self.ranges_[2 * self.nranges - 1] = <i32> last
            return 0
        self.ranges_ = <i32 *> grow(self.ranges_, &self.range_room, self.nranges + 1, 2 * sizeof(i32))
        self.ranges_[2 * self.nranges] = <i32> first
        self.ranges_[2 * self.nranges + 1] = <i32> last
        self.nranges += 1
        return 0

    cdef int keep_alloc(self, i32 job, const Alloc *a) except -1 nogil:
        cdef i32 i, w, node
        cdef i32 words = self.engine.inventory.core_words
        cdef i64 core, begin = self.nranges
        cdef u64 bit, every
        for i in range(a.nentries):
            node = a.entry[i].node
            if a.entry[i].count:
                self.keep_range(self.core_base[node], self.core_base[node + a.entry[i].count] - 1, begin)
                continue
            core = self.core_base[node]
            for w in range(words):         # by place among the node's cores, whatever their ids
                every = self.engine.inventory.core_all[<i64> node * words + w]
                while every:
                    bit = every & (~every + 1)
                    every ^= bit
                    if a.bits[a.entry[i].bits + w] & bit:
                        self.keep_range(core, core, begin)
                    core += 1
        self.range_begin_[job] = begin
        self.range_count_[job] = <i32> (self.nranges - begin)
        return 0

    cdef i64 one_pass(self, usec_t now) except -1 nogil:
        """A pass, its time by queue length, and what it started; answers its time in ns."""
        cdef i32 k, slot, job, length = self.engine.queue.count
        cdef int place = 0
        cdef const Job *j
        cdef i64 began = clock_ns()
        self.engine.schedule(now, -1)
        began = clock_ns() - began
        while length >> place:
            place += 1
        self.count_[place] += 1
        self.ns_[place] += began
        self.passes += 1
        for k in range(self.engine.nstarted):
            slot = self.engine.started[k]
            job = self.job_of[slot]
            j = self.engine.jobs.item + slot
            self.start_[job] = now
            self.backfilled_[job] = j.backfilled
            if self.record:
                self.keep_alloc(job, &j.alloc)
            self.push(now + self.run_[job], job, slot)
        for k in range(self.engine.ndenied):
            self.denied_[self.job_of[self.engine.denied[k]]] = 1
            self.engine.forget(self.engine.denied[k])
        return began

    cdef int run_until(self, usec_t until, i64 budget) except -1 nogil:
        cdef i64 began = clock_ns()
        cdef i64 spent = 0
        cdef usec_t now
        cdef Event event
        cdef int more = 1
        while True:
            if self.nheap and (self.arrived == self.total or self.heap[0].end <= self.submit_[self.arrived]):
                now = self.heap[0].end
            elif self.arrived < self.total:
                now = self.submit_[self.arrived]
            else:
                more = 0
                break
            if now > until:
                more = 0
                break
            self.clock = now
            while self.nheap and self.heap[0].end == now:
                event = self.pop()
                self.engine.finish(event.slot)
                self.ended += 1
            while self.arrived < self.total and self.submit_[self.arrived] == now:
                self.arrived += 1
                self.arrive(<i32> (self.arrived - 1))
            # 500 ns stand for what is not the pass; reading the clock again would cost as much.
            spent += self.one_pass(now) + 500
            if spent > budget:
                break
        self.loop_ns += clock_ns() - began
        return more

    def advance(self, usec_t until, double seconds):
        """Run, without the GIL, for about this many seconds of real time, or to the last event not after `until`.

        Returns whether there is more to do.  Raises what the plugin raises, MemoryError.
        """
        cdef int more
        cdef i64 budget = <i64> (seconds * 1e9)
        with nogil:
            more = self.run_until(until, budget)
        return bool(more)

    @property
    def waiting(self):
        """Number of jobs in the engine's queue."""
        return self.engine.queue.count

    def ranges(self):
        """First and last processor of each range, in order of start: int32, shape (m, 2)."""
        cdef i32[:, ::1] view
        if not self.nranges:
            return np.zeros((0, 2), dtype=np.int32)
        view = <i32[:self.nranges, :2]> self.ranges_
        return np.array(view)
