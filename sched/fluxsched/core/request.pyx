# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
# cython: boundscheck=True, wraparound=True
"""A request (formats.jobspec.Request) as a job of the engine, or why no resources there are could serve it."""
from libc.stdint cimport INT32_MAX

from fluxsched.core.engine cimport Engine
from fluxsched.core.job cimport Job
from fluxsched.core.memory cimport memset
from fluxsched.core.seconds cimport to_usec
from fluxsched.core.tree cimport VERTEX_CORE, VERTEX_GPU, VERTEX_NODE, VERTEX_PLAIN, Tree
from fluxsched.core.types cimport i32

from fluxsched.errors import FluxSchedError


class Infeasible(FluxSchedError, ValueError):
    """A request that the resources there are can never serve; says why."""


def _plural(n, noun):
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _need(request):
    """A request in words."""
    parts = [_plural(request.cores, "core")] if request.cores else []
    if request.gpus:
        parts.append(_plural(request.gpus, "gpu"))
    slot = " and ".join(parts)
    if not parts:
        return _plural(request.nnodes, "whole node")
    if not request.nnodes:
        return f"{_plural(request.nslots, 'slot')} of {slot}" + (" on whole nodes" if request.exclusive else "")
    whole = "whole " if request.exclusive else ""
    return f"{_plural(request.nnodes, whole + 'node')} with {_plural(request.nslots, 'slot')} of {slot} each"


def _without_bandwidth(vertices):
    """A general request without what it asks of bandwidth."""
    return tuple(vertex._replace(children=_without_bandwidth(vertex.children))
                 for vertex in vertices if vertex.type != "bandwidth")


cdef int fill(Engine e, Job *j, request, bint known=False) except -1:
    """A job from a request; its eligible set is used once, its general request and its sizes kept (see discard). known:
    it has been taken before, so that it may wait for what is not there any more. Raises Infeasible,
    formats.constraint.ConstraintError, ValueError."""
    memset(j, 0, sizeof(Job))
    j.tree = -1
    j.duration = to_usec(request.duration)
    if request.tree is None and request.cores <= 0 and request.gpus <= 0 and not (
            request.exclusive and request.nnodes > 0):
        raise Infeasible("the request takes no core and no gpu")
    j.nnodes = request.nnodes
    j.nslots = request.nslots
    j.cores = request.cores
    j.gpus = request.gpus
    j.exclusive = request.exclusive
    if request.tree is None and j.cores == 0 and j.gpus == 0:
        # Whole nodes, whatever is in them: at least a core.
        j.nslots = 1
        j.cores = 1
    try:
        if request.tree is not None:
            j.tree = keep_general(e, request.tree)
        j.sizes = _keep_sizes(e, j, request)
        j.elig = e.eligible.use(request.constraint)
        if known:
            return 0
        if not e.future.could_fit(j, False):
            raise Infeasible(_why_not(e, j, request))
        if j.tree >= 0 and not e.future.found_units():
            raise Infeasible("the request takes no core and no gpu")
    except BaseException:
        discard(e, j)
        raise
    return 0


cdef i32 keep_general(Engine e, vertices) except -1:
    """Keep a general request (tuple of formats.jobspec.Vertex) for Job.tree; the job that is added owns it. Raises
    Infeasible."""
    cdef i32 i
    cdef Tree tree = e.inventory.need_tree()
    if not e.policy.io_aware:
        vertices = _without_bandwidth(vertices)
    e.future.need_tree()
    try:
        rows = tree.flatten(vertices)
    except LookupError as error:
        raise Infeasible(f"there is no resource of type {error.args[0]!r}") from None
    if not any([row[1] in (VERTEX_CORE, VERTEX_GPU) or (row[1] in (VERTEX_NODE, VERTEX_PLAIN)
                                                        and (row[3] or row[4] == i + 1))
                for i, row in enumerate(rows)]):
        raise Infeasible("the request takes no core and no gpu")
    return e.jobs.keep_general(rows)


cdef i32 _keep_sizes(Engine e, Job *j, request) except -1:
    """Keep the sizes that a job accepts, as far as there could ever be room for them, for Job.sizes; 0: it is one."""
    cdef i32 c
    if not (request.node_counts or request.slot_counts):
        return 0
    if request.tree is not None:
        # Whatever it is that one holds, it is a core or a gpu at the least.
        per_node = max([e.inventory.class_cores[c] + e.inventory.class_gpus[c] for c in range(e.inventory.nclasses)],
                       default=0)
    else:
        per_node = max([e.inventory.class_cores[c] // j.cores if j.cores else e.inventory.class_gpus[c] // j.gpus
                        for c in range(e.inventory.nclasses)], default=0)
    everywhere = min(per_node * e.inventory.nnodes, INT32_MAX)
    nodes = _runs(request.node_counts, j.nnodes, e.inventory.nnodes if request.tree is None else everywhere)
    slots = _runs(request.slot_counts, j.nslots, per_node if j.nnodes else everywhere)
    if all([len(runs) == 1 and runs[0][0] == runs[0][1] for runs in (nodes, slots)]):
        return 0
    return e.jobs.sizes.keep(nodes, slots)


cdef list _runs(counts, least, most):
    """Runs (first, last, step) of acceptable numbers, ranges in ascending order, up to the most; () is the least."""
    found = [(run[0], run[min(len(run), (most - run.start) // run.step + 1) - 1], run.step)
             for run in counts if run.start <= most]
    return found or [(least, least, 1)]


cdef int discard(Engine e, Job *j) except -1:
    """Give back what fill has used, for a job that is not added."""
    e.jobs.drop_general(j.tree)
    e.jobs.sizes.drop(j.sizes)
    return e.eligible.release(j.elig)


cdef _why_not(Engine e, Job *j, request):
    """Why no set of the nodes there are could serve a request."""
    cdef i32 c
    e.eligible.count(j.elig)
    nodes = sum([e.eligible.present[j.elig * e.inventory.nclasses + c] for c in range(e.inventory.nclasses)])
    there = f"of {_plural(nodes, 'node')}" + (" that match the constraint" if j.elig else "")
    if request.constraint and not nodes:
        return "no node matches the constraint"
    if request.tree is not None:
        return f"the request is larger than what there is {there}"
    able = e.eligible.capacity(j, False)
    if j.nnodes:
        return f"needs {_need(request)}: {able} {there} can serve it"
    return f"needs {_need(request)}: {there[3:]} can hold {able}"
