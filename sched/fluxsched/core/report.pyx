# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
# cython: boundscheck=True, wraparound=True
"""What the engine tells Python hosts: who holds what, as R objects and as text, and why a job waits."""
from collections import namedtuple

from libc.stdlib cimport free

from fluxsched.core.alloc cimport Entry
from fluxsched.core.bits cimport count_bits, get_bit
from fluxsched.core.engine cimport Engine
from fluxsched.core.inventory cimport shared_text
from fluxsched.core.job cimport (
    WHY_BEHIND, WHY_DEPTH, WHY_DOWN, WHY_LACKING, WHY_NEVER, WHY_NEW, WHY_OTHER, WHY_OVERLAP, WHY_POLICY, WHY_RESERVED,
    WHY_RESOURCES, Job,
)
from fluxsched.core.memory cimport zeroed
from fluxsched.core.running cimport far_future
from fluxsched.core.shortage cimport UNIT_CORES, UNIT_NODES, UNIT_SLOTS, Shortage
from fluxsched.core.types cimport USEC, i32, i64, time_never, u64, usec_t
from fluxsched.core.why cimport Holders, holders, planned, why_waits

from fluxsched.core.nodeview import mask_of_runs, runs_of_mask
from fluxsched.formats import hostlist as _hostlist
from fluxsched.formats import idset as _idset
from fluxsched.formats import r as _r

# Names of the reasons, for hosts.
CODES = {
    WHY_NEW: "new", WHY_RESOURCES: "resources", WHY_BEHIND: "behind", WHY_RESERVED: "reserved", WHY_DOWN: "down",
    WHY_LACKING: "lacking", WHY_DEPTH: "depth", WHY_OVERLAP: "overlap", WHY_POLICY: "policy", WHY_OTHER: "other",
    WHY_NEVER: "never",
}
UNITS = {UNIT_NODES: "node", UNIT_SLOTS: "slot", UNIT_CORES: "core"}

# See Engine.why.
Why = namedtuple("Why", "code unit need able up free gains holder holders")
Gain = namedtuple("Gain", "id units end")
Holder = namedtuple("Holder", "id queue planned")
Place = namedtuple("Place", "id start end nodes runs")
NodesFor = namedtuple("NodesFor", "able count down downs")


def _bracket(ids):
    return ids if ids.isdigit() else f"[{ids}]"


cdef list held(Engine e, i32 slot):
    """What a job holds: rows (first node, last node, core ids, gpu ids),
    ascending; a row is one node, or a run of alike nodes held alike."""
    cdef Job *j = e.jobs.item + slot
    cdef Entry *entry
    cdef u64 *bits
    cdef i32 i, node, last
    cdef list out = []
    cdef dict texts = {}
    for i in range(j.alloc.nentries):
        entry = j.alloc.entry + i
        node = entry.node
        while node < entry.node + entry.count:
            last = min(e.inventory.run_last[node], entry.node + entry.count - 1)
            out.append((node, last, e.inventory.core_text[node], e.inventory.gpu_text[node]))
            node = last + 1
        if entry.count == 0:
            bits = j.alloc.bits + entry.bits
            # There is no rank in an R of which only pools are held.
            if count_bits(bits, e.state.cw + e.state.gw):
                append_node(e, out, node, shared_text(texts, bits, e.state.cw),
                            shared_text(texts, bits + e.state.cw, e.state.gw))
    out.sort()
    return out


cdef list each(list rows):
    """Rows as one (node, core ids, gpu ids) a node."""
    return [(node, cores, gpus) for first, last, cores, gpus in rows for node in range(first, last + 1)]


cdef int append_node(Engine e, list rows, i32 node, cores, gpus) except -1:
    """Add a node to rows as of held, to the last one if it is alike."""
    if rows:
        first, last, last_cores, last_gpus = rows[-1]
        if (last == node - 1 and e.inventory.run_last[<i32> first] >= node
                and (last_cores, last_gpus) == (cores, gpus)):
            rows[-1] = (first, node, cores, gpus)
            return 0
    rows.append((node, node, cores, gpus))
    return 0


cdef dict emit(Engine e, list rows, double starttime, double expiration, i64 nslots=0):
    """Rows of held as an R object."""
    ranks = e.inventory.ranks
    hosts = e.inventory.hosts
    properties = {}
    chosen = mask_of_runs([row[:2] for row in rows]) if e.eligible.properties else 0
    for name, mask in e.eligible.properties.items():
        # "+name" is a property that the scheduler's own instance gave.
        members = 0 if name.startswith("+") else mask & chosen
        if members:
            properties[name] = ranks_text(e, runs_of_mask(members))
    return _r.emit_runs([(ranks[first], ranks[last], hosts[first], hosts[last], cores, gpus)
                         for first, last, cores, gpus in rows], properties, starttime, expiration, nslots)


