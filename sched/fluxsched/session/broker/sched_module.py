# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The scheduler module in a session: the service, and the broker as it sees it.

What the service asks of a broker (:class:`fluxsched.service.host.Host`) is answered from
the job manager, the resources and the store; what a broker sends to a scheduler
is sent from here.  Messages are those of the Flux protocol (RFC 27).
"""

import errno
import json
import time

from fluxsched.service.host import Host
from fluxsched.service.protocol import ANNOTATE, DENY, SUCCESS
from fluxsched.session.broker import job as jobs
from fluxsched.session.broker.job import CANCELLING, HELD, NONE, REQUESTED
from fluxsched.session.broker.log import CRIT, INFO
from fluxsched.session.broker.rpc import Object, rpc
from fluxsched.session.broker.store import normalize
from fluxsched.session.errors import RequestError
from fluxsched.session.jobid import f58


class Answer:
    """A request that the service answers through a function (payload, RequestError or None)."""

    __slots__ = ("callback",)

    def __init__(self, callback):
        self.callback = callback


class ModuleHost(Host):
    """The broker, for one load of the module."""

    # A transaction joins what else the store writes in this turn of the loop.
    record_delay = 0.0
    record_interval = 0.25

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.alive = True

    def now(self):
        return time.time()

    def log(self, level, text):
        self.scheduler.log("sched", level, text)

    def respond(self, request, payload):
        self.call_soon(lambda: self.scheduler.answered(request, payload, None))

    def respond_error(self, request, errnum, text):
        self.call_soon(lambda: self.scheduler.answered(request, None, RequestError(errnum, text)))

    def request(self, topic, payload, callback, streaming=False):
        handler = self.scheduler.topics.get(topic)
        later = self._later(callback)
        if handler is None:
            later(None, OSError(errno.ENOSYS, f"No service matching {topic} is registered"))
        else:
            handler(self, payload or {}, later)

    def _later(self, callback):
        if callback is None:
            return lambda payload, error: None
        return lambda payload, error: self.call_soon(lambda: callback(payload, error))

    def read_r(self, jobid, callback):
        job = self.scheduler.manager.active.get(jobid)
        R = None if job is None else job.R
        error = OSError(errno.ENOENT, f"job {f58(jobid)} holds no resources") if R is None else None
        self.call_soon(lambda: callback(R, error))

    def read(self, key, callback):
        value = self.scheduler.store.kvs_read(normalize(key))
        self.call_soon(lambda: callback(value, None))

    def commit(self, puts, callback):
        store = self.scheduler.store
        operations = []
        for key, value in puts.items():
            if key.startswith("R:"):
                operations.append(store.op_r(int(key[2:]), value))
            else:
                operations += store.ops_kvs(normalize(key), value)
        store.change(operations, lambda: self.call_soon(lambda: callback(None)))

    def call_soon(self, callback):
        self.scheduler.loop.call_soon(lambda: callback() if self.alive else None)

    def call_later(self, seconds, callback):
        return self.scheduler.loop.call_later(seconds, lambda: callback() if self.alive else None)

    def config(self):
        return self.scheduler.manager.config

    def fatal(self, error):
        self.call_soon(lambda: self.scheduler.failed(self, error))

    def job_name(self, jobid):
        return f58(jobid)


class Scheduler:
    def __init__(self, loop, store, log, manager, resources):
        self.loop = loop
        self.store = store
        self.log = log
        self.manager = manager
        self.resources = resources
        self.service = None
        self.host = None
        self.arguments = []
        self.automatic = False  # loaded by the session, not by a person
        self.ready = False
        self.limit = None  # most alloc requests in flight; None is no limit
        self.in_flight = 0
        self.waiting = {}  # job id -> Job, to be asked for
        self.holding = set()  # ids of jobs whose request is being taken back, to ask again later
        self.open = set()  # requests the service owes an answer
        self.journals = []  # (host, callback, allow, deny)
        self.used_at = time.monotonic()
        self.topics = {
            "resource.acquire": self._acquire,
            "job-manager.sched-hello": self._hello,
            "job-manager.sched-ready": self._ready,
            "job-manager.events-journal": self._events_journal,
            "job-manager.raise": self._raise,
            "job-info.lookup": self._lookup,
        }

    # loading

    def load(self, arguments, automatic=False, replace=False):
        """Load the module; one that the session loaded by itself makes way, or any with `replace`, once it is
        clear that the new one can be loaded.  Raises RequestError."""
        # The engine's compiled parts are needed from here on, and only here: commands start without them.
        from fluxsched.service.service import Service, ServiceError

        if self.service is not None and not (self.automatic or replace):
            raise RequestError(errno.EEXIST, "File exists")
        host = ModuleHost(self)
        try:
            service = Service(host, arguments)
        except ServiceError as error:
            raise RequestError(errno.EINVAL, str(error)) from None
        if self.service is not None:
            if self.automatic:
                self.log("broker", INFO, "module sched, loaded by the session, makes way for the one asked for")
            self.unload()
        self.service = service
        self.host = host
        self.arguments = list(arguments)
        self.automatic = automatic
        self.log("broker", INFO, " ".join(["module sched loaded", *arguments]))
        service.start()

    def unload(self):
        """Remove the module; jobs keep what they hold, and the others wait."""
        if self.service is None:
            raise RequestError(errno.ENOENT, "No such file or directory")
        self.service.stop()
        self.host.alive = False
        self.service = self.host = None
        self.ready = False
        self.in_flight = 0
        self.holding.clear()
        self.journals = []
        self.resources.release()
        self.log("broker", INFO, "module sched removed")
        waiting, self.open = self.open, set()
        for answer in waiting:
            answer.callback(None, RequestError(errno.ENOSYS, "the scheduler was removed"))
        for job in sorted(self.manager.active.values(), key=jobs.Job.order):
            if job.alloc == REQUESTED:
                job.alloc = NONE
                self.waiting[job.id] = job
            elif job.alloc == CANCELLING:
                self.manager.on_cancelled(job)

    def reload(self, arguments):
        self.load(arguments, replace=True)

    def failed(self, host, error):
        if host is self.host:
            self.log("broker", CRIT, f"sched module runtime failure: {error}")
            self.unload()

    # to the service

    def _send(self, topic, request, payload):
        self.used_at = time.monotonic()
        self.service.handle(topic, request, payload)

    def enqueue(self, job):
        """Ask for resources as soon as the job may have some."""
        if self.ready and self.limit is None and job.info["priority"] > 0:
            self._request(job)
            return
        self.waiting[job.id] = job
        if job.info["priority"] > 0:
            self._pump()

    def dequeue(self, job):
        self.waiting.pop(job.id, None)

    def _pump(self):
        if not self.ready or not self.waiting:
            return
        for job in sorted(self.waiting.values(), key=jobs.Job.order):
            if self.limit is not None and self.in_flight >= self.limit:
                return
            if job.info["priority"] > 0:
                del self.waiting[job.id]
                self._request(job)

    def _request(self, job):
        job.alloc = REQUESTED
        self.in_flight += 1
        payload = {
            "id": job.id,
            "priority": job.info["priority"],
            "userid": job.info["userid"],
            "t_submit": job.turn,
            "jobspec": job.jobspec,
        }
        self._send("sched.alloc", job, payload)

    def cancel(self, job):
        self._send("sched.cancel", job, {"id": job.id})

    def prioritize(self, job):
        """The job's priority has changed; at 0 it takes its request back, and is asked for again later."""
        if job.alloc == NONE:
            self._pump()
        elif job.id in self.holding:
            return  # asked for again with the answer to the cancel, if it may then
        elif job.info["priority"] > 0:
            self._send("sched.prioritize", job, {"jobs": [[job.id, job.info["priority"]]]})
        else:
            self.ask_again(job)

    def ask_again(self, job):
        """Take a request back, to ask anew: for what the job wants now, once it may have it."""
        if job.alloc == REQUESTED and job.id not in self.holding:
            self.holding.add(job.id)
            self._send("sched.cancel", job, {"id": job.id})

    def expiration(self, job, t, callback):
        """Tell of a changed expiration; `callback(payload, RequestError or None)`."""
        if self.service is None:
            callback(None, None)
        else:
            self._ask("sched.expiration", {"id": job.id, "expiration": t}, callback)

    def free(self, job):
        if self.service is not None:
            self._send("sched.free", job, {"id": job.id, "R": job.R, "final": True})

    def feasible(self, spec, callback):
        """`callback(RequestError or None)`: could the job ever run?  Without a scheduler nobody knows."""
        if self.service is None:
            callback(None)
            return

        def answered(payload, error):
            callback(None if error is not None and error.errno == errno.ENOSYS else error)

        self._ask("feasibility.check", {"jobspec": spec}, answered)

    def _ask(self, topic, payload, callback):
        answer = Answer(callback)
        self.open.add(answer)
        self._send(topic, answer, payload)

    def ask_for(self, request, topic, payload):
        """Ask the module for the answer to a command's request.  Raises RequestError without a module."""
        if self.service is None:
            raise RequestError(errno.ENOSYS, f"No service matching {topic} is registered")

        def answered(payload, error):
            if error is not None:
                request.error(error.errno, error.text)
            else:
                request.respond(payload)

        self._ask(topic, payload, answered)

    @rpc("sched.resource-status")
    def resource_status(self, request):
        """What the scheduler knows of the resources.  Answers {"all", "allocated", "down"}, each an R."""
        self.ask_for(request, "sched.resource-status", {})

    @rpc("sched.stats-get")
    def stats(self, request):
        """The scheduler's statistics."""
        self.ask_for(request, "sched.stats-get", {})

    @rpc("feasibility.check", jobspec=Object())
    def feasibility(self, request, jobspec):
        """Refuse what the machine can never run."""
        self.ask_for(request, "feasibility.check", {"jobspec": jobspec})

    # from the service

    def answered(self, request, payload, error):
        if isinstance(request, Answer):
            self.open.discard(request)
            request.callback(payload, error)
            return
        if not isinstance(request, jobs.Job):
            return
        job = request
        if error is not None:
            self.failed(self.host, f"{job.name}: {error.text}")
            return
        kind = payload["type"]
        if kind == ANNOTATE:
            self.manager.annotate(job, payload["annotations"])
            return
        if job.alloc not in (REQUESTED, CANCELLING):
            self.log("broker", 3, f"{job.name}: an answer to no request for resources")
            return
        self.in_flight -= 1
        held_back = job.id in self.holding
        self.holding.discard(job.id)
        if kind == SUCCESS:
            self.manager.on_alloc(job, payload["R"], payload.get("annotations"))
        elif kind == DENY:
            self.manager.on_deny(job, payload.get("note", ""))
        elif held_back and job.alloc == REQUESTED:
            job.alloc = NONE
            self.waiting[job.id] = job
            self.manager.annotate(job, {"sched": {"reason_pending": None, "t_estimate": None}})
        else:
            self.manager.on_cancelled(job)
        self._pump()

    # what the service asks for

    def _acquire(self, host, payload, callback):
        self.resources.acquire(callback)

    def _hello(self, host, payload, callback):
        for job in sorted(self.manager.active.values(), key=jobs.Job.order):
            if job.alloc == HELD:
                answer = {"priority": job.info["priority"], "userid": job.info["userid"], "t_submit": job.turn}
                callback({"id": job.id, **answer}, None)
        callback(None, OSError(errno.ENODATA, "No data available"))

    def _ready(self, host, payload, callback):
        if payload.get("mode") == "limited":
            self.limit = payload["limit"]
        else:
            self.limit = None
        self.ready = True
        callback({"count": len(self.waiting)}, None)
        self.loop.call_soon(self._pump)

    def _events_journal(self, host, payload, callback):
        allow, deny = payload.get("allow"), payload.get("deny")
        for job in self.manager.active.values():
            events = [entry for entry in job.events if _passes(entry, allow, deny)]
            answer = {"id": job.id, "events": events, "jobspec": job.jobspec}
            if job.R is not None:
                answer["R"] = job.R
            callback(answer, None)
        callback({"id": 2**64 - 1, "events": []}, None)
        self.journals.append((callback, allow, deny))

    def journal(self, job, entry):
        """Tell the module of an event, if it follows them."""
        for callback, allow, deny in self.journals:
            if _passes(entry, allow, deny):
                answer = {"id": job.id, "events": [entry]}
                if entry["name"] == "submit":
                    answer["jobspec"] = job.jobspec
                elif entry["name"] == "alloc":
                    answer["R"] = job.R
                callback(answer, None)

    def _raise(self, host, payload, callback):
        job = self.manager.active.get(payload["id"])
        if job is None:
            callback(None, OSError(errno.ENOENT, "unknown job id"))
            return
        self.manager.exception(job, payload["type"], payload["severity"], payload.get("note", ""))
        callback(None, None)

    def _lookup(self, host, payload, callback):
        events = self.store.events(payload["id"])
        if payload.get("keys") != ["eventlog"] or not events:
            callback(None, OSError(errno.ENOENT, "No such file or directory"))
            return
        callback({"id": payload["id"], "eventlog": "".join(json.dumps(entry) + "\n" for entry in events)}, None)


def _passes(entry, allow, deny):
    name = entry["name"]
    return (allow is None or name in allow) and (deny is None or name not in deny)
