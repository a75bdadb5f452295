# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Questions that take long: answered one after another, each in slices, so that the scheduler goes on meanwhile.

A question is a generator, which yields between two slices and returns its answer. Most cut their slices by `budget`.
One that waits for something yields the seconds after which it looks again.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from typing import Any, Dict, Generator, Optional

from fluxsched.service.guard import Guard
from fluxsched.service.host import Host
from fluxsched.service.protocol import ProtocolError

__all__ = ["Slices", "Steps", "next_budget"]

#: Questions that may wait for their answer.
WAITING_MAX = 256
#: Seconds that a slice is to take.
SLICE = 0.005
#: Jobs that the policy is asked about in the first slice, at most; their cost tells how many the next takes.
FIRST = 512
#: Slices after which a question is given up.
SLICES_MAX = 8000
#: After the first slices, each is followed by a pause as long as itself.
PAUSE_AFTER = 0.02

#: Jobs that the policy is asked about in any slice, at most: where a pass goes on with the last one a job costs a tenth
#: of what it does where one begins anew, and no slice can tell which the next will be.
BUDGET_MAX = 1024

Steps = Generator[Optional[float], None, Dict[str, Any]]


def next_budget(budget: int, took: float, seconds: float) -> int:
    """How many jobs the policy may be asked about in a slice of so many seconds, if so many took that long; it grows
    no faster than fourfold, and not beyond BUDGET_MAX."""
    return max(1, min(4 * budget, BUDGET_MAX, int(budget * seconds / max(took, 1e-6))))


class Question:
    """One request, with the steps that lead to its answer."""

    def __init__(self, message: Any, topic: str, steps: Steps, own: bool) -> None:
        self.own = own
        self.message = message
        self.topic = topic
        self.steps = steps
        self.spent = 0.0
        self.slices = 0


class Slices:
    """Runs questions. `budget` is how many jobs the next slice may have the policy asked about."""

    def __init__(self, host: Host, guard: Guard) -> None:
        self._host = host
        self._guard = guard
        self._open: deque[Question] = deque()
        self.budget = FIRST
        self.clear()

    def stop(self) -> None:
        """The end: no question is gone on with."""
        while self._open:
            self._open.popleft().steps.close()

    def clear(self) -> None:
        """Count from 0 again."""
        self.count = 0          # questions that were answered
        self.seconds = 0.0      # that they took
        self.longest = 0.0      # the longest of them

    def add(self, message: Any, topic: str, steps: Steps, own: bool = False) -> None:
        """Answer a request by these steps; `own`: they have a measure of their own for slices, and for when to give up.
        Raises ProtocolError if too many wait."""
        if len(self._open) >= WAITING_MAX:
            raise ProtocolError("too many questions wait for an answer: ask again later", errno.EAGAIN)
        self._open.append(Question(message, topic, steps, own))
        if len(self._open) == 1:
            self._host.call_soon(self._guard(self._go_on))

    def _go_on(self) -> None:
        """A slice of the first question."""
        if not self._open:
            return
        question = self._open[0]
        begin = time.monotonic()
        try:
            pause = next(question.steps)
        except StopIteration as end:
            self._end(begin, end.value, None)
        except Exception as error:
            self._end(begin, None, error)
        else:
            took = time.monotonic() - begin
            if not question.own:
                self.budget = next_budget(self.budget, took, SLICE)
                question.slices += 1
            question.spent += took
            self.seconds += took
            if question.slices >= SLICES_MAX:
                self._end(time.monotonic(), None, ProtocolError("the answer is too far away", errno.ETIMEDOUT))
            elif pause is not None or question.spent > PAUSE_AFTER:
                self._host.call_later(took if pause is None else pause, self._guard(self._go_on))
                return
        if self._open:
            self._host.call_soon(self._guard(self._go_on))

    def _end(self, begin: float, answer: Optional[dict[str, Any]], problem: Optional[Exception]) -> None:
        """The first question is answered."""
        question = self._open.popleft()
        took = time.monotonic() - begin
        self.count += 1
        self.seconds += took
        self.longest = max(self.longest, question.spent + took)
        if problem is None:
            self._host.respond(question.message, answer)
        elif isinstance(problem, ProtocolError):
            self._host.respond_error(question.message, problem.errno, str(problem))
        else:
            self._guard.report(question.topic, problem)
            self._host.respond_error(question.message, errno.EINVAL, f"{type(problem).__name__}: {problem}")
