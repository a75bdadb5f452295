# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.job cimport Job
from fluxsched.core.report cimport EngineReports
from fluxsched.core.types cimport i32


cdef class Engine(EngineReports):
    cdef dict user_numbers      # user as the host names it -> Job.user
    cdef i32 _domain(self, str queue) except -1
    cdef i32 _general(self, vertices) except -1
    cdef int _fill(self, Job *j, request) except -1
    cdef int _drop_general(self, Job *j) except -1
    cdef _why_not(self, Job *j, request)
    cdef i32 _user(self, user) except -1
    cdef int _unqueue(self, i32 slot) except -1
    cdef int _free_part(self, i32 slot, ranks) except -1
