# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A connection to the session."""
from __future__ import annotations

import errno
import math
import os
import select
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Optional

from flux.future import Future
from flux.rpc import RPC
from fluxsched.session.commands.client import Client, is_session
from fluxsched.session.errors import CommandError

if TYPE_CHECKING:
    from fluxsched.session.commands.client import Answer

LONGEST_WAIT = 86400.0  # seconds of one call of poll, whose number of milliseconds is bounded


class Flux:
    """A connection to the session of FLUX_URI, or of `url`, for one thread.

    Answers are read when somebody waits for one: a future, or :meth:`reactor_run`, which also calls the callbacks of
    :meth:`Future.then`."""

    def __init__(self, url: Optional[str] = None, flags: int = 0) -> None:
        """Connect.  OSError if there is no session; `flags` is there for flux-core's sake."""
        try:
            self._client = Client(url)
        except CommandError as error:
            raise OSError(errno.ENOENT, f"Unable to connect to Flux: {error}") from None
        if not is_session(self._client.uri):
            self._client.close()
            text = "this is not an embedded session of flux-sched, but a Flux instance, which has its own Python module"
            raise OSError(errno.ENOTSUP, f"Unable to connect to Flux: {self._client.uri}: {text}")
        self._waiting: dict[int, Future] = {}  # by the number of their request
        self._ready: deque[Future] = deque()  # have an answer and a callback, once for each answer
        self._poll = select.poll()
        self._poll.register(self.fileno(), select.POLLIN)
        self._stopped = False

    # requests

    def rpc(self, topic: str, payload: Optional[dict[str, Any]] = None, nodeid: int = 0, flags: int = 0) -> RPC:
        """Send a request of the session; `nodeid` and `flags` are there for flux-core's sake.

        Topics and payloads are those of the session's socket, which are not all those of flux-core."""
        return RPC(self, topic, payload)

    def attr_get(self, attr_name: str) -> str:
        """An attribute of the session, such as "size", as text.  OSError if there is none."""
        return str(self.rpc("attr.get", {"name": attr_name}).get()["value"])

    def get_rank(self) -> int:
        """The rank that this connection is to."""
        return self._client.rank

    def log(self, level: int, fstring: str) -> None:
        """Add a line to the session's log, at a level of syslog(3)."""
        name = os.path.basename(os.environ.get("_", "")) or "python"
        self.rpc("log.append", {"name": name, "level": level, "text": fstring}).get()

    # answers

    def fileno(self) -> int:
        """The descriptor that is ready to read when an answer has come."""
        return self._client.fileno()

    def begin(self, future: Future, topic: str, payload: Optional[dict[str, Any]]) -> int:
        """Send the request of `future`; its number.  OSError if the session has gone."""
        try:
            number = self._client.send(topic, payload)
        except CommandError as error:
            raise OSError(errno.ECONNRESET, str(error)) from None
        self._waiting[number] = future
        return number

    def forget(self, number: int) -> None:
        """Nobody wants the answers of this request any more."""
        self._waiting.pop(number, None)

    def pump(self, deadline: Optional[float] = None) -> bool:
        """Wait for answers until `deadline` (time.monotonic()), and give them to their futures; whether some came.

        OSError if the session has gone."""
        while True:
            left = LONGEST_WAIT if deadline is None else max(0.0, deadline - time.monotonic())
            if self._poll.poll(math.ceil(min(left, LONGEST_WAIT) * 1000)):
                break
            if deadline is not None and time.monotonic() >= deadline:
                return False
        try:
            answers = self._client.arrived()
        except CommandError as error:
            raise OSError(errno.ECONNRESET, str(error)) from None
        for answer in answers:
            self._deliver(answer)
        return True

    def _deliver(self, answer: Answer) -> None:
        number, payload, error = answer
        future = self._waiting.get(number)
        if future is None:
            return
        if error is not None or not future.streaming:
            del self._waiting[number]
        future.arrived(payload, None if error is None else OSError(error.errno, error.text))
        if future.has_callback:
            self._ready.append(future)

    def schedule(self, future: Future, count: int) -> None:
        """Call the callback of `future` for answers that it has already."""
        self._ready.extend([future] * count)

    # the reactor

    def reactor_run(self) -> int:
        """Call callbacks as answers come, until there are none to wait for or :meth:`reactor_stop`; 0.

        What a callback raises is raised here."""
        self._stopped = False
        while not self._stopped:
            if self._ready:
                self._ready.popleft().call()
            elif any(future.has_callback for future in self._waiting.values()):
                self.pump()
            else:
                break
        return 0

    def run_ready(self) -> None:
        """Call the callbacks that are due, without waiting."""
        while self._ready:
            self._ready.popleft().call()

    def reactor_stop(self) -> None:
        """End :meth:`reactor_run` after this callback."""
        self._stopped = True
