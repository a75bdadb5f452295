# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Job ids: FLUIDs (RFC 19), 40 bits of milliseconds, 14 of generator, 10 of sequence.

People see the F58 form, base 58 behind a "ƒ" (or "f"); commands also take
decimal, hexadecimal (0x...) and dotted hexadecimal.
"""
from __future__ import annotations

from fluxsched.formats.quote import quote

_DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUE = {digit: value for value, digit in enumerate(_DIGITS)}
_MAX = (1 << 64) - 1
_LONGEST = 40  # characters of an id in its longest form


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
