# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the tests of the engine share: short requests, machines, and a plain model of who holds what.

Slow and simple on purpose, with Python sets of (rank, id); nothing of the engine is used but its answers.
"""

from collections import namedtuple

from fluxsched.core import Engine, Inventory
from fluxsched.formats import idset
from fluxsched.formats.jobspec import Request, Vertex

Hierarchy = namedtuple("Hierarchy", "uri type basename name id size parent tags properties")


def request(
    nnodes=0, nslots=1, cores=1, gpus=0, exclusive=False, duration=0.0, queue="", constraint=None, tree=None
):
    """A Request; by default one core for as long as it likes."""
    return Request(nnodes, nslots, cores, gpus, exclusive, float(duration), queue, constraint, tree)


def nodes(n, duration=0.0, **more):
    """n whole nodes."""
    return request(nnodes=n, exclusive=True, duration=duration, **more)


def cores(n, duration=0.0, **more):
    """n cores, wherever they are."""
    return request(nslots=n, duration=duration, **more)


def vertex(type, count=1, *children, exclusive=False):
    """A vertex of a general request."""
    return Vertex(type, count, exclusive, tuple(children))


def tree_request(*vertices, duration=0.0, **more):
    """A request through the tree."""
    return request(nslots=0, cores=0, tree=tuple(vertices), duration=duration, **more)


def hierarchy(root, uri="default"):
    """A Hierarchy from nested (type, name, id, size, tags, children) tuples; the last four may be left out."""
    columns = Hierarchy(uri, [], [], [], [], [], [], [], [])

    def walk(item, parent):
        type, name, id, size, tags, children = item + (None, 1, {}, ())[len(item) - 2 :]
        place = len(columns.type)
        columns.type.append(type)
        columns.basename.append(name)
        columns.name.append(name if id is None else f"{name}{id}")
        columns.id.append(id)
        columns.size.append(size)
        columns.parent.append(parent)
        columns.tags.append(tags)
        columns.properties.append({})
        for child in children:
            walk(child, place)

    walk(root, -1)
    return columns


def hype(nnodes, width=None, node_width=None):
    """A small hype: nodes of two sockets, each of 2 cores and 1000 MB; width: bandwidth of all, node_width: of one."""
    members = []
    for node in range(nnodes):
        sockets = []
        for socket in range(2):
            parts = tuple(("core", "core", core) for core in (2 * socket, 2 * socket + 1))
            sockets.append(("socket", "socket", socket, 1, {}, parts + (("memory", "memory", None, 1000),)))
        members.append(("node", "hype", node, 1, {} if node_width is None else {"max_bw": node_width}, tuple(sockets)))
    return hierarchy(("cluster", "hype", None, 1, {} if width is None else {"max_bw": width}, tuple(members)))


def mixed(*rows):
    """An Inventory of nodes that differ: rows of (cores, gpus), idset strings or counts."""

    def text(ids):
        return ids if isinstance(ids, str) else idset.encode(range(ids))

    return Inventory(
        list(range(len(rows))),
        [f"node{i}" for i in range(len(rows))],
        [text(core) for core, _ in rows],
        [text(gpu) for _, gpu in rows],
    )


def units(text):
    """Ids of an idset string."""
    return set(idset.ids(text)) if text else set()


def held(engine, jobid):
    """What a job holds: ({(rank, core)}, {(rank, gpu)})."""
    rows = engine.cores_by_rank(jobid)
    return (
        {(rank, core) for rank, text, _ in rows for core in units(text)},
        {(rank, gpu) for rank, _, text in rows for gpu in units(text)},
    )


def reasons(outcome):
    """Why the jobs wait, as told in one pass: {job id: reason}."""
    return {jobid: reason for jobid, reason, _ in outcome.waiting}


def estimates(outcome):
    """Estimated starts, as told in one pass: {job id: time or None}."""
    return {jobid: estimate for jobid, _, estimate in outcome.waiting}


def machine(nnodes, ncores=4, ngpus=0, plugin="sched.plugin1", options="", **more):
    """An engine on equal nodes."""
    return Engine(Inventory.from_counts(nnodes, ncores, ngpus), plugin, options, **more)
