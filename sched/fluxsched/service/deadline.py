# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A limit for policies in plain Python that are only tried: one that does not come back ends with an exception.

Another thread looks at the time, and has the interpreter raise the exception in the thread that is late, wherever it is
in Python: in a loop on one line, too. It does so again and again, as a policy may catch it. A call that is not Python,
as that of a long sleep, is not interrupted.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Callable

from fluxsched.policy.pyplugin import PythonPolicy

__all__ = ["DEADLINE", "Overrun", "deadline", "forked", "limited"]

#: Seconds that a policy may take at a time.
DEADLINE = 1.0
#: Seconds between two looks, and how many there are with nothing to look at until there are no more.
LOOK = 0.01
IDLE = 100


class Overrun(BaseException):
    """A policy has not come back in time.  No Exception, so that the policy's own handlers let it pass."""


def deadline(policy: Any, seconds: float) -> AbstractContextManager[None]:
    """Raise Overrun in a policy in Python that runs after so many seconds from now on."""
    return limited(seconds) if isinstance(policy, PythonPolicy) else nullcontext()


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """The same for whatever is run in Python."""
    _watch.begin(seconds)
    try:
        yield
    finally:
        # One that was raised late is of no use any more, nor is one that comes while it is said to be over.
        while True:
            try:
                _watch.end()
                break
            except Overrun:
                continue


class _Watch:
    """Looks at threads that have a limit, from another one, which ends when there has been none for a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._due: dict[int, float] = {}        # thread -> when it is late, by that clock
        self._limit: dict[int, float] = {}      # thread -> seconds
        self._late: set[int] = set()            # threads in which one was raised, or is on its way
        self._looks = False                     # the thread is there

    def begin(self, seconds: float) -> None:
        """This thread has so many seconds from now on."""
        with self._lock:
            self._due[threading.get_ident()] = self._clock() + seconds
            self._limit[threading.get_ident()] = seconds
            if not self._looks:
                self._looks = True
                threading.Thread(target=self._run, name="deadline", daemon=True).start()

    def end(self) -> None:
        """The time does not matter any more to this thread. Raises Overrun where one may still be on its way: in its
        place, as an interpreter whose exception is taken back goes on to look for it (CPython 3.11; for ever, when it
        is traced)."""
        thread = threading.get_ident()
        with self._lock:
            self._due.pop(thread, None)
            self._limit.pop(thread, None)
            late = thread in self._late
            self._late.discard(thread)
        if late:
            _raise_in(thread, Overrun)
            while True:
                time.sleep(0.0)

    def _run(self) -> None:
        idle = 0
        while idle < IDLE:
            time.sleep(LOOK)
            with self._lock:
                idle = 0 if self._due else idle + 1
                self._looks = idle < IDLE
                now = self._clock()
                for thread in [thread for thread, due in self._due.items() if due <= now]:
                    self._due[thread] = now + LOOK
                    self._late.add(thread)
                    frame = sys._current_frames().get(thread)
                    place = "" if frame is None else f" ({frame.f_code.co_filename}, line {frame.f_lineno})"
                    _raise_in(thread, _told(f"it has not come back within {self._limit[thread]:g} s{place}"))


_watch = _Watch()


def forked() -> None:
    """This process is a child that goes on alone: the thread that looks is the parent's, and its lock may be taken. Its
    time is that of a processor, as others may go first."""
    global _watch
    _watch = _Watch(time.process_time)


def _told(text: str) -> type[Overrun]:
    """The interpreter makes the exception of its class, without arguments."""
    return type("Overrun", (Overrun,), {"__init__": lambda self: Overrun.__init__(self, text)})


def _raise_in(thread: int, error: type[Overrun]) -> None:
    """Have an exception raised in a thread soon, in place of one that is on its way."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
