# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Numbers and times in sentences for people."""

from __future__ import annotations

import time

__all__ = ["clock", "plural"]


def plural(count: int, noun: str) -> str:
    """ "1 node", "2 nodes". """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def clock(t: float, now: float) -> str:
    """A time (seconds since the epoch) as people say it: the hour, and the day if that is another; local time."""
    then, today = time.localtime(t), time.localtime(now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M", then)
    return time.strftime("%b %d %H:%M" if then[0] == today[0] else "%Y-%m-%d %H:%M", then)
