# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Amounts of memory as people write them: 4G, 512M, 1.5GiB, 100GB."""

from __future__ import annotations

import re
from typing import Any

from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import quote

MAX = 10**15  # bytes
MEGABYTE = 10**6  # in which resources have their amounts of memory, as RDL does

_UNITS = "kMGTP"
_SIZE = re.compile(r"(\d{1,15})(?:\.(\d{1,9}))?([KkMGTP])(iB|B)?", re.ASCII)


class SizeError(FluxSchedError, ValueError):
    """The text is no amount of memory, or is beyond a limit."""


def parse(text: Any) -> int:
    """The bytes of a size. G and GiB are 2^30, GB is 10^9; without a unit it is none.  Raises SizeError."""
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise SizeError(f"expected a size such as 4G or 512M, got {quote(text)}")
    power = _UNITS.index(match[3].replace("K", "k")) + 1
    unit = 1000**power if match[4] == "B" else 1024**power
    fraction = match[2] or ""
    size = int(match[1] + fraction) * unit // 10 ** len(fraction)
    if not 0 < size <= MAX:
        raise SizeError(f"expected a size above 0 and of at most {show(MAX)}, got {quote(text)}")
    return size


def show(size: int) -> str:
    """A number of bytes in the largest decimal unit that leaves a whole digit: 4.3GB."""
    for power in range(len(_UNITS), 0, -1):
        if size >= 1000**power:
            return f"{size / 1000**power:.3g}{_UNITS[power - 1]}B"
    return f"{size}B"
