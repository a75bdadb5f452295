# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Requests that found no room now, so that larger ones need not be looked at until something comes back."""
from fluxsched.core.shape cimport Shape
from fluxsched.core.types cimport i32, usec_t


cdef inline bint covers(const Failed *a, const Failed *b) noexcept nogil:
    """Whether b finds no room where a does not, as it is no smaller in any way."""
    return (a.need <= b.need and a.end <= b.end and a.shape.elig == b.shape.elig and a.shape.cores <= b.shape.cores
            and a.shape.gpus <= b.shape.gpus and a.shape.slots <= b.shape.slots
            and (a.shape.slots > 0) == (b.shape.slots > 0) and a.shape.whole <= b.shape.whole and a.pools <= b.pools)


cdef class Failures:

    cdef void forget(self) noexcept nogil:
        """Something has come back."""
        self.count = 0

    cdef bint rule_out(self, const Shape *shape, i32 need, usec_t end, bint pools) noexcept nogil:
        """Whether a request no larger in any way found no room from now to its end. pools: it wants all of the pools of
        its nodes, too."""
        cdef i32 i
        cdef Failed wanted = Failed(shape[0], need, end, pools)
        for i in range(self.count):
            if covers(self.item + i, &wanted):
                # What is of use is found sooner the next time.
                self.item[i], self.item[i >> 1] = self.item[i >> 1], self.item[i]
                return True
        return False

    cdef void add(self, const Shape *shape, i32 need, usec_t end, bint pools) noexcept nogil:
        """A request for need slots (or nodes) of a shape found no room from now to end. Larger ones that did not are
        forgotten for it."""
        cdef i32 i, n = 0
        cdef Failed failed = Failed(shape[0], need, end, pools)
        for i in range(self.count):
            if not covers(&failed, self.item + i):
                if n < i:
                    self.item[n] = self.item[i]
                n += 1
        n = min(n, FAILURES - 1)
        self.item[n] = failed
        self.count = n + 1
