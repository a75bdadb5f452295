# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The bytes of a trace file as every reader gets them: unpacked, in pieces, and within bounds.

A packed file of a few MB can hold terabytes, so the bounds are kept while reading, and nothing is held as a whole:
what a reader keeps grows with the number of jobs, which is bounded too.
"""
from __future__ import annotations

import codecs
import gzip
import zlib
from typing import Iterator, Optional

from fluxsched.errors import FluxSchedError

MAX_JOBS = 5_000_000          # five times what the simulator is made for
MAX_BYTES = 2 << 30           # of text, unpacked
MAX_LINE = 1 << 16
PIECE = 4 << 20               # bytes that are looked at together


class TraceError(FluxSchedError, ValueError):
    """A trace that cannot be used; the text names the file, and the line and field where there is one."""


def check_jobs(count: int, source: str) -> None:
    """Raise TraceError where `count` jobs are more than a trace may have."""
    if count > MAX_JOBS:
        raise TraceError(f"{source}: more than {MAX_JOBS:,} jobs, the most that a trace may have")


def pieces(path: str) -> Iterator[bytes]:
    """The bytes of a file as they come; gzip is unpacked, by content, not by name.

    Raises TraceError for a file that cannot be read, is a truncated or broken gzip file, or holds NUL bytes.
    """
    try:
        with open(path, "rb") as plain:
            packed = plain.peek(2)[:2] == b"\x1f\x8b"      # not read and seek: it may be a pipe
            stream = gzip.GzipFile(fileobj=plain) if packed else plain
            mark = codecs.BOM_UTF8                             # editors of some systems put it first
            while True:
                piece = stream.read(PIECE)
                if mark:
                    piece = piece[len(mark):] if piece.startswith(mark) else piece
                    mark = b""
                if not piece:
                    return
                if b"\0" in piece:
                    raise TraceError(f"{path}: a binary file, not a trace")
                yield piece
    except (EOFError, zlib.error, gzip.BadGzipFile) as err:
        raise TraceError(f"{path}: truncated or broken gzip file ({err})") from err
    except OSError as err:
        raise TraceError(f"{path}: cannot be read: {err.strerror or err}") from err


def bounded(path: str, begun: Optional[Iterator[bytes]] = None) -> Iterator[bytes]:
    """The pieces of a file, at most MAX_BYTES of them together.

    begun: the file's pieces, where somebody has begun to read it.
    Raises TraceError as `pieces` does, and for more text.
    """
    total = 0
    for piece in begun or pieces(path):
        total += len(piece)
        if total > MAX_BYTES:
            raise TraceError(f"{path}: more than {MAX_BYTES >> 20:,} MiB of text, the most that a trace may have")
        yield piece


def chunks(path: str, begun: Optional[Iterator[bytes]] = None) -> Iterator[bytes]:
    """The text of a file in pieces that end at line ends.

    Raises TraceError as `bounded` does, and for a line above 64 KiB.
    """
    rest = b""
    for piece in bounded(path, begun):
        cut = piece.rfind(b"\n") + 1
        if cut:
            yield rest + piece[:cut]
            rest = piece[cut:]
        else:
            rest += piece
        if len(rest) > MAX_LINE:
            raise TraceError(f"{path}: a line longer than {MAX_LINE} bytes, not a trace")
    if rest:
        yield rest


def lines(path: str, begun: Optional[Iterator[bytes]] = None) -> Iterator[str]:
    """The lines of a file (UTF-8), without their ends.  Raises TraceError as `chunks` does, and for other text."""
    before = 0
    for chunk in chunks(path, begun):
        try:
            text = chunk.decode("utf-8")
        except UnicodeDecodeError as err:
            raise TraceError(f"{path}: not UTF-8 text (byte {before + err.start})") from err
        before += len(chunk)
        for line in text.removesuffix("\n").split("\n"):
            yield line.removesuffix("\r")


def characters(path: str, begun: Optional[Iterator[bytes]] = None) -> Iterator[str]:
    """The text of a file (UTF-8) in pieces of any length, for formats without lines.

    Raises TraceError as `bounded` does, and for other text.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    before = 0
    try:
        for piece in bounded(path, begun):
            kept = len(decoder.getstate()[0])
            yield decoder.decode(piece)
            before += len(piece)
        kept = len(decoder.getstate()[0])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as err:
        raise TraceError(f"{path}: not UTF-8 text (byte {before - kept + err.start})") from err
