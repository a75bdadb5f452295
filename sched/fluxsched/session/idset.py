# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Id sets (RFC 22) in the little the commands need, without a library's import time."""


def encode(ids, brackets=True):
    """"[0-3,7]" of integers; no brackets around a single range of one or when not wanted."""
    ids = sorted(set(ids))
    parts = []
    i = 0
    while i < len(ids):
        j = i
        while j + 1 < len(ids) and ids[j + 1] == ids[j] + 1:
            j += 1
        parts.append(str(ids[i]) if i == j else f"{ids[i]}-{ids[j]}")
        i = j + 1
    text = ",".join(parts)
    return f"[{text}]" if brackets and len(ids) > 1 else text


def decode(text, limit=1 << 20):
    """Sorted list of the ids; ValueError if it is no id set or holds more than `limit`."""
    body = text.strip()
    if body[:1] == "[" and body[-1:] == "]":
        body = body[1:-1]
    ids = set()
    if not body:
        return []
    for part in body.split(","):
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdigit()) or (dash and not (last.isascii() and last.isdigit())):
            raise ValueError(f"invalid idset {text!r}")
        low = int(first)
        high = int(last) if dash else low
        if high < low or high - low >= limit or len(ids) + high - low >= limit:
            raise ValueError(f"invalid idset {text!r}")
        ids.update(range(low, high + 1))
    return sorted(ids)
