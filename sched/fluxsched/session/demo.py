# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What `make demo` shows: the walk-through of a session, then a batch under backfill on an emulated cluster, and what
would have become of it under other policies.

Everything here is done with the commands that people type, or with the requests that these send.
"""
from __future__ import annotations

import argparse
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fluxsched import program
from fluxsched.formats import idset, rdl
from fluxsched.formats.quote import printable
from fluxsched.session.commands import buildspec, submit
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.errors import CommandError
from fluxsched.session.signals import SignalPipe

CLUSTER = "hype"
BINS = 72  # columns of the chart, fewer on a narrow terminal
LABEL = 10  # columns before them: which nodes
ROWS = 22  # and its lines
OTHERS = "conservative,first-fit,fcfs,easy+sjf,easy+saf"  # policies that the batch is tried under

# name, nodes, time limit and true run time in seconds, how often
MIX = (
    ("setup", 40, 4, 1.0, 1),
    ("climate", 100, 6, 2.5, 1),
    ("climate", 120, 6, 2.0, 1),
    ("post", 8, 3, 0.8, 4),
    ("sweep", 24, 4, 1.4, 5),
    ("whole", 154, 4, 0.8, 1),
    ("test", 2, 2, 0.3, 6),
    ("sweep", 30, 4, 1.6, 3),
    ("post", 16, 3, 0.7, 4),
)


def main() -> int:
    """Show both parts, or inside a session that this program has started its one part; returns the exit code."""
    program.secure_streams()
    return program.run("demo", _main)


def _main() -> int:
    p = argparse.ArgumentParser(prog="python -m fluxsched.session.demo", description="Show a session at work.")
    p.add_argument("--conf", metavar="FILE", help="RDL file of the cluster (default: hype.lua of conf/)")
    p.add_argument("--pictures", metavar="DIR", help="draw pictures into this folder, too (needs the extra simulate)")
    p.add_argument("--part", choices=("walk", "batch"), help=argparse.SUPPRESS)
    options = p.parse_args()
    if options.conf is None:
        options.conf = os.path.realpath(rdl.conf_directory() / f"{CLUSTER}.lua")
    if not os.path.isfile(options.conf):
        program.tell(f"demo: {options.conf}: no such file; name an RDL file with --conf")
        return 1
    if options.part is not None:
        return _part(options)
    print("A session of three ranks on this machine, as in the walk-through of the README\n", flush=True)
    print("$ flux start -s3", flush=True)
    code = _session(["-s3"], "walk", options)
    if code:
        return code
    print(f"\nA batch of jobs under backfill.plugin1, on {CLUSTER} emulated: commands run here\n", flush=True)
    print(f"$ flux start --emulate={_short(options.conf)}", flush=True)
    return _session([f"--emulate={options.conf}"], "batch", options)


def _part(options: argparse.Namespace) -> int:
    program.end_by_signal()
    try:
        return walk(options.conf) if options.part == "walk" else batch(options.pictures)
    except (CommandError, RPCError) as error:
        program.tell(f"demo: {error}")
        return 1


def _short(path: str) -> str:
    """A path as people type it."""
    try:
        return os.path.relpath(path)
    except OSError:
        return path  # the working directory has gone


def _session(words: list[str], part: str, options: argparse.Namespace) -> int:
    """Run a part in a session of its own; its exit code, 130 if it was interrupted."""
    command = [sys.executable, "-m", "fluxsched.session.demo", f"--part={part}", f"--conf={options.conf}"]
    if options.pictures is not None:
        command.append(f"--pictures={options.pictures}")
    start = [sys.executable, "-m", "fluxsched.session.main", "start", *words]
    # A terminal interrupts the session too, which puts away what it has made.
    noted = SignalPipe([signal.SIGINT])
    try:
        code = subprocess.Popen([*start, *command]).wait()
        return 128 + signal.SIGINT if noted.take() else code
    finally:
        noted.close()


# the walk-through


def flux(*words: str) -> str:
    """Run a command, shown with its output; the output."""
    print("$ flux " + " ".join(word if word.isalnum() else shlex.quote(word) for word in words), flush=True)
    done = subprocess.run(["flux", *words], stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="", flush=True)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout.strip()


def walk(conf: str) -> int:
    """The walk-through; the exit code."""
    flux("module", "load", "sched", f"rdl-conf={_short(conf)}")
    flux("module", "list")
    jobid = flux("submit", "-N3", "-n3", "sleep", "1")
    flux("jobs")
    flux("job", "wait", jobid)
    _until_recorded()
    flux("kvs", "dir", "lwj.1")
    flux("dmesg")
    return 0


def _until_recorded() -> None:
    """The record follows the job by a fraction of a second."""
    client = Client()
    for _ in range(100):
        try:
            if client.rpc("kvs.get", {"key": "lwj.1.state"})["value"] == "complete":
                return
        except RPCError:
            pass  # nothing of it is there yet
        time.sleep(0.05)


# the batch


def _letters() -> Iterator[str]:
    for first in ("", *"abcdefghijklmnopqrstuvwxyz"):
        for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
            yield first + last


def _spec(name: str, nodes: int, limit: int, seconds: float) -> dict[str, Any]:
    words = [f"--nodes={nodes}", "--exclusive", f"--time-limit={limit}s", f"--job-name={name}"]
    options = submit.parser("submit").parse_args([*words, "sleep", str(seconds)])
    return buildspec.build(options, options.command, env={"PATH": os.defpath})


def _mix() -> Iterator[tuple[str, int, int, float]]:
    """The jobs, in the order in which they are submitted: kinds take turns."""
    left: list[list[Any]] = [list(entry) for entry in MIX]
    while any(entry[4] for entry in left):
        for entry in left:
            if entry[4]:
                entry[4] -= 1
                yield entry[0], entry[1], entry[2], entry[3]


def batch(pictures: str | None) -> int:
    """Submit the batch, follow it, show it, and what another policy would have made of it; the exit code."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 132)
    flux("module", "load", "sched", "plugin=backfill.plugin1", "plugin-opts=reserve-depth=1")
    flux("resource", "list")
    client = Client()
    mix = list(_mix())
    console.print(f"submitting {len(mix)} jobs, each [i]sleep[/i] on every one of its nodes")
    asked = [client.send("job.submit", {"jobspec": _spec(*entry)}) for entry in mix]
    answers: dict[int, int] = {}
    while len(answers) < len(asked):
        number, answer, error = client.receive()
        if error is not None:
            raise error
        answers[number] = answer["id"]
    reasons: dict[int, str] = {}
    # What the command asks, before many of them are over.
    policies = [{"name": name} for name in OTHERS.split(",")]
    other = client.rpc("sched.whatif", {"policies": policies, "most": 3, "starts": True})
    jobs = _follow(client, [answers[number] for number in asked], reasons, console)
    if jobs is None:
        return 128 + signal.SIGINT
    _table(console, jobs, reasons)
    _chart(console, jobs, int(client.rpc("attr.get", {"name": "size"})["value"]))
    code = _outcome(console, jobs)
    _show_what_if(console, other, pictures)
    return code


