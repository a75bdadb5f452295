# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Inputs that are nearly right: valid examples with changes of their bytes, their words, or what their JSON holds."""

from __future__ import annotations

import json
import random
import re
from typing import Any, Callable

MAX_INPUT = 1 << 20  # bytes

# Values that readers of numbers, texts and structures are likely to have forgotten.
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 63, 64, 65535, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**30,
    -(2**63), 0.5, -0.0, 1e-320, 1e15, 1e300, "", " ", "0", "-1", "1-", "0-3", "3-0", "0-99999999999", "1+", "2-8:2:*",
    "1,1", "[", "[0-", "n[0-3]", "\u0000", "\ud800", "é", "٣", "٣-٤", "inf", "nan", "1e400", "0x10", "1d", "a" * 300,
    [], {}, [[]], [{}], {"": None},
]  # fmt: skip
WORDS = [
    b"", b"-", b"--", b",", b"|", b";", b"[", b"]", b"{", b"}", b"\"", b"'", b"\\", b"\n", b"\r\n", b"\0", b"\xff",
    b"\xc3", b"\xed\xa0\x80", "٣".encode(), "²".encode(), b"\x1b[2J", b"-1", b"0", b"00", b"1e999", b"nan", b"inf",
    b"Infinity", b"NaN", b"9" * 19, b"9" * 400, b"-9223372036854775808", b"18446744073709551616", b"0-4294967295",
    b"[0-1048576]", b"1_0", b"+1", b"0x", b"\t", b" ", b"\xef\xbb\xbf", b"\x1f\x8b\x08", b"[" * 2000, b"(" * 2000,
    b"{\"a\":" * 200, b"not " * 500,
]  # fmt: skip
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_.-]*|[0-9]+|[^\sA-Za-z0-9]")


class Mutator:
    """Makes inputs out of a corpus of valid ones; equal seeds make equal inputs."""

    def __init__(self, seed: int, structured: bool) -> None:
        """`structured`: the inputs are JSON, and most changes are to be of what it holds."""
        self.random = random.Random(seed)
        self.structured = structured

    def __call__(self, corpus: list[bytes]) -> bytes:
        """An input."""
        chance = self.random
        data = chance.choice(corpus)
        if self.structured and chance.random() < 0.8:
            try:
                return self._json(data, corpus)
            except (ValueError, RecursionError):
                pass
        for _ in range(1 + int(chance.expovariate(0.7))):
            data = chance.choice(self.CHANGES)(self, data, corpus)
        return data[:MAX_INPUT]

    # of bytes and words

    def _place(self, data: bytes) -> int:
        return self.random.randrange(len(data) + 1)

    def _flip(self, data: bytes, corpus: list[bytes]) -> bytes:
        at = self._place(data)
        return data[:at] + bytes([self.random.randrange(256)]) + data[at + 1 :]

    def _cut(self, data: bytes, corpus: list[bytes]) -> bytes:
        start = self._place(data)
        return data[:start] + data[start + 1 + int(self.random.expovariate(0.1)) :]

    def _end(self, data: bytes, corpus: list[bytes]) -> bytes:
        return data[: self._place(data)]

    def _insert(self, data: bytes, corpus: list[bytes]) -> bytes:
        at = self._place(data)
        return data[:at] + self.random.choice(WORDS) + data[at:]

    def _repeat(self, data: bytes, corpus: list[bytes]) -> bytes:
        start, end = sorted((self._place(data), self._place(data)))
        return data[:end] + data[start:end] * self.random.choice((1, 1, 2, 30)) + data[end:]

    def _splice(self, data: bytes, corpus: list[bytes]) -> bytes:
        other = self.random.choice(corpus)
        start, end = sorted((self._place(other), self._place(other)))
        at = self._place(data)
        return data[:at] + other[start:end] + data[at + self.random.choice((0, end - start)) :]

    def _number(self, data: bytes, corpus: list[bytes]) -> bytes:
        return self._replace(NUMBER, data, [str(value).encode() for value in VALUES if type(value) in (int, float)])

    def _word(self, data: bytes, corpus: list[bytes]) -> bytes:
        other = WORD.findall(self.random.choice(corpus)[:4096])
        return self._replace(WORD, data, [*WORDS, *other])

    def _replace(self, pattern: re.Pattern[bytes], data: bytes, values: list[bytes]) -> bytes:
        found = [match.span() for match in pattern.finditer(data[:65536])]
        if not found:
            return data
        start, end = self.random.choice(found)
        return data[:start] + self.random.choice(values) + data[end:]

    def _lines(self, data: bytes, corpus: list[bytes]) -> bytes:
        lines = data.split(b"\n")
        i, j = self.random.randrange(len(lines)), self.random.randrange(len(lines))
        lines[i], lines[j] = lines[j], lines[i]
        return b"\n".join(lines)

    CHANGES: list[Callable[[Mutator, bytes, list[bytes]], bytes]] = [
        _flip, _cut, _end, _insert, _repeat, _splice, _number, _number, _word, _word, _lines,
    ]  # fmt: skip

    # of what JSON holds

    def _json(self, data: bytes, corpus: list[bytes]) -> bytes:
        value = json.loads(data)
        for _ in range(1 + int(self.random.expovariate(0.8))):
            value = self._change(value, corpus)
        return json.dumps(value).encode()[:MAX_INPUT]

    def _change(self, value: Any, corpus: list[bytes]) -> Any:
        """The value with one place in it changed."""
        places: list[tuple[Any, Any]] = []
        _walk(value, places)
        if not places or self.random.random() < 0.02:
            return self._value(value, corpus)
        parent, key = self.random.choice(places)
        chance = self.random.random()
        if chance < 0.15:
            del parent[key]
        elif chance < 0.25 and isinstance(parent, list):
            parent.insert(key, json.loads(json.dumps(parent[key])))
        elif chance < 0.3 and isinstance(parent, dict):
            parent[self.random.choice(["", "x", "count", "type", "min", "rank", "\ud800"])] = self._value(None, corpus)
        elif chance < 0.35:
            parent[key] = self.random.choice(
                ([parent[key]], {"and": [parent[key]]}, {key if isinstance(key, str) else "a": parent[key]})
            )
        else:
            parent[key] = self._value(parent[key], corpus)
        return value

    def _value(self, value: Any, corpus: list[bytes]) -> Any:
        chance = self.random.random()
        if isinstance(value, str) and chance < 0.5:
            changed = self.random.choice(self.CHANGES)(self, value.encode("utf-8", "surrogatepass"), [b"0-3,n[1-4]"])
            return changed.decode("utf-8", "replace")
        if isinstance(value, (int, float)) and not isinstance(value, bool) and chance < 0.3:
            # An integer may have grown beyond what a float can hold.
            floats = (value * 1e300, float(value)) if abs(value) < 2**60 else (0,)
            return self.random.choice((-value, value + 1, value - 1, *floats))
        if chance > 0.93:
            other: list[tuple[Any, Any]] = []
            _walk(json.loads(self.random.choice(corpus)), other)
            if other:
                parent, key = self.random.choice(other)
                return parent[key]
        return json.loads(json.dumps(self.random.choice(VALUES)))


def _walk(value: Any, places: list[tuple[Any, Any]], depth: int = 0) -> None:
    """Every place in a value: the list or dict, and the index or key."""
    if depth > 60 or len(places) > 2000:
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        places.append((value, key))
        _walk(inner, places, depth + 1)
