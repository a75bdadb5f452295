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
from dataclasses import dataclass
from typing import Any, Callable, Optional, TypeVar

from fluxsched.service.fields import (
    JOBID,
    TEXT_MAX,
    Bool,
    Field,
    Int,
    ListOf,
    Nullable,
    Number,
    Object,
    Octets,
    Text,
    Tuple,
)
from fluxsched.session.errors import RequestError

__all__ = [
    "Bool", "Declaration", "Field", "Int", "JOBID", "ListOf", "MODULE", "Nullable", "Number", "OWNER", "Object",
    "Octets", "Router", "TEXT_MAX", "Text", "Tuple", "rpc",
]

#: Who may call: a command of the session's owner, on the socket; the scheduler module, inside the broker.
OWNER = "owner"
MODULE = "module"

_Handler = TypeVar("_Handler", bound=Callable[..., Any])


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
        #: Gets the owner's requests (request, payload) of topics that nobody here declares; may raise RequestError.
        self.others: Optional[Callable[[Any, dict], None]] = None
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
        if declaration is None and caller == OWNER and self.others is not None:
            self.others(request, payload)
            return
        if declaration is None or handler is None or caller not in declaration.callers:
            raise RequestError(errno.ENOSYS, f"No service matching {topic[:64]} is registered")
        handler(request, **declaration.arguments(payload))
