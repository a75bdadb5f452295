# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Engine benchmarks: loading, a match, and a pass of each plugin.

Prints a table and writes build/bench/engine.json. With each time stands a
checksum of the schedule that was made, so that a change of speed which is a
change of behaviour is seen. Run it by `make bench`, or by itself with node
counts as arguments.
"""
import json
import random
import resource
import statistics
import subprocess
import sys
import time
import zlib
from pathlib import Path

from fluxsched.core import Engine, Inventory
from fluxsched.formats.jobspec import Request
from fluxsched.policy.loader import load_plugin

CORES, GPUS, WAITING = 64, 4, 1000
FIRST = 1_000_000            # id of the first job that waits
COMPRESSED = ",compression=true,compression-interval=14400"
TOP = Path(__file__).resolve().parent.parent


def request(nnodes=0, nslots=1, cores=1, gpus=0, exclusive=False, duration=3600.0, queue="", constraint=None):
    return Request(nnodes, nslots, cores, gpus, exclusive, duration, queue, constraint, None)


def r_object(nnodes):
    return {
        "version": 1,
        "execution": {
            "R_lite": [{"rank": f"0-{nnodes - 1}", "children": {"core": f"0-{CORES - 1}", "gpu": f"0-{GPUS - 1}"}}],
            "nodelist": [f"node[0-{nnodes - 1}]"],
            "starttime": 0,
            "expiration": 0,
        },
    }


def median_of(repeat, run):
    """Median seconds of run(), and its last result."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def load(nnodes):
    """Seconds and MiB that loading an inventory from R takes, in a new process."""
    code = (
        "import sys, json, time, resource; sys.path.insert(0, sys.argv[1]); import bench_engine as b\n"
        "R = b.r_object(int(sys.argv[2])); rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "t = time.perf_counter(); e = b.Engine(b.Inventory.from_r(R), b.load_plugin('backfill.plugin1'))\n"
        "print(json.dumps([time.perf_counter() - t, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,"
        " rss / 1024]))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(TOP / "bench"), str(nnodes)], check=True, capture_output=True, text=True
    )
    return json.loads(out.stdout)


def resident_mib():
    """Memory of this process."""
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def checksum(engine):
    """A number that two schedules share only if they are the same."""
    text = ";".join(f"{job}={engine.resource_summary(job)}" for job in sorted(engine.running_jobs()))
    return f"{zlib.crc32(text.encode()):08x}"


def match(nnodes):
    """Seconds for one job of one core on one node: queue, match, bookkeeping; a pass each and in one pass."""
    count = 2000
    engine = Engine(Inventory.from_counts(nnodes, CORES, GPUS), load_plugin("sched.plugin1"))
    one = request(1)

    def singles():
        for job in range(count):
            engine.add(job, one)
            engine.schedule(0.0)

    single, _ = median_of(1, singles)
    sums = [checksum(engine)]
    for job in range(count):
        engine.free(job)
    for job in range(count):
        engine.add(job, one, t_submit=job)
    burst, _ = median_of(1, lambda: engine.schedule(0.0))
    return single / count, burst / count, sums[0]


