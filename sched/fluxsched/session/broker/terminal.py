# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A pseudo terminal for the command of a nested session: the session's own standard streams lead to it."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

from fluxsched.session.broker.loop import READ, Loop
from fluxsched.session.wire import WRITE

CHUNK = 1 << 14  # bytes
MOST = 1 << 16  # bytes that wait to be typed; beyond it no more is read
END = b"\x04"  # Ctrl-D


class Terminal:
    """A terminal of `rows` and `columns`; `slave` is the descriptor that the command gets as its standard streams.

    What comes on standard input is typed there, and what is shown there goes to standard output."""

    def __init__(self, loop: Loop, rows: int, columns: int) -> None:
        """Raises OSError where there is no terminal to be had."""
        self._loop = loop
        self._master, self.slave = os.openpty()
        os.set_blocking(self._master, False)
        self._typed = b""
        self._reading = False  # standard input
        self._over = False  # nothing more comes there
        self.resize(rows, columns)

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the terminal."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def control(self) -> None:
        """In the command's process, before it begins: lead a session that this terminal controls."""
        os.setsid()
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

    def started(self) -> None:
        """The command has the terminal: pass on what is typed and shown."""
        os.close(self.slave)
        self._loop.watch(self._master, READ, self._ready)
        self._listen(True)

    def _listen(self, wanted: bool) -> None:
        wanted = wanted and not self._over
        if wanted != self._reading:
            self._reading = wanted
            self._loop.watch(0, READ if wanted else 0, self._read)

    def _read(self, mask: int) -> None:
        """Something comes on standard input; its end is typed as Ctrl-D."""
        try:
            data = os.read(0, CHUNK)
        except OSError:
            data = b""
        self._over = not data
        self._typed += data or END
        self._type()
        self._listen(len(self._typed) < MOST)

    def _type(self) -> None:
        waited = bool(self._typed)
        try:
            while self._typed:
                self._typed = self._typed[os.write(self._master, self._typed) :]
        except BlockingIOError:
            pass  # the command does not read
        except OSError:
            self._typed = b""
        if waited:
            self._loop.watch(self._master, READ | WRITE if self._typed else READ, self._ready)

    def _ready(self, mask: int) -> None:
        if mask & WRITE:
            self._type()
            self._listen(not self._typed)
        if mask & READ and not self._show():
            self._loop.watch(self._master, 0, None)

    def _show(self) -> bool:
        """Pass on a piece of what is shown; whether there may be more."""
        try:
            data = memoryview(os.read(self._master, CHUNK))
        except BlockingIOError:
            return True
        except OSError:
            return False  # nobody has the terminal open any more
        while data:
            try:
                data = data[os.write(1, data) :]
            except OSError:
                return True  # whoever has looked at it is gone
        return True

    def close(self) -> None:
        """Pass on what has been shown, and give the terminal back."""
        self._listen(False)
        self._loop.watch(self._master, 0, None)
        while True:
            try:
                data = os.read(self._master, CHUNK)
            except OSError:
                break
            if not data:
                break
            try:
                os.write(1, data)
            except OSError:
                break
        os.close(self._master)
