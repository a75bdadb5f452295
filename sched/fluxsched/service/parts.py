# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The files of a record: parts of a folder, one after another, to which blocks of lines are appended.

    DIR/part-000001.jsonl, DIR/part-000002.jsonl, ...

A line is a JSON array. A block ends with a line ``#`` and the CRC-32 of its other lines in eight hexadecimal digits. A
block that has no such line is the end of a part whose writer was killed. A part has its name once the state that it
begins with is complete; until then it is part-000002.jsonl.new, and one of that name that nobody writes is of no use.

All parts together are bounded in size, and in age: the oldest are deleted. One process at a time writes into a folder,
and holds a lock on DIR/lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
import zlib
from pathlib import Path

__all__ = ["Parts", "in_use", "numbered"]

NEW = ".new"
PART = re.compile(r"part-([0-9]{6,9})\.jsonl")
#: A part is this much of all at the most, unless the state that it begins with takes more.
SHARE = 16
#: The state is that much of a part at the most: else parts would be little but states.
STATE_SHARE = 4


def numbered(folder: str | os.PathLike[str]) -> list[tuple[int, Path]]:
    """The parts of a record with their numbers, in order.  Raises OSError."""
    found = [(int(match[1]), Path(folder, match[0])) for match in map(PART.fullmatch, os.listdir(folder)) if match]
    return sorted(found)


def in_use(folder: str | os.PathLike[str]) -> bool:
    """Whether a scheduler that runs here records into the folder, as far as can be told."""
    try:
        lock = os.open(os.path.join(folder, "lock"), os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def prepare(folder: str) -> None:
    """Make the folder if it is not there, for nobody else to read, and see that files can be made in it.  Raises
    OSError."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder) from None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)


class Parts:
    """Writes into a folder.  `size`: bytes of all parts together; `age`: seconds after which a part goes.  All methods
    raise OSError, after which nothing can be written any more."""

    def __init__(self, folder: str, size: int, age: float) -> None:
        self.folder = folder
        self.size = size
        self.age = age
        self._lock = -1
        self._file = -1
        self._number = 0
        self._path = ""         # of a part whose first state is not complete
        self._written = 0       # bytes of the part
        self._most = 0          # when there are so many, it is full
        self._begun = 0.0       # by the monotonic clock

    @property
    def full(self) -> bool:
        """Whether it is time for another part."""
        return self._written >= self._most or time.monotonic() - self._begun > self.age / SHARE

    def begin(self, lines: list[bytes]) -> None:
        """Begin another part, with these lines of its first state."""
        if self._lock < 0:
            self._take()
        self._close_part()
        self._number = max((number for number, _ in numbered(self.folder)), default=self._number) + 1
        path = os.path.join(self.folder, f"part-{self._number:06}.jsonl")
        if os.path.lexists(path + NEW):
            os.unlink(path + NEW)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW
        self._file, self._path = os.open(path + NEW, flags, 0o600), path
        self._written, self._begun = 0, time.monotonic()
        self.append(lines)

    def complete(self) -> None:
        """The first state of the part is there."""
        self._most = max(self.size // SHARE, STATE_SHARE * self._written)
        os.rename(self._path + NEW, self._path)
        self._path = ""
        self._prune()

    def append(self, lines: list[bytes]) -> None:
        """Write a block."""
        text = b"\n".join([*lines, b""])
        rest = memoryview(b"%b#%08x\n" % (text, zlib.crc32(text)))
        self._written += len(rest)
        while rest:
            rest = rest[os.write(self._file, rest):]

    def close(self) -> None:
        """The end: nothing more is written."""
        self._close_part()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _take(self) -> None:
        prepare(self.folder)
        self._lock = os.open(os.path.join(self.folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EBUSY, "another scheduler records there", self.folder) from None

    def _close_part(self) -> None:
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)
        if self._path:
            path, self._path = self._path + NEW, ""
            os.unlink(path)

    def _prune(self) -> None:
        """Delete the oldest parts until what is left, and what the new one may grow by, is within the bounds."""
        left = max(self._most, self._written)
        oldest = time.time() - self.age
        for number, path in reversed(numbered(self.folder)):
            if number == self._number:
                continue
            about = os.stat(path)
            left += about.st_size
            if left > self.size or about.st_mtime < oldest:
                os.unlink(path)
