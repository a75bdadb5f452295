# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Reading a record: its parts, their rows, and what is damaged."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any, Iterator, NamedTuple

import orjson

from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import quote
from fluxsched.service.entries import FORMAT
from fluxsched.service.parts import numbered

__all__ = ["Part", "RecordError", "Row", "is_time", "parts"]


class RecordError(FluxSchedError, ValueError):
    """A record that cannot be read.  The text names the file, and the line if there is one."""


class Row(NamedTuple):
    """One row of a part: the line that it stands in, counted from 1, and its values."""

    line: int
    values: list[Any]


def is_time(value: Any) -> bool:
    """Whether it is a number, as a time is."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Part:
    """A part of a record.

    number: among the parts; path: of its file; head: what its first row tells. torn: set when all rows have been read:
    the bytes at the end that are no whole block, as the writer was killed; 0: it ends well.
    """

    def __init__(self, number: int, path: Path) -> None:
        self.number = number
        self.path = path
        self.torn = 0
        self._rows = self._read()
        first = next(self._rows, None)
        if first is None or first.values[0] != "head" or not isinstance(first.values[1], dict):
            self.head: dict[str, Any] = {}
            self.empty = first is None
            if first is not None:
                raise self.error(1, 'expected a row ["head", {...}]')
            return
        self.empty = False
        self.head = first.values[1]
        if self.head.get("format") != FORMAT:
            found = quote(self.head.get("format"))
            raise self.error(1, f"is a record of format {found}, and this flux-sched reads {FORMAT}")
        if not is_time(self.head.get("time")):
            raise self.error(1, f"time: expected seconds since the epoch, got {quote(self.head.get('time'))}")
        if not isinstance(self.head.get("continues"), bool):
            raise self.error(1, f"continues: expected true or false, got {quote(self.head.get('continues'))}")

    def error(self, line: int, text: object) -> RecordError:
        """An error in a line."""
        return RecordError(f"{self.path}, line {line}: {text}")

    def rows(self) -> Iterator[Row]:
        """The rows behind the head, once.  Raises RecordError."""
        return self._rows

    def _read(self) -> Iterator[Row]:
        block: list[bytes] = []
        checksum = line = 0
        size = 0
        try:
            with open(self.path, "rb") as file:
                for text in file:
                    line += 1
                    if not text.startswith(b"#"):
                        block.append(text)
                        checksum = zlib.crc32(text, checksum)
                        size += len(text)
                        continue
                    if not text.endswith(b"\n"):
                        size += len(text)
                        break
                    if text != b"#%08x\n" % checksum:
                        raise self._damage(line, block, text)
                    first = line - len(block)
                    yield from (self._row(first + i, row) for i, row in enumerate(block))
                    block, checksum, size = [], 0, 0
        except OSError as error:
            raise RecordError(f"{self.path}: {error.strerror}") from None
        self.torn = size

    def _damage(self, line: int, block: list[bytes], text: bytes) -> RecordError:
        """A block whose checksum is not that of its lines: where it is broken, as near as can be told."""
        for at, row in enumerate(block, line - len(block)):
            try:
                orjson.loads(row)
            except ValueError as error:
                return self.error(at, f"is damaged: {error}")
        lines = f"lines {line - len(block)} to {line - 1}"
        return self.error(line, f"{lines} are damaged: their checksum is not {quote(text[1:-1].decode('latin-1'))}")

    def _row(self, line: int, text: bytes) -> Row:
        try:
            values = orjson.loads(text)
        except ValueError as error:
            raise self.error(line, f"is no JSON: {error}") from None
        if not isinstance(values, list) or len(values) < 2 or not isinstance(values[0], str):
            raise self.error(line, "expected a list with the name of a kind of row")
        return Row(line, values)


def parts(folder: str | os.PathLike[str]) -> list[Part]:
    """The parts of a record, in order, but for such as were begun and have nothing in them.  Raises RecordError."""
    try:
        found = numbered(folder)
    except OSError as error:
        raise RecordError(f"{folder}: {error.strerror}") from None
    if not found:
        raise RecordError(f"{folder}: there is no record in it: no file part-000001.jsonl or later")
    some = [part for part in (Part(number, path) for number, path in found) if not part.empty]
    if not some:
        raise RecordError(f"{folder}: there is nothing in the record so far")
    return some
