# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""An embedded session under test, driven through its commands as a person would."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fluxsched.session import jobid as ids
from fluxsched.session.commands.client import Client
from recorded import Recorded

FLUX = [sys.executable, "-m", "fluxsched.session.main"]
WAIT = 30.0  # seconds after which something that should happen has not


def until(condition, what="condition", timeout=WAIT):
    """Wait for a true value of `condition()` and return it."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"timeout waiting for {what}"
        time.sleep(0.02)


def claim_of(statedir, number):
    """The claim of a job by its decimal id, as soon as there is one."""
    def found():
        for path in Path(statedir).glob(f"claims-*/{number}"):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            return next((line for line in lines if line["job"] == int(number) and "pid" in line), None)
        return None

    return until(found, "claim")


def clean_environment(**changes):
    env = {key: value for key, value in os.environ.items() if not key.startswith("FLUX_") or key == "FLUX_MODULE_PATH"}
    env.update(changes)
    return env


def flux(*words, env=None, **options):
    """Run a flux command outside of any session; CompletedProcess with text."""
    options.setdefault("timeout", 60)
    env = env or clean_environment()
    if words[:1] != ("start",):
        return subprocess.run([*FLUX, *words], env=env, capture_output=True, text=True, check=False, **options)
    record = Recorded()
    try:
        return subprocess.run(
            [*FLUX, *words], env={**record.environment, **env}, capture_output=True, text=True, check=False, **options
        )
    finally:
        record.close()


class Session:
    """A session that lasts until it is closed or killed; its command only waits."""

    def __init__(self, *options, **environ):
        self.record = Recorded(environ.pop("FLUX_SCHED_RECORD", None))
        command = ["sh", "-c", 'echo "$FLUX_URI"; echo "$PATH"; exec cat']
        self.process = subprocess.Popen(
            [*FLUX, "start", *options, *command],
            env=clean_environment(**self.record.environment, **environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        uri = self.process.stdout.readline().strip()
        path = self.process.stdout.readline().strip()
        assert uri, self.process.stderr.read()
        self.uri = uri
        self.env = clean_environment(FLUX_URI=uri, PATH=path, **environ)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def run(self, *words, **options):
        """A flux command in the session; CompletedProcess."""
        env = dict(self.env, **options.pop("env", {}))
        return flux(*words, env=env, **options)

    def __call__(self, *words, **options):
        """The output of a flux command that must succeed."""
        done = self.run(*words, **options)
        assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout.strip()

    def fail(self, *words, **options):
        """The standard error of a command that must fail with one clear error."""
        done = self.run(*words, **options)
        assert done.returncode not in (0, None), (words, done.stdout)
        assert done.stderr.strip(), words
        assert "Traceback" not in done.stderr, done.stderr
        return done.stderr.strip()

    def popen(self, *words, **options):
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen([*FLUX, *words], env=self.env, text=True, **options)

    def ask(self, topic, **payload):
        """The answer to a request, without a command; for what is asked again and again."""
        client = Client(self.uri)
        try:
            return client.rpc(topic, payload)
        finally:
            client.close()

    def job(self, jobid):
        """What flux jobs --json shows of a job."""
        return self.ask("job.list", ids=[ids.parse(jobid)])["jobs"][0]

    def state(self, jobid):
        return self.job(jobid)["state"]

    def events(self, jobid):
        """What flux job eventlog --format=json shows of a job."""
        return self.ask("job.info", id=ids.parse(jobid), key="eventlog")["value"]

    def wait_state(self, jobid, state):
        until(lambda: self.state(jobid) == state, f"{jobid} to be {state}")

    def log(self):
        return self("dmesg")

    def kill(self):
        """SIGKILL to the broker."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(WAIT)
        self._close_pipes()
        self.record.close()

    def _close_pipes(self):
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def close(self):
        """End the session as its command ends; its exit code."""
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.stdin = None
            self.process.wait(WAIT)
        self._close_pipes()
        self.record.close()
        return self.process.returncode


def configured(folder, config):
    """The option by which a session has a configuration, which is written into a folder."""
    path = folder / "flux.json"
    path.write_text(json.dumps(config))
    return f"--config-path={path}"


def alive(pid):
    """Whether a process runs (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def job_processes(jobid):
    """Process ids with this job's FLUX_JOB_ID, in sessions of this test process: others' jobs may have that id, too."""
    marks = {f"FLUX_JOB_ID={jobid}".encode()}
    own = ("PYTEST_XDIST_TESTRUNUID", "PYTEST_XDIST_WORKER")
    marks |= {f"{name}={os.environ[name]}".encode() for name in own if name in os.environ}
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and alive(entry):
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if marks <= set(file.read().split(b"\0")):
                        found.append(int(entry))
            except OSError:
                continue
    return found


def children(pid):
    """(process id, command line) of each child, zombies left out."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and alive(entry):
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
                if parent == pid:
                    with open(f"/proc/{entry}/cmdline") as file:
                        found.append((int(entry), file.read().replace("\0", " ").rstrip()))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def open_terminal():
    """The two ends of a pseudo terminal; the test is skipped where the machine has none to give."""
    try:
        return os.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo terminal: {error.strerror}")


def stripped(text):
    """Without time stamps."""
    return re.sub(r"\d+\.\d+", "T", text)
