# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The record of jobs in the KVS (lwj.N)."""

import errno
import json

import pytest

from fakehost import JOBID_ANY, Bench, jobspec, make_r
from fluxsched.service.host import Host
from fluxsched.service.lwj import RANKS_MAX, exit_code
from fluxsched.service.lwj_writer import GRACE

DELAY, INTERVAL = Host.record_delay, Host.record_interval
ALL = DELAY + INTERVAL      # longer than any change is not seen


def record(bench, number):
    """The record as it is a second later."""
    bench.host.run(ALL)
    prefix = f"lwj.{number}."
    return {key[len(prefix):]: value for key, value in bench.host.kvs.items() if key.startswith(prefix)}


def test_the_life_of_a_job():
    bench = Bench(R=make_r(3, 4))
    bench.alloc(77, spec=jobspec(nodes=3, slots=1, cores=2, duration=60.0, command=["sleep", "30"]))
    kept = record(bench, 1)
    assert kept["id"] == 77
    assert kept["state"] == "runrequest"
    assert kept["nnodes"] == 3 and kept["ntasks"] == 3 and kept["walltime"] == 60.0
    assert kept["cmdline"] == ["sleep", "30"]
    assert kept["create-time"] == 1000.0
    assert [kept[f"rank.{rank}.cores"] for rank in range(3)] == [2, 2, 2]
    assert kept["rdl"] == [{
        "type": "node", "ranks": "0-2", "hosts": ["node[0-2]"],
        "children": [{"type": "core", "ids": "0-1"}],
    }]
    for name, state in (("prolog-start", "starting"), ("start", "running")):
        bench.event(77, name)
        assert record(bench, 1)["state"] == state
    bench.event(77, "finish", status=0)
    bench.free(77)
    kept = record(bench, 1)
    assert kept["state"] == "complete" and kept["exit_status"] == 0
    times = [kept[f"{name}-time"] for name in ("starting", "running", "complete")]
    assert times == pytest.approx([1000.0 + ALL * each for each in (1, 2, 3)])


@pytest.mark.parametrize(("taken", "got"), [(1, 3), (2, 2)])
def test_a_job_of_several_sizes(taken, got):
    """While it waits its record has the least, then what it got."""
    bench = Bench(R=make_r(4, 4))
    bench.alloc(76, nodes=3, cores=4)
    bench.alloc(77, spec=jobspec(nodes="2-3", slots="1-2", cores=2))
    kept = record(bench, 2)
    assert (kept["state"], kept["nnodes"], kept["ntasks"]) == ("submitted", 2, 2)
    bench.alloc(78, nodes=taken, cores=4, priority=20)
    bench.free(76)
    kept = record(bench, 2)
    assert (kept["state"], kept["nnodes"], kept["ntasks"]) == ("runrequest", got, 2 * got)
    assert bench.given(77)["execution"]["nslots"] == 2 * got
    assert len([key for key in kept if key.startswith("rank.")]) == got


def writes(bench):
    """When the record was written, and what was then."""
    return [(when, {key: value for key, value in puts.items() if key.startswith("lwj")})
            for when, puts in bench.host.written if any(key.startswith("lwj") for key in puts)]


def test_what_happens_within_a_second_is_one_write():
    bench = Bench()
    for jobid in range(1, 41):
        bench.alloc(jobid)
        for name in ("alloc", "start"):
            bench.event(jobid, name)
        bench.event(jobid, "finish", status=0)
        bench.free(jobid)
        bench.event(jobid, "clean")
        bench.host.run(0.01)
    bench.host.run(2 * ALL)
    assert [when for when, _ in writes(bench)] == [1000.0 + DELAY]
    _, puts = writes(bench)[0]
    assert [puts[f"lwj.{number}.state"] for number in range(1, 41)] == ["complete"] * 40


def test_the_record_never_goes_with_r():
    bench = Bench()
    for jobid in range(1, 5):
        bench.alloc(jobid)
    bench.host.run(ALL)
    for puts in bench.host.commits:
        assert len({key.startswith("R:") for key in puts}) == 1


