# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Damage to the structures of the engine, one at a time, so that a test can see that the sanity checks notice it.

The state must be one in which a structure holds something: see t/test_engine_sanity.py. What is damaged is of no use
any more but to be checked and dropped.
"""
from fluxsched.core.alloc cimport Alloc, alloc_clear, alloc_whole
from fluxsched.core.api cimport Engine as PythonEngine
from fluxsched.core.comparison cimport Comparison
from fluxsched.core.engine cimport Engine
from fluxsched.core.failures cimport FAILURES
from fluxsched.core.fits cimport Fits, Soon
from fluxsched.core.history cimport KEPT, History
from fluxsched.core.lacks cimport LAST_TICK
from fluxsched.core.memory cimport memset
from fluxsched.core.shape cimport Shape
from fluxsched.core.sharedplan cimport SharedPlan
from fluxsched.core.types cimport i32, time_never, usec_t


def damage(PythonEngine engine not None, str what not None):
    """Damage a structure of an engine. ValueError for what there is no damage of."""
    cdef Engine e = engine.core
    cdef SharedPlan plan = e.future.nodes
    cdef Shape one = Shape(0, 1, 0, 0, 0)
    cdef usec_t now = plan.now
    if what == "state":
        e.state.free_cores += 1
    elif what == "eligible":
        e.eligible.users[1] += 1
    elif what == "jobs":
        e.jobs.item[0].state = 99
    elif what == "running":
        e.jobs.running.item[0].end += 10 ** 12
    elif what == "queue":
        e.queue.chunk[0].need[0] += 1
    elif what == "mix":
        e.eligible.whole[0] += 1
    elif what == "domain":
        e.domain[0].waiting += 1
    elif what == "settled":
        e.settled.nplanned += 1
    elif what == "kinds":
        e.future.kinds.kind_of[0] += 1
    elif what == "free cores of a node":
        e.state.core_free[0] ^= 1
    elif what == "future of a node":
        plan.of[0] = plan.of[1]
    elif what == "column":
        plan.timeline.chunk[0].value[0][0] += 1
    elif what == "profile":
        e.future.count.profile[0].free[0] += 1
    elif what == "shadow":
        e.future.count.extra += 1
    elif what == "lacks":
        plan.fits.need(0)
        plan.fits.lacks[0].first[e.inventory.nnodes - 1] = 0
        plan.fits.lacks[0].last[e.inventory.nnodes - 1] = LAST_TICK
    elif what == "soon: nothing":
        damage_soon(plan, now, 10 ** 6)
    elif what == "soon: too little":
        damage_soon(plan, time_never(), 1)
    elif what == "failures":
        plan.failures.add(&one, 1, now + 1, False)
    elif what == "failures: count":
        plan.failures.count = FAILURES + 1
    elif what == "gains: told":
        plan.gains.told = plan.gains.count + 1
    elif what == "gains: seen":
        plan.reservation[0].seen = plan.gains.told + 1
    elif what == "gains: time":
        e.future.count.gains.add(now + 1, now, 1, 0, NULL)
    elif what == "gains: units":
        plan.gains.add(now, now + 1, 1, 0, NULL)
    elif what == "gains: nodes":
        damage_gain(plan, e.inventory.nnodes, 1, 0)
    elif what == "gains: bits":
        damage_gain(plan, 0, 0, 10 ** 6)
    else:
        raise ValueError(f"{what}: there is no such damage")


cdef int damage_soon(SharedPlan plan, usec_t until, i32 fit) except -1:
    """Say of the last node that so much fits until then, in windows that begin now."""
    cdef Fits fits = plan.fits
    cdef i32 node = plan.inv.nnodes - 1
    cdef Shape *shape = &plan.bounds.column[0].shape
    cdef Alloc none
    memset(&none, 0, sizeof(Alloc))
    fits.fits_early(shape, 0, 10 ** 6, plan.now, plan.now + 1, &none, time_never(), False)
    fits.soon[0][node] = Soon(until, time_never(), fit, plan.of[node], fits.epoch)
    return 0


cdef int damage_gain(SharedPlan plan, i32 node, i32 count, i32 bits) except -1:
    """Say that so many whole nodes have come back, or (0) bits of one."""
    cdef Alloc a
    memset(&a, 0, sizeof(Alloc))
    try:
        alloc_whole(&a, node, 1)
        a.entry[0].count = count
        a.entry[0].bits = bits
        plan.gains.add(plan.now, plan.now + 1, 0, 0, &a)
    finally:
        alloc_clear(&a)
    return 0


def damage_history(History history not None, str what not None):
    """The same for a history of which something is kept."""
    if what == "row":
        history.rows["nobody"] = 10 ** 6
    elif what == "ring":
        history.past[0].next = KEPT
    elif what == "part":
        history.past[0].part[0] = 2.0
    elif what == "time":
        history.everyone.asked[0] = float("nan")
    elif what == "all":
        history.everyone.count = history.everyone.next = 1
    else:
        raise ValueError(f"{what}: there is no such damage")


def damage_comparison(Comparison comparison not None, str what not None):
    """The same for a comparison of two jobs and one run or more."""
    if what == "job":
        comparison.id[1] = comparison.id[0]
    elif what == "slot":
        comparison.slot[1] = comparison.slot[0]
    elif what == "runs":
        comparison.nruns = comparison.room + 1
    elif what == "start":
        comparison.start[0] = -1
    elif what == "end":
        comparison.last[0] = -1
    else:
        raise ValueError(f"{what}: there is no such damage")
