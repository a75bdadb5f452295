# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What becomes of a job of which a task has exited while others go on: shell options exit-timeout, exit-on-error."""

from __future__ import annotations

import time
from typing import Callable


class Exits:
    """The first exit of a task of one job, and its consequence.  `fail(reason, exit code)` ends the job."""

    def __init__(
        self,
        timeout: float,
        on_error: bool,
        timers: dict[str, tuple[float, Callable[[], None]]],
        fail: Callable[[str, int], None],
        spared: Callable[[], bool] = lambda: False,
    ) -> None:
        """`timeout` is how many seconds the others have, a negative number for ever. `spared()` is whether the job goes
        on even then."""
        self._timeout = timeout
        self._on_error = on_error
        self._timers = timers
        self._fail = fail
        self._spared = spared

    def exited(self, rank: int, code: int) -> None:
        """A task has exited, and others have not."""
        how = f"task {rank} has ended with exit code {code}"
        if self._on_error and code:
            self._fail(f"{how}, and exit-on-error is set", code)
            return
        if self._timeout >= 0:
            text = f"{how}, and the others have gone on for {self._timeout:g} s (exit-timeout)"
            self._timers.setdefault("exit", (time.monotonic() + self._timeout, lambda: self._over(text, code or 1)))

    def _over(self, reason: str, code: int) -> None:
        if not self._spared():
            self._fail(reason, code)

    def close(self) -> None:
        """All tasks have exited, or the job is ended for another reason."""
        self._timers.pop("exit", None)
