# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Drain of mock one-node jobs on a fake machine, in a real Flux instance.

The machine has 16,384 nodes of 64 cores and 4 gpus. Measured are the load of the module until it takes jobs, and the
time from the first submission until the last job is over, with the processor time that the module's thread took of it.
Which node a job gets depends on what had ended by then, so there is no checksum of the schedule: the records of all
jobs are checked for overlaps instead.

Then the cost of the record of decisions (record=DIR), and of two shadows (shadow=NAME,NAME): the same drain with each
and without, in turn. The target of the record is less than 2 % of the rate; shadows take at most a fifth of the time.
`bench_flux_drain.py N decisions` does this alone.

Then the cost of the record of jobs (lwj): the same jobs under the module with it, without it, and under sched-simple,
in turn, on one node of 64 cores: seconds until all are over, the broker's processor time until then, what a job leaves
in content.sqlite, and what the broker holds after more of them. The target is 5 % more than without the record, by the
medians of the turns.

Then what a long queue costs: mixed jobs on 512 fake nodes, 2,000 of them waiting, for a while under EASY, under
sched.plugin1 and under sched-simple: annotations a job, and the broker's processor time a second and a job that was
started. EASY is to take no more than 10 % more than sched-simple.

Then how long a pass may hold others up: 8,000 mixed jobs that all have reservations. While the first passes go on,
feasibility.check is asked all the time, and is to be answered within 100 ms; and what idles of the nodes is looked at.

Prints tables and writes build/bench/flux-drain.json. Where configure found no
flux-core it says so and does nothing. Run it by `make bench`, or by itself with the number of jobs.
"""
import json
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TOP / "build" / "lib"), str(TOP / "t")]

from fakehost import jobspec  # noqa: E402
from fluxinstance import Instance, check_overlaps, config_text  # noqa: E402

NODES, CORES, GPUS = 16384, 64, 4
TARGET_LOAD = 2.0       # seconds
TARGET_RATE = 75.0      # jobs a second, that of submission by flux submit
TARGET_RECORD = 1.05    # times what it costs without the record
TARGET_DECISIONS = 0.02  # of a drain's rate, for the record of decisions
TARGET_SHADOWS = 0.2    # of the time
SHADOWS = "easy+saf,conservative"
TURNS = 3
MORE = 1.4              # times as many jobs again, before memory is looked at
SETTLED = 2.0           # seconds in which the last of the record is written
TARGET_WAITING = 1.10   # times the processor time of sched-simple
TARGET_ANSWER = 0.1     # seconds in which a message is answered
NODES_WAIT = 512
WINDOW = 20.0           # seconds that are looked at


def ready_line(instance):
    """Seconds from the broker's start of the module to its line that it is ready."""
    begin = end = None
    for line in instance.dmesg().splitlines():
        stamp = re.match(r"\S+T(\d+):(\d+):([\d.]+)Z", line)
        seconds = int(stamp[1]) * 3600 + int(stamp[2]) * 60 + float(stamp[3]) if stamp else 0.0
        if "insmod sched" in line:
            begin = seconds
        elif "sched.info" in line and "ready:" in line:
            end = seconds
    return end - begin


def resident(instance):
    """MiB that the broker of rank 0 holds."""
    pid = instance.flux("getattr", "broker.pid").strip()
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def processor(instance):
    """Seconds of processor time that the broker of rank 0 has taken, with all its modules."""
    pid = instance.flux("getattr", "broker.pid").strip()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def drain(plugin, njobs, options="", record="", shadow=""):
    config = config_text(hosts=f"fake[0-{NODES - 1}]", cores=f"0-{CORES - 1}", gpus=f"0-{GPUS - 1}")
    with tempfile.TemporaryDirectory(prefix="drain") as folder:
        instance = Instance(folder, size=1, config=config, record=record)
        try:
            instance.flux("module", "reload", "resource", "noverify", "monitor-force-up", timeout=60)
            before = resident(instance)
            instance.load(f"plugin={plugin}", *([f"plugin-opts={options}"] if options else []),
                          *([f"shadow={shadow}"] if shadow else []))
            load, memory = ready_line(instance), resident(instance) - before
            cpu = instance.stats()["cpu"]
            begin = time.monotonic()
            jobids = []
            for first in range(0, njobs, 50):
                specs = [jobspec(nodes=1, slots=1, cores=1, duration=600.0) for _ in range(min(50, njobs - first))]
                found = instance.submit(*specs)
                jobids += found if isinstance(found, list) else [found]
            submitted = time.monotonic() - begin
            instance.flux("queue", "drain", timeout=600)
            total = time.monotonic() - begin
            stats = instance.stats()
            shadows = instance.ask("rpc", topic="sched.shadow", payload={})["shadows"] if shadow else []
            checked = check_overlaps(instance, jobids)
        finally:
            instance.stop()
    return {
        "plugin": plugin,
        "jobs": njobs,
        "load_seconds": load,
        "load_mib": memory,
        "submit_seconds": submitted,
        "total_seconds": total,
        "jobs_per_second": njobs / total,
        "sched_cpu_seconds": stats["cpu"] - cpu,
        "sched_share": (stats["cpu"] - cpu) / total,
        "pass_seconds": stats["pass"]["seconds"],
        "pass_max": stats["pass"]["max"],
        "passes": stats["counts"]["passes"],
        "commits": stats["counts"]["commits"],
        "checked": checked,
        "shadow_seconds": sum(row["seconds"] for row in shadows),
        "shadow_stopped": [row["stopped"] for row in shadows],
    }


