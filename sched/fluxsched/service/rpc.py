# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""How a request that Flux sends to the scheduler is declared: once, by a decorator on its handler.

    @rpc("sched.expiration", sender=JOB_MANAGER, id=JOBID, expiration=EXPIRATION)
    def _expiration(self, message, id, expiration): ...

The declaration says the topic, who may send it, whether its sender waits for an answer, and each field with its type
and range.  The service dispatches by it, and a real broker registers its topics by it.  Fields not declared are
passed over: the job manager may say more than a scheduler has to know.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any, Callable, Optional, TypeVar

from fluxsched.service.fields import Field
from fluxsched.service.protocol import ProtocolError

__all__ = ["Declaration", "GUEST", "JOB_MANAGER", "OWNER", "declarations", "rpc"]

#: Who sends a request: flux-core itself, the instance's owner, or any user.
JOB_MANAGER = "job-manager"
OWNER = "owner"
GUEST = "guest"

# An odd value is shown in an error text by its first so many characters.
SHOWN_MAX = 100

_Handler = TypeVar("_Handler", bound=Callable[..., None])


@dataclass(frozen=True)
class Declaration:
    """One request: see :func:`rpc`.  `handler` is the name of its method."""

    topic: str
    handler: str
    sender: str
    answered: bool
    early: bool
    after: bool
    fields: dict[str, Field]

    @property
    def guests(self) -> bool:
        """Whether other users than the instance's owner may send it."""
        return self.sender == GUEST

    @property
    def ordered(self) -> bool:
        """Whether it must not overtake what the job manager has sent before."""
        return self.sender == JOB_MANAGER or self.after

    def arguments(self, payload: Optional[dict]) -> dict[str, Any]:
        """The declared fields of a payload, checked, with defaults for what it leaves out.  Raises ProtocolError."""
        if payload is None:
            payload = {}
        if not isinstance(payload, dict):
            raise ProtocolError(f"{self.topic}: expected an object, got {_shown(payload)}")
        found = {}
        for name, field in self.fields.items():
            if name in payload and field.check(payload[name]):
                found[name] = payload[name]
            elif name not in payload and not field.required:
                found[name] = field.default
            elif name not in payload:
                raise ProtocolError(f"{self.topic}: field {name!r} is missing: expected {field.expected}")
            elif field.refusal is not None:
                raise ProtocolError(f"{self.topic}: {field.refusal}, got {_shown(payload[name])}", errno.EINVAL)
            else:
                raise ProtocolError(
                    f"{self.topic}: field {name!r}: expected {field.expected}, got {_shown(payload[name])}"
                )
        return found


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."


def rpc(
    topic: str, sender: str = OWNER, answered: bool = True, early: bool = False, after: bool = False, **fields: Field
) -> Callable[[_Handler], _Handler]:
    """Declare a method to handle `topic`: it is called with the message to answer, and with `fields` by their names.

    With `answered`, its sender waits for an answer, which may be an error. With `early`, it is handled before the
    scheduler is ready, while others wait until then. One from another sender than the job manager may be handled before
    what the job manager has sent, unless it says `after`."""

    def declare(handler: _Handler) -> _Handler:
        declaration = Declaration(topic, handler.__name__, sender, answered, early, after, fields)
        handler.declaration = declaration  # type: ignore[attr-defined]
        return handler

    return declare


def declarations(owner: type) -> dict[str, Declaration]:
    """What the methods of a class declare, by topic."""
    found = (getattr(member, "declaration", None) for member in vars(owner).values())
    return {declaration.topic: declaration for declaration in found if declaration is not None}
