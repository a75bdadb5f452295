# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The events of jobs (RFC 18, RFC 21)."""
from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Optional

from flux.eventlog import EventLogEvent
from flux.future import Future
from flux.job.JobID import JobID

if TYPE_CHECKING:
    from flux.handle import Flux

#: The names of events that a job may have.
MAIN_EVENTS = frozenset((
    "submit", "validate", "depend", "priority", "flux-restart", "urgency", "alloc", "start", "finish", "release",
    "free", "clean", "debug", "exception",
))  # fmt: skip


class JobException(Exception):
    """An exception of a job: `timestamp`, `type`, `note`, and `severity`, of which 0 has ended the job."""

    def __init__(self, event: EventLogEvent) -> None:
        self.timestamp = event.timestamp
        self.type = event.context["type"]
        self.note = event.context.get("note") or ""
        self.severity = event.context["severity"]
        super().__init__(f"job.exception: type={self.type}: {self.note}")


class JobEventWatchFuture(Future):
    """The events of a job, as they come."""

    def __init__(self, flux_handle: Flux, jobid: int, names: Optional[list[str]] = None) -> None:
        payload = {"id": int(JobID(jobid)), "output": False, "events": names}
        super().__init__(flux_handle, "job.watch", payload, streaming=True)

    def get_event(self, autoreset: bool = True) -> Optional[EventLogEvent]:
        """The next event, None when the job is over; without `autoreset` the same until reset()."""
        if autoreset:
            found: Any = self.next()
        else:
            try:
                found = self.get()
            except OSError as error:
                if error.errno != errno.ENODATA:
                    raise
                found = None
        return None if found is None else EventLogEvent(found["event"])


def _check(eventlog: str) -> None:
    if eventlog != "eventlog":
        raise ValueError(f"eventlog: a session has only the main eventlog of a job, got {eventlog!r}")


def event_watch_async(flux_handle: Flux, jobid: int, eventlog: str = "eventlog") -> JobEventWatchFuture:
    """Follow the events of a job, from its first one on."""
    _check(eventlog)
    return JobEventWatchFuture(flux_handle, jobid)


def event_watch(flux_handle: Flux, jobid: int, eventlog: str = "eventlog") -> Iterator[EventLogEvent]:
    """The events of a job, as they come, until it is over.  OSError if there is no such job."""
    future = event_watch_async(flux_handle, jobid, eventlog)
    while True:
        event = future.get_event()
        if event is None:
            return
        yield event


def event_wait(
    flux_handle: Flux, jobid: int, name: str, eventlog: str = "eventlog", raiseJobException: bool = True
) -> EventLogEvent:
    """Wait for an event of this name, and return it.

    JobException if the job is ended by an exception before, unless `raiseJobException` is false; OSError of ENODATA if
    the job ends without the event."""
    _check(eventlog)
    future = JobEventWatchFuture(flux_handle, jobid, sorted({name, "exception"}))
    while True:
        event = future.get_event()
        if event is None:
            raise OSError(errno.ENODATA, f"the job has ended without the event {name!r}")
        if event.name == name:
            future.cancel()
            return event
        if raiseJobException and event.name == "exception" and event.context["severity"] == 0:
            future.cancel()
            raise JobException(event)
