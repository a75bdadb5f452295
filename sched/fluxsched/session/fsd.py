# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Flux standard duration (RFC 23): "30s", "1.5h", "2d", "100ms", "inf"; a bare number is seconds."""

import math

_UNITS = (("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0))


def parse(text, unit=1.0):
    """Seconds; `unit` is what a number without unit counts.  ValueError if it is no duration."""
    text = text.strip()
    if text.lower() in ("inf", "infinity"):
        return math.inf
    scale = unit
    number = text
    for suffix, seconds in _UNITS:
        if text.endswith(suffix):
            scale = seconds
            number = text[: -len(suffix)]
            break
    try:
        value = float(number) * scale
    except ValueError:
        raise ValueError(f"invalid Flux standard duration {text!r}") from None
    if math.isnan(value) or math.isinf(value) or "_" in number:
        raise ValueError(f"invalid Flux standard duration {text!r}")
    if value < 0:
        raise ValueError("duration must not be negative")
    return value


def show(seconds):
    """Duration in its largest fitting unit, with at most four digits."""
    if seconds is None or math.isinf(seconds):
        return "inf"
    if 0 < seconds < 1e-3:
        return "%.4gus" % (seconds * 1e6)
    for suffix, scale in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if seconds >= scale:
            return "%.4g%s" % (seconds / scale, suffix)
    return "%.4gs" % seconds
