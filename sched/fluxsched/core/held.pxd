# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.alloc cimport Alloc
from fluxsched.core.engine cimport Engine
from fluxsched.core.types cimport i32


cdef list nodes_of(Engine e, ranks)
cdef int read_R(Engine e, jobid, R, held, freed_ranks, Alloc *out) except -1
cdef int free_part(Engine e, i32 slot, ranks) except -1
