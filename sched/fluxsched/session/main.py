# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The embedded session's `flux`: finds the command and runs it.

``python -m fluxsched.session.main WORDS...`` is ``flux WORDS...``.
"""

import importlib
import sys

from fluxsched.session.commands import common
from fluxsched.session.errors import CommandError

HELP = """\
Usage: flux COMMAND ARGS
  -h, --help     Display this message.
  -V, --version  Display the version.

start a session
   start              open a session on this machine and run a command or a shell in it

run and submit jobs
   submit             submit a job
   run                run a job and wait for it
   wreckrun           the same, by its old name

list and interact with jobs
   jobs               list jobs
   cancel             cancel jobs
   job                attach to a job, wait for it, show its events and data, change its urgency
   waitjob            wait for one job
   update             change the time limit of a job

get resource and session information
   resource           list resources, drain and undrain them
   queue              list queues
   uptime             how long this session has been running
   dmesg              show or clear the log
   getattr            show an attribute of the session

other commands
   module             load, list, remove, reload the scheduler, show its statistics
   kvs                get, put and list keys
   exec               run a command as if on other ranks
   version            show versions
   help               show this, or the help of a command

Each command shows its options with --help.
"""

COMMANDS = {
    "start": "start",
    "submit": "submit",
    "run": "submit",
    "wreckrun": "submit",
    "jobs": "jobs",
    "cancel": "cancel",
    "job": "job",
    "waitjob": "job",
    "update": "update",
    "kvs": "kvs",
    "resource": "resource",
    "queue": "resource",
    "module": "module",
    "dmesg": "dmesg",
    "getattr": "info",
    "uptime": "info",
    "version": "info",
    "exec": "info",
}


def main(words=None):
    words = list(sys.argv[1:] if words is None else words)
    # names come from people, and the terminal may not know all of their letters
    sys.stdout.reconfigure(errors="backslashreplace")
    name = words.pop(0) if words else ""
    if name in ("-h", "--help", "help", "") and words[:1] and words[0] in COMMANDS:
        name, words = words[0], ["--help"]
    if name in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if name in ("-V", "--version"):
        name = "version"
    if not name:
        print(HELP, end="", file=sys.stderr)
        return 1
    module = COMMANDS.get(name)
    if module is None:
        text = f"`{name}' is not a flux command.  See 'flux --help'"
        common.complain("flux", text)
        return 1
    try:
        command = importlib.import_module(f"fluxsched.session.commands.{module}")
        code = command.main(name, words)
        sys.stdout.flush()
        return code
    except CommandError as error:
        _flush()
        print(f"flux-{name}: {error}", file=sys.stderr)
        if not error.logged and name != "start":
            common.log_failure(f"flux-{name}", str(error))
        return error.code
    except BrokenPipeError:
        sys.stdout = None  # whoever read the output has gone; there is nobody to tell
        return 141
    except KeyboardInterrupt:
        return 130


def _flush():
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = None


if __name__ == "__main__":
    sys.exit(main())
