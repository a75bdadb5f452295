#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""How fast the embedded session is, beside HyperQueue and task-spooler where they are installed.

    build/venv/bin/python bench/bench_session.py [--jobs N] [--rounds N] [--waiting N] [--hyperqueue PYTHON]

Throughput: N times `true`, from submission to the last end, in rounds in which each program has its turn, so that a
noisy machine is noisy for all of them; the median, and the ratio to ours.  HyperQueue runs through its LocalCluster
under the Python given (or this one, if it has it), task-spooler by `tsp` with as many slots as there are cores.

Then `flux run true` from shell to shell, and a queue of N waiting jobs: time to submit, to list, to restart on and to
cancel it, and the broker's memory.
"""

import argparse
import json
import os
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
            [*FLUX, "start", f"--statedir={statedir}", "sh", "-c", "echo $FLUX_URI; exec sleep 86400"],
            env=environment(), stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.uri = self.process.stdout.readline().strip()
        if not self.uri:
            sys.exit("bench_session: no session opens")
        self.opened = time.monotonic() - begin
        self.broker = int(self.run("getattr", "broker.pid")[1])

    def run(self, *words):
        """(seconds, standard output)"""
        begin = time.monotonic()
        done = subprocess.run(
            [*FLUX, *words], env=environment(FLUX_URI=self.uri), stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"bench_session: flux {' '.join(words)} has failed")
        return time.monotonic() - begin, done.stdout

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
    with tempfile.TemporaryDirectory() as folder:
        session = Session(folder)
        found = [session.run("run", "true")[0] for _ in range(5 * o.rounds)]
        session.close()
    print(f"flux run true: {statistics.median(found) * 1000:.0f} ms, at best {min(found) * 1000:.0f} ms")


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
        print(f"  cancel --all   {session.run('cancel', '--all')[0]:8.2f} s")
        session.close()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--jobs", type=int, default=2000, help="jobs of a round (default 2000)")
    p.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    p.add_argument("--waiting", type=int, default=100000, help="waiting jobs (default 100000; 0 leaves this out)")
    p.add_argument("--hyperqueue", default=sys.executable, metavar="PYTHON", help="a Python that has hyperqueue")
    o = p.parse_args()
    throughput(o)
    single(o)
    if o.waiting:
        waiting(o)


if __name__ == "__main__":
    main()
