# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The command ``flux-sched``: a group of commands, each in a module of its own that is imported when it is named.

Flux finds it on its command path, as ``flux sched``; the embedded session runs it by that name.
"""

from __future__ import annotations

import errno
import importlib
import sys
from typing import Any

import click

from fluxsched import program
from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import printable
from fluxsched.interrupts import INTERRUPTED, raise_on_interrupt
from fluxsched.version import VERSION

COMMANDS = {
    "generate-trace": ("fluxsched.cli.generate", "generate_trace"),
    "plan": ("fluxsched.cli.plan", "plan"),
    "plugin": ("fluxsched.cli.plugin", "plugin"),
    "queue": ("fluxsched.cli.queue", "queue"),
    "rdl": ("fluxsched.cli.rdl", "rdl"),
    "replay": ("fluxsched.cli.replay", "replay"),
    "shadow": ("fluxsched.cli.shadow", "shadow"),
    "simulate": ("fluxsched.cli.simulate", "simulate"),
    "stats": ("fluxsched.cli.stats", "stats"),
    "whatif": ("fluxsched.cli.whatif", "whatif"),
    "when": ("fluxsched.cli.when", "when"),
    "why": ("fluxsched.cli.why", "why"),
}


def is_known(error: Exception) -> bool:
    """Whether an exception tells the user something, and not us: the system's errors, and the package's own."""
    if isinstance(error, OSError):
        # A closed pipe is click's to end quietly.
        return error.errno != errno.EPIPE
    return isinstance(error, FluxSchedError)


class Commands(click.Group):
    """The subcommands, and what all of them do with streams and errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        return getattr(importlib.import_module(module), attribute)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run; output that cannot be written, or a reader that has gone, is no fault of ours."""
        program.secure_streams()
        raise_on_interrupt()
        try:
            try:
                return super().main(*args, **kwargs)
            finally:
                # Here and not at the interpreter's end, which would complain.
                program.flush()
        except BrokenPipeError:
            return sys.exit(1)
        except KeyboardInterrupt:
            return sys.exit(INTERRUPTED)
        except OSError as error:
            program.tell(f"flux-sched: {program.explain(error)}")
            return sys.exit(1)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the command line.  For Ctrl-C click would write a line, and exit as for a failure; so in `invoke`."""
        try:
            return super().make_context(*args, **kwargs)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run a subcommand; errors that tell the user something are a line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            return ctx.exit(INTERRUPTED)
        except RecursionError:
            text = "input is nested too deeply"
        except ModuleNotFoundError as error:
            text = program.extra_needed(error)
            if not text:
                raise
        except Exception as error:
            if not is_known(error):
                raise
            text = program.explain(error) if isinstance(error, OSError) else str(error)
        click.echo(f"flux-sched: {printable(text, keep=chr(10))}", err=True)
        return ctx.exit(1)


def show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """The option --version."""
    if value and not ctx.resilient_parsing:
        click.echo(f"flux-sched {VERSION}")
        ctx.exit()


@click.command(cls=Commands)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version,
              help="Show the version and exit.")
def main() -> None:
    """The flux-sched scheduler: why, when, plan, whatif, shadow, queue and stats ask the one that is loaded.

    The other commands are tools that need no running Flux."""
