# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is shown of a job that is followed: its output, its exceptions, its end."""
from __future__ import annotations

import binascii
import os

from fluxsched.formats.quote import printable
from fluxsched.session import jobid as ids
from fluxsched.session import wire
from fluxsched.session.commands.client import ENODATA, RPCError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

STREAMS = {"stdout": 1, "stderr": 2}


def write_all(fd: int, data: bytes) -> None:
    """Write `data` to a descriptor, however long it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Follower:
    """Turns the answers of job.watch for one job into what people see, and an exit code."""

    def __init__(self, jobid: int, label: bool = False, events: bool = False, quiet: bool = False,
                 until: str | None = None, streams: Mapping[str, int] = STREAMS):
        """`label`: lines with the task's rank; `events`: all of them; `until`: done after the event of this name;
        `streams`: the descriptors that take output and errors."""
        self.jobid = jobid
        self.label = label
        self.show_events = events
        self.quiet = quiet
        self.until = until
        self.streams = streams
        self.submitted: float | None = None
        self.code = 0
        self.started = False
        self.done = False
        self.error: str | None = None

    def write(self, stream: str, data: bytes) -> None:
        """Pass output on to "stdout" or "stderr"."""
        write_all(self.streams[stream], data)

    def say(self, text: str) -> None:
        """A line for people, on standard error."""
        self.write("stderr", f"{printable(text)}\n".encode("utf-8", "backslashreplace"))

    def arrived(self, payload: Any, error: RPCError | None) -> None:
        """Take one answer of job.watch."""
        if error is not None:
            self.done = True
            if error.errno != ENODATA:
                self.error = error.text
        elif "output" in payload:
            self.output(payload["output"])
            damaged = payload.get("damaged", 0)
            if damaged:
                self.say(f"flux-job: record of output: left out, as damaged: {damaged} line{'s' * (damaged > 1)}")
        else:
            self.event(payload["event"])

    def output(self, entries: list[dict[str, Any]]) -> None:
        """Pass on pieces of output: {"s": stream, "r": rank, "d": text or "b": base64}."""
        for entry in entries:
            data = binascii.a2b_base64(entry["b"]) if "b" in entry else entry["d"].encode("utf-8", "surrogatepass")
            if self.label:
                prefix = b"%d: " % entry["r"]
                data = b"".join(prefix + line for line in data.splitlines(True))
            self.write(entry["s"], data)

    def event(self, entry: dict[str, Any]) -> None:
        """Take an event of the job (RFC 18)."""
        name, context = entry["name"], entry.get("context") or {}
        if self.submitted is None:
            self.submitted = entry["timestamp"]
        offset = f"{entry['timestamp'] - self.submitted:.3f}s"
        if name == "exception":
            if not self.quiet:
                text = f"{offset}: job.exception {ids.show(self.jobid)} type={context['type']} "
                self.say(f"{text}severity={context['severity']} {context.get('note') or ''}".rstrip())
            if context["severity"] == 0 and not self.code:
                self.code = 1
        elif self.show_events:
            tail = " " + wire.encode(context).decode().rstrip() if context else ""
            self.say(f"{offset}: job.{name}{tail}")
        if name in ("retry", "requeue"):
            self.code = 0  # what counts is how the job ends
            if not self.quiet:
                self.say(f"flux-job: running the job again: attempt {context['attempt']}")
        if name == "start":
            self.started = True
        elif name == "finish":
            self.finished(context["status"] >> 8)
        if name == self.until:
            self.done = True

    def finished(self, code: int) -> None:
        """The job's tasks are over, with this exit code."""
        self.code = code or (self.code and 1)
        if code and not self.quiet:
            if code > 128:
                import signal

            if code > 128 and code - 128 in set(signal.Signals):
                self.say(f"flux-job: task(s) {signal.strsignal(code - 128)}")
            else:
                self.say(f"flux-job: task(s) exited with exit code {code}")
