# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Queue orders: by what score a policy sorts the waiting jobs before a pass.

A score is a function of a job's submit time, requested time and cores, and of now; the lowest comes first, equal
scores in submit order.  Jobs of a higher priority stay ahead of all others, whatever their score.

Plugin options: order=NAME; aging=SECONDS (default a week, 0 = none): a job that has waited so long goes to the
front, in submit order.  So none starves where the head of the queue cannot be passed for ever: under sched.plugin1
and under backfill.plugin1 with reserve-depth other than 0.  For order=multifactor: weight-age, weight-size,
weight-fairshare, max-age and half-life (see `score_multifactor`).
"""
from libc.math cimport exp2, isnan, log2, log10
from libc.stdlib cimport free
from libc.string cimport memset

from fluxsched.core.alloc cimport grown
from fluxsched.core.engine cimport Engine
from fluxsched.core.job cimport Job
from fluxsched.core.memory cimport no_memory
from fluxsched.core.types cimport USEC, i32, i64, time_never, usec_t

from fluxsched.core.engine import PluginError

cdef enum Kind:
    FCFS
    SJF
    LJF
    SAF
    LAF
    WFP3
    UNICEF
    F1
    MULTIFACTOR

NAMES = ("fcfs", "sjf", "ljf", "saf", "laf", "wfp3", "unicef", "f1", "multifactor")
OPTIONS = ("order", "aging", "weight-age", "weight-size", "weight-fairshare", "max-age", "half-life")

# Seconds that a job without a duration is taken to ask for: ten years.
cdef double UNLIMITED = 315360000.0
# Ahead of every score.
cdef double FRONT = -1e300


cdef double c_sjf(double submit, double request, double cores, double now) noexcept nogil:
    return request


cdef double c_ljf(double submit, double request, double cores, double now) noexcept nogil:
    return -request


cdef double c_saf(double submit, double request, double cores, double now) noexcept nogil:
    return request * cores


cdef double c_laf(double submit, double request, double cores, double now) noexcept nogil:
    return -request * cores


cdef double c_wfp3(double submit, double request, double cores, double now) noexcept nogil:
    cdef double ratio = (now - submit) / request
    return -ratio * ratio * ratio * cores


cdef double c_unicef(double submit, double request, double cores, double now) noexcept nogil:
    return -(now - submit) / ((log2(cores) if cores > 2.0 else 1.0) * request)


cdef double c_f1(double submit, double request, double cores, double now) noexcept nogil:
    return log10(request) * cores + 870.0 * log10(submit if submit > 1.0 else 1.0)


cdef double c_multifactor(double age, double size, double fairshare, double weight_age, double weight_size,
                          double weight_fairshare) noexcept nogil:
    return -(weight_age * age + weight_size * size + weight_fairshare * fairshare)


def score_fcfs(double submit, double request, double cores, double now):
    """First come, first served: the submit time."""
    return submit


def score_sjf(double submit, double request, double cores, double now):
    """Shortest job first: the requested time."""
    return c_sjf(submit, request, cores, now)


def score_ljf(double submit, double request, double cores, double now):
    """Longest job first: less the requested time."""
    return c_ljf(submit, request, cores, now)


def score_saf(double submit, double request, double cores, double now):
    """Smallest area first: requested time times cores.  (Carastan-Santos, de Camargo, Trystram, Zrigui: One can
    only gain by replacing EASY backfilling, CCGrid 2019.)"""
    return c_saf(submit, request, cores, now)


def score_laf(double submit, double request, double cores, double now):
    """Largest area first: less requested time times cores."""
    return c_laf(submit, request, cores, now)


def score_wfp3(double submit, double request, double cores, double now):
    """WFP3: -(wait / request)**3 * cores, which favours old, short and large jobs.  (Tang, Lan, Desai, Buettner:
    Fault-aware, utility-based job scheduling on Blue Gene/P systems, CLUSTER 2009.)"""
    return c_wfp3(submit, request, cores, now)


def score_unicef(double submit, double request, double cores, double now):
    """UNICEF: -wait / (log2(cores) * request), which favours old, short and small jobs; log2 is taken as at
    least 1, so that one core counts as two.  (Tang and others, CLUSTER 2009, as above.)"""
    return c_unicef(submit, request, cores, now)


def score_f1(double submit, double request, double cores, double now):
    """F1: log10(request) * cores + 870 * log10(submit), the submit time counted from the first job's and taken as
    at least 1 s.  (Carastan-Santos and de Camargo: Obtaining dynamic scheduling policies with simulation and machine
    learning, SC 2017.)"""
    return c_f1(submit, request, cores, now)


def score_multifactor(double wait, double cores, double machine, double usage, double share, *,
                      double weight_age=1000.0, double weight_size=1000.0, double weight_fairshare=1000.0,
                      double max_age=604800.0):
    """Multifactor: -(weight-age * min(wait / max-age, 1) + weight-size * cores / machine
    + weight-fairshare * 2**(-usage / share)).

    wait and max_age in s; cores of the job and the machine; usage: the user's part of all decayed usage, 0 to 1; share:
    1 / number of users that have run jobs.  A job is charged to its user when it starts, with cores times
    requested time, and usage is halved every half-life.  (The formula of Slurm's priority/multifactor plugin with
    its classic fair share, less its factors that a trace does not have.)
    """
    age = wait / max_age
    return c_multifactor(age if age < 1.0 else 1.0, cores / machine, exp2(-usage / share), weight_age, weight_size,
                         weight_fairshare)


SCORES = {"fcfs": score_fcfs, "sjf": score_sjf, "ljf": score_ljf, "saf": score_saf, "laf": score_laf,
          "wfp3": score_wfp3, "unicef": score_unicef, "f1": score_f1}


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
        self.name = options.pop("order", "fcfs")
        if self.name not in NAMES:
            raise PluginError(f"plugin option order={self.name}: expected one of {', '.join(NAMES)}")
        self.kind = NAMES.index(self.name)
        if self.kind != MULTIFACTOR:
            for key in OPTIONS[2:]:
                if key in options:
                    raise PluginError(f"plugin option {key}: only with order=multifactor")
        self.aging = number(options, "aging", 604800.0, 0.0, 1e10)
        self.weight_age = number(options, "weight-age", 1000.0, 0.0, 1e9)
        self.weight_size = number(options, "weight-size", 1000.0, -1e9, 1e9)
        self.weight_fairshare = number(options, "weight-fairshare", 1000.0, 0.0, 1e9)
        self.max_age = number(options, "max-age", 604800.0, 1.0, 1e10)
        self.half_life = number(options, "half-life", 604800.0, 1.0, 1e10)

    def __dealloc__(self):
        free(self.usage)
        free(self.score)

    cdef int apply(self, Engine e) except -1 nogil:
        """Put the engine's queue in order for the pass that begins; for sched_loop_setup."""
        cdef i32 i, active = 0
        cdef const Job *j
        cdef double submit, request, cores, now, wait, value, share, used
        cdef i64 machine = e.state.up_cores if e.state.up_cores > 0 else 1
        cdef void *room
        if self.kind == FCFS or e.queue.count == 0:
            return 0
        if not self.started:
            self.origin = e.jobs.item[e.queue.item[0]].submitted
            self.started = True
        room = grown(self.score, &self.score_room, e.queue.count, sizeof(double))
        if room is NULL:
            no_memory(b"no memory to sort the queue")
        self.score = <double *> room
        if self.kind == MULTIFACTOR:
            self.decay(e.now)
            for i in range(self.nusers):
                active += self.usage[i] > 0
        share = 1.0 / active if active else 1.0
        now = <double> (e.now - self.origin) / USEC
        for i in range(e.queue.count):
            j = e.jobs.item + e.queue.item[i]
            submit = <double> (j.submitted - self.origin) / USEC
            request = UNLIMITED if j.duration == time_never() else <double> j.duration / USEC
            if request < 1e-6:
                request = 1e-6
            cores = <double> cores_of(e, j)
            wait = now - submit if now > submit else 0.0
            if self.aging > 0 and wait >= self.aging:
                value = FRONT
            elif self.kind == SJF:
                value = c_sjf(submit, request, cores, now)
            elif self.kind == LJF:
                value = c_ljf(submit, request, cores, now)
            elif self.kind == SAF:
                value = c_saf(submit, request, cores, now)
            elif self.kind == LAF:
                value = c_laf(submit, request, cores, now)
            elif self.kind == WFP3:
                value = c_wfp3(0.0, request, cores, wait)
            elif self.kind == UNICEF:
                value = c_unicef(0.0, request, cores, wait)
            elif self.kind == F1:
                value = c_f1(submit, request, cores, now)
            else:
                used = self.usage[j.user] / self.total if j.user < self.nusers and self.total > 0 else 0.0
                value = c_multifactor(wait / self.max_age if wait < self.max_age else 1.0, cores / machine,
                                      exp2(-used / share), self.weight_age, self.weight_size, self.weight_fairshare)
            self.score[i] = value
        return e.reorder(self.score, True)

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
        cdef void *room
        cdef double amount
        if self.kind != MULTIFACTOR:
            return 0
        if j.user >= self.nusers:
            room = grown(self.usage, &self.user_room, j.user + 1, sizeof(double))
            if room is NULL:
                no_memory(b"no memory for the usage of users")
            self.usage = <double *> room
            memset(self.usage + old, 0, (j.user + 1 - old) * sizeof(double))
            self.nusers = j.user + 1
        self.decay(e.now)
        amount = cores_of(e, j) * (UNLIMITED if j.duration == time_never() else <double> j.duration / USEC)
        self.usage[j.user] += amount
        self.total += amount
        return 0


cdef i64 cores_of(Engine e, const Job *j) noexcept nogil:
    """Cores that a request takes."""
    cdef i64 slots = <i64> j.nslots * (j.nnodes if j.nnodes else 1)
    cdef i64 cores = slots * (j.cores if j.cores else 1)
    if j.exclusive and e.inventory.nnodes and j.nnodes:
        if cores < <i64> j.nnodes * e.inventory.class_cores[0]:
            cores = <i64> j.nnodes * e.inventory.class_cores[0]
    return cores
