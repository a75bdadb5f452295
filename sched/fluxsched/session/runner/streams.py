# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The ends of pipes that a supervisor holds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Optional

from fluxsched.session.runner.sinks import Sink
from fluxsched.session.watcher import READ

if TYPE_CHECKING:
    from fluxsched.session.runner.supervisor import Supervisor

CHUNK = 1 << 16  # bytes of one read
LINE_MAX = 1 << 16  # bytes; of a longer line what there is goes on


class Stream:
    """The standard output or error of one task, which is passed on in whole lines.

    `fd` is our end of the pipe, `rank` the task's, `name` "stdout" or "stderr"; `sink` is the file that it goes to,
    None for the record of output.
    """

    def __init__(self, supervisor: Supervisor, fd: int, rank: int, name: str, sink: Optional[Sink]) -> None:
        self.supervisor = supervisor
        self.fd = fd
        self.rank = rank
        self.name = name
        self.sink = sink
        self.buffer = b""  # the line that is not whole yet
        self.paused = False

    def pause(self, sink: Sink) -> None:
        """Read no further until the sink has room."""
        if self.paused or self.fd < 0:
            return
        self.paused = True
        self.supervisor.watch(self.fd, 0, None)
        sink.waiting.append(self.resume)

    def resume(self) -> None:
        """Go on reading."""
        if not self.paused:
            return
        self.paused = False
        self.supervisor.watch(self.fd, READ, self.ready)

    def ready(self, mask: int) -> None:
        """Read what is in the pipe, and pass on whole lines."""
        try:
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.emit(len(self.buffer))
            self.close()
            return
        self.buffer += data
        if self.supervisor.spec["unbuffered"] or len(self.buffer) > LINE_MAX:
            self.emit(len(self.buffer))
        else:
            self.emit(self.buffer.rfind(b"\n") + 1)

    def emit(self, length: int) -> None:
        """Pass on the first `length` bytes of what was read."""
        if length:
            data, self.buffer = self.buffer[:length], self.buffer[length:]
            self.supervisor.output(self, data)

    def close(self) -> None:
        """Close our end, after all data was passed on."""
        self.supervisor.watch(self.fd, 0, None)
        self.paused = False
        os.close(self.fd)
        self.supervisor.streams.discard(self)
