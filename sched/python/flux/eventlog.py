# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Entries of event logs (RFC 18)."""
from __future__ import annotations

import json
from typing import Any


class EventLogEvent(dict):
    """An event: a dict of "timestamp", "name" and "context", which are attributes, too."""

    def __init__(self, event: str | dict[str, Any]) -> None:
        """From a dict, or its JSON."""
        super().__init__(json.loads(event) if isinstance(event, str) else event)
        self.setdefault("context", {})

    @property
    def name(self) -> str:
        """What has happened, such as "start"."""
        return str(self["name"])

    @property
    def timestamp(self) -> float:
        """When, in seconds since the epoch."""
        return float(self["timestamp"])

    @property
    def context(self) -> dict[str, Any]:
        """What the event says beyond its name."""
        found: dict[str, Any] = self["context"]
        return found

    @property
    def context_string(self) -> str:
        """The context as JSON, "" if there is none."""
        if not self.context:
            return ""
        return json.dumps(self.context, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

    def __str__(self) -> str:
        return f"{self.timestamp:.5f}: {self.name} {self.context}"
