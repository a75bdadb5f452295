# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux start: open a session, run a command in it, end with it."""
from __future__ import annotations

import os
import re

from fluxsched.formats import duration
from fluxsched.program import tell
from fluxsched.session import attributes, wellknown
from fluxsched.session import config as configs
from fluxsched.session.commands import nest
from fluxsched.session.commands.common import Parser, absolute, operands
from fluxsched.session.commands.options import Options as Given
from fluxsched.session.errors import SessionError
from fluxsched.session.opening import GRACE, MAX_SIZE, Nest, Options, open_session

DESCRIPTION = """\
Open a session on this machine, run COMMAND (or a shell) in it, and end with it, with its exit code.
"""


def parser() -> Parser:
    """The options of flux start."""
    p = Parser("start", description=DESCRIPTION)
    p.add_argument("-S", "--setattr", metavar="NAME=VALUE", action="append",
                   help=f"set an attribute: {', '.join(attributes.KNOWN)}")
    p.add_argument("-s", "--test-size", metavar="N", help="number of ranks (default 1)")
    p.add_argument("--statedir", metavar="DIR", help="keep jobs in DIR, and take up those that are there")
    p.add_argument("--emulate", metavar="FILE", help="pretend to be the cluster that an RDL file describes")
    p.add_argument("-c", "--config-path", metavar="FILE", help="read the configuration from FILE, TOML or JSON")
    p.add_argument("--conf", metavar="CONF", action="append",
                   help="change that: KEY=VALUE, a file, the name of one, or lines of TOML or JSON")
    p.add_argument("--no-sched", action="store_true", help="load no scheduler; jobs wait until one is loaded")
    p.add_argument("--service", action="store_true",
                   help="no COMMAND: stay open, found by all shells; jobs are kept, also while no session is open")
    p.add_argument("--stay", action="store_true", help="run no command: stay until told to end (flux shutdown)")
    p.add_argument("--terminal", metavar="ROWSxCOLUMNS", help="give the command a terminal of its own of this size")
    p.add_argument("-v", "--verbose", action="store_true", help="also write errors of the log to standard error")
    p.add_argument("command", nargs="...", metavar="COMMAND", help="command and its arguments (default: a shell)")
    return p


def main(name: str, words: list[str]) -> int:
    """flux start; the exit code, which is that of the session's command."""
    given = parser().parse_args(words)
    command = operands(given.command)
    if given.service and command:
        raise SessionError("--service: expected no command, as this session stays open by itself")
    chosen = attributes_of(given)
    alone = given.service or given.test_size is not None or given.emulate is not None
    if not alone and nest.in_job():
        if os.environ.get("FLUX_TASK_RANK", "0") != "0":
            return 0  # one session for all tasks of the job: that of the first one
        found = nest.find()
        nest.stage([given.config_path or "", *command], found)
        return open_session(_options(given, found, chosen), command)
    return open_session(_options(given, None, chosen), command)


def attributes_of(given: Given) -> dict[str, str]:
    """The attributes that are set.  Raises SessionError."""
    found = attributes.parse(given.setattr or ())
    if attributes.STATEDIR in found and given.statedir is not None:
        raise SessionError("--statedir and -S statedir cannot be used together")
    if attributes.NO_COMMAND in found and operands(given.command):
        raise SessionError(f"-S {attributes.NO_COMMAND}: expected no command")
    return found


def _dump(text: str | None) -> str | None:
    """The file for the archive at the end.  Raises SessionError."""
    if text is None:
        return None
    path = absolute(text)
    folder = os.path.dirname(path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SessionError(f"{attributes.DUMP}: {folder}: expected a folder that can be written to")
    return path


def _options(given: Given, inside: Nest | None = None, chosen: dict[str, str] | None = None) -> Options:
    """What the words ask for, in a job or not; `chosen` are the attributes that are set.  Raises SessionError."""
    from fluxsched.formats import rdl

    chosen = chosen or {}
    given.statedir = chosen.get(attributes.STATEDIR, given.statedir)
    if given.test_size is not None and given.emulate is not None:
        raise SessionError("-s and --emulate cannot be used together: a rank stands for each node of the file")
    size = "1" if given.test_size is None else given.test_size
    if not (size.isascii() and size.isdigit() and len(size) < 7 and 0 < int(size) <= MAX_SIZE):
        raise SessionError(f"-s {size}: expected a number of ranks from 1 to {MAX_SIZE}")
    if given.statedir == "":
        raise SessionError("--statedir=: expected a folder, got nothing")
    statedir = None if given.statedir is None else absolute(given.statedir)
    if statedir is None and given.service:
        statedir = os.path.join(wellknown.state_folder(), "queue")
    config, remarks = configs.read(given.config_path, given.conf or ())
    if inside is not None:
        configs.check_nested(config, given.config_path or "--conf")
    if given.stay and given.command:
        raise SessionError("--stay: expected no command")
    for remark in remarks:
        tell(f"flux-start: {remark}")
    try:
        grace = duration.parse(config.get("exec", {}).get("kill-timeout", GRACE))
    except ValueError as error:
        raise SessionError(f"{given.config_path}: exec.kill-timeout: {error}") from None
    return Options(
        size=int(size),
        statedir=statedir,
        emulate=given.emulate if given.emulate is None else absolute(str(rdl.find(given.emulate))),
        config=config,
        no_sched=given.no_sched,
        verbose=given.verbose,
        service=given.service,
        grace=grace,
        nest=inside,
        stay=given.stay or attributes.NO_COMMAND in chosen,
        dump=_dump(chosen.get(attributes.DUMP)),
        terminal=_size(given.terminal),
    )


def _size(text: str | None) -> tuple[int, int] | None:
    """--terminal.  Raises SessionError."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text, re.ASCII)
    rows, columns = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (0 < rows < 65536 and 0 < columns < 65536):
        raise SessionError(f"--terminal: expected ROWSxCOLUMNS, such as 24x80, got {text!r}")
    return rows, columns
