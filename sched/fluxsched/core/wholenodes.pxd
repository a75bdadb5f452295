# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.alloc cimport Alloc
from fluxsched.core.job cimport Job
from fluxsched.core.kinds cimport Kinds
from fluxsched.core.state cimport State
from fluxsched.core.types cimport i32, i64


cdef int take_nodes(State state, Kinds kinds, const Job *j, const i64 *part, Alloc *picked) except -1 nogil
cdef i32 take_pools(State state, i32 node, i32 run, Alloc *picked) except -1 nogil
