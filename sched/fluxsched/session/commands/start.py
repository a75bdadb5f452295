# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux start: open a session, run a command in it, end with it."""
from __future__ import annotations

import argparse
from typing import Any

from fluxsched.formats import duration, jsontext
from fluxsched.formats import queues as _queues
from fluxsched.session.commands.common import Parser, absolute
from fluxsched.session.errors import SessionError
from fluxsched.session.opening import GRACE, MAX_SIZE, Options, open_session

DESCRIPTION = """\
Open a session on this machine, run COMMAND (or a shell) in it, and end with it, with its exit code.
"""
MAX_CONFIG = 16 << 20  # bytes


def parser() -> Parser:
    """The options of flux start."""
    p = Parser("start", description=DESCRIPTION)
    p.add_argument("-s", "--test-size", metavar="N", help="number of ranks (default 1)")
    p.add_argument("--statedir", metavar="DIR", help="keep jobs in DIR, and take up those that are there")
    p.add_argument("--emulate", metavar="FILE", help="pretend to be the cluster that an RDL file describes")
    p.add_argument("-c", "--config-path", metavar="FILE", help="read the configuration from FILE, TOML or JSON")
    p.add_argument("--no-sched", action="store_true", help="load no scheduler; jobs wait until one is loaded")
    p.add_argument("-v", "--verbose", action="store_true", help="also write errors of the log to standard error")
    p.add_argument("command", nargs="...", metavar="COMMAND", help="command and its arguments (default: a shell)")
    return p


def read_config(path: str | None) -> dict[str, Any]:
    """The configuration as a dict.  Raises SessionError."""
    if path is None:
        return {}
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CONFIG + 1)
    except OSError as error:
        raise SessionError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_CONFIG:
        raise SessionError(f"{path}: expected at most {MAX_CONFIG} bytes")
    try:
        if path.endswith(".json"):
            config = jsontext.loads(data)
        else:
            config = _toml().loads(data.decode())
            jsontext.check_depth(config)
    except RecursionError:
        raise SessionError(f"{path}: {jsontext.TOO_DEEP}") from None
    except ValueError as error:
        raise SessionError(f"{path}: {error}") from None
    if not isinstance(config, dict):
        raise SessionError(f"{path}: expected a table at the top")
    for key in ("queues", "policy", "sched", "resource", "exec"):
        if not isinstance(config.get(key, {}), dict):
            raise SessionError(f"{path}: {key}: expected a table")
    for name, table in config.get("queues", {}).items():
        requires = table.get("requires", []) if isinstance(table, dict) else None
        if not isinstance(requires, list) or not all(isinstance(word, str) for word in requires):
            raise SessionError(f"{path}: queues.{name}: expected a table with requires, a list of properties")
    try:
        _queues.parents(config.get("queues"))
    except _queues.QueuesError as error:
        raise SessionError(f"{path}: {error}") from None
    return config


def _toml() -> Any:
    try:
        import tomllib
    except ImportError:
        try:
            import tomli as tomllib  # type: ignore[no-redef]
        except ImportError:
            text = "reading TOML needs Python 3.11 or the package tomli; a .json file is read without them"
            raise SessionError(text) from None
    return tomllib


def main(name: str, words: list[str]) -> int:
    """flux start; the exit code, which is that of the session's command."""
    given = parser().parse_args(words)
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    return open_session(_options(given), command)


def _options(given: argparse.Namespace) -> Options:
    """What the words ask for.  Raises SessionError."""
    from fluxsched.formats import rdl

    if given.test_size is not None and given.emulate is not None:
        raise SessionError("-s and --emulate cannot be used together: a rank stands for each node of the file")
    size = "1" if given.test_size is None else given.test_size
    if not (size.isascii() and size.isdigit() and len(size) < 7 and 0 < int(size) <= MAX_SIZE):
        raise SessionError(f"-s {size}: expected a number of ranks from 1 to {MAX_SIZE}")
    if given.statedir == "":
        raise SessionError("--statedir=: expected a folder, got nothing")
    config = read_config(given.config_path)
    try:
        grace = duration.parse(config.get("exec", {}).get("kill-timeout", GRACE))
    except ValueError as error:
        raise SessionError(f"{given.config_path}: exec.kill-timeout: {error}") from None
    return Options(
        size=int(size),
        statedir=given.statedir if given.statedir is None else absolute(given.statedir),
        emulate=given.emulate if given.emulate is None else absolute(str(rdl.find(given.emulate))),
        config=config,
        no_sched=given.no_sched,
        verbose=given.verbose,
        grace=grace,
    )