def test_a_change_rests_for_a_while_and_is_seen_within_a_second():
    bench = Bench(R=make_r(16, 16))
    seen = {}
    for jobid in range(1, 101):
        bench.alloc(jobid)
        seen[f"lwj.{jobid}.id"] = bench.host.time
        bench.host.run(0.07)
    bench.host.run(2 * ALL)
    times = [when for when, _ in writes(bench)]
    assert times[0] == 1000.0 + DELAY
    assert all(INTERVAL - 1e-6 <= after - before <= DELAY for before, after in zip(times, times[1:]))
    for when, puts in writes(bench):
        for key in puts:
            if key in seen:
                assert INTERVAL - 0.01 - 1e-6 <= when - seen.pop(key) <= DELAY + 1e-6
    assert not seen


def test_a_job_that_starts_and_ends_around_a_write_is_written_once():
    bench = Bench(R=make_r(1, 1))
    bench.alloc(1)
    bench.alloc(2)
    bench.host.run(DELAY + 0.1)
    bench.alloc(3)              # to be written DELAY later
    bench.host.run(DELAY - 0.2)
    bench.event(1, "start")
    bench.event(1, "finish", status=0)
    bench.free(1)
    bench.host.run(0.25)
    bench.event(2, "start")
    bench.event(2, "finish", status=0)
    bench.host.run(2 * ALL)
    assert [[puts.get(f"lwj.{number}.state") for number in (1, 2, 3)] for _, puts in writes(bench)] == [
        ["runrequest", "submitted", None], ["complete", None, "submitted"], [None, "complete", None],
    ]


def test_what_is_over_and_told_is_not_written_again():
    bench = Bench()
    bench.alloc(1)
    bench.event(1, "start")
    bench.event(1, "finish", status=0)
    bench.free(1)
    before = record(bench, 1)
    count = len(bench.host.commits)
    bench.event(1, "clean")
    bench.event(1, "exception", type="cancel", severity=0)
    bench.host.run(5.0)
    assert len(bench.host.commits) == count and record(bench, 1) == before


def test_a_write_that_fails_is_done_again_with_what_came_since():
    bench = Bench(["lwj-keep=2"])
    bench.alloc(1)
    bench.host.hold_commits = True
    bench.host.run(DELAY)
    bench.host.commit_error = OSError(errno.EIO, "no space")
    bench.host.let_commit()
    assert "written again" in bench.host.texts(3)[-1]
    bench.host.commit_error, bench.host.hold_commits = None, False
    for jobid in (2, 3):
        bench.alloc(jobid)
    assert record(bench, 1) == {}
    assert record(bench, 2)["id"] == 2 and record(bench, 3)["id"] == 3
    assert bench.host.kvs["lwj.first"] == 2


def test_no_write_begins_while_another_is_under_way():
    bench = Bench()
    bench.alloc(1)
    bench.host.hold_commits = True
    bench.host.run(DELAY)
    bench.event(1, "start")
    bench.host.run(5.0)
    assert len(bench.host.held) == 1
    bench.host.let_commit()
    bench.host.hold_commits = False
    assert record(bench, 1)["state"] == "running"


def test_numbers_follow_the_order_in_which_jobs_are_seen():
    bench = Bench()
    for jobid in (500, 300, 400):
        bench.alloc(jobid)
    assert [record(bench, number)["id"] for number in (1, 2, 3)] == [500, 300, 400]
    assert bench.host.kvs["lwj.first"] == 1 and bench.host.kvs["lwj.next"] == 4


def test_a_waiting_job_is_submitted():
    bench = Bench(R=make_r(1, 1))
    bench.alloc(1)
    bench.alloc(2)
    bench.host.run(1.0)
    assert record(bench, 2)["state"] == "submitted"


@pytest.mark.parametrize(
    "status, code, state",
    [(0, 0, "complete"), (256, 1, "failed"), (15, 143, "failed"), (127 << 8, 127, "failed")],
)
def test_exit_status(status, code, state):
    assert exit_code(status) == code
    bench = Bench()
    bench.alloc(1)
    for name, context in (("alloc", {}), ("start", {}), ("finish", {"status": status})):
        bench.event(1, name, **context)
    bench.host.run(1.0)
    assert record(bench, 1)["exit_status"] == code and record(bench, 1)["state"] == state


