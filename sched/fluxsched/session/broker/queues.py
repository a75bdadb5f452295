# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The queues of a session, as `flux queue` stops, starts, disables and enables them.

A session without configured queues has one without a name.  What is set outlives the session, unless asked not to.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Optional

from fluxsched.formats import queues
from fluxsched.formats.fastjson import dumps, loads
from fluxsched.session.broker.rpc import Bool, ListOf, Nullable, Text, rpc
from fluxsched.session.broker.server import Request
from fluxsched.session.errors import RequestError

if TYPE_CHECKING:
    from fluxsched.session.broker.job import Job
    from fluxsched.session.broker.job_manager import Manager

KEY = "queues"  # in the database
_NAME = Nullable(Text(256))
_REASON = Nullable(Text(4096))


def _finite(value: float) -> Optional[float]:
    return None if math.isinf(value) else value


class Queues:
    """Why queues take no jobs, and why they start none: reasons by the queue's name, "" for the one without."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._names = list(manager.config.get("queues", {})) or [""]
        self.disabled: dict[str, str] = {}
        self.stopped: dict[str, str] = {}
        self._kept: dict[str, dict[str, str]] = {"disabled": {}, "stopped": {}}  # what outlives the session
        self._restore(manager.store.meta(KEY))

    def _restore(self, text: Optional[str]) -> None:
        try:
            found = loads(text or "{}")
            for kind in self._kept:
                self._kept[kind] = {str(name): str(reason) for name, reason in found.get(kind, {}).items()}
        except (ValueError, AttributeError):
            return  # it is damaged: all are enabled and started
        self.disabled.update(self._kept["disabled"])
        self.stopped.update(self._kept["stopped"])

    def check(self, name: str) -> None:
        """Raises RequestError if the queue takes no jobs."""
        if name in self.disabled:
            where = f" to {name}" if name else ""
            raise RequestError(errno.EINVAL, f"job submission{where} is disabled: {self.disabled[name]}")

    def why_stopped(self, job_info: dict[str, Any]) -> Optional[str]:
        """Why the job of this record may not be started for now; None if it may."""
        if not self.stopped:
            return None
        name = job_info.get("queue") or ""
        if name not in self.stopped:
            return None
        where = f"queue {name}" if name else "the queue"
        return f"{where} is stopped" + (f": {self.stopped[name]}" if self.stopped[name] else "")

    def _chosen(self, name: Optional[str], all: bool) -> list[str]:
        if name:
            if name not in self._names:
                raise RequestError(errno.ENOENT, f"'{name}' is not a valid queue")
            return [name]
        if not all and self._names != [""]:
            raise RequestError(errno.EINVAL, "Named queues are defined. Specify queues or use --all.")
        return self._names

    def _set(self, kind: str, names: list[str], reason: Optional[str], keep: bool) -> None:
        for table in (getattr(self, kind), *([self._kept[kind]] if keep else [])):
            for name in names:
                if reason is None:
                    table.pop(name, None)
                else:
                    table[name] = reason
        if keep:
            self._manager.store.change([self._manager.store.op_meta(KEY, dumps(self._kept))])

    @rpc(
        "job-manager.queue-enable", enable=Bool(), name=_NAME, all=Bool(False), reason=_REASON, nocheckpoint=Bool(False)
    )
    def enable(
        self, request: Request, enable: bool, name: Optional[str], all: bool, reason: Optional[str], nocheckpoint: bool
    ) -> None:
        """Take jobs, or no more with a `reason`, which who submits is told."""
        if not enable and not reason:
            raise RequestError(errno.EINVAL, "reason is required for disable")
        self._set("disabled", self._chosen(name, all), None if enable else reason, not nocheckpoint)
        request.respond()

    @rpc("job-manager.queue-start", start=Bool(), name=_NAME, all=Bool(False), reason=_REASON, nocheckpoint=Bool(False))
    def start(
        self, request: Request, start: bool, name: Optional[str], all: bool, reason: Optional[str], nocheckpoint: bool
    ) -> None:
        """Start jobs, or no more; those that run go on."""
        self._set("stopped", self._chosen(name, all), None if start else reason or "", not nocheckpoint)
        self._manager.scheduler.reconsider()
        request.respond()

    @rpc("job-manager.queue-list", names=ListOf(Text(256), 1000, default=[]))
    def list_queues(self, request: Request, names: list[str]) -> None:
        """Answers {"queues": [{"name", "default", "enabled", "started", "parent", "requires", "timelimit": a job's if
        it has none, "limit": the longest, "min" and "max": [nodes, cores, gpus], "all": what there is}]}.

        No limit is null."""
        config, limits = self._manager.config, self._manager.limits.by_queue
        table = config.get("queues", {})
        parents, default = queues.parents(table), queues.defaults(config).get("queue")
        found = []
        for name in [self._chosen(each, False)[0] for each in names] or self._names:
            system = {"queue": name or None, "duration": 0}
            queues.complete(system, config)
            own = limits[name]
            found.append({
                "name": name, "default": name != "" and name == default,
                "enabled": name not in self.disabled, "started": name not in self.stopped,
                "parent": parents.get(name, ""), "requires": queues.requires(name, table) if name else [],
                "timelimit": system["duration"] or None, "limit": _finite(own.duration),
                "min": list(own.least), "max": [_finite(most) for most in own.most],
                "all": self._manager.scheduler.resources.count(queues.requires(name, table) if name else []),
            })  # fmt: skip
        request.respond({"queues": found})

    @rpc("job-manager.queue-status", name=_NAME)
    def status(self, request: Request, name: Optional[str]) -> None:
        """Answers {"queues": [[name, why it is disabled or null, why it is stopped or null]], "scheduling": bool}."""
        names = self._chosen(name, all=True)
        rows = [[each, self.disabled.get(each), self.stopped.get(each)] for each in names]
        request.respond({"queues": rows, "scheduling": self._manager.scheduler.ready})

    @rpc("job-manager.alloc-query")
    def query(self, request: Request) -> None:
        """Answers {"queued", "pending", "running"}: jobs that wait to be asked for, are asked for, and run."""
        scheduler = self._manager.scheduler
        running = len(self._manager.active.others())
        request.respond({"queued": len(scheduler.waiting), "pending": scheduler.in_flight, "running": running})

    @rpc("job-manager.drain", name=_NAME)
    def drain(self, request: Request, name: Optional[str]) -> None:
        """Answers when there are no jobs that are not over, in all queues or one."""
        self._wait(request, name, running=False)

    @rpc("job-manager.idle", name=_NAME)
    def idle(self, request: Request, name: Optional[str]) -> None:
        """Answers {"pending"} when no job runs: how many wait."""
        self._wait(request, name, running=True)

    def _wait(self, request: Request, name: Optional[str], running: bool) -> None:
        manager, active = self._manager, self._manager.active
        if name:
            self._chosen(name, all=False)

        def count(jobs: Collection[Job]) -> int:
            return sum(job.info.get("queue") == name for job in jobs) if name else len(jobs)

        def look() -> bool:
            if count(active.others()) or (not running and count(active.values())):
                return False
            request.respond({"pending": count(active.values())})
            return True

        def ended() -> None:
            if look():
                manager.on_idle.remove(ended)

        if not look():
            manager.on_idle.append(ended)
            request.on_close = lambda: manager.on_idle.remove(ended)
