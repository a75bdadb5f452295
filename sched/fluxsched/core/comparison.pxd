# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.types cimport i32, i64, usec_t

# How much sooner a job starts in one run than in another.
cdef struct Change:
    usec_t sooner
    i32 place


cdef class Comparison:
    """The waiting jobs of an engine, and when they start in several runs forward."""
    cdef:
        i64 *id                 # [njobs] in the order of the queue
        i32 *slot               # [njobs]
        usec_t *submitted       # [njobs]
        i32 njobs
        usec_t *start           # [nruns * njobs] never: not started
        i32 room
        usec_t *last            # [nruns] when all has ended of which the end is known
        i32 last_room
        readonly i32 nruns
        Change *change          # [njobs] scratch

    cdef int make_room(self) except -1
    cdef const usec_t *row(self, i32 run) except NULL
    cdef tuple changed(self, const usec_t *row, const usec_t *other, i32 at)
