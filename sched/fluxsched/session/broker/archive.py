# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""An archive of what a session has kept: its key-value store, and its jobs with their output.

A key ``a.b`` is the file ``a/b``, as in flux-core's dumps.  A job is in the folder that flux-core has for it,
``job/0000/0123/4567/89ab``: jobspec, R and eventlog (a JSON object a line), stdout and stderr as tasks wrote them.
"""

from __future__ import annotations

import base64
import io
import os
import tarfile
import time
from collections.abc import Iterator
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, Callable

from fluxsched.formats.fastjson import dumps
from fluxsched.session import jobid as ids
from fluxsched.session.attributes import archive_mode
from fluxsched.session.broker.job import INACTIVE
from fluxsched.session.broker.store import Store
from fluxsched.session.broker.watch import entry_of

IN_MEMORY = 1 << 20  # bytes of one stream of a job's output; what is longer goes to a temporary file


def write(path: str, store: Store, output: Callable[[int], str]) -> None:
    """Write an archive; `output(id)` is the file with a job's record of output. It has its name when it is whole.

    Raises OSError, and StoreError for what cannot be read."""
    unfinished = f"{path}.part"
    try:
        private = partial(os.open, mode=0o600)
        with open(unfinished, "wb", opener=private) as file, tarfile.open(
            fileobj=file, mode=archive_mode(path)
        ) as archive:
            for key, text in store.kvs_below(""):
                _add(archive, "/".join(_quoted(part) for part in key.split(".")), text)
            for jobid in _jobs(store):
                _add_job(archive, jobid, store, output(jobid))
        os.replace(unfinished, path)
    except BaseException:
        try:
            os.unlink(unfinished)
        except OSError:
            pass  # it was never made
        raise


def _quoted(part: str) -> str:
    """A part of a key as the name of a file."""
    return part.replace("%", "%25").replace("/", "%2F")


def _jobs(store: Store) -> Iterator[int]:
    """The ids of all jobs, those that are over first."""
    yield from sorted(jobid for jobid, _ in store.inactive_info(INACTIVE, -1))
    yield from [row[0] for row in store.active(INACTIVE)]


def _add_job(archive: tarfile.TarFile, jobid: int, store: Store, output: str) -> None:
    folder = ids.kvs(jobid).replace(".", "/")
    row = store.job(jobid)
    if row is None:
        return
    _add(archive, f"{folder}/jobspec", dumps(store.jobspec(jobid)))
    if row[3] is not None:
        _add(archive, f"{folder}/R", dumps(row[3]))
    _add(archive, f"{folder}/eventlog", "".join(f"{dumps(entry)}\n" for entry in store.events(jobid)))
    for stream in ("stdout", "stderr"):
        with SpooledTemporaryFile(IN_MEMORY) as text:
            if _copy(output, stream, text):
                _add_file(archive, f"{folder}/{stream}", text)


def _copy(record: str, stream: str, to: IO[bytes]) -> int:
    """Copy one stream of a job's record of output; how many bytes it has. Lines that are damaged are left out."""
    length = 0
    try:
        with open(record, "rb") as file:
            for line in file:
                entry = entry_of(line)
                if entry is not None and entry["s"] == stream:
                    length += to.write(_data(entry))
    except FileNotFoundError:
        pass  # it has written none
    return length


def _data(entry: dict[str, str]) -> bytes:
    return base64.b64decode(entry["b"]) if "b" in entry else entry["d"].encode("utf-8", "surrogateescape")


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    _add_file(archive, name, io.BytesIO(text.encode("utf-8", "surrogateescape")))


def _add_file(archive: tarfile.TarFile, name: str, file: IO[bytes]) -> None:
    """Add what a file holds."""
    info = tarfile.TarInfo(name)
    info.size = file.seek(0, os.SEEK_END)
    info.mtime = int(time.time())
    info.mode = 0o600
    file.seek(0)
    archive.addfile(info, file)
