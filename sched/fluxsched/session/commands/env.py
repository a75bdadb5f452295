# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux env: the session's environment for a command, or for a shell that was not started in the session."""
from __future__ import annotations

import os
import shlex

from fluxsched.program import flush
from fluxsched.session.commands.client import Client
from fluxsched.session.commands.common import Parser, call, cannot_run, operands
from fluxsched.session.pythonpath import pythonpath


def variables() -> dict[str, str]:
    """FLUX_URI, PATH with the session's flux, and PYTHONPATH with its module.  Raises CommandError if there is none."""
    client = Client()
    rundir = call(client.rpc, "attr.get", {"name": "rundir"})["value"]
    statedir = call(client.rpc, "attr.get", {"name": "statedir"})["value"]
    found = {"FLUX_URI": client.uri, "FLUX_SCHED_EMBEDDED": "1", "PYTHONPATH": pythonpath(os.environ.get("PYTHONPATH"))}
    paths = os.environ.get("PATH", os.defpath).split(os.pathsep)
    for folder in (os.path.join(base, "bin") for base in (rundir, statedir)):
        if os.access(os.path.join(folder, "flux"), os.X_OK) and folder not in paths:
            paths.insert(0, folder)
            break
    found["PATH"] = os.pathsep.join(paths)
    return found


def main(name: str, words: list[str]) -> int:
    """flux env; the exit code, which is that of the command."""
    p = Parser(name, description="Run COMMAND with the session's environment; without one, print it for a shell: "
                                 'eval "$(flux env)".')  # fmt: skip
    p.add_argument("command", nargs="...", metavar="COMMAND", help="command and its arguments")
    o = p.parse_args(words)
    command = operands(o.command)
    found = variables()
    if not command:
        for key, value in found.items():
            print(f"export {key}={shlex.quote(value)}")
        return 0
    flush()
    try:
        os.execvpe(command[0], command, {**os.environ, **found})
    except OSError as error:
        raise cannot_run(command[0], error) from None
