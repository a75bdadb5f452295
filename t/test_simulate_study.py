# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Several seeds with confidence intervals, and measures by class of jobs."""
import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest

from fluxsched.cli import study as tables
from fluxsched.simulate import api, metrics, study
from fluxsched.simulate.study import StudyError
from fluxsched.traces.trace import TraceError
from oracle import Job, fcfs
from simulate_result import result_of, trace_of
from test_simulate_cli import call

NAN = float("nan")


def test_quantiles_are_those_of_the_tables():
    for freedom, point in ((1, 12.706), (2, 4.303), (5, 2.571), (9, 2.262), (10, 2.228), (14, 2.145), (19, 2.093),
                           (30, 2.042), (100, 1.984), (9999, 1.960)):
        assert study.quantile(freedom) == pytest.approx(point, abs=1e-3)


def test_intervals_by_hand():
    assert study.interval([3.0, 5.0]) == (4.0, pytest.approx(12.7062))     # 12.7 * sqrt(2) / sqrt(2)
    mean, half = study.interval([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5 and half == pytest.approx(3.1824 * math.sqrt(5 / 3) / 2)
    assert study.interval([7.0, 7.0, 7.0]) == (7.0, 0.0)
    mean, half = study.interval([2.0])
    assert mean == 2.0 and math.isnan(half)
    with pytest.raises(ValueError, match="at least one"):
        study.interval([])


def test_an_interval_holds_the_mean_in_95_of_100_cases():
    rng = np.random.default_rng(1)
    draws = rng.exponential(1.0, (3000, 12)) + rng.exponential(1.0, (3000, 12))
    held = sum(abs(mean - 2.0) <= half for mean, half in map(study.interval, draws.tolist()))
    assert 0.92 <= held / 3000 <= 0.97


def test_generated_traces():
    traces = study.generated("jobs=50, procs=16,load=0.9,model=batch,overestimate=2,users=3", 3)
    assert [len(trace) for trace in traces] == [50] * 3
    assert traces[0].max_procs == 16 and traces[0].submit.tolist() != traces[1].submit.tolist()
    again = study.generated("jobs=50,procs=16,load=0.9,model=batch,overestimate=2,users=3", 2)
    assert again[1].submit.tolist() == traces[1].submit.tolist()


@pytest.mark.parametrize("text, seeds, error, what", [
    ("jobs", 1, StudyError, "generated trace 'jobs': KEY=VALUE with one of jobs, procs, load"),
    ("seed=3", 1, StudyError, "generated trace 'seed=3': KEY=VALUE with one of"),
    ("jobs=9,jobs=9", 1, StudyError, "jobs is given twice"),
    ("jobs=many", 1, StudyError, "jobs=many: a number expected"),
    ("jobs=1", 1, TraceError, "jobs: a whole number from 2"),
    ("jobs=9,model=none", 1, TraceError, "model: one of"),
    ("jobs=9", 0, StudyError, "seeds: a number from 1 expected, 0 found"),
])
def test_generated_traces_that_are_refused(text, seeds, error, what):
    with pytest.raises(error, match=what):
        study.generated(text, seeds)


# Starts by hand, first come, first served, on 4 processors: 0, 10, 30, 30, 31.
JOBS = [Job(0, 10, 10, 4), Job(1, 20, 20, 3), Job(2, 1, 5, 2), Job(3, 50, 50, 1), Job(4, 9, 9, 3)]


@pytest.fixture
def result():
    trace = trace_of(JOBS)
    users = np.array([7, 7, -1, 9, 9])
    return result_of(api.trace_of(trace.submit, trace.run, trace.procs, trace.request, user=users), fcfs, 4)


def test_measures_by_hand(result):
    assert result.start.tolist() == [0, 10, 30, 30, 31]
    by = study.measure_by(result, "user")
    assert list(by) == ["unknown", "7", "9"]
    assert by["7"] == {"jobs": 2, "mean_wait": 4.5, "p95_wait": pytest.approx(8.55),
                       "mean_bounded_slowdown": pytest.approx((1 + 29 / 20) / 2)}
    assert by["unknown"] == {"jobs": 1, "mean_wait": 28.0, "p95_wait": 28.0, "mean_bounded_slowdown": 2.9}
    sizes = study.measure_by(result, "size")
    assert {name: m["jobs"] for name, m in sizes.items()} == {"1": 1, "2": 1, "3-4": 3}
    assert sizes["3-4"]["mean_wait"] == 12.0
    assert study.measure_by(result, "queue") == {"unknown": study.measure_by(result, "queue")["unknown"]}
    named = replace(result, trace=replace(result.trace, labels={"user": {7: "ann"}}))
    assert list(study.measure_by(named, "user")) == ["unknown", "ann", "9"]
    with pytest.raises(StudyError, match="by: one of user, size, queue expected, 'group' found"):
        study.measure_by(result, "group")


def test_classes_divide_the_jobs():
    trace = trace_of([Job(0, 1, 1, size) for size in (1, 2, 3, 4, 5, 8, 9, 1000, 1024)])
    classes = study.classes(trace, "size")
    assert [name for name, _ in classes] == ["1", "2", "3-4", "5-8", "9-16", "513-1,024"]
    assert (sum(which for _, which in classes) == 1).all()


def test_jobs_that_did_not_start_are_in_no_measure():
    cut = result_of(trace_of(JOBS), fcfs, 4, ended=15.0)
    by = study.measure_by(cut, "size")
    assert by["3-4"] == {"jobs": 2, "mean_wait": 4.5, "p95_wait": pytest.approx(8.55), "mean_bounded_slowdown": 1.0}
    assert by["1"] == {"jobs": 0, "mean_wait": None, "p95_wait": None, "mean_bounded_slowdown": None}


def test_over_seeds(result):
    other = result_of(trace_of(JOBS[:3]), fcfs, 4)
    over = study.over_seeds([result, other])
    waits = [metrics.measure(r)["mean_wait"] for r in (result, other)]
    assert over["mean_wait"] == study.interval(waits) and over["killed"] == (0.0, 0.0)
    # What one of them does not have has no mean.
    nothing = result_of(trace_of(JOBS), fcfs, 4, ended=-1.0)
    assert "mean_wait" not in study.over_seeds([result, nothing])


def test_a_row_has_one_unit():
    pair = study.Interval
    assert tables.row_of("mean_wait", [pair(7200.0, 360.0), pair(90.0, 36.0), None]) == ["2.00 ± 0.10 h",
                                                                                        "0.03 ± 0.01 h", "-"]
    assert tables.row_of("utilisation", [pair(0.5, NAN)]) == ["50.00 %"]
    assert tables.row_of("killed", [pair(1234.5, 2.0)]) == ["1,234.5 ± 2.0"]
    assert tables.row_of("p95_wait", [pair(0.0, 0.0)]) == ["0.00 ± 0.00 s"]


def test_many_users(result):
    trace = api.trace_of(np.zeros(60), np.full(60, 5.0), np.ones(60), user=np.arange(60) // 2)
    many = result_of(trace, fcfs, 4)
    (title, rows), *_ = tables.by_class([[many], [many]], "user")
    assert title == "mean wait" and rows[0] == ["user", "jobs", "oracle", "oracle"]
    assert len(rows) == 1 + tables.MOST_CLASSES + 1 and rows[-1] == ["and 10 more", "", "", ""]
    assert rows[1][:2] == ["0", "2"]


SEEDS = ["simulate", "--generate", "jobs=60,procs=16,load=1.1,overestimate=3,users=3", "--compare", "fcfs,easy"]


def test_seeds_on_the_command_line(tmp_path):
    out, err = call(*SEEDS, "--seeds", 4, "--by", "size", "--out", "o", cwd=tmp_path)
    assert err == "" and out.startswith("means over generated traces")
    row = next(line for line in out.splitlines() if line.startswith("mean wait"))
    assert row.count("±") == 2
    for title in ("mean wait by size", "95th percentile of wait by size", "mean bounded slowdown (10 s) by size"):
        assert title in out
    assert out.endswith("easy    backfill.plugin1  reserve-depth=1\n")
    assert os.listdir(tmp_path / "o") == ["seeds.json"]
    written = json.loads((tmp_path / "o/seeds.json").read_text())
    assert [entry["policy"] for entry in written] == ["fcfs", "easy"]
    easy = written[1]
    waits = [trace["mean_wait"] for trace in easy["traces"]]
    assert len(waits) == 4 and easy["measures"]["mean_wait"]["mean"] == pytest.approx(sum(waits) / 4)
    assert easy["measures"]["mean_wait"]["half"] == pytest.approx(study.interval(waits).half)
    assert set(easy["by"]) <= {"1", "2", "3-4", "5-8", "9-16"}
    # Written again over the same, byte for byte.
    before = (tmp_path / "o/seeds.json").read_bytes()
    call(*SEEDS, "--seeds", 4, "--by", "size", "--out", "o", cwd=tmp_path)
    assert (tmp_path / "o/seeds.json").read_bytes() == before


def test_one_generated_trace_by_class(tmp_path):
    out, _ = call("simulate", "--generate", "jobs=60,procs=16,users=3", "--by", "user", "--out", "o", cwd=tmp_path)
    assert "60 jobs on 16 nodes" in out and "mean wait by user" in out and "±" not in out
    summary = json.loads((tmp_path / "o/summary.json").read_text())
    assert set(summary["by"]["user"]) == {"1", "2", "3"}
    assert sum(m["jobs"] for m in summary["by"]["user"].values()) == 60


@pytest.mark.parametrize("args, code, what", [
    ([], 2, "one trace expected: --trace FILE, or --generate"),
    (["--trace", "x.swf", "--generate", ""], 2, "one trace expected"),
    (["--trace", "x.swf", "--seeds", "3"], 2, "--seeds are of generated traces"),
    (["--generate", "jobs=9", "--seeds", "0"], 2, "0 is not in the range"),
    (["--generate", "jobs=9", "--seeds", "2", "--out", "o", "--plot"], 2, "--plot is of one trace"),
    (["--generate", "jobs=9", "--seeds", "2", "--forecast"], 2, "--forecast is of one trace"),
    (["--generate", "jobs=x"], 1, "jobs=x: a number expected"),
    (["--generate", "jobs=9", "--by", "colour"], 2, "'colour' is not one of"),
])
def test_what_the_command_line_refuses(tmp_path, args, code, what):
    _, err = call("simulate", *args, cwd=tmp_path, code=code)
    assert what in err
