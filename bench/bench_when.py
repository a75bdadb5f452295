# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What ``flux sched when`` costs the scheduler: 16,384 nodes, 1,000 waiting jobs, whole nodes, under several policies.

Prints a table and writes build/bench/when.json: for each job that is asked about the time of the copy, of the pass in
it and of the run forward (the best of five), and when it would start. Times count on a quiet machine only.

Then what of ``flux sched why`` and ``flux sched queue`` grows with the queue, of 100,000 jobs: to count who is ahead of
the last one and name the first 20 of them, and to rank all and tell of the first 1,000.
"""
import json
import random
import time
from pathlib import Path

from fluxsched.core.forward import Forward

from fluxsched.core import Engine, Inventory
from fluxsched.formats.jobspec import Request
from fluxsched.policy.loader import load_plugin

OUT = Path(__file__).resolve().parent.parent / "build" / "bench"
NODES, WAITING, NOW, ASKED = 16384, 1000, 1000.0, 2**63 - 1
LONG = 100000
QUESTIONS = ((1, 600.0), (64, 3600.0), (2048, 36000.0), (NODES, 3600.0))


def request(nodes, duration):
    return Request(nodes, 1, 1, 0, True, duration, "", None, None)


def busy(options):
    """A full machine and a queue behind it."""
    rng = random.Random(1)
    engine = Engine(Inventory.from_counts(NODES, 64, 4), load_plugin("backfill.plugin1", options))

    def some(most):
        return request(int(2 ** rng.uniform(0, most)), rng.choice([600, 3600, 7200, 36000, 86400]) * rng.random() + 60)

    jobid = 0
    while not engine.waiting():
        jobid += 1
        engine.add(jobid, some(8), t_submit=NOW, sequence=jobid)
        engine.schedule(NOW)
    for number in range(jobid + 1, jobid + WAITING):
        engine.add(number, some(11), t_submit=NOW, sequence=number)
    engine.schedule(NOW)
    return engine


def ask(engine, wanted):
    """(seconds of the copy, of the pass, of the run forward, start)."""
    times = [time.perf_counter()]
    copy = engine.fork()
    times.append(time.perf_counter())
    copy.add(ASKED, wanted, 16, NOW, None, sequence=ASKED)
    copy.schedule(NOW)
    times.append(time.perf_counter())
    start = copy.estimate(ASKED) if copy.waits(ASKED) else NOW
    if start is None:
        forward = Forward(copy, NOW, passed=True)
        forward.ask(ASKED)
        forward.advance()
        start = forward.start_of(ASKED)
    times.append(time.perf_counter())
    return (*(after - before for before, after in zip(times, times[1:])), start)


def ranked(order):
    """(seconds to tell who is ahead of the last of a long queue, and to rank it)."""
    rng = random.Random(1)
    engine = Engine(Inventory.from_counts(NODES, 64, 4), load_plugin("sched.plugin1", f"order={order}"))
    for jobid in range(1, LONG + 1):
        engine.add(jobid, request(rng.randint(1, 8), rng.choice([600.0, 3600.0])), t_submit=NOW - rng.random(),
                   user=jobid % 50, sequence=jobid)
    best = [float("inf")] * 2
    for _ in range(5):
        for i, call in enumerate((lambda: engine.ahead(LONG, NOW, 20), lambda: engine.ranking(NOW, 1000))):
            begin = time.perf_counter()
            call()
            best[i] = min(best[i], time.perf_counter() - begin)
    return best


def main():
    rows = []
    print(f"{'policy':>10} {'nodes':>6} {'copy':>8} {'pass':>8} {'forward':>8} {'all ms':>8}  start in s")
    for name, options in (("easy", ""), ("hybrid4", "reserve-depth=4"), ("conservative", "reserve-depth=-1")):
        engine = busy(options)
        for nodes, duration in QUESTIONS:
            best = min((ask(engine, request(nodes, duration)) for _ in range(5)), key=lambda row: sum(row[:3]))
            rows.append({"policy": name, "nodes": nodes, "seconds": best[:3], "start": best[3] - NOW})
            shown = [f"{1000 * seconds:8.2f}" for seconds in (*best[:3], sum(best[:3]))]
            print(f"{name:>10} {nodes:>6} {' '.join(shown)}  {best[3] - NOW:.0f}")
    print(f"\n{LONG} waiting\n{'order':>12} {'ahead ms':>9} {'rank ms':>8}")
    for order in ("fcfs", "sjf", "multifactor"):
        times = ranked(order)
        rows.append({"order": order, "ahead": times[0], "ranking": times[1]})
        print(f"{order:>12} {1e3 * times[0]:9.2f} {1e3 * times[1]:8.2f}")
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "when.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
