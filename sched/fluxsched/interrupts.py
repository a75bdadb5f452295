# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Ctrl-C in a program that computes for long and has something to put away, as ``flux-sched`` does.

A program with a loop notes signals, and the loop acts (fluxsched.session.signals); one that has nothing to put away
leaves SIGINT to the system (fluxsched.program).  Here there is neither: what takes long is in libraries that look at no
note, and files half written have to go.  So Python's own handler stays in force, which raises KeyboardInterrupt in the
main thread, wherever it is.  What must not be left half done stands in `uninterrupted`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["INTERRUPTED", "raise_on_interrupt", "uninterrupted"]

#: The exit code of a program that Ctrl-C has ended.
INTERRUPTED = 128 + signal.SIGINT


def raise_on_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, also in a process that it would have ended at once.

    A SIGINT that is ignored stays so, and nothing changes outside the main thread."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        except ValueError:
            pass  # another thread than the main one


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a SIGINT that comes in the block do what it does at the end of it.  For what takes a moment."""
    came: list[int] = []
    try:
        before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    except ValueError:  # another thread than the main one, in which alone a signal raises something
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)
