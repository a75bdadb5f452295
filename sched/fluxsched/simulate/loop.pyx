# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The simulator's event loop: fluxsched.core.forward's, with arrivals from arrays, and what is noted of each job.

A job that waits for others arrives when the last of them has ended (or started), and an outage happens in its turn:
both are events in the heap, behind the completions of their instant.
"""
import numpy as np

from libc.stdlib cimport free
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fluxsched.core.api cimport Engine as PythonEngine
from fluxsched.core.alloc cimport Alloc
from fluxsched.core.forward cimport EventLoop, Forward
from fluxsched.core.history cimport History
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport Job
from fluxsched.core.memory cimport grow, memset, zeroed
from fluxsched.core.request cimport fill
from fluxsched.core.types cimport USEC, i32, i64, time_never, u64, usec_t

from fluxsched.core import Infeasible

cdef enum:
    PRIORITY = 16
    LATE = 0x7FFFFFFF           # the turn of what is no completion

# What another job has to do for a job to arrive.
cdef enum:
    END = 0
    START = 1
    DONE = 2                    # it has


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
    gpus                   int32 (n,), of a slot; None: none
    exclusive              uint8 (n,): takes whole nodes; None: none does
    queue, queues          int32 (n,), the place in `queues`, where a queue is its name and the constraint that it adds
                           (or None); queue None: all are in the first
    request_of             gives the formats.jobspec.Request of job i, but for its duration, or None where the arrays
                           say all; called when the job arrives
    after                  int64 (m, 3): a job, the job that it waits for, and 0 for that one's end or 1 for its start;
                           such a job does not arrive by `arrival`
    think                  int64 (n,), microseconds: a job that waits for others arrives so long after the last of them;
                           < 0: at once, but not before `arrival`; None: all so
    outages                list of (time in microseconds, action, ranks): "up", "drain", "down" (jobs there end) or
                           "restart" (they go back to the queue); ranks: an idset string
    record                 keep which processors each job had
    history                a History that is told of each job that ends, or None

    Attributes: start (int64 (n,), microseconds, -1 = not started), backfilled (uint8 (n,)), denied
    (uint8 (n,)), came (int64 (n,): when a job that waited for others arrived, -1 = it has not, or waited for none; None
    where none does), cut (int64 (n,): when an outage ended the job, -1 = none did; None without outages), restarts (so
    far), range_begin (int64 (n,)) and range_count (int32 (n,)): rows of ranges(), pass_count, pass_ns (int64
    (64,)), arrived and ended (jobs so far), clock (microseconds,
    time of the last event).
    """
    cdef:
        readonly object start, backfilled, denied, came, cut, pass_count, pass_ns, range_begin, range_count
        const i64[::1] arrival_, submit_, priority_, run_, request_, think_
        const i32[::1] nnodes_, nslots_, cores_, gpus_, users_, queue_
        i32[::1] order_             # jobs that wait for no other, by arrival; None: all
        i32[::1] missing_           # [n] how many others a job waits for still
        i64[::1] first_             # [n + 1] the first row below of the jobs that wait for a job
        i32[::1] next_              # [m] a job that waits for it
        i32[::1] until_             # [m] and for what
        i64[::1] came_              # [n] when such a job arrived, -1: it has not; None: no job waits for another
        i64[::1] cut_
        const unsigned char[::1] exclusive_
        i64[::1] start_, count_, ns_, range_begin_
        i32[::1] range_count_, slot_
        unsigned char[::1] backfilled_, denied_
        readonly bint record
        PythonEngine face
        readonly History history
        object request_of
        bint has_requests
        list queues, outages
        i32[::1] domain_            # [queues]
        i32[::1] elig_              # [queues] set of nodes that its constraint leaves
        readonly i64 total
        i64 at                      # place of the next arrival in `order`
        readonly i64 restarts
        i64 ndenied
        readonly i64 arrived
        readonly i64 loop_ns
        i32 *job_of                 # [slots] place of the job in a slot
        i32 job_of_room
        i64 *core_base              # [nnodes + 1] processor number of a node's first core
        i32 *ranges_                # [2 * nranges] first, last processor
        i64 nranges
        i32 range_room

    def __cinit__(self, PythonEngine engine not None, arrival, run, request, nnodes, nslots, cores, users, *,
                  submit=None, priority=None, gpus=None, exclusive=None, queue=None, queues=(("", None),),
                  request_of=None, after=None, think=None, outages=(), bint record=True, History history=None):
        cdef Inventory inv = engine.core.inventory
        cdef i32 node
        cdef Py_ssize_t n = len(arrival)
        submit = arrival if submit is None else submit
        if any([len(a) != n for a in (run, request, nnodes, nslots, cores, users, submit, priority, gpus, exclusive,
                                      queue, think) if a is not None]):
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
        self.gpus_ = None if gpus is None else own(gpus, np.int32)
        self.queue_ = None if queue is None else own(queue, np.int32)
        self.think_ = None if think is None else own(think, np.int64)
        self.total = n
        self.history = history
        self.face = engine
        engine.user_numbers.update((user, user) for user in np.unique(self.users_).tolist())
        self.slot_ = np.full(n, -1, dtype=np.int32)
        self.record = record
        self.queues = list(queues)
        self.domain_ = np.array([engine.core.need_domain(name) for name, _ in self.queues], dtype=np.int32)
        # Used once by the loop itself, so that they stay.
        self.elig_ = np.array([engine.core.eligible.use(constraint) for _, constraint in self.queues], dtype=np.int32)
        self.request_of = request_of
        self.has_requests = request_of is not None
        self.chain(after, n)
        self.outages = list(outages)
        self.cut = np.full(n, -1, dtype=np.int64) if self.outages else None
        self.cut_ = self.cut
        for number, (time, _, _) in enumerate(self.outages):
            self.push(time, LATE, <i32> (-1 - n - number))
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

    cdef int chain(self, after, Py_ssize_t n) except -1:
        """Take down who waits for whom."""
        self.order_ = self.missing_ = None
        self.came = self.came_ = None
        if after is None or not len(after):
            return 0
        after = np.asarray(after)[np.argsort(np.asarray(after)[:, 1], kind="stable")]
        missing = np.bincount(after[:, 0], minlength=n).astype(np.int32)
        self.order_ = np.flatnonzero(missing == 0).astype(np.int32)
        self.missing_ = missing
        self.first_ = np.append(0, np.cumsum(np.bincount(after[:, 1], minlength=n))).astype(np.int64)
        self.came = np.full(n, -1, dtype=np.int64)
        self.came_ = self.came
        self.next_, self.until_ = own(after[:, 0], np.int32), own(after[:, 2], np.int32)
        return 0

    # One event each.

    cdef int add(self, i32 job) except -1 nogil:
        """A job arrives; it is denied at once if there is never room for it."""
        cdef Job template
        cdef i32 slot, queue = 0 if self.queue_ is None else self.queue_[job]
        cdef bint possible = True, plain = True
        cdef i32 *users
        memset(&template, 0, sizeof(Job))
        if self.has_requests:
            with gil:
                request = self.request_of(job)
                plain = request is None
                if not plain:
                    try:
                        fill(self.engine, &template, request)
                    except Infeasible:
                        possible = False
        if plain:
            template.nnodes = self.nnodes_[job]
            template.nslots = self.nslots_[job]
            template.cores = self.cores_[job]
            template.gpus = 0 if self.gpus_ is None else self.gpus_[job]
            template.exclusive = self.exclusive_ is not None and self.exclusive_[job]
            template.elig = self.elig_[queue]
            template.tree = -1
            possible = self.engine.future.could_fit(&template, False)
            if possible and template.elig:
                users = self.engine.eligible.users
                users[template.elig] += 1
        if not possible:
            return self.refuse(job)
        template.id = job + 1
        template.priority = PRIORITY if self.priority_ is None else self.priority_[job]
        template.submitted = self.submit_[job]
        if self.think_ is not None and self.think_[job] >= 0 and self.came_[job] >= 0:
            template.submitted = self.came_[job]
        template.sequence = template.submitted       # the engine's submit order is (time, id)
        template.user = self.users_[job]
        template.duration = self.request_[job]
        template.domain = self.domain_[queue]
        slot = self.engine.add(&template)
        self.job_of = <i32 *> grow(self.job_of, &self.job_of_room, slot + 1, sizeof(i32))
        self.job_of[slot] = job
        self.slot_[job] = slot
        return 0

    cdef int refuse(self, i32 job) except -1 nogil:
        """A job never runs."""
        self.denied_[job] = True
        self.ndenied += 1
        self.release(job, START, self.clock)
        return self.is_over(job)

    cdef int is_over(self, i32 job) except -1 nogil:
        """Nothing more happens to a job, which has been counted."""
        # Outages later on change nothing.
        self.done = self.ended + self.ndenied == self.total
        return self.release(job, END, self.clock)

    cdef int release(self, i32 job, i32 what, usec_t now) except -1 nogil:
        """What jobs may wait for in this one has happened."""
        cdef i64 row
        cdef i32 follower
        cdef usec_t when
        if self.missing_ is None:
            return 0
        for row in range(self.first_[job], self.first_[job + 1]):
            if self.until_[row] != what:
                continue
            self.until_[row] = DONE
            follower = self.next_[row]
            self.missing_[follower] -= 1
            if self.missing_[follower] == 0:
                when = max(now, self.arrival_[follower])
                if self.think_ is not None and self.think_[follower] >= 0:
                    when = now + self.think_[follower]
                self.push(when, LATE, -1 - follower)
        return 0

    cdef int due(self, i32 number) except -1 nogil:
        if number < self.total:
            self.arrived += 1
            self.came_[number] = self.clock
            return self.add(number)
        with gil:
            self.outage(*self.outages[number - self.total][1:])
        return 0

    def outage(self, action, ranks):
        """Ranks come back, or go, and what runs there with them."""
        cdef i32 i, k, slot
        cdef const Alloc *a
        cdef list struck = []
        if action == "up":
            self.face.mark_up(ranks)
            return
        self.face.mark_down(ranks)
        if action == "drain":
            return
        gone = self.engine.inventory.mask_of_ranks(ranks)
        for i in range(self.engine.jobs.running.count):
            slot = self.engine.jobs.running.item[i].job
            a = &self.engine.jobs.item[slot].alloc
            for k in range(a.nentries):
                if gone >> a.entry[k].node & (1 << max(a.entry[k].count, 1)) - 1:
                    struck.append(slot)
                    break
        for slot in struck:
            self.strike(slot, action == "restart")

    cdef int strike(self, i32 slot, bint again) except -1:
        """A job that runs loses its nodes."""
        cdef i32 job = self.job_of[slot]
        self.withdraw(slot)
        self.engine.finish(slot)
        if again:
            self.restarts += 1
            self.start_[job] = -1
            return self.add(job)
        self.ended += 1
        self.cut_[job] = self.clock
        return self.is_over(job)

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
        cdef i32 job = self.coming()
        return time_never() if job < 0 else self.arrival_[job]

    cdef i32 coming(self) noexcept nogil:
        """The next job that waits for no other; -1: there is none."""
        if self.order_ is None:
            return <i32> self.at if self.at < self.total else -1
        return self.order_[self.at] if self.at < self.order_.shape[0] else -1

    cdef int arrive(self, usec_t now) except -1 nogil:
        cdef i32 job = self.coming()
        while job >= 0 and self.arrival_[job] == now:
            self.at += 1
            self.arrived += 1
            self.add(job)
            job = self.coming()
        return 0

    cdef int starts(self, i32 slot, usec_t now) except -1 nogil:
        cdef i32 job = self.job_of[slot]
        cdef const Job *j = self.engine.jobs.item + slot
        self.start_[job] = now
        self.backfilled_[job] = j.backfilled
        if self.record:
            self.keep_alloc(job, &j.alloc)
        self.release(job, START, now)
        if self.run_[job] == time_never():
            return 0
        return self.push(now + self.run_[job], job, slot)

    cdef int ends(self, i32 slot) except -1 nogil:
        cdef i32 job = self.job_of[slot]
        if self.history is not None and self.request_[job] != time_never():
            with gil:
                self.history.note(self.users_[job], self.run_[job] / <double> self.request_[job],
                                  self.request_[job] / <double> USEC)
        return self.is_over(job)

    cdef int denies(self, i32 slot) except -1 nogil:
        return self.refuse(self.job_of[slot])

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
        return self.done or not self.suspended and self.nheap == 0 and self.next_arrival() == time_never()

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
