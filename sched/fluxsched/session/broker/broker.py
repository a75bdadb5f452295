# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The broker process of a session: puts the parts together, runs the command, and ends with it."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from syslog import LOG_CRIT, LOG_ERR, LOG_WARNING
from typing import Any, Optional

from fluxsched.formats import hostlist
from fluxsched.program import explain, tell
from fluxsched.service.settings import RECORD_VARIABLE
from fluxsched.session import jobid as ids
from fluxsched.session import starting, wellknown
from fluxsched.session.attributes import DUMP
from fluxsched.session.broker import machine, ranks
from fluxsched.session.broker.bulk import Bulk
from fluxsched.session.broker.executor import Executor
from fluxsched.session.broker.job import HELD
from fluxsched.session.broker.job_info import JobInfo
from fluxsched.session.broker.job_manager import Manager
from fluxsched.session.broker.kvs import KVS
from fluxsched.session.broker.log import Log
from fluxsched.session.broker.loop import Loop
from fluxsched.session.broker.modules import Modules
from fluxsched.session.broker.nested import Nests, Parent, move_end, state_folder
from fluxsched.session.broker.notices import Notices
from fluxsched.session.broker.overview import Overview
from fluxsched.session.broker.rpc import Router
from fluxsched.session.broker.sched_module import Scheduler
from fluxsched.session.broker.server import Server
from fluxsched.session.broker.statedir import (
    SOCKET,
    Leftover,
    StateDir,
    leftovers,
    open_rundir,
    remove_rundir,
    write_launcher,
)
from fluxsched.session.broker.store import Store
from fluxsched.session.broker.terminal import Terminal
from fluxsched.session.broker.update import Updates
from fluxsched.session.errors import RequestError, SessionError
from fluxsched.session.opening import ENDING, Options
from fluxsched.session.pythonpath import pythonpath
from fluxsched.session.signals import SignalPipe
from fluxsched.session.wire import READY

