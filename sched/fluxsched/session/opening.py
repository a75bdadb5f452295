# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Opening a session: what `flux start` asks for, and the call that runs the broker."""
from __future__ import annotations

import gc
import signal
from dataclasses import dataclass, field
from typing import Any

from fluxsched.session.signals import SignalPipe

MAX_SIZE = 16384  # ranks
GRACE = 5.0  # seconds from SIGTERM to SIGKILL, unless [exec] kill-timeout says otherwise

# Signals that end a session, or go to its command.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@dataclass
class Nest:
    """The job of another session that a session is opened in, which is on the job's resources and ends with it."""

    uri: str  # of the session that runs the job, its parent
    socket: str  # path of the parent's socket
    jobid: int
    level: int  # how many sessions are around the nested one
    R: dict[str, Any]  # of the job, with ranks from 0 on
    cpus: list[int]  # that stand for cores 0, 1, ...
    near: dict[int, frozenset[int]]  # cpus near gpus
    folder: str  # of the job
    path: str  # ids of the job and of those around it, as in FLUX_JOB_ID_PATH


@dataclass
class Options:
    """The options of a session."""

    size: int = 1  # ranks
    statedir: str | None = None  # None: a temporary one
    emulate: str | None = None  # absolute path of the RDL file of a cluster
    config: dict[str, Any] = field(default_factory=dict)
    no_sched: bool = False
    verbose: bool = False
    service: bool = False  # open until it is told to end, known to all shells of its owner; its jobs outlive it
    grace: float = GRACE
    nest: Nest | None = None
    stay: bool = False  # without a command, until the session is told to end
    terminal: tuple[int, int] | None = None  # rows and columns of a terminal that the command gets
    dump: str | None = None  # absolute path of an archive of what it has kept, which is written at its end


def _keep(phase: str, info: dict[str, int]) -> None:
    """What a full search for garbage has left is searched no more: through all that a long queue is made of it would
    take longer than anybody should wait for an answer, again and again."""
    if phase == "stop" and info["generation"] == 2:
        gc.freeze()


def open_session(options: Options, words: list[str]) -> int:
    """Open a session, run the command `words` in it (a shell if empty), and end with it; its exit code.

    Raises SessionError if the session cannot be opened.
    """
    from fluxsched.session.broker.broker import Broker

    gc.set_threshold(700, 10, 10)  # a session lives long
    gc.callbacks.append(_keep)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a client or a terminal that goes does not end the session
    # Noted from here on, so that no signal leaves folders behind.
    early = SignalPipe(ENDING)
    try:
        broker = Broker(options)
        try:
            broker.run(words, early)
        finally:
            broker.close()
    finally:
        early.close()
    return broker.code
