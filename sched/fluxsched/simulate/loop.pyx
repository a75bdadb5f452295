# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The simulator's event loop: fluxsched.core.forward's, with arrivals from arrays, and what is noted of each job."""
import numpy as np

from libc.stdlib cimport free
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fluxsched.core.api cimport Engine as PythonEngine
from fluxsched.core.alloc cimport Alloc
from fluxsched.core.forward cimport EventLoop, Forward
from fluxsched.core.history cimport History
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport Job
from fluxsched.core.memory cimport grow, zeroed
from fluxsched.core.request cimport keep_general
from fluxsched.core.types cimport USEC, i32, i64, time_never, u64, usec_t

cdef enum:
    PRIORITY = 16


#: A time that does not come, µs.
NEVER = time_never()
#: Of a job that states none: Flux's default.
DEFAULT_PRIORITY = PRIORITY


cdef inline i64 clock_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <i64> t.tv_sec * 1000000000 + t.tv_nsec


def own(values, kind):
    """An array of this type that nobody writes to: `values` itself, if it is one."""
    return np.ascontiguousarray(values, dtype=kind)


def node_cores(Inventory inventory not None):
    """Number of cores of each node: int64, shape (nnodes,)."""
    cdef i32 i
    cdef i64[::1] count = np.empty(inventory.nnodes, dtype=np.int64)
    for i in range(inventory.nnodes):
        count[i] = inventory.ncores[i]
    return np.asarray(count)


