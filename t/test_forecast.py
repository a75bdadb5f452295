# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the service foretells of waiting jobs, when, and what it tells of it."""

import math

import pytest
from fluxsched.core.forward import Forward, Spread
from fluxsched.core.history import History

from fakehost import Bench, make_r
from fluxsched.service import forecast
from fluxsched.service.annotate import RATE
from fluxsched.service.coverage import LATE, LEVEL_MAX, Coverage
from fluxsched.service.protocol import ANNOTATE
from fluxsched.service.runtimes import KEY, REST
from fluxsched.service.settings import ArgumentError, parse
from naive import machine, nodes

WHOLE = {"nodes": 1, "exclusive": True}
TIMES = ("t_estimate", "t_likely", "t_late")


def told(bench, jobid):
    return [bench.annotations(jobid).get(name) for name in TIMES]


def rows(bench):
    """The answer of sched.forecast, jobs by id."""
    bench.send("sched.forecast", None, "asked")
    answer = [payload for request, payload in bench.host.answers if request == "asked"][-1]
    return answer, {row["id"]: row for row in answer["jobs"]}


@pytest.mark.parametrize("plugin", ["sched.plugin1", "backfill.plugin1"])
def test_every_waiting_job_has_a_start(plugin):
    bench = Bench([f"plugin={plugin}"], R=make_r(2, 4))
    begin = bench.host.time
    for jobid in range(1, 8):
        bench.alloc(jobid, duration=100.0 * jobid, **WHOLE)
    bench.host.run(5.0)
    # 1 until 100, 2 until 200, then 3 and so on, two at a time.
    starts = {3: 100, 4: 200, 5: 400, 6: 600, 7: 900}
    for jobid, start in starts.items():
        assert told(bench, jobid) == [pytest.approx(begin + start)] * 3
    answer, found = rows(bench)
    assert list(found) == list(starts) and answer["fresh"] and answer["runs"] == 0
    assert begin <= answer["t"] <= begin + 1.1
    assert found[3] == {"id": 3, "t_estimate": begin + 100, "t_likely": begin + 100, "t_late": begin + 100,
                        "reason": None}
    # A change moves those behind it, and what has moved is told.
    bench.free(2)
    bench.host.run(5.0)
    assert told(bench, 4)[0] == pytest.approx(begin + 100)
    assert bench.host.failed is None and bench.service.guard.errors == 0


def test_jobs_behind_one_without_a_limit_are_open_ended():
    bench = Bench(R=make_r(2, 4))
    bench.alloc(1, **WHOLE)
    bench.alloc(2, duration=50.0, **WHOLE)
    bench.alloc(3, duration=10.0, **WHOLE)
    bench.alloc(4, nodes=2, exclusive=True, duration=10.0)
    bench.alloc(5, duration=10.0, **WHOLE)
    bench.host.run(5.0)
    assert told(bench, 3) == [1050.0] * 3
    assert told(bench, 4) == told(bench, 5) == [None] * 3
    assert rows(bench)[1][4] == {"id": 4, "t_estimate": None, "t_likely": None, "t_late": None,
                                 "reason": forecast.ENDLESS}
    assert "without a time limit" in bench.annotations(5)["reason_pending"]
    # Its limit is known now.
    bench.send("sched.expiration", {"id": 1, "expiration": 1500.0})
    bench.host.run(5.0)
    assert told(bench, 4) == [1500.0] * 3 and told(bench, 5) == [1510.0] * 3
    assert "without a time limit" not in bench.annotations(5)["reason_pending"]


def test_parked_jobs_and_the_end_of_the_instance():
    bench = Bench(R=make_r(2, 4, expiration=2000.0))
    bench.alloc(1, duration=900.0, **WHOLE)
    bench.alloc(2, duration=900.0, **WHOLE)
    bench.acquired({"down": "1"})
    bench.alloc(3, nodes=2, exclusive=True, duration=10.0)
    bench.alloc(4, duration=5000.0, **WHOLE)
    bench.alloc(5, duration=10.0, **WHOLE)
    bench.host.run(5.0)
    _, found = rows(bench)
    assert found[3]["reason"] == "waiting for nodes that are down or drained"
    assert found[4]["t_estimate"] == 1900.0
    assert found[5]["t_estimate"] is None and found[5]["reason"] == forecast.INSTANCE
    assert forecast.INSTANCE in bench.annotations(5)["reason_pending"]


