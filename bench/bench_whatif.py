# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What ``flux sched whatif`` costs the scheduler a policy: 16,384 nodes and 1,000 waiting jobs.

Prints a table and writes build/bench/whatif.json: for each policy the processor time, in ms (the best of three), of the
copy and what else the scheduler's own thread does for it; and of the run forward, which has a thread of its own, or a
process for a policy in Python (easy.py, which is EASY), the scheduler's part of which is to fork and to look: with the
requested run times; with the expected ones, where the policy plans with the limits; and where it plans with the
expected ones, as all do in service/whatif where the former takes too long for one. A number behind > is what a run took
that was given up. The checksums are of the starts. The target is less than 10 ms of the scheduler's time. Machines:
whole nodes with few running jobs (300 or so) and with 5,000; shared nodes. `bench_whatif.py NAME...` runs some of
"few many shared question".

Then a question as the service answers it, about all of these policies: the scheduler's time for each, and the size of
the process that is forked.
"""
import json
import random
import sys
import time
import zlib
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
sys.path.append(str(TOP / "t"))

from fluxsched.core.comparison import Comparison  # noqa: E402
from fluxsched.core.forward import Forward  # noqa: E402
from fluxsched.core.history import History  # noqa: E402
from fluxsched.core.lengths import Lengths  # noqa: E402

from fakehost import Bench  # noqa: E402
from fluxsched.core import Engine, Inventory  # noqa: E402
from fluxsched.formats.jobspec import Request  # noqa: E402
from fluxsched.policy import names  # noqa: E402
from fluxsched.policy.loader import load_plugin  # noqa: E402
from fluxsched.service.child import InProcess  # noqa: E402
from fluxsched.service.whatif import ANEW_MAX, RUN_MAX  # noqa: E402

OUT = TOP / "build" / "bench"
NODES, WAITING, NOW, USERS = 16384, 1000, 1000.0, 50
POLICIES = ("fcfs", "first-fit", "easy", "easy+saf", "hybrid4", "conservative")
MACHINES = {"few": 0, "many": 5000, "shared": 0}
PYTHON = "easy.py"
SOURCE = """
from fluxsched.policy.pyplugin import GO_ON

class Plugin:
    def __init__(self, options):
        pass

    def sched_loop_setup(self, engine):
        pass

    def find_resources(self, engine, job):
        return engine.fits_now(job)

    def select_resources(self, engine, job):
        return engine.select(job)

    def allocate_resources(self, engine, job):
        engine.start(job)

    def reserve_resources(self, engine, job):
        if not engine.reserved(job):
            engine.reserve(job)
        return GO_ON
