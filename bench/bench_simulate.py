# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Simulator benchmarks: reading, the event loop, and the time of a pass by queue length.

Prints tables and writes build/bench/simulate.json. With each time stands a checksum of the schedule that was made.
Wall time and processor time are both given, as the wall time is only worth something on a quiet machine. Run it by
`make bench`, or by itself with the number of synthetic jobs and paths of traces as arguments.
"""
import json
import random
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
from fluxsched.simulate.loop import Loop

from fluxsched.core import Engine, Inventory
from fluxsched.policy.loader import load_plugin
from fluxsched.simulate import api
from fluxsched.traces import generator as lublin
from fluxsched.traces import load as formats
from fluxsched.traces import swf

TOP = Path(__file__).resolve().parent.parent
QUARTER = TOP / "t/data/quarter.swf.gz"         # made by the generator, as t/data/README.md says
OUT = TOP / "build" / "bench"


def checksum(result):
    """Of the start times, and the processors where they were kept."""
    total = zlib.crc32(np.nan_to_num(result.start, nan=-1).tobytes())
    if result.offset is not None:
        total = zlib.crc32(result.first.tobytes() + result.last.tobytes(), total)
    return f"{total:08x}"


def timed(run):
    """Wall and processor seconds of run(), and its result."""
    wall, processor = time.perf_counter(), time.process_time()
    result = run()
    return time.perf_counter() - wall, time.process_time() - processor, result


def peak_mib():
    """Peak memory of this process; getrusage would count the parent's, up to the exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def one(jobs, procs, load, policy, record):
    """A synthetic trace in a process of its own, for its peak memory; a dict of figures."""
    code = f"import sys; sys.path.insert(0, {str(TOP / 'bench')!r}); import bench_simulate as b; " \
           f"b.in_process({jobs}, {procs}, {load}, {policy!r}, {record})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def in_process(jobs, procs, load, policy, record):
    made = lublin.generate(jobs, procs, load, seed=1, overestimate=3.0)
    machine = api.machine(procs=procs)
    wall, processor, result = timed(lambda: api.run(made, on=machine, plugin=policy, record=record))
    print(json.dumps({
        "wall": wall, "processor": processor, "loop": result.loop_time, "passes": result.passes,
        "mib": peak_mib(), "checksum": checksum(result),
        "by_queue": [[int(2 ** (k - 1)) if k else 0, int(count), float(spent)]
                     for k, (count, spent) in enumerate(zip(result.pass_count, result.pass_time)) if count],
    }))


def mixed(jobs, exact, options=""):
    """Seconds of loop, checksum and starts (us) of a simulation of jobs of mixed shapes that share nodes, at twice the
    load that the machine of 256 nodes of 64 cores bears, under conservative backfill; exact: they run for as long as
    they asked for."""
    rng = random.Random(2)
    shapes, requested, run, work = [], [], [], 0
    for _ in range(jobs):
        if rng.random() < 0.5:
            shape = (0, rng.randint(1, 32), rng.choice([1, 2, 4, 8]))
        else:
            shape = (rng.randint(1, 16), rng.randint(1, 4), rng.choice([1, 2, 4, 8, 16]))
        seconds = rng.randint(60, 7200)
        shapes.append(shape)
        requested.append(seconds * 10**6)
        run.append((seconds if exact else int(seconds * rng.uniform(0.1, 1))) * 10**6)
        work += max(shape[0], 1) * shape[1] * shape[2] * run[-1]
    submit = sorted(int(rng.uniform(0, work / (256 * 64) / 2)) for _ in range(jobs))
    engine = Engine(Inventory.from_counts(256, 64), load_plugin("backfill.plugin1", f"reserve-depth=-1{options}"))
    loop = Loop(engine, submit, run, requested, *zip(*shapes), [0] * jobs, record=False)
    _, processor, _ = timed(lambda: loop.advance(2**62, 1e9))
    return processor, f"{zlib.crc32(loop.start.tobytes()):08x}", np.array(loop.start)


def at_once(jobs):
    """The same of jobs of one core, all submitted at once to a machine of 16 processors."""
    rng = random.Random(1)
    requested = [rng.randint(60, 3600) * 10**6 for _ in range(jobs)]
    run = [int(time * rng.uniform(0.1, 1)) for time in requested]
    engine = Engine(Inventory.from_counts(16, 1), load_plugin("backfill.plugin1", "reserve-depth=-1"))
    loop = Loop(engine, [0] * jobs, run, requested, [0] * jobs, [1] * jobs, [1] * jobs, [0] * jobs, record=False)
    _, processor, _ = timed(lambda: loop.advance(2**62, 1e9))
    return processor, f"{zlib.crc32(loop.start.tobytes()):08x}"


