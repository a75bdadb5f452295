# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.engine cimport EngineBase
from fluxsched.core.types cimport i32, i64


cdef class EngineReports(EngineBase):
    cdef i32 _slot(self, jobid, i32 state) except -1
    cdef list _held(self, i32 slot)
    cdef list _each(self, list rows)
    cdef int _append(self, list rows, i32 node, cores, gpus) except -1
    cdef dict _emit(self, list rows, double starttime, double expiration, i64 nslots=*)
