# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
# cython: boundscheck=True, wraparound=True
"""Plugins in plain Python, for trying an idea: the operations of a Python
object called from the engine, and the engine as such an object sees it."""
from collections import namedtuple
from copy import deepcopy
from traceback import extract_tb

import orjson

from fluxsched.core.alloc cimport Alloc
from fluxsched.core.bits cimport count_bits
from fluxsched.core.engine cimport GO_ON as C_GO_ON, HOLD as C_HOLD, STOP as C_STOP, Engine
from fluxsched.core.job cimport JOB_WAITING, WHY_RESERVED, WHY_RESOURCES, Job
from fluxsched.core.memory cimport zeroed
from fluxsched.core.running cimport far_future
from fluxsched.core.types cimport USEC, i32, i64, time_never, usec_t
from fluxsched.policy.base cimport Policy
from fluxsched.policy.predictor cimport Predictor
from libc.stdlib cimport free

from fluxsched.core.engine import PluginError

OPERATIONS = ("sched_loop_setup", "find_resources", "select_resources", "allocate_resources", "reserve_resources")

# What reserve_resources answers; see fluxsched.core.engine.
GO_ON = C_GO_ON
STOP = C_STOP
HOLD = C_HOLD

# What explain takes.
RESOURCES = WHY_RESOURCES
RESERVED = WHY_RESERVED

JobInfo = namedtuple("JobInfo", "id priority submit nnodes nslots cores gpus exclusive duration queue user predicted")
RunningInfo = namedtuple("RunningInfo", "id user start end limit nodes cores gpus queue")

cdef extern from *:
    """
    /* The operations are the first entries of the method table of Operations
       and of all that derive from it; an entry that is still the base's is one
       that a plugin did not provide. */
    static int fs_same_operation (PyObject *a, PyObject *b, int i)
    {
        void **ta = *(void ***) ((char *) a + sizeof (PyObject));
        void **tb = *(void ***) ((char *) b + sizeof (PyObject));
        return ta[i] == tb[i];
    }
    """
    int same_operation "fs_same_operation"(object a, object b, int i)


def missing_operations(Policy policy not None):
    """Names of the operations that a compiled plugin does not provide."""
    base = Policy()
    return [name for i, name in enumerate(OPERATIONS) if same_operation(policy, base, i)]


