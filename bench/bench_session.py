#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""How fast the embedded session is, beside HyperQueue and task-spooler where they are installed.

    build/venv/bin/python bench/bench_session.py [--jobs N] [--rounds N] [--waiting N] [--hyperqueue PYTHON]

Throughput: N times `true`, from submission to the last end, in rounds in which each program has its turn, so that a
noisy machine is noisy for all of them; the median, and the ratio to ours.  HyperQueue runs through its LocalCluster
under the Python given (or this one, if it has it), task-spooler by `tsp` with as many slots as there are cores.

Then a job from shell to shell, beside task-spooler and beside what starting Python takes at least; other mixes of jobs;
and a queue of N waiting jobs: time to submit, to list, to restart on and to cancel it, how long others wait for an
answer meanwhile, and the broker's memory.
"""

import argparse
import json
import os
import select
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
FLUX = [str(TOP / "flux")]
CORES = len(os.sched_getaffinity(0))

HYPERQUEUE = """
import sys, time
from hyperqueue import Job
from hyperqueue.cluster import LocalCluster, WorkerConfig
count, cores = int(sys.argv[1]), int(sys.argv[2])
with LocalCluster() as cluster:
    cluster.start_worker(WorkerConfig(cores=cores))
    client = cluster.client()
    job = Job()
    for _ in range(count):
        job.program(["true"])
    begin = time.monotonic()
    client.wait_for_jobs([client.submit(job)])
    print("seconds", time.monotonic() - begin)
"""


def environment(**more):
    """Ours, without a session that this may run in."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith("FLUX_")}
    return {**keep, "FLUX_SCHED_EMBEDDED": "1", **more}


class Session:
    """A session on a state directory; commands run in it, and are timed."""

    def __init__(self, statedir):
        self.statedir = statedir
        begin = time.monotonic()
        self.process = subprocess.Popen(
            [*FLUX, "start", f"--statedir={statedir}", "sh", "-c", "echo $FLUX_URI; echo $PATH; exec sleep 86400"],
            env=environment(), stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.uri = self.process.stdout.readline().strip()
        self.path = self.process.stdout.readline().strip()
        if not self.uri:
            sys.exit("bench_session: no session opens")
        self.opened = time.monotonic() - begin
        self.broker = int(self.run("getattr", "broker.pid")[1])

    def run(self, *words):
        """(seconds, standard output) of a flux command, by the flux that the session puts into PATH"""
        return self.script(shlex.join(["flux", *words]), shell=["sh", "-c"])

    def script(self, text, shell=("sh", "-ec")):
        """(seconds, standard output) of a script for a shell in the session"""
        env = environment(FLUX_URI=self.uri, PATH=self.path)
        begin = time.monotonic()
        done = subprocess.run([*shell, f"{text}"], env=env, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"bench_session: {text} has failed")
        return time.monotonic() - begin, done.stdout

    def meanwhile(self, words, others):
        """(seconds of a flux command, seconds of the longest of others that run meanwhile, one after the other)"""
        env = environment(FLUX_URI=self.uri, PATH=self.path)
        script = ["sh", "-c", shlex.join(["flux", *words])]
        begin, longest = time.monotonic(), 0.0
        with subprocess.Popen(script, env=env, stderr=subprocess.DEVNULL) as command:
            watched = os.pidfd_open(command.pid)
            while not select.select([watched], [], [], 0.2)[0]:
                longest = max(longest, self.run(*others)[0])
            os.close(watched)
        return time.monotonic() - begin, longest

    def memory(self):
        """The broker's resident memory, in MiB."""
        for line in Path(f"/proc/{self.broker}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def kill(self):
        """End the broker without a warning."""
        os.kill(self.broker, signal.SIGKILL)
        self.process.wait()

    def close(self):
        """End the session's command, and with it the session."""
        self.process.terminate()
        self.process.wait()


def ours(count):
    with tempfile.TemporaryDirectory() as folder:
        session = Session(folder)
        seconds, _ = session.run("submit", "--quiet", "--wait", f"--cc=1-{count}", "true")
        session.close()
    return seconds


def hyperqueue(python, count):
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, "-c", HYPERQUEUE, str(count), str(CORES)], cwd=folder, env=environment(),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
        )  # fmt: skip
    return float(done.stdout.split("seconds")[1])


def spooler(count):
    with tempfile.TemporaryDirectory() as folder:
        env = environment(TS_SOCKET=f"{folder}/socket", TMPDIR=folder, TS_MAXFINISHED="10")
        script = f"tsp -S {CORES}; i=0; while [ $i -lt {count} ]; do tsp -n true; i=$((i + 1)); done; tsp -w; tsp -K"
        begin = time.monotonic()
        subprocess.run(["sh", "-c", script], env=env, stdout=subprocess.DEVNULL, check=False)
        return time.monotonic() - begin


def has_hyperqueue(python):
    return subprocess.run([python, "-c", "import hyperqueue"], capture_output=True, check=False).returncode == 0


