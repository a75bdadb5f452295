# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where the module ``flux`` of a session lies, for programs in Python that run in it."""
from __future__ import annotations

import os
from pathlib import Path

#: The folder with the module.
FOLDER = str(Path(__file__).absolute().parents[1] / "share" / "python")


def pythonpath(value: str | None) -> str:
    """PYTHONPATH with the module's folder in front; `value` is what it was, None if it was not set."""
    if not value:
        return FOLDER
    paths = value.split(os.pathsep)
    return value if FOLDER in paths else os.pathsep.join([FOLDER, *paths])
