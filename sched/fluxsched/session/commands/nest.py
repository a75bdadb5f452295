# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Finding the job that `flux start` is in, for a nested session, and the files that the job brings."""

from __future__ import annotations

import json
import os
from typing import Any

from fluxsched.formats.quote import quote
from fluxsched.session import jobid as ids
from fluxsched.session.commands.client import Client, RPCError, is_session, parse_uri
from fluxsched.session.errors import CommandError, SessionError
from fluxsched.session.opening import Nest


def in_job() -> bool:
    """Whether this process is of a job of an embedded session."""
    return bool(os.environ.get("FLUX_JOB_ID")) and is_session(os.environ.get("FLUX_URI", ""))


def find() -> Nest:
    """The job that this process is of.  Raises CommandError, SessionError."""
    uri, tmpdir = os.environ["FLUX_URI"], os.environ.get("FLUX_JOB_TMPDIR", "")
    try:
        jobid = ids.stored(ids.parse(os.environ["FLUX_JOB_ID"]))
    except ValueError as error:
        raise SessionError(f"FLUX_JOB_ID: {error}") from None
    if not os.path.isabs(tmpdir):
        raise SessionError(f"FLUX_JOB_TMPDIR: expected the absolute path of a folder, got {quote(tmpdir)}")
    client = Client(uri)
    try:
        found = client.rpc("job.nested", {"id": jobid})
    except RPCError as error:
        raise SessionError(f"cannot open a session in job {ids.show(jobid)}: {error.text}") from None
    finally:
        client.close()
    folder = os.path.dirname(tmpdir)
    path = os.environ.get("FLUX_JOB_ID_PATH", "")
    near = {int(gpu): frozenset(cpus) for gpu, cpus in found["near"].items()}
    return Nest(uri, parse_uri(uri)[0], jobid, found["level"], found["R"], found["cpus"], near, folder, path)


def stage(words: list[str], nest: Nest) -> None:
    """Write the files of the job's jobspec (attributes.system.files, RFC 37) to its folder for temporary files, if that
    is in one of the words of its command.  Raises SessionError, OSError."""
    tmpdir = os.path.join(nest.folder, "tmp")
    if not any(tmpdir in word for word in words):
        return
    client = Client(nest.uri)
    try:
        system = client.rpc("job.info", {"id": nest.jobid, "key": "jobspec"})["value"]["attributes"]["system"]
    except RPCError as error:
        raise SessionError(f"the jobspec of job {ids.show(nest.jobid)}: {error.text}") from None
    finally:
        client.close()
    files = system.get("files", {})
    if not isinstance(files, dict):
        raise SessionError("jobspec: attributes.system.files: expected an object")
    for name, entry in files.items():
        write(tmpdir, name, entry)


def write(folder: str, name: str, entry: Any) -> None:
    """Write a file of a jobspec: {"mode", "encoding": "utf-8", "data": text}, or JSON without an encoding.

    Raises SessionError, CommandError."""
    where = f"jobspec: attributes.system.files.{quote(name)[1:-1]}"
    if "/" in name or name in ("", ".", ".."):
        raise SessionError(f"{where}: expected a name without a folder")
    if not isinstance(entry, dict) or entry.get("encoding") not in (None, "utf-8") or "data" not in entry:
        raise SessionError(f"{where}: expected an object with data, and no encoding or utf-8")
    data, mode = entry["data"], entry.get("mode", 0o600)
    if type(mode) is not int or (entry.get("encoding") and not isinstance(data, str)):
        raise SessionError(f"{where}: expected data that is text, and mode that is a number")
    text = data if entry.get("encoding") else json.dumps(data)
    path = os.path.join(folder, name)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode & 0o777)
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
