# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobs that are run again: after a failure, if they ask for that, and after a reboot that has ended them.

    attributes.system.retries   how often a job that fails is run again; 0 is never, which is the default
    attributes.system.backoff   how long it waits before the first time; twice as long before each further one
    attributes.system.requeue   whether a job that a reboot has ended is run again, whatever its retries

A job fails by an exit code that is not 0, or when it is lost.  One that was canceled, that has reached its time limit
or was ended by another exception is not run again.

A job keeps its id, and its events go on: "release", "free", then "retry" or "requeue", and it waits (DEPEND) with the
dependency retry-time=T until its time has come.  Each attempt has a claim of its own, and what is known of attempts is
written with the event, so a session that is killed in between makes none twice.
"""

from __future__ import annotations

import math
import time
from syslog import LOG_ERR, LOG_INFO
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from fluxsched.formats.duration import parse
from fluxsched.session.broker.dependencies import RETRY
from fluxsched.session.broker.job import DEPEND, Job, refuse

if TYPE_CHECKING:
    from fluxsched.session.broker.job_manager import Manager

MOST = 1000  # retries
BACKOFF = 1.0  # seconds
LONGEST = 3600.0  # seconds that a job waits, unless its first backoff is longer
BEGINNINGS = ("retry", "requeue")  # events from which on a job begins anew
# What is known of an attempt, and not of the next one.
OF_ATTEMPT = (
    "t_priority", "t_sched", "t_run", "t_cleanup", "waitstatus", "exception", "ranks", "nodelist", "expiration",
    "rebooted", "exec_seen",
)  # fmt: skip


class Wishes(NamedTuple):
    """What a job says about being run again."""

    retries: int
    backoff: float  # seconds
    requeue: bool


def wishes(system: dict[str, Any]) -> Wishes:
    """Those in attributes.system.  Raises RequestError that names the attribute."""
    retries = system.get("retries", 0)
    if type(retries) is not int or not 0 <= retries <= MOST:
        refuse(f"attributes.system.retries: expected a whole number from 0 to {MOST}")
    requeue = system.get("requeue", False)
    if not (type(requeue) is bool or (type(requeue) is int and requeue in (0, 1))):
        refuse("attributes.system.requeue: expected true or false")
    try:
        backoff = parse(system.get("backoff", BACKOFF))
    except ValueError as error:
        refuse(f"attributes.system.backoff: {error}")
    if math.isinf(backoff):
        refuse("attributes.system.backoff: expected a time that ends")
    return Wishes(retries, backoff, bool(requeue))


def present(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events of the present attempt to run a job."""
    for i in range(len(events) - 1, -1, -1):
        if events[i]["name"] in BEGINNINGS:
            return events[i:]
    return events


class Retries:
    """Decides whether jobs are run again, and lets them wait for it."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager

    def again(self, job: Job) -> bool:
        """Whether a job, whose resources are free, is run again; then it waits from now on."""
        why = self._why(job)
        if why is None:
            return False
        try:
            self.manager.executor.fence(job)
        except OSError as error:
            self.manager.log("job-manager", LOG_ERR, f"{job.name}: not run again: {error.filename}: {error.strerror}")
            return False
        name, wait = why
        info, now = job.info, time.time()
        status = info.get("waitstatus")
        for key in OF_ATTEMPT:
            info.pop(key, None)
        info["attempts"] = info.get("attempts", 0) + 1
        if name == "retry":
            info["retried"] = info.get("retried", 0) + 1
        info.get("annotations", {}).clear()
        info["dependencies"] = [f"{RETRY}={now + wait:.3f}"]
        job.R = None
        job.launched = False
        context = {"attempt": info["attempts"] + 1, "backoff": wait, "status": status}
        self.manager.log("job-manager", LOG_INFO, f"{job.name}: {name}: attempt {info['attempts'] + 1} in {wait:.3g} s")
        self.manager.store.launch(job.id, None)
        self.manager.post(job, name, context, state=DEPEND)
        self.manager.post(job, "dependency-add", {"description": info["dependencies"][0]})
        self.manager.dependencies.again(job)
        return True

    def _why(self, job: Job) -> Optional[tuple[str, float]]:
        """(event, seconds until then), or None if the job is over."""
        info = job.info
        exception = info.get("exception")
        if "t_run" not in info or info.get("waitstatus", 0) == 0:
            return None
        if exception is not None and exception["type"] != "exec":
            return None
        wanted = wishes(job.jobspec["attributes"]["system"])
        if info.get("rebooted") and wanted.requeue:
            return "requeue", 0.0
        retried = info.get("retried", 0)
        if retried >= wanted.retries:
            return None
        longest = max(LONGEST, wanted.backoff)
        return "retry", min(longest, wanted.backoff * 2.0 ** min(retried, 60))
