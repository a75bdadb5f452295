# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobspec version 1 (RFC 25), and the general resource requests of RFC 14: what a job asks of the scheduler.

parse() reduces a jobspec to a Request. The shapes that come down to so many slots of cores and gpus, on any nodes or
on a number of nodes, become plain numbers:

    slot > core, gpu            node > slot > core, gpu
    slot > node                 slot > node > core, gpu
    node                        node > core, gpu            core

Any other is kept as a tree as well. A count may be a range or an idset (RFC 14, RFC 45): the counts of nodes and slots
of these shapes, of a core alone, and of the one node or slot at the root of a tree, are then all kept. Any other such
count asks for its least, which is one of those that the job accepts.

Two readings are ours, where RFC 14 leaves it open:

- a node with nothing below it asks for the whole node, unless it says ``exclusive: false``;
- a slot of several nodes is as many slots of one node (task_count() knows the difference).

What only the job's shell reads (environment, cwd, shell options) is not checked here.
"""

from __future__ import annotations

import re
from typing import Any, Container, NamedTuple, Optional

from fluxsched.errors import FluxSchedError
from fluxsched.formats import constraint, idset
from fluxsched.formats.quote import is_utf8, quote

MAX_DEPTH = 32
MAX_VERTICES = 10000
MAX_TASKS = 10000  # entries of tasks
MAX_COUNT = 2**31 - 1  # of a vertex, and of all nodes, slots, cores, gpus, tasks of a job
MAX_AMOUNT = 2**63 - 1  # of any other type in a job
MAX_DURATION = 1e11  # seconds; microseconds since the epoch stay below 2**63
MAX_NAME = 256  # characters of a type, label or queue
MAX_RANGES = 256  # ranges of an idset that is a count

# RDL gives memory in MB and bandwidth in MB/s; so are amounts with a unit.
_BYTES = {"B": 1, "KB": 10**3, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}
_BYTES.update({"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50})
_MEGABYTE = 10**6

_NUMBERED = ("node", "slot", "core", "gpu")
_COUNTED = ("node", "slot", "core")  # types of which a job may accept several counts
_VERTEX_KEYS = frozenset(("type", "count", "unit", "exclusive", "with", "label", "id"))
_TASK_KINDS = ("per_slot", "per_resource", "total")

# RFC 45. Ten digits at most, so that int() is always cheap.
_RANGE = re.compile(r"([1-9][0-9]{0,9})(?:\+|-([1-9][0-9]{0,9}))(?::([1-9][0-9]{0,9})(?::([+*^]))?)?", re.ASCII)


#: The first five fields of a Request.
_Numbers = tuple[int, int, int, int, bool]
#: The counts that are accepted: ascending and disjoint ranges, none of them empty.
Counts = tuple[range, ...]


class JobspecError(FluxSchedError, ValueError):
    """Not a jobspec that can be scheduled. The text names the field and what was expected."""


class Vertex(NamedTuple):
    """One vertex of a resource request."""

    type: str  # "slot" is one too
    # The least that is accepted. An amount for pools: MB or MB/s where the jobspec gives a unit. The name hides
    # tuple's method.
    count: int  # type: ignore[assignment]
    exclusive: bool  # as given, or by default: true for slots and in them
    children: tuple[Vertex, ...]
    counts: Counts = ()  # of a node, slot or core: all that are accepted, where it is more than one


class Request(NamedTuple):
    """What a job asks for.

    With a `tree`, the numbers are its averages, 0 where they are not whole or the tree does not tell. Where a job
    accepts several counts of nodes or slots, the number is the least, and `node_counts` or `slot_counts` has all of
    them. Any of the one goes with any of the other.
    """

    nnodes: int  # number of nodes; 0 = slots may lie on any nodes
    nslots: int  # slots per node if nnodes > 0, else all slots
    cores: int  # per slot
    gpus: int  # per slot
    exclusive: bool  # whole nodes, with all their cores and gpus
    duration: float  # seconds; 0 = no limit
    queue: str  # "" = none
    constraint: Optional[dict[str, Any]]  # RFC 31 object, checked; None = any node
    tree: Optional[tuple[Vertex, ...]]  # None when the numbers say it all
    node_counts: Counts = ()  # () = nnodes alone
    slot_counts: Counts = ()  # () = nslots alone


def parse(jobspec: Any) -> Request:
    """Return the Request of the decoded JSON `jobspec`, which is untrusted. JobspecError if it cannot be read."""
    _object(jobspec, "jobspec")
    version = jobspec.get("version")
    # RFC 14 has no number for what goes beyond version 1, its examples have 999; which are let in is for the ingest.
    if type(version) is not int or version < 1:
        raise JobspecError(f"version: expected an integer of 1 or more, got {quote(version)}")
    resources = _resources(jobspec)
    if resources.without_cores():
        raise JobspecError("resources: expected a core, or exclusive nodes")
    _tasks(jobspec, resources)
    system = _system(jobspec)
    duration = _duration(system)

    numbers = _flat(resources.roots)
    tree = None
    if numbers is None:
        numbers = _averages(resources)
        tree = resources.roots

    limits = None
    if "constraints" in system:
        try:
            constraint.validate(system["constraints"])
        except constraint.ConstraintError as error:
            raise JobspecError(f"attributes.system.constraints: {error}") from None
        limits = system["constraints"] or None
    queue = _name(system["queue"], "attributes.system.queue", 0) if "queue" in system else ""
    node_counts, slot_counts = _accepted_by_root(tree, numbers) if tree else _accepted(resources.roots[0])
    return Request(*numbers, duration, queue, limits, tree, node_counts, slot_counts)


def without(request: Request, types: Container[str]) -> Request:
    """A request less what it asks of these types of resources; the numbers alone, where they say the rest."""
    if request.tree is None:
        return request
    roots = _left(request.tree, types)
    numbers = _flat(roots)
    if numbers is None:
        return request._replace(tree=roots)
    return Request(*numbers, *request[5:8], None, *_accepted(roots[0]))


def _left(vertices: tuple[Vertex, ...], types: Container[str]) -> tuple[Vertex, ...]:
    return tuple(vertex._replace(children=_left(vertex.children, types))
                 for vertex in vertices if vertex.type not in types)


def name(jobspec: Any) -> str:
    """Return the name of a job by its `jobspec`, which parse() has read: the one that it was given, or its command's.

    It is the user's: not fit for a terminal as it is."""
    job = _system(jobspec).get("job")
    given = job.get("name") if isinstance(job, dict) else None
    return given if isinstance(given, str) and given else jobspec["tasks"][0]["command"][0].rpartition("/")[2]


