# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Modules, log, attributes and uptime, as commands see them."""

import errno
import os
import time

from fluxsched.session.broker.job import RUN, username
from fluxsched.session.broker.server import ENODATA
from fluxsched.session.errors import RequestError

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
                "log.append": self.log_append,
                "attr.get": self.attr_get,
                "session.uptime": self.uptime,
                "queue.list": self.queues,
            }
        )

    def _target(self, request):
        """The module's arguments; RequestError if it is none that can be loaded here."""
        name = request.get("name", str)
        arguments = request.get("args", list, [])
        verb = request.topic.partition(".")[2]
        if not all(isinstance(argument, str) for argument in arguments):
            raise RequestError(errno.EPROTO, f"{request.topic}: args: expected a list of strings")
        if name.rpartition("/")[2] in ("sched", "sched.so"):
            if request.rank != 0:
                raise RequestError(errno.EINVAL, f"module sched is for rank 0, not for rank {request.rank}")
            return arguments
        if name in BUILTIN:
            raise RequestError(errno.EPERM, f"module {name} is part of the session")
        raise RequestError(errno.ENOENT, "module not found in search path" if verb == "load" else os.strerror(2))

    def _change(self, request, action):
        """Do something to a module; a refusal is also logged."""
        try:
            action(self._target(request))
        except RequestError as error:
            verb = request.topic.partition(".")[2]
            self.broker.log("broker", 3, f"module {verb} {request.get('name', str)}: {error.text}", rank=request.rank)
            raise
        request.respond()

    def load(self, request):
        self._change(request, self.scheduler.load)

    def remove(self, request):
        self._change(request, lambda arguments: self.scheduler.unload())

    def reload(self, request):
        self._change(request, self.scheduler.reload)

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

    def log_append(self, request):
        """log.append {"name", "level", "text"}"""
        name, level, text = request.get("name", str), request.get("level", int), request.get("text", str)
        self.broker.log(name[:64], level, text[:4096], rank=request.rank)
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
        rows = [[name, list(table.get("requires", []))] for name, table in queues.items()]
        request.respond({"queues": rows, "scheduling": self.scheduler.ready})
