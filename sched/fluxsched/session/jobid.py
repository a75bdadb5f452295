# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Job ids: FLUIDs (RFC 19), 40 bits of milliseconds, 14 of generator, 10 of sequence.

People see the F58 form, base 58 behind a "ƒ" (or "f"); commands also take
decimal, hexadecimal (0x...) and dotted hexadecimal.
"""

import os
import sys
import time

_DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUE = {digit: value for value, digit in enumerate(_DIGITS)}
_MAX = (1 << 64) - 1


def f58(jobid, plain=False):
    """Job id as F58 text; `plain` gives the ASCII prefix."""
    digits = ""
    rest = jobid
    while True:
        rest, digit = divmod(rest, 58)
        digits = _DIGITS[digit] + digits
        if not rest:
            return ("f" if plain else "ƒ") + digits


def dothex(jobid):
    text = "%016x" % jobid
    return ".".join(text[i : i + 4] for i in range(0, 16, 4))


def show(jobid):
    """F58 as this terminal can show it."""
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    return f58(jobid, plain=encoding != "utf8" or bool(os.environ.get("FLUX_F58_FORCE_ASCII")))


def parse(text):
    """Job id from any of its forms; ValueError if it is none."""
    try:
        value = _parse(text.strip())
    except (ValueError, KeyError):
        value = -1
    if not 0 <= value <= _MAX:
        raise ValueError(f"invalid JobID value: {text!r}")
    return value


def _parse(text):
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
    """New ids, rising, also past `last`, the greatest id given out before."""

    def __init__(self, epoch, last=0):
        self.epoch = epoch
        self.last = last

    def __call__(self):
        stamp = max(0, int((time.time() - self.epoch) * 1000)) & ((1 << 40) - 1)
        jobid = stamp << 24
        if jobid <= self.last:
            jobid = self.last + 1
            if not jobid & 0x3FF:  # the sequence is used up: borrow the next millisecond
                jobid = ((jobid >> 24) + 1) << 24
        self.last = jobid
        return jobid
