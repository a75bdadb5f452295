# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""backfill.plugin1: backfill with reservations.

The queue is planned in order. The first reserve-depth jobs of an ordering
domain that cannot start now get their earliest start reserved; a later job
starts now if that delays no reservation. With a depth of 1 (the default) this
is EASY (Lifka 1995), with all jobs conservative backfill (Mu'alem and
Feitelson 2001, IEEE TPDS 12(6)), and between them a hybrid of the two. A job
without a duration ends never, so it does not start where it could delay a
reservation.

    flux module load sched plugin=backfill.plugin1 plugin-opts=reserve-depth=4

Options: reserve-depth=N (< 0: every waiting job; 0: no reservations), and
those of fluxsched.policy.base.ListPolicy.
"""
from fluxsched.core.engine cimport GO_ON, STOP, Engine
from fluxsched.core.job cimport WHY_RESERVED, WHY_RESOURCES
from fluxsched.core.types cimport i32
from fluxsched.policy.base cimport ListPolicy

from fluxsched.policy.options import int_option


cdef class Plugin(ListPolicy):
    cdef i32 reserve_depth

    def __init__(self, name, dict options not None):
        super().__init__(name, options, ["reserve-depth"])
        self.reserve_depth = int_option(dict(options), "reserve-depth", 1, -1)
        self.quiet_after = self.reserve_depth

    cdef int reserve_resources(self, Engine e, i32 job) except -1 nogil:
        cdef i32 reserved = e.reserved(job)
        e.explain(job, WHY_RESERVED if reserved else WHY_RESOURCES)
        if self.reserve_depth < 0 or reserved < self.reserve_depth:
            e.reserve(job)
        elif e.nothing_free():
            return STOP
        return GO_ON
