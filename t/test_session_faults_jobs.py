# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Faults under which jobs run: paths that block, full disks, killed and stopped processes, few descriptors."""

import json
import os
import random
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest

from embedded import FLUX, Session, alive, children, claim_of, clean_environment, job_processes, until
from fluxsched.session.runner import cgroups


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    config = tmp_path_factory.mktemp("session") / "flux.json"
    config.write_text(json.dumps({"exec": {"kill-timeout": "0.5s"}}))
    with Session("-s4", f"--config-path={config}") as session:
        yield session


@pytest.fixture
def fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def launcher(session):
    return next(pid for pid, command in children(session.process.pid) if "runner" in command)


def launcher_of(pid):
    """The launcher that a supervisor is a child of."""
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def supervisor(session, jobid):
    until(lambda: any(event["name"] == "start" for event in session.events(jobid)), "start")
    return claim_of(session("getattr", "statedir"), session("job", "id", jobid))["pid"]


# paths that block


@pytest.mark.parametrize("option", ["--output", "--error", "--input"])
def test_time_limit_of_a_job_with_a_fifo_that_nobody_opens(session, fifo, option):
    jobid = session("submit", "-t0.3s", f"{option}={fifo}", "cat")
    session.wait_state(jobid, "INACTIVE")
    job = session.job(jobid)
    assert (job["result"], job["returncode"]) == ("TIMEOUT", 143)
    assert not any(event["name"] == "start" for event in session.events(jobid))


@pytest.mark.parametrize("option", ["--output", "--input"])
def test_cancel_of_a_job_with_a_fifo_that_nobody_opens(session, fifo, option):
    jobid = session("submit", f"{option}={fifo}", "cat")
    session.wait_state(jobid, "RUN")
    session("cancel", jobid)
    session.wait_state(jobid, "INACTIVE")
    assert session.job(jobid)["result"] == "CANCELED"


def test_fifo_that_is_opened_later(session, fifo):
    jobid = session("submit", f"--output={fifo}", "echo", "through")
    session.wait_state(jobid, "RUN")
    assert fifo.read_text() == "through\n"
    session("job", "wait", jobid)
    jobid = session("submit", f"--input={fifo}", "cat")
    session.wait_state(jobid, "RUN")
    fifo.write_text("in\n")
    assert session("job", "attach", jobid) == "in"


def test_fifo_whose_reader_stops_reading(session, fifo):
    """The other stream goes on, and the job can be ended; what was not taken is told."""
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    err = fifo.parent / "err"
    script = "echo one >&2; (head -c 9000000 /dev/zero &); sleep 0.2; echo two >&2; sleep 60"
    jobid = session("submit", f"--output={fifo}", f"--error={err}", "sh", "-c", script)
    until(lambda: err.exists() and err.read_text() == "one\ntwo\n", "the other stream")
    session("cancel", jobid)
    session.wait_state(jobid, "INACTIVE")
    os.close(reader)
    notes = [event["context"]["note"] for event in session.events(jobid) if event["name"] == "exception"]
    assert any("bytes were not taken before the job was ended" in note for note in notes), notes


def test_session_ends_with_a_job_that_blocks(fifo, tmp_path):
    with Session(TMPDIR=str(tmp_path)) as session:
        jobid = session("submit", f"--output={fifo}", "true")
        session.wait_state(jobid, "RUN")
        runner = launcher(session)
    until(lambda: not alive(runner), "the launcher to end")


# output that cannot be written


def test_full_disk_under_one_stream(session, tmp_path):
    err = tmp_path / "err"
    script = "echo gone; echo one >&2; sleep 0.3; echo two >&2"
    jobid = session("submit", "--output=/dev/full", f"--error={err}", "sh", "-c", script)
    session.wait_state(jobid, "INACTIVE")
    assert err.read_text() == "one\ntwo\n"
    job = session.job(jobid)
    assert (job["result"], job["returncode"]) == ("FAILED", 1)
    notes = [event["context"]["note"] for event in session.events(jobid) if event["name"] == "exception"]
    assert notes == ["output lost: /dev/full: No space left on device"]
    assert "type=output severity=1 output lost" in session.run("job", "attach", jobid).stderr


# killed and stopped processes


def test_processes_of_a_killed_supervisor_end_with_it(session, tmp_path):
    """Those that have left the job's group and environment, too; before the job counts as over."""
    pids = tmp_path / "pids"
    away = f"env -i setsid sh -c 'echo $$ >>{pids}; exec sleep 60'"
    jobid = session("submit", "sh", "-c", f"{away} & (setsid {away} &) ; sleep 60")
    until(lambda: pids.exists() and len(pids.read_text().split()) == 2, "two processes")
    os.kill(supervisor(session, jobid), signal.SIGKILL)
    session.wait_state(jobid, "INACTIVE")
    assert not any(alive(pid) for pid in pids.read_text().split())
    assert "its supervisor process was killed" in session.job(jobid)["exception"]["note"]


