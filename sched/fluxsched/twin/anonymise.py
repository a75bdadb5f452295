# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A copy of a record in which nobody and nothing is called by its name, and which replays all the same.

Users become numbers from 1 on; queues queue1, queue2, ...; hosts node0, node1, ... by their place; properties
property1, property2, ...; of RDL only types, amounts, ids and bandwidths are left. The same name is the same
everywhere. Of plugins in files the name is left without its path, of the settings what is no name, of errors nothing
but that there was one. Times, job ids and sizes are as they were.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Optional

import orjson

from fluxsched.errors import FluxSchedError
from fluxsched.formats import hostlist
from fluxsched.service import entries
from fluxsched.service.parts import Parts, prepare
from fluxsched.twin.read import Part, parts

__all__ = ["anonymise"]

#: Settings that hold no names.
SETTINGS = ("verbosity", "sched_once", "in_sim", "queue_depth", "lwj_keep", "forecast")
#: More than any record: nothing of the copy is deleted.
ALL = 2**60


class _Names:
    """New names for old ones, in the order in which they come."""

    def __init__(self, new: Callable[[int], Any]) -> None:
        self._new = new
        self._known: dict[Any, Any] = {}

    def __call__(self, old: Any) -> Any:
        found = self._known.get(old)
        if found is None:
            found = self._known[old] = self._new(len(self._known))
        return found


class Anonymiser:
    """Changes rows."""

    def __init__(self) -> None:
        self._users = _Names(lambda place: place + 1)
        self._queues = _Names(lambda place: f"queue{place + 1}")
        self._hosts = _Names(lambda place: f"node{place}")
        self._properties = _Names(lambda place: f"property{place + 1}")
        self._rows: dict[str, Callable[[list[Any]], list[Any]]] = {
            "head": lambda row: [row[0], self._head(row[1])],
            "inventory": lambda row: [row[0], self._inventory(row[1])],
            "adopt": lambda row: [*row[:3], self._r(row[3]), *row[4:7], self._user(row[7])],
            "hold": lambda row: [*row[:9], self._user(row[9]), self._queue(row[10]), row[11]],
            "add": lambda row: [*row[:3], self._request(row[3]), *row[4:6], self._user(row[6]), *row[7:]],
            "property-add": lambda row: [*row[:2], self._property(row[2]), *row[3:]],
            "property-remove": lambda row: [*row[:2], self._property(row[2]), *row[3:]],
            "policy": lambda row: [*row[:2], self._policy(row[2])],
            "settings": lambda row: [*row[:2], self._settings(row[2])],
        }

    def row(self, row: list[Any]) -> list[Any]:
        """The row without names.  KeyError, IndexError, TypeError, ValueError: it is not one of a record."""
        if entries.refused(row):
            return [*self.row(row[:-1]), {"error": None}]
        change = self._rows.get(row[0])
        return row if change is None else change(row)

    def _user(self, user: Any) -> Any:
        return None if user is None else self._users(user)

    def _queue(self, name: str) -> str:
        return self._queues(name) if name else name

    def _property(self, name: str) -> str:
        # "+name" is one that the instance itself gave, which jobs' R do not pass on.
        return f"+{self._properties(name[1:])}" if name.startswith("+") else self._properties(name)

    def _head(self, head: dict[str, Any]) -> dict[str, Any]:
        marks = head["marks"]
        properties = {self._property(name): ranks for name, ranks in marks["properties"].items()}
        return {
            **head, "policy": self._policy(head["policy"]), "users": [self._user(user) for user in head["users"]],
            "marks": {**marks, "properties": properties},
            "settings": self._settings(head["settings"]),
        }

    @staticmethod
    def _settings(settings: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in settings.items() if name in SETTINGS}

    def _policy(self, policy: dict[str, Any]) -> dict[str, Any]:
        """The policy; what one in plain Python has learnt may be anything, and is left out."""
        name = os.path.basename(policy["name"])
        if name != policy["name"]:
            name = os.path.splitext(name)[0]
        return {**policy, "name": name, "state": policy["state"] if policy["hash"] is None else None}

    def _inventory(self, fact: dict[str, Any]) -> dict[str, Any]:
        if "R" in fact:
            return {"R": self._r(fact["R"])}
        h = entries.hierarchy_of(fact)
        names = [
            self._hosts(name) if kind == "node" else kind if number is None else f"{kind}{number}"
            for kind, name, number in zip(h.type, h.name, h.id)
        ]
        plain = h._replace(
            uri="rdl", basename=h.type, name=names, tags=[self._tags(tags) for tags in h.tags],
            properties=[self._tags(tags) for tags in h.properties],
        )
        return entries.hierarchy_fact(plain, fact["ranks"])

    def _tags(self, tags: dict[str, Any]) -> dict[str, Any]:
        """Flags, and the bandwidth."""
        flags = {self._property(name): True for name, value in tags.items() if value is True}
        width = tags.get("max_bw")
        return flags if width is None or width is True else {**flags, "max_bw": width}

    def _r(self, R: dict[str, Any]) -> dict[str, Any]:
        """An R with what the scheduler reads of it."""
        execution = R["execution"]
        hosts = [self._hosts(host) for text in execution["nodelist"] for host in hostlist.decode(text)]
        plain = {
            **{name: execution[name] for name in ("R_lite", "starttime", "expiration", "nslots") if name in execution},
            "nodelist": [hostlist.encode(hosts)],
        }
        if "properties" in execution:
            plain["properties"] = {self._property(name): ids for name, ids in execution["properties"].items()}
        found = {"version": R["version"], "execution": plain}
        scheduling = R.get("scheduling")
        if isinstance(scheduling, dict) and "pools" in scheduling:
            found["scheduling"] = {"pools": scheduling["pools"]}
        return found

    def _request(self, row: list[Any]) -> list[Any]:
        changed = [*row]
        changed[6] = self._queue(row[6])
        if len(row) > 7:
            changed[7] = self._constraint(row[7])
        return changed

    def _constraint(self, constraint: Optional[dict[str, Any]]) -> Optional[dict[str, Any]]:
        if not constraint:
            return constraint
        changed: dict[str, Any] = {}
        for operator, values in constraint.items():
            if operator == "properties":
                values = ["^" + self._property(name[1:]) if name.startswith("^") else self._property(name)
                          for name in values]
            elif operator == "hostlist":
                values = [hostlist.encode([self._hosts(host) for host in hostlist.decode(text)]) for text in values]
            elif operator != "ranks":
                values = [self._constraint(value) for value in values]
            changed[operator] = values
        return changed


