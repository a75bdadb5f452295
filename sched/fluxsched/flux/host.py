# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The real broker as the scheduler service's host."""

from __future__ import annotations

import errno
import functools
import time
from typing import Any, Callable, Optional

import orjson

from fluxsched.flux.handle import Handle
from fluxsched.flux.jobid import job_key, job_name
from fluxsched.flux.lwj_layout import Layout
from fluxsched.formats import eventlog
from fluxsched.formats.quote import printable
from fluxsched.service.host import Host

__all__ = ["BrokerHost"]


#: Gets an answer and no error, or None and the error.
Answered = Callable[[Any, Optional[OSError]], Any]


def _decode(text: Optional[bytes]) -> Any:
    return None if text is None else orjson.loads(text)


class BrokerHost(Host):
    """`handle` is a fluxsched.flux.handle.Handle; `config` the instance's
    configuration, replaced by the module when it is reloaded; `hash_name` its attribute content.hash."""

    def __init__(self, handle: Handle, config: dict[str, Any], hash_name: str) -> None:
        self._handle = handle
        self._config = config
        self._layout = Layout(hash_name)

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def log(self, level: int, text: str) -> None:
        """Write a line to the broker's log."""
        self._handle.log(level, printable(text))

    def respond(self, request: Any, payload: Optional[dict[str, Any]]) -> None:
        """Answer a request, by its message."""
        self._handle.respond(request, None if payload is None else orjson.dumps(payload))

    def respond_error(self, request: Any, errnum: int, text: str) -> None:
        """Refuse a request, or end a stream of answers."""
        self._handle.respond_error(request, errnum, text)

    def asker(self, request: Any) -> Optional[int]:
        """By the credential that the broker gives every message."""
        return request.asker()

    def request(self, topic: str, payload: Any, callback: Optional[Answered], streaming: bool = False) -> None:
        """Send an RPC; the answers are decoded from JSON."""
        text = None if payload is None else orjson.dumps(payload)
        if callback is not None:
            callback = functools.partial(_answered, callback)
        self._handle.rpc(topic, text, callback, streaming)

    def read_r(self, jobid: int, callback: Answered) -> None:
        """R in the KVS is as it was at the start; what became of it is in the job's event log."""

        def got_r(R: Any, error: Optional[OSError]) -> None:
            if error is not None:
                callback(None, error)
                return

            def got_eventlog(text: Optional[bytes], error: Optional[OSError]) -> None:
                if error is None:
                    R["execution"].update(_updates(text))
                callback(R, None)

            if not isinstance(R, dict) or not isinstance(R.get("execution"), dict):
                callback(R, None)       # for the reader of R to say what is wrong with it
            else:
                self._handle.kvs_lookup(job_key(jobid, "eventlog"), got_eventlog)

        self._handle.kvs_lookup(job_key(jobid, "R"), functools.partial(_answered, got_r))

    def read(self, key: str, callback: Answered) -> None:
        """Read a key of the instance's KVS."""
        def got(text: Optional[bytes], error: Optional[OSError]) -> None:
            if error is not None and error.errno == errno.ENOENT:
                callback(None, None)
            else:
                _answered(callback, text, error)

        self._handle.kvs_lookup(key, got)

    def commit(self, puts: dict[str, Any], callback: Callable[[Optional[OSError]], Any]) -> None:
        """Write keys to the instance's KVS in one transaction. What it refers to is sent to the content store before,
        whose answer to the last of it is waited for as well."""
        blobs, steps = self._layout.operations(puts)
        waiting = 2 if blobs else 1
        failure: Optional[OSError] = None

        def answered(nothing: Any, error: Optional[OSError]) -> None:
            nonlocal waiting, failure
            waiting -= 1
            failure = failure or error
            if waiting:
                return
            if failure is not None:
                self._layout.forget()
            callback(failure)

        for blob in blobs:
            self._handle.rpc("content.store", blob, answered if blob is blobs[-1] else None, raw=True)
        self._handle.kvs_commit(steps, answered)

    def call_soon(self, callback: Callable[[], Any]) -> None:
        """Call after the messages that are queued now."""
        self._handle.call_soon(callback)

    def call_later(self, seconds: float, callback: Callable[[], Any]) -> Any:
        """Call after `seconds`, by a timer of the reactor."""
        return self._handle.call_later(seconds, callback)

    def config(self) -> dict[str, Any]:
        """The configuration as it was given last."""
        return self._config

    def set_config(self, config: dict[str, Any]) -> None:
        """The instance's configuration was reloaded."""
        self._config = config

    def fatal(self, error: BaseException) -> None:
        """End the module with this error."""
        self._handle.fail(error)

    def finish(self, error: BaseException) -> None:
        """End the module in good order."""
        self._handle.stop()

    def job_name(self, jobid: int) -> str:
        """The job's id as Flux writes it."""
        return job_name(jobid)


def _updates(text: Optional[bytes]) -> dict[str, float]:
    expiration = eventlog.expiration(eventlog.entries((text or b"").decode(errors="replace")))
    return {} if expiration is None else {"expiration": expiration}


def _answered(callback: Answered, text: Optional[bytes], error: Optional[OSError]) -> None:
    if error is not None:
        callback(None, error)
        return
    try:
        value = _decode(text)
    except ValueError as problem:
        callback(None, OSError(errno.EPROTO, f"not JSON: {problem}"))
        return
    callback(value, None)
