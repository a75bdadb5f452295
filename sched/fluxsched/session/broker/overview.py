# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The session at a glance, as `flux top` shows it: a bounded answer, however many jobs there are."""

from __future__ import annotations

import itertools
import time

from fluxsched.session.broker import job as jobs
from fluxsched.session.broker.job import HELD
from fluxsched.session.broker.job_manager import Manager
from fluxsched.session.broker.ranks import Resources
from fluxsched.session.broker.rpc import Int, rpc
from fluxsched.session.broker.server import Request
from fluxsched.session.rset import held

MOST = 1000  # jobs of a kind in one answer


class Overview:
    """Handles the request for an overview."""

    def __init__(self, manager: Manager, resources: Resources) -> None:
        self.manager = manager
        self.resources = resources

    @rpc("session.overview", count=Int(0, MOST, default=100))
    def overview(self, request: Request, count: int) -> None:
        """The first `count` jobs that run, newest last, and of those that wait, in their order; and what is in use.

        Answers {"now", "running", "waiting": jobs as of job.list, "counts": {"running", "waiting"}, "cores", "gpus",
        "nodes": [in use or drained, all]}."""
        now = time.time()
        active = self.manager.active
        running = list(active.others())
        used = [row for job in running if job.alloc == HELD for row in held(job.R)]
        rows = self.resources.rows
        first = sorted(running, key=lambda job: (job.info.get("t_run", now), job.id))[:count]
        request.respond(
            {
                "now": now,
                "running": [jobs.describe(job.id, job.state, job.info, now) for job in first],
                "waiting": [
                    jobs.describe(job.id, job.state, job.info, now)
                    for job in itertools.islice(active.waiting(), count)
                ],
                "counts": {"running": len(running), "waiting": active.count_waiting()},
                "cores": [sum(len(row[2]) for row in used), sum(len(row[2]) for row in rows)],
                "gpus": [sum(len(row[3]) for row in used), sum(len(row[3]) for row in rows)],
                "nodes": [len(self.resources.drained), len(rows)],
            }
        )
