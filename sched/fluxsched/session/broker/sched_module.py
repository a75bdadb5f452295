# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The scheduler module in a session: the service, and the broker as it sees it.

What the service asks of a broker (:class:`fluxsched.service.host.Host`) is answered from
the job manager, the resources and the store; what a broker sends to a scheduler
is sent from here.  Messages are those of the Flux protocol (RFC 27).
"""

from __future__ import annotations

import errno
import json
import time
from collections import deque
from syslog import LOG_CRIT, LOG_ERR, LOG_INFO
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from fluxsched.formats import jobspec as jobspecs
from fluxsched.service.host import Host
from fluxsched.service.memory import requested
from fluxsched.service.protocol import ANNOTATE, DENY, SUCCESS
from fluxsched.service.rpc import GUEST, OWNER
from fluxsched.session.broker import job as jobs
from fluxsched.session.broker.job import CANCELLING, HELD, NONE, REQUESTED
from fluxsched.session.broker.log import Log
from fluxsched.session.broker.loop import Loop, Timer
from fluxsched.session.broker.ranks import Resources
from fluxsched.session.broker.server import Request
from fluxsched.session.broker.store import Store, normalize
from fluxsched.session.errors import RequestError
from fluxsched.session.jobid import f58

if TYPE_CHECKING:
    from fluxsched.service.service import Service
    from fluxsched.session.broker.job_manager import Manager

SOME = 200  # jobs that are asked for at a time

#: Gets an answer and no error, or None and the error.
Answered = Callable[[Any, Optional[OSError]], Any]
Refusable = Callable[[Any, Optional[RequestError]], Any]


class Answer:
    """A request that the service answers through a function (payload, RequestError or None)."""

    __slots__ = ("callback",)

    def __init__(self, callback: Refusable) -> None:
        self.callback = callback


class ModuleHost(Host):
    """The broker, for one load of the module; `alive` until it is removed."""

    # What a job goes through in this time is one write; of a queue that is just being filled most records have made
    # place for newer ones by then.
    record_delay = 0.5
    record_interval = 0.25

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.alive = True
        self._soon: list[Callable[[], Any]] = []

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def log(self, level: int, text: str) -> None:
        """Write a line to the session's log."""
        self.scheduler.log("sched", level, text)

    def respond(self, request: Asker, payload: Optional[dict[str, Any]]) -> None:
        """Answer a request of the job manager or a command."""
        self.call_soon(lambda: self.scheduler.answered(request, payload, None))

    def respond_error(self, request: Asker, errnum: int, text: str) -> None:
        """Refuse a request."""
        self.call_soon(lambda: self.scheduler.answered(request, None, RequestError(errnum, text)))

    def asker(self, request: Asker) -> Optional[int]:
        """Nobody but the owner reaches a session."""
        return None

    def request(self, topic: str, payload: Any, callback: Optional[Answered], streaming: bool = False) -> None:
        """Ask the session what a broker would be asked, by topic."""
        handler = self.scheduler.topics.get(topic)
        later = self._later(callback)
        if handler is None:
            later(None, OSError(errno.ENOSYS, f"No service matching {topic} is registered"))
        else:
            handler(self, payload or {}, later)

    def _later(self, callback: Optional[Answered]) -> Answered:
        if callback is None:
            return lambda payload, error: None
        return lambda payload, error: self.call_soon(lambda: callback(payload, error))

    def read_r(self, jobid: int, callback: Answered) -> None:
        """The R that the job manager has, with its updates."""
        job = self.scheduler.manager.active.get(jobid)
        R = self.scheduler.late.get(jobid) or (None if job is None else job.R)
        error = OSError(errno.ENOENT, f"job {f58(jobid)} holds no resources") if R is None else None
        self.call_soon(lambda: callback(R, error))

    def read(self, key: str, callback: Answered) -> None:
        """Read a key of the session's KVS."""
        value = self.scheduler.store.kvs_read(normalize(key))
        self.call_soon(lambda: callback(value, None))

    def commit(self, puts: dict[str, Any], callback: Callable[[Optional[OSError]], Any]) -> None:
        """Write keys in the store's next transaction, in front of all that follows from them."""
        store = self.scheduler.store
        operations = []
        tables = {}
        for key, value in puts.items():
            if key.startswith("R:"):
                store.resources(int(key[2:]), value)
            elif key.startswith("lwj:") and value is not None:
                tables[f"lwj.{key[4:]}"] = value
            else:
                operations += store.ops_kvs(normalize(key.replace("lwj:", "lwj.")), value)
        if tables:
            operations += store.ops_tables(tables)
        if operations:
            store.change(operations)
        self.call_soon(lambda: callback(None))

    def call_soon(self, callback: Callable[[], Any]) -> None:
        """Call in this turn of the loop, if the module is still loaded."""
        self._soon.append(callback)
        if len(self._soon) == 1:
            self.scheduler.loop.call_soon(self._call)

    def _call(self) -> None:
        """Make the calls that have come up to here; of a burst of messages there may be hundreds."""
        calls, self._soon = self._soon, []
        call = self.scheduler.loop.call
        for callback in calls:
            if not self.alive:
                return
            call(callback)

    def call_later(self, seconds: float, callback: Callable[[], Any]) -> Timer:
        """Call after `seconds`, if the module is still loaded."""
        return self.scheduler.loop.call_later(seconds, lambda: callback() if self.alive else None)

    def config(self) -> dict[str, Any]:
        """The session's configuration."""
        return self.scheduler.manager.config

    def fatal(self, error: BaseException) -> None:
        """Remove the module."""
        self.call_soon(lambda: self.scheduler.failed(self, error))

    def job_name(self, jobid: int) -> str:
        """The job's id as people write it."""
        job = self.scheduler.manager.active.get(jobid)
        return f58(jobid) if job is None else job.name


