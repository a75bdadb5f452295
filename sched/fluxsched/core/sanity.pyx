# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
# cython: boundscheck=True, wraparound=True, linetrace=False
"""Whether all that the engine's structures say of themselves, and of each other, is true. For tests."""
from fluxsched.core.alloc cimport Alloc, Entry
from fluxsched.core.bits cimport count_bits, get_bit
from fluxsched.core.check cimport must
from fluxsched.core.countplan cimport COUNT_CORES, NAMED, CountPlan, Reserved
from fluxsched.core.engine cimport Engine
from fluxsched.core.failures cimport FAILURES, Failed
from fluxsched.core.fits cimport Soon
from fluxsched.core.gains cimport GAINS, Gain, Gains
from fluxsched.core.job cimport JOB_FREE, JOB_WAITING, Job
from fluxsched.core.kinds cimport Group, Kinds
from fluxsched.core.lacks cimport Lacks, time_of
from fluxsched.core.nodefuture cimport Future, free_of, point_of, times_of, words_of
from fluxsched.core.profile cimport Profile
from fluxsched.core.running cimport release_time
from fluxsched.core.shape cimport Shape, fits_counts
from fluxsched.core.sharedplan cimport SharedPlan
from fluxsched.core.timeline cimport Chunk
from fluxsched.core.types cimport i32, i64, time_never, usec_t


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
    mix = [[0, 0, 0] for _set in range(e.eligible.nsets)]
    for i in range(e.jobs.count):
        if e.jobs.item[i].state != JOB_FREE and e.jobs.item[i].elig:
            users[e.jobs.item[i].elig] = users.get(e.jobs.item[i].elig, 0) + 1
        if e.jobs.item[i].state == JOB_WAITING:
            waiting[e.jobs.item[i].domain] += 1
            row = mix[e.jobs.item[i].elig]
            row[0] += 1
            row[1] += e.jobs.item[i].node_units > 0
            row[2] += e.jobs.item[i].core_units > 0
    must(users == {i: e.eligible.users[i] for i in range(1, e.eligible.nsets) if e.eligible.users[i]},
         "engine: the users of an eligible set")
    must(waiting == [e.domain[d].waiting for d in range(e.ndomains)], "engine: waiting jobs of a domain")
    must(sorted(e.domain_index.values()) == list(range(e.ndomains)) and len(e.domain_names) == e.ndomains,
         "engine: domains")
    must(mix == [[e.eligible.waiting[i], e.eligible.whole[i], e.eligible.cores[i]] for i in range(e.eligible.nsets)],
         "eligible: waiting jobs")
    _sizes(e)
    _gains(e)
    if e.inventory.nnodes <= 64:
        _kinds(e)
    _settled(e)
    if e.settled.holds and e.future.same() and e.future.counting() and e.inventory.nnodes <= 64:
        _counts(e)
    # The columns stand for the kinds of nodes of the last pass.
    if e.settled.holds and e.future.same() and e.future.nnamed and e.inventory.nnodes <= 8:
        _futures(e)
        _both_columns(e)
        _lacks(e)
        _soon(e)
        _failures(e)
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


cdef int _settled(Engine e) except -1:
    """AssertionError unless what the last pass has planned is the plan, in the order of the queue."""
    cdef i32 i, slot, last = -1, gone = 0
    cdef const Job *j
    if not e.settled.holds:
        return 0
    must(not e.future.counting() or e.settled.nplanned == e.future.count.nmade, "settled: planned starts, counted")
    must(not e.future.nnamed or e.settled.nplanned == e.future.nodes.nreserved, "settled: planned starts, named")
    for i in range(e.settled.nplanned):
        slot = e.settled.planned[i].slot
        gone += slot < 0
        if slot < 0:
            continue
        j = e.jobs.item + slot
        must(j.state == JOB_WAITING, "settled: a job with a planned start does not wait")
        must(e.settled.place_of(slot) == i, "settled: the place of a job's reservation")
        must(e.settled.first <= e.settled.planned[i].start, "settled: the first planned start")
        if e.settled.keeps or not e.settled.ordered:
            continue
        must(last < 0 or e.queue.precedes(last, slot), "settled: not in the order of the queue")
        must(e.settled.tail < 0 or e.queue.precedes(slot, e.settled.tail), "settled: planned behind the tail")
        last = slot
    must(gone == e.settled.ngone, "settled: jobs that have started")
    must(e.settled.tail < 0 or e.jobs.item[e.settled.tail].state == JOB_WAITING, "settled: the tail does not wait")
    return 0


