# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
# cython: boundscheck=True, wraparound=True
"""What Python hosts say of resources that jobs hold: an R to take over, ranks to give back."""
from libc.stdlib cimport free

from fluxsched.core.alloc cimport Alloc, Entry, alloc_clear, alloc_part, alloc_take, alloc_whole
from fluxsched.core.bits cimport get_bit, same_bits, set_bit
from fluxsched.core.engine cimport Engine
from fluxsched.core.job cimport Job
from fluxsched.core.memory cimport memset, zeroed
from fluxsched.core.tree cimport Tree
from fluxsched.core.types cimport i32, u64

from fluxsched.formats import idset as _idset


cdef list nodes_of(Engine e, ranks):
    """Node indices of ranks (idset string or ints) that there are."""
    ids = (_idset.ids(ranks) if ranks else ()) if isinstance(ranks, str) else ranks
    index = e.inventory.rank_index
    return [index[rank] for rank in ids if rank in index]


cdef int read_R(Engine e, jobid, R, held, freed_ranks, Alloc *out) except -1:
    """What a job holds by its R (held: the same, as formats.r.parse gives it), but for the freed ranks (an idset
    string), in out. Raises ValueError where it does not agree with what is there and free; out is empty then."""
    cdef i32 node, cw = e.state.cw, gw = e.state.gw
    cdef u64 *bits = <u64 *> zeroed(cw + gw, sizeof(u64))
    freed = set(_idset.ids(freed_ranks)) if freed_ranks else ()
    try:
        for rank, cores, gpus in sorted(zip(held.ranks, held.cores, held.gpus)):
            if rank in freed:
                continue
            if rank not in e.inventory.rank_index:
                raise ValueError(f"job {jobid}: R names rank {rank}, which there is not")
            node = e.inventory.rank_index[rank]
            memset(bits, 0, (cw + gw) * sizeof(u64))
            for first, width, text, kind in ((0, cw, cores, "core"), (cw, gw, gpus, "gpu")):
                for unit in _idset.ids(text) if text else ():
                    if unit >= width * 64 or not get_bit(
                            e.inventory.gpu_all + node * gw if first else e.inventory.core_all + node * cw, unit):
                        raise ValueError(f"job {jobid}: R names {kind} {unit} of rank {rank}, which there is not")
                    set_bit(bits + <i32> first, unit)
            if (same_bits(bits, e.inventory.core_all + node * cw, cw)
                    and same_bits(bits + cw, e.inventory.gpu_all + node * gw, gw)):
                alloc_whole(out, node, 1)
            else:
                alloc_part(out, node, bits, cw, bits + cw, gw)
        for pool, amount in _pools(e, R):
            alloc_take(out, pool, amount)
        if not e.state.is_free(out):
            raise ValueError(f"job {jobid}: another job holds some of its resources")
    except BaseException:
        alloc_clear(out)
        raise
    finally:
        free(bits)
    return 0


cdef list _pools(Engine e, R):
    """Pools in an R of this scheduler, as far as they are of this tree."""
    scheduling = R.get("scheduling")
    pools = scheduling.get("pools") if isinstance(scheduling, dict) else None
    out = []
    for row in pools if isinstance(pools, list) and e.state.npools else ():
        if (isinstance(row, list) and len(row) == 2 and all([type(item) is int for item in row])
                and 0 <= row[0] < e.state.npools
                and 0 < row[1] <= e.inventory.tree.pool_size[<i32> row[0]]):
            out.append(row)
    return out


cdef int free_part(Engine e, i32 slot, ranks) except -1:
    """A job gives back its resources on ranks (idset string). Raises ValueError for ranks that it does not hold."""
    cdef Job *j = e.jobs.item + slot
    cdef Alloc kept, gone
    memset(&kept, 0, sizeof(Alloc))
    memset(&gone, 0, sizeof(Alloc))
    try:
        _split(e, j, ranks, &kept, &gone)
        e.settled.holds = False
        e.future.gives(j, &gone if e.once else NULL)
    except BaseException:
        alloc_clear(&kept)
        alloc_clear(&gone)
        raise
    if not e.once:
        e.state.give(&gone)
        e.returned = True
    alloc_clear(&gone)
    alloc_clear(&j.alloc)
    j.alloc = kept
    try:
        e.future.holds(j)
    except MemoryError:
        pass                    # the plan is made anew by the next pass, and all else is done
    return 0


cdef int _split(Engine e, Job *j, ranks, Alloc *kept, Alloc *gone) except -1:
    """What a job holds on ranks, and elsewhere."""
    cdef Alloc *side
    cdef Entry *entry
    cdef i32 i, node, found = 0
    cdef Tree tree = e.inventory.tree
    cdef u64 *wanted = <u64 *> zeroed(e.state.nwords, sizeof(u64))
    try:
        for node in nodes_of(e, ranks):
            set_bit(wanted, node)
        for i in range(j.alloc.nentries):
            entry = j.alloc.entry + i
            for node in range(entry.node, entry.node + (entry.count if entry.count else 1)):
                side = gone if get_bit(wanted, node) else kept
                found += get_bit(wanted, node)
                if entry.count:
                    alloc_whole(side, node, 1)
                else:
                    alloc_part(side, node, j.alloc.bits + entry.bits, e.state.cw,
                               j.alloc.bits + entry.bits + e.state.cw, e.state.gw)
        # Ranks that do not exist are not held either.
        if found != len(_idset.ids(ranks)) or found == 0:
            raise ValueError(f"job {j.id} does not hold all of ranks {ranks}")
        for i in range(j.alloc.ntakes):
            node = tree.node[tree.pool_vertex[j.alloc.take[i].pool]]
            side = gone if node >= 0 and get_bit(wanted, node) else kept
            alloc_take(side, j.alloc.take[i].pool, j.alloc.take[i].amount)
    finally:
        free(wanted)
    return 0
