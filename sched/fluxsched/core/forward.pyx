# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The event loop of virtual time, and a copy of an engine run forward in it.

At one instant: all completions, then all arrivals, then one pass. A job of run time 0 started in that pass ends in a
further round at the same instant: completions, then a pass. Completions are a binary heap of what runs, so memory grows
with jobs, not with events.

The simulator's loop (fluxsched.simulate.loop) adds arrivals and what is noted of each job. Forward has no arrivals: it
is what happens to the jobs that there are, if no others come. Neither reads a clock; a caller bounds a call by its
cost.
"""
from libc.math cimport ceil
from libc.stdint cimport INT32_MAX
from libc.stdlib cimport free

from fluxsched.core.api cimport Engine as PythonEngine
from fluxsched.core.history cimport History
from fluxsched.core.lengths cimport Lengths
from fluxsched.core.job cimport JOB_WAITING, Job
from fluxsched.core.memory cimport grow, qsort, zeroed
from fluxsched.core.seconds cimport to_instant, to_usec
from fluxsched.core.types cimport USEC, i32, i64, time_add, time_never, u64, usec_t


cdef inline bint sooner(const Event *a, const Event *b) noexcept nogil:
    return a.end < b.end or (a.end == b.end and a.turn < b.turn)


cdef int compare_times(const void *a, const void *b) noexcept nogil:
    cdef usec_t x = (<const usec_t *> a)[0], y = (<const usec_t *> b)[0]
    return (x > y) - (x < y)


cdef class EventLoop:

    def __cinit__(self, PythonEngine engine not None, *arguments, **more):
        self.engine = engine.core
        # Planned starts are not asked for, so a pass may end once no more job can start in it.
        self.engine.hasty = True

    def __dealloc__(self):
        free(self.heap)

    # The heap.

    cdef int push(self, usec_t end, i32 turn, i32 slot) except -1 nogil:
        """A job that runs will end then."""
        cdef i32 at, up
        cdef Event event = Event(end, turn, slot)
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

    cdef int withdraw(self, i32 slot) except -1 nogil:
        """A job that runs will not end by itself."""
        cdef i32 i, count = self.nheap
        self.nheap = 0
        # What is pushed comes no later than what was read.
        for i in range(count):
            if self.heap[i].slot != slot:
                self.push(self.heap[i].end, self.heap[i].turn, self.heap[i].slot)
        return 0

    cdef Event pop(self) noexcept nogil:
        """The next completion."""
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

    # What a subclass has of its own.

    cdef usec_t next_arrival(self) noexcept nogil:
        """When the next jobs come; never: none does."""
        return time_never()

    cdef int arrive(self, usec_t now) except -1 nogil:
        """Jobs that come now are added to the engine."""
        return 0

    cdef int due(self, i32 number) except -1 nogil:
        """Something else that a subclass has pushed happens now; its slot was -1 - number, its turn behind all jobs'.
        """
        return 0

    cdef int starts(self, i32 slot, usec_t now) except -1 nogil:
        """A job starts now; its completion is to be pushed."""
        return 0

    cdef int ends(self, i32 slot) except -1 nogil:
        """A job is about to end."""
        return 0

    cdef int denies(self, i32 slot) except -1 nogil:
        """A job was denied; its slot is given back after this."""
        return 0

    # The loop.

    cdef i64 schedule(self, usec_t now, i64 left) except -1 nogil:
        """The engine's pass, or a slice of it. Answers its cost: the jobs that the plugin was asked about, and one."""
        cdef i64 before = self.engine.nconsidered
        self.engine.schedule(now, <i32> (left if left < INT32_MAX else INT32_MAX))
        return self.engine.nconsidered - before + 1

    cdef i64 one_pass(self, usec_t now, i64 left) except -1 nogil:
        """The pass of this instant, or a slice of it for which so much is left of the budget. Answers its cost."""
        cdef i32 k
        cdef i64 cost = self.schedule(now, left)
        self.suspended = self.engine.suspended
        self.passes += not self.suspended
        for k in range(self.engine.nstarted):
            self.starts(self.engine.started[k], now)
        for k in range(self.engine.ndenied):
            self.denies(self.engine.denied[k])
            self.engine.forget(self.engine.denied[k])
        return cost

    cdef bint run_until(self, usec_t until, i64 budget) except -1 nogil:
        """Go on to the last event that is not after `until`, or until the passes have cost more than the budget.
        Whether there is more to do."""
        cdef i64 spent = 0
        cdef usec_t now
        cdef i32 slot
        while not self.done:
            if not self.suspended:
                now = self.next_arrival()
                if self.nheap and self.heap[0].end < now:
                    now = self.heap[0].end
                if now > until or now == time_never():
                    return False
                self.clock = now
                while self.nheap and self.heap[0].end == now:
                    slot = self.pop().slot
                    if slot < 0:
                        self.due(-1 - slot)
                        continue
                    self.ended += 1
                    self.ends(slot)
                    self.engine.finish(slot)
                self.arrive(now)
            spent += self.one_pass(self.clock, budget - spent)
            if spent > budget:
                return not self.done
        return False


