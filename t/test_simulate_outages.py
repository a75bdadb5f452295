# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Nodes that go and come back in the simulator, and jobs that wait for others."""
import json
import zlib

import numpy as np
import pytest

from fluxsched.simulate import api, metrics, results
from fluxsched.simulate.outages import OutagesError
from fluxsched.simulate.outages import read as read_outages
from fluxsched.traces import swf
from fluxsched.traces.files import TraceError
from fluxsched.traces.load import load
from test_simulate_cli import call

# On two nodes: one job each, a third that waits.
JOBS = ((0, 100), (0, 100), (10, 20))


@pytest.fixture
def run(tmp_path):
    """Run jobs of one node (submit, run time) on two nodes, or so many, with these lines of outages."""
    def run(lines, jobs=JOBS, nodes=2, **options):
        (tmp_path / "down").write_text("\n".join(lines))
        submit, length = np.array(jobs, dtype=float).T
        return api.run(api.trace_of(submit, length, np.ones(len(jobs))), nodes=nodes, down=tmp_path / "down", **options)
    return run


def test_drained_nodes_keep_their_jobs(run):
    r = run(["20 drain 0", "500 up 0", "", "# nothing"], [*JOBS, (10, 30)])
    assert r.start.tolist() == [0, 0, 100, 120] and r.finish.tolist() == [100, 100, 120, 150] and r.left_out == {}
    assert results.ranges(r, 2) == "1" == results.ranges(r, 3)
    assert r.ended == 150                                   # the node that comes back later changes nothing


def test_jobs_end_with_their_nodes(run):
    r = run(["20 down node0"])
    assert r.finish.tolist() == [20, 100, 120] and r.start[2] == 100 and r.left_out == {"struck": 1}
    r = run(["20 down 0", "00:00:25 up 0"])
    assert r.start.tolist() == [0, 0, 25] and r.execution.tolist() == [20, 100, 20] and r.stopped == ""


def test_jobs_start_again(run):
    """From their beginning, in their old place in the queue."""
    r = run(["20 restart 0", "25 up 0"])
    assert r.start.tolist() == [25, 0, 100] and r.finish.tolist() == [125, 100, 120]
    assert r.left_out == {"restarted": 1} and [results.ranges(r, k) for k in range(3)] == ["0", "1", "1"]
    assert metrics.measure(r)["finished"] == 3
    r = run(["20 restart 0-1", "25 up 0", "26 restart 0", "30 up 0-1"])
    assert r.start.tolist() == [30, 30, 130] and r.left_out == {"restarted": 3}


def test_a_job_on_many_nodes_loses_one(run):
    r = api.run(api.trace_of([0, 5], [50, 10], [6, 2]), nodes=8, down=[(10_000_000, "down", "3")])
    assert r.finish.tolist() == [10, 15] and results.ranges(r, 1) == "6-7"
    r = api.run(api.trace_of([0], [50], [6]), nodes=8, down=[(10_000_000, "down", "6")])
    assert r.finish.tolist() == [50]


def test_nodes_that_stay_down_block_jobs(run, tmp_path):
    r = run(["5 drain 0-1"])
    assert r.stopped == "blocked" and metrics.measure(r)["waiting"] == 1 and r.ended == 100
    assert run(["0 down 0-1"]).stopped == "blocked"


def test_an_outage_comes_after_the_ends_and_before_the_starts_of_its_time(run):
    r = run(["100 down 0", "130 up 0"])
    assert r.finish.tolist() == [100, 100, 120] and r.left_out == {} and results.ranges(r, 2) == "1"


def test_when_it_happens(run, tmp_path):
    down = tmp_path / "d"
    down.write_text("1970-01-01T00:02:00 up 0\n 1:05 down [0-1] # both\n1970-01-01T00:02:00.25Z up 1\n"
                    "1970-01-01T01:02:00.25+01:00 up 2\n")
    inventory = api.Inventory.from_counts(3, 1)
    assert read_outages(down, inventory, 4000.0) == [
        (0, "up", "0"), (0, "up", "1"), (0, "up", "2"), (65_000_000, "down", "0-1")]
    assert read_outages(down, inventory, 20.0) == [
        (65_000_000, "down", "0-1"), (100_000_000, "up", "0"), (100_250_000, "up", "1"), (100_250_000, "up", "2")]