#: Who asks the module something: a job that wants resources, or any other.
Asker = Union[jobs.Job, Answer]


class Scheduler:
    """Loads and removes the scheduler module, and is the job manager's side of its protocol."""

    def __init__(self, loop: Loop, store: Store, log: Log, manager: Manager, resources: Resources) -> None:
        self.loop = loop
        self.store = store
        self.log = log
        self.manager = manager
        self.resources = resources
        self.service: Optional[Service] = None
        self.host: Optional[ModuleHost] = None
        self.arguments: list[str] = []
        self.automatic = False  # loaded by the session, not by a person
        self.ready = False
        self._told: set[int] = set()  # ids of jobs that a module which is not ready yet takes over
        self.late: dict[int, Any] = {}  # R of those of them that have ended meanwhile, by id
        self.limit: Optional[int] = None  # most alloc requests in flight; None is no limit
        self.in_flight = 0
        self.waiting: dict[int, jobs.Job] = {}  # job id -> Job, to be asked for
        self._batch: deque[jobs.Job] = deque()  # those that are asked for next, in order
        self._added = False  # one that waits and may be asked for is not in it, or the order has changed
        self._pumping = False  # more are asked for in a moment
        self._paused = 0
        self.holding: set[int] = set()  # ids of jobs whose request is being taken back, to ask again later
        self.open: set[Answer] = set()  # requests the service owes an answer
        # (callback, events that it wants, those that it does not), None for all and for none
        self.journals: list[tuple[Answered, Optional[dict[str, Any]], Optional[dict[str, Any]]]] = []
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

    def load(self, arguments: list[str], automatic: bool = False, replace: bool = False) -> None:
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
                self.log("broker", LOG_INFO, "module sched, loaded by the session, makes way for the one asked for")
            self.unload()
        self.service = service
        self.host = host
        self.arguments = list(arguments)
        self.automatic = automatic
        self.log("broker", LOG_INFO, " ".join(["module sched loaded", *arguments]))
        service.start()

    def unload(self) -> None:
        """Remove the module; jobs keep what they hold, and the others wait."""
        if self.service is None or self.host is None:
            raise RequestError(errno.ENOENT, "No such file or directory")
        self.service.stop()
        self.host.alive = False
        self.service = self.host = None
        self.ready = False
        self.in_flight = 0
        self._told.clear()
        self.late.clear()
        self.holding.clear()
        self._batch.clear()
        self._added = True
        self.journals = []
        self.resources.release()
        self.log("broker", LOG_INFO, "module sched removed")
        waiting, self.open = self.open, set()
        for answer in waiting:
            answer.callback(None, RequestError(errno.ENOSYS, "the scheduler was removed"))
        for job in sorted(self.manager.active.values(), key=jobs.Job.order):
            if job.alloc == REQUESTED:
                job.alloc = NONE
                self.waiting[job.id] = job
            elif job.alloc == CANCELLING:
                self.manager.on_cancelled(job)

    def reload(self, arguments: list[str]) -> None:
        """Load the module in the place of the one that is there, if any.  Raises RequestError."""
        self.load(arguments, replace=True)

    def count_memory(self) -> None:
        """A job asks for memory, perhaps the first one: have the scheduler give it out from here on.

        Until then nodes have none, so that jobs which ask for cores alone are planned for as fast as ever."""
        if not self.resources.count_memory() or self.service is None or self.service.resources.described:
            return
        arguments, automatic = self.arguments, self.automatic
        self.log("broker", LOG_INFO, "a job asks for memory: sched is loaded again, to give it out")
        self.unload()
        try:
            self.load(arguments, automatic=automatic)
        except RequestError as error:
            self.log("broker", LOG_CRIT, f"no scheduler is loaded: {error.text}")

    def failed(self, host: Optional[ModuleHost], error: object) -> None:
        """The module of `host` cannot go on: remove it, if it is still the one that is loaded."""
        if host is self.host:
            self.log("broker", LOG_CRIT, f"sched module runtime failure: {error}")
            self.unload()

    # to the service

    def _send(self, topic: str, request: Optional[Asker], payload: dict[str, Any]) -> None:
        assert self.service is not None
        self.used_at = time.monotonic()
        self.service.handle(topic, request, payload)

    def enqueue(self, job: jobs.Job) -> None:
        """Ask for resources as soon as the job may have some."""
        may = self._may(job)
        if self.ready and self.limit is None and may and not (self._batch or self._paused):
            self._request(job)
            return
        self.waiting[job.id] = job
        if may:
            self._added = True
            self._pump()
        else:
            self._explain(job)

    def _may(self, job: jobs.Job) -> bool:
        """Whether resources may be asked for: the job is not held, nor its queue stopped."""
        return job.info["priority"] > 0 and self.manager.queues.why_stopped(job.info) is None

    def _explain(self, job: jobs.Job) -> None:
        """Tell why resources are not asked for, if its queue is the reason."""
        reason = self.manager.queues.why_stopped(job.info)
        self.manager.annotate(job, {"sched": {"reason_pending": reason, "t_estimate": None}})

    def reconsider(self) -> None:
        """Queues were stopped or started: take requests back that may not be any more, and ask for what may be."""
        for job in list(self.manager.active.values()):
            if job.alloc == REQUESTED and not self._may(job):
                self.ask_again(job)
            elif job.alloc == NONE and job.id in self.waiting:
                self._explain(job)
        self._added = True
        self._pump()

    def dequeue(self, job: jobs.Job) -> None:
        """Do not ask for the job's resources."""
        self.waiting.pop(job.id, None)

    def _pump(self) -> None:
        """Ask for the jobs that wait to be asked for, in their order, some at a time."""
        if self._pumping or self._paused or not self.ready or not self.waiting:
            return
        if self._added:
            self._added = False
            self._batch = deque(job for job in self.manager.active.waiting() if job.id in self.waiting)
        self._pump_some()

    def pause(self) -> None:
        """Ask for nothing more until :meth:`go_on`: most of what waits to be asked for is going to be cancelled."""
        self._paused += 1

    def go_on(self) -> None:
        """One :meth:`pause` is over."""
        self._paused -= 1
        self._pump()

    def _pump_some(self) -> None:
        self._pumping = False
        if not self.ready or self._paused:
            return
        for _ in range(min(SOME, len(self._batch))):
            if self.limit is not None and self.in_flight >= self.limit:
                return
            job = self._batch.popleft()
            if self.waiting.get(job.id) is job and self._may(job):
                del self.waiting[job.id]
                self._request(job)
        if self._batch:
            self._pumping = True
            self.loop.call_soon(self._pump_some)
        elif self._added:
            self._pump()

    def _request(self, job: jobs.Job) -> None:
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

    def cancel(self, job: jobs.Job) -> None:
        """Take the job's request back; the answer says whether it was in time."""
        self._send("sched.cancel", job, {"id": job.id})

    def prioritize(self, job: jobs.Job) -> None:
        """The job's priority has changed; at 0 it takes its request back, and is asked for again later."""
        if job.alloc == NONE:
            self._added = True
            self._pump()
        elif job.id in self.holding:
            return  # asked for again with the answer to the cancel, if it may then
        elif self._may(job):
            self._send("sched.prioritize", job, {"jobs": [[job.id, job.info["priority"]]]})
        else:
            self.ask_again(job)

    def ask_again(self, job: jobs.Job) -> None:
        """Take a request back, to ask anew: for what the job wants now, once it may have it."""
        if job.alloc == REQUESTED and job.id not in self.holding:
            self.holding.add(job.id)
            self._send("sched.cancel", job, {"id": job.id})

    def expiration(self, job: jobs.Job, t: float, callback: Refusable) -> None:
        """Tell of a changed expiration; `callback(payload, RequestError or None)`."""
        if self.service is None:
            callback(None, None)
        else:
            self._ask("sched.expiration", {"id": job.id, "expiration": t}, callback)

    def free(self, job: jobs.Job) -> None:
        """Give all of the job's resources back."""
        if self.ready:
            self._send("sched.free", job, {"id": job.id, "R": job.R, "final": True})
        elif job.id in self._told:
            self.late[job.id] = job.R  # the module is just taking it over

    def feasible(self, spec: dict[str, Any], callback: Callable[[Optional[RequestError]], Any]) -> None:
        """`callback(RequestError or None)`: could the job ever run?  Without a scheduler nobody knows."""
        if self.service is None:
            callback(None)
            return

        def answered(payload: Any, error: Optional[RequestError]) -> None:
            callback(None if error is not None and error.errno == errno.ENOSYS else error)

        self._ask("feasibility.check", {"jobspec": spec}, answered)

    def _ask(self, topic: str, payload: dict[str, Any], callback: Refusable) -> None:
        answer = Answer(callback)
        self.open.add(answer)
        self._send(topic, answer, payload)

    def ask_for(self, request: Request, topic: str, payload: dict[str, Any]) -> None:
        """Ask the module for the answer to a command's request.  Raises RequestError without a module."""
        if self.service is None:
            raise RequestError(errno.ENOSYS, f"No service matching {topic} is registered")

        def answered(payload: Any, error: Optional[RequestError]) -> None:
            if error is not None:
                request.error(error.errno, error.text)
            else:
                request.respond(payload)

        self._ask(topic, payload, answered)

    def pass_on(self, request: Request, payload: dict[str, Any]) -> None:
        """A request for the module, as it declares it: the owner's, and any user's.  Raises RequestError."""
        if self.service is not None:
            from fluxsched.service.service import RPCS

            declaration = RPCS.get(request.topic)
            if declaration is not None and declaration.sender in (OWNER, GUEST):
                if _asks_for_memory(payload.get("jobspec")):
                    self.count_memory()
                self.ask_for(request, request.topic, payload)
                return
        raise RequestError(errno.ENOSYS, f"No service matching {request.topic[:64]} is registered")

    # from the service

    def answered(self, request: Asker, payload: Any, error: Optional[RequestError]) -> None:
        """An answer of the module to `request`: a payload, or an error."""
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
            self.log("broker", LOG_ERR, f"{job.name}: an answer to no request for resources")
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
            self._added = True
            self._explain(job)
        else:
            self.manager.on_cancelled(job)
        self._pump()

    # what the service asks for

    def _acquire(self, host: ModuleHost, payload: dict[str, Any], callback: Answered) -> None:
        self.resources.acquire(callback)

    def _hello(self, host: ModuleHost, payload: dict[str, Any], callback: Answered) -> None:
        holding = [job for job in self.manager.active.others() if job.alloc == HELD]
        for job in sorted(holding, key=jobs.Job.order):
            answer = {"priority": job.info["priority"], "userid": job.info["userid"], "t_submit": job.turn}
            self._told.add(job.id)
            callback({"id": job.id, **answer}, None)
        callback(None, OSError(errno.ENODATA, "No data available"))

    def _ready(self, host: ModuleHost, payload: dict[str, Any], callback: Answered) -> None:
        if payload.get("mode") == "limited":
            self.limit = payload["limit"]
        else:
            self.limit = None
        self.ready = True
        callback({"count": len(self.waiting)}, None)
        self._told.clear()
        late, self.late = self.late, {}
        for jobid, R in late.items():
            self._send("sched.free", None, {"id": jobid, "R": R, "final": True})
        self.loop.call_soon(self._pump)

    def _events_journal(self, host: ModuleHost, payload: dict[str, Any], callback: Answered) -> None:
        allow, deny = payload.get("allow"), payload.get("deny")
        # Nothing has happened to those that wait; whoever knows one from before looks it up.
        for job in self.manager.active.others():
            events = [entry for entry in job.events if _passes(entry, allow, deny)]
            answer = {"id": job.id, "events": events, "jobspec": job.jobspec}
            if job.R is not None:
                answer["R"] = job.R
            callback(answer, None)
        callback({"id": 2**64 - 1, "events": []}, None)
        self.journals.append((callback, allow, deny))

    def journal(self, job: jobs.Job, entry: dict[str, Any]) -> None:
        """Tell the module of an event, if it follows them."""
        for callback, allow, deny in self.journals:
            if _passes(entry, allow, deny):
                answer = {"id": job.id, "events": [entry]}
                if entry["name"] == "submit":
                    answer["jobspec"] = job.jobspec
                elif entry["name"] == "alloc":
                    answer["R"] = job.R
                callback(answer, None)

    def _raise(self, host: ModuleHost, payload: dict[str, Any], callback: Answered) -> None:
        job = self.manager.active.get(payload["id"])
        if job is None:
            callback(None, OSError(errno.ENOENT, "unknown job id"))
            return
        self.manager.exception(job, payload["type"], payload["severity"], payload.get("note", ""))
        callback(None, None)

    def _lookup(self, host: ModuleHost, payload: dict[str, Any], callback: Answered) -> None:
        events = self.store.events(payload["id"])
        if payload.get("keys") != ["eventlog"] or not events:
            callback(None, OSError(errno.ENOENT, "No such file or directory"))
            return
        callback({"id": payload["id"], "eventlog": "".join(json.dumps(entry) + "\n" for entry in events)}, None)


def _asks_for_memory(spec: Any) -> bool:
    """Whether a jobspec that a question is about asks for memory; what is none is for the module to refuse."""
    try:
        return isinstance(spec, dict) and requested(jobspecs.parse(spec)) > 0
    except jobspecs.JobspecError:
        return False


def _passes(entry: dict[str, Any], allow: Optional[dict[str, Any]], deny: Optional[dict[str, Any]]) -> bool:
    name = entry["name"]
    return (allow is None or name in allow) and (deny is None or name not in deny)
