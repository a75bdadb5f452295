# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A copy of an engine that goes its own way: to look ahead, or to try something.

The inventory and its tree are shared, as they are only read. All else is copied: flat arrays as they lie, the policy by
its own fork. The plan of the future is not: a pass plans from what runs, and the copy's first pass makes its own.
"""

from fluxsched.core.alloc cimport Alloc, Entry, Take
from fluxsched.core.eligible cimport Eligible
from fluxsched.core.domain cimport Domain
from fluxsched.core.engine cimport Engine, Operations
from fluxsched.core.future cimport Future
from fluxsched.core.job cimport Job
from fluxsched.core.jobs cimport General, Jobs
from fluxsched.core.memory cimport duplicate, grow, memcpy, memset, zeroed
from fluxsched.core.queue cimport CLASSES, Chunk, Queue
from fluxsched.core.sizes cimport NODES, SLOTS, Run, Sizes, SizeTable
from fluxsched.core.state cimport State
from fluxsched.core.tree cimport Want
from fluxsched.core.types cimport i32, i64, u64, usec_t

from fluxsched.core.engine import PluginError


cdef Engine fork(Engine e, Operations policy):
    """An engine in the state of e that shares nothing with it but what is never written. policy: its policy; None: a
    fork of that of e. If a pass of e is suspended, that of the copy begins anew. Raises PluginError within a pass, what
    the policy's fork raises, and MemoryError."""
    cdef Engine out
    if e.in_pass:
        raise PluginError("an engine cannot be copied in a pass")
    out = Engine(e.inventory, e)
    copy_state(e.state, out.state)
    copy_eligible(e.eligible, out.eligible)
    copy_jobs(e.jobs, out.jobs)
    copy_queue(e.queue, out.queue)
    copy_future(e.future, out.future)
    out.domain = <Domain *> duplicate(e.domain, e.ndomains, sizeof(Domain))
    out.domain_room = out.ndomains = e.ndomains
    out.domain_index = dict(e.domain_index)
    out.domain_names = list(e.domain_names)
    out.now = e.now
    out.clock = e.clock
    out.suspended = e.suspended
    # The rest of the order, and what is reserved, are of the pass that is suspended.
    out.stale = e.stale or e.suspended
    out.returned = e.returned
    out.removal = e.removal
    out.once = e.once
    out.hasty = e.hasty
    out.expiration = e.expiration
    out.npasses = e.npasses
    out.ncontinued = e.ncontinued
    # Its first pass begins anew, and until then jobs hear what they heard.
    out.settled.tail = e.settled.tail
    out.nstarted_total = e.nstarted_total
    out.nbackfilled = e.nbackfilled
    out.nconsidered = e.nconsidered
    out.policy = e.policy.fork() if policy is None else policy
    return out


cdef int copy_state(State a, State b) except -1:
    cdef i32 n = a.inv.nnodes
    memcpy(b.core_free, a.core_free, <size_t> n * a.cw * sizeof(u64))
    memcpy(b.gpu_free, a.gpu_free, <size_t> n * a.gw * sizeof(u64))
    memcpy(b.nfree, a.nfree, n * sizeof(i32))
    memcpy(b.by_free, a.by_free, (a.most_cores + 1) * sizeof(i32))
    if a.pool_free is not NULL:
        b.need_pools()
        memcpy(b.pool_free, a.pool_free, a.npools * sizeof(i64))
    memcpy(b.present, a.present, a.nwords * sizeof(u64))
    memcpy(b.up, a.up, a.nwords * sizeof(u64))
    memcpy(b.idle, a.idle, a.nwords * sizeof(u64))
    memcpy(b.some, a.some, a.nwords * sizeof(u64))
    b.nup = a.nup
    b.nidle = a.nidle
    b.free_cores = a.free_cores
    b.up_cores = a.up_cores
    return 0


