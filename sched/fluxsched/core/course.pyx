# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The whole future: a copy of an engine that is run forward, and on which nodes each job starts in it."""
from fluxsched.core.forward cimport Forward
from fluxsched.core.report cimport place_of
from fluxsched.core.types cimport i32, usec_t


cdef class Course(Forward):
    """See fluxsched.core.forward.Forward; rows are those of Engine.place, of the jobs that have started so far."""

    def __init__(self, *arguments, **more):
        self.rows = []

    cdef int starts(self, i32 slot, usec_t now) except -1 nogil:
        Forward.starts(self, slot, now)
        with gil:
            self.rows.append(place_of(self.engine, slot))
        return 0
