# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""``make man``: the manual pages of doc/man to build/man/man1, man5 and man7, by Sphinx."""
from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import requirements

TOP = Path(__file__).resolve().parent.parent
PAGES = TOP / "build" / "man"


def up_to_date() -> bool:
    """Whether no page of doc/ has changed since build/man was made."""
    others = ("doc/man/conf.py", "CHANGELOG.md", "sched/fluxsched/version.py")
    sources = [*(TOP / "doc").rglob("*.md"), *(TOP / name for name in others)]
    return PAGES.is_dir() and max(path.stat().st_mtime for path in sources) < PAGES.stat().st_mtime


def sphinx(target: Path, work: Path) -> str:
    """Write the pages below target, with what Sphinx remembers in work; empty, or what it said if it failed.

    A warning is a failure.
    """
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "-b", "man", "-d", str(work)]
    done = subprocess.run([*command, str(TOP / "doc" / "man"), str(target)], capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else ""


def build() -> str:
    """Make build/man anew; empty, or why it could not be made, and then what was there stays."""
    if up_to_date():
        return ""
    trouble = requirements.install("man")
    if trouble:
        return trouble
    new = PAGES.with_name("man.new")
    shutil.rmtree(new, ignore_errors=True)
    trouble = sphinx(new, PAGES.with_name("doctrees"))
    if not trouble:
        shutil.rmtree(PAGES, ignore_errors=True)
        new.rename(PAGES)
        PAGES.touch()
    return trouble.strip()


if __name__ == "__main__":
    problem = build()
    print(problem or f"Manual pages are in {PAGES}", file=sys.stderr if problem else sys.stdout)
    sys.exit(1 if problem else 0)