cdef int copy_eligible(Eligible a, Eligible b) except -1:
    cdef i32 set
    cdef size_t classes = a.state.inv.nclasses
    while b.nsets < a.nsets:
        b.new_set()
    for set in range(a.nsets):
        memcpy(b.bits[set], a.bits[set], a.state.nwords * sizeof(u64))
    memcpy(b.users, a.users, a.nsets * sizeof(i32))
    memcpy(b.waiting, a.waiting, a.nsets * sizeof(i32))
    memcpy(b.whole, a.whole, a.nsets * sizeof(i32))
    memcpy(b.cores, a.cores, a.nsets * sizeof(i32))
    memcpy(b.counted_at, a.counted_at, a.nsets * sizeof(i32))
    memcpy(b.up, a.up, a.nsets * classes * sizeof(i32))
    memcpy(b.present, a.present, a.nsets * classes * sizeof(i32))
    b.generation = a.generation
    b.version = a.version
    b.index = dict(a.index)
    b.constraint = list(a.constraint)
    b.properties = dict(a.properties)
    return 0


cdef int copy_alloc(const Alloc *a, Alloc *b) except -1 nogil:
    """b is empty."""
    if a.nentries:
        b.entry = <Entry *> duplicate(a.entry, a.nentries, sizeof(Entry))
        b.nentries = b.entry_room = a.nentries
    if a.nbits:
        b.bits = <u64 *> duplicate(a.bits, a.nbits, sizeof(u64))
        b.nbits = b.bits_room = a.nbits
    if a.ntakes:
        b.take = <Take *> duplicate(a.take, a.ntakes, sizeof(Take))
        b.ntakes = b.take_room = a.ntakes
    return 0


cdef int copy_jobs(Jobs a, Jobs b) except -1 nogil:
    cdef i32 i
    b.unused = <i32 *> zeroed(a.count, sizeof(i32))
    b.unused_room = a.count
    b.nunused = a.nunused
    memcpy(b.unused, a.unused, a.nunused * sizeof(i32))
    b.item = <Job *> duplicate(a.item, a.count, sizeof(Job))
    b.room = a.count
    for i in range(a.count):
        memset(&b.item[i].alloc, 0, sizeof(Alloc))
        # So much of it is b's to release.
        b.count = i + 1
        copy_alloc(&a.item[i].alloc, &b.item[i].alloc)
    b.general = <General *> zeroed(a.ngeneral, sizeof(General))
    b.ngeneral = b.general_room = a.ngeneral
    for i in range(a.ngeneral):
        if a.general[i].want is not NULL:
            b.general[i].want = <Want *> duplicate(a.general[i].want, a.general[i].nwant, sizeof(Want))
            b.general[i].nwant = a.general[i].nwant
    copy_sizes(a.sizes, b.sizes)
    a.running.copy_to(b.running)
    return 0


cdef int copy_sizes(SizeTable a, SizeTable b) except -1 nogil:
    cdef i32 i
    b.item = <Sizes *> grow(b.item, &b.room, a.nitems, sizeof(Sizes))
    for i in range(1, a.nitems):
        b.item[i] = a.item[i]
        b.item[i].run = NULL
        b.nitems = i + 1
        if a.item[i].run is not NULL:
            b.item[i].run = <Run *> duplicate(a.item[i].run, a.item[i].nruns[NODES] + a.item[i].nruns[SLOTS],
                                              sizeof(Run))
    return 0


cdef int copy_queue(Queue a, Queue b) except -1 nogil:
    cdef i32 c, n = a.nchunks
    b.chunk = <Chunk **> zeroed(n, sizeof(Chunk *))
    b.chunk_room = n
    for c in range(n):
        b.chunk[c] = <Chunk *> duplicate(a.chunk[c], 1, sizeof(Chunk))
        b.nchunks = c + 1
    b.least = <i32 *> duplicate(a.least, n, sizeof(i32))
    b.least_room = n
    b.shortest = <usec_t *> zeroed(<size_t> CLASSES * n, sizeof(usec_t))
    b.shortest_room = n
    for c in range(CLASSES if n else 0):
        memcpy(b.shortest + <size_t> c * n, a.shortest + <size_t> c * a.shortest_room, n * sizeof(usec_t))
    b.count = a.count
    b.by_nodes = a.by_nodes
    b.version = a.version
    return 0


cdef int copy_future(Future a, Future b) except -1:
    if a.nodes.matcher is not None:
        b.need_tree()
    b.units_are_cores = a.units_are_cores
    b.units_generation = a.units_generation
    b.nrunning_whole = a.nrunning_whole
    return 0
