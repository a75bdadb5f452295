# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a job gets from its submission, and what a restart has already heard of it."""

import os
import subprocess
import sys

import pytest

from embedded import Session, job_processes, until
from fluxsched.session.broker import broker


@pytest.fixture
def statedir(tmp_path):
    return f"--statedir={tmp_path}/state"


def test_exported_functions_and_odd_names_reach_the_job():
    """No shell stands between a command and its environment."""
    with Session() as session:
        script = (
            "hi() { echo hi; }; export -f hi; flux run -n1 bash -c hi; "
            "env my.var=1 'a b=2' flux run -n1 printenv my.var 'a b'"
        )
        done = subprocess.run(["bash", "-c", script], env=session.env, capture_output=True, text=True, timeout=60)
        assert (done.stderr, done.stdout) == ("", "hi\n1\n2\n")


@pytest.mark.parametrize("folder", ["plain", "with space", "x" * 200])
def test_launcher_of_a_python_wherever_it_is(tmp_path, monkeypatch, folder):
    """A path that the first line of a script cannot hold is reached by a link."""
    (tmp_path / folder).mkdir()
    python = tmp_path / folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    if folder != "plain":
        monkeypatch.setattr(broker.sys, "executable", str(python))
    (tmp_path / "r").mkdir()
    for _ in range(2):  # in a state folder it is written again
        folder = broker.write_launcher(str(tmp_path / "r"), str(tmp_path))
    env = {"PATH": folder + os.pathsep + os.environ["PATH"], "a.b": "c"}
    done = subprocess.run(["flux", "help"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "submit" in done.stdout


def test_events_are_told_once_whatever_the_number_of_restarts(statedir):
    with Session(statedir) as session:
        jobid = session("submit", "-t", "2s", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
        until(lambda: "start" in [entry["name"] for entry in session.events(jobid)], "start")
        session.kill()
    with Session(statedir) as session:
        until(lambda: "exception" in [entry["name"] for entry in session.events(jobid)], "the time limit")
        session.kill()
    for _ in range(2):
        with Session(statedir) as session:
            session("jobs", "-a")
            session.kill()
    with Session(statedir) as session:
        session.wait_state(jobid, "INACTIVE")
        names = [entry["name"] for entry in session.events(jobid)]
        assert [names.count(name) for name in ("start", "exception", "finish")] == [1, 1, 1]
        assert session.job(jobid)["result"] == "TIMEOUT"
    assert not job_processes(jobid)
