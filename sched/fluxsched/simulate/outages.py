# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Nodes that go and come back in a simulation: a file of lines ``TIME ACTION NODES``.

TIME is seconds in the trace's time, [D-]HH:MM:SS, or, where the trace tells when it begins, a point in time such as
2026-03-01T12:00:00.5 (UTC, unless it has another offset). ACTION is ``drain`` (no more jobs start there; those that run
go on), ``down`` (those that run there end), ``restart`` (they go back to the queue, and run from their beginning) or
``up``. NODES are ranks or host names, as in ``0-3`` or ``node[0-3]``; a rank is the place of a node, unless the machine
says otherwise. Blank lines, and what is behind a ``#``, are passed over.

A folder is taken as the record of a scheduler (``record=DIR``). What went there was drained, or had lost its broker:
jobs that ran on it went on, as far as the scheduler knew. What the instance gave up for good is down.
"""
from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import List, Tuple

from fluxsched.core import Inventory
from fluxsched.errors import FluxSchedError
from fluxsched.formats import idset
from fluxsched.formats.quote import quote
from fluxsched.simulate.site import ranks_of
from fluxsched.traces.files import TraceError, lines
from fluxsched.traces.sacct import seconds
from fluxsched.twin.read import Part, RecordError, parts

ACTIONS = ("down", "drain", "restart", "up")
LAST = 9e12                    # s
MOST = 1_000_000

#: Time in µs, action, and ranks as an idset string.
Outage = Tuple[int, str, str]


class OutagesError(FluxSchedError, ValueError):
    """A file of outages that cannot be used; the text names the line, and what was expected."""


def read(path: str | os.PathLike[str], inventory: Inventory, unix_start: float) -> List[Outage]:
    """The outages in a file, by time, those of one time in the order of the file; what was before the trace's beginning
    is at it.

    unix_start: when the trace begins, s since the epoch; 0: that is not known. Raises OutagesError.
    """
    name = os.path.basename(os.fspath(path))
    found: List[Outage] = []
    if os.path.isdir(path):
        found = _of_record(path, inventory, unix_start)
        return [(max(time, 0), action, ranks) for time, action, ranks in found]
    try:
        for number, line in enumerate(lines(os.fspath(path)), 1):
            words = line.partition("#")[0].split()
            if words:
                if len(found) == MOST:
                    raise OutagesError(f"{name}: more than {MOST} lines")
                try:
                    found.append(_outage(words, inventory, unix_start))
                except ValueError as error:
                    raise OutagesError(f"{name}: line {number}: {error}") from None
    except TraceError as error:
        raise OutagesError(str(error)) from None
    return [(max(time, 0), action, ranks) for time, action, ranks in sorted(found, key=lambda outage: outage[0])]


def _of_record(path: str | os.PathLike[str], inventory: Inventory, unix_start: float) -> List[Outage]:
    """The outages in a record, in its order. Raises OutagesError."""
    if not unix_start:
        raise OutagesError(f"{path}: the trace does not tell when it begins, which a record needs")
    actions = {"up": "up", "down": "drain", "gone": "down"}
    found: List[Outage] = []
    try:
        for part in parts(path):
            if not found and not part.head.get("continues"):
                found += _at_first(part, inventory, unix_start)
            begun = False
            for row in part.rows():
                kind = row.values[0]
                begun = begun or kind == "begun"
                if begun and kind in actions:
                    if len(found) == MOST:
                        raise OutagesError(f"{path}: more than {MOST} changes of nodes")
                    try:
                        t, ranks = row.values[1:3]
                        found.append((round((t - unix_start) * 1e6), actions[kind], ranks_of(ranks, inventory)))
                    except (TypeError, ValueError) as error:
                        raise OutagesError(str(part.error(row.line, error))) from None
    except RecordError as error:
        raise OutagesError(str(error)) from None
    return found


def _at_first(part: Part, inventory: Inventory, unix_start: float) -> List[Outage]:
    """What is not up when a record begins. Raises OutagesError."""
    try:
        marks, time = part.head["marks"], round((part.head["time"] - unix_start) * 1e6)
        gone = set(idset.ids(marks["gone"]))
        drained = set(inventory.ranks) - set(idset.ids(marks["up"])) - gone
        return [
            (time, action, ranks_of(idset.encode(sorted(ranks)), inventory))
            for action, ranks in (("drain", drained), ("down", gone)) if ranks
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise OutagesError(str(part.error(1, error))) from None


def _outage(words: List[str], inventory: Inventory, unix_start: float) -> Outage:
    """An outage of the words of a line. Raises ValueError."""
    if len(words) != 3:
        raise ValueError(f"TIME ACTION NODES expected, {len(words)} words found")
    time = _time(words[0], unix_start)
    if not (0 if "T" not in words[0] else -LAST) <= time <= LAST:
        raise ValueError(f"a time from the trace's beginning on expected, {quote(words[0])} found")
    if words[1] not in ACTIONS:
        raise ValueError(f"one of {', '.join(ACTIONS)} expected, {quote(words[1])} found")
    return round(time * 1e6), words[1], ranks_of(words[2], inventory)


def _time(word: str, unix_start: float) -> float:
    """Seconds in the trace's time. Raises ValueError."""
    try:
        if "T" not in word:
            return seconds(word)
        when = datetime.fromisoformat(word[:-1] + "+00:00" if word.endswith("Z") else word)
    except ValueError:
        raise ValueError(f"seconds, [D-]HH:MM:SS or YYYY-MM-DDTHH:MM:SS expected, {quote(word)} found") from None
    if not unix_start:
        raise ValueError(f"seconds expected, {quote(word)} found: the trace does not tell when it begins")
    return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp() - unix_start
