# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A job as the engine sees it."""
from fluxsched.core.alloc cimport Alloc
from fluxsched.core.types cimport i32, i64, usec_t

cdef enum:
    JOB_FREE = 0            # the slot is not in use
    JOB_WAITING = 1
    JOB_RUNNING = 2         # holds resources

# Why a job waits. The text is made when somebody asks.
cdef enum:
    WHY_NEW = 0             # no pass has considered it
    WHY_RESOURCES = 1       # too few resources are free
    WHY_BEHIND = 2          # a job ahead of it in its domain is blocked
    WHY_RESERVED = 3        # starting now would delay a reservation
    WHY_DOWN = 4            # parked: needs nodes that are down or drained
    WHY_LACKING = 7         # parked: no node has the properties any more
    WHY_DEPTH = 5           # beyond the pass's queue depth
    WHY_OVERLAP = 6         # could take nodes from a blocked head of another queue
    WHY_POLICY = 9          # it could start, and the plugin does not start it
    WHY_OTHER = 8           # starting now would delay a reservation of another queue
    WHY_NEVER = 10          # none of the nodes that are left could serve it

cdef struct Job:
    i64 id
    i64 priority            # higher first
    double score            # of its policy, lower first; among equal priorities
    i64 sequence            # place in submit order, lower first
    usec_t submitted        # when it was submitted, by the clock of then
    usec_t duration         # what the plan goes by; time_never() if it has none
    usec_t limit            # how long it may run: the same, unless the policy expects it to run shorter
    usec_t start            # running: when it started
    usec_t end              # running: when it is expected to end
    usec_t last             # running: when it ends at the latest
    usec_t estimate         # waiting: planned start; -1 none
    i64 units               # running: nodes or cores it will give back
    i64 least_cores         # cores it takes at the least
    i32 state
    i32 why
    i32 nnodes              # 0: slots may lie on any nodes; the least, where it accepts several
    i32 nslots              # a node, or in all if nnodes is 0; the least
    i32 cores               # a slot
    i32 gpus                # a slot
    i32 exclusive
    i32 whole               # takes whole nodes: exclusive, or all of any node
    i32 node_units          # how many nodes it takes, if it is planned for by counting whole nodes; else 0
    i32 core_units          # how many cores it takes, if it is planned for by counting cores; else 0
    i32 elig                # index of its set of eligible nodes; 0: all
    i32 domain              # index of its ordering domain
    i32 tree                # index of its general request; -1: none
    i32 sizes               # place of the sizes that it accepts; 0: it accepts one
    i32 user                # number of its user, for fair share; 0: unknown
    i32 backfilled          # running: a job ahead of it stayed blocked when it started
    i32 was_reserved        # a start was reserved for it in some pass
    i32 parked              # 0, or WHY_DOWN or WHY_LACKING
    i32 parked_at           # resource generation in which parked was found
    i32 asked_in            # number of the pass that last asked the plugin about it
    i32 added_in            # number of the last pass that had begun when it came
    i32 place               # of its reservation, if there is one: see Settled.place_of
    Alloc alloc
