# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What jobs wait for before they are handed to the scheduler: other jobs, a time, or their turn (RFC 26).

    scheme       waits until                                   description
    afterstart   the other job has started                     after-start=ID
    afterany     the other job is over                         after-finish=ID
    afterok      the other job has completed                   after-success=ID
    afternotok   the other job has run, and not completed      after-failure=ID
    afterexcept  the other job was ended by an exception       after-except=ID
    begin-time   that time, in seconds since the epoch         begin-time=T
    singleton    no earlier job of this name is active         singleton

`after` is an old name of afterstart. The descriptions of what a job waits for are in its record in the store.
"""

from __future__ import annotations

import errno
import math
import time
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Optional, Union

from fluxsched.formats.quote import quote
from fluxsched.session import jobid as ids
from fluxsched.session.broker import job as jobs
from fluxsched.session.broker.job import DEPEND, INACTIVE, SCHED, Job
from fluxsched.session.errors import RequestError

if TYPE_CHECKING:
    from fluxsched.session.broker.job_manager import Manager

RECHECK = 60.0  # seconds until the clock, which may be set, is looked at again at the latest
SOME = 200  # jobs at a time
START, FINISH, SUCCESS = "after-start", "after-finish", "after-success"
FAILURE, EXCEPT = "after-failure", "after-except"
AFTER = {
    "after": START, "afterstart": START, "afterany": FINISH, "afterok": SUCCESS, "afternotok": FAILURE,
    "afterexcept": EXCEPT,
}  # fmt: skip
BEGIN, SINGLETON = "begin-time", "singleton"
RETRY = "retry-time"  # as begin-time, of a job that is run again

# That something holds, that it may come to hold, or why it never will.
Verdict = Union[bool, str]


def _refuse(text: str) -> RequestError:
    return RequestError(errno.EINVAL, f"dependency: {text}")


def _name(jobspec: dict[str, Any]) -> str:
    """The name that a job was given; "" if it was given none."""
    given = jobspec["attributes"]["system"].get("job")
    name = given.get("name") if isinstance(given, dict) else None
    return name if isinstance(name, str) else ""


def _verdict(kind: str, target: Job) -> Verdict:
    """Whether what `kind` says of another job holds."""
    info = target.info
    started = any(entry["name"] == "start" for entry in target.events)
    if kind == START and started:
        return True
    if target.state != INACTIVE:
        return False
    if kind == FINISH:
        return True
    if kind == START or ("t_run" not in info and "attempts" not in info):
        return "never started"
    completed = jobs.result(info) == "COMPLETED"
    if kind == SUCCESS:
        return completed or "failed or was canceled"
    if kind == FAILURE:
        return not completed or "succeeded"
    return info.get("exception", {}).get("severity") == 0 or "no exception"


class Dependencies:
    """Keeps jobs in DEPEND until what they wait for has come."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self._after: dict[int, list[int]] = {}  # the job that they wait for -> jobs
        self._named: dict[str, dict[int, Job]] = {}  # active jobs by the name that they were given
        self._waiting: deque[int] = deque()  # jobs to be looked at, as something that they wait for has come

    # new jobs

    def begin(self, spec: dict[str, Any], info: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
        """The first state of a job, and its first events; what it waits for is noted in `info`.

        Raises RequestError for what can never hold."""
        if not spec["attributes"]["system"].get("dependencies"):
            return SCHED, jobs.first_events(info)
        found = info["dependencies"] = self._descriptions(spec)
        for key in ("t_priority", "t_sched"):
            info.pop(key, None)
        events = jobs.first_events(info)[:2]
        for description in found:
            context = {"description": description}
            events.append({"timestamp": info["t_submit"], "name": "dependency-add", "context": context})
        return DEPEND, events

    def _descriptions(self, spec: dict[str, Any]) -> list[str]:
        """What a job waits for.  Raises RequestError."""
        found = []
        for entry in spec["attributes"]["system"]["dependencies"]:
            scheme, value = entry["scheme"], entry["value"]
            if scheme in AFTER:
                found.append(self._after_job(scheme, value))
            elif scheme == BEGIN:
                found.append(f"{BEGIN}={_timestamp(value):.3f}")
            elif scheme == SINGLETON:
                if not _name(spec):
                    raise _refuse("singleton jobs require a job name")
                found.append(SINGLETON)
            else:
                known = ", ".join([*AFTER, BEGIN, SINGLETON])
                raise _refuse(f"scheme {quote(scheme)} is not supported: expected one of {known}")
        return list(dict.fromkeys(found))

    def _after_job(self, scheme: str, value: str) -> str:
        try:
            target = self.manager.lookup(ids.stored(ids.parse(value)))
        except ValueError:
            raise _refuse(f"{scheme}: {quote(value)} is not a valid jobid") from None
        except RequestError:
            raise _refuse(f"{scheme}: id {value}: job not found") from None
        verdict = _verdict(AFTER[scheme], target)
        if isinstance(verdict, str):
            raise _refuse(f"{scheme}: job {value}: {verdict}")
        return f"{AFTER[scheme]}={value}"

    def adopt(self, job: Job) -> None:
        """A job has become one of the manager's."""
        name = _name(job.jobspec)
        if name:
            self._named.setdefault(name, {})[job.id] = job
        if job.state != DEPEND:
            return
        for description in job.info["dependencies"]:
            kind, _, value = description.partition("=")
            if kind in AFTER.values() and ids.parse(value) in self.manager.active:
                self._after.setdefault(ids.parse(value), []).append(job.id)
        self._look_soon([job.id])

    def _look(self, job: Job) -> None:
        """Let go of what a job waits for and has come."""
        for description in list(job.info["dependencies"]):
            verdict = self._holds(job, description)
            if isinstance(verdict, str):
                self.manager.exception(job, "dependency", 0, f"dependency {description} {verdict}")
                return
            if verdict:
                job.info["dependencies"].remove(description)
                self.manager.post(job, "dependency-remove", {"description": description})
        if not job.info["dependencies"]:
            self.manager.release(job)

    def _holds(self, job: Job, description: str) -> Verdict:
        kind, _, value = description.partition("=")
        if kind == SINGLETON:
            return self._turn(_name(job.jobspec)) is job
        if kind in (BEGIN, RETRY):
            left = float(value) - time.time()
            if left > 0:
                self.manager.loop.call_later(min(left, RECHECK), partial(self._look_again, job.id))
            return left <= 0
        try:
            verdict = _verdict(kind, self.manager.lookup(ids.parse(value)))
        except RequestError:
            return "can never be satisfied: the job is not known any more"
        return verdict if isinstance(verdict, bool) else f"can never be satisfied: the job {verdict}"

    def _turn(self, name: str) -> Optional[Job]:
        """The first of the jobs of a name that wait for each other, if no other one of that name is active."""
        first = None
        for job in self._named.get(name, {}).values():
            if job.state != DEPEND or SINGLETON not in job.info["dependencies"]:
                return None
            first = first or job
        return first

    def _look_again(self, number: int) -> None:
        job = self.manager.active.get(number)
        if job is not None and job.state == DEPEND:
            self._look(job)

    def again(self, job: Job) -> None:
        """A job waits once more, to be run again."""
        self._look_soon([job.id])

    # what others wait for

    def started(self, job: Job) -> None:
        """A job has started."""
        self._look_soon(self._after.get(job.id, ()))

    def ended(self, job: Job) -> None:
        """A job is over."""
        self._look_soon(self._after.pop(job.id, ()))
        name = _name(job.jobspec)
        if name:
            del self._named[name][job.id]
            if not self._named[name]:
                del self._named[name]
            first = self._turn(name)
            if first is not None:
                self._look_soon([first.id])

    def _look_soon(self, numbers: Iterable[int]) -> None:
        """Look at jobs again, in order, after this turn of the loop: one that ends may let others end, and so on."""
        idle = not self._waiting
        self._waiting.extend(numbers)
        if idle and self._waiting:
            self.manager.loop.call_soon(self._look_at_some)

    def _look_at_some(self) -> None:
        some = [self._waiting.popleft() for _ in range(min(SOME, len(self._waiting)))]
        if self._waiting:
            self.manager.loop.call_soon(self._look_at_some)
        for number in some:
            self._look_again(number)


def _timestamp(text: str) -> float:
    """A time in seconds since the epoch.  Raises RequestError."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise _refuse(f"Invalid begin-time={quote(text)}: expected seconds since the epoch")
    return value
