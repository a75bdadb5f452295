# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""JSON from outside: read strictly, and bounded in depth.

The standard library takes NaN, which is no JSON, and runs into its recursion limit in text such as "[[[[...".  What it
has just taken may be too deep to be written again.
"""
from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 100  # lists and objects inside each other

TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def loads(text: str | bytes) -> Any:
    """Return the value of a JSON text.  ValueError if it is no JSON, or nested deeper than MAX_DEPTH."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    check_depth(value)
    return value


def check_depth(value: Any) -> None:
    """ValueError if lists and dicts of `value` are nested deeper than MAX_DEPTH."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [one for one in level if isinstance(one, (dict, list))]
        if not level:
            return
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    raise ValueError(TOO_DEEP)
