# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Job ids: FLUIDs (RFC 19), 40 bits of milliseconds, 14 of generator, 10 of sequence.

People see the F58 form, base 58 behind a "ƒ" (or "f"); commands also take
decimal, hexadecimal (0x...) and dotted hexadecimal.
"""
from __future__ import annotations

import os
import sys
import time
from typing import Callable

from fluxsched.formats.quote import quote

_DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUE = {digit: value for value, digit in enumerate(_DIGITS)}
_MAX = (1 << 64) - 1
_LONGEST = 40  # characters of an id in its longest form
MAX_STORED = (1 << 63) - 1  # the database has signed numbers


def f58(jobid: int, plain: bool = False) -> str:
    """Job id as F58 text; `plain` gives the ASCII prefix.  ValueError if it is no id."""
    if not 0 <= jobid <= _MAX:
        raise ValueError(f"{jobid}: no job id")
    digits = ""
    rest = jobid
    while True:
        rest, digit = divmod(rest, 58)
        digits = _DIGITS[digit] + digits
        if not rest:
            return ("f" if plain else "ƒ") + digits


def dothex(jobid: int) -> str:
    """Job id as four groups of four hexadecimal digits."""
    text = "%016x" % jobid
    return ".".join(text[i : i + 4] for i in range(0, 16, 4))


def kvs(jobid: int) -> str:
    """Job id as the directory that flux-core keeps the job in."""
    return f"job.{dothex(jobid)}"


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


def parse(text: str) -> int:
    """Job id of 64 bits from any of its forms; ValueError if it is none."""
    value = -1
    if len(text) <= _LONGEST:
        try:
            value = _parse(text.strip())
        except (ValueError, KeyError):
            pass
    if not 0 <= value <= _MAX:
        raise ValueError(f"invalid JobID value: {quote(text)}")
    return value


def stored(jobid: int) -> int:
    """The id, if a session can have given it out; else ValueError."""
    if jobid > MAX_STORED:
        raise ValueError(f"invalid JobID value: {jobid}: expected at most {MAX_STORED}")
    return jobid


def _parse(text: str) -> int:
    if text.startswith("job."):
        text = text[len("job.") :]
    if text[:1] in ("ƒ", "f") and "." not in text:
        if len(text) < 2:
            raise ValueError
        value = 0
        for digit in text[1:]:
            value = value * 58 + _VALUE[digit]
        return value
    if not text.isascii() or "_" in text:
        raise ValueError
    if text.count(".") == 3:
        return int(text.replace(".", ""), 16)
    if text[:2].lower() == "0x":
        return int(text, 16)
    return int(text) if text.isdigit() else -1


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
