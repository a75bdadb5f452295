# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The ring buffer of log lines that `flux dmesg` shows."""

import time
from collections import deque

from fluxsched.formats.quote import printable

NAMES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
CRIT, ERR, WARNING, NOTICE, INFO, DEBUG = 2, 3, 4, 5, 6, 7
SIZE = 4096


class Log:
    def __init__(self, size=SIZE):
        self._ring = deque(maxlen=size)
        self.followers = []
        self.mirror = None  # a text file that gets lines of level error and above

    def __call__(self, component, level, text, rank=0):
        level = min(max(int(level), 0), 7)
        for line in str(text).splitlines() or [""]:
            line = printable(line)
            entry = {"t": time.time(), "name": f"{component}.{NAMES[level]}[{rank}]", "level": level, "text": line}
            self._ring.append(entry)
            for follower in list(self.followers):
                follower(entry)
            if self.mirror is not None and level <= ERR:
                try:
                    print(f"{entry['name']}: {line}", file=self.mirror, flush=True)
                except OSError:
                    self.mirror = None  # it takes no more; the ring still has the line

    def entries(self):
        return list(self._ring)

    def clear(self):
        self._ring.clear()
