# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobs: submitting them, following them, ending them, listing them."""
from __future__ import annotations

from flux.eventlog import EventLogEvent
from flux.job.event import (
    MAIN_EVENTS,
    JobEventWatchFuture,
    JobException,
    event_wait,
    event_watch,
    event_watch_async,
)
from flux.job.executor import FluxExecutor, FluxExecutorFuture
from flux.job.info import JobInfo
from flux.job.JobID import JobID, id_encode, id_parse
from flux.job.Jobspec import Jobspec, JobspecV1
from flux.job.kill import cancel, cancel_async, job_raise, job_raise_async, kill, kill_async
from flux.job.kvslookup import job_kvs_lookup
from flux.job.list import JobList, get_job, job_list, job_list_id, job_list_inactive
from flux.job.output import JobOutput, job_output, output_watch, output_watch_lines
from flux.job.submit import SubmitFuture, submit, submit_async, submit_get_id
from flux.job.wait import JobWaitResult, result, result_async, wait, wait_async, wait_get_status

__all__ = [
    "EventLogEvent", "FluxExecutor", "FluxExecutorFuture", "JobEventWatchFuture", "JobException", "JobID", "JobInfo",
    "JobList", "JobOutput", "JobWaitResult", "Jobspec", "JobspecV1", "MAIN_EVENTS", "SubmitFuture", "cancel",
    "cancel_async", "event_wait", "event_watch", "event_watch_async", "get_job", "id_encode", "id_parse",
    "job_kvs_lookup", "job_list", "job_list_id", "job_list_inactive", "job_output", "job_raise", "job_raise_async",
    "kill", "kill_async", "output_watch", "output_watch_lines", "result", "result_async", "submit", "submit_async",
    "submit_get_id", "wait", "wait_async", "wait_get_status",
]
