# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.engine cimport Engine as EngineCore
from fluxsched.core.types cimport i32, i64


cdef class Engine:
    cdef:
        EngineCore core
        dict slot_of            # job id -> slot
        dict user_numbers       # user as the host names it -> Job.user

    cdef i32 slot(self, jobid, i32 state) except -1
    cdef i32 user_number(self, user) except -1
    cdef int take_over(self, jobid, R, holding, freed_ranks, double began, double ends, i64 priority, double t_submit,
                       user, str queue) except -1
    cdef int checked(self) except -1
