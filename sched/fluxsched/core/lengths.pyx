# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""How long the jobs of an engine are going to run, as it is expected of their users.

The same run times for several runs forward, so that what differs in them is the policy's doing.
"""
from libc.stdlib cimport free

from fluxsched.core.api cimport Engine as PythonEngine
from fluxsched.core.engine cimport Engine
from fluxsched.core.history cimport History
from fluxsched.core.job cimport JOB_RUNNING, JOB_WAITING, Job
from fluxsched.core.memory cimport memcpy, zeroed
from fluxsched.core.seconds cimport to_instant
from fluxsched.core.types cimport USEC, i32, time_add, time_never, usec_t


cdef class Lengths:
    """The run times of the jobs that an engine has at `now` (s since the epoch), each the mean of what is drawn from
    the history for it; they hold for copies of the engine as it is then. A job that runs goes on for as long as its
    user's jobs did that had run so long already. ValueError for a time out of range."""

    def __cinit__(self, PythonEngine engine not None, double now, History history not None):
        cdef i32 slot
        cdef usec_t t = to_instant(now)
        self.nslots = engine.core.jobs.count
        self.length = <usec_t *> zeroed(self.nslots, sizeof(usec_t))
        for slot in range(self.nslots):
            self.length[slot] = time_never()
        history.draw(engine.core, engine.user_numbers, t, 0, True, self.length)

    def __dealloc__(self):
        free(self.length)

    cdef int copy_to(self, usec_t *length, i32 nslots) except -1:
        """Put them into an array by slot."""
        if nslots != self.nslots:
            raise ValueError(f"run times of {self.nslots} slots, for an engine of {nslots}")
        memcpy(length, self.length, nslots * sizeof(usec_t))
        return 0

    def of(self, PythonEngine engine not None, jobid):
        """How long a job of that engine, or of a copy, is going to run, in s; None: as long as its limit allows.
        ValueError for a job that is not known."""
        found = engine.slot_of.get(jobid)
        if found is None or not 0 <= found < self.nslots:
            raise ValueError(f"job {jobid} is not known")
        return None if self.length[<i32> found] == time_never() else self.length[<i32> found] / <double> USEC

    def limit(self, PythonEngine engine not None):
        """Let these run times be the limits of the jobs of a copy, so that plans are made with them. ValueError for the
        copy of another engine."""
        cdef Engine e = engine.core
        cdef Job *j
        cdef i32 slot
        cdef usec_t end
        if e.jobs.count != self.nslots:
            raise ValueError(f"run times of {self.nslots} slots, for an engine of {e.jobs.count}")
        for slot in range(self.nslots):
            j = e.jobs.item + slot
            if self.length[slot] == time_never():
                continue
            if j.state == JOB_WAITING and self.length[slot] < j.duration:
                j.duration = j.limit = self.length[slot]
            elif j.state == JOB_RUNNING:
                end = time_add(j.start, self.length[slot])
                if end < j.end:
                    e.move_end(slot, end)
        # What is known of the queue's chunks has the limits in it.
        e.rescore()
