# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""JSON where it is hot: by orjson, and by the standard library what that does not take.

That is text that is no UTF-8, which Python holds as surrogates, and numbers of more than 64 bits.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

_ENCODER = json.JSONEncoder(separators=(",", ":"))


def dumps(value: Any) -> str:
    """Compact JSON, in ASCII where the text in it is no UTF-8, so that any text can be stored."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return _ENCODER.encode(value)


def encode(message: dict) -> bytes:
    """The line of a message, with its line end, as :func:`fluxsched.session.wire.encode`."""
    try:
        return orjson.dumps(message) + b"\n"
    except TypeError:
        return _ENCODER.encode(message).encode("ascii") + b"\n"


def loads(text: str) -> Any:
    """The value of JSON.  ValueError if it is none, RecursionError if it is nested too deeply."""
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)