cdef int _sizes(Engine e) except -1:
    """AssertionError unless a job that accepts several sizes has all of them, from the least to the greatest."""
    cdef i32 i, what, at, place
    kept = 0
    for i in range(1, e.jobs.sizes.nitems):
        kept += e.jobs.sizes.item[i].run is not NULL
    for i in range(e.jobs.count):
        place = e.jobs.item[i].sizes
        if e.jobs.item[i].state == JOB_FREE or place == 0:
            continue
        kept -= 1
        for what in range(2):
            numbers = [e.jobs.sizes.number(place, what, at) for at in range(e.jobs.sizes.item[place].count[what])]
            must(numbers == sorted(set(numbers)), "sizes: not ascending")
    must(kept == 0, "sizes: kept for nobody")
    return 0


cdef int _kinds(Engine e) except -1:
    """AssertionError unless nodes that are up are of one kind exactly if they are alike and in the same sets in use."""
    cdef Kinds kinds = e.future.kinds
    cdef i32 node, set_, i, c
    if kinds.generation != e.eligible.generation or kinds.version != e.eligible.version:
        return 0
    used = [set_ for set_ in range(kinds.nsets) if e.eligible.waiting[set_]]
    known = {}
    members = {}
    for node in range(e.inventory.nnodes):
        i = kinds.kind_of[node]
        must(-1 <= i < kinds.nkinds, "kinds: a node is of one that is not there")
        inside = [set_ for set_ in used if get_bit(e.eligible.bits[set_], node)]
        counts = get_bit(e.state.up, node) and (kinds.plain or inside != [])
        must((i >= 0) == counts, "kinds: a node is of a kind though none can ask for it, or of none")
        if i < 0:
            continue
        must(known.setdefault(i, (kinds.class_of[node], inside)) == (kinds.class_of[node], inside),
             "kinds: two nodes of a kind are not alike")
        must(get_bit(kinds.group[i].nodes, node - 64 * kinds.group[i].first), "kinds: the nodes of a kind")
        members.setdefault(i, []).append(node)
    if kinds.plain:
        return must(set(known) <= {0}, "kinds: more than one")
    must(sorted(known) == list(range(kinds.nkinds)), "kinds: one has no nodes")
    must(len(set(map(str, known.values()))) == kinds.nkinds, "kinds: two are alike")
    order = [(kinds.component_of[i], kinds.extra[known[i][0]], len(known[i][1]), members[i][0]) for i in sorted(known)]
    must(order == sorted(order), "kinds: not in their order")
    for set_ in used:
        found = [kinds.member[i] for i in range(kinds.set_first[set_], kinds.set_first[set_ + 1])]
        must(found == [i for i in sorted(known) if set_ in known[i][1]], "kinds: those of a set")
        must({kinds.component_of[i] for i in found} == ({kinds.set_component[set_]} if found else set()),
             "kinds: a set in two components")
    # Joined by sets only.
    root = list(range(kinds.nkinds))
    for set_ in used:
        i = kinds.set_first[set_]
        for c in range(i + 1, kinds.set_first[set_ + 1]):
            old, new = root[kinds.member[c]], root[kinds.member[i]]
            root = [new if r == old else r for r in root]
    return must(len(set(root)) == kinds.ncomponents, "kinds: components")


