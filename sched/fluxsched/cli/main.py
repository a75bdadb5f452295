# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The command ``flux-sched``: a group of commands, each in a module of its own that is imported when it is named."""

import errno
import importlib
import os
import re
import sys
from importlib import metadata
from pathlib import Path

import click

COMMANDS = {
    "generate-trace": ("fluxsched.cli.generate", "generate_trace"),
    "plugin": ("fluxsched.cli.plugin", "plugin"),
    "rdl": ("fluxsched.cli.rdl", "rdl"),
    "simulate": ("fluxsched.cli.simulate", "simulate"),
}


def is_known(error):
    """Whether an exception tells the user something, rather than us: the system's errors, and the package's own."""
    if isinstance(error, OSError):
        # A closed pipe is click's to end quietly.
        return error.errno != errno.EPIPE
    return isinstance(error, ValueError) and type(error).__module__.startswith("fluxsched.")


class Commands(click.Group):
    def list_commands(self, ctx):
        return sorted(COMMANDS)

    def get_command(self, ctx, cmd_name):
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        return getattr(importlib.import_module(module), attribute)

    def main(self, *args, **kwargs):
        try:
            return super().main(*args, **kwargs)
        finally:
            # Here and not at the interpreter's end, which would complain of a reader that has gone.
            try:
                sys.stdout.flush()
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not is_known(error):
                raise
            text = str(error)
            if isinstance(error, OSError) and error.filename is not None:
                text = f"{error.filename}: {error.strerror}"
            click.echo(f"flux-sched: {text}", err=True)
            return ctx.exit(1)


def version():
    """The version of the installed distribution, or of the source tree."""
    try:
        return metadata.version("flux-sched-cython")
    except metadata.PackageNotFoundError:
        pass
    for folder in Path(__file__).resolve().parents:
        project = folder / "pyproject.toml"
        if project.is_file():
            return re.search(r'^version = "(.+)"$', project.read_text(), re.MULTILINE).group(1)
    return "unknown"


def show_version(ctx, param, value):
    if value and not ctx.resilient_parsing:
        click.echo(f"flux-sched {version()}")
        ctx.exit()


@click.command(cls=Commands)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version,
              help="Show the version and exit.")
def main():
    """Tools of the flux-sched scheduler that need no running Flux."""