def submit_many(instance, njobs):
    """Submit mock jobs by one command and wait until they are over; seconds."""
    begin = time.monotonic()
    instance.flux("submit", f"--cc=1-{njobs}", "--quiet", "--setattr=exec.test.run_duration=0.01s", "true", timeout=600)
    instance.flux("queue", "drain", timeout=600)
    return time.monotonic() - begin


def cost_of_record(kind, njobs):
    """One turn under "lwj", "lwj-keep=0" or "sched-simple"."""
    with tempfile.TemporaryDirectory(prefix="record") as folder:
        state = Path(folder, "state")
        state.mkdir()
        config = config_text(hosts="fake0", cores=f"0-{CORES - 1}")
        instance = Instance(folder, size=1, config=config, options=[f"-Sstatedir={state}"], record="")

        def stored():
            return sum(path.stat().st_size for path in state.glob("content.sqlite*"))

        try:
            instance.flux("module", "reload", "resource", "noverify", "monitor-force-up", timeout=60)
            if kind == "sched-simple":
                instance.flux("module", "load", "sched-simple")
            else:
                instance.load(*([] if kind == "lwj" else [kind]))
            before, cpu = stored(), processor(instance)
            seconds = submit_many(instance, njobs)
            time.sleep(SETTLED)
            cpu = processor(instance) - cpu
            kib = (stored() - before) / njobs / 1024
            submit_many(instance, int(njobs * MORE))
            return {"kind": kind, "jobs": njobs, "seconds": seconds, "cpu_seconds": cpu, "kib_a_job": kib,
                    "rss_mib": resident(instance)}
        finally:
            instance.stop()


def record_rows(njobs):
    """All turns, one scheduler after another in each, and a table of medians."""
    kinds = ("lwj", "lwj-keep=0", "sched-simple")
    rows = [{"turn": turn, **cost_of_record(kind, njobs)} for turn in range(TURNS) for kind in kinds]
    medians = {
        kind: {name: statistics.median(row[name] for row in rows if row["kind"] == kind)
               for name in ("seconds", "cpu_seconds", "kib_a_job", "rss_mib")}
        for kind in kinds
    }
    total = njobs + int(njobs * MORE)
    print(f"\nthe record of jobs: {njobs} mock jobs on one node, memory after {total}, {TURNS} turns")
    print(f"{'':18}{'total s':>9}{'broker cpu s':>14}{'KiB a job':>11}{'MiB':>7}")
    for kind, row in medians.items():
        print(f"{kind:18}{row['seconds']:9.2f}{row['cpu_seconds']:14.2f}{row['kib_a_job']:11.2f}{row['rss_mib']:7.0f}")
    ratios = [medians["lwj"][name] / value for name, value in medians["lwj-keep=0"].items()]
    print(f"{'with / without':18}{ratios[0]:9.2f}{ratios[1]:14.2f}{ratios[2]:11.2f}{ratios[3]:7.2f}"
          f"   target: at most {TARGET_RECORD}")
    return rows


