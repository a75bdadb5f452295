# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Reading job traces that `flux jobs --json` printed."""
import json

import numpy as np
import pytest

from fluxsched.traces import files
from fluxsched.traces.files import TraceError
from fluxsched.traces.load import load
from fluxsched.traces.trace import ENDED, RUNNING, WAITING


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
    assert t.run.tolist() == [1, 10.25] and t.request.tolist() == [np.inf, 60]      # without a limit, as in Flux
    assert t.procs.tolist() == [4, 4] and t.user.tolist() == [1000, 1000]
    assert t.nodes.tolist() == [0, 0] and t.ran_on.tolist() == [1, 1]
    assert t.began.tolist() == [1, 6] and t.state.tolist() == [ENDED, ENDED] and t.taken is None
    assert t.priority.tolist() == [-1, -1] and t.ready is t.submit
    assert t.header["queue"] == ["batch", "debug"] and t.queue.tolist() == [1, 0]
    assert t.notes == {"no_limit": 1}


def test_a_list_and_a_single_job(read):
    one = job(1, 10.0, 11.0, 12.0)
    assert len(read([one, job(2, 10.0, 11.0, 12.0)])) == 2
    assert len(read(one)) == 1


def test_fewer_keys(read):
    t = read([job(1, 10.0, 11.0, None, ncores="", ntasks=3, t_inactive=14.0),
              job(2, 10.0, 11.0, 12.0, ncores=None, ntasks=None, nnodes=7)])
    assert t.procs.tolist() == [3, 7] and t.run.tolist() == [3, 1]


def test_jobs_that_never_ran(read):
    t = read([job(1, 10.0, state="INACTIVE"), job(3, 10.0, 11.0, 12.0), job(3, 10.0, 11.0, 12.0)])
    assert t.job_id.tolist() == [3]
    assert t.notes == {"no_run": 1, "duplicate": 1}


def test_jobs_that_run_or_wait(read):
    """They take part, and run for as long as they may."""
    t = read([job(1, 10.0, 11.0, 12.0), job(2, 10.0, 15.0, runtime=5.5, state="RUN"),
              job(3, 11.0, 15.25, runtime=5.25, duration=0.0, expiration=0.0),          # no word: by its times
              job(4, 12.0, 16.0, state="RUN", expiration=116.0),                        # its limit was changed
              job(5, 13.0, state="SCHED"), job(6, 14.0, state="SCHED", duration=0.0),
              job(7, 14.0, 15.0, 19.0, state="RUN")])                                   # it ended meanwhile
    assert t.state.tolist() == [ENDED, RUNNING, RUNNING, RUNNING, WAITING, WAITING, ENDED]
    assert t.run.tolist() == [1, 60, np.inf, 100, 60, np.inf, 4] and t.taken == 10.5
    assert t.request.tolist() == [60, 60, np.inf, 100, 60, np.inf, 60]
    assert t.notes == {"running": 3, "waiting": 2, "no_limit": 2}
    assert t.select(t.state == WAITING).job_id.tolist() == [5, 6]


def test_when_a_snapshot_was_taken(read):
    """By how long jobs have run, else the last time that it knows."""
    assert read([job(1, 10.5), job(2, 11.0, 12.0, 17.5, t_inactive=18.0)]).taken == 8.0
    assert read([job(1, 10.5), job(2, 11.0)]).taken == 1.0
    assert read([job(1, 10.5), job(2, 11.0, t_priority=13.0)]).taken == 3.0
    assert read([job(1, 10.5), job(2, 11.0, 13.0, runtime=2.5)]).taken == 5.5


def test_held_jobs_are_left_out(read):
    t = read([job(1, 10.0, 11.0, 12.0, urgency=0, priority=0), job(2, 10.0, urgency=0, priority=0),
              job(3, 10.0, priority=0), job(4, 10.0, urgency=1, priority=0), job(5, 10.0)])
    assert t.job_id.tolist() == [1, 4, 5] and t.notes == {"held": 2, "waiting": 2}


def test_urgency_and_priority(read):
    """The priority counts, where a plugin of Flux's has made another of the urgency."""
    t = read([job(k, 10.0, 11.0, 12.0, **more) for k, more in enumerate((
        {}, {"urgency": 16}, {"urgency": 31, "priority": 2**32 - 1}, {"urgency": 20, "priority": 120000},
        {"urgency": 7, "priority": -1}))])
    assert t.priority.tolist() == [-1, 16, 2**32 - 1, 120000, 7]


