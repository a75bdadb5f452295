# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The embedded session's `flux`: finds the command and runs it.

``python -m fluxsched.session.main WORDS...`` is ``flux WORDS...``.
"""
from __future__ import annotations

import atexit
import gc
import os
import sys

from fluxsched import program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from fluxsched.session.commands import Command


def start() -> NoReturn:
    """Run the command of this process, and end it.

    Nothing is left to be put away then, so the interpreter is not taken apart, which takes longer than most commands;
    and what a short life leaves behind is not looked for."""
    gc.set_threshold(100_000, 10, 10)
    code = main()
    atexit._run_exitfuncs()
    os._exit(code)


def main(words: list[str] | None = None) -> int:
    """Run a command; its exit code.  What goes wrong is a line on standard error, and in the session's log."""
    program.end_by_signal()
    program.secure_streams()
    words = list(sys.argv[1:] if words is None else words)
    name = words.pop(0) if words else ""
    return program.run(f"flux-{name}" if name else "flux", lambda: _run(name, words))


def _run(name: str, words: list[str]) -> int:
    from fluxsched.session import commands

    if name in ("-h", "--help"):
        name = "help"
    elif name in ("-V", "--version"):
        name = "version"
    if not name:
        program.tell(commands.overview().rstrip("\n"))
        return 1
    command = commands.COMMANDS.get(name)
    if command is None:
        _complain("flux", f"`{name}' is not a flux command.  See 'flux --help'")
        return 1
    return _call(name, command, words)


def _call(name: str, command: Command, words: list[str]) -> int:
    from fluxsched.errors import FluxSchedError
    from fluxsched.session.errors import NoSession

    module = __import__(f"fluxsched.session.commands.{command.file}", fromlist=["main"])
    try:
        try:
            return module.main(name, words)
        except NoSession:
            from fluxsched.session.commands import service

            if not command.offers or not service.offer(name):
                raise
            return module.main(name, words)
    except FluxSchedError as error:
        failure = error
    _flush()
    if getattr(failure, "logged", False) or name == "start":
        program.tell(f"flux-{name}: {failure}")
    else:
        _complain(f"flux-{name}", str(failure))
    return failure.code


def _complain(name: str, text: str) -> None:
    from fluxsched.session.commands.common import complain

    complain(name, text)


def _flush() -> None:
    """Write pending output before the error is shown."""
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = None  # the error that is told says enough


if __name__ == "__main__":
    start()
