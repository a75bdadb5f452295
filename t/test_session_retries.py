# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobs that are run again: after failures, and after a reboot."""

import json
import os
import signal
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedded import Session, children, until
from fluxsched.session.broker import retries
from fluxsched.session.commands import buildspec, submit
from fluxsched.session.commands.client import RPCError
from fluxsched.session.errors import RequestError


@pytest.fixture(scope="module")
def session():
    with Session("-s4") as session:
        yield session


def names(session, jobid):
    return [entry["name"] for entry in session.events(jobid)]


def attempts(session, jobid):
    """The contexts of the events by which a job has begun again."""
    return [entry["context"] for entry in session.events(jobid) if entry["name"] in retries.BEGINNINGS]


def again(*words):
    return [f"--setattr={word}" for word in words]


FIRST = ["submit", "depend", "priority", "alloc", "start", "finish", "release", "free"]
NEXT = ["dependency-add", "dependency-remove", *FIRST[1:]]


def test_until_it_succeeds(session, tmp_path):
    log = tmp_path / "log"
    script = f"echo $FLUX_JOB_ATTEMPT >>{log}; echo out $FLUX_JOB_ATTEMPT; [ $FLUX_JOB_ATTEMPT = 3 ]"
    done = session.run("run", *again("retries=5", "backoff=0.05s"), "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, "out 1\nout 2\nout 3\n")
    assert "flux-job: running the job again: attempt 2" in done.stderr
    assert log.read_text().split() == ["1", "2", "3"]
    jobid = session("job", "last")
    job = session.job(jobid)
    assert (job["result"], job["attempts"], job["exception"]["occurred"]) == ("COMPLETED", 3, False)
    assert session("jobs", "-a", "-n", "-o", "{attempts} {returncode}", jobid) == "3 0"
    found = [name for name in names(session, jobid) if name not in ("validate",)]
    assert found == [*FIRST, "retry", *NEXT, "retry", *NEXT, "clean"]
    # Twice as long before each.
    assert [(entry["attempt"], entry["backoff"], entry["status"]) for entry in attempts(session, jobid)] == [
        (2, 0.05, 256), (3, 0.1, 256)]  # fmt: skip
    events = session.events(jobid)
    times = {entry["name"]: entry["timestamp"] for entry in events}  # of the last of a name
    assert times["alloc"] - times["retry"] >= 0.09
    assert [entry["timestamp"] for entry in events] == sorted(entry["timestamp"] for entry in events)


def test_as_often_as_it_asks_for(session):
    done = session.run("submit", "--wait", *again("retries=2", "backoff=0"), "false")
    assert done.returncode == 1
    jobid = session("job", "last")
    job = session.job(jobid)
    assert (job["result"], job["attempts"], job["returncode"]) == ("FAILED", 3, 1)
    assert names(session, jobid).count("start") == 3
    assert session.run("job", "attach", jobid).returncode == 1
    # Nothing is left in the state directory.
    statedir = session("getattr", "statedir")
    until(lambda: not [name for folder in os.listdir(statedir) if folder.startswith("claims-")
                       for name in os.listdir(os.path.join(statedir, folder))], "claims to be removed")  # fmt: skip


def test_what_is_not_run_again(session):
    many = again("retries=5", "backoff=0")
    canceled = session("submit", *many, "sleep", "60")
    late = session("submit", *many, "-t", "0.3s", "sleep", "60")
    good = session("submit", *many, "true")
    raised = session("submit", *many, "sleep", "60")
    for jobid in (canceled, raised):
        session.wait_state(jobid, "RUN")
    session("cancel", canceled)
    session("job", "raise", "--type=mine", raised)
    for jobid, result in [(canceled, "CANCELED"), (late, "TIMEOUT"), (good, "COMPLETED"), (raised, "FAILED")]:
        session.wait_state(jobid, "INACTIVE")
        assert session.job(jobid)["result"] == result
        assert not attempts(session, jobid)


def test_while_it_waits_to_be_run_again(session):
    jobid = session("submit", *again("retries=5", "backoff=1h"), "false")
    until(lambda: session.state(jobid) == "DEPEND", "the job to wait")
    job = session.job(jobid)
    assert job["runtime"] == 0 and job["exception"]["occurred"] is False and "t_run" not in job
    info = session("jobs", "-n", "-o", "{contextual_info}", jobid)
    assert info.startswith("depends:retry@")
    assert f"{jobid} waits for what it depends on" in session("sched", "why", jobid)
    after = session("submit", f"--dependency=afternotok:{jobid}", "true")
    assert session.state(after) == "DEPEND"  # it may still succeed
    session("cancel", jobid)
    session.wait_state(after, "INACTIVE")
    assert session.job(jobid)["result"] == "CANCELED"
    assert session.job(after)["result"] == "COMPLETED"


def test_a_job_that_is_lost(session):
    jobid = session("submit", *again("retries=1", "backoff=0"), "sh", "-c", "[ $FLUX_JOB_ATTEMPT = 2 ] || sleep 60")
    session.wait_state(jobid, "RUN")
    until(lambda: "start" in names(session, jobid), "its start")
    pid = next(pid for pid, command in everything(session.process.pid) if command == "sleep 60")
    with open(f"/proc/{parent(pid)}/stat") as file:  # of the shell
        supervisor = int(file.read().rpartition(")")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    session.wait_state(jobid, "INACTIVE")
    job = session.job(jobid)
    assert (job["result"], job["attempts"], job["exception"]["occurred"]) == ("COMPLETED", 2, False)


def parent(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def everything(pid):
    for child, command in children(pid):
        yield child, command
        yield from everything(child)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("retries=-1", "retries: expected a whole number from 0 to 1000"),
        ("retries=1001", "retries: expected a whole number from 0 to 1000"),
        ("retries=x", "retries: expected a whole number from 0 to 1000"),
        ("retries=true", "retries: expected a whole number from 0 to 1000"),
        ("retries=1.5", "retries: expected a whole number from 0 to 1000"),
        ("backoff=x", "backoff: "),
        ("backoff=-1", "backoff: "),
        ("backoff=inf", "backoff: expected a time that ends"),
        ("backoff=[]", "backoff: "),
        ("requeue=x", "requeue: expected true or false"),
        ("requeue=2", "requeue: expected true or false"),
        ("requeue=1.0", "requeue: expected true or false"),
    ],
)
def test_refused(session, words, text):
    o = submit.parser("submit").parse_args([*again(words), "true"])
    with pytest.raises(RPCError) as error:
        session.ask("job.submit", jobspec=buildspec.build(o, ["true"]))
    assert error.value.text.startswith(f"jobspec: attributes.system.{text}")


def test_copies_are_refused(session):
    said = "jobspec: attributes.system.retries: expected a whole number"
    assert said in session.fail("submit", "--cc=1-2", "--setattr=retries=x", "true")


def test_wishes_that_are_good():
    assert retries.wishes({}) == (0, 1.0, False)
    assert retries.wishes({"retries": 1000, "backoff": "2m", "requeue": 1}) == (1000, 120.0, True)
    assert retries.wishes({"retries": 0, "backoff": 0, "requeue": True}) == (0, 0.0, True)


ANY = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers()))


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(("retries", "backoff", "requeue")), ANY))
def test_whatever_is_wished_is_taken_or_named(system):
    try:
        found = retries.wishes(system)
    except RequestError as error:
        assert any(f"attributes.system.{name}: " in error.text for name in system)
    else:
        assert 0 <= found.retries <= retries.MOST and 0 <= found.backoff < float("inf")


