# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobs of a trace that wait for others: from the numbers of jobs to their places, and whether it can be."""
from __future__ import annotations

from typing import NamedTuple, Tuple

import numpy as np

from fluxsched.traces.files import TraceError

END, START = 0, 1             # what the other job has to have done


class Links(NamedTuple):
    """Who waits for whom, in arrays of shape (m,).

    row     int64  a job, by its place among the lines of the source
    number  int64  the job that it waits for, by its number in the source
    what    int64  END or START
    """

    row: np.ndarray
    number: np.ndarray
    what: np.ndarray


def placed(links: Links, order: np.ndarray, job_id: np.ndarray, source: str) -> Tuple[np.ndarray, int]:
    """Rows (job, the one that it waits for, END or START) of the places of jobs, int64 (m, 3); and how many links go to
    jobs that there are not, which are left out.

    order: int64 (n,), the line of each job; job_id: int64 (n,), its number. Of several jobs with one number the first
    is meant. Raises TraceError where jobs wait for one another.
    """
    place = np.full(max(int(order.max(initial=0)), int(links.row.max(initial=0))) + 1, -1, dtype=np.int64)
    place[order] = np.arange(len(order))
    numbers, first = np.unique(job_id, return_index=True)
    at = np.minimum(np.searchsorted(numbers, links.number), len(numbers) - 1)
    job = place[links.row]
    known = numbers[at] == links.number
    rows = np.stack([job, first[at], links.what], axis=1)[(job >= 0) & known]
    _check(rows, job_id, source)
    return rows, int(((job >= 0) & ~known).sum())


def chosen(rows: np.ndarray, keep: np.ndarray, n: int) -> np.ndarray:
    """The rows of a trace of n jobs for some of them, by a mask or by their places, without those to jobs left out."""
    if not len(rows):
        return rows
    place = np.full(n, -1, dtype=np.int64)
    places = np.flatnonzero(keep) if keep.dtype == bool else keep
    place[places] = np.arange(len(places))
    moved = rows.copy()
    moved[:, 0], moved[:, 1] = place[rows[:, 0]], place[rows[:, 1]]
    return moved[(moved[:, :2] >= 0).all(axis=1)]


def _check(rows: np.ndarray, job_id: np.ndarray, source: str) -> None:
    """Raise TraceError unless there is an order in which the jobs can run."""
    left = rows[rows[:, 1] >= rows[:, 0]] if len(rows) else rows
    if not len(left):
        return                                 # each waits for one before it: the usual case
    waits = np.bincount(rows[:, 0], minlength=len(job_id))
    by_other = rows[np.argsort(rows[:, 1], kind="stable")]
    begin = np.searchsorted(by_other[:, 1], np.arange(len(job_id) + 1))
    free = np.flatnonzero(waits == 0).tolist()
    while free:
        job = free.pop()
        for follower in by_other[begin[job]:begin[job + 1], 0].tolist():
            waits[follower] -= 1
            if waits[follower] == 0:
                free.append(follower)
    if waits.any():
        raise TraceError(f"{source}: job {int(job_id[int(np.argmax(waits > 0))])} waits for itself, or for one that "
                         "waits for it")
