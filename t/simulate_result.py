# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Results made from the oracles' start times, for tests of what is computed and drawn from results."""
import numpy as np

import oracle
from fluxsched.simulate.metrics import Result
from fluxsched.traces.trace import build


def trace_of(jobs):
    """A Trace of oracle jobs (submit, run, request, procs)."""
    submit, run, request, procs = (np.array(column, dtype=float) for column in zip(*jobs))
    return build({"job_id": np.arange(1, len(jobs) + 1), "submit": submit, "run": run, "request": request,
                  "procs": procs}, source="made")


def result_of(trace, policy, procs, name="oracle", ended=None):
    """Run the oracle; processors are given lowest number first.  Cut at `ended`, in s, if that is given."""
    jobs = [oracle.Job(*map(int, row)) for row in zip(trace.submit, trace.run, trace.request, trace.procs)]
    start = np.array(oracle.replay(jobs, procs, policy), dtype=float)
    finish = start + np.minimum(trace.run, trace.request)
    stopped = ""
    if ended is None:
        ended = float(finish.max())
    else:
        stopped = "until"
        finish[~(finish <= ended)] = np.nan
        start[~(start <= ended)] = np.nan
    free = np.ones(procs, dtype=bool)
    held = {}
    count, first, last = np.zeros(len(jobs), dtype=np.int64), {}, {}
    ran = [i for i in range(len(jobs)) if not np.isnan(start[i]) and finish[i] != start[i]]
    events = sorted([(finish[i], 0, i) for i in ran if not np.isnan(finish[i])] + [(start[i], 1, i) for i in ran])
    for _, kind, i in events:
        if kind == 0:
            free[held.pop(i)] = True
            continue
        mine = held[i] = np.flatnonzero(free)[:jobs[i].procs]
        free[mine] = False
        cut = np.flatnonzero(np.diff(mine) != 1)
        first[i], last[i] = mine[np.append(0, cut + 1)], mine[np.append(cut, len(mine) - 1)]
        count[i] = len(cut) + 1
    ahead = np.maximum.accumulate(np.nan_to_num(start, nan=np.inf))
    backfilled = np.append(False, ahead[:-1] > start[1:])
    none = np.zeros(0, dtype=np.int32)
    return Result(trace=trace, start=start, finish=finish, backfilled=backfilled, procs=procs, nodes=procs, cores=1,
                  policy=name, plugin="oracle", options="", ended=ended, stopped=stopped,
                  offset=np.append(0, np.cumsum(count)),
                  first=np.concatenate([first.get(i, none) for i in range(len(jobs))]).astype(np.int32),
                  last=np.concatenate([last.get(i, none) for i in range(len(jobs))]).astype(np.int32))
