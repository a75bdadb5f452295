# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux job submit in a session, and jobs that accept several counts from their jobspec to their tasks."""

import json
import os

import pytest

from embedded import Session
from specs import core, make, node, slot


@pytest.fixture(scope="module")
def session():
    with Session("-s5") as session:
        yield session


@pytest.fixture(autouse=True)
def nothing_left(session):
    yield
    session("cancel", "--all", "-q")
    for job in json.loads(session("jobs", "--json"))["jobs"]:
        session.run("job", "wait-event", job["jobid"], "clean")


def spec_of(*resources, command=("true",), count=None, **system):
    spec = make(*resources, count=count, environment={"PATH": os.environ["PATH"]}, **system)
    spec["tasks"][0]["command"] = list(command)
    return spec


def submit(session, tmp_path, spec, *options):
    """Submit from a file; the job's id."""
    path = tmp_path / "jobspec.json"
    path.write_text(json.dumps(spec))
    return session("job", "submit", *options, str(path))


def granted(session, jobid):
    """(nodes, slots) of the job's R."""
    execution = json.loads(session("job", "info", jobid, "R"))["execution"]
    ranks = [entry["rank"] for entry in execution["R_lite"]]
    assert len(ranks) == 1
    first, _, last = ranks[0].partition("-")
    return int(last or first) - int(first) + 1, execution["nslots"]


RANGE = {"min": 2, "max": 4, "operator": "+", "operand": 1}


@pytest.mark.parametrize(("taken", "got"), [(0, 4), (2, 3), (3, 2)])
def test_nodes_that_are_free(session, tmp_path, taken, got):
    if taken:
        session.wait_state(session("submit", f"-N{taken}", "-x", "sleep", "60"), "RUN")
    spec = spec_of(node(RANGE, slot(1, core(1)), exclusive=True), command=["sh", "-c", "echo $FLUX_JOB_SIZE"])
    jobid = submit(session, tmp_path, spec)
    assert session("job", "attach", jobid).split() == [str(got)] * got
    assert granted(session, jobid) == (got, got)
    job = session.job(jobid)
    assert (job["nnodes"], job["ntasks"]) == (got, got)


def test_it_waits_for_its_least(session, tmp_path):
    first = session("submit", "-N4", "-x", "sleep", "60")
    session.wait_state(first, "RUN")
    jobid = submit(session, tmp_path, spec_of(node("2-4", slot(1, core(1)), exclusive=True), command=["sleep", "60"]))
    job = session.job(jobid)
    assert (job["state"], job["nnodes"], job["ntasks"]) == ("SCHED", 2, 2)
    session("cancel", first)
    session.wait_state(jobid, "RUN")
    assert granted(session, jobid) == (4, 4)
    assert session.job(jobid)["ntasks"] == 4


def test_slots_of_each_node(session, tmp_path):
    """The tasks are as many as the slots that were granted."""
    spec = spec_of(node(2, slot("1+", core(1))), command=["printenv", "FLUX_JOB_SIZE"])
    jobid = submit(session, tmp_path, {**spec, "version": 999})
    out = session("job", "attach", jobid).split()
    nodes, slots = granted(session, jobid)
    assert nodes == 2
    assert out == [str(slots)] * slots
    assert slots == session.job(jobid)["ncores"] == session.job(jobid)["ntasks"]


def test_by_standard_input(session):
    jobid = session("job", "submit", "--urgency=20", "-f", "waitable", input=json.dumps(spec_of(slot(1, core(1)))))
    assert session.job(jobid)["urgency"] == 20
    assert session("job", "wait") == jobid
    jobid = session("job", "submit", "-u", "hold", "-", input=json.dumps(spec_of(slot(1, core(1)))))
    assert session.state(jobid) == "SCHED"


@pytest.mark.parametrize(
    ("text", "options", "error"),
    [
        ("", (), "required jobspec is empty"),
        (" \n", (), "required jobspec is empty"),
        ("{", (), "standard input: not a jobspec: "),
        ("[]", (), "standard input: not a jobspec: expected an object"),
        ('{"a": NaN}', (), "standard input: not a jobspec: NaN is no JSON"),
        ("{}", (), "jobspec: "),
        (json.dumps(spec_of(node("4-2"))), (), "jobspec: resources[0].count: the maximum 2 is below the minimum 4"),
        (json.dumps(spec_of(node("6-7"))), (), "needs 6 whole nodes: 5 of 5 nodes can serve it"),
        (json.dumps(spec_of()), ("-u", "32"), "urgency range is [0:31]"),
        (json.dumps(spec_of()), ("--flags=signed",), "--flags: Unknown flag signed"),
        (json.dumps(spec_of()), ("no-such-file",), "no-such-file: No such file or directory"),
        (json.dumps(spec_of()), (".",), ".: Is a directory"),
        (json.dumps(spec_of()), ("a", "b"), "unrecognized arguments: b"),
    ],
)
def test_refused(session, text, options, error):
    assert error in session.fail("job", "submit", *options, input=text)
