# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""sched.plugin1: first come, first served within a priority.

Jobs start in order. The first of an ordering domain that cannot start now
holds back all behind it. No reservation is made, so none has an estimate.

    flux module load sched plugin=sched.plugin1 plugin-opts=queue-depth=100

Options: queue-depth=N, the jobs of a domain that a pass considers (0: none;
default: all); order=NAME and what goes with it, another order of the queue:
see fluxsched.policy.orders; io-aware=false, bandwidth that jobs ask for is not
looked at (true, the default: it is a resource, from node to root).
"""
from fluxsched.core.engine cimport HOLD, Engine, Policy
from fluxsched.core.job cimport WHY_RESOURCES
from fluxsched.policy.orders cimport Order
from fluxsched.core.types cimport i32

from fluxsched.policy.orders import OPTIONS as ORDER_OPTIONS
from fluxsched.policy.loader import bool_option, int_option, no_more_options


cdef class Plugin(Policy):
    cdef Order order

    def __init__(self, name, dict options not None):
        super().__init__(name, options)
        left = dict(options)
        self.queue_depth = int_option(left, "queue-depth", -1, -1)
        self.io_aware = bool_option(left, "io-aware", True)
        self.order = Order(left)
        no_more_options(left, ["io-aware", "queue-depth", *ORDER_OPTIONS])

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
        e.explain(job, WHY_RESOURCES)
        return HOLD
