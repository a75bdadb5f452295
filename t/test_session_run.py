# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobs of a session are real processes: their surroundings, output, end and exit code."""

import errno
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from embedded import FLUX, Session, clean_environment, flux, job_processes, open_terminal, until
from fluxsched.session import starting

CPUS = sorted(os.sched_getaffinity(0))
TOP = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    config = tmp_path_factory.mktemp("session") / "flux.json"
    config.write_text(json.dumps({"exec": {"kill-timeout": "0.5s"}}))
    with Session("-s3", f"--config-path={config}") as session:
        yield session


def test_exit_codes(session):
    assert session.run("run", "true").returncode == 0
    done = session.run("run", "sh", "-c", "exit 3")
    assert (done.returncode, done.stderr) == (3, "flux-job: task(s) exited with exit code 3\n")
    done = session.run("run", "sh", "-c", "kill -9 $$")
    assert (done.returncode, done.stderr) == (137, "flux-job: task(s) Killed\n")
    assert session.run("run", "-n3", "sh", "-c", "exit $FLUX_TASK_RANK").returncode == 2


def test_command_that_does_not_exist(session):
    done = session.run("run", "no-such-command")
    assert done.returncode == 127
    assert "start failed: no-such-command: No such file or directory" in done.stderr
    assert "no-such-command: No such file or directory" in session.log()
    done = session.run("run", "/etc/passwd")
    assert done.returncode == 126
    assert "Permission denied" in done.stderr


