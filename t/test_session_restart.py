# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A session that is killed loses nothing, and starts nothing twice."""

import json
import os
import signal
import sqlite3
import time

import pytest

from embedded import Session, alive, children, claim_of, flux, job_processes, until


@pytest.fixture
def statedir(tmp_path):
    return f"--statedir={tmp_path}/state"


GATE = "until [ -e {} ]; do sleep 0.05; done"


@pytest.fixture
def gate(tmp_path):
    """A file that jobs with GATE in their script wait for."""
    return tmp_path / "gate"


def spawn_counter(tmp_path, gate):
    """A command that notes each start of itself, then waits at the gate, then notes its end."""
    log = tmp_path / "log"
    return log, ["sh", "-c", f"echo start >>{log}; {GATE.format(gate)}; echo end >>{log}"]


def test_waiting_jobs_are_there_in_order(statedir):
    with Session("--no-sched", statedir) as session:
        plain = [session("submit", "--job-name", f"j{i}", "true") for i in range(3)]
        urgent = session("submit", "--urgency=20", "true")
        held = session("submit", "--urgency=hold", "true")
        session.kill()
    with Session("--no-sched", statedir) as session:
        listed = session("jobs", "-no", "{id}").split()
        assert listed == [urgent, *plain, held]
        session("module", "load", "sched")
        for jobid in [urgent, *plain]:
            session("job", "wait", jobid)
        starts = {jobid: session.job(jobid)["t_run"] for jobid in [urgent, *plain]}
        assert sorted(starts, key=starts.get) == [urgent, *plain]
        assert session.state(held) == "SCHED"


def test_running_job_is_found_again(statedir, tmp_path, gate):
    log, command = spawn_counter(tmp_path, gate)
    with Session(statedir) as session:
        jobid = session("submit", *command)
        until(log.exists)
        session.kill()
    assert job_processes(jobid)
    with Session(statedir) as session:
        assert session.state(jobid) == "RUN"
        gate.touch()
        assert session("job", "attach", jobid) == ""
        assert session.job(jobid)["result"] == "COMPLETED"
    assert log.read_text() == "start\nend\n"


def test_found_again_job_holds_its_cores(statedir, gate):
    cores = len(os.sched_getaffinity(0))
    with Session(statedir) as session:
        first = session("submit", "-n1", f"-c{cores}", "sh", "-c", GATE.format(gate))
        session.wait_state(first, "RUN")
        session.kill()
    with Session(statedir) as session:
        second = session("submit", "true")
        assert session.state(second) == "SCHED"
        gate.touch()
        session("job", "wait", second)
        assert session.job(second)["t_run"] >= session.job(first)["t_cleanup"]


def test_job_that_ended_meanwhile_is_collected(statedir, gate):
    with Session(statedir) as session:
        good = session("submit", "sh", "-c", f"{GATE.format(gate)}; echo done")
        bad = session("submit", "sh", "-c", f"{GATE.format(gate)}; exit 7")
        for jobid in (good, bad):
            until(lambda jobid=jobid: any(e["name"] == "start" for e in session.events(jobid)), "start")
        session.kill()
    gate.touch()
    until(lambda: not job_processes(good) and not job_processes(bad), "jobs to end")
    time.sleep(0.2)
    with Session(statedir) as session:
        session.wait_state(good, "INACTIVE")
        session.wait_state(bad, "INACTIVE")
        assert session.job(good)["result"] == "COMPLETED"
        assert session("job", "attach", good) == "done"
        assert session.job(bad)["returncode"] == 7


def test_job_whose_supervisor_was_killed_is_lost(statedir, tmp_path):
    with Session(statedir) as session:
        jobid = session("submit", "sleep", "60")
        session.wait_state(jobid, "RUN")
        number = session("job", "id", jobid)
        session.kill()
    os.kill(claim_of(tmp_path / "state", number)["pid"], signal.SIGKILL)
    with Session(statedir) as session:
        session.wait_state(jobid, "INACTIVE")
        job = session.job(jobid)
        assert job["result"] == "FAILED"
        assert "job lost: its supervisor process was killed" in job["exception"]["note"]
        assert "lost" in session.log()
    until(lambda: not job_processes(jobid), "what it left to be gone")


