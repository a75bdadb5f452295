# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.engine cimport Engine
from fluxsched.core.job cimport Job
from fluxsched.core.types cimport i32


cdef int fill(Engine e, Job *j, request, bint known=*) except -1
cdef i32 keep_general(Engine e, vertices) except -1
cdef int discard(Engine e, Job *j) except -1
