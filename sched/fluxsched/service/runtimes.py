# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What users' jobs did with the time that they asked for, and how forecasts have held. The KVS keeps it."""

from __future__ import annotations

from typing import Any, Callable, Optional

from fluxsched.core.history import History
from fluxsched.service.coverage import LEVEL_MAX, LEVEL_MIN, Coverage
from fluxsched.service.host import LOG_WARNING, Host
from fluxsched.service.jobs import Job

__all__ = ["KEY", "RunTimes"]

#: Where it is kept.
KEY = "sched.history"
#: Seconds from a change until it is written.
REST = 300.0


class RunTimes:
    """The history of this instance. `guarded` wraps callbacks."""

    def __init__(self, host: Host, guarded: Callable[..., Callable[..., None]]) -> None:
        self.history = History()
        self.coverage = Coverage()
        self._host = host
        self._guarded = guarded
        self._dirty = False
        self._timer: Optional[Any] = None

    def load(self) -> None:
        """Read what is kept; jobs that end meanwhile count, too."""
        self._host.read(KEY, self._guarded(self._loaded))

    def _loaded(self, value: Any, error: Optional[OSError]) -> None:
        if error is not None:
            self._host.log(LOG_WARNING, f"{KEY}: {error}; run times are learnt anew")
        elif value is not None:
            try:
                level = float(value["level"])
                if not LEVEL_MIN <= level <= LEVEL_MAX:
                    raise ValueError(f"level {level!r}")
                kept = {int(user): [(float(part), float(asked)) for part, asked in row]
                        for user, row in value["users"].items()}
                coverage, history = Coverage(level), History()
                for user in [*kept, *(user for user in self.history.users if user not in kept)]:
                    for part, asked in kept.get(user, []) + self.history.jobs(user):
                        history.note(user, part, asked)
            except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as problem:
                what = f"{type(problem).__name__}: {problem}"
                self._host.log(LOG_WARNING, f"{KEY}: {what}; expected level and users; run times are learnt anew")
                return
            self.history, self.coverage = history, coverage

    def ended(self, job: Job, now: float) -> None:
        """A job that ran is over. One without a time limit, or whose user is not known, says nothing."""
        if job.user is None or not job.expiration or job.expiration <= job.starttime:
            return
        asked = job.expiration - job.starttime
        self.history.note(job.user, max((now - job.starttime) / asked, 0.0), asked)
        self.changed()

    def changed(self) -> None:
        """Write before long."""
        self._dirty = True
        if self._timer is None:
            self._timer = self._host.call_later(REST, self._guarded(self._write))

    def stop(self) -> None:
        """The end: send what is left, and do not wait for it."""
        if self._timer is not None:
            self._timer.cancel()
        self._write()

    def _write(self) -> None:
        self._timer = None
        if not self._dirty:
            return
        self._dirty = False
        users = {str(user): [[round(part, 3), round(asked, 3)] for part, asked in self.history.jobs(user)]
                 for user in self.history.users}
        value = {"level": round(self.coverage.level, 4), "users": users}
        self._host.commit({KEY: value}, self._guarded(self._written))

    def _written(self, error: Optional[OSError]) -> None:
        if error is not None:
            self._host.log(LOG_WARNING, f"{KEY} cannot be written: {error}")