@pytest.mark.parametrize("line, what", [
    ("5 down", "line 2: TIME ACTION NODES expected, 2 words found"),
    ("soon down 0", r"line 2: seconds, \[D-\]HH:MM:SS or YYYY-MM-DDTHH:MM:SS expected, 'soon' found"),
    ("2026-01-01T00 down 0.5", "line 2: seconds expected, '2026-01-01T00' found"),
    ("2026-13-01T00:00:00 down 0", "line 2: seconds, .* expected, '2026-13-01T00:00:00' found"),
    ("-5 down 0", "line 2: a time from the trace's beginning on expected, '-5' found"),
    ("unknown down 0", "line 2: a time from the trace's beginning on expected, 'unknown' found"),
    ("2026-01-01T00:00:00 down 0", "line 2: seconds expected, '2026-01-01T00:00:00' found: the trace does not tell"),
    ("5 fail 0", "line 2: one of down, drain, restart, up expected, 'fail' found"),
    ("5 down 7", "line 2: expected nodes that there are, got 7"),
    ("5 down node7", "line 2: expected nodes that there are, got node7"),
    ("5 down 1-0", "line 2: "),
])
def test_bad_lines(run, line, what):
    with pytest.raises(OutagesError, match="down: " + what):
        run(["# first", line])


def test_bad_files(run, tmp_path, monkeypatch):
    with pytest.raises(OutagesError, match="none: cannot be read: No such file"):
        api.run(api.trace_of([0], [1], [1]), procs=1, down=tmp_path / "none")
    monkeypatch.setattr("fluxsched.simulate.outages.MOST", 1)
    with pytest.raises(OutagesError, match="down: more than 1 lines"):
        run(["0 up 0", "1 up 0"])


def test_on_the_command_line(tmp_path):
    (tmp_path / "x.csv").write_text("Submit,Elapsed,NCPUS\n0,100,1\n0,50,1\n")
    (tmp_path / "d").write_text("10 down 0\n20 restart 1\n30 up 0-1\n")
    out, _ = call("simulate", "--trace", "x.csv", "--procs", 2, "--down", "d", cwd=tmp_path)
    assert "1 ended with their nodes" in out and "1 times jobs lost their nodes and started again" in out
    (tmp_path / "d").write_text("10 drain 0-1\n")
    _, err = call("simulate", "--trace", "x.csv", "--procs", 1, "--down", "d", cwd=tmp_path, code=1)
    assert err == "flux-sched: d: line 1: expected nodes that there are, got 1\n"
    (tmp_path / "d").write_text("10 drain 0\n")
    _, err = call("simulate", "--trace", "x.csv", "--procs", 1, "--down", "d", cwd=tmp_path)
    assert "wait for others that have no time limit, or for nodes that are down: some never ran" in err


# Jobs that wait for others.


def line(job, submit, run, preceding=-1, think=-1, procs=1):
    return f"{job} {submit} -1 {run} {procs} -1 -1 {procs} 1000 -1 1 1 1 -1 1 -1 {preceding} {think}\n"


@pytest.fixture
def read(tmp_path):
    def read(*lines):
        (tmp_path / "x.swf").write_text("".join(lines))
        return load(tmp_path / "x.swf")
    return read


def test_a_job_that_waits_for_another(read):
    """With a think time it is submitted so long after the other's end; without one it is submitted at its time."""
    t = read(line(1, 0, 100), line(2, 50, 10, 1, 30), line(3, 50, 10, 1), line(4, 300, 10, 1), line(5, 300, 10, 1, 0))
    r = api.run(t, procs=9)
    assert r.trace.job_id.tolist() == [1, 3, 5, 2, 4]       # as they came
    assert r.trace.submit.tolist() == [0, 100, 100, 130, 300] == r.start.tolist()
    assert r.wait.tolist() == [0] * 5 and r.stopped == ""
    # Another policy, or a smaller machine, moves all that follows.
    r = api.run(read(line(1, 0, 100), line(9, 0, 100), line(2, 50, 10, 9, 30)), procs=1)
    assert r.start.tolist() == [0, 100, 230]


def test_a_job_that_waits_takes_its_place_when_it_comes(read):
    t = read(line(1, 0, 100), line(2, 1, 10, 1, 0), line(3, 90, 10))
    assert api.run(t, procs=1).trace.job_id.tolist() == [1, 3, 2]
    # Without a think time it had been submitted long before.
    t = read(line(1, 0, 100), line(2, 1, 10, 1), line(3, 90, 10))
    r = api.run(t, procs=1)
    assert dict(zip(r.trace.job_id.tolist(), r.start.tolist())) == {1: 0, 2: 100, 3: 110}


def test_what_a_job_waits_for_is_not_there(read):
    t = read(line(1, 0, -1), line(2, 5, 10, 1, 7), line(3, 6, 10, 77))
    assert t.notes["no_preceding"] == 2 and len(t.after) == 0
    assert api.run(t, procs=1).start.tolist() == [5, 15]
    # It is larger than the machine: the same.
    assert api.run(read(line(1, 0, 10, procs=9), line(2, 5, 10, 1, 7)), procs=1).start.tolist() == [5]


