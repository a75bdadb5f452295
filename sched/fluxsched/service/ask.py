# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What people ask of the scheduler, by ``flux sched``: why a job waits, the queue in order, statistics.

Users other than the instance's owner may ask about their own jobs.  Of others' jobs an answer to them has what
``flux jobs -A`` shows to everybody: id, priority, planned start.
"""

from __future__ import annotations

import errno
from typing import Any, Callable, Optional

from fluxsched.core import Engine
from fluxsched.formats.words import plural
from fluxsched.service import prometheus
from fluxsched.service.ends import Ends
from fluxsched.service.fields import JOBID, Int, Text
from fluxsched.service.forecast import Forecast
from fluxsched.service.host import Host
from fluxsched.service.jobs import PENDING, RUNNING, Job, Jobs
from fluxsched.service.protocol import ProtocolError
from fluxsched.service.reasons import Reasons, wanted
from fluxsched.service.rpc import GUEST, rpc
from fluxsched.service.settings import Settings

__all__ = ["Questions"]

#: Jobs ahead that an answer names.
AHEAD_MAX = 20
#: Jobs of the queue in an answer.
COUNT_MAX = 5000


class Questions:
    """Answers the requests of commands.

    `engine` answers the engine of now, `settings` the settings, `statistics` what ``sched.stats-get`` tells.
    """

    def __init__(
        self,
        host: Host,
        engine: Callable[[], Engine],
        jobs: Jobs,
        reasons: Reasons,
        ends: Ends,
        forecast: Forecast,
        settings: Callable[[], Settings],
        statistics: Callable[[], dict[str, Any]],
    ) -> None:
        self._host = host
        self._engine = engine
        self._jobs = jobs
        self._reasons = reasons
        self._ends = ends
        self._forecast = forecast
        self._settings = settings
        self._statistics = statistics

    # -- why ------------------------------------------------------------------

    @rpc("sched.why", sender=GUEST, after=True, id=JOBID)
    def why(self, message: Any, id: int) -> None:
        """Why a job waits, what it needs, who is ahead of it, and when it is planned to start."""
        job = self._jobs.get(id)
        asker = self._host.asker(message)
        if job is None:
            raise ProtocolError(f"the scheduler has no job {self._host.job_name(id)}", errno.ENOENT)
        if asker is not None and job.user != asker:
            raise ProtocolError(f"job {self._host.job_name(id)} is not yours", errno.EPERM)
        answer: dict[str, Any] = {
            "id": id, "userid": job.user, "priority": job.priority, "t_submit": job.t_submit, "now": self._host.now(),
        }
        if job.stage == PENDING:
            answer.update(self._waiting(job, answer["now"]))
        elif job.stage == RUNNING:
            start, end = self._engine().times(id)
            answer.update(state="running", start=start, end=end or None,
                          resources=self._engine().resource_summary(id))
        else:
            answer.update(state="starting", resources=self._engine().resource_summary(id))
        self._host.respond(message, answer)

    def _start(self, jobid: int) -> Optional[float]:
        """The planned start of a waiting job alone."""
        planned = self._planned(jobid)["planned"]
        return None if planned is None else planned["start"]

    def _waiting(self, job: Job, now: float) -> dict[str, Any]:
        engine, request = self._engine(), job.request
        assert request is not None
        why, nodes = engine.why(job.id), engine.nodes_for(job.id)
        line = self._reasons.line_of(job, why, now)
        missing = max(why.need - why.free, 0)
        given = sum(gain.units for gain in why.gains)
        return {
            "state": "waiting",
            "code": why.code,
            "reason": None if line is None else line.text,
            "queue": request.queue,
            "needs": {
                "unit": why.unit, "count": why.need, "text": wanted(request, why.unit, why.need),
                "duration": request.duration,
            },
            "free": why.free,
            "missing": missing,
            "able": why.able,
            "up": why.up,
            "nodes": {"able": nodes.able, "count": nodes.count, "down": nodes.down, "downs": nodes.downs},
            "gains": [{"id": gain.id, "count": gain.units, "end": gain.end} for gain in why.gains],
            "enough_at": why.gains[-1].end if why.gains and given >= missing else None,
            "ahead": self._ahead(job, now),
            "obstacles": self._obstacles(job, why, nodes),
            **self._planned(job.id),
        }

    def _planned(self, jobid: int) -> dict[str, Any]:
        """The start of a waiting job, from the forecast or as the last pass has reserved it; or why there is none."""
        outlook, reserved = self._forecast.get(jobid), self._engine().estimate(jobid)
        if outlook is not None and outlook.t_estimate is not None:
            found = {"start": outlook.t_estimate, "by": "forecast", "likely": outlook.t_likely, "late": outlook.t_late}
        elif reserved is not None and not self._ends.reached(reserved):
            found = {"start": reserved, "by": "reservation", "likely": None, "late": None}
        else:
            return {"planned": None, "unplanned": None if outlook is None else outlook.reason}
        return {"planned": found, "unplanned": None}

    def _ahead(self, job: Job, now: float) -> dict[str, Any]:
        """The jobs that are considered before this one, and why: the first ones by name."""
        engine = self._engine()
        domain = engine.domain(job.id)
        count, ahead, own = engine.ahead(job.id, now, AHEAD_MAX)
        named = []
        for jobid, score in ahead:
            other = self._jobs[jobid]
            by = "priority" if other.priority > job.priority else "submission"
            if by == "submission" and score is not None and score != own:
                by = "order"
            named.append({
                "id": jobid, "by": by, "priority": other.priority, "t_submit": other.t_submit,
                "planned": self._start(jobid),
            })
        return {"count": count, "jobs": named, "queue": domain}

    def _obstacles(self, job: Job, why: Any, nodes: Any) -> list[dict[str, str]]:
        """What stands in the way beside other jobs: a constraint, nodes that are down, a limit."""
        request = job.request
        assert request is not None
        found = []
        if request.constraint is not None:
            number = self._engine().stats()["nodes"]["all"]
            text = f"the constraint leaves {nodes.count} of {plural(number, 'node')}"
            found.append({"kind": "constraint", "text": text})
        if nodes.downs:
            text = f"of the nodes that it could use {nodes.downs} are down or drained: {nodes.down}"
            if nodes.downs == 1:
                text = f"a node that it could use is down or drained: {nodes.down}"
            found.append({"kind": "drain", "text": text})
        if why.code == "depth":
            depth = self._engine().policy.queue_depth
            text = f"a scheduling pass considers {plural(depth, 'job')} of a queue (queue-depth)"
            found.append({"kind": "limit", "text": text})
        if self._ends.reached(self._host.now() + request.duration):
            found.append({"kind": "limit", "text": "the instance ends before the job would"})
        return found

    # -- queue ----------------------------------------------------------------

    @rpc("sched.queue", after=True, count=Int(1, COUNT_MAX, default=COUNT_MAX))
    def _queue(self, message: Any, count: int) -> None:
        """The waiting jobs in the order in which a pass would consider them now, with what their scores are made of."""
        engine, now = self._engine(), self._host.now()
        rows = []
        for jobid, score, parts in engine.ranking(now, count):
            job = self._jobs[jobid]
            rows.append({
                "id": jobid, "userid": job.user, "queue": engine.domain(jobid), "priority": job.priority,
                "t_submit": job.t_submit, "score": score, "parts": parts, "planned": self._start(jobid),
            })
        settings = self._settings()
        self._host.respond(message, {
            "plugin": settings.plugin, "order": engine.order_name, "waiting": engine.nwaiting, "now": now, "jobs": rows,
        })

    # -- statistics -----------------------------------------------------------

    @rpc("sched.stats", early=True, format=Text(words=("json", "prometheus"), default="json"))
    def _stats(self, message: Any, format: str) -> None:
        """Statistics, as ``sched.stats-get`` has them, or as {"text"} in the format of Prometheus."""
        stats = self._statistics()
        self._host.respond(message, {"text": prometheus.exposition(stats)} if format == "prometheus" else stats)

