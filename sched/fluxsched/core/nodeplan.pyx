# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The future node by node, core by core.

Used where the number of free units does not say all (see
fluxsched.core.countplan, also for how ends of jobs are taken). What is free
at a time is what is free now, and what running jobs return until then; a
reservation names its nodes and cores, and links of each node lead to the
reservations on it.
"""
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from fluxsched.core.alloc cimport Alloc, Entry, alloc_clear, alloc_part, alloc_reset, alloc_whole, grown
from fluxsched.core.bits cimport clear_bit, count_bits, get_bit, low_bits, lowest, popcount, same_bits, set_bit
from fluxsched.core.job cimport Job
from fluxsched.core.match cimport View
from fluxsched.core.memory cimport no_memory, zeroed
from fluxsched.core.running cimport Running, release_time
from fluxsched.core.state cimport State
from fluxsched.core.types cimport i32, i64, time_add, time_never, u64, usec_t


cdef inline i32 span(const Entry *e) noexcept nogil:
    """Number of nodes of an entry."""
    return e.count if e.count else 1


cdef class NodePlan:

    def __cinit__(self, State state not None):
        cdef i32 i, n = state.inv.nnodes
        self.state = state
        self.inv = state.inv
        self.cw = state.cw
        self.gw = state.gw
        self.by_start = Running()
        self.by_end = Running()
        self.cursor = <i32 *> zeroed(n, sizeof(i32))
        self.head = <i32 *> zeroed(n, sizeof(i32))
        self.reserved = <u64 *> zeroed(state.nwords, sizeof(u64))
        self.core = <u64 *> zeroed(<size_t> n * state.cw, sizeof(u64))
        self.gpu = <u64 *> zeroed(<size_t> n * state.gw, sizeof(u64))
        self.slots = <i32 *> zeroed(n, sizeof(i32))
        self.word = <u64 *> zeroed(state.cw + state.gw, sizeof(u64))
        for i in range(n):
            self.head[i] = -1

    def __dealloc__(self):
        cdef i32 i
        for i in range(self.reservation_room):
            alloc_clear(&self.reservation[i].alloc)
        free(self.reservation)
        free(self.link)
        free(self.head)
        free(self.cursor)
        free(self.reserved)
        free(self.core)
        free(self.gpu)
        free(self.pool)
        free(self.slots)
        free(self.word)
        alloc_clear(&self.picked)

    # A node's words: all it has, what is free now, what is free then.

    cdef const u64 *all_cores(self, i32 node) noexcept nogil:
        return self.inv.core_all + <size_t> node * self.cw

    cdef const u64 *all_gpus(self, i32 node) noexcept nogil:
        return self.inv.gpu_all + <size_t> node * self.gw

    cdef const u64 *now_core(self, i32 node) noexcept nogil:
        return self.state.core_free + <size_t> node * self.cw

    cdef const u64 *now_gpu(self, i32 node) noexcept nogil:
        return self.state.gpu_free + <size_t> node * self.gw

    cdef const u64 *then_core(self, i32 node) noexcept nogil:
        return self.core + <size_t> node * self.cw

    cdef const u64 *then_gpu(self, i32 node) noexcept nogil:
        return self.gpu + <size_t> node * self.gw

    cdef void begin(self, usec_t now) noexcept nogil:
        """Forget the reservations of the last pass."""
        cdef i32 i, k, node
        cdef Entry *e
        for i in range(self.nreserved):
            for k in range(self.reservation[i].alloc.nentries):
                e = self.reservation[i].alloc.entry + k
                for node in range(e.node, e.node + span(e)):
                    self.head[node] = -1
                    clear_bit(self.reserved, node)
        self.nreserved = 0
        self.by_start.count = 0
        self.by_end.count = 0
        self.nlinks = 0
        self.nfailed = 0
        self.now = now

    cdef bint hopeless(self, const Job *j, usec_t end) noexcept nogil:
        """Whether a request no larger in any way found no room in this pass.

        Within a pass the free resources only shrink, so its answer stands.
        """
        cdef i32 i
        cdef Failed *f
        for i in range(self.nfailed):
            f = self.failed + i
            if (f.elig == j.elig and (f.nnodes > 0) == (j.nnodes > 0) and f.nnodes <= j.nnodes
                    and f.nslots <= j.nslots and f.cores <= j.cores and f.gpus <= j.gpus
                    and f.exclusive <= j.exclusive and f.end <= end):
                return True
        return False

    cdef void remember(self, const Job *j, usec_t end) noexcept nogil:
        cdef i32 i = self.nfailed if self.nfailed < 16 else 15
        self.failed[i] = Failed(j.elig, j.nnodes, j.nslots, j.cores, j.gpus, j.exclusive, end)
        self.nfailed = i + 1

    cdef i32 usable(self, const Job *j, i32 node, usec_t start, usec_t end,
                    const u64 *core, const u64 *gpu, i32 *first) noexcept nogil:
        """Slots of j that fit on node from start to end, given what is free of
        it (core, gpu: the node's own words) but for reservations. The bits
        that may be used are left in self.word.

        first: the node's first link that may matter, where links before it
        end by start; NULL to look at all."""
        cdef i32 w, l, ncores, ngpus
        cdef Reservation *r
        cdef Entry *e
        cdef u64 *bits
        memcpy(self.word, core, self.cw * sizeof(u64))
        memcpy(self.word + self.cw, gpu, self.gw * sizeof(u64))
        l = self.head[node]
        if first is not NULL:
            while first[0] >= 0 and self.reservation[self.link[first[0]].reservation].end <= start:
                first[0] = self.link[first[0]].next
            l = first[0]
        while l >= 0:
            r = self.reservation + self.link[l].reservation
            if r.start >= end:
                break
            if r.end > start:
                e = r.alloc.entry + self.link[l].entry
                if e.count or j.exclusive:
                    return 0
                bits = r.alloc.bits + e.bits
                for w in range(self.cw + self.gw):
                    self.word[w] &= ~bits[w]
            l = self.link[l].next
        if j.whole:
            if not same_bits(self.word, self.all_cores(node), self.cw):
                return 0
            if not same_bits(self.word + self.cw, self.all_gpus(node), self.gw):
                return 0
            # A job that holds memory of a node may have its cores elsewhere.
            if j.exclusive and self.state.npools and not self.inv.tree.pools_whole(
                    node, self.state.pool_free if core == self.now_core(node) else self.pool):
                return 0
        ncores = count_bits(self.word, self.cw)
        if j.gpus:
            ngpus = count_bits(self.word + self.cw, self.gw) / j.gpus
            if not j.cores:
                return ngpus
            ncores = ncores / j.cores
            return ngpus if ngpus < ncores else ncores
        return ncores / j.cores

    cdef int pick(self, const Job *j, i32 node, i32 nslots) except -1 nogil:
        """Add nslots slots of node to self.picked, from the bits in self.word."""
        cdef i32 w, k, need_cores = nslots * j.cores, need_gpus = nslots * j.gpus
        if not j.whole:
            for w in range(self.cw + self.gw):
                k = popcount(self.word[w])
                if w < self.cw:
                    self.word[w] = low_bits(self.word[w], need_cores)
                    need_cores -= k if k < need_cores else need_cores
                else:
                    self.word[w] = low_bits(self.word[w], need_gpus)
                    need_gpus -= k if k < need_gpus else need_gpus
            if not (same_bits(self.word, self.all_cores(node), self.cw)
                    and same_bits(self.word + self.cw, self.all_gpus(node), self.gw)):
                return alloc_part(&self.picked, node, self.word, self.cw, self.word + self.cw, self.gw)
        alloc_whole(&self.picked, node, 1)
        if j.exclusive and self.state.npools:
            self.inv.tree.whole_pools(node, &self.picked)
        return 0

    cdef i32 pick_of(self, const Job *j, i32 node, i32 fit, i32 need) except -1 nogil:
        """Pick what a node that holds `fit` slots gives to a job that still
        needs so many nodes (or slots, if it names no nodes); how many it gave."""
        cdef i32 slots = fit if fit < need else need
        if j.nnodes:
            self.pick(j, node, j.nslots)
            return 1
        self.pick(j, node, slots)
        return slots

    cdef int fits_now(self, const Job *j, const Request *request, usec_t end, Running running,
                      const Job *jobs) except -1 nogil:
        """1 and the resources in self.picked, if j can hold them from now to
        end without touching a reservation; else 0."""
        if j.tree >= 0:
            return self.fits_tree(request, self.now, end, running, jobs)
        if j.whole and j.nnodes > self.state.nidle:
            return 0
        if not self.state.room_for(j.nnodes, j.nslots, j.cores) or self.hopeless(j, end):
            return 0
        if self.fits_flat(j, request.elig, end):
            return 1
        self.remember(j, end)
        return 0

    cdef int fits_flat(self, const Job *j, const u64 *elig, usec_t end) except -1 nogil:
        cdef i32 w, node, fit, phase, need = j.nnodes if j.nnodes else j.nslots
        cdef i32 least = j.nslots * j.cores if j.nnodes else j.cores
        cdef u64 word
        alloc_reset(&self.picked)
        if j.node_units and self.nreserved == 0 and self.state.npools == 0:
            return self.fits_runs(j, elig)
        # Pack: first nodes in use, then idle ones that a reservation waits for
        # (a job that ends before it costs nobody anything), then the others.
        for phase in range(1 if j.whole else 0, 3):
            if phase == 1 and self.nreserved == 0:
                continue
            for w in range(self.state.nwords):
                if phase == 0:
                    word = (self.state.some[w] if j.cores else self.state.up[w]) & ~self.state.idle[w]
                elif phase == 1:
                    word = self.state.idle[w] & self.reserved[w]
                else:
                    word = self.state.idle[w] & ~self.reserved[w]
                word &= elig[w]
                while word:
                    node = w * 64 + lowest(word)
                    word &= word - 1
                    if self.state.nfree[node] < least:
                        continue
                    fit = self.usable(j, node, self.now, end, self.now_core(node), self.now_gpu(node), NULL)
                    if fit < (j.nslots if j.nnodes else 1):
                        continue
                    need -= self.pick_of(j, node, fit, need)
                    if need == 0:
                        return 1
        return 0

    cdef int fits_runs(self, const Job *j, const u64 *elig) except -1 nogil:
        """Whole nodes that are as good as each other, with no reservation to
        mind: the first that are idle, a run at a time."""
        cdef i32 w, low, run, need = j.node_units
        cdef u64 word, rest
        for w in range(self.state.nwords):
            word = self.state.idle[w] & elig[w]
            while word:
                low = lowest(word)
                rest = ~(word >> low)
                run = lowest(rest) if rest else 64
                run = run if run < need else need
                alloc_whole(&self.picked, w * 64 + low, run)
                need -= run
                if need == 0:
                    return 1
                if low + run >= 64:
                    break
                word &= (~<u64> 0) << (low + run)
        return 0

    cdef int pick_kinds(self, const Job *j, const i32 *kind_of, i32 *part) except -1 nogil:
        """1 and whole nodes in self.picked, for a job that takes part[k] of each kind k: the first that are idle. 0 if
        there are not so many."""
        cdef i32 w, node, need = j.node_units
        cdef u64 word
        alloc_reset(&self.picked)
        for w in range(self.state.nwords):
            word = self.state.idle[w]
            while word:
                node = w * 64 + lowest(word)
                word &= word - 1
                if kind_of[node] < 0 or part[kind_of[node]] == 0:
                    continue
                part[kind_of[node]] -= 1
                self.pick(j, node, 1)
                need -= 1
                if need == 0:
                    return 1
        return 0

    cdef i64 reserved_at(self, i32 pool, usec_t t) noexcept nogil:
        """How much of a pool is reserved at t."""
        cdef i64 held = 0
        cdef i32 i, n
        cdef Reservation *r
        for i in range(self.nreserved):
            r = self.reservation + i
            if r.start <= t and t < r.end:
                for n in range(r.alloc.ntakes):
                    if r.alloc.take[n].pool == pool:
                        held += r.alloc.take[n].amount
        return held

    cdef i64 least_free(self, i32 pool, i64 amount, usec_t start, usec_t end, Running running,
                        const Job *jobs) noexcept nogil:
        """The least of a pool that is free at one time from start to end, when
        amount is free at start but for reservations: running jobs give back
        meanwhile, and what they give back may be what a reservation waits for."""
        cdef i64 left, least = amount - self.reserved_at(pool, start)
        cdef i32 i, k, n
        cdef usec_t t, back
        cdef const Alloc *a
        for i in range(self.nreserved):
            t = self.reservation[i].start
            if t <= start or t >= end:
                continue
            left = amount - self.reserved_at(pool, t)
            for k in range(running.count):
                back = release_time(running.item[k].end, self.now)
                if back > t:
                    break
                if back > start:
                    a = &jobs[running.item[k].job].alloc
                    for n in range(a.ntakes):
                        if a.take[n].pool == pool:
                            left += a.take[n].amount
            if left < least:
                least = left
        return least

    cdef int fits_tree(self, const Request *request, usec_t start, usec_t end, Running running,
                       const Job *jobs) except -1 nogil:
        """Whether a general request fits from start to end; if so, what it gets is in self.picked. At a later start
        than now it goes by what earliest has released until then."""
        cdef bint now = start == self.now
        cdef i32 i, k, w
        cdef View *view = &self.matcher.view
        cdef Entry *e
        cdef Reservation *r
        if now:
            self.matcher.show(self.state.core_free, self.state.gpu_free, self.state.pool_free, self.state.up,
                              request.elig)
        else:
            self.matcher.show(self.core, self.gpu, self.pool, self.state.up, request.elig)
        for i in range(self.nreserved):
            r = self.reservation + i
            if r.start >= end or r.end <= start:
                continue
            for k in range(r.alloc.nentries):
                e = r.alloc.entry + k
                if e.count:
                    memset(view.core + <size_t> e.node * self.cw, 0, <size_t> e.count * self.cw * sizeof(u64))
                    memset(view.gpu + <size_t> e.node * self.gw, 0, <size_t> e.count * self.gw * sizeof(u64))
                    continue
                for w in range(self.cw):
                    view.core[<size_t> e.node * self.cw + w] &= ~r.alloc.bits[e.bits + w]
                for w in range(self.gw):
                    view.gpu[<size_t> e.node * self.gw + w] &= ~r.alloc.bits[e.bits + self.cw + w]
        if self.nreserved:
            for i in range(self.state.npools):
                view.pool[i] = self.least_free(i, view.pool[i], start, end, running, jobs)
        return self.matcher.match(request.want, request.nwant, &self.picked)

    cdef i64 recheck(self, const Job *j, i32 node, const u64 *elig, usec_t start, usec_t end) noexcept nogil:
        """Count again what fits on node; the change of the total."""
        cdef i32 fit = 0, old = self.slots[node]
        if get_bit(self.state.up, node) and get_bit(elig, node):
            fit = self.usable(j, node, start, end, self.then_core(node), self.then_gpu(node), self.cursor + node)
            if j.nnodes:
                fit = 1 if fit >= j.nslots else 0
        self.slots[node] = fit
        return fit - old

    cdef i64 recheck_alloc(self, const Job *j, const Alloc *a, const u64 *elig, usec_t start,
                           usec_t end) noexcept nogil:
        cdef i64 change = 0
        cdef i32 k, node
        cdef const Entry *e
        for k in range(a.nentries):
            e = a.entry + k
            for node in range(e.node, e.node + span(e)):
                change += self.recheck(j, node, elig, start, end)
        return change

    cdef void release(self, const Alloc *a) noexcept nogil:
        """Return what a holds, in the look into the future."""
        cdef i32 k, w
        cdef const Entry *e
        for k in range(a.nentries):
            e = a.entry + k
            if e.count:
                memcpy(self.core + <size_t> e.node * self.cw, self.inv.core_all + <size_t> e.node * self.cw,
                       <size_t> e.count * self.cw * sizeof(u64))
                memcpy(self.gpu + <size_t> e.node * self.gw, self.inv.gpu_all + <size_t> e.node * self.gw,
                       <size_t> e.count * self.gw * sizeof(u64))
                continue
            for w in range(self.cw):
                self.core[<size_t> e.node * self.cw + w] |= a.bits[e.bits + w]
            for w in range(self.gw):
                self.gpu[<size_t> e.node * self.gw + w] |= a.bits[e.bits + self.cw + w]
        for k in range(a.ntakes):
            self.pool[a.take[k].pool] += a.take[k].amount

    cdef int earliest(self, const Job *j, const Request *request, Running running, const Job *jobs,
                      usec_t bound, usec_t *out) except -1 nogil:
        """1, the earliest start that no reservation forbids, and the resources
        in self.picked; or 0: never. bound: a time known not to be too late.

        Only ends of jobs and of reservations can be earliest starts. Going
        from one to the next, only nodes whose resources or whose reservations
        in the window changed are looked at again.
        """
        cdef i32 done = 0, left, entered, k, node, n = self.inv.nnodes
        cdef i64 total = 0, need = j.nnodes if j.nnodes else j.nslots
        cdef usec_t t = bound, end = time_add(bound, j.duration)
        memcpy(self.core, self.state.core_free, <size_t> n * self.cw * sizeof(u64))
        memcpy(self.gpu, self.state.gpu_free, <size_t> n * self.gw * sizeof(u64))
        memcpy(self.cursor, self.head, n * sizeof(i32))
        if self.state.npools:
            if self.pool is NULL:
                self.pool = <i64 *> zeroed(self.state.npools, sizeof(i64))
            memcpy(self.pool, self.state.pool_free, self.state.npools * sizeof(i64))
        while done < running.count and release_time(running.item[done].end, self.now) <= t:
            self.release(&jobs[running.item[done].job].alloc)
            done += 1
        left = self.by_end.place(t + 1, 0)
        entered = self.by_start.place(end, 0)
        if j.tree < 0:
            memset(self.slots, 0, n * sizeof(i32))
            for node in range(n):
                total += self.recheck(j, node, request.elig, t, end)
        while True:
            if j.tree >= 0:
                if self.fits_tree(request, t, end, running, jobs):
                    out[0] = t
                    return 1
            elif total >= need:
                out[0] = t
                return self.select_at(j, request.elig, t, end)
            t = time_never()
            if done < running.count:
                t = release_time(running.item[done].end, self.now)
            if left < self.by_end.count and self.by_end.item[left].end < t:
                t = self.by_end.item[left].end
            if t == time_never():
                return 0
            end = time_add(t, j.duration)
            k = done
            while done < running.count and release_time(running.item[done].end, self.now) <= t:
                self.release(&jobs[running.item[done].job].alloc)
                done += 1
            if j.tree >= 0:
                while left < self.by_end.count and self.by_end.item[left].end <= t:
                    left += 1
                continue
            while k < done:
                total += self.recheck_alloc(j, &jobs[running.item[k].job].alloc, request.elig, t, end)
                k += 1
            while left < self.by_end.count and self.by_end.item[left].end <= t:
                total += self.recheck_alloc(j, &self.reservation[self.by_end.item[left].job].alloc,
                                            request.elig, t, end)
                left += 1
            while entered < self.by_start.count and self.by_start.item[entered].end < end:
                total += self.recheck_alloc(j, &self.reservation[self.by_start.item[entered].job].alloc,
                                            request.elig, t, end)
                entered += 1

    cdef int select_at(self, const Job *j, const u64 *elig, usec_t start, usec_t end) except -1 nogil:
        """Pick the nodes of a reservation, after earliest has counted them:
        first those that are not idle now, to leave these to other jobs."""
        cdef i32 w, node, fit, phase, need = j.nnodes if j.nnodes else j.nslots
        cdef u64 word
        alloc_reset(&self.picked)
        for phase in range(2):
            for w in range(self.state.nwords):
                word = self.state.up[w] & elig[w] & (self.state.idle[w] if phase else ~self.state.idle[w])
                while word:
                    node = w * 64 + lowest(word)
                    word &= word - 1
                    if not self.slots[node]:
                        continue
                    fit = self.usable(j, node, start, end, self.then_core(node), self.then_gpu(node),
                                      self.cursor + node)
                    need -= self.pick_of(j, node, fit, need)
                    if need == 0:
                        return 1
        return 0

    cdef int reserve(self, usec_t start, usec_t end) except -1 nogil:
        """Keep self.picked from start to end."""
        cdef void *room
        cdef i32 i = self.nreserved, k, node, old = self.reservation_room
        cdef Reservation *r
        cdef Entry *e
        cdef Alloc swap
        room = grown(self.reservation, &self.reservation_room, i + 1, sizeof(Reservation))
        if room is NULL:
            no_memory(b"no memory for a reservation")
        self.reservation = <Reservation *> room
        memset(self.reservation + old, 0, (self.reservation_room - old) * sizeof(Reservation))
        r = self.reservation + i
        swap = r.alloc
        r.alloc = self.picked
        self.picked = swap
        r.start = start
        r.end = end
        self.nreserved += 1
        for k in range(r.alloc.nentries):
            e = r.alloc.entry + k
            for node in range(e.node, e.node + span(e)):
                self.link_node(node, i, k)
        self.by_start.insert(start, i)
        return self.by_end.insert(end, i)

    cdef int link_node(self, i32 node, i32 reservation, i32 entry) except -1 nogil:
        """Put a link to a reservation in a node's list, by start."""
        cdef void *room = grown(self.link, &self.link_room, self.nlinks + 1, sizeof(Link))
        cdef i32 *place = self.head + node
        cdef usec_t start = self.reservation[reservation].start
        if room is NULL:
            no_memory(b"no memory for a reservation")
        self.link = <Link *> room
        while place[0] >= 0 and self.reservation[self.link[place[0]].reservation].start < start:
            place = &self.link[place[0]].next
        self.link[self.nlinks] = Link(reservation, entry, place[0])
        place[0] = self.nlinks
        self.nlinks += 1
        set_bit(self.reserved, node)
        return 0
