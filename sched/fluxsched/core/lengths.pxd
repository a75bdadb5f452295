# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.types cimport i32, usec_t


cdef class Lengths:
    """How long each job of an engine is going to run."""
    cdef:
        usec_t *length          # [nslots] by slot, from its start on; never: as long as its limit allows
        i32 nslots

    cdef int copy_to(self, usec_t *length, i32 nslots) except -1