cdef i64 _units(Engine e, i32 kind, usec_t t) except? -1:
    """How many units of a kind (or of its component) running jobs and reservations leave free at t, which is not before
    they are known."""
    cdef CountPlan plan = e.future.count
    cdef i32 i, k, node
    cdef const Reserved *r
    cdef const Alloc *a
    cdef i64 free = 0
    cdef i32 c = plan.kinds.component_of[kind], cw = e.state.cw
    last = {}                       # when the last job on a node ends
    for i in range(e.jobs.running.count):
        end = release_time(e.jobs.running.item[i].end, plan.now)
        a = &e.jobs.item[e.jobs.running.item[i].job].alloc
        for k in range(a.nentries):
            for node in range(a.entry[k].node, a.entry[k].node + max(a.entry[k].count, 1)):
                last[node] = max(end, last.get(node, end))
                if plan.how[c] == COUNT_CORES and end <= t and plan.component_of(node) == c:
                    free += (e.inventory.ncores[node] if a.entry[k].count
                             else count_bits(a.bits + a.entry[k].bits, cw))
    for node in range(e.inventory.nnodes):
        if plan.how[c] == COUNT_CORES:
            free += e.state.nfree[node] if plan.component_of(node) == c else 0
        elif plan.kinds.kind_of[node] == kind:
            free += get_bit(e.state.idle, node) or (node in last and last[node] <= t)
    for i in range(plan.nmade):
        r = plan.reserved + i
        if r.end < 0 or not r.start <= t < r.end:
            continue
        if plan.plain and r.component == c:
            free -= r.units
        for k in range(r.part, r.part + r.nparts):
            free -= plan.parts[k].units if plan.parts[k].kind == kind else 0
    return free


cdef int _counts(Engine e) except -1:
    """AssertionError unless the profiles count what running jobs and reservations leave."""
    cdef CountPlan plan = e.future.count
    cdef const Profile *p
    cdef i32 c, i, k, first
    # Jobs that have ended as they were expected to are in the plan until then, those that were late until one tick on.
    cdef usec_t known = release_time(e.settled.ended, plan.now) if e.settled.nended else plan.now
    if e.once:
        return 0
    must(sum([1 for i in range(plan.nmade) if plan.reserved[i].end >= 0]) == plan.nreserved, "plan: reservations")
    if not plan.built:
        if plan.nreserved and plan.shadow >= known:
            must(plan.extra == _units(e, 0, plan.shadow), "plan: what is free beside the first reservation")
        return 0
    for c in range(plan.kinds.ncomponents):
        if e.future.how[c] == NAMED:
            continue
        p = plan.profile + c
        first = plan.kinds.first[c]
        must(p.width == plan.width(c), "plan: the width of a profile")
        must(p.npoints > 0 and p.time[0] == plan.now, "plan: a profile begins now")
        for i in range(p.npoints):
            must(i == 0 or p.time[i - 1] < p.time[i], "plan: the points of a profile")
            for k in range(p.width if p.time[i] >= known else 0):
                must(p.free[i * p.width + k] == _units(e, first + k, p.time[i]), "plan: what is free of a kind")
                must(p.free[i * p.width + k] >= 0, "plan: two jobs have the same")
    return 0


cdef dict _taken(Engine e, const Alloc *a):
    """What an allocation holds: {(node, word): bits}."""
    cdef i32 i, node, w, cw = e.state.cw
    cdef const Entry *entry
    held = {}
    for i in range(a.nentries):
        entry = a.entry + i
        for node in range(entry.node, entry.node + (entry.count if entry.count else 1)):
            for w in range(cw + e.state.gw):
                held[node, w] = (a.bits[entry.bits + w] if entry.count == 0 else e.inventory.core_all[node * cw + w]
                                 if w < cw else e.inventory.gpu_all[node * e.state.gw + w - cw])
    return held


cdef int _futures(Engine e) except -1:
    """AssertionError unless the future of each node is what running jobs and reservations leave of it."""
    cdef SharedPlan plan = e.future.nodes
    cdef i32 i
    if e.once or not plan.built:
        return 0
    users = {}
    running = [(0, release_time(e.jobs.running.item[i].end, plan.now),
                _taken(e, &e.jobs.item[e.jobs.running.item[i].job].alloc)) for i in range(e.jobs.running.count)]
    reserved = [(plan.reservation[i].start, plan.reservation[i].end, _taken(e, &plan.reservation[i].alloc))
                for i in range(plan.nreserved) if plan.reservation[i].end >= 0]
    _left(e, plan.of, running + reserved, users)
    if plan.parted:
        _left(e, plan.bare_of, running, users)
    must(all([plan.futures.item[i].users == n for i, n in users.items()]), "plan: users of a future")
    return 0


