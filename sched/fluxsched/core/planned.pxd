# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.types cimport i32, usec_t

# A start that a pass has reserved.
cdef struct Planned:
    usec_t start
    i32 slot                # -1: the job has started since
    i32 domain
