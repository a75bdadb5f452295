# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where the record of jobs lies in Flux's KVS.

Each commit stores every directory that it changes anew, with all its entries (RFC 11): a directory ``lwj`` that held
a thousand records would be written for each of them. So ``lwj`` holds symbolic links only, which are made and removed
for a block of numbers at a time. The records lie in a tree of directories of ten entries, of which a commit rewrites
one or two on each level:

    lwj.first  ->  lwj-data.first
    lwj.1234   ->  lwj-data.12.3.1234

The names in ``lwj`` are for readers, and what is written goes where they lead. Numbers of a block that no job has yet
lead to a record whose state is ``reserved``, which all of them share. Records that are not kept any more go when all
of their block are, with the next links that are made.

Each step of a transaction costs its sender and the KVS alike, so a record is written as one directory each time, for
which what is known of a job stays here until it is over. Ten that change together are written as one, too, which spares
the KVS reading their directory.
"""

from __future__ import annotations

import binascii
import functools
from typing import Any, Optional, Union

import orjson

from fluxsched.flux.jobid import job_key
from fluxsched.service.lwj import FINAL_STATES

__all__ = ["BLOCK", "Layout"]

#: Links of so many numbers are made and removed at a time: those of one directory of lwj-data.
BLOCK = 100

#: One step of a transaction: JSON to put (bytes), a tree object (str), or None to remove the key.
Operation = tuple[str, Optional[Union[bytes, str]]]


class Layout:
    """Turns the puts of the service (see Host.commit) into steps of a transaction on Flux's KVS."""

    def __init__(self) -> None:
        self._records: dict[int, dict[str, str]] = {}   # number -> field -> tree object, of jobs that are not over
        self._newest = 0                    # the largest number that was written
        self._linked: set[int] = set()      # numbers whose links were made since the module was loaded
        self._gone: list[int] = []          # blocks that are kept no more, and still there
        self._bounds: set[str] = set()      # likewise, of lwj.first and lwj.next

    def forget(self) -> None:
        """A commit failed: the links that it made may not be there."""
        self._linked.clear()
        self._bounds.clear()

    def operations(self, puts: dict[str, Any]) -> list[Operation]:
        """The steps for `puts`: those not of the record in their order, then links, removals, records."""
        steps: list[Operation] = []
        records: dict[int, dict[str, Any]] = {}     # number -> what changes of its record
        for key, value in puts.items():
            kind, _, name = key.partition(":")
            if kind == "lwj" and value is None:
                self._remove(int(name))
            elif kind == "lwj":
                records[int(name)] = value
            elif kind == "R":
                steps.append((job_key(int(name), "R"), orjson.dumps(value)))
            elif key.startswith("lwj."):
                steps += self._bound(key, value)
            else:
                steps.append((key, None if value is None else orjson.dumps(value)))
        new = sorted(number for number, fields in records.items() if "id" in fields)
        steps += self._links(new)
        self._newest = max([self._newest, *new])
        return steps + self._changes(records)

    def _bound(self, key: str, value: int) -> list[Operation]:
        """Write lwj.first or lwj.next."""
        place = key.replace("lwj.", "lwj-data.")
        steps: list[Operation] = [(place, orjson.dumps(value))]
        if key not in self._bounds:
            self._bounds.add(key)
            steps.append((key, _link(place)))
        return steps

    def _changes(self, records: dict[int, dict[str, Any]]) -> list[Operation]:
        """Write what changes of records."""
        steps: list[Operation] = []
        texts: dict[int, dict[int, str]] = {}       # ten -> number -> record
        for number, fields in records.items():
            known = self._records.get(number)
            if known is None and "id" not in fields:
                # From before the module was loaded.
                steps += [(f"{_place(number)}.{name}", orjson.dumps(value)) for name, value in fields.items()]
                continue
            if known is None:
                known = self._records[number] = {}
            for name, value in fields.items():
                known[name] = _value(value)
            texts.setdefault(number // 10, {})[number] = _directory(known)
            if fields.get("state") in FINAL_STATES:
                del self._records[number]
        for ten, changed in texts.items():
            if len(changed) == 10:
                steps.append((_ten(ten), _directory({str(number): text for number, text in changed.items()})))
            else:
                steps += [(_place(number), text) for number, text in changed.items()]
        return steps

    def _remove(self, number: int) -> None:
        """A record is not kept any more. They come in order of their numbers."""
        self._records.pop(number, None)
        if (number + 1) % BLOCK == 0:
            self._gone.append(number // BLOCK)

    def _links(self, new: list[int]) -> list[Operation]:
        """Link the blocks of new records, and remove those that are gone: with new links, or when more than one is."""
        steps: list[Operation] = []
        fresh = set(new)
        for number in new:
            if number not in self._linked:
                # What lies before it in its block is from earlier, or is linked when it comes.
                end = (number // BLOCK + 1) * BLOCK
                numbers = [each for each in range(number, end) if each not in self._linked]
                self._linked.update(numbers)
                steps += _reserved([each for each in numbers if each > self._newest and each not in fresh])
                steps += [(f"lwj.{each}", _link(_place(each))) for each in numbers]
        if steps or len(self._gone) > 1:
            for block in self._gone:
                numbers = list(range(max(block * BLOCK, 1), (block + 1) * BLOCK))
                self._linked.difference_update(numbers)
                steps.append((f"lwj-data.{block}", None))
                steps += [(f"lwj.{each}", None) for each in numbers]
            self._gone.clear()
        return steps


def _ten(ten: int) -> str:
    return f"lwj-data.{ten // 10}.{ten % 10}"


def _reserved(numbers: list[int]) -> list[Operation]:
    """Records of these numbers that no job has yet."""
    tens: dict[int, list[int]] = {}
    for number in numbers:
        tens.setdefault(number // 10, []).append(number)
    steps: list[Operation] = []
    for ten, members in tens.items():
        if len(members) == 10:
            steps.append((_ten(ten), _directory({str(number): RESERVED for number in members})))
        else:
            steps += [(_place(number), RESERVED) for number in members]
    return steps


def _place(number: int) -> str:
    return f"{_ten(number // 10)}.{number}"


def _link(target: str) -> str:
    return orjson.dumps({"ver": 1, "type": "symlink", "data": {"target": target}}).decode()


def _value(value: Any) -> str:
    """The tree object of a value."""
    return _common(value) if type(value) in (int, str) else _encoded(value)


def _encoded(value: Any) -> str:
    data = binascii.b2a_base64(orjson.dumps(value), newline=False).decode()
    return f'{{"ver":1,"type":"val","data":"{data}"}}'


#: States, counts and the like are few.
_common = functools.lru_cache(maxsize=256)(_encoded)


def _directory(fields: dict[str, str]) -> str:
    """The tree object of a directory of these tree objects. A name may lead through directories of it
    ("rank.0.cores"); it needs no quoting."""
    entries: list[str] = []
    below: dict[str, dict[str, str]] = {}
    for name, text in fields.items():
        head, _, rest = name.partition(".")
        if rest:
            below.setdefault(head, {})[rest] = text
        else:
            entries.append(f'"{head}":{text}')
    entries += [f'"{head}":{_directory(inner)}' for head, inner in below.items()]
    return f'{{"ver":1,"type":"dir","data":{{{",".join(entries)}}}}}'


#: What a number leads to that no job has yet.
RESERVED = _directory({"state": _value("reserved")})
