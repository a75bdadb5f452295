# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Job constraints (RFC 31): which nodes a job may use.

A constraint is an object of at most one operator, ``{"operator": [values]}``. An empty object matches all nodes.

    properties  nodes that have all of these; "^name" asks for its absence
    hostlist    nodes of these names (RFC 29)
    ranks       nodes of these ranks (RFC 22)
    and, or     of constraints; both match all nodes when empty
    not         nodes that do not match all of these constraints; matches none when empty

Where RFC 31 leaves it open, as in flux-core: empty ``properties`` match all, empty ``hostlist`` and ``ranks`` none,
and ``not`` takes several constraints.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Optional, Protocol

from fluxsched.errors import FluxSchedError
from fluxsched.formats import hostlist, idset
from fluxsched.formats.quote import is_utf8, quote

MAX_DEPTH = 32
MAX_VALUES = 10000  # in a constraint, at all depths
MAX_HOSTS = 2**18  # that the host lists of a constraint may stand for, together
MAX_RANKS = 2**20  # likewise

# RFC 20's illegal characters.
_ILLEGAL = re.compile(r"[!&'\"^`|()]")


class View(Protocol):
    """The nodes that a constraint is about. Sets of nodes are ints, in which bit i is node i."""

    @property
    def all(self) -> int:
        """All nodes."""

    def property(self, name: str) -> int:
        """The nodes that have the property."""

    def hosts(self, names: list[str]) -> int:
        """The nodes of these names."""

    def ranks(self, ranks: str) -> int:
        """The nodes whose ranks are in the idset string."""


class ConstraintError(FluxSchedError, ValueError):
    """Not a valid constraint. The text names the operator and what was expected."""


def check_property(name: str) -> None:
    """Raise ConstraintError unless the string `name` can be the name of a property (RFC 20)."""
    illegal = _ILLEGAL.search(name)
    if illegal:
        raise ConstraintError(f"illegal character {quote(illegal[0])} in property {quote(name)}")
    if not name:
        raise ConstraintError("a property must have a name")
    if not is_utf8(name):
        raise ConstraintError(f"property {quote(name)} is not valid UTF-8")


def validate(obj: Any) -> None:
    """Check the form of the decoded JSON `obj`, which is untrusted. ConstraintError if it is no constraint."""
    _walk(obj, None, 1, _Budget())


def evaluate(obj: Any, view: View) -> int:
    """Return the nodes of `view` that match, an int in which bit i is node i. ConstraintError as for validate().
    """
    return _walk(obj, view, 1, _Budget())


class _Budget:
    def __init__(self) -> None:
        self.values = MAX_VALUES
        self.hosts = MAX_HOSTS
        self.ranks = MAX_RANKS


def _walk(obj: Any, view: Optional[View], depth: int, budget: _Budget) -> int:
    # Without a view the form is checked only, and the result means nothing.
    if type(obj) is not dict:
        raise ConstraintError(f"expected an object, got {quote(obj)}")
    if depth > MAX_DEPTH:
        raise ConstraintError(f"nested deeper than {MAX_DEPTH}")
    if len(obj) > 1:
        raise ConstraintError("an object must have one operator only; combine constraints with and")
    everything = view.all if view is not None else 0
    for operator, values in obj.items():
        if operator not in _LEAVES and operator not in ("and", "or", "not"):
            raise ConstraintError(f"unknown operator {quote(operator)}")
        if type(values) is not list:
            raise ConstraintError(f"{operator}: expected a list, got {quote(values)}")
        budget.values -= len(values)
        if budget.values < 0:
            raise ConstraintError(f"more than {MAX_VALUES} values")
        if operator in _LEAVES:
            return _LEAVES[operator](values, view, everything, budget)
        if operator == "or":
            found = everything if not values else 0
            for value in values:
                found |= _walk(value, view, depth + 1, budget)
            return found
        found = everything
        for value in values:
            found &= _walk(value, view, depth + 1, budget)
        return found if operator == "and" else everything & ~found
    return everything


def _properties(values: list[Any], view: Optional[View], everything: int, budget: _Budget) -> int:
    found = everything
    for value in values:
        if type(value) is not str:
            raise ConstraintError(f"properties: expected a string, got {quote(value)}")
        absent = value.startswith("^")
        name = value[1:] if absent else value
        try:
            check_property(name)
        except ConstraintError as error:
            raise ConstraintError(f"properties: {error}") from None
        if view is not None:
            having = view.property(name)
            found &= ~having if absent else having
    return found


def _hostlist(values: list[Any], view: Optional[View], everything: int, budget: _Budget) -> int:
    names: list[str] = []
    for value in values:
        try:
            groups, total = hostlist.parse(value, budget.hosts)
        except hostlist.HostlistError as error:
            raise ConstraintError(f"hostlist: {error}") from None
        budget.hosts -= total
        if view is not None:
            names.extend(hostlist.expand(groups))
    return everything & view.hosts(names) if view is not None and names else 0


def _ranks(values: list[Any], view: Optional[View], everything: int, budget: _Budget) -> int:
    found = 0
    for value in values:
        try:
            ranges = idset.ranges(value)
        except idset.IdsetError as error:
            raise ConstraintError(f"ranks: {error}") from None
        budget.ranks -= idset.count(ranges)
        if budget.ranks < 0:
            raise ConstraintError(f"ranks: more than {MAX_RANKS} ranks")
        if view is not None and ranges:
            found |= view.ranks(idset.encode_ranges(ranges))
    return everything & found


_LEAVES: dict[str, Callable[[list[Any], Optional[View], int, _Budget], int]] = {
    "properties": _properties,
    "hostlist": _hostlist,
    "ranks": _ranks,
}
