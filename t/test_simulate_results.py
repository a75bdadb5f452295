# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Measures, files, tables and pictures of results."""
import csv
import errno
import json
import os
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxsched.simulate import metrics, plots, results
from oracle import Job, easy, fcfs
from simulate_result import result_of, trace_of

# On 10 processors under EASY: starts 0, 100, 2, 2, 150 (see the oracle's tests).
JOBS = [Job(0, 100, 100, 6), Job(1, 50, 50, 8), Job(2, 500, 500, 1), Job(2, 500, 500, 1), Job(2, 600, 500, 1)]


@pytest.fixture
def result():
    return result_of(trace_of(JOBS), easy, 10)


def test_measures_by_hand(result):
    assert result.start.tolist() == [0, 100, 2, 2, 150]
    m = metrics.measure(result)
    assert (m["jobs"], m["finished"], m["running"], m["waiting"], m["not_submitted"], m["killed"]) == (5, 5, 0, 0, 0, 1)
    assert m["makespan"] == 650
    assert m["utilisation"] == pytest.approx((600 + 400 + 3 * 500) / 6500)
    assert m["mean_wait"] == pytest.approx((99 + 148) / 5)
    assert m["median_wait"] == 0 and m["max_wait"] == 148
    assert m["p95_wait"] == pytest.approx(99 + 0.8 * 49)
    assert m["mean_bounded_slowdown"] == pytest.approx((3 + 149 / 50 + 648 / 500) / 5)
    assert m["mean_queue_length"] == pytest.approx(247 / 650)
    assert m["backfilled_share"] == 0.4
    assert m["passes"] == 0 and m["time_per_pass"] is None


def test_measures_of_a_run_that_was_cut():
    r = result_of(trace_of(JOBS + [Job(900, 1, 1, 1)]), easy, 10, ended=120.0)
    m = metrics.measure(r)
    assert (m["finished"], m["running"], m["waiting"], m["not_submitted"]) == (1, 3, 1, 1)
    assert m["utilisation"] == pytest.approx((600 + 8 * 20 + 2 * 118) / 1200)
    assert m["mean_queue_length"] == pytest.approx((99 + 118) / 120)
    assert m["mean_wait"] == pytest.approx(99 / 4)


def test_measures_where_nothing_ran():
    r = result_of(trace_of([Job(5, 10, 10, 1)]), fcfs, 10, ended=0.0)
    m = metrics.measure(r)
    assert m["not_submitted"] == 1 and m["mean_wait"] is None and m["mean_bounded_slowdown"] is None
    assert m["utilisation"] is None and m["backfilled_share"] is None and m["mean_queue_length"] is None


def test_bounded_slowdown():
    slow = metrics.bounded_slowdown(np.array([0.0, 90.0, 1.0, np.nan]), np.array([100.0, 0.0, 5.0, 1.0]))
    assert slow[:3].tolist() == [1, 9, 1] and np.isnan(slow[3])


def test_curves(result):
    time, share = metrics.utilisation(result)
    assert dict(zip(time, share)) == {0: 0.6, 2: 0.8, 100: 1.0, 150: 0.3, 502: 0.1, 650: 0}
    time, length = metrics.queue_length(result)
    assert dict(zip(time, length)) == {0: 0, 1: 1, 2: 2, 100: 1, 150: 0, 650: 0}


jobs = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60), st.integers(1, 60), st.integers(1, 8)), min_size=1,
                max_size=25)


@given(jobs, st.integers(0, 120))
@settings(max_examples=60, deadline=None)
def test_curves_agree_with_the_measures(rows, ended):
    trace = trace_of(sorted(rows, key=lambda row: row[0]))
    for r in (result_of(trace, easy, 8), result_of(trace, easy, 8, ended=float(ended + trace.submit[0]))):
        m = metrics.measure(r)
        for name, curve in (("utilisation", metrics.utilisation), ("mean_queue_length", metrics.queue_length)):
            time, value = curve(r)
            assert (np.diff(time) > 0).all() and (value >= 0).all()
            if m["makespan"] > 0:
                assert (value[:-1] * np.diff(time)).sum() / m["makespan"] == pytest.approx(m[name], abs=1e-5)


