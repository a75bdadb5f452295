# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The job ids of a session: as fluxsched.formats.fluid reads and writes them, how they are shown, and new ones."""
from __future__ import annotations

import os
import sys
import time

from fluxsched.formats.fluid import dothex, f58, kvs, parse

__all__ = ["FORMS", "MAX_STORED", "Generator", "dothex", "f58", "kvs", "parse", "show", "stored"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

MAX_STORED = (1 << 63) - 1  # the database has signed numbers


def show(jobid: int) -> str:
    """F58 as this terminal can show it."""
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    return f58(jobid, plain=encoding != "utf8" or bool(os.environ.get("FLUX_F58_FORCE_ASCII")))


# the forms in which an id is shown: id.dec, `flux job id --to=dec`
FORMS: dict[str, Callable[[int], str]] = {
    "dec": str,
    "hex": hex,
    "f58": f58,
    "f58plain": lambda jobid: f58(jobid, plain=True),
    "dothex": dothex,
    "kvs": kvs,
}


def stored(jobid: int) -> int:
    """The id, if a session can have given it out; else ValueError."""
    if jobid > MAX_STORED:
        raise ValueError(f"invalid JobID value: {jobid}: expected at most {MAX_STORED}")
    return jobid


class Generator:
    """Makes new ids. Each is greater than the one before, and than `last`, the greatest id given out earlier."""

    def __init__(self, epoch: float, last: int = 0):
        self.epoch = epoch
        self.last = last

    def __call__(self) -> int:
        """The next id.  OverflowError if there is none that can be stored."""
        stamp = max(0, int((time.time() - self.epoch) * 1000)) & ((1 << 40) - 1)
        jobid = stamp << 24
        if jobid <= self.last:
            jobid = self.last + 1
            if not jobid & 0x3FF:  # the sequence is used up: borrow the next millisecond
                jobid = ((jobid >> 24) + 1) << 24
        if jobid > MAX_STORED:
            begin = time.strftime("%Y-%m-%d", time.gmtime(self.epoch))
            raise OverflowError(f"no more job ids: the clock is too far from {begin}, where this session's begin")
        self.last = jobid
        return jobid
