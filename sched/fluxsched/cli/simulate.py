# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux-sched simulate: a job trace under one or several policies."""
from __future__ import annotations

import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, NoReturn

import click

from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import printable
from fluxsched.interrupts import INTERRUPTED
from fluxsched.traces.load import FORMATS
from fluxsched.traces.load import NAMES as FORMAT_NAMES


class Seconds(click.ParamType):
    """Seconds, [D-]HH:MM:SS, or a number with s, m, h, d or w behind it."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds; a usage error else."""
        if isinstance(value, float):
            return value
        from fluxsched.traces.sacct import seconds

        units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
        try:
            if value[-1:] in units:
                found = float(value[:-1]) * units[value[-1]]
            else:
                found = seconds(value)
        except ValueError:
            found = float("nan")
        if not 0 <= found <= 9e12:
            self.fail(f"{value!r}: seconds, [D-]HH:MM:SS, or a number with s, m, h, d or w expected", param, ctx)
        return found


class Memory(click.ParamType):
    """MB, or a number with M, G or T behind it, which are 1024 of the smaller one, as in Slurm."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The MB, of a million bytes; a usage error else."""
        if isinstance(value, float):
            return value
        from fluxsched.traces.sacct import count

        try:
            found = count(value) / (1e6 if value[-1:] in ("K", "M", "G", "T") else 1)
        except ValueError:
            found = float("nan")
        if not 1 <= found < 2**31:
            self.fail(f"{value!r}: MB, or a number with M, G or T expected", param, ctx)
        return found


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int, int], None] | None]:
    """A function to call with (ended, arrived, all); it draws on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                  TextColumn("{task.fields[queue]}"), TimeRemainingColumn(),
                  console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None, queue="")

        def show(ended: int, arrived: int, total: int) -> None:
            bar.update(task, completed=ended, total=total, queue=f"{arrived - ended:,} in the system")

        yield show


# What the simulator left out, for people; the rules of the readers are in fluxsched.traces.trace.
LEFT_OUT = {"too_large": "are larger than the machine: left out",
            "over_limits": "are beyond the limits of their queues: left out",
            "struck": "ended with their nodes", "restarted": "times jobs lost their nodes and started again",
            "denied": "were denied by the scheduler"}


def show_rows(rows: list[list[str]]) -> None:
    """Print a table.  On a terminal, columns that find no room beside the others come in a table of their own below."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else float("inf")
    first = 1
    while first < len(widths):
        last = first + 1
        while last < len(widths) and widths[0] + sum(2 + width for width in widths[first:last + 1]) <= room:
            last += 1
        if first > 1:
            print()
        for row in rows:
            words = [row[0].ljust(widths[0])]
            words += [word.rjust(width) for word, width in zip(row[first:last], widths[first:last])]
            print("  ".join(words).rstrip())
        first = last


def show(results: list[Any]) -> None:
    """Print what was read and left out, and the table."""
    from fluxsched.simulate.results import table
    from fluxsched.traces.trace import RULES

    result = results[0]
    trace = result.trace
    per_node = f" x {result.cores} cores" if result.cores > 1 else ""
    machine = f"{result.nodes:,} nodes{per_node}, {result.procs:,} processors"
    print(f"{printable(trace.source)}: {max(len(r.trace) for r in results):,} jobs on {machine}")
    for rule, count in {**trace.notes, **result.left_out}.items():
        if rule != "denied":
            print(f"  {count:,} {LEFT_OUT.get(rule) or RULES.get(rule, rule)}")
    for result in results:                 # by each policy for itself: some look at bandwidth
        if "denied" in result.left_out:
            print(f"  {result.left_out['denied']:,} {LEFT_OUT['denied']}"
                  + (f" under {printable(result.policy)}" if len(results) > 1 else ""))
    print()
    show_rows(table(results))
    show_policies(results)


def show_policies(results: list[Any]) -> None:
    """Print what each policy ran with."""
    from fluxsched.simulate.results import policies

    print()
    rows = [[printable(cell) for cell in row] for row in policies(results)]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for row in rows:
        print(f"{row[0].ljust(widths[0])}  {row[1].ljust(widths[1])}  {row[2]}")