def test_script_that_nothing_runs(session, tmp_path):
    for name, data, said in (
        ("dos", b"#!/bin/sh\r\ntrue\r\n", "its first line, #!/bin/sh, ends with a carriage return, as lines of Windows "
                                         "do"),
        ("none", b"#! /no/such -x\ntrue\n", "/no/such, which its first line names, is not there"),
    ):
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o755)
        done = session.run("run", f"./{name}", cwd=tmp_path)
        assert (done.returncode, f"start failed: ./{name}: {said}" in done.stderr) == (127, True), done.stderr
        done = session.run("start", f"./{name}", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (127, f"flux-start: ./{name}: {said}\n")
        for words in (("exec", f"./{name}"), ("env", f"./{name}")):
            done = session.run(*words, cwd=tmp_path)
            assert (done.returncode, done.stderr) == (127, f"flux-{words[0]}: ./{name}: {said}\n")
    assert session.fail("exec", "none", cwd=tmp_path) == "flux-exec: none: No such file or directory"
    assert starting.reason(errno.EACCES, [b"/bin/sh"]) == "Permission denied"
    assert starting.reason(errno.ENOENT, ["/none", "/bin", "/bin/sh"]) == "the loader that it needs is not there"


def test_environment(session):
    names = "FLUX_JOB_ID FLUX_JOB_SIZE FLUX_JOB_NNODES FLUX_TASK_RANK FLUX_TASK_LOCAL_ID CUDA_VISIBLE_DEVICES"
    script = " ".join(f"${name}" for name in names.split())
    out = session("run", "-N2", "-n4", f"-c{max(1, len(CPUS) // 2)}", "-l", "sh", "-c", f"echo {script}")
    rows = dict(line.split(": ") for line in sorted(out.splitlines()))
    assert [rows[str(i)].split()[1:] for i in range(4)] == [
        ["4", "2", "0", "0", "-1"],
        ["4", "2", "1", "1", "-1"],
        ["4", "2", "2", "0", "-1"],
        ["4", "2", "3", "1", "-1"],
    ]
    jobid = rows["0"].split()[0]
    assert session.job(jobid)["ntasks"] == 4
    tmpdir = session("run", "sh", "-c", 'echo $FLUX_JOB_TMPDIR; test -d "$FLUX_JOB_TMPDIR"')
    until(lambda: not os.path.exists(tmpdir), "removal of the job's tmpdir")


def test_environment_rules(session):
    env = {"FOO": "1", "FOX": "2", "BAR": "3"}
    show = ["sh", "-c", "echo $FOO.$FOX.$BAR.$NEW"]
    assert session("run", *show, env=env) == "1.2.3."
    assert session("run", "--env=-FO*", *show, env=env) == "..3."
    assert session("run", "--env-remove=FO?", "--env=NEW=$BAR$BAR", *show, env=env) == "..3.33"
    assert session("run", "--env=-*", "--env=PATH", "--env=FOO", *show, env=env) == "1..."
    # a pattern adds what is not there, as in flux-core: it takes nothing away
    assert session("run", "--env=FOO=5", "--env=F*", *show, env=env) == "5.2.3."
    assert session("run", "--env=PATH", *show, env=env) == "1.2.3."
    words = ["run", "-n2", "-l", "--env=NEW=t{{taskid}}-{{size}}-$BAR", "--env=FOO={{odd}}"]
    assert sorted(session(*words, *show, env=env).splitlines()) == [
        "0: {{odd}}.2.3.t0-2-$BAR", "1: {{odd}}.2.3.t1-2-$BAR",
    ]  # fmt: skip
    for value in ("5", '{"A":1}', '{"A=B":"x"}'):
        refused = session.fail("submit", "-o", f"env-expand={value}", "true")
        assert "env-expand: expected an object of strings" in refused
    assert "variable 'NONE' not found" in session.fail("run", "--env=NEW=$NONE", "true")


def test_each_rank_has_its_uri(session):
    assert sorted(session("run", "-N3", "flux", "getattr", "rank").split()) == ["0", "1", "2"]


def test_working_directory(session, tmp_path):
    assert session("run", "pwd", cwd=tmp_path) == str(tmp_path)
    assert session("run", "--cwd", tmp_path, "pwd") == str(tmp_path)
    done = session.run("run", "--cwd=/nonexistent", "pwd")
    assert done.stdout == "/tmp\n"
    assert "Could not change dir to /nonexistent" in done.stderr


@pytest.mark.skipif(len(CPUS) < 2, reason="needs two cores")
def test_tasks_are_pinned_to_their_cores(session):
    show = ["sh", "-c", "grep Cpus_allowed_list /proc/self/status | cut -f2"]
    assert sorted(session("run", "-n2", "--requires=rank:0", *show).split()) == [str(cpu) for cpu in CPUS[:2]]
    whole = session("run", "-N1", "python3", "-c", "import os; print(sorted(os.sched_getaffinity(0)))")
    assert json.loads(whole) == CPUS


def test_output(session):
    done = session.run("run", "-n2", "-l", "sh", "-c", "echo out; echo err >&2")
    assert sorted(done.stdout.splitlines()) == ["0: out", "1: out"]
    assert sorted(done.stderr.splitlines()) == ["0: err", "1: err"]
    jobid = session("submit", "sh", "-c", "printf unfinished; exit 4")
    done = session.run("job", "attach", jobid)
    assert (done.stdout, done.returncode) == ("unfinished", 4)
    assert session.run("job", "attach", jobid).stdout == "unfinished"


def test_output_of_bytes(session):
    words = [*FLUX, "run", "printf", r"\303\251\377\000x"]
    done = subprocess.run(words, env=session.env, capture_output=True, check=True)
    assert done.stdout == b"\xc3\xa9\xff\x00x"


def test_much_output(session):
    done = session.run("run", "seq", "300000")
    assert done.stdout.split() == [str(i) for i in range(1, 300001)]


def test_output_files(session, tmp_path):
    spelled = ["--output=out.{{id}}.{{taskid}}", "--error=err.{{name}}"]
    jobid = session("submit", "-n2", "--job-name=jn", *spelled, "sh", "-c", "echo o; echo e >&2", cwd=tmp_path)
    session("job", "wait", jobid)
    assert (tmp_path / f"out.{jobid}.0").read_text() == (tmp_path / f"out.{jobid}.1").read_text() == "o\n"
    assert (tmp_path / "err.jn").read_text() == "e\ne\n"
    session("run", "-l", "--output=both", "sh", "-c", "echo o; echo e >&2", cwd=tmp_path)
    assert sorted((tmp_path / "both").read_text().splitlines()) == ["0: e", "0: o"]
    done = session.run("run", "--output=/nonexistent/x", "true")
    assert done.returncode == 1
    assert "/nonexistent/x: No such file or directory" in done.stderr


def test_stdin(session, tmp_path):
    text = "".join(f"line {i}\n" for i in range(20000))
    assert session.run("run", "cat", input=text).stdout == text
    assert session.run("run", "head", "-1", input=text).stdout == "line 0\n"
    assert session.run("run", "-n2", "cat", input="a\n").stdout == "a\na\n"
    (tmp_path / "in").write_text("from file\n")
    with open(tmp_path / "in") as file:
        assert session("run", "cat", stdin=file) == "from file"
    jobid = session("submit", f"--input={tmp_path}/in", "cat")
    assert session("job", "attach", jobid) == "from file"
    jobid = session("submit", "cat")
    assert session("job", "attach", jobid) == ""


def test_time_limit(session):
    done = session.run("run", "-t", "0.3s", "sleep", "60")
    assert done.returncode == 143
    assert "type=timeout severity=0 resource allocation expired" in done.stderr


def test_time_limit_kills_what_ignores_it(session):
    script = 'trap "" TERM; sleep 60 & setsid sleep 61 & sleep 62'
    jobid = session("submit", "-t", "0.5s", "sh", "-c", script)
    session.wait_state(jobid, "INACTIVE")
    job = session.job(jobid)
    assert job["result"] == "TIMEOUT"
    assert job["returncode"] in (137, 143)
    assert not job_processes(jobid)


def test_processes_left_behind_are_ended(session):
    """A task that exits leaves nothing on its cores, in its process group or out of it."""
    script = "sleep 60 >/dev/null 2>&1 & setsid sleep 61 >/dev/null 2>&1 & (setsid sleep 62 >/dev/null 2>&1 &) ; exit 5"
    jobid = session("submit", "sh", "-c", script)
    session.run("job", "wait", jobid)
    assert session.job(jobid)["returncode"] == 5
    assert not job_processes(jobid)


def test_process_of_another_thread_is_ended(session):
    """Its parent is a thread of the task, and stays."""
    code = (
        "import subprocess, threading, time\n"
        "def work(): subprocess.Popen(['setsid', 'sleep', '63'])\n"
        "t = threading.Thread(target=work); t.start(); t.join(); print('here', flush=True); time.sleep(60)"
    )
    jobid = session("submit", "-t", "0.8s", "python3", "-c", code)
    session.wait_state(jobid, "INACTIVE")
    assert session.job(jobid)["result"] == "TIMEOUT"
    assert not job_processes(jobid)


def test_output_held_open_is_waited_for(session):
    jobid = session("submit", "sh", "-c", "(sleep 0.4; echo late) & exit 0")
    assert session("job", "attach", jobid) == "late"


def test_cancel_running(session):
    jobid = session("submit", "-n2", "sleep", "60")
    session.wait_state(jobid, "RUN")
    session("cancel", "-m", "enough", jobid)
    session.wait_state(jobid, "INACTIVE")
    job = session.job(jobid)
    assert (job["result"], job["exception"]["note"], job["returncode"]) == ("CANCELED", "enough", 143)
    assert not job_processes(jobid)


def test_kill_and_raise(session):
    jobid = session("submit", "sleep", "60")
    until(lambda: any(e["name"] == "start" for e in session.events(jobid)), "start")
    session("job", "raise", "-s", "5", "-t", "note", jobid, "look", "here")
    session("job", "kill", "-s", "USR1", jobid)
    session.wait_state(jobid, "INACTIVE")
    assert session.job(jobid)["returncode"] == 128 + signal.SIGUSR1
    exceptions = [e["context"] for e in session.events(jobid) if e["name"] == "exception"]
    assert [(e["type"], e["severity"], e["note"]) for e in exceptions] == [("note", 5, "look here")]


def test_pretended_run(session):
    done = session.run("run", "--setattr=exec.test.run_duration=0.2s", "no-such-command")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    jobid = session("submit", "-t", "0.2s", "--setattr=exec.test.run_duration=60s", "x")
    session.wait_state(jobid, "INACTIVE")
    assert session.job(jobid)["result"] == "TIMEOUT"
    jobid = session("submit", "--setattr=exec.test.run_duration=60s", "x")
    session.wait_state(jobid, "RUN")
    session("cancel", jobid)
    session.wait_state(jobid, "INACTIVE")
    assert session.job(jobid)["result"] == "CANCELED"


def test_interrupt_twice_cancels(session):
    running = session.popen("run", "sh", "-c", "echo here; sleep 60")
    assert running.stdout.readline() == "here\n"
    running.send_signal(signal.SIGINT)
    assert running.stderr.readline() == "flux-job: one more ctrl-C within 2s to cancel or ctrl-Z to detach\n"
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=20)
    assert running.returncode == 143
    assert "interrupted by ctrl-C" in err


