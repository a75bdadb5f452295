# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A thread for work that waits for the disk, while the broker goes on.

A disk takes milliseconds to bring something on it for good, during which hundreds of jobs can be handled.
"""

from __future__ import annotations

import errno
import os
import queue
import threading
import time
from typing import Any, Callable, Optional

from fluxsched.session.broker.loop import READ, Loop

PAUSE = 0.05  # seconds until a descriptor is asked for again
Work = Callable[[], Optional[OSError]]
Done = Callable[[Optional[OSError]], Any]


def sync(path: str) -> OSError | None:
    """Bring a file to the disk; what stood in the way. Where there is no descriptor, wait for one."""
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            break
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                return error
            time.sleep(PAUSE)
    try:
        os.fdatasync(fd)
    except OSError as error:
        return error
    finally:
        os.close(fd)
    return None


class Background:
    """Does one piece of work after the other in a thread, and has the loop told."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._todo: queue.SimpleQueue[tuple[Work, Done] | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[tuple[Done, OSError | None]] = queue.SimpleQueue()
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        loop.watch(self._wake_r, READ, self._woken)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def do(self, work: Work, done: Done) -> None:
        """Have the thread call `work()`, and then the loop `done(what it returned)`."""
        self._todo.put((work, done))

    def _work(self) -> None:
        while True:
            item = self._todo.get()
            if item is None:
                return
            work, done = item
            self._finished.put((done, work()))
            try:
                os.write(self._wake_w, b"\0")
            except BlockingIOError:
                pass  # full: the loop is awake

    def _woken(self, mask: int) -> None:
        try:
            os.read(self._wake_r, 4096)
        except BlockingIOError:
            return
        self._tell()

    def _tell(self) -> None:
        while not self._finished.empty():
            done, error = self._finished.get()
            self._loop.call(done, error)

    def close(self) -> None:
        """Do what is left to do, and end the thread."""
        self._todo.put(None)
        self._thread.join()
        self._tell()
        self._loop.watch(self._wake_r, 0, None)
        os.close(self._wake_r)
        os.close(self._wake_w)
