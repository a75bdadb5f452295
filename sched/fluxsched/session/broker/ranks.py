# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The session's resources: this machine on every rank, or an emulated cluster; and which ranks are drained."""

from __future__ import annotations

import errno
import os
import socket
import time
from syslog import LOG_INFO
from typing import Any, Callable, Iterable, Optional, Sequence

from fluxsched.formats import config, hostlist, idset
from fluxsched.service import memory as pools
from fluxsched.session.broker import memory
from fluxsched.session.broker.log import Log
from fluxsched.session.broker.rpc import Text, rpc
from fluxsched.session.broker.server import Request
from fluxsched.session.broker.store import Store
from fluxsched.session.errors import RequestError, SessionError
from fluxsched.session.opening import MAX_SIZE
from fluxsched.session.rset import held

TARGETS_MAX = 1 << 20
_MODE = Text(words=("", "update", "force"), default="")


def machine(size: int, gpus: Sequence[int], memory: int = 0) -> dict[str, Any]:
    """R of `size` ranks that each see all cores of this machine, these gpus, and `memory` MB if that is known."""
    cores = range(len(os.sched_getaffinity(0)))
    return build([socket.gethostname().partition(".")[0] or "localhost"] * size, cores, gpus, memory)


def build(hosts: Sequence[str], cores: Iterable[int], gpus: Sequence[int] = (), memory: int = 0) -> dict[str, Any]:
    """R with a rank for each of `hosts`, each with so many MB of memory."""
    children = {"core": idset.encode(cores)}
    if gpus:
        children["gpu"] = idset.encode(gpus)
    entry = {"rank": idset.encode(range(len(hosts))), "children": children}
    execution = {"R_lite": [entry], "nodelist": [hostlist.encode(hosts)], "starttime": 0, "expiration": 0}
    R: dict[str, Any] = {"version": 1, "execution": execution}
    if memory:
        R["scheduling"] = {"memory": [[entry["rank"], memory]]}
    return R


def emulated(path: str) -> dict[str, Any]:
    """R of the nodes that an RDL file describes.  Raises SessionError."""
    from fluxsched.core import Inventory
    from fluxsched.formats import rdl

    try:
        return Inventory.from_rdl(rdl.load(path)).to_r()
    except OSError as error:
        raise SessionError(f"{path}: {error.strerror}") from None
    except (rdl.RDLError, ValueError) as error:
        raise SessionError(str(error)) from None


def configured(table: dict[str, Any]) -> Optional[dict[str, Any]]:
    """R of a [resource] table with config = [{hosts, cores, gpus, properties}], or None.  Raises SessionError."""
    try:
        return config.resources(table, MAX_SIZE)
    except config.ConfigError as error:
        raise SessionError(f"configuration: {error}") from None


