# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A client that follows one job: its events and its output, in order."""

from __future__ import annotations

import base64
import errno
import json
from typing import Any, Optional

from fluxsched.session.broker.job import INACTIVE, Job
from fluxsched.session.broker.server import Request

PIECE = 1 << 18  # bytes of the record in one answer
LINE_MAX = 4 << 20  # bytes of a line of it
PAUSE = 0.5  # seconds until a record is read again that could not be read


class Watch:
    """Streams {"event"} and {"output": [entries], "damaged": lines left out} to a request.

    `output` is the file with the job's output, None if that is not wanted; `only` are the names of the events that
    are wanted, None for all.  The supervisor has written all output before it tells of the end, so output goes out
    ahead of "finish".
    """

    def __init__(
        self,
        request: Request,
        job: Job,
        output: Optional[str],
        only: Optional[list[str]] = None,
    ) -> None:
        self.request = request
        self.job = job
        self.path = output
        self.only = only
        self.offset = 0
        self.pending = list(job.events)
        self.waiting = False
        if job.state != INACTIVE:
            job.watchers.append(self)
            request.on_close = self.stop
        self.pump()

    def stop(self) -> None:
        """The client has gone."""
        if self in self.job.watchers:
            self.job.watchers.remove(self)

    def event(self, entry: dict[str, Any]) -> None:
        """The job has one more event."""
        if self.only is not None and entry["name"] not in self.only and entry["name"] != "clean":
            return
        self.pending.append(entry)
        self.pump()

    def pump(self) -> None:
        """Send what there is, as far as the client keeps up."""
        if not self.request.open:
            return
        while self.pending and self.request.open:
            if self._full():
                return
            if self.pending[0]["name"] in ("finish", "clean") and self._output():
                continue
            entry = self.pending.pop(0)
            if self.only is None or entry["name"] in self.only:
                self.request.stream({"event": entry})
            if entry["name"] == "clean":
                self.request.end()
                return
        while self.request.open and not self._full() and self._output():
            pass

    def _full(self) -> bool:
        if not self.waiting:
            self.waiting = not self.request.connection.channel.when_room(self._drained)
        return self.waiting

    def _drained(self) -> None:
        self.waiting = False
        self.pump()

    def _output(self) -> bool:
        """Send a piece of the output record; False if there is no more now, or `waiting` is set."""
        if self.path is None:
            return False
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read(PIECE)
                if data and b"\n" not in data:
                    data += file.readline(LINE_MAX)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                self.request.error(errno.EIO, f"{self.path}: {error.strerror}")
                return False
            # There is no descriptor now: nothing goes out until there is one.
            self.waiting = True
            self.request.connection.server.loop.call_later(PAUSE, self._drained)
            return True
        end = data.rfind(b"\n") + 1
        if not end and len(data) < LINE_MAX:
            return False
        if not end:  # far longer than a piece of output can be
            end = len(data)
            data += b"\n"
        self.offset += end
        entries = [entry_of(line) for line in data[:data.rfind(b"\n")].split(b"\n")]
        good = [entry for entry in entries if entry is not None]
        answer: dict[str, Any] = {"output": good}
        if len(good) < len(entries):
            answer["damaged"] = len(entries) - len(good)
        self.request.stream(answer)
        return True


def entry_of(line: bytes) -> Optional[dict[str, Any]]:
    """A piece of output (see runner/supervisor.py), or None if this line of the record is damaged."""
    try:
        entry = json.loads(line)
        whole = entry["s"] in ("stdout", "stderr") and type(entry["r"]) is int
        if "b" in entry:
            base64.b64decode(entry["b"], validate=True)
        else:
            whole = whole and isinstance(entry["d"], str)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return entry if whole else None
