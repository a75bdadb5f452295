# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What policies are made of.

A plugin in Cython derives from Policy and provides the five operations of fluxsched.core.engine.Operations; or from
ListPolicy, and provides reserve_resources alone. State belongs in the object: two engines may use a plugin side by
side, each with a policy of its own.
"""
from fluxsched.core.engine cimport Engine, Operations
from fluxsched.core.types cimport i32
from fluxsched.policy.orders cimport Order

from fluxsched.policy.options import bool_option, int_option, no_more_options
from fluxsched.policy.orders import OPTIONS as ORDER_OPTIONS


cdef class Policy(Operations):
    """Base of every plugin: one object for each engine it serves.

    name: of the plugin; options: those it was made with, as a dict of strings. A policy may set steady: its order is
    that of the queue, and what it decides about a job follows from the engine's answers alone. Then a pass goes on with
    the last one as far as that holds (fluxsched.core.settled), and it is not asked again about all jobs. One that sets
    keeps, too, has what it reserved stay in such a pass, whatever has come, gone or ended.
    """

    def __init__(self, name="", dict options=None):
        self.name = name
        self.options = options or {}

    def fork(self):
        """A policy like this one, for a copy of the engine that it serves: made from the same name and options. A
        plugin that keeps more than these in its object copies that, too."""
        cdef Policy out = type(self)(self.name, dict(self.options))
        out.queue_depth = self.queue_depth
        out.io_aware = self.io_aware
        out.steady = self.steady
        out.keeps = self.keeps
        out.quiet_after = self.quiet_after
        return out

    def state(self):
        """What the policy has learnt and cannot find out again, for restore: a JSON value, None for nothing. A plugin
        that keeps such things in its object tells of them, so that a part of a record can begin with it."""
        return None

    def restore(self, state):
        """Be in the state that another policy of this name and options told of; called before there are jobs."""

    def in_effect(self):
        """The options that this policy goes by, as a dict of strings: those that it was made with, and the defaults of
        others where they matter."""
        return dict(self.options)

    def ranking(self, Engine e not None, double now, i32 most):
        """The waiting jobs in the order in which a pass at this time (s) would consider them, at most so many, as rows
        of job id, score and parts; see fluxsched.policy.orders.Order.ranking. None: the policy does not tell."""
        return None

    def ahead(self, Engine e not None, i32 job, double now, i32 most):
        """The jobs of its domain that are ahead of a waiting job in that order; see Order.ahead of the same module.
        None: the policy does not tell."""
        return None


cdef class ListPolicy(Policy):
    """A policy that goes through the waiting jobs in a queue order and starts each that fits now.

    What it does about a job that does not fit is its reserve_resources. It takes the options queue-depth=N, the jobs
    of a domain that a pass considers (-1, the default: all); io-aware=false, bandwidth that jobs ask for is not looked
    at (true, the default: it is a resource, from node to root); order=NAME and what goes with it, another order of
    the queue: see fluxsched.policy.orders.
    """

    def __init__(self, name, dict options not None, own=()):
        """own: names of the options that the plugin itself reads. Raises PluginError for any other, and for a value
        that an option does not take."""
        super().__init__(name, options)
        left = {key: value for key, value in options.items() if key not in own}
        self.queue_depth = int_option(left, "queue-depth", -1, -1)
        self.io_aware = bool_option(left, "io-aware", True)
        self.order = Order(left)
        no_more_options(left, sorted([*own, "io-aware", "queue-depth", *ORDER_OPTIONS]))
        self.steady = self.order.formula.fixed and self.queue_depth < 0

    def fork(self):
        """A policy like this one, with the state of its order."""
        cdef ListPolicy out = Policy.fork(self)
        out.order = self.order.fork()
        return out

    def in_effect(self):
        """See Policy; with all that the order goes by, if it is not first come, first served."""
        found = dict(self.options)
        if self.order.formula.name == "fcfs":
            found.pop("aging", None)
        else:
            found.update(self.order.in_effect())
        return found

    def ranking(self, Engine e not None, double now, i32 most):
        """See fluxsched.policy.orders.Order.ranking."""
        return self.order.ranking(e, now, most)

    def ahead(self, Engine e not None, i32 job, double now, i32 most):
        """See fluxsched.policy.orders.Order.ahead."""
        return self.order.ahead(e, job, now, most)

    def state(self):
        """That of the order."""
        return self.order.state()

    def restore(self, state):
        """Be in the state that another policy of this name and options told of."""
        self.order.restore(state)

    @property
    def order_name(self):
        """Name of the queue order."""
        return self.order.formula.name

    cdef int sched_loop_setup(self, Engine e) except -1 nogil:
        return self.order.apply(e)

    cdef int score(self, Engine e, i32 job, double *out) except -1 nogil:
        return self.order.score_of(e, job, out)

    cdef int find_resources(self, Engine e, i32 job) except -1 nogil:
        return e.fits_now(job)

    cdef int select_resources(self, Engine e, i32 job) except -1 nogil:
        return e.select(job)

    cdef int allocate_resources(self, Engine e, i32 job) except -1 nogil:
        # Then its size is what it gets, where it accepts several.
        e.start(job)
        return self.order.charge(e, job)