def decision_rows(njobs):
    """What it costs to record what is decided (record=DIR), and to have two shadows: the same drain with and without,
    in turn; the module's processor time tells more than the rate, which depends on what else the machine does."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="decisions") as folder:
        for turn in range(TURNS):
            for kind, more in (("as it is", {}), ("record", {"record": f"{folder}/{turn}"}),
                               ("two shadows", {"shadow": SHADOWS})):
                rows.append({"kind": kind, "turn": turn, **drain("backfill.plugin1", njobs, **more)})
        size = sum(path.stat().st_size for path in Path(folder).glob("*/*")) / TURNS / njobs
    medians = {
        kind: {name: statistics.median(row[name] for row in rows if row["kind"] == kind)
               for name in ("jobs_per_second", "sched_cpu_seconds", "total_seconds", "shadow_seconds")}
        for kind in ("as it is", "record", "two shadows")
    }
    print(f"\nthe same drain of {njobs} jobs as it is, with record=DIR, and with shadow={SHADOWS}; {TURNS} turns; the"
          f" record has {size:.0f} bytes a job")
    without = medians["as it is"]
    for kind, row in medians.items():
        rate = 1 - row["jobs_per_second"] / without["jobs_per_second"]
        more = (row["sched_cpu_seconds"] - without["sched_cpu_seconds"]) / without["total_seconds"]
        print(f"{kind:18}{row['jobs_per_second']:8.1f} jobs/s{row['sched_cpu_seconds']:9.3f} s of the module's cpu"
              f"   costs {rate:6.1%} of the rate, {more:.2%} of the time is cpu for it")
    shadowed = medians["two shadows"]
    print(f"shadows took {shadowed['shadow_seconds']:.3f} s of a drain of {shadowed['total_seconds']:.1f} s"
          f"   targets: record below {TARGET_DECISIONS:.0%}, shadows below {TARGET_SHADOWS:.0%}")
    return rows


def mixed(number):
    """One of mixed shapes: 1 to 8 nodes, time limits of 1 to 7 minutes."""
    return jobspec(nodes=1 + number % 8, slots=1, cores=4, duration=60.0 + number * 37 % 360)


def waiting_instance(folder):
    """An instance of 512 fake nodes of 4 cores."""
    instance = Instance(folder, size=1, config=config_text(hosts=f"fake[0-{NODES_WAIT - 1}]", cores="0-3"), record="")
    instance.flux("module", "reload", "resource", "noverify", "monitor-force-up", timeout=60)
    return instance


def submit_mixed(instance, njobs, run):
    """Submit jobs of mixed shapes to a stopped queue."""
    instance.flux("queue", "stop")
    for first in range(0, njobs, 50):
        instance.submit(*[mixed(number) for number in range(first, min(first + 50, njobs))], run=run)


def starts(instance):
    """How many jobs run or have run."""
    states = instance.ask("rpc", topic="job-list.job-stats", payload={})["job_states"]
    return states["run"] + states["cleanup"] + states["inactive"]


def cost_of_waiting(kind, njobs):
    """One scheduler with a queue of `njobs`, of which a few hundred run within the window."""
    with tempfile.TemporaryDirectory(prefix="wait") as folder:
        instance = waiting_instance(folder)
        try:
            if kind == "sched-simple":
                instance.flux("module", "load", "sched-simple")
            else:
                instance.load(f"plugin={kind}", "lwj-keep=0")
            submit_mixed(instance, njobs, run=5.0)
            cpu, begin = processor(instance), time.monotonic()
            instance.flux("queue", "start")
            time.sleep(WINDOW)
            cpu, seconds = processor(instance) - cpu, time.monotonic() - begin
            told = None if kind == "sched-simple" else instance.stats()["counts"]["annotate"]
            started = starts(instance)
            instance.flux("cancel", "--all", "--quiet", timeout=120)
        finally:
            instance.stop()
    return {
        "kind": kind, "jobs": njobs, "started": started, "annotations_a_job": None if told is None else told / njobs,
        "cpu_share": cpu / seconds, "cpu_ms_a_start": 1000 * cpu / max(started, 1),
    }


def waiting_rows(njobs):
    """A table of what a queue costs under each scheduler."""
    print(f"\n{njobs} mixed jobs on {NODES_WAIT} nodes, the first {WINDOW:g} s")
    print(f"{'':18}{'started':>9}{'annotations a job':>19}{'broker cpu':>12}{'ms a start':>12}")
    rows = []
    for kind in ("backfill.plugin1", "sched.plugin1", "sched-simple"):
        row = cost_of_waiting(kind, njobs)
        rows.append(row)
        told = "" if row["annotations_a_job"] is None else f"{row['annotations_a_job']:.2f}"
        print(f"{kind:18}{row['started']:9}{told:>19}{row['cpu_share']:12.1%}{row['cpu_ms_a_start']:12.1f}")
    ratio = rows[0]["cpu_share"] / rows[-1]["cpu_share"]
    print(f"{'EASY / simple':18}{'':28}{ratio:12.2f}   target: at most {TARGET_WAITING}")
    return rows


def answers_in_a_long_pass(njobs):
    """A conservative queue of `njobs` from its start on: how long answers take, and how many nodes idle."""
    with tempfile.TemporaryDirectory(prefix="pass") as folder:
        instance = waiting_instance(folder)
        try:
            instance.load("plugin=backfill.plugin1", "plugin-opts=reserve-depth=-1", "lwj-keep=0")
            submit_mixed(instance, njobs, run=10.0)
            question = {"jobspec": jobspec()}
            took, idle = [], []
            instance.flux("queue", "start")
            begin = time.monotonic()
            while time.monotonic() - begin < WINDOW:
                asked = time.monotonic()
                instance.ask("rpc", topic="feasibility.check", payload=question)
                took.append(time.monotonic() - asked)
                nodes = instance.stats()["engine"]["nodes"]
                idle.append((time.monotonic() - begin, nodes["idle"] / nodes["up"]))
            stats = instance.stats()
            started = starts(instance)
            instance.flux("cancel", "--all", "--quiet", timeout=300)
        finally:
            instance.stop()
    full = next((when for when, share in idle if share < 0.05), None)
    later = [share for when, share in idle if full is not None and when > full]
    took.sort()
    return {
        "jobs": njobs, "asked": len(took), "median_ms": 1000 * statistics.median(took), "longest_ms": 1000 * took[-1],
        "full_after": full, "idle_mean": statistics.mean(later) if later else None, "started": started,
        "pass_max": stats["pass"]["max"], "longest_slice_ms": 1000 * stats["pass"]["longest_slice"],
    }


def long_pass_row(njobs):
    """How long answers take in long passes."""
    row = answers_in_a_long_pass(njobs)
    full = "never" if row["full_after"] is None else f"{row['full_after']:.1f} s"
    idle = "" if row["idle_mean"] is None else f"{row['idle_mean']:.1%}"
    print(f"\n{njobs} mixed jobs on {NODES_WAIT} nodes, reserve-depth=-1, {WINDOW:g} s: {row['started']} started;"
          f" longest pass {row['pass_max']:.2f} s, longest slice {row['longest_slice_ms']:.0f} ms")
    print(f"feasibility.check asked {row['asked']} times: median {row['median_ms']:.1f} ms, longest"
          f" {row['longest_ms']:.0f} ms (target: {1000 * TARGET_ANSWER:g}); 95 % of the nodes busy after {full},"
          f" idle from then on: {idle}")
    return [row]


def main():
    config = json.loads((TOP / "build" / "config.json").read_text())
    if not config.get("flux"):
        print(f"no flux-core: {config.get('flux_reason') or 'configure found none'}")
        return
    njobs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    if sys.argv[2:] == ["decisions"]:
        decision_rows(njobs)
        return
    print(f"{njobs} mock one-node jobs on {NODES} fake nodes of {CORES} cores and {GPUS} gpus")
    print(f"{'plugin':18}{'load s':>8}{'MiB':>7}{'submit s':>10}{'total s':>9}{'jobs/s':>8}"
          f"{'sched cpu s':>13}{'share':>7}{'passes s':>10}{'longest ms':>12}")
    rows = []
    for plugin in ("sched.plugin1", "backfill.plugin1"):
        row = drain(plugin, njobs)
        rows.append(row)
        print(f"{row['plugin']:18}{row['load_seconds']:8.2f}{row['load_mib']:7.0f}{row['submit_seconds']:10.2f}"
              f"{row['total_seconds']:9.2f}{row['jobs_per_second']:8.1f}{row['sched_cpu_seconds']:13.2f}"
              f"{row['sched_share']:7.1%}{row['pass_seconds']:10.4f}{row['pass_max'] * 1000:12.2f}")
    print(f"targets: loaded in under {TARGET_LOAD:g} s; at least {TARGET_RATE:g} jobs/s")
    rows += decision_rows(njobs)
    rows += record_rows(njobs)
    rows += waiting_rows(2 * njobs)
    rows += long_pass_row(8 * njobs)
    path = TOP / "build" / "bench" / "flux-drain.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
