# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Runs jobs: gives each to a worker, follows it, and finds it again after a restart.

A launch is committed to the store before it is made, and claimed by the
supervisor, which a worker has for each job, with a file that can be made only once.  So what a restart finds is one
of: no claim (nobody started the job: start it), a claim whose lock is held (the
job runs: follow it), a claim without its lock (the supervisor is gone: its record
says how the job ended, or else the job is lost).

The claims are in a folder that each broker gives a new name as it begins.  A
launch names the folder, so what an earlier broker has asked for and a stopped
launcher does later finds no folder, and is not done.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import socket
import subprocess
import sys
import time
from collections import deque
from functools import partial
from pathlib import Path
from syslog import LOG_ERR, LOG_INFO, LOG_WARNING
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional

from fluxsched.formats import jobspec as jobspecs
from fluxsched.formats.fastjson import dumps
from fluxsched.session import jobid as ids
from fluxsched.session import shelloptions
from fluxsched.session.broker import claims, layout, memory, mpi
from fluxsched.session.broker.background import Background
from fluxsched.session.broker.job import RUN, Job, is_session, warning
from fluxsched.session.broker.jobfolder import tidy
from fluxsched.session.broker.log import Log
from fluxsched.session.broker.loop import Loop, Timer
from fluxsched.session.broker.running import Link, Running
from fluxsched.session.memo import Memo
from fluxsched.session.pythonpath import pythonpath
from fluxsched.session.runner import cgroups, processes
from fluxsched.session.wire import encode

if TYPE_CHECKING:
    from fluxsched.session.broker.job_manager import Manager

LIBRARY = str(Path(__file__).absolute().parents[3])
RUNNER = (
    f"import sys; sys.path.insert(0, {LIBRARY!r}); "
    "from fluxsched.session.runner.launcher import main; main(int(sys.argv[1]))"
)
HELD_BACK = 0.5  # seconds until a launch that found no descriptor is tried again
CLOSE_WAIT = 2.0  # seconds that the end of a session waits for its launcher
CONNECT_TRIES = 50
CONNECT_PAUSE = 0.1
IDLE = 10.0  # seconds after which a worker without a job is let go, but for one, which is ready for the next job
TIDY_PAUSE = 0.05  # seconds that what is left of a job waits for that of others
LEFTOVER_PAUSE = 0.02  # seconds between two looks at what a dead supervisor has left


