# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The ring buffer of log lines that `flux dmesg` shows."""

from __future__ import annotations

import time
from collections import deque
from syslog import LOG_DEBUG, LOG_EMERG, LOG_ERR
from typing import Any, Callable, Optional, TextIO

from fluxsched.formats.quote import printable

#: Names of the levels of syslog(3).
NAMES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
SIZE = 4096


#: A line of the log: {"t": seconds since the epoch, "name": component, level and rank, "level", "text"}.
Entry = dict[str, Any]


class Log:
    """The last lines of the log, and who follows it."""
    def __init__(self, size: int = SIZE) -> None:
        """Keep the last `size` lines."""
        self._ring: deque[Entry] = deque(maxlen=size)
        self.followers: list[Callable[[Entry], Any]] = []
        self.mirror: Optional[TextIO] = None  # a text file that gets lines of level error and above

    def __call__(self, component: str, level: int, text: str, rank: int = 0) -> None:
        """Add the lines of `text` at a syslog level."""
        level = min(max(int(level), LOG_EMERG), LOG_DEBUG)
        for line in str(text).splitlines() or [""]:
            line = printable(line)
            entry = {"t": time.time(), "name": f"{component}.{NAMES[level]}[{rank}]", "level": level, "text": line}
            self._ring.append(entry)
            for follower in list(self.followers):
                follower(entry)
            if self.mirror is not None and level <= LOG_ERR:
                try:
                    print(f"{entry['name']}: {line}", file=self.mirror, flush=True)
                except OSError:
                    self.mirror = None  # it takes no more; the ring still has the line

    def entries(self) -> list[Entry]:
        """What the log holds, the oldest line first."""
        return list(self._ring)

    def clear(self) -> None:
        """Forget all lines."""
        self._ring.clear()
