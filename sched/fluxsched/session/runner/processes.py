# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Processes: those below one, those that a job has left, and how to end them."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Collection, Iterable, Iterator, NamedTuple

PR_SET_CHILD_SUBREAPER = 36


class Process(NamedTuple):
    """One process of this machine."""

    pid: int
    parent: int
    group: int
    session: int
    live: bool  # not a zombie


def become_subreaper() -> None:
    """Make this process a child subreaper: it becomes the parent of descendants whose parent dies."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def boot_id() -> str:
    """The id of this boot of the machine; it changes with each reboot."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def start_time(pid: int) -> int:
    """Start of a process in clock ticks since boot. With the process id it identifies the process."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


def processes() -> Iterator[Process]:
    """All processes in /proc."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    state, parent, group, session = file.read().rpartition(b")")[2].split()[:4]
                yield Process(int(entry), int(parent), int(group), int(session), state not in (b"Z", b"X"))
            except (OSError, ValueError):
                continue  # it ended while we looked


def descendants(root: int, without: Collection[int] = frozenset()) -> list[Process]:
    """The live processes below `root`; those in `without` are left out with all below them."""
    below: dict[int, list[Process]] = {}
    for process in processes():
        below.setdefault(process.parent, []).append(process)
    found = []
    todo = [root]
    while todo:
        for child in below.get(todo.pop(), ()):
            if child.pid in without:
                continue
            todo.append(child.pid)
            if child.live:
                found.append(child)
    return found


def marked(variable: bytes, group: int, session: int) -> list[Process]:
    """The live processes with an environment variable that begins so ("NAME=va"), or in this group and session."""
    found = []
    for process in processes():
        if not process.live:
            continue
        ours = (process.group, process.session) == (group, session)
        if not ours:
            try:
                with open(f"/proc/{process.pid}/environ", "rb") as file:
                    ours = b"\0" + variable in b"\0" + file.read()
            except OSError:
                continue  # it has ended, or is not ours to read
        if ours:
            found.append(process)
    return found


def kill(left: Iterable[Process]) -> None:
    """Send SIGKILL to processes that may have ended meanwhile."""
    for process in left:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except OSError:
            continue


def open_standard_streams() -> None:
    """Open /dev/null as each of descriptors 0 to 2 that is closed, so that no file of ours gets that number."""
    fd = os.open("/dev/null", os.O_RDWR)
    while fd < 3:
        fd = os.dup(fd)
    os.close(fd)
