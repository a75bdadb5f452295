# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Many jobs in one request: copies of a job, and their cancellation."""

import contextlib
import errno
import json
import os
import signal
import sqlite3

import pytest

from embedded import Session, until
from fluxsched.session import jobid
from fluxsched.session.broker import database
from fluxsched.session.commands.client import Client, RPCError

JOBSPEC = {
    "resources": [{"type": "slot", "count": 1, "with": [{"type": "core", "count": 1}], "label": "task"}],
    "tasks": [{"command": ["true"], "slot": "task", "count": {"per_slot": 1}}],
    "attributes": {"system": {"duration": 0, "cwd": "/", "environment": {"A": "1"}}},
    "version": 1,
}


@pytest.fixture(scope="module")
def session():
    with Session("-s1") as session:
        yield session


def stored(statedir, sql, *values):
    """What a statement gives in the database of a session that is over."""
    with contextlib.closing(sqlite3.connect(statedir / database.FILE)) as db, db:
        return db.execute(sql, values).fetchall()


def test_copies_are_in_their_order_and_durable_before_they_are_told(tmp_path):
    """More than are handled at a time; the session is killed when the last id is printed. The next one cancels them,
    but for one whose events are damaged, and writes what each goes through at once."""
    with Session("--no-sched", f"--statedir={tmp_path}/state") as session:
        ids = session("submit", "--cc=1-450", "--job-name=many", "sh", "-c", "echo {cc}").split()
        session.kill()
    assert len(set(ids)) == 450
    assert [jobid.parse(each) for each in ids] == sorted(jobid.parse(each) for each in ids)
    with Session("--no-sched", f"--statedir={tmp_path}/state") as session:
        listed = json.loads(session("jobs", "--json", "-c0"))["jobs"]
        assert [job["jobid"] for job in listed] == ids
        for i in (0, 199, 200, 449):
            spec = json.loads(session("job", "info", ids[i], "jobspec"))
            assert spec["tasks"][0]["command"] == ["sh", "-c", f"echo {i + 1}"]
            assert spec["attributes"]["system"]["environment"]["FLUX_JOB_CC"] == str(i + 1)
            assert [event["name"] for event in session.events(ids[i])] == ["submit", "validate", "depend", "priority"]
        assert {job["name"] for job in listed} == {"many"}
        session.kill()
    waiting = ["submit", "validate", "depend", "priority"]
    stored(tmp_path / "state", "UPDATE events SET entry='no JSON' WHERE id=?", jobid.parse(ids[300]))
    with Session("--no-sched", f"--statedir={tmp_path}/state") as session:
        assert f"of job {jobid.parse(ids[300])} cannot be read" in session.run("cancel", "--all").stderr
        assert session("jobs", "-no", "{id}").split() == [ids[300]]
        for each in (ids[0], ids[200], ids[449]):
            assert [event["name"] for event in session.events(each)] == [*waiting, "exception", "clean"]
    rows = stored(tmp_path / "state", "SELECT count(*) FROM events GROUP BY id")
    assert sorted(rows) == [(1,)] + [(2,)] * 449


def test_copies_run_each_once(session, tmp_path):
    script = f"echo $FLUX_JOB_CC {{cc}} >>{tmp_path}/log"
    done = session.run("submit", "--cc=1-30", "--wait", "--quiet", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, "")
    assert sorted((tmp_path / "log").read_text().splitlines()) == sorted(f"{i} {i}" for i in range(1, 31))
    done = session.run("submit", "--bcc=1-3", "--wait", "--quiet", "sh", "-c", 'test -z "$FLUX_JOB_CC" && exit {cc}')
    assert done.returncode == 3


def test_name_of_a_copy_is_that_of_its_command(session):
    ids = session("submit", "--cc=1-2", "--urgency=hold", "/bin/no{cc}").split()
    assert [session.job(each)["name"] for each in ids] == ["no1", "no2"]
    session("cancel", *ids)


