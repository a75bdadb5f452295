# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A control group (cgroup v2) for each worker, where this process may make one: as root, or where its own is delegated.

A worker runs one job at a time, and what it starts is in its group, without a move for each job. A process cannot leave
its group by itself, so the group still knows a process that has left the job's session, has cleared its environment,
and has lost the supervisor and the launcher above it.

The memory controller is had where it can be. Then a job that asks for memory has a group of its own beside its
worker's. The kernel lets a group have controllers for those below it only if no process is in it. So a session that is
alone in its group, as in a scope of systemd with Delegate=yes, moves into one below.
"""

from __future__ import annotations

import os
import signal

PREFIX = "flux-session-"
SESSION = "session"  # group of the session's own processes, where it has moved
JOB = ".job"  # what the name of the group of a worker's job ends with
LINKS = 2  # of a folder with no folders in it


def _own() -> str | None:
    """The folder of this process's own group, or None without cgroup v2."""
    try:
        with open("/proc/self/cgroup") as file:
            path = next((line[3:].rstrip("\n") for line in file if line.startswith("0::/")), None)
        with open("/proc/self/mountinfo") as file:
            mounts = [line.split(" ") for line in file if " - cgroup2 " in line]
    except OSError:
        return None
    if path is None:
        return None
    for mount in mounts:
        root, point = mount[3].rstrip("/"), mount[4]
        if path == root or path.startswith(root + "/"):
            return point + path[len(root) :].rstrip("/")
    return None


def base(controller: str = "memory") -> str | None:
    """Make a group for the jobs of a session, with a controller if that can be; its folder, or None where that is not
    allowed."""
    own = _own()
    if own is None:
        return None
    path = os.path.join(own, PREFIX + os.urandom(8).hex())
    try:
        for name in os.listdir(own):
            if name.startswith(PREFIX):
                remove(os.path.join(own, name))  # of a session that was killed; one that lives makes it anew
        os.mkdir(path, 0o755)
    except OSError:
        return None
    _delegate(own, path, controller)
    return path


def _words(folder: str, name: str) -> list[str]:
    with open(os.path.join(folder, name)) as file:
        return file.read().split()


def write(folder: str, name: str, text: str) -> None:
    """Write to a file of a control group.  The file is the kernel's: it is not made.  Raises OSError."""
    fd = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _delegate(own: str, path: str, controller: str) -> None:
    """Have a controller in the groups below `path`, which is below our own group, if that can be."""
    inner = os.path.join(path, SESSION)
    try:
        if controller not in _words(own, "cgroup.controllers"):
            return
        if controller not in _words(own, "cgroup.subtree_control"):
            try:
                write(own, "cgroup.subtree_control", f"+{controller}")
            except OSError:
                if _words(own, "cgroup.procs") != [str(os.getpid())]:
                    return  # others are in it, and are not ours to move
                os.mkdir(inner, 0o755)
                write(inner, "cgroup.procs", "0")
                write(own, "cgroup.subtree_control", f"+{controller}")
        write(path, "cgroup.subtree_control", f"+{controller}")
    except OSError:
        _return(own, inner)


def _return(own: str, inner: str) -> None:
    """Move back from `inner`, if we have moved there."""
    try:
        if os.path.isdir(inner):
            write(own, "cgroup.procs", "0")
            os.rmdir(inner)
    except OSError:
        return  # it is as good in there


def leave(path: str, controller: str = "memory") -> None:
    """Undo :func:`base`, unless workers are left."""
    own, inner = os.path.dirname(path), os.path.join(path, SESSION)
    try:
        moved = os.path.isdir(inner)
        if moved and [name for name in os.listdir(path) if os.path.isdir(os.path.join(path, name))] == [SESSION]:
            write(path, "cgroup.subtree_control", f"-{controller}")
            write(own, "cgroup.subtree_control", f"-{controller}")
            _return(own, inner)
    except OSError:
        pass  # the group stays until its own is removed
    remove(path)


def enter(path: str) -> bool:
    """Make the group of a worker in that of its session, and move this process there; whether that was done."""
    try:
        os.makedirs(path, 0o755)
        fd = os.open(os.path.join(path, "cgroup.procs"), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"0")
        finally:
            os.close(fd)
    except OSError:
        remove(path)
        return False  # not delegated: its jobs go without
    return True


def _folders(path: str) -> list[str]:
    """The folders of a worker's group, that of its job, and those below them, which the job may have made; the
    innermost first, and the worker's last."""
    return [folder for top in (path + JOB, path) for folder, _, _ in os.walk(top, topdown=False)]


def kill(path: str) -> int:
    """Send SIGKILL to all in the group of a worker; returns how many there were."""
    left = 0
    for folder in _folders(path):
        try:
            with open(os.path.join(folder, "cgroup.procs")) as file:
                pids = [int(line) for line in file]
        except (OSError, ValueError):
            continue  # it is just being removed
        left += len(pids)
        for pid in pids:
            if pid > 0:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    continue  # it has ended meanwhile
    return left


def clear(path: str) -> None:
    """Remove the groups in that of a worker, if its job has made some; nothing runs in them."""
    try:
        if os.stat(path).st_nlink == LINKS:
            return
    except OSError:
        return
    for folder in _folders(path)[:-1]:
        try:
            os.rmdir(folder)
        except OSError:
            continue  # a worker that could not go on would be worse


def remove(path: str) -> None:
    """Remove the group of a worker or of a session, unless there are processes in it."""
    for folder in _folders(path):
        try:
            os.rmdir(folder)
        except OSError:
            return