def test_cancelled_while_it_waits_and_while_it_runs():
    bench = Bench(R=make_r(1, 1))
    bench.alloc(1)
    bench.alloc(2)
    bench.event(2, "exception", type="cancel", severity=0)
    bench.event(1, "start")
    bench.event(1, "exception", type="cancel", severity=0)
    bench.host.run(1.0)
    assert record(bench, 2)["state"] == "cancelled"
    assert record(bench, 1)["state"] == "running"
    bench.event(1, "finish", status=15)
    bench.host.run(1.0)
    assert record(bench, 1)["state"] == "cancelled" and record(bench, 1)["exit_status"] == 143


def test_a_denied_job_failed():
    bench = Bench()
    bench.alloc(1, nodes=99)
    bench.event(1, "exception", type="alloc", severity=0)
    bench.host.run(1.0)
    assert record(bench, 1)["state"] == "failed"


@pytest.mark.parametrize("kind, state", [("exec", "failed"), ("cancel", "cancelled")])
def test_a_job_that_ends_without_a_finish(kind, state):
    """As when all brokers were killed and the instance goes on from its statedir."""
    bench = Bench()
    bench.alloc(1)
    bench.event(1, "start")
    bench.event(1, "exception", type=kind, severity=0)
    assert record(bench, 1)["state"] == "running"
    bench.event(1, "clean")
    kept = record(bench, 1)
    assert kept["state"] == state and "exit_status" not in kept
    assert kept["complete-time"] > kept["running-time"]


def test_a_job_that_gave_all_back_without_a_finish_is_looked_up():
    bench = Bench()
    for jobid in (1, 2, 3):
        bench.alloc(jobid)
        bench.event(jobid, "start")
        bench.free(jobid)
    bench.event(1, "finish", status=0)
    bench.host.run(GRACE)
    assert [payload["id"] for payload in bench.host.requests("job-info.lookup")] == [2, 3]
    lines = [{"timestamp": 1001.0, "name": "exception", "context": {"type": "exec", "severity": 0}},
             {"timestamp": 1002.0, "name": "clean"}]
    bench.host.callback("job-info.lookup")({"id": 3, "eventlog": "\n".join(map(json.dumps, lines))}, None)
    kept = record(bench, 3)
    assert kept["state"] == "failed" and kept["complete-time"] == 1002.0
    assert record(bench, 1)["state"] == "complete" and record(bench, 2)["state"] == "running"


@pytest.mark.parametrize("status, state", [(0, "complete"), (None, "failed")])
def test_a_job_that_is_freed_before_the_backlog_is_in(status, state):
    """Its finish comes later, if it had one."""
    bench = Bench(kvs={"R:5": make_r(ranks=[1], cores=2)}, start=False)
    bench.service.start()
    bench.acquired({"resources": bench.R, "up": "0-3"})
    hello = bench.host.callback("job-manager.sched-hello")
    hello({"id": 5, "priority": 16, "userid": 1, "t_submit": 900.0}, None)
    hello(None, OSError(errno.ENODATA, "end of stream"))
    bench.host.run()
    bench.host.callback("job-manager.sched-ready")({"count": 0}, None)
    bench.free(5, R=bench.host.kvs["R:5"])
    assert record(bench, 1)["state"] == "submitted"
    events = [{"name": "start", "timestamp": 951.0}]
    if status is not None:
        events.append({"name": "finish", "timestamp": 952.0, "context": {"status": status}})
    bench.journal({"id": 5, "events": events, "jobspec": jobspec()})
    bench.journal({"id": JOBID_ANY, "events": []})
    bench.host.run(GRACE)
    if status is None:
        text = json.dumps({"name": "clean", "timestamp": 953.0})
        bench.host.callback("job-info.lookup")({"id": 5, "eventlog": text}, None)
    assert record(bench, 1)["state"] == state


def test_a_job_that_is_clean_without_more_failed():
    bench = Bench()
    bench.alloc(1)
    bench.event(1, "start")
    bench.event(1, "clean")
    assert record(bench, 1)["state"] == "failed"


def test_a_mild_exception_changes_nothing():
    bench = Bench()
    bench.alloc(1)
    bench.event(1, "exception", type="note", severity=4)
    assert record(bench, 1)["state"] == "runrequest"