def test_files(result, tmp_path):
    with results.folder_of_results(tmp_path / "out") as folder:
        results.write(result, folder)
        assert not (tmp_path / "out").exists()
    assert sorted(os.listdir(tmp_path)) == ["out"]
    with open(tmp_path / "out/jobs.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert tuple(rows[0]) == results.COLUMNS
    assert rows[1] == {"job_id": "2", "workload_name": "made", "submission_time": "1",
                       "requested_number_of_resources": "8", "requested_time": "50", "success": "1",
                       "starting_time": "100", "execution_time": "50", "finish_time": "150", "waiting_time": "99",
                       "turnaround_time": "149", "stretch": "2.98", "allocated_resources": "0-5 8-9"}
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["makespan"] == 650 and summary["stopped"] == "finished" and summary["notes"] == {"over_request": 1}
    assert summary["unix_start_time"] is None
    assert results.summary(replace(result, trace=replace(result.trace, unix_start=7e8)))["unix_start_time"] == 7e8
    assert "loop_time" not in summary and summary["timing"]["time_per_pass"] is None


def test_fractions_zero_run_times_and_unknown_ends(tmp_path):
    r = result_of(trace_of([Job(0, 0, 5, 1), Job(0, 30, 30, 1), Job(50, 1, 1, 1)]), fcfs, 2, ended=20.0)
    r = replace(r, start=r.start + np.array([0.25, 0, 0]), finish=r.finish + np.array([0.25, 0, 0]), offset=None)
    results.write_jobs(r, tmp_path / "jobs.csv")
    assert (tmp_path / "jobs.csv").read_text().splitlines()[1:] == [
        "1,made,0,1,5,1,0.25,0,0.25,0.25,0.25,,", "2,made,0,1,30,,0,,,0,,,"]


def test_jobs_that_were_killed(result, tmp_path):
    results.write_jobs(result, tmp_path / "jobs.csv")
    with open(tmp_path / "jobs.csv", newline="") as f:
        assert [row["success"] for row in csv.DictReader(f)] == ["1", "1", "1", "1", "0"]
    assert result.killed.tolist() == [False] * 4 + [True]
    # It runs still where the run was cut.
    assert not result_of(trace_of(JOBS), easy, 10, ended=640.0).killed.any()


@pytest.mark.parametrize("source, name", [("a/last-month.swf.gz", "last-month"), ("x.y.csv", "x.y"), ("a, \"b\".json",
                                          "a___b_"), (".swf", "trace"), ("é.swf", "_"), ("made", "made")])
def test_workload_names_need_no_quotes(source, name):
    assert results.workload_name(source) == name


def test_evalys_draws_its_detailed_plot(result, tmp_path):
    pytest.importorskip("evalys")
    import matplotlib

    matplotlib.use("Agg")
    from evalys.jobset import JobSet
    from matplotlib import pyplot

    results.write_jobs(result, tmp_path / "jobs.csv")
    jobs = JobSet.from_csv(tmp_path / "jobs.csv")
    assert len(jobs.df) == 5 and jobs.MaxProcs == 10
    jobs.plot(with_details=True)
    assert len(pyplot.gcf().axes) == 4
    pyplot.savefig(tmp_path / "evalys.png")
    pyplot.close("all")
    assert len(np.unique(picture(tmp_path / "evalys.png").reshape(-1, 3), axis=0)) > 10

def test_pass_times_by_queue_length(result):
    count, time = np.zeros(64, dtype=np.int64), np.zeros(64)
    count[[0, 3]], time[[0, 3]] = [2, 4], [1e-6, 8e-6]
    got = results.summary(replace(result, pass_count=count, pass_time=time, passes=6, passes_time=9e-6))["timing"]
    assert got["pass_time_by_queue_length"] == [{"queue": [0, 0], "passes": 2, "mean": 5e-7},
                                                {"queue": [4, 7], "passes": 4, "mean": 2e-6}]
    assert got["time_per_pass"] == pytest.approx(1.5e-6)


def test_earlier_results_are_replaced_whole(result, tmp_path):
    for name in ("gantt.png", "wait.svg"):
        with results.folder_of_results(tmp_path / "out") as folder:
            results.write(result, folder)
            with open(os.path.join(folder, name), "w"):
                pass
    assert sorted(os.listdir(tmp_path / "out")) == ["jobs.csv", "summary.json", "wait.svg"]
    assert os.listdir(tmp_path) == ["out"]


def test_results_replace_results_only(result, tmp_path):
    """What somebody has put among earlier results is not taken away with them."""
    with results.folder_of_results(tmp_path / "out") as folder:
        os.mkdir(os.path.join(folder, "easy"))
        results.write(result, os.path.join(folder, "easy"))
        with open(os.path.join(folder, "compare.json"), "w"):
            pass
    results.check(str(tmp_path / "out"))
    for name, what in (("notes.txt", "holds notes.txt, too"), ("easy/thesis.tex", "holds thesis.tex, too in easy"),
                       ("mine/file", "holds other files in mine")):
        (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_text("")
        with pytest.raises(results.ResultsError, match=what):
            results.check(str(tmp_path / "out"))
        (tmp_path / "out" / name).unlink()
    (tmp_path / "out/mine").rmdir()
    # Also what came while the results were being made.
    with pytest.raises(results.ResultsError, match="holds late, too"), results.folder_of_results(tmp_path / "out"):
        (tmp_path / "out/late").write_text("")
    assert sorted(os.listdir(tmp_path / "out")) == ["compare.json", "easy", "late"]
    assert os.listdir(tmp_path) == ["out"]


def test_a_link_to_a_folder_is_followed(result, tmp_path):
    (tmp_path / "large").mkdir()
    (tmp_path / "out").symlink_to("large/results")
    for _ in range(2):
        with results.folder_of_results(tmp_path / "out") as folder:
            results.write(result, folder)
        assert (tmp_path / "out").is_symlink() and os.listdir(tmp_path / "large") == ["results"]
    assert (tmp_path / "large/results/jobs.csv").exists()


def test_nothing_half_written(result, tmp_path):
    with results.folder_of_results(tmp_path / "out") as folder:
        results.write(result, folder)
    before = (tmp_path / "out/summary.json").read_bytes()
    for error in (OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()):
        with pytest.raises(type(error)), results.folder_of_results(tmp_path / "out") as folder:
            results.write_jobs(result, os.path.join(folder, "jobs.csv"))
            raise error
        assert os.listdir(tmp_path) == ["out"]
        assert (tmp_path / "out/summary.json").read_bytes() == before


def test_an_interrupt_between_two_steps_of_the_exchange(result, tmp_path, monkeypatch):
    """The old results are gone only once the new ones are there; the interrupt comes then."""
    with results.folder_of_results(tmp_path / "out"):
        pass
    rename = os.rename

    def interrupted(source, target):
        rename(source, target)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(os, "rename", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), results.folder_of_results(tmp_path / "out") as folder:
            results.write(result, folder)
    finally:
        signal.signal(signal.SIGINT, before)
    assert os.listdir(tmp_path) == ["out"] and "jobs.csv" in os.listdir(tmp_path / "out")


def test_a_failed_exchange_puts_the_old_results_back(result, tmp_path, monkeypatch):
    with results.folder_of_results(tmp_path / "out") as folder:
        results.write(result, folder)
    rename, calls = os.rename, []

    def second_fails(a, b):
        calls.append(a)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        rename(a, b)

    monkeypatch.setattr(results.os, "rename", second_fails)
    with pytest.raises(OSError, match="Input/output"), results.folder_of_results(tmp_path / "out") as folder:
        results.write(result, folder)
    assert os.listdir(tmp_path) == ["out"] and (tmp_path / "out/summary.json").exists()


def test_folders_that_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("")
    for folder, what in (("file", "not a folder"), ("mine", "holds other files"), ("no/where", "there is no folder")):
        with pytest.raises(results.ResultsError, match=what):
            results.check(str(tmp_path / folder))
    if os.geteuid():
        (tmp_path / "mine").chmod(0o500)
        with pytest.raises(results.ResultsError, match="not writable"):
            results.check(str(tmp_path / "mine/out"))


def test_not_writable(tmp_path, monkeypatch):
    monkeypatch.setattr(results.os, "access", lambda path, mode: False)
    with pytest.raises(results.ResultsError, match="not writable"):
        results.check(str(tmp_path / "out"))


@pytest.mark.parametrize("seconds, text", [(None, "-"), (0, "0 s"), (0.01234, "0.01234 s"), (59, "59 s"),
                                           (90, "1.5 min"), (7300, "2.0 h"), (86400 * 3, "3.0 d")])
def test_durations(seconds, text):
    assert results.duration(seconds) == text


@pytest.mark.parametrize("seconds, texts", [
    ([1_036_800, 64_440, 70_920], ["288.0 h", "17.9 h", "19.7 h"]),
    ([86400 * 3, 86400 * 30.25, None, 0], ["3.0 d", "30.2 d", "-", "0.0 d"]),
    ([0.5, 5000, 59], ["0.5 s", "5,000 s", "59 s"]), ([90, 61], ["1.5 min", "1.0 min"]), ([None, 0], ["-", "0 s"]),
    ([], []),
])
def test_one_unit_in_a_row(seconds, texts):
    assert results.durations(seconds) == texts


def test_the_unit_does_not_change_within_a_row(result):
    week = 86400 * 7
    later = replace(result, start=result.start + week, finish=result.finish + week, ended=result.ended + week)
    for row in results.table([result, later, result]):
        assert len({cell.partition(" ")[2] for cell in row[1:] if cell != "-"}) <= 1 or row[0] == "", row


def test_table(result):
    rows = results.table([result, replace(result, policy="again")])
    assert rows[0] == ["", "oracle", "again"]
    labels = [row[0] for row in rows]
    assert "killed at their limit" in labels and "still waiting" not in labels
    assert ["makespan", "10.8 min", "10.8 min"] in rows and ["time per pass", "-", "-"] in rows
    # Of jobs that were killed it is told when there are none, too.
    clean = result_of(trace_of(JOBS[:4]), easy, 10)
    assert ["killed at their limit", "1", "0"] in results.table([result, clean])


def test_a_table_tells_what_each_policy_ran_with(result):
    first = replace(result, plugin="backfill.plugin1", options="reserve-depth=1,order=sjf,aging=0")
    assert results.policies([first, replace(result, plugin="sched.plugin1", options="")]) == [
        ["policy", "plugin", "options"],
        ["oracle", "backfill.plugin1", "reserve-depth=1, order=sjf, aging=0"], ["oracle", "sched.plugin1", "none"]]


def test_results_compare(result):
    again = result_of(trace_of(JOBS), easy, 10)
    assert result == again
    assert result == replace(again, loop_time=5.0, passes_time=1.0)         # how long it took is no part of it
    for other in (replace(again, start=again.start + 1), replace(again, policy="x"), replace(again, offset=None),
                  replace(again, trace=replace(again.trace, source="x")), 3, None):
        assert result != other
    cut = result_of(trace_of(JOBS), easy, 10, ended=120.0)
    assert cut == result_of(trace_of(JOBS), easy, 10, ended=120.0)          # NaN and all
    told = metrics.Foretold(*(np.array([1.0, np.nan]) for _ in range(3)))
    assert told == metrics.Foretold(*(np.array([1.0, np.nan]) for _ in range(3)))
    assert told != metrics.Foretold(np.array([2.0, np.nan]), told.likely, told.late) and told != 3
    assert replace(result, foretold=told) != result


def test_results_print_short(result):
    assert repr(result) == str(result) == (
        "Result(policy='oracle', trace='made', jobs=5, procs=10,\n"
        "       start=[  0., 100.,   2.,   2., 150.],\n"
        "       finish=[100., 150., 502., 502., 650.])")
    long = result_of(trace_of([Job(0, 1, 1, 1)] * 1000), fcfs, 1, ended=500.0)
    text = repr(long)
    assert "stopped='until'" in text and "..." in text and len(text) < 300


def test_results_in_a_notebook(result):
    html = replace(result, policy="<a & b>")._repr_html_()
    assert html.count("<table>") == html.count("</table>") == 2
    assert "&lt;a &amp; b&gt;" in html and "<a" not in html
    assert "<td>mean wait</td>" in html and "<th>options</th>" in html


def test_results_as_a_frame(result, tmp_path):
    pandas = pytest.importorskip("pandas")
    cut = result_of(trace_of(JOBS), easy, 10, ended=120.0)
    frame = cut.to_frame()
    assert tuple(frame.columns) == results.COLUMNS and len(frame) == 4
    assert frame["starting_time"].tolist() == [0, 100, 2, 2] and frame["allocated_resources"][1] == "0-5 8-9"
    results.write_jobs(cut, tmp_path / "jobs.csv")
    read = pandas.read_csv(tmp_path / "jobs.csv", dtype={"job_id": str})
    pandas.testing.assert_frame_equal(frame, read, check_dtype=False)


def test_a_frame_needs_pandas(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="pandas"):
        result.to_frame()


def test_binned_means():
    edges, mean = plots.binned(np.array([0.0, 1.0, 4.0]), np.array([2.0, 4.0, 0.0]), 0.0, 8.0, 4)
    assert edges.tolist() == [0, 2, 4, 6, 8] and mean.tolist() == [3, 4, 0, 0]


def picture(path):
    from matplotlib.image import imread
    return imread(path)[..., :3]


def test_pictures(result, tmp_path):
    paths = plots.plot(result, tmp_path)
    assert sorted(os.path.basename(p) for p in paths) == ["gantt.png", "gantt.svg", "load.png", "load.svg", "wait.png",
                                                          "wait.svg"]
    for path in paths:
        if path.endswith(".png"):
            assert len(np.unique(picture(path).reshape(-1, 3), axis=0)) > 10, path
        else:
            with open(path) as f:
                text = f.read()
            assert text.rstrip().endswith("</svg>") and "<dc:date>" not in text
    again = tmp_path / "again"
    again.mkdir()
    plots.plot(result, again)
    assert (again / "wait.svg").read_bytes() == (tmp_path / "wait.svg").read_bytes()


def test_no_gantt_without_processors(result, tmp_path):
    assert not any("gantt" in os.path.basename(p) for p in plots.plot(replace(result, offset=None), tmp_path))


def test_a_crowded_gantt_shows_the_share_in_use(tmp_path, monkeypatch):
    # Half the machine is busy, all of the time: half the patches are dark.
    monkeypatch.setattr(plots, "MOST_BOXES", 0)
    r = result_of(trace_of([Job(0, 1000, 1000, 500)]), fcfs, 1000)
    figure = plots._figure(6, 4)
    axes = figure.subplots()
    plots._gantt(axes, r, 0.0, 1.0)
    image = axes.images[0].get_array()
    assert image.shape == plots.PATCHES
    assert image.mean() == pytest.approx(0.5) and image[:32].min() == pytest.approx(1.0) and image[32:].max() == 0
    assert axes.get_title().startswith("Load of processors: oracle, 1 jobs")


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), max_size=5),
       st.integers(1, 7), st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_patches_are_covered_by_what_lies_on_them(rows, height, width):
    """Against the overlaps one by one; boxes of which no more than one part covers a patch."""
    n = max(len(rows), 1)
    boxes = np.array([(min(a, b), max(a, b), (k + min(c, d)) / n, (k + max(c, d)) / n)
                      for k, (a, b, c, d) in enumerate(rows)]).reshape(-1, 4)
    image = plots.patches(*boxes.T, height, width)
    assert image.shape == (height, width)
    for r in range(height):
        for c in range(width):
            along = np.clip(np.minimum(boxes[:, 1], (c + 1) / width) - np.maximum(boxes[:, 0], c / width), 0, None)
            up = np.clip(np.minimum(boxes[:, 3], (r + 1) / height) - np.maximum(boxes[:, 2], r / height), 0, None)
            assert image[r, c] == pytest.approx((along * up).sum() * width * height, abs=1e-9)


