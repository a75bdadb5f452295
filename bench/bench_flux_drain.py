# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Drain of mock one-node jobs on a fake machine, in a real Flux instance.

The machine has 16,384 nodes of 64 cores and 4 gpus. Measured are the load of the module until it takes jobs, and the
time from the first submission until the last job is over, with the processor time that the module's thread took of it.
Which node a job gets depends on what had ended by then, so there is no checksum of the schedule: the records of all
jobs are checked for overlaps instead.

Then the cost of the record of jobs (lwj): the same jobs under the module with it, without it, and under sched-simple,
in turn, on one node of 64 cores: seconds until all are over, the broker's processor time until then, what a job leaves
in content.sqlite, and what the broker holds after more of them. The target is 5 % more than without the record, by the
medians of the turns.

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
TURNS = 3
MORE = 1.4              # times as many jobs again, before memory is looked at
SETTLED = 2.0           # seconds in which the last of the record is written


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


def drain(plugin, njobs, options=""):
    config = config_text(hosts=f"fake[0-{NODES - 1}]", cores=f"0-{CORES - 1}", gpus=f"0-{GPUS - 1}")
    with tempfile.TemporaryDirectory(prefix="drain") as folder:
        instance = Instance(folder, size=1, config=config)
        try:
            instance.flux("module", "reload", "resource", "noverify", "monitor-force-up", timeout=60)
            before = resident(instance)
            instance.load(f"plugin={plugin}", *([f"plugin-opts={options}"] if options else []))
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
        instance = Instance(folder, size=1, config=config, options=[f"-Sstatedir={state}"])

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


def main():
    config = json.loads((TOP / "build" / "config.json").read_text())
    if not config.get("flux"):
        print(f"no flux-core: {config.get('flux_reason') or 'configure found none'}")
        return
    njobs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
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
    rows += record_rows(njobs)
    path = TOP / "build" / "bench" / "flux-drain.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
