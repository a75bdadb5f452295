# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Processes below one: who they are, and what they leave to it."""

from __future__ import annotations

import ctypes
import os
from typing import Collection

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Have every process below this one whose parent dies become a child of this one."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start_time(pid: int) -> int:
    """Start of a process in clock ticks since boot, which with its number names it."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


def descendants(root: int, without: Collection[int] = frozenset()) -> list[tuple[int, int]]:
    """(pid, process group) of every live process below `root`; those in `without` are left out with all below them."""
    below: dict[int, list[tuple[int, int, bytes]]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    state, parent, group = file.read().rpartition(b")")[2].split()[:3]
            except (OSError, ValueError):
                continue  # it ended while we looked
            below.setdefault(int(parent), []).append((int(entry), int(group), state))
    found = []
    todo = [root]
    while todo:
        for child, its_group, its_state in below.get(todo.pop(), ()):
            if child in without:
                continue
            todo.append(child)
            if its_state not in (b"Z", b"X"):
                found.append((child, its_group))
    return found


def open_standard_streams() -> None:
    """Have descriptors 0 to 2 open, so that none of ours takes their place."""
    fd = os.open("/dev/null", os.O_RDWR)
    while fd < 3:
        fd = os.dup(fd)
    os.close(fd)
