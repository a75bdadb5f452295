# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The Flux scheduler protocol (RFC 27, RFC 28) over a :class:`Host`.

One class for every host: a real broker, and the embedded session.  It turns
messages into calls of the engine, and the engine's decisions into answers; it
decides nothing about resources itself.

Start: ``resource.acquire`` (streaming), then, side by side,
``job-manager.sched-hello`` (streaming) with the R of each job that runs, and
the record of jobs in the KVS; when both are in, ``job-manager.sched-ready``,
then ``job-manager.events-journal`` (streaming), which feeds the record.

A request changes the engine at once and asks for a pass; the host runs the
pass after the messages that are queued have been handled, so a burst is one
pass.  Jobs that a pass starts are committed to the KVS in batches, R and
record in one transaction, and answered when the commit is durable.

A job that is cancelled or freed while its commit is under way is not torn from
it: the resources stay its own until the commit is done, so that no two R's in
the KVS ever cover the same resources of two holders.
"""

from __future__ import annotations

import errno
import time
from typing import Any, Iterable, Optional

from fluxsched.core import Engine, Infeasible
from fluxsched.formats import jobspec as _jobspec
from fluxsched.formats import r as _r
from fluxsched.formats.constraint import ConstraintError
from fluxsched.service.annotate import Annotator
from fluxsched.service.answers import Answers
from fluxsched.service.ask import Questions
from fluxsched.service.commit import Committer
from fluxsched.service.ends import Ends
from fluxsched.service.fields import Bool, Int, ListOf, Number, Object, Tuple
from fluxsched.service.forecast import Forecast
from fluxsched.service.guard import Guard
from fluxsched.service.host import LOG_DEBUG, LOG_ERR, LOG_INFO, LOG_WARNING, Host
from fluxsched.service.jobs import COMMITTING, PENDING, RUNNING, STARTED, Job, Jobs
from fluxsched.service.lwj_writer import Recorder
from fluxsched.service.passes import Passes
from fluxsched.service.plan import Plans
from fluxsched.service.protocol import ProtocolError, ServiceError, field
from fluxsched.service.reasons import Reasons
from fluxsched.service.recording import Recording
from fluxsched.service.resources import Resources
from fluxsched.service.rpc import GUEST, JOB_MANAGER, declarations, rpc
from fluxsched.service.runtimes import RunTimes
from fluxsched.service.settings import Settings
from fluxsched.service.shadow import Shadows
from fluxsched.service.slices import Slices
from fluxsched.service.specs import Specs
from fluxsched.service.whatif import WhatIfs
from fluxsched.service.when import Whens

__all__ = ["Host", "Service", "ServiceError"]
# What the engine can count with.
JOBID = Int(0, 2**63 - 1)
PRIORITY = Int(0, 2**32 - 1)
TIME_MAX = 9e12 - 1
JOBS_MAX = 2**31 - 1


def unsatisfiable(error: object) -> str:
    """How users of Flux are used to hear that a request can never be met."""
    return f"unsatisfiable request: {error}"


class Service:
    """The scheduler.  `host` is the broker, `arguments` the module's
    arguments.  Raises ServiceError before anything is started if arguments,
    configuration, plugin or RDL cannot be used."""

    def __init__(self, host: Host, arguments: Iterable[str]) -> None:
        self.host = host
        self.guard = Guard(host)
        self.ends = Ends()
        self.recording = Recording(host, self.guard)
        self.resources = Resources(host, arguments, self.ends, self.recording)
        self.engine: Any = None         # core's Engine; None until resources are acquired
        self.jobs = Jobs()
        self.answers = Answers(host)
        engine = self._engine_of_now
        self.recorder = Recorder(host, self.settings.lwj_keep, self.guard, engine, self.resources)
        self.record = self.recorder.record
        reasons = Reasons(engine, host.job_name)
        self.run_times = RunTimes(host, self.guard)
        self.forecast = Forecast(
            host, engine, self.jobs, self.ends, self.run_times, lambda: self.passes.idle, self._foretold,
            self.settings.forecast, self.guard,
        )
        self.annotator = Annotator(
            host, self.jobs, engine, reasons, self.forecast, self.answers.annotate, self.ends.reached, self.guard
        )
        self.passes = Passes(host, engine, self._denied, self._started, self._pass_over, self._pass_failed, self.guard)
        self.committer = Committer(
            host, self.guard, engine, self.resources, self.jobs, self.answers, self.ends, self.recorder,
            self.passes.ask, self._check_quiescent,
        )
        self.questions = Questions(
            host, engine, self.jobs, reasons, self.ends, self.forecast, lambda: self.settings, self.statistics
        )
        self.slices = Slices(host, self.guard)
        self.whens = Whens(host, engine, self.resources.placed, reasons, self.ends, self.slices)
        self.plans = Plans(host, engine, self.jobs, reasons, self.ends, self.slices)
        self.whatifs = WhatIfs(host, engine, self.jobs, self.ends, self.run_times, self.slices)
        self.shadows = Shadows(host, self.guard, self.ends)
        self._handlers = {
            topic: getattr(owner, declaration.handler)
            for owner in (self, self.forecast, self.questions, self.whens, self.plans, self.whatifs, self.shadows)
            for topic, declaration in declarations(type(owner)).items()
        }
        self.ready = False
        self._waiting_for_ready: list[tuple[str, Any, Any]] = []    # messages that came too early
        self._hello_left = 0            # answers due before sched-ready
        self._quiescent_asked: list[Any] = []       # requests of sched.quiescent that wait
        self._specs = Specs()
        self._asked = 0                 # requests of sched.alloc
        self._cpu_begin = time.thread_time()

    def _engine_of_now(self) -> Engine:
        return self.engine

    # -- settings -------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The settings as they are now."""
        return self.resources.settings

    def reconfigure(self) -> None:
        """The instance's configuration changed.  ServiceError: it cannot be
        used, which is in the log, and the settings stay as they were."""
        try:
            changed = self.resources.reconfigure(self._rebuild, self._set_policy)
        except ServiceError as error:
            self.host.log(LOG_ERR, f"configuration not taken over: {error}")
            raise
        if not changed:
            return
        self.recording.changed(self.settings)
        if "queue_depth" in changed:
            self.host.log(LOG_WARNING, "queue-depth: a new value counts from the next load on")
        if "lwj_keep" in changed:
            self.recorder.resize(self.settings.lwj_keep)
        self.forecast.interval = self.settings.forecast
        self.forecast.changed()
        self.host.log(LOG_INFO, f"configuration taken over: plugin={self.settings.plugin}")

    def _set_policy(self, policy: Any) -> bool:
        """Another policy; False if the jobs do not fit, and the old one stays."""
        if policy.io_aware != self.engine.io_aware:
            # The requests that wait were read by the other rule.
            return self._rebuild()
        self.engine.set_policy(policy)
        self.passes.ask()
        return True

    def _rebuild(self) -> bool:
        """A new engine that takes over all jobs.  If one that holds resources
        does not fit into it, the old engine stays: False."""
        old = self.engine
        refused: list[tuple[Job, str]] = []
        try:
            engine = self.resources.build()
            for job in self.jobs:
                if job.stage != PENDING:
                    R = old.R(job.id, job.starttime, job.expiration)
                    engine.adopt(job.id, R, "", priority=job.priority, t_submit=job.t_submit, user=job.user)
                    engine.update_expiration(job.id, self.ends.planned(job.expiration))
                    continue
                assert job.request is not None  # it waits, so it was parsed
                try:
                    request = self.resources.placed(job.request)
                    engine.add(job.id, request, job.priority, job.t_submit, job.user, sequence=job.id)
                except (Infeasible, ConstraintError) as error:
                    refused.append((job, unsatisfiable(error)))
        except Exception as error:
            self.guard.report("new configuration, the engine stays as it was", error)
            return False
        self.engine = engine
        self.recording.attach(engine)
        self.shadows.begin(engine, self.settings.shadow)
        for job, reason in refused:
            self.jobs.remove(job)
            self.answers.deny(job, reason)
        self.passes.ask()
        return True

    # -- start ----------------------------------------------------------------

    def start(self) -> None:
        """Acquire resources, learn of running jobs, and offer the service."""
        self.host.request("resource.acquire", None, self.guard(self._on_acquire), streaming=True)

    def stop(self) -> None:
        """The module is about to end: write what the record still holds."""
        self.passes.stop()
        self.slices.stop()
        self.annotator.stop()
        self.forecast.stop()
        self.shadows.stop()
        if self.ready:
            self.recorder.stop()
            self.run_times.stop()
        self.recording.stop()
        self.guard.stopped = True

    def _on_acquire(self, payload: Any, error: Optional[OSError]) -> None:
        if error is not None:
            if error.errno in (errno.ECANCELED, errno.ENODATA) and self.ready:
                self.host.log(LOG_WARNING, f"exiting, as resource.acquire ended: {error.strerror}")
                self.host.finish(error)
            else:
                self.guard.fatal("resource.acquire failed", error)
            return
        if self.engine is None:
            try:
                self.engine = self.resources.acquire(payload)
            except Exception as problem:
                self.guard.report("resource.acquire", problem)
                self.host.fatal(problem)
                return
            self.recording.attach(self.engine)
            self.shadows.begin(self.engine, self.settings.shadow)
            self._hello_left = 2
            self.host.request(
                "job-manager.sched-hello", {"partial-ok": True}, self.guard(self._on_hello), streaming=True
            )
            self.recorder.load(self._hello_step)
            self.run_times.load()
            return
        try:
            instance = self.resources.update(self.engine, payload)
            if instance is not None:
                self.ends.moves(self.engine, [job for job in self.jobs if job.stage != PENDING], instance)
        finally:
            self.passes.ask()

    def _on_hello(self, payload: Any, error: Optional[OSError]) -> None:
        if error is not None:
            if error.errno != errno.ENODATA:
                self.guard.fatal("job-manager.sched-hello failed", error)
                return
            self._hello_step()
            return
        jobid = field(payload, "id", int, "job-manager.sched-hello")
        self._hello_left += 1

        def got_r(R: Any, problem: Optional[OSError]) -> None:
            try:
                if problem is not None:
                    raise problem
                self._adopt(jobid, payload, R)
            except Exception as why:
                self._lose(jobid, why)
            self._hello_step()

        self.host.read_r(jobid, self.guard(got_r))

    def _adopt(self, jobid: int, payload: dict[str, Any], R: dict[str, Any]) -> None:
        """Take over a job that holds R (less the ranks it gave back)."""
        priority = payload.get("priority", 16)
        t_submit = payload.get("t_submit", 0.0)
        self.engine.adopt(
            jobid, R, payload.get("free") or "", priority=priority, t_submit=t_submit, user=payload.get("userid")
        )
        job = Job(jobid, priority, t_submit, user=payload.get("userid"))
        job.stage = RUNNING
        self.jobs.add(job)
        held = R["execution"]
        self.ends.found(self.engine, job, held.get("starttime", 0.0), held.get("expiration", 0.0))
        self.host.log(
            LOG_DEBUG,
            f"hello: id={self.host.job_name(jobid)} priority={priority} userid={payload.get('userid')}"
            f" t_submit={t_submit:.1f}",
        )

    def _lose(self, jobid: int, error: BaseException) -> None:
        """A job whose resources cannot be taken over must end."""
        name = self.host.job_name(jobid)
        self.host.log(LOG_ERR, f"hello: job {name}: {error}; raising a fatal exception on it")
        note = "failed to reallocate R for running job"

        def raised(payload: Any, problem: Optional[OSError]) -> None:
            if problem is not None:
                self.host.log(LOG_ERR, f"error raising an exception on job {name}: {problem}")

        self.host.request(
            "job-manager.raise",
            {"id": jobid, "severity": 0, "type": "scheduler-restart", "note": note},
            self.guard(raised),
        )

    def _hello_step(self) -> None:
        self._hello_left -= 1
        if self._hello_left > 0:
            return
        self.recorder.adopt(self.jobs)
        payload: dict[str, Any] = {"mode": "unlimited"}
        if self.settings.queue_depth is not None:
            payload = {"mode": "limited", "limit": self.settings.queue_depth}
        self.host.request("job-manager.sched-ready", payload, self.guard(self._on_ready))

    def _on_ready(self, payload: Any, error: Optional[OSError]) -> None:
        if error is not None:
            self.guard.fatal("job-manager.sched-ready failed", error)
            return
        self.ready = True
        self.passes.open()
        depth = self.settings.queue_depth
        self.host.log(
            LOG_INFO,
            f"ready: queue-depth={'unlimited' if depth is None else depth} plugin={self.settings.plugin}"
            f" running={len(self.jobs)} waiting={(payload or {}).get('count', 0)} {self.resources.summary}",
        )
        waiting, self._waiting_for_ready = self._waiting_for_ready, []
        for message in waiting:
            self.handle(*message)
        self.recorder.follow()

    # -- messages -------------------------------------------------------------

    def handle(self, topic: str, request: Any, payload: Optional[dict[str, Any]]) -> None:
        """A message arrived.  `request` is the host's handle to answer it by,
        `payload` a dict, or None if it was empty."""
        if self.guard.stopped:
            return
        declaration = RPCS.get(topic)
        if declaration is None:
            self.host.respond_error(request, errno.ENOSYS, f"{topic}: unknown service method")
            return
        if not self.ready and not declaration.early:
            self._waiting_for_ready.append((topic, request, payload))
            return
        try:
            self._handlers[topic](request, **declaration.arguments(payload))
        except ProtocolError as error:
            # What a guest sends is theirs to know, and not a line for the log.
            if not declaration.guests:
                self.guard.errors += 1
                self.host.log(LOG_ERR, str(error))
            if declaration.answered:
                self.host.respond_error(request, error.errno, str(error))
        except Exception as error:
            self.guard.report(topic, error)
            if declaration.answered:
                self.host.respond_error(request, errno.EINVAL, f"{type(error).__name__}: {error}")

    @rpc("sched.alloc", sender=JOB_MANAGER, id=JOBID, priority=PRIORITY, jobspec=Object(), t_submit=Number(0, TIME_MAX),
         userid=Int(0, 2**32 - 1, default=None))
    def _alloc(
        self, message: Any, id: int, priority: int, jobspec: dict[str, Any], t_submit: float, userid: Optional[int]
    ) -> None:
        """A job asks for resources."""
        jobid = id
        self._asked += 1
        old = self.jobs.get(jobid)
        if old is not None:
            # One request a job is in flight; the later one is the one to answer.
            self.host.log(LOG_WARNING, f"job {self.host.job_name(jobid)}: allocation asked for again")
            old.message = message
            return
        job = Job(jobid, priority, t_submit, message, userid)
        self.record.seen(jobid, t_submit)
        self.recorder.later()
        try:
            spec = self._specs.read(jobspec)
            job.request = spec.request
            self.record.describe(jobid, jobspec, spec.request, spec.task_count)
            self.engine.add(jobid, self.resources.placed(job.request), priority, t_submit, userid, sequence=jobid)
        except (_jobspec.JobspecError, ConstraintError) as error:
            self.answers.deny(job, str(error))
            return
        except Infeasible as error:
            self.answers.deny(job, unsatisfiable(error))
            return
        except Exception as error:
            self.guard.report(f"job {self.host.job_name(jobid)}", error)
            self.answers.deny(job, f"the scheduler cannot handle this request: {type(error).__name__}: {error}")
            return
        if self.record.knows(jobid):
            job.jobspec = spec.text
        job.name = _jobspec.name(jobspec)
        self.jobs.add(job)
        self.annotator.added(jobid)
        if self.settings.verbosity > 1:
            self.host.log(LOG_DEBUG, f"job {self.host.job_name(jobid)}: waits, priority {priority}")
        self.passes.ask()

    @rpc("sched.cancel", sender=JOB_MANAGER, answered=False, id=JOBID)
    def _cancel(self, message: Any, id: int) -> None:
        """A job's request is taken back; a job that waits no longer is not known here."""
        job = self.jobs.get(id)
        if job is None or job.stage > STARTED:
            return
        if job.stage == PENDING:
            self.engine.cancel(job.id)
        else:
            self.committer.take_back(job)
        self.jobs.remove(job)
        self.answers.cancel(job)
        # The journal may have told of its end before we knew of the job.
        self.recorder.released(job.id)
        self.passes.ask()

    # -- what a pass decided --------------------------------------------------

    def _denied(self, jobid: int, reason: str) -> None:
        job = self.jobs[jobid]
        self.jobs.remove(job)
        self.answers.deny(job, reason)

    def _started(self, jobids: Iterable[int], now: float) -> None:
        self.forecast.started(jobids, now)
        self.committer.start([self.jobs[jobid] for jobid in jobids], now)

    def _pass_over(self) -> None:
        # What is foretold of new jobs is told with the first reason, if it is known at once.
        if not self.forecast.changed():
            self.annotator.changed()
        self._check_quiescent()

    def _foretold(self) -> None:
        self.annotator.changed()

    def _pass_failed(self, error: BaseException, now: float) -> None:
        """After a pass that failed half way: what it had started is started."""
        self.guard.report("scheduling pass", error)
        held = [self.jobs[jobid] for jobid in sorted(self.engine.running_jobs())]
        self.committer.start([job for job in held if job.stage == PENDING], now)
        self._check_quiescent()

    @rpc("sched.prioritize", sender=JOB_MANAGER, answered=False, jobs=ListOf(Tuple(JOBID, PRIORITY), JOBS_MAX))
    def _prioritize(self, message: Any, jobs: list[list[int]]) -> None:
        """Jobs have new priorities; those that are not known here are passed over."""
        for jobid, priority in jobs:
            job = self.jobs.get(jobid)
            if job is None:
                continue
            job.priority = priority
            if job.stage == PENDING:
                self.engine.reprioritize(jobid, priority)
        self.passes.ask()

    @rpc("sched.free", sender=JOB_MANAGER, answered=False, id=JOBID, R=Object(), final=Bool(False))
    def _free(self, message: Any, id: int, R: dict[str, Any], final: bool) -> None:
        """A job gives back the ranks of R, and with `final` all that it still holds."""
        jobid = id
        # The last one gives back all that is left, whatever it names.
        ranks = None if final else _r.ranks_of(R)
        job = self.jobs.get(jobid)
        name = self.host.job_name(jobid)
        if job is None or job.stage == PENDING:
            self.host.log(LOG_ERR, f"free: job {name} holds no resources")
            return
        if final and job.stage == RUNNING:
            self.run_times.ended(job, self.host.now())
        self.committer.free(job, ranks, final)
        self.host.log(LOG_DEBUG, f"free: job {name}: {_r.summary(R)}{' (final)' if final else ''}")

    @rpc("sched.expiration", sender=JOB_MANAGER, id=JOBID,
         expiration=Number(0, TIME_MAX, refusal="expiration: expected a time, 0 or more"))
    def _update_expiration(self, message: Any, id: int, expiration: float) -> None:
        """A running job ends at another time; 0: it has no end."""
        job = self.jobs.get(id)
        if job is None or job.stage == PENDING or not self.ends.changes(self.engine, job, float(expiration)):
            text = f"job {self.host.job_name(id)} holds no resources of this scheduler"
            self.host.respond_error(message, errno.ENOENT, text)
            return
        self.host.respond(message, None)
        self.passes.ask()

    @rpc("sched.resource-status")
    def _resource_status(self, message: Any) -> None:
        """What there is, what is allocated and what is down."""
        self.host.respond(message, self.engine.resource_status())

    @rpc("sched.quiescent", after=True)
    def _quiescent(self, message: Any) -> None:
        """Asked by emulators, which let time go on when all that was asked has been decided."""
        self._quiescent_asked.append(message)
        self._check_quiescent()

    def _check_quiescent(self) -> None:
        if self._quiescent_asked and self.passes.idle and self.committer.idle:
            asked, self._quiescent_asked = self._quiescent_asked, []
            for message in asked:
                self.host.respond(message, {"status": 0, "alloc_current": self.jobs.held})

    @rpc("feasibility.check", sender=GUEST, jobspec=Object())
    def _feasibility(self, message: Any, jobspec: dict[str, Any]) -> None:
        """Whether a job could ever run."""
        try:
            self.engine.feasible(_jobspec.parse(jobspec))
        except Infeasible as error:
            self.host.respond_error(message, errno.EOVERFLOW, unsatisfiable(error))
        except (_jobspec.JobspecError, ConstraintError) as error:
            self.host.respond_error(message, errno.EINVAL, str(error))
        else:
            self.host.respond(message, None)

    @rpc("sched.stats-clear", early=True)
    def _stats_clear(self, message: Any) -> None:
        """Count from 0 again."""
        self._asked = self.guard.errors = self.recorder.commits = 0
        self.answers.clear()
        self.passes.clear()
        self.committer.clear()
        self.slices.clear()
        self.forecast.clear()
        self._cpu_begin = time.thread_time()
        self.host.respond(message, None)

    @rpc("sched.stats-get", early=True)
    def _stats_get(self, message: Any) -> None:
        """Counters, and what there is now."""
        self.host.respond(message, self.statistics())

    def statistics(self) -> dict[str, Any]:
        """Counters since the load, or since they were cleared, and what there is now."""
        passes = self.passes.count
        stats = {
            "plugin": self.settings.plugin,
            "ready": self.ready,
            "jobs": {
                "pending": self.jobs.count(PENDING),
                "committing": self.jobs.count(STARTED, COMMITTING),
                "running": self.jobs.count(RUNNING),
            },
            "counts": {
                "alloc": self._asked,
                **self.answers.counts,
                "free": self.committer.freed,
                "errors": self.guard.errors,
                "commits": self.committer.commits + self.recorder.commits,
                "passes": passes,
            },
            "pass": {
                "count": passes,
                "seconds": self.passes.seconds,
                "mean": self.passes.seconds / passes if passes else 0.0,
                "max": self.passes.longest,
                "slices": self.passes.slices,
                "longest_slice": self.passes.longest_slice,
            },
            "when": {"count": self.slices.count, "seconds": self.slices.seconds, "longest": self.slices.longest},
            "forecast": self.forecast.statistics,
            # processor time of this thread, all of it the scheduler's in a real broker
            "cpu": time.thread_time() - self._cpu_begin,
            "lwj": {"first": self.record.first, "next": self.record.next},
        }
        if self.engine is not None:
            stats["engine"] = self.engine.stats()
        return stats


#: The requests of the service by topic.
RPCS = {
    topic: declaration
    for owner in (Service, Forecast, Questions, Whens, Plans, WhatIfs, Shadows)
    for topic, declaration in declarations(owner).items()
}
