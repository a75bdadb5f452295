# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Results as files and as a printed table.  A folder of results appears whole or not at all."""
from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from html import escape
from importlib import import_module
from typing import Any, Dict, Iterator, List, Optional, Sequence

import numpy as np

from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import printable
from fluxsched.interrupts import uninterrupted
from fluxsched.simulate.forecast import accuracy
from fluxsched.simulate.metrics import Result, measure
from fluxsched.simulate.study import measure_by

# In the order and by the names that evalys reads.
COLUMNS = ("job_id", "workload_name", "submission_time", "requested_number_of_resources", "requested_time", "success",
           "starting_time", "execution_time", "finish_time", "waiting_time", "turnaround_time", "stretch",
           "allocated_resources")
ROWS = 8192                    # of jobs.csv that are text at a time, some 1 KiB each
SUMMARY = "summary.json"
COMPARISON = "compare.json"
SEEDS = "seeds.json"
# All that a folder of results may hold, besides a folder for each policy that was compared.
FILES = frozenset(("jobs.csv", SUMMARY, COMPARISON, SEEDS)
                  + tuple(f"{name}.{kind}" for name in ("gantt", "load", "wait", "compare") for kind in ("png", "svg")))


class ResultsError(FluxSchedError, OSError):
    """Results cannot be written there; the text names the folder and why."""


def check(folder: str) -> None:
    """Refuse, before any work, a folder that results could not be written to.

    It may be missing (its parent must be there), empty, or hold earlier results and nothing else; those are
    replaced.  Raises ResultsError.
    """
    if not folder:
        raise ResultsError("the name of a folder expected, '' found")
    folder = os.path.realpath(folder)
    parent = os.path.dirname(folder)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise ResultsError(f"{folder}: not a folder")
    if not os.path.isdir(parent):
        raise ResultsError(f"{folder}: there is no folder {parent}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ResultsError(f"{parent}: not writable")
    if os.path.isdir(folder):
        other = _not_ours(folder) if os.listdir(folder) else ""
        if other:
            raise ResultsError(f"{folder}: holds {other}; results go to a new folder, or replace earlier results")


def _not_ours(folder: str) -> str:
    """What else than results is in a folder; "" if it holds results and nothing else."""
    inside = sorted(os.listdir(folder))
    if not {SUMMARY, COMPARISON, SEEDS} & set(inside):
        return "other files"
    for name in inside:
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            other = "other files" if COMPARISON not in inside else _not_ours(path)
            if other:
                return f"{other} in {name}"
        elif name not in FILES:
            return f"{name}, too"
    return ""


@contextmanager
def folder_of_results(folder: str) -> Iterator[str]:
    """A new folder to write into, which takes the place of `folder` at the end, unless something is raised.

    Raises ResultsError (see `check`) and OSError.
    """
    check(folder)
    folder = os.path.realpath(folder)
    temporary = ""
    try:
        with uninterrupted():
            temporary = tempfile.mkdtemp(prefix=".simulate-", dir=os.path.dirname(folder))
        yield temporary
        check(folder)                      # again: drawing takes a while
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o777 & ~umask)
        with uninterrupted():
            _exchange(temporary, folder)
            temporary = ""
    except BaseException:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
        raise


def _exchange(fresh: str, folder: str) -> None:
    """Let a new folder take the place of another one, which need not be there.  Raises OSError."""
    if not os.path.isdir(folder):
        os.rename(fresh, folder)
        return
    old = tempfile.mkdtemp(prefix=".simulate-", dir=os.path.dirname(folder))
    try:
        os.rename(folder, os.path.join(old, "old"))
        try:
            os.rename(fresh, folder)
        except BaseException:
            os.rename(os.path.join(old, "old"), folder)
            raise
    finally:
        shutil.rmtree(old)


def write(result: Result, folder: str, by: Optional[str] = None) -> None:
    """Write jobs.csv and summary.json into an existing folder; by: as for `summary`.  Raises OSError."""
    write_jobs(result, os.path.join(folder, "jobs.csv"))
    with open(os.path.join(folder, SUMMARY), "w", encoding="utf-8") as out:
        json.dump(summary(result, by), out, indent=2)
        out.write("\n")