def test_the_newest_are_kept():
    bench = Bench(["lwj-keep=3"], R=make_r(4, 4))
    for jobid in range(1, 11):
        bench.alloc(jobid)
        bench.event(jobid, "start")
    bench.event(1, "finish", status=0)
    bench.host.run(1.0)
    assert sorted({key.split(".")[1] for key in bench.host.kvs if key.startswith("lwj.")}) == [
        "10", "8", "9", "first", "next",
    ]
    assert bench.host.kvs["lwj.first"] == 8


def test_none_are_kept():
    bench = Bench(["lwj-keep=0"])
    bench.alloc(1)
    bench.host.run(1.0)
    assert bench.started(1)
    assert [key for key in bench.host.kvs if key.startswith("lwj")] == []
    assert bench.host.requests("job-manager.events-journal") == []


def test_another_number_by_configuration():
    bench = Bench()
    for jobid in range(1, 6):
        bench.alloc(jobid)
    bench.host.conf = {"sched": {"lwj-keep": 2}}
    bench.service.reconfigure()
    bench.alloc(6)
    bench.host.run(1.0)
    assert bench.host.kvs["lwj.first"] == 5
    assert record(bench, 4) == {} and record(bench, 5)["id"] == 5


def test_recording_is_turned_on_by_configuration():
    bench = Bench(["verbosity=0"], config={"sched": {"lwj-keep": 0}}, kvs={"lwj.first": 3, "lwj.next": 8})
    bench.alloc(1)
    bench.host.conf = {"sched": {"lwj-keep": 4}}
    bench.service.reconfigure()
    bench.host.run()
    assert bench.host.requests("job-manager.events-journal")
    bench.alloc(2)
    assert record(bench, 8)["id"] == 2
    assert bench.host.kvs["lwj.first"] == 5 and bench.host.kvs["lwj.next"] == 9


def test_loaded_again_it_goes_on_counting():
    first = Bench(R=make_r(2, 1))
    for jobid in (10, 11, 12):
        first.alloc(jobid)
    first.event(10, "start")
    first.event(11, "start")
    first.event(10, "finish", status=0)
    first.host.run(1.0)
    kvs = first.host.kvs
    running = [{"id": 11, "priority": 16, "userid": 1, "t_submit": 1000.0}]
    second = Bench(R=make_r(2, 1), kvs=kvs, running=running, backlog=[
        {"id": 11, "events": [{"name": "start", "timestamp": 1000.0}], "jobspec": jobspec()},
        {"id": 12, "events": [], "jobspec": jobspec()},
    ])
    second.alloc(12)
    second.alloc(13)
    second.host.run(1.0)
    assert record(second, 2)["id"] == 11 and record(second, 2)["state"] == "running"
    assert record(second, 3)["id"] == 12 and record(second, 3)["state"] == "runrequest"
    assert record(second, 4)["id"] == 13
    assert second.host.kvs["lwj.next"] == 5


def test_a_job_that_ended_while_no_scheduler_was_loaded():
    first = Bench()
    first.alloc(10)
    first.event(10, "start")
    first.host.run(1.0)
    second = Bench(kvs=first.host.kvs)
    assert second.host.requests("job-info.lookup") == [{"id": 10, "keys": ["eventlog"], "flags": 0}]
    lines = [
        {"timestamp": 1002.0, "name": "start"},
        {"timestamp": 1005.0, "name": "finish", "context": {"status": 512}},
    ]
    text = "\n".join(map(json.dumps, lines)) + "\nnot an event\n"
    second.host.callback("job-info.lookup")({"id": 10, "eventlog": text}, None)
    second.host.run(1.0)
    kept = record(second, 1)
    assert kept["state"] == "failed" and kept["exit_status"] == 2 and kept["complete-time"] == 1005.0


def looked_up(payload, error):
    """A record left running, and what job-info says of its job at the next load."""
    first = Bench()
    first.alloc(10)
    first.event(10, "start")
    first.host.run(1.0)
    second = Bench(kvs=first.host.kvs)
    second.host.callback("job-info.lookup")(payload, error)
    return second


def test_a_job_that_ended_without_a_finish_while_no_scheduler_was_loaded():
    lines = [
        {"timestamp": 1002.0, "name": "start"},
        {"timestamp": 1003.0, "name": "exception", "context": {"type": "exec", "severity": 0}},
        {"timestamp": 1005.0, "name": "clean"},
    ]
    kept = record(looked_up({"id": 10, "eventlog": "\n".join(map(json.dumps, lines))}, None), 1)
    assert kept["state"] == "failed" and kept["complete-time"] == 1005.0