def test_likely_and_late_by_what_the_users_jobs_did():
    bench = Bench(R=make_r(1, 4))
    now = bench.host.time
    # Ten jobs of user 7, of 100 s each, run 10, 20 … 100 s.
    for jobid in range(1, 11):
        bench.alloc(jobid, duration=100.0, userid=7, **WHOLE)
        bench.host.run(10.0 * jobid)
        bench.free(jobid)
    assert [part for part, _ in bench.service.run_times.history.jobs(7)] == pytest.approx(
        [jobid / 10 for jobid in range(1, 11)])
    now = bench.host.time
    bench.alloc(11, duration=100.0, userid=7, **WHOLE)
    bench.alloc(12, duration=100.0, userid=8, **WHOLE)
    bench.alloc(13, duration=100.0, userid=7, **WHOLE)
    bench.host.run(6.0)
    answer, found = rows(bench)
    assert answer["runs"] == forecast.RUNS
    assert found[12]["t_estimate"] == now + 100 and found[13]["t_estimate"] == now + 200
    assert now + 20 <= found[12]["t_likely"] <= now + 80
    assert found[12]["t_likely"] < found[12]["t_late"] <= now + 100
    # User 8 has no history: what all did tells.
    assert found[12]["t_likely"] < found[13]["t_likely"] < found[12]["t_likely"] + 100
    assert told(bench, 12) == [found[12][name] for name in TIMES]
    # It has run 75 s: only the three longest are left.
    bench.host.run(70.0)
    bench.alloc(14, duration=100.0, userid=9, **WHOLE)
    bench.host.run(2.0)
    assert rows(bench)[1][12]["t_likely"] == pytest.approx(now + 90)
    level = bench.service.run_times.coverage.level
    bench.free(11)
    assert bench.service.run_times.coverage.level == pytest.approx(level - 0.1 * 0.03)


def test_history_survives_a_reload():
    bench = Bench(R=make_r(1, 4))
    bench.alloc(1, duration=100.0, userid=7, **WHOLE)
    bench.host.run(25.0)
    bench.free(1)
    assert KEY not in bench.host.kvs
    bench.host.run(REST + 1.0)
    assert bench.host.kvs[KEY] == {"level": LATE, "users": {"7": [[0.25, 100.0]]}}
    bench.alloc(2, duration=100.0, userid=7, **WHOLE)
    bench.host.run(50.0)
    bench.free(2)
    bench.service.stop()
    bench.host.run(1.0)
    assert bench.host.kvs[KEY]["users"] == {"7": [[0.25, 100.0], [0.5, 100.0]]}
    again = Bench(R=make_r(1, 4), kvs=bench.host.kvs)
    assert [part for part, _ in again.service.run_times.history.jobs(7)] == [0.25, 0.5]
    # A job that was running over the reload counts, too.
    again = Bench(R=make_r(1, 4), kvs={**bench.host.kvs, "R:5": make_r(1, 4, starttime=900.0, expiration=1100.0)},
                  running=[{"id": 5, "priority": 16, "userid": 7, "t_submit": 1.0, "free": ""}])
    again.host.run(20.0)
    again.send("sched.free", {"id": 5, "R": make_r(1, 4), "final": True})
    assert again.service.run_times.history.jobs(7)[2] == pytest.approx((0.6, 200.0))


@pytest.mark.parametrize("kept", [
    7, [], {}, {"level": 0.9}, {"level": "high", "users": {}}, {"level": 0.9, "users": []},
    {"level": 0.9, "users": {"ann": [[0.5, 1.0]]}}, {"level": 0.9, "users": {"7": [[-1, 5]]}},
    {"level": 0.9, "users": {"7": 3}}, {"level": 0.9, "users": {"7": [0.5]}}, {"level": 0.9, "users": {"7": [[1, 0]]}},
    {"level": math.nan, "users": {}}, {"level": 99, "users": {}},
    {"level": math.nan, "users": {"7": [[math.nan, 1.0]]}},
])
def test_history_that_cannot_be_used(kept):
    bench = Bench(R=make_r(1, 4), kvs={KEY: kept})
    assert any(KEY in text and "learnt anew" in text for text in bench.host.texts(4))
    assert bench.service.run_times.history.users == [] and bench.service.run_times.coverage.level == LATE
    assert bench.service.guard.errors == 0


