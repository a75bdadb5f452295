# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""backfill.plugin1: backfill with reservations.

The queue is planned in order. The first reserve-depth jobs of an ordering
domain that cannot start now get their earliest start reserved; a later job
starts now if that delays no reservation. With a depth of 1 (the default) this
is EASY (Lifka 1995), with all jobs conservative backfill (Mu'alem and
Feitelson 2001, IEEE TPDS 12(6)), and between them a hybrid of the two. A job
without a duration ends never, so it does not start where it could delay a
reservation.

    flux module load sched plugin=backfill.plugin1 plugin-opts=reserve-depth=4

Options: reserve-depth=N (< 0: every waiting job; 0: no reservations), and
those of fluxsched.policy.base.ListPolicy. And:

run-times=predicted: the plan goes by run times that fluxsched.policy.predictor
predicts, not by those that were asked for.

backfill-order=shortest: behind the first reservation of each domain, jobs are
considered by the run time that the plan has for them, the shortest first, and
in the order of the queue where that is equal; a higher priority stays ahead.
With run-times=predicted and a depth of 1 this is EASY++ (Tsafrir, Etsion and
Feitelson 2007, IEEE TPDS 18(6)).

compression=true, with reserve-depth=-1: conservative backfill as Mu'alem and
Feitelson have it. A reservation stays from pass to pass. A new job gets the
earliest start that delays none. When jobs have ended before they were expected
to, each reservation in turn, the earliest first, is given back and made anew at
the earliest start that the others leave; that is never a later one. One that
cannot start earlier stays on its nodes. So it is when a waiting job with a
reservation is cancelled, or nodes come or go. Without this option each pass
plans from scratch.

The plan stays from pass to pass, too, so a reservation is looked at only for
what has become free since it was looked at last. It is made anew when nodes come
or go, a job runs beyond its end, a planned start has gone by, or a waiting job
gets another priority. Then kept reservations are given places in the order of the
queue; one that finds none at its time moves to the next at which it does.