class Resources:
    """The session's R, and which of its ranks are drained; tells the scheduler module what changes."""
    def __init__(self, R: dict[str, Any], store: Store, log: Log, given: Callable[[], Iterable[Any]]) -> None:
        """`given()` are the R's of the jobs that hold resources.

        What R tells of memory is left out of it until a job asks for some: see :meth:`count_memory`."""
        self.memory = pools.memory_of(R)  # MB by rank
        self._told = R.get("scheduling")
        self.R = {key: value for key, value in R.items() if key != "scheduling"}
        self.store = store
        self.log = log
        self.rows = held(R)
        self.size = len(self.rows)
        self.hosts = {row[0]: row[1] for row in self.rows}
        self.drained = {rank: why for rank, why in store.drained().items() if rank in self.hosts}
        self._given = given
        self._listener: Optional[Callable[[Any, Optional[OSError]], Any]] = None

    def acquire(self, callback: Callable[[Any, Optional[OSError]], Any]) -> None:
        """resource.acquire: resources now, changes later."""
        self._listener = callback
        up = sorted(set(self.hosts) - set(self.drained))
        callback({"resources": self.R, "up": idset.encode(up)}, None)

    def count_memory(self) -> bool:
        """Have memory given out from the next load of the scheduler on; False if it is, or if nobody knows of any."""
        if not self.memory or "scheduling" in self.R:
            return False
        self.R["scheduling"] = self._told
        return True

    def release(self) -> None:
        """End :meth:`acquire`."""
        self._listener = None

    def count(self, requires: list[str]) -> list[int]:
        """[nodes, cores, gpus] of the ranks with these properties."""
        properties = self.R["execution"].get("properties", {})
        having = [set(idset.ids(properties.get(name, ""))) for name in requires]
        rows = [row for row in self.rows if all(row[0] in ranks for ranks in having)]
        return [len(rows), sum(len(row[2]) for row in rows), sum(len(row[3]) for row in rows)]

    def moves(self, t: float) -> None:
        """The session is to end at `t`, in seconds since the epoch, 0 for never."""
        self.R["execution"]["expiration"] = t
        self._notify(expiration=t)

    def _notify(self, **change: Any) -> None:
        if self._listener is not None:
            self._listener(change, None)

    def targets(self, text: str) -> list[int]:
        """Ranks of an idset or a host list.  Raises RequestError."""
        if text[:1].isdigit() or text[:1] == "[":
            try:
                ranks = idset.ids(text)
            except ValueError as error:
                raise RequestError(errno.EINVAL, f"invalid targets: {error}") from None
            if not ranks or ranks[-1] not in self.hosts:
                raise RequestError(errno.EINVAL, f"idset is out of range: this session has ranks 0-{self.size - 1}")
            return ranks
        try:
            names = hostlist.decode(text)
        except ValueError as error:
            raise RequestError(errno.EINVAL, f"invalid targets: {error}") from None
        known: dict[str, list[int]] = {}
        for rank, host in self.hosts.items():
            known.setdefault(host, []).append(rank)
        bad = [name for name in names if name not in known]
        if bad or not names:
            raise RequestError(errno.EINVAL, f"invalid targets: invalid hosts: {','.join(bad)}")
        return sorted({rank for name in names for rank in known[name]})

    @rpc("resource.drain", targets=Text(TARGETS_MAX), reason=Text(raw=True, default=""), mode=_MODE)
    def drain(self, request: Request, targets: str, reason: str, mode: str) -> None:
        """Keep jobs off ranks.  Of one that is drained, mode "" refuses, "update" skips, "force" overwrites."""
        ranks = self.targets(targets)
        again = [rank for rank in ranks if rank in self.drained]
        if again and not mode:
            raise RequestError(errno.EEXIST, f"rank {idset.encode(again)} already drained")
        if mode == "update":
            ranks = [rank for rank in ranks if rank not in self.drained]
        now = time.time()
        fresh = [rank for rank in ranks if rank not in self.drained]

        def written(error: Optional[OSError]) -> None:
            if error is not None:
                request.error(error.errno or errno.EIO, error.strerror)
                return
            for rank in ranks:
                self.drained[rank] = (now, reason)
            self.log("resource", LOG_INFO, f"drain idset={idset.encode(ranks)} reason={reason}")
            if fresh:
                self._notify(down=idset.encode(fresh))
            request.respond()

        self.store.request([self.store.op_drain(rank, now, reason) for rank in ranks], written)

    @rpc("resource.undrain", targets=Text(TARGETS_MAX), mode=_MODE)
    def undrain(self, request: Request, targets: str, mode: str) -> None:
        """Let jobs on ranks again.  One that is not drained is refused, unless there is a mode."""
        ranks = self.targets(targets)
        missing = [rank for rank in ranks if rank not in self.drained]
        if missing and not mode:
            raise RequestError(errno.EINVAL, f"rank {idset.encode(missing)} not drained")
        ranks = [rank for rank in ranks if rank in self.drained]

        def written(error: Optional[OSError]) -> None:
            if error is not None:
                request.error(error.errno or errno.EIO, error.strerror)
                return
            for rank in ranks:
                del self.drained[rank]
            self.log("resource", LOG_INFO, f"undrain idset={idset.encode(ranks)}")
            if ranks:
                self._notify(up=idset.encode(ranks))
            request.respond()

        self.store.request([self.store.op_undrain(rank) for rank in ranks], written)

    @rpc("resource.status")
    def status(self, request: Request) -> None:
        """Show all resources.  Answers {"R", "drain": [{"rank", "t", "reason"}], "busy": ranks that jobs hold,
        "memory": [[rank, MB, MB that jobs hold]] of ranks where it is known}."""
        given = list(self._given())
        busy = {row[0] for R in given for row in held(R)}
        taken = memory.held(given, sorted(self.memory)) if "scheduling" in self.R else {}
        have = [[rank, self.memory[rank], taken.get(rank, 0)] for rank in sorted(self.memory)]
        drain = [{"rank": rank, "t": t, "reason": reason} for rank, (t, reason) in sorted(self.drained.items())]
        request.respond({"R": self.R, "drain": drain, "busy": sorted(busy), "memory": have})
