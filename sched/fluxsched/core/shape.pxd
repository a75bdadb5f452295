# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a job asks of one node, so that all that ask the same share what is found out."""
cimport cython

from fluxsched.core.job cimport Job
from fluxsched.core.types cimport i32

cdef struct Shape:
    i32 elig                # set that it is confined to
    i32 cores               # of a slot
    i32 gpus
    i32 slots               # > 0: nodes are counted that hold so many; 0: slots are counted
    i32 whole               # a node serves only if all of it is free


cdef inline Shape shape_of(const Job *j) noexcept nogil:
    return Shape(j.elig, j.cores, j.gpus, j.nslots if j.nnodes else 0, j.whole)


cdef inline bint same_shape(const Shape *a, const Shape *b) noexcept nogil:
    return (a.elig == b.elig and a.cores == b.cores and a.gpus == b.gpus and a.slots == b.slots
            and a.whole == b.whole)


@cython.cdivision(True)
cdef inline i32 fits_counts(const Shape *shape, i32 all_cores, i32 all_gpus, i32 ncores, i32 ngpus) noexcept nogil:
    """Slots (or nodes: 0 or 1) of a shape on a node that has so many cores and gpus, of which so many are free."""
    cdef i32 slots
    if shape.whole and (ncores < all_cores or ngpus < all_gpus):
        return 0
    if shape.cores == 0:
        slots = ngpus / shape.gpus
    else:
        slots = ncores / shape.cores
        if shape.gpus and ngpus / shape.gpus < slots:
            slots = ngpus / shape.gpus
    return slots >= shape.slots if shape.slots else slots
