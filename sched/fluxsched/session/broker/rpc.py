# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Requests to the broker: each is declared once, by a decorator on the method that handles it.

    @rpc("job-manager.urgency", id=JOBID, urgency=Int(0, 31))
    def urgency(self, request, id, urgency):
        \"\"\"Set a job's urgency.  Answers {"old_urgency"}.\"\"\"

The declaration holds the topic, each field with its type and range, and who may call.  :class:`Router` finds the
declared methods of the objects it is given, checks the payload of each request against the declaration, and calls the
method with the checked fields by name.  A field that is missing, of the wrong type, out of its range or not declared
refuses the request with EPROTO and a sentence that names topic, field and what was expected.
"""

from __future__ import annotations

import errno
import math
from dataclasses import dataclass
from typing import Any, Callable, Optional, TypeVar

from fluxsched.session.errors import RequestError

#: Who may call: a command of the session's owner, on the socket; the scheduler module, inside the broker.
OWNER = "owner"
MODULE = "module"

_Handler = TypeVar("_Handler", bound=Callable[..., Any])
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
        return f"an integer from {self.low} to {self.high}"

    def check(self, value: Any) -> bool:
        return _is_int(value) and self.low <= value <= self.high


class Number(Field):
    """A finite number from `low` to `high`, whole or not."""

    def __init__(self, low: float, high: float, default: Any = _REQUIRED) -> None:
        super().__init__(default)
        self.low = low
        self.high = high

    @property
    def expected(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"

    def check(self, value: Any) -> bool:
        number = _is_int(value) or (isinstance(value, float) and math.isfinite(value))
        return number and self.low <= value <= self.high


class Bool(Field):
    """true or false."""

    expected = "true or false"

    def check(self, value: Any) -> bool:
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
        if self.words:
            return "one of " + ", ".join(repr(word) for word in self.words)
        return f"text of at most {self.most} characters, without NUL" + ("" if self.raw else ", in UTF-8")

    def check(self, value: Any) -> bool:
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
        return f"text of at most {self.most} characters up to U+00FF"

    def check(self, value: Any) -> bool:
        return isinstance(value, str) and len(value) <= self.most and all(char <= "\xff" for char in value)


class Object(Field):
    """A JSON object, whose contents the handler checks."""

    expected = "an object"

    def check(self, value: Any) -> bool:
        return isinstance(value, dict)


class ListOf(Field):
    """A list of at most `most` items, each as `item` says."""

    def __init__(self, item: Field, most: int, default: Any = _REQUIRED) -> None:
        super().__init__(default)
        self.item = item
        self.most = most

    @property
    def expected(self) -> str:
        return f"a list of at most {self.most} items, each {self.item.expected}"

    def check(self, value: Any) -> bool:
        return isinstance(value, list) and len(value) <= self.most and all(map(self.item.check, value))


class Tuple(Field):
    """A list with one item for each of `items`, in their order."""

    def __init__(self, *items: Field) -> None:
        super().__init__()
        self.items = items

    @property
    def expected(self) -> str:
        return "a list of " + ", ".join(item.expected for item in self.items)

    def check(self, value: Any) -> bool:
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
        return f"{self.field.expected}, or null"

    def check(self, value: Any) -> bool:
        return value is None or self.field.check(value)


JOBID = Int(0, 2**64 - 1)


@dataclass(frozen=True)
class Declaration:
    """One RPC: its topic, its fields by name, who may call it, and the component that logs its refusals, if any."""

    topic: str
    fields: dict[str, Field]
    callers: tuple[str, ...]
    logged_by: Optional[str]

    def arguments(self, payload: dict) -> dict[str, Any]:
        """The fields of a payload, checked, with defaults for what it leaves out.  Raises RequestError."""
        for name in payload:
            if name not in self.fields:
                raise self._refusal(f"{name[:64]!r}: this request has no such field")
        found = {}
        for name, field in self.fields.items():
            if name not in payload:
                if field.required:
                    raise self._refusal(f"{name}: missing, expected {field.expected}")
                found[name] = field.default
            elif field.check(payload[name]):
                found[name] = payload[name]
            elif field.refusal is not None:
                raise RequestError(errno.EINVAL, field.refusal)
            else:
                raise self._refusal(f"{name}: expected {field.expected}")
        return found

    def _refusal(self, text: str) -> RequestError:
        return RequestError(errno.EPROTO, f"{self.topic}: {text}")


def rpc(
    topic: str, callers: tuple[str, ...] = (OWNER,), logged_by: str | None = None, **fields: Field
) -> Callable[[_Handler], _Handler]:
    """Declare a method to handle `topic`: it is called with the request, and with `fields` by their names.

    `logged_by` is the component under which the broker's log has what the request is refused for; without it
    that is left to the command."""

    def declare(handler: _Handler) -> _Handler:
        handler.declaration = Declaration(topic, fields, callers, logged_by)  # type: ignore[attr-defined]
        return handler

    return declare


class Router:
    """Leads each request to the method that is declared for its topic."""

    def __init__(self, *owners: object) -> None:
        """`owners` are the objects with the methods.  A topic that is declared twice is a ValueError."""
        self._handlers: dict[str, tuple[Declaration, Callable]] = {}
        for owner in owners:
            self.add(owner)

    def add(self, owner: object) -> None:
        """Take up the declared methods of one more object."""
        for name in dir(type(owner)):
            declaration: Optional[Declaration] = getattr(getattr(type(owner), name, None), "declaration", None)
            if declaration is None:
                continue
            if declaration.topic in self._handlers:
                raise ValueError(f"{declaration.topic}: declared twice")
            self._handlers[declaration.topic] = declaration, getattr(owner, name)

    def declarations(self) -> list[Declaration]:
        """All declarations, by topic."""
        return [self._handlers[topic][0] for topic in sorted(self._handlers)]

    def declaration(self, topic: str) -> Optional[Declaration]:
        """The declaration of a topic, if there is one."""
        return self._handlers[topic][0] if topic in self._handlers else None

    def call(self, request: Any, caller: str, topic: str, payload: dict) -> None:
        """Check a request of `caller` and hand it to its method.  Raises RequestError, or what the method raises."""
        declaration, handler = self._handlers.get(topic, (None, None))
        if declaration is None or handler is None or caller not in declaration.callers:
            raise RequestError(errno.ENOSYS, f"No service matching {topic[:64]} is registered")
        handler(request, **declaration.arguments(payload))
