# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What jobs of a Flux trace asked for, by their jobspecs: resources, constraint, and what they wait for.

``flux jobs`` prints none of this. Equal requests are kept once, so that memory grows with what differs.
"""
from __future__ import annotations

import json
from array import array
from typing import Any, Dict, List, Tuple

import numpy as np

from fluxsched.formats import fluid, jobspec
from fluxsched.formats.jobspec import JobspecError, Request
from fluxsched.formats.quote import quote
from fluxsched.traces.chains import END, START, Links
from fluxsched.traces.files import TraceError, check_jobs

# Dependencies (RFC 26), and what the other job has to have done.
_AFTER = {"after": START, "afterstart": START, "afterany": END, "afterok": END, "afternotok": END, "afterexcept": END}


class Jobspecs:
    """The jobspecs of a trace, as they are read.

    requests, constraints: those that differ.
    other: number of the dependencies that are not read.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.requests: List[Request] = []
        self.constraints: List[Dict[str, Any]] = []
        self.other = 0
        self._places: Dict[Request, int] = {}
        self._named: Dict[str, int] = {}
        self._rows: Dict[str, array[Any]] = {
            "id": array("q"), "request": array("q"), "constraint": array("q"), "duration": array("d"),
            "begin": array("d")}
        self._links: Dict[str, array[Any]] = {"row": array("q"), "number": array("q"), "what": array("q")}

    def __len__(self) -> int:
        return len(self._rows["id"])

    def add(self, jobid: Any, spec: Any) -> None:
        """Take the jobspec of a job.  Raises TraceError, naming the job and the field."""
        if isinstance(jobid, bool) or not isinstance(jobid, int) or not 0 <= jobid < 2**63:
            raise TraceError(f"{self.source}: the id of a job expected before its jobspec, {quote(jobid)} found")
        check_jobs(len(self) + 1, self.source)
        try:
            asked = jobspec.parse(spec)
        except JobspecError as error:
            raise TraceError(f"{self.source}: jobspec of job {jobid}: {error}") from None
        begin = self._dependencies(jobid, ((spec["attributes"] or {}).get("system") or {}).get("dependencies") or [])
        bare = asked._replace(duration=0.0, queue="", constraint=None)
        request = self._places.setdefault(bare, len(self._places))
        if request == len(self.requests):
            self.requests.append(bare)
        place = -1
        if asked.constraint is not None:
            place = self._named.setdefault(json.dumps(asked.constraint, sort_keys=True), len(self._named))
            if place == len(self.constraints):
                self.constraints.append(asked.constraint)
        for name, value in (("id", jobid), ("request", request), ("constraint", place),
                            ("duration", asked.duration), ("begin", begin)):
            self._rows[name].append(value)

    def _dependencies(self, jobid: int, given: Any) -> float:
        """Take down which jobs it waits for; the time from which on it may start, s since the epoch, or NaN."""
        begin = float("nan")
        where = f"{self.source}: jobspec of job {jobid}: attributes.system.dependencies"
        if not isinstance(given, list):
            raise TraceError(f"{where}: expected a list, got {quote(given)}")
        for at, each in enumerate(given):
            if not isinstance(each, dict) or not isinstance(each.get("scheme"), str):
                raise TraceError(f"{where}[{at}]: expected an object with a scheme, got {quote(each)}")
            scheme, value = each["scheme"], each.get("value")
            try:
                if scheme in _AFTER:
                    number = fluid.parse(str(value))
                    if number >= 2**63:
                        raise ValueError("expected an id below 2^63")
                    for name, item in (("row", len(self)), ("number", number), ("what", _AFTER[scheme])):
                        self._links[name].append(item)
                elif scheme == "begin-time":
                    begin = np.fmax(begin, float(value)) if value is not None else begin
                else:
                    self.other += 1
            except (TypeError, ValueError) as error:
                raise TraceError(f"{where}[{at}].value: {error}") from None
        return begin

    def of(self, job_id: np.ndarray) -> Tuple[Dict[str, np.ndarray], Links]:
        """What is told of the jobs with these numbers (int64 (n,)), as columns of shape (n,): "asked", the place in
        `requests`, and "constraint", that in `constraints`, -1 where there is none; "duration" in s, 0 for no limit,
        and "begin" in s since the epoch, NaN where there is none. And who waits for whom, by the places of these jobs.
        Of several jobspecs of a job the last counts.
        """
        rows = {name: np.frombuffer(column, dtype=column.typecode) for name, column in self._rows.items()}
        order = np.argsort(rows["id"], kind="stable")
        at = order[np.searchsorted(rows["id"][order], job_id, side="right") - 1]
        told = rows["id"][at] == job_id
        columns = {name: np.where(told, rows[row][at], unknown) for name, row, unknown in (
            ("asked", "request", -1), ("constraint", "constraint", -1), ("duration", "duration", np.nan),
            ("begin", "begin", np.nan))}
        place = np.full(len(self), -1)
        place[at[told]] = np.flatnonzero(told)
        links = {name: np.frombuffer(column, dtype=np.int64) for name, column in self._links.items()}
        row = place[links["row"]]
        return columns, Links(row[row >= 0], links["number"][row >= 0], links["what"][row >= 0])
