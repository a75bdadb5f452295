# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Names for a job that takes whole nodes, where numbers have said that there are enough."""
from fluxsched.core.alloc cimport Alloc, alloc_reset, alloc_whole
from fluxsched.core.bits cimport lowest, range_mask
from fluxsched.core.job cimport Job
from fluxsched.core.kinds cimport Group, Kinds
from fluxsched.core.state cimport State
from fluxsched.core.types cimport i32, i64, u64


cdef int take_nodes(State state, Kinds kinds, const Job *j, const i64 *part, Alloc *picked) except -1 nogil:
    """1 and the idle nodes in picked of a job that takes whole nodes: part[k] of each kind k (NULL: the first that
    there are), a run at a time. 0 if there are not so many."""
    cdef i32 k, m, w, low, run, limit, need = j.node_units
    cdef u64 word, rest
    cdef Group *g
    alloc_reset(picked)
    for m in range(kinds.set_first[j.elig], kinds.set_first[j.elig + 1]):
        k = kinds.member[m]
        g = kinds.group + k
        limit = need if part is NULL else <i32> part[k]
        for w in range(g.first, g.last):
            word = state.idle[w] & g.nodes[w - g.first]
            while word and limit:
                low = lowest(word)
                rest = ~(word >> low)
                run = lowest(rest) if rest else 64
                run = run if run < limit else limit
                word &= ~range_mask(w, w * 64 + low, w * 64 + low + run)
                if j.exclusive and state.npools:
                    run = take_pools(state, w * 64 + low, run, picked)
                alloc_whole(picked, w * 64 + low, run)
                limit -= run
                need -= run
            if limit == 0:
                break
        if need == 0:
            break
    return need == 0


cdef i32 take_pools(State state, i32 node, i32 run, Alloc *picked) except -1 nogil:
    """Add to picked the pools of a run of nodes, as far as each has all of its own; how many do."""
    cdef i32 i
    for i in range(run):
        # A job that holds memory of a node may have its cores elsewhere.
        if not state.inv.tree.pools_whole(node + i, state.pool_free):
            return i
        state.inv.tree.whole_pools(node + i, picked)
    return run
