# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A session that is killed at random, again and again, with jobs that depend on others, that are run again, and that
are sessions themselves: nothing is lost, nothing is run twice, nothing is left behind.

FLUXSCHED_KILLS=1000 kills as often (4 times if it is not set); FLUXSCHED_SEED=N makes other choices.
"""

import errno
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import specs
from embedded import FLUX, WAIT, alive, children, clean_environment, until
from fluxsched.session import jobid as ids
from fluxsched.session.broker.active import Active
from fluxsched.session.broker.job import HELD, RUN
from fluxsched.session.broker.job import Job as Running
from fluxsched.session.broker.sched_module import ModuleHost, Scheduler
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.errors import CommandError

KILLS = int(os.environ.get("FLUXSCHED_KILLS", "4"))
SEED = int(os.environ.get("FLUXSCHED_SEED", "1"))

# What jobs run: each writes a line as it begins, with the number of the attempt, and one at its end.
BEGIN, END = 'echo "begin $NAME $FLUX_JOB_ATTEMPT" >>"$LOG"', 'echo "end $NAME $FLUX_JOB_ATTEMPT" >>"$LOG"'
COMMANDS = {
    "plain": f"{BEGIN}; sleep $TIME; {END}",
    "depends": f"{BEGIN}; {END}",
    "fails": f"{BEGIN}; sleep $TIME; {END}; exit 3",
    "third": f"{BEGIN}; {END}; [ $FLUX_JOB_ATTEMPT -ge 3 ]",
    "nested": f"""{BEGIN}
export OUTER=$FLUX_JOB_ATTEMPT
for i in 1 2; do
    flux submit --quiet sh -c 'echo "begin $NAME.$FLUX_JOB_ID $OUTER" >>"$LOG"; sleep $TIME' || exit
