# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Reading job traces that `flux jobs --json` printed."""
import json

import pytest

from fluxsched.traces import flux_jobs, trace
from fluxsched.traces.trace import TraceError


def job(jobid, submit, run=None, end=None, **more):
    entry = {"id": jobid, "userid": 1000, "t_submit": submit, "duration": 60.0, "ncores": 4, "nnodes": 1, "ntasks": 2,
             "queue": "batch", "annotations": {}}
    if run is not None:
        entry["t_run"] = run
    if end is not None:
        entry["t_cleanup"] = end
    entry.update(more)
    return entry


@pytest.fixture
def read(tmp_path):
    def read(value):
        (tmp_path / "jobs.json").write_text(value if isinstance(value, str) else json.dumps(value))
        return trace.load(tmp_path / "jobs.json")
    return read


def test_jobs(read):
    big = 2**62 + 1                       # needs all its bits
    t = read({"jobs": [job(big, 1700000005.5, 1700000006.0, 1700000016.25),
                       job(3, 1700000000.0, 1700000001.0, 1700000002.0, duration=0, queue="debug")]})
    assert t.job_id.tolist() == [3, big]
    assert t.unix_start == 1700000000 and t.submit.tolist() == [0, 5.5]
    assert t.run.tolist() == [1, 10.25] and t.request.tolist() == [1, 60]
    assert t.procs.tolist() == [4, 4] and t.nodes.tolist() == [1, 1] and t.user.tolist() == [1000, 1000]
    assert t.header["queue"] == ["batch", "debug"] and t.queue.tolist() == [1, 0]
    assert t.notes == {"unsorted": 1, "no_request": 1}


def test_a_list_and_a_single_job(read):
    one = job(1, 10.0, 11.0, 12.0)
    assert len(read([one, job(2, 10.0, 11.0, 12.0)])) == 2
    assert len(read(one)) == 1


def test_fewer_keys(read):
    t = read([job(1, 10.0, 11.0, None, ncores="", ntasks=3, t_inactive=14.0),
              job(2, 10.0, 11.0, 12.0, ncores=None, ntasks=None, nnodes=7)])
    assert t.procs.tolist() == [3, 7] and t.run.tolist() == [3, 1]


def test_jobs_that_never_ran_or_still_run(read):
    t = read([job(1, 10.0), job(2, 10.0, 11.0), job(3, 10.0, 11.0, 12.0), job(3, 10.0, 11.0, 12.0)])
    assert t.job_id.tolist() == [3]
    assert t.notes == {"no_run": 2, "duplicate": 1}


@pytest.mark.parametrize("value, what", [
    ("", "line 1: not JSON"),
    ('{"jobs": [\n{"id": 1,}]}', "line 2: not JSON"),
    ('{"jobs": [{"id": 1}', "not JSON"),
    ("[" * 100_000, "not JSON|nested too deep"),
    ("7", "a list of jobs expected"),
    ({"jobs": {}}, "a list of jobs expected"),
    ([], "no jobs in the trace"),
    ([3], r"jobs\[0\]: an object expected"),
    ([job("f1", 1.0)], r"jobs\[0\].id: a whole number expected, 'f1' found"),
    ([job(True, 1.0)], r"jobs\[0\].id: a whole number expected"),
    ([job(1, 1.0, 2.0, 3.0), job(2, "now")], r"jobs\[1\].t_submit: a number expected, 'now' found"),
    ('[{"id": 1, "t_submit": Infinity}]', r"jobs\[0\].t_submit: a number expected"),
    ([job(1, 1.0, queue=["x"])], r"jobs\[0\].queue: a string expected"),
    ([{"id": 1}], "no job has t_submit"),
    ([job(1, 1.0)], r"no usable job in the trace \(no_run 1\)"),
])
def test_bad_input(read, value, what):
    with pytest.raises(TraceError, match=what):
        read(value)


def test_too_many_jobs(read, monkeypatch):
    monkeypatch.setattr(flux_jobs, "MAX_JOBS", 1)
    with pytest.raises(TraceError, match="more than 1 jobs"):
        read([job(1, 1.0), job(2, 1.0)])


def test_known_without_a_suffix(tmp_path):
    (tmp_path / "log").write_text(json.dumps([job(1, 10.0, 11.0, 12.0)]))
    assert len(trace.load(tmp_path / "log")) == 1