def test_one_interrupt_does_nothing(session):
    running = session.popen("run", "sh", "-c", "echo here; sleep 0.7; echo there")
    assert running.stdout.readline() == "here\n"
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=20)
    assert (running.returncode, out) == (0, "there\n")


def test_run_on_a_terminal(session):
    """What is typed reaches the job, and end of file ends it."""
    main, side = open_terminal()
    running = session.popen("run", "cat", stdin=side)
    os.close(side)
    os.write(main, b"typed\n")
    assert running.stdout.readline() == "typed\n"
    os.write(main, b"\x04")
    assert running.wait(20) == 0
    os.close(main)
    running.stdout.close()
    running.stderr.close()


def test_wreckrun(session):
    assert sorted(session("wreckrun", "-N3", "-n3", "-l", "hostname").splitlines())[0].startswith("0: ")


def test_cc(session):
    ids = session("submit", "--cc=1-3", "--watch", "sh", "-c", "echo copy $FLUX_JOB_CC").splitlines()
    assert sorted(ids[3:]) == ["copy 1", "copy 2", "copy 3"]
    assert session.run("submit", "--bcc=1-2", "--wait", "--quiet", "sh", "-c", 'exit "0$FLUX_JOB_CC"').returncode == 0
    assert session.run("submit", "--wait", "sh", "-c", "exit 6").returncode == 6