cdef class Forward(EventLoop):
    """What happens to the jobs of an engine, if no others come.

    engine: the caller's copy (Engine.fork), which is run and belongs to this from now on. now: s since the epoch.
    history: run times are drawn from it, with `seed`; lengths: they are these, and no history is expected; None of
    both: each job runs as long as it asked for. A job that runs
    goes on for as long as its user's jobs did that had run so long already. A job that is past its expected end ends
    one tick from now; one without a limit never does. passed: a pass has been run since anything has changed, so the
    next one is run when a job ends; else the first is that of now. ValueError for a time out of range.

    Attribute clock: µs, the time of the last event.
    """

    def __cinit__(self, PythonEngine engine not None, double now, History history=None, u64 seed=0,
                  bint passed=False, Lengths lengths=None):
        cdef i32 slot
        cdef usec_t t = to_instant(now)
        self.copy = engine
        self.nslots = self.engine.jobs.count
        self.target = -1
        self.start = <usec_t *> zeroed(self.nslots, sizeof(usec_t))
        self.length = <usec_t *> zeroed(self.nslots, sizeof(usec_t))
        for slot in range(self.nslots):
            self.start[slot] = -1
            self.length[slot] = time_never()
        if history is not None:
            history.draw(self.engine, engine.user_numbers, t, seed, False, self.length)
        if lengths is not None:
            lengths.copy_to(self.length, self.nslots)
        self.fill(t)
        self.suspended = not passed

    def __dealloc__(self):
        free(self.start)
        free(self.length)

    def run_time(self, jobid, double seconds):
        """A waiting job will run so long, if its limit allows it. ValueError for a job that does not wait, or a
        negative time."""
        cdef i32 slot = self.copy.slot(jobid, JOB_WAITING)
        if not seconds >= 0:
            raise ValueError(f"run time {seconds!r}: expected seconds, 0 or more")
        self.length[slot] = to_usec(seconds) if seconds > 0 else 0

    def ask(self, jobid):
        """Nobody asks for what happens after the start of this job, which waits. ValueError if it does not."""
        self.target = self.copy.slot(jobid, JOB_WAITING)

    cdef int fill(self, usec_t now) except -1 nogil:
        """Push the ends of what runs."""
        cdef i32 i, slot
        cdef usec_t end, drawn
        for i in range(self.engine.jobs.running.count):
            slot = self.engine.jobs.running.item[i].job
            end = self.engine.jobs.item[slot].last
            drawn = time_add(self.engine.jobs.item[slot].start, self.length[slot])
            if drawn < end:
                end = drawn
            if end != time_never():
                self.push(end if end > now else now + 1, slot, slot)
                self.last = max(self.last, end)
        self.clock = now
        self.last = max(self.last, now)
        self.done = self.engine.queue.count == 0
        return 0

    cdef int starts(self, i32 slot, usec_t now) except -1 nogil:
        cdef usec_t end = time_add(now, self.length[slot])
        cdef const Job *j = self.engine.jobs.item + slot
        self.start[slot] = now
        if j.last < end:
            end = j.last
        if end != time_never():
            self.push(end, slot, slot)
            self.last = max(self.last, end)
        self.done = slot == self.target or self.engine.queue.count == 0 or self.done
        return 0

    def advance(self, until=None, i64 budget=0x7FFFFFFFFFFFFFFF):
        """Go on, without the GIL, to the last event not after `until` (s; None: the last one there is) or until passes
        have cost about `budget`, in jobs that the plugin was asked about. Whether there is more to do. Raises what the
        plugin raises, MemoryError."""
        cdef bint more
        cdef usec_t last = time_never() if until is None else to_instant(until)
        with nogil:
            more = self.run_until(last, budget)
        return bool(more)

    @property
    def started(self):
        """Number of jobs that waited and have started."""
        cdef i32 slot, count = 0
        for slot in range(self.nslots):
            count += self.start[slot] >= 0
        return count

    def start_of(self, jobid):
        """When a job that waited has started, in s since the epoch; None: it has not so far. ValueError for a job that
        is not known."""
        found = self.copy.slot_of.get(jobid)
        if found is None:
            raise ValueError(f"job {jobid} is not known")
        return None if self.start[<i32> found] < 0 else self.start[<i32> found] / <double> USEC

    @property
    def endless(self):
        """Whether jobs are left that run and never end."""
        return self.engine.jobs.running.count > self.nheap


