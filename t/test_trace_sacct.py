# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Reading job traces in CSV."""
import math

import pytest

from fluxsched.traces import sacct as trace_csv
from fluxsched.traces import trace
from fluxsched.traces.trace import TraceError

HEAD = ("JobID,User,JobName,Account,Cluster,Partition,Priority,QOS,NNodes,NCPUS,Timelimit,State,Submit,Start,"
        "Elapsed,End,ExitCode,IORate(MB)\n")


def line(job=1, user="a", nodes=1, cpus=16, limit="00:10:00", submit="1", elapsed="00:06:00", rate=5):
    return f"{job},{user},n,acc,c,batch,1,normal,{nodes},{cpus},{limit},COMPLETED,{submit},1,{elapsed},180,0:0,{rate}\n"


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "x.csv").write_text(text)
        return trace.load(tmp_path / "x.csv")
    return read


def test_the_columns_of_the_emulator(read):
    t = read(HEAD + line() + line(2, "b", 100, 1600, "16:00:00", "19643", "16:00:09", 2))
    assert t.job_id.tolist() == [1, 2]
    assert t.submit.tolist() == [1, 19643]
    assert t.run.tolist() == [360, 57609]
    assert t.request.tolist() == [600, 57600]
    assert t.procs.tolist() == [16, 1600]
    assert t.nodes.tolist() == [1, 100]
    assert t.io_rate.tolist() == [5, 2]
    assert t.user.tolist() == [0, 1] and t.header["User"] == ["a", "b"]
    assert t.notes == {"over_request": 1}


def test_columns_in_any_order_and_few(read):
    t = read("NNodes,Submit,End,Start\n4,0,30,10\n2,5,0-00:01:10,60\n")
    assert t.procs.tolist() == [4, 2] and t.run.tolist() == [20, 10] and t.job_id.tolist() == [1, 2]
    assert t.notes == {"no_request": 2}


def test_bars_and_calendar_times(read):
    t = read("JobID|NCPUS|Submit|Elapsed|Timelimit\n12_1|4|2024-05-01T00:00:10|02:00|UNLIMITED\n"
             "13|8|2024-05-01T00:00:00|1-00:00:00|2-00:00:00\n")
    assert t.unix_start == 1714521600
    assert t.submit.tolist() == [0, 10] and t.run.tolist() == [86400, 120]
    assert t.job_id.tolist() == [13, 1] and t.request.tolist() == [172800, 120]


def test_steps_are_parts_of_their_job(read):
    """sacct without -X: a line for each step as well."""
    t = read("JobID|NCPUS|Submit|Elapsed\n12|8|0|60\n12.batch|4|0|60\n12.0|8|1|50\n12_7|4|5|60\n12_7.extern|4|5|60\n"
             "14.0|2|9|60\n")
    assert t.submit.tolist() == [0, 5, 9] and t.notes["partial"] == 3
    # Numbers with a fraction that is none, as some tools write them, are no steps.
    assert read("JobID,NCPUS,Submit,Elapsed\n1.0,8,0,60\n2.0,8,0,60\n").job_id.tolist() == [1, 2]


@pytest.mark.parametrize("word, value", [
    ("0", 0), ("90", 90), ("1.5", 1.5), ("00:10:00", 600), ("2-03:04:05", 183845), ("03:04", 184),
    ("100:00:00", 360000), ("00:00:01.25", 1.25), ("1970-01-02T00:00:00", 86400),
])
def test_times(word, value):
    assert trace_csv.seconds(word) == value


@pytest.mark.parametrize("word", ["", "Unknown", "UNLIMITED", "Partition_Limit", "-1", "None"])
def test_times_that_are_missing(word):
    assert math.isnan(trace_csv.seconds(word))


@pytest.mark.parametrize("word", ["soon", "1:2:3:4", "2-10", "10:99:00", "10:00:60", "1e9", "12-30:00", "nan",
                                  "2024-13-01T00:00:00"])
def test_times_that_are_none(word):
    with pytest.raises(ValueError):
        trace_csv.seconds(word)


def test_duplicates_and_what_is_left_out(read):
    unknown = line(2, elapsed="Unknown").replace(",180,", ",Unknown,")
    t = read(HEAD + line() + line() + unknown + line(3, cpus=0, nodes=0) + "\n" + line(4))
    assert t.job_id.tolist() == [1, 4]
    assert t.notes == {"duplicate": 1, "no_run": 1, "no_procs": 1}


@pytest.mark.parametrize("text, what", [
    ("", "no jobs in the trace"),
    (HEAD, "no jobs in the trace"),
    ("a,b\n1,2\n", "line 1: no column Submit"),
    ("Submit,Elapsed\n1,2\n", "line 1: no column NCPUS or NNodes"),
    ("Submit,NCPUS\n1,2\n", "line 1: no column Elapsed"),
    ("Submit,Submit,NCPUS,Elapsed\n1,1,2,3\n", "line 1: column Submit is there twice"),
    (HEAD + line() + "1,2,3\n", "line 3: 18 columns expected, 3 found"),
    (HEAD + line(elapsed="soon"), "line 2: Elapsed: seconds or .* expected, 'soon' found"),
    (HEAD + line(cpus="x"), "line 2: NCPUS: a number expected, 'x' found"),
    (HEAD + line() + '2,"open\n', "line 3: unexpected end of data"),
])
def test_a_malformed_line_is_named(read, text, what):
    with pytest.raises(TraceError, match=r"x\.csv: " + what):
        read(text)


def test_no_text(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"Submit\xff\n")
    with pytest.raises(TraceError, match=r"not UTF-8 text \(byte 6\)"):
        trace.load(tmp_path / "x.csv")


def test_too_many_jobs(read, monkeypatch):
    monkeypatch.setattr(trace_csv, "MAX_JOBS", 1)
    with pytest.raises(TraceError, match="more than 1 jobs"):
        read(HEAD + line(1) + line(2))


def test_known_without_a_suffix(tmp_path):
    (tmp_path / "log").write_text("Submit,NCPUS,Elapsed\n1,2,3\n")
    assert trace.load(tmp_path / "log").procs.tolist() == [2]
