# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Why a job waits, in one line with numbers: for its annotation, and at the head of ``flux sched why``.

The facts are the engine's (``Engine.why``); here they become a sentence.  A line has a meaning beside its text: what
kind of reason it is, and which job it names.  Numbers change all the time, and whoever tells the line again and again
tells it when the meaning has changed.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional

from fluxsched.core import Engine
from fluxsched.formats.jobspec import Request
from fluxsched.formats.words import clock, plural
from fluxsched.service.jobs import Job
from fluxsched.service.memory import requested

__all__ = ["Line", "Reasons", "wanted"]

#: A time that a line names has moved, if by so many seconds at the least, and
MOVE_MIN = 60.0
#: by this part of what is left until then.
MOVE_PART = 0.1
#: Codes of reasons that no job that ends can help with.
PARKED = ("down", "lacking", "never")


def wanted(request: Request, unit: str, need: int) -> str:
    """What a job asks for in words; `unit` and `need` as in ``Engine.why``."""
    if unit == "core":
        return plural(need, "core") if need else "what its jobspec asks for"
    if request.node_counts or request.slot_counts:
        return "at least " + wanted(request._replace(node_counts=(), slot_counts=()), unit, need)
    of = request.nslots if request.nnodes else 1
    parts = [plural(of * count, noun) for count, noun in ((request.cores, "core"), (request.gpus, "gpu")) if count]
    inside = " and ".join(parts)
    if unit == "node":
        if request.exclusive or not parts:
            return plural(need, "node")
        return f"{plural(need, 'node')} with {inside}" + (" each" if need > 1 else "")
    whole = " on whole nodes" if request.exclusive else ""
    if (request.cores, request.gpus) in ((1, 0), (0, 1)):
        return plural(need, "core" if request.cores else "gpu") + whole
    return f"{plural(need, 'slot')} of {inside}{whole}"


class Line(NamedTuple):
    """A reason in one line."""

    text: str
    #: code of the reason and the job that it names (None: none)
    meaning: tuple[str, Optional[int]]
    #: the time that it names, seconds since the epoch
    at: Optional[float]

    def with_end(self, why: Optional[str]) -> Line:
        """The same, and why no start can be told; None, or what the line says already, adds nothing."""
        if why is None or why in self.text or "without a time limit" in self.text or self.meaning[0] in PARKED:
            return self
        return Line(f"{self.text}; {why}", (f"{self.meaning[0]}, open-ended", self.meaning[1]), self.at)

    def differs(self, told: Optional[Line], now: float) -> bool:
        """Whether this says something else than `told`, and not just the same in other numbers."""
        if told is None or self.meaning != told.meaning or (self.at is None) != (told.at is None):
            return True
        if self.at is None or told.at is None:
            return False
        return abs(self.at - told.at) >= max(MOVE_MIN, MOVE_PART * (told.at - now))


class Reasons:
    """Makes lines.  `engine` answers the engine of now, `name` how people write a job's id."""

    def __init__(self, engine: Callable[[], Engine], name: Callable[[int], str]) -> None:
        self._engine = engine
        self._name = name

    def line(self, job: Job, now: float) -> Optional[Line]:
        """Why a waiting job waits; None: nothing keeps it, and the next pass decides."""
        return self.line_of(job, self._engine().why(job.id), now)

    def line_of(self, job: Job, why: Any, now: float) -> Optional[Line]:
        """The same, where the facts are known."""
        if why.code == "new":
            return None
        assert job.request is not None
        needs = f"needs {wanted(job.request, why.unit, why.need)}"
        if why.code == "resources":
            return self._resources(needs, why, now, requested(job.request))
        if why.code == "down":
            return Line(f"{needs}, {why.up} up: waiting for nodes that are down or drained", ("down", None), None)
        if why.code == "lacking":
            text = "no node has the properties that the constraint asks for"
            if why.able:
                text = f"{needs}, and only {why.able} can be had where the constraint allows"
            return Line(text, ("lacking", None), None)
        return self._held_up(f"{needs}, {why.free} free", why, now)

    def _resources(self, needs: str, why: Any, now: float, memory: int) -> Line:
        missing = why.need - why.free
        text = f"{needs}, {why.free} free"
        if missing <= 0:
            # Counted, there is enough.
            if why.unit == "core":
                how = f"with {memory} MB of memory" if memory else "as its jobspec arranges them"
                text = f"{text}, but not {how}" if why.need else "waiting for resources"
            return Line(text, ("resources", None), None)
        if not why.gains or sum(gain.units for gain in why.gains) < missing:
            return Line(text, ("resources", None), None)
        last = why.gains[-1]
        others = len(why.gains) - 1
        who = self._name(last.id)
        if others:
            who += f" and {plural(others, 'other')}"
        if last.end is None:
            text += f"; {missing} more when {who} {'end' if others else 'ends'}, without a time limit"
        elif others:
            text += f"; {missing} more by {clock(last.end, now)} when {who} end"
        else:
            text += f"; {missing} more at {clock(last.end, now)} when {who} ends"
        return Line(text, ("resources", last.id), last.end)

    def _held_up(self, needs: str, why: Any, now: float) -> Line:
        """A reason that is not about what is free."""
        holder = why.holder
        who = self._name(holder.id) if holder is not None else "a job"
        at = holder.planned if holder is not None else None
        planned = "" if at is None else f", planned for {clock(at, now)}"
        many = f" or {plural(why.holders - 1, 'other')} ahead" if why.holders > 1 else ""
        of = f" of queue {holder.queue}" if holder is not None and holder.queue else " of another queue"
        texts = {
            "reserved": f"{needs}; starting now would delay {who}{planned}{many}",
            "other": f"{needs}; starting now would delay {who}{of} on the same nodes{planned}",
            "behind": f"waiting for jobs ahead in the queue{f', first {who}' if holder is not None else ''}",
            "overlap": f"waiting for {who}{of} on the same nodes",
            "depth": f"{needs}; beyond the queue depth of a scheduling pass",
            "policy": f"{needs}; held back by the scheduling policy",
            "never": "the nodes that it needs have been removed",
        }
        return Line(texts[why.code], (why.code, None if holder is None else holder.id), at)