def task_count(jobspec: Any, nslots_total: int, nnodes: int, ncores: int) -> int:
    """Return the number of tasks of `jobspec` on an allocation.

    `nnodes` and `ncores` are what was allocated. `nslots_total` is the number of slots: the Request's nslots, times
    nnodes if it has any, or where it accepts several, what it got. It counts in that case, and where the jobspec has no
    slot of its own (``node > core``, ``core``).
    As in flux-core's shell, the shell option per-resource (``--tasks-per-node``, ``--tasks-per-core``) goes before the
    counts of the tasks. JobspecError for a malformed jobspec.
    """
    _object(jobspec, "jobspec")
    resources = _resources(jobspec)
    tasks = _tasks(jobspec, resources)
    slots = _granted(resources, nslots_total, nnodes)
    per_resource = _shell_per_resource(_system(jobspec))
    if per_resource:
        kind, count = per_resource
        total = count * (nnodes if kind == "node" else ncores)
    else:
        total = 0
        for label, kind, count, resource in tasks:
            slot = slots.get(label, _Slot(nslots_total, {}))
            if kind == "total":
                total += count
            elif kind == "per_slot":
                total += count * slot.total
            elif resource == "node" and len(resources.slots) <= 1:
                total += count * nnodes
            elif resource == "core" and len(resources.slots) <= 1:
                total += count * ncores
            elif resource is not None:
                total += count * slot.below[resource] * slot.total
    if total > MAX_COUNT:
        raise JobspecError(f"tasks: {quote(total)} tasks, the most allowed is {MAX_COUNT}")
    return total


class _Slot(NamedTuple):
    total: int  # slots of this label in the job
    below: dict[str, int]  # type -> number in one slot