cdef int _left(Engine e, const i32 *of, list taken, dict users) except -1:
    """AssertionError unless the futures `of` the nodes are what is left; they are counted in users."""
    cdef SharedPlan plan = e.future.nodes
    cdef i32 k, w, node, cw = e.state.cw
    cdef Future *f
    for node in range(e.inventory.nnodes):
        users[of[node]] = users.get(of[node], 0) + 1
        f = plan.futures.item[of[node]]
        for k in range(point_of(f, plan.now), f.n):
            t = max(times_of(f)[k], plan.now)
            for w in range(plan.width):
                free = e.inventory.core_all[node * cw + w] if w < cw else e.inventory.gpu_all[node * plan.gw + w - cw]
                for start, end, held in taken:
                    if start <= t < end:
                        must(held.get((node, w), 0) & ~free == 0, "plan: two jobs have the same")
                        free &= ~held.get((node, w), 0)
                must(words_of(f)[k * plan.width + w] == free, "plan: the future of a node")
            must(count_bits(words_of(f) + k * plan.width, cw) == free_of(f)[k].cores
                 and count_bits(words_of(f) + k * plan.width + cw, plan.gw) == free_of(f)[k].gpus,
                 "plan: how much is free of a node")
    return 0


cdef int _both_columns(Engine e) except -1:
    """AssertionError unless the columns count what fits at each instant, and what would if nothing were reserved."""
    cdef SharedPlan plan = e.future.nodes
    _columns(e)
    if plan.parted:
        plan.swap()
        try:
            _columns(e)
        finally:
            plan.swap()
    return 0


cdef int _columns(Engine e) except -1:
    """AssertionError unless the columns count what fits at each instant."""
    cdef SharedPlan plan = e.future.nodes
    cdef i32 k, c, i, node, at
    cdef Chunk *chunk
    cdef Future *f
    cdef Group *g
    for k in range(plan.timeline.ncolumns if plan.bounds.counts() else 0):
        for c in range(plan.timeline.nchunks):
            chunk = plan.timeline.chunk[c]
            for i in range(chunk.n):
                total = 0
                for node in range(e.inventory.nnodes):
                    if e.future.kinds.kind_of[node] < 0:
                        continue
                    g = e.future.kinds.group + e.future.kinds.kind_of[node]
                    if not e.future.kinds.in_set(g, plan.bounds.column[k].shape.elig):
                        continue
                    f = plan.futures.item[plan.of[node]]
                    at = point_of(f, max(chunk.time[i], plan.now))
                    total += plan.bounds.fits_at(k, g, free_of(f)[at])
                must(chunk.value[k][i] == total, "bounds: a column")
                must(chunk.stale[k] or chunk.low[k] <= total <= chunk.high[k], "bounds: least and greatest of a chunk")
    return 0


cdef int _lacks(Engine e) except -1:
    """AssertionError unless nothing fits where it is known that nothing does."""
    cdef SharedPlan plan = e.future.nodes
    cdef i32 k, node
    cdef const Lacks *lacks
    for k in range(plan.timeline.ncolumns if plan.bounds.counts() else 0):
        lacks = plan.fits.lacks + k
        if lacks.last is NULL or lacks.found < plan.fits.epoch:
            continue
        for node in range(e.inventory.nnodes):
            # It begins at some time of its first tick.
            must(lacks.first[node] >= lacks.last[node] or e.future.kinds.kind_of[node] < 0 or not _fits_at_once(
                e, &plan.bounds.column[k].shape, node, time_of(lacks.first[node] + 1, plan.fits.base),
                time_of(lacks.last[node], plan.fits.base)), "fits: something fits on a node")
    return 0


cdef int _soon(Engine e) except -1:
    """AssertionError unless, in windows that begin now, nothing fits for longer than is known, and no more."""
    cdef SharedPlan plan = e.future.nodes
    cdef i32 k, node
    cdef const Soon *s
    cdef const Shape *shape
    for k in range(plan.timeline.ncolumns if plan.bounds.counts() else 0):
        if plan.fits.soon[k] is NULL:
            continue
        shape = &plan.bounds.column[k].shape
        for node in range(e.inventory.nnodes):
            s = plan.fits.soon[k] + node
            if (s.found < plan.fits.epoch or s.of != plan.of[node] or plan.now >= s.holds
                    or e.future.kinds.kind_of[node] < 0):
                continue
            must(_fit(e, shape, node, plan.now, plan.now + 1) <= s.fit, "fits: more fits now than is known")
            must(s.until == time_never() or _fit(e, shape, node, plan.now, max(s.until, plan.now) + 1) == 0,
                 "fits: something fits for longer than is known")
    return 0


