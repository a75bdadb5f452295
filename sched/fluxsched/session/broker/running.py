# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A job that has a supervisor, as its broker follows it, and the connections to the workers that run jobs."""

from __future__ import annotations

import base64
import socket
import time
from syslog import LOG_ERR
from typing import TYPE_CHECKING, Any, Callable, Optional

from fluxsched.formats.fastjson import encode
from fluxsched.session.broker.job import Job
from fluxsched.session.wire import Channel

if TYPE_CHECKING:
    from fluxsched.session.broker.executor import Executor


class Running:
    """A job that has, or is about to have, a supervisor.

    `finished` is whether the end of the job is known; `failed` is why no supervisor could be started; `tries` counts
    connections that did not come about; `reused` is whether it was given to a worker that has run others.
    """

    def __init__(self, executor: Executor, job: Job) -> None:
        self.executor = executor
        self.job = job
        # Events handled, also by an earlier broker: noted in the change of the store that each leads to.
        self.seen: int = job.info.get("exec_seen", 0)
        self.finished = False
        self.failed: Optional[str] = None
        self.tries = 0
        self.reused = False
        self._link: Optional[Link] = None
        self._queued: list[dict[str, Any]] = []  # commands from before the connection
        self._acks: dict[int, Callable[[bool], Any]] = {}
        self._next_ack = 0
        self._grown = False  # there is output that was not told of yet

    def connected(self, link: Link) -> None:
        """Take the connection to the supervisor, which from now on tells what happens."""
        self._link = link
        queued, self._queued = self._queued, []
        for message in queued:
            self.command(message)

    def command(self, message: dict[str, Any]) -> None:
        """Tell the supervisor, as soon as there is a connection."""
        if self._link is None:
            self._queued.append(message)
        else:
            self._link.channel.send(message)

    def stdin(self, data: bytes, eof: bool, callback: Callable[[bool], Any]) -> None:
        """Pass stdin on; `callback(open)` when there is room for more."""
        if self.finished:
            callback(False)
            return
        self._next_ack += 1
        self._acks[self._next_ack] = callback
        self.command({"op": "stdin", "n": self._next_ack, "data": base64.b64encode(data).decode(), "eof": eof})

    def disconnect(self) -> None:
        """Let the connection go; the supervisor goes on."""
        link, self._link = self._link, None
        if link is not None:
            link.release(self.finished)
        acks, self._acks = self._acks, {}
        for callback in acks.values():
            callback(False)

    def gone(self, reason: Optional[str]) -> None:
        """The connection has ended."""
        if reason is not None:
            self.executor.log("job-exec", LOG_ERR, f"{self.job.name}: the connection to its supervisor: {reason}")
        self.disconnect()
        if not self.finished:
            self.executor.disconnected(self)

    def message(self, message: dict[str, Any]) -> None:
        """Take a message of the supervisor."""
        if "event" in message:
            self.event(message)
        elif "out" in message:
            if not self._grown:
                self._grown = True
                self.executor.loop.call_soon(self._tell_growth)
        elif "ack" in message:
            callback = self._acks.pop(message["ack"], None)
            if callback is not None:
                callback(message["open"])
        elif "failed" in message:
            self.failed = message["failed"]

    def _tell_growth(self) -> None:
        self._grown = False
        self.executor.jobs.output_grew(self.job)

    def event(self, entry: dict[str, Any]) -> None:
        """One event of the supervisor, each once whichever way it comes."""
        if entry["n"] < self.seen or self.finished:
            return
        self.seen = self.job.info["exec_seen"] = entry["n"] + 1
        jobs, job, kind = self.executor.jobs, self.job, entry["event"]
        if kind == "start":
            jobs.on_start(job, entry["t"])
        elif kind == "timeout":
            jobs.on_timeout(job, entry["t"])
        elif kind == "exception":
            jobs.on_exec_exception(job, entry["text"], entry["t"])
        elif kind == "output-lost":
            self.executor.log("job-exec", LOG_ERR, f"{job.name}: {entry['text']}")
            jobs.exception(job, "output", 1, entry["text"], t=entry["t"])
        elif kind == "finish":
            self.finished = True
            self.executor.forget(self)
            jobs.on_finish(job, entry["status"], entry["t"])


class Link:
    """A connection to a worker, which runs a job, or waits for the next one."""

    def __init__(self, executor: Executor, sock: socket.socket, running: Optional[Running] = None) -> None:
        """`running` is the job of a worker that was found again. It is asked for no other: its broker was another."""
        self._executor = executor
        self._running = running
        self._found = running is not None
        self._used = False
        self.since = 0.0  # when it became idle (time.monotonic())
        self.channel = Channel(sock, executor.loop.watch, self._message, self._gone, encode=encode)

    def run(self, running: Running, spec: dict[str, Any]) -> None:
        """Have the worker run a job."""
        self._running = running
        running.reused, self._used = self._used, True
        self.channel.send({"run": spec})
        running.connected(self)

    def release(self, finished: bool) -> None:
        """Follow the job no longer. If it is not over, this broker has nothing more to do with its worker."""
        self._running = None
        if self._found or not finished:
            self.close()

    def close(self) -> None:
        """End the connection, and with it the worker as soon as it has no job."""
        self._executor.unlink(self)
        self.channel.close()

    def _message(self, message: dict[str, Any]) -> None:
        if "idle" in message:
            self.since = time.monotonic()
            self._executor.idle(self)
        elif self._running is not None:
            self._running.message(message)

    def _gone(self, reason: Optional[str]) -> None:
        self._executor.unlink(self)
        if self._running is not None:
            self._running.gone(reason)
