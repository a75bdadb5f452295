# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
# cython: boundscheck=True, wraparound=True
"""The engine as Python hosts use it: job ids, requests, R objects, texts.

Times here are seconds since the epoch as float; inside they are microseconds.
"""
from collections import namedtuple

from libc.stdint cimport INT32_MAX

from fluxsched.core cimport held as _held, report, request as _request, sanity
from fluxsched.core.engine cimport Engine as EngineCore, Operations
from fluxsched.core.alloc cimport alloc_clear
from fluxsched.core.expect cimport expect_end, expect_limits
from fluxsched.core.fork cimport fork
from fluxsched.core.inventory cimport Inventory
from fluxsched.core.job cimport (
    JOB_FREE, JOB_RUNNING, JOB_WAITING, WHY_BEHIND, WHY_DEPTH, WHY_DOWN, WHY_LACKING, WHY_NEVER, WHY_OTHER, WHY_OVERLAP,
    WHY_POLICY, WHY_RESERVED, WHY_RESOURCES, Job,
)
from fluxsched.core.memory cimport memset
from fluxsched.core.seconds cimport to_instant, to_usec
from fluxsched.core.types cimport DEBUG, USEC, i32, i64, time_never, usec_t
from fluxsched.core.why cimport first_planned, planned, why_waits

from fluxsched.core.nodeview import mask_of_runs, runs_of_mask
from fluxsched.formats import r as _r

Pass = namedtuple("Pass", "started denied more")
Nodes = namedtuple("Nodes", "ranks cores gpus")

REASONS = {
    WHY_RESOURCES: "waiting for resources",
    WHY_BEHIND: "waiting for jobs ahead in the queue",
    WHY_RESERVED: "starting now would delay a job ahead in the queue",
    WHY_DOWN: "waiting for nodes that are down or drained",
    WHY_LACKING: "no node has the properties that the constraint asks for",
    WHY_DEPTH: "beyond the queue depth of a scheduling pass",
    WHY_OVERLAP: "waiting for a job of another queue on the same nodes",
    WHY_POLICY: "held back by the scheduling policy",
    WHY_OTHER: "starting now would delay a job of another queue on the same nodes",
    WHY_NEVER: "the nodes that it needs have been removed",
}