def test_a_gantt_of_few_jobs_shows_each(result):
    figure = plots._figure(6, 4)
    axes = figure.subplots()
    plots._gantt(axes, result, 0.0, 1.0)
    assert not axes.images and len(axes.collections[0].get_paths()) == 6
    assert axes.get_title().startswith("Jobs on processors")

def test_compare(result, tmp_path):
    other = result_of(result.trace, fcfs, 10, "fcfs")
    paths = plots.compare([result, other], tmp_path)
    assert [os.path.basename(p) for p in paths] == ["compare.png", "compare.svg"]
    assert len(np.unique(picture(paths[0]).reshape(-1, 3), axis=0)) > 20


def test_compare_stays_readable_with_a_dozen_policies(result, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(plots, "_save", lambda figure, folder, name: saved.append(figure) or [])
    others = [result_of(result.trace, fcfs, 10, f"policy {k} of a name that is rather long") for k in range(11)]
    plots.compare([result, *others], tmp_path)
    figure, = saved
    _, bars, _, load = figure.axes[:4]
    # One legend outside the panels, where it hides no curve.
    assert all(axes.get_legend() is None for axes in figure.axes)
    legend, = figure.legends
    assert len(legend.get_texts()) == 12
    figure.draw_without_rendering()
    box = legend.get_window_extent()
    assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
    assert all(len(label.get_text()) <= plots.NAME for label in bars.get_yticklabels())
    # Twelve curves of the load would hide one another: a row of shades each.
    assert not load.lines and load.images[0].get_array().shape == (12, plots.PATCHES[1])


@pytest.mark.parametrize("factor, scale", [(19, "linear"), (21, "log")])
def test_values_far_apart_have_a_log_axis(result, factor, scale):
    waits = [replace(result, start=result.trace.submit + wait) for wait in (1.0, float(factor))]
    figure = plots._figure(6, 4)
    bars, queue = figure.subplots(2, 1)
    plots._bars(bars, waits)
    assert bars.get_xscale() == scale
    assert bars.get_xlim()[0] == (0 if scale == "linear" else pytest.approx(1 / 3))
    plots._draw_queue(queue, waits, 0.0, 650.0, 1.0, False)
    assert queue.get_yscale() == {"linear": "linear", "log": "symlog"}[scale]


def test_queues_far_apart_have_a_log_axis():
    short = result_of(trace_of([Job(0, 100, 100, 1), Job(0, 1, 1, 1)]), fcfs, 1)
    long = result_of(trace_of([Job(0, 100, 100, 1)] + [Job(0, 1, 1, 1)] * 60), fcfs, 1)
    for drawn, scale in (([short, long], "symlog"), ([long], "linear"), ([short, short], "linear")):
        axes = plots._figure(6, 4).subplots()
        plots._draw_queue(axes, drawn, 0.0, 200.0, 1.0, False)
        assert axes.get_yscale() == scale


def test_many_policies_look_different(result):
    looks = plots._looks(32)
    assert len({tuple(look.values()) for look in looks}) == 32
    figure = plots._figure(6, 4)
    axes = figure.subplots()
    plots._draw_queue(axes, [result] * 10, 0.0, 650.0, 1.0, False)
    assert [line.get_linestyle() for line in axes.lines[-3:]] == ["-", "--", "--"]


def test_axes_where_nobody_waits():
    r = result_of(trace_of([Job(0, 100, 100, 1)]), fcfs, 10)
    figure = plots._figure(6, 4)
    top, bottom = figure.subplots(2, 1)
    plots._draw_queue(top, [r], 0.0, 100.0, 1.0, False)
    plots._bars(bottom, [r])
    assert top.get_ylim() == (0, 1) and 1 <= bottom.get_xlim()[1] < 2
