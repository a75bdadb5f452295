# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Queue orders: by what score a policy sorts the waiting jobs before a pass.

A score is a function of a job's submit time, requested time and cores, and of now; the lowest comes first, equal
scores in submit order.  Jobs of a higher priority stay ahead of all others, whatever their score.

Plugin options: order=NAME; aging=SECONDS (default a week, in the simulator 0, which is none): a job that has waited so
long goes to the front, in submit order.  So none starves where the head of the queue cannot be passed for ever: under
sched.plugin1 and under backfill.plugin1 with reserve-depth other than 0.  For order=multifactor: weight-age,
weight-size, weight-fairshare, max-age and half-life (see ORDERS).
"""
from libc.math cimport exp2, isnan, log2, log10, sqrt
from libc.stdlib cimport free

from fluxsched.core.engine cimport Engine
from fluxsched.core.job cimport JOB_WAITING, Job
from fluxsched.core.memory cimport duplicate, grow, memset, qsort, zeroed
from fluxsched.core.types cimport USEC, i32, i64, time_never, usec_t

from fluxsched.core.engine import PluginError

OPTIONS = ("order", "aging", "weight-age", "weight-size", "weight-fairshare", "max-age", "half-life")

# Seconds that a job without a duration is taken to ask for: ten years.
cdef double UNLIMITED = 315360000.0
# Ahead of every score.
cdef double FRONT = -1e300

# What the place of a waiting job depends on.
cdef struct Ranked:
    i64 priority
    double score
    i64 sequence
    i64 id
    i32 slot

cdef Facts BARE = Facts(0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1000.0, 1000.0, 1000.0, 604800.0)


cdef double fcfs(const Facts *f) noexcept nogil:
    return f.submit


cdef double sjf(const Facts *f) noexcept nogil:
    return f.request


cdef double ljf(const Facts *f) noexcept nogil:
    return -f.request


cdef double saf(const Facts *f) noexcept nogil:
    return f.request * f.cores


cdef double laf(const Facts *f) noexcept nogil:
    return -f.request * f.cores


cdef double wfp3(const Facts *f) noexcept nogil:
    cdef double ratio = f.wait / f.request
    return -ratio * ratio * ratio * f.cores


cdef double unicef(const Facts *f) noexcept nogil:
    return -f.wait / ((log2(f.cores) if f.cores > 2.0 else 1.0) * f.request)


cdef double f1(const Facts *f) noexcept nogil:
    return log10(f.request) * f.cores + 870.0 * log10(f.submit if f.submit > 1.0 else 1.0)


cdef double f2(const Facts *f) noexcept nogil:
    return sqrt(f.request) * f.cores + 25600.0 * log10(f.submit if f.submit > 1.0 else 1.0)


cdef double f3(const Facts *f) noexcept nogil:
    return f.request * f.cores + 6860000.0 * log10(f.submit if f.submit > 1.0 else 1.0)


cdef double f4(const Facts *f) noexcept nogil:
    return f.request * sqrt(f.cores) + 530000.0 * log10(f.submit if f.submit > 1.0 else 1.0)


cdef double multifactor(const Facts *f) noexcept nogil:
    return -(f.weight_age * (f.wait / f.max_age if f.wait < f.max_age else 1.0)
             + f.weight_size * (f.cores / f.machine) + f.weight_fairshare * exp2(-f.usage / f.share))


cdef void sift(Aging *heap, i32 count, i32 at) noexcept nogil:
    """Let the item at a place of the heap sink to where it belongs."""
    cdef Aging item = heap[at]
    cdef i32 down
    while True:
        down = 2 * at + 1
        if down >= count:
            break
        if down + 1 < count and heap[down + 1].submitted < heap[down].submitted:
            down += 1
        if heap[down].submitted >= item.submitted:
            break
        heap[at] = heap[down]
        at = down
    heap[at] = item


cdef class Formula:

    def __init__(self):
        raise TypeError("the formulas are in ORDERS")

    def __call__(self, **facts):
        """The score by these facts (the names of Facts; what is not named counts as in BARE; wait: by default
        now - submit). Raises TypeError for another name."""
        cdef Facts f = BARE
        known = f
        unknown = set(facts) - set(known)
        if unknown:
            raise TypeError(f"{self.name}: {sorted(unknown)[0]!r}: expected one of {', '.join(known)}")
        f = {**known, "wait": facts.get("now", 0.0) - facts.get("submit", 0.0), **facts}
        return self.score(&f)


cdef Formula formula(str name, score_t score, bint fixed, str meaning, str source):
    cdef Formula out = Formula.__new__(Formula)
    out.name = name
    out.score = score
    out.fixed = fixed
    out.meaning = meaning
    out.source = source
    return out


# All orders there are. To add one: a function of Facts above, and a line here.
ORDERS = {order.name: order for order in (
    formula("fcfs", fcfs, True, "first come, first served: the submit time", ""),
    formula("sjf", sjf, True, "shortest job first: the requested time", ""),
    formula("ljf", ljf, True, "longest job first: less the requested time", ""),
    formula("saf", saf, True, "smallest area first: requested time times cores",
            "Carastan-Santos, de Camargo, Trystram, Zrigui: One can only gain by replacing EASY backfilling, "
            "CCGrid 2019"),
    formula("laf", laf, True, "largest area first: less requested time times cores", ""),
    formula("wfp3", wfp3, False, "-(wait / request)**3 * cores, which favours old, short and large jobs",
            "Tang, Lan, Desai, Buettner: Fault-aware, utility-based job scheduling on Blue Gene/P systems, "
            "CLUSTER 2009"),
    formula("unicef", unicef, False, "-wait / (log2(cores) * request), which favours old, short and small jobs; log2 "
            "is taken as at least 1, so that one core counts as two", "Tang and others, CLUSTER 2009, as wfp3"),
    formula("f1", f1, True, "log10(request) * cores + 870 * log10(submit), the submit time counted from the oldest "
            "job's and taken as at least 1 s",
            "Carastan-Santos and de Camargo: Obtaining dynamic scheduling policies with simulation and machine "
            "learning, SC 2017"),
    formula("f2", f2, True, "sqrt(request) * cores + 25600 * log10(submit), the submit time as for f1",
            "Carastan-Santos and de Camargo, SC 2017, as f1"),
    formula("f3", f3, True, "request * cores + 6860000 * log10(submit), the submit time as for f1",
            "Carastan-Santos and de Camargo, SC 2017, as f1"),
    formula("f4", f4, True, "request * sqrt(cores) + 530000 * log10(submit), the submit time as for f1",
            "Carastan-Santos and de Camargo, SC 2017, as f1"),
    formula("multifactor", multifactor, False, "-(weight-age * min(wait / max-age, 1) + weight-size * cores / machine "
            "+ weight-fairshare * 2**(-usage / share)); usage: the user's part of all usage, 0 to 1; share: 1 / number "
            "of users that have run jobs. A job is charged to its user when it starts, with cores times requested "
            "time, and usage is halved every half-life",
            "the formula of Slurm's priority/multifactor plugin with its classic fair share, less the factors that a "
            "trace does not have"),
)}


cdef double number(dict options, str key, double default, double least, double most) except? -1:
    cdef double value
    text = options.pop(key, None)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if isnan(value) or not least <= value <= most:
        raise PluginError(f"plugin option {key}={text}: expected a number from {least:g} to {most:g}")
    return value


cdef class Order:

    def __init__(self, dict options not None):
        """Take order, aging and what goes with them out of a plugin's options.  Raises PluginError."""
        name = options.pop("order", "fcfs")
        if name not in ORDERS:
            raise PluginError(f"plugin option order={name}: expected one of {', '.join(ORDERS)}")
        self.formula = ORDERS[name]
        if name != "multifactor":
            for key in OPTIONS[2:]:
                if key in options:
                    raise PluginError(f"plugin option {key}: only with order=multifactor")
        self.aging = number(options, "aging", 604800.0, 0.0, 1e10)
        self.made_at = -1
        self.facts = BARE
        self.facts.weight_age = number(options, "weight-age", 1000.0, 0.0, 1e9)
        self.facts.weight_size = number(options, "weight-size", 1000.0, -1e9, 1e9)
        self.facts.weight_fairshare = number(options, "weight-fairshare", 1000.0, 0.0, 1e9)
        self.facts.max_age = number(options, "max-age", 604800.0, 1.0, 1e10)
        self.half_life = number(options, "half-life", 604800.0, 1.0, 1e10)

    def __dealloc__(self):
        free(self.usage)
        free(self.young)
        free(self.score)

    def in_effect(self):
        """The options that this order goes by, those that were not given too, as a dict of strings."""
        found = {"order": self.formula.name, "aging": f"{self.aging:.16g}"}
        if self.formula.score == multifactor:
            values = (self.facts.weight_age, self.facts.weight_size, self.facts.weight_fairshare, self.facts.max_age,
                      self.half_life)
            found.update((key, f"{value:.16g}") for key, value in zip(OPTIONS[2:], values))
        return found

    cdef Order fork(self):
        """The same order, with what it knows of users and of the queue, for a copy of its engine."""
        cdef Order out = Order.__new__(Order)
        out.formula = self.formula
        out.aging = self.aging
        out.half_life = self.half_life
        out.facts = self.facts
        out.started = self.started
        out.origin = self.origin
        out.usage_at = self.usage_at
        out.usage = <double *> duplicate(self.usage, self.nusers, sizeof(double))
        out.nusers = out.user_room = self.nusers
        out.total = self.total
        out.scored = self.scored
        out.kept_at = self.kept_at
        out.young = <Aging *> duplicate(self.young, self.nyoung, sizeof(Aging))
        out.nyoung = out.young_room = self.nyoung
        # The order of the last pass stays with its queue.
        out.made_at = -1
        return out

    def state(self):
        """What it has learnt, for restore: a dict of JSON values."""
        cdef i32 i
        return {"started": bool(self.started), "origin": self.origin, "usage_at": self.usage_at, "total": self.total,
                "usage": [self.usage[i] for i in range(self.nusers)]}

    def restore(self, state not None):
        """Be in the state that another order of these options told of. Raises KeyError, TypeError, ValueError."""
        cdef i32 i
        usage = [float(amount) for amount in state["usage"]]
        self.usage = <double *> grow(self.usage, &self.user_room, len(usage), sizeof(double))
        self.nusers = len(usage)
        for i in range(self.nusers):
            self.usage[i] = usage[i]
        self.total = state["total"]
        self.usage_at = state["usage_at"]
        self.origin = state["origin"]
        self.started = state["started"]

    cdef int apply(self, Engine e) except -1 nogil:
        """Put the engine's queue in order for the pass that begins; for sched_loop_setup."""
        if self.formula.score == fcfs or e.queue.count == 0:
            return 0
        if not self.started:
            self.origin = oldest(e)
            self.started = True
        return self.keep(e) if self.formula.fixed else self.make(e)

    cdef int score_of(self, Engine e, i32 job, double *out) except -1 nogil:
        """The fixed score of a job, by which the queue keeps it; 0 for an order that is made for each pass."""
        out[0] = 0.0
        if self.formula.score == fcfs or not self.formula.fixed or not self.started:
            return 0
        self.watch(e, job)
        if e.job(job).submitted < self.origin:
            # The scores of the others change with the origin: they are made anew before the next pass.
            self.origin = e.job(job).submitted
            self.scored = False
        self.look_at(e, e.job(job))
        out[0] = self.formula.score(&self.facts)
        return 0

    # Fixed scores.

    cdef int keep(self, Engine e) except -1 nogil:
        """Let the queue be in order, and jobs that are old enough at its front."""
        cdef Aging young
        if not self.scored or e.now < self.kept_at:
            self.scored = False
            self.nyoung = 0
            e.rescore()
            self.scored = True
        self.kept_at = e.now
        while self.nyoung and e.now - self.young[0].submitted >= self.aging * USEC:
            young = self.young[0]
            if self.watched(e, &young):
                e.move(young.slot, e.job(young.slot).priority, FRONT)
            self.nyoung -= 1
            self.young[0] = self.young[self.nyoung]
            sift(self.young, self.nyoung, 0)
        return 0

    cdef bint watched(self, Engine e, const Aging *young) noexcept nogil:
        """Whether the job still waits."""
        cdef const Job *j = e.job(young.slot)
        return j.state == JOB_WAITING and j.id == young.id and j.submitted == young.submitted

    cdef int watch(self, Engine e, i32 job) except -1 nogil:
        """Note when a job will be old enough for the front of the queue."""
        cdef i32 i, up, kept = 0
        cdef Aging young = Aging(e.job(job).submitted, e.job(job).id, job)
        if self.aging <= 0:
            return 0
        if self.nyoung == self.young_room and self.nyoung > 2 * e.queue.count + 64:
            for i in range(self.nyoung):
                if self.watched(e, self.young + i):
                    self.young[kept] = self.young[i]
                    kept += 1
            self.nyoung = kept
            for i in range(kept / 2 - 1, -1, -1):
                sift(self.young, kept, i)
        self.young = <Aging *> grow(self.young, &self.young_room, self.nyoung + 1, sizeof(Aging))
        i = self.nyoung
        self.nyoung += 1
        while i:
            up = (i - 1) >> 1
            if self.young[up].submitted <= young.submitted:
                break
            self.young[i] = self.young[up]
            i = up
        self.young[i] = young
        return 0

    # Scores of the time.

    cdef int make(self, Engine e) except -1 nogil:
        """Let the pass that begins have an order of its own: the last one, if nothing that it depends on changed."""
        cdef i32 i, active = 0
        cdef const i32 *slots
        if (e.now == self.made_at and e.queue.version == self.made_for and e.state.up_cores == self.made_machine
                and not self.charged):
            e.queue.again()
            return 0
        self.score = <double *> grow(self.score, &self.score_room, e.queue.count, sizeof(double))
        slots = e.queue.flat()
        self.decay(e.now)
        for i in range(self.nusers):
            active += self.usage[i] > 0
        self.facts.share = 1.0 / active if active else 1.0
        self.facts.machine = <double> e.state.up_cores if e.state.up_cores > 0 else 1.0
        self.facts.now = <double> (e.now - self.origin) / USEC
        for i in range(e.queue.count):
            self.look_at(e, e.job(slots[i]))
            if self.aging > 0 and self.facts.wait >= self.aging:
                self.score[i] = FRONT
            else:
                self.score[i] = self.formula.score(&self.facts)
        e.reorder(self.score, True)
        self.made_at = e.now
        self.made_for = e.queue.version
        self.made_machine = e.state.up_cores
        self.charged = False
        return 0

    cdef void look_at(self, Engine e, const Job *j) noexcept nogil:
        """Let facts be those of a job."""
        cdef Facts *f = &self.facts
        f.submit = <double> (j.submitted - self.origin) / USEC
        f.request = UNLIMITED if j.limit == time_never() else <double> j.limit / USEC
        if f.request < 1e-6:
            f.request = 1e-6
        f.cores = <double> cores_of(e, j)
        f.wait = f.now - f.submit if f.now > f.submit else 0.0
        f.usage = self.usage[j.user] / self.total if j.user < self.nusers and self.total > 0 else 0.0

    def ranking(self, Engine e not None, double now, i32 most):
        """The waiting jobs in the order in which a pass at this time (s) would consider them, at most so many: tuples
        of job id, score (None for first come, first served) and parts, a dict of what the score is made of: wait and
        request (s), cores; under multifactor also age, size and fairshare, whose sum is less the score, and usage, the
        user's part of all usage."""
        cdef i32 i
        cdef Facts kept = self.facts
        cdef usec_t origin = self.origin
        cdef Ranked *ranked = rank_all(self, e, now)
        try:
            qsort(ranked, e.queue.count, sizeof(Ranked), compare_ranked)
            return [self.rank(e, e.job(ranked[i].slot)) for i in range(min(most, e.queue.count))]
        finally:
            self.facts = kept
            self.origin = origin
            free(ranked)

    def ahead(self, Engine e not None, i32 job, double now, i32 most):
        """Which jobs of its domain are ahead of a waiting one in that order: a tuple of their number, the first of them
        as pairs of job id and score, at most so many (1 or more), and the job's own score."""
        cdef i32 i, k, count = 0
        cdef i32 domain = e.job(job).domain
        cdef Facts kept = self.facts
        cdef usec_t origin = self.origin
        cdef Ranked own = Ranked(0, 0.0, 0, 0, job)
        cdef Ranked *first = <Ranked *> zeroed(most, sizeof(Ranked))
        cdef Ranked *ranked = NULL
        try:
            ranked = rank_all(self, e, now)
            with nogil:
                for i in range(e.queue.count):
                    if ranked[i].slot == job:
                        own = ranked[i]
                for i in range(e.queue.count):
                    if e.job(ranked[i].slot).domain != domain or compare_ranked(ranked + i, &own) >= 0:
                        continue
                    k = min(count, most)
                    count += 1
                    # Most that come late in the queue are behind the first few.
                    if k == most and compare_ranked(ranked + i, first + k - 1) >= 0:
                        continue
                    k -= k == most
                    while k and compare_ranked(ranked + i, first + k - 1) < 0:
                        first[k] = first[k - 1]
                        k -= 1
                    first[k] = ranked[i]
            named = [self.rank(e, e.job(first[i].slot))[:2] for i in range(min(count, most))]
            return count, named, self.rank(e, e.job(job))[1]
        finally:
            self.facts = kept
            self.origin = origin
            free(first)
            free(ranked)

    cdef tuple rank(self, Engine e, const Job *j):
        """The row of a waiting job in ranking; facts has the time."""
        cdef Facts *f = &self.facts
        self.look_at(e, j)
        parts = {"wait": f.wait, "request": 0.0 if j.limit == time_never() else f.request, "cores": <i64> f.cores}
        if self.formula.score == fcfs:
            return j.id, None, parts
        if self.formula.score == multifactor:
            parts["age"] = f.weight_age * (f.wait / f.max_age if f.wait < f.max_age else 1.0)
            parts["size"] = f.weight_size * (f.cores / f.machine)
            parts["fairshare"] = f.weight_fairshare * exp2(-f.usage / f.share)
            parts["usage"] = f.usage
        return j.id, self.formula.score(f), parts

    cdef void decay(self, usec_t now) noexcept nogil:
        """Bring the usage to now."""
        cdef i32 i
        cdef double factor
        if now <= self.usage_at:
            return
        factor = exp2(-(<double> (now - self.usage_at) / USEC) / self.half_life)
        self.usage_at = now
        self.total *= factor
        for i in range(self.nusers):
            self.usage[i] *= factor

    cdef int charge(self, Engine e, i32 job) except -1 nogil:
        """Charge a job that starts to its user; for allocate_resources."""
        cdef const Job *j = e.jobs.item + job
        cdef i32 old = self.nusers
        cdef double amount
        if self.formula.score != multifactor:
            return 0
        if j.user >= self.nusers:
            self.usage = <double *> grow(self.usage, &self.user_room, j.user + 1, sizeof(double))
            memset(self.usage + old, 0, (j.user + 1 - old) * sizeof(double))
            self.nusers = j.user + 1
        self.charged = True
        self.decay(e.now)
        amount = cores_of(e, j) * (UNLIMITED if j.limit == time_never() else <double> j.limit / USEC)
        self.usage[j.user] += amount
        self.total += amount
        return 0


