# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Following a job from the terminal: its output, its standard input, Ctrl-C and Ctrl-Z."""
from __future__ import annotations

import os
import stat
import sys
import time

from fluxsched.native import deque, signal
from fluxsched.session import jobid as ids
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.commands.follow import STREAMS, Follower, write_all
from fluxsched.session.errors import CommandError
from fluxsched.session.signals import SignalPipe
from fluxsched.session.watcher import READ, WRITE, Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

STDIN_CHUNK = 1 << 15
RETRY = 0.05  # seconds until stdin that the job has no room for is offered again
TWICE = 2.0  # seconds within which a second Ctrl-C or Ctrl-Z counts as such
WRITE_CHUNK = 4096  # a pipe that is ready takes as much without blocking
MOST_UNWRITTEN = 4 << 20  # bytes; beyond it nothing more is read from the session


def _in_background() -> bool:
    """Whether reading the terminal would stop us."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) != os.getpgrp()
    except OSError:
        return False


class Sink:
    """Standard output or error: what it does not take at once waits here, so that signals are heard meanwhile."""

    def __init__(self, name: str, watcher: Watcher):
        self.name = name
        self.fd = STREAMS[name]
        self.unwritten = 0
        self._watcher = watcher
        self._data: deque[bytes] = deque()
        # Only pipes, sockets and terminals can keep a writer waiting for others.
        self._may_wait = not stat.S_ISREG(os.fstat(self.fd).st_mode)

    def write(self, data: bytes) -> None:
        """Write now, or when there is room.  Raises OSError that names the stream."""
        if not self._may_wait:
            self._call(write_all, self.fd, data)
            return
        if not self._data and data:
            self._watcher.watch(self.fd, WRITE, self.flush)
        self._data.extend(data[i : i + WRITE_CHUNK] for i in range(0, len(data), WRITE_CHUNK))
        self.unwritten += len(data)

    def flush(self, mask: int) -> None:
        """Write a piece; the watcher has said that there is room."""
        piece = self._data.popleft()
        written = self._call(os.write, self.fd, piece)
        self.unwritten -= written
        if written < len(piece):
            self._data.appendleft(piece[written:])
        if not self._data:
            self._watcher.watch(self.fd, 0, None)

    def drain(self) -> None:
        """Write the rest, however long it takes."""
        self._call(write_all, self.fd, b"".join(self._data))

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except OSError as error:
            name = "standard output" if self.name == "stdout" else "standard error"
            raise OSError(error.errno, error.strerror, name) from None


class Attach(Follower):
    """Follows one job until it is over: passes output on, sends standard input, cancels on a second Ctrl-C."""

    def __init__(self, client: Client, jobid: int, stdin: bool = False, request: int = 0, **options: Any):
        """`stdin`: pass standard input on; `request`: the request that is answered as job.watch, if there is one;
        other options as of Follower."""
        super().__init__(jobid, **options)
        self.client = client
        self.stdin = stdin
        self.watcher = Watcher(regular=True)
        self.sinks = {name: Sink(name, self.watcher) for name in STREAMS}
        self.unsent: bytes | None = None  # stdin on its way, until the broker has taken it
        self.watch_request = request
        self.stdin_request: int | None = None
        self.stdin_open = False
        self.retry_at: float | None = None
        self.interrupted: float | None = None
        self.actions: dict[int, Callable[[], None]] = {
            signal.SIGINT: self.on_interrupt, signal.SIGTSTP: self.on_stop, signal.SIGTERM: self.on_term
        }

    # what comes

    def write(self, stream: str, data: bytes) -> None:
        """Pass output on, or keep it until there is room."""
        self.sinks[stream].write(data)

    def event(self, entry: dict[str, Any]) -> None:
        """Take an event: standard input is read from the start of the job to its end."""
        super().event(entry)
        if entry["name"] == "start":
            self.watch_stdin()
        elif entry["name"] == "finish":
            self.close_stdin()

    # stdin

    def watch_stdin(self) -> None:
        """Begin to read standard input."""
        if self.stdin and not self.stdin_open and not _in_background():
            self.stdin_open = True
            self.watcher.watch(0, READ, self.read_stdin)

    def read_stdin(self, mask: int) -> None:
        """Send what there is to read; an error counts as its end."""
        self.watcher.watch(0, 0, None)
        try:
            data = os.read(0, STDIN_CHUNK)
        except OSError:
            data = b""
        self.send_stdin(data)

    def send_stdin(self, data: bytes) -> None:
        """Offer a piece of standard input to the job; nothing is its end."""
        self.unsent = data
        payload = {"id": self.jobid, "data": data.decode("latin-1"), "eof": not data}
        self.stdin_request = self.client.send("job.stdin", payload)

    def taken(self, answer: Any, error: RPCError | None) -> None:
        """The broker's answer to a piece of stdin."""
        data, self.unsent, self.stdin_request = self.unsent, None, None
        if error is not None or not answer["open"]:
            self.stdin_open = False
        elif answer.get("wait"):
            self.unsent = data
            self.retry_at = time.monotonic() + RETRY
        elif data:
            self.watcher.watch(0, READ, self.read_stdin)
        else:
            self.stdin_open = False

    def close_stdin(self) -> None:
        """Read no more."""
        self.stdin = False
        self.watcher.watch(0, 0, None)

    # signals

    def on_signals(self, noted: SignalPipe) -> None:
        """Act on the signals that have come."""
        for number in noted.take():
            self.actions[number]()

    def _again(self) -> bool:
        return self.interrupted is not None and time.monotonic() - self.interrupted <= TWICE

    def on_interrupt(self) -> None:
        """Ctrl-C: ask; on a second one cancel the job."""
        if self._again():
            self.interrupted = None
            self.say("flux-job: canceling job on second ctrl-C")
            self.client.send("job-manager.raise", {"id": self.jobid, "type": "cancel", "note": "interrupted by ctrl-C"})
        else:
            self.interrupted = time.monotonic()
            self.say("flux-job: one more ctrl-C within 2s to cancel or ctrl-Z to detach")

    def on_stop(self) -> None:
        """Ctrl-Z: detach after Ctrl-C, else let the next one stop us."""
        if self._again():
            self.say("flux-job: detaching...")
            self.done = True
            return
        self.say("flux-job: one more ctrl-Z to suspend")
        self.interrupted = time.monotonic()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)

    def on_term(self) -> None:
        """SIGTERM is for the job."""
        self.client.send("job-manager.kill", {"id": self.jobid, "signum": int(signal.SIGTERM)})

    # the whole

    def run(self, signals: bool = True) -> int:
        """Follow the job to its end; its exit code.  Raises CommandError, and OSError of standard streams."""
        sys.stdout.flush()
        if not self.watch_request:
            self.watch_request = self.client.send("job.watch", {"id": self.jobid, "output": True})
        noted = SignalPipe(self.actions if signals else ())
        self.watcher.watch(noted.fileno(), READ, lambda mask: self.on_signals(noted))
        try:
            if self.client.buffered:
                self.on_answers(READ)
            while not self.done:
                self.wait()
        finally:
            noted.close()
        # Signals do again what they do by default, if the rest finds no room.
        self.watcher.close()
        for sink in self.sinks.values():
            sink.drain()
        if self.error is not None:
            raise CommandError(self.error)
        return self.code

    def wait(self) -> None:
        """Wait for something to happen, and act on it."""
        timeout = None if self.retry_at is None else max(0.0, self.retry_at - time.monotonic())
        self._hear(max(sink.unwritten for sink in self.sinks.values()) < MOST_UNWRITTEN)
        for callback, mask in self.watcher.ready(timeout):
            if self.done:
                break
            callback(mask)
        if self.retry_at is not None and time.monotonic() >= self.retry_at:
            self.retry_at = None
            self.send_stdin(self.unsent or b"")

    def _hear(self, wanted: bool) -> None:
        """Read from the session, or let it wait until output has been written."""
        self.watcher.watch(self.client.fileno(), READ if wanted else 0, self.on_answers)

    def on_answers(self, mask: int) -> None:
        """Take what the session has sent."""
        for number, payload, error in self.client.arrived():
            if number == self.watch_request:
                self.arrived(payload, error)
            elif number == self.stdin_request:
                self.taken(payload, error)
            if self.done:
                return


def submit_and_attach(request: dict[str, Any], label: bool = False, events: bool = False) -> int:
    """Submit a job by the payload of job.submit, and follow it; its exit code.  Raises CommandError."""
    client = Client()
    number = client.send("job.submit", {**request, "follow": True})
    _, answer, error = client.receive()
    if error is not None:
        raise CommandError(f"ERROR: {error.text}", logged=True)
    jobid = answer["id"]
    try:
        return Attach(client, jobid, stdin=True, request=number, label=label, events=events).run()
    except OSError as problem:
        raise CommandError(f"{problem.filename}: {problem.strerror}; job {ids.show(jobid)} goes on") from None