def summary(result: Result, by: Optional[str] = None) -> Dict[str, object]:
    """What summary.json holds: the trace and machine, the policy, what was left out, and the measures; by: also those
    of each class of jobs, see fluxsched.simulate.study.classes."""
    measures = measure(result)
    timing = {name: measures.pop(name) for name in ("time_per_pass", "loop_time")}
    used = result.pass_count > 0
    return {
        "trace": result.trace.source,
        "unix_start_time": result.trace.unix_start or None,
        "procs": result.procs,
        "nodes": result.nodes,
        "cores_per_node": result.cores,
        "policy": result.policy,
        "plugin": result.plugin,
        "plugin_opts": result.options,
        "stopped": result.stopped or "finished",
        "notes": result.trace.notes,
        "left_out": result.left_out,
        **measures,
        **({} if result.foretold is None else {"forecast": _forecast(result)}),
        **({} if by is None else {"by": {by: measure_by(result, by)}}),
        # Measured on the machine that ran this, so different each time; all else is reproducible.
        "timing": {**timing, "pass_time_by_queue_length": [
            {"queue": [0 if k == 0 else 2**(k - 1), 0 if k == 0 else 2**k - 1], "passes": int(count),
             "mean": float(time / count)}
            for k, (count, time) in enumerate(zip(result.pass_count, result.pass_time)) if used[k]]},
    }


def _forecast(result: Result) -> Dict[str, Dict[str, Optional[float]]]:
    """How good the forecasts were; what is of no job is None."""
    return {what: {name: value if value == value else None for name, value in measures.items()}
            for what, measures in accuracy(result)}


def _column(values: np.ndarray) -> List[str]:
    """Numbers as text: whole ones without a point, else up to six digits after it; NaN and infinity are
    empty."""
    known = np.isfinite(values)
    out = np.full(len(values), "", dtype=object)
    whole = known & (values == np.floor(values))
    out[whole] = [str(v) for v in values[whole].astype(np.int64).tolist()]
    rest = known & ~whole
    out[rest] = [("%.6f" % v).rstrip("0").rstrip(".") for v in values[rest].tolist()]
    return out.tolist()


def ranges(result: Result, job: int) -> str:
    """The processors of one job as evalys and Batsim write them: "0-3 7"."""
    if result.offset is None or result.first is None or result.last is None:
        return ""
    span = slice(int(result.offset[job]), int(result.offset[job + 1]))
    return " ".join(str(a) if a == b else f"{a}-{b}"
                    for a, b in zip(result.first[span].tolist(), result.last[span].tolist()))


def workload_name(source: str) -> str:
    """What a trace is called in jobs.csv: its file's name without suffixes, in letters that need no quotes there."""
    name = re.sub(r"(\.(gz|swf|csv|json|jsonl))+\Z", "", source.rsplit("/", 1)[-1])
    return re.sub(r"[^A-Za-z0-9._+=-]", "_", name) or "trace"


def columns(result: Result, part: np.ndarray) -> Dict[str, Any]:
    """The columns of some jobs, which are given by their places: name -> array or list.  Times are in s.

    workload_name is the trace's file without its suffixes; success is 1, or 0 for a job that was killed at its limit;
    stretch is turnaround over execution time.  NaN: not known yet, of a job that runs still; that there is none.
    """
    trace = result.trace
    run = result.execution[part]
    turnaround = result.finish[part] - trace.submit[part]
    values = {
        "job_id": [trace.names.get(job) or str(job) for job in trace.job_id[part].tolist()],
        "workload_name": [workload_name(trace.source)] * len(part),
        "submission_time": trace.submit[part],
        "requested_number_of_resources": trace.procs[part],
        "requested_time": trace.request[part],
        "success": np.where(np.isnan(run), np.nan, ~result.killed[part]),
        "starting_time": result.start[part],
        "execution_time": run,
        "finish_time": result.finish[part],
        "waiting_time": result.wait[part],
        "turnaround_time": turnaround,
        "stretch": np.divide(turnaround, run, out=np.full(len(part), np.nan), where=run > 0),
        "allocated_resources": [ranges(result, job) for job in part.tolist()],
    }
    return {name: values[name] for name in COLUMNS}


