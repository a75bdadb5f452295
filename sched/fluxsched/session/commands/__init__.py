# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The commands of a session: the broker's clients.

A command is a line in TABLE and a file here, whose ``main(name, words)`` runs it and returns its exit code.  Nothing
here imports the broker: commands reach it by requests (client.py), and what both ends share lies in ``session/``.
"""
from __future__ import annotations


class Command:
    """A command: its name, the file here that has it, what it does, and its heading in `flux help`."""

    __slots__ = ("name", "file", "summary", "heading")

    def __init__(self, name: str, file: str, summary: str, heading: str) -> None:
        self.name = name
        self.file = file
        self.summary = summary
        self.heading = heading

    @property
    def offers(self) -> bool:
        """Whether it offers to open a session where there is none: it submits jobs."""
        return self.heading == _RUN


_START = "start a session"
_RUN = "run and submit jobs"
_JOBS = "list and interact with jobs"
_INFO = "get resource and session information"
_OTHER = "other commands"

TABLE = (
    Command("start", "start", "open a session on this machine and run a command or a shell in it", _START),
    Command("enable", "service", "open a session that stays, also after each start of the machine", _START),
    Command("disable", "service", "end that session, and open it no more", _START),
    Command("status", "service", "whether that session is open", _START),
    Command("env", "env", "run a command, or print what a shell needs, with the session's environment", _START),
    Command("submit", "submit", "submit a job", _RUN),
    Command("bulksubmit", "bulksubmit", "submit a job for each input", _RUN),
    Command("run", "submit", "run a job and wait for it", _RUN),
    Command("wreckrun", "submit", "the same, by its old name", _RUN),
    Command("batch", "batch", "submit a script that runs in a session of its own", _RUN),
    Command("alloc", "alloc", "allocate resources, and run a shell or a command in a session on them", _RUN),
    Command("jobs", "jobs", "list jobs", _JOBS),
    Command("top", "top", "show jobs and the plan live, and change them by keys", _JOBS),
    Command("cancel", "cancel", "cancel jobs", _JOBS),
    Command("job", "job", "attach to a job, wait for it, show its events and data, change its urgency", _JOBS),
    Command("waitjob", "job", "wait for one job", _JOBS),
    Command("pstree", "pstree", "show jobs and the sessions in them as a tree", _JOBS),
    Command("proxy", "proxy", "run a command as if in the session of a job", _JOBS),
    Command("update", "update", "change the time limit of a job", _JOBS),
    Command("resource", "resource", "list resources, drain and undrain them", _INFO),
    Command("queue", "queue", "list queues, stop and start them, disable and enable them", _INFO),
    Command("uptime", "info", "how long this session has been running", _INFO),
    Command("sched", "sched", "why a job waits, when it would start; the plan, the simulator (flux-sched)", _INFO),
    Command("dmesg", "dmesg", "show or clear the log", _INFO),
    Command("uri", "proxy", "show the address of the session in a job", _INFO),
    Command("shutdown", "proxy", "end a session", _INFO),
    Command("getattr", "info", "show an attribute of the session", _INFO),
    Command("module", "module", "load, list, remove, reload the scheduler, show its statistics", _OTHER),
    Command("kvs", "kvs", "get, put and list keys", _OTHER),
    Command("exec", "info", "run a command as if on other ranks", _OTHER),
    Command("completion", "completion", "print the completion of bash, zsh or fish", _OTHER),
    Command("version", "info", "show versions", _OTHER),
    Command("help", "help", "show this, or the page of a command or topic", _OTHER),
)

COMMANDS = {command.name: command for command in TABLE}


def overview() -> str:
    """The text of `flux help`."""
    lines = ["Usage: flux COMMAND ARGS", "  -h, --help     Display this message."]
    lines.append("  -V, --version  Display the version.")
    heading = ""
    for command in TABLE:
        if command.heading != heading:
            heading = command.heading
            lines += ["", heading]
        lines.append(f"   {command.name:<18} {command.summary}")
    lines += ["", "Each command shows its options with --help, and its page with `flux help COMMAND'."]
    return "\n".join([*lines, ""])
