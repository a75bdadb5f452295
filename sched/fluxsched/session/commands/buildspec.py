# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""From the options of submit and run to a jobspec (RFC 25), as flux-core builds it."""
from __future__ import annotations

import math
import os

from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import quote
from fluxsched.session.commands import environ
from fluxsched.session.commands.common import absolute, here, signal_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Optional

    from fluxsched.session.commands.options import Options

    # (resources, task count, shell option per-resource or None)
    Plan = tuple[list[dict[str, Any]], dict[str, Any], Optional[dict[str, Any]]]

MAX_PARTS = 50  # of the dotted name of an attribute
MAX_FILE = 16 << 20  # bytes of a file with an attribute


class SpecError(FluxSchedError, ValueError):
    """Options that make no job; the text names the option."""


def whole(name: str, text: str | None, least: int = 1) -> int | None:
    """A whole number of at least `least` given to option `name`."""
    if text is None:
        return None
    try:
        if not text.isascii() or len(text) > 40:
            raise ValueError
        value = int(text)
    except ValueError:
        raise SpecError(f"--{name}: invalid int value {text!r}") from None
    if value < least:
        raise SpecError(f"--{name}: expected a whole number of at least {least}, got {value}")
    if value >= 2**31:
        raise SpecError(f"--{name}: {value} is too large")
    return value


def _slot(count: int, cores: int, gpus: int) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "core", "count": cores}]
    if gpus:
        parts.append({"type": "gpu", "count": gpus})
    return {"type": "slot", "count": count, "with": parts, "label": "task"}


def _node(count: int, exclusive: bool, slot: dict[str, Any]) -> dict[str, Any]:
    node: dict[str, Any] = {"type": "node", "count": count}
    if exclusive:
        node["exclusive"] = True
    node["with"] = [slot]
    return node


