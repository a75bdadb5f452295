# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Install what a tool of the tree needs into build/venv, unless it is there.

``python tools/requirements.py man`` takes the optional dependencies ``man`` of pyproject.toml. They are no part of
plain ``make``: each target that needs some asks for them by itself.
"""
from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib  # type: ignore[no-redef]

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def missing(group: str) -> list[str]:
    """The requirements of a group that are not met."""
    with open(PROJECT, "rb") as file:
        wanted = [Requirement(text) for text in tomllib.load(file)["project"]["optional-dependencies"][group]]
    return [str(one) for one in wanted if (one.marker is None or one.marker.evaluate()) and not _is_met(one)]


def _is_met(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def install(group: str) -> str:
    """Install what is missing of a group; empty, or a line that says why it could not be."""
    wanted = missing(group)
    if not wanted:
        return ""
    print(f"Installing {', '.join(wanted)} into {sys.prefix}", flush=True)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--retries=2", *wanted]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode == 0:
        return ""
    errors = [line for line in done.stdout.splitlines() if line.startswith("ERROR")]
    return f"{', '.join(wanted)} could not be installed: {errors[-1] if errors else 'pip failed'}"


def main(words: list[str]) -> int:
    """Install the groups that are named."""
    for group in words:
        trouble = install(group)
        if trouble:
            print(trouble, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
