# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Signals as something to read, for a program that waits on descriptors.

A handler in Python can come between any two instructions, also in the middle of a write, so nothing is done in one:
the interpreter notes the signal's number in a pipe, which wakes the loop, and the loop acts.
"""
from __future__ import annotations

import os

from fluxsched.native import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class SignalPipe:
    """Notes the signals `numbers` for as long as it is open. Only for the main thread."""

    def __init__(self, numbers: Iterable[int]):
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._before = {number: signal.signal(number, _noted) for number in numbers}
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def fileno(self) -> int:
        """The descriptor that is ready to read when a signal has come."""
        return self._read

    def take(self) -> list[int]:
        """Numbers of the signals that have come since, in their order."""
        try:
            return list(os.read(self._read, 4096))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Restore the handlers that the signals had before."""
        for number, before in self._before.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._read)
        os.close(self._write)


def _noted(number: int, frame: object) -> None:
    """The interpreter has written the number to the pipe."""
