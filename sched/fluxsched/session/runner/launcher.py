# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The launcher: forks the workers that run jobs, so that one costs a fork and not the start of an interpreter.

Requests come through a socket, a JSON line each, whose first byte brings the worker's own socket.  The launcher holds
the lock of each worker's file beside the worker, and is the subreaper of all.  So when a worker is killed, what is left
of its job comes to the launcher, which ends it before the lock is free and the job counts as over.  It stays until its
last worker has ended, whether or not there is a broker.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import struct
from collections import deque

from fluxsched.session.runner import cgroups
from fluxsched.session.runner.processes import become_subreaper, descendants, kill, open_standard_streams
from fluxsched.session.runner.worker import FOLDER, Worker
from fluxsched.session.signals import SignalPipe
from fluxsched.session.watcher import READ, Watcher
from fluxsched.session.wire import Lines, WireError, decode, encode

SWEEP = 0.02  # seconds between two looks at what dead workers have left
IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGTSTP, signal.SIGQUIT, signal.SIGTERM, signal.SIGXFSZ, signal.SIGPIPE)


def report(sock: socket.socket, error: BaseException) -> None:
    """Tell the broker that a worker could not be started, or has failed."""
    try:
        sock.setblocking(True)
        sock.settimeout(10)
        sock.sendall(encode({"failed": f"{type(error).__name__}: {error}"}))
    except OSError:
        return


def remove(path: str) -> None:
    """Remove the files of a worker that has ended; links to them stay."""
    for name in (path, path + ".ctl"):
        try:
            os.unlink(name)
        except OSError:
            continue  # it was not made, or the session's folder is gone
    shutil.rmtree(path + FOLDER, ignore_errors=True)


class Launcher:
    """Forks workers and reaps them; `fd` is the socket that requests come through."""

    def __init__(self, fd: int) -> None:
        self._control: socket.socket | None = socket.socket(fileno=fd)
        self._control.set_inheritable(False)
        self._control.setblocking(False)
        self._lines = Lines()
        self._socks: deque[socket.socket] = deque()
        # process id -> its locked file, as descriptor and path, and the folder of its control group
        self._workers: dict[int, tuple[int, str, str | None]] = {}
        self._dead: list[int] = []  # locked files of those that left something
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        self._signals = SignalPipe([signal.SIGCHLD])
        self._watcher = Watcher()
        self._watcher.watch(self._control.fileno(), READ, lambda mask: self._receive())
        self._watcher.watch(self._signals.fileno(), READ, lambda mask: self._signals.take())
        become_subreaper()

    def run(self) -> None:
        """Take requests until the broker has gone and the last worker has ended."""
        while self._control is not None or self._workers or self._dead:
            self._watcher.wait(SWEEP if self._dead else None)
            self._reap()

    def _receive(self) -> None:
        assert self._control is not None
        try:
            data, ancillary, _, _ = self._control.recvmsg(1 << 18, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        for _, _, content in ancillary:
            self._socks.append(socket.socket(fileno=struct.unpack("i", content[:4])[0]))
        try:
            lines = self._lines.feed(data) if data else None
            messages = [decode(line) for line in lines or ()]
        except WireError:
            lines = None
            messages = []
        for message in messages:
            if self._socks:
                self._launch(message, self._socks.popleft())
        if lines is None:
            self._watcher.watch(self._control.fileno(), 0, None)
            self._control.close()
            self._control = None

    def _launch(self, request: dict, sock: socket.socket) -> None:
        """Fork a worker: {"claims", "workers"} are folders, "cgroup" that of the control groups of workers, or None;
        "boot" is the id of this boot."""
        if not os.path.isdir(request["claims"]):
            sock.close()  # the broker that asked for it is no longer in charge
            return
        lock = -1
        name = os.urandom(8).hex()
        path = os.path.join(request["workers"], name)
        group = request["cgroup"] and os.path.join(request["cgroup"], name)
        try:
            os.makedirs(request["workers"], mode=0o700, exist_ok=True)
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            pid = os.fork()
        except OSError as error:
            report(sock, error)
            if lock >= 0:
                os.unlink(path)
                os.close(lock)
            sock.close()
            return
        if pid:
            self._workers[pid] = lock, path, group
            sock.close()
            return
        self._become(sock, lock, path, request["boot"], group)

    def _become(self, sock: socket.socket, lock: int, path: str, boot: str, group: str | None) -> None:
        """In the child: be a worker.  Does not return."""
        try:
            self._watcher.close()
            if self._control is not None:
                self._control.close()
            for other in [*(fd for fd, _, _ in self._workers.values()), *self._dead]:
                os.close(other)
            for waiting in self._socks:
                waiting.close()
            self._signals.close()
            for number in (signal.SIGCHLD, signal.SIGTSTP, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            Worker(sock, lock, path, boot, group).run()
        except BaseException as error:
            report(sock, error)
            os._exit(1)
        os._exit(0)

    def _reap(self) -> None:
        """Collect what has ended, and end what dead workers have left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            if pid not in self._workers:
                continue  # what a dead worker has left
            lock, path, group = self._workers.pop(pid)
            remove(path)
            if group is not None:
                cgroups.remove(group)
            if status:
                self._dead.append(lock)
            else:
                os.close(lock)
        if self._dead:
            left = descendants(os.getpid(), self._workers.keys())
            kill(left)
            if not left:
                for lock in self._dead:
                    os.close(lock)
                self._dead.clear()


def main(fd: int) -> None:
    """Run a launcher that takes requests from the socket `fd`."""
    open_standard_streams()
    Launcher(fd).run()
