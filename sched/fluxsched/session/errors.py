# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The errors of a session: of requests, of commands, and of the session itself."""
from __future__ import annotations

import os

from fluxsched.errors import FluxSchedError


class RequestError(FluxSchedError):
    """A request that is refused: errno and a sentence for people."""

    def __init__(self, errnum: int, text: str | None = None):
        super().__init__(text or os.strerror(errnum))
        self.errno = errnum
        self.text = text or os.strerror(errnum)


class CommandError(FluxSchedError):
    """A command that fails with this text and exit code; `logged` if the broker has it in its log."""

    def __init__(self, text: str, code: int = 1, logged: bool = False):
        super().__init__(text)
        self.code = code
        self.logged = logged


class NoSession(CommandError):
    """There is no session to talk to."""


class SessionError(FluxSchedError):
    """A session that cannot start or go on."""
