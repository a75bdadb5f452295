# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Types and ranges of the fields of a request, as its declaration names them.

The requests that Flux sends to the scheduler are declared with them (:mod:`fluxsched.service.rpc`), and so are those of
a session's broker.
"""

from __future__ import annotations

import math
from typing import Any

__all__ = [
    "Bool", "Field", "Int", "JOBID", "ListOf", "Nullable", "Number", "Object", "Octets", "TEXT_MAX", "Text", "Tuple",
]

_REQUIRED: Any = object()
TEXT_MAX = 1 << 20  # characters of a text, unless its field says otherwise


class Field:
    """The type and range of one field.  `default` is what a field left out counts as; without one it is required.

    `refusal` is a sentence of flux-core's for a value that is refused, in place of what was expected."""

    def __init__(self, default: Any = _REQUIRED, refusal: str | None = None) -> None:
        self.default = default
        self.refusal = refusal

    @property
    def required(self) -> bool:
        """Whether a request must have the field."""
        return self.default is _REQUIRED

    @property
    def expected(self) -> str:
        """What is expected, in words."""
        raise NotImplementedError

    def check(self, value: Any) -> bool:
        """Whether `value`, decoded from JSON, is of the type and in the range."""
        raise NotImplementedError


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class Int(Field):
    """An integer from `low` to `high`."""

    def __init__(self, low: int, high: int, default: Any = _REQUIRED, refusal: str | None = None) -> None:
        super().__init__(default, refusal)
        self.low = low
        self.high = high

    @property
    def expected(self) -> str:
        """What is expected, in words."""
        return f"an integer from {self.low} to {self.high}"

    def check(self, value: Any) -> bool:
        """Whether `value` is that."""
        return _is_int(value) and self.low <= value <= self.high


class Number(Field):
    """A finite number from `low` to `high`, whole or not."""

    def __init__(self, low: float, high: float, default: Any = _REQUIRED, refusal: str | None = None) -> None:
        super().__init__(default, refusal)
        self.low = low
        self.high = high

    @property
    def expected(self) -> str:
        """What is expected, in words."""
        return f"a number from {self.low:g} to {self.high:g}"

    def check(self, value: Any) -> bool:
        """Whether `value` is that."""
        number = _is_int(value) or (isinstance(value, float) and math.isfinite(value))
        return number and self.low <= value <= self.high


class Bool(Field):
    """true or false."""

    expected = "true or false"

    def check(self, value: Any) -> bool:
        """Whether `value` is that."""
        return isinstance(value, bool)


class Text(Field):
    """Text of at most `most` characters, without NUL.

    Unless `raw`, it has only characters that can be written as UTF-8; a raw text may also hold bytes that are no UTF-8,
    as the surrogates that Python has for them.  With `words` it is one of these."""

    def __init__(
        self, most: int = TEXT_MAX, raw: bool = False, words: tuple[str, ...] = (), default: Any = _REQUIRED
    ) -> None:
        super().__init__(default)
        self.most = most
        self.raw = raw
        self.words = words

    @property
    def expected(self) -> str:
        """What is expected, in words."""
        if self.words:
            return "one of " + ", ".join(repr(word) for word in self.words)
        return f"text of at most {self.most} characters, without NUL" + ("" if self.raw else ", in UTF-8")

    def check(self, value: Any) -> bool:
        """Whether `value` is that."""
        if not isinstance(value, str) or len(value) > self.most or "\0" in value:
            return False
        try:
            value.encode("utf-8", "surrogateescape" if self.raw else "strict")
        except UnicodeEncodeError:
            return False
        return not self.words or value in self.words


class Octets(Field):
    """At most `most` bytes, as a text with a character up to U+00FF for each."""

    def __init__(self, most: int, default: Any = _REQUIRED) -> None:
        super().__init__(default)
        self.most = most

    @property
    def expected(self) -> str:
        """What is expected, in words."""
        return f"text of at most {self.most} characters up to U+00FF"

    def check(self, value: Any) -> bool:
        """Whether `value` is that."""
        return isinstance(value, str) and len(value) <= self.most and all(char <= "\xff" for char in value)


class Object(Field):
    """A JSON object, whose contents the handler checks."""

    expected = "an object"

    def check(self, value: Any) -> bool:
        """Whether `value` is that."""
        return isinstance(value, dict)


class ListOf(Field):
    """A list of at most `most` items, each as `item` says."""

    def __init__(self, item: Field, most: int, default: Any = _REQUIRED) -> None:
        super().__init__(default)
        self.item = item
        self.most = most

    @property
    def expected(self) -> str:
        """What is expected, in words."""
        return f"a list of at most {self.most} items, each {self.item.expected}"

    def check(self, value: Any) -> bool:
        """Whether `value` is that."""
        return isinstance(value, list) and len(value) <= self.most and all(map(self.item.check, value))


class Tuple(Field):
    """A list with one item for each of `items`, in their order."""

    def __init__(self, *items: Field) -> None:
        super().__init__()
        self.items = items

    @property
    def expected(self) -> str:
        """What is expected, in words."""
        return "a list of " + ", ".join(item.expected for item in self.items)

    def check(self, value: Any) -> bool:
        """Whether `value` is that."""
        return (
            isinstance(value, list)
            and len(value) == len(self.items)
            and all(item.check(part) for item, part in zip(self.items, value))
        )


class Nullable(Field):
    """What `field` says, or null, which is also the default."""

    def __init__(self, field: Field) -> None:
        super().__init__(None)
        self.field = field

    @property
    def expected(self) -> str:
        """What is expected, in words."""
        return f"{self.field.expected}, or null"

    def check(self, value: Any) -> bool:
        """Whether `value` is that."""
        return value is None or self.field.check(value)


JOBID = Int(0, 2**64 - 1)