def test_of_one_submit_time_the_lower_id_comes_first(read):
    """flux jobs lists the newest first."""
    t = read([job(9, 11.0, 12.0, 13.0), job(7, 10.0, 12.0, 13.0), job(4, 10.0, 12.0, 13.0), job(5, 10.0, 12.0, 13.0)])
    assert t.job_id.tolist() == [4, 5, 7, 9] and t.notes == {}


def test_what_waits_states_its_nodes(read):
    """A job that waits has nnodes if it has asked for nodes; that of others is where they run or ran. Without cores it
    has asked for whole nodes."""
    t = read([job(1, 10.0, 11.0, 12.0), job(2, 10.0), job(3, 10.0, nnodes=2, ncores=""), job(4, 10.0, nnodes=None)])
    assert t.nodes.tolist() == [0, 1, 2, 0] and t.ran_on.tolist() == [1, 0, 0, 0]
    assert t.exclusive.tolist() == [False, False, True, False] and t.procs.tolist() == [4, 4, 2, 4]


def test_what_a_job_depended_on_is_over_before_it_can_be_scheduled(read):
    t = read([job(1, 10.0, 11.0, 12.0, t_priority=10.25), job(2, 10.5, 31.0, 32.0, t_priority=30.0),
              job(3, 11.0, 12.0, 13.0)])
    assert t.submit.tolist() == [0, 0.5, 1] and t.ready.tolist() == [0.25, 20, 1]


@pytest.mark.parametrize("count, cut", [(999, False), (1000, True), (1001, False)])
def test_a_cut_export_is_noticed(read, count, cut):
    """flux jobs lists a thousand, unless it is told otherwise."""
    t = read([job(k, 10.0, 11.0, 12.0) for k in range(count)])
    assert t.notes == ({"cut": 1000} if cut else {})


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
    ([job(1, 1.0, t_inactive=2.0)], r"no usable job in the trace \(no_run 1\)"),
    ([job(1, 1.0, urgency=0)], r"no usable job in the trace \(held 1\)"),
    ([job(1, 1.0, state="ASLEEP")], r"state 'ASLEEP': one of DEPEND, PRIORITY, SCHED, RUN, CLEANUP, INACTIVE expected"),
    ([job(1, 1.0, priority=2**60)], "job 1: priority 1.15292e.18 is above 9.0072e.15"),
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
    ('[{"id": 1, "t_submit": 1}] x', "line 1: not JSON: Expecting value"),
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


def spec(*resources, **system):
    return {"version": 1, "resources": list(resources),
            "tasks": [{"command": ["a"], "slot": "t", "count": {"per_slot": 1}}],
            "attributes": {"system": {"duration": 60.0, **system}}}


def slot(count, cores, gpus=0, memory=0):
    inside = [{"type": "core", "count": cores}]
    inside += [{"type": kind, "count": amount} for kind, amount in (("gpu", gpus), ("memory", memory)) if amount]
    return {"type": "slot", "count": count, "label": "t", "with": inside}


def with_specs(jobs, specs):
    return json.dumps({"jobs": jobs}) + "\n" + "".join(f"{jobid} {json.dumps(each)}\n" for jobid, each in specs)