cdef bint _fits_at_once(Engine e, const Shape *shape, i32 node, usec_t start, usec_t end) except -1:
    """Whether any of a shape fits on a node at one time from start to end."""
    cdef Future *f = e.future.nodes.futures.item[e.future.nodes.of[node]]
    cdef i32 i
    start = max(start, e.future.nodes.now)
    if start >= end:
        return False
    for i in range(point_of(f, start), f.n):
        if times_of(f)[i] < end and _fit(e, shape, node, max(times_of(f)[i], start), max(times_of(f)[i], start) + 1):
            return True
    return False


cdef i32 _fit(Engine e, const Shape *shape, i32 node, usec_t start, usec_t end) except -1:
    """How much of a shape fits on a node from start to end, by what running jobs and reservations leave of it."""
    cdef SharedPlan plan = e.future.nodes
    cdef Group *g = e.future.kinds.group + e.future.kinds.kind_of[node]
    cdef Future *f = plan.futures.item[plan.of[node]]
    cdef i32 i, w
    if not e.future.kinds.in_set(g, shape.elig):
        return 0
    free = [0xffffffffffffffff] * plan.width
    for i in range(point_of(f, start), f.n):
        if i == point_of(f, start) or times_of(f)[i] < end:
            free = [free[w] & words_of(f)[i * plan.width + w] for w in range(plan.width)]
    ncores, ngpus = [sum([bin(word).count("1") for word in part]) for part in (free[:plan.cw], free[plan.cw:])]
    return fits_counts(shape, g.ncores, g.ngpus, ncores, ngpus)


cdef int _failures(Engine e) except -1:
    """AssertionError unless requests that are said to have found no room now find none."""
    cdef SharedPlan plan = e.future.nodes
    cdef i32 i, node
    cdef const Failed *f
    must(0 <= plan.failures.count <= FAILURES, "failures: more than there is room for")
    for i in range(plan.failures.count if plan.built else 0):
        f = plan.failures.item + i
        # Pools are not looked at here.
        must(f.pools or sum([_fit(e, &f.shape, node, plan.now, f.end) for node in range(e.inventory.nnodes)
                             if e.future.kinds.kind_of[node] >= 0]) < f.need, "failures: a request finds room")
    return 0


cdef int _gains(Engine e) except -1:
    """AssertionError unless what has come back is told in the words of each plan, and no job was told of more."""
    cdef SharedPlan nodes = e.future.nodes
    cdef CountPlan count = e.future.count
    cdef Gains gains
    cdef const Gain *g
    cdef i64 n
    cdef i32 i
    for gains in (nodes.gains, count.gains):
        must(0 <= gains.told <= gains.count, "gains: more are told than there are")
        for n in range(max(gains.count - GAINS, 0), gains.count):
            g = gains.at(n)
            must(g.start <= g.end, "gains: one ends before it begins")
            if gains is count.gains:
                must(g.units >= 0 and g.component >= 0 and g.alloc.nentries == 0,
                     "gains: units of a component expected")
            else:
                must(g.units == 0 and g.component == 0, "gains: nodes expected")
                _sane_alloc(e, &g.alloc)
    for i in range(nodes.nreserved):
        must(nodes.reservation[i].seen <= nodes.gains.told, "gains: a reservation has seen more than was told")
    for i in range(count.nmade):
        must(count.reserved[i].seen <= count.gains.told, "gains: a reservation has seen more than was told")
    return 0


cdef int _sane_alloc(Engine e, const Alloc *a) except -1:
    """AssertionError unless an allocation is of nodes that there are, and its bits are its own."""
    cdef i32 i, width = e.state.cw + e.state.gw
    cdef const Entry *entry
    must(a.nentries <= a.entry_room and a.nbits <= a.bits_room, "alloc: more than there is room for")
    for i in range(a.nentries):
        entry = a.entry + i
        must(0 <= entry.node and entry.count >= 0 and entry.node + max(entry.count, 1) <= e.inventory.nnodes,
             "alloc: a node that is not there")
        must(entry.count > 0 or 0 <= entry.bits <= a.nbits - width, "alloc: bits that are not there")
    return 0
