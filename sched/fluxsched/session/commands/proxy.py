# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux proxy, flux uri, flux shutdown: reaching the session in a job."""

from __future__ import annotations

import os
import subprocess

from fluxsched.session.commands import target
from fluxsched.session.commands.client import Client
from fluxsched.session.commands.common import Parser, call, cannot_run, operands
from fluxsched.session.commands.target import TARGET
from fluxsched.session.errors import CommandError


def main(name: str, words: list[str]) -> int:
    """Run the command of this name; the exit code."""
    return {"proxy": proxy, "uri": uri, "shutdown": shutdown}[name](words)


def proxy(words: list[str]) -> int:
    """flux proxy"""
    p = Parser("proxy", description="Run a command (or a shell) as if in the session of a job.")
    p.add_argument("target", metavar="TARGET", help=TARGET)
    p.add_argument("command", nargs="...", metavar="COMMAND", help="command and its arguments (default: a shell)")
    o = p.parse_args(words)
    found = target.find(o.target)
    Client(found).close()  # say at once if it cannot be reached
    command = operands(o.command)
    command = command or [os.environ.get("SHELL") or "/bin/sh"]
    try:
        code = subprocess.run(command, env=dict(os.environ, FLUX_URI=found), check=False).returncode
    except OSError as error:
        raise cannot_run(command[0], error) from None
    return code if code >= 0 else 128 - code


def uri(words: list[str]) -> int:
    """flux uri"""
    p = Parser("uri", description="Show the URI of the session in a job.")
    p.add_argument("--local", action="store_true", help="as a local URI; it always is one here")
    p.add_argument("target", metavar="TARGET", help=TARGET)
    print(target.find(p.parse_args(words).target))
    return 0


def shutdown(words: list[str]) -> int:
    """flux shutdown"""
    p = Parser("shutdown", description="End a session, with its command and its jobs.")
    p.add_argument("--background", action="store_true", help="do not wait for its end")
    p.add_argument("target", metavar="TARGET", nargs="?", default=".", help=TARGET)
    o = p.parse_args(words)
    client = Client(target.find(o.target))
    call(client.rpc, "session.shutdown")
    if not o.background:
        try:
            while True:
                client.receive()
        except CommandError:
            pass  # the end of the connection is that of the session
    return 0
