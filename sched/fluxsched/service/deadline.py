# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A limit for policies in plain Python that are only tried: one that does not come back ends with an exception.

The interpreter is asked to tell of each line that is run, and the time is looked at then. A call that is not Python, as
that of a long sleep, is not interrupted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import Any

from fluxsched.policy.pyplugin import PythonPolicy

__all__ = ["DEADLINE", "Overrun", "deadline", "limited"]

#: Seconds that a policy may take at a time.
DEADLINE = 1.0


class Overrun(BaseException):
    """A policy has not come back in time.  No Exception, so that the policy's own handlers let it pass."""


def deadline(policy: Any, seconds: float) -> AbstractContextManager[None]:
    """Raise Overrun in the lines of a policy in Python that run after so many seconds from now on."""
    return limited(seconds) if isinstance(policy, PythonPolicy) else nullcontext()


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """The same for whatever is run in Python."""
    end = time.monotonic() + seconds

    def trace(frame: FrameType, event: str, value: Any) -> Any:
        if time.monotonic() > end:
            place = f"{frame.f_code.co_filename}, line {frame.f_lineno}"
            raise Overrun(f"it has not come back within {seconds:g} s ({place})")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