cdef str ranks_text(Engine e, runs):
    """Runs of nodes as an idset string of their ranks."""
    if e.inventory.dense:
        return _idset.encode_ranges(runs)
    return _idset.encode([e.inventory.ranks[node] for first, last in runs for node in range(first, last + 1)])


cdef str hosts_text(Engine e, list runs):
    """Runs of nodes, ascending, as a host list."""
    cdef i32 node, end
    cdef list hosts = e.inventory.hosts, out = []
    for first, last in runs:
        node = first
        while node <= last:
            end = min(e.inventory.run_last[node], <i32> last)
            out.append((hosts[node], hosts[end]))
            node = end + 1
    return _hostlist.encode_runs(out)


cdef dict R_of(Engine e, i32 slot, double starttime, double expiration):
    """The R object of a job that holds resources; times in seconds."""
    cdef i32 i
    cdef Job *j = e.jobs.item + slot
    R = emit(e, held(e, slot), starttime, expiration,
             <i64> j.nnodes * j.nslots if j.nnodes else j.nslots)
    if j.alloc.ntakes:
        # R has no words for memory or bandwidth; adopt reads them back.
        R["scheduling"] = {"pools": [[j.alloc.take[i].pool, j.alloc.take[i].amount]
                                     for i in range(j.alloc.ntakes)]}
    return R


cdef str summary(Engine e, i32 slot):
    """What a job holds in short: "rank[0-1]/core[0-3]"."""
    folded = {}
    for first, last, cores, gpus in held(e, slot):
        folded.setdefault((cores, gpus), []).append((first, last))
    parts = []
    for (cores, gpus), runs in folded.items():
        children = ",".join(name + _bracket(ids) for name, ids in (("core", cores), ("gpu", gpus)) if ids)
        if cores and gpus:
            children = "{" + children + "}"
        ranks = ranks_text(e, runs_of_mask(mask_of_runs(runs)))
        parts.append(f"rank{_bracket(ranks)}/{children}")
    return " ".join(parts)


cdef tree_part(Engine e, i32 slot):
    """The part of the resource tree that a job holds: rows of (name,
    type, amount, depth) in preorder."""
    cdef i32 i
    cdef Job *j = e.jobs.item + slot
    rows = each(held(e, slot))
    cores = {(row[0], unit) for row in rows for unit in (_idset.ids(row[1]) if row[1] else ())}
    gpus = {(row[0], unit) for row in rows for unit in (_idset.ids(row[2]) if row[2] else ())}
    takes = {j.alloc.take[i].pool: j.alloc.take[i].amount for i in range(j.alloc.ntakes)}
    return e.inventory.need_tree().part(cores, gpus, takes)


cdef dict resource_status(Engine e):
    """R objects of all resources, of those that jobs hold, and of those
    that are down: {"all", "allocated", "down"}."""
    cdef i32 node, w, cw = e.state.cw, gw = e.state.gw
    cdef list taken = [], down = [], everything = []
    cdef dict texts = {}
    cdef u64 *bits = <u64 *> zeroed(cw + gw, sizeof(u64))
    try:
        for node in range(e.inventory.nnodes):
            if not get_bit(e.state.present, node):
                continue
            cores = e.inventory.core_text[node]
            gpus = e.inventory.gpu_text[node]
            append_node(e, everything, node, cores, gpus)
            if not get_bit(e.state.up, node):
                append_node(e, down, node, cores, gpus)
            for w in range(cw):
                bits[w] = e.inventory.core_all[node * cw + w] & ~e.state.core_free[node * cw + w]
            for w in range(gw):
                bits[cw + w] = e.inventory.gpu_all[node * gw + w] & ~e.state.gpu_free[node * gw + w]
            cores = shared_text(texts, bits, cw)
            gpus = shared_text(texts, bits + cw, gw)
            if cores or gpus:
                append_node(e, taken, node, cores, gpus)
    finally:
        free(bits)
    return {"all": emit(e, everything, 0, e.expiration), "allocated": emit(e, taken, 0, 0),
            "down": emit(e, down, 0, 0)}


cdef dict stats(Engine e):
    """Counters since the engine was made, and what there is now."""
    return {
        "passes": e.npasses + e.ncontinued,
        "continued": e.ncontinued,
        "considered": e.nconsidered,
        "started": e.nstarted_total,
        "backfilled": e.nbackfilled,
        "waiting": e.queue.count,
        "running": e.jobs.running.count,
        # Without a name is the one of jobs that ran before: nobody has told their queue.
        "queues": [name for name in e.domain_names if name or len(e.domain_names) == 1],
        "nodes": {"all": count_bits(e.state.present, e.state.nwords), "up": e.state.nup,
                  "idle": e.state.nidle},
        "cores": {"up": e.state.up_cores, "free": e.state.free_cores},
    }


