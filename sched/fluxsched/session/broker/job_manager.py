# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The job manager: takes jobs, leads each through its states, posts its events.

    DEPEND PRIORITY SCHED  waits for resources (held back at urgency 0)
    RUN                    has R; its processes run
    CLEANUP                has ended or was told to; gives R back
    INACTIVE               over

Every event is written with the job's new state in one change of the store; a
job is launched only after that is durable.
"""

import errno
import os
import signal
import time

from fluxsched.session.broker import job as jobs
from fluxsched.session.broker.job import CANCELLING, CLEANUP, HELD, INACTIVE, NONE, REQUESTED, RUN, SCHED, Job
from fluxsched.session.broker.rpc import JOBID, Bool, Int, ListOf, Nullable, Number, Object, Octets, Text, rpc
from fluxsched.session.broker.store import dumps
from fluxsched.session.broker.watch import Watch
from fluxsched.session.errors import RequestError
from fluxsched.session.jobid import Generator, f58

EXIT_NOTE = "resource allocation expired"


class Manager:
    def __init__(self, loop, store, log, config):
        self.loop = loop
        self.store = store
        self.log = log
        self.config = config
        self.active = {}
        self.executor = None  # set by the broker
        self.link = None  # the scheduler's; set by the broker
        self.accepting = True
        self.waitable = {}  # job id -> job info, waitable jobs that nobody has waited for
        self.waiters = []  # (request, job id or None)
        self.on_idle = []  # called when a job has become inactive
        self.max_id = store.last_id()
        self._next_id = Generator(store.epoch(), self.max_id)
        self.journal = None  # called with every event

    # taking jobs

    @rpc(
        "job.submit",
        logged_by="job-manager",
        jobspec=Object(),
        urgency=jobs.urgency_field(default=16),
        flags=Int(0, 2**31 - 1, default=0),
    )
    def submit(self, request, jobspec, urgency, flags):
        """Take a job.  Answers {"id"}, once the job is written."""
        if not self.accepting:
            raise RequestError(errno.EINVAL, "the session is ending and takes no more jobs")
        self._set_queue(jobspec)
        parsed = jobs.check(jobspec)
        public = jobs.redact(jobspec)

        def feasible(problem):
            if problem is not None:
                self._refuse(request, problem)
            elif request.open:
                self._accept(request, jobspec, public, parsed, urgency, flags)

        self.link.feasible(public, feasible)

    def _refuse(self, request, error):
        """Refuse a job after its request was handled."""
        self.log("job-manager", 3, f"job.submit: {error.text}")
        request.error(error.errno, error.text)

    def _set_queue(self, spec):
        """Check the queue against the configuration, and add its constraint."""
        system = spec.get("attributes", {}).get("system") if isinstance(spec.get("attributes"), dict) else None
        if not isinstance(system, dict):
            return  # jobs.check will say so
        queues = self.config.get("queues", {})
        default = self.config
        for part in ("policy", "jobspec", "defaults", "system", "queue"):
            default = default.get(part, {}) if isinstance(default, dict) else {}
        name = system.get("queue") or (default if isinstance(default, str) else None)
        if not queues:
            if name:
                raise RequestError(errno.EINVAL, f"{name!r} is not a valid queue: this session has no queues")
            return
        if name is None:
            raise RequestError(errno.EINVAL, "no queue specified: expected one of " + ", ".join(sorted(queues)))
        if not isinstance(name, str) or name not in queues:
            raise RequestError(errno.EINVAL, f"{name!r} is not a valid queue")
        system["queue"] = name
        requires = queues[name].get("requires", [])
        if requires:
            constraint = {"properties": list(requires)}
            if system.get("constraints"):
                constraint = {"and": [constraint, system["constraints"]]}
            system["constraints"] = constraint

    def _accept(self, request, spec, public, parsed, urgency, flags):
        now = time.time()
        jobid = self._next_id()
        info = jobs.new_info(spec, parsed, urgency, flags, now)
        info["t_depend"] = info["t_priority"] = info["t_sched"] = now
        job = Job(jobid, SCHED, public, info)
        submit = {"userid": info["userid"], "urgency": urgency, "flags": flags, "version": 1}
        job.events = [
            {"timestamp": now, "name": "submit", "context": submit},
            {"timestamp": now, "name": "validate"},
            {"timestamp": now, "name": "depend"},
            {"timestamp": now, "name": "priority", "context": {"priority": info["priority"]}},
        ]
        operations = [self.store.op_insert(jobid, SCHED, dumps(spec), info)]
        operations += [self.store.op_event(jobid, seq, entry) for seq, entry in enumerate(job.events)]

        def written(error):
            if error is not None:
                self._refuse(request, RequestError(error.errno, error.strerror))
                return
            self.max_id = max(self.max_id, jobid)
            self.active[jobid] = job
            if flags & jobs.FLAG_WAITABLE:
                self.waitable[jobid] = info
            for entry in job.events:
                self._tell(job, entry)
            request.respond({"id": jobid})
            self.link.enqueue(job)

        self.store.request(operations, written)

    def full_jobspec(self, job):
        return self.store.jobspec(job.id)

    # events

    def post(self, job, name, context=None, state=None, t=None, operations=(), then=None):
        """Append an event, with the job's state after it."""
        now = t or time.time()
        if job.events:
            now = max(now, job.events[-1]["timestamp"])
        entry = {"timestamp": now, "name": name}
        if context is not None:
            entry["context"] = context
        if state is not None and state != job.state:
            job.state = state
            stamp = {RUN: "t_run", CLEANUP: "t_cleanup", INACTIVE: "t_inactive"}[state]
            job.info.setdefault(stamp, now)
        job.events.append(entry)
        writes = [
            self.store.op_event(job.id, len(job.events) - 1, entry),
            self.store.op_info(job.id, job.state, job.info),
            *operations,
        ]
        self.store.change(writes, then)
        self._tell(job, entry)

    def _tell(self, job, entry):
        if self.journal is not None:
            self.journal(job, entry)
        for watcher in list(job.watchers):
            watcher.event(entry)

    def exception(self, job, kind, severity, note, t=None, terminate=True):
        """Raise an exception; severity 0 ends the job, whose processes are told unless they know (`terminate`)."""
        context = {"type": kind, "severity": severity, "note": note, "userid": os.getuid()}
        if severity == 0 and job.info.get("exception", {}).get("severity") != 0:
            job.info["exception"] = {"type": kind, "severity": severity, "note": note}
        fatal = severity == 0 and job.state in (SCHED, RUN)
        was = job.state
        self.post(job, "exception", context, state=CLEANUP if fatal else None, t=t)
        if not fatal:
            return
        if was == SCHED:
            if job.alloc == REQUESTED:
                job.alloc = CANCELLING
                self.link.cancel(job)
            else:
                self.link.dequeue(job)
        elif job.executing and terminate:
            self.executor.terminate(job)
        self._cleanup(job)

    # the scheduler's answers (through the link)

    def on_alloc(self, job, R, annotations):
        """The job has its resources; they are in the store already."""
        job.R = R
        job.alloc = HELD
        jobs.place(job.info, R)
        self.annotate(job, annotations)
        if job.state != SCHED:
            # it was cancelled while the answer was under way
            self._cleanup(job)
            return
        pretended = jobs.run_duration(job.jobspec["attributes"]["system"])
        launch = {"boot": self.executor.boot}
        if pretended is not None:
            launch = {"pretend": pretended}
        context = {"annotations": job.info["annotations"]} if job.info.get("annotations") else None
        job.executing = job.launched = True

        def committed():
            if job.state != RUN:
                # ended before it was started
                job.executing = False
                self._cleanup(job)
            elif pretended is None:
                self.executor.launch(job)
            else:
                self._pretend(job, pretended)

        self.post(job, "alloc", context, state=RUN, operations=[self.store.op_launch(job.id, launch)], then=committed)

    def _pretend(self, job, seconds, since=None):
        if not any(entry["name"] == "start" for entry in job.events):
            self.on_start(job)
        elapsed = time.time() - (since or time.time())
        expiration = job.R["execution"].get("expiration", 0.0)
        limit = expiration - time.time() if expiration else seconds - elapsed + 1
        self.executor.pretend(job, max(0.0, min(seconds - elapsed, limit)), timeout=limit < seconds - elapsed)

    def pretend_on(self, job):
        """A pretended run has another time limit now."""
        self._pretend(job, jobs.run_duration(job.jobspec["attributes"]["system"]), since=job.info["t_run"])

    def on_deny(self, job, note):
        job.alloc = NONE
        self.log("job-manager", 3, f"job {job.name}: {note}")
        if job.state == SCHED:
            self.exception(job, "alloc", 0, note)
        else:
            self._cleanup(job)

    def on_cancelled(self, job):
        job.alloc = NONE
        if job.state == SCHED:
            self.exception(job, "alloc", 0, "alloc request canceled")
        else:
            self._cleanup(job)

    def annotate(self, job, update):
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

    def on_start(self, job, t=None):
        self.post(job, "start", t=t)

    def on_timeout(self, job, t=None):
        self.log("job-exec", 6, f"job-exception: id={job.name}: {EXIT_NOTE}")
        self.exception(job, "timeout", 0, EXIT_NOTE, t=t, terminate=False)

    def on_exec_exception(self, job, text, t=None):
        self.log("job-exec", 3, f"{job.name}: {text}")
        self.exception(job, "exec", 0, text, t=t, terminate=False)

    def on_finish(self, job, status, t=None):
        """All processes of the job are gone."""
        job.executing = False
        job.info["waitstatus"] = status
        self.post(job, "finish", {"status": status}, state=CLEANUP, t=t)
        self._cleanup(job)

    def output_grew(self, job):
        for watcher in list(job.watchers):
            watcher.pump()

    # the end

    def _cleanup(self, job):
        """Give resources back and end, unless something is still under way."""
        if job.state != CLEANUP or job.alloc in (REQUESTED, CANCELLING) or job.executing:
            return
        if job.alloc == HELD:
            job.alloc = NONE
            self.post(job, "release", {"ranks": "all", "final": True})
            self.link.free(job)
            self.post(job, "free")
        self.post(job, "clean", state=INACTIVE, then=(lambda: self.executor.tidy(job)) if job.launched else None)
        del self.active[job.id]
        for watcher in list(job.watchers):
            watcher.pump()
        job.watchers.clear()
        self._answer_waiters(job)
        for callback in list(self.on_idle):
            callback()

    # recovery

    def recover(self):
        """Take up the jobs of an earlier broker on this state directory."""
        found = 0
        for jobid, state, spec, R, launch, info in self.store.active(INACTIVE):
            job = Job(jobid, state, jobs.redact(spec), info, R)
            job.events = self.store.events(jobid)
            names = [entry["name"] for entry in job.events]
            self.active[jobid] = job
            found += 1
            if info["flags"] & jobs.FLAG_WAITABLE:
                self.waitable[jobid] = info
            if "alloc" not in names:
                job.R = None  # given but never told: the job waits again
            elif "free" not in names:
                job.alloc = HELD
            job.launched = launch is not None
            if "alloc" in names and "finish" not in names:
                job.executing = launch is not None
        for jobid, info in self.store.unwaited(INACTIVE, jobs.FLAG_WAITABLE):
            self.waitable[jobid] = info
        if found:
            self.log("job-manager", 6, f"restart: {found} jobs")

    def resume(self):
        """Go on with recovered jobs, once executor and link are there."""
        for job in list(self.active.values()):
            if job.executing:
                launch = self.store.job(job.id)[4]
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
                self.link.enqueue(job)
            else:
                if job.state == RUN:
                    job.state = CLEANUP
                self._cleanup(job)

    # requests about one job

    def find(self, jobid):
        """The active job of this id.  Raises RequestError."""
        job = self.active.get(jobid)
        if job is None:
            if self.store.job(jobid) is None:
                raise RequestError(errno.ENOENT, f"{f58(jobid)}: unknown job id")
            raise RequestError(errno.EINVAL, f"{f58(jobid)}: job is inactive")
        return job

    @rpc(
        "job-manager.raise",
        id=JOBID,
        type=Text(256, default="cancel"),
        severity=Int(0, 7, default=0),
        note=Nullable(Text(raw=True)),
    )
    def raise_(self, request, id, type, severity, note):
        """Raise an exception on a job; severity 0 ends it."""
        if not type or any(char.isspace() for char in type):
            raise RequestError(errno.EINVAL, "expected a type without spaces")
        self.exception(self.find(id), type, severity, note or "")
        request.respond()

    @rpc("job-manager.kill", id=JOBID, signum=Int(1, signal.NSIG - 1))
    def kill(self, request, id, signum):
        """Signal the processes of a job."""
        job = self.find(id)
        if signum not in set(signal.Signals):
            raise RequestError(errno.EINVAL, f"{signum}: invalid signal number")
        if not job.executing or not self.executor.signal(job, signum):
            raise RequestError(errno.EINVAL, f"{job.name}: job is not running")
        request.respond()

    @rpc("job-manager.urgency", id=JOBID, urgency=jobs.urgency_field())
    def urgency(self, request, id, urgency):
        """Set the urgency of a job that waits.  Answers {"old_urgency"}."""
        job = self.find(id)
        if job.state != SCHED:
            raise RequestError(errno.EINVAL, f"{job.name}: urgency cannot be changed once resources are allocated")
        old = job.info["urgency"]
        job.info["urgency"] = urgency
        job.info["priority"] = jobs.PRIORITY_MAX if urgency == jobs.URGENCY_MAX else urgency
        self.post(job, "urgency", {"userid": os.getuid(), "urgency": urgency})
        self.post(job, "priority", {"priority": job.info["priority"]})
        self.link.prioritize(job)
        request.respond({"old_urgency": old})

    @rpc("job.wait", id=Nullable(JOBID))
    def wait(self, request, id):
        """Wait for a job to end; without an id, for any waitable job not yet waited for.

        Answers {"id", "success", "errstr"}."""
        if id is None:
            for number, info in self.waitable.items():
                if number not in self.active:
                    self._answer_wait(request, number, info)
                    return
            if len(self.waitable) <= sum(1 for _, wanted in self.waiters if wanted is None):
                raise RequestError(errno.ECHILD, "there are no more waitable jobs")
        elif id not in self.active:
            row = self.store.job(id)
            if row is None:
                raise RequestError(errno.ENOENT, f"{f58(id)}: unknown job id")
            self._answer_wait(request, id, row[5])
            return
        waiter = (request, id)
        self.waiters.append(waiter)
        request.on_close = lambda: waiter in self.waiters and self.waiters.remove(waiter)

    def _answer_waiters(self, job):
        for waiter in list(self.waiters):
            request, wanted = waiter
            if wanted == job.id or (wanted is None and job.id in self.waitable):
                self.waiters.remove(waiter)
                self._answer_wait(request, job.id, job.info)

    def _answer_wait(self, request, jobid, info):
        if self.waitable.pop(jobid, None) is not None:
            info["waited"] = True
            self.store.change([self.store.op_info(jobid, INACTIVE, info)])
        outcome = jobs.result(info)
        text = ""
        exception = info.get("exception")
        if exception is not None:
            text = f"Fatal exception type={exception['type']} {exception['note']}".rstrip()
        elif outcome != "COMPLETED":
            text = f"task(s) exited with exit code {info['waitstatus'] >> 8}"
        request.respond({"id": jobid, "success": outcome == "COMPLETED", "errstr": text})

    @rpc("job.watch", id=JOBID, output=Bool(True))
    def watch(self, request, id, output):
        """Follow a job: a stream of {"event"} and, with `output`, {"output"} until the job is over."""
        job = self.active.get(id)
        events = None
        if job is None:
            if self.store.job(id) is None:
                raise RequestError(errno.ENOENT, f"{f58(id)}: unknown job id")
            events = self.store.events(id)
        Watch(request, job, events, os.path.join(self.executor.directory(id), "output") if output else None)

    @rpc("job.stdin", id=JOBID, data=Octets(1 << 20), eof=Bool(False))
    def stdin(self, request, id, data, eof):
        """Pass standard input to a job.  Answers {"open"} when there is room for more; with "wait" it was not taken."""
        job = self.find(id)
        running = self.executor.running.get(job.id)
        if running is None:
            request.respond({"open": job.state in (SCHED, RUN), "wait": True})
        else:
            running.stdin(data.encode("latin-1"), eof, lambda is_open: request.respond({"open": is_open}))

    @rpc("job.info", id=JOBID, key=Text(64))
    def info(self, request, id, key):
        """Read what is kept of a job: its jobspec, R or eventlog.  Answers {"value"}."""
        row = self.store.job(id)
        if row is None:
            raise RequestError(errno.ENOENT, f"{f58(id)}: unknown job id")
        job = self.active.get(id)
        if key == "jobspec":
            value = row[2]
        elif key == "R":
            value = row[3] if job is None else job.R
        elif key == "eventlog":
            value = self.store.events(id)
        else:
            value = None
        if value is None:
            raise RequestError(errno.ENOENT, f"{key}: key not found")
        request.respond({"value": value})

    @rpc(
        "job.list",
        ids=Nullable(ListOf(JOBID, 1 << 20)),
        inactive=Bool(False),
        count=Int(0, 2**31 - 1, default=1000),
        since=Number(0, 1e12, default=0),
    )
    def list_jobs(self, request, ids, inactive, count, since):
        """List the jobs of `ids`; or the active ones, newest first, then with `inactive` those that ended after
        `since`, at most `count` together (0 is all).  Answers {"jobs"}."""
        now = time.time()
        if ids is not None:
            found = []
            for jobid in ids:
                job = self.active.get(jobid)
                if job is not None:
                    found.append(jobs.describe(job.id, job.state, job.info, now))
                    continue
                row = self.store.job(jobid)
                if row is None:
                    raise RequestError(errno.ENOENT, f"JobID {jobid} unknown")
                found.append(jobs.describe(jobid, row[1], row[5], now))
            request.respond({"jobs": found})
            return
        pending = sorted((job for job in self.active.values() if job.state == SCHED), key=Job.order)
        others = [job for job in self.active.values() if job.state != SCHED]
        others.sort(key=lambda job: -job.info.get("t_run", 0))
        shown = (pending + others)[: count or None]
        found = [jobs.describe(job.id, job.state, job.info, now) for job in shown]
        if inactive:
            rows = self.store.inactive_info(INACTIVE, count or -1, since)
            found += [jobs.describe(jobid, INACTIVE, info, now) for jobid, info in rows]
        request.respond({"jobs": found[:count] if count else found})

    def stats(self):
        return {
            "active_jobs": len(self.active),
            "inactive_jobs": self.store.count(INACTIVE),
            "max_jobid": self.max_id,
            "waiting": sum(1 for job in self.active.values() if job.state == SCHED),
            "running": sum(1 for job in self.active.values() if job.state in (RUN, CLEANUP)),
        }
