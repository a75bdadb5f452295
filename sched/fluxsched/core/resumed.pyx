# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The engine's event loop in virtual time with inputs that are told to come: what a record says of its future."""
from libc.stdint cimport INT32_MAX

from fluxsched.core.api cimport Engine as PythonEngine
from fluxsched.core.forward cimport EventLoop
from fluxsched.core.seconds cimport to_instant, to_usec
from fluxsched.core.types cimport USEC, i32, time_add, time_never, usec_t


cdef class Resumed(EventLoop):
    """An engine that goes on from the state that it is in, by itself, with inputs at given times.

    engine: the caller's copy (Engine.fork), which is run and belongs to this from now on. now: s since the epoch.
    times: when the inputs come, s since the epoch, ascending, none before now. apply(i): makes the i-th input; it calls
    the engine's face. lasts(jobid, start): how many seconds a job runs that starts then, or has started; inf: for ever.
    parts(jobid, start): when such a job gives back parts of what it holds, s since the epoch, ascending; those before
    now are done. part(jobid, n): makes it give back the n-th, counted from 1.

    Attributes: start, a dict of the starts so far (s since the epoch) by job id, of those that ran at first, too; end,
    the same of their ends; denied, the ids of the jobs that were denied.
    """
    cdef:
        PythonEngine face
        list times              # µs
        object apply
        object lasts
        object parts
        object part
        list later              # (job id, number) of each part that is to come
        Py_ssize_t at
        readonly dict start
        readonly dict end
        readonly set denied

    def __cinit__(self, PythonEngine engine not None, double now, list times not None, apply, lasts, parts, part):
        cdef i32 i, slot
        self.face = engine
        self.times = [to_instant(when) for when in times]
        self.apply = apply
        self.lasts = lasts
        self.parts = parts
        self.part = part
        self.later = []
        self.start = {}
        self.end = {}
        self.denied = set()
        self.clock = to_instant(now)
        for i in range(self.engine.jobs.running.count):
            slot = self.engine.jobs.running.item[i].job
            self.begins(slot, self.engine.jobs.item[slot].start)
        self.suspended = True

    cdef int begins(self, i32 slot, usec_t start) except -1:
        """A job runs since then: push its end."""
        cdef double seconds = start / <double> USEC
        cdef usec_t end
        jobid = self.engine.jobs.item[slot].id
        self.start[jobid] = seconds
        length = self.lasts(jobid, seconds)
        end = time_add(start, to_usec(length) if length > 0 else 0)
        if end != time_never():
            self.push(end if end > self.clock or start == self.clock else self.clock + 1, slot, slot)
        for number, when in enumerate(self.parts(jobid, seconds), 1):
            end = to_instant(when)
            if end > self.clock:
                self.later.append((jobid, number))
                # Behind the ends of jobs at that time.
                self.push(end, INT32_MAX, <i32> -len(self.later))
        return 0

    cdef int due(self, i32 number) except -1 nogil:
        """A job gives back a part, unless it is over."""
        with gil:
            jobid, part = self.later[number]
            if jobid not in self.end:
                self.part(jobid, part)
        return 0

    cdef usec_t next_arrival(self) noexcept nogil:
        with gil:
            return self.when()

    cdef usec_t when(self) noexcept:
        """When the next input comes; never: none does."""
        return <usec_t> self.times[self.at] if self.at < len(self.times) else time_never()

    cdef int arrive(self, usec_t now) except -1 nogil:
        with gil:
            while self.when() <= now:
                self.at += 1
                self.apply(self.at - 1)
        return 0

    cdef int starts(self, i32 slot, usec_t now) except -1 nogil:
        with gil:
            self.begins(slot, now)
        return 0

    cdef int ends(self, i32 slot) except -1 nogil:
        with gil:
            jobid = self.engine.jobs.item[slot].id
            self.end[jobid] = self.clock / <double> USEC
            del self.face.slot_of[jobid]
        return 0

    cdef int denies(self, i32 slot) except -1 nogil:
        with gil:
            jobid = self.engine.jobs.item[slot].id
            self.denied.add(jobid)
            del self.face.slot_of[jobid]
        return 0

    def advance(self, double until):
        """Go on to the last event not after `until` (s since the epoch). Raises what the plugin and apply raise."""
        cdef usec_t last = to_instant(until)
        with nogil:
            self.run_until(last, 0x7FFFFFFFFFFFFFFF)
