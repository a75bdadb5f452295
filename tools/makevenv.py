# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""build/venv, the virtual environment of the tree, for configure.py; and the text of commands, for setup.py, too."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any, Optional

TOP = Path(__file__).resolve().parent.parent
BUILD = TOP / "build"
VENV = BUILD / "venv"
STAMP = VENV / ".complete"

# The longest first line of a script that every Linux reads whole.
LONGEST_HEAD = 127


class VenvError(Exception):
    """One line: what went wrong and what to do."""


# Run by the virtual environment's Python, since only a Python with pip is sure to read TOML before 3.11.
REQUIREMENTS = """
import json, sys
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib
with open(sys.argv[1], "rb") as file:
    data = tomllib.load(file)
project = data["project"]
extras = project["optional-dependencies"]
wanted = data["build-system"]["requires"] + project["dependencies"]
json.dump(sum((extras[name] for name in ("simulate", "test", "dev")), wanted), sys.stdout)
"""


def requirements() -> list[str]:
    """What pyproject.toml asks for to build, run, test and lint."""
    return json.loads(
        subprocess.check_output([str(VENV / "bin/python"), "-c", REQUIREMENTS, str(TOP / "pyproject.toml")], text=True)
    )


NETWORK = re.compile(
    r"Failed to establish a new connection|Temporary failure in name resolution|Name or service not known|"
    r"Network is unreachable|Connection refused|ConnectTimeout|Read timed out|ProxyError|SSLError|"
    r"No route to host|ConnectionResetError|\(from versions: none\)",
)


def pip_trouble(log: str) -> str:
    """One line out of pip's log."""
    errors = [line.split("ERROR:", 1)[1].strip() for line in log.splitlines() if "ERROR:" in line]
    if NETWORK.search(log):
        return (
            "no network: pip cannot reach the package index; connect, or set PIP_INDEX_URL or PIP_FIND_LINKS to one"
            " within reach (see build/venv.log)"
        )
    return f"pip failed: {errors[0] if errors else 'no reason given'} (see build/venv.log)"


def venv_fits(python: dict[str, Any]) -> bool:
    """Whether build/venv works and comes from the configured Python."""
    script = "import os, pip, platform, sys; print(os.path.realpath(sys.executable), platform.python_version())"
    try:
        done = subprocess.run([str(VENV / "bin/python"), "-c", script], capture_output=True, text=True)
    except OSError:
        return False
    wanted = f"{os.path.realpath(python['executable'])} {python['version']}"
    return done.returncode == 0 and done.stdout.strip() == wanted


def stamp() -> Any:
    """What build/venv was completed for, or None where it is not complete."""
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return None


def logged(command: list[str], log: Path) -> int:
    """Run a command whose output goes to the end of a file; its exit code."""
    with open(log, "a") as file:
        return subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode


_FIRST = """import _signal

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
import site
import sys

site.main()
"""


def command_text(python: str, module: str, folder: Optional[str] = None) -> str:
    """Text of a command that runs main() of the module (found in the folder), whatever the caller's Python settings.

    Ctrl-C ends it from its first line on, ahead of the library site, which takes a while: see session/entry.py."""
    head = f"#!{python} -IS\n"
    if len(head) > LONGEST_HEAD or len(head.split()) != 2:
        # For Python the second line is a string. bash keeps environment variables of any name, other shells do not.
        head = f"#!/bin/bash -p\n'''exec' {shlex.quote(python)} -IS \"$0\" \"$@\"\n' '''\n"
    path = f"sys.path.insert(0, {str(folder)!r})\n" if folder else ""
    return f"{head}{_FIRST}{path}from {module} import main\n\nsys.exit(main())\n"


def make_venv(config: dict[str, Any]) -> None:
    """Create build/venv, or bring it up to date; nothing is done when it already is."""
    wanted = {
        "top": config["top"],
        "python": [config["python"]["executable"], config["python"]["version"]],
        "pyproject": hashlib.sha256((TOP / "pyproject.toml").read_bytes()).hexdigest(),
    }
    if stamp() == wanted and venv_fits(config["python"]):
        os.utime(STAMP)
        return
    log = BUILD / "venv.log"
    log.write_text("")
    if not venv_fits(config["python"]):
        print(f"Creating build/venv with {config['python']['executable']}", flush=True)
        if logged([config["python"]["executable"], "-m", "venv", "--clear", str(VENV)], log):
            raise VenvError(f"{config['python']['executable']} -m venv failed (see build/venv.log)")
    print("Installing what pyproject.toml requires into build/venv", flush=True)
    python = str(VENV / "bin/python")
    if logged([python, "-m", "pip", "--disable-pip-version-check", "install", *requirements()], log):
        raise VenvError(pip_trouble(log.read_text()))
    purelib = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.check_output(purelib, text=True).strip())
    (site / "fluxsched.pth").write_text(f"{TOP}/build/lib\n")
    command = VENV / "bin/flux-sched"
    command.write_text(command_text(python, "fluxsched.cli.main"))
    command.chmod(0o755)
    STAMP.write_text(json.dumps(wanted) + "\n")