def test_supervisor_killed_under_a_live_broker(tmp_path, statedir):
    with Session(statedir) as session:
        jobid = session("submit", "sleep", "60")
        session.wait_state(jobid, "RUN")
        number = session("job", "id", jobid)
        claim = claim_of(tmp_path / "state", number)
        until(lambda: any(e["name"] == "start" for e in session.events(jobid)), "start")
        os.kill(claim["pid"], signal.SIGKILL)
        session.wait_state(jobid, "INACTIVE")
        assert "lost" in session.job(jobid)["exception"]["note"]
        until(lambda: not job_processes(jobid), "what it left to be gone")


def no_claims(tmp_path):
    """No job was ever started. (A job's claim may outlive its end for a moment.)"""
    for path in (tmp_path / "state").glob("claims-*/*"):
        path.unlink(missing_ok=True)


def test_committed_launch_that_was_not_made_is_made_once(statedir, tmp_path, gate):
    """The broker dies between the commit of a launch and the launch."""
    log, command = spawn_counter(tmp_path, gate)
    gate.touch()
    with Session(statedir) as session:
        jobid = session("submit", *command)
        session("job", "wait", jobid)
        number = int(session("job", "id", jobid))
        session.kill()
    log.unlink()
    no_claims(tmp_path)
    database = sqlite3.connect(tmp_path / "state" / "session.sqlite")
    with database:
        info = json.loads(database.execute("SELECT info FROM jobs").fetchone()[0])
        for key in ("t_cleanup", "t_inactive", "waitstatus"):
            info.pop(key)
        database.execute("UPDATE jobs SET state=16, info=? WHERE id=?", (json.dumps(info), number))
        database.execute("DELETE FROM events WHERE id=? AND seq > 4", (number,))
    database.close()
    with Session(statedir) as session:
        session("job", "wait", jobid)
        assert session.job(jobid)["result"] == "COMPLETED"
    assert log.read_text() == "start\nend\n"


def test_launch_of_another_boot_is_not_made(statedir, tmp_path, gate):
    log, command = spawn_counter(tmp_path, gate)
    gate.touch()
    with Session(statedir) as session:
        jobid = session("submit", *command)
        session("job", "wait", jobid)
        number = int(session("job", "id", jobid))
        session.kill()
    log.unlink()
    no_claims(tmp_path)
    database = sqlite3.connect(tmp_path / "state" / "session.sqlite")
    with database:
        database.execute("UPDATE jobs SET state=16, launch='{\"boot\":\"x\"}' WHERE id=?", (number,))
        database.execute("DELETE FROM events WHERE id=? AND seq > 4", (number,))
    database.close()
    with Session(statedir) as session:
        session.wait_state(jobid, "INACTIVE")
        assert "the machine was restarted" in session.job(jobid)["exception"]["note"]
    assert not log.exists()


def test_killed_again_and_again(statedir, tmp_path):
    """Each of many jobs starts exactly once, however often the session dies."""
    log = tmp_path / "starts"
    jobids = []
    for _ in range(4):
        with Session("-s4", statedir) as session:
            for _ in range(6):
                jobids.append(session("submit", "sh", "-c", f"echo $FLUX_JOB_ID >>{log}; sleep 0.2"))
            session.kill()
    with Session("-s4", statedir) as session:
        for jobid in jobids:
            session("job", "wait", jobid)
        results = {session.job(jobid)["result"] for jobid in jobids}
    assert results == {"COMPLETED"}
    assert sorted(log.read_text().split()) == sorted(jobids)


def test_killed_while_submitting(statedir):
    """What submit has answered for is there."""
    with Session("--no-sched", statedir) as session:
        submitting = session.popen("submit", "--cc=1-30000", "true")
        answered = [submitting.stdout.readline().strip()]
        session.kill()
        answered += submitting.stdout.read().split()
        submitting.wait()
    assert 0 < len(answered) < 30000
    with Session("--no-sched", statedir) as session:
        there = set(session("jobs", "-c0", "-no", "{id}").split())
        assert set(answered) <= there


def test_cancel_of_a_found_again_job(statedir):
    with Session(statedir) as session:
        jobid = session("submit", "sleep", "60")
        session.wait_state(jobid, "RUN")
        session.kill()
    with Session(statedir) as session:
        session("cancel", jobid)
        session.wait_state(jobid, "INACTIVE")
        assert session.job(jobid)["result"] == "CANCELED"
    assert not job_processes(jobid)


def test_time_limit_holds_without_a_broker(statedir):
    with Session(statedir) as session:
        jobid = session("submit", "-t", "1s", "sleep", "60")
        session.wait_state(jobid, "RUN")
        session.kill()
    until(lambda: not job_processes(jobid), "time limit")
    with Session(statedir) as session:
        session.wait_state(jobid, "INACTIVE")
        assert session.job(jobid)["result"] == "TIMEOUT"


