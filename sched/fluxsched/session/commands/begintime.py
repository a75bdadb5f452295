# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""--begin-time: a time as people write it."""
from __future__ import annotations

import math
import time
from datetime import datetime

from fluxsched.formats import duration
from fluxsched.formats.quote import quote

LONGEST = 200  # characters


def parse(text: str) -> float:
    """Seconds since the epoch: "now", "+1h" and "-5m" from now, or a date and a time in words, such as
    "2030-01-31 12:00", "tomorrow 8am" or "in 2 hours", as flux-core understands them. ValueError if it is none."""
    now = time.time()
    try:
        if text == "now":
            return now
        if text[:1] in ("+", "-"):
            offset = duration.parse(text[1:])
            found = now + offset if text[0] == "+" else now - offset
        else:
            found = _from_words(text, now)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{quote(text)}: {error}") from None
    if not 0 <= found < math.inf:
        raise ValueError(f"{quote(text)}: expected a time since 1970")
    return found


def _from_words(text: str, now: float) -> float:
    from parsedatetime import VERSION_CONTEXT_STYLE, Calendar  # it takes long to load

    calendar = Calendar(version=VERSION_CONTEXT_STYLE)
    calendar.ptc.StartHour = 0
    found, context = calendar.parse(text[:LONGEST], sourceTime=time.localtime(now))
    if len(text) > LONGEST or not context.hasDateOrTime:
        raise ValueError('expected a time such as +30m, "2030-01-31 12:00" or "tomorrow 8am"')
    return datetime(*found[:6]).astimezone().timestamp()
