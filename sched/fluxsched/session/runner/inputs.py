# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The standard input of a job's tasks, which comes from the broker."""

from __future__ import annotations

import os

from fluxsched.session.watcher import WRITE, Watcher
from fluxsched.session.wire import Channel

LOW = 1 << 16  # more is asked for when a task has less than this to read, in bytes


class _Input:
    """Our end of one task's standard input, and the data that is not written yet."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.data = b""


class Inputs:
    """Passes data to every task that still reads, and acknowledges it when the tasks have taken it."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._open: list[_Input] = []
        self._eof = False
        self._acks: list[tuple[Channel, int]] = []

    def add(self, fd: int) -> None:
        """Take our end of a task's pipe, which this owns from now on."""
        os.set_blocking(fd, False)
        self._open.append(_Input(fd))

    def put(self, follower: Channel, number: int, data: bytes, eof: bool) -> None:
        """Pass `data` to the tasks; with `eof` it is the last. `follower` is sent the acknowledgement `number`."""
        self._eof = self._eof or eof
        self._acks.append((follower, number))
        for entry in list(self._open):
            entry.data += data
            self._feed(entry)
        self._acknowledge()

    def close(self) -> None:
        """Close the tasks' standard input."""
        for entry in list(self._open):
            self._close(entry)
        self._acknowledge()

    def _feed(self, entry: _Input) -> None:
        try:
            while entry.data:
                entry.data = entry.data[os.write(entry.fd, entry.data) :]
        except BlockingIOError:
            if entry.fd not in self._watcher:
                self._watcher.watch(entry.fd, WRITE, lambda mask: self._room(entry))
            return
        except OSError:
            self._close(entry)
            return
        self._watcher.watch(entry.fd, 0, None)
        if self._eof:
            self._close(entry)

    def _room(self, entry: _Input) -> None:
        self._feed(entry)
        self._acknowledge()

    def _close(self, entry: _Input) -> None:
        self._watcher.watch(entry.fd, 0, None)
        os.close(entry.fd)
        self._open.remove(entry)

    def _acknowledge(self) -> None:
        if all(len(entry.data) < LOW for entry in self._open):
            acks, self._acks = self._acks, []
            for follower, number in acks:
                follower.send({"ack": number, "open": bool(self._open)})