cdef place_of(Engine e, i32 slot):
    """Where and how long a job runs, as a Place."""
    cdef const Job *j = e.jobs.item + slot
    cdef list runs = []
    for first, last, _, _ in held(e, slot):
        if runs and runs[-1][1] == first - 1:
            runs[-1][1] = last
        else:
            runs.append([first, last])
    return Place(j.id, j.start / <double> USEC, None if j.end == time_never() else j.end / <double> USEC,
                 hosts_text(e, runs), runs)


cdef why_of(Engine e, i32 slot):
    """Why a job waits, as a Why."""
    cdef Shortage shortage = Shortage(e)
    cdef i32 i, why
    cdef Holders found
    cdef usec_t t
    with nogil:
        why = why_waits(e, slot)
        found = holders(e, slot, why)
        shortage.find(slot)
    holder = None
    if found.first >= 0:
        t = planned(e, e.jobs.item + found.first)
        holder = Holder(e.jobs.item[found.first].id, e.domain_names[e.jobs.item[found.first].domain],
                        None if t < 0 else t / <double> USEC)
    gains = [Gain(e.jobs.item[shortage.gain[i].slot].id, shortage.gain[i].units,
                  None if shortage.gain[i].end >= far_future() else shortage.gain[i].end / <double> USEC)
             for i in range(shortage.ngains)]
    return Why(CODES[why], UNITS[shortage.unit], shortage.need, shortage.able, shortage.up, shortage.free, gains,
               holder, found.count)


cdef nodes_for(Engine e, i32 slot):
    """The nodes on which a waiting job could run, as a NodesFor."""
    cdef const Job *j = e.jobs.item + slot
    cdef Shortage shortage = Shortage(e)
    cdef i32 node
    cdef i64 count = 0, downs = 0
    cdef list able = [], down = []
    for node in range(e.inventory.nnodes):
        if not get_bit(e.eligible.bits[j.elig], node) or not get_bit(e.state.present, node):
            continue
        shortage.cores[node] = e.inventory.ncores[node]
        shortage.gpus[node] = e.inventory.ngpus[node]
        if shortage.counts(j, shortage.on_node(j, node)) == 0:
            continue
        count += 1
        append_run(able, node)
        if not get_bit(e.state.up, node):
            downs += 1
            append_run(down, node)
    return NodesFor(hosts_text(e, able), count, hosts_text(e, down), downs)


cdef int append_run(list runs, i32 node) except -1:
    """Add a node to runs (first, last), to the last one if it follows it."""
    if runs and runs[-1][1] == node - 1:
        runs[-1] = (runs[-1][0], node)
    else:
        runs.append((node, node))
    return 0


cdef tuple ahead(Engine e, i32 slot, i32 most):
    """How many jobs of its domain are ahead of a waiting one in the queue, and the ids of the first of them."""
    cdef i32 i, other, count = 0
    cdef const i32 *slots = e.queue.flat()
    cdef list named = []
    for i in range(e.queue.count):
        other = slots[i]
        if other == slot:
            break
        if e.jobs.item[other].domain == e.jobs.item[slot].domain:
            count += 1
            if count <= most:
                named.append(e.jobs.item[other].id)
    return count, named


cdef tuple holding(Engine e, i32 slot):
    """What a job holds as plain values: rows of held, whatever the hosts are called, and pairs of pool and amount."""
    cdef i32 i
    cdef const Job *j = e.jobs.item + slot
    cdef list rows = []
    for row in held(e, slot):
        if rows and rows[-1][1] == row[0] - 1 and rows[-1][2:] == row[2:]:
            rows[-1] = (rows[-1][0], *row[1:])
        else:
            rows.append(row)
    return rows, [(j.alloc.take[i].pool, j.alloc.take[i].amount) for i in range(j.alloc.ntakes)]


cdef dict marks(Engine e):
    """What has become of the resources since the inventory was made; see Engine.marks."""
    cdef i32 node
    cdef list up = [], gone = []
    for node in range(e.inventory.nnodes):
        if not get_bit(e.state.present, node):
            append_run(gone, node)
        elif get_bit(e.state.up, node):
            append_run(up, node)
    return {
        "up": ranks_text(e, up), "gone": ranks_text(e, gone), "denies": bool(e.removal), "expiration": e.expiration,
        "properties": {name: ranks_text(e, runs_of_mask(mask)) for name, mask in e.eligible.properties.items()},
    }
