# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The configuration of an instance, a TOML or JSON file: reading it, and the machine that its resources are."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Optional, Sequence

from fluxsched.errors import FluxSchedError
from fluxsched.formats import hostlist, idset, jsontext, queues, r, sizes
from fluxsched.formats.quote import quote
from fluxsched.formats.r import MAX_CHILD

__all__ = ["ConfigError", "check_queues", "load", "loads", "resources"]

MAX_SIZE = 16 << 20  # bytes
_CONFIG = "resource.config"


class ConfigError(FluxSchedError, ValueError):
    """A configuration that cannot be used; the text names the file or the key, and what was expected."""


def load(path: str) -> dict[str, Any]:
    """The configuration in a file. ConfigError, which names the file."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return loads(data, path.endswith(".json"), path)


def loads(data: bytes, as_json: bool, where: str) -> dict[str, Any]:
    """The configuration in a text, JSON or TOML. ConfigError, which begins with `where`."""
    if len(data) > MAX_SIZE:
        raise ConfigError(f"{where}: expected at most {MAX_SIZE} bytes")
    try:
        if as_json:
            config = jsontext.loads(data)
        else:
            config = _toml().loads(data.decode())
            jsontext.check_depth(config)
    except RecursionError:
        raise ConfigError(f"{where}: {jsontext.TOO_DEEP}") from None
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{where}: expected a table at the top")
    return config


def _toml() -> Any:
    try:
        import tomllib
    except ImportError:
        try:
            import tomli as tomllib  # type: ignore[no-redef]
        except ImportError:
            text = "reading TOML needs Python 3.11 or the package tomli; a .json file is read without them"
            raise ConfigError(text) from None
    return tomllib


def check_queues(config: dict[str, Any]) -> None:
    """Check the table ``queues``, and the defaults that a job of each queue is completed with. ConfigError."""
    table = config.get("queues", {})
    if not isinstance(table, dict):
        raise ConfigError("queues: expected a table")
    for name, own in table.items():
        requires = own.get("requires", []) if isinstance(own, dict) else None
        if not isinstance(requires, list) or not all(isinstance(word, str) for word in requires):
            raise ConfigError(f"queues.{name}: expected a table with requires, a list of properties")
    try:
        queues.parents(table)
        for name in table or [None]:
            queues.complete({"queue": name, "duration": 0}, config)
    except queues.QueuesError as error:
        raise ConfigError(str(error)) from None


def resources(table: dict[str, Any], most: int) -> Optional[dict[str, Any]]:
    """R of a table ``resource`` with config = [{hosts, cores, gpus, properties, memory}], at most so many hosts; None
    if it has none. Memory, which flux-core does not know, is in R as :mod:`service.memory` reads it. ConfigError."""
    entries = table.get("config")
    if not entries:
        return None
    if not isinstance(entries, list):
        raise ConfigError(f"{_CONFIG}: expected a list of tables with hosts, cores, gpus, properties")
    named: dict[str, list[int]] = {}  # the entries of a host; hosts have ranks in this order
    children: list[tuple[list[int], list[int]]] = []  # cores and gpus of an entry
    properties: dict[str, set[str]] = {}
    memory: dict[str, int] = {}  # MB by host
    for i, entry in enumerate(entries):
        try:
            names, cores, gpus, flags = _entry(entry, most)
            amount = _memory(entry.get("memory"))
        except ValueError as error:
            raise ConfigError(f"{_CONFIG}[{i}]: {error}") from None
        children.append((cores, gpus))
        for name in dict.fromkeys(names):
            named.setdefault(name, []).append(i)
        for flag in flags:
            properties.setdefault(flag, set()).update(names)
        if amount:
            memory.update(dict.fromkeys(names, amount))
    if len(named) > most:
        raise ConfigError(f"{_CONFIG}: {len(named)} hosts, the most allowed is {most}")
    # Hosts of the same entries are alike, and many.
    kinds = {key: _children(children, key) for key in set(map(tuple, named.values()))}
    R = _configured(list(named), [kinds[tuple(key)] for key in named.values()], properties)
    if memory:
        R["scheduling"] = {"memory": [[str(rank), memory[host]] for rank, host in enumerate(named) if host in memory]}
    try:
        r.parse(R)
    except r.RError as error:
        raise ConfigError(f"{_CONFIG}: {error}") from None
    return R


def _children(entries: Sequence[tuple[list[int], list[int]]], key: Sequence[int]) -> dict[str, str]:
    """Cores and gpus, as in R, of a host in the entries `key`."""
    cores = {core for i in key for core in entries[i][0]}
    gpus = {gpu for i in key for gpu in entries[i][1]}
    return {"core": idset.encode(sorted(cores)), **({"gpu": idset.encode(sorted(gpus))} if gpus else {})}


def _configured(
    hosts: list[str], children: Sequence[dict[str, str]], properties: Mapping[str, Iterable[str]]
) -> dict[str, Any]:
    """R of hosts with their cores and gpus."""
    lite = [{"rank": str(rank), "children": own} for rank, own in enumerate(children)]
    execution: dict[str, Any] = {"R_lite": lite, "nodelist": [hostlist.encode(hosts)], "starttime": 0, "expiration": 0}
    if properties:
        rank_of = {host: rank for rank, host in enumerate(hosts)}
        execution["properties"] = {
            flag: idset.encode(sorted(rank_of[host] for host in having)) for flag, having in properties.items()
        }
    return {"version": 1, "execution": execution}


def _memory(value: Any) -> int:
    """MB of a key memory, 0 without one.  Raises ValueError."""
    if value is None:
        return 0
    try:
        return max(1, sizes.parse(value) // sizes.MEGABYTE)
    except sizes.SizeError as error:
        raise ValueError(f"memory: {error}") from None


def _entry(entry: Any, most: int) -> tuple[list[str], list[int], list[int], list[str]]:
    """Hosts, cores, gpus and properties of an entry.  Raises ValueError."""
    if not isinstance(entry, dict):
        raise ValueError(f"expected a table, got {quote(entry)}")
    unknown = sorted(set(entry) - {"hosts", "cores", "gpus", "properties", "memory"})
    if unknown:
        raise ValueError(f"{quote(unknown[0])}: unknown key, expected hosts, cores, gpus, properties or memory")
    flags = entry.get("properties", [])
    if not isinstance(flags, list) or not all(isinstance(flag, str) for flag in flags):
        raise ValueError(f"properties: expected a list of names, got {quote(flags)}")
    ids = []
    for key in ("cores", "gpus"):
        text = entry.get(key, "")
        try:
            # TOML has numbers, too: cores = 0.
            ids.append(idset.ids(str(text) if type(text) is int else text, MAX_CHILD))
        except idset.IdsetError as error:
            raise ValueError(f"{key}: {error}") from None
    return hostlist.decode(entry.get("hosts"), most), ids[0], ids[1], flags
