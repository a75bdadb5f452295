# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Reading job traces that `flux jobs --json` printed."""
import json

import pytest

from fluxsched.traces import files
from fluxsched.traces.files import TraceError
from fluxsched.traces.load import load


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
        return load(tmp_path / "jobs.json")
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
    monkeypatch.setattr(files, "MAX_JOBS", 1)
    with pytest.raises(TraceError, match="more than 1 jobs"):
        read([job(1, 1.0), job(2, 1.0)])


def test_known_without_a_suffix(tmp_path):
    (tmp_path / "log").write_text(json.dumps([job(1, 10.0, 11.0, 12.0)]))
    assert len(load(tmp_path / "log")) == 1


@pytest.mark.parametrize("depth", [50, 900, 5000, 200_000])
def test_nested_values_of_jobs(read, depth):
    """Deep or not so deep: read, or refused in one line."""
    text = json.dumps([job(1, 10.0, 11.0, 12.0)])[:-2] + ', "x": ' + "[" * depth + "]" * depth + "}]"
    try:
        assert read(text).job_id.tolist() == [1]
    except TraceError as err:
        assert depth > 50 and "JSON nested too deep" in str(err)


def test_numbers_of_thousands_of_digits(read):
    with pytest.raises(TraceError, match=r"line 1: not JSON|a whole number expected, an integer of"):
        read('[{"id": ' + "9" * 5000 + ', "t_submit": 1}]')


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_pieces_of_any_length(read, monkeypatch, size):
    monkeypatch.setattr(files, "PIECE", size)
    jobs = [job(2**62 + k, 10.25 + k, 11.0 + k, 12.5 + k, queue="q\u00e9\u4e2d") for k in range(5)]
    for text in (json.dumps({"count": 12345, "jobs": jobs, "end": -1.5e-7}),
                 json.dumps(jobs, indent=1, ensure_ascii=False)):
        t = read(text)
        assert t.job_id.tolist() == [2**62 + k for k in range(5)] and t.run.tolist() == [1.5] * 5
        assert t.header["queue"] == ["q\u00e9\u4e2d"]
    assert len(read(json.dumps(jobs[0], indent=2))) == 1


@pytest.mark.parametrize("text, what", [
    ('[{"id": 1, "t_submit": 1}] x', "line 1: not JSON: end of file expected"),
    ('{"jobs": []', "not JSON: , or } expected"),
    ('[{"id": 1}\n{"id": 2}]', "line 2: not JSON: , or ] expected|a number|t_submit"), ("{1: 2}", "a key in quotes"),
    ('{"jobs" 3}', "not JSON: : expected"), ("{}", "id: a whole number expected, null found"),
    ('[{"x": "' + "a" * (1 << 20) + '"}]', "not JSON: a value of more than 1048576 characters"),
])
def test_bad_json(read, text, what):
    with pytest.raises(TraceError, match=what):
        read(text)


def test_too_much_text(read, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 1 << 20)
    with pytest.raises(TraceError, match="more than 1 MiB of text, the most that a trace may have"):
        read("[" + " " * (2 << 20) + "]")


def test_no_text(tmp_path):
    (tmp_path / "x.json").write_bytes(b'[{"queue": "\xff"}]')
    with pytest.raises(TraceError, match=r"not UTF-8 text \(byte 12\)"):
        load(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b'[\xc3')
    with pytest.raises(TraceError, match=r"not UTF-8 text \(byte 1\)"):
        load(tmp_path / "x.json")
