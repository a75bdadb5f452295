# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Why a job of a record waited, at the time that a replay has reached: the answer of ``sched.why``, by its code."""

from __future__ import annotations

from typing import Any, Optional

from fluxsched.core import Engine
from fluxsched.core.forward import Forward
from fluxsched.errors import FluxSchedError
from fluxsched.formats.fluid import f58
from fluxsched.service.ask import Questions
from fluxsched.service.ends import Ends
from fluxsched.service.forecast import Outlook
from fluxsched.service.host import Host
from fluxsched.service.jobs import RUNNING, Job, Jobs
from fluxsched.service.reasons import Reasons
from fluxsched.service.settings import Settings

__all__ = ["why"]


class _Host(Host):
    """A broker whose clock stands still; it keeps the answer."""

    def __init__(self, now: float) -> None:
        self._now = now
        self.answer: Any = None

    def now(self) -> float:
        """The time that was reached."""
        return self._now

    def respond(self, request: Any, payload: Optional[dict[str, Any]]) -> None:
        """Keep the answer."""
        self.answer = payload

    def asker(self, request: Any) -> Optional[int]:
        """The owner asks."""
        return None

    def job_name(self, jobid: int) -> str:
        """As Flux writes it."""
        return f58(jobid)


class _Forecast:
    """What the service's forecast tells of a job, for one alone: its start if all take the time that they asked for."""

    def __init__(self, engine: Engine, now: float, ends: Ends) -> None:
        self._engine = engine
        self._now = now
        self._ends = ends

    def get(self, jobid: int) -> Optional[Outlook]:
        """The outlook of a waiting job, None if its start cannot be told."""
        forward = Forward(self._engine.fork(), self._now)
        forward.ask(jobid)
        forward.advance()
        start = forward.start_of(jobid)
        return None if start is None or self._ends.reached(start) else Outlook(start, None, None, None)


def why(engine: Any, jobid: int, now: float) -> dict[str, Any]:
    """The answer of ``sched.why`` about a job of a replay's engine.  Raises FluxSchedError if it knows none."""
    host, jobs, ends = _Host(now), Jobs(), Ends()
    ends.instance = engine.marks()["expiration"]
    for known, asked in engine.asked.items():
        job = Job(known, asked.priority, asked.t_submit, None, asked.user)
        job.request = asked.request
        if asked.request is None:
            job.stage = RUNNING
        jobs.add(job)
    if jobid not in jobs:
        raise FluxSchedError(f"{f58(jobid)}: neither waits nor runs at that time")
    reasons = Reasons(lambda: engine, f58)
    forecast: Any = _Forecast(engine, now, ends)
    questions = Questions(host, lambda: engine, jobs, reasons, ends, forecast, Settings, dict)
    questions.why(None, jobid)
    return host.answer
