# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the commands share."""

import argparse
import os
import sys

from fluxsched.session import jobid as ids
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.errors import CommandError


class Parser(argparse.ArgumentParser):
    """An argument parser whose --help is spelt as flux-core's, and that takes no abbreviations."""

    def __init__(self, name, **options):
        options.setdefault("formatter_class", lambda prog: argparse.HelpFormatter(prog, max_help_position=32))
        super().__init__(prog=f"flux {name}", allow_abbrev=False, **options)

    def error(self, message):
        self.print_usage(sys.stderr)
        raise CommandError(f"error: {message}", 2)


def jobid(text):
    """An argparse type."""
    try:
        return ids.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def call(function, *arguments, **options):
    """Call, turning a refusal of the broker into the command's error."""
    try:
        return function(*arguments, **options)
    except RPCError as error:
        raise CommandError(error.text) from None


def log_failure(name, text):
    """What a command says on standard error also goes to the session's log, if there is a session."""
    if not os.environ.get("FLUX_URI"):
        return
    try:
        Client().rpc("log.append", {"name": name, "level": 3, "text": text.partition("\n")[0]})
    except (CommandError, RPCError):
        return  # the session is gone; the terminal has the text


def complain(name, text):
    """Say that one of several things has failed, and go on."""
    print(f"{name}: {text}", file=sys.stderr)
    log_failure(name, text)


def subcommands(name, words, table, hint):
    """Run table[words[0]](words[1:]); help when asked for, or when there is no such command."""
    text = f"Usage: flux {name} COMMAND ARGS\n\n{hint}"
    if words[:1] in (["-h"], ["--help"]):
        print(text)
        return 0
    if not words or words[0] not in table:
        what = f"unknown subcommand {words[0]!r}" if words else "missing subcommand"
        raise CommandError(f"{what}\n{text}")
    return table[words[0]](words[1:])
