# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Untrusted values: showing them in error texts, tables and logs, and what passes for text."""

from __future__ import annotations

import itertools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LONGEST = 60

# Control characters, the separators of lines and paragraphs, marks that turn the direction of writing, half pairs:
# first and last of each range.
_UNPRINTABLE = (
    ("\x00", "\x1f"), ("\x7f", "\x9f"), ("\u061c", "\u061c"), ("\u200e", "\u200f"), ("\u2028", "\u202e"),
    ("\u2066", "\u2069"), ("\ud800", "\udfff"),
)  # fmt: skip


def printable(text: str, keep: str = "") -> str:
    """Return `text` with control characters as escapes (\\n, \\x1b), for a table, a log or a terminal.

    Names and notes come from users: raw, they could write other lines and move the cursor. Characters in `keep` stay.
    """
    if text.isprintable():
        return text
    return "".join(map(_escape, text, itertools.repeat(keep)))


def _escape(char: str, keep: str) -> str:
    if char.isprintable() or char in keep or not any(first <= char <= last for first, last in _UNPRINTABLE):
        return char
    return char.encode("unicode_escape").decode()


def is_utf8(text: str) -> bool:
    """Return whether the string `text` can be written as UTF-8; JSON can carry half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def quote(value: Any) -> str:
    """Return a short printable text for a decoded JSON value.

    Never longer than about 80 characters and never raises: lists and objects are named, not walked (they may be
    nested beyond the recursion limit), and neither are huge integers written out (Python refuses to).
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, str) and len(value) > _LONGEST:
        return ascii(value[:_LONGEST]) + "..."
    if isinstance(value, (int, float, str)):
        return ascii(value)
    return type(value).__name__