"""
SLICE = 2000        # jobs that a policy is asked about at a time


def learnt():
    """Users whose jobs run for about half of what they ask for, some for all of it."""
    rng, history = random.Random(2), History()
    for user in range(USERS):
        for _ in range(20):
            history.note(user, min(rng.random() * 1.2, 1.0), rng.choice([600.0, 3600.0, 36000.0]))
    return history


def busy(machine):
    """A full machine and a queue behind it."""
    rng = random.Random(1)
    engine = Engine(Inventory.from_counts(NODES, 64, 4), load_plugin("backfill.plugin1"))
    running = MACHINES[machine]

    def some(most):
        size = int(2 ** rng.uniform(0, most))
        duration = rng.choice([600, 3600, 7200, 36000, 86400]) * rng.random() + 60
        if machine == "shared":
            return Request(size, 1, rng.choice([4, 16, 32, 64]), rng.choice([0, 0, 1]), False, duration, "", None, None)
        return Request(size, 1, 1, 0, True, duration, "", None, None)

    jobid = 0
    # Small jobs first, where there are to be many.
    for most in (2.3, 8) if running else (8,):
        while not engine.waiting() and (most == 8 or jobid < running):
            jobid += 1
            engine.add(jobid, some(most), t_submit=NOW, user=jobid % USERS, sequence=jobid)
            engine.schedule(NOW)
    for number in range(jobid + 1, jobid + WAITING):
        engine.add(number, some(11), t_submit=NOW, user=number % USERS, sequence=number)
    engine.schedule(NOW)
    return engine


def run(engine, policy, lengths, limit):
    """(ms of the scheduler, ms of the run, the comparison), None for the last if it took longer than the limit in s."""
    begin = time.thread_time()
    copy = engine.fork(names.load(names.choose(policy)))
    forward = Forward(copy, NOW, lengths=lengths)
    copied = time.thread_time()
    while forward.advance(None, SLICE):
        if time.thread_time() - copied > limit:
            return 1e3 * (copied - begin), 1e3 * (time.thread_time() - copied), None
    over = time.thread_time()
    comparison = Comparison(engine)
    comparison.add(forward)
    del forward, copy
    return 1e3 * (copied - begin + time.thread_time() - over), 1e3 * (over - copied), comparison


def run_process(engine, lengths, limit):
    """The same for the policy in Python."""
    def make():
        return Forward(engine.fork(names.load(names.choose(PYTHON), SOURCE)), NOW, lengths=lengths)

    begin = time.thread_time()
    comparison = Comparison(engine)
    going = InProcess(make, None, limit, comparison, 0.0)
    while going.going:
        time.sleep(going.look())
    if going.error is None and not going.more:
        going.add(comparison, 0.0)
    return 1e3 * (time.thread_time() - begin), 1e3 * going.seconds, comparison if comparison.nruns else None


def memory():
    """MB of memory that this process holds."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def question():
    """What the service tells of a question about all policies with some 1,000 jobs waiting: s of the scheduler's time
    for each policy, and of the thread or process of its run."""
    rng = random.Random(1)
    bench = Bench(["plugin=backfill.plugin1"], R=Inventory.from_counts(NODES, 64, 4).to_r())
    jobid = 0
    while len(bench.service.engine.waiting()) < WAITING:
        for _ in range(500):
            jobid += 1
            size = int(2 ** rng.uniform(0, 2.3 if jobid < 5000 else 8))
            bench.alloc(jobid, nodes=size, exclusive=True, userid=jobid % USERS, run=False,
                        duration=rng.choice([600, 3600, 7200, 36000, 86400]) * rng.random() + 60)
        bench.host.run(1.0)
    bench.service.run_times.history = learnt()
    policies = [*({"name": name} for name in POLICIES), {"name": PYTHON, "source": SOURCE}]
    bench.send("sched.whatif", {"policies": policies}, "what if")
    while not [name for name, _ in bench.host.answers if name == "what if"]:
        bench.host.run(0.001)
        time.sleep(0.0005)
    [answer] = [answer for name, answer in bench.host.answers if name == "what if"]
    print(f"\nas a question, {answer['running']} running, {answer['waiting']} waiting, plans with {answer['plans']}; "
          f"a process of {memory():.0f} MB")
    print(f"{'policy':>13} {'scheduler ms':>13} {'beside it ms':>14}")
    for row in answer["policies"]:
        print(f"{row['name']:>13} {1e3 * row['seconds']:13.2f} {1e3 * row['aside']:14.1f}  {row['problem'] or ''}")
    return {"question": [[row["name"], row["seconds"], row["aside"]] for row in answer["policies"]]}


def best(engine, policy, lengths, limit):
    """The best of three runs, or one that was given up."""
    def once():
        return run_process(engine, lengths, limit) if policy == PYTHON else run(engine, policy, lengths, limit)

    rows = [once()]
    while rows[0][2] is not None and len(rows) < 3:
        rows.append(once())
    return min(rows, key=lambda row: row[0] + row[1])


def checksum(comparison):
    """A number that two schedules share only if they are the same."""
    return "-" if comparison is None else f"{zlib.crc32(repr(comparison.starts(0)).encode()):08x}"


def main():
    chosen = sys.argv[1:] or list(MACHINES)
    rows = []
    history = learnt()
    for machine in [name for name in chosen if name in MACHINES]:
        engine = busy(machine)
        lengths = Lengths(engine, NOW, history)
        limited = engine.fork()
        lengths.limit(limited)
        print(f"\n{machine}: {len(engine.running_jobs())} running, {len(engine.waiting())} waiting; ms a policy")
        print(f"{'policy':>13} {'sched':>6} {'requested':>10} {'expected':>10} {'planned so':>10}  starts")
        for policy in (*POLICIES, PYTHON):
            copied, asked, found = best(engine, policy, None, RUN_MAX)
            _, anew, expected = best(engine, policy, lengths, ANEW_MAX)
            _, planned, other = best(limited, policy, None, RUN_MAX)
            cells = [f"{ms:10.1f}" if done is not None else f"{'>' + format(ms, '.0f'):>10}"
                     for ms, done in ((asked, found), (anew, expected), (planned, other))]
            print(f"{policy:>13} {copied:6.1f} {' '.join(cells)}  {checksum(found)} {checksum(expected)}", flush=True)
            rows.append({"machine": machine, "policy": policy, "copy": copied, "requested": asked, "expected": anew,
                         "planned": planned, "done": [each is not None for each in (found, expected, other)],
                         "starts": [checksum(found), checksum(expected), checksum(other)]})
    if not sys.argv[1:] or "question" in chosen:
        rows.append(question())
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "whatif.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
