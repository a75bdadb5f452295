# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A record as a job trace: for the simulator, with all that the scheduler was told of each job, and as SWF."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import Any, Dict, Iterator, List, Optional

import numpy as np

from fluxsched.core import PluginError
from fluxsched.formats import idset
from fluxsched.formats.jobspec import Request
from fluxsched.traces import swf
from fluxsched.traces.files import TraceError, check_jobs
from fluxsched.traces.trace import ENDED, RUNNING, WAITING, Trace, build
from fluxsched.twin.lives import Life, Lives
from fluxsched.twin.read import RecordError
from fluxsched.twin.replay import Replay

__all__ = ["read", "write"]


def read(path: str, begun: Optional[Iterator[bytes]] = None) -> Trace:
    """The jobs of the record in a folder, with the machine on which they were scheduled. Those that run or wait at its
    end are in that state.

    begun is what readers of files are given, and None here. Raises TraceError, also if a decision is not the same when
    the record is replayed, since jobs cannot be followed beyond it.
    """
    lives = Lives()
    try:
        run = Replay(path, lives)
        difference = run.run()
    except (PluginError, RecordError) as error:
        raise TraceError(str(error)) from None
    if difference is not None:
        raise TraceError(f"{difference.part.path}, line {difference.line}: a decision differs when it is replayed")
    return replace(trace_of(lives, run, os.path.basename(os.path.abspath(path))), folder=os.path.abspath(path))


def _state(life: Life) -> int:
    if life.start is not None:
        return ENDED if life.end is not None else RUNNING
    return ENDED if life.refused or life.gone is not None else WAITING


def trace_of(lives: Lives, run: Replay, source: str) -> Trace:
    """The jobs that a replay has followed up to where it is. Raises TraceError."""
    jobs = sorted(lives.jobs.values(), key=lambda life: (life.submit, life.id))
    check_jobs(len(jobs), source)
    if not jobs:
        raise TraceError(f"{source}: no jobs in the record")
    origin = float(math.floor(jobs[0].submit))
    queues: Dict[str, int] = {}
    requests: Dict[Request, int] = {}
    constraints: List[Dict[str, Any]] = []
    place_of: Dict[str, int] = {}
    rows: List[List[float]] = []
    for life in jobs:
        asked, constraint, queue = -1, -1, -1
        if life.request is not None:
            asked = requests.setdefault(life.request._replace(duration=0.0, queue="", constraint=None), len(requests))
            if life.request.queue:
                queue = queues.setdefault(life.request.queue, len(queues) + 1)
            if life.request.constraint:
                constraint = place_of.setdefault(repr(life.request.constraint), len(constraints))
                if constraint == len(constraints):
                    constraints.append(life.request.constraint)
        start, end = life.start, life.end
        rows.append([
            life.submit - origin, end - start if start is not None and end is not None else math.nan,
            max(life.cores, 1), life.duration, 0 if life.request is None else life.request.nnodes,
            life.request is not None and life.request.exclusive, life.user if isinstance(life.user, int) else -1,
            queue, life.priority, life.came - origin, math.nan if start is None else start - origin, _state(life),
            asked, constraint, _gpus(life.request),
        ])
    names = ("submit", "run", "procs", "request", "nodes", "exclusive", "user", "queue", "priority", "ready", "began",
             "state", "asked", "constraint", "gpus")
    columns = dict(zip(names, np.array(rows, dtype=np.float64).T))
    inventory = run.engine.inventory
    nodes = range(len(inventory.ranks))
    return build(
        {"job_id": [life.id for life in jobs], **columns}, source=source, unix_start=origin, taken=run.time - origin,
        max_procs=sum(idset.count(idset.ranges(inventory.core_set(node))) for node in nodes), max_nodes=len(nodes),
        constraints=constraints, requests=list(requests), resources=run.resources, domains=True,
        labels={"queue": {number: name for name, number in queues.items()}})


def _gpus(request: Optional[Request]) -> int:
    return 0 if request is None else max(request.nnodes, 1) * request.nslots * request.gpus


def write(lives: Lives, run: Replay, path: str) -> tuple[int, int, int]:
    """Write the jobs that have started as SWF.  Those that still run at the end run until then.  How many were written,
    still ran, and never started.  Raises OSError, TraceError."""
    trace = trace_of(lives, run, os.path.basename(path))
    started = ~np.isnan(trace.began)
    if not started.any():
        raise TraceError(f"{path}: no job has started")
    assert trace.taken is not None
    lasted = np.where(trace.state == RUNNING, np.maximum(trace.taken - trace.began, 0.0), trace.run)
    swf.write(replace(trace, run=lasted).select(started), path, {"Computer": "recorded by flux-sched"})
    return int(started.sum()), int((trace.state == RUNNING).sum()), len(lives.jobs) - int(started.sum())
