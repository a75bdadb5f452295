# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Words of the scheduler protocol (RFC 27), and a job as the service sees it."""

from __future__ import annotations

import errno
import traceback
from typing import Any, Optional

from fluxsched.errors import FluxSchedError

__all__ = [
    "ANNOTATE", "CANCEL", "COMMITTING", "DENY", "Job", "PENDING", "ProtocolError", "RUNNING",
    "ServiceError", "STARTED", "SUCCESS",
    "field", "where",
]

# Answers to sched.alloc
SUCCESS = 0
ANNOTATE = 1
DENY = 2
CANCEL = 3

# Where a job stands with us
PENDING = 0      # waits in the engine
STARTED = 1      # the engine gave it resources; not yet handed to a commit
COMMITTING = 2   # its R is on the way into the KVS
RUNNING = 3      # answered


class ServiceError(FluxSchedError):
    """The scheduler cannot be loaded as asked; the text says why."""


class ProtocolError(FluxSchedError):
    """A message that lacks what the protocol says it holds; `errno` is for the answer."""

    def __init__(self, text: str, errnum: int = errno.EPROTO) -> None:
        super().__init__(text)
        self.errno = errnum


def where(error: BaseException) -> str:
    """File, line and function in which an exception arose."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "unknown place"
    frame = frames[-1]
    return f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}"


def field(payload: Any, name: str, kinds: type | tuple[type, ...], topic: str) -> Any:
    """payload[name], checked; bool is not an int here.  ProtocolError."""
    value = payload.get(name)
    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        names = " or ".join(kind.__name__ for kind in wanted)
        raise ProtocolError(f"{topic}: field {name!r}: expected {names}, got {value!r}")
    return value


class Job:
    """A job that waits for resources or holds some."""

    __slots__ = (
        "expiration",
        "freed",
        "id",
        "jobspec",
        "message",
        "priority",
        "request",
        "sent",
        "stage",
        "starttime",
        "t_submit",
        "told_at",
        "user",
    )

    def __init__(
        self, jobid: int, priority: int, t_submit: float, message: Any = None, user: Optional[int] = None
    ) -> None:
        self.id = jobid
        self.priority = priority
        self.t_submit = t_submit
        self.user = user            # the Flux userid
        self.message = message      # the sched.alloc request to answer
        self.request: Any = None    # formats.jobspec.Request
        self.jobspec: Optional[dict[str, Any]] = None      # until the job starts
        self.stage = PENDING
        self.sent: dict[str, Any] = {}      # annotations the job manager has from us
        self.told_at: Optional[float] = None    # when it was annotated last, seconds since the epoch
        self.starttime = 0.0
        self.expiration = 0.0
        self.freed: list[tuple[Optional[str], bool]] = []   # (ranks or None, final) that came too early

    def order(self) -> tuple[int, float, int]:
        """Jobs are considered in this order."""
        return (-self.priority, self.t_submit, self.id)
