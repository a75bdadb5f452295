# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Flux Standard Duration (RFC 23): "30s", "5m", "1.5h", "1d", "250ms", "inf", or plain seconds."""

from __future__ import annotations

import math
import re
from typing import Any, Optional

from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import quote

_UNITS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

# What C99 strtod reads: decimal, or hexadecimal, whose digits take an eager "d".
_DECIMAL = re.compile(r"\+?((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(ms|[smhd]?)", re.ASCII)
_HEX = re.compile(r"\+?(0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?)(ms|[smhd]?)", re.ASCII)
_INFINITY = re.compile(r"\+?inf(inity)?", re.ASCII | re.IGNORECASE)


class DurationError(FluxSchedError, ValueError):
    """Not a duration."""


def parse(value: Any) -> float:
    """Return the duration `value` in seconds, a float >= 0; math.inf for "inf" and "infinity".

    `value` is a string, or a number of seconds. DurationError if it is neither, or negative, NaN or out of range.
    """
    seconds: Optional[float] = None
    if isinstance(value, str):
        if len(value) <= 100:
            seconds = _from_text(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        try:
            seconds = float(value)
        except OverflowError:
            pass
    if seconds is None:
        raise DurationError(f"expected a duration such as 30s, 5m, 1.5h, 1d or inf, got {quote(value)}")
    return seconds


def _from_text(text: str) -> Optional[float]:
    if _INFINITY.fullmatch(text):
        return math.inf
    match = _DECIMAL.fullmatch(text)
    if match:
        number = float(match[1])
    else:
        match = _HEX.fullmatch(text)
        if match is None:
            return None
        try:
            number = float.fromhex(match[1])
        except OverflowError:
            return None
    seconds = number * _UNITS[match[2]]
    return seconds if math.isfinite(seconds) else None