def write_jobs(result: Result, path: str) -> None:
    """Write one row a started job, in queue order: `columns`, with nothing where a number is not known.

    Raises OSError.
    """
    rows = np.flatnonzero(~np.isnan(result.start))
    with open(path, "w", encoding="ascii", newline="") as out:
        out.write(",".join(COLUMNS) + "\n")
        for begin in range(0, len(rows), ROWS):
            texts = [values if isinstance(values, list) else _column(np.asarray(values, dtype=np.float64))
                     for values in columns(result, rows[begin:begin + ROWS]).values()]
            out.write("".join(",".join(row) + "\n" for row in zip(*texts)))


def frame(result: Result) -> Any:
    """The jobs that started as a pandas DataFrame in the columns of jobs.csv.  ModuleNotFoundError without pandas."""
    pandas: Any = import_module("pandas")
    return pandas.DataFrame(columns(result, np.flatnonzero(~np.isnan(result.start))))


def html_table(results: Sequence[Result]) -> str:
    """The measures of results, and what their policies ran with, as a notebook shows them."""
    def row(cells: Sequence[str], kind: str) -> str:
        return "<tr>" + "".join(f"<{kind}>{escape(printable(cell))}</{kind}>" for cell in cells) + "</tr>"

    parts = []
    for rows in (table(results), policies(results)):
        head, *body = rows
        parts.append("<table><thead>" + row(head, "th") + "</thead><tbody>"
                     + "".join(row(cells, "td") for cells in body) + "</tbody></table>")
    return "".join(parts)


_SPANS = (("d", 86400.0, 2.0), ("h", 3600.0, 2.0), ("min", 60.0, 1.0))     # unit, s, and from how many of it on


def durations(values: Sequence[Any]) -> List[str]:
    """Seconds for people, all in the unit of the least of them above 0: "0.4 s", "12.3 min", "4.6 h", "3.2 d"."""
    least = min((value for value in values if value is not None and value > 0), default=0.0)
    unit, size = next(((unit, size) for unit, size, most in _SPANS if least >= most * size), ("s", 1.0))
    return ["-" if value is None else f"{value:,.4g} s" if unit == "s" and value < 1000 else
            f"{value / size:,.{0 if unit == 's' else 1}f} {unit}" for value in values]


def duration(seconds: Any) -> str:
    """Seconds for people, in the unit that suits them."""
    return durations([seconds])[0]


def _share(value: Any) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _plain(value: Any) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _micro(value: Any) -> str:
    return "-" if value is None else f"{1e6 * value:,.2f} µs"


LINES = (
    ("jobs", "jobs", lambda v: f"{v:,}"),
    ("finished", "finished", lambda v: f"{v:,}"),
    ("running", "still running", lambda v: f"{v:,}"),
    ("waiting", "still waiting", lambda v: f"{v:,}"),
    ("not_submitted", "not yet submitted", lambda v: f"{v:,}"),
    ("killed", "killed at their limit", lambda v: f"{v:,}"),
    ("makespan", "makespan", duration),
    ("utilisation", "utilisation", _share),
    ("mean_wait", "mean wait", duration),
    ("median_wait", "median wait", duration),
    ("p95_wait", "95th percentile of wait", duration),
    ("max_wait", "longest wait", duration),
    ("mean_bounded_slowdown", "mean bounded slowdown (10 s)", _plain),
    ("mean_queue_length", "mean queue length", _plain),
    ("backfilled_share", "backfilled", _share),
    ("passes", "passes", lambda v: f"{v:,}"),
    ("time_per_pass", "time per pass", _micro),
    ("loop_time", "time in the loop", duration),
)


def table(results: Sequence[Result]) -> List[List[str]]:
    """Rows of text: the names of the policies, then a measure a row; lines of zeros for cut runs are left away."""
    measured = [measure(result) for result in results]
    rows = [[""] + [result.policy for result in results]]
    for key, label, show in LINES:
        values = [m[key] for m in measured]
        if key in ("running", "waiting", "not_submitted") and not any(values):
            continue
        # Of one row all are in one unit, as they are there to be compared.
        rows.append([label] + (durations(values) if show is duration else [show(value) for value in values]))
    return rows


def policies(results: Sequence[Result]) -> List[List[str]]:
    """Rows of text: what each policy ran with, which is its plugin and all the options that it went by."""
    rows = [["policy", "plugin", "options"]]
    rows += [[result.policy, result.plugin, result.options.replace(",", ", ") or "none"] for result in results]
    return rows
