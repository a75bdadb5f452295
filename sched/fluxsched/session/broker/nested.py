# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Sessions inside jobs.

A nested session is the task of a job in another session, its parent.  It schedules on what the job holds, with the
job's cores and gpus by the parent's numbers and ranks from 0 on.  It ends with the job; and when the parent is gone,
as nobody keeps the job's resources from then on.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any, Callable

from fluxsched.formats import idset
from fluxsched.formats.fastjson import dumps
from fluxsched.service.memory import memory_of
from fluxsched.session.broker import memory
from fluxsched.session.broker.job import HELD, RUN, Job
from fluxsched.session.broker.jobfolder import STATE_PREFIX
from fluxsched.session.broker.loop import Loop
from fluxsched.session.broker.rpc import JOBID, Int, Object, rpc
from fluxsched.session.broker.server import Request
from fluxsched.session.errors import RequestError
from fluxsched.session.opening import Nest
from fluxsched.session.rset import held
from fluxsched.session.wire import Channel

if TYPE_CHECKING:
    from fluxsched.session.broker.job_manager import Manager

MEMO_MAX = 1 << 16  # bytes


def renumbered(R: dict[str, Any], amounts: dict[int, int]) -> dict[str, Any]:
    """The resources of a job as those of a session: its ranks are 0, 1, ..., in their order.  `amounts` are the
    MB of memory that the job has of each rank."""
    execution = R["execution"]
    rows = held(R)
    lite = []
    for rank, (_, _, cores, gpus) in enumerate(rows):
        children = {"core": idset.encode(cores), **({"gpu": idset.encode(gpus)} if gpus else {})}
        lite.append({"rank": str(rank), "children": children})
    inner = {
        "R_lite": lite,
        "nodelist": execution["nodelist"],
        "starttime": execution.get("starttime", 0.0),
        "expiration": execution.get("expiration", 0.0),
    }
    places = {row[0]: rank for rank, row in enumerate(rows)}
    properties = {}
    for name, ranks in execution.get("properties", {}).items():
        kept = [places[rank] for rank in idset.ids(ranks) if rank in places]
        if kept:
            properties[name] = idset.encode(kept)
    if properties:
        inner["properties"] = properties
    found: dict[str, Any] = {"version": 1, "execution": inner}
    pools = [[str(places[rank]), amount] for rank, amount in sorted(amounts.items()) if amount]
    if pools:
        found["scheduling"] = {"memory": pools}
    return found


class Nests:
    """Handles the requests of the sessions in jobs, and that to end this session."""

    def __init__(
        self, manager: Manager, level: int, shutdown: Callable[[], Any], resize: Callable[[int, int], Any]
    ) -> None:
        """`level` is that of this session; `shutdown()` ends it; `resize(rows, columns)` is for its terminal."""
        self.manager = manager
        self.level = level
        self._shutdown = shutdown
        self._resize = resize

    @rpc("job.nested", id=JOBID)
    def nested(self, request: Request, id: int) -> None:
        """What a session in the job `id` is to know.  Answers {"R", "cpus", "level", "near"}, see Nest."""
        job = self.manager.find(id)
        if job.state != RUN or job.alloc != HELD:
            raise RequestError(errno.EINVAL, f"{job.name}: job is not running")
        executor = self.manager.executor
        ranks = sorted(memory_of(self.manager.scheduler.resources.R))
        near = {str(gpu): sorted(cpus) for gpu, cpus in executor.near.items()}
        R = renumbered(job.R, memory.held([job.R], ranks))
        request.respond({"R": R, "cpus": executor.cpus, "level": self.level + 1, "near": near})

    @rpc("job-manager.memo", id=JOBID, memo=Object())
    def memo(self, request: Request, id: int, memo: dict[str, Any]) -> None:
        """Merge `memo` into annotations.user of a job; null deletes a key."""
        job = self.manager.find(id)
        if len(dumps(memo)) > MEMO_MAX:
            raise RequestError(errno.EINVAL, f"memo: expected at most {MEMO_MAX} bytes")
        self.manager.annotate(job, {"user": memo})
        self.manager.post(job, "memo", memo)
        request.respond()

    @rpc("session.shutdown")
    def shutdown(self, request: Request) -> None:
        """End the session, with its command."""
        request.respond()
        self.manager.loop.call_soon(self._shutdown)

    @rpc("session.resize", rows=Int(1, 65535), columns=Int(1, 65535))
    def resize(self, request: Request, rows: int, columns: int) -> None:
        """Set the size of the terminal that the session's command has, if it has one."""
        self._resize(rows, columns)
        request.respond()


class Parent:
    """Follows the job of a nested session in its parent."""

    def __init__(
        self, loop: Loop, nest: Nest, uri: str, moved: Callable[[float], Any], gone: Callable[[], Any]
    ) -> None:
        """Tell the parent that the session has this `uri`.

        `moved(t)`: the job ends at t, in seconds since the epoch, 0 for never; `gone()`: the parent is, or the job is
        over.  Raises OSError if there is no parent."""
        self._moved = moved
        self._gone = gone
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(nest.socket)
        except OSError:
            sock.close()
            raise
        self._channel = Channel(sock, loop.watch, self._message, lambda reason: self._gone())
        watch = {"id": nest.jobid, "output": False, "events": ["resource-update"]}
        self._channel.send({"id": 1, "topic": "job.watch", "payload": watch})
        memo = {"id": nest.jobid, "memo": {"uri": uri}}
        self._channel.send({"id": 2, "topic": "job-manager.memo", "payload": memo})

    def _message(self, message: dict[str, Any]) -> None:
        if message.get("id") == 1 and "errnum" in message:
            self.close()
            self._gone()
        elif message.get("id") == 1:
            expiration = message["payload"]["event"]["context"].get("expiration")
            if expiration is not None:
                self._moved(float(expiration))

    def close(self) -> None:
        """Follow the job no longer."""
        self._channel.close()


def move_end(manager: Manager, t: float) -> None:
    """This session now ends at `t` (0: never), and so do its jobs that have no time limit of their own."""
    for job in list(manager.active.others()):
        if job.state == RUN and job.alloc == HELD and not job.info["duration"]:
            _move_job(manager, job, t)


def _move_job(manager: Manager, job: Job, t: float) -> None:
    job.R["execution"]["expiration"] = t
    job.info["expiration"] = t
    manager.new_limit(job)
    manager.store.resources(job.id, job.R)
    manager.post(job, "resource-update", {"expiration": t})


def state_folder(nest: Nest) -> str:
    """A new name for the folder of a nested session."""
    return os.path.join(nest.folder, STATE_PREFIX + os.urandom(4).hex())