def test_present_events():
    events = [{"name": name} for name in ("submit", "start", "retry", "alloc", "requeue", "start", "finish")]
    assert retries.present(events) == events[4:]
    assert retries.present(events[:2]) == events[:2]
    assert retries.present([]) == []


def rebooted(tmp_path, jobid, claimed):
    """Make a job look as if it had been started by an earlier boot of the machine."""
    state = tmp_path / "state"
    database = sqlite3.connect(state / "session.sqlite")
    with database:
        database.execute("UPDATE jobs SET launch='{\"boot\":\"x\"}' WHERE id=?", (jobid,))
    database.close()
    for folder in state.glob("claims-*"):
        for path in folder.glob(f"{jobid}*"):
            text = path.read_text()
            path.unlink()
            if claimed:
                lines = [json.loads(line) for line in text.splitlines()]
                for line in lines:
                    if "boot" in line:
                        line["boot"] = "x"
                path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("claimed", [True, False])
def test_reboot(tmp_path, claimed):
    """A job that may be is run again; another one is lost.  Both once, whatever its retries."""
    statedir = f"--statedir={tmp_path}/state"
    log = tmp_path / "log"
    script = f"echo $FLUX_JOB_ID $FLUX_JOB_ATTEMPT >>{log}; [ $FLUX_JOB_ATTEMPT != 1 ] || sleep 60"
    with Session("-s2", statedir) as session:
        requeued = session("submit", *again("requeue"), "sh", "-c", script)
        lost = session("submit", "sh", "-c", script)
        until(lambda: log.exists() and len(log.read_text().splitlines()) == 2, "both to run")
        pids = [pid for pid, command in everything(session.process.pid) if "sleep 60" in command]
        workers = {parent(parent(pid)) for pid, command in everything(session.process.pid) if command == "sleep 60"}
        numbers = [session.job(jobid)["id"] for jobid in (requeued, lost)]
        launcher = next(pid for pid, command in children(session.process.pid) if "runner" in command)
        session.kill()
    for pid in (launcher, *workers, *pids):
        os.kill(pid, signal.SIGKILL)
    for number in numbers:
        rebooted(tmp_path, number, claimed)
    with Session("-s2", statedir) as session:
        for jobid in (requeued, lost):
            session.wait_state(jobid, "INACTIVE")
        job = session.job(requeued)
        assert (job["result"], job["attempts"]) == ("COMPLETED", 2)
        found = names(session, requeued)
        assert found.count("requeue") == 1 and "retry" not in found
        assert session.job(lost)["result"] == "FAILED"
        assert "the machine was restarted" in session.job(lost)["exception"]["note"]
    assert sorted(log.read_text().splitlines()) == sorted([f"{requeued} 1", f"{requeued} 2", f"{lost} 1"])


def test_killed_between_attempts(tmp_path):
    """What is known of attempts outlives the session; none is made twice."""
    statedir = f"--statedir={tmp_path}/state"
    log = tmp_path / "log"
    script = f"echo $FLUX_JOB_ATTEMPT >>{log}; sleep 0.2; [ $FLUX_JOB_ATTEMPT = 4 ]"
    with Session(statedir) as session:
        jobid = session("submit", *again("retries=9", "backoff=0.1s"), "sh", "-c", script)
        until(lambda: log.exists(), "the first attempt")
        session.kill()
    for _ in range(2):
        before = log.read_text()
        with Session(statedir) as session:
            until(lambda before=before: log.read_text() != before, "the next attempt")
            session.kill()
    with Session(statedir) as session:
        session.wait_state(jobid, "INACTIVE")
        job = session.job(jobid)
    assert (job["result"], job["attempts"]) == ("COMPLETED", 4)
    assert log.read_text().split() == ["1", "2", "3", "4"]
