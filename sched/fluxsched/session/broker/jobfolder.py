# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The folder of a job that is over: its output stays, and nothing else."""

from __future__ import annotations

import errno
import os
import shutil

from fluxsched.session.broker.statedir import remove_killed
from fluxsched.session.wire import READY

STATE_PREFIX = "session-"  # of the state directory of a nested session, in the folder of its job


def tidy(over: list[tuple[str, str]]) -> OSError | None:
    """Remove the claims of jobs, and all in their folders but output; what stood in the way first. Each is a (folder,
    claim)."""
    problem = None
    for directory, claim in over:
        found = _tidy(directory, claim)
        problem = problem or found
    return problem


def _tidy(directory: str, claim: str) -> OSError | None:
    try:
        os.unlink(claim)
    except OSError:
        pass  # never made
    try:
        os.rmdir(directory)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            _keep_output(directory)
        elif error.errno != errno.ENOENT:
            return error
    return None


def _keep_output(directory: str) -> None:
    """Remove what a dead supervisor, or a nested session that was killed, has left beside the output; and the output,
    if it is empty."""
    shutil.rmtree(os.path.join(directory, "tmp"), ignore_errors=True)
    for name in os.listdir(directory):
        if name.startswith(STATE_PREFIX):
            remove_killed(os.path.join(directory, name))
        elif name == READY:
            os.unlink(os.path.join(directory, name))
    output = os.path.join(directory, "output")
    try:
        if os.path.getsize(output) == 0:
            os.unlink(output)
        os.rmdir(directory)
    except OSError:
        return  # there is output
