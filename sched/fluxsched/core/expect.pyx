# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a policy may do to the plan beyond earliest and reserve: let it go by run times that are expected, in place of
those that were asked for, and take reservations back.

Job.duration and Job.end are what the plan goes by. Job.limit and Job.last, how long a job may run, stay what they are.
"""
from libc.stdlib cimport free

from fluxsched.core.engine cimport Engine
from fluxsched.core.job cimport JOB_RUNNING, Job
from fluxsched.core.memory cimport zeroed
from fluxsched.core.types cimport i32, usec_t


cdef int expect_end(Engine e, i32 slot, usec_t end) except -1 nogil:
    """A running job is expected to end at another time, not after its last. In sched_loop_setup, or between passes."""
    cdef Job *j = e.jobs.item + slot
    e.jobs.running.need_room()
    e.settled.holds = False
    e.future.moves(j, end)
    e.jobs.running.remove(j.end, slot)
    j.end = end
    return e.jobs.running.insert(end, slot)


cdef int expect_limits(Engine e) except -1 nogil:
    """All jobs are expected to run for as long as they may."""
    cdef i32 i
    cdef const i32 *slots
    cdef usec_t *duration
    if e.queue.count:
        slots = e.queue.flat()
        duration = <usec_t *> zeroed(e.queue.count, sizeof(usec_t))
        for i in range(e.queue.count):
            duration[i] = e.jobs.item[slots[i]].limit
        try:
            e.queue.expect(duration)
        finally:
            free(duration)
    for i in range(e.jobs.count):
        if e.jobs.item[i].state == JOB_RUNNING and e.jobs.item[i].end != e.jobs.item[i].last:
            expect_end(e, i, e.jobs.item[i].last)
    return 0
