# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Keeps the record of jobs (``lwj.N``, see :mod:`fluxsched.service.lwj`) written.

Nothing is written with the R of a job. What happens to jobs is collected and written in one transaction, a while after
the last one began, and only what has rested for a while or is of jobs that are over (see Host.record_delay): what a job
goes through within a while is one write. A change is to be seen within a second.
"""

from __future__ import annotations

import errno
import functools
import math
from typing import Any, Callable, Iterable, Optional

from fluxsched.core import Engine
from fluxsched.formats import eventlog, fastjson
from fluxsched.formats import jobspec as _jobspec
from fluxsched.formats import r as _r
from fluxsched.service import rdl_match
from fluxsched.service.host import LOG_DEBUG, LOG_ERR, LOG_INFO, LOG_WARNING, Host
from fluxsched.service.jobs import Job
from fluxsched.service.lwj import EVENTS, RANKS_MAX, Record, flat, nested
from fluxsched.service.protocol import field
from fluxsched.service.resources import Resources

__all__ = ["Recorder"]

# FLUX_JOBID_ANY, signed and unsigned: the end of the journal's backlog.
JOBID_ANY = (-1, 2**64 - 1)
# Seconds after which the end of a job that gave all back is looked up, if the journal did not tell of it.
GRACE = 2.0
# Seconds by which a change may be younger than it should, and be written.
ROUNDING = 0.01
TOPIC = "job-manager.events-journal"


class Recorder:
    """Reads the record at the start, follows the job manager's journal of events, and writes what changes.

    `guarded` wraps callbacks so that no exception leaves them; `engine()` answers the engine of now, of `resources`.
    """

    def __init__(
        self,
        host: Host,
        keep: int,
        guarded: Callable[..., Callable[..., None]],
        engine: Callable[[], Engine],
        resources: Resources,
    ) -> None:
        self.host = host
        self.record = Record(keep, host.now)
        self.commits = 0
        self._guarded = guarded
        self._engine = engine
        self._resources = resources
        self._timer: Optional[Any] = None
        self._writing = False                       # a transaction is under way
        self._written_at = float("-inf")            # when the last one began
        self._following = False
        self._backlog: set[int] = set()             # ids in the journal's backlog
        self._released: set[int] = set()            # ids of jobs that gave all back, and may not have finished
        self._check_timer: Optional[Any] = None
        self._current = False                       # past the backlog
        self._unrecorded: dict[int, Job] = {}       # jobs that ran before there was a record of them

    # -- start, change of settings, end ---------------------------------------

    def load(self, done: Callable[[], None]) -> None:
        """Read the record that there is, then call ``done()``."""

        def loaded(error: Optional[OSError]) -> None:
            if error is not None:
                self.host.log(LOG_ERR, f"record of jobs (lwj): {error}; counting from {self.record.next}")
            done()

        self.record.load(self.host.read, self._guarded(loaded))

    def adopt(self, jobs: Iterable[Job]) -> None:
        """Take in jobs that were found running."""
        for job in jobs:
            if not self.record.knows(job.id):
                self._unrecorded[job.id] = job
                self.record.seen(job.id, job.t_submit)
        self.later()

    def released(self, jobid: int) -> None:
        """A job gave back all it held. If the journal does not tell how it ended, its event log does."""
        if self.record.knows(jobid):
            self._released.add(jobid)
            if self._check_timer is None:
                self._check_timer = self.host.call_later(GRACE, self._guarded(self._check))

    def allocated(self, job: Job, R: dict) -> None:
        """A job has resources, those of R."""
        if not self.record.keep:
            job.jobspec = None
            return
        held = _r.folded(R)
        nodes = sum(rdl_match.count(ranks) for ranks, _, _ in held)
        slots = R["execution"].get("nslots", 0)
        if self._resources.described and nodes <= RANKS_MAX:
            tree = nested(self._engine().tree_part(job.id))
        else:
            tree = flat(held, R["execution"]["nodelist"], self._resources.host_of)
        self.record.allocated(job.id, job.starttime, job.jobspec, slots, nodes, held, tree)
        job.jobspec = None

    def follow(self) -> None:
        """Follow the job manager's journal, if jobs are recorded."""
        if self.record.keep and not self._following:
            self._following = True
            self.host.request(
                TOPIC, {"full": False, "allow": EVENTS}, self._guarded(self._on_journal), streaming=True
            )

    def resize(self, keep: int) -> None:
        """Keep another number of records from now on. Where none were kept, jobs that come from now on are recorded."""
        off = not self.record.keep
        self.record.resize(keep)
        if off and keep and not self._following:
            self.load(self.follow)
        else:
            self.later()

    def stop(self) -> None:
        """The module ends: send what is left, and do not wait for it."""
        for timer in (self._timer, self._check_timer):
            if timer is not None:
                timer.cancel()
        puts = self.record.take(math.inf)
        if puts:
            self.host.commit(puts, lambda error: None)

    # -- writing --------------------------------------------------------------

    def later(self) -> None:
        """Write what is staged before long."""
        if self._timer is None and not self._writing and self.record.dirty:
            host = self.host
            due = max(self.record.oldest() + host.record_delay, self._written_at + host.record_interval)
            seconds = min(max(due - host.now(), 0.0), host.record_delay + host.record_interval)
            self._timer = host.call_later(seconds, self._guarded(self._write))

    def _write(self) -> None:
        self._timer = None
        self._written_at = self.host.now()
        # A timer may be early by the rounding of its seconds.
        rest = min(self.host.record_delay, self.host.record_interval) - ROUNDING
        puts = self.record.take(self._written_at - rest)
        if not puts:
            self.later()
            return
        self._writing = True
        self.commits += 1

        def written(error: Optional[OSError]) -> None:
            self._writing = False
            if error is not None:
                self.host.log(LOG_ERR, f"record of jobs (lwj): {error}; it is written again later")
                self.record.give_back(puts)
            self.later()

        self.host.commit(puts, self._guarded(written))

    # -- the journal ----------------------------------------------------------

    def _on_journal(self, payload: Optional[dict], error: Optional[OSError]) -> None:
        if error is not None:
            # ENODATA: the job manager is unloaded, as when the instance ends.
            level = LOG_DEBUG if error.errno == errno.ENODATA else LOG_WARNING
            self.host.log(level, f"{TOPIC}: {error.strerror}; the record of jobs (lwj) stands still")
            return
        payload = payload or {}
        jobid = field(payload, "id", int, TOPIC)
        if jobid in JOBID_ANY:
            self._current = True
            self._catch_up()
            return
        if not self._current:
            self._backlog.add(jobid)
            self._describe(jobid, payload.get("jobspec"))
        if self.record.knows(jobid):
            self.record.events(jobid, eventlog.checked(field(payload, "events", list, TOPIC)))
            self.later()

    def _describe(self, jobid: int, spec: Any) -> None:
        """Record what a job that was running before us asked for, and has."""
        job = self._unrecorded.pop(jobid, None)
        if job is None or not isinstance(spec, dict):
            return
        try:
            job.request = _jobspec.parse(spec)
        except _jobspec.JobspecError:
            return
        job.jobspec = fastjson.dumps(spec)
        self.record.describe(jobid, spec, job.request)
        if jobid not in self._released:
            self.allocated(job, self._engine().R(jobid))        # else it holds nothing any more

    def _catch_up(self) -> None:
        """Complete the records of jobs that ended while no scheduler was loaded."""
        for jobid in self.record.live():
            if jobid not in self._backlog:
                self._look_up(jobid)
        self._backlog.clear()
        self._unrecorded.clear()

    def _check(self) -> None:
        """Complete the records of jobs that gave all back a while ago, and had no finish."""
        self._check_timer = None
        released, self._released = self._released, set()
        for jobid in released:
            if self.record.knows(jobid):
                self._look_up(jobid)

    def _look_up(self, jobid: int) -> None:
        payload = {"id": jobid, "keys": ["eventlog"], "flags": 0}
        self.host.request("job-info.lookup", payload, self._guarded(functools.partial(self._looked_up, jobid)))

    def _looked_up(self, jobid: int, payload: Optional[dict], error: Optional[OSError]) -> None:
        text = (payload or {}).get("eventlog")
        if error is not None and error.errno == errno.ENOENT:
            self.record.lost(jobid)
        elif error is not None or not isinstance(text, str):
            why = error.strerror if error is not None else "no event log"
            self.host.log(LOG_INFO, f"record of jobs (lwj): job {self.host.job_name(jobid)}: {why}")
        else:
            self.record.events(jobid, eventlog.entries(text))
        self.later()