def throughput(o):
    programs = {"flux-sched": ours}
    if has_hyperqueue(o.hyperqueue):
        programs["hyperqueue"] = lambda count: hyperqueue(o.hyperqueue, count)
    if shutil.which("tsp"):
        programs["task-spooler"] = spooler
    seconds = {name: [] for name in programs}
    for _ in range(o.rounds):
        for name, program in programs.items():
            seconds[name].append(program(o.jobs))
    base = statistics.median(seconds["flux-sched"])
    print(f"{o.jobs} x true on {CORES} cores, median of {o.rounds}:")
    for name, found in seconds.items():
        middle = statistics.median(found)
        print(f"  {name:<14} {middle:8.2f} s {o.jobs / middle:8.0f} /s   {middle / base:5.2f} of our time")


def single(o):
    """Each of these as often, in turn: a shell starts it and sees its end."""
    count = 5 * o.rounds
    with tempfile.TemporaryDirectory() as folder:
        session = Session(folder)
        env = {"session": environment(FLUX_URI=session.uri, PATH=session.path)}
        env["spooler"] = environment(TS_SOCKET=f"{folder}/socket", TMPDIR=folder)
        programs = {
            "flux run true": (["flux", "run", "true"], "session"),
            "python -IS -c pass": ([sys.executable, "-IS", "-c", "pass"], "session"),
            "python -c pass": ([sys.executable, "-c", "pass"], "session"),
        }
        if shutil.which("tsp"):
            programs["tsp -nf true"] = (["tsp", "-nf", "true"], "spooler")
        seconds = {name: [] for name in programs}
        for _ in range(count):
            for name, (words, where) in programs.items():
                program = shutil.which(words[0], path=env[where]["PATH"])
                begin = time.monotonic()
                subprocess.run([program, *words[1:]], env=env[where], stdout=subprocess.DEVNULL, check=True)
                seconds[name].append(time.monotonic() - begin)
        session.close()
        if shutil.which("tsp"):
            subprocess.run(["tsp", "-K"], env=env["spooler"], check=False)
    base = statistics.median(seconds["flux run true"])
    print(f"from shell to shell, median and best of {count}:")
    for name, found in seconds.items():
        middle = statistics.median(found)
        print(f"  {name:<20} {middle * 1000:7.0f} ms {min(found) * 1000:7.0f} ms   {middle / base:5.2f} of our time")


def mixes(o):
    """Jobs that are not all alike, or do not come all at once."""
    count = o.jobs // 4
    loop = "i=0; while [ $i -lt {n} ]; do i=$((i + 1)); flux submit --quiet"
    scripts = {
        "5 lines of output each": "flux submit --quiet --wait --cc=1-{n} seq 5",
        "as many tasks as cores": "flux submit --quiet --wait --cc=1-{n} -n{cores} true",
        "afterok of one job": f"id=$(flux submit true); {loop} --dependency=afterok:$id true; done; flux queue drain",
        "flux submit --wait in a loop": f"{loop} --wait true; done",
        "4 shells at once": "for s in 1 2 3 4; do flux submit --quiet --wait --cc=1-$(({n} / 4)) true & done; wait",
    }
    print("other mixes:")
    with tempfile.TemporaryDirectory() as folder:
        session = Session(folder)
        for name, script in scripts.items():
            number = count // 10 if "loop" in name or "afterok" in name else count
            seconds, _ = session.script(script.replace("{n}", str(number)).replace("{cores}", str(CORES)))
            print(f"  {name:<30}{seconds:8.2f} s {number / seconds:8.0f} /s")
        session.close()


def waiting(o):
    with tempfile.TemporaryDirectory() as folder:
        session = Session(folder)
        session.run("submit", "--quiet", f"--cores={CORES}", "sleep", "86400")
        print(f"{o.waiting} waiting jobs:")
        print(f"  submit         {session.run('submit', '--quiet', f'--cc=1-{o.waiting}', 'true')[0]:8.2f} s")
        print(f"  flux jobs      {session.run('jobs')[0]:8.2f} s")
        seconds, listed = session.run("jobs", "--json", "-c", "0")
        assert len(json.loads(listed)["jobs"]) == o.waiting + 1
        print(f"  jobs --json -c0{seconds:8.2f} s")
        print(f"  memory         {session.memory():8.0f} MiB")
        session.kill()
        session = Session(folder)
        print(f"  restart        {session.opened:8.2f} s")
        print(f"  flux jobs then {session.run('jobs')[0]:8.2f} s")
        seconds, longest = session.meanwhile(["cancel", "--all"], ["jobs", "-c1"])
        print(f"  cancel --all   {seconds:8.2f} s   flux jobs -c1 meanwhile {longest:.2f} s at the most")
        session.close()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--jobs", type=int, default=2000, help="jobs of a round (default 2000)")
    p.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    p.add_argument("--waiting", type=int, default=100000, help="waiting jobs (default 100000; 0 leaves this out)")
    p.add_argument("--hyperqueue", default=sys.executable, metavar="PYTHON", help="a Python that has hyperqueue")
    o = p.parse_args()
    print(f"load average before: {os.getloadavg()[0]:.1f}")
    throughput(o)
    single(o)
    mixes(o)
    if o.waiting:
        waiting(o)


if __name__ == "__main__":
    main()
