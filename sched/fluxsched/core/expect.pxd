# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.engine cimport Engine
from fluxsched.core.types cimport i32, usec_t

cdef int expect_end(Engine e, i32 slot, usec_t end) except -1 nogil
cdef int expect_limits(Engine e) except -1 nogil