def show_forecasts(results: list[Any]) -> None:
    """Print how good the forecasts were: a table for each policy."""
    from fluxsched.simulate.forecast import WITHIN, accuracy
    from fluxsched.simulate.results import durations

    for result in results:
        print(f"\nforecasts at submission, {printable(result.policy)}")
        columns = accuracy(result)
        rows = [["", *(what for what, _ in columns)], ["jobs", *(f"{m['jobs']:,.0f}" for _, m in columns)]]
        if not any(m["jobs"] for _, m in columns):
            print("  no job was foretold and has started")
            continue
        for name in ("estimate", "likely"):
            for _, text in WITHIN:
                key = f"{name} within {text}"
                rows.append([f"t_{key}", *(share(m[key]) for _, m in columns)])
            rows.append([f"t_{name}, mean error", *durations(
                [m[f"{name} error"] if m["jobs"] else None for _, m in columns])])
        for name in ("estimate", "likely", "late"):
            rows.append([f"started by t_{name}", *(share(m[f"{name} held"]) for _, m in columns)])
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        for row in rows:
            print("  ".join([row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].rjust(widths[2])]).rstrip())


def share(part: float) -> str:
    """A share in percent; NaN is of nothing."""
    return "-" if part != part else f"{100 * part:.1f} %"


@contextmanager
def errors_of(name: str, policy: Any) -> Iterator[None]:
    """What is raised in a plugin in plain Python is the error of its author: told with its place, as PluginError."""
    from fluxsched.core import PluginError
    from fluxsched.policy.pyplugin import PythonPolicy

    try:
        yield
    except (MemoryError, FluxSchedError):
        raise
    except Exception as err:
        frames = traceback.extract_tb(err.__traceback__)
        if not isinstance(policy, PythonPolicy):
            raise
        raise PluginError(f"plugin {name}: {type(err).__name__}: {err} "
                          f"({frames[-1].filename}, line {frames[-1].lineno})") from err


def fail(text: object, code: int = 1) -> NoReturn:
    """One line of error, and exit."""
    click.echo(f"flux-sched: {printable(str(text))}", err=True)
    sys.exit(code)


@click.command("simulate", short_help="Replay a job trace under a policy.")
@click.option("--trace", "trace_path", metavar="FILE|DIR",
              help=f"Job trace, also .gz: {', '.join(form.about for form in FORMATS)}.")
@click.option("--format", "trace_format", type=click.Choice(FORMAT_NAMES),
              help="The trace's format, where its name does not tell.")
@click.option("--generate", "made", metavar="K=V,...",
              help="Instead of --trace: a generated trace, by the options of generate-trace: jobs, procs, load, model, "
              "overestimate, users.")
@click.option("--seeds", type=click.IntRange(1, 10_000), metavar="N",
              help="N generated traces, of seeds 0 to N-1: means with their confidence intervals.")
@click.option("--rdl", metavar="FILE", help="Machine: the nodes of an RDL file.")
@click.option("--rdl-resource", "uri", default="default", metavar="URI", show_default=True,
              help="Part of the RDL file to use.")
@click.option("--nodes", type=click.IntRange(1, 10_000_000), metavar="N", help="Machine: N nodes ...")
@click.option("--cores", type=click.IntRange(1, 4096), metavar="M", help="... of M cores each (default 1).")
@click.option("--procs", type=click.IntRange(1, 10_000_000), metavar="P",
              help="Machine: P processors, one a node.  Default: what the trace states.")
@click.option("--memory", type=Memory(), metavar="SIZE",
              help="Memory of each node, such as 256G: what jobs ask for of it counts.")
@click.option("--config", metavar="FILE",
              help="Configuration of a Flux instance: its queues, and its resources as the machine.")
@click.option("--down", metavar="FILE|DIR",
              help="Nodes that go and come back: lines of a time, down, restart, drain or up, and nodes; or a record.")
@click.option("--no-priority", is_flag=True, help="Priorities and urgencies of the trace do not count.")
@click.option("--exclusive", is_flag=True, help="Jobs take whole nodes.")
@click.option("--plugin", metavar="NAME",
              help="Plugin, file of one (.py too), or fcfs, easy, easy++, conservative, first-fit, hybridK, each also "
              "with +ORDER.  Default: sched.plugin1.")