def test_a_job_that_was_purged_while_no_scheduler_was_loaded():
    bench = looked_up(None, OSError(errno.ENOENT, "no such job"))
    assert record(bench, 1)["state"] == "null"
    again = Bench(kvs=bench.host.kvs)
    assert again.host.requests("job-info.lookup") == []


@pytest.mark.parametrize("payload, error", [(None, OSError(errno.EIO, "broken")), ({"id": 10}, None), (None, None)])
def test_a_job_that_cannot_be_looked_up_stays_as_it_is(payload, error):
    bench = looked_up(payload, error)
    assert record(bench, 1)["state"] == "running"
    assert bench.host.texts(6)[-1].startswith("record of jobs (lwj): job 10: ")


def test_events_that_are_none_are_left_out():
    bench = Bench()
    bench.alloc(1)
    bench.journal({"id": 1, "events": [
        7, {"name": "start"}, {"name": 3, "timestamp": 1.0}, {"name": "start", "timestamp": "now"},
        {"name": "exception", "timestamp": 1.0, "context": 5},
        {"name": "finish", "timestamp": 1003.0, "context": {"status": 2**40}},
    ]})
    kept = record(bench, 1)
    assert kept["state"] == "failed" and kept["exit_status"] == 1 and "running-time" not in kept


def test_a_job_that_ran_before_any_record_of_it():
    held = make_r(ranks=[1], cores=2, starttime=950.0)
    bench = Bench(
        R=make_r(2, 2),
        kvs={"R:5": held},
        running=[{"id": 5, "priority": 16, "userid": 1, "t_submit": 900.0}],
        backlog=[{
            "id": 5,
            "events": [{"name": "alloc", "timestamp": 951.0}, {"name": "start", "timestamp": 952.0}],
            "jobspec": jobspec(nodes=1, slots=1, cores=2, command=["a.out"]),
        }],
    )
    bench.host.run(1.0)
    kept = record(bench, 1)
    assert kept["id"] == 5 and kept["state"] == "running" and kept["cmdline"] == ["a.out"]
    assert kept["rank.1.cores"] == 2 and kept["create-time"] == 900.0


@pytest.mark.parametrize(
    "first, following, number", [(9, 4, 4), (1, 10**15, 10**15), (1, "x", 1), (True, 3, 3), (-5, 0, 1)]
)
def test_bounds_that_cannot_be_ours(first, following, number):
    bench = Bench(kvs={"lwj.first": first, "lwj.next": following})
    bench.alloc(1)
    assert record(bench, number)["id"] == 1


def test_a_record_that_cannot_be_read():
    bench = Bench(start=False)
    bench.host.unreadable.add("lwj.next")
    bench.start()
    assert "record of jobs" in bench.host.texts(3)[0]
    bench.alloc(1)
    assert bench.started(1)


def test_a_journal_that_ends():
    bench = Bench()
    bench.host.callback("job-manager.events-journal")(None, OSError(errno.ENOSYS, "gone"))
    assert "stands still" in bench.host.texts(4)[0]
    bench.alloc(1)
    assert bench.started(1)


def test_a_job_on_many_ranks_is_folded():
    bench = Bench(R=make_r(RANKS_MAX + 10, 2))
    bench.alloc(1, nodes=RANKS_MAX + 5, slots=1, cores=2)
    kept = record(bench, 1)
    assert kept["rank.all"] == [{"ranks": f"0-{RANKS_MAX + 4}", "cores": 2}]
    assert not any(key.endswith(".cores") for key in kept)


@pytest.mark.parametrize("command, words", [("hostname", ["hostname"]), (["a", "b"], ["a", "b"])])
def test_command_lines(command, words):
    spec = jobspec()
    spec["tasks"][0]["command"] = command
    bench = Bench()
    bench.alloc(1, spec=spec)
    if bench.started(1):
        assert record(bench, 1)["cmdline"] == words


def test_what_is_staged_is_written_at_the_end():
    bench = Bench(R=make_r(1, 1))
    bench.alloc(1)
    bench.alloc(2)
    bench.service.stop()
    bench.host.run()
    assert record(bench, 2)["state"] == "submitted"
