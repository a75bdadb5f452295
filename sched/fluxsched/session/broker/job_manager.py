# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The job manager: takes jobs, leads each through its states, posts its events.

    DEPEND                 waits for other jobs, or a time (see dependencies)
    PRIORITY SCHED         waits for resources (held back at urgency 0)
    RUN                    has R; its processes run
    CLEANUP                has ended or was told to; gives R back
    INACTIVE               over

Every event is written with the job's new state in one change of the store; a
job is launched only after that is durable.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import time
from syslog import LOG_ERR, LOG_INFO
from typing import TYPE_CHECKING, Any, Callable, Optional, Sequence

from fluxsched.formats import queues
from fluxsched.formats.fastjson import dumps
from fluxsched.formats.jobspec import Request as ResourceRequest
from fluxsched.service.memory import requested
from fluxsched.session.broker import job as jobs
from fluxsched.session.broker.active import Active
from fluxsched.session.broker.database import Operation, StoreError
from fluxsched.session.broker.dependencies import Dependencies
from fluxsched.session.broker.job import CANCELLING, CLEANUP, DEPEND, HELD, INACTIVE, NONE, REQUESTED, RUN, SCHED, Job
from fluxsched.session.broker.limits import Limits
from fluxsched.session.broker.log import Log
from fluxsched.session.broker.loop import Loop
from fluxsched.session.broker.queues import Queues
from fluxsched.session.broker.retries import Retries, present, wishes
from fluxsched.session.broker.rpc import JOBID, Bool, Int, Nullable, Object, Text, rpc
from fluxsched.session.broker.server import Request
from fluxsched.session.broker.store import NewJob, Split, Store
from fluxsched.session.broker.waits import Waits
from fluxsched.session.broker.watch import Watch
from fluxsched.session.errors import RequestError
from fluxsched.session.jobid import Generator, f58
from fluxsched.session.memo import Memo

if TYPE_CHECKING:
    from fluxsched.session.broker.executor import Executor
    from fluxsched.session.broker.sched_module import Scheduler

EXIT_NOTE = "resource allocation expired"
STAMPS = {SCHED: "t_sched", RUN: "t_run", CLEANUP: "t_cleanup", INACTIVE: "t_inactive"}
TICK = 1e-6  # seconds between jobs that the clock does not tell apart


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _is_exception(entry: dict[str, Any], kind: str) -> bool:
    return entry["name"] == "exception" and entry.get("context", {}).get("type") == kind


