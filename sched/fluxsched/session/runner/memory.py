# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The memory that a job asked for, and what happens when it takes more.

Where the job has a control group with the memory controller (cgroup v2), the kernel keeps the limit: it ends the whole
group at once, and says so in memory.events. Elsewhere the job's processes are looked at: twice a second what is
resident of them is added up, and when that is too much, shared pages are counted once (PSS), and what is still too much
ends the job. A job that takes memory faster than that may get more before it ends.
"""

from __future__ import annotations

import os
import time
from typing import Callable, Iterable, Optional

from fluxsched.formats import sizes
from fluxsched.session.runner import cgroups
from fluxsched.session.runner.processes import descendants

EXCEEDED = 137  # exit code of a job that took too much, as of a process that the kernel has killed for that
INTERVAL = 0.5  # seconds between two looks
PAGE = os.sysconf("SC_PAGE_SIZE")

#: Functions of the worker's loop, by name, with the time.monotonic() at which they are called.
Timers = dict[str, tuple[float, Callable[[], None]]]


def confine(cgroup: str, limit: int) -> int:
    """Make a control group whose limit in bytes the kernel keeps. A descriptor by which a process joins it when it
    writes 0, or -1 where there is no memory controller."""
    try:
        os.makedirs(cgroup, 0o755, exist_ok=True)
        cgroups.write(cgroup, "memory.max", str(limit))
    except OSError:
        _remove(cgroup)
        return -1
    for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
        try:
            cgroups.write(cgroup, name, value)
        except OSError:
            continue  # a kernel without swap, or one that ends single processes
    return os.open(os.path.join(cgroup, "cgroup.procs"), os.O_WRONLY | os.O_CLOEXEC)


def _remove(cgroup: str) -> None:
    try:
        os.rmdir(cgroup)
    except OSError:
        return  # it is not there, or the job has left groups in it, which go with the session's


def killed(cgroup: str) -> bool:
    """Whether the kernel has ended something in a control group for want of memory."""
    try:
        with open(os.path.join(cgroup, "memory.events")) as file:
            counts = dict(line.split() for line in file)
    except (OSError, ValueError):
        return False
    return counts.get("oom_kill", "0") != "0"


def resident(pids: Iterable[int]) -> int:
    """Bytes that are resident of these processes; what they share counts for each."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm") as file:
                total += int(file.read().split()[1]) * PAGE
        except (OSError, IndexError, ValueError):
            continue  # it has ended
    return total


def proportional(pids: Iterable[int]) -> int:
    """The same, with what n processes of the machine share counting an n-th for each."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += next((int(line.split()[1]) for line in file if line.startswith("Pss:")), 0) * 1024
        except (OSError, IndexError, ValueError):
            continue  # it has ended
    return total


class Limit:
    """Keeps the limit of one job, in bytes.  `fail(reason)` ends the job.

    `joins` is a descriptor of cgroup.procs of the group that the job's processes are to join, -1 if they are not."""

    def __init__(self, limit: int, cgroup: Optional[str], timers: Timers, fail: Callable[[str], None]) -> None:
        """`cgroup` is the folder of the group to make for the job, None where there are none."""
        self._limit = limit
        self._cgroup = cgroup
        self._timers = timers
        self._fail = fail
        self.joins = -1 if cgroup is None else confine(cgroup, limit)
        if self.joins < 0:
            self._later()

    def _later(self) -> None:
        self._timers["memory"] = (time.monotonic() + INTERVAL, self._look)

    def _look(self) -> None:
        """Add up what the job's processes have, which are those below this one."""
        pids = [process.pid for process in descendants(os.getpid())]
        used = resident(pids)
        if used > self._limit:
            used = proportional(pids)
        if used > self._limit:
            have = f"has {sizes.show(used)}, and asked for {sizes.show(self._limit)}"
            self._fail(f"memory: the job {have}")
        else:
            self._later()

    def check(self) -> None:
        """A process of the job has ended: was it the kernel that ended it?"""
        if self.joins >= 0 and self._cgroup is not None and killed(self._cgroup):
            self._fail(f"memory: the job took more than the {sizes.show(self._limit)} that it asked for")

    def close(self) -> None:
        """Nothing of the job runs: look no more, and remove its group."""
        self._timers.pop("memory", None)
        if self.joins >= 0 and self._cgroup is not None:
            os.close(self.joins)
            _remove(self._cgroup)
