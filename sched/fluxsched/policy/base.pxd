# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.engine cimport Engine, Operations
from fluxsched.core.types cimport i32
from fluxsched.policy.orders cimport Order


cdef class Policy(Operations):
    cdef:
        readonly str name
        readonly dict options


cdef class ListPolicy(Policy):
    cdef Order order
