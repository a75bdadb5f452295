# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.engine cimport Engine
from fluxsched.core.job cimport Job
from fluxsched.core.types cimport i32, usec_t


cdef i32 why_waits(Engine e, i32 slot) except -1 nogil
cdef usec_t planned(Engine e, const Job *j) noexcept nogil
cdef usec_t first_planned(Engine e) noexcept nogil

# Who holds a job up: the first of them in the queue, and how many there are.
cdef struct Holders:
    i32 first               # slot; -1: nobody
    i32 count

cdef Holders holders(Engine e, i32 slot, i32 why) noexcept nogil