cdef int compare_ranked(const void *a, const void *b) noexcept nogil:
    """The order of a pass: higher priorities first, then lower scores, then what was submitted first."""
    cdef const Ranked *x = <const Ranked *> a
    cdef const Ranked *y = <const Ranked *> b
    if x.priority != y.priority:
        return -1 if x.priority > y.priority else 1
    if x.score != y.score:
        return -1 if x.score < y.score else 1
    if x.sequence != y.sequence:
        return -1 if x.sequence < y.sequence else 1
    return (x.id > y.id) - (x.id < y.id)


cdef Ranked *rank_all(Order order, Engine e, double now) except NULL:
    """What the order of a pass at this time (s) goes by, of each waiting job, in the order of the queue; the caller
    frees it, and gives the order its facts and its origin back, which are those of that time meanwhile."""
    cdef i32 i
    cdef const Job *j
    cdef const i32 *slots = e.queue.flat()
    cdef Ranked *out = <Ranked *> zeroed(e.queue.count, sizeof(Ranked))
    if not order.started:
        order.origin = oldest(e)
    order.facts.now = now - order.origin / <double> USEC
    with nogil:
        for i in range(e.queue.count):
            j = e.job(slots[i])
            out[i] = Ranked(j.priority, 0.0, j.sequence, j.id, slots[i])
            if order.formula.score != fcfs:
                order.look_at(e, j)
                out[i].score = (FRONT if 0 < order.aging <= order.facts.wait else order.formula.score(&order.facts))
    return out


cdef usec_t oldest(Engine e) noexcept nogil:
    """The least submit time of the waiting jobs."""
    cdef i32 c, i
    cdef usec_t least = time_never()
    for c in range(e.queue.nchunks):
        for i in range(e.queue.chunk[c].count):
            least = min(least, e.job(e.queue.chunk[c].slot[i]).submitted)
    return least


cdef i64 cores_of(Engine e, const Job *j) noexcept nogil:
    """Cores that a request takes."""
    cdef i64 slots = <i64> j.nslots * (j.nnodes if j.nnodes else 1)
    cdef i64 cores = slots * (j.cores if j.cores else 1)
    if j.exclusive and e.inventory.nnodes and j.nnodes:
        if cores < <i64> j.nnodes * e.inventory.class_cores[0]:
            cores = <i64> j.nnodes * e.inventory.class_cores[0]
    return cores
