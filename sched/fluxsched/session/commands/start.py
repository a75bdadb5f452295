# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux start: open a session, run a command in it, end with it."""

import json
import os
import signal
import sys

from fluxsched.formats import duration
from fluxsched.session.commands.common import Parser
from fluxsched.session.errors import SessionError

DESCRIPTION = """\
Open a session on this machine, run COMMAND (or a shell) in it, and end with it, with its exit code.
"""


def positive(text):
    if not (text.isascii() and text.isdigit() and len(text) < 7 and int(text) > 0):
        raise ValueError
    return int(text)


def parser():
    p = Parser("start", description=DESCRIPTION)
    p.add_argument("-s", "--test-size", metavar="N", help="number of ranks (default 1)")
    p.add_argument("--statedir", metavar="DIR", help="keep jobs in DIR, and take up those that are there")
    p.add_argument("--emulate", metavar="FILE", help="pretend to be the cluster that an RDL file describes")
    p.add_argument("-c", "--config-path", metavar="FILE", help="read the configuration from FILE, TOML or JSON")
    p.add_argument("--no-sched", action="store_true", help="load no scheduler; jobs wait until one is loaded")
    p.add_argument("-v", "--verbose", action="store_true", help="also write errors of the log to standard error")
    p.add_argument("command", nargs="...", metavar="COMMAND", help="command and its arguments (default: a shell)")
    return p


def read_config(path):
    """The configuration as a dict.  Raises SessionError."""
    if path is None:
        return {}
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise SessionError(f"{path}: {error.strerror}") from None
    try:
        if path.endswith(".json"):
            config = json.loads(data)
        else:
            config = _toml().loads(data.decode())
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
    return config


def _toml():
    try:
        import tomllib
    except ImportError:
        try:
            import tomli as tomllib
        except ImportError:
            text = "reading TOML needs Python 3.11 or the package tomli; a .json file is read without them"
            raise SessionError(text) from None
    return tomllib


def main(name, words):
    p = parser()
    options = p.parse_args(words)
    try:
        return start(p, options)
    except SessionError as error:
        print(f"flux-start: {error}", file=sys.stderr)
        return 1


def start(p, options):
    from fluxsched.formats import rdl
    from fluxsched.session.broker.broker import GRACE, Broker
    from fluxsched.session.broker.ranks import MAX_SIZE

    if options.test_size is not None and options.emulate is not None:
        raise SessionError("-s and --emulate cannot be used together: a rank stands for each node of the file")
    try:
        options.size = 1 if options.test_size is None else positive(options.test_size)
    except ValueError:
        options.size = 0
    if options.statedir == "":
        raise SessionError("--statedir=: expected a folder, got nothing")
    if not 0 < options.size <= MAX_SIZE:
        raise SessionError(f"-s {options.test_size}: expected a number of ranks from 1 to {MAX_SIZE}")
    if options.emulate is not None:
        options.emulate = os.path.abspath(rdl.find(options.emulate))
    options.config = read_config(options.config_path)
    timeout = options.config.get("exec", {}).get("kill-timeout", GRACE)
    try:
        options.grace = duration.parse(timeout)
    except ValueError as error:
        raise SessionError(f"{options.config_path}: exec.kill-timeout: {error}") from None
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    # A signal that comes before the loop is up must not leave directories behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    broker = Broker(options)
    try:
        broker.run(words)
    finally:
        broker.close()
    return broker.code
