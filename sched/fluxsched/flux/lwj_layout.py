# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where the record of jobs lies in Flux's KVS.

Each commit stores every directory that it changes anew, with all its entries (RFC 11): a directory ``lwj`` that held
a thousand records would be written for each of them. So ``lwj`` holds symbolic links only, which are made and removed
a hundred at a time, ahead of the records that they lead to. The records lie in a tree of directories of ten entries,
of which a commit rewrites one or two on each level:

    lwj.first  ->  lwj-data.first
    lwj.1234   ->  lwj-data.12.3.1234

The names in ``lwj`` are for readers, and what is written goes where they lead. A new record is written as one
directory, what changes in it by field.
"""

from __future__ import annotations

import base64
from typing import Any, Iterable, Optional, Union

import orjson

from fluxsched.flux.handle import job_key

__all__ = ["LINKS", "Layout"]

#: So many links are made and removed at a time.
LINKS = 100

#: One step of a transaction: JSON to put (bytes), a tree object (str), or None to remove the key.
Operation = tuple[str, Optional[Union[bytes, str]]]


class Layout:
    """Turns the puts of the service (see Host.commit) into steps of a transaction on Flux's KVS."""

    def __init__(self) -> None:
        self._linked: set[int] = set()      # blocks of LINKS numbers whose links were made since the module was loaded
        self._bounds_linked = False

    def forget(self) -> None:
        """A commit failed: the links that it made may not be there."""
        self._linked.clear()
        self._bounds_linked = False

    def operations(self, puts: dict[str, Any]) -> list[Operation]:
        """The steps for `puts`, in their order, and at the end new records and the links that are missing."""
        steps: list[Operation] = []
        fields: dict[int, dict[str, Any]] = {}      # number -> what is written of its record
        bounds = False
        for key, value in puts.items():
            if key.startswith("lwj."):
                name, _, rest = key[4:].partition(".")
                if not name.isdigit():
                    bounds = True
                    steps.append((f"lwj-data.{name}", orjson.dumps(value)))
                elif value is None and not rest:
                    fields.pop(int(name), None)
                    steps += self._removal(int(name))
                else:
                    fields.setdefault(int(name), {})[rest] = value
            else:
                key = job_key(int(key[2:]), "R") if key.startswith("R:") else key
                steps.append((key, None if value is None else orjson.dumps(value)))
        for number, record in fields.items():
            place = _place(number)
            if "id" in record:
                steps.append((place, _directory(record)))
            else:
                steps += [(f"{place}.{name}", orjson.dumps(value)) for name, value in record.items()]
        return steps + self._links(bounds, fields)

    def _removal(self, number: int) -> list[Operation]:
        """Remove a record; with the last of a block its links, and the directories that were its."""
        if (number + 1) % LINKS:
            return [(_place(number), None)]
        block = number // LINKS
        self._linked.discard(block)
        first = max(1, block * LINKS)
        links: list[Operation] = [(f"lwj.{each}", None) for each in range(first, number + 1)]
        return [(f"lwj-data.{block}", None), *links]

    def _links(self, bounds: bool, numbers: Iterable[int]) -> list[Operation]:
        links: list[Operation] = []
        if bounds and not self._bounds_linked:
            self._bounds_linked = True
            links += [(f"lwj.{name}", _link(f"lwj-data.{name}")) for name in ("first", "next")]
        for number in sorted(numbers):
            block = number // LINKS
            if block not in self._linked:
                self._linked.add(block)
                links += [(f"lwj.{each}", _link(_place(each))) for each in range(number, (block + 1) * LINKS)]
        return links


def _place(number: int) -> str:
    return f"lwj-data.{number // LINKS}.{number // 10 % 10}.{number}"


def _link(target: str) -> str:
    return orjson.dumps({"ver": 1, "type": "symlink", "data": {"target": target}}).decode()


def _directory(fields: dict[str, Any]) -> str:
    """The directory of these fields, whose names may lead through directories of it ("rank.0.cores")."""
    root: dict[str, Any] = {}
    for name, value in fields.items():
        *above, last = name.split(".")
        at = root
        for step in above:
            at = at.setdefault(step, {"ver": 1, "type": "dir", "data": {}})["data"]
        at[last] = {"ver": 1, "type": "val", "data": base64.b64encode(orjson.dumps(value)).decode()}
    return orjson.dumps({"ver": 1, "type": "dir", "data": root}).decode()
