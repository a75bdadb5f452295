# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux sched: the program flux-sched, as a real Flux finds it on its command path."""
from __future__ import annotations


def main(name: str, words: list[str]) -> int:
    """flux sched; the exit code."""
    from fluxsched.cli import main as cli

    try:
        cli.main.main(args=words, prog_name="flux sched")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0
