# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Real Flux instances for the tests, with the tree's module in them.

Every wait is bounded.  Where configure found no flux-core the tests that ask
for one are skipped, and say so.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from fakehost import jobspec
from recorded import Recorded

TOP = Path(__file__).resolve().parent.parent
AGENT = Path(__file__).with_name("fluxagent.py")
WAIT = 30.0     # most seconds that anything may take


def flux_command():
    """The flux that configure found; skips the test where there is none."""
    config = json.loads((TOP / "build" / "config.json").read_text())
    if not config.get("flux"):
        pytest.skip(f"no flux-core: {config.get('flux_reason') or 'configure found none'}")
    if not (TOP / "sched" / "sched.so").exists():
        pytest.skip("sched.so is not built: Python has no shared library")
    return config["flux"]["command"]


def config_text(hosts="fake[0-3]", cores="0-3", gpus="", properties=None, more=""):
    """An instance's configuration with pretended resources."""
    lines = ["[resource]", "noverify = true", "[[resource.config]]", f'hosts = "{hosts}"', f'cores = "{cores}"']
    if gpus:
        lines.append(f'gpus = "{gpus}"')
    for name, members in (properties or {}).items():
        lines += ["[[resource.config]]", f'hosts = "{members}"', f'properties = ["{name}"]']
    return "\n".join(lines) + "\n" + more


