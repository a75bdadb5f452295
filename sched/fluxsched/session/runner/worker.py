# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A process that runs jobs one after the other, each with a supervisor, for as long as its broker asks for them.

It runs one job at a time, so all that is below it is of that job, and when it is killed no other job suffers. It takes
the next job only when nothing of the last one is left; after a job that has left a thread waiting it ends.

In the state directory a worker has a file ``workers/NAME``, which it keeps locked, and in which it records what it does
(see supervisor); the claim of each of its jobs is a link to it.  On the socket ``workers/NAME.ctl`` later brokers
follow and command.  And it has a control group, if it may, with all that is of its job.
"""

from __future__ import annotations

import errno
import os
import queue
import resource
import shutil
import signal
import socket
import stat
import struct
import time
from collections import deque
from functools import partial
from typing import Any, Callable, Optional

from fluxsched.session.runner import cgroups
from fluxsched.session.runner.processes import become_subreaper, start_time
from fluxsched.session.runner.sinks import Note, in_thread
from fluxsched.session.runner.supervisor import SLOW, Supervisor
from fluxsched.session.watcher import READ, Watcher
from fluxsched.session.wire import Channel

STOPPING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
VARIABLES_MAX = 2000  # that are remembered
FOLDER = ".dir"  # behind the name of a worker
TEMPORARY = "tmp"  # the folder for temporary files in that of a job
RECORD_MAX = 1 << 16  # bytes of the record from which it begins anew
ACCEPT_PAUSE = 0.5  # seconds until a connection is taken for which there was no descriptor


class Outcome:
    """What has come of some work: a value, or an error that it has raised."""

    def __init__(self) -> None:
        self.ready = False
        self.error: Optional[OSError] = None
        self.value: Any = None


class Starter:
    """A thread for what may wait for ever: a folder or a file on a mount whose server is gone, a FIFO.

    `note(function)` has the worker's loop call a function. `busy` is whether there is work that is not done."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._queue: Optional[queue.SimpleQueue[tuple[Callable[[], Any], Outcome]]] = None
        self.busy = False

    def do(self, work: Callable[[], Any]) -> Outcome:
        """Have `work()` done. RuntimeError if there can be no thread."""
        if self._queue is None:
            queued: queue.SimpleQueue[tuple[Callable[[], Any], Outcome]] = queue.SimpleQueue()
            in_thread(partial(self._work, queued))
            self._queue = queued
        outcome = Outcome()
        self.busy = True
        self._queue.put((work, outcome))
        return outcome

    def _work(self, queued: queue.SimpleQueue[tuple[Callable[[], Any], Outcome]]) -> None:
        while True:
            work, outcome = queued.get()
            try:
                outcome.value = work()
            except OSError as error:
                outcome.error = error
            self._note(partial(self._done, outcome))

    def _done(self, outcome: Outcome) -> None:
        self.busy = False
        outcome.ready = True


