# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Names in a configuration that nobody knows, but that are nearly those of known ones."""

from __future__ import annotations

import difflib
from typing import Any, Collection, Iterator, Optional

from fluxsched.formats.quote import quote

ALIKE = 0.75  # how like a known table another must be to be taken for a slip of it


def nearest(name: str, known: Collection[str], alike: float = 0.6) -> Optional[str]:
    """The known name that is most like `name`, or None if none is."""
    found = difflib.get_close_matches(name, known, 1, alike)
    return found[0] if found else None


def tables(config: dict[str, Any], known: Collection[str]) -> Iterator[str]:
    """A sentence for each table at the top of `config` whose name is nearly that of a known one."""
    for name, value in config.items():
        meant = nearest(name, known, ALIKE) if isinstance(value, dict) and name not in known else None
        if meant is not None:
            yield f"{quote(name)}: unknown table, is {meant} meant?"
