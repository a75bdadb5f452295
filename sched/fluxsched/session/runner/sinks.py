# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Files that users name for a job's output.

Opening and writing them may take for ever: a FIFO that nobody reads, a device, a mount whose server is gone.  So a
thread of its own does both for each, and the supervisor goes on answering.
"""

from __future__ import annotations

import os
import queue
import threading
from functools import partial
from typing import Callable

FULL = 1 << 20  # unwritten bytes from which a task's stream is not read further
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC

Note = Callable[[Callable[[], None]], None]


def in_thread(work: Callable[[], None]) -> None:
    """Run `work()` in a thread that ends with the process.  RuntimeError if there can be no further thread."""
    threading.Thread(target=work, daemon=True).start()


class Sink:
    """A file for output, by the name `path` from the folder `folder` (a descriptor).

    `note(function)` has the supervisor's loop call a function; `on_lost(text)` is called there when data could not be
    written, once for each run of failures.
    """

    def __init__(self, folder: int, path: str, note: Note, on_lost: Callable[[str], None]) -> None:
        self.path = path
        self.opened = False
        self.closing = False
        self.closed = False
        self.error: OSError | None = None  # why it could not be opened
        self.unwritten = 0  # bytes
        self.waiting: list[Callable[[], None]] = []  # to call when there is room again
        self._folder = folder
        self._note = note
        self._on_lost = on_lost
        self._failing = False
        self._abandoned = False
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        in_thread(self._work)

    @property
    def full(self) -> bool:
        """Whether writers should wait until there is room."""
        return self.unwritten > FULL and not self._abandoned

    def put(self, data: bytes) -> None:
        """Queue `data` to be written."""
        if not self._abandoned:
            self.unwritten += len(data)
            self._queue.put(data)

    def close(self) -> None:
        """Close the file when all is written; then `closed` is set."""
        self.closing = True
        self._queue.put(None)

    def abandon(self) -> None:
        """Stop waiting for the file; data that is not written is lost."""
        if self.closed or self._abandoned:
            return
        self._abandoned = True
        if self.unwritten:
            self._on_lost(f"{self.path}: {self.unwritten} bytes were not taken before the job was ended")
        self._resume()

    def _resume(self) -> None:
        waiting, self.waiting = self.waiting, []
        for callback in waiting:
            callback()

    # in the thread

    def _work(self) -> None:
        try:
            fd = os.open(self.path, FLAGS, 0o666, dir_fd=self._folder)
        except OSError as error:
            self._note(partial(self._on_open, error))
            return
        self._note(lambda: self._on_open(None))
        while True:
            data = self._queue.get()
            problem: OSError | None = None
            try:
                if data is None:
                    os.close(fd)
                else:
                    left = memoryview(data)
                    while left:
                        left = left[os.write(fd, left) :]
            except OSError as error:
                problem = error
            self._note(partial(self._on_written, data, problem))
            if data is None:
                return

    # in the supervisor's loop

    def _on_open(self, error: OSError | None) -> None:
        self.error = error
        self.opened = error is None

    def _on_written(self, data: bytes | None, error: OSError | None) -> None:
        if error is not None and not self._failing and not self._abandoned:
            self._on_lost(f"{self.path}: {error.strerror}")
        self._failing = error is not None
        if data is None:
            self.closed = True
        else:
            self.unwritten -= len(data)
        if self.unwritten < FULL // 2:
            self._resume()
