# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the scheduler service asks of the broker it lives in.

The Flux scheduler protocol (RFC 27, RFC 28) is implemented once, in
:mod:`fluxsched.service.service`, over this small interface.  A real broker and the
embedded session each provide one :class:`Host`; it translates, and decides
nothing.

Rules that every implementation keeps:

- Everything runs in one thread, the host's event loop.  No method blocks.
- A callback is called later, from the event loop, never from inside the
  method that was given it.
- An exception that leaves a callback of the service is the host's to report;
  the service catches its own.
"""

from __future__ import annotations

from syslog import LOG_DEBUG, LOG_ERR, LOG_INFO, LOG_WARNING
from typing import Any, Callable, Optional, Protocol

__all__ = ["Answered", "Host", "LOG_DEBUG", "LOG_ERR", "LOG_INFO", "LOG_WARNING", "Timer"]


#: Gets an answer and no error, or None and the error.
Answered = Callable[[Any, Optional[OSError]], Any]


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> object:
        """Do not make the call; harmless after it."""


class Host:
    """The broker, as the service sees it.  Subclasses override every method
    that raises NotImplementedError."""

    #: Seconds after which a change of the record of jobs is written at the latest, and from one write to the next at
    #: the least. What is younger than that waits for the next one, unless its job is over. So a transaction that takes
    #: some time is seen within a second, and what happens within a while is one.
    record_delay = 0.8
    record_interval = 0.4

    def now(self) -> float:
        """Seconds since the epoch, as a float."""
        raise NotImplementedError

    def log(self, level: int, text: str) -> None:
        """Write one line at a syslog level to the broker's log."""
        raise NotImplementedError

    def respond(self, request: Any, payload: Optional[dict[str, Any]]) -> None:
        """Answer `request` (the opaque handle that came with
        :meth:`fluxsched.service.service.Service.handle`) with a dict, or None for an
        empty answer.  A request may be answered several times (annotations)."""
        raise NotImplementedError

    def respond_error(self, request: Any, errnum: int, text: str) -> None:
        """Answer `request` with an error number and a sentence for people."""
        raise NotImplementedError

    def asker(self, request: Any) -> Optional[int]:
        """Who sent `request`: the user id, or None for the instance's owner and for Flux itself."""
        raise NotImplementedError

    def request(
        self, topic: str, payload: Optional[dict[str, Any]], callback: Optional[Answered], streaming: bool = False
    ) -> None:
        """Send a request; `callback(payload, error)` gets the answer.

        Exactly one of the two is not None, except that an empty answer gives
        ``callback(None, None)``.  `error` is an OSError with errno and the
        text that came with it.  With `streaming` the callback is called for
        each answer, and last with an error; errno ENODATA ends a stream
        normally.  `callback` None: no answer is wanted."""
        raise NotImplementedError

    def read_r(self, jobid: int, callback: Answered) -> None:
        """Read the R of a job that holds resources, as it is now, with the
        updates of the running job; `callback(R, error)`."""
        raise NotImplementedError

    def read(self, key: str, callback: Answered) -> None:
        """Read one KVS key; `callback(value, error)`, the value decoded from
        JSON.  A key that does not exist gives ``callback(None, None)``."""
        raise NotImplementedError

    def commit(self, puts: dict[str, Any], callback: Callable[[Optional[OSError]], Any]) -> None:
        """Write KVS keys in one transaction; `callback(error)`, None if it is
        durable.

        `puts` maps a key to a JSON value, None removes the key (and all below
        it, if it is a directory).  The key ``R:<jobid>`` stands for the job's
        own R, ``lwj:<N>`` for the record of number N: its value is a dict of
        the fields that change, whose names may lead through directories.
        Order is kept: keys are written in the order of the dict."""
        raise NotImplementedError

    def call_soon(self, callback: Callable[[], Any]) -> None:
        """Call `callback()` once, after the messages that are queued now have
        been handled, so that a burst of requests is one scheduling pass."""
        raise NotImplementedError

    def call_later(self, seconds: float, callback: Callable[[], Any]) -> Timer:
        """Call `callback()` once after `seconds`; returns an object with
        ``cancel()``, harmless after the call."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """The instance's configuration as a dict (tables ``queues``,
        ``sched``, ...), as of now."""
        raise NotImplementedError

    def fatal(self, error: BaseException) -> None:
        """The service cannot go on: stop the module with this exception."""
        raise NotImplementedError

    def finish(self, error: BaseException) -> None:
        """What the service lives on was taken away in good order (`error` says
        so): end the module, without an error where the host knows how."""
        self.fatal(error)

    def job_name(self, jobid: int) -> str:
        """How people write this job id."""
        return str(jobid)
