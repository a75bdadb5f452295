# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The output of jobs."""
from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from flux.future import Future
from flux.job.event import EventLogEvent, JobException
from flux.job.JobID import JobID
from fluxsched.formats import idset

if TYPE_CHECKING:
    from flux.handle import Flux


class JobOutput(NamedTuple):
    """What a job has written; a session keeps no log of a shell, so `log` is empty."""

    stdout: str
    stderr: str
    log: str


def _text(entry: dict[str, Any], label: bool) -> str:
    if "b" in entry:
        text = base64.b64decode(entry["b"]).decode("utf-8", "surrogateescape")
    else:
        text = entry["d"]
    return "".join(f"{entry['r']}: {line}" for line in text.splitlines(True)) if label else text


def _watch(flux_handle: Flux, jobid: int, tasks: str, labelio: bool) -> Iterator[tuple[str, str]]:
    wanted = None if tasks in ("*", "all") else set(idset.ids(tasks))
    future = Future(flux_handle, "job.watch", {"id": int(JobID(jobid)), "output": True}, streaming=True)
    started = False
    while True:
        answer = future.next()
        if answer is None:
            return
        for entry in answer.get("output", ()):
            if wanted is None or entry["r"] in wanted:
                yield entry["s"], _text(entry, labelio)
        event = EventLogEvent(answer.get("event", {"name": "", "timestamp": 0.0}))
        started = started or event.name == "start"
        if event.name == "exception" and event.context["severity"] == 0 and not started:
            future.cancel()
            raise JobException(event)


def output_watch(flux_handle: Flux, jobid: int, labelio: bool = False) -> Iterator[tuple[str, str]]:
    """The output of a job as it comes, until it is over: ("stdout" or "stderr", text).

    `labelio`: lines begin with their task's rank.  Text that is no UTF-8 has surrogates.  JobException if the job is
    ended before it starts, OSError if there is no such job."""
    return _watch(flux_handle, jobid, "*", labelio)


def output_watch_lines(
    flux_handle: Flux, jobid: int, labelio: bool = False, keepends: bool = False
) -> Iterator[tuple[str, str]]:
    """The same by lines; the end of a line belongs to it with `keepends`."""
    rest = {"stdout": "", "stderr": ""}
    for stream, text in _watch(flux_handle, jobid, "*", labelio):
        lines = (rest[stream] + text).splitlines(True)
        rest[stream] = lines.pop() if lines and not lines[-1].endswith("\n") else ""
        for line in lines:
            yield stream, line if keepends else line.rstrip("\n")
    for stream, line in rest.items():
        if line:
            yield stream, line


def job_output(flux_handle: Flux, jobid: int, tasks: str = "*", labelio: bool = False) -> JobOutput:
    """Wait for a job to end; all that its tasks have written, or those of an id set such as "0,2".

    Errors as of :func:`output_watch`, and ValueError if `tasks` is no id set."""
    found: dict[str, list[str]] = {"stdout": [], "stderr": []}
    for stream, text in _watch(flux_handle, jobid, tasks, labelio):
        found[stream].append(text)
    return JobOutput("".join(found["stdout"]), "".join(found["stderr"]), "")