# The last few that were read, by their text: jobs that come together mostly ask for the same.
_known: dict[str, _Resources] = {}
_KNOWN_MAX = 64
_TEXT_MAX = 4096  # characters


def _resources(jobspec: dict[str, Any]) -> _Resources:
    """The checked resources of a jobspec; nobody changes them."""
    raw = jobspec.get("resources")
    try:
        text = repr(raw)
    except RecursionError:
        text = ""
    found = _known.get(text)
    if found is None:
        found = _Resources(jobspec)
        if 0 < len(text) <= _TEXT_MAX:
            if len(_known) >= _KNOWN_MAX:
                del _known[next(iter(_known))]
            _known[text] = found
    return found


class _Resources:
    """The tree under ``resources``, checked, and what was counted on the way."""

    def __init__(self, jobspec: dict[str, Any]) -> None:
        self.totals = dict.fromkeys(_NUMBERED, 0)
        self.slots: dict[str, _Slot] = {}  # by label
        self.loose = False  # something is asked for outside of any node
        self.shared_node = False  # a node is not asked for as a whole
        self.others = False  # a type is named that is not one of _NUMBERED
        self._nvertices = 0
        self.roots, _ = self._level(jobspec.get("resources"), "resources", 1, 1, ())

    def without_cores(self) -> bool:
        """Whether no core is asked for. Types from RDL (a socket, say) may contain some."""
        # A whole node has some: R has a core of every rank.
        whole_nodes = self.totals["node"] and not self.shared_node
        return not (self.others or whole_nodes or self.totals["core"])

    def _level(
        self, vertices: Any, field: str, depth: int, factor: int, above: tuple[str, ...]
    ) -> tuple[tuple[Vertex, ...], dict[str, int]]:
        # Returns the vertices, and their types with how many of each are below one of the parent.
        if type(vertices) is not list:
            raise JobspecError(f"{field}: expected a list, got {quote(vertices)}")
        if not vertices:
            raise JobspecError(f"{field}: expected at least one resource")
        if depth > MAX_DEPTH:
            raise JobspecError(f"{field}: nested deeper than {MAX_DEPTH}")
        self._nvertices += len(vertices)
        if self._nvertices > MAX_VERTICES:
            raise JobspecError(f"resources: more than {MAX_VERTICES} vertices")
        found = []
        below: dict[str, int] = {}
        for i, raw in enumerate(vertices):
            vertex, inside = self._vertex(raw, f"{field}[{i}]", depth, factor, above)
            found.append(vertex)
            below[vertex.type] = below.get(vertex.type, 0) + vertex.count
            for kind, count in inside.items():
                below[kind] = below.get(kind, 0) + count * vertex.count
        return tuple(found), below

    def _vertex(
        self, raw: Any, field: str, depth: int, factor: int, above: tuple[str, ...]
    ) -> tuple[Vertex, dict[str, int]]:
        _object(raw, field)
        for key in raw:
            if key not in _VERTEX_KEYS:
                raise JobspecError(f"{field}: unknown key {quote(key)}")
        kind = _name(raw.get("type"), f"{field}.type")
        if kind in above and kind in ("node", "slot"):
            raise JobspecError(f"{field}: a {kind} cannot be inside a {kind}")
        if "id" in raw:
            raise JobspecError(f"{field}.id: resources cannot be asked for by id; use a constraint")
        counts = _counts(raw.get("count"), f"{field}.count")
        count = counts[0].start
        if kind not in _COUNTED or (len(counts) == 1 and len(counts[0]) == 1):
            counts = ()
        if "unit" in raw:
            count = _amount(count, _name(raw["unit"], f"{field}.unit", 0), kind, f"{field}.unit")
        total = count * factor
        most = MAX_COUNT if kind in _NUMBERED else MAX_AMOUNT
        if kind in _NUMBERED:
            self.totals[kind] += total
            total_of_kind = self.totals[kind]
        else:
            total_of_kind = total
            self.others = True
        if total_of_kind > most:
            raise JobspecError(f"{field}: {quote(total_of_kind)} of {quote(kind)}, the most allowed is {most}")

        children: tuple[Vertex, ...] = ()
        below: dict[str, int] = {}
        if "with" in raw:
            children, below = self._level(raw["with"], f"{field}.with", depth + 1, total, above + (kind,))
        exclusive = raw.get("exclusive", kind == "slot" or "slot" in above or (kind == "node" and not children))
        if type(exclusive) is not bool:
            raise JobspecError(f"{field}.exclusive: expected true or false, got {quote(exclusive)}")
        label = _name(raw["label"], f"{field}.label") if "label" in raw else None
        if kind == "slot":
            if not children:
                raise JobspecError(f"{field}.with: expected the resources of the slot")
            if label is None:
                raise JobspecError(f"{field}.label: expected a string, got {quote(label)}")
            if label in self.slots:
                raise JobspecError(f"{field}.label: {quote(label)} is there twice")
            self.slots[label] = _Slot(total, below)
        elif kind == "node":
            self.shared_node = self.shared_node or not exclusive
        elif not children and "node" not in above:
            self.loose = True
        return Vertex(kind, count, exclusive, children, counts), below


