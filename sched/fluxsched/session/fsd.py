# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Flux standard duration (RFC 23): "30s", "1.5h", "2d", "100ms", "inf"; a bare number is seconds."""
from __future__ import annotations

import math


def parse(text: str, unit: float = 1.0) -> float:
    """A duration in seconds; `unit` is that of a bare number, in seconds.  ValueError if it is no duration."""
    from fluxsched.formats import duration
    from fluxsched.formats.quote import quote

    seconds = duration.parse(text.strip())
    if text.strip()[-1:] not in tuple("0123456789.") or math.isinf(seconds):
        return seconds
    if math.isinf(seconds * unit):
        raise duration.DurationError(f"{quote(text)} is out of range")
    return seconds * unit


def show(seconds: float) -> str:
    """Duration in its largest fitting unit, with at most four digits."""
    if math.isinf(seconds):
        return "inf"
    if seconds < 1e-3:
        return "0s"
    for suffix, scale in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if seconds >= scale:
            return f"{seconds / scale:.4g}{suffix}"
    return f"{seconds:.3f}s" if seconds < 10 else f"{seconds:.4g}s"
