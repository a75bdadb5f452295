# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Templates in the texts of a job, such as the name of a file for its output."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def fill(text: str, values: Mapping[str, Any]) -> str:
    """Fill ``{{name}}`` in; an unknown name stays as it is."""
    parts = text.split("{{")
    out = parts[0]
    for part in parts[1:]:
        name, closed, rest = part.partition("}}")
        if closed and name.strip() in values:
            out += str(values[name.strip()]) + rest
        else:
            out += "{{" + part
    return out
