# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What becomes of an exception in a callback: it is logged with its place in the code, and ends there."""

from __future__ import annotations

import traceback
from typing import Any, Callable

from fluxsched.service.host import LOG_ERR, Host

__all__ = ["Guard"]


def where(error: BaseException) -> str:
    """File, line and function in which an exception arose."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "unknown place"
    frame = frames[-1]
    return f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}"


class Guard:
    """Wraps the callbacks that a service gives to its host. `errors` counts what was logged; once `stopped` is set, no
    callback is called any more."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.errors = 0
        self.stopped = False

    def __call__(self, callback: Callable[..., None]) -> Callable[..., None]:
        """A callback for the host: an exception in it is logged with where it came from, and does not leave it."""

        def guarded(*values: Any) -> None:
            if self.stopped:
                return
            try:
                callback(*values)
            except Exception as error:
                function = getattr(callback, "func", callback)
                self.report(function.__name__.lstrip("_"), error)

        return guarded

    def report(self, what: str, error: BaseException) -> None:
        """Log a fault of ours."""
        self.errors += 1
        self._host.log(LOG_ERR, f"{what}: {type(error).__name__}: {error} ({where(error)})")

    def fatal(self, text: str, error: BaseException) -> None:
        """Log what the service cannot go on after, and end it."""
        self._host.log(LOG_ERR, f"{text}: {error}")
        self._host.fatal(error)
