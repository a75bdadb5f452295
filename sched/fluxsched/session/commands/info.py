# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux getattr, uptime, version, exec."""
from __future__ import annotations

import os
import subprocess
import sys
import time

from fluxsched.formats import idset
from fluxsched.formats.quote import printable
from fluxsched.session import fsd
from fluxsched.session.commands.client import Client
from fluxsched.session.commands.common import Parser, call, cannot_run
from fluxsched.session.errors import CommandError
from fluxsched.version import VERSION


def main(name: str, words: list[str]) -> int:
    """Run the command of this name; the exit code."""
    return {"getattr": getattr_, "uptime": uptime, "version": version, "exec": exec_}[name](words)


def getattr_(words: list[str]) -> int:
    """flux getattr"""
    p = Parser("getattr", description="Show an attribute of the session.")
    p.add_argument("name", help="size, rank, hostlist, statedir, local-uri, ...")
    options = p.parse_args(words)
    print(printable(str(call(Client().rpc, "attr.get", {"name": options.name})["value"])))
    return 0


def uptime(words: list[str]) -> int:
    """flux uptime"""
    Parser("uptime", description="Show how long this session has been running.").parse_args(words)
    found = call(Client().rpc, "session.uptime")
    text = f" {time.strftime('%H:%M:%S')} run {fsd.show(found['seconds'])},  owner {found['owner']}"
    text += f",  size {found['size']}"
    text += f",  running {found['running']}"
    if found["drained"]:
        text += f",  {found['drained']} drained"
    print(text)
    return 0


def version(words: list[str]) -> int:
    """flux version"""
    Parser("version", description="Show versions.").parse_args(words)
    print(f"flux-sched (embedded session):\t{VERSION}")
    if "FLUX_URI" in os.environ:
        print(f"FLUX_URI:\t\t\t{os.environ['FLUX_URI']}")
    return 0


def exec_(words: list[str]) -> int:
    """flux exec"""
    p = Parser("exec", description="Run a command as if on other ranks: with their FLUX_URI, one after the other.")
    p.add_argument("-r", "--rank", metavar="IDSET", default="all", help="ranks (default: all)")
    p.add_argument("command", nargs="...", metavar="COMMAND")
    options = p.parse_args(words)
    if not options.command:
        raise CommandError("command is missing")
    sys.stdout.flush()
    client = Client()
    size = int(call(client.rpc, "attr.get", {"name": "size"})["value"])
    uri = call(client.rpc, "attr.get", {"name": "local-uri"})["value"]
    try:
        ranks = list(range(size)) if options.rank == "all" else idset.ids(options.rank)
    except ValueError as error:
        raise CommandError(f"--rank: {error}") from None
    worst = 0
    for rank in ranks:
        if rank >= size:
            raise CommandError(f"--rank: {rank}: this session has ranks 0-{size - 1}")
        env = dict(os.environ, FLUX_URI=f"{uri.rpartition('-')[0]}-{rank}")
        try:
            code = subprocess.run(options.command, env=env, check=False).returncode
        except OSError as error:
            raise cannot_run(options.command[0], error) from None
        except ValueError as error:
            raise CommandError(f"{options.command[0]!r}: {error}", 127) from None
        worst = max(worst, code if code >= 0 else 128 - code)
    return worst
