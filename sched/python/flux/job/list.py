# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Lists of jobs."""
from __future__ import annotations

import errno
import os
import pwd
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Optional

from flux import constants
from flux.future import Future
from flux.job.info import RESULTS, STATES, JobInfo
from flux.job.JobID import JobID

if TYPE_CHECKING:
    from flux.handle import Flux

FILTERS = {
    "depend": constants.FLUX_JOB_STATE_DEPEND, "priority": constants.FLUX_JOB_STATE_PRIORITY,
    "sched": constants.FLUX_JOB_STATE_SCHED, "run": constants.FLUX_JOB_STATE_RUN,
    "cleanup": constants.FLUX_JOB_STATE_CLEANUP, "inactive": constants.FLUX_JOB_STATE_INACTIVE,
    "pending": constants.FLUX_JOB_STATE_PENDING, "running": constants.FLUX_JOB_STATE_RUNNING,
    "active": constants.FLUX_JOB_STATE_ACTIVE,
}  # fmt: skip


def _numbers(job: dict[str, Any]) -> dict[str, Any]:
    """A job as flux-core's job-list has it: state and result as numbers, the exception flat."""
    out = dict(job, state=STATES[job["state"]])
    if "result" in job:
        out["result"] = RESULTS[job["result"]]
    exception = out.pop("exception")
    out.update({f"exception_{key}": value for key, value in exception.items()})
    return out


class JobListRPC(Future):
    """The jobs that a list has asked for."""

    def __init__(self, flux_handle: Flux, payload: dict[str, Any], states: int, results: int, name: Optional[str],
                 queues: Optional[list[str]], max_entries: int) -> None:
        self._states, self._results, self._name, self._queues = states, results, name, queues
        self._most = max_entries
        super().__init__(flux_handle, "job.list", payload)

    def _wanted(self, job: dict[str, Any]) -> bool:
        if self._states or self._results:
            state, result = STATES[job["state"]], RESULTS.get(job.get("result", ""), 0)
            if not (state & self._states or result & self._results):
                return False
        if self._queues is not None and job.get("queue") not in self._queues:
            return False
        return self._name is None or job["name"] == self._name

    def _jobs(self) -> list[dict[str, Any]]:
        found = [job for job in self.get()["jobs"] if self._wanted(job)]
        return found[: self._most or None]

    def get_jobs(self) -> list[dict[str, Any]]:
        """The jobs as dicts, with state and result as numbers."""
        return [_numbers(job) for job in self._jobs()]

    def get_jobinfos(self) -> Iterator[JobInfo]:
        """The jobs as JobInfo."""
        return (JobInfo(job) for job in self._jobs())


def job_list(
    flux_handle: Flux,
    max_entries: int = 1000,
    attrs: Iterable[str] = ("all",),
    userid: Optional[int] = None,
    states: int = 0,
    results: int = 0,
    since: float = 0.0,
    name: Optional[str] = None,
    queue: str | Iterable[str] | None = None,
    constraint: Optional[dict[str, Any]] = None,
) -> JobListRPC:
    """Ask for jobs: in these `states` or with these `results` (sums of flux.constants; 0 and 0 are all), that ended
    `since` then, of a `name`, in a `queue` or several; at most `max_entries`, 0 is all.

    All attributes come whatever `attrs` says, and all jobs are the owner's.  ValueError for a `constraint`, which a
    session does not know."""
    if constraint is not None:
        raise ValueError("constraint: a session lists by state, result, time, name and queue")
    queues = [queue] if isinstance(queue, str) else None if queue is None else list(queue)
    narrow = bool(states or results or name or queues)
    inactive = not (states or results) or bool(results) or bool(states & constants.FLUX_JOB_STATE_INACTIVE)
    payload = {"inactive": inactive, "count": 0 if narrow else int(max_entries), "since": float(since)}
    return JobListRPC(flux_handle, payload, states, results, name, queues, int(max_entries))


