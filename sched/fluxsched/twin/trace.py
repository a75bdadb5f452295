# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A record as a job trace."""

from __future__ import annotations

import math
import os
from typing import Any

from fluxsched.traces import swf
from fluxsched.traces.trace import build
from fluxsched.twin.lives import Life, Lives

__all__ = ["write"]


def write(lives: Lives, last: float, path: str) -> tuple[int, int, int]:
    """Write the jobs that have started as SWF.  Those that still run at `last`, the end of the record, run until then.
    How many were written, still ran, and never started.  Raises OSError, TraceError."""
    started: list[Life] = [life for life in lives.jobs.values() if life.start is not None]
    started.sort(key=lambda life: (life.submit, life.id))
    origin = math.floor(min((life.submit for life in started), default=0.0))
    queues: dict[str, int] = {}
    rows: list[tuple[Any, ...]] = []
    for life in started:
        assert life.start is not None
        queue, nodes = "", 0
        if life.request is not None:
            queue, nodes = life.request.queue, life.request.nnodes
        number = queues.setdefault(queue, len(queues) + 1) if queue else -1
        end = last if life.end is None else life.end
        duration = life.duration
        rows.append((
            life.id, life.submit - origin, max(end - life.start, 0.0), max(life.cores, 1),
            -1 if math.isinf(duration) else duration, nodes, -1 if life.user is None else life.user, number,
            life.priority, life.start - origin,
        ))
    names = ("job_id", "submit", "run", "procs", "request", "nodes", "user", "queue", "priority", "began")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    trace = build(columns, source=os.path.basename(path), unix_start=float(origin))
    comments = {f"Queue{number}": name for name, number in queues.items()}
    swf.write(trace, path, {"Computer": "recorded by flux-sched", **comments})
    going = sum(life.end is None for life in started)
    return len(started), going, len(lives.jobs) - len(started)
