# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
cimport cython

from fluxsched.core.types cimport i32

# What a job may accept several numbers of.
cdef enum:
    NODES = 0
    SLOTS = 1               # on each node, or in all if it names no nodes

# The numbers first, first + step, … last.
cdef struct Run:
    i32 first
    i32 last
    i32 step

# The sizes that a job accepts: any of its numbers of nodes with any of its numbers of slots.
cdef struct Sizes:
    Run *run                # [nruns[NODES] + nruns[SLOTS]] ascending; NULL: the place is free
    i32 nruns[2]
    i32 count[2]            # numbers in all runs of each

# One of them, by the place of its numbers; 0, 0 is the least.
cdef struct Size:
    i32 at[2]


@cython.final
cdef class SizeTable:
    """The sizes of those jobs that accept more than one."""
    cdef:
        Sizes *item             # [nitems]; nobody has number 0
        i32 nitems
        i32 room

    cdef i32 keep(self, list nodes, list slots) except -1
    cdef void drop(self, i32 place) noexcept nogil
    cdef i32 number(self, i32 place, i32 what, i32 at) noexcept nogil
