# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.api cimport Engine as PythonEngine
from fluxsched.core.engine cimport Engine
from fluxsched.core.history cimport History
from fluxsched.core.lengths cimport Lengths
from fluxsched.core.types cimport i32, i64, u64, usec_t

# A completion to come.
cdef struct Event:
    usec_t end
    i32 turn                # among those that end at one time, the lowest first
    i32 slot                # of the engine; < 0: something else of a subclass


cdef class EventLoop:
    """An engine in virtual time: completions, arrivals if a subclass has them, and a pass after each instant's."""
    cdef:
        Engine engine
        Event *heap             # [nheap]
        i32 nheap
        i32 heap_room
        bint suspended          # the pass of the instant `clock` is to be run, or gone on with
        bint done               # nobody asks for what happens after it
        readonly usec_t clock   # µs: time of the last event
        readonly i64 ended      # jobs so far
        readonly i64 passes

    cdef int push(self, usec_t end, i32 turn, i32 slot) except -1 nogil
    cdef int withdraw(self, i32 slot) except -1 nogil
    cdef Event pop(self) noexcept nogil
    cdef bint run_until(self, usec_t until, i64 budget) except -1 nogil
    cdef i64 schedule(self, usec_t now, i64 left) except -1 nogil
    cdef i64 one_pass(self, usec_t now, i64 left) except -1 nogil
    # What a subclass has of its own.
    cdef usec_t next_arrival(self) noexcept nogil
    cdef int arrive(self, usec_t now) except -1 nogil
    cdef int due(self, i32 number) except -1 nogil
    cdef int starts(self, i32 slot, usec_t now) except -1 nogil
    cdef int ends(self, i32 slot) except -1 nogil
    cdef int denies(self, i32 slot) except -1 nogil


cdef class Forward(EventLoop):
    """A copy of an engine that is run forward from the state that it is in."""
    cdef:
        PythonEngine copy       # to find jobs by their ids
        usec_t *start           # [nslots] by slot; -1: not started
        usec_t *length          # [nslots] how long a job will run from its start on, if its limit allows it
        i32 nslots
        usec_t last             # when the last of the jobs ends of which the end is known
        i32 target              # slot of the job that is asked about; -1: all

    cdef int fill(self, usec_t now) except -1 nogil


cdef class Spread:
    """Starts of jobs over several runs."""
    cdef:
        dict place              # job id -> its index
        i32 *slots              # [njobs]
        usec_t *start           # [nruns * njobs] never: not started
        i32 njobs
        readonly i32 nruns
        i32 room
        usec_t *column          # [nruns] scratch
        i32 column_room
