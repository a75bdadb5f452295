# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A site's configuration in the simulator: its machine; its queues with their nodes, parents, defaults and limits."""
from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from fluxsched.core import Inventory
from fluxsched.errors import FluxSchedError
from fluxsched.formats import config, hostlist, idset, jsontext, queues, r
from fluxsched.formats.quote import quote
from fluxsched.traces.trace import Trace

MOST_HOSTS = r.MAX_RANKS
MOST_TOLD = 5                  # names in an error


class SiteError(FluxSchedError, ValueError):
    """A configuration that the simulator cannot use; the text names the file and the key, and what was expected."""


class Placed(NamedTuple):
    """The jobs of a trace in the queues of a site.

    trace   those that may be submitted, with the default limits of their queues
    queue   int32 (n,): place in `queues`
    queues  the ordering domain of each queue, and the constraint that it adds or None
    beyond  number of jobs that are beyond the limits of their queues
    """

    trace: Trace
    queue: np.ndarray
    queues: List[Tuple[str, Optional[Dict[str, Any]]]]
    beyond: int


class Site:
    """What the configuration in a file says. Raises SiteError."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        try:
            self._config = config.load(self.path)
        except config.ConfigError as error:
            raise SiteError(str(error)) from None
        try:
            config.check_queues(self._config)
            self._queues: Dict[str, Any] = self._config.get("queues") or {}
            self._parents = queues.parents(self._queues)
            self.names = sorted(self._queues) or [""]
            self._limits = [queues.limits(name, self._config) for name in self.names]
            self._defaults = [self._default(name) for name in self.names]
        except (config.ConfigError, queues.QueuesError) as error:
            raise self._error(error) from None

    def _error(self, text: object) -> SiteError:
        return SiteError(f"{self.path}: {text}")

    def _default(self, name: str) -> float:
        """The limit of a job of a queue that states none, s; 0: none."""
        system: Dict[str, Any] = {"duration": 0, **({"queue": name} if name else {})}
        queues.complete(system, self._config)
        return float(system["duration"])

    def inventory(self) -> Optional[Inventory]:
        """The machine of ``resource.config``, or of the R in the file that ``resource.path`` names; None: neither is
        there. Raises SiteError."""
        table = self._config.get("resource", {})
        if not isinstance(table, dict):
            raise self._error("resource: expected a table")
        try:
            R = config.resources(table, MOST_HOSTS)
            if R is None and table.get("path") is not None:
                R = self._read_R(table["path"])
            return None if R is None else Inventory.from_r(R)
        except (config.ConfigError, r.RError) as error:
            raise self._error(error) from None

    def _read_R(self, path: Any) -> Any:
        if not isinstance(path, str):
            raise config.ConfigError(f"resource.path: expected the name of a file, got {quote(path)}")
        try:
            with open(os.path.join(os.path.dirname(self.path), path), "rb") as file:
                return jsontext.loads(file.read())
        except OSError as error:
            raise config.ConfigError(f"resource.path: {path}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise config.ConfigError(f"resource.path: {path}: {error}") from None

    def excluded(self, inventory: Inventory) -> str:
        """The ranks that ``resource.exclude`` keeps from the scheduler, an idset string. Raises SiteError."""
        text = self._config.get("resource", {}).get("exclude", "")
        try:
            return ranks_of(text, inventory) if text else ""
        except ValueError as error:
            raise self._error(f"resource.exclude: {error}") from None

    def place(self, trace: Trace) -> Placed:
        """The jobs of a trace in the queues of their names. Raises SiteError for a name that is not configured."""
        queue = self._queue_of(trace)
        default = np.array(self._defaults)[queue]
        unlimited = np.isinf(trace.request) & (default > 0)
        if unlimited.any():
            trace = replace(trace, request=np.where(unlimited, default, trace.request))
        within = self._within(trace, queue)
        if not within.any():
            raise self._error(f"every job of {trace.source} is beyond the limits of its queue")
        if not within.all():
            trace, queue = trace.select(within), queue[within]
        rows: List[Tuple[str, Optional[Dict[str, Any]]]] = []
        for name in self.names:
            wanted = queues.requires(name, self._queues) if name else []
            rows.append((queues.domain(name, self._parents), {"properties": wanted} if wanted else None))
        return Placed(trace, queue, rows, int((~within).sum()))

    def _within(self, trace: Trace, queue: np.ndarray) -> np.ndarray:
        """Mask of the jobs within the limits of their queues."""
        longest = np.array([limits.duration for limits in self._limits])[queue]
        within = trace.request <= longest
        for at, asked in enumerate((trace.nodes, trace.procs, trace.gpus)):
            within &= asked >= np.array([limits.least[at] for limits in self._limits])[queue]
            within &= asked <= np.array([limits.most[at] for limits in self._limits])[queue]
        return within

    def _queue_of(self, trace: Trace) -> np.ndarray:
        """The queue of each job, by its place in `names`: int32 (n,)."""
        if not self._queues:
            return np.zeros(len(trace), dtype=np.int32)
        default = self._config.get("policy", {}).get("jobspec", {}).get("defaults", {}).get("system", {}).get("queue")
        pairs, inverse = np.unique(np.stack([trace.queue, trace.partition], axis=1), axis=0, return_inverse=True)
        inverse = inverse.reshape(-1)
        place = np.full(len(pairs), -1, dtype=np.int32)
        unknown: Counter[str] = Counter()
        jobs = np.bincount(inverse)
        for at, (number, partition) in enumerate(pairs.tolist()):
            named = [trace.label(column, value) for column, value in (("queue", number), ("partition", partition))
                     if value >= 0]
            # Slurm's jobs may name several partitions.
            names = [word for name in named for word in (name, *name.split(","))]
            name = next((name for name in names if name in self._queues), None)
            if name is None and not named:
                name = default
            if name is None:
                unknown[named[0] if named else ""] += int(jobs[at])
            else:
                place[at] = self.names.index(name)
        if unknown:
            told = ", ".join(f"{quote(name) if name else 'none'} ({count} jobs)"
                             for name, count in unknown.most_common(MOST_TOLD))
            raise self._error(f"queues of {trace.source} that are not configured: {told}; expected one of "
                              + ", ".join(self.names))
        return place[inverse]


def ranks_of(text: Any, inventory: Inventory) -> str:
    """The ranks of an idset, or of a host list, as an idset string. Raises ValueError, which says what was expected."""
    if not isinstance(text, str):
        raise ValueError(f"expected ranks or host names, got {quote(text)}")
    if text[:1].isdigit() or text[:1] == "[":
        ranks = idset.ids(text, r.MAX_RANK)
        known = set(inventory.ranks)
        bad = [str(rank) for rank in ranks if rank not in known]
    else:
        names = set(hostlist.decode(text, MOST_HOSTS))
        ranks = [rank for rank, host in zip(inventory.ranks, inventory.hosts) if host in names]
        bad = sorted(names - set(inventory.hosts))
    if bad or not ranks:
        raise ValueError(f"expected nodes that there are, got {', '.join(bad[:MOST_TOLD]) or quote(text)}")
    return idset.encode(sorted(ranks))
