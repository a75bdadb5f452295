# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Reading and writing the Standard Workload Format."""
import errno
import gzip
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from fluxsched.traces.swfscan import most_rows, scan
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxsched.traces import files, swf, trace
from fluxsched.traces.files import TraceError
from fluxsched.traces.load import load

QUARTER = Path(__file__).resolve().parent / "data/quarter.swf.gz"
HEAD = "; Version: 2.2\n; UnixStartTime: 749458803\n; MaxNodes: 64\n; MaxProcs: 128\n;\n"


def line(job=1, submit=0, run=10, allocated=4, procs=-1, request=-1, status=1, user=3):
    return f"{job} {submit} -1 {run} {allocated} -1 -1 {procs} {request} -1 {status} {user} 1 -1 0 -1 -1 -1\n"


@pytest.fixture
def read(tmp_path):
    def read(text, name="x.swf"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(path)
    return read


def test_fields_and_header(read):
    t = read(HEAD + line(7, 100, 20, 4, 8, 60, user=5))
    assert (t.max_procs, t.max_nodes, t.unix_start) == (128, 64, 749458803)
    assert [getattr(t, name)[0] for name in ("job_id", "submit", "run", "procs", "request", "user")] == [
        7, 100, 20, 8, 60, 5]
    assert t.notes == {} and t.source == "x.swf" and len(t) == 1
    assert t.submit.dtype == np.float64 and t.procs.dtype == np.int64
    with pytest.raises(ValueError):
        t.submit[0] = 1


def test_processors_and_request_fall_back(read):
    t = read(line(1, procs=-1, allocated=4) + line(2, procs=0, allocated=5, request=0) + line(3, run=0))
    assert t.procs.tolist() == [4, 5, 4]
    assert t.request.tolist() == [10, 10, 1]
    assert t.notes == {"no_request": 3, "zero_run": 1}


def test_left_out_and_counted(read):
    t = read(line(1, run=-1) + line(2, allocated=-1) + line(3, submit=-1) + line(4) + line(5, run=99, request=9))
    assert t.job_id.tolist() == [4, 5]
    assert t.notes == {"no_run": 1, "no_procs": 1, "no_submit": 1, "no_request": 1, "over_request": 1}


def test_unsorted_lines_are_sorted_stably(read):
    t = read(line(1, 50) + line(2, 10) + line(3, 50) + line(4, 10))
    assert t.job_id.tolist() == [2, 4, 1, 3]
    assert t.notes["unsorted"] == 2


def test_duplicates_and_partial_executions(read):
    t = read(line(1) + line(1) + line(2, 5) + line(3, 6, status=2) + line(3, 6, run=90, status=1) + line(4, 7, status=3)
             + line(2, 9))
    assert t.job_id.tolist() == [1, 2, 3, 4, 2]
    assert (t.notes["duplicate"], t.notes["partial"]) == (1, 1)


def test_blank_lines_comments_carriage_returns_and_no_last_newline(read):
    t = read("\r\n; note\r\n\n  " + line(1).replace("\n", "\r\n") + "   \n;x\n" + line(2).rstrip())
    assert t.job_id.tolist() == [1, 2]


@pytest.mark.parametrize("name", ["x.swf", "x", "x.csv", "y"])
def test_a_byte_order_mark_is_passed_over(read, name):
    text = "JobID,NCPUS,Submit,Elapsed\n1,4,0,60\n" if name in ("x.csv", "y") else HEAD + line(1)
    t = read(b"\xef\xbb\xbf" + text.encode(), name)
    assert t.job_id.tolist() == [1] and t.max_procs == (None if name in ("x.csv", "y") else 128)


@pytest.mark.parametrize("bad, what", [
    ("1 2 3\n", "18 fields expected, 3 found"),
    (line(2**63 - 1), "field 1: 9223372036854775807 is out of range"),
    (line(user=2**53), "field 12: 9007199254740992 is out of range"),
    (line(run="ten"), "field 4: a number expected, 'ten' found"),
    (line(run="1e5"), "field 4: a number expected, '1e5' found"),
    (line(run="nan"), "field 4: a number expected, 'nan' found"),
    (line(run="-"), "field 4: a number expected, '-' found"),
    (line(run="9" * 30), "field 4: 9+ is out of range"),
    ("Lorem ipsum dolor\n", "field 1: a number expected, 'Lorem' found"),
])
def test_a_malformed_line_is_named(read, bad, what):
    with pytest.raises(TraceError, match=r"x\.swf: line 8: " + what):
        read(HEAD + line(1) + "\n" + bad + line(2))


@pytest.mark.parametrize("text, what", [
    (b"", "no jobs"),
    ("; only: a header\n", "no jobs"),
    (b"\x7fELF\0\0\0", "a binary file"),
    (b"1" * 100_000, "a line longer than"),
    (line(run=-1), r"no usable job in the trace \(no_run 1\)"),
    (line(run=20000000000), r"job 1: run 2e\+10 is above"),
    (line(submit=2000000000000), "job 1: submit"),
    (line(allocated=2**31), "job 1: procs"),
    (line(request=20000000000), "job 1: request"),
    ("; MaxProcs: many\n" + line(), "header MaxProcs: a number expected, 'many' found"),
    ("; MaxProcs:\n" + line(), "header MaxProcs: a number expected, '' found"),
])
def test_unusable_files(read, text, what):
    with pytest.raises(TraceError, match=what):
        read(text)


def test_gzip_is_known_by_its_content(read):
    assert len(read(gzip.compress(line().encode()), "x.swf")) == 1
    assert len(read(gzip.compress(line().encode()), "x.swf.gz")) == 1
    assert len(read(line(), "x.swf.gz")) == 1


def test_truncated_and_broken_gzip(read):
    packed = gzip.compress("".join(line(i, i * 7919 % 10007) for i in range(500)).encode())
    with pytest.raises(TraceError, match="truncated or broken gzip"):
        read(packed[:len(packed) // 2])
    with pytest.raises(TraceError, match="truncated or broken gzip"):
        read(packed[:-5])
    with pytest.raises(TraceError, match="truncated or broken gzip"):
        read(packed[:40] + b"garbage" + packed[47:])


def test_gigantic_files_are_refused_without_being_held(read, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 1 << 20)
    with pytest.raises(TraceError, match="more than 1 MiB of text"):
        read(gzip.compress(b"; padding\n" * 200_000))


def test_too_many_jobs(read, monkeypatch):
    monkeypatch.setattr(files, "MAX_JOBS", 2)
    with pytest.raises(TraceError, match="more than 2 jobs"):
        read(line(1) + line(2) + line(3))


def test_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "x.swf")
    writer = threading.Thread(target=lambda: (tmp_path / "x.swf").write_bytes(gzip.compress(line().encode())))
    writer.start()
    assert len(load(tmp_path / "x.swf")) == 1
    writer.join()


@pytest.mark.parametrize("text", [
    line(1) + line(2, 5), "JobID,NCPUS,Submit,Elapsed\n1,4,0,60\n2,4,5,60\n",
    '{"jobs": [{"id": 1, "t_submit": 1, "t_run": 1, "t_cleanup": 2, "ntasks": 1},'
    ' {"id": 2, "t_submit": 6, "t_run": 6, "t_cleanup": 7, "ntasks": 1}]}'])
@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_whose_name_tells_no_format(text, packed):
    """As from the shell: --trace <(zcat x.gz), or --trace /dev/stdin."""
    out, into = os.pipe()
    os.write(into, gzip.compress(text.encode()) if packed else text.encode())
    os.close(into)
    try:
        assert load(f"/dev/fd/{out}").submit.tolist() == [0, 5]
    finally:
        os.close(out)


def test_unreadable(tmp_path):
    with pytest.raises(TraceError, match="none.swf: cannot be read: No such file"):
        load(tmp_path / "none.swf")
    with pytest.raises(TraceError, match="cannot be read: Is a directory"):
        load(tmp_path, "swf")


def test_unknown_format(tmp_path):
    with pytest.raises(TraceError, match="unknown trace format 'xml'"):
        load(tmp_path / "x", "xml")


def test_lines_across_pieces(read, monkeypatch):
    monkeypatch.setattr(files, "PIECE", 100)
    t = read(HEAD + "".join(line(i, i) for i in range(1, 50)))
    assert t.job_id.tolist() == list(range(1, 50)) and t.max_procs == 128
    with pytest.raises(TraceError, match="line 35: 18 fields"):
        read(HEAD + "".join(line(i, i) for i in range(1, 30)) + "1 2\n")


def arrays(rows):
    return np.empty((rows, 18)), np.empty(rows, dtype=np.int64), np.empty(rows, dtype=np.uint64)


def test_scanner_wants_room():
    text = (line() + line()).encode()
    with pytest.raises(ValueError, match=f"must have {most_rows(len(text))} rows, of 18 columns"):
        scan(text, *arrays(1))
    with pytest.raises(ValueError, match="of 18 columns"):
        scan(text, np.empty((9, 17)), *arrays(9)[1:])
    assert scan(b"", *arrays(1)) == (0, 0, 0, None)
    shortest = b"1 " * 17 + b"1\n"
    assert scan(shortest * 5, *arrays(most_rows(len(shortest) * 5))).rows == 5


number = st.one_of(st.integers(-1, 10**9), st.decimals(0, 10**6, places=3))


@given(st.lists(st.lists(number, min_size=18, max_size=18), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_scanner_reads_what_float_reads(rows):
    text = "\n".join("\t ".join(str(v) for v in row) for row in rows).encode()
    out, job, hashes = arrays(most_rows(len(text)))
    assert scan(text, out, job, hashes) == (len(rows), len(rows), 0, None)
    values = np.array([[float(v) for v in row] for row in rows])
    assert np.allclose(out[:len(rows)], values, rtol=1e-15, atol=0)
    assert job[:len(rows)].tolist() == [int(row[0]) for row in rows]


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_scanner_survives_anything(text):
    rows, lines, longer, problem = scan(text, *arrays(most_rows(len(text))))
    assert 0 <= longer <= rows <= lines <= text.count(b"\n") + 1
    assert problem or lines == len(text.split(b"\n")) - (text.endswith(b"\n") or not text)


@pytest.mark.parametrize("name", ["out.swf", "out.swf.gz"])
def test_written_and_read_back(read, tmp_path, name):
    t = read(HEAD + line(1, 0, 5, 4, 8, 60) + line(2, 10.25, 7.5, 3, -1, 30))
    swf.write(t, tmp_path / name, {"Note": "again"})
    u = load(tmp_path / name)
    for field in trace.ARRAYS:
        assert np.array_equal(getattr(t, field), getattr(u, field), equal_nan=True), field
    assert (u.max_procs, u.max_nodes, u.unix_start, u.header["Note"]) == (128, 64, 749458803, ["again"])
    first = (tmp_path / name).read_bytes()
    swf.write(t, tmp_path / name, {"Note": "again"})
    assert (tmp_path / name).read_bytes() == first


def test_a_write_that_fails_leaves_nothing(read, tmp_path, monkeypatch):
    t = read(line(1))
    (tmp_path / "out.swf").write_text("old")

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(swf.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        swf.write(t, tmp_path / "out.swf")
    assert (tmp_path / "out.swf").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.swf", "x.swf"]


def test_select(read):
    t = read(line(1) + line(2) + line(3))
    u = t.select(t.job_id != 2)
    assert u.job_id.tolist() == [1, 3] and len(u) == 2


def test_a_quarter():
    """A trace as archives have them: 128 processors, no requested times."""
    t = load(QUARTER)
    assert len(t) == 4000 and t.max_procs == 128 and t.unix_start == 1767225600
    assert t.notes["no_request"] == 4000
    assert t.procs.max() == 128 and (np.diff(t.submit) >= 0).all()


def test_further_fields_are_passed_over_and_counted(read):
    more = line(2, 5).rstrip()
    t = read(line(1) + more + " 7 8 9\n" + more + " x -1 y\n" + more + " 7 8 9\n" + line(3, 6).rstrip() + "  \n")
    assert t.job_id.tolist() == [1, 2, 2, 3]               # two lines that differ in a further field only are two jobs
    assert t.notes["more_fields"] == 3 and t.notes["duplicate"] == 1


def test_cancelled_before_they_started(read):
    t = read(line(1, status=5, run=0, allocated=0, procs=4) + line(2, status=5, run=0, allocated=-1, procs=4)
             + line(3, status=5, run=0, allocated=4) + line(4, status=0, run=0, allocated=4)
             + line(5, status=5, run=7, allocated=-1, procs=4))
    assert t.job_id.tolist() == [3, 4, 5] and t.notes["no_run"] == 2 and t.notes["zero_run"] == 2


def test_numbers_of_an_old_instance(read, tmp_path):
    """Flux's ids need 63 bits: past six days they are beyond what a double can hold."""
    ids = [2**53 + 1, 2**53 + 2, 2**63 - 2]
    t = read("".join(line(job) for job in ids))
    assert t.job_id.tolist() == ids
    swf.write(t, tmp_path / "again.swf")
    assert load(tmp_path / "again.swf").job_id.tolist() == ids


whole = st.integers(1, trace.MAX_PROCS)
micro = st.integers(0, 10**12).map(lambda n: n / 1e6)


@given(st.lists(st.tuples(st.integers(0, 2**63 - 2), micro, micro, whole, micro, st.integers(-1, trace.MAX_NUMBER)),
                min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, rows):
    ids, submit, run, procs, request, user = zip(*rows)
    t = trace.build({"job_id": ids, "submit": submit, "run": run, "procs": procs, "request": request, "user": user,
                     "group": user, "queue": user}, source="made")
    path = tmp_path_factory.getbasetemp() / "written.swf"
    swf.write(t, path)
    u = load(path)
    if "duplicate" not in u.notes:
        for name in trace.ARRAYS:
            assert np.array_equal(getattr(t, name), getattr(u, name), equal_nan=True), name


def test_twelve_million_lines_are_refused_in_bounded_memory(tmp_path):
    """In a process that may not have 2 GiB: it took 4.1 GB once."""
    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("the sanitizer reserves more memory than that")
    path = tmp_path / "many.swf.gz"
    with gzip.open(path, "wb", compresslevel=1) as out:
        for _ in range(120):
            out.write(line().encode() * 100_000)
    code = ("import resource, sys; from fluxsched.traces.load import load; import fluxsched.traces.swf; "
            "resource.setrlimit(resource.RLIMIT_DATA, (900 << 20, 900 << 20)); load(sys.argv[1])")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert "many.swf.gz: more than 5,000,000 jobs, the most that a trace may have" in done.stderr