def test_processes_of_a_supervisor_that_is_killed_after_the_broker(tmp_path):
    statedir, pids = f"--statedir={tmp_path}/state", tmp_path / "pids"
    with Session(statedir) as session:
        jobid = session("submit", "sh", "-c", f"env -i setsid sh -c 'echo $$ >>{pids}; exec sleep 60' & wait")
        until(lambda: pids.exists() and pids.read_text().endswith("\n"), "a process")
        pid = supervisor(session, jobid)
        session.kill()
    os.kill(pid, signal.SIGKILL)
    with Session(statedir) as session:
        session.wait_state(jobid, "INACTIVE")
        assert not alive(pids.read_text().strip())


def test_launcher_that_goes_on_after_its_broker_was_killed(tmp_path):
    """It runs nothing that the next broker has run."""
    statedir, log = f"--statedir={tmp_path}/state", tmp_path / "log"
    with Session(statedir) as session:
        old = launcher(session)
        os.kill(old, signal.SIGSTOP)
        jobid = session("submit", "sh", "-c", f"echo start >>{log}")
        session.wait_state(jobid, "RUN")
        session.kill()
    with Session(statedir) as session:
        session.wait_state(jobid, "INACTIVE")
        assert session.job(jobid)["result"] == "COMPLETED"
        time.sleep(0.1)  # its record is tidied
        os.kill(old, signal.SIGCONT)
        until(lambda: not alive(old), "the old launcher to end")
    assert log.read_text() == "start\n"
    assert os.listdir(tmp_path / "state" / "jobs") == []


def test_forks_of_a_job_whose_supervisor_and_launcher_were_killed(tmp_path):
    """The job counts as over when the last process of it has died, those that it forked meanwhile, too."""
    statedir = f"--statedir={tmp_path}/state"
    with Session(statedir) as session:
        jobid = session("submit", "sh", "-c", "while :; do sleep 60 & sleep 0.01; done")
        pid = supervisor(session, jobid)
        session.kill()
        for killed in (launcher_of(pid), pid):
            os.kill(killed, signal.SIGKILL)
    with Session(statedir) as session:
        session.wait_state(jobid, "INACTIVE")
        assert not job_processes(jobid)
        assert "its supervisor process was killed" in session.job(jobid)["exception"]["note"]


def test_kills_at_random(tmp_path):
    """Whatever is killed, each job starts once at most, and nothing of it is left."""
    statedir, log = f"--statedir={tmp_path}/state", tmp_path / "log"
    chance = random.Random(1)
    jobids = []
    for _ in range(4):
        with Session("-s8", statedir) as session:
            jobids += [session("submit", "sh", "-c", f"echo $FLUX_JOB_ID >>{log}; sleep 0.5") for _ in range(4)]
            time.sleep(chance.random() * 0.3)
            runners = [launcher(session)]
            runners += [pid for pid, _ in children(runners[0])]
            if chance.random() < 0.7:
                os.kill(chance.choice(runners), signal.SIGKILL)
            session.kill()
    with Session("-s8", statedir) as session:
        for jobid in jobids:
            session.wait_state(jobid, "INACTIVE")
            assert not job_processes(jobid)
            result, names = session.job(jobid)["result"], [event["name"] for event in session.events(jobid)]
            assert names.count("start") <= 1 and names.count("finish") == 1
            assert (result == "COMPLETED") == (session.job(jobid)["returncode"] == 0)
    started = log.read_text().split()
    assert len(started) == len(set(started))


def test_events_are_told_once(tmp_path):
    config, gate = tmp_path / "flux.json", tmp_path / "gate"
    config.write_text(json.dumps({"exec": {"kill-timeout": "1h"}}))
    options = [f"--statedir={tmp_path}/state", f"--config-path={config}"]
    with Session(*options) as session:
        jobid = session("submit", "-t1s", "sh", "-c", f"trap '' TERM; until [ -e {gate} ]; do sleep 0.05; done")
        until(lambda: any(event["name"] == "start" for event in session.events(jobid)), "start")
        session.kill()
    for _ in range(2):
        with Session(*options) as session:
            session.wait_state(jobid, "CLEANUP")
            session.kill()
    with Session(*options) as session:
        gate.touch()
        session.wait_state(jobid, "INACTIVE")
        names = [event["name"] for event in session.events(jobid)]
    assert [names.count(name) for name in ("start", "exception", "finish")] == [1, 1, 1]


# descriptors


@pytest.mark.parametrize("soft, hard, njobs", [(40, 40, 60), (100, None, 130)])
def test_few_descriptors(tmp_path, soft, hard, njobs):
    """Jobs wait for descriptors, and all of them run; the limit of jobs is that of who opened the session."""
    hard = hard or resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    script = (
        f"flux submit --cc=1-{njobs} --quiet --wait sleep 0.2; echo $?; ulimit -n; flux run sh -c 'ulimit -n'; "
        "flux jobs -a -c0 -no {result} | sort | uniq -c"
    )
    done = subprocess.run(
        [*FLUX, "start", "-s", str(njobs), "sh", "-c", script],
        env=clean_environment(), capture_output=True, text=True, timeout=100, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
    )  # fmt: skip
    assert done.stdout.split() == ["0", str(soft), str(soft), str(njobs + 1), "COMPLETED"], done


