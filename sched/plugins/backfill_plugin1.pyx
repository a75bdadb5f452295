# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""backfill.plugin1: backfill with reservations.

Every pass plans the queue in order, from scratch. The first reserve-depth
jobs of an ordering domain that cannot start now get their earliest start
reserved; a later job starts now if that delays no reservation. With a depth
of 1 (the default) this is EASY (Lifka 1995), with all jobs conservative
backfill (Mu'alem and Feitelson 2001, IEEE TPDS 12(6)), and between them a
hybrid of the two. A job without a duration ends never, so it does not start
where it could delay a reservation.

    flux module load sched plugin=backfill.plugin1 plugin-opts=reserve-depth=4

Options: reserve-depth=N (< 0: every waiting job; 0: no reservations);
queue-depth=N, the jobs of a domain that a pass considers (-1, the default:
all); order=NAME and what goes with it, another order of the queue: see
fluxsched.policy.orders; io-aware=false, bandwidth that jobs ask for is not
looked at (true, the default: it is a resource, from node to root).
"""
from fluxsched.core.engine cimport GO_ON, STOP, Engine, Policy
from fluxsched.core.job cimport WHY_RESERVED, WHY_RESOURCES
from fluxsched.policy.orders cimport Order
from fluxsched.core.types cimport i32

from fluxsched.policy.orders import OPTIONS as ORDER_OPTIONS
from fluxsched.policy.loader import bool_option, int_option, no_more_options


cdef class Plugin(Policy):
    cdef i32 reserve_depth
    cdef Order order

    def __init__(self, name, dict options not None):
        super().__init__(name, options)
        left = dict(options)
        self.reserve_depth = int_option(left, "reserve-depth", 1, -1)
        self.queue_depth = int_option(left, "queue-depth", -1, -1)
        self.io_aware = bool_option(left, "io-aware", True)
        self.order = Order(left)
        no_more_options(left, ["io-aware", "queue-depth", "reserve-depth", *ORDER_OPTIONS])

    cdef int sched_loop_setup(self, Engine e) except -1 nogil:
        return self.order.apply(e)

    cdef int find_resources(self, Engine e, i32 job) except -1 nogil:
        return e.fits_now(job)

    cdef int select_resources(self, Engine e, i32 job) except -1 nogil:
        return e.select(job)

    cdef int allocate_resources(self, Engine e, i32 job) except -1 nogil:
        self.order.charge(e, job)
        return e.start(job)

    cdef int reserve_resources(self, Engine e, i32 job) except -1 nogil:
        cdef i32 reserved = e.domain[e.jobs.item[job].domain].reserved
        e.explain(job, WHY_RESERVED if reserved else WHY_RESOURCES)
        if self.reserve_depth < 0 or reserved < self.reserve_depth:
            e.reserve(job)
        elif e.nothing_free():
            return STOP
        return GO_ON
