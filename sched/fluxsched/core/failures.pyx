# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Requests that found no room now, so that larger ones need not be looked at until something comes back."""
from fluxsched.core.shape cimport Shape
from fluxsched.core.types cimport i32, usec_t


cdef class Failures:

    cdef void forget(self) noexcept nogil:
        """Something has come back."""
        self.count = 0

    cdef bint rule_out(self, const Shape *shape, i32 need, usec_t end, bint pools) noexcept nogil:
        """Whether a request no larger in any way found no room from now to its end. pools: it wants all of the pools of
        its nodes, too."""
        cdef i32 i
        cdef const Failed *f
        for i in range(self.count):
            f = self.item + i
            if (f.shape.elig == shape.elig and (f.shape.slots > 0) == (shape.slots > 0)
                    and f.shape.slots <= shape.slots and f.shape.cores <= shape.cores and f.shape.gpus <= shape.gpus
                    and f.shape.whole <= shape.whole and f.need <= need and f.end <= end and f.pools <= pools):
                return True
        return False

    cdef void add(self, const Shape *shape, i32 need, usec_t end, bint pools) noexcept nogil:
        """A request for need slots (or nodes) of a shape found no room from now to end."""
        cdef i32 i = min(self.count, FAILURES - 1)
        self.item[i] = Failed(shape[0], need, end, pools)
        self.count = i + 1
