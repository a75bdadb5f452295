# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Keeps the record of jobs (``lwj.N``, see :mod:`fluxsched.service.lwj`) written.

What the service stages at an allocation goes into the transaction of the R's.
All else (submissions, and what the job manager's journal of events says) is
collected for a quarter of a second and written in one.
"""

import errno

from fluxsched.formats import jobspec as _jobspec
from fluxsched.service import rdl_match as _link
from fluxsched.service.host import LOG_DEBUG, LOG_ERR, LOG_WARNING
from fluxsched.service.lwj import EVENTS, Record
from fluxsched.service.protocol import field

__all__ = ["Recorder"]

# Seconds within which changes that no other commit carried are written.
DELAY = 0.25
# FLUX_JOBID_ANY, signed and unsigned: the end of the journal's backlog.
JOBID_ANY = (-1, 2**64 - 1)


class Recorder:
    """`guarded` wraps callbacks so that no exception leaves them; `allocated`
    stages the allocation of a Job that was running before any record of it."""

    def __init__(self, host, keep, guarded, allocated):
        self.host = host
        self.record = Record(keep)
        self.commits = 0
        self._guarded = guarded
        self._allocated = allocated
        self._timer = None
        self._backlog = set()           # ids in the journal's backlog
        self._current = False           # past the backlog
        self._unrecorded = {}           # id -> Job that ran before any record of it

    def load(self, done):
        """Read the record that there is, then ``done()``."""

        def loaded(error):
            if error is not None:
                self.host.log(LOG_ERR, f"record of jobs (lwj): {error}; counting from {self.record.next}")
            done()

        self.record.load(self.host.read, self._guarded(loaded))

    def adopt(self, jobs):
        """Jobs that were found running."""
        for job in jobs:
            if not self.record.knows(job.id):
                self._unrecorded[job.id] = job
                self.record.seen(job.id, job.t_submit)
        self.later()

    def follow(self):
        """Follow the job manager's journal."""
        if self.record.keep:
            self.host.request(
                "job-manager.events-journal",
                {"full": False, "allow": EVENTS},
                self._guarded(self._on_journal),
                streaming=True,
            )

    def later(self):
        """Write what is staged before long, if no commit takes it with it."""
        if self.record.dirty and self._timer is None:
            self._timer = self.host.call_later(DELAY, self._guarded(self._write))

    def stop(self):
        """The end: send what is staged, and do not wait for it."""
        if self._timer is not None:
            self._timer.cancel()
        if self.record.dirty:
            self.host.commit(self.record.take(), lambda error: None)

    def _write(self):
        self._timer = None
        if self.record.dirty:
            self.commits += 1
            self.host.commit(self.record.take(), self._guarded(self._written))

    def _written(self, error):
        if error is not None:
            self.host.log(LOG_ERR, f"record of jobs (lwj): {error}")

    def _on_journal(self, payload, error):
        topic = "job-manager.events-journal"
        if error is not None:
            # ENODATA: the job manager is unloaded, as when the instance ends.
            level = LOG_DEBUG if error.errno == errno.ENODATA else LOG_WARNING
            self.host.log(level, f"{topic}: {error.strerror}; the record of jobs (lwj) stands still")
            return
        jobid = field(payload, "id", int, topic)
        if jobid in JOBID_ANY:
            self._current = True
            self._catch_up()
            return
        if not self._current:
            self._backlog.add(jobid)
            self._describe(jobid, payload.get("jobspec"))
        self.record.events(jobid, field(payload, "events", list, topic))
        self.later()

    def _describe(self, jobid, spec):
        """What a job that was running before us asked for, and has."""
        job = self._unrecorded.pop(jobid, None)
        if job is None or not isinstance(spec, dict):
            return
        try:
            job.request = _jobspec.parse(spec)
        except _jobspec.JobspecError:
            return
        job.jobspec = spec
        self.record.describe(jobid, spec, job.request)
        self._allocated(job)

    def _catch_up(self):
        """Jobs of the record that ended while no scheduler was loaded."""
        for jobid in self.record.live():
            if jobid in self._backlog:
                continue

            def got(payload, error, jobid=jobid):
                if error is None and isinstance((payload or {}).get("eventlog"), str):
                    self.record.events(jobid, _link.eventlog(payload["eventlog"]))
                    self.later()

            self.host.request(
                "job-info.lookup", {"id": jobid, "keys": ["eventlog"], "flags": 0}, self._guarded(got)
            )
        self._backlog.clear()
        self._unrecorded.clear()
