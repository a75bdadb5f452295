# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What became of a job where it was decided upon, for worlds in which another policy decides: when it came, for how
long it ran, and what it gave back before its end.

A job that gave back some of its nodes early does so in the other world as long after its start there. It may have other
nodes there, and another number of them: the ranks of a job are taken as equal shares of it, in ascending order, and a
rank is given back once all that it stands for has been.
"""

from __future__ import annotations

from typing import Optional

from fluxsched.formats import idset

__all__ = ["GivenBack", "Life"]


class Life:
    """One job.  Times in s since the epoch, None: not so far.

    submit; start, end: when it got its resources, and when all were back; gone: when it was cancelled or denied, and
    had not started; parts: what it gave back before its end, as (s after its start, places among its ranks); ranks: all
    that it had, in ascending order, known once it has given back some.
    """

    def __init__(self, submit: float, start: Optional[float] = None) -> None:
        self.submit = submit
        self.start = start
        self.end: Optional[float] = None
        self.gone: Optional[float] = None
        self.parts: list[tuple[float, list[int]]] = []
        self.ranks: list[int] = []

    def give_back(self, time: float, held: str, ranks: str) -> None:
        """Some ranks are back: what it held before that, and what it gave, are idset strings."""
        assert self.start is not None
        if not self.ranks:
            self.ranks = idset.ids(held)
        place = {rank: at for at, rank in enumerate(self.ranks)}
        places = [place[rank] for rank in idset.ids(ranks) if rank in place]
        self.parts.append((time - self.start, places))


class GivenBack:
    """What a job gives back where it has these ranks (an idset string), as its life tells; part by part, in order."""

    def __init__(self, life: Life, ranks: str) -> None:
        self._life = life
        self._left = dict(enumerate(idset.ids(ranks)))
        self._count = len(self._left)
        self._back: set[int] = set()
        self._parts = 0

    def take(self, parts: int) -> str:
        """The ranks that are back after so many parts and were not so far, as an idset string; "": none."""
        for _, places in self._life.parts[self._parts:parts]:
            self._back.update(places)
        self._parts = max(self._parts, parts)
        there = len(self._life.ranks)
        due = [at for at in self._left
               if all(place in self._back for place in range(at * there // self._count,
                                                             max(-(-(at + 1) * there // self._count),
                                                                 at * there // self._count + 1)))]
        return idset.encode(sorted(self._left.pop(at) for at in due))