class Instance:
    """An instance of `size` brokers, named fake0, fake1, ..., without a
    scheduler.  `config` is TOML.  With `system` it is made like a system
    instance, whose brokers may be lost and started again.  `record`: as for
    Recorded."""

    def __init__(self, folder, size=4, config=None, options=(), environment=(), system=False, record=None):
        self.record = Recorded(record)
        self.command = flux_command()
        self.folder = Path(folder)
        uri = self.folder / "uri"
        uri.unlink(missing_ok=True)
        path = self.folder / "config.toml"
        path.write_text(config if config is not None else config_text())
        self.sockets = tempfile.TemporaryDirectory(prefix="flux")
        if system:
            options = [*options, *self._system(path, size)]
        self.environment = self.environment_base()
        self.environment.update(
            FLUX_MODULE_PATH_PREPEND=str(TOP / "sched"),
            FLUX_EXEC_PATH_PREPEND=str(TOP / "sched" / "cmd"),
            LUA_PATH=f"{TOP}/rdl/?.lua;;",
            FLUX_SCHED_MODULE="none",
        )
        self.environment.update(environment)
        hosts = f"fake[0-{size - 1}]" if size > 1 else "fake0"
        self.log = open(self.folder / "log", "wb")  # noqa: SIM115  closed by stop()
        self.process = subprocess.Popen(
            [
                self.command, "start", f"--test-size={size}", f"--test-hosts={hosts}",
                f"--config-path={path}", "-Slog-stderr-level=6", *options,
                "sh", "-c", f"echo $FLUX_URI $FLUX_START_URI >{uri}.new && mv {uri}.new {uri} && exec sleep 600",
            ],
            env={**self.environment, **self.record.environment}, stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log, start_new_session=True,
        )
        self.agent = None
        try:
            self.wait(lambda: uri.exists() or self.process.poll() is not None, "the instance to start")
            assert uri.exists(), self.log_text()
            self.environment["FLUX_URI"], self.environment["FLUX_START_URI"] = uri.read_text().split()
            self.agent = subprocess.Popen(
                [self.command, "python", str(AGENT)],
                env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
        except BaseException:
            self.stop()
            raise

    def _system(self, path, size):
        """Have brokers found by configuration, over sockets of known names."""
        certificate = self.folder / "certificate"
        command = [self.command, "keygen", str(certificate)]
        subprocess.run(command, env=self.environment_base(), check=True, timeout=WAIT)
        (self.folder / "state").mkdir()
        with open(path, "a") as file:
            file.write(
                f'[bootstrap]\ncurve_cert = "{certificate}"\n'
                f'default_bind = "ipc://{self.sockets.name}/%h"\ndefault_connect = "ipc://{self.sockets.name}/%h"\n'
                f'hosts = [{{ host = "fake[0-{size - 1}]" }}]\n'
            )
        return [
            "--test-exit-mode=leader", "--test-exit-timeout=0", "--test-start-mode=all", f"-Sbroker.quorum={size}",
            "-Stbon.topo=custom", "-Stbon.zmqdebug=1", f"-Sstatedir={self.folder}/state",
        ]

    @staticmethod
    def environment_base():
        """The caller's environment, less what would reach another instance or lead to other modules."""
        return {
            key: value for key, value in os.environ.items()
            if not key.startswith(("FLUX_", "PMI", "SLURM")) and key not in ("PYTHONPATH", "LUA_PATH")
        }

    def stop(self):
        """End the instance; what is left of it after a while is killed."""
        if self.agent is not None:
            self.agent.stdin.close()
            self.agent.wait(WAIT)
        if self.process.poll() is None:
            # the initial program is the instance's only sleep 600 of ours
            subprocess.run(
                [self.command, "shutdown", "--background"], env=self.environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=WAIT,
            )
        try:
            self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(WAIT)
        self.log.close()
        self.sockets.cleanup()
        self.record.close()

    def kill(self):
        """End the instance as a machine ends that loses power: all its brokers at once."""
        for rank in range(int(self.flux("getattr", "size"))):
            pid = self.flux("exec", "-r", str(rank), self.command, "getattr", "broker.pid").strip()
            os.kill(int(pid), signal.SIGKILL)
        self.agent.kill()
        self.agent.wait(WAIT)
        self.agent.stdin.close()
        self.agent = None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(WAIT)
        self.log.close()
        self.sockets.cleanup()
        self.record.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def log_text(self):
        return (self.folder / "log").read_text(errors="replace")

    # -- talking to it --------------------------------------------------------

    def ask(self, what, **arguments):
        """A request to the agent; OSError if it failed."""
        self.agent.stdin.write(json.dumps([what, arguments]) + "\n")
        self.agent.stdin.flush()
        answer = json.loads(self.agent.stdout.readline())
        if "error" in answer:
            raise OSError(*answer["error"])
        return answer["ok"]

    def flux(self, *words, check=True, timeout=WAIT, env=None):
        """Run a flux command; its output."""
        done = self.run(*words, timeout=timeout, env=env)
        if check:
            assert done.returncode == 0, f"flux {' '.join(words)}: {done.stdout}{done.stderr}\n{self.log_text()}"
        return done.stdout

    def run(self, *words, timeout=WAIT, env=None):
        return subprocess.run(
            [self.command, *words], env={**self.environment, **(env or {})}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=timeout, cwd=self.folder,
        )

    def wait(self, condition, what, timeout=WAIT):
        """Wait for a condition, which does not hold yet where what it asks the KVS for is not there yet."""
        def holds():
            try:
                return condition()
            except FileNotFoundError:
                return False

        end = time.monotonic() + timeout
        while not holds():
            assert time.monotonic() < end, f"waited in vain for {what}\n{self.log_text()}"
            time.sleep(0.02)

    def load(self, *arguments, execute=False):
        """Load the module, and wait until it takes jobs."""
        self.flux("module", "load", *(["--exec"] if execute else []), "sched", *arguments)
        self.wait(lambda: self.stats()["ready"], "the module to be ready")

    def remove(self):
        self.flux("module", "remove", "sched")

    def reload(self, *arguments):
        if self.loaded():
            self.remove()
        self.load(*arguments)

    def loaded(self):
        return any(re.match(r"sched\s", line) for line in self.flux("module", "list").splitlines())

    def stats(self):
        return self.ask("rpc", topic="sched.stats-get")

    def dmesg(self):
        return self.flux("dmesg")

    # -- jobs -----------------------------------------------------------------

    def submit(self, *specs, run=0.01, urgency=16, **shape):
        """Submit jobs that pretend to run for `run` seconds; their ids, or the
        id if there is one.  None: they run for real."""
        specs = specs or (jobspec(**shape),)
        for spec in specs:
            spec["attributes"]["system"].setdefault("cwd", "/")
            spec["attributes"]["system"].setdefault("environment", {})
            if run is not None:
                spec["attributes"]["system"]["exec"] = {"test": {"run_duration": f"{run}s"}}
        found = self.ask("submit", jobspecs=list(specs), urgency=urgency)
        return found if len(found) > 1 else found[0]

    def event(self, jobid, name, timeout=WAIT):
        event = self.ask("event", jobid=jobid, name=name, timeout=timeout)
        assert event is not None, f"no event {name}: {self.ask('lookup', jobid=jobid, key='eventlog')}"
        return event

    def started(self, jobid):
        return any(event["name"] == "alloc" for event in self.eventlog(jobid))

    def over(self, jobid):
        return any(event["name"] == "clean" for event in self.eventlog(jobid))

    def eventlog(self, jobid):
        return self.ask("lookup", jobid=jobid, key="eventlog")

    def R(self, jobid):
        return self.ask("lookup", jobid=jobid, key="R")

    def cancel(self, *jobids):
        self.ask("cancel", jobids=list(jobids))

    def end(self, *jobids):
        """Cancel jobs, and wait until they are over."""
        for jobid in jobids:
            try:
                self.cancel(jobid)
            except OSError:
                pass    # it is over
        for jobid in jobids:
            self.event(jobid, "clean")

    def denied(self, jobid):
        """Why a job was denied."""
        event = self.event(jobid, "exception")
        assert event["context"]["type"] == "alloc", event
        self.event(jobid, "clean")
        return event["context"]["note"]

    def annotation(self, jobid, name):
        """What the job manager shows of a waiting or running job."""
        jobs = self.ask("rpc", topic="job-manager.list", payload={"max_entries": 0})["jobs"]
        for job in jobs:
            if job["id"] == jobid:
                return job.get("annotations", {}).get("sched", {}).get(name)
        return None


def units(R):
    """(rank, kind, id) of all that an R holds."""
    from fluxsched.formats import idset, r

    nodes = r.parse(R)
    for rank, cores, gpus in zip(nodes.ranks, nodes.cores, nodes.gpus):
        for kind, ids in (("core", cores), ("gpu", gpus)):
            for unit in idset.ids(ids):
                yield rank, kind, unit


def check_overlaps(instance, jobids):
    """From the records of jobs: nothing was held by two at a time.  Returns
    how many of the jobs held something."""
    spans = {}
    holders = 0
    for jobid in jobids:
        log = {event["name"]: event["timestamp"] for event in instance.eventlog(jobid)}
        if "alloc" not in log:
            continue
        holders += 1
        for unit in units(instance.R(jobid)):
            spans.setdefault(unit, []).append((log["alloc"], log.get("free", float("inf")), jobid))
    for unit, held in spans.items():
        held.sort()
        for (_, free, first), (alloc, _, second) in zip(held, held[1:]):
            assert free <= alloc, f"{unit} is held by {first} until {free}, and by {second} from {alloc}"
    return holders


def need(program):
    """The path of a program; skips the test where it is not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path
