# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The broker process of a session: puts the parts together, runs the command, and ends with it."""

import ctypes
import fcntl
import json
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from fluxsched.formats import hostlist
from fluxsched.program import tell
from fluxsched.session.broker import ranks as resource_module
from fluxsched.session.broker.executor import Executor
from fluxsched.session.broker.job import HELD
from fluxsched.session.broker.job_manager import Manager
from fluxsched.session.broker.kvs import KVS
from fluxsched.session.broker.log import CRIT, ERR, Log
from fluxsched.session.broker.loop import Loop
from fluxsched.session.broker.modules import Modules
from fluxsched.session.broker.rpc import Router
from fluxsched.session.broker.sched_module import Scheduler
from fluxsched.session.broker.server import Server
from fluxsched.session.broker.store import Store
from fluxsched.session.broker.update import Updates
from fluxsched.session.errors import RequestError, SessionError
from fluxsched.session.opening import Options

SOCKET_PATH_MAX = 107
PR_SET_PDEATHSIG = 1
SHEBANG_MAX = 120  # bytes of an interpreter's path that every kernel takes
DEFAULT_ARGUMENTS = ["plugin=backfill.plugin1"]


def open_statedir(path):
    """Create and lock the state directory; (absolute path, lock's file descriptor).  Raises SessionError."""
    path = os.path.abspath(path)
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        lock = os.open(os.path.join(path, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SessionError(f"{path}: cannot use this state directory: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _read_lock(lock).get("pid", "unknown")
        os.close(lock)
        raise SessionError(f"{path}: state directory is in use by another session (pid {holder})") from None
    return path, lock


def _read_lock(lock):
    try:
        found = json.loads(os.pread(lock, 65536, 0).decode() or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _usable_rundir(path):
    """Whether this is a directory of ours that nobody else can enter."""
    try:
        status = os.lstat(path)
    except (OSError, TypeError):
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077


def open_rundir(lock):
    """The directory of the socket, short enough for one: that of the earlier session here, so that its jobs find
    the new one, or a new one.  Noted in the lock's file.  Raises SessionError."""
    path = _read_lock(lock).get("rundir")
    if not (isinstance(path, str) and _usable_rundir(path)):
        base = os.path.abspath(os.environ.get("TMPDIR") or "/tmp")
        if len(os.fsencode(base)) + len("/flux-XXXXXXXX/local-0") > SOCKET_PATH_MAX:
            base = "/tmp"
        try:
            path = tempfile.mkdtemp(prefix="flux-", dir=base)
        except OSError as error:
            raise SessionError(f"{base}: cannot make a directory for the session's socket: {error.strerror}") from None
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps({"pid": os.getpid(), "rundir": path}).encode(), 0)
    except OSError as error:
        raise SessionError(f"cannot write the state directory: {error.strerror}") from None
    return path


def write_launcher(rundir, statedir):
    """A `flux` for the session's own PATH.  It changes no variable, so jobs get the environment that people have."""
    may_run = [path for path in (rundir, statedir) if not os.statvfs(path).f_flag & os.ST_NOEXEC]
    folder = os.path.join((may_run or [rundir])[0], "bin")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    library = str(Path(__file__).absolute().parents[3])
    path = os.path.join(folder, "flux")
    # No shell stands in front: dash drops variables whose names it does not know, such as functions that bash exports.
    # The kernel takes a short path without spaces in the first line, so that is a link to some Python.
    link = os.path.join(folder, "python")
    first = sys.executable
    again = ""
    if len(os.fsencode(first)) > SHEBANG_MAX or any(char.isspace() for char in first):
        first = link
        again = f"import os, sys; sys.executable == {link!r} and os.execv({sys.executable!r}, "
        again += f"[{sys.executable!r}, '-I', *sys.argv])\n"
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(sys.executable, link)
    with open(path, "w") as file:
        file.write(f"#!{first} -I\n{again}import sys\n\nsys.path.insert(0, {library!r})\n")
        file.write("from fluxsched.session.main import main\n\nsys.exit(main())\n")
    os.chmod(path, 0o700)
    return folder


class Broker:
    def __init__(self, options: Options):
        """Make what the session consists of.  Raises SessionError."""
        self.uid = os.getuid()
        self.log = Log()
        if options.verbose:
            self.log.mirror = sys.stderr
        self.command = None
        self.code = 0
        self._ending = None
        self._temporary = None
        statedir = options.statedir
        if statedir is None:
            try:
                statedir = self._temporary = tempfile.mkdtemp(prefix="flux-state-")
            except OSError as error:
                raise SessionError(f"cannot make a state directory: {error.strerror}") from None
        self.statedir, self._lock = open_statedir(statedir)
        self.rundir = None
        try:
            self._assemble(options)
        except OSError as error:
            self._remove_directories()
            raise SessionError(f"cannot start a session: {error}") from None
        except BaseException:
            self._remove_directories()
            raise

    def _assemble(self, options):
        self.loop = Loop(self._failed)
        self.store = Store(self.statedir, self.loop, self.log)
        self.rundir = open_rundir(self._lock)
        self.bindir = write_launcher(self.rundir, self.statedir)
        self.config = options.config
        R = self._resources(options)
        self.resources = resource_module.Resources(R, self.store, self.log, self._busy)
        self.manager = Manager(self.loop, self.store, self.log, self.config)
        self.manager.recover()
        self.scheduler = Scheduler(self.loop, self.store, self.log, self.manager, self.resources)
        self.executor = Executor(
            self.loop,
            self.log,
            self.manager,
            self.statedir,
            self.uri,
            sorted(os.sched_getaffinity(0)),
            options.grace,
        )
        self.manager.executor = self.executor
        router = Router(
            self.manager, Updates(self.manager), self.scheduler, self.resources, KVS(self.store), Modules(self)
        )
        self.server = Server(self.loop, self.log, os.path.join(self.rundir, "local-0"), router)
        self.loop.turn_end += [self.store.flush, self.server.flush]
        self._attributes()
        self._options = options

    def _resources(self, options):
        if options.emulate:
            return resource_module.emulated(options.emulate)
        R = resource_module.configured(self.config.get("resource", {}))
        return resource_module.machine(options.size) if R is None else R

    def uri(self, rank):
        return f"local://{self.rundir}/local-{rank}"

    def _attributes(self):
        self.attributes = {
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

    def _busy(self):
        ranks = set()
        for job in self.manager.active.values():
            if job.alloc == HELD:
                for entry in job.R["execution"]["R_lite"]:
                    ranks.update(resource_module.idset.ids(entry["rank"]))
        return ranks

    def _failed(self, error):
        """An exception left a handler: a fault of ours, which ends nothing."""
        where = traceback.extract_tb(error.__traceback__)[-1]
        self.log("broker", ERR, f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})")

    # running

    def run(self, words, early):
        """Run the command in the session; the exit code.  `early` has the signals that came before."""
        self.loop.on_signal(signal.SIGCHLD, self._child)
        self.loop.on_signal(signal.SIGINT, lambda: None)  # the terminal sends it to the command as well
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            self.loop.on_signal(number, lambda number=number: self._forward(number))
        came = early.take()
        if came:
            self.code = 128 + min(came)
            return self.code
        self.manager.resume()
        if not self._options.no_sched:
            try:
                self.scheduler.load(DEFAULT_ARGUMENTS, automatic=True)
            except (RequestError, ImportError) as error:
                self.log("broker", CRIT, f"no scheduler is loaded: {error}")
                tell(f"flux-start: no scheduler is loaded: {error}")
        self._spawn(words)
        self.loop.run()
        return self.code

    def environment(self):
        env = dict(os.environ)
        env["FLUX_URI"] = self.uri(0)
        env["FLUX_SCHED_EMBEDDED"] = "1"
        env["PATH"] = self.bindir + os.pathsep + env.get("PATH", os.defpath)
        return env

    def _spawn(self, words):
        shell = os.environ.get("SHELL") or "/bin/sh"
        if not words:
            words = [shell]
        elif len(words) == 1 and any(char in words[0] for char in " \t\n;&|<>()$`\"'*"):
            words = [shell, "-c", words[0]]
        libc = ctypes.CDLL(None)

        def with_us():
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGHUP, 0, 0, 0)
            resource.setrlimit(resource.RLIMIT_NOFILE, self.executor.nofile)

        try:
            self.command = subprocess.Popen(words, env=self.environment(), preexec_fn=with_us)
        except OSError as error:
            tell(f"flux-start: {words[0]}: {error.strerror}")
            self.code = 126 if isinstance(error, PermissionError) else 127
            self.loop.call_soon(self._end)

    def _forward(self, number):
        if self.command is not None and self.command.poll() is None:
            self.command.send_signal(number)

    def _child(self):
        if self.command is not None and self._ending is None:
            code = self.command.poll()
            if code is not None:
                self.code = 128 - code if code < 0 else code
                self._end()

    def _end(self):
        """The command is over: end what runs; what waits stays in the state directory."""
        self._ending = time.monotonic() + self._options.grace + 5.0
        self.manager.accepting = False
        if self.scheduler.service is not None:
            self.scheduler.unload()
        for job in list(self.manager.active.values()):
            if job.executing:
                self.manager.exception(job, "cancel", 0, "the session ended")
        self.manager.on_idle.append(self._check_end)
        self._check_end()

    def _check_end(self):
        left = [job for job in self.manager.active.values() if job.executing]
        if left and time.monotonic() < self._ending:
            self.loop.call_later(0.5, self._check_end)
            return
        for job in left:
            tell(f"flux-start: job {job.name} does not end")
        self.loop.call_soon(self.loop.stop)

    def close(self):
        """Leave: the socket goes, and a state directory that nobody asked for."""
        deadline = time.monotonic() + 10
        while not self.store.flush(again=True):
            if time.monotonic() > deadline:
                tell(f"flux-start: {self.store.path}: cannot be written; changes are lost")
                self.code = self.code or 1
                break
            time.sleep(0.2)
        self.server.close()
        self.executor.close()
        self.store.close()
        self.loop.close()
        self._remove_directories()

    def _remove_directories(self):
        if self.rundir is not None:
            shutil.rmtree(self.rundir, ignore_errors=True)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
        os.close(self._lock)
