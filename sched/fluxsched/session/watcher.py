# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Waiting for descriptors: a function is called when one is ready.

It does what programs here need of the module selectors, which takes a fourth of a command's time to import.
"""
from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Callable, Optional

READ, WRITE = 1, 2
LONGEST_WAIT = 86400.0  # seconds that a loop waits at a time: the kernel does not take more than 2^31 milliseconds
_MASKS = {READ: select.POLLIN, WRITE: select.POLLOUT, READ | WRITE: select.POLLIN | select.POLLOUT}


class Watcher:
    """Descriptors that are watched, each with what is called when it is ready.

    With `regular` there may be regular files among them, which are always ready, and which epoll refuses.
    """

    def __init__(self, regular: bool = False) -> None:
        self._poll: Any = select.poll() if regular else select.epoll()
        self._second = 1000 if regular else 1  # in the unit of its time limits
        self._entries: dict[int, tuple[int, Callable[[int], Any]]] = {}

    def __contains__(self, fd: object) -> bool:
        """Whether a descriptor is watched."""
        return fd in self._entries

    def watch(self, fd: int, mask: int, callback: Optional[Callable[[int], Any]]) -> None:
        """Have `callback(mask)` called when `fd` is ready to READ, WRITE or both; mask 0 or no callback ends it.

        Raises OSError."""
        before = self._entries.get(fd)
        if not mask or callback is None:
            if before is not None:
                del self._entries[fd]
                try:
                    self._poll.unregister(fd)
                except OSError:
                    pass  # it was closed before, and with that forgotten
            return
        if before is None:
            self._poll.register(fd, _MASKS[mask])
        elif before[0] != mask:
            self._poll.modify(fd, _MASKS[mask])
        self._entries[fd] = mask, callback

    def wait(self, seconds: Optional[float]) -> None:
        """Wait until something is ready, at most `seconds` (None: for ever), and call what is to be called."""
        for callback, mask in self.ready(seconds):
            callback(mask)

    def ready(self, seconds: Optional[float]) -> Iterator[tuple[Callable[[int], Any], int]]:
        """As :meth:`wait`, but the caller is to call: (function, mask), one by one.

        What was done before may have given a descriptor up, or its number away: then it is left out."""
        events = self._poll.poll(-1 if seconds is None else min(seconds, LONGEST_WAIT) * self._second)
        entries = self._entries
        found = [(fd, event, entries.get(fd)) for fd, event in events]
        for fd, event, entry in found:
            if entry is None or entries.get(fd) is not entry:
                continue
            mask = (READ if event & ~select.POLLOUT else 0) | (WRITE if event & ~select.POLLIN else 0)
            mask &= entry[0]
            if mask:
                yield entry[1], mask

    def close(self) -> None:
        """Watch nothing any more."""
        self._entries.clear()
        if self._second == 1:
            self._poll.close()
