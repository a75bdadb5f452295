# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is known of a job."""
from __future__ import annotations

import time
from typing import Any

from flux import constants
from flux.job.JobID import JobID
from fluxsched.session.commands import jobfields

STATES = {
    "DEPEND": constants.FLUX_JOB_STATE_DEPEND, "PRIORITY": constants.FLUX_JOB_STATE_PRIORITY,
    "SCHED": constants.FLUX_JOB_STATE_SCHED, "RUN": constants.FLUX_JOB_STATE_RUN,
    "CLEANUP": constants.FLUX_JOB_STATE_CLEANUP, "INACTIVE": constants.FLUX_JOB_STATE_INACTIVE,
}  # fmt: skip
RESULTS = {
    "COMPLETED": constants.FLUX_JOB_RESULT_COMPLETED, "FAILED": constants.FLUX_JOB_RESULT_FAILED,
    "CANCELED": constants.FLUX_JOB_RESULT_CANCELED, "TIMEOUT": constants.FLUX_JOB_RESULT_TIMEOUT,
}  # fmt: skip


class _Table:
    """A table whose keys are attributes; those that are not there are None."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        found = self._values.get(name)
        return _Table(found) if isinstance(found, dict) else found

    def __repr__(self) -> str:
        return repr(self._values)


class JobInfo:
    """A job when it was asked about: the fields of `flux jobs -o` are its attributes, "" where the job has none.

    `id` is a JobID, `state`, `status` and `result` are names, times are seconds since the epoch. `state_id` and
    `result_id` are the numbers of flux.constants, `annotations`, `sched`, `user` and `exception` have attributes."""

    def __init__(self, info: dict[str, Any]) -> None:
        """From what `flux jobs --json` shows of a job."""
        self._info = info
        self.id = JobID(info["id"])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name == "state_id":
            return STATES[self._info["state"]]
        if name == "result_id":
            return RESULTS.get(self._info.get("result", ""), "")
        if name in ("annotations", "exception"):
            return _Table(self._info[name])
        if name in ("sched", "user"):
            return _Table(self._info["annotations"].get(name, {}))
        if name == "dependencies":
            return list(self._info["dependencies"])
        if jobfields.heading(name) is None:
            raise AttributeError(f"invalid JobInfo attribute {name!r}")
        return jobfields.value(self._info, name)

    def get_runtime(self) -> float:
        """How many seconds the job has run."""
        if self._info["state"] == "RUN" and "t_run" in self._info:
            return max(0.0, time.time() - self._info["t_run"])
        return float(self._info["runtime"])

    def to_dict(self, filtered: bool = True) -> dict[str, Any]:
        """The job as `flux jobs --json` shows it; `filtered` is there for flux-core's sake."""
        return dict(self._info)

    def __repr__(self) -> str:
        return f"JobInfo({self.id}, {self._info['status']})"
