# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the commands share: options and their types, errors, groups of commands."""
from __future__ import annotations

import errno
import os

from fluxsched.formats.quote import quote
from fluxsched.program import tell
from fluxsched.session import jobid as ids
from fluxsched.session.commands import options
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.commands.client import here as session_here
from fluxsched.session.commands.options import Parser as Parser
from fluxsched.session.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Callable

LOG_ERR = 3  # as in syslog(3)


# types of options: argparse names the option in front of what they say


def wrong(text: str) -> Exception:
    """What a type raises of a value that is none of its; argparse shows `text`."""
    import argparse

    return argparse.ArgumentTypeError(text)


def jobid(text: str) -> int:
    """A job id in any of its forms that a session can have given out."""
    try:
        return ids.stored(ids.parse(text))
    except ValueError as error:
        raise wrong(str(error)) from None


def whole(least: int = 0, most: int = 2**31 - 1) -> Callable[[str], int]:
    """The type of whole numbers from `least` to `most`."""

    def convert(text: str) -> int:
        digits = text[1:] if text[:1] == "-" else text
        value = int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 20 else None
        if value is None or not least <= value <= most:
            raise wrong(f"expected a whole number from {least} to {most}, got {quote(text)}")
        return value

    return convert


def seconds(text: str) -> float:
    """A duration such as 30s or 1.5h."""
    from fluxsched.session import fsd

    try:
        return fsd.parse(text)
    except ValueError as error:
        raise wrong(str(error)) from None


def signal_number(text: str) -> int:
    """The number of a signal by its name, with or without SIG, or by its number.  ValueError if there is none."""
    import signal

    known = {one.name: int(one) for one in signal.Signals}
    name = text.upper()
    found = known.get(name if name.startswith("SIG") else "SIG" + name)
    if found is None and name.isascii() and name.isdigit() and len(name) < 4 and int(name) in known.values():
        found = int(name)
    if found is None:
        raise ValueError(f"invalid signal {text!r}")
    return found


def json_option(p: Parser) -> None:
    """--json, of commands that list."""
    p.add_argument("--json", action="store_true", help="JSON")


def print_json(value: Any) -> None:
    """Print a value as JSON, in a line."""
    import json

    print(json.dumps(value))


def operands(words: list[str]) -> list[str]:
    """The words of a command, without the "--" that may stand ahead of them."""
    return words[1:] if words[:1] == ["--"] else words


def call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call, turning a refusal of the broker into the command's error."""
    try:
        return function(*arguments, **options)
    except RPCError as error:
        raise CommandError(error.text) from None


def here() -> str:
    """The working directory.  Raises CommandError if it has been removed."""
    try:
        return os.getcwd()
    except OSError as error:
        raise CommandError(f"the working directory cannot be found: {error.strerror}") from None


def absolute(path: str) -> str:
    """The absolute path of a file that the caller names.  Raises CommandError as :func:`here`."""
    return os.path.normpath(path if os.path.isabs(path) else os.path.join(here(), path))


def cannot_run(word: str, error: OSError) -> CommandError:
    """The error of a command whose first word could not be run, with the exit code that shells have for it."""
    from fluxsched.session import starting

    why = starting.reason(error.errno or errno.EIO, [word])
    return CommandError(f"{word}: {why}", 126 if isinstance(error, PermissionError) else 127)


def log_failure(name: str, text: str) -> None:
    """What a command says on standard error also goes to the session's log, if there is a session."""
    if session_here() is None:
        return
    try:
        Client().rpc("log.append", {"name": name, "level": LOG_ERR, "text": text.partition("\n")[0]})
    except (CommandError, RPCError):
        return  # the session is gone; the terminal has the text


def complain(name: str, text: str) -> None:
    """Say that one of several things has failed, and go on."""
    tell(f"{name}: {text}")
    log_failure(name, text)


def subcommands(name: str, words: list[str], table: Mapping[str, Callable[[list[str]], int]], hint: str) -> int:
    """Run table[words[0]](words[1:]); help when asked for, or when there is no such command."""
    if options.revealing and not words:
        raise options.Revealed(table=list(table), hint=hint)
    text = f"Usage: flux {name} COMMAND ARGS\n\n{hint}"
    if words[:1] in (["-h"], ["--help"]):
        print(text)
        return 0
    if not words or words[0] not in table:
        what = f"unknown subcommand {words[0]!r}" if words else "missing subcommand"
        raise CommandError(f"{what}\n{text}")
    return table[words[0]](words[1:])
