# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What jobspecs ask for. Jobs that come in thousands mostly ask for the same, which is read once.

What makes a request is the jobspec less the words of its command, its folder, its environment, its name and what it
waits for. The last few of these are remembered by their text.
"""

from __future__ import annotations

import json
from typing import Any, Optional

import orjson

from fluxsched.formats import jobspec as jobspecs

MOST = 64  # requests that are remembered
LONGEST = 4096  # bytes of the text of one
OTHER = ("cwd", "environment", "job", "dependencies")  # of attributes.system


class Spec:
    """The `request` of a jobspec, and as JSON what of it says how many tasks it has: `text`, one object for all."""

    __slots__ = ("request", "text", "_counts")

    def __init__(self, request: jobspecs.Request, text: str) -> None:
        self.request = request
        self.text = text
        self._counts: dict[tuple[int, ...], int] = {}

    def task_count(self, jobspec: Any, *held: int) -> int:
        """As formats.jobspec.task_count, of this jobspec.  Raises JobspecError."""
        count = self._counts.get(held)
        if count is None:
            count = self._counts[held] = jobspecs.task_count(jobspec, *held)
        return count


class Specs:
    """Reads jobspecs."""

    def __init__(self) -> None:
        self._known: dict[bytes, Spec] = {}

    def read(self, jobspec: Any) -> Spec:
        """What a jobspec asks for, which is untrusted.  Raises JobspecError."""
        text = _text(jobspec)
        if text is None or len(text) > LONGEST:
            return Spec(jobspecs.parse(jobspec), json.dumps(jobspec))
        spec = self._known.get(text)
        if spec is None:
            spec = Spec(jobspecs.parse(jobspec), text.decode())
            if len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[text] = spec
        return spec


def _text(jobspec: Any) -> Optional[bytes]:
    """What of a jobspec makes its request; None if it is no usual one."""
    try:
        tasks = []
        for task in jobspec["tasks"]:
            command = task["command"]
            if type(command) is not list or not command or not all(type(word) is str for word in command):
                return None
            tasks.append({**task, "command": ["app"]})
        system = dict(jobspec["attributes"]["system"])
        for name in OTHER:
            system.pop(name, None)
        parts = {"version": jobspec["version"], "resources": jobspec["resources"], "tasks": tasks}
        return orjson.dumps({**parts, "attributes": {"system": system}})
    except (KeyError, TypeError, ValueError):
        return None
