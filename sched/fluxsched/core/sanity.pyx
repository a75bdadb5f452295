# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
# cython: boundscheck=True, wraparound=True
"""Whether all that the engine's structures say of themselves, and of each other, is true. For tests."""
from fluxsched.core.alloc cimport Entry
from fluxsched.core.check cimport must
from fluxsched.core.engine cimport Engine
from fluxsched.core.job cimport JOB_FREE, JOB_WAITING, Job
from fluxsched.core.types cimport i32


cdef int sanity_check(Engine e) except -1:
    """AssertionError unless each part is sane, and they agree with each other. Not in a pass."""
    cdef i32 i, d
    e.inventory.sanity_check()
    e.state.sanity_check()
    e.eligible.sanity_check()
    e.jobs.sanity_check()
    e.queue.sanity_check()
    users = {}
    waiting = [0] * e.ndomains
    for i in range(e.jobs.count):
        if e.jobs.item[i].state != JOB_FREE and e.jobs.item[i].elig:
            users[e.jobs.item[i].elig] = users.get(e.jobs.item[i].elig, 0) + 1
        if e.jobs.item[i].state == JOB_WAITING:
            waiting[e.jobs.item[i].domain] += 1
    must(users == {i: e.eligible.users[i] for i in range(1, e.eligible.nsets) if e.eligible.users[i]},
         "engine: the users of an eligible set")
    must(waiting == [e.domain[d].waiting for d in range(e.ndomains)], "engine: waiting jobs of a domain")
    must(sorted(e.domain_index.values()) == list(range(e.ndomains)) and len(e.domain_names) == e.ndomains,
         "engine: domains")
    must(e.future.nwaiting == e.queue.count, "future: waiting jobs")
    return _holdings(e)


cdef int _holdings(Engine e) except -1:
    """AssertionError unless what jobs hold and what is free are together all there is."""
    cdef i32 i, k, w, node, cw = e.state.cw, gw = e.state.gw
    cdef const Job *j
    cdef const Entry *entry
    if e.once:
        return 0
    held = {}
    pools = {}
    for i in range(e.jobs.running.count):
        j = e.jobs.item + e.jobs.running.item[i].job
        for k in range(j.alloc.nentries):
            entry = j.alloc.entry + k
            for node in range(entry.node, entry.node + (entry.count if entry.count else 1)):
                for w in range(cw + gw):
                    word = (j.alloc.bits[entry.bits + w] if entry.count == 0 else e.inventory.core_all[node * cw + w]
                            if w < cw else e.inventory.gpu_all[node * gw + w - cw])
                    must(not held.get((node, w), 0) & word, "engine: two jobs hold the same")
                    held[node, w] = held.get((node, w), 0) | word
        for k in range(j.alloc.ntakes):
            pools[j.alloc.take[k].pool] = pools.get(j.alloc.take[k].pool, 0) + j.alloc.take[k].amount
    for node in range(e.inventory.nnodes):
        for w in range(cw):
            must(held.get((node, w), 0) == e.inventory.core_all[node * cw + w]
                 & ~e.state.core_free[node * cw + w], "engine: a core is lost, or held and free")
        for w in range(gw):
            must(held.get((node, cw + w), 0) == e.inventory.gpu_all[node * gw + w]
                 & ~e.state.gpu_free[node * gw + w], "engine: a gpu is lost, or held and free")
    for i in range(e.state.npools):
        must(pools.get(i, 0) == e.inventory.tree.pool_size[i] - e.state.pool_free[i], "engine: a pool")
    return 0