def anonymise(folder: str, to: str) -> int:
    """Write the copy into a folder, which is new or empty; how many parts it has.  Raises RecordError,
    FluxSchedError, OSError."""
    found = parts(folder)
    prepare(to)
    if os.listdir(to):
        raise FluxSchedError(f"{to}: is not empty")
    writer, anonymiser = Parts(to, ALL, ALL), Anonymiser()
    try:
        number = found[0].number
        for part in found:
            # Parts of the copy are numbered from 1 on; one that follows a part that is missing goes on from none.
            part.head["continues"] = part.head.get("continues") and part.number == number
            number = part.number + 1
            _copy(part, writer, anonymiser)
    finally:
        writer.close()
        os.unlink(os.path.join(to, "lock"))
    return len(found)


def _copy(part: Part, writer: Parts, anonymiser: Anonymiser) -> None:
    """One part."""
    line, rows = 1, [orjson.dumps(_changed(part, 1, ["head", part.head], anonymiser))]
    begun = False
    for line, values in part.rows():
        rows.append(orjson.dumps(_changed(part, line, values, anonymiser)))
        if values[0] == "begun" or (begun and len(rows) >= 4096):
            if begun:
                writer.append(rows)
            else:
                writer.begin(rows)
                writer.complete()
            begun, rows = True, []
    if not begun:
        raise part.error(line, 'ends in its first state: no row ["begun", t]')
    if rows:
        writer.append(rows)


def _changed(part: Part, line: int, values: list[Any], anonymiser: Anonymiser) -> list[Any]:
    try:
        return anonymiser.row(values)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise part.error(line, f"{type(error).__name__}: {error}") from None
