# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The scheduler's statistics in the text format of Prometheus, version 0.0.4: what an exporter hands on as it is.

METRICS is the one list of them: name, type, help, and where the values are in the statistics, as samples of labels and
value.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, NamedTuple

from fluxsched.version import VERSION

__all__ = ["CONTENT_TYPE", "METRICS", "Metric", "exposition"]

#: For whoever serves the text by HTTP.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Samples = Iterable[tuple[dict[str, str], float]]


class Metric(NamedTuple):
    """One metric: a counter's name ends in _total, and times are seconds."""

    name: str
    kind: str
    help: str
    samples: Callable[[dict[str, Any]], Samples]


def _one(*path: str) -> Callable[[dict[str, Any]], Samples]:
    """The number at a place of the statistics; nothing if it is not there yet."""

    def samples(stats: dict[str, Any]) -> Samples:
        value: Any = stats
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return [] if value is None else [({}, value)]

    return samples


def _each(label: str, names: tuple[str, ...], *path: str) -> Callable[[dict[str, Any]], Samples]:
    """A sample for each of some names below a place, the name as a label."""

    def samples(stats: dict[str, Any]) -> Samples:
        value: Any = stats
        for name in path:
            value = value.get(name, {})
        return [({label: name}, value[name]) for name in names if name in value]

    return samples


def _info(stats: dict[str, Any]) -> Samples:
    return [({"plugin": stats["plugin"], "version": VERSION}, 1)]


METRICS = (
    Metric("flux_sched_info", "gauge", "Version and policy plugin of the scheduler.", _info),
    Metric("flux_sched_ready", "gauge", "1 once the scheduler takes jobs.", _one("ready")),
    Metric("flux_sched_jobs", "gauge", "Jobs by where they stand.",
           _each("state", ("pending", "committing", "running"), "jobs")),
    Metric("flux_sched_requests_total", "counter", "Requests of the job manager.",
           _each("kind", ("alloc", "free"), "counts")),
    Metric("flux_sched_answers_total", "counter", "Answers to requests for resources.",
           _each("kind", ("success", "deny", "cancel", "annotate"), "counts")),
    Metric("flux_sched_commits_total", "counter", "Transactions of the KVS.", _one("counts", "commits")),
    Metric("flux_sched_errors_total", "counter", "Errors that were logged.", _one("counts", "errors")),
    Metric("flux_sched_passes_total", "counter", "Scheduling passes.", _one("pass", "count")),
    Metric("flux_sched_pass_seconds_total", "counter", "Time spent in passes.", _one("pass", "seconds")),
    Metric("flux_sched_pass_longest_seconds", "gauge", "The longest pass.", _one("pass", "max")),
    Metric("flux_sched_slices_total", "counter", "Slices of passes.", _one("pass", "slices")),
    Metric("flux_sched_slice_longest_seconds", "gauge", "The longest slice of a pass.", _one("pass", "longest_slice")),
    Metric("flux_sched_when_total", "counter", "Questions about the future (when, plan).", _one("when", "count")),
    Metric("flux_sched_when_seconds_total", "counter", "Time spent on these questions.", _one("when", "seconds")),
    Metric("flux_sched_forecasts_total", "counter", "Forecasts of starts.", _one("forecast", "count")),
    Metric("flux_sched_forecast_runs_total", "counter", "Runs forward in forecasts.", _one("forecast", "runs")),
    Metric("flux_sched_forecast_seconds_total", "counter", "Time spent in forecasts.", _one("forecast", "seconds")),
    Metric("flux_sched_forecast_slice_longest_seconds", "gauge", "The longest slice of a forecast.",
           _one("forecast", "longest_slice")),
    Metric("flux_sched_considered_total", "counter", "Jobs about which a pass asked the policy.",
           _one("engine", "considered")),
    Metric("flux_sched_started_total", "counter", "Jobs that were started.", _one("engine", "started")),
    Metric("flux_sched_backfilled_total", "counter", "Jobs that were started ahead of another.",
           _one("engine", "backfilled")),
    Metric("flux_sched_cpu_seconds_total", "counter", "Processor time of the scheduler's thread.", _one("cpu")),
    Metric("flux_sched_nodes", "gauge", "Nodes by state.", _each("state", ("all", "up", "idle"), "engine", "nodes")),
    Metric("flux_sched_cores", "gauge", "Cores of nodes that are up.",
           _each("state", ("up", "free"), "engine", "cores")),
)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    """A number as the format has it."""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))


def exposition(stats: dict[str, Any]) -> str:
    """The text, from what ``sched.stats-get`` answers; metrics that there are no values of yet are left out."""
    lines = []
    for metric in METRICS:
        samples = list(metric.samples(stats))
        if samples:
            lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        for labels, value in samples:
            inside = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            lines.append(f"{metric.name}{'{' + inside + '}' if inside else ''} {_number(value)}")
    return "\n".join(lines) + "\n"
