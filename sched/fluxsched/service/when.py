# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""When would a job start, if it were submitted now?

A copy of the engine gets the job, and a pass is run in it: the policy itself decides whether it would start at once.
If the pass reserves a start for it, that is the answer; else the copy is run forward until the job starts, with all
jobs taking the time that they asked for and no other coming.
"""

from __future__ import annotations

import copy
import errno
from typing import Any, Callable, Optional

from fluxsched.core import Engine, Infeasible
from fluxsched.core.forward import Forward
from fluxsched.formats import jobspec as _jobspec
from fluxsched.formats import queues as _queues
from fluxsched.formats.constraint import ConstraintError
from fluxsched.service.ends import Ends
from fluxsched.service.fields import Int, Object
from fluxsched.service.host import Host
from fluxsched.service.jobs import Job
from fluxsched.service.protocol import ProtocolError
from fluxsched.service.reasons import Reasons
from fluxsched.service.rpc import GUEST, rpc
from fluxsched.service.slices import Slices, Steps

__all__ = ["Whens"]

#: The job that is asked about, which comes after all others of its priority.
NOBODY = 2**63 - 1
# As flux-core has it, for users other than the instance's owner.
GUEST_URGENCY_MAX = 16


class Whens:
    """Answers ``sched.when``.

    `engine` answers the engine of now; `placed` makes a request what the engine is to have; `reasons` makes lines.
    """

    def __init__(
        self,
        host: Host,
        engine: Callable[[], Engine],
        placed: Callable[[_jobspec.Request], _jobspec.Request],
        reasons: Reasons,
        ends: Ends,
        slices: Slices,
    ) -> None:
        self._host = host
        self._engine = engine
        self._placed = placed
        self._reasons = reasons
        self._ends = ends
        self._slices = slices

    @rpc("sched.when", sender=GUEST, after=True, jobspec=Object(), urgency=Int(0, 31, default=16))
    def _when(self, message: Any, jobspec: dict[str, Any], urgency: int) -> None:
        """When a job would start that was submitted now, and why not at once."""
        asker = self._host.asker(message)
        if asker is not None and urgency > GUEST_URGENCY_MAX:
            raise ProtocolError(
                f"only the instance owner can submit with urgency >{GUEST_URGENCY_MAX}", errno.EPERM
            )
        spec = copy.deepcopy(jobspec)
        try:
            attributes = spec.get("attributes")
            system = attributes.get("system") if isinstance(attributes, dict) else None
            if isinstance(system, dict):
                _queues.complete(system, self._host.config())
            request = self._placed(_jobspec.parse(spec))
        except (_jobspec.JobspecError, _queues.QueuesError) as error:
            raise ProtocolError(str(error), errno.EINVAL) from None
        job = Job(NOBODY, urgency, self._host.now(), user=asker)
        job.request = request
        self._slices.add(message, "sched.when", self._steps(job))

    def _steps(self, job: Job) -> Steps:
        """Find the answer, a slice at a time."""
        now, request = job.t_submit, job.request
        assert request is not None
        answer: dict[str, Any] = {
            "now": now, "verdict": "never", "start": None, "reason": None, "nodes": None, "duration": request.duration,
        }
        if job.priority == 0:
            return {**answer, "reason": "a job of urgency 0 is held"}
        engine = self._engine().fork()
        try:
            engine.add(job.id, request, job.priority, now, job.user, sequence=job.id)
        except (Infeasible, ConstraintError) as error:
            return {**answer, "reason": f"unsatisfiable request: {error}"}
        # The pass that it would meet.
        while engine.schedule(now, self._slices.budget).more:
            yield None
        if not engine.waits(job.id):
            return {**answer, "verdict": "now", "start": now, "nodes": engine.hosts(job.id)}
        line = self._reasons.line_of(job, engine.why(job.id), now)
        answer["reason"] = None if line is None else line.text
        start = engine.estimate(job.id) if engine.policy.steady else None
        # A start that the policy has reserved, in an order that stays, is what comes of it.
        if start is None:
            forward = Forward(engine, now, passed=True)
            forward.ask(job.id)
            while forward.advance(None, self._slices.budget):
                yield None
            start = forward.start_of(job.id)
        if start is None:
            answer["reason"] = self._open_ended(answer["reason"], engine, forward)
        elif self._ends.reached(start):
            answer["reason"] = f"{answer['reason']}; the instance ends before that"
        else:
            nodes = None if engine.waits(job.id) else engine.hosts(job.id)
            answer.update(verdict="later", start=start, nodes=nodes)
        return answer

    def _open_ended(self, reason: Optional[str], engine: Engine, forward: Forward) -> str:
        """What is said of a job that has not started when all that ends has ended."""
        text = "no start can be told"
        if forward.endless:
            endless = next(jobid for jobid in engine.running_jobs() if not engine.times(jobid)[1])
            text += f", as {self._host.job_name(endless)} has no time limit"
        return text if reason is None else f"{reason}; {text}"