def test_job_with_more_tasks_than_descriptors(tmp_path):
    done = subprocess.run(
        [*FLUX, "start", "flux", "run", "-N1", "--tasks-per-node=60", "sleep", "60"],
        env=clean_environment(), capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60)),
    )  # fmt: skip
    assert done.returncode == 1
    assert "start failed: Too many open files" in done.stderr


def test_supervisor_and_launcher_killed_together(tmp_path):
    """Who has the job's environment or its group is found and ended."""
    pids = tmp_path / "pids"
    note = f"echo $$ >>{pids}; exec sleep 60"
    with Session() as session:
        script = f"setsid sh -c '{note}' & env -i sh -c '{note}' & wait"
        jobid = session("submit", "sh", "-c", script)
        until(lambda: pids.exists() and len(pids.read_text().split()) == 2, "two processes")
        both = [launcher(session), supervisor(session, jobid)]
        for pid in both:
            os.kill(pid, signal.SIGKILL)
        session.wait_state(jobid, "INACTIVE")
        until(lambda: not any(alive(pid) for pid in pids.read_text().split()), "its processes to end")
        assert session("run", "echo", "on") == "on"


def test_tasks_join_the_group_of_a_first_task_that_has_ended(session):
    for _ in range(5):
        done = session.run("run", "-N4", "--tasks-per-node=4", "true")
        assert (done.returncode, done.stderr) == (0, "")


# control groups


@pytest.fixture
def groups():
    """The folder in which sessions make their control groups; skipped where they may make none."""
    made = cgroups.base()
    if made is None:
        pytest.skip("no control groups: neither root nor in a delegated group (cgroup v2)")
    cgroups.leave(made)
    return os.path.dirname(made)


def group_of(session, jobid):
    """The folder of a running job's control group."""
    supervisor(session, jobid)
    number = session("job", "id", jobid)
    return Path(claim_of(session("getattr", "statedir"), number)["cgroup"])


def test_process_that_has_left_everything_is_found_by_its_control_group(tmp_path, groups):
    """Its session, its environment, its supervisor and its launcher are gone; and it has made a group of its own."""
    pids, go = tmp_path / "pids", tmp_path / "go"
    os.mkfifo(go)
    with Session() as session:
        away = f"read own <{go}; mkdir $own; echo $$ >$own/cgroup.procs; exec env -i sleep 60"
        jobid = session("submit", "sh", "-c", f"(setsid sh -c 'echo $$ >>{pids}; {away}') & wait")
        group = group_of(session, jobid)
        assert group.parent.parent == Path(groups)
        go.write_text(f"{group}/own\n")
        until(lambda: pids.exists() and pids.read_text().endswith("\n"), "a process")
        pid = pids.read_text().strip()
        until(lambda: Path(f"/proc/{pid}/environ").read_bytes() == b"", "its environment to be empty")
        for killed in (launcher(session), supervisor(session, jobid)):
            os.kill(killed, signal.SIGKILL)
        session.wait_state(jobid, "INACTIVE")
        assert not alive(pid)
        assert "its supervisor process was killed" in session.job(jobid)["exception"]["note"]
        assert not group.exists()
    assert not group.parent.exists()


def test_control_groups_go_with_their_jobs(tmp_path, groups):
    statedir = f"--statedir={tmp_path}/state"
    with Session(statedir) as session:
        jobid = session("submit", "sh", "-c", "cat /proc/self/cgroup; sleep 60")
        group, worker = group_of(session, jobid), supervisor(session, jobid)
        session("cancel", jobid)
        session.wait_state(jobid, "INACTIVE")
        assert f"/{group.parent.name}/{group.name}\n" in session.run("job", "attach", jobid).stdout
        assert (group / "cgroup.procs").read_text() == f"{worker}\n"
        jobid = session("submit", "sleep", "60")
        group = group_of(session, jobid)
        assert group.exists()
        pid = supervisor(session, jobid)
        session.kill()
    for killed in (launcher_of(pid), pid):
        os.kill(killed, signal.SIGKILL)
    with Session(statedir) as session:
        session.wait_state(jobid, "INACTIVE")
        assert not group.exists()
    with Session():
        assert not group.parent.exists()


def test_without_control_groups(tmp_path, monkeypatch):
    """Files that cannot be read, lines without the second version, a folder that is not ours to change."""
    assert not cgroups.enter(str(tmp_path / "no" / "such"))
    assert not (tmp_path / "no" / "such").exists()
    cgroups.clear(str(tmp_path / "nothing"))
    assert cgroups.kill(str(tmp_path / "nothing")) == 0
    monkeypatch.setattr(cgroups, "_own", lambda: None)
    assert cgroups.base() is None
    monkeypatch.setattr(cgroups, "_own", lambda: "/proc")
    assert cgroups.base() is None
