# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""sched.plugin1: first come, first served within a priority.

Jobs start in order. The first of an ordering domain that cannot start now
holds back all behind it. No reservation is made, so none has an estimate.

    flux module load sched plugin=sched.plugin1 plugin-opts=queue-depth=100

Options: those of fluxsched.policy.base.ListPolicy.
"""
from fluxsched.core.engine cimport HOLD, Engine
from fluxsched.core.job cimport WHY_RESOURCES
from fluxsched.core.types cimport i32
from fluxsched.policy.base cimport ListPolicy


cdef class Plugin(ListPolicy):

    cdef int reserve_resources(self, Engine e, i32 job) except -1 nogil:
        e.explain(job, WHY_RESOURCES)
        return HOLD