def test_options_that_differ_make_different_jobs(session, tmp_path):
    session("submit", "--cc=1-2", "--quiet", "--wait", f"--output={tmp_path}/out{{cc}}", "echo", "{cc}")
    assert [(tmp_path / f"out{i}").read_text() for i in (1, 2)] == ["1\n", "2\n"]


def test_what_is_wrong_is_said_once_and_nothing_is_taken(session):
    done = session.run("submit", "--cc=1-3", "-N9", "true")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("ERROR") == 1
    client = Client(session.uri)
    for copy, number, text in [
        ({"command": []}, errno.EINVAL, "tasks[0].command: expected a list of strings"),
        ({"command": "true"}, errno.EINVAL, "tasks[0].command: expected a list of strings"),
        ({"command": ["a\0"]}, errno.EINVAL, "tasks[0].command: expected a list of strings"),
        ({"environment": {"A": 1}}, errno.EINVAL, "environment: expected an object of strings"),
        ({"environment": []}, errno.EINVAL, "environment: expected an object of strings"),
        ({"cwd": "/"}, errno.EPROTO, "copies: expected command and environment"),
        (5, errno.EPROTO, "copies"),
    ]:
        with pytest.raises(RPCError) as caught:
            list(client.stream("job.submit-copies", {"jobspec": JOBSPEC, "copies": [{}, copy]}))
        assert caught.value.errno == number
        assert text in caught.value.text
    with pytest.raises(RPCError, match="expected command and environment"):  # many are looked at some at a time
        list(client.stream("job.submit-copies", {"jobspec": JOBSPEC, "copies": [{}] * 5000 + [{"cwd": "/"}]}))
    assert list(client.stream("job.submit-copies", {"jobspec": JOBSPEC, "copies": []})) == [{"ids": []}]
    client.close()
    assert session("jobs", "-n") == ""


def test_all_are_cancelled_whatever_their_state(tmp_path):
    with Session("-s1", f"--statedir={tmp_path}/state") as session:
        running = session("submit", "-N1", "sleep", "60")
        session.wait_state(running, "RUN")
        ids = session("submit", "--cc=1-450", "true").split()
        held = session("submit", "--urgency=0", "true")
        assert "Would cancel 452 jobs" in session.run("cancel", "--all", "--dry-run").stderr
        assert "Canceled 451 jobs" in session.run("cancel", "--states=pending", "-m", "no more").stderr
        assert session("jobs", "-no", "{id}").split() == [running]
        assert session.job(held)["exception"]["note"] == "no more"
        assert [event["name"] for event in session.events(ids[449])][-2:] == ["exception", "clean"]
        assert "Canceled 1 job " in session.run("cancel", "--all").stderr
        session.wait_state(running, "INACTIVE")
        assert "Matched 0 jobs" in session.run("cancel", "--all").stderr
    query = "SELECT count(*) FROM events WHERE id >= ? GROUP BY id"
    # The scheduler's answer comes in one transaction with the request to it.
    assert stored(tmp_path / "state", query, jobid.parse(ids[0])) == [(2,)] * 451


def test_session_that_is_killed_between_the_pieces(tmp_path):
    """What was told is there, and nothing else is half there."""
    with Session("--no-sched", f"--statedir={tmp_path}/state") as session:
        client = Client(session.uri)
        client.send("job.submit-copies", {"jobspec": JOBSPEC, "copies": [{}] * 3000})
        told = client.receive()[1]["ids"]
        os.kill(session.process.pid, signal.SIGKILL)
        session.kill()
        client.close()
    with Session("--no-sched", f"--statedir={tmp_path}/state") as session:
        listed = json.loads(session("jobs", "--json", "-c0"))["jobs"]
        ids = [job["id"] for job in listed]
        assert ids[: len(told)] == told and len(ids) <= 3000
        assert all(job["state"] == "SCHED" for job in listed)
        until(lambda: session("cancel", "--all") == "", "all to be cancelled")
