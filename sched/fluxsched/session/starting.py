# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Why a program could not be started, in words for people."""

from __future__ import annotations

import errno
import os
import stat
from typing import Optional, Sequence

FIRST = 256  # bytes that the kernel reads of a first line


def reason(number: int, paths: Sequence[str | bytes], folder: Optional[int] = None) -> str:
    """Why none of the files `paths`, in the folder of a descriptor, could be run: errno `number`, and if one is there
    all the same, what it needs and has not."""
    if number == errno.ENOENT:
        for path in paths:
            # A name alone was looked for in PATH, where it is not.
            text = _missing(path, folder) if os.path.dirname(path) else ""
            if text:
                return text
    return os.strerror(number)


def _missing(path: str | bytes, folder: Optional[int]) -> str:
    """What a file that is there needs to be run and has not; empty if that is not known."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except (OSError, ValueError):
        return ""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        line = os.read(fd, FIRST).partition(b"\n")[0]
    except OSError:
        return ""
    finally:
        os.close(fd)
    if not line.startswith(b"#!"):
        return "the loader that it needs is not there"
    words = line[2:].split(b" ")
    program = next((word for word in words if word), b"").decode(errors="replace")
    if program.endswith("\r"):
        return f"its first line, #!{program[:-1]}, ends with a carriage return, as lines of Windows do"
    return f"{program}, which its first line names, is not there"