cdef class Pass:
    """The engine during a pass, for a plugin in Python. A job is a number
    that holds for this pass. Times are seconds."""
    cdef Engine engine
    cdef PythonPolicy policy
    cdef bint may_reorder       # this is sched_loop_setup

    def __init__(self):
        raise TypeError("a Pass is made by the engine")

    cdef int check_open(self) except -1:
        if not self.engine.in_pass:
            raise PluginError("the pass is over")
        return 0

    cdef i32 check(self, job) except -1:
        cdef i32 slot
        self.check_open()
        if not isinstance(job, int) or not 0 <= job < self.engine.jobs.count:
            raise PluginError(f"job {job!r}: expected the number of a waiting job")
        slot = job
        if self.engine.jobs.item[slot].state != JOB_WAITING:
            raise PluginError(f"job {job!r} does not wait")
        return slot

    @property
    def now(self):
        """The time of this pass."""
        return self.engine.now / <double> USEC

    def waiting(self):
        """The waiting jobs in queue order."""
        self.check_open()
        return [slot for slot in self.all() if self.engine.jobs.item[<i32> slot].state == JOB_WAITING]

    cdef list all(self):
        """All jobs that are in the queue, those that this pass has started too."""
        cdef i32 i
        cdef const i32 *slots = self.engine.queue.flat()
        return [slots[i] for i in range(self.engine.queue.count)]

    def info(self, job):
        """What is known of a waiting job, as a JobInfo; duration is None if
        it has none. user: as the host names it, None if it does not tell;
        predicted: how long the job is predicted to run, from the user's last
        two jobs (fluxsched.policy.predictor); None as for duration."""
        cdef Job *j = self.engine.jobs.item + self.check(job)
        return JobInfo(j.id, j.priority, j.submitted / <double> USEC, j.nnodes, j.nslots, j.cores, j.gpus,
                       bool(j.exclusive), seconds_of(j.limit), self.engine.domain_names[j.domain],
                       self.policy.user_of(j.user), seconds_of(self.policy.predictor.predicted(j)))

    def running(self):
        """The running jobs by expected end, those that this pass has started
        too, as RunningInfo: end is when the job is expected to end, None if
        never; limit: how long it may run, None if for ever; nodes: on so many
        it runs; cores, gpus: it holds so many of them."""
        cdef i32 i
        cdef const Job *j
        cdef list out = []
        self.check_open()
        for i in range(self.engine.jobs.running.count):
            j = self.engine.jobs.item + self.engine.jobs.running.item[i].job
            limit = None if j.last == time_never() else (j.last - j.start) / <double> USEC
            out.append(RunningInfo(j.id, self.policy.user_of(j.user), j.start / <double> USEC, seconds_of(j.end), limit,
                                   *held(self.engine, &j.alloc), self.engine.domain_names[j.domain]))
        return out

    @property
    def free_nodes(self):
        """Number of nodes that are up and of which no job holds anything."""
        self.check_open()
        return self.engine.state.nidle

    @property
    def free_cores(self):
        """Number of free cores on nodes that are up."""
        self.check_open()
        return self.engine.state.free_cores

    def reorder(self, key):
        """Consider jobs by ascending key(JobInfo) in this pass; in
        sched_loop_setup, before a job is started."""
        cdef i32 i
        cdef double *score
        self.check_open()
        if not self.may_reorder:
            raise PluginError("reorder: only in sched_loop_setup, as a pass goes by one order")
        if self.engine.nstarted:
            raise PluginError("reorder: only before a job is started in this pass")
        score = <double *> zeroed(self.engine.queue.count, sizeof(double))
        try:
            for i, slot in enumerate(self.all()):
                if self.engine.jobs.item[<i32> slot].state != JOB_WAITING:
                    continue    # no node is left for it: the pass has denied it already
                score[i] = key(self.info(slot))
                if score[i] != score[i]:
                    raise PluginError("a key of reorder is not a number")
            self.engine.reorder(score, False)
        finally:
            free(score)

    def fits_now(self, job):
        """Whether it could start now and delay no reservation of this pass."""
        return bool(self.engine.fits_now(self.check(job)))

    def select(self, job):
        """Choose resources for a job that fits now."""
        return bool(self.engine.select(self.check(job)))

    def start(self, job):
        """Start it on what was selected."""
        self.engine.start(self.check(job))

    def earliest(self, job):
        """Its earliest start that delays no reservation; None if unknown."""
        cdef usec_t t
        if not self.engine.earliest(self.check(job), &t) or t >= far_future():
            return None
        return t / <double> USEC

    def reserve(self, job):
        """Reserve that start for the rest of this pass."""
        return bool(self.engine.reserve(self.check(job)))

    def reserved(self, job):
        """Reservations made in the job's ordering domain in this pass."""
        return self.engine.reserved(self.check(job))

    def explain(self, job, why):
        """Say why it waits: RESOURCES or RESERVED."""
        if why not in (RESOURCES, RESERVED):
            raise PluginError(f"reason {why!r}: expected RESOURCES or RESERVED")
        self.engine.explain(self.check(job), why)


cdef Pass new_pass(Engine engine, PythonPolicy policy):
    cdef Pass out = Pass.__new__(Pass)
    out.engine = engine
    out.policy = policy
    return out


cdef object seconds_of(usec_t t):
    """A time as seconds; None: never."""
    return None if t == time_never() else t / <double> USEC


cdef tuple held(Engine e, const Alloc *a):
    """Nodes, cores and gpus that are in an allocation."""
    cdef i32 i, node
    cdef i64 nodes = 0, cores = 0, gpus = 0
    for i in range(a.nentries):
        nodes += max(a.entry[i].count, 1)
        if a.entry[i].count == 0:
            cores += count_bits(a.bits + a.entry[i].bits, e.state.cw)
            gpus += count_bits(a.bits + a.entry[i].bits + e.state.cw, e.state.gw)
        for node in range(a.entry[i].node, a.entry[i].node + a.entry[i].count):
            cores += e.inventory.ncores[node]
            gpus += e.inventory.ngpus[node]
    return nodes, cores, gpus