def test_wide_job_gets_a_task_each(session):
    assert len(session("run", "-N3", "--tasks-per-node=5", "echo", "x").split()) == 15
    assert len(session("run", f"--cores={len(CPUS)}", "--tasks-per-core=2", "echo", "x").split()) == 2 * len(CPUS)


def test_start_passes_the_exit_code_on():
    assert flux("start", "sh", "-c", "exit 9").returncode == 9
    assert flux("start", "sh", "-c", "kill -15 $$").returncode == 143
    assert flux("start", "exit 4 && true").returncode == 4
    done = flux("start", "/no/such")
    assert (done.returncode, done.stderr) == (127, "flux-start: /no/such: No such file or directory\n")


def test_pythonpath_is_the_users(tmp_path):
    (tmp_path / "json.py").write_text("raise RuntimeError('not for the session')\n")
    show = 'echo "${PYTHONPATH-none}"'
    words = [str(TOP / "flux"), "start", f"{show}; flux run sh -c '{show}'"]
    # Ahead of it is the folder of the module flux.
    ours = str(TOP / "build/lib/fluxsched/share/python")
    for changes, expected in (({"PYTHONPATH": str(tmp_path)}, f"{ours}:{tmp_path}"), ({}, ours)):
        env = clean_environment(FLUX_SCHED_EMBEDDED="1", SHELL="/bin/sh", **changes)
        if not changes:
            env.pop("PYTHONPATH", None)
        done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{expected}\n" * 2, "")


def test_start_forwards_a_signal():
    session = Session()
    session.process.send_signal(signal.SIGTERM)
    assert session.process.wait(20) == 143
    session.close()
    assert not os.path.exists(session.uri[len("local://") :])


