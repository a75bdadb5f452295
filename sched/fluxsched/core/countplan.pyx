# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The future as numbers of free units over time.

Where all jobs that wait take whole nodes (or all take single cores), numbers
say everything: jobs cannot tell nodes of one kind apart (fluxsched.core.kinds),
and any set of intervals that never exceeds the number of such nodes can be
given nodes. So this plan is exact, its cost follows the number of kinds, and
names are only needed at a start. A node of which running jobs hold parts is
free when the last of them ends.

Each component of kinds has a profile of its own, unless its nodes are named
(fluxsched.core.sharedplan); where cores are counted, it is of one number:

        time    now      t1       t2       t3
        free    2 0 1    2 4 1    5 4 1    6 4 3      (three kinds)

A job of set E that takes n nodes for a duration d starts at the first time t
at which the kinds of E together have n nodes free all along: the sum over E
of the least that is free of a kind in [t, t + d) is at least n. It takes from
the kinds in their order. Neighbours that are equal are merged.

A plan lasts until a pass plans from scratch. A running job returns what it
holds at its expected end (one tick from now, if that is past); a job without a
duration returns it at far_future(), a time after every finite end, so a
reservation that depends on it still protects its nodes from jobs without a
duration.
"""
from libc.stdlib cimport free

from fluxsched.core.alloc cimport Alloc, Entry
from fluxsched.core.bits cimport count_bits, get_bit, lowest
from fluxsched.core.gains cimport Gain, Gains
from fluxsched.core.job cimport Job
from fluxsched.core.kinds cimport Kinds
from fluxsched.core.memory cimport grow, memmove, memset, zeroed
from fluxsched.core.profile cimport (
    Profile, begin_profile, bound, change, drop_profile, extend, merge, place_of, remember, search_one, split)
from fluxsched.core.running cimport Running, release_time
from fluxsched.core.state cimport State
from fluxsched.core.types cimport i32, i64, time_add, time_never, u64, usec_t


cdef class CountPlan:

    def __cinit__(self, State state not None, Kinds kinds not None):
        cdef i32 n = state.inv.nnodes + 1
        self.state = state
        self.kinds = kinds
        self.gains = Gains()
        self.idle = <i64 *> zeroed(n, sizeof(i64))
        self.low = <i64 *> zeroed(n, sizeof(i64))
        self.part = <i64 *> zeroed(n, sizeof(i64))
        self.holders = <i32 *> zeroed(n, sizeof(i32))

    def __dealloc__(self):
        cdef i32 i
        for i in range(self.nprofiles):
            drop_profile(self.profile + i)
        free(self.profile)
        free(self.idle)
        free(self.low)
        free(self.part)
        free(self.holders)
        free(self.reserved)
        free(self.parts)

    cdef int begin(self, usec_t now, i64 free_now, bint plain, bint shared, const i32 *how) except -1 nogil:
        """Nothing is reserved. free_now: idle nodes, or free cores if plain counts these. how stays the owner's."""
        cdef i32 count = self.kinds.ncomponents, old = self.nprofiles
        self.now = now
        self.free_now = free_now
        self.nreserved = 0
        self.nmade = 0
        self.nparts = 0
        self.built = False
        self.plain = plain
        self.shared = shared
        self.how = how
        if count > old:
            self.profile = <Profile *> grow(self.profile, &self.nprofiles, count, sizeof(Profile))
            memset(self.profile + old, 0, (self.nprofiles - old) * sizeof(Profile))
        if not self.plain:
            self.count_idle()
        return 0

    cdef void count_idle(self) noexcept nogil:
        """How many units of each kind are free."""
        cdef i32 w, k, c, node
        cdef u64 word
        memset(self.idle, 0, self.kinds.nkinds * sizeof(i64))
        for w in range(self.state.nwords):
            word = self.state.idle[w] | self.state.some[w]
            while word:
                node = w * 64 + lowest(word)
                word &= word - 1
                k = self.kinds.kind_of[node]
                if k < 0:
                    continue
                c = self.kinds.component_of[k]
                if self.how[c] == COUNT_CORES:
                    self.idle[self.kinds.first[c]] += self.state.nfree[node]
                else:
                    self.idle[k] += get_bit(self.state.idle, node)

    cdef i32 width(self, i32 c) noexcept nogil:
        """Into how many kinds what is counted of a component falls."""
        return 1 if self.how[c] == COUNT_CORES else self.kinds.first[c + 1] - self.kinds.first[c]

    cdef i32 component_of(self, i32 node) noexcept nogil:
        """The component of a node that is counted; -1: it is not."""
        cdef i32 k = self.kinds.kind_of[node]
        cdef i32 c = self.kinds.component_of[k] if k >= 0 else -1
        return -1 if c >= 0 and self.how[c] == NAMED else c

    cdef const i32 *members(self, i32 set, i32 *count) noexcept nogil:
        """The kinds of a set, [count] in their order."""
        cdef i32 c = self.kinds.set_component[set]
        if self.how[c] == COUNT_CORES:
            count[0] = 1
            return self.kinds.first + c
        count[0] = self.kinds.set_first[set + 1] - self.kinds.set_first[set]
        return self.kinds.member + self.kinds.set_first[set]

    cdef void advance(self, usec_t now, i64 free_now) noexcept nogil:
        """The time is later than when the plan began; what is free now is what was planned."""
        cdef i32 i, first
        cdef Profile *p
        self.now = now
        self.free_now = free_now
        if not self.plain and not self.built:
            self.count_idle()
        for i in range(self.kinds.ncomponents if self.built else 0):
            if self.how[i] == NAMED:
                continue
            p = self.profile + i
            first = place_of(p, now + 1) - 1
            p.npoints -= first
            memmove(p.time, p.time + first, p.npoints * sizeof(usec_t))
            memmove(p.free, p.free + <size_t> first * p.width, <size_t> p.npoints * p.width * sizeof(i64))
            p.time[0] = now

    cdef bint fits_now(self, i32 set, i64 units, usec_t end) noexcept nogil:
        """Whether so many units of a set are free from now to end, reservations kept."""
        if self.plain and units > self.free_now:
            return False
        if self.plain and not self.built:
            return self.nreserved == 0 or end <= self.shadow or units <= self.extra
        return self.least(set, 0, end, units) >= units

    cdef bint share_now(self, i32 set, i64 units, usec_t end) noexcept nogil:
        """What a job that fits now takes of each kind, in part; not for the plain plan."""
        if self.least(set, 0, end, 1) < units:
            return False
        self.share(set, units)
        return True

    cdef int start(self, const Alloc *a, i64 units, usec_t end) except -1 nogil:
        """A job starts now on a; the caller has put it in the running list, too."""
        cdef i32 k
        end = release_time(end, self.now)       # as build says of those that ran before
        self.free_now -= units
        if not self.plain:
            self.count_parts(a)
            if not self.built:
                for k in range(self.kinds.nkinds):
                    self.idle[k] -= self.part[k]
                return 0
            # All of it is in one component.
            for k in range(self.kinds.nkinds):
                if self.part[k]:
                    self.gains.undo(self.now, end, units, self.kinds.component_of[k], NULL)
                    self.take_part(self.kinds.component_of[k], self.now, end, -1)
                    break
            return 0
        if self.built:
            self.gains.undo(self.now, end, units, 0, NULL)
            change(self.profile, self.now, end, 0, 1, &units, -1)
        elif self.nreserved and end > self.shadow:
            self.extra -= units
        return 0

    cdef bint give(self, const Alloc *a, i64 units, usec_t end) except -1 nogil:
        """A job that was expected to end then gives back a, between two passes of which the second one goes on with the
        plan; False: it cannot."""
        cdef i32 c
        if not self.built:
            return self.nreserved == 0
        end = release_time(end, self.now)
        if self.plain:
            change(self.profile, self.now, end, 0, 1, &units, 1)
            self.profile.nfound = 0
            self.gains.add(self.now, end, units, 0, NULL)
            return True
        if not self.count_parts(a):
            return False
        for c in range(self.kinds.ncomponents):
            if self.how[c] == NAMED:
                continue
            self.take_part(c, self.now, end, 1)
            self.profile[c].nfound = 0
            self.gains.add(self.now, end, units, c, NULL)
        return True

    cdef int earliest(self, i32 set, i64 units, usec_t duration, usec_t least, Running running, const Job *jobs,
                      usec_t *out) except -1 nogil:
        """1 and the earliest start, not before `least`, that no reservation forbids, or 0: never."""
        cdef Profile *p
        cdef i32 first
        cdef int done
        if self.plain and not self.built and self.nreserved == 0:
            if not self.earliest_plain(units, running, jobs, out):
                return 0
            out[0] = max(out[0], least)
            return 1
        if set >= self.kinds.nsets or self.kinds.set_component[set] < 0:
            return 0
        if not self.built:
            self.build(running, jobs)
        p = self.profile + self.kinds.set_component[set]
        if least > self.now:
            # It need not be a point, but it may be the start.
            first = split(p, least)
            done = self.search(set, units, duration, max(bound(p, set, units, duration), first),
                               time_never(), out)
            merge(p, first)
            return done
        if not self.search(set, units, duration, bound(p, set, units, duration), time_never(), out):
            return 0
        remember(p, set, units, duration, out[0])
        return 1

    cdef bint may_start_early(self, i32 set, i64 units, usec_t duration) noexcept nogil:
        """False only if a job could not start now, were its own reservation taken back."""
        cdef usec_t t
        return not self.built or self.search(set, units, duration, 0, self.now + 1, &t)

    cdef bint may_move_up(self, i32 set, i64 units, usec_t duration, i32 place) noexcept nogil:
        """False only if a job could not start earlier, were its own reservation, number place, taken back. Before its
        start, nothing is free without it that is not free with it."""
        cdef i64 n
        cdef usec_t t, first = self.now, until
        cdef const Gain *g
        cdef Reserved *r = self.reserved + place
        if not self.built:
            return True
        until = r.start
        if self.gains.knows(r.seen):
            # Only what has become free since may let it start earlier.
            first = until
            until = self.now
            for n in range(r.seen, self.gains.count):
                g = self.gains.at(n)
                if g.component == r.component and g.start < g.end:
                    first = max(self.now, min(first, g.start - duration))
                    until = max(until, min(g.end, r.start))
        r.seen = self.gains.tell()
        if first >= until:
            return False
        first = max(0, place_of(self.profile + r.component, first + 1) - 1)
        return self.search(set, units, duration, <i32> first, until, &t)

    cdef int earliest_plain(self, i64 units, Running running, const Job *jobs, usec_t *out) noexcept nogil:
        """The same, if nothing is reserved and all units are of one kind: free units only grow."""
        cdef i32 i = 0
        cdef i64 total = self.free_now
        cdef usec_t t
        if total >= units:
            out[0] = self.now
            return 1
        while i < running.count:
            t = release_time(running.item[i].end, self.now)
            while i < running.count and release_time(running.item[i].end, self.now) == t:
                total += jobs[running.item[i].job].units
                i += 1
            if total >= units:
                out[0] = t
                return 1
        return 0

    cdef int reserve(self, i32 set, i64 units, usec_t start, usec_t duration, Running running,
                     const Job *jobs) except -1 nogil:
        """Keep units of a set from start on for duration."""
        cdef i32 i
        cdef usec_t end = time_add(start, duration)
        cdef Profile *p
        cdef Reserved *r = self.next_reserved()
        r[0] = Reserved(start, end, units, 0, self.kinds.set_component[set], self.nparts, 0)
        if self.plain and not self.built and self.nreserved == 0:
            # One reservation needs no profile: before it nothing changes, and
            # from it on what counts is what is free at its start.
            self.shadow = start
            self.shadow_end = end
            self.shadow_units = units
            self.extra = self.free_now - units
            for i in range(running.count):
                if release_time(running.item[i].end, self.now) > start:
                    break
                self.extra += jobs[running.item[i].job].units
        else:
            if not self.built:
                self.build(running, jobs)
            if self.plain:
                change(self.profile, start, end, 0, 1, &units, -1)
            else:
                p = self.profile + r.component
                self.least(set, place_of(p, start), end, 1)
                self.share(set, units)
                self.keep_parts(r)
                self.take_part(r.component, start, end, -1)
        self.gains.undo(start, end, units, r.component, NULL)
        r.seen = self.gains.tell()
        self.nmade += 1
        self.nreserved += 1
        return 0

    cdef int skip(self) except -1 nogil:
        """The next reservation is in another plan: its number stands for one that was taken back."""
        self.next_reserved()[0] = Reserved(0, -1, 0, -1, 0, self.nparts, 0)
        self.nmade += 1
        return 0

    cdef Reserved *next_reserved(self) except NULL nogil:
        """Room for one more."""
        self.reserved = <Reserved *> grow(self.reserved, &self.made_room, self.nmade + 1, sizeof(Reserved))
        return self.reserved + self.nmade

    cdef int keep_parts(self, Reserved *r) except -1 nogil:
        """Note what a reservation takes of each kind: what is in part."""
        cdef i32 k
        for k in range(self.kinds.first[r.component], self.kinds.first[r.component] + self.width(r.component)):
            if self.part[k]:
                self.parts = <Part *> grow(self.parts, &self.parts_room, self.nparts + 1, sizeof(Part))
                self.parts[self.nparts] = Part(k, <i32> self.part[k])
                self.nparts += 1
                r.nparts += 1
        return 0

    cdef void find_parts(self, const Reserved *r) noexcept nogil:
        """What a reservation takes of each kind; in part."""
        cdef i32 k
        memset(self.part + self.kinds.first[r.component], 0, self.width(r.component) * sizeof(i64))
        for k in range(r.part, r.part + r.nparts):
            self.part[self.parts[k].kind] = self.parts[k].units

    cdef int retract(self, i32 i) except -1 nogil:
        """Take back a reservation."""
        cdef Reserved *r = self.reserved + i
        cdef Profile *p = self.profile + r.component
        if r.end < 0:
            return 0
        self.nreserved -= 1
        if self.built:
            p.nfound = 0
            if self.plain:
                change(p, r.start, r.end, 0, 1, &r.units, 1)
            else:
                self.find_parts(r)
                self.take_part(r.component, r.start, r.end, 1)
            self.gains.add(r.start, r.end, r.units, r.component, NULL)
        r.end = -1
        return 0

    cdef void shift(self, i32 i, i32 to) noexcept nogil:
        """A reservation becomes number `to`, which was taken back, or is itself; those before it have been shifted."""
        cdef i32 part = self.reserved[to - 1].part + self.reserved[to - 1].nparts if to else 0
        memmove(self.parts + part, self.parts + self.reserved[i].part, self.reserved[i].nparts * sizeof(Part))
        self.reserved[to] = self.reserved[i]
        self.reserved[to].part = part

    cdef void cut(self, i32 count) noexcept nogil:
        """Forget all reservations but the first so many; the others were taken back."""
        self.nmade = count
        self.nparts = self.reserved[count - 1].part + self.reserved[count - 1].nparts if count else 0

    cdef i64 open_window(self, i32 set, const i64 *row) noexcept nogil:
        """Set low, for the kinds of a set, to what a point has free; their sum."""
        cdef i32 m, count
        cdef i64 total = 0
        cdef const i32 *member = self.members(set, &count)
        for m in range(count):
            self.low[member[m]] = row[member[m]]
            total += row[member[m]]
        return total

    cdef i64 widen(self, i32 set, const i64 *row, i64 total) noexcept nogil:
        """Let the window of which low and total are take in one more point; the new total."""
        cdef i32 k, m, count
        cdef const i32 *member = self.members(set, &count)
        for m in range(count):
            k = member[m]
            if row[k] < self.low[k]:
                total -= self.low[k] - row[k]
                self.low[k] = row[k]
        return total

    cdef i64 least(self, i32 set, i32 first, usec_t end, i64 enough) noexcept nogil:
        """The units of a set that are free all along from point first to end; of each of its kinds, in low. It may stop
        once there are fewer than enough."""
        cdef i32 i = first + 1, count
        cdef i64 total
        cdef const i64 *rows
        cdef const i32 *member
        cdef Profile *p
        if set >= self.kinds.nsets or self.kinds.set_component[set] < 0:
            return 0
        if not self.built:
            return self.open_window(set, self.idle)
        p = self.profile + self.kinds.set_component[set]
        rows = self.rows(set)
        total = self.open_window(set, rows + <size_t> first * p.width)
        member = self.members(set, &count)
        if count == 1:
            rows += member[0]
            while i < p.npoints and p.time[i] < end and total >= enough:
                total = min(total, rows[<size_t> i * p.width])
                i += 1
            self.low[member[0]] = total
            return total
        while i < p.npoints and p.time[i] < end and total >= enough:
            total = self.widen(set, rows + <size_t> i * p.width, total)
            i += 1
        return total

    cdef const i64 *rows(self, i32 set) noexcept nogil:
        """The free units of a set's component, so that row i begins at i * width and a kind's number is its column."""
        cdef i32 c = self.kinds.set_component[set]
        return self.profile[c].free - self.kinds.first[c]

    cdef void share(self, i32 set, i64 units) noexcept nogil:
        """Take units of what is in low, from the kinds of a set in their order; the parts are in part."""
        cdef i32 k, m, count
        cdef const i32 *member = self.members(set, &count)
        memset(self.part, 0, self.kinds.nkinds * sizeof(i64))
        for m in range(count):
            k = member[m]
            self.part[k] = self.low[k] if self.low[k] < units else units
            units -= self.part[k]

    cdef int search(self, i32 set, i64 units, usec_t duration, i32 first, usec_t until, usec_t *out) noexcept nogil:
        """1 and the first point before until from which on the units of a set are free for the duration, or until then;
        else 0."""
        cdef i32 i = first, j, count
        cdef i64 total
        cdef usec_t end
        cdef const i64 *rows = self.rows(set)
        cdef Profile *p = self.profile + self.kinds.set_component[set]
        cdef const i32 *member = self.members(set, &count)
        if count == 1:
            return search_one(p, member[0] - self.kinds.first[self.kinds.set_component[set]], units, duration, first,
                              until, out)
        while i < p.npoints and p.time[i] < until:
            end = min(time_add(p.time[i], duration), until)
            total = self.open_window(set, rows + <size_t> i * p.width)
            j = i + 1
            while total >= units and j < p.npoints and p.time[j] < end:
                total = self.widen(set, rows + <size_t> j * p.width, total)
                j += 1
            if total >= units:
                out[0] = p.time[i]
                return 1
            # Point j - 1 is what fails. The next window worth a look opens
            # behind the last point from which on it fails together with that.
            i = j - 1
            total = self.open_window(set, rows + <size_t> i * p.width)
            while total >= units:
                i -= 1
                total = self.widen(set, rows + <size_t> i * p.width, total)
            i += 1
        return 0

    cdef bint count_parts(self, const Alloc *a) noexcept nogil:
        """The units of each kind that are in a; in part. False if it has a part of one."""
        cdef i32 i, c, node
        cdef bint whole = True
        cdef const Entry *e
        memset(self.part, 0, self.kinds.nkinds * sizeof(i64))
        for i in range(a.nentries):
            e = a.entry + i
            for node in range(e.node, e.node + max(e.count, 1)):
                c = self.component_of(node)
                if c < 0:
                    continue
                if self.how[c] == COUNT_CORES:
                    self.part[self.kinds.first[c]] += self.cores_of(node, a, e)
                else:
                    self.part[self.kinds.kind_of[node]] += 1
                    whole &= e.count > 0
        return whole

    cdef i32 cores_of(self, i32 node, const Alloc *a, const Entry *e) noexcept nogil:
        """The cores that an entry of a has of a node."""
        return self.state.inv.ncores[node] if e.count else count_bits(a.bits + e.bits, self.state.cw)

    cdef void count_holders(self, Running running, const Job *jobs) noexcept nogil:
        """How many running jobs hold some of each node; in holders."""
        cdef i32 i, n, node
        cdef const Alloc *a
        memset(self.holders, 0, self.state.inv.nnodes * sizeof(i32))
        for i in range(running.count):
            a = &jobs[running.item[i].job].alloc
            for n in range(a.nentries):
                for node in range(a.entry[n].node, a.entry[n].node + max(a.entry[n].count, 1)):
                    self.holders[node] += 1

    cdef int take_part(self, i32 c, usec_t start, usec_t end, i32 sign) except -1 nogil:
        """Give (sign 1) what is in part to a component, or take it (-1), from start to end."""
        cdef i32 first = 0, last = self.width(c)
        cdef const i64 *part = self.part + self.kinds.first[c]
        while first < last and part[first] == 0:
            first += 1
        while first < last and part[last - 1] == 0:
            last -= 1
        return change(self.profile + c, start, end, first, last, part + first, sign) if first < last else 0

    cdef int build(self, Running running, const Job *jobs) except -1 nogil:
        """The profiles, from the running jobs and the first reservation."""
        cdef i32 i, n, k, c, node
        cdef i64 units
        cdef usec_t t
        cdef const Alloc *a
        cdef const Entry *e
        self.built = True
        if self.plain:
            begin_profile(self.profile, 1, self.now, &self.free_now)
            for i in range(running.count):
                extend(self.profile, release_time(running.item[i].end, self.now), 0, jobs[running.item[i].job].units)
            change(self.profile, self.shadow, self.shadow_end, 0, 1, &self.shadow_units, -1)
            return 0
        for c in range(self.kinds.ncomponents):
            if self.how[c] != NAMED:
                begin_profile(self.profile + c, self.width(c), self.now, self.idle + self.kinds.first[c])
        if self.shared:
            self.count_holders(running, jobs)
        for i in range(running.count):
            t = release_time(running.item[i].end, self.now)
            a = &jobs[running.item[i].job].alloc
            for n in range(a.nentries):
                e = a.entry + n
                for node in range(e.node, e.node + max(e.count, 1)):
                    c = self.component_of(node)
                    if c < 0:
                        continue
                    k = self.kinds.kind_of[node] - self.kinds.first[c]
                    units = 1
                    if self.how[c] == COUNT_CORES:
                        k = 0
                        units = self.cores_of(node, a, e)
                    elif self.shared:
                        self.holders[node] -= 1
                        units = self.holders[node] == 0
                    extend(self.profile + c, t, k, units)
        return 0
