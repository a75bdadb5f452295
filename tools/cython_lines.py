# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A plugin of coverage.py for the package's Cython modules: Cython's own, told where the C files are."""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from Cython.Coverage import Plugin

TOP = Path(__file__).resolve().parent.parent
SOURCE = TOP / "sched"
TRANSLATED = TOP / "build" / "coverage" / "cython" / "sched"


class Lines(Plugin):
    """Finds the C file of a .pyx file of the tree; other files are no Cython modules of ours."""

    def _find_source_files(self, filename: str) -> tuple[str | None, None]:
        path = Path(filename)
        if path.suffix != ".pyx" or SOURCE not in path.parents:
            return None, None
        translated = TRANSLATED / path.relative_to(SOURCE).with_suffix(".c")
        return (str(translated), None) if translated.is_file() else (None, None)

    def _read_source_lines(self, c_file: str, sourcefile: str) -> Any:
        """A C file names its sources by their place below sched/, and Cython's plugin looks for them along the path."""
        sys.path.append(str(SOURCE))
        try:
            return super()._read_source_lines(c_file, sourcefile)
        finally:
            sys.path.remove(str(SOURCE))


def coverage_init(registry: Any, options: dict[str, Any]) -> None:
    """Called by coverage.py."""
    plugin = Lines()
    registry.add_configurer(plugin)
    registry.add_file_tracer(plugin)
