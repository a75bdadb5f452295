# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What an answer that is still to come is held in."""
from __future__ import annotations

import errno
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Optional

if TYPE_CHECKING:
    from flux.handle import Flux

Callback = Callable[..., Any]


class Future:
    """The answer of a request, or the answers of a streaming one, of which :meth:`get` gives the oldest until
    :meth:`reset`."""

    def __init__(
        self, handle: Flux, topic: str, payload: Optional[dict[str, Any]] = None, streaming: bool = False
    ) -> None:
        """Send the request.  OSError if the session has gone."""
        self.handle = handle
        self.streaming = streaming
        self._answers: deque[tuple[Any, Optional[OSError]]] = deque()
        self._callback: Optional[Callback] = None
        self._arguments: tuple[Any, ...] = ()
        self._keywords: dict[str, Any] = {}
        self._number = handle.begin(self, topic, payload)

    # what the handle does

    @property
    def has_callback(self) -> bool:
        """Whether :meth:`then` has been called."""
        return self._callback is not None

    def arrived(self, payload: Any, error: Optional[OSError]) -> None:
        """Take an answer, or the refusal."""
        self._answers.append((payload, error))

    def call(self) -> None:
        """Call the callback."""
        if self._callback is not None:
            self._callback(self, *self._arguments, **self._keywords)

    # what programs do

    def get_flux(self) -> Flux:
        """The connection."""
        return self.handle

    def is_ready(self) -> bool:
        """Whether there is an answer; does not wait."""
        if not self._answers:
            self.handle.pump(time.monotonic())
        return bool(self._answers)

    def wait_for(self, timeout: float = -1.0) -> Future:
        """Wait for an answer, at most `timeout` seconds if it is not negative.  TimeoutError; OSError if refused."""
        deadline = None if timeout < 0 else time.monotonic() + timeout
        while not self._answers:
            if not self.handle.pump(deadline):
                raise TimeoutError(errno.ETIMEDOUT, "no answer has come in time")
        error = self._answers[0][1]
        if error is not None and error.errno != errno.ENODATA:
            raise error
        return self

    def get(self) -> Any:
        """The answer, once it is there.  OSError if the request was refused; of ENODATA, at the end of a stream."""
        self.wait_for()
        payload, error = self._answers[0]
        if error is not None:
            raise error
        return payload

    def reset(self) -> None:
        """Go on to the next answer of a stream."""
        if self._answers:
            self._answers.popleft()

    def next(self) -> Any:
        """The next answer of a stream, None at its end."""
        try:
            found = self.get()
        except OSError as error:
            if error.errno == errno.ENODATA:
                return None
            raise
        self.reset()
        return found

    def then(self, callback: Callback, *args: Any, **kwargs: Any) -> Future:
        """Have `callback(future, *args, **kwargs)` called by Flux.reactor_run for each answer."""
        if self._callback is not None:
            raise OSError(errno.EEXIST, "this future has a callback already")
        self._callback, self._arguments, self._keywords = callback, args, kwargs
        self.handle.schedule(self, len(self._answers))
        return self

    def cancel(self) -> None:
        """Give the request up: nothing of it comes any more."""
        self.handle.forget(self._number)
        self._answers.append((None, OSError(errno.ENODATA, "given up")))
