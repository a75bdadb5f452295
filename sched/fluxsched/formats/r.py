# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Resource sets, R version 1 (RFC 20): which cores and gpus of which ranks.

The hosts in ``nodelist`` belong to the ranks in ascending order, whatever the order of the entries of ``R_lite``.
"""

from __future__ import annotations

import math
from sys import intern
from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Optional, Sequence

from fluxsched.errors import FluxSchedError
from fluxsched.formats import hostlist, idset
from fluxsched.formats.constraint import ConstraintError, check_property
from fluxsched.formats.quote import quote

MAX_RANKS = 2**20
MAX_RANK = 2**24 - 1
MAX_CHILD = 2**16 - 1  # largest id of a core or gpu


__all__ = [
    "MAX_RANKS", "RError", "RNodes", "emit", "emit_runs", "folded", "parse", "public_properties", "ranks_of", "summary",
]


#: First and last rank, host of the first and of the last, cores and gpus of each as idset strings ("" for no gpus).
Run = tuple[int, int, str, str, str, str]


class RError(FluxSchedError, ValueError):
    """Not a valid R. The text names the field and what was expected."""


class RNodes(NamedTuple):
    """An R by rank. The first four lists are parallel, in ascending order of rank."""

    ranks: list[int]
    hosts: list[str]  # may repeat
    cores: list[str]  # idset strings, never empty; interned, written the one shortest way
    gpus: list[str]  # idset strings, "" for none; likewise
    properties: dict[str, list[int]]  # name -> ascending ranks, never none; with local names ("+...")
    starttime: float  # seconds since the epoch, 0 for unset
    expiration: float  # seconds since the epoch, 0 for unset


def parse(R: Any) -> RNodes:
    """Return the RNodes of the decoded JSON `R`, which is untrusted. RError if it is not a valid R.

    Children other than core and gpu, ``scheduling`` and ``nslots`` are left out, and so are properties without ranks.
    """
    R = _object(R, "R")
    version = R.get("version")
    if type(version) is not int or version != 1:
        raise RError(f"version: expected 1, got {quote(version)}")
    execution = _object(R.get("execution"), "execution")
    ranks, cores, gpus = _r_lite(_list(execution.get("R_lite"), "execution.R_lite"))
    hosts = _nodelist(_list(execution.get("nodelist"), "execution.nodelist"), len(ranks))
    properties = {}
    if "properties" in execution:
        properties = _properties(_object(execution["properties"], "execution.properties"), ranks)
    starttime = _time(execution, "starttime")
    expiration = _time(execution, "expiration")
    if starttime and expiration and expiration <= starttime:
        raise RError(f"execution.expiration: expected a time after starttime {starttime}, got {expiration}")
    return RNodes(ranks, hosts, cores, gpus, properties, starttime, expiration)


def emit(
    ranks: Sequence[int],
    hosts: Sequence[str],
    cores: Sequence[str],
    gpus: Sequence[str],
    properties: Optional[Mapping[str, Iterable[int]]] = None,
    starttime: float = 0,
    expiration: float = 0,
    nslots: int = 0,
) -> dict[str, Any]:
    """Return the R, a dict to encode as JSON, of parallel sequences in any order of ranks.

    `cores` and `gpus` hold idset strings ("" for no gpus), `properties` maps names to ranks. Properties are written as
    given: for a job's R pass them through public_properties(). `nslots` is written unless it is 0. RError if lengths
    differ, a rank repeats, or a host's name is unfit for a host list.
    """
    if not len(ranks) == len(hosts) == len(cores) == len(gpus):
        raise RError(f"{len(ranks)} ranks, {len(hosts)} hosts, {len(cores)} cores and {len(gpus)} gpus")
    if any(map(int.__ge__, ranks, ranks[1:])):
        order = sorted(range(len(ranks)), key=ranks.__getitem__)
        ranks = [ranks[i] for i in order]
        hosts, cores, gpus = ([column[i] for i in order] for column in (hosts, cores, gpus))
        for rank, following in zip(ranks, ranks[1:]):
            if rank == following:
                raise RError(f"rank {rank} is there twice")
    named = {name: idset.encode(sorted(having)) for name, having in (properties or {}).items() if having}
    return emit_runs(zip(ranks, ranks, hosts, hosts, cores, gpus), named, starttime, expiration, nslots)


def emit_runs(
    runs: Iterable[Run],
    properties: Optional[Mapping[str, str]] = None,
    starttime: float = 0,
    expiration: float = 0,
    nslots: int = 0,
) -> dict[str, Any]:
    """Return the R of runs of alike ranks: (first rank, last rank, first host, last host, cores, gpus).

    Runs are disjoint and ascend; hosts of a run follow each other (hostlist.follows). `properties` maps names to idset
    strings of ranks. Else as emit().
    """
    entries: dict[tuple[str, str], list[idset.Range]] = {}
    names = []
    for first, last, first_host, last_host, cores, gpus in runs:
        names.append((first_host, last_host))
        same = entries.setdefault((cores, gpus), [])
        if same and same[-1][1] + 1 == first:
            same[-1] = (same[-1][0], last)
        else:
            same.append((first, last))
    try:
        nodelist = hostlist.encode_runs(names)
    except hostlist.HostlistError as error:
        raise RError(f"execution.nodelist: {error}") from None
    execution: dict[str, Any] = {
        "R_lite": [
            {"rank": idset.encode_ranges(same), "children": {"core": core, "gpu": gpu} if gpu else {"core": core}}
            for (core, gpu), same in entries.items()
        ],
        "nodelist": [nodelist] if nodelist else [],
        "starttime": starttime,
        "expiration": expiration,
    }
    if nslots:
        execution["nslots"] = nslots
    if properties:
        execution["properties"] = dict(properties)
    return {"version": 1, "execution": execution}


def public_properties(properties: dict[str, Any]) -> dict[str, Any]:
    """Return `properties` without the instance-local ones ("+..."), which must not get into the R of a job."""
    return {name: ranks for name, ranks in properties.items() if not name.startswith("+")}


def ranks_of(R: Any) -> str:
    """The ranks of the decoded JSON `R`, which is untrusted, as an idset string. RError."""
    merged: list[idset.Range] = []
    for first, last in sorted(span for i, entry in _entries(R) for span in _ranks(entry, i)):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return idset.encode_ranges(merged)


def folded(R: Any) -> list[tuple[str, str, str]]:
    """What the decoded JSON `R` holds: tuples (ranks, core ids, gpu ids) of idset strings, "" for none. RError."""
    found = []
    for i, entry in _entries(R):
        _ranks(entry, i)
        children = _children(entry, i)
        found.append((entry["rank"], children.get("core", ""), children.get("gpu", "")))
    return found


def summary(R: Any) -> str:
    """What the decoded JSON `R` holds in short: "rank[0-1]/core[0-3]". RError."""
    words = []
    for i, entry in _entries(R):
        _ranks(entry, i)
        units = [kind + _bracketed(ids) for kind, ids in _children(entry, i).items()]
        text = units[0] if len(units) == 1 else "{" + ",".join(units) + "}"
        words.append(f"rank{_bracketed(entry['rank'])}/{text}")
    return " ".join(words)


def _bracketed(ids: str) -> str:
    return ids if ids.isdigit() else f"[{ids}]"


def _entries(R: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    execution = _object(R, "R").get("execution")
    if type(execution) is not dict:
        raise RError(f"execution.R_lite: expected an object with a list in it, got {quote(execution)}")
    for i, entry in enumerate(_list(execution.get("R_lite"), "execution.R_lite")):
        yield i, _object(entry, f"execution.R_lite[{i}]")


def _ranks(entry: dict[str, Any], i: int) -> list[idset.Range]:
    return _idset(entry.get("rank"), f"execution.R_lite[{i}].rank", MAX_RANK)


def _children(entry: dict[str, Any], i: int) -> dict[str, str]:
    field = f"execution.R_lite[{i}].children"
    children = _object(entry.get("children"), field)
    for kind, ids in children.items():
        _idset(ids, f"{field}.{quote(kind)[1:-1]}", MAX_CHILD)
    return children


def _r_lite(entries: list[Any]) -> tuple[list[int], list[str], list[str]]:
    spans = []  # (first rank, last rank, cores, gpus)
    for i, entry in enumerate(entries):
        field = f"execution.R_lite[{i}]"
        entry = _object(entry, field)
        children = _object(entry.get("children"), f"{field}.children")
        core_ids = _idset(children.get("core"), f"{field}.children.core", MAX_CHILD)
        if not core_ids:
            raise RError(f"{field}.children.core: expected at least one core")
        gpu_ids = _idset(children["gpu"], f"{field}.children.gpu", MAX_CHILD) if "gpu" in children else []
        core = intern(idset.encode_ranges(core_ids))
        gpu = intern(idset.encode_ranges(gpu_ids))
        for first, last in _idset(entry.get("rank"), f"{field}.rank", MAX_RANK):
            spans.append((first, last, core, gpu))
    spans.sort()
    total = idset.count(span[:2] for span in spans)
    ranks: list[int] = []
    cores: list[str] = []
    gpus: list[str] = []
    previous = -1
    for first, last, core, gpu in spans:
        if first <= previous:
            raise RError(f"execution.R_lite: rank {first} is there twice")
        if total > MAX_RANKS:
            raise RError(f"execution.R_lite: {total} ranks, the most allowed is {MAX_RANKS}")
        n = last - first + 1
        ranks.extend(range(first, last + 1))
        cores.extend([core] * n)
        gpus.extend([gpu] * n)
        previous = last
    return ranks, cores, gpus


def _nodelist(texts: list[Any], nranks: int) -> list[str]:
    hosts: list[str] = []
    for i, text in enumerate(texts):
        try:
            hosts.extend(hostlist.decode(text, MAX_RANKS - len(hosts)))
        except hostlist.HostlistError as error:
            raise RError(f"execution.nodelist[{i}]: {error}") from None
    if len(hosts) != nranks:
        raise RError(f"execution.nodelist: {len(hosts)} hosts for {nranks} ranks")
    return hosts


def _properties(named: dict[str, Any], ranks: list[int]) -> dict[str, list[int]]:
    known = set(ranks)
    properties = {}
    for name, text in named.items():
        try:
            check_property(name)
        except ConstraintError as error:
            raise RError(f"execution.properties: {error}") from None
        field = f"execution.properties.{ascii(name[:60])[1:-1]}"
        having = []
        for first, last in _idset(text, field, MAX_RANK):
            for rank in range(first, last + 1):
                if rank not in known:
                    raise RError(f"{field}: rank {rank} is not in R_lite")
                having.append(rank)
        if having:
            properties[name] = having
    return properties


def _object(value: Any, field: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise RError(f"{field}: expected an object, got {quote(value)}")
    return value


def _list(value: Any, field: str) -> list[Any]:
    if type(value) is not list:
        raise RError(f"{field}: expected a list, got {quote(value)}")
    return value


def _idset(text: Any, field: str, max_id: int) -> list[idset.Range]:
    try:
        return idset.ranges(text, max_id)
    except idset.IdsetError as error:
        raise RError(f"{field}: {error}") from None


def _time(execution: dict[str, Any], key: str) -> float:
    value = execution.get(key, 0)
    if type(value) not in (int, float) or not 0 <= value < math.inf or value > 2**53:
        raise RError(f"execution.{key}: expected seconds since the epoch or 0, got {quote(value)}")
    return float(value)