def busy(nnodes, plugin, options, exclusive):
    """An engine whose nodes are all but a few in use, and WAITING jobs."""
    engine = Engine(Inventory.from_counts(nnodes, CORES, GPUS), load_plugin(plugin, options))
    held = max(1, nnodes // 256)
    # Two nodes stay idle and no job is that small, so a pass has to look at all.
    for job in range((nnodes - nnodes // 50) // held):
        engine.add(job, request(held, 1 if exclusive else 48, 1, 0, exclusive, 600.0 + 7 * (job % 997)))
    engine.schedule(0.0)
    first = 1_000_000
    for job in range(WAITING):
        size = 3 + (job * 7919) % (nnodes // 4)
        if exclusive:
            wanted = request(size, 1, 1, 0, True, 300.0 + job % 5000)
        else:
            shape = (4, 8, 1) if job % 3 == 0 else (20 + job % 44, 1, 0)
            wanted = request(size, *shape, False, 300.0 + job % 5000)
        engine.add(first + job, wanted, t_submit=1.0 + job)
    return engine


def passes(nnodes, plugin, options, exclusive):
    """Median seconds of the first pass over WAITING jobs, which may start some, and of one that starts none; how many
    jobs the latter considers; a checksum."""
    first, engine = [], None
    for _ in range(3):
        engine = busy(nnodes, plugin, options, exclusive)
        start = time.perf_counter()
        engine.schedule(10.0)
        first.append(time.perf_counter() - start)
    before = engine.stats()["considered"]
    again, _ = median_of(3, lambda: engine.schedule(11.0))
    considered = (engine.stats()["considered"] - before) // 3
    return statistics.median(first), again, considered, checksum(engine)


# The real mix: queues, constraints, shared nodes with gpus, long queues, all under conservative backfill.


def split(nnodes, parts):
    """Constraints on ranks: fractions (first, last) of the machine."""
    return [{"ranks": [f"{int(first * nnodes)}-{int(last * nnodes) - 1}"]} for first, last in parts]


QUEUES = {
    "no queues": None,
    "two disjoint queues": [(0, 0.9), (0.9, 1)],
    "four queues, two overlap": [(0, 0.5), (0.4, 0.7), (0.7, 0.9), (0.9, 1)],
}


def backfill(nnodes, depth, more=""):
    """An engine on equal nodes. more: options."""
    return Engine(
        Inventory.from_counts(nnodes, CORES, GPUS), load_plugin("backfill.plugin1", f"reserve-depth={depth}{more}")
    )


def queued(nnodes, waiting, parts, depth=-1):
    """An engine with whole-node jobs on nearly all nodes, and jobs that wait in queues of their own nodes; and a
    request like the last one."""
    engine = backfill(nnodes, depth)
    constraints = split(nnodes, parts) if parts else [None]
    sizes = [int((last - first) * nnodes) for first, last in parts] if parts else [nnodes]
    for job in range(4 * len(constraints) * 64):
        q = job % len(constraints)
        size = max(1, sizes[q] // 64)
        engine.add(job, request(size, 1, 1, 0, True, 600.0 + 7 * (job % 997), f"q{q}", constraints[q]), t_submit=job)
    engine.schedule(0.0)
    for job in engine.waiting():
        engine.cancel(job)
    for job in range(waiting):
        q = job // 10 % len(constraints) if job % 10 == 0 else 0
        size = 1 + (job * 7919) % max(1, sizes[q] // 4)
        wanted = request(size, 1, 1, 0, True, 300.0 + job % 5000, f"q{q}", constraints[q])
        engine.add(FIRST + job, wanted, t_submit=1e6 + job)
    return engine, wanted


def apart(nnodes, waiting):
    """As queued with two queues, but that the jobs of the lesser one share its nodes."""
    engine, wanted = queued(nnodes, waiting, QUEUES["two disjoint queues"])
    lesser = split(nnodes, QUEUES["two disjoint queues"])[1]
    for job in range(10, waiting, 20):
        if engine.cancel(FIRST + job):
            slots = request(0, 1 + job % 500, 2, 0, False, 300.0 + job % 5000, "q1", lesser)
            engine.add(FIRST + job, slots, t_submit=1e6 + job)
    return engine, wanted


def lent(nnodes, waiting):
    """As queued with two queues, but that one job more takes cores, wherever they are: nodes are shared, so that all
    are planned one by one."""
    engine, wanted = queued(nnodes, waiting, QUEUES["two disjoint queues"])
    engine.add(2 * FIRST - 1, request(0, 2, 1, 0, False, 600.0), t_submit=0.0)
    return engine, wanted


def shared(nnodes, waiting, depth=-1, more=""):
    """An engine whose nodes jobs share: slots of 1 to 16 cores, a quarter of them with a gpu, none larger than a
    hundredth of the machine; and a request of this kind."""
    engine = backfill(nnodes, depth, more)
    rng = random.Random(1)

    def wanted():
        cores, gpus = rng.choice([1, 2, 4, 8, 16]), int(rng.random() < 0.25)
        most = nnodes * (GPUS if gpus else CORES) // (GPUS if gpus else cores) // 100
        return request(0, rng.randint(1, max(1, most)), cores, gpus, False, float(rng.randint(60, 36000)))

    for job in range(10**5):
        engine.add(job, wanted(), t_submit=job)
        if job % 20 == 19:
            engine.schedule(0.0)
            if len(engine.waiting()) > 20:
                break
    for job in range(waiting):
        engine.add(FIRST + job, wanted(), t_submit=1e6 + job)
    return engine, wanted()


def sized(nnodes, waiting):
    """An engine as of queued without queues, whose waiting jobs accept up to twice as many nodes as they need (RFC 14);
    and a request like the last one."""
    engine, _ = queued(nnodes, 1, None)
    engine.cancel(FIRST)
    for job in range(waiting):
        size = 1 + (job * 7919) % (nnodes // 4)
        wanted = request(size, 1, 1, 0, True, 300.0 + job % 5000)._replace(node_counts=(range(size, 2 * size + 1),))
        engine.add(FIRST + job, wanted, t_submit=1e6 + job)
    return engine, wanted


def site(nnodes, waiting, depth=16):
    """An engine on a machine of which a quarter has gpus and a fiftieth is drained: a queue of
    all nodes, one of those with gpus, and one of a tenth without; jobs take whole nodes or slots; and a request like
    the last one."""
    gpus = nnodes // 4
    inventory = Inventory(
        list(range(nnodes)), [f"node{i}" for i in range(nnodes)], [f"0-{CORES - 1}"] * nnodes,
        [f"0-{GPUS - 1}" if i < gpus else "" for i in range(nnodes)],
    )
    engine = Engine(inventory, load_plugin("backfill.plugin1", f"reserve-depth={depth}"))
    queues = [("batch", None), ("gpu", {"ranks": [f"0-{gpus - 1}"]}),
              ("debug", {"ranks": [f"{gpus}-{gpus + nnodes // 10}"]})]
    rng = random.Random(3)

    def wanted():
        queue, constraint = rng.choice(queues)
        duration = float(rng.randint(60, 36000))
        if rng.random() < 0.3:
            return request(rng.randint(1, nnodes // 50), 1, 1, 0, True, duration, queue, constraint)
        cores = rng.choice([1, 2, 4, 8, 16])
        return request(0, rng.randint(1, nnodes // 4), cores, int(queue == "gpu"), False, duration, queue, constraint)

    for job in range(10**5):
        engine.add(job, wanted(), t_submit=job)
        if job % 20 == 19:
            engine.schedule(0.0)
            if len(engine.waiting()) > 40:
                break
    for job in range(waiting):
        engine.add(FIRST + job, wanted(), t_submit=1e6 + job)
    engine.mark_down(",".join(str(rank) for rank in range(0, nnodes, 50)))
    return engine, wanted()


def planned(engine):
    """A checksum of the planned starts of all jobs that wait."""
    return f"{zlib.crc32(repr([engine.estimate(job) for job in engine.waiting()]).encode()):08x}"


def plan_rows(make, row, nnodes, name):
    """A pass from scratch, and passes after small changes. make: an engine, and a Request that may come."""
    engine, one = make()
    what = f"{name}, {len(engine.waiting())} waiting"
    seconds, _ = median_of(1, lambda: engine.schedule(1.0))
    row(nnodes, f"{what}: from scratch", seconds * 1e3, "ms", planned(engine))
    seconds, _ = median_of(5, lambda: engine.schedule(1.0))
    row(nnodes, f"{what}: after nothing", seconds * 1e3, "ms", planned(engine))
    times = []
    for job in range(5):
        engine.add(2 * FIRST + job, one, t_submit=1e7 + job)
        times.append(median_of(1, lambda: engine.schedule(1.0))[0])
    row(nnodes, f"{what}: after one arrival", statistics.median(times) * 1e3, "ms", planned(engine))
    times = []
    for _ in range(5):
        end = min(engine.times(job)[1] for job in engine.running_jobs())
        for other in [other for other in engine.running_jobs() if engine.times(other)[1] == end]:
            engine.free(other)
        times.append(median_of(1, lambda end=end: engine.schedule(end))[0])
    row(nnodes, f"{what}: after one expected end", statistics.median(times) * 1e3, "ms", planned(engine))
    times = []
    for _ in range(5):
        engine.free(max((engine.times(job)[1], job) for job in engine.running_jobs())[1])
        times.append(median_of(1, lambda: engine.schedule(end))[0])
    row(nnodes, f"{what}: after one early end", statistics.median(times) * 1e3, "ms", planned(engine))
    row(nnodes, f"{what}: resident", resident_mib(), "MiB")


def forks(row, nnodes=16384, running=5000, waiting=10000):
    """A copy of a large engine, whose jobs share nodes or take whole ones."""
    for exclusive in (True, False):
        engine = Engine(Inventory.from_counts(nnodes, CORES, GPUS), load_plugin("backfill.plugin1"))
        for job in range(running):
            engine.add(job, request(3 if exclusive else 1, 1 if exclusive else 48, 1, 0, exclusive, 600.0 + job % 997))
        engine.schedule(0.0)
        for job in range(waiting):
            engine.add(FIRST + job, request(12000 + job % 4000, 1, 1, 0, True, 300.0 + job), t_submit=1.0 + job)
        engine.schedule(1.0)
        seconds, _ = median_of(100, lambda engine=engine: engine.fork() and None)
        kind = "whole nodes" if exclusive else "shared nodes"
        row(nnodes, f"fork, {kind}: {len(engine.running_jobs())} running, {len(engine.waiting())} waiting",
            seconds * 1e3, "ms")


def mixes(row):
    for name, parts in QUEUES.items():
        plan_rows(lambda parts=parts: queued(11136, 1000, parts), row, 11136, f"conservative, whole nodes, {name}")
    plan_rows(lambda: queued(16384, 10000, QUEUES["two disjoint queues"]), row, 16384,
              "conservative, whole nodes, two disjoint queues")
    plan_rows(lambda: apart(11136, 1000), row, 11136, "conservative, two disjoint queues, one of shared nodes")
    for nnodes, waiting in ((11136, 1000), (16384, 10000)):
        plan_rows(lambda nnodes=nnodes, waiting=waiting: lent(nnodes, waiting), row, nnodes,
                  "conservative, whole nodes, two disjoint queues, one job of cores")
    plan_rows(lambda: sized(11136, 1000), row, 11136, "conservative, whole nodes, ranges of counts")
    for nnodes, waiting in ((1024, 1000), (16384, 1000), (1024, 10000)):
        plan_rows(lambda nnodes=nnodes, waiting=waiting: shared(nnodes, waiting), row, nnodes,
                  "conservative, shared nodes with gpus")
    # Reservations that stay, and are not planned anew at each early end.
    for nnodes, waiting in ((1024, 10000), (16384, 1000)):
        plan_rows(lambda nnodes=nnodes, waiting=waiting: shared(nnodes, waiting, -1, COMPRESSED), row, nnodes,
                  "conservative, compressed each 4 h, shared nodes with gpus")
    for depth in (1, 16):
        plan_rows(lambda depth=depth: queued(16384, 10000, QUEUES["two disjoint queues"], depth), row, 16384,
                  f"depth {depth}, whole nodes, two disjoint queues")
        plan_rows(lambda depth=depth: shared(1024, 10000, depth), row, 1024, f"depth {depth}, shared nodes with gpus")
        for nnodes, waiting in ((1024, 1000), (16384, 1000), (16384, 10000)):
            plan_rows(lambda nnodes=nnodes, waiting=waiting, depth=depth: site(nnodes, waiting, depth), row, nnodes,
                      f"depth {depth}, three queues, gpus, drains")


def main(counts):
    rows = []

    def row(nodes, what, value, unit, check=""):
        rows.append({"nodes": nodes, "what": what, "value": value, "unit": unit, "checksum": check})
        print(f"{nodes:>7}  {what:<84} {value:>10.3f} {unit:<4} {check}", flush=True)

    for nnodes in counts:
        seconds, mib, base = load(nnodes)
        row(nnodes, "load from R", seconds * 1e3, "ms")
        row(nnodes, f"resident after load (before: {base:.0f} MiB)", mib, "MiB")
        single, burst, check = match(nnodes)
        row(nnodes, "one-core job: add, pass, match, bookkeeping", single * 1e6, "us", check)
        row(nnodes, "one-core job in a burst of one pass", burst * 1e6, "us", check)
        for plugin, options, name in (
            ("sched.plugin1", "", "FCFS"),
            ("backfill.plugin1", "", "EASY"),
            ("backfill.plugin1", "reserve-depth=8", "hybrid 8"),
            ("backfill.plugin1", "reserve-depth=-1", "conservative"),
            ("backfill.plugin1", "reserve-depth=-1,queue-depth=100", "conservative, queue-depth 100"),
        ):
            for exclusive in (True, False):
                kind = "whole nodes" if exclusive else "shared nodes"
                first, again, considered, check = passes(nnodes, plugin, options, exclusive)
                row(nnodes, f"{name}, {kind}: pass that starts jobs", first * 1e3, "ms", check)
                row(nnodes, f"{name}, {kind}: pass that starts none ({considered} seen)", again * 1e3, "ms", check)
    mixes(row)
    forks(row)
    out = TOP / "build" / "bench"
    out.mkdir(parents=True, exist_ok=True)
    (out / "engine.json").write_text(json.dumps(rows, indent=1) + "\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"written to {out / 'engine.json'}; peak {peak:.0f} MiB")


if __name__ == "__main__":
    main([int(arg) for arg in sys.argv[1:]] or [154, 1024, 16384])