PR_SET_PDEATHSIG = 1
SWITCH = 1e-3  # seconds that a thread, which has waited for the disk, waits for the loop
DEFAULT_ARGUMENTS = ["plugin=backfill.plugin1"]
FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
# What is sent to a job is for the command, but for SIGTERM, which all processes get: there is no terminal to do it.
FORWARDED_IN_JOB = (*FORWARDED, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
TASK_VARIABLES = (
    "FLUX_JOB_ID", "FLUX_JOB_ID_PATH", "FLUX_JOB_SIZE", "FLUX_JOB_NNODES", "FLUX_TASK_RANK", "FLUX_TASK_LOCAL_ID",
)  # fmt: skip


class Broker:
    """The session's broker: `code` is the exit code of the session's command."""

    def __init__(self, options: Options) -> None:
        """Create the parts of the session.  Raises SessionError."""
        self.uid = os.getuid()
        self.log = Log()
        if options.verbose:
            self.log.mirror = sys.stderr
        self.command: Optional[subprocess.Popen[bytes]] = None
        self.code = 0
        self._left = False  # jobs go on without this session
        self._ending = 0.0  # when the session stops waiting for its jobs to end (time.monotonic())
        self._options = options
        self._nest = options.nest
        self._parent: Optional[Parent] = None
        self._terminal: Optional[Terminal] = None
        self._leftovers = leftovers()
        if options.statedir is not None:
            self._state = StateDir.open(options.statedir)
        elif options.nest is not None:
            self._state = StateDir.open(state_folder(options.nest), temporary=True)
        else:
            self._state = StateDir.make()
        self.statedir = self._state.path
        self.rundir: str | None = None
        try:
            self._assemble(options)
        except OSError as error:
            self._remove_directories()
            raise SessionError(f"cannot start a session: {error}") from None
        except BaseException:
            self._remove_directories()
            raise

    def _assemble(self, options: Options) -> None:
        self.loop = Loop(self._failed)
        self.store = Store(self.statedir, self.loop, self.log, self._state.commits, self._state.committed)
        self.rundir = open_rundir(self._state)
        self.bindir = self._launcher()
        self.config = options.config
        self._near: dict[int, frozenset[int]] = {}  # cpus near gpus, where that is known
        self.resources = ranks.Resources(self._resources(options), self.store, self.log, self._given)
        self.manager = Manager(
            self.loop,
            self.store,
            self.log,
            self.config,
            lambda manager: Scheduler(self.loop, self.store, self.log, manager, self.resources),
            lambda manager: Executor(
                self.loop,
                self.log,
                manager,
                self.statedir,
                self.uri,
                sorted(os.sched_getaffinity(0)) if self._nest is None else self._nest.cpus,
                options.grace,
                "" if self._nest is None else self._nest.path or "/",
                self._near,
                self.bindir,
            ),
        )
        self.scheduler = self.manager.scheduler
        self.executor = self.manager.executor
        self.notices = Notices(self.manager, self.config.get("notify", {}))
        self.manager.recover()
        self.attributes = self._attributes()
        router = Router(
            self.manager,
            Bulk(self.manager),
            self.manager.queues,
            JobInfo(self.manager),
            Updates(self.manager),
            Overview(self.manager, self.resources),
            self.scheduler,
            self.resources,
            KVS(self.store),
            Modules(self),
            Nests(self.manager, self.attributes["instance-level"], self.shut_down, self._resize),
        )
        router.others = self.scheduler.pass_on
        self.server = Server(self.loop, self.log, os.path.join(self.rundir, SOCKET), router, self.store.when_durable)
        self.loop.turn_end.append(self._end_turn)

    def _end_turn(self) -> None:
        """What commands are told is written before."""
        self.store.end_turn(urgent=bool(self.server.unsent))
        self.server.flush()

    def _launcher(self) -> str | None:
        """The folder of the session's own `flux`, or None if there is no room for it."""
        try:
            return write_launcher(str(self.rundir), self.statedir)
        except OSError as error:
            self.log("broker", LOG_ERR, f"cannot write a flux command for PATH: {error.strerror}")
            return None

    def _resources(self, options: Options) -> dict:
        if options.nest is not None:
            self._near = options.nest.near
            return options.nest.R
        if options.emulate:
            return ranks.emulated(options.emulate)
        R = ranks.configured(self.config.get("resource", {}))
        if R is not None:
            return R
        gpus = machine.gpus(lambda text: self.log("resource", LOG_WARNING, text))
        self._near = gpus.near
        return ranks.machine(options.size, gpus.ids, machine.memory())

    def uri(self, rank: int) -> str:
        """FLUX_URI of a rank."""
        return f"local://{self.rundir}/local-{rank}"

    def _attributes(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "size": self.resources.size,
            "hostname": socket.gethostname(),
            "hostlist": hostlist.encode([row[1] for row in self.resources.rows]),
            "local-uri": self.uri(0),
            "rundir": self.rundir,
            "statedir": self.statedir,
            "broker.pid": os.getpid(),
            "broker.starttime": f"{time.time():.2f}",
            "instance-level": 0,
            "security.owner": self.uid,
            "version": "embedded",
        }
        if self._nest is not None:
            jobid = ids.f58(self._nest.jobid)
            found.update({"instance-level": self._nest.level, "parent-uri": self._nest.uri, "jobid": jobid})
        if self._options.dump is not None:
            found[DUMP] = self._options.dump
        return found

    def _given(self) -> list[dict[str, Any]]:
        """What each job holds."""
        return [job.R for job in self.manager.active.others() if job.alloc == HELD]

    def _failed(self, error: BaseException) -> None:
        """Log an exception that a handler did not catch. It is a bug of ours; the session goes on."""
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(where.filename)}:{where.lineno}"
        self.log("broker", LOG_ERR, f"{type(error).__name__}: {error} ({place})")

    # running

    def run(self, words: list[str], early: SignalPipe) -> int:
        """Run the command in the session; the exit code.  `early` holds the signals that have come since the start."""
        self.loop.on_signal(signal.SIGCHLD, self._child)
        self.loop.on_signal(signal.SIGINT, lambda: None)  # the terminal sends it to the command as well
        for number in FORWARDED if self._nest is None else FORWARDED_IN_JOB:
            self.loop.on_signal(number, partial(self._forward, number))
        came = early.take()
        if came:
            self.code = 128 + min(came)
            return self.code
        sys.setswitchinterval(SWITCH)
        self.manager.resume()
        self._tidy(self._leftovers)
        if any("memory" in job.info for job in self.manager.active.values()):
            self.resources.count_memory()
        if not self._options.no_sched:
            try:
                own = "plugin" in self.config.get("sched", {})
                self.scheduler.load([] if own else DEFAULT_ARGUMENTS, automatic=True)
            except (RequestError, ImportError) as error:
                self.log("broker", LOG_CRIT, f"no scheduler is loaded: {error}")
                tell(f"flux-start: no scheduler is loaded: {error}")
        self._follow_parent()
        if self._options.service:
            self._stay()
        elif words or not self._options.stay:
            self._spawn(words)
        if self._nest is not None:
            Path(self._nest.folder, READY).touch(mode=0o600)
        self.loop.run()
        return self.code

    def _stay(self) -> None:
        """Be found by all shells of the owner, until a signal or a request ends the session."""
        for number in ENDING:
            self.loop.on_signal(number, self.leave)
        try:
            wellknown.announce(str(self.rundir))
        except OSError as error:
            self.log("broker", LOG_ERR, f"{error.filename}: {error.strerror}: other shells do not find this session")
            tell(f"flux-start: {error.filename}: {error.strerror}: other shells do not find this session")

    @property
    def stays(self) -> bool:
        """Whether the session stays open by itself, without a command."""
        return self._options.service

    def leave(self) -> None:
        """End a session that stays open. Its jobs go on, and the next session on its state directory finds them."""
        self.manager.accepting = False
        if self.scheduler.service is not None:
            self.scheduler.unload()
        self._left = True
        wellknown.withdraw(str(self.rundir))
        self.loop.call_soon(self.loop.stop)

    def _follow_parent(self) -> None:
        """In a job: end with the session that runs it, and move the end with the job's."""
        if self._nest is None:
            return
        try:
            self._parent = Parent(self.loop, self._nest, self.uri(0), self._moved, self._orphaned)
        except OSError:
            self.loop.call_soon(self._orphaned)

    def _moved(self, t: float) -> None:
        self.resources.moves(t)
        move_end(self.manager, t)

    def _orphaned(self) -> None:
        """The session that runs our job has gone, or the job is over."""
        if not self._ending:
            tell("flux-start: the session around this one has gone, so it ends, with its jobs")
            self.shut_down()
            self.code = self.code or 1

    def shut_down(self) -> None:
        """End the session, and its command with SIGHUP, after the grace with SIGKILL."""
        if self._ending:
            return
        if self.stays:
            self.leave()
            return
        if self.command is not None:
            self._forward(signal.SIGHUP)
            self.loop.call_later(self._options.grace, lambda: self._forward(signal.SIGKILL))
            self.code = 128 + signal.SIGHUP
        self._end()

    def _resize(self, rows: int, columns: int) -> None:
        if self._terminal is not None:
            self._terminal.resize(rows, columns)

    def _tidy(self, left: list[Leftover]) -> None:
        """Remove what killed sessions have left, as soon as their jobs have ended."""
        left = [leftover for leftover in left if not leftover.gone()]
        if left:
            self.loop.call_later(0.5, lambda: self._tidy(left))

    def environment(self) -> dict[str, str]:
        """The environment of the session's command."""
        env = dict(os.environ)
        env["FLUX_URI"] = self.uri(0)
        env["FLUX_SCHED_EMBEDDED"] = "1"
        # Of this session alone, not of those that are started in it.
        env.pop(RECORD_VARIABLE, None)
        env["PYTHONPATH"] = pythonpath(env.get("PYTHONPATH"))
        # Nor is the command a task of the job that the session is in. FLUX_JOB_TMPDIR stays: it is still there.
        for name in TASK_VARIABLES:
            env.pop(name, None)
        if self.bindir is not None:
            env["PATH"] = self.bindir + os.pathsep + env.get("PATH", os.defpath)
        return env

    def _spawn(self, words: list[str]) -> None:
        shell = os.environ.get("SHELL") or "/bin/sh"
        if not words:
            words = [shell]
        elif len(words) == 1 and any(char in words[0] for char in " \t\n;&|<>()$`\"'*"):
            words = [shell, "-c", words[0]]
        libc = ctypes.CDLL(None)

        def with_us() -> None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGHUP, 0, 0, 0)
            resource.setrlimit(resource.RLIMIT_NOFILE, self.executor.nofile)
            if self._terminal is not None:
                self._terminal.control()

        try:
            if self._options.terminal is not None:
                self._terminal = Terminal(self.loop, *self._options.terminal)
            slave = None if self._terminal is None else self._terminal.slave
            self.command = subprocess.Popen(
                words, env=self.environment(), preexec_fn=with_us, stdin=slave, stdout=slave, stderr=slave
            )
            if self._terminal is not None:
                self._terminal.started()
        except OSError as error:
            tell(f"flux-start: {words[0]}: {starting.reason(error.errno or errno.EIO, [words[0]])}")
            self.code = 126 if isinstance(error, PermissionError) else 127
            self.loop.call_soon(self._end)

    def _forward(self, number: int) -> None:
        if self.command is not None and self.command.poll() is None:
            self.command.send_signal(number)
        elif self.command is None and not self._ending:
            self.code = 128 + number
            self._end()

    def _child(self) -> None:
        if self.command is not None and not self._ending:
            code = self.command.poll()
            if code is not None:
                self.code = 128 - code if code < 0 else code
                self._end()

    def _end(self) -> None:
        """The command is over: end what runs; what waits stays in the state directory."""
        self._ending = time.monotonic() + self._options.grace + 5.0
        self.manager.accepting = False
        if self.scheduler.service is not None:
            self.scheduler.unload()
        for job in list(self.manager.active.others()):
            if job.executing:
                self.manager.exception(job, "cancel", 0, "the session ended")
        self.manager.on_idle.append(self._check_end)
        self._check_end()

    def _check_end(self) -> None:
        left = [job for job in self.manager.active.others() if job.executing]
        running = self.command is not None and self.command.poll() is None
        if (left or running) and time.monotonic() < self._ending:
            self.loop.call_later(0.5, self._check_end)
            return
        for job in left:
            tell(f"flux-start: job {job.name} does not end")
        self.loop.call_soon(self.loop.stop)

    def close(self) -> None:
        """End the session: remove its socket, and its state directory if that is temporary."""
        deadline = time.monotonic() + 10
        while not self.store.flush(again=True):
            if self.store.lost or time.monotonic() > deadline:
                tell(f"flux-start: {self.store.path}: cannot be written; changes are lost")
                self.code = self.code or 1
                break
            time.sleep(0.2)
        if self._options.dump is not None and not self._left:
            self._dump(self._options.dump)
        if self._terminal is not None:
            self._terminal.close()
        if self._parent is not None:
            self._parent.close()
        if self._nest is not None:
            Path(self._nest.folder, READY).unlink(missing_ok=True)
        self.notices.close()
        self.server.flush()
        self.store.close()
        self.server.close()
        self.executor.close()
        self.loop.close()
        self._remove_directories()

    def _dump(self, path: str) -> None:
        from fluxsched.session.broker import archive  # few sessions are asked for one

        try:
            archive.write(path, self.store, self.executor.output)
        except (OSError, SessionError) as error:
            tell(f"flux-start: {DUMP}: {explain(error) if isinstance(error, OSError) else error}")
            self.code = self.code or 1

    def _remove_directories(self) -> None:
        # Jobs that go on know the directory, where the next session will be.
        if not (self._left and any(job.executing for job in self.manager.active.others())):
            remove_rundir(self.rundir)
        self._state.close()
