# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The folders of a session: the state directory with its lock, and the run directory with its socket.

The lock's file holds a note, a JSON object padded to one block so that it can be written on a full disk:

    pid        of the broker
    rundir     the run directory, which the next session here takes up, so that jobs that are left find it
    commits    how many commits the database has had; one with fewer was cut, or lost its log
    temporary  whether the state directory was made for this one session

A temporary state directory whose lock is free belongs to a session that was killed.  The next session of its owner ends
its jobs and removes it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

from fluxsched.session.errors import SessionError
from fluxsched.session.wire import MARK

SOCKET_PATH_MAX = 107
NOTE_SIZE = 4096
SHEBANG_MAX = 120  # bytes of an interpreter's path that every kernel takes
STATE_PREFIX = "flux-state-"
RUN_PREFIX = "flux-"
SOCKET = "local-0"


def _ours(status: os.stat_result) -> bool:
    """A folder of ours that nobody else can write to."""
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


class StateDir:
    """A state directory that is locked: `path` (absolute), and its note."""

    def __init__(self, path: str, lock: int, temporary: bool = False) -> None:
        self.path = path
        self._lock = lock
        self.note = self._read()
        self.temporary = temporary
        self.note["temporary"] = temporary or self.note.get("temporary") is True

    @classmethod
    def open(cls, path: str, temporary: bool = False) -> StateDir:
        """Make and lock a state directory.  Raises SessionError."""
        path = os.path.abspath(path)
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            if not _ours(os.stat(path)):
                raise SessionError(f"{path}: cannot use this state directory: not ours, or others may write to it")
            lock = cls._open_lock(path, os.O_CREAT)
        except OSError as error:
            text = "its lock is a symbolic link" if error.errno == errno.ELOOP else error.strerror
            raise SessionError(f"{path}: cannot use this state directory: {text}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = cls(path, lock).note.get("pid", "unknown")
            os.close(lock)
            raise SessionError(f"{path}: state directory is in use by another session (pid {holder})") from None
        return cls(path, lock, temporary)

    @classmethod
    def make(cls) -> StateDir:
        """Make a temporary state directory.  Raises SessionError."""
        try:
            path = tempfile.mkdtemp(prefix=STATE_PREFIX)
        except OSError as error:
            raise SessionError(f"cannot make a state directory: {error.strerror}") from None
        return cls.open(path, temporary=True)

    @staticmethod
    def _open_lock(path: str, flags: int = 0) -> int:
        flags |= os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        lock = os.open(os.path.join(path, "lock"), flags, 0o600)
        status = os.fstat(lock)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or status.st_uid != os.getuid():
            os.close(lock)
            raise SessionError(f"{path}: cannot use this state directory: its lock is not a file of ours alone")
        return lock

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(os.pread(self._lock, 65536, 0).rstrip(b" \0").decode() or "{}")
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def commits(self) -> int:
        """How many commits the database is known to have had."""
        found = self.note.get("commits")
        return found if type(found) is int and found > 0 else 0

    def committed(self, count: int) -> None:
        """The database has had `count` commits."""
        self.note["commits"] = count
        self._write()

    def _write(self) -> None:
        data = json.dumps(self.note).encode()
        try:
            os.pwrite(self._lock, data.ljust(NOTE_SIZE), 0)
            os.ftruncate(self._lock, max(NOTE_SIZE, len(data)))
        except OSError:
            return  # a full disk: the lock itself holds, and an older note finds less of what is lost

    def take_over(self, rundir: str) -> None:
        """Note that this process uses the directory, and its run directory."""
        self.note.update(pid=os.getpid(), rundir=rundir)
        self._write()

    def close(self) -> None:
        """Give the lock back; a temporary directory is removed."""
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


# the run directory


def usable_rundir(path: Any) -> bool:
    """Whether this is a run directory of ours that nobody else can enter."""
    if not (isinstance(path, str) and os.path.isabs(path) and os.path.basename(path).startswith(RUN_PREFIX)):
        return False
    try:
        status = os.lstat(path)
        private = _ours(status) and not status.st_mode & 0o077
        return private and set(os.listdir(path)) <= {SOCKET, MARK, "bin"}
    except (OSError, ValueError):
        return False


def _made_again(path: Any) -> bool:
    """Whether the run directory of an earlier session, which has removed it at its end, could be made again."""
    if not (isinstance(path, str) and os.path.isabs(path) and os.path.basename(path).startswith(RUN_PREFIX)):
        return False
    try:
        os.mkdir(path, 0o700)
    except (OSError, ValueError):
        return False  # there is something else, or the folder that it was in is gone
    return True


def open_rundir(statedir: StateDir) -> str:
    """The directory of the socket, short enough for one: that of the earlier session here, so that its jobs and the
    shells that know it find the new one, or a new one.  Raises SessionError."""
    path = statedir.note.get("rundir")
    if not (usable_rundir(path) or _made_again(path)):
        base = os.path.abspath(os.environ.get("TMPDIR") or "/tmp")
        if len(os.fsencode(base)) + len(f"/{RUN_PREFIX}XXXXXXXX/{SOCKET}") > SOCKET_PATH_MAX:
            base = "/tmp"
        try:
            path = tempfile.mkdtemp(prefix=RUN_PREFIX, dir=base)
        except OSError as error:
            raise SessionError(f"{base}: cannot make a directory for the session's socket: {error.strerror}") from None
    try:
        Path(str(path), MARK).touch(mode=0o600)
    except OSError as error:
        raise SessionError(f"{path}: cannot be written: {error.strerror}") from None
    statedir.take_over(str(path))
    return str(path)


def remove_rundir(path: Any) -> None:
    """Remove a run directory, if it is one: what a session puts there, and nothing else."""
    if not usable_rundir(path):
        return
    for name in (SOCKET, MARK, "bin/flux", "bin/python"):
        try:
            os.unlink(os.path.join(path, name))
        except OSError:
            continue  # it is not there
    for folder in (os.path.join(path, "bin"), path):
        try:
            os.rmdir(folder)
        except OSError:
            continue  # somebody has put something there


def write_launcher(rundir: str, statedir: str) -> str:
    """A `flux` for the session's own PATH; the folder it is in.  Raises OSError.

    It changes no variable, so jobs get the environment that people have."""
    may_run = [path for path in (rundir, statedir) if not os.statvfs(path).f_flag & os.ST_NOEXEC] or [rundir]
    for base in may_run:
        folder = os.path.join(base, "bin")
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            _replace(os.path.join(folder, "flux"), _launcher(folder))
        except OSError:
            if base is may_run[-1]:
                raise
            continue  # no room there
        break
    return folder


def _launcher(folder: str) -> str:
    """The text of the launcher in `folder`.

    No shell stands in front: dash drops variables whose names it does not know, such as functions that bash exports.
    Python is told where its libraries are, and does not look for them (-S), which is a third of the time of its start.
    Ctrl-C ends it from its first line on, as program.end_by_signal says, and shows nothing of what Python was reading.
    The kernel takes a short path without spaces in the first line, so that is a link to some Python."""
    library = str(Path(__file__).absolute().parents[3])
    link = os.path.join(folder, "python")
    first = sys.executable
    again = ""
    if len(os.fsencode(first)) > SHEBANG_MAX or any(char.isspace() for char in first):
        first = link
        again = f"import os, sys; sys.executable == {link!r} and os.execv({sys.executable!r}, "
        again += f"[{sys.executable!r}, '-IS', *sys.argv])\n"
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(sys.executable, link)
    paths = [library, *(path for path in sys.path if path not in ("", library))]
    return (
        f"#!{first} -IS\n{again}import _signal as s\n\n"
        "if s.getsignal(s.SIGINT) is s.default_int_handler:\n    s.signal(s.SIGINT, s.SIG_DFL)\n"
        f"import sys\n\nsys.path[:] = {paths!r}\n"
        "from fluxsched.session.main import start\n\nstart()\n"
    )


def _replace(path: str, text: str) -> None:
    """Write an executable file in one step.  Raises OSError."""
    fresh = f"{path}.{os.getpid()}"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
    try:
        with os.fdopen(fd, "w", errors="surrogateescape") as file:
            file.write(text)
        os.rename(fresh, path)
    except OSError:
        os.unlink(fresh)
        raise


# what killed sessions have left


class Leftover:
    """A temporary state directory of a session that was killed: it is locked, and its jobs are being ended."""

    def __init__(self, statedir: StateDir) -> None:
        self.statedir = statedir
        for pid in self._runners():
            try:
                os.kill(pid, signal.SIGTERM)
            except OSError:
                continue  # it has ended meanwhile

    def _runners(self) -> list[int]:
        """Process ids of the workers that still run a job: they hold the lock of their record."""
        base = os.path.join(self.statedir.path, "workers")
        found = []
        try:
            names = os.listdir(base)
        except OSError:
            return []
        for name in names:
            try:
                fd = os.open(os.path.join(base, name), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                try:
                    found.append(int(json.loads(os.pread(fd, 4096, 0).partition(b"\n")[0])["pid"]))
                except (ValueError, KeyError, TypeError):
                    continue  # it has had no job, and goes with its broker
            finally:
                os.close(fd)
        return [pid for pid in found if pid > 1]

    def gone(self) -> bool:
        """Whether its jobs have ended; then it is removed."""
        if self._runners():
            return False
        remove_rundir(self.statedir.note.get("rundir"))
        self.statedir.temporary = True
        self.statedir.close()
        return True


def leftovers() -> list[Leftover]:
    """The temporary state directories that killed sessions of ours have left."""
    base = tempfile.gettempdir()
    found = []
    try:
        names = [name for name in os.listdir(base) if name.startswith(STATE_PREFIX)]
    except OSError:
        return []
    for name in names:
        path = os.path.join(base, name)
        try:
            if not _ours(os.lstat(path)):
                continue
            lock = StateDir._open_lock(path)
        except (OSError, SessionError):
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        statedir = StateDir(path, lock)
        if statedir.note.get("temporary") is True:
            found.append(Leftover(statedir))
        else:
            os.close(lock)
    return found


def remove_killed(path: str) -> None:
    """Remove the state directory of a nested session that was killed, with those in its jobs, and their sockets."""
    for folder, _, files in os.walk(path):
        if "lock" in files:
            try:
                lock = StateDir._open_lock(folder)
            except (OSError, SessionError):
                continue  # not one
            remove_rundir(StateDir(folder, lock).note.get("rundir"))
            os.close(lock)
    shutil.rmtree(path, ignore_errors=True)