cdef class Loop(EventLoop):
    """One run of a trace through an engine that is the loop's alone.

    arrival, run, request  int64 (n,), microseconds, arrival ascending; run: how long the job will run; request: for how
                           long it may; both NEVER: it does not end
    nnodes, nslots, cores  int32 (n,), the request: nslots slots of cores (on each of nnodes nodes, if that is
                           not 0, else on any)
    users                  int32 (n,) number of the job's user, >= 0, for fair share
    submit                 int64 (n,), microseconds: when the job was submitted, which is its place among those of its
                           priority; None: as `arrival`
    priority               int64 (n,), or None: all alike
    exclusive              uint8 (n,): takes whole nodes
    record                 keep which processors each job had
    tree_of                gives the general request (tuple of formats.jobspec.Vertex) of job i, or None where the
                           arrays say all; called when the job arrives
    history                a History that is told of each job that ends, or None

    Attributes: start (int64 (n,), microseconds, -1 = not started), backfilled (uint8 (n,)), denied
    (uint8 (n,)), range_begin (int64 (n,)) and range_count (int32 (n,)): rows of ranges(), pass_count, pass_ns (int64
    (64,)), arrived and ended (jobs so far), clock (microseconds,
    time of the last event).
    """
    cdef:
        readonly object start, backfilled, denied, pass_count, pass_ns, range_begin, range_count
        const i64[::1] arrival_, submit_, priority_, run_, request_
        const i32[::1] nnodes_, nslots_, cores_, users_
        const unsigned char[::1] exclusive_
        i64[::1] start_, count_, ns_, range_begin_
        i32[::1] range_count_, slot_
        unsigned char[::1] backfilled_, denied_
        readonly bint record
        PythonEngine face
        readonly History history
        object tree_of
        bint has_trees
        i32 domain
        readonly i64 total
        readonly i64 arrived
        readonly i64 loop_ns
        i32 *job_of                 # [slots] place of the job in a slot
        i32 job_of_room
        i64 *core_base              # [nnodes + 1] processor number of a node's first core
        i32 *ranges_                # [2 * nranges] first, last processor
        i64 nranges
        i32 range_room

    def __cinit__(self, PythonEngine engine not None, arrival, run, request, nnodes, nslots, cores, users, *,
                  submit=None, priority=None, exclusive=None, bint record=True, tree_of=None,
                  History history=None):
        cdef Inventory inv = engine.core.inventory
        cdef i32 node
        cdef Py_ssize_t n = len(arrival)
        submit = arrival if submit is None else submit
        if any([len(a) != n for a in (run, request, nnodes, nslots, cores, users, submit, priority, exclusive)
                if a is not None]):
            raise ValueError("arrays of one length expected")
        self.arrival_ = own(arrival, np.int64)
        self.submit_ = own(submit, np.int64)
        self.run_ = own(run, np.int64)
        self.request_ = own(request, np.int64)
        self.nnodes_ = own(nnodes, np.int32)
        self.nslots_ = own(nslots, np.int32)
        self.cores_ = own(cores, np.int32)
        self.users_ = own(users, np.int32)
        self.priority_ = None if priority is None else own(priority, np.int64)
        self.exclusive_ = None if exclusive is None else own(exclusive, np.uint8)
        self.total = n
        self.history = history
        self.face = engine
        engine.user_numbers.update((user, user) for user in np.unique(self.users_).tolist())
        self.slot_ = np.full(n, -1, dtype=np.int32)
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
        free(self.job_of)
        free(self.core_base)
        free(self.ranges_)

    # One event each.

    cdef int add(self, i32 job) except -1 nogil:
        cdef Job template
        cdef i32 slot
        memset(&template, 0, sizeof(Job))
        template.id = job + 1
        template.priority = PRIORITY if self.priority_ is None else self.priority_[job]
        template.sequence = self.submit_[job]        # the engine's submit order is (time, id)
        template.submitted = self.submit_[job]
        template.user = self.users_[job]
        template.duration = self.request_[job]
        template.nnodes = self.nnodes_[job]
        template.nslots = self.nslots_[job]
        template.cores = self.cores_[job]
        template.exclusive = self.exclusive_ is not None and self.exclusive_[job]
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
        self.slot_[job] = slot
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

    cdef usec_t next_arrival(self) noexcept nogil:
        return self.arrival_[self.arrived] if self.arrived < self.total else time_never()

    cdef int arrive(self, usec_t now) except -1 nogil:
        while self.arrived < self.total and self.arrival_[self.arrived] == now:
            self.arrived += 1
            self.add(<i32> (self.arrived - 1))
        return 0

    cdef int starts(self, i32 slot, usec_t now) except -1 nogil:
        cdef i32 job = self.job_of[slot]
        cdef const Job *j = self.engine.jobs.item + slot
        self.start_[job] = now
        self.backfilled_[job] = j.backfilled
        if self.record:
            self.keep_alloc(job, &j.alloc)
        if self.run_[job] == time_never():
            return 0
        return self.push(now + self.run_[job], job, slot)

    cdef int ends(self, i32 slot) except -1 nogil:
        cdef i32 job = self.job_of[slot]
        if self.history is not None and self.request_[job] != time_never():
            with gil:
                self.history.note(self.users_[job], self.run_[job] / <double> self.request_[job],
                                  self.request_[job] / <double> USEC)
        return 0

    cdef int denies(self, i32 slot) except -1 nogil:
        self.denied_[self.job_of[slot]] = 1
        return 0

    cdef i64 schedule(self, usec_t now, i64 left) except -1 nogil:
        """A pass, all of it, and its time by queue length. Its cost is its time in ns."""
        cdef i32 length = self.engine.queue.count
        cdef int place = 0
        cdef i64 began = clock_ns()
        self.engine.schedule(now, -1)
        began = clock_ns() - began
        while length >> place:
            place += 1
        self.count_[place] += 1
        self.ns_[place] += began
        # 500 ns stand for what is not the pass; reading the clock again would cost as much.
        return began + 500

    def advance(self, usec_t until, double seconds):
        """Run, without the GIL, for about this many seconds of real time, or to the last event not after `until`.

        Returns whether there is more to do.  Raises what the plugin raises, MemoryError.
        """
        cdef bint more
        cdef i64 budget = <i64> (seconds * 1e9)
        cdef i64 began = clock_ns()
        with nogil:
            more = self.run_until(until, budget)
        self.loop_ns += clock_ns() - began
        return bool(more)

    def forward(self, i32 job=-1, bint drawn=False, u64 seed=0):
        """A Forward of what the jobs that are here now will do, if no others come: up to the start of this one, or (-1)
        to the end. drawn: their run times are drawn from the history, with the seed; else they are what was asked for.
        ValueError for a job that does not wait."""
        cdef Forward out
        if not -1 <= job < self.total or job >= 0 and (
                self.slot_[job] < 0 or self.start_[job] >= 0 or self.denied_[job]):
            raise ValueError(f"job {job} does not wait")
        out = Forward(self.face.fork(), self.clock / <double> USEC, self.history if drawn else None, seed, True)
        if job >= 0:
            out.target = self.slot_[job]
        return out

    def foretold(self, Forward forward not None, i32 job):
        """When a waiting job has started in a Forward of this loop, in µs; -1: it has not. ValueError for a job that is
        not here."""
        if not 0 <= job < self.total or self.slot_[job] < 0:
            raise ValueError(f"job {job} has not come")
        return forward.start[self.slot_[job]]

    @property
    def over(self):
        """Whether nothing more will happen."""
        return not self.suspended and self.nheap == 0 and self.next_arrival() == time_never()

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
