# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The broker's event loop: file descriptors, timers, deferred calls, signals.

A turn is: wait; handlers of ready descriptors; due timers; the calls that were
deferred, with those that they defer, for as long as a turn may take; then the
``turn_end`` hooks, which is where one commit answers for all that the turn has
written.
"""

from __future__ import annotations

import heapq
import itertools
import os
import signal
import time
from collections import deque
from typing import Any, Callable, Optional

from fluxsched.session.watcher import READ, Watcher

TURN = 0.005  # seconds after which deferred calls are left to the next turn


class Timer:
    """A call that is due at some time."""
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], Any]) -> None:
        self.callback: Optional[Callable[[], Any]] = callback

    def cancel(self) -> None:
        """Do not make the call; harmless after it."""
        self.callback = None


class Loop:
    """An event loop; one for each process."""
    def __init__(self, on_error: Callable[[Exception], Any]) -> None:
        """`on_error(exception)` is called with every exception that a callback does not catch."""
        self.on_error = on_error
        self.turn_end: list[Callable[[], Any]] = []
        self._watcher = Watcher()
        #: Calls `callback(mask)` when a descriptor is ready (see Watcher.watch).
        self.watch = self._watcher.watch
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._soon: deque[Callable[[], Any]] = deque()
        self._running = False
        self._signals: dict[int, Callable[[], Any]] = {}
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        self.watch(self._wake_r, READ, self._woken)

    def call_soon(self, callback: Callable[[], Any]) -> None:
        """Call `callback()` once, after the handlers and timers of this turn; in the next one if this takes long."""
        self._soon.append(callback)

    def call_later(self, seconds: float, callback: Callable[[], Any]) -> Timer:
        """Call `callback()` once after `seconds`."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + max(0.0, seconds), next(self._order), timer))
        return timer

    def on_signal(self, number: int, callback: Callable[[], Any]) -> None:
        """Call `callback()` in the loop when the signal has come."""
        self._signals[number] = callback
        signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)

    def _woken(self, mask: int) -> None:
        try:
            numbers = set(os.read(self._wake_r, 4096))
        except BlockingIOError:
            return
        for number in numbers:
            callback = self._signals.get(number)
            if callback is not None:
                self.call(callback)

    def call(self, callback: Callable[..., Any], *args: Any) -> None:
        """Call `callback(*args)`; an exception goes to `on_error`."""
        try:
            callback(*args)
        except Exception as error:
            self.on_error(error)

    def _wait(self) -> Optional[float]:
        if self._soon:
            return 0
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - time.monotonic())

    def run(self) -> None:
        """Run turns until :meth:`stop`."""
        self._running = True
        while self._running:
            for callback, mask in self._watcher.ready(self._wait()):
                self.call(callback, mask)
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                timer = heapq.heappop(self._timers)[2]
                if timer.callback is not None:
                    due, timer.callback = timer.callback, None
                    self.call(due)
            late = now + TURN
            while self._soon:
                for _ in range(len(self._soon)):
                    self.call(self._soon.popleft())
                if time.monotonic() >= late:
                    break
            for hook in self.turn_end:
                self.call(hook)

    def stop(self) -> None:
        """End :meth:`run` after this turn."""
        self._running = False

    def close(self) -> None:
        """Release the descriptors; the loop does not run again."""
        if self._signals:
            signal.set_wakeup_fd(-1)
        self._watcher.close()
        os.close(self._wake_r)
        os.close(self._wake_w)
