# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Job traces from a Flux instance: the output of ``flux jobs -a --json``.

Either an object with a list "jobs", that list alone, or one job (what is printed for one id).  The keys read
are id, t_submit, t_run, t_cleanup, t_inactive, duration, ncores, ntasks, nnodes, userid, queue and bank;
times in seconds since the epoch.
"""
from __future__ import annotations

import json
import os
from typing import Dict, Iterator, List, Optional

import numpy as np

from fluxsched.traces.trace import MAX_JOBS, Trace, TraceError, build, text

_NUMBERS = ("t_submit", "t_run", "t_cleanup", "t_inactive", "duration", "ncores", "ntasks", "nnodes", "userid")


def read(path: str, pieces: Optional[Iterator[bytes]] = None) -> Trace:
    """Read a trace from ``flux jobs --json``.  Raises TraceError, naming the job and key at fault.

    The run time is from t_run to t_cleanup (else t_inactive); a job that never ran, or still runs, has none
    and is left out.  Processors are ncores, else ntasks, else nnodes.  A duration of 0 is no limit: a missing
    request.  Submit times are counted from the first job's.
    """
    source = os.path.basename(os.fspath(path))
    try:
        content = json.loads(text(os.fspath(path), pieces))
    except json.JSONDecodeError as err:
        raise TraceError(f"{source}: line {err.lineno}: not JSON: {err.msg}") from None
    except RecursionError:
        raise TraceError(f"{source}: JSON nested too deep") from None
    jobs = content
    if isinstance(content, dict):
        jobs = content.get("jobs", [content])
    if not isinstance(jobs, list):
        raise TraceError(f"{source}: a list of jobs expected, as flux jobs --json prints it")
    if not jobs:
        raise TraceError(f"{source}: no jobs in the trace")
    if len(jobs) > MAX_JOBS:
        raise TraceError(f"{source}: more than {MAX_JOBS} jobs")

    columns: Dict[str, List[float]] = {name: [] for name in _NUMBERS}
    names: Dict[str, Dict[str, int]] = {"queue": {}, "bank": {}}
    named: Dict[str, List[int]] = {"queue": [], "bank": []}
    ids: List[int] = []
    seen = set()
    duplicates = 0
    for at, job in enumerate(jobs):
        if not isinstance(job, dict):
            raise TraceError(f"{source}: jobs[{at}]: an object expected")
        key = json.dumps(job, sort_keys=True)
        if key in seen:
            duplicates += 1
            continue
        seen.add(key)
        jobid = job.get("id")
        if isinstance(jobid, bool) or not isinstance(jobid, int) or not 0 <= jobid < 2**63:
            raise TraceError(f"{source}: jobs[{at}].id: a whole number expected, {str(jobid)[:40]!r} found")
        ids.append(jobid)
        for name in _NUMBERS:
            value = job.get(name)
            if value is None or value == "":
                columns[name].append(float("nan"))
            elif isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 2**63:
                raise TraceError(f"{source}: jobs[{at}].{name}: a number expected, {str(value)[:40]!r} found")
            else:
                columns[name].append(value)
        for name in names:
            word = job.get(name) or ""
            if not isinstance(word, str):
                raise TraceError(f"{source}: jobs[{at}].{name}: a string expected")
            named[name].append(names[name].setdefault(word, len(names[name])) if word else -1)

    value = {name: np.array(column, dtype=np.float64) for name, column in columns.items()}
    end = np.where(value["t_cleanup"] > 0, value["t_cleanup"], value["t_inactive"])
    run = np.where((value["t_run"] > 0) & (end > 0), end - value["t_run"], np.nan)
    procs = np.where(value["ncores"] > 0, value["ncores"], value["ntasks"])
    procs = np.where(procs > 0, procs, value["nnodes"])
    submit = value["t_submit"]
    if np.isnan(submit).all():
        raise TraceError(f"{source}: no job has t_submit")
    start = float(np.floor(np.nanmin(submit)))
    return build({"job_id": ids, "submit": submit - start, "run": run, "procs": procs,
                  "request": value["duration"], "nodes": np.nan_to_num(value["nnodes"]),
                  "user": np.where(np.isnan(value["userid"]), -1, value["userid"]), "group": named["bank"],
                  "queue": named["queue"]},
                 source=source, notes={"duplicate": duplicates} if duplicates else None, unix_start=start,
                 header={name: list(words) for name, words in names.items() if words})