def test_jobspecs_tell_what_jobs_asked_for(read):
    whole = {"type": "node", "count": 2, "exclusive": True, "with": [slot(1, 2)]}
    jobs = [job(4, 13.0, 14.0, 15.0, ncores=8, nnodes=2), job(3, 12.0, 13.0, 14.0), job(2, 11.0, 12.0, 13.0),
            job(1, 10.0, 11.0, 12.0), job(5, 14.0, state="SCHED", ncores=None, nnodes=None, duration=None)]
    t = read(with_specs(jobs, [
        (2, spec(slot(2, 2, gpus=1), constraints={"properties": ["fast"]}, queue="batch")),
        (1, spec(slot(2, 2, gpus=1))), (4, spec(whole)), (9, spec(slot(1, 1))), (5, spec(slot(3, 2), duration=0)),
        (1, spec(slot(2, 2, gpus=1), constraints={"properties": ["fast"]}))]))
    assert t.job_id.tolist() == [1, 2, 3, 4, 5] and t.asked.tolist() == [0, 0, -1, 1, 3]
    assert [request[:5] for request in t.requests] == [
        (0, 2, 2, 1, False), (2, 1, 2, 0, True), (0, 1, 1, 0, False), (0, 3, 2, 0, False)]
    assert t.constraints == [{"properties": ["fast"]}] and t.constraint.tolist() == [0, 0, -1, -1, -1]
    assert t.nodes.tolist() == [0, 0, 0, 2, 0] and t.exclusive.tolist() == [False] * 3 + [True, False]
    assert t.ran_on.tolist() == [0, 0, 1, 0, 0] and t.gpus.tolist() == [2, 2, 0, 0, 0]
    assert t.procs.tolist() == [4, 4, 4, 8, 6] and t.request.tolist() == [60, 60, 60, 60, np.inf]
    kept = t.select(np.array([False, True, False, True, False]))
    assert kept.asked.tolist() == [0, 1] and kept.requests == t.requests


def test_dependencies_of_jobspecs(read):
    """A job that waited for another can be scheduled once that is over; how late that was, is no matter."""
    depend = [{"scheme": "afterany", "value": "1"}, {"scheme": "after", "value": "ƒ3"}]      # ƒ3 is 2
    t = read(with_specs(
        [job(1, 10.0, 11.0, 20.0), job(2, 11.0, 12.0, 30.0), job(3, 12.0, 21.0, 25.0, t_priority=20.0),
         job(4, 12.0, 41.0, 45.0, t_priority=40.0), job(5, 13.0, 41.0, 45.0, t_priority=40.0),
         job(6, 14.0, state="DEPEND"), job(7, 15.0, t_inactive=16.0)],
        [(3, spec(slot(1, 1), dependencies=depend)),
         (4, spec(slot(1, 1), dependencies=[{"scheme": "afterok", "value": each} for each in ("0x99", 1)])),
         (5, spec(slot(1, 1), dependencies=[{"scheme": "afterok", "value": 7}, {"scheme": "singleton", "value": ""}])),
         (6, spec(slot(1, 1), dependencies=[{"scheme": "begin-time", "value": "100.5"}]))]))
    assert t.after.tolist() == [[2, 0, 0], [2, 1, 1], [3, 0, 0]] and t.job_id.tolist() == [1, 2, 3, 4, 5, 6]
    assert t.ready.tolist() == [0, 1, 2, 30, 30, 90.5] and t.submit.tolist() == [0, 1, 2, 2, 3, 4]
    assert t.notes == {"waiting": 1, "no_run": 1, "no_preceding": 2, "other_dependency": 1}


@pytest.mark.parametrize("more, what", [
    ('1 {"version": 1', "line 2: not JSON"), ("1", "line 2: not JSON: the jobspec of job 1 expected"),
    ("f1 {}", "line 2: not JSON: Expecting value"), ("-1 {}", "the id of a job expected before its jobspec, -1 found"),
    ("1 {}", "jobspec of job 1: version: expected an integer of 1 or more"),
    ("1 " + json.dumps(spec(slot(1, 1), dependencies={"a": 1})), r"dependencies: expected a list, got an object"),
    ("1 " + json.dumps(spec(slot(1, 1), dependencies=[3])),
     r"dependencies\[0\]: expected an object with a scheme, got 3"),
    ("1 " + json.dumps(spec(slot(1, 1), dependencies=[{"scheme": "afterok", "value": "x!"}])),
     r"dependencies\[0\].value: invalid JobID value: 'x!'"),
    ("1 " + json.dumps(spec(slot(1, 1), dependencies=[{"scheme": "afterok", "value": str(2**63)}])),
     r"dependencies\[0\].value: expected an id below 2\^63"),
    ("1 " + json.dumps(spec(slot(1, 1), dependencies=[{"scheme": "begin-time", "value": "soon"}])),
     r"dependencies\[0\].value: could not convert string to float"),
])
def test_bad_jobspecs(read, more, what):
    with pytest.raises(TraceError, match=what):
        read(json.dumps([job(1, 10.0, 11.0, 12.0)]) + "\n" + more)
