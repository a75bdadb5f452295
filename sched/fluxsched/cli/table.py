# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Tables and times on a terminal, with the standard library alone: a cluster's installation has nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from fluxsched.formats.quote import printable

__all__ = ["duration", "lines", "until"]


def lines(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> list[str]:
    """A table as lines: `heads` over `rows`; columns named in `right` are set to the right. What is in it comes from
    users, so control characters are escaped."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max([len(head), *(len(row[i]) for row in shown)]) for i, head in enumerate(heads)]
    found = []
    for row in [list(heads), *shown]:
        cells = [
            cell.rjust(width) if head in right else cell.ljust(width) for cell, width, head in zip(row, widths, heads)
        ]
        found.append("  ".join(cells).rstrip())
    return found


def duration(seconds: float) -> str:
    """A duration in its two largest units: "1d3h", "9m57s", "0s"."""
    left = max(round(seconds), 0)
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"


def until(t: float, now: float) -> str:
    """How far away a time is: "in 5m", "now"."""
    return f"in {duration(t - now)}" if t - now >= 1 else "now"