compression-interval=SECONDS, with compression=true: the reservations are compressed once in so many seconds at the
most. In between, what becomes free early goes to the first of them, in the order of the queue, that can start at once
with it; the others keep their times. 0, the default: whenever something becomes free early.
"""
from libc.stdlib cimport free

from fluxsched.core.engine cimport GO_ON, STOP, Engine
from fluxsched.core.job cimport JOB_WAITING, WHY_RESERVED, WHY_RESOURCES, Job
from fluxsched.core.memory cimport duplicate, grow
from fluxsched.core.running cimport far_future
from fluxsched.core.types cimport USEC, i32, i64, usec_t
from fluxsched.policy.base cimport ListPolicy
from fluxsched.policy.predictor cimport Predictor

from fluxsched.core.engine import PluginError
from fluxsched.policy.options import bool_option, choice_option, int_option

# Behind all reservations.
cdef double NEW = 1e300

OWN = ("reserve-depth", "run-times", "backfill-order", "compression", "compression-interval")

cdef enum:
    NOT_DUE = 0             # the reservation stays as it is
    AT_ONCE = 1             # it is given up if its job can start now
    DUE = 2                 # it is to be compressed

# A reservation that stays from pass to pass, of the job in a slot.
cdef struct Kept:
    i64 id
    usec_t submitted
    usec_t start            # -1: there is none
    int due                 # NOT_DUE, AT_ONCE or DUE, when the job's turn comes


cdef class Plugin(ListPolicy):
    cdef:
        i32 reserve_depth
        bint predicts
        bint shortest
        bint compression
        Predictor predictor
        double *length          # [length_room] scratch: scores of jobs
        i32 length_room
        # With compression:
        Kept *kept              # [nkept] by slot
        i32 nkept
        i32 kept_room
        usec_t interval         # between two passes that compress
        usec_t compressed       # when the last pass did; -1: none has
        bint owed               # something has become free early since
        usec_t latest           # of the jobs that have ended since the last pass, when the last was expected to
        i32 generation          # of the nodes' state, at the last pass; -1: there was none
        dict restored           # job id -> [submitted, start, due], until the first pass; None: nothing
        bint lost               # jobs of restored were gone by then

    def __init__(self, name, dict options not None):
        own = dict(options)
        super().__init__(name, options, OWN)
        self.reserve_depth = int_option(own, "reserve-depth", 1, -1)
        self.predicts = choice_option(own, "run-times", ("requested", "predicted")) == "predicted"
        self.shortest = choice_option(own, "backfill-order", ("queue", "shortest")) == "shortest"
        self.compression = bool_option(own, "compression", False)
        self.interval = int_option(own, "compression-interval", 0, 0) * <usec_t> USEC
        if self.interval and not self.compression:
            raise PluginError("plugin option compression-interval: only with compression=true")
        if self.compression and (self.reserve_depth >= 0 or self.predicts or self.shortest):
            raise PluginError("plugin option compression=true: only with reserve-depth=-1, run-times=requested and "
                              "backfill-order=queue")
        if self.compression and not self.order.formula.fixed:
            raise PluginError(f"plugin option compression=true: not with order={self.order_name}, which depends on the "
                              "time")
        if self.shortest and self.reserve_depth == 0:
            raise PluginError("plugin option backfill-order=shortest: only with a reserve-depth other than 0")
        self.quiet_after = self.reserve_depth
        self.steady = self.steady and not self.predicts and not self.shortest
        self.keeps = self.compression
        self.predictor = Predictor()
        self.latest = -1
        self.compressed = -1
        self.generation = -1

    def __dealloc__(self):
        free(self.length)
        free(self.kept)

    def fork(self):
        """A policy like this one, with what it knows of users and the reservations that it keeps."""
        cdef Plugin out = ListPolicy.fork(self)
        out.predictor = self.predictor.fork()
        out.kept = <Kept *> duplicate(self.kept, self.nkept, sizeof(Kept))
        out.nkept = out.kept_room = self.nkept
        out.latest = self.latest
        out.compressed = self.compressed
        out.owed = self.owed
        out.generation = self.generation
        out.restored = self.restored
        return out

    def in_effect(self):
        """See ListPolicy; with the depth, also where it was not given."""
        return {"reserve-depth": str(self.reserve_depth), **ListPolicy.in_effect(self)}

    def state(self):
        """That of the order, what is known of users, and the reservations that are kept."""
        cdef i32 job
        kept = self.restored
        if kept is None:
            kept = {str(self.kept[job].id): [self.kept[job].submitted, self.kept[job].start, self.kept[job].due]
                    for job in range(self.nkept) if self.kept[job].start >= 0}
        return {**ListPolicy.state(self), "predictor": self.predictor.state(), "latest": self.latest,
                "compressed": self.compressed, "owed": bool(self.owed), "generation": self.generation, "kept": kept}

    def restore(self, state):
        """Be in the state that another policy of this name and options told of."""
        ListPolicy.restore(self, state)
        self.predictor.restore(state["predictor"])
        self.latest = state["latest"]
        self.compressed = state["compressed"]
        self.owed = state["owed"]
        self.generation = state["generation"]
        self.restored = state["kept"]

    cdef int ended(self, Engine e, i32 job) except -1 nogil:
        if self.predicts:
            self.predictor.ended(e.job(job))
        self.latest = max(self.latest, e.job(job).end)
        return 0

    cdef int sched_loop_setup(self, Engine e) except -1 nogil:
        if self.predicts:
            self.predictor.apply(e)
        ListPolicy.sched_loop_setup(self, e)
        if self.compression:
            e.hasty = False         # a pass must come to all jobs, also where no more can start
            self.need_kept(e)
            if self.restored is not None:
                with gil:
                    self.find_restored(e)
            self.go_on(e) if e.settled.holds else self.begin_anew(e)
            self.latest = -1
            self.generation = e.eligible.generation
        return 0

    cdef int find_resources(self, Engine e, i32 job) except -1 nogil:
        cdef Kept *kept
        cdef i32 place
        if self.compression and self.has_kept(e, job):
            kept = self.kept + job
            place = e.settled.place_of(job)
            if kept.start > e.clock and (place < 0 or not (
                    e.future.may_move_up(job, place) if kept.due == DUE
                    else kept.due == AT_ONCE and e.future.may_start_early(job, place))):
                return 0
            if place >= 0:
                e.settled.retract(place, e.domain)
        return e.fits_now(job)

    cdef int reserve_resources(self, Engine e, i32 job) except -1 nogil:
        cdef i32 reserved = e.reserved(job)
        if e.settled.place_of(job) >= 0:
            # Its own is no other's.
            reserved -= 1
        e.explain(job, WHY_RESERVED if reserved else WHY_RESOURCES)
        if self.compression:
            return self.reserve_kept(e, job)
        if self.reserve_depth < 0 or reserved < self.reserve_depth:
            if e.reserve(job) and reserved == 0 and self.shortest:
                self.shortest_first(e)
        elif e.nothing_free():
            return STOP
        return GO_ON

    cdef int shortest_first(self, Engine e) except -1 nogil:
        """Let the rest of the pass go by run time, but for domains that have no reservation yet: their jobs come first,
        in their order."""
        cdef i32 i, job, count = e.queue.rest()
        self.length = <double *> grow(self.length, &self.length_room, count, sizeof(double))
        for i in range(count):
            job = e.queue.order[e.queue.at_order + i]
            self.length[i] = <double> e.job(job).duration if e.reserved(job) else -1.0
        return e.queue.reorder_rest(self.length)

    # Compression.

    cdef bint has_kept(self, Engine e, i32 job) noexcept nogil:
        """Whether a reservation is kept for the job in a slot."""
        cdef const Job *j = e.job(job)
        return (job < self.nkept and self.kept[job].start >= 0 and self.kept[job].id == j.id
                and self.kept[job].submitted == j.submitted)

    cdef int need_kept(self, Engine e) except -1 nogil:
        """Room for what is kept of all jobs, and for their scores."""
        cdef i32 job, old = self.nkept
        self.kept = <Kept *> grow(self.kept, &self.kept_room, e.jobs.count, sizeof(Kept))
        for job in range(old, e.jobs.count):
            self.kept[job].start = -1
        self.nkept = max(old, e.jobs.count)
        self.length = <double *> grow(self.length, &self.length_room, e.queue.count, sizeof(double))
        return 0

    cdef bint drop_gone(self, Engine e) noexcept nogil:
        """Drop the reservations of jobs that were cancelled, and say whether there are any; that of a job that starts
        is dropped at its start."""
        cdef i32 job
        cdef bint any = False
        for job in range(self.nkept):
            if self.kept[job].start >= 0 and not (e.job(job).state == JOB_WAITING and self.has_kept(e, job)):
                self.kept[job].start = -1
                any = True
        return any

    cdef int find_due(self, Engine e) noexcept nogil:
        """What a pass that begins is to do about the reservations: something may have become free early."""
        cdef bint early = (self.drop_gone(e) or self.lost or self.latest > e.clock
                           or 0 <= self.generation != e.eligible.generation)
        self.owed |= early
        self.lost = False
        if self.owed and (self.compressed < 0 or e.clock - self.compressed >= self.interval):
            self.compressed = e.clock
            self.owed = False
            return DUE
        return AT_ONCE if early else NOT_DUE

    cdef int begin_anew(self, Engine e) except -1 nogil:
        """Put the reservations that are kept in the plan of a pass from scratch, and find out whether they are to be
        compressed; the pass goes by their starts, and then to the new jobs."""
        cdef i32 i, job
        cdef int due = self.find_due(e)
        cdef const i32 *slots
        if e.queue.count == 0:
            return 0
        slots = e.queue.flat()
        for i in range(e.queue.count):
            job = slots[i]
            self.length[i] = NEW
            if not self.has_kept(e, job):
                continue
            if e.future.check_parked(e.jobs.item + job, e.removal):
                # When its nodes are back, it is as a new one.
                self.kept[job].start = -1
                continue
            self.length[i] = <double> self.kept[job].start
            self.kept[job].due = max(self.kept[job].due, due)
            self.reserve_at(e, job, self.kept[job].start)
        return 0 if due == AT_ONCE else e.reorder(self.length, False)

    cdef int go_on(self, Engine e) except -1 nogil:
        """The reservations are in the plan that the pass goes on with. Where they are to be compressed, or some have
        come to their starts, it goes by these, and then to the new jobs; where something may start at once, by the
        order of the queue; otherwise it asks about new jobs alone."""
        cdef i32 i, job
        cdef int due = self.find_due(e)
        cdef const i32 *slots
        if (not due and e.settled.first > e.clock) or e.queue.count == 0:
            return 0
        e.settled.ask_all(e.domain, e.ndomains, e.clock)
        slots = e.queue.flat()
        for i in range(e.queue.count):
            job = slots[i]
            self.length[i] = <double> self.kept[job].start if self.has_kept(e, job) else NEW
            self.kept[job].due = max(self.kept[job].due, due)
        return 0 if due == AT_ONCE else e.reorder(self.length, False)

    cdef int find_restored(self, Engine e) except -1:
        """The reservations that were restored are those of jobs that wait. One whose job has gone since is free early,
        as one that drop_gone finds."""
        cdef i32 job
        cdef i64 found = 0
        for job in range(e.jobs.count):
            kept = self.restored.get(str(e.job(job).id)) if e.job(job).state == JOB_WAITING else None
            if kept is not None and kept[0] == e.job(job).submitted:
                self.kept[job] = Kept(e.job(job).id, kept[0], kept[1], kept[2])
                found += 1
        self.lost = found < len(self.restored)
        self.restored = None
        return 0

    cdef int reserve_at(self, Engine e, i32 job, usec_t least) except -1 nogil:
        """Reserve a start that is not before a time, and keep it; GO_ON.  Jobs have room in kept since the pass began:
        those that came since are not asked about."""
        self.kept[job].start = -1
        if e.reserve_from(job, least):
            self.kept[job].id = e.job(job).id
            self.kept[job].submitted = e.job(job).submitted
            self.kept[job].start = e.settled.planned[e.settled.nplanned - 1].start
            if least > e.clock:
                e.future.loosen(e.settled.nplanned - 1)
        return GO_ON

    cdef int reserve_kept(self, Engine e, i32 job) except -1 nogil:
        """A job cannot start now: it keeps its reservation, or gets one."""
        cdef usec_t start
        self.kept[job].due = NOT_DUE
        if e.settled.place_of(job) < 0:
            return self.reserve_at(e, job, e.clock)
        start = self.kept[job].start
        e.jobs.item[job].estimate = start if start < far_future() else -1
        return GO_ON

    cdef int allocate_resources(self, Engine e, i32 job) except -1 nogil:
        if self.compression and job < self.nkept:
            self.kept[job].start = -1
        if self.predicts:
            self.predictor.started(e.job(job))
        return ListPolicy.allocate_resources(self, e, job)
