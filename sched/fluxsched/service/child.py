# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A run forward in a process of its own, for a policy that somebody else has written: it may be in Python, may not come
back, and may crash.

The process is a fork of the scheduler's, so that its memory is the copy of the engine, and the scheduler pays for the
fork alone. The policy is loaded there and nowhere else, and what came of it is told through a pipe. The child is one
thread of what may be a broker with many: it keeps nothing of the parent but its memory, and runs Python and the
allocator, which are made for that. Should the lock of another thread hold it up all the same, its time runs out as that
of a policy that does not come back.

Who waits for children is the host's affair: a Flux broker takes up all that have ended. So nothing here depends on it.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import signal
import time
import warnings
from contextlib import suppress
from typing import Any, Callable, NamedTuple, NoReturn, Optional

import orjson

from fluxsched.core.comparison import Comparison
from fluxsched.service import deadline
from fluxsched.service.aside import LOOK, Aside, problem

__all__ = ["InProcess"]

#: Seconds of a processor that it may take beyond its limit, after which it is not about to come back.
GRACE = 2.0
#: Seconds of the clock after which it is given up.
PATIENCE = 60.0
#: It gives way to the scheduler, and to jobs on this node.
NICE = 10
#: Bytes that are read at a time.
PIECE = 1 << 16
#: Seconds after which a process that was killed is not waited for any more: by looks, and at once.
ENDING, ENDING_AT_ONCE = 5.0, 0.05

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4

_libc = ctypes.CDLL(None)


class Answer(NamedTuple):
    """What a process tells before the row of its run: as the attributes of Aside, and the length of the row."""

    more: bool
    started: int
    seconds: float
    error: Optional[str]
    bytes: int


class InProcess(Aside):
    """An Aside in a child of this process. `make` is called there.  comparison: the one in which the run is to be taken
    down, and the time from which on starts do not count (0: never).  Raises OSError if no process can be made."""

    def __init__(
        self, make: Callable[[], Any], until: Optional[float], limit: float, comparison: Comparison, end: float
    ) -> None:
        super().__init__(make, until, limit)
        self._comparison = comparison
        self._end = end
        self._told = b""
        self._row = b""
        self._gone = False
        self._begin = time.monotonic()
        self._pipe, told = os.pipe()
        try:
            self.pid = self._fork(told)
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(told)
        os.set_blocking(self._pipe, False)

    @property
    def going(self) -> bool:
        """Whether the process is there."""
        return not self._gone

    def look(self) -> float:
        """Read what there is, or see whether it has ended since."""
        if self._pipe >= 0:
            self._read()
        if self._pipe < 0:
            self._take_up(ENDING)
        return super().look()

    def end(self) -> None:
        """Kill it, if it goes on still."""
        if self._pipe >= 0:
            self._over("it was ended")
        while not self._gone:
            self._take_up(ENDING_AT_ONCE)
            time.sleep(LOOK)

    def add(self, comparison: Comparison, until: float) -> int:
        """As it was told."""
        return comparison.take(self._row)

    # The parent's side.

    def _read(self) -> None:
        while self._pipe >= 0:
            try:
                piece = os.read(self._pipe, PIECE)
            except BlockingIOError:
                self._check_time()
                return
            self._told += piece
            answer = self._answer()
            if answer is not None:
                self.more, self.started, self.seconds = answer.more, answer.started, answer.seconds
                self._over(answer.error)
            elif not piece:
                self._over("its process ended before it had come to its end")

    def _check_time(self) -> None:
        """Give it up if it has had enough."""
        with suppress(OSError):     # it has just ended
            # The clock of the processor time of another process: see clock_getcpuclockid(3).
            self.seconds = time.clock_gettime((~self.pid << 3) | 2)
        if self.seconds > self._limit + GRACE:
            self._over(f"it takes too long: it has not come back after {self.seconds:.1f} s")
        elif time.monotonic() - self._begin > PATIENCE:
            self._over(f"it takes too long: it has not ended within {PATIENCE:g} s")

    def _answer(self) -> Optional[Answer]:
        """What it has told before its row; None: that, or the row, is not complete."""
        at = self._told.find(b"\n")
        if at < 0:
            return None
        try:
            answer = Answer(**orjson.loads(self._told[:at]))
        except (TypeError, ValueError):
            return Answer(True, 0, self.seconds, "its process told what cannot be read", 0)
        self._row = self._told[at + 1:]
        return answer if len(self._row) >= answer.bytes else None

    def _over(self, error: Optional[str]) -> None:
        """It has told all, or is not asked any more, and why."""
        # While the pipe is open somebody of its group is there, so that the number is no other's.
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.close(self._pipe)
        self._pipe = -1
        self.error = error
        self._begin = time.monotonic()

    def _take_up(self, patience: float) -> None:
        """Take the process up if it has ended, or do without that after so many seconds."""
        try:
            found, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            self._gone = True       # the host has done so
            return
        self._gone = bool(found) or time.monotonic() - self._begin > patience
        if found and self.error and os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
            self.error += f" ({signal.strsignal(os.WTERMSIG(status))})"

    # The child's.

    def _fork(self, told: int) -> int:
        """Make the process that tells through this pipe: its id."""
        parent = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            with warnings.catch_warnings():
                # Python warns of a fork where there are threads; the head of this file says what comes of that here.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                self._be_child(parent, told)
            # Here as well as there: whoever comes first.
            with suppress(OSError):
                os.setpgid(pid, pid)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _be_child(self, parent: int, told: int) -> NoReturn:  # in a fork
        try:
            told = _leave(parent, told)
            message = self._work()
            while message:
                message = message[os.write(told, message):]
        finally:
            os._exit(0)

    def _work(self) -> bytes:
        """Run it, and answer what is to be told."""
        row, error = b"", None
        try:
            with deadline.limited(deadline.DEADLINE):
                forward = self._make()
            self._advance(forward)
            row = self._comparison.told(self._comparison.add(forward, self._end))
        except BaseException as raised:
            error = problem(raised)
        head = Answer(self.more, self.started, self.seconds, error, len(row))
        return orjson.dumps(head._asdict()) + b"\n" + row

    def _turn(self, forward: Any, budget: int) -> bool:
        with deadline.limited(deadline.DEADLINE):
            return super()._turn(forward, budget)


def _leave(parent: int, told: int) -> int:  # in a fork
    """Keep nothing of the parent's but its memory and this pipe, whose new number is answered."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    os.setpgid(0, 0)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)
    told = fcntl.fcntl(told, fcntl.F_DUPFD_CLOEXEC, 3)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    kept = [0, 1, 2, told]
    for text in os.listdir("/proc/self/fd"):
        if int(text) not in kept:
            with suppress(OSError):     # that of the list itself
                os.close(int(text))
    # Where memory is short it goes first, and an end by a signal leaves no file as large as the broker.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    with suppress(OSError):
        os.nice(NICE)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    gc.freeze()
    deadline.forked()
    return told
