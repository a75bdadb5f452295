# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Modules, log, attributes and uptime, as commands see them."""

from __future__ import annotations

import errno
import time
from syslog import LOG_ERR
from typing import TYPE_CHECKING, Any, Callable

from fluxsched.formats import queues as _queues
from fluxsched.session.broker.job import RUN, username
from fluxsched.session.broker.rpc import Bool, Int, ListOf, Text, rpc
from fluxsched.session.broker.server import Request
from fluxsched.session.errors import RequestError

if TYPE_CHECKING:
    from fluxsched.session.broker.broker import Broker

BUILTIN = {
    "job-manager": ["job-manager"],
    "job-exec": ["job-exec"],
    "kvs": ["kvs"],
    "resource": ["resource"],
}


_NAME = Text(4096, raw=True)
_ARGUMENTS = ListOf(Text(1 << 16, raw=True), 1000, default=[])


class Modules:
    """Handles the requests about modules, the log and the session as a whole."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.scheduler = broker.scheduler
        self.started = time.monotonic()

    def _change(self, request: Request, verb: str, name: str, action: Callable[..., Any], *arguments: Any) -> None:
        """Load, remove or reload a module; a refusal is answered and logged."""
        try:
            if name in BUILTIN:
                raise RequestError(errno.EPERM, f"module {name} is part of the session")
            if name.rpartition("/")[2] not in ("sched", "sched.so"):
                raise RequestError(errno.ENOENT, "module not found in search path" if verb == "load" else None)
            if request.rank != 0:
                raise RequestError(errno.EINVAL, f"module sched is for rank 0, not for rank {request.rank}")
            action(*arguments)
        except RequestError as error:
            self.broker.log("broker", LOG_ERR, f"module {verb} {name}: {error.text}", rank=request.rank)
            raise
        request.respond()

    @rpc("module.load", name=_NAME, args=_ARGUMENTS)
    def load(self, request: Request, name: str, args: list[str]) -> None:
        """Load the scheduler module."""
        self._change(request, "load", name, self.scheduler.load, args)

    @rpc("module.remove", name=_NAME)
    def remove(self, request: Request, name: str) -> None:
        """Remove the scheduler module."""
        self._change(request, "remove", name, self.scheduler.unload)

    @rpc("module.reload", name=_NAME, args=_ARGUMENTS)
    def reload(self, request: Request, name: str, args: list[str]) -> None:
        """Remove the scheduler module if it is there, and load it."""
        self._change(request, "reload", name, self.scheduler.reload, args)

    @rpc("module.list")
    def list_modules(self, request: Request) -> None:
        """List modules.  Answers {"modules": [{"name", "idle", "services", "args", "automatic"}]}."""
        modules = []
        if self.scheduler.service is not None and request.rank == 0:
            modules.append(
                {
                    "name": "sched",
                    "idle": int(time.monotonic() - self.scheduler.used_at),
                    "services": ["feasibility", "sched"],
                    "args": self.scheduler.arguments,
                    "automatic": self.scheduler.automatic,
                }
            )
        for name, services in BUILTIN.items():
            modules.append({"name": name, "idle": 0, "services": services, "args": [], "automatic": False})
        request.respond({"modules": modules})

    @rpc("module.stats", name=_NAME, clear=Bool(False))
    def stats(self, request: Request, name: str, clear: bool) -> None:
        """Show statistics of a module, or with `clear` count from 0 again, which only the scheduler does."""
        broker = self.broker
        if clear:
            if name != "sched":
                raise RequestError(errno.ENOSYS, f"No service matching {name}.stats-clear is registered")
            self.scheduler.ask_for(request, "sched.stats-clear", {})
        elif name == "sched":
            self.scheduler.ask_for(request, "sched.stats-get", {})
        elif name == "job-manager":
            request.respond(broker.manager.stats())
        elif name == "job-exec":
            executor = broker.executor
            request.respond({"running": len(executor.running), "pretended": len(executor.pretended)})
        elif name in BUILTIN:
            request.respond({})
        else:
            raise RequestError(errno.ENOSYS, f"{name}.stats-get: No service matching {name}.stats-get is registered")

    # the log

    @rpc("log.read", follow=Bool(False), new=Bool(False))
    def log_read(self, request: Request, follow: bool, new: bool) -> None:
        """Read the log as a stream of {"entries"}. With `new` only lines that come from now on.

        With `follow` the stream does not end."""
        log = self.broker.log
        if not new:
            request.stream({"entries": log.entries()})
        if not follow:
            request.end()
            return

        def follower(entry: dict[str, Any]) -> None:
            request.stream({"entries": [entry]})

        log.followers.append(follower)
        request.on_close = lambda: log.followers.remove(follower)

    @rpc("log.clear")
    def log_clear(self, request: Request) -> None:
        """Empty the log."""
        self.broker.log.clear()
        request.respond()

    @rpc("log.append", name=Text(4096, raw=True), level=Int(0, 7), text=Text(raw=True))
    def log_append(self, request: Request, name: str, level: int, text: str) -> None:
        """Add a line to the log."""
        self.broker.log(name[:64], level, text[:4096], rank=request.rank)
        request.respond()

    # attributes

    @rpc("attr.get", name=Text(4096, raw=True))
    def attr_get(self, request: Request, name: str) -> None:
        """Read an attribute of the session.  Answers {"value": text}."""
        if name == "rank":
            value: Any = request.rank
        else:
            value = self.broker.attributes.get(name)
        if value is None:
            raise RequestError(errno.ENOENT, f"{name}: No such file or directory")
        request.respond({"value": str(value)})

    @rpc("session.uptime")
    def uptime(self, request: Request) -> None:
        """Answers {"seconds", "owner", "size", "drained", "running"}."""
        resources = self.broker.resources
        request.respond(
            {
                "seconds": time.monotonic() - self.started,
                "owner": username(self.broker.uid),
                "size": resources.size,
                "drained": len(resources.drained),
                "running": sum(1 for job in self.broker.manager.active.others() if job.state == RUN),
            }
        )

    @rpc("session.leave")
    def leave(self, request: Request) -> None:
        """End a session that stays open; its jobs go on."""
        if not self.broker.stays:
            raise RequestError(errno.EINVAL, "this session ends with its command")
        request.respond()
        self.broker.leave()

    @rpc("queue.list")
    def queues(self, request: Request) -> None:
        """Answers {"queues": [[name, properties required, parent or ""]], "scheduling": bool}."""
        queues = self.broker.config.get("queues", {})
        parents = _queues.parents(queues)
        rows = [[name, _queues.requires(name, queues), parents.get(name, "")] for name in queues]
        request.respond({"queues": rows, "scheduling": self.scheduler.ready})
