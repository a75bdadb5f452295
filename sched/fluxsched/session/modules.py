# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Modules, log, attributes and uptime, as commands see them."""

import errno
import time

from .errors import RequestError
from .jobs import RUN, username
from .server import ENODATA

BUILTIN = {
    "job-manager": ["job-manager"],
    "job-exec": ["job-exec"],
    "kvs": ["kvs"],
    "resource": ["resource"],
}


class Modules:
    def __init__(self, broker, topics):
        self.broker = broker
        self.scheduler = broker.scheduler
        self.started = time.monotonic()
        topics.update(
            {
                "module.load": self.load,
                "module.remove": self.remove,
                "module.reload": self.reload,
                "module.list": self.list,
                "module.stats": self.stats,
                "log.read": self.log_read,
                "log.clear": self.log_clear,
                "attr.get": self.attr_get,
                "session.uptime": self.uptime,
                "queue.list": self.queues,
            }
        )

    def _target(self, request):
        """The module's name and arguments, which must be of one that can be loaded here."""
        name = request.get("name", str)
        arguments = request.get("args", list, [])
        verb = request.topic.partition(".")[2]
        if not all(isinstance(argument, str) for argument in arguments):
            raise RequestError(errno.EPROTO, f"{request.topic}: args: expected a list of strings")
        if name.rpartition("/")[2] in ("sched", "sched.so"):
            if request.rank != 0:
                text = f"module sched is for rank 0, not for rank {request.rank}"
                self.broker.log("sched", 3, text, rank=request.rank)
                raise RequestError(errno.EINVAL, text)
            return "sched", arguments
        if name in BUILTIN:
            raise RequestError(errno.EPERM, f"module {name} is part of the session")
        if verb == "load":
            self.broker.log("broker", 3, f"{verb} {name}: module not found in search path", rank=request.rank)
            raise RequestError(errno.ENOENT, "module not found in search path")
        raise RequestError(errno.ENOENT, "No such file or directory")

    def load(self, request):
        _, arguments = self._target(request)
        self.scheduler.load(arguments)
        request.respond()

    def remove(self, request):
        self._target(request)
        self.scheduler.unload()
        request.respond()

    def reload(self, request):
        _, arguments = self._target(request)
        self.scheduler.reload(arguments)
        request.respond()

    def list(self, request):
        """-> {"modules": [{"name", "idle", "services", "args", "automatic"}]}"""
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

    def stats(self, request):
        name = request.get("name", str)
        broker = self.broker
        if name == "sched" and self.scheduler.service is not None:
            request.topic, request.payload = "sched.stats-get", {}
            self.scheduler.client_request(request)
        elif name == "job-manager":
            request.respond(broker.manager.stats())
        elif name == "job-exec":
            executor = broker.executor
            request.respond({"running": len(executor.running), "pretended": len(executor.mock)})
        elif name in BUILTIN:
            request.respond({})
        else:
            raise RequestError(errno.ENOSYS, f"{name}.stats-get: No service matching {name}.stats-get is registered")

    # the log

    def log_read(self, request):
        """log.read {"follow", "new"}: a stream of {"entries": [...]}"""
        log = self.broker.log
        follow = request.get("follow", bool, False)
        if not request.get("new", bool, False):
            request.stream({"entries": log.entries()})
        if not follow:
            request.error(ENODATA)
            return

        def follower(entry):
            request.stream({"entries": [entry]})

        log.followers.append(follower)
        request.on_close = lambda: log.followers.remove(follower)

    def log_clear(self, request):
        self.broker.log.clear()
        request.respond()

    # attributes

    def attr_get(self, request):
        name = request.get("name", str)
        if name == "rank":
            value = request.rank
        else:
            value = self.broker.attributes.get(name)
        if value is None:
            raise RequestError(errno.ENOENT, f"{name}: No such file or directory")
        request.respond({"value": str(value)})

    def uptime(self, request):
        resources = self.broker.resources
        request.respond(
            {
                "seconds": time.monotonic() - self.started,
                "owner": username(self.broker.uid),
                "size": resources.size,
                "drained": len(resources.drained),
                "running": sum(1 for job in self.broker.manager.active.values() if job.state == RUN),
            }
        )

    def queues(self, request):
        """-> {"queues": [[name, properties required]], "scheduling": bool}"""
        queues = self.broker.config.get("queues", {})
        rows = [[name, list(table.get("requires", [])) if isinstance(table, dict) else []] for name, table in queues.items()]
        request.respond({"queues": rows, "scheduling": self.scheduler.ready})
