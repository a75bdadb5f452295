# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where the record of jobs lies in Flux's KVS.

Each commit stores every directory that it changes anew, with all its entries (RFC 11): a directory ``lwj`` that held
a thousand records would be written for each of them. So ``lwj`` holds symbolic links only, which are made and removed
for blocks of a hundred numbers. The records lie in a tree of directories of ten entries, of which a commit rewrites
one or two on each level:

    lwj.first  ->  lwj-data.first
    lwj.1234   ->  lwj-data.12.3.1234

The names in ``lwj`` are for readers. Numbers of a block that no job has yet lead to a record whose state is
``reserved``, which all of them share. Records that are not kept any more go when all of their block are, with the next
links that are made.

What costs most is what the KVS does for each directory of a transaction: it decodes, copies and encodes them, and sends
each, and each larger value in it, to the content store with a message of its own, also where it is there already. So
directories are made and sent to the content store (RFC 10) here, each once in a transaction and with its values in it,
and the transaction only has references to them: of a record, or of a block where all that is in it is known here. For
that, what is known of a job stays here until it is over, and of a block until all its jobs are.
"""

from __future__ import annotations

import binascii
import functools
import hashlib
from typing import Any, Iterable, Optional, Union

import orjson

from fluxsched.flux.jobid import job_key
from fluxsched.service.lwj import FINAL_STATES

__all__ = ["BLOCK", "Layout"]

#: So many numbers have a directory of lwj-data; links are made and removed for all of them.
BLOCK = 100

#: One step of a transaction: JSON to put (bytes), a tree object (str), or None to remove the key.
Operation = tuple[str, Optional[Union[bytes, str]]]


class _Blobs:
    """Directories that go to the content store before a transaction, each once. `name` is that of the hash."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._references: dict[str, str] = {}       # directory -> reference to it

    def directory(self, fields: dict[str, str]) -> str:
        """The reference to a directory of these tree objects. A name may lead through directories of it
        ("rank.0.cores"); it needs no quoting."""
        entries: list[str] = []
        below: dict[str, dict[str, str]] = {}
        for name, text in fields.items():
            head, _, rest = name.partition(".")
            if rest:
                below.setdefault(head, {})[rest] = text
            else:
                entries.append(f'"{head}":{text}')
        entries += [f'"{head}":{self.directory(inner)}' for head, inner in below.items()]
        return self.plain(entries)

    def plain(self, entries: Iterable[str]) -> str:
        """The same from entries in JSON."""
        text = f'{{"ver":1,"type":"dir","data":{{{",".join(entries)}}}}}'
        found = self._references.get(text)
        if found is None:
            digest = hashlib.new(self._name, text.encode()).hexdigest()
            found = f'{{"ver":1,"type":"dirref","data":["{self._name}-{digest}"]}}'
            self._references[text] = found
        return found

    def take(self) -> list[bytes]:
        """All that were made since the last time."""
        texts, self._references = self._references, {}
        return [text.encode() for text in texts]