@click.option("--plugin-opts", default="", metavar="K=V,...", help="Options for the plugin.")
@click.option("--compare", metavar="NAME,NAME...", help="Several policies: one table, one figure.")
@click.option("--snapshot", is_flag=True, default=None,
              help="Begin with the jobs that ran and waited when the trace was exported, and leave out those that had "
              "ended.  Default: if none had.")
@click.option("--until", type=Seconds(), metavar="TIME",
              help="Stop at this time of the trace (seconds, or 30d, 12h ...).")
@click.option("--forecast", is_flag=False, flag_value=0, default=None, type=click.IntRange(0), metavar="[N]",
              help="Foretell the start of each job when it is submitted (or of N jobs, evenly over the trace), and "
              "say how good that was.")
@click.option("--by", type=click.Choice(["user", "size", "queue"]),
              help="Also the measures of each class of jobs.")
@click.option("--out", metavar="DIR", help="Write jobs.csv and summary.json here.")
@click.option("--plot", is_flag=True, help="Draw pictures too (PNG and SVG, into --out).")
def simulate(
    trace_path: str | None, trace_format: str | None, made: str | None, seeds: int | None, by: str | None,
    rdl: str | None, uri: str, nodes: int | None, cores: int | None, procs: int | None, memory: float | None,
    config: str | None,
    down: str | None, no_priority: bool, exclusive: bool, plugin: str | None, plugin_opts: str, compare: str | None,
    snapshot: bool | None, until: float | None, forecast: int | None, out: str | None, plot: bool,
) -> None:
    """Replay a job trace in virtual time: the engine and plugins of production decide.

    Prints a table of measures; --out writes one row a job, and a summary.  Ctrl-C ends the run and writes what
    there is.
    """
    if seeds is not None and made is None:
        raise click.UsageError("--seeds are of generated traces: --generate expected with it")
    if (trace_path is None) == (made is None):
        raise click.UsageError("one trace expected: --trace FILE, or --generate K=V,...")
    if seeds is not None and (plot or forecast is not None):
        raise click.UsageError(f"--{'plot' if plot else 'forecast'} is of one trace: no --seeds with it")
    names = _names(compare, plugin)
    _check_usage(plot and out is None, cores is not None and nodes is None, (rdl, nodes, procs))

    from fluxsched.simulate import results, study

    if plot or (compare and out is not None and not seeds):
        from fluxsched.simulate import plots  # noqa: F401  what is not installed is told before a long run
    try:
        if out is not None:
            results.check(out)
        machine = {"procs": procs, "nodes": nodes, "cores": cores, "rdl": rdl, "uri": uri, "config": config,
                   "memory": memory}
        options = {"options": plugin_opts, "until": until, "exclusive": exclusive,
                   "record": out is not None and not seeds, "forecast": forecast, "snapshot": snapshot, "down": down,
                   "priority": not no_priority}
        traces: list[Any] = study.generated(made, seeds or 1) if made is not None else [(trace_path, trace_format)]
        each: list[list[Any]] = []
        for trace in traces:
            each.append(_run(names, trace, machine, options))
            if seeds and each[-1][-1].stopped == "interrupted":
                fail("interrupted", INTERRUPTED)
    except results.ResultsError as err:
        fail(f"results cannot be written: {err}")
    except FluxSchedError as err:
        fail(err)
    except MemoryError as err:
        fail(err if str(err) else "out of memory")
    if seeds:
        _tell_seeds([list(of_policy) for of_policy in zip(*each)], by, out)
    else:
        _tell(each[0], out, plot, bool(compare), by)


def _names(compare: str | None, plugin: str | None) -> list[str]:
    """The names of the policies; a usage error else."""
    if compare and plugin:
        raise click.UsageError("--compare names the policies: no --plugin with it")
    names = [name.strip() for name in compare.split(",")] if compare else [plugin or "sched.plugin1"]
    if len(set(names)) < len(names):
        raise click.UsageError("--compare names a policy twice")
    return names


def _check_usage(plot_alone: bool, cores_alone: bool, machines: tuple[Any, ...]) -> None:
    """Usage errors of options that go together, or not."""
    if plot_alone:
        raise click.UsageError("--plot needs --out DIR to write into")
    if cores_alone:
        raise click.UsageError("--cores are those of a node: --nodes N expected with it")
    if sum(value is not None for value in machines) > 1:
        raise click.UsageError("one machine expected: --rdl, or --nodes and --cores, or --procs")


