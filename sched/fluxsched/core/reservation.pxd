# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.alloc cimport Alloc
from fluxsched.core.types cimport i64, usec_t

# What is reserved where nodes are shared.
cdef struct Reservation:
    usec_t start
    usec_t end
    i64 seen                # gains that there were when it had no earlier start; < 0: nobody knows
    Alloc alloc