def _add_memory(resources: list[dict[str, Any]], text: str) -> None:
    """--mem: of each node that is asked for, or else of the job, an equal part in each slot."""
    from fluxsched.formats import sizes

    try:
        size = sizes.parse(text)
    except sizes.SizeError as error:
        raise SpecError(f"--mem: {error}") from None
    [top] = resources
    parts = top["count"] if top["type"] == "slot" else 1
    amount = -(-size // (parts * sizes.MEGABYTE))
    top["with"].append({"type": "memory", "count": amount, "unit": "MB"})


def _resources(o: Options) -> Plan:
    """Whose tasks come first: so many tasks, each with its cores and gpus."""
    nodes = whole("nodes", o.nodes)
    per_task = {"ntasks": o.ntasks, "cores-per-task": o.cores_per_task, "gpus-per-task": o.gpus_per_task}
    per_resource = {
        "cores": o.cores,
        "tasks-per-node": o.tasks_per_node,
        "tasks-per-core": o.tasks_per_core,
        "gpus-per-node": o.gpus_per_node,
    }
    given = [name for name, value in per_resource.items() if value is not None]
    mixed = [name for name, value in per_task.items() if value is not None]
    if given and mixed:
        raise SpecError(f"--{given[0]} and --{mixed[0]} cannot be used together")
    if o.exclusive and nodes is None:
        raise SpecError("exclusive can only be set with a node count")
    if given:
        return _per_resource(o, nodes)
    cores = whole("cores-per-task", o.cores_per_task) or 1
    gpus = whole("gpus-per-task", o.gpus_per_task, 0) or 0
    ntasks = whole("ntasks", o.ntasks)
    if nodes is None:
        return [_slot(ntasks or 1, cores, gpus)], {"per_slot": 1}, None
    if ntasks is None:
        # nodes alone are whole nodes, with a task on each
        return [_node(nodes, not mixed or o.exclusive, _slot(1, cores, gpus))], {"per_slot": 1}, None
    if nodes > ntasks:
        raise SpecError("node count must not be greater than task count")
    count = {"per_slot": 1} if ntasks % nodes == 0 else {"total": ntasks}
    return [_node(nodes, o.exclusive, _slot(math.ceil(ntasks / nodes), cores, gpus))], count, None


def _per_resource(o: Options, nodes: int | None) -> Plan:
    cores = whole("cores", o.cores)
    gpus = whole("gpus-per-node", o.gpus_per_node, 0) or 0
    per_node = whole("tasks-per-node", o.tasks_per_node)
    per_core = whole("tasks-per-core", o.tasks_per_core)
    if per_node and per_core:
        raise SpecError("--tasks-per-node and --tasks-per-core cannot be used together")
    if gpus and nodes is None:
        raise SpecError("--gpus-per-node needs --nodes")
    option = {"type": "core", "count": per_core} if per_core else None
    if per_node:
        option = {"type": "node", "count": per_node}
    if nodes is None:
        if cores is None:
            raise SpecError("--tasks-per-node and --tasks-per-core need --nodes or --cores")
        return [_slot(cores, 1, 0)], {"per_slot": 1}, option
    if cores is not None and (cores < nodes or cores % nodes):
        raise SpecError(f"--cores={cores} is no multiple of --nodes={nodes}")
    slot = _slot(1, cores // nodes if cores else 1, gpus)
    return [_node(nodes, o.exclusive or cores is None, slot)], {"per_slot": 1}, option


def _set(option: str, table: dict[str, Any], path: str, value: Any) -> None:
    parts = path.split(".")
    if len(parts) > MAX_PARTS:
        raise SpecError(f"{option}: expected a name of at most {MAX_PARTS} parts, got {len(parts)}")
    if not all(parts):
        raise SpecError(f"{option}: invalid attribute name {path!r}")
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise SpecError(f"{option}: {path}: {part} is no table")
    table[parts[-1]] = value


def _pair(option: str, rule: str) -> tuple[str, Any]:
    """NAME[=VALUE]: VALUE is JSON or else text, 1 if there is none; ^NAME=FILE reads JSON from FILE."""
    from fluxsched.formats import jsontext  # as all that most jobs do without

    name, equals, text = rule.partition("=")
    if name.startswith("^"):
        try:
            with open(text, "rb") as file:
                return name[1:], jsontext.loads(file.read(MAX_FILE))
        except (OSError, ValueError) as error:
            raise SpecError(f"{option}: {text}: {getattr(error, 'strerror', None) or error}") from None
    if not equals:
        return name, 1
    try:
        return name, jsontext.loads(text)
    except ValueError as error:
        if str(error) == jsontext.TOO_DEEP:
            raise SpecError(f"{option}: {name}: {error}") from None
        return name, text


def _attributes(spec: dict[str, Any], rules: list[str]) -> None:
    """--setattr"""
    for rule in rules:
        name, value = _pair("--setattr", rule)
        for prefix in ("attributes.", "."):
            if name.startswith(prefix):
                name = name[len(prefix) :]
        if not name.startswith(("system.", "user.")):
            name = "system." + name
        _set("--setattr", spec["attributes"], name, value)


def _shell_options(options: dict[str, Any], rules: list[str]) -> None:
    """--setopt"""
    if not rules:
        return
    from fluxsched.session import shelloptions

    for rule in rules:
        _set("--setopt", options, *_pair("--setopt", rule))
    try:
        shelloptions.check(options)
    except shelloptions.OptionError as error:
        raise SpecError(f"--setopt: {error}") from None


def _taskmap(text: str) -> dict[str, str]:
    """--taskmap: SCHEME[:VALUE]."""
    from fluxsched.session import shelloptions

    scheme, _, value = text.partition(":")
    option = {"scheme": scheme, "value": value}
    if scheme == "hostfile":
        option["hosts"] = _hostfile(value)
    try:
        shelloptions.taskmap({"taskmap": option})
    except shelloptions.OptionError as error:
        raise SpecError(f"--{error}") from None
    return option


def _hostfile(path: str) -> str:
    """The list of hosts in a file, whose lines are lists of them."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise SpecError(f"--taskmap: hostfile: {quote(path)}: {error.strerror}") from None
    if len(data) > MAX_FILE:
        raise SpecError(f"--taskmap: hostfile: {quote(path)}: expected at most {MAX_FILE} bytes")
    return ",".join(line.strip() for line in data.decode("utf-8", "replace").splitlines() if line.strip())


def _file(path: str, label: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path}
    if label:
        entry["label"] = True
    return entry


def build(
    o: Options,
    command: list[str],
    stdin: str = "none",
    env: Mapping[str, str] | None = None,
    plan: Plan | None = None,
) -> dict[str, Any]:
    """The jobspec.  `o` holds the options' texts, but for resources if there is a `plan`; raises SpecError."""
    if not command:
        raise SpecError("job command and arguments are missing")
    if not command[0]:
        raise SpecError("expected a command, got an empty word")
    resources, count, per_resource = plan or _resources(o)
    if o.mem is not None:
        _add_memory(resources, o.mem)
    spec: dict[str, Any] = {
        "resources": resources,
        "tasks": [{"command": command, "slot": "task", "count": count}],
        "attributes": {"system": _system(o, os.environ if env is None else env)},
        "version": 1,
    }
    options = spec["attributes"]["system"].setdefault("shell", {}).setdefault("options", {})
    if per_resource is not None:
        options["per-resource"] = per_resource
    if plan is None and o.taskmap is not None:
        options["taskmap"] = _taskmap(o.taskmap)
    _streams(o, options, stdin)
    if o.signal is not None:
        options["signal"] = _warning(o.signal)
    _shell_options(options, o.setopt or [])
    _attributes(spec, o.setattr or [])
    return spec


def _system(o: Options, env: Mapping[str, str]) -> dict[str, Any]:
    """attributes.system, but for the shell's options."""
    system: dict[str, Any] = {"duration": 0}
    if o.time_limit is not None:
        from fluxsched.session import fsd

        try:
            duration = fsd.parse(o.time_limit, unit=60.0)
        except ValueError as error:
            raise SpecError(f"--time-limit: {error}") from None
        system["duration"] = 0 if math.isinf(duration) else duration
    try:
        system["environment"], templates = environ.apply(o.env or [], dict(env))
    except ValueError as error:
        raise SpecError(f"--env: {error}") from None
    system["cwd"] = absolute(o.cwd) if o.cwd else here()
    if o.job_name:
        system["job"] = {"name": o.job_name}
    if o.queue:
        system["queue"] = o.queue
    if o.requires:
        from fluxsched.session.commands import requires as constraints

        try:
            system["constraints"] = constraints.parse(o.requires)
        except ValueError as error:
            raise SpecError(f"--requires: {quote(o.requires)}: {error}") from None
    if templates:
        system["shell"] = {"options": {"env-expand": templates}}
    dependencies = [_dependency(uri) for uri in o.dependency or []]
    if o.begin_time is not None:
        from fluxsched.session.commands import begintime

        try:
            dependencies.append({"scheme": "begin-time", "value": str(begintime.parse(o.begin_time))})
        except ValueError as error:
            raise SpecError(f"--begin-time: {error}") from None
    if dependencies:
        system["dependencies"] = dependencies
    return system


def _dependency(uri: str) -> dict[str, Any]:
    """--dependency: SCHEME:VALUE[?NAME=VALUE...] (RFC 26)."""
    scheme, _, rest = uri.partition(":")
    value, _, query = rest.partition("?")
    letters = "abcdefghijklmnopqrstuvwxyz"
    if scheme[:1] not in tuple(letters) or scheme.strip(letters + "0123456789.+-"):
        raise SpecError(f"--dependency: Invalid dependency URI {uri!r}: expected SCHEME:VALUE, such as afterok:ID")
    entry: dict[str, Any] = {"scheme": scheme, "value": value}
    if query:
        from urllib.parse import parse_qs  # slow to import

        for name, values in parse_qs(query, keep_blank_values=True).items():
            entry.setdefault(name, values[0] if len(values) == 1 else values)
    return entry


def _warning(text: str) -> dict[str, Any]:
    """--signal: [SIG][@TIME], a signal that is sent so long before the time limit."""
    from fluxsched.session import fsd

    name, at, time_left = text.partition("@")
    if not name and not time_left:
        raise SpecError(f"--signal: expected [SIG][@TIME], such as USR1@60s, got {text!r}")
    try:
        number = signal_number(name or "SIGUSR1")
    except ValueError as error:
        raise SpecError(f"--signal: {error}") from None
    try:
        seconds = fsd.parse(time_left) if at else 60.0
    except ValueError as error:
        raise SpecError(f"--signal: {error}") from None
    if math.isinf(seconds):
        raise SpecError(f"--signal: expected a time before the limit, got {quote(time_left)}")
    return {"signum": number, "timeleft": seconds}


def slots(o: Options) -> Plan:
    """The resources of batch and alloc: so many slots, each with its cores and gpus; a task on each node."""
    nodes, nslots = whole("nodes", o.nodes), whole("nslots", o.nslots)
    cores = whole("cores-per-slot", o.cores_per_slot) or 1
    gpus = whole("gpus-per-slot", o.gpus_per_slot, 0) or 0
    exclusive = o.exclusive
    if nslots is None:
        if nodes is None:
            raise SpecError("expected --nslots or --nodes: how much is to be allocated")
        nslots, exclusive = nodes, True
    if o.exclusive and nodes is None:
        raise SpecError("--exclusive: it can only be set with --nodes")
    if nodes is not None and nodes > nslots:
        raise SpecError(f"--nodes={nodes}: expected at most --nslots={nslots}")
    slot = _slot(nslots if nodes is None else math.ceil(nslots / nodes), cores, gpus)
    return [slot if nodes is None else _node(nodes, exclusive, slot)], {"per_slot": 1}, {"type": "node", "count": 1}


def _streams(o: Options, options: dict[str, Any], stdin: str) -> None:
    """The shell's options of standard input, output and error."""
    if o.input:
        options["input"] = {"stdin": {"type": "file", "path": absolute(o.input)}}
    elif stdin != "none":
        options["input"] = {"stdin": {"type": stdin}}
    output: dict[str, Any] = {}
    if o.output and o.output not in ("kvs", "none"):
        output["stdout"] = _file(o.output, o.label_io)
    if o.error and o.error not in ("kvs", "none"):
        output["stderr"] = _file(o.error, o.label_io)
    if o.unbuffered:
        output.setdefault("stdout", {})["buffer"] = {"type": "none"}
    if output:
        options["output"] = output


def urgency(text: str | None) -> int:
    """--urgency: a number, or hold, expedite, default."""
    names = {"hold": 0, "default": 16, "expedite": 31}
    if text is None:
        return 16
    if text.lower() in names:
        return names[text.lower()]
    value = whole("urgency", text, 0) or 0
    if value > 31:
        raise SpecError("urgency range is [0:31]")
    return value
