# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which resources there are, and which are free."""
from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from flux.future import Future
from fluxsched.formats import hostlist, idset
from fluxsched.session.rset import Row, held, without

if TYPE_CHECKING:
    from flux.handle import Flux


class ResourceSet:
    """Resources by node: how many, where."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    @property
    def nnodes(self) -> int:
        """How many nodes."""
        return len(self._rows)

    @property
    def ncores(self) -> int:
        """How many cores."""
        return sum(len(cores) for _, _, cores, _ in self._rows)

    @property
    def ngpus(self) -> int:
        """How many gpus."""
        return sum(len(gpus) for _, _, _, gpus in self._rows)

    @property
    def ranks(self) -> str:
        """The ranks, as "0-3"."""
        return idset.encode([row[0] for row in self._rows])

    @property
    def nodelist(self) -> str:
        """The hosts, as "n[0-3]"."""
        return hostlist.encode([row[1] for row in self._rows])

    def __str__(self) -> str:
        return f"rank[{self.ranks}]/core,gpu: {self.nnodes} nodes, {self.ncores} cores, {self.ngpus} gpus"


class SchedResourceList:
    """The resources of the session by state: `all`, `allocated`, `down`, `up`, `free`."""

    def __init__(self, answer: dict[str, Any]) -> None:
        """From what sched.resource-status answers."""
        rows = {name: held(answer[name]) for name in ("all", "allocated", "down")}
        down = {row[0] for row in rows["down"]}
        up = [row for row in rows["all"] if row[0] not in down]
        self.all = ResourceSet(rows["all"])
        self.allocated = ResourceSet(rows["allocated"])
        self.down = ResourceSet(rows["down"])
        self.up = ResourceSet(up)
        self.free = ResourceSet([row for row in without(rows["all"], rows["allocated"]) if row[0] not in down])

    def __getitem__(self, state: str) -> ResourceSet:
        if state not in ("all", "allocated", "down", "up", "free"):
            raise KeyError(state)
        found: ResourceSet = getattr(self, state)
        return found


class ResourceListRPC(Future):
    """The answer of :func:`resource_list`."""

    def get(self) -> SchedResourceList:
        """The resources.  OSError if no scheduler is loaded."""
        try:
            return SchedResourceList(super().get())
        except OSError as error:
            if error.errno == errno.ENOSYS:
                raise OSError(errno.ENOSYS, "no scheduler is loaded") from None
            raise


def resource_list(flux_handle: Flux) -> ResourceListRPC:
    """Ask which resources there are; the future's get() gives a SchedResourceList."""
    return ResourceListRPC(flux_handle, "sched.resource-status")