def _granted(resources: _Resources, nslots_total: int, nnodes: int) -> dict[str, _Slot]:
    """The slots by label, where so many slots of one node, and nodes, were allocated. Only if several numbers are
    accepted does that change anything."""
    numbers = _flat(resources.roots)
    flat = numbers is not None
    if numbers is None:
        numbers = _averages(resources)
    top = resources.roots[0]
    if not any(_accepted(top) if flat else _accepted_by_root(resources.roots, numbers)):
        return resources.slots
    least = max(numbers[0], 1) * numbers[1]
    if not least:
        # There is no whole number of slots to a node.
        least, nslots_total = numbers[0], nnodes
    if top.type == "slot" and not top.counts:
        # It is the nodes in each slot that vary.
        return {
            label: _Slot(slot.total, {kind: count * nslots_total // least for kind, count in slot.below.items()})
            for label, slot in resources.slots.items()
        }
    return {label: _Slot(slot.total * nslots_total // least, slot.below) for label, slot in resources.slots.items()}


def _flat(roots: tuple[Vertex, ...]) -> Optional[_Numbers]:
    # None if the request is of another shape.
    if len(roots) != 1:
        return None
    top = roots[0]
    if top.type == "core" and not top.children:
        return 0, top.count, 1, 0, False
    if top.type not in ("node", "slot"):
        return None
    inner = _cores_and_gpus(top.children)
    if inner:
        if top.type == "slot":
            return (0, top.count) + inner + (False,)
        return (top.count, 1) + inner + (top.exclusive,)
    if len(top.children) != 1:
        return None
    below = top.children[0]
    inner = _cores_and_gpus(below.children)
    if inner and top.type == "node" and below.type == "slot":
        return (top.count, below.count) + inner + (top.exclusive,)
    if inner and top.type == "slot" and below.type == "node":
        return (top.count * below.count, 1) + inner + (below.exclusive,)
    return None


def _accepted(top: Vertex) -> tuple[Counts, Counts]:
    """The counts of nodes and of slots that are accepted by a request of a shape that _flat knows."""
    below = top.children[0] if top.children else None
    if top.type == "node":
        return top.counts, below.counts if below and below.type == "slot" else ()
    if below and below.type == "node":
        # Which slots hold which nodes is to be told from the number of nodes.
        if top.counts:
            return _times(top.counts, below.count), ()
        return _times(below.counts, top.count), ()
    return (), top.counts


def _accepted_by_root(roots: tuple[Vertex, ...], numbers: _Numbers) -> tuple[Counts, Counts]:
    """The same for a general request, of which only the count of the node or slot that holds all else may vary."""
    top = roots[0]
    if len(roots) > 1 or top.type not in ("node", "slot"):
        return (), ()
    if numbers[0]:
        return _times(top.counts, numbers[0] // top.count), ()
    return (), _times(top.counts, numbers[1] // top.count)


def _times(counts: Counts, factor: int) -> Counts:
    most = MAX_COUNT // factor
    return tuple(
        range(run.start * factor, min(run[-1], most) * factor + 1, run.step * factor)
        for run in counts
        if run.start <= most
    )


def _cores_and_gpus(vertices: tuple[Vertex, ...]) -> Optional[tuple[int, int]]:
    cores = gpus = 0
    for vertex in vertices:
        if vertex.type not in ("core", "gpu") or vertex.children:
            return None
        if vertex.type == "core":
            cores += vertex.count
        else:
            gpus += vertex.count
    return cores, gpus


def _averages(resources: _Resources) -> _Numbers:
    totals = resources.totals
    nnodes = 0 if resources.loose else totals["node"]
    nslots = totals["slot"] or nnodes or 1
    return (
        nnodes,
        _whole(nslots, nnodes or 1),
        _whole(totals["core"], nslots),
        _whole(totals["gpu"], nslots),
        nnodes > 0 and not resources.shared_node,
    )


def _whole(total: int, parts: int) -> int:
    return 0 if total % parts else total // parts


def _counts(value: Any, field: str) -> Counts:
    """All counts that a vertex accepts."""
    if type(value) is str:
        return _counts_of_text(value, field)
    if type(value) is dict:
        return _counts_of_range(value, field)
    if type(value) is int:
        return (range(_positive(value, field), value + 1),)
    raise JobspecError(f"{field}: expected a positive integer, a range or an idset, got {quote(value)}")


def _counts_of_text(text: str, field: str) -> Counts:
    body = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    match = _RANGE.fullmatch(body)
    if match:
        least, most, operand, operator = match.groups()
        most = int(most or MAX_COUNT)
        return _expand(_positive(int(least), field), most, int(operand or 1), operator or "+", field)
    try:
        found = idset.ranges(text)
    except idset.IdsetError as error:
        raise JobspecError(f"{field}: {error}") from None
    if len(found) > MAX_RANGES:
        raise JobspecError(f"{field}: {len(found)} ranges, the most allowed is {MAX_RANGES}")
    _positive(found[0][0] if found else 0, field)
    return tuple(range(first, last + 1) for first, last in found)


def _counts_of_range(value: dict[str, Any], field: str) -> Counts:
    for key in value:
        if key not in ("min", "max", "operator", "operand"):
            raise JobspecError(f"{field}: unknown key {quote(key)}")
    if ("operator" in value) != ("operand" in value):
        raise JobspecError(f"{field}: operator and operand must be given both or not at all")
    least = _positive(value.get("min"), f"{field}.min")
    most = _positive(value.get("max", MAX_COUNT), f"{field}.max")
    operand = _positive(value.get("operand", 1), f"{field}.operand")
    return _expand(least, most, operand, value.get("operator", "+"), field)


def _expand(least: int, most: int, operand: int, operator: Any, field: str) -> Counts:
    """The counts from the least on, each from the one before by the operator and operand, up to the most."""
    if operator not in ("+", "*", "^"):
        raise JobspecError(f"{field}.operator: expected +, * or ^, got {quote(operator)}")
    if most < least:
        raise JobspecError(f"{field}: the maximum {most} is below the minimum {least}")
    if operator != "+" and operand < 2:
        raise JobspecError(f"{field}: {operator} needs an operand of 2 or more")
    if operator == "^" and least < 2:
        raise JobspecError(f"{field}: ^ needs a minimum of 2 or more")
    most = min(most, MAX_COUNT)
    if operator == "+":
        return (range(least, most + 1, operand),)
    counts = []
    while least <= most:
        counts.append(range(least, least + 1))
        # A power of 2 or more with a larger exponent is beyond any count.
        least = least * operand if operator == "*" else least ** min(operand, 64)
    return tuple(counts)


def _amount(count: int, unit: str, kind: str, field: str) -> int:
    # A unit says nothing about what is numbered.
    if kind in _NUMBERED:
        return count
    size = _BYTES.get(unit[:-2] if unit.endswith("/s") else unit)
    if size is None:
        known = ", ".join(_BYTES)
        raise JobspecError(f"{field}: expected one of {known}, or one of these per second (/s), got {quote(unit)}")
    amount = -(-count * size // _MEGABYTE)
    if amount > MAX_COUNT:
        raise JobspecError(f"{field}: {amount} MB, the most allowed is {MAX_COUNT}")
    return amount


def _tasks(jobspec: dict[str, Any], resources: _Resources) -> list[tuple[str, str, int, Optional[str]]]:
    # Returns [(label, kind, count, type of resource or None)].
    tasks = jobspec.get("tasks")
    if type(tasks) is not list or not 1 <= len(tasks) <= MAX_TASKS:
        raise JobspecError(f"tasks: expected a list of 1 to {MAX_TASKS} tasks, got {quote(tasks)}")
    found = []
    for i, task in enumerate(tasks):
        field = f"tasks[{i}]"
        _object(task, field)
        command = task.get("command")
        if type(command) is not list or not command or not all(type(word) is str for word in command):
            raise JobspecError(f"{field}.command: expected a list of strings, got {quote(command)}")
        label = _name(task.get("slot"), f"{field}.slot")
        if resources.slots and label not in resources.slots:
            raise JobspecError(f"{field}.slot: no slot is labelled {quote(label)}")
        counts = _object(task.get("count"), f"{field}.count")
        kinds = [kind for kind in _TASK_KINDS if kind in counts]
        if len(kinds) != 1:
            raise JobspecError(f"{field}.count: expected exactly one of {', '.join(_TASK_KINDS)}")
        kind = kinds[0]
        value = counts[kind]
        resource = None
        if kind == "per_resource":
            _object(value, f"{field}.count.per_resource")
            resource = _name(value.get("type"), f"{field}.count.per_resource.type")
            inside = resources.slots[label].below if resources.slots else {}
            if resource not in inside and not (resource in ("node", "core") and len(resources.slots) <= 1):
                raise JobspecError(f"{field}.count.per_resource.type: {quote(resource)} is not in the slot")
            count = _positive(value.get("count"), f"{field}.count.per_resource.count")
        else:
            count = _positive(value, f"{field}.count.{kind}")
        found.append((label, kind, count, resource))
    return found


def _system(jobspec: dict[str, Any]) -> dict[str, Any]:
    """The object attributes.system; an empty one where attributes has none."""
    if "attributes" not in jobspec:
        raise JobspecError("attributes: expected an object, got nothing")
    attributes = jobspec["attributes"]
    if attributes is None:
        return {}
    _object(attributes, "attributes")
    return _object(attributes.get("system", {}), "attributes.system")


def _shell_per_resource(system: dict[str, Any]) -> Optional[tuple[str, int]]:
    # (type, count), or None.
    field = "attributes.system"
    value = system
    for key in ("shell", "options", "per-resource"):
        if key not in value:
            return None
        field = f"{field}.{key}"
        value = _object(value[key], field)
    kind = value.get("type")
    if kind not in ("node", "core"):
        raise JobspecError(f"{field}.type: expected node or core, got {quote(kind)}")
    return kind, _positive(value.get("count", 1), f"{field}.count")


def _duration(system: dict[str, Any]) -> float:
    """The key that RFC 25 requires of version 1. Without it flux-core's schedulers deny a job with the words after the
    colon."""
    if "duration" not in system:
        missing = "duration" if system else "system"
        raise JobspecError(
            f"attributes.system.duration is missing: getting duration: Object item not found: {missing}"
        )
    value = system["duration"]
    if type(value) not in (int, float) or not 0 <= value <= MAX_DURATION:
        raise JobspecError(
            f"attributes.system.duration: expected a number of seconds from 0 to {MAX_DURATION:.0f}, got {quote(value)}"
        )
    return float(value)


def _positive(value: Any, field: str) -> int:
    if type(value) is not int or not 1 <= value <= MAX_COUNT:
        raise JobspecError(f"{field}: expected an integer from 1 to {MAX_COUNT}, got {quote(value)}")
    return value


def _name(value: Any, field: str, least: int = 1) -> str:
    if type(value) is not str or not least <= len(value) <= MAX_NAME:
        raise JobspecError(f"{field}: expected a string of {least} to {MAX_NAME} characters, got {quote(value)}")
    if not is_utf8(value):
        raise JobspecError(f"{field}: expected valid UTF-8, got {quote(value)}")
    return value


def _object(value: Any, field: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise JobspecError(f"{field}: expected an object, got {quote(value)}")
    return value
