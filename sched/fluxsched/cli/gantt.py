# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A chart of nodes over time in letters, for a terminal."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

from fluxsched.cli.table import duration
from fluxsched.formats import hostlist
from fluxsched.formats.quote import printable
from fluxsched.formats.words import clock

__all__ = ["chart", "letters", "span"]

LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits
FREE = "."
SEVERAL = "*"
SHADES = " ░▒▓█"
LABEL_MAX = 16


def letters(jobs: Sequence[dict[str, Any]]) -> dict[int, str]:
    """A letter for each job, in turn; with more jobs than letters they come again."""
    return {job["id"]: LETTERS[i % len(LETTERS)] for i, job in enumerate(jobs)}


def span(answer: dict[str, Any]) -> float:
    """The seconds from now on that a chart shows: until all has ended that ends, or the time that was asked for."""
    now = answer["now"]
    ends = [job["end"] for job in answer["jobs"] if job["end"] is not None]
    starts = [job["start"] for job in answer["jobs"]]
    last = max([*ends, *starts, now + 60.0])
    if answer["until"] is not None:
        last = min(last, max(answer["until"], now + 1.0))
    return max(last - now, 1.0)


def chart(answer: dict[str, Any], keys: dict[int, str], width: int, height: int) -> list[str]:
    """The chart as lines: `width` characters, at most `height` rows of nodes."""
    hosts = hostlist.decode(answer["nodes"]) if answer["nodes"] else []
    if not hosts:
        return ["no nodes"]
    group = -(-len(hosts) // max(height, 1))
    firsts = range(0, len(hosts), group)
    labels = [_label(hosts[first:first + group]) for first in firsts]
    room = max(len(label) for label in labels)
    columns = max(width - room - 3, 10)
    seconds = span(answer)
    rows = _rows(answer, keys, len(hosts), group, columns, seconds)
    found = [f"{label:<{room}} |{''.join(row)}|" for label, row in zip(labels, rows)]
    return [*found, *_axis(answer["now"], seconds, room + 2, columns)]


def _label(hosts: list[str]) -> str:
    text = printable(hosts[0] if len(hosts) == 1 else f"{hosts[0]} +{len(hosts) - 1}")
    return text if len(text) <= LABEL_MAX else text[:LABEL_MAX - 1] + "…"


def _rows(answer: dict[str, Any], keys: dict[int, str], nhosts: int, group: int, columns: int,
          seconds: float) -> list[list[str]]:
    """Cells: what most of a column's time is true at its middle."""
    now = answer["now"]
    nrows = -(-nhosts // group)
    busy = [[0] * columns for _ in range(nrows)]
    rows = [[FREE] * columns for _ in range(nrows)]
    for job in answer["jobs"]:
        left = _column(job["start"] - now, seconds, columns)
        right = columns if job["end"] is None else _column(job["end"] - now, seconds, columns)
        for first, last in job["runs"]:
            for row in range(first // group, last // group + 1):
                count = min(last, (row + 1) * group - 1) - max(first, row * group) + 1
                for column in range(left, right):
                    rows[row][column] = SEVERAL if busy[row][column] else keys[job["id"]]
                    busy[row][column] += count
    if group > 1:
        for row in range(nrows):
            size = min(group, nhosts - row * group)
            rows[row] = [SHADES[_shade(count, size)] for count in busy[row]]
    return rows


def _shade(count: int, size: int) -> int:
    """How dark a cell is: 0 if no node is busy, 4 if all are."""
    return 4 if count >= size else 0 if count == 0 else 1 + 3 * count // (size + 1)


def _column(t: float, seconds: float, columns: int) -> int:
    """The first column whose middle is not before t."""
    return min(max(int(t / seconds * columns + 0.5), 0), columns)


def _axis(now: float, seconds: float, indent: int, columns: int) -> list[str]:
    """Marks of time below the rows."""
    marks, texts = [" "] * columns, [" "] * columns
    at = 0
    while at < columns:
        t = now + seconds * at / columns
        text = clock(t, now)
        if at + len(text) > columns:
            break
        marks[at] = "^"
        texts[at:at + len(text)] = text
        at += max(len(text) + 4, columns // 5)
    pad = " " * indent
    return [pad + "".join(marks).rstrip(), pad + "".join(texts).rstrip(),
            f"{pad}a column is {duration(max(seconds / columns, 1.0))}"]