def job_list_inactive(
    flux_handle: Flux, since: float = 0.0, max_entries: int = 1000, attrs: Iterable[str] = ("all",),
    name: Optional[str] = None, queue: str | Iterable[str] | None = None,
) -> JobListRPC:
    """The same of jobs that are over."""
    states = constants.FLUX_JOB_STATE_INACTIVE
    return job_list(flux_handle, max_entries, attrs, states=states, since=since, name=name, queue=queue)


class JobListIdRPC(Future):
    """A job that was asked for by its id."""

    def get_job(self) -> dict[str, Any]:
        """The job as a dict, with state and result as numbers.  FileNotFoundError if there is none."""
        return _numbers(self.get()["jobs"][0])

    def get_jobinfo(self) -> JobInfo:
        """The job as a JobInfo."""
        return JobInfo(self.get()["jobs"][0])


def job_list_id(flux_handle: Flux, jobid: int, attrs: Iterable[str] = ("all",)) -> JobListIdRPC:
    """Ask for one job."""
    return JobListIdRPC(flux_handle, "job.list", {"ids": [int(JobID(jobid))]})


def get_job(flux_handle: Flux, jobid: int) -> Optional[dict[str, Any]]:
    """A job as `flux jobs --json` shows it, None if there is none."""
    try:
        return job_list_id(flux_handle, jobid).get_jobinfo().to_dict()
    except FileNotFoundError:
        return None


class JobList:
    """A list of jobs by `filters` (names of states and results, such as "pending" or "failed"), or by `ids`."""

    def __init__(
        self,
        flux_handle: Flux,
        attrs: Iterable[str] = ("all",),
        filters: Iterable[str] = (),
        ids: Iterable[int | str] = (),
        user: Optional[str] = None,
        max_entries: int = 1000,
        since: float = 0.0,
        name: Optional[str] = None,
        queue: str | Iterable[str] | None = None,
        constraint: Optional[dict[str, Any]] = None,
    ) -> None:
        """Other arguments as of :func:`job_list`.  ValueError for a filter or a user that there is not."""
        self.handle = flux_handle
        self.states = self.results = 0
        self.ids = [JobID(one) for one in ids]
        self.errors: list[str] = []
        self._others = {"max_entries": max_entries, "since": since, "name": name, "queue": queue}
        self._others["constraint"] = constraint
        for text in filters:
            for word in text.split(","):
                self.add_filter(word)
        self.set_user(user)

    def set_user(self, user: int | str | None) -> None:
        """Only jobs of this user, a name, a number or "all".  ValueError if there is none."""
        self.userid = os.getuid()
        if user is None or user == "all":
            return
        try:
            self.userid = pwd.getpwnam(str(user)).pw_uid
        except KeyError:
            if not str(user).isdigit():
                raise ValueError(f"user: there is no {user!r}") from None
            self.userid = int(user)

    def add_filter(self, fname: str) -> None:
        """Also jobs in this state, or with this result.  ValueError if there is none."""
        word = fname.lower()
        if word in FILTERS:
            self.states |= FILTERS[word]
        elif word.upper() in RESULTS:
            self.results |= RESULTS[word.upper()]
        else:
            names = ", ".join([*FILTERS, *map(str.lower, RESULTS)])
            raise ValueError(f"filters: expected one of {names}, got {fname!r}")

    def fetch_jobs(self) -> JobListRPC:
        """Ask for the jobs; not for those of `ids`, which :meth:`jobs` gives."""
        return job_list(self.handle, states=self.states, results=self.results, **self._others)  # type: ignore[arg-type]

    def jobs(self) -> list[JobInfo]:
        """The jobs; for ids that are none's there is a line in `errors`."""
        if self.userid != os.getuid():
            return []  # all jobs of a session are its owner's
        if not self.ids:
            return list(self.fetch_jobs().get_jobinfos())
        found = []
        self.errors = []
        asked = [job_list_id(self.handle, one) for one in self.ids]
        for jobid, answer in zip(self.ids, asked):
            try:
                found.append(answer.get_jobinfo())
            except OSError as error:
                unknown = error.errno == errno.ENOENT
                self.errors.append(f"JobID {jobid.orig} unknown" if unknown else f"{jobid.orig}: {error.strerror}")
        return found