done
flux queue drain && {END}""",
}
RETRIES = {"third": 4, "nested": 1000}


class Job:
    """What was submitted: its `name`, its `kind`, and, once that was answered, its `id`."""

    def __init__(self, name, kind, target=None, scheme=None):
        self.name, self.kind, self.target, self.scheme = name, kind, target, scheme
        self.id = None


class Trial:
    """A state directory, the jobs that were submitted there, and how often what was killed."""

    def __init__(self, folder, seed):
        self.random = random.Random(seed)
        self.folder = folder
        self.log = folder / "log"
        self.log.touch()
        self.mark = f"KILLS_MARK={folder}"
        (folder / "tmp").mkdir()
        self.env = clean_environment(TMPDIR=str(folder / "tmp"), KILLS_MARK=str(folder))
        self.jobs = []
        self.killed = {"broker": 0, "launcher": 0, "worker": 0, "nested": 0}
        self.process = None
        self.uri = self.path = None

    # the session

    def open(self):
        """Open the session; its address and its PATH are known soon."""
        command = ["sh", "-c", 'echo "$FLUX_URI"; echo "$PATH"; exec cat']
        self.process = subprocess.Popen([*FLUX, "start", "-s4", f"--statedir={self.folder}/state", *command],
                                        env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)  # fmt: skip

    def greet(self):
        self.uri, self.path = self.process.stdout.readline().strip(), self.process.stdout.readline().strip()
        assert self.path, "the session does not open"

    def kill(self):
        """Kill the session, perhaps with something else just before."""
        choice = self.random.random()
        if choice < 0.3:
            what = "launcher" if choice < 0.1 else "worker" if choice < 0.2 else "nested"
            found = self.find(what)
            if found:
                os.kill(self.random.choice(found), signal.SIGKILL)
                self.killed[what] += 1
                time.sleep(self.random.random() * 0.1)
        self.process.kill()
        self.killed["broker"] += 1
        self.process.wait(WAIT)
        self.process.stdin.close()
        self.process.stdout.close()

    def find(self, what):
        """Process ids of the launcher, of workers that run a job, or of brokers of nested sessions."""
        launchers = [pid for pid, command in children(self.process.pid) if "runner" in command]
        if what == "launcher":
            return launchers
        workers = [(pid, children(pid)) for launcher in launchers for pid, _ in children(launcher)]
        if what == "worker":
            return [pid for pid, below in workers if below]
        return [pid for _, below in workers for pid, command in below if "start" in command]

    # jobs

    def submit(self, count):
        """Submit so many jobs; what is answered for counts, the others may be there or not."""
        try:
            client = Client(self.uri)
            for _ in range(count):
                job, request = self.make()
                self.jobs.append(job)
                try:
                    job.id = client.rpc("job.submit", request)["id"]
                except RPCError as error:
                    assert error.errno == errno.EINVAL and job.kind == "depends", error
                    self.jobs.remove(job)  # it could never have run
            client.close()
        except CommandError:
            assert self.process.poll() is not None or not self.uri  # killed meanwhile

    def make(self):
        known = [job for job in self.jobs if job.id is not None]
        kinds = ["plain", "fails", "third", "nested"] + (["depends"] * 2 if known else [])
        name = f"j{len(self.jobs)}x{self.random.randrange(10**6)}"
        job = Job(name, self.random.choice(kinds))
        system = {"cwd": "/", "job": {"name": name}, "environment": {
            "PATH": self.path, "NAME": name, "LOG": str(self.log), "TIME": f"{self.random.random() * 0.3:.2f}",
            "TMPDIR": self.env["TMPDIR"], "KILLS_MARK": str(self.folder),
            "FLUX_MODULE_PATH": os.environ.get("FLUX_MODULE_PATH", "")}}  # fmt: skip
        if job.kind in RETRIES:
            system.update(retries=RETRIES[job.kind], backoff=0.0)
        if job.kind == "depends":
            job.target = self.random.choice(known[-20:])
            job.scheme = self.random.choice(("afterok", "afternotok", "afterany", "afterstart"))
            system["dependencies"] = [{"scheme": job.scheme, "value": ids.f58(job.target.id)}]
        spec = specs.make(**system)
        words = ["sh", "-c", COMMANDS[job.kind]]
        spec["tasks"][0]["command"] = ["flux", "start", *words] if job.kind == "nested" else words
        if job.kind == "nested":
            spec["attributes"]["system"]["duration"] = 120
        return job, {"jobspec": spec}

    # what has become of it

    def finish(self):
        """Let all jobs end, and see to it that all is as it should be."""
        self.open()
        self.greet()
        client = Client(self.uri)
        until(lambda: not client.rpc("job.list", {"count": 0})["jobs"], "all jobs to end", timeout=60 + KILLS)
        found = {job["name"]: job for job in client.rpc("job.list", {"inactive": True, "count": 0})["jobs"]}
        notes = {name: job["exception"].get("note") or "" for name, job in found.items()}
        client.close()
        assert len(found) == len({job["id"] for job in found.values()})
        lines = self.log.read_text().splitlines()
        assert len(lines) == len(set(lines)), "something was run twice"
        places = {line: place for place, line in enumerate(lines)}
        for job in self.jobs:
            if job.id is not None:
                assert job.name in found, f"{job.name} is lost"
            if job.name in found:
                self.check(job, found, notes, places)
        self.process.stdin.close()
        assert self.process.wait(WAIT) == 0
        self.process.stdout.close()
        self.check_leftovers()

    def check(self, job, found, notes, places):
        """See to one job."""
        result, attempts = found[job.name]["result"], found[job.name].get("attempts", 1)
        begun = [number for number in range(1, attempts + 2) if f"begin {job.name} {number}" in places]
        told = f"{job.kind} {job.name}: {result}, attempts {attempts}, begun {begun}: {notes[job.name]}"
        lost = "supervisor process was killed" in notes[job.name] or "ended at once" in notes[job.name]
        lost = lost and self.killed["worker"] + self.killed["launcher"] > 0
        if job.kind == "depends":
            self.check_dependency(job, found, told, places, lost)
        elif job.kind == "fails":
            assert result == "FAILED" and attempts == 1 and (begun == [1] or lost), told
        elif job.kind == "plain":
            assert lost or (result == "COMPLETED" and begun == [1]), told
            assert lost or f"end {job.name} 1" in places, told
        elif job.kind == "third":
            assert lost or (result == "COMPLETED" and attempts >= 3), told
            assert begun[-1:] == [attempts] or lost, told
        else:
            assert result == "COMPLETED" and f"end {job.name} {attempts}" in places, told
            own = [line.split() for line in places if line.startswith(f"begin {job.name}.")]
            assert len([words for words in own if int(words[2]) == attempts]) == 2, told

    def check_dependency(self, job, found, told, places, lost):
        target = found[job.target.name]
        started, completed = "t_run" in target, target["result"] == "COMPLETED"
        good = {"afterok": completed, "afternotok": started and not completed, "afterstart": started, "afterany": True}
        if not good[job.scheme]:
            assert "can never be satisfied" in told and f"begin {job.name} 1" not in places, told
            return
        assert lost or found[job.name]["result"] == "COMPLETED", told
        last = f"end {job.target.name} {target.get('attempts', 1)}"
        if job.scheme != "afterstart" and last in places and not lost:
            assert places[last] < places[f"begin {job.name} 1"], told

    def check_leftovers(self):
        """No process, no socket, no claim is left."""
        until(lambda: not self.processes(), f"processes {self.processes()} to end")
        # Python tries a folder for temporary files with a file of its own, which a kill may leave.
        assert [name for name in os.listdir(self.folder / "tmp") if name.startswith("flux-")] == []
        state = self.folder / "state"
        assert [path for folder in state.glob("claims-*") for path in folder.iterdir()] == []
        assert list((state / "workers").glob("*")) == []
        for folder in (state / "jobs").iterdir():
            assert {path.name for path in folder.iterdir()} <= {"output"}, list(folder.iterdir())

    def processes(self):
        """Processes of this trial, but for this one."""
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdigit() and int(path.name) != os.getpid() and alive(path.name):
                try:
                    if self.mark.encode() in (path / "environ").read_bytes().split(b"\0"):
                        found.append((int(path.name), (path / "cmdline").read_bytes().replace(b"\0", b" ")[:100]))
                except OSError:
                    continue
        return found


def test_job_that_ends_while_the_scheduler_takes_it_over():
    """It gives its resources back when the scheduler is ready, and what it held can be read until then."""
    R = {"execution": {"R_lite": []}}
    job = Running(7, RUN, {}, {"priority": 16, "userid": 0, "t_submit": 1.0}, R)
    job.alloc = HELD
    active = Active()
    active.add(job)
    manager = SimpleNamespace(active=active, queues=None)
    sent = []
    loop = SimpleNamespace(call_soon=lambda call: call(), call=lambda call: call())
    scheduler = Scheduler(loop, None, None, manager, None)
    scheduler.service = SimpleNamespace(handle=lambda topic, request, payload: sent.append((topic, payload)))
    scheduler._hello(None, {}, lambda payload, error: None)
    scheduler.free(job)
    active.remove(job)
    other = Running(8, RUN, {}, {}, R)
    scheduler.free(other)  # it had ended before it was told of
    assert sent == []
    read = []
    ModuleHost(scheduler).read_r(7, lambda *answer: read.append(answer))
    ModuleHost(scheduler).read_r(8, lambda *answer: read.append(answer))
    assert read[0] == (R, None) and read[1][0] is None
    scheduler._ready(None, {"mode": "unlimited"}, lambda payload, error: None)
    assert sent == [("sched.free", {"id": 7, "R": R, "final": True})]
    assert scheduler.late == {}


def test_killed_at_random(tmp_path):
    print(f"FLUXSCHED_KILLS={KILLS} FLUXSCHED_SEED={SEED}")
    trial = Trial(tmp_path, SEED)
    for _ in range(KILLS):
        trial.open()
        if trial.random.random() < 0.1 and trial.jobs:  # while it opens
            time.sleep(trial.random.random() * 0.3)
        else:
            trial.greet()
            trial.submit(trial.random.randrange(6))
            time.sleep(trial.random.random() ** 2 * 0.8)
        trial.kill()
    print(trial.killed, len(trial.jobs), "jobs")
    trial.finish()