cdef class Spread:
    """When jobs start, over several runs forward.

    engine: of whose copies the runs are; the jobs are those that wait in it now.
    """

    def __cinit__(self, PythonEngine engine not None):
        cdef i32 i
        cdef const i32 *slots = engine.core.queue.flat()
        self.njobs = engine.core.queue.count
        self.slots = <i32 *> zeroed(self.njobs, sizeof(i32))
        self.place = {}
        for i in range(self.njobs):
            self.slots[i] = slots[i]
            self.place[engine.core.jobs.item[slots[i]].id] = i

    def __dealloc__(self):
        free(self.slots)
        free(self.start)
        free(self.column)

    def __contains__(self, jobid):
        return jobid in self.place

    def __iter__(self):
        return iter(self.place)

    def __len__(self):
        return self.njobs

    def add(self, Forward forward not None):
        """Take down the starts of one more run."""
        cdef i32 i
        cdef usec_t *row
        self.column = <usec_t *> grow(self.column, &self.column_room, self.nruns + 1, sizeof(usec_t))
        self.start = <usec_t *> grow(self.start, &self.room, self.nruns + 1, max(self.njobs, 1) * sizeof(usec_t))
        row = self.start + <size_t> self.nruns * self.njobs
        for i in range(self.njobs):
            row[i] = forward.start[self.slots[i]]
            if row[i] < 0:
                row[i] = time_never()
        self.nruns += 1

    def starts(self, jobid, levels):
        """The starts of a job that these parts (0 to 1) of the runs do not exceed, in s since the epoch; None: the job
        did not start in so many. ValueError for a job that is not one of these, or if there was no run."""
        cdef i32 i, place
        cdef usec_t t
        found = self.place.get(jobid)
        if found is None or self.nruns == 0:
            raise ValueError(f"job {jobid}: no run knows it")
        place = found
        for i in range(self.nruns):
            self.column[i] = self.start[<size_t> i * self.njobs + place]
        qsort(self.column, self.nruns, sizeof(usec_t), compare_times)
        out = []
        for level in levels:
            # Of 20 runs the 90th percentile is the 18th.
            i = <i32> ceil(level * self.nruns - 1e-9) - 1
            t = self.column[min(max(i, 0), self.nruns - 1)]
            out.append(None if t == time_never() else t / <double> USEC)
        return out

    @property
    def first(self):
        """The earliest start in any run, in s since the epoch; None: there is none."""
        cdef usec_t least = time_never()
        cdef i64 i
        for i in range(<i64> self.nruns * self.njobs):
            if self.start[i] < least:
                least = self.start[i]
        return None if least == time_never() else least / <double> USEC