def test_annotations_keep_to_their_budget_with_10000_waiting():
    bench = Bench(["plugin=backfill.plugin1"], R=make_r(16, 4))
    for jobid in range(1, 10017):
        bench.alloc(jobid, duration=100.0 + jobid % 7, run=False, **WHOLE)
    bench.host.run()
    counts = bench.service.answers.counts
    assert counts["annotate"] <= RATE
    for second in range(40):
        before = counts["annotate"]
        if second % 5 == 0:
            # All that wait move.
            bench.send("sched.free", {"id": second // 5 + 1, "R": bench.given(second // 5 + 1), "final": True})
        bench.host.run(1.0)
        assert counts["annotate"] <= before + RATE
    assert counts["annotate"] > 20 * RATE
    # The foremost have been told by now, with their starts.
    waiting = bench.service.engine.waiting(0, 500)
    assert all(bench.annotations(jobid).get("t_estimate") for jobid in waiting[:40])
    assert len(rows(bench)[1]) == len(bench.service.engine.waiting())


def test_the_most_changed_are_told_first():
    bench = Bench(["plugin=backfill.plugin1"], R=make_r(2, 4))
    bench.alloc(1, duration=5000.0, **WHOLE)
    bench.alloc(2, duration=5000.0, **WHOLE)
    for jobid in range(3, 203):
        bench.alloc(jobid, duration=500.0, run=False, **WHOLE)
    bench.host.run(30.0)
    order = []
    respond = bench.host.respond

    def note(request, payload):
        if payload and payload.get("type") == ANNOTATE:
            order.append(payload["id"])
        respond(request, payload)

    bench.host.respond = note
    # All starts move by the same time, which is most of the wait of the first.
    bench.send("sched.expiration", {"id": 1, "expiration": 2000.0})
    bench.send("sched.expiration", {"id": 2, "expiration": 2000.0})
    bench.host.run(1.0)
    assert order[0] == 3 and len(order) <= RATE
    bench.host.run(2.0)
    assert order[1:5] == [4, 5, 6, 7]


def test_moves_that_are_too_small_are_not_told():
    bench = Bench(R=make_r(1, 4))
    bench.alloc(1, duration=1000.0, **WHOLE)
    bench.alloc(2, duration=1000.0, **WHOLE)
    bench.host.run(5.0)
    before = len(bench.to(2))
    bench.send("sched.expiration", {"id": 1, "expiration": 2005.0})
    bench.host.run(5.0)
    assert len(bench.to(2)) == before and told(bench, 2)[0] == 2000.0
    bench.send("sched.expiration", {"id": 1, "expiration": 2100.0})
    bench.host.run(5.0)
    assert told(bench, 2) == [2100.0] * 3


def test_off_and_how_often():
    bench = Bench(["forecast=off"], R=make_r(1, 4))
    bench.alloc(1, duration=100.0, **WHOLE)
    bench.alloc(2, duration=100.0, **WHOLE)
    bench.host.run(10.0)
    assert told(bench, 2) == [None] * 3 and bench.service.forecast.count == 0
    answer, found = rows(bench)
    assert answer["t"] is None and found == {} and not answer["fresh"]
    assert bench.service.forecast.get(2) is None
    for text, seconds in (("2.5", 2.5), ("60", 60.0), ("off", None)):
        assert parse([f"forecast={text}"]).forecast == seconds
        assert parse([], {"forecast": text if text == "off" else float(text)}).forecast == seconds
    assert parse([]).forecast == 1.0
    for bad in ("0", "-1", "nan", "on", "", "1e9"):
        with pytest.raises(ArgumentError, match="forecast: expected off or seconds"):
            parse([f"forecast={bad}"])
    with pytest.raises(ArgumentError, match="sched.forecast: expected off or seconds"):
        parse([], {"forecast": True})
    with pytest.raises(ArgumentError, match="sched.forecast: expected off or seconds"):
        parse([], {"forecast": 10**400})


def test_a_configuration_turns_it_on_and_off():
    bench = Bench(R=make_r(1, 4), config={"sched": {"forecast": "off"}})
    bench.alloc(1, duration=100.0, **WHOLE)
    bench.alloc(2, duration=100.0, **WHOLE)
    bench.host.run(5.0)
    assert bench.service.forecast.count == 0
    bench.host.conf = {"sched": {"forecast": 2}}
    bench.service.reconfigure()
    bench.host.run(5.0)
    assert told(bench, 2) == [1100.0] * 3 and bench.service.forecast.interval == 2.0


def test_at_most_once_in_an_interval_and_only_after_a_change(monkeypatch):
    """The clock of the pauses goes with that of the host."""
    bench = Bench(["forecast=10"], R=make_r(1, 4))
    monkeypatch.setattr(forecast.time, "monotonic", lambda: bench.host.time)
    count = bench.service.forecast
    bench.alloc(1, duration=1000.0, **WHOLE)
    for jobid in range(2, 42):
        bench.alloc(jobid, duration=100.0, **WHOLE)
        bench.host.run(1.0)
    assert 4 <= count.count <= 6
    bench.host.run(30.0)
    made = count.count
    bench.host.run(500.0)
    assert count.count == made
    # A start has passed without its job: forecast anew.
    bench.host.run(600.0)
    assert made < count.count < made + 130
    stats = count.statistics
    assert stats["count"] == count.count and stats["runs"] == count.count and stats["slices"] >= stats["count"]
    bench.send("sched.stats-get", None, "stats")
    assert bench.host.answers[-1][1]["forecast"] == count.statistics
    bench.send("sched.stats-clear", None, "clear")
    assert count.count == count.runs == count.slices == 0


def test_slices_are_short_and_messages_come_between(monkeypatch):
    monkeypatch.setattr(forecast, "SLICE", 0.0)
    bench = Bench(["plugin=backfill.plugin1"], R=make_r(2, 4))
    for jobid in range(1, 60):
        bench.alloc(jobid, duration=100.0, run=False, **WHOLE)
    bench.host.run()
    while bench.service.forecast._steps is not None:
        bench.host.run(0.001)
        bench.send("sched.stats-get", None, "stats")
    assert bench.service.forecast.slices > 20
    assert rows(bench)[1][59]["t_estimate"] == pytest.approx(1000.0 + 100 * 29)


def test_a_plugin_that_cannot_be_copied_has_no_forecasts(tmp_path):
    source = (
        "from fluxsched.policy.pyplugin import HOLD\n"
        "class Plugin:\n"
        "    def __init__(self, options): self.file = open(__file__)\n"
        "    def sched_loop_setup(self, engine): pass\n"
        "    def find_resources(self, engine, job): return engine.fits_now(job)\n"
        "    def select_resources(self, engine, job): return engine.select(job)\n"
        "    def allocate_resources(self, engine, job): engine.start(job)\n"
        "    def reserve_resources(self, engine, job): return HOLD\n"
    )
    (tmp_path / "stuck.py").write_text(source)
    bench = Bench([f"plugin={tmp_path / 'stuck.py'}"], R=make_r(1, 4))
    for jobid in range(1, 5):
        bench.alloc(jobid, duration=100.0, **WHOLE)
        bench.host.run(5.0)
    assert bench.service.guard.errors == 0
    said = [text for text in bench.host.texts(4) if "no forecasts" in text]
    assert len(said) == 1 and "cannot be copied" in said[0]
    assert told(bench, 2) == [None] * 3


def test_plain_python_plugin(top):
    bench = Bench([f"plugin={top / 'doc/examples/smallest.py'}"], R=make_r(1, 4))
    for jobid in range(1, 5):
        bench.alloc(jobid, duration=100.0, **WHOLE)
    bench.host.run(5.0)
    assert [told(bench, jobid)[0] for jobid in (2, 3, 4)] == [1100.0, 1200.0, 1300.0]


def test_coverage_reaches_its_share():
    """Whatever the runs say, nine of ten jobs start before t_late in the long run."""
    engine = machine(1, 4)
    for jobid in (1, 2):
        engine.add(jobid, nodes(1, 1000), user=7)
    engine.schedule(0.0)
    history = History()
    for part in range(1, 21):
        history.note(7, part / 20, 1000.0)
    spread = Spread(engine)
    for seed in range(20):
        forward = Forward(engine.fork(), 0.0, history, seed, passed=True)
        forward.advance()
        spread.add(forward)
    # Jobs start later than any run says, or earlier than most.
    for stretch in (0.3, 1.0, 2.5):
        coverage, held = Coverage(), 0
        for step in range(3000):
            late = coverage.times(spread, 2, 0.0)[1]
            start = 1000.0 * stretch * ((step * 7919) % 997) / 997
            coverage.note(start <= late)
            held += step >= 500 and start <= late
        assert held / 2500 == pytest.approx(0.9, abs=0.015 if stretch > 0.5 else 0.11)
    assert Coverage(99.0).level == LEVEL_MAX
    likely, late = Coverage(0.5).times(spread, 2, 0.0)
    assert likely == late
    likely, late = Coverage(1.5).times(spread, 2, 0.0)
    assert late == pytest.approx(2 * spread.starts(2, [1.0])[0])


def test_t_late_by_the_starts_of_some_runs():
    starts = [10.0 * number for number in range(1, 11)]
    assert Coverage().late(starts, 0.0) == 90.0
    assert Coverage(0.5).late(starts, 0.0) == 50.0
    # above 1 the wait until the latest is stretched
    assert Coverage(1.5).late(starts, 20.0) == 20.0 + 2.0 * 80.0
