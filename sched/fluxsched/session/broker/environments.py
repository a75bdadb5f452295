# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The environments of jobs, which are large, and alike in jobs that one shell has submitted: each is stored once.

A job's own environment is what differs from that.
"""

from __future__ import annotations

import json
from typing import Any, Optional

DIFFERENT = 8  # variables that may differ
KNOWN = 16  # environments that are remembered

#: The number of a shared environment, that as JSON, and a jobspec with what differs from it; without an environment the
#: number is None.
Split = tuple[Optional[int], str, dict[str, Any]]


class Environments:
    """Finds for each job the stored environment that it shares; `last` is the greatest number that was given out."""

    def __init__(self, last: int) -> None:
        self.last = last
        self._known: dict[int, dict[str, str]] = {}
        self._current = 0
        self._text = ""  # of the current one

    def get(self, number: int) -> dict[str, str] | None:
        """The environment of a number, if it is remembered."""
        return self._known.get(number)

    def put(self, number: int, environment: dict[str, str]) -> None:
        """Remember an environment."""
        while len(self._known) >= KNOWN:
            del self._known[next(iter(self._known))]
        self._known[number] = environment

    def split(self, jobspec: dict[str, Any]) -> Split:
        """A jobspec and the environment that it shares; its own is one of strings."""
        system = jobspec["attributes"]["system"]
        environment = system.get("environment")
        if environment is None:
            return None, "", jobspec
        base = self._known.get(self._current)
        own = None
        if base is not None:
            own = dict(environment.items() - base.items())
            if len(own) > DIFFERENT or len(environment) != len(base.keys() | own.keys()):
                own = None
        if own is None:
            own = {}
            self.last += 1
            self._current = self.last
            self._text = json.dumps(environment, separators=(",", ":"))
            self.put(self._current, dict(environment))
        spec = dict(jobspec)
        spec["attributes"] = dict(spec["attributes"])
        spec["attributes"]["system"] = dict(system, environment=own)
        return self._current, self._text, spec