def _show_what_if(console: Any, answer: dict[str, Any], pictures: str | None) -> None:
    """Show what other policies would have made of the jobs, as the command does."""
    from fluxsched.cli import whatif

    text = "\nWhat other policies would have made of it, as asked when the jobs had just been submitted\n"
    console.print(text, markup=False, highlight=False)
    print(f"$ flux sched whatif {OTHERS}", *whatif.text(answer), sep="\n", flush=True)
    if pictures is not None:
        from fluxsched.simulate.whatifplot import draw

        os.makedirs(pictures, exist_ok=True)
        draw(answer, Path(pictures) / "whatif.png", "png")


def _follow(client: Client, ids: list[int], reasons: dict[int, str], console: Any) -> list[Any] | None:
    """Wait for the jobs; what they wait for meanwhile is noted in `reasons`.  None if interrupted."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    noted = SignalPipe([signal.SIGINT])
    try:
        with Progress(*columns, console=console, disable=not sys.stdout.isatty(), transient=True) as progress:
            task = progress.add_task("jobs", total=len(ids))
            while True:
                jobs = client.rpc("job.list", {"ids": ids})["jobs"]
                for job in jobs:
                    sched = job["annotations"].get("sched", {})
                    if job["state"] == "SCHED" and sched.get("reason_pending"):
                        reasons[job["id"]] = sched["reason_pending"]
                states = [job["state"] for job in jobs]
                done = states.count("INACTIVE")
                text = f"{states.count('RUN')} run, {states.count('SCHED')} wait"
                progress.update(task, completed=done, description=text)
                if done == len(ids):
                    return jobs
                if select.select([noted], [], [], 0.1)[0]:
                    return None
    finally:
        noted.close()


def _waited_for(job: dict[str, Any], jobs: list[Any]) -> str:
    """Names of the jobs whose end the start of this one waited for: the last on its nodes."""
    ranks = set(idset.ids(job["ranks"]))
    earlier = [other for other in jobs if job["t_submit"] < other["t_inactive"] <= job["t_run"]]
    before = [other for other in earlier if ranks & set(idset.ids(other["ranks"]))]
    if not before:
        return ""
    last = max(other["t_inactive"] for other in before)
    return " ".join(other["letter"] for other in before if last - other["t_inactive"] < 0.02)


def _outcome(console: Any, jobs: list[Any]) -> int:
    """Tell of jobs that did not complete; the exit code.

    A job that reached its time limit was started on a machine that is slow or busy, and the session did as it should.
    """
    others = [job for job in jobs if job["result"] != "COMPLETED"]
    if others:
        told = ", ".join(f"{job['letter']} ({printable(job['name'])}) {job['result']}" for job in others)
        text = f"not completed: {told}; TIMEOUT is a slow or busy machine"
        console.print(text, markup=False, highlight=False)
    return int(any(job["result"] != "TIMEOUT" for job in others))


def _table(console: Any, jobs: list[Any], reasons: dict[int, str]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Jobs, in the order of their submission", box=None, pad_edge=False)
    for letter, job in zip(_letters(), jobs):
        job["letter"] = letter
    columns: tuple[tuple[str, Any, list[str]], ...] = (
        ("", "left", [job["letter"] for job in jobs]),
        ("name", "left", [printable(job["name"]) for job in jobs]),
        ("nodes", "right", [str(job["nnodes"]) for job in jobs]),
        ("limit", "right", [f"{job['duration']:g}s" for job in jobs]),
        ("waited", "right", [f"{job['t_run'] - job['t_submit']:.1f}s" for job in jobs]),
        ("for", "left", [_waited_for(job, jobs) for job in jobs]),
        ("started", "left", [job["annotations"].get("sched", {}).get("selection_type", "") for job in jobs]),
        ("ran", "right", [f"{job['t_cleanup'] - job['t_run']:.1f}s" for job in jobs]),
        ("on", "left", [job["nodelist"] for job in jobs]),
        ("last reason for waiting", "left", [printable(reasons.get(job["id"], "")) for job in jobs]),
    )
    # What does not fit is cut at the right: the reason first, and then where a job ran.
    left = console.width
    for name, justify, cells in columns:
        width = min(max(map(len, [name, *cells])), left)
        if width < min(len(name), 2):
            break
        table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis", width=width)
        left -= width + 2
    for row in zip(*(cells for _, _, cells in columns[: len(table.columns)])):
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _chart(console: Any, jobs: list[Any], size: int) -> None:
    """Nodes downwards, time to the right: which job has most of each cell."""
    begin = min(job["t_run"] for job in jobs)
    end = max(job["t_inactive"] for job in jobs)
    rows = min(ROWS, size)
    bins = max(1, min(BINS, console.width - LABEL - 1))
    step = (end - begin) / bins
    text = f"{size} nodes down, {end - begin:.1f} s to the right; a letter is a job, a dot is idle"
    console.print(f"\nNodes over time: {text}\n", highlight=False)
    spans = [(set(idset.ids(job["ranks"])), job["t_run"], job["t_inactive"], job["letter"][-1]) for job in jobs]
    for row in range(rows):
        nodes = set(range(row * size // rows, (row + 1) * size // rows))
        line = ""
        for column in range(bins):
            middle = begin + (column + 0.5) * step
            held = {letter: len(ranks & nodes) for ranks, start, stop, letter in spans if start <= middle < stop}
            idle = len(nodes) - sum(held.values())
            letter = max(held, key=lambda one: held[one]) if held else "."
            line += letter if held.get(letter, 0) > idle else "."
        console.print(f"{min(nodes):>4}-{max(nodes):<4} {line}", markup=False, highlight=False)
    busy = sum(job["nnodes"] * (job["t_inactive"] - job["t_run"]) for job in jobs)
    share = 100 * busy / size / (end - begin)
    text = f"\n{len(jobs)} jobs in {end - begin:.1f} s; nodes were busy {share:.0f} % of the time"
    console.print(text, markup=False, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
