# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a pass has settled, so that the next one need not decide it again.

What a pass decides about a job follows from the jobs ahead of it in the order. So what it decided about these stands
when a job comes, goes or moves behind them. It stands, too, when time passes and the running jobs end when they were
expected to: then a planned start that comes due is the start that a pass from scratch would find, on the same
resources.

        order       a    b    c    d    e    f    g
        planned     t1   -    t2   t1   t3  |
                       (parked)              tail: to be asked

At t1, a and d start; b has no start as it waits for nodes that are down; f and g are asked. A job that comes between c
and d makes d the tail: the reservations from there on are taken back. Where some job ahead of the tail waits without a
planned start (under EASY, all but one), it may start when something ends. If that is earlier than expected, what is
reserved of its component is taken back first, and that of others stands. Then the pass that goes on comes to all jobs,
in their order. Reservations stand, those of jobs behind, too, until it comes to a job that may start, or has to have a
reservation; from there on all is planned anew:

        order       a    b    c    d    e    f    g
        planned     t1   -    t2   -    t3   -    -         depth 3; at t1, a starts, b cannot
                    DUE  STANDS    ask: there is room       go back to d: e is asked, too

A policy may keep its reservations (Operations.keeps). Then none is taken back for what comes, goes or ends, and the
policy sees to it what it does about them.
"""
from libc.stdlib cimport free

from fluxsched.core cimport domain as domains
from fluxsched.core.domain cimport Domain
from fluxsched.core.future cimport Future
from fluxsched.core.job cimport JOB_WAITING, Job
from fluxsched.core.memory cimport grow, memset
from fluxsched.core.planned cimport Planned
from fluxsched.core.queue cimport Limits, Queue
from fluxsched.core.types cimport i32, time_add, time_never, usec_t


cdef class Settled:

    def __cinit__(self, Queue queue not None, Future future not None):
        self.queue = queue
        self.future = future
        self.tail = -1

    def __dealloc__(self):
        free(self.planned)
        free(self.standing)

    cdef void begin(self, bint keeps) noexcept nogil:
        """A pass from scratch begins, of a policy that keeps its reservations or does not."""
        self.keeps = keeps
        self.holds = False
        self.nopen = 0
        self.tail = -1
        self.nplanned = 0
        self.ngone = 0
        self.first = time_never()
        self.nended = 0
        self.nstanding = 0
        self.untold = False
        self.ordered = True

    cdef void close(self, bint holds) noexcept nogil:
        """A pass has come to its end."""
        self.holds = holds
        self.nended = 0
        self.nstanding = 0
        self.untold = False
        self.future.forget_freed()

    cdef bint may_go_on(self, usec_t now, usec_t began, usec_t clock, bint expires, bint jumps) noexcept nogil:
        """Whether a pass can go on with the last one, which began then and was gone on with at clock: all has gone as
        it was expected to, up to now. expires: the instance ends some time. jumps: there is a depth behind which a job
        that cannot start changes nothing."""
        cdef bint late = self.queue.jobs.running.count > 0 and self.queue.jobs.running.item[0].end <= now
        if not self.holds or not self.future.same() or now < clock:
            return False
        # Reservations begin when something ends; an overdue job is taken to end a tick after the pass began.
        if now != began and late:
            return False
        if self.keeps:
            return not expires and not self.late(now)
        if self.nended == 0 or now == clock:
            return self.nended == 0
        return (self.first_end >= now and self.first >= now and not expires and self.future.repeats()
                and (jumps or self.whole()) and (self.ended == now or self.spares(now)))

    cdef bint hears(self, const Job *j, bint hasty) except -1 nogil:
        """A running job is about to give back what it holds: whether what was decided may hold. hasty: a job that ends
        early has all planned anew."""
        cdef bint told = (self.keeps or not hasty) and self.future.keeps(j)
        if told and not self.keeps:
            self.future.note_freed(j)
        self.untold |= not told
        return told or not self.keeps

    cdef bint spares(self, usec_t now) noexcept nogil:
        """Something has ended early. Whether it is known what that has freed, and most reservations are of nodes of
        other components: to take back one costs as much as to plan some."""
        cdef i32 i, c, nall = 0, nfreed = 0
        for i in range(0 if self.untold else self.nplanned):
            if self.planned[i].slot >= 0:
                nall += 1
                c = self.future.component(self.queue.jobs.item + self.planned[i].slot)
                nfreed += self.future.freed[c] > now
        return nall > 0 and 4 * nfreed <= nall

    cdef i32 place_of(self, i32 slot) noexcept nogil:
        """The number of the reservation of a waiting job; -1: there is none."""
        cdef i32 place = self.queue.jobs.item[slot].place
        return place if 0 <= place < self.nplanned and self.planned[place].slot == slot else -1

    cdef bint late(self, usec_t now) noexcept nogil:
        """Whether a start was planned for a time that has gone by, so that its job may no longer fit before others."""
        cdef i32 i
        for i in range(self.nplanned):
            if self.planned[i].slot >= 0 and self.planned[i].start < now:
                return True
        return False

    cdef void ask_all(self, Domain *domain, i32 ndomains, usec_t now) noexcept nogil:
        """The pass that goes on with the last one is to ask about all jobs, of which there are some, and their
        reservations stay meanwhile."""
        cdef i32 i
        cdef const Planned *p
        self.pack()
        self.tail = self.queue.peek()
        self.nopen = 0
        self.first = time_never()
        for i in range(ndomains):
            domain[i].blocked = domain[i].reserved = 0
        for i in range(self.nplanned):
            p = self.planned + i
            if p.slot >= 0:
                domain[p.domain].reserved += 1
                if p.start > now:
                    self.first = min(self.first, p.start)

    cdef int stand(self, Domain *domain, i32 ndomains, usec_t now) except -1 nogil:
        """The pass that goes on with the last one is to come to all jobs that have a reservation: see meet. What is
        reserved from now on is taken back, as a job ahead may get it, and all of components of which something has
        become free early."""
        cdef i32 i, c
        cdef Planned *p
        self.standing = <i32 *> grow(self.standing, &self.standing_room, self.future.ncomponents, sizeof(i32))
        memset(self.standing, 0, self.future.ncomponents * sizeof(i32))
        self.pack()
        domains.begin(domain, ndomains)
        self.nopen = 0
        self.first = time_never()
        self.nstanding = 0
        for i in range(self.nplanned):
            p = self.planned + i
            if p.slot < 0:
                continue
            c = self.future.component(self.queue.jobs.item + p.slot)
            if self.future.freed[c] > now:
                self.unplan(i)
                continue
            if p.start <= now:
                self.future.retract(i)
            self.nstanding += 1
            self.standing[c] += 1
        return 0

    cdef int unplan(self, i32 place) except -1 nogil:
        """Take back a reservation, whose job is to be asked again."""
        cdef Planned *p = self.planned + place
        cdef Job *j = self.queue.jobs.item + p.slot
        # What it was told stands until the next pass, and no longer.
        j.asked_in -= 1
        p.slot = -1
        self.ngone += 1
        return self.future.retract(place)

    cdef int fall_back(self, i32 slot, i32 component) except -1 nogil:
        """Take back the reservations of a component to whose jobs the pass has not come yet, which stands at a job."""
        cdef i32 i
        cdef Planned *p
        for i in range(self.nplanned if self.standing[component] else 0):
            p = self.planned + i
            if (p.slot < 0 or not self.queue.precedes(slot, p.slot)
                    or self.future.component(self.queue.jobs.item + p.slot) != component):
                continue
            self.unplan(i)
        self.nstanding -= self.standing[component]
        self.standing[component] = 0
        return 0

    cdef i32 meet(self, i32 slot, Domain *domain, usec_t now, i32 quiet_after) except -1 nogil:
        """The pass has come to a job while reservations of the last one stand: ASK, STANDS or DUE."""
        cdef Job *j = self.queue.jobs.item + slot
        cdef Domain *d = domain + j.domain
        cdef i32 place = self.place_of(slot), c = self.future.component(j)
        cdef bint quiet = quiet_after >= 0 and domains.quiet(d, quiet_after)
        if place >= 0:
            self.nstanding -= 1
            self.standing[c] -= 1
            if self.planned[place].start > now:
                self.first = min(self.first, self.planned[place].start)
                d.blocked += 1
                d.reserved += 1
                return STANDS
            self.planned[place].slot = -1
            self.ngone += 1
            if not self.future.may_grow(slot, place):
                return DUE
        elif j.parked or c < 0:
            return ASK              # it is told why, and that is all
        elif quiet and not self.future.may_start(j, now + 1 if self.standing[c] else time_add(now, j.duration)):
            # There is too little at this instant, and what is reserved behind it begins later.
            d.jumped = True
            self.nopen += 1
            return STANDS
        self.fall_back(slot, c)
        return ASK

    cdef int plan(self, i32 slot, i32 domain, usec_t start) except -1 nogil:
        """A start is reserved for a job."""
        self.planned = <Planned *> grow(self.planned, &self.planned_room, self.nplanned + 1, sizeof(Planned))
        self.ordered &= self.nstanding == 0
        self.touched = min(self.touched, start)
        self.planned[self.nplanned] = Planned(start, slot, domain)
        self.queue.jobs.item[slot].place = self.nplanned
        self.nplanned += 1
        self.first = min(self.first, start)
        return 0

    cdef void end(self, usec_t end) noexcept nogil:
        """A running job that was expected to end then has ended."""
        self.first_end = min(end, self.first_end) if self.nended else end
        self.ended = max(end, self.ended) if self.nended else end
        self.nended += 1

    cdef bint rest_waits(self, usec_t now, usec_t last) noexcept nogil:
        """Whether no job that is still to come in the order of the pass could start in it, as it is now; if so, they
        are left for the next pass to ask. last: when all jobs end; not after now: they need not."""
        cdef Limits limits
        cdef i32 slot
        if self.queue.reordered:
            return False
        # What is free only shrinks in a pass: who could not start stays so.
        slot = self.queue.seen()
        if slot >= 0 and time_add(now, self.queue.jobs.item[slot].duration) <= self.touched:
            return False
        if slot >= 0 and self.may_start(slot, now, last):
            self.touched = time_never()
            return False
        limits = self.future.limits(now, last)
        slot = self.queue.look_ahead(&limits)
        while slot >= 0 and not self.may_start(slot, now, last):
            slot = self.queue.look_ahead(&limits)
        self.touched = time_never()
        if slot < 0:
            self.tail = self.queue.peek()
        return slot < 0

    cdef bint may_start(self, i32 slot, usec_t now, usec_t last) noexcept nogil:
        cdef const Job *j = self.queue.jobs.item + slot
        cdef usec_t end = time_add(now, j.duration)
        return j.state == JOB_WAITING and self.future.may_start(j, last if now < last < end else end)

    cdef bint whole(self) noexcept nogil:
        """Whether all that wait ahead of the tail have a planned start, or are parked."""
        return self.nopen == 0

    cdef int comes(self, i32 slot, Domain *domain) except -1 nogil:
        """A job has come into the queue."""
        if not self.holds or (self.tail >= 0 and self.queue.precedes(self.tail, slot)):
            return 0
        if not self.keeps and not self.queue.is_last(slot):
            self.holds = self.whole()
            self.go_back(slot, domain)
        self.tail = slot
        return 0

    cdef int goes(self, i32 slot, Domain *domain) except -1 nogil:
        """A job is about to leave the queue."""
        cdef bint asked = self.tail < 0 or self.queue.precedes(slot, self.tail)
        if self.holds and self.keeps:
            return self.leaves(slot, domain)
        if not self.holds or (asked and self.queue.jobs.item[slot].parked):
            return 0
        if asked:
            self.holds = self.whole()
            self.go_back(slot, domain)
        if asked or slot == self.tail:
            self.tail = self.queue.behind(slot)
        return 0

    cdef int leaves(self, i32 slot, Domain *domain) except -1 nogil:
        """A job is about to leave the queue, and the reservations of those behind it stay."""
        cdef i32 place = self.place_of(slot)
        if slot == self.tail:
            self.tail = self.queue.behind(slot)
        if place < 0:
            return 0
        domain[self.planned[place].domain].blocked -= 1
        return self.retract(place, domain)

    cdef int retract(self, i32 place, Domain *domain) except -1 nogil:
        """Take back a reservation. After an error nothing holds."""
        cdef bint holds = self.holds
        domain[self.planned[place].domain].reserved -= 1
        self.planned[place].slot = -1
        self.ngone += 1
        self.holds = False
        self.future.retract(place)
        self.holds = holds
        return 0

    cdef int go_back(self, i32 slot, Domain *domain) except -1 nogil:
        """Take back the reservations of a job and of those behind it. domain: where they are counted, or NULL. After an
        error nothing holds."""
        cdef i32 i
        cdef const Planned *p
        if not self.holds:
            return 0
        self.holds = False
        self.nstanding = 0
        for i in range(self.nplanned - 1, -1, -1):
            p = self.planned + i
            if p.slot < 0:
                continue
            if not self.queue.precedes(p.slot, slot):
                if domain is not NULL:
                    domain[p.domain].reserved -= 1
                    domain[p.domain].blocked -= 1
                self.unplan(i)
            elif self.ordered:
                break
        while self.nplanned and self.planned[self.nplanned - 1].slot < 0:
            self.nplanned -= 1
            self.ngone -= 1
        self.future.cut(self.nplanned)
        self.holds = True
        return 0

    cdef void pack(self) noexcept nogil:
        """Leave out the jobs that have started since, once they are many."""
        cdef i32 i, n = 0
        if self.ngone < 64 or 2 * self.ngone < self.nplanned:
            return
        self.future.pack(self.planned, self.nplanned)
        for i in range(self.nplanned):
            if self.planned[i].slot >= 0:
                self.planned[n] = self.planned[i]
                self.queue.jobs.item[self.planned[n].slot].place = n
                n += 1
        self.nplanned = n
        self.ngone = 0
