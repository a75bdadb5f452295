# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Event logs of jobs (RFC 18): what happened to a job, in order.

An event is a dict with ``name`` (str), ``timestamp`` (seconds since the epoch) and perhaps ``context`` (dict).
"""

from __future__ import annotations

import json
from typing import Any, Iterable, Optional

__all__ = ["checked", "entries", "expiration"]

#: A line of an event log is longer only if it is none.
MAX_LINE = 2**20


def _is_time(value: Any) -> bool:
    """Seconds that can be counted with; an integer may have any number of digits."""
    return type(value) in (int, float) and 0 <= value < 2**53


def checked(items: Iterable[Any]) -> list[dict[str, Any]]:
    """Those of `items` that are events; what is none is left out. An event's context is a dict."""
    events = []
    for item in items:
        if type(item) is not dict or type(item.get("name")) is not str:
            continue
        when = item.get("timestamp")
        if not _is_time(when):
            continue
        context = item.get("context")
        events.append({**item, "context": context if type(context) is dict else {}})
    return events


def entries(text: str) -> list[dict[str, Any]]:
    """The events of an event log; lines that are none are left out."""
    found = []
    for line in text.split("\n"):
        if not 0 < len(line) <= MAX_LINE:
            continue
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    return checked(found)


def expiration(events: Iterable[dict[str, Any]]) -> Optional[float]:
    """The end that the last ``resource-update`` of a job's events gives it (0: none); None if no event changed it."""
    found = None
    for event in events:
        if event["name"] == "resource-update":
            value = event["context"].get("expiration")
            if _is_time(value):
                found = float(value)
    return found