cdef class Engine:
    """One scheduler: an inventory, a policy and the jobs.

    policy: of this engine alone, as fluxsched.policy.loader.load_plugin makes it. With sched_once, resources are
    given out once and never come back (a test mode of the C original). All ranks are up at first unless down is set.
    """

    def __init__(self, Inventory inventory not None, Operations policy not None, sched_once=False, down=False):
        self.slot_of = {}
        self.user_numbers = {}
        self.core = EngineCore(inventory)
        self.core.policy = policy
        policy.user_numbers = self.user_numbers
        self.core.once = sched_once
        if not down:
            for node in range(inventory.nnodes):
                self.core.state.set_up(node, True)

    def fork(self, Operations policy=None):
        """A copy of the engine that goes its own way: its jobs, resources and policy are its own, and only the
        inventory is shared. policy: one that decides in the copy, and in no other engine; None: a copy of this one's.
        A pass that is suspended begins anew in it. Raises PluginError within a pass, or if the plugin cannot be
        copied."""
        cdef Engine out = Engine.__new__(Engine)
        out.slot_of = dict(self.slot_of)
        out.user_numbers = dict(self.user_numbers)
        out.core = fork(self.core, policy)
        # A host may have given it names of its own.
        named = self.core.policy.user_numbers
        out.core.policy.user_numbers = out.user_numbers if named is self.user_numbers else named
        if policy is not None:
            out.set_policy(policy)
        return out

    @property
    def policy(self):
        """The policy object."""
        return self.core.policy

    def set_policy(self, Operations policy not None):
        """Change the policy between passes."""
        self.core.policy = policy
        policy.user_numbers = self.user_numbers
        self.core.stale = True
        expect_limits(self.core)
        self.core.rescore()

    @property
    def hasty(self):
        """Whether a pass ends once no more job can start in it, so that starts are not planned: where nobody asks for
        them."""
        return bool(self.core.hasty)

    @hasty.setter
    def hasty(self, value):
        self.core.hasty = value

    @property
    def inventory(self):
        """The Inventory that it schedules."""
        return self.core.inventory

    @property
    def plugin(self):
        """Name of the plugin."""
        return self.policy.name

    @property
    def io_aware(self):
        """Whether bandwidth that jobs ask for is a resource."""
        return bool(self.core.policy.io_aware)

    # Resources.

    def mark_up(self, ranks):
        """Ranks whose resources may be used from now on."""
        for node in _held.nodes_of(self.core, ranks):
            self.core.state.set_up(node, True)
        self.core.eligible.generation += 1
        self.core.returned = True

    def mark_down(self, ranks):
        """Ranks (down or drained) that get no more jobs; jobs there go on."""
        for node in _held.nodes_of(self.core, ranks):
            self.core.state.set_up(node, False)
        self.core.eligible.generation += 1

    def remove(self, ranks):
        """Ranks that are gone for good. Jobs that cannot do without them are
        denied by the next pass."""
        for node in _held.nodes_of(self.core, ranks):
            self.core.state.remove(node)
            self.core.removal = self.core.stale = True
        self.core.eligible.generation += 1

    def property_add(self, name, ranks):
        """Give ranks a property; constraints are evaluated again."""
        self.core.eligible.set_property(name, ranks, True)
        self.core.returned = True

    def property_remove(self, name, ranks):
        """Take a property from ranks."""
        self.core.eligible.set_property(name, ranks, False)
        self.core.returned = True

    def set_expiration(self, double t):
        """When the instance ends (0: never): so do jobs without a duration."""
        to_usec(t)
        self.core.expiration = t if t < 9e12 else 0
        self.core.settled.holds = False

    # Jobs.

    cdef i32 slot(self, jobid, i32 state) except -1:
        """The slot of a job in a state. Raises ValueError if there is none."""
        found = self.slot_of.get(jobid)
        if found is None or self.core.jobs.item[<i32> found].state != state:
            raise ValueError(f"job {jobid} {'holds no resources' if state == JOB_RUNNING else 'does not wait'}")
        return found

    def feasible(self, request):
        """Raises Infeasible (or ConstraintError) for a request that can never
        be served."""
        cdef Job j
        _request.fill(self.core, &j, request)
        _request.discard(self.core, &j)

    cdef i32 user_number(self, user) except -1:
        """Number of a user: from 1 in the order in which they came; None is 0."""
        if user is None:
            return 0
        return self.user_numbers.setdefault(user, len(self.user_numbers) + 1)

    def add(self, jobid, request, i64 priority=16, double t_submit=0.0, user=None, sequence=None, bint known=False):
        """A job waits from now on.

        request: formats.jobspec.Request; t_submit: seconds; sequence: its
        place in the order of submission, which decides among equal
        priorities (None: t_submit does, then the id); user: whose it is, for
        fair share, as anything hashable (the Flux userid); None is unknown,
        and all such jobs count as one user's; known: another engine has
        taken it, so that it may wait for resources that are not there any
        more. Raises Infeasible (with the
        reason), ConstraintError, ValueError for a job id that is known or a
        time out of range, OverflowError for a sequence beyond 63 bits, and
        TypeError for a user that is not hashable.
        """
        cdef Job j
        cdef i64 number = jobid
        cdef usec_t submitted = to_instant(t_submit)
        cdef i32 owner = self.user_number(user)
        if jobid in self.slot_of:
            raise ValueError(f"job {jobid} is known already")
        _request.fill(self.core, &j, request, known)
        j.user = owner
        j.id = number
        j.priority = priority
        j.sequence = submitted if sequence is None else sequence
        j.submitted = submitted
        try:
            j.domain = self.core.need_domain(request.queue)
            self.slot_of[jobid] = self.core.add(&j)
        except BaseException:
            _request.discard(self.core, &j)
            raise
        self.checked()

    def adopt(self, jobid, R, freed_ranks="", i64 priority=16, double t_submit=0.0, user=None):
        """A job that holds R already (all but freed_ranks, an idset string)
        and runs until R's expiration. user: as for add. Raises ValueError where
        it does not agree with what is there and free."""
        holding = _r.parse(R)
        self.take_over(jobid, R, holding, freed_ranks, holding.starttime, holding.expiration, priority, t_submit, user,
                       "")

    def adopt_holding(self, jobid, rows, pools, start, end, i64 priority=16, double t_submit=0.0, user=None,
                      str queue="", expected=None):
        """A job that holds what another engine of this inventory has told of it (holding), and runs from start to end
        (s since the epoch; end 0: for ever); expected: when the policy expects it to end, if that is not then. The
        rest, and errors, as for adopt."""
        cdef list ranks = self.core.inventory.ranks
        nodes = [(ranks[node], cores, gpus) for first, last, cores, gpus in rows for node in range(first, last + 1)]
        holding = Nodes(*zip(*nodes)) if nodes else Nodes((), (), ())
        R = {"scheduling": {"pools": pools}}
        self.take_over(jobid, R, holding, "", start, end, priority, t_submit, user, queue)
        if expected is not None:
            expect_end(self.core, self.slot(jobid, JOB_RUNNING), to_usec(expected))

    cdef int take_over(self, jobid, R, holding, freed_ranks, double began, double ends, i64 priority, double t_submit,
                       user, str queue) except -1:
        """See adopt; holding: ranks, cores and gpus; queue: "" if nobody has told it."""
        cdef Job j
        cdef usec_t start, end
        if jobid in self.slot_of:
            raise ValueError(f"job {jobid} is known already")
        memset(&j, 0, sizeof(Job))
        j.id = jobid
        j.priority = priority
        j.submitted = <usec_t> (t_submit * USEC)
        j.user = self.user_number(user)
        j.tree = -1
        j.domain = self.core.need_domain(queue)
        start = <usec_t> (min(began, 9e12) * USEC + 0.5)
        end = to_usec(ends)
        _held.read_R(self.core, jobid, R, holding, freed_ranks, &j.alloc)
        try:
            self.slot_of[jobid] = self.core.adopt(&j, start, end)
        except BaseException:
            alloc_clear(&j.alloc)
            raise
        self.checked()

    def cancel(self, jobid):
        """Forget a waiting job; False if there is none of that id."""
        cdef i32 slot
        try:
            slot = self.slot(jobid, JOB_WAITING)
        except ValueError:
            return False
        self.core.cancel(slot)
        del self.slot_of[jobid]
        self.checked()
        return True

    def reprioritize(self, jobid, i64 priority):
        """Change the priority of a waiting job; False if there is none."""
        cdef i32 slot
        try:
            slot = self.slot(jobid, JOB_WAITING)
        except ValueError:
            return False
        self.core.move(slot, priority, self.core.jobs.item[slot].score)
        self.checked()
        return True

    def free(self, jobid, ranks=None, final=True):
        """A job gives back its resources on ranks (idset string; None: all).
        After the final time it is forgotten. Raises ValueError for a job that
        holds nothing, or a rank that it does not hold."""
        cdef i32 slot = self.slot(jobid, JOB_RUNNING)
        if ranks is not None:
            _held.free_part(self.core, slot, ranks)
        if final:
            self.core.finish(slot)
            del self.slot_of[jobid]
        self.checked()

    def update_expiration(self, jobid, double t):
        """A running job is expected to end at t (0: never); False if there is
        none of that id. Raises ValueError for a negative time."""
        cdef i32 slot
        cdef usec_t end = to_usec(t)
        try:
            slot = self.slot(jobid, JOB_RUNNING)
        except ValueError:
            return False
        self.core.move_end(slot, end)
        self.checked()
        return True

    # A pass.

    def schedule(self, double now, i32 limit=-1):
        """A pass at time now (s), or the next slice of one: a Pass.

        limit: the plugin is asked about at most so many jobs (at least one); < 0: all. The Pass has started (job
        ids), denied (pairs of job id and reason), and more: the pass has not come to its end, and the next call goes
        on with it. Jobs and resources may change in between; a pass that resources came back to starts over, by the
        rule of fluxsched.core.engine. What is true of the waiting jobs, reason and estimate tell.
        """
        cdef i32 i, slot
        cdef usec_t t = to_instant(now)
        with nogil:
            self.core.schedule(t, limit)
        started = [self.core.jobs.item[self.core.started[i]].id for i in range(self.core.nstarted)]
        denied = []
        for i in range(self.core.ndenied):
            slot = self.core.denied[i]
            jobid = self.core.jobs.item[slot].id
            denied.append((jobid, REASONS[WHY_NEVER]))
            self.core.forget(slot)
            del self.slot_of[jobid]
        self.checked()
        return Pass(started, denied, bool(self.core.suspended))

    def plan_anew(self):
        """The next pass asks about all jobs, whatever holds of the last one or has come of one that is suspended: so it
        would in an engine that was built from what this one holds."""
        self.core.settled.holds = False
        self.core.stale |= self.core.suspended
        self.core.least_asked = 0

    # What it tells of jobs.

    def waiting(self, i32 first=0, i32 most=INT32_MAX):
        """Ids of the waiting jobs in queue order, at most `most` from the place `first` on: priority, then the policy's
        order if that does not depend on the time of a pass, then submission."""
        cdef i32 i, last = first + min(most, max(self.core.queue.count - first, 0))
        cdef const i32 *slots = self.core.queue.flat()
        return [self.core.jobs.item[slots[i]].id for i in range(first, last)]

    @property
    def nwaiting(self):
        """Number of waiting jobs."""
        return self.core.queue.count

    def ranking(self, double now, i32 most=INT32_MAX):
        """The waiting jobs in the order in which a pass at this time (s) would consider them, at most so many, and
        their scores, as fluxsched.policy.orders.Order.ranking has them. For a policy that does not tell: in the order
        of the queue, with None and {}."""
        tell = getattr(self.core.policy, "ranking", None)
        rows = None if tell is None else tell(self.core, now, most)
        return [(jobid, None, {}) for jobid in self.waiting(0, most)] if rows is None else rows

    def ahead(self, jobid, double now, i32 most):
        """The jobs of its queue that are ahead of a waiting job in that order: a tuple of their number, the first of
        them as pairs of job id and score, at most so many (1 or more), and the job's own score; None as for ranking.
        ValueError for a job that does not wait."""
        cdef i32 slot = self.slot(jobid, JOB_WAITING)
        tell = getattr(self.core.policy, "ahead", None)
        found = None if tell is None else tell(self.core, slot, now, most)
        if found is not None:
            return found
        count, named = report.ahead(self.core, slot, most)
        return count, [(other, None) for other in named], None

    @property
    def order_name(self):
        """Name of the policy's queue order; "": it does not tell."""
        return getattr(self.core.policy, "order_name", "")

    def domain(self, jobid):
        """The queue with whose jobs a job is ordered, or was before it ran. Raises ValueError for a job that is not
        known."""
        found = self.slot_of.get(jobid)
        if found is None:
            raise ValueError(f"job {jobid} is not known")
        return self.core.domain_names[self.core.jobs.item[<i32> found].domain]

    def waits(self, jobid):
        """Whether a job of this id waits."""
        found = self.slot_of.get(jobid)
        return found is not None and self.core.jobs.item[<i32> found].state == JOB_WAITING

    def running_jobs(self):
        """Ids of jobs that hold resources, by expected end."""
        return [self.core.jobs.item[self.core.jobs.running.item[i].job].id
                for i in range(self.core.jobs.running.count)]

    def reason(self, jobid):
        """Why a waiting job waits, as a text: what is true of it now, wherever the last pass stopped; None: nothing
        keeps it, and the next pass decides. Raises ValueError for a job that does not wait."""
        return REASONS.get(why_waits(self.core, self.slot(jobid, JOB_WAITING)))

    def why(self, jobid):
        """Why a waiting job waits, in numbers: a tuple of

        code: "new" (nothing keeps it), "resources", "behind", "reserved", "down", "lacking", "depth", "overlap",
        "policy", "other" or "never"; unit: what need and the others count: "node" (that holds what it wants of each),
        "slot", or "core" of a general request; need: units that it asks for; able, up, free: units that its nodes could
        hold, of these on nodes that are up, and that are free now; gains: (id, units, end) of the running jobs whose
        ends give back what is missing, in order, end in s since the epoch or None for a job without an end; holder:
        (id, queue, planned) of the first waiting job that holds it up, planned in s since the epoch or None, or None
        for nobody; holders: how many there are. Raises ValueError for a job that does not wait.
        """
        return report.why_of(self.core, self.slot(jobid, JOB_WAITING))

    def nodes_for(self, jobid):
        """Nodes on which a waiting job could run, were they free: a tuple of able (a host list), count, down (those of
        them that are down or drained) and downs (how many). Raises ValueError for a job that does not wait."""
        return report.nodes_for(self.core, self.slot(jobid, JOB_WAITING))

    def parked(self, jobid):
        """Why no jobs that end can help a waiting job, as a text: it waits for nodes that are down or drained, or have
        lost a property; None: that is not so. Raises ValueError for a job that does not wait."""
        return REASONS.get(self.core.future.check_parked(
            self.core.jobs.item + self.slot(jobid, JOB_WAITING), self.core.removal))

    def first_estimate(self):
        """The earliest of the starts that are planned for waiting jobs, in s since the epoch; None: there is none."""
        cdef usec_t first = first_planned(self.core)
        return None if first == time_never() else first / <double> USEC

    def estimate(self, jobid):
        """When a waiting job is planned to start, in s since the epoch; None: no start is reserved for it. Raises
        ValueError for a job that does not wait."""
        cdef usec_t t = planned(self.core, self.core.jobs.item + self.slot(jobid, JOB_WAITING))
        return None if t < 0 else t / <double> USEC

    def selection(self, jobid):
        """How a job that holds resources came to them: "backfilled" (a job ahead of it in its queue stayed blocked),
        "reserved" (a start had been reserved for it) or "immediate". Raises ValueError for a job that holds none."""
        cdef const Job *j = self.core.jobs.item + self.slot(jobid, JOB_RUNNING)
        return "backfilled" if j.backfilled else "reserved" if j.was_reserved else "immediate"

    def times(self, jobid):
        """(start, end or 0 for none) of a running job, seconds: it ends then at the latest."""
        cdef const Job *j = self.core.jobs.item + self.slot(jobid, JOB_RUNNING)
        return j.start / <double> USEC, 0.0 if j.last == time_never() else j.last / <double> USEC

    def expected_end(self, jobid):
        """When a running job ends by the plan, in s; 0: never. That is its end, unless the policy expects an earlier
        one. Raises ValueError for a job that holds no resources."""
        cdef const Job *j = self.core.jobs.item + self.slot(jobid, JOB_RUNNING)
        return 0.0 if j.end == time_never() else j.end / <double> USEC

    def R(self, jobid, double starttime=0, double expiration=0):
        """The R object of a job that holds resources; times in seconds."""
        return report.R_of(self.core, self.slot(jobid, JOB_RUNNING), starttime, expiration)

    def cores_by_rank(self, jobid):
        """What a job holds: [(rank, core ids, gpu ids)], idset strings, by
        ascending rank. Raises ValueError for a job that holds nothing."""
        return [(self.core.inventory.ranks[node], cores, gpus)
                for node, cores, gpus in report.each(report.held(self.core, self.slot(jobid, JOB_RUNNING)))]

    def allocated_ranks(self, jobid):
        """Ranks on which a job holds resources, as an idset string."""
        rows = report.held(self.core, self.slot(jobid, JOB_RUNNING))
        return report.ranks_text(self.core, runs_of_mask(mask_of_runs([row[:2] for row in rows])))

    def hosts(self, jobid):
        """Names of the nodes on which a job holds resources, as a host list."""
        rows = report.held(self.core, self.slot(jobid, JOB_RUNNING))
        return report.hosts_text(self.core, [row[:2] for row in rows])

    def holding(self, jobid):
        """What a job holds, as plain values: a tuple of rows (first node, last node, core ids, gpu ids) and of pairs of
        pool and amount. Raises ValueError for a job that holds nothing."""
        return report.holding(self.core, self.slot(jobid, JOB_RUNNING))

    def place(self, jobid):
        """Where and how long a job runs, as a tuple of id, start and end (s since the epoch; None: it has none), nodes
        (a host list) and runs ([first, last] places of nodes in the inventory, ascending)."""
        return report.place_of(self.core, self.slot(jobid, JOB_RUNNING))

    def resource_summary(self, jobid):
        """What a job holds in short: "rank[0-1]/core[0-3]"."""
        return report.summary(self.core, self.slot(jobid, JOB_RUNNING))

    def tree_part(self, jobid):
        """The part of the resource tree that a job holds: rows of (name,
        type, amount, depth) in preorder."""
        return report.tree_part(self.core, self.slot(jobid, JOB_RUNNING))

    # What it tells of all.

    def marks(self):
        """What has become of the resources since the inventory was made, as a dict: up and gone (idset strings of
        ranks), properties (the same by name), denies (whether the next pass denies jobs that cannot do without ranks
        that are gone), expiration (when the instance ends, in s since the epoch; 0: never) and changes (how often any
        of up, gone and properties has been told)."""
        return {**report.marks(self.core), "changes": self.core.eligible.generation}

    def know_changes(self, i32 changes):
        """So often has something become of the resources: a policy may compare with the number that it has seen."""
        cdef i32 i
        self.core.eligible.generation = changes
        # What was found out by the number that there was.
        for i in range(self.core.eligible.nsets):
            self.core.eligible.counted_at[i] = -1
        for i in range(self.core.jobs.count):
            self.core.jobs.item[i].parked_at = -1
        self.core.future.kinds.generation = self.core.future.units_generation = -1
        self.core.stale = True

    @property
    def users(self):
        """The users of jobs so far, in the order in which they came."""
        return list(self.user_numbers)

    def know_users(self, users):
        """Users that have come before, in that order."""
        for user in users:
            self.user_number(user)

    def resource_status(self):
        """R objects of all resources, of those that jobs hold, and of those
        that are down: {"all", "allocated", "down"}."""
        return report.resource_status(self.core)

    def stats(self):
        """Counters since the engine was made, and what there is now."""
        return {"plugin": self.policy.name, "plugin_options": dict(self.policy.options), **report.stats(self.core)}

    cdef int checked(self) except -1:
        """In a debug build, each step ends with a sanity check."""
        if DEBUG:
            self.sanity_check()
        return 0

    def sanity_check(self):
        """AssertionError unless all invariants of the engine's structures hold. For tests; not in a pass."""
        sanity.sanity_check(self.core)
        for slot in self.slot_of.values():
            if self.core.jobs.item[<i32> slot].state == JOB_FREE:
                raise AssertionError("api: a job that is over is still known")
        if len(self.slot_of) != self.core.jobs.count - self.core.jobs.nunused:
            raise AssertionError("api: a job in a slot is not known")
