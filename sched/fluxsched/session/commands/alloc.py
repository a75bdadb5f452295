# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux alloc: a session of its own on the resources of a job, with a shell or a command in this terminal."""

from __future__ import annotations

import os
import signal
import termios
import tty
from typing import Any

from fluxsched.formats.quote import printable
from fluxsched.program import tell
from fluxsched.session import jobid as ids
from fluxsched.session.commands import nested, submit
from fluxsched.session.commands.attach import Attach
from fluxsched.session.commands.client import Client
from fluxsched.session.commands.common import Parser, operands
from fluxsched.session.commands.options import Options
from fluxsched.session.errors import CommandError


def parser() -> Parser:
    """The options of flux alloc."""
    p = Parser("alloc", description="Allocate resources, and run a command or a shell in a session on them.",
               usage="flux alloc [OPTIONS...] [COMMAND [ARGS...]]")
    submit.job_options(p)
    nested.add_options(p)
    p.add_argument("--quiet", action="store_true", help="with --bg: do not print the job's id")
    p.add_argument("--bg", action="store_true", help="wait until the session is there, and leave it in the background")
    p.add_argument("command", nargs="...", metavar="COMMAND", help="command and its arguments (default: a shell)")
    return p


def main(name: str, words: list[str]) -> int:
    """flux alloc; the exit code, which is that of the command."""
    o = parser().parse_args(words)
    o.input = o.output = o.error = None
    o.unbuffered = o.label_io = False
    with nested.refusals():
        nested.check_dump(o)
    command = operands(o.command)
    terminal = os.isatty(0) and os.isatty(1) and not o.bg
    if not (terminal or o.bg or command or o.dry_run):
        raise CommandError("ERROR: expected a terminal for a shell, a COMMAND, or --bg")
    options = ["--stay"] if o.bg and not command else []
    if terminal:
        size = os.get_terminal_size()
        options = [f"--terminal={size.lines or 24}x{size.columns or 80}"]
        o.unbuffered = True
    with nested.refusals():
        payload = nested.request(o, command, options, stdin="none" if o.bg else "service")
    found = nested.submitted(payload, o.dry_run)
    if found is None:
        return 0
    client, jobid = found
    if o.verbose:
        tell(f"jobid: {ids.show(jobid)}")
    if o.bg:
        return _background(client, o, jobid)
    try:
        if terminal:
            return Interactive(client, jobid).run()
        return Attach(client, jobid, stdin=True, events=o.verbose > 1).run()
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}; job {ids.show(jobid)} goes on") from None


def _background(client: Client, o: Options, jobid: int) -> int:
    """--bg: wait until the session can be used, and print the job's id."""
    follower = Background(client, jobid)
    code = follower.run()
    if not follower.ready:
        raise CommandError(f"job {ids.show(jobid)} has ended before its session was there", code or 1)
    if not o.quiet:
        print(ids.show(jobid))
    return 0


class Background(Attach):
    """Follows a job until its session can be used; `ready` is whether it can. Ctrl-C cancels the job."""

    ready = False

    def event(self, entry: dict[str, Any]) -> None:
        """Take an event: the session tells its address when it is there."""
        super().event(entry)
        if entry["name"] == "memo" and "uri" in entry["context"]:
            self.ready = self.done = True

    def on_interrupt(self) -> None:
        """Cancel the job."""
        self.client.send("job-manager.raise", {"id": self.jobid, "type": "cancel", "note": "interrupted by ctrl-C"})


class Interactive(Attach):
    """Follows a job whose session has its command in a terminal of its own, which this terminal shows.

    Keys go there as they are typed, from the start of the job to its end, and so does the size of the window."""

    def __init__(self, client: Client, jobid: int) -> None:
        super().__init__(client, jobid, stdin=True)
        self._before: list[Any] | None = None  # the mode of this terminal
        self._session: Client | None = None
        self.actions.update({signal.SIGWINCH: self.on_resize, signal.SIGHUP: self.on_hangup})

    def event(self, entry: dict[str, Any]) -> None:
        """Take an event."""
        if entry["name"] == "memo" and "uri" in entry["context"]:
            self._session = Client(entry["context"]["uri"])
            self.on_resize()
        elif entry["name"] == "start":
            self._before = termios.tcgetattr(0)
            tty.setraw(0)
        elif entry["name"] == "finish":
            self._restore()
        super().event(entry)

    def _restore(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, before)

    def say(self, text: str) -> None:
        """A line for people: a terminal that shows each byte as it is wants to be told to begin a line."""
        end = "\n" if self._before is None else "\r\n"
        self.write("stderr", f"{printable(text)}{end}".encode("utf-8", "backslashreplace"))

    def on_resize(self) -> None:
        """The window has another size."""
        if self._session is not None:
            size = os.get_terminal_size()
            self._session.send("session.resize", {"rows": size.lines or 24, "columns": size.columns or 80})

    def on_hangup(self) -> None:
        """This terminal is gone: so is that of the command, which is told to end."""
        self.client.send("job-manager.kill", {"id": self.jobid, "signum": int(signal.SIGHUP)})

    def run(self, signals: bool = True) -> int:
        """Follow the job to its end; its exit code."""
        try:
            return super().run(signals)
        finally:
            self._restore()