def test_what_a_job_waits_for_never_ends(read):
    t = read(line(1, 0, 100), line(2, 5, 10, 1, 7))
    r = api.run(t, procs=1, until=50)
    assert metrics.measure(r)["not_submitted"] == 1 and r.stopped == "until"
    results.table([r])
    r = api.run(t, procs=1, down=[(10_000_000, "down", "0"), (15_000_000, "up", "0")])
    assert r.start.tolist() == [0, 17]                      # it ended with its node


def test_forecasts_leave_out_jobs_that_wait_for_others(read):
    t = read(line(1, 0, 100), line(2, 5, 10, 1, 0), line(3, 6, 10))
    r = api.run(t, procs=1, forecast=0)
    assert r.trace.job_id.tolist() == [1, 3, 2]
    assert r.foretold.estimate[:2].tolist() == [0, 1000] and np.isnan(r.foretold.estimate[2])


@pytest.mark.parametrize("lines", [
    [line(1, 0, 10, 1)],
    [line(1, 0, 10, 2), line(2, 0, 10, 1)],
    [line(3, 0, 10), line(1, 0, 10, 2), line(2, 0, 10, 4), line(4, 5, 10, 1)],
])
def test_jobs_that_wait_for_one_another(read, lines):
    with pytest.raises(TraceError, match="x.swf: job 1 waits for itself, or for one that waits for it"):
        read(*lines)


def test_a_job_that_waits_for_a_later_one(read):
    t = read(line(1, 0, 10, 2), line(2, 5, 10), line(2, 6, 30))
    assert t.after.tolist() == [[0, 1, 0]]                  # of one number the first
    assert api.run(t, procs=9).start.tolist() == [5, 6, 15]


def test_written_and_read_back(read, tmp_path):
    t = read("; Queue: 1 batch\n", line(1, 0, 10), line(2, 5, 10, 1, 7.5), line(3, 5, 10, 2))
    swf.write(t, tmp_path / "y.swf")
    u = load(tmp_path / "y.swf")
    assert u.after.tolist() == t.after.tolist() == [[1, 0, 0], [2, 1, 0]]
    assert np.array_equal(u.think, t.think, equal_nan=True) and u.labels["queue"] == {1: "batch"}


def record(folder, *rows, marks=None, time=1000.0, continues=False, number=1):
    """Write a part of a record."""
    head = {"format": 2, "time": time, "continues": continues, "marks": marks or {"up": "0-1", "gone": ""}}
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in (["head", head], *rows))
    (folder / f"part-{number:06}.jsonl").write_bytes(lines + b"#%08x\n" % zlib.crc32(lines))


def test_outages_of_a_record(tmp_path):
    """What was down when it began, then what went and came back; the state that a part begins with is no change."""
    inventory = api.machine(nodes=2).inventory
    record(tmp_path, ["up", 990.0, "0"], ["begun", 1000.0], ["down", 1010.5, "1"], ["up", 1020.0, "1"],
           ["pass", 1021.0, -1, [], [], False], marks={"up": "1", "gone": ""})  # fmt: skip
    record(tmp_path, ["begun", 1030.0], ["gone", 1040.0, "0"], continues=True, number=2)
    assert read_outages(tmp_path, inventory, 900.0) == [
        (100_000_000, "drain", "0"), (110_500_000, "drain", "1"), (120_000_000, "up", "1"), (140_000_000, "down", "0")]
    record(tmp_path, ["begun", 1000.0], marks={"up": "0", "gone": "1"})
    (tmp_path / "part-000002.jsonl").unlink()
    assert read_outages(tmp_path, inventory, 2000.0) == [(0, "down", "1")]


@pytest.mark.parametrize("rows, text", [
    ([["begun", 1.0], ["down", 1.0, "9"]], "line 3: expected nodes that there are, got 9"),
    ([["begun", 1.0], ["down", "x", "0"]], "line 3: "),
    ([["begun", 1.0], ["down", 1.0]], "line 3: "),
])
def test_wrong_rows_of_a_record(tmp_path, rows, text):
    record(tmp_path, *rows)
    with pytest.raises(OutagesError, match=text):
        read_outages(tmp_path, api.machine(nodes=2).inventory, 900.0)


def test_records_that_cannot_be_used(tmp_path):
    inventory = api.machine(nodes=2).inventory
    with pytest.raises(OutagesError, match="there is no record in it"):
        read_outages(tmp_path, inventory, 900.0)
    with pytest.raises(OutagesError, match="the trace does not tell when it begins, which a record needs"):
        read_outages(tmp_path, inventory, 0.0)
    record(tmp_path, ["begun", 1.0], marks={"up": 7, "gone": ""})
    with pytest.raises(OutagesError, match="line 1: "):
        read_outages(tmp_path, inventory, 900.0)
