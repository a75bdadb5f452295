# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the fuzzer's readers are made of."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Callable, NamedTuple

from fluxsched.formats import jsontext

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
atexit.register(shutil.rmtree, FOLDER, True)


def file_of(data: bytes, suffix: str) -> str:
    """The path of a file that holds the input; the next input of this process takes its place."""
    path = FOLDER / f"{os.getpid()}{suffix}"
    path.write_bytes(data)
    return str(path)


class Reader(NamedTuple):
    """A reader: what it does with an input, the errors that it declares, and valid examples.

    json: its inputs are JSON. memory: MB that it may take beyond what it had before. seconds: processor time for one.
    """

    read: Callable[[bytes], Any]
    errors: tuple[type[BaseException], ...]
    examples: Callable[[], list[bytes]]
    json: bool = False
    memory: int = 512
    seconds: float = 5


class BadJSON(Exception):
    """The input is refused before the reader sees it, as a host does with a message."""


def loads(data: bytes) -> Any:
    """The value of an input that is JSON.  Raises BadJSON."""
    try:
        return jsontext.loads(data)
    except ValueError:
        raise BadJSON from None


def text_of(data: bytes) -> str:
    """The input as text, as a command line brings it."""
    return data.decode("utf-8", "surrogateescape")


def dump(*values: Any) -> list[bytes]:
    """An example for each value, as JSON."""
    return [json.dumps(value).encode() for value in values]