class _Block:
    """A hundred numbers, all of which are known: references to their records, by tens, and to the tens."""

    def __init__(self, block: int, reserved: str) -> None:
        self._tens: list[dict[int, str]] = [{} for _ in range(10)]
        for number in _numbers(block):
            self._tens[number // 10 % 10][number] = reserved
        self._references = [""] * 10
        self.changed = set(range(10))       # tens
        self._open = set(_numbers(block))

    def put(self, number: int, reference: str, over: bool) -> None:
        """A record has changed; `over`: for the last time."""
        ten = number // 10 % 10
        self._tens[ten][number] = reference
        self.changed.add(ten)
        if over:
            self._open.discard(number)

    def write(self, blobs: _Blobs) -> str:
        """The reference to its directory as it is now."""
        for ten in self.changed:
            self._references[ten] = blobs.plain(f'"{number}":{text}' for number, text in self._tens[ten].items())
        self.changed.clear()
        return blobs.plain(f'"{ten}":{text}' for ten, text in enumerate(self._references))

    @property
    def over(self) -> bool:
        """Whether none of its records changes any more."""
        return not self._open


class Layout:
    """Turns the puts of the service (see Host.commit) into steps of a transaction on Flux's KVS. `hash_name` is the
    attribute content.hash of the instance."""

    def __init__(self, hash_name: str) -> None:
        self._blobs = _Blobs(hash_name)
        self._records: dict[int, dict[str, str]] = {}   # number -> field -> tree object, of jobs that are not over
        self._blocks: dict[int, _Block] = {}
        self._first = 1                     # the oldest number that is kept
        self._newest = 0                    # the largest number that was written since the module was loaded
        self._linked = 0                    # numbers before this one have links; 0: that is not known
        self._gone: list[int] = []          # blocks that are kept no more, and still there

    def forget(self) -> None:
        """A transaction failed: what it wrote may not be there."""
        self._linked = 0
        self._blocks.clear()

    def operations(self, puts: dict[str, Any]) -> tuple[list[bytes], list[Operation]]:
        """Blobs to be sent to the content store, and the steps for `puts` after that: those not of the record in their
        order, then links, removals, records."""
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
                self._first = value if key == "lwj.first" else self._first
                steps.append((key.replace("lwj.", "lwj-data."), orjson.dumps(value)))
            else:
                steps.append((key, None if value is None else orjson.dumps(value)))
        steps += self._links(sorted(number for number, fields in records.items() if "id" in fields))
        steps += self._changes(records)
        for index, block in list(self._blocks.items()):
            if block.changed:
                steps.append((f"lwj-data.{index}", block.write(self._blobs)))
            if block.over:
                del self._blocks[index]
        return self._blobs.take(), steps

    def _changes(self, records: dict[int, dict[str, Any]]) -> list[Operation]:
        """Take in what changes of records; the steps for those that are in no block that is known."""
        steps: list[Operation] = []
        old = [number for number, fields in records.items() if number not in self._records and "id" not in fields]
        for number in old:
            # From before the module was loaded: what else is in its record is not known, and so its block is not.
            steps += [(f"{_place(number)}.{name}", orjson.dumps(value)) for name, value in records.pop(number).items()]
            self._blocks.pop(number // BLOCK, None)
        for number, fields in records.items():
            known = self._records.setdefault(number, {})
            for name, value in fields.items():
                known[name] = _value(value)
            over = fields.get("state") in FINAL_STATES
            if over:
                del self._records[number]
            reference = self._blobs.directory(known)
            block = self._blocks.get(number // BLOCK)
            if block is None:
                steps.append((_place(number), reference))
            else:
                block.put(number, reference, over)
        return steps

    def _remove(self, number: int) -> None:
        """A record is not kept any more. They come in order of their numbers."""
        self._records.pop(number, None)
        if (number + 1) % BLOCK == 0:
            self._gone.append(number // BLOCK)

    def _links(self, new: list[int]) -> list[Operation]:
        """Link the blocks of new records, and remove those that are gone: with new links, or when more than one is."""
        steps: list[Operation] = []
        fresh = bool(new) and new[-1] >= self._linked
        if fresh:
            steps += self._reserve(new)
        self._newest = max([self._newest, *new])
        if fresh or (len(self._gone) > 1 and self._linked):
            for block in self._gone:
                steps.append((f"lwj-data.{block}", None))
                self._blocks.pop(block, None)
            self._gone.clear()
            links = [f'"{name}":{_link(f"lwj-data.{name}")}' for name in ("first", "next")]
            links += [f'"{number}":{_link(_place(number))}' for number in range(self._first, self._linked)]
            steps.append(("lwj", self._blobs.plain(links)))
        return steps

    def _reserve(self, new: list[int]) -> list[Operation]:
        """Make the blocks of new records, and one in ten of those there are beyond, so that what is kept is linked anew
        the less often the more it is."""
        steps: list[Operation] = []
        known = self._newest or new[0] - 1      # there may be records of numbers up to this one
        last = new[-1] // BLOCK
        last += (last - self._first // BLOCK) // 10
        if not self._linked and self._first >= BLOCK:
            self._gone.append(self._first // BLOCK - 1)     # where the module was removed before this was done
        reserved = self._blobs.directory({"state": _value("reserved")})
        for block in range(max(new[0], self._linked) // BLOCK, last + 1):
            numbers = _numbers(block)
            if numbers[0] > known:
                self._blocks[block] = _Block(block, reserved)
            else:
                steps += [(_place(each), reserved) for each in numbers if each > known and each not in new]
        self._linked = (last + 1) * BLOCK
        return steps


def _numbers(block: int) -> range:
    return range(max(block * BLOCK, 1), (block + 1) * BLOCK)


def _place(number: int) -> str:
    return f"lwj-data.{number // BLOCK}.{number // 10 % 10}.{number}"


def _link(target: str) -> str:
    return f'{{"ver":1,"type":"symlink","data":{{"target":"{target}"}}}}'


def _value(value: Any) -> str:
    """The tree object of a value."""
    return _common(value) if type(value) in (int, str) else _encoded(value)


def _encoded(value: Any) -> str:
    data = binascii.b2a_base64(orjson.dumps(value), newline=False).decode()
    return f'{{"ver":1,"type":"val","data":"{data}"}}'


#: States, counts and the like are few.
_common = functools.lru_cache(maxsize=256)(_encoded)