class Record:
    """The file of a worker, a JSON object a line; `fd` is its descriptor, which appends."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._size = 0  # bytes

    def begin(self) -> None:
        """A job is to be claimed. Those before are over, and their broker has written how: nobody needs their lines."""
        if self._size > RECORD_MAX:
            os.ftruncate(self._fd, 0)
            self._size = 0

    def write(self, data: bytes) -> int:
        """Add to the file; how many bytes of it.  Raises OSError."""
        written = os.write(self._fd, data)
        self._size += written
        return written

    @property
    def linked(self) -> bool:
        """Whether the file still has a name."""
        return os.fstat(self._fd).st_nlink > 0


class Folder:
    """The folder of the job that runs, which jobs that leave no output have one after the other.

    To make and remove two folders takes the disk longer than all else that it does for a job, and to rename one takes
    next to nothing. So between two jobs it is `path`, and an empty folder for temporary files is in it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._there = False

    def lend(self, path: str) -> bool:
        """Let it be a job's folder, by this name; False if an earlier attempt to run the job has left one, which is
        used then.  Raises OSError."""
        if not self._there:
            self._make()
        try:
            os.rename(self._path, path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            self._make()
            os.rename(self._path, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            os.makedirs(os.path.join(path, TEMPORARY), mode=0o700, exist_ok=True)
            self._there = True
            return False
        self._there = False
        return True

    def _make(self) -> None:
        for path in (self._path, os.path.join(self._path, TEMPORARY)):
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                continue  # it was there only in part, or not to be renamed

    def take_back(self, path: str) -> None:
        """The job is over: take its folder back, but what it has put there and is not temporary stays."""
        try:
            if self._is_as_lent(path):
                os.rename(path, self._path)
                self._there = True
                return
        except OSError:
            pass  # something is not there any more
        temporary = os.path.join(path, TEMPORARY)
        shutil.rmtree(temporary, ignore_errors=True)
        for remove, left in ((os.unlink, temporary), (os.rmdir, path)):
            try:
                remove(left)
            except OSError:
                continue  # it is gone, or holds what stays

    @staticmethod
    def _is_as_lent(path: str) -> bool:
        """Whether a job has left its folder as it was.  Raises OSError."""
        temporary = os.path.join(path, TEMPORARY)
        private = all(os.lstat(one).st_mode == stat.S_IFDIR | 0o700 for one in (path, temporary))
        return private and os.listdir(path) == [TEMPORARY] and not os.listdir(temporary)


class Worker:
    """Runs the jobs that the broker at the other end of `sock` asks for.

    `lock` is the descriptor of the locked file `path`. `boot` is the id of this boot of the machine, `group` the folder
    of the control group to be in, None for none.
    """

    def __init__(self, sock: socket.socket, lock: int, path: str, boot: str, group: Optional[str]) -> None:
        self.record = Record(lock)
        self.folder = Folder(path + FOLDER)
        self.path = path
        #: What a claim says of its worker.
        self.mark: dict[str, Any] = {"worker": os.path.basename(path), "boot": boot}
        self._group = group
        self._variables: dict[str, tuple[str, bytes]] = {}  # name -> value, and both as a process gets them
        self.watcher = Watcher()
        self.watch = self.watcher.watch
        self.timers: dict[str, tuple[float, Callable[[], None]]] = {}  # name -> (monotonic time, function)
        self.notes: deque[Callable[[], None]] = deque()  # from threads, for the loop to call
        self.starter = Starter(self.note)
        self.job: Optional[Supervisor] = None
        self._next: Optional[dict[str, Any]] = None  # what the broker asks for
        self._early: list[dict[str, Any]] = []  # and what it says of that job before it is taken up
        self._broker: Optional[Channel] = Channel(sock, self.watch, self._message, self._gone)

    def run(self) -> None:
        """Run jobs until the broker has gone."""
        os.setsid()
        become_subreaper()
        if self._group is not None and not cgroups.enter(self._group):
            self._group = None
        self.mark.update(pid=os.getpid(), start=start_time(os.getpid()), cgroup=self._group)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        self.spare = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._listen()
        self._catch_signals()
        while True:
            while self._next is None:
                if self._broker is None:
                    return
                self.turn()
            spec, self._next = self._next, None
            self.job = Supervisor(self, spec)
            if self._broker is not None:
                self.job.followers.append(self._broker)
            again = self.job.run()
            self.job = None
            if self._broker is None:
                return
            if not again:
                self._broker.drain(SLOW)
                return
            self._broker.send({"idle": True})

    def variables(self, environment: dict[str, str]) -> dict[str, bytes]:
        """The variables of an environment as a process gets them, NAME=value, by their names. Most are those of the
        job before."""
        known = self._variables
        if len(known) > VARIABLES_MAX:
            known.clear()
        found = {}
        for name, value in environment.items():
            entry = known.get(name)
            if entry is None or entry[0] != value:
                entry = known[name] = value, os.fsencode(f"{name}={value}")
            found[name] = entry[1]
        return found

    @property
    def job_group(self) -> Optional[str]:
        """The folder of the control group that a job may have for itself, None where there are none."""
        return None if self._group is None else self._group + cgroups.JOB

    def clear_group(self) -> None:
        """Remove the control groups that a job has made in ours."""
        if self._group is not None:
            cgroups.clear(self._group)

    @property
    def broker(self) -> Optional[Channel]:
        """The connection to the broker that this was started for, until that has gone."""
        return self._broker

    def _message(self, message: dict[str, Any]) -> None:
        if "run" in message:
            self._next = message["run"]
        elif self._next is not None:
            self._early.append(message)
        elif self.job is not None and self._broker is not None:
            self.job.command(self._broker, message)

    def hear_early(self) -> None:
        """Let the job hear what the broker said of it before it was taken up."""
        early, self._early = self._early, []
        for message in early:
            self._message(message)

    def _gone(self, reason: Optional[str]) -> None:
        if self.job is not None and self._broker is not None:
            self.job.unfollow(self._broker)
        self._broker = None

    # the socket for later brokers

    def _listen(self) -> None:
        # a socket's path may be 107 bytes long, the state directory's may be longer
        directory = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.setblocking(False)
        self.listener.bind(f"/proc/self/fd/{directory}/{os.path.basename(self.path)}.ctl")
        self.listener.listen(4)
        os.close(directory)
        self._accept_again()

    def _accept_again(self) -> None:
        """Take connections of brokers."""
        self.watch(self.listener.fileno(), READ, self.accept)

    def accept(self, mask: int) -> None:
        """A broker connects."""
        try:
            sock, _ = self.listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            # Out of descriptors: who wants to connect waits, and we do not turn round and round.
            self.watch(self.listener.fileno(), 0, None)
            self.timers["accept"] = (time.monotonic() + ACCEPT_PAUSE, self._accept_again)
            return
        uid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
        if uid == os.getuid() and self.job is not None:
            self.job.follow_with(sock)
        else:
            sock.close()

    # waiting

    def _catch_signals(self) -> None:
        """Make signals wake the loop; note() uses the same pipe."""
        self.wake_r, self.wake_w = os.pipe()
        os.set_blocking(self.wake_r, False)
        os.set_blocking(self.wake_w, False)
        for number in (signal.SIGCHLD, *STOPPING):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self.wake_w, warn_on_full_buffer=False)
        self.watch(self.wake_r, READ, self._woken)

    def note(self, function: Callable[[], None]) -> None:
        """Make the loop call a function. For use in threads."""
        self.notes.append(function)
        try:
            os.write(self.wake_w, b"\0")
        except BlockingIOError:
            pass  # full: the loop is awake

    def _woken(self, mask: int) -> None:
        """Handle signals that have come, and notes of threads."""
        try:
            numbers = os.read(self.wake_r, 4096)
        except BlockingIOError:
            return
        while self.notes:
            self.notes.popleft()()
        stop = any(number in numbers for number in STOPPING)
        if self.job is not None:
            self.job.woken(stop)
        elif stop and self._broker is not None:
            self._broker.close()
            self._broker = None

    def turn(self) -> None:
        """Wait for what happens next, and handle it."""
        wait = None
        if self.timers:
            now = time.monotonic()
            for name in [name for name, (t, _) in self.timers.items() if t <= now]:
                self.timers.pop(name)[1]()
            if self.timers:
                wait = max(0.0, min(t for t, _ in self.timers.values()) - time.monotonic())
        self.watcher.wait(wait)