def mixes(jobs, row):
    """Rows of jobs of mixed shapes."""
    for count, exact in ((jobs // 250, True), (jobs // 1000, False)):
        processor, check, starts = mixed(count, exact)
        ends = "as expected" if exact else "early"
        row(f"{count:,} jobs of mixed shapes, 256 nodes, load 2, ends {ends}, conservative: processor", processor, "s",
            check)
    # What it costs to compress reservations now and then instead of planning anew at each early end.
    every = ",compression=true,compression-interval=14400"
    what = "mixed shapes, load 2, ends early, compressed each 4 h"
    processor, check, others = mixed(count, False, every)
    row(f"{count:,} jobs of {what}: processor", processor, "s", check)
    row(f"{count:,} jobs of {what}: starts that differ", 100 * np.mean(others != starts), "%")
    row(f"{count:,} jobs of {what}: by, in the mean of the absolute", np.mean(abs(others - starts)) / 6e7, "min")
    row(f"{count:,} jobs of {what}: later, in the mean", np.mean(others - starts) / 6e7, "min")
    processor, check, _ = mixed(4 * count, False, every)
    row(f"{4 * count:,} jobs of {what}: processor", processor, "s", check)


def main(jobs, traces):
    rows = []

    def row(what, value, unit, check=""):
        rows.append({"what": what, "value": value, "unit": unit, "checksum": check})
        print(f"{what:<74} {value:>10.3f} {unit:<4} {check}", flush=True)

    OUT.mkdir(parents=True, exist_ok=True)
    for given in traces or [QUARTER]:
        wall, _, read = timed(lambda given=given: formats.load(given))
        row(f"{Path(given).name}, {len(read):,} jobs: read", wall * 1e3, "ms")
        for policy in ("fcfs", "easy", "hybrid8", "conservative"):
            runs = [api.run(read, plugin=policy) for _ in range(5)]
            row(f"{Path(given).name}, {policy}: loop", min(r.loop_time for r in runs) * 1e3, "ms", checksum(runs[0]))

    path = OUT / "synthetic.swf"
    wall, _, made = timed(lambda: lublin.generate(jobs, 16384, 0.9, seed=1, overestimate=3.0))
    row(f"{jobs:,} synthetic jobs: generate", wall, "s")
    wall, _, _ = timed(lambda: swf.write(made, path))
    row(f"{jobs:,} synthetic jobs: write as SWF", wall, "s")
    wall, _, _ = timed(lambda: formats.load(path))
    row(f"{jobs:,} synthetic jobs: read", wall, "s")
    path.unlink()

    for policy, count, load, record in (("easy", jobs, 0.9, False), ("easy", jobs, 0.9, True),
                                        ("fcfs", jobs, 0.6, False), ("conservative", jobs, 0.9, False),
                                        ("hybrid8", jobs // 10, 0.9, False), ("conservative", jobs // 50, 0.9, False),
                                        ("easy+f1", jobs // 10, 0.9, False), ("easy", jobs // 50, 1.3, False),
                                        ("conservative", jobs // 250, 1.3, False)):
        figures = one(count, 16384, load, policy, record)
        what = f"{count:,} jobs, 16,384 nodes, load {load}, {policy}" + (", processors kept" if record else "")
        row(f"{what}: wall", figures["wall"], "s", figures["checksum"])
        row(f"{what}: processor", figures["processor"], "s")
        row(f"{what}: peak", figures["mib"], "MiB")
        if not record:
            cells = [f"{least:,}+: {spent / n * 1e6:.1f}" for least, n, spent in figures["by_queue"] if n >= 20]
            print("    pass in us by queue length   " + "  ".join(cells))
        rows[-1]["pass_by_queue_length"] = figures["by_queue"]
    # Queues of tens of thousands of jobs, as they come up on a machine that is asked for more than it has.
    for policy, count in (("easy", jobs // 10), ("fcfs+sjf", jobs // 20), ("easy+sjf", jobs // 20)):
        figures = one(count, 1024, 1.5, policy, False)
        what = f"{count:,} jobs, 1,024 processors, load 1.5, {policy}"
        row(f"{what}: wall", figures["wall"], "s", figures["checksum"])
        row(f"{what}: processor", figures["processor"], "s")
    processor, check = at_once(jobs // 125)
    row(f"{jobs // 125:,} jobs of one core at once, 16 processors, conservative: processor", processor, "s", check)
    mixes(jobs, row)
    (OUT / "simulate.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(f"written to {OUT / 'simulate.json'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, sys.argv[2:])