def test_pretended_run_goes_on(statedir):
    with Session(statedir) as session:
        jobid = session("submit", "--setattr=exec.test.run_duration=1.5s", "nosuch")
        session.wait_state(jobid, "RUN")
        session.kill()
    with Session(statedir) as session:
        session.wait_state(jobid, "INACTIVE")
        job = session.job(jobid)
        assert job["result"] == "COMPLETED"
        assert 1.4 < job["runtime"] < 10


def test_kvs_record_and_drain_survive(statedir):
    with Session("-s2", statedir) as session:
        session("kvs", "put", "a.b=1")
        session("resource", "drain", "1", "bad", "ram")
        jobid = session("submit", "true")
        session("job", "wait", jobid)
        until(lambda: session.run("kvs", "get", "lwj.1.state").stdout == "complete\n", "record")
        session.kill()
    with Session("-s2", statedir) as session:
        assert session("kvs", "get", "a.b") == "1"
        assert "bad ram" in session("resource", "drain")
        second = session("submit", "true")
        session("job", "wait", second)
        number = session("job", "id", second)
        until(lambda: session.run("kvs", "get", "lwj.2.id").stdout.strip() == number, "record")


def test_jobs_of_before_reach_the_new_session(statedir):
    """FLUX_URI of a job that outlives its broker leads to the next one."""
    with Session(statedir) as session:
        jobid = session("submit", "sh", "-c", "sleep 1.5; flux getattr broker.pid")
        session.wait_state(jobid, "RUN")
        session.kill()
    with Session(statedir) as session:
        assert session("job", "attach", jobid) == str(session.process.pid)


def test_end_of_session_ends_running_and_keeps_waiting(statedir):
    with Session(statedir) as session:
        running = session("submit", "sleep", "60")
        session.wait_state(running, "RUN")
        waiting = session("submit", "--urgency=hold", "true")
        assert session.close() == 0
    assert not job_processes(running)
    with Session(statedir) as session:
        assert session.job(running)["result"] == "CANCELED"
        assert session.state(waiting) == "SCHED"


def test_second_session_on_a_statedir_is_refused(statedir, tmp_path):
    with Session(statedir) as session:
        done = flux("start", statedir, "true")
        assert done.returncode == 1
        assert done.stderr.strip().endswith(f"in use by another session (pid {session.process.pid})")
        assert session("getattr", "statedir") == str(tmp_path / "state")


def test_command_ends_with_its_session(statedir, tmp_path):
    session = Session(statedir, TMPDIR=str(tmp_path))
    pids = [pid for pid, _ in children(session.process.pid)]
    assert pids
    session.kill()
    until(lambda: not any(alive(pid) for pid in pids), "command and launcher to end")


def test_launcher_that_is_killed_is_started_again():
    with Session() as session:
        assert session("run", "echo", "one") == "one"
        launcher = [pid for pid, command in children(session.process.pid) if "runner" in command]
        assert len(launcher) == 1
        os.kill(launcher[0], signal.SIGKILL)
        until(lambda: not alive(launcher[0]), "launcher to end")
        assert session("run", "echo", "two") == "two"
        assert "started again" in session.log()


def test_smaller_machine_after_a_restart(statedir):
    """A job that runs where nothing is any more is ended, and says why."""
    with Session("-s3", statedir) as session:
        jobid = session("submit", "--requires=rank:2", "sleep", "60")
        session.wait_state(jobid, "RUN")
        other = session("submit", "--requires=rank:0", "sleep", "60")
        session.wait_state(other, "RUN")
        session.kill()
    with Session("-s1", statedir) as session:
        session.wait_state(jobid, "INACTIVE")
        assert session.job(jobid)["exception"]["type"] == "scheduler-restart"
        assert session.state(other) == "RUN"
    assert not job_processes(jobid)


def test_commands_notice_that_the_session_has_gone(tmp_path):
    with Session(TMPDIR=str(tmp_path)) as session:
        running = session.popen("run", "sleep", "60")
        until(lambda: session("jobs", "-n"), "job")
        jobid = session("job", "last")
        session.kill()
        _, err = running.communicate(timeout=20)
        assert (running.returncode, err) == (1, "flux-run: lost the connection to the session\n")
        assert "cannot reach the session" in session.fail("jobs")
    for pid in job_processes(jobid):
        os.kill(pid, signal.SIGKILL)
