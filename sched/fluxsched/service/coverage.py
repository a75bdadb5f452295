# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The time by which nine of ten jobs start.

Runs forward know nothing of the jobs that are still to come, nor of users who change their habits. So which of the runs
t_late is taken from follows from what came of those that were told before: a step up for each job that started later, a
ninth of it down for each that did not. In the long run the share that holds is the one that was wanted, whatever the
jobs are. This is adaptive conformal inference (Gibbs and Candès: Adaptive conformal inference under distribution shift,
NeurIPS 2021).
"""

from __future__ import annotations

import math
from typing import Optional, Sequence

from fluxsched.core.forward import Spread

__all__ = ["Coverage", "LIKELY"]

#: The part of the jobs that is to start before t_likely, and before t_late.
LIKELY = 0.5
LATE = 0.9
#: How far the level goes up for a job that started later, and its bounds.
STEP = 0.03
LEVEL_MIN, LEVEL_MAX = 0.5, 4.0


class Coverage:
    """Which part of the runs is to be earlier than t_late: `level`; above 1, the latest run is not late enough, and the
    wait until then is stretched by it."""

    def __init__(self, level: float = LATE) -> None:
        self.level = min(max(level, LEVEL_MIN), LEVEL_MAX)

    def note(self, held: bool) -> None:
        """A job has started: before the t_late that it was told, or not."""
        step = STEP * (LATE - 1.0 if held else LATE)
        self.level = min(max(self.level + step, LEVEL_MIN), LEVEL_MAX)

    def late(self, starts: Sequence[float], now: float) -> float:
        """t_late by the starts of a job in some runs that began at `now`, ascending."""
        at = starts[min(max(math.ceil(self.level * len(starts) - 1e-9) - 1, 0), len(starts) - 1)]
        likely = starts[math.ceil(LIKELY * len(starts)) - 1]
        return max(likely, self._stretched(at, now))

    def _stretched(self, late: float, now: float) -> float:
        return late if self.level <= 1.0 else now + (late - now) * 4.0 ** (self.level - 1.0)

    def times(self, spread: Spread, jobid: int, now: float) -> tuple[Optional[float], Optional[float]]:
        """t_likely and t_late of a job by some runs that began at `now`; None where it did not start in so many."""
        likely, late = spread.starts(jobid, (LIKELY, min(self.level, 1.0)))
        if late is not None:
            late = self._stretched(late, now)
            late = late if likely is None else max(late, likely)
        return likely, late
