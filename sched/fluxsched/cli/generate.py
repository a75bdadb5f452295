# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux-sched generate-trace: a synthetic job trace."""
from __future__ import annotations

import sys

import click

from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import printable
from fluxsched.traces.files import MAX_JOBS


@click.command("generate-trace", short_help="Write a synthetic job trace.")
@click.argument("file", metavar="FILE.swf[.gz]")
@click.option("--jobs", type=click.IntRange(2, MAX_JOBS), default=10_000, show_default=True, help="Number of jobs.")
@click.option("--procs", type=click.IntRange(1, 2**31 - 1), default=128, show_default=True,
              help="Processors of the machine.")
@click.option("--load", type=click.FloatRange(0, 100, min_open=True), default=0.8, show_default=True,
              help="Offered load: work over what the machine could do while jobs arrive.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Equal seeds give equal traces.")
@click.option("--model", type=click.Choice(["batch", "interactive", "all"]), default="batch", show_default=True,
              help="Which of the published parameter sets.")
@click.option("--overestimate", type=click.FloatRange(1, 1000), default=1.0, show_default=True,
              help="Requested times are up to this many times the run time.")
@click.option("--users", type=click.IntRange(1, 1_000_000), default=1, show_default=True, help="Number of users.")
def generate_trace(
    file: str, jobs: int, procs: int, load: float, seed: int, model: str, overestimate: float, users: int
) -> None:
    """Write a synthetic trace after Lublin and Feitelson (2003) in the Standard Workload Format."""
    from fluxsched.traces import swf
    from fluxsched.traces.generator import generate

    try:
        trace = generate(jobs, procs, load, seed, model, overestimate, users)
        swf.write(trace, file, {"Note": f"Lublin and Feitelson 2003, {model}; load {load:g}, seed {seed}, overestimate "
                                        f"{overestimate:g}, {users} users"})
    except FluxSchedError as err:
        click.echo(f"flux-sched: {err}", err=True)
        sys.exit(1)
    except OSError as err:
        click.echo(f"flux-sched: {file}: cannot be written: {err.strerror or err}", err=True)
        sys.exit(1)
    span = (trace.submit[-1] - trace.submit[0]) / 86400
    print(f"{printable(file)}: {len(trace):,} jobs on {procs:,} processors over {span:.1f} days")