def test_session_leaves_nothing_behind(tmp_path):
    with Session(TMPDIR=str(tmp_path)) as session:
        assert session("run", "echo", "x") == "x"
        assert os.listdir(tmp_path)
    assert os.listdir(tmp_path) == []


def test_update_of_a_running_job(session):
    jobid = session("submit", "-t1m", "sleep", "60")
    until(lambda: any(e["name"] == "start" for e in session.events(jobid)), "start")
    session("update", jobid, "duration=+1m")
    assert session.job(jobid)["duration"] == 120
    assert session.job(jobid)["expiration"] - session.job(jobid)["t_run"] > 100
    assert "longer than that" in session.fail("update", jobid, "duration=1ms")
    begin = json.loads(session("job", "info", jobid, "R"))["execution"]["starttime"]
    session("update", jobid, f"duration={time.time() - begin + 0.7}s")
    session.wait_state(jobid, "INACTIVE")
    assert session.job(jobid)["result"] == "TIMEOUT"
    jobid = session("submit", "-t1s", "sh", "-c", "sleep 2; echo done")
    session("update", jobid, "duration=0")
    assert session("job", "attach", jobid) == "done"


def test_update_of_a_pretended_run(session):
    """It lasts as long as it was to, or as long as it may."""
    jobid = session("submit", "-t1m", "--setattr=exec.test.run_duration=1h", "x")
    session.wait_state(jobid, "RUN")
    session("update", jobid, "duration=+1m")
    job = session.job(jobid)
    assert (job["duration"], round(job["expiration"] - job["t_run"], -1)) == (120, 120)
    assert "resource-update" in [event["name"] for event in session.events(jobid)]
    assert "longer than that" in session.fail("update", jobid, "duration=1ms")
    begin = json.loads(session("job", "info", jobid, "R"))["execution"]["starttime"]
    session("update", jobid, f"duration={time.time() - begin + 1}s")
    session.wait_state(jobid, "INACTIVE")
    assert session.job(jobid)["result"] == "TIMEOUT"
    jobid = session("submit", "-t1s", "--setattr=exec.test.run_duration=2s", "x")
    session("update", jobid, "duration=+inf")
    session.wait_state(jobid, "INACTIVE")
    job = session.job(jobid)
    assert (job["result"], job["t_cleanup"] - job["t_run"] >= 1.99) == ("COMPLETED", True)
    jobid = session("submit", "-t1m", "--setattr=exec.test.run_duration=1h", "x")
    session.wait_state(jobid, "RUN")
    session("update", "-n", jobid, "duration=5m")
    assert session.job(jobid)["duration"] == 60
    assert "no time" in session.fail("update", jobid, "duration=-2m")
    session("update", jobid, "duration=0")
    assert "no time limit to add to" in session.fail("update", jobid, "duration=+2m")
    session("cancel", jobid)
    session.wait_state(jobid, "INACTIVE")


def test_update_of_a_waiting_job(session):
    blocker = session("submit", "-N3", "-x", "sleep", "60")
    session.wait_state(blocker, "RUN")
    jobid = session("submit", "-t1m", "sleep", "60")
    until(lambda: session.job(jobid)["annotations"].get("sched"), "a reason for waiting")
    session("update", jobid, "duration=0.5s")
    assert json.loads(session("job", "info", jobid, "jobspec"))["attributes"]["system"]["duration"] == 0.5
    session("cancel", blocker)
    session.wait_state(jobid, "INACTIVE")
    assert session.job(jobid)["result"] == "TIMEOUT"


@pytest.mark.parametrize("words", [["x=1"], ["duration"], ["duration=x"], ["duration=-5h"], ["duration=1e12"]])
def test_update_refuses(session, words):
    jobid = session("submit", "-t1h", "--urgency=hold", "true")
    assert session.fail("update", jobid, *words)
    session("cancel", jobid)
    assert "job is inactive" in session.fail("update", jobid, "duration=5m")
    assert "unknown job id" in session.fail("update", "12", "duration=5m")
