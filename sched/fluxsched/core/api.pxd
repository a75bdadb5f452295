# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.engine cimport EngineBase
from fluxsched.core.job cimport Job
from fluxsched.core.types cimport i32, i64


cdef class Engine(EngineBase):
    cdef dict user_numbers      # user as the host names it -> Job.user
    cdef i32 _domain(self, str queue) except -1
    cdef i32 _general(self, vertices) except -1
    cdef int _fill(self, Job *j, request) except -1
    cdef int _drop_general(self, Job *j) except -1
    cdef _why_not(self, Job *j, request)
    cdef i32 _user(self, user) except -1
    cdef i32 _slot(self, jobid, i32 state) except -1
    cdef int _unqueue(self, i32 slot) except -1
    cdef int _free_part(self, i32 slot, ranks) except -1
    cdef list _changes(self)
    cdef list _held(self, i32 slot)
    cdef list _each(self, list rows)
    cdef int _append(self, list rows, i32 node, cores, gpus) except -1
    cdef dict _emit(self, list rows, double starttime, double expiration, i64 nslots=*)