class Manager:
    """Keeps the jobs by id: in `active` those that are not over, in `ended` those whose end is not in the store yet."""

    def __init__(
        self,
        loop: Loop,
        store: Store,
        log: Log,
        config: dict[str, Any],
        scheduler: Callable[[Manager], Scheduler],
        executor: Callable[[Manager], Executor],
    ) -> None:
        """`scheduler(manager)` and `executor(manager)` create the scheduler and the executor."""
        self.loop = loop
        self.store = store
        self.log = log
        self.config = config
        self.active = Active()
        self.ended: dict[int, Job] = {}
        self.queues = Queues(self)
        self.limits = Limits(config)
        self.dependencies = Dependencies(self)
        self.retries = Retries(self)
        self.scheduler = scheduler(self)
        self.executor = executor(self)
        self.accepting = True
        self.waits = Waits()
        self.on_check: list[Callable[[dict[str, Any]], Any]] = []  # look at a new jobspec; may raise RequestError
        self.on_end: list[Callable[[Job], Any]] = []  # called with a job that has become inactive
        self.on_idle: list[Callable[[], Any]] = []  # called when a job has become inactive
        self._specs = Memo()
        self.max_id = store.last_id()
        self._next_id = Generator(store.epoch(), self.max_id)
        self._last_turn = self._turn_of(self.max_id)

    def _turn_of(self, jobid: int) -> float:
        """Time of submission of a stored job, as Job.turn; 0 if there is none."""
        row = self.store.job(jobid)
        return 0.0 if row is None else _number(row[5].get("t_turn", row[5].get("t_submit")))

    # taking jobs

    @rpc(
        "job.submit",
        logged_by="job-manager",
        jobspec=Object(),
        urgency=jobs.urgency_field(default=16),
        flags=Int(0, 2**31 - 1, default=0),
        follow=Bool(False),
    )
    def submit(self, request: Request, jobspec: dict[str, Any], urgency: int, flags: int, follow: bool) -> None:
        """Take a job.  Answers {"id"}, once the job is written; with `follow` the answers of job.watch come behind."""
        parsed = self.checked(jobspec)
        public = jobs.redact(jobspec)

        def feasible(problem: Optional[RequestError]) -> None:
            if problem is not None:
                self.refuse(request, problem)
            elif request.open:
                info = jobs.new_info(jobspec, parsed, urgency, flags, time.time())
                self._accept(request, jobspec, public, info, follow)

        self.scheduler.feasible(public, feasible)

    def checked(self, jobspec: dict[str, Any]) -> ResourceRequest:
        """Check a new jobspec, and complete it with what its queue asks for. Returns the parsed request.

        Raises RequestError."""
        if not self.accepting:
            raise RequestError(errno.EINVAL, "the session is ending and takes no more jobs")
        self._set_queue(jobspec)
        parsed = jobs.check(jobspec)
        wishes(jobspec["attributes"]["system"])
        self.queues.check(parsed.queue)
        for look in self.on_check:
            look(jobspec)
        if requested(parsed):
            self.scheduler.count_memory()
        self.limits.check(parsed)
        return parsed

    def refuse(self, request: Request, error: RequestError) -> None:
        """Refuse a job after its request was handled."""
        self.log("job-manager", LOG_ERR, f"job.submit: {error.text}")
        request.error(error.errno, error.text)

    def refuse_written(self, request: Request, taken: list[Job], error: OSError) -> None:
        """Refuse jobs that could not be written, or that were, and cannot be brought to the disk: they end."""
        self.refuse(request, RequestError(error.errno or errno.EIO, error.strerror))
        for job in taken:
            if job.id in self.active:
                self.exception(job, "cancel", 0, f"it cannot be kept: {error.strerror}")

    def _set_queue(self, spec: dict[str, Any]) -> None:
        """Check the queue against the configuration, and fill in what the job leaves to that."""
        system = spec.get("attributes", {}).get("system") if isinstance(spec.get("attributes"), dict) else None
        if not isinstance(system, dict):
            return  # jobs.check will say so
        try:
            queues.complete(system, self.config)
        except queues.QueuesError as error:
            raise RequestError(errno.EINVAL, str(error)) from None

    def _accept(
        self,
        request: Request,
        spec: dict[str, Any],
        public: dict[str, Any],
        info: dict[str, Any],
        follow: bool,
    ) -> None:
        try:
            state, events = self.dependencies.begin(spec, info)
            job, row = self.new_job(self.store.split(spec), public, info, events, state)
        except RequestError as error:
            self.refuse(request, error)
            return

        def committed() -> None:
            self.adopt(job)
            if state == SCHED:
                self.scheduler.enqueue(job)

        def synced(error: Optional[OSError]) -> None:
            if error is not None:
                self.refuse_written(request, [job], error)
            elif not follow:
                request.respond({"id": job.id})
            elif request.open:
                request.stream({"id": job.id})
                Watch(request, job, self.executor.output(job.id))

        self.store.request(self.store.ops_insert([row]), synced, committed)

    def new_job(
        self,
        spec: Split,
        public: dict[str, Any],
        info: dict[str, Any],
        events: list[dict[str, Any]],
        state: int,
    ) -> tuple[Job, NewJob]:
        """A job that is none of ours before it is written, and what to write of it.  Raises RequestError."""
        try:
            jobid = self._next_id()
        except OverflowError as error:
            raise RequestError(errno.EOVERFLOW, str(error)) from None
        # Jobs are in the order of their submission also while the clock is set back.
        info["t_turn"] = self._last_turn = max(info["t_submit"], self._last_turn + TICK)
        job = Job(jobid, state, public, info)
        job.events = events
        return job, (jobid, state, spec, info, events)

    def adopt(self, job: Job) -> None:
        """A new job is written: it is one of ours."""
        self.max_id = max(self.max_id, job.id)
        self.active.add(job)
        if job.info["flags"] & jobs.FLAG_WAITABLE:
            self.waits.add(job.id)
        for entry in job.events:
            self._tell(job, entry)
        self.dependencies.adopt(job)

    def release(self, job: Job) -> None:
        """All that a job has waited for has come: it goes to the scheduler."""
        self.post(job, "depend")
        job.info["t_priority"] = job.events[-1]["timestamp"]
        self.post(job, "priority", {"priority": job.info["priority"]}, state=SCHED)
        self.scheduler.enqueue(job)

    def full_jobspec(self, job: Job) -> dict[str, Any]:
        """The job's jobspec as it is now, with its environment, which only the store has.  Raises StoreError."""
        whole = jobs.redact(job.jobspec)
        environment = self.store.jobspec(job.id)["attributes"]["system"].get("environment")
        if environment is not None:
            whole["attributes"]["system"]["environment"] = environment
        return whole

    # events

    def post(
        self,
        job: Job,
        name: str,
        context: Optional[dict[str, Any]] = None,
        state: Optional[int] = None,
        t: Optional[float] = None,
        operations: Sequence[Operation] = (),
        then: Optional[Callable[[], Any]] = None,
    ) -> None:
        """Append an event, with the job's state after it."""
        now, events = t or time.time(), job.events
        if events:
            now = max(now, events[-1]["timestamp"])
        entry: dict[str, Any] = {"timestamp": now, "name": name}
        if context is not None:
            entry["context"] = context
        if state is not None and state != job.state:
            self.active.change(job, state)
            if state in STAMPS:
                job.info.setdefault(STAMPS[state], now)
        events.append(entry)
        self.store.event(job.id, len(events) - 1, entry)
        self.store.info(job.id, job.state, job.info)
        if operations or then is not None:
            self.store.change(list(operations), then)
        self._tell(job, entry)

    def _tell(self, job: Job, entry: dict[str, Any]) -> None:
        self.scheduler.journal(job, entry)
        for watcher in list(job.watchers):
            watcher.event(entry)

    def exception(
        self, job: Job, kind: str, severity: int, note: str, t: Optional[float] = None, terminate: bool = True
    ) -> None:
        """Raise an exception; severity 0 ends the job, and with `terminate` its processes are
        sent SIGTERM."""
        context = {"type": kind, "severity": severity, "note": note, "userid": os.getuid()}
        if severity == 0 and job.info.get("exception", {}).get("severity") != 0:
            job.info["exception"] = {"type": kind, "severity": severity, "note": note}
        fatal = severity == 0 and job.state in (DEPEND, SCHED, RUN)
        was = job.state
        self.post(job, "exception", context, state=CLEANUP if fatal else None, t=t)
        if not fatal:
            return
        if was == SCHED:
            if job.alloc == REQUESTED:
                job.alloc = CANCELLING
                self.scheduler.cancel(job)
            else:
                self.scheduler.dequeue(job)
        elif job.executing and terminate:
            self.executor.terminate(job)
        self._cleanup(job)

    # the scheduler's answers

    def on_alloc(self, job: Job, R: dict[str, Any], annotations: Optional[dict[str, Any]]) -> None:
        """The job has its resources; they are in the store already."""
        job.R = R
        job.alloc = HELD
        jobs.place(job.info, job.jobspec, R)
        self.annotate(job, annotations)
        if job.state != SCHED:
            # it was cancelled while the answer was under way
            self._cleanup(job)
            return
        pretended = jobs.run_duration(job.jobspec["attributes"]["system"])
        launch: dict[str, Any] = {"boot": self.executor.boot}
        if pretended is not None:
            launch = {"pretend": pretended}
        context = {"annotations": job.info["annotations"]} if job.info.get("annotations") else None
        job.executing = job.launched = True

        def committed() -> None:
            if job.state != RUN:
                # ended before it was started
                job.executing = False
                self._cleanup(job)
            elif pretended is None:
                self.executor.launch(job)
            else:
                self._pretend(job, pretended)

        self.store.launch(job.id, launch)
        self.post(job, "alloc", context, state=RUN, then=committed)

    def _pretend(self, job: Job, seconds: float, since: Optional[float] = None) -> None:
        """Pretend to run the job for `seconds` from `since`, or to its time limit."""
        self.on_start(job)
        elapsed = time.time() - (since or time.time())
        expiration = job.R["execution"].get("expiration", 0.0)
        limit = expiration - time.time() if expiration else seconds - elapsed + 1
        self.executor.pretend(job, max(0.0, min(seconds - elapsed, limit)), timeout=limit < seconds - elapsed)

    def on_deny(self, job: Job, note: str) -> None:
        """The scheduler has denied the request."""
        job.alloc = NONE
        self.log("job-manager", LOG_ERR, f"job {job.name}: {note}")
        if job.state == SCHED:
            self.exception(job, "alloc", 0, note)
        else:
            self._cleanup(job)

    def on_cancelled(self, job: Job) -> None:
        """The scheduler has confirmed that the request is cancelled."""
        job.alloc = NONE
        if job.state == SCHED:
            self.exception(job, "alloc", 0, "alloc request canceled")
        else:
            self._cleanup(job)

    def annotate(self, job: Job, update: Optional[dict[str, Any]]) -> None:
        """Merge annotations; null deletes a key."""
        current = job.info.setdefault("annotations", {})
        for section, values in (update or {}).items():
            if not isinstance(values, dict):
                continue
            table = current.setdefault(section, {})
            for key, value in values.items():
                if value is None:
                    table.pop(key, None)
                else:
                    table[key] = value
            if not table:
                del current[section]

    # the executor's news

    def new_limit(self, job: Job) -> None:
        """The expiration in the job's R has changed while it runs."""
        pretended = jobs.run_duration(job.jobspec["attributes"]["system"])
        if pretended is None:
            self.executor.expire(job, job.R["execution"]["expiration"])
        else:
            self._pretend(job, pretended, since=job.info["t_run"])

    def on_start(self, job: Job, t: Optional[float] = None) -> None:
        """The job's processes run. May be called again after a restart."""
        if not any(entry["name"] == "start" for entry in present(job.events)):
            self.post(job, "start", t=t)
            self.dependencies.started(job)

    def on_timeout(self, job: Job, t: Optional[float] = None) -> None:
        """The job's time limit has passed. May be called again after a restart."""
        if any(_is_exception(entry, "timeout") for entry in present(job.events)):
            return
        self.log("job-exec", LOG_INFO, f"job-exception: id={job.name}: {EXIT_NOTE}")
        self.exception(job, "timeout", 0, EXIT_NOTE, t=t, terminate=False)

    def on_exec_exception(self, job: Job, text: str, t: Optional[float] = None) -> None:
        """The job cannot be run, or is lost. May be called again after a restart."""
        earlier = [entry for entry in present(job.events) if _is_exception(entry, "exec")]
        if any(entry["context"].get("note") == text for entry in earlier):
            return
        self.log("job-exec", LOG_ERR, f"{job.name}: {text}")
        self.exception(job, "exec", 0, text, t=t, terminate=False)

    def on_finish(self, job: Job, status: int, t: Optional[float] = None) -> None:
        """All processes of the job are gone."""
        job.executing = False
        job.info["waitstatus"] = status
        self.post(job, "finish", {"status": status}, state=CLEANUP, t=t)
        self._cleanup(job)

    def output_grew(self, job: Job) -> None:
        """The record of the job's output has grown."""
        for watcher in list(job.watchers):
            watcher.pump()

    # the end

    def _cleanup(self, job: Job) -> None:
        """Give resources back and end, unless something is still under way."""
        if job.state != CLEANUP or job.alloc in (REQUESTED, CANCELLING) or job.executing:
            return
        if job.alloc == HELD:
            job.alloc = NONE
            self.post(job, "release", {"ranks": "all", "final": True})
            self.scheduler.free(job)
            self.post(job, "free")
        if self.retries.again(job):
            return
        self.active.remove(job)
        self.ended[job.id] = job
        self.post(job, "clean", state=INACTIVE, then=lambda: self._written(job))
        for watcher in list(job.watchers):
            watcher.pump()
        job.watchers.clear()
        self.waits.ended(self, job)
        self.dependencies.ended(job)
        for tell in self.on_end:
            tell(job)
        for callback in list(self.on_idle):
            callback()

    def _written(self, job: Job) -> None:
        """The job's end is committed."""
        del self.ended[job.id]
        if job.launched:
            self.store.when_durable(lambda: self.executor.tidy(job))

    # recovery

    def recover(self) -> None:
        """Take up the jobs of an earlier broker on this state directory.  Raises SessionError."""
        gc.disable()  # all that is made here stays, and is not to be searched for garbage again and again
        try:
            for row in self.store.active(INACTIVE):
                try:
                    self._recover(*row)
                except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                    text = f"{self.store.path}: it is damaged: what it holds of job {row[0]} cannot be used"
                    raise StoreError(f"{text} ({type(error).__name__}: {error})") from None
        finally:
            gc.enable()
        gc.freeze()
        for jobid, _ in self.store.unwaited(INACTIVE, jobs.FLAG_WAITABLE):
            self.waits.add(jobid)
        if self.active:
            self.log("job-manager", LOG_INFO, f"restart: {len(self.active)} jobs")

    def _recover(self, jobid: int, state: int, spec: dict[str, Any], R: Any, launch: Any, info: dict[str, Any]) -> None:
        """Take up one job."""
        public = jobs.redact(spec)
        # Copies of a job, which may be many, share what is alike.
        job = Job(jobid, state, self._specs.get(dumps(public), lambda: public), jobs.recovered(jobid, state, info), R)
        job.order()
        if info["flags"] & jobs.FLAG_WAITABLE:
            self.waits.add(jobid)
        job.launched = launch is not None
        self.active.add(job)
        if state in (DEPEND, SCHED):
            job.events = self.store.stored_events
            job.R = None  # if there is one it was given but never told: the job waits again
            return
        job.events = self.store.stored_events(jobid)
        names = [entry["name"] for entry in present(job.events)]
        if "alloc" not in names:
            job.R = None
        elif "free" not in names:
            job.alloc = HELD
            jobs.held(job.R)
        if "alloc" in names and "finish" not in names:
            job.executing = launch is not None

    def resume(self) -> None:
        """Continue recovered jobs; called when all parts of the broker exist."""
        for job in list(self.active.values()):
            self.dependencies.adopt(job)
        for job in list(self.active.values()):
            if job.executing:
                row = self.store.job(job.id)
                launch = (row[4] if row is not None else None) or {}
                ending = job.state == CLEANUP
                if ending and ("pretend" in launch or not self.executor.claimed(job)):
                    self.on_finish(job, 143 << 8)
                elif "pretend" in launch:
                    self._pretend(job, launch["pretend"], since=job.info["t_run"])
                else:
                    self.executor.recover(job, launch)
                    if ending:
                        self.executor.terminate(job)
            elif job.state == SCHED:
                self.scheduler.enqueue(job)
            elif job.state != DEPEND:
                if job.state == RUN:
                    self.active.change(job, CLEANUP)
                self._cleanup(job)
        self.executor.sweep()

    # requests about one job

    def find(self, jobid: int) -> Job:
        """The active job of this id.  Raises RequestError."""
        job = self.active.get(jobid)
        if job is None:
            self.lookup(jobid)
            raise RequestError(errno.EINVAL, f"{f58(jobid)}: job is inactive")
        return job

    def lookup(self, jobid: int) -> Job:
        """A job of this id, also one that is over.  Raises RequestError."""
        job = self.active.get(jobid) or self.ended.get(jobid)
        if job is not None:
            return job
        row = self.store.job(jobid)
        if row is None:
            raise RequestError(errno.ENOENT, f"{f58(jobid)}: unknown job id")
        job = Job(jobid, row[1], row[2], row[5], row[3])
        job.events = self.store.events(jobid)
        return job

    @rpc(
        "job-manager.raise",
        id=JOBID,
        type=Text(256, default="cancel"),
        severity=Int(0, 7, default=0),
        note=Nullable(Text(raw=True)),
    )
    def raise_(self, request: Request, id: int, type: str, severity: int, note: Optional[str]) -> None:
        """Raise an exception on a job; severity 0 ends it."""
        if not type or any(char.isspace() for char in type):
            raise RequestError(errno.EINVAL, "expected a type without spaces")
        self.exception(self.find(id), type, severity, note or "")
        request.respond()

    @rpc("job-manager.kill", id=JOBID, signum=Int(1, signal.NSIG - 1))
    def kill(self, request: Request, id: int, signum: int) -> None:
        """Signal the processes of a job."""
        job = self.find(id)
        if signum not in set(signal.Signals):
            raise RequestError(errno.EINVAL, f"{signum}: invalid signal number")
        if not job.executing or not self.executor.signal(job, signum):
            raise RequestError(errno.EINVAL, f"{job.name}: job is not running")
        request.respond()

    @rpc("job-manager.urgency", id=JOBID, urgency=jobs.urgency_field())
    def urgency(self, request: Request, id: int, urgency: int) -> None:
        """Set the urgency of a job that waits.  Answers {"old_urgency"}."""
        job = self.find(id)
        if job.state not in (DEPEND, SCHED):
            raise RequestError(errno.EINVAL, f"{job.name}: urgency cannot be changed once resources are allocated")
        old = job.info["urgency"]
        job.info["urgency"] = urgency
        self.active.change(job, priority=jobs.PRIORITY_MAX if urgency == jobs.URGENCY_MAX else urgency)
        self.post(job, "urgency", {"userid": os.getuid(), "urgency": urgency})
        if job.state == SCHED:
            self.post(job, "priority", {"priority": job.info["priority"]})
            self.scheduler.prioritize(job)
        request.respond({"old_urgency": old})

    @rpc("job.wait", id=Nullable(JOBID))
    def wait(self, request: Request, id: Optional[int]) -> None:
        """Wait for a job to end; without an id, for any waitable job not yet waited for.

        Answers {"id", "success", "errstr"}."""
        self.waits.wait(self, request, id)

    def stats(self) -> dict[str, int]:
        """Figures of the jobs, for `flux module stats job-manager`."""
        return {
            "active_jobs": len(self.active),
            "inactive_jobs": self.store.count(INACTIVE) + len(self.ended),
            "max_jobid": self.max_id,
            "depending": self.active.count_waiting(DEPEND),
            "waiting": self.active.count_waiting(SCHED),
            "running": len(self.active.others()),
        }