def raise_limit() -> tuple[int, int]:
    """Raise the limit of open files as far as it goes; returns (soft, hard) as they were, which jobs and the
    session's command get."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    return limits


class Executor:
    """Launches jobs, follows those that run, and pretends to run those that ask for that."""

    def __init__(
        self,
        loop: Loop,
        log: Log,
        jobs: Manager,
        directory: str,
        uri_of: Callable[[int], str],
        cpus: list[int],
        grace: float,
        outer: str = "",
        near: Mapping[int, frozenset[int]] = layout.NOTHING,
        bindir: Optional[str] = None,
    ) -> None:
        """`uri_of(rank)` is the FLUX_URI of a rank; `cpus` stand for cores 0, 1, ...; `grace` seconds from SIGTERM to
        SIGKILL; `outer` is the path (FLUX_JOB_ID_PATH) of the job that the session is in, if it is; `near` are the
        cpus near gpus; `bindir` is the folder of the session's `flux`."""
        self.loop = loop
        self.log = log
        self.jobs = jobs
        self.base = os.path.join(directory, "jobs")
        self.uri_of = uri_of
        self.cpus = cpus
        self.near = near
        self.bindir = bindir
        self.grace = grace
        self.outer = outer
        self.boot = processes.boot_id()
        self.nofile = raise_limit()
        free = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - len(os.listdir("/proc/self/fd"))
        self.most = max(1, free * 3 // 4 - 4)  # jobs that run at a time; the rest is for commands and files
        self.held_back: deque[Job] = deque()  # jobs that wait for a descriptor
        self.running: dict[int, Running] = {}
        self.links: set[Link] = set()  # to the workers of this session
        self._idle: list[Link] = []  # those without a job, the one that was used last at the end
        self._letting_go = False  # the idle ones are to be looked at
        self.pretended: dict[int, tuple[Timer, Callable[[int], None]]] = {}  # with what ends the run, by job id
        self.cgroup = cgroups.base()  # of the jobs of this session
        os.makedirs(self.base, mode=0o700, exist_ok=True)
        self.claims = claims.make(directory)
        self.workers = os.path.join(directory, "workers")
        claims.tidy_workers(self.workers)
        self._launcher, self._control = self._start_launcher()
        self._background = Background(loop)
        self._layouts = Memo()
        self._over: list[tuple[str, str]] = []  # folders and claims of jobs whose end is durable

    def _claim_path(self, job: Job) -> str:
        return os.path.join(self.claims, str(claims.name(job)))

    def directory(self, jobid: int) -> str:
        """The folder of a job: its output, and what its supervisor keeps."""
        return os.path.join(self.base, str(jobid))

    def output(self, jobid: int) -> str:
        """The file with a job's output, which need not be there."""
        return os.path.join(self.directory(jobid), "output")

    # launching

    def _start_launcher(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """The launcher, and our end of the socket that launches go through."""
        control, theirs = socket.socketpair()
        control.settimeout(CLOSE_WAIT)  # a launcher that is stopped does not stop us
        number = fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)  # the standard streams may be closed
        theirs.close()
        theirs = socket.socket(fileno=number)
        launcher = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", RUNNER, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            # Else it would hold the output of the job open that a nested session is in.
            stdout=subprocess.DEVNULL if self.outer else None,
            stderr=subprocess.DEVNULL if self.outer else None,
            cwd="/",
            start_new_session=True,
        )
        theirs.close()
        return launcher, control

    def _restart_launcher(self) -> None:
        self._control.close()
        self._launcher.kill()  # it does not take launches: what it has not claimed, the next one gets
        self._launcher.wait()
        self._launcher, self._control = self._start_launcher()

    def launch(self, job: Job) -> None:
        """Start a job whose launch is committed, as soon as there are descriptors for it."""
        if len(self.running) >= self.most or self.held_back:
            self.held_back.append(job)
            return
        self._launch(job)

    def _launch(self, job: Job) -> None:
        job.info["exec_seen"] = 0
        running = self.running[job.id] = Running(self, job)
        try:
            spec = self._spec(job)
            link = self._worker()
        except OSError as error:
            del self.running[job.id]
            if error.errno in (errno.EMFILE, errno.ENFILE) and self.running:
                self.held_back.appendleft(job)
                self.loop.call_later(HELD_BACK, self._next)
            else:
                self._not_started(job, error.strerror)
            return
        except Exception as error:
            del self.running[job.id]
            self._not_started(job, error)
            return
        link.run(running, spec)

    def _worker(self) -> Link:
        """The connection to a worker without a job.  Raises OSError."""
        if self._idle and self._launcher.poll() is None:
            return self._idle.pop()
        for link in list(self._idle):  # without a launcher nobody would end what is left of a job of theirs
            link.close()
        return self._new_worker()

    def _new_worker(self) -> Link:
        """The connection to a worker that is about to be started.  Raises OSError."""
        ours, theirs = socket.socketpair()
        data = encode({"claims": self.claims, "workers": self.workers, "boot": self.boot, "cgroup": self.cgroup})
        for attempt in (1, 2):
            try:
                sent = socket.send_fds(self._control, [data], [theirs.fileno()])
                self._control.sendall(data[sent:])
                break
            except OSError as error:
                if attempt == 2:
                    ours.close()
                    theirs.close()
                    raise
                self.log("job-exec", LOG_WARNING, f"the launcher of jobs ended or is stuck ({error}); started again")
                self._restart_launcher()
        theirs.close()
        link = Link(self, ours)
        self.links.add(link)
        return link

    def idle(self, link: Link) -> None:
        """A worker has done its job, and can have another one."""
        self._idle.append(link)
        if not self._letting_go:
            self._letting_go = True
            self.loop.call_later(IDLE, self._let_go)

    def _let_go(self) -> None:
        """Let workers go that have had no job for some time."""
        now = time.monotonic()
        while len(self._idle) > 1 and now - self._idle[0].since >= IDLE:
            self._idle[0].close()
        self._letting_go = len(self._idle) > 1
        if self._letting_go:
            self.loop.call_later(self._idle[0].since + IDLE - now, self._let_go)

    def unlink(self, link: Link) -> None:
        """A worker has ended."""
        self.links.discard(link)
        if link in self._idle:
            self._idle.remove(link)

    def _next(self) -> None:
        """Launch what was held back, as far as there is room."""
        while self.held_back and len(self.running) < self.most:
            job = self.held_back.popleft()
            before = len(self.held_back)
            self._launch(job)
            if len(self.held_back) > before:
                return

    def _not_started(self, job: Job, why: object) -> None:
        self.jobs.on_exec_exception(job, f"cannot start: {why}")
        self.jobs.on_finish(job, 1 << 8)

    def _end_held_back(self, job: Job, status: int) -> bool:
        """End a job that was held back; False if it was not."""
        if job not in self.held_back:
            return False
        self.held_back.remove(job)
        self.loop.call_soon(lambda: self.jobs.on_finish(job, status))
        return True

    def _spec(self, job: Job) -> dict[str, Any]:
        """What the job's supervisor is to do."""
        full = self.jobs.full_jobspec(job)
        system = full["attributes"]["system"]
        options = system.get("shell", {}).get("options", {})
        output = options.get("output", {})
        rows = layout.held(job.R)
        tasks = self._tasks(full, job.R)
        name = job.name
        tmpdir = os.path.join(self.directory(job.id), "tmp")
        env = dict(system.get("environment", {}))
        mpi.set_environment(env, options)
        env.update(
            FLUX_JOB_ID=name,
            FLUX_JOB_ID_PATH=f"{self.outer}/{name}",
            FLUX_JOB_SIZE=str(len(tasks)),
            FLUX_JOB_NNODES=str(len(rows)),
            FLUX_JOB_ATTEMPT=str(job.info.get("attempts", 0) + 1),
            FLUX_JOB_TMPDIR=tmpdir,
            PYTHONPATH=pythonpath(env.get("PYTHONPATH")),
        )
        stdin = options.get("input", {}).get("stdin", {})
        argv = full["tasks"][0]["command"]
        if is_session(argv) and self.bindir is not None:  # that of the submission may have been another session's
            env["PATH"] = self.bindir + os.pathsep + env.get("PATH", os.defpath)
        return {
            "job": claims.name(job),
            "dir": self.directory(job.id),
            "claim": self._claim_path(job),
            "nofile": self.nofile,
            "argv": argv,
            "is_session": is_session(argv),
            "warning": warning(options),
            "cwd": system.get("cwd", "/"),
            "env": env,
            "env_templates": options.get("env-expand", {}),
            "tasks": tasks,
            "nodes": layout.node_values(rows),
            "stdin": [stdin.get("type", "none"), stdin.get("path", "")],
            "stdout": output.get("stdout", {}).get("path"),
            "stderr": output.get("stderr", {}).get("path"),
            "label": bool(output.get("stdout", {}).get("label")),
            "unbuffered": output.get("stdout", {}).get("buffer", {}).get("type") == "none",
            "values": layout.values(job.id, job.info["name"], len(tasks), len(rows), tmpdir),
            "tmpdir": tmpdir,
            "memory": memory.total(jobspecs.parse(full), job.R) if "memory" in job.info else 0,
            # Of a nested session the first task is all, and the others leave at once.
            "exits": shelloptions.exits(options, -1.0 if is_session(argv) else shelloptions.EXIT_TIMEOUT),
            "notes": layout.notes(full, job.R, self.cpus, self.near),
            **mpi.parts(job.id, env, options, tmpdir, [self.uri_of(row[0]) for row in rows], tasks),
            "expiration": job.R["execution"].get("expiration", 0.0),
            "grace": self.grace,
        }

    def _tasks(self, spec: dict[str, Any], R: dict[str, Any]) -> list[list[Any]]:
        """The job's tasks, as layout.tasks has them."""
        execution = R["execution"]
        held = {name: execution.get(name) for name in ("R_lite", "nodelist", "nslots")}
        task = {name: value for name, value in spec["tasks"][0].items() if name != "command"}
        shell = spec["attributes"]["system"].get("shell")
        text = dumps([spec["resources"], task, shell, held])
        return self._layouts.get(text, lambda: layout.tasks(spec, R, self.cpus, self.near))

    # pretended runs

    def pretend(self, job: Job, left: float, timeout: bool) -> None:
        """End the job in `left` seconds, by its time limit if `timeout`. Replaces what was set before."""
        earlier = self.pretended.pop(job.id, None)
        if earlier is not None:
            earlier[0].cancel()

        def finish(status: int = 0) -> None:
            timer.cancel()
            self.pretended.pop(job.id, None)
            if status == 0 and timeout:
                self.jobs.on_timeout(job)
                status = 142 << 8
            self.jobs.on_finish(job, status)

        timer = self.loop.call_later(left, finish)
        self.pretended[job.id] = (timer, finish)

    def _end_pretended(self, job: Job, status: int) -> None:
        if job.id in self.pretended:
            self.pretended[job.id][1](status)

    # finding jobs again

    def recover(self, job: Job, launch: dict[str, Any]) -> None:
        """Take up a job that an earlier broker was to launch; `launch` is what it committed then."""
        running = self.running[job.id] = Running(self, job)
        if not self.claimed(job):
            del self.running[job.id]
            if launch.get("boot") == self.boot:
                self.log("job-exec", LOG_INFO, f"{ids.f58(job.id)}: had not been started; starting it")
                self.launch(job)
            else:
                self._lost(running, "the machine was restarted while the job was about to start", reboot=True)
            return
        self.log("job-exec", LOG_INFO, f"{ids.f58(job.id)}: found again")
        self._follow(running)

    def claimed(self, job: Job) -> bool:
        """Whether the job was ever started.  Raises OSError."""
        try:
            os.stat(self._claim_path(job))
        except FileNotFoundError:
            return False
        return True

    def _alive(self, running: Running) -> bool:
        """Whether the job's supervisor, or what it has left, still holds the lock of the claim."""
        try:
            fd = os.open(self._claim_path(running.job), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def _follow(self, running: Running) -> None:
        """Connect to the supervisor if it lives, else read what it has left."""
        if running.finished or self.running.get(running.job.id) is not running:
            return
        try:
            # A worker may outlive the end of its job.
            alive = self._alive(running)
            claim, events = claims.read(self._claim_path(running.job), claims.name(running.job))
        except OSError as error:
            self._later(running, f"{error.filename}: {error.strerror}", self._follow)
            return
        if not alive or any(entry["event"] == "finish" for entry in events):
            self._collect(running, claim, events)
            return
        try:
            running.connected(Link(self, claims.dial(self.workers, claim), running))
        except OSError as error:
            # alive and not answering: its cores are in use, so do not give them away
            self._later(running, f"its supervisor does not answer: {error}", self._follow, CONNECT_TRIES)

    def disconnected(self, running: Running) -> None:
        """The connection was lost before the end of the job was known."""
        try:
            claimed = self.claimed(running.job)
        except OSError as error:
            self._later(running, f"{error.filename}: {error.strerror}", self.disconnected)
            return
        if running.failed is not None or not claimed:
            del self.running[running.job.id]
            if running.reused and running.failed is None and running.job.state == RUN:
                self._launch(running.job)  # its worker ended while it waited
                return
            why = running.failed or "the process that was to run it ended at once"
            self._not_started(running.job, why)
            self._next()
            return
        self._follow(running)

    def _later(self, running: Running, why: str, again: Callable[[Running], None], quiet: int = 0) -> None:
        """Something cannot be done now, as its supervisor is busy or there are no descriptors: try again. Why is told
        after so many tries."""
        running.tries += 1
        if running.tries == quiet + 1:
            self.log("job-exec", LOG_ERR, f"{ids.f58(running.job.id)}: {why}")
        self.loop.call_later(CONNECT_PAUSE, lambda: again(running))

    def _collect(self, running: Running, claim: dict[str, Any], events: list[dict[str, Any]]) -> None:
        """The supervisor is gone: take from its events what happened since."""
        for entry in events:
            running.event(entry)
        if not running.finished:
            started = [entry for entry in events if entry["event"] == "start"]
            if claim.get("boot") == self.boot:
                self._end_leftover(running, started[0]["group"] if started else 0, claim)
            else:
                self._lost(running, "the machine was restarted", reboot=True)

    def _end_leftover(self, running: Running, group: int, claim: dict[str, Any]) -> None:
        """Kill what is left of a job until nothing is found; then the job is over.

        A killed process takes a moment to die, and may have forked before."""
        if self.running.get(running.job.id) is not running:
            return
        cgroup = claim.get("cgroup")
        if self._kill_leftover(running.job, group, claim.get("pid", 0), cgroup):
            self.loop.call_later(LEFTOVER_PAUSE, lambda: self._end_leftover(running, group, claim))
            return
        if cgroup:
            cgroups.remove(cgroup)
        self._lost(running, "its supervisor process was killed")

    def _kill_leftover(self, job: Job, group: int, session: int, cgroup: Optional[str]) -> int:
        """Kill what a dead supervisor and a dead launcher have left: who has the job's environment, in whatever group;
        who is in its group and session, with whatever environment; and who is in its control group, if it has one.
        How many there were.  (A launcher that lives has done it by now.)"""
        directory = self.directory(job.id)  # that of a job in a session in this one is below it
        left = processes.marked(b"FLUX_JOB_TMPDIR=" + os.fsencode(directory) + b"/", group, session)
        processes.kill(left)
        return len(left) + (cgroups.kill(cgroup) if cgroup else 0)

    def fence(self, job: Job) -> None:
        """The attempt to run a job is over; if it was never begun, it never is from now on.  Raises OSError."""
        claims.fence(self._claim_path(job), claims.name(job), self.boot)

    def _lost(self, running: Running, why: str, reboot: bool = False) -> None:
        running.finished = True
        if reboot:
            running.job.info["rebooted"] = True
        self.forget(running)
        self.log("job-exec", LOG_ERR, f"{ids.f58(running.job.id)}: lost: {why}")
        self.jobs.on_exec_exception(running.job, f"job lost: {why}")
        self.jobs.on_finish(running.job, 1 << 8)

    # commanding

    def terminate(self, job: Job) -> bool:
        """SIGTERM, and after the grace SIGKILL.  False if this executor does not run the job."""
        if job.id in self.pretended:
            self.loop.call_soon(lambda: self._end_pretended(job, 143 << 8))
            return True
        running = self.running.get(job.id)
        if running is None:
            return self._end_held_back(job, 143 << 8)
        running.command({"op": "terminate"})
        return True

    def signal(self, job: Job, number: int) -> bool:
        """Signal the job's processes.  False if this executor does not run the job."""
        if job.id in self.pretended:
            self.loop.call_soon(lambda: self._end_pretended(job, (128 + number) << 8))
            return True
        running = self.running.get(job.id)
        if running is None:
            return job in self.held_back
        running.command({"op": "signal", "signal": number})
        return True

    def expire(self, job: Job, t: float) -> None:
        """Set the time limit of a job that runs: seconds since the epoch, 0 for none."""
        running = self.running.get(job.id)
        if running is not None:
            running.command({"op": "expire", "t": t})

    def forget(self, running: Running) -> None:
        """The job is over."""
        running.disconnect()
        self.running.pop(running.job.id, None)
        self._next()

    def tidy(self, job: Job) -> None:
        """The end of a job is durable: keep its output, drop the rest, in a thread and with that of other jobs."""
        if not self._over:
            self.loop.call_later(TIDY_PAUSE, self._tidy)
        self._over += [(self.directory(job.id), path) for path in claims.all_of(self.claims, job)]

    def _tidy(self) -> None:
        over, self._over = self._over, []
        self._background.do(partial(tidy, over), self._tidied)

    def sweep(self) -> None:
        """Drop the claims of jobs that are over, which a broker that was killed has left."""
        left = claims.left(self.claims, self.jobs.active)
        over = [(self.directory(jobid), path) for jobid, path in left]
        if over:
            self._background.do(partial(tidy, over), self._tidied)

    def _tidied(self, error: Optional[OSError]) -> None:
        if error is not None:
            self.log("job-exec", LOG_WARNING, f"{error.filename}: {error.strerror}")

    def close(self) -> None:
        """Disconnect from the jobs, which keep running."""
        for running in list(self.running.values()):
            running.disconnect()
        for link in list(self.links):
            link.close()
        self._tidy()
        self._background.close()
        try:
            self.claims = claims.make(os.path.dirname(self.claims))  # nothing is launched from here on
        except OSError:
            pass  # the folder is gone, and with it the claims
        self._control.close()
        try:
            self._launcher.wait(CLOSE_WAIT)
        except subprocess.TimeoutExpired:
            return  # it is stopped, or has jobs that do not end
        if self.cgroup:
            cgroups.leave(self.cgroup)