cdef class PythonPolicy(Policy):
    """A policy whose operations are methods of a Python object."""
    cdef readonly object plugin
    cdef Predictor predictor
    cdef dict users             # number -> user, of the engine's user_numbers when they were so many

    def __init__(self, name, dict options, plugin):
        super().__init__(name, options)
        self.plugin = plugin
        self.predictor = Predictor()
        self.users = {}
        self.queue_depth = int(getattr(plugin, "queue_depth", -1))

    def fork(self):
        """A policy like this one whose object is what the object's own fork() returns, or else a deep copy of it.
        Raises PluginError for one that cannot be copied."""
        cdef PythonPolicy out
        try:
            plugin = self.plugin.fork() if callable(getattr(self.plugin, "fork", None)) else deepcopy(self.plugin)
        except Exception as error:
            raise PluginError(f"plugin {self.name} cannot be copied: {type(error).__name__}: {error}") from error
        out = PythonPolicy(self.name, dict(self.options), plugin)
        out.queue_depth = self.queue_depth
        out.io_aware = self.io_aware
        out.predictor = self.predictor.fork()
        return out

    cdef object user_of(self, i32 number):
        """A user as the host names it; None: it does not tell."""
        if self.user_numbers is None:
            return None
        if len(self.users) != len(self.user_numbers):
            self.users = {known: user for user, known in self.user_numbers.items()}
        return self.users.get(number)

    cdef int ended(self, Engine e, i32 job) except -1 nogil:
        return self.predictor.ended(e.job(job))

    def state(self):
        """What is known of users; and the attributes of the object, if it has only such as JSON can hold: None: it has
        others, or none."""
        found = getattr(self.plugin, "__dict__", None)
        try:
            kept = found if found and orjson.loads(orjson.dumps(found)) == found else None
        except TypeError:
            kept = None
        return {"plugin": kept, "predictor": self.predictor.state()}

    def restore(self, state):
        """Give the object these attributes."""
        self.predictor.restore(state["predictor"])
        if state["plugin"] is not None:
            self.plugin.__dict__.clear()
            self.plugin.__dict__.update(state["plugin"])

    cdef object call(self, str operation, Pass turn, tuple arguments):
        """What an operation answers. What it does that a plugin may not is told with its place."""
        try:
            return getattr(self.plugin, operation)(turn, *arguments)
        except PluginError as error:
            raise PluginError(f"plugin {self.name}: {operation}: {error}{place(error)}") from error

    cdef int set_up(self, Pass turn) except -1:
        self.predictor.settle(turn.engine.now)
        turn.may_reorder = True
        try:
            self.call("sched_loop_setup", turn, ())
        finally:
            turn.may_reorder = False
        return 0

    cdef int sched_loop_setup(self, Engine e) except -1 nogil:
        with gil:
            return self.set_up(new_pass(e, self))

    cdef int find_resources(self, Engine e, i32 job) except -1 nogil:
        with gil:
            return 1 if self.call("find_resources", new_pass(e, self), (job,)) else 0

    cdef int select_resources(self, Engine e, i32 job) except -1 nogil:
        with gil:
            return 1 if self.call("select_resources", new_pass(e, self), (job,)) else 0

    cdef int allocate_resources(self, Engine e, i32 job) except -1 nogil:
        with gil:
            self.call("allocate_resources", new_pass(e, self), (job,))
        return 0

    cdef int reserve_resources(self, Engine e, i32 job) except -1 nogil:
        with gil:
            answer = self.call("reserve_resources", new_pass(e, self), (job,))
            if answer not in (GO_ON, STOP, HOLD):
                raise PluginError(f"plugin {self.name}: reserve_resources answered {answer!r}: expected GO_ON, STOP or "
                                  "HOLD")
            return answer


def place(error):
    """Where a plugin made the call that failed, as " (FILE, line N)": the last line in Python on the way."""
    frames = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.endswith(".pyx")]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