def _run(names: list[str], source: Any, machine: dict[str, Any], options: dict[str, Any]) -> list[Any]:
    """The results of each policy, up to one that was interrupted.  source: a trace, or its file and format."""
    from fluxsched.simulate import api
    from fluxsched.simulate.policy import load as load_policy
    from fluxsched.traces.load import load

    # All of them, before the first one runs.
    policies = [load_policy(name, options["options"])[1] for name in names]
    trace = load(*source) if isinstance(source, tuple) else source
    on = api.machine(trace=trace, **machine)
    ran: list[Any] = []
    for name, policy in zip(names, policies):
        with progress_bar(name) as progress, errors_of(name, policy):
            ran.append(api.run(trace, on=on, plugin=name, progress=progress, **options))
        if ran[-1].stopped == "interrupted":
            break
    return ran


def _tell_seeds(ran: list[list[Any]], by: str | None, out: str | None) -> None:
    """Write and print the results of each policy over the seeds; exits with what went wrong."""
    from fluxsched.cli import study
    from fluxsched.simulate import results

    unwritten = ""
    if out is not None:
        try:
            with results.folder_of_results(out) as folder:
                study.write(ran, by, folder)
        except OSError as err:
            unwritten = str(err) if isinstance(err, results.ResultsError) else f"{out}: {err.strerror or err}"
    study.show(ran, by, True, show_rows)
    print()
    show_policies([of_policy[0] for of_policy in ran])
    if unwritten:
        fail(f"results cannot be written: {unwritten}")
    for of_policy in ran:
        if any(result.stopped == "stalled" for result in of_policy):
            fail(f"{of_policy[0].policy}: the plugin starts no more jobs, though all is free: some never ran", 1)


def _tell(ran: list[Any], out: str | None, plot: bool, compare: bool, by: str | None) -> None:
    """Write and print the results; exits with what went wrong."""
    from fluxsched.cli import study
    from fluxsched.simulate import results

    unwritten = None
    if out is not None:
        try:
            write(ran, out, plot, compare, by)
        except OSError as err:
            ours = isinstance(err, results.ResultsError)
            unwritten = str(err) if ours else f"{out}: {err.strerror or err}"
    show(ran)
    if by:
        study.show([[result] for result in ran], by, False, show_rows)
    if ran[0].foretold is not None:
        show_forecasts(ran)
    if unwritten:
        fail(f"results cannot be written: {unwritten}")
    if ran[-1].stopped == "interrupted":
        reached = f"interrupted at {results.duration(ran[-1].ended)} of the trace"
        fail(reached + (": what there is was written" if out else ""), INTERRUPTED)
    for result in ran:
        if result.stopped == "blocked":
            click.echo(f"{printable(result.policy)}: jobs wait for others that have no time limit, or for nodes that "
                       "are down: some never ran", err=True)
        if result.stopped == "stalled":
            fail(f"{result.policy}: the plugin starts no more jobs, though all is free: some never ran", 1)


def folder_name(policy: str) -> str:
    """A policy's name as a folder's."""
    return "".join(c if c.isalnum() or c in "+-._=" else "_" for c in policy.rsplit("/", 1)[-1])


def write(ran: list[Any], out: str, plot: bool, compare: bool, by: str | None = None) -> None:
    """Write results, whole or not at all: a folder for each of several policies."""
    import json
    import os

    from fluxsched.simulate import results

    if plot or compare:
        from fluxsched.simulate import plots
    with results.folder_of_results(out) as folder:
        if not compare:
            results.write(ran[0], folder, by)
            if plot:
                plots.plot(ran[0], folder)
            return
        for result in ran:
            inner = os.path.join(folder, folder_name(result.policy))
            os.mkdir(inner)
            results.write(result, inner, by)
            if plot:
                plots.plot(result, inner)
        with open(os.path.join(folder, results.COMPARISON), "w", encoding="utf-8") as f:
            json.dump([results.summary(result, by) for result in ran], f, indent=2)
            f.write("\n")
        plots.compare(ran, folder)
