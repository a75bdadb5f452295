# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Claims: links to the records of workers, by which a job is started once, and a later broker finds it again.

Each attempt to run a job has a claim of its own: the first one's is named by the job's id, later ones by id, dot and
number.  They stay until the job is over, so that no attempt is made twice.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Container, Iterator
from typing import Any

from fluxsched.session.broker.job import Job
from fluxsched.session.runner import launcher
from fluxsched.session.wire import encode

CLAIMS = "claims-"


def make(base: str) -> str:
    """The folder of claims in the state directory `base`, under a new name.  Raises OSError."""
    path = os.path.join(base, CLAIMS + secrets.token_hex(8))
    earlier = [name for name in os.listdir(base) if name.startswith(CLAIMS)]
    if earlier:
        os.rename(os.path.join(base, earlier[0]), path)
    else:
        os.mkdir(path, 0o700)
    return path


def tidy_workers(base: str) -> None:
    """Remove the files of workers whose launcher was killed, but for those that still run."""
    names = os.listdir(base) if os.path.isdir(base) else []
    for path in {os.path.join(base, name.partition(".")[0]) for name in names}:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            launcher.remove(path)
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            launcher.remove(path)
        except BlockingIOError:
            continue
        finally:
            os.close(fd)


def read(path: str, name: int | str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The claim `path` of the attempt `name` and its events, from the record of its worker; what is cut off is left
    out.

    Raises OSError."""
    claim: dict[str, Any] = {}
    events: list[dict[str, Any]] = []
    try:
        with open(path, "rb") as file:
            lines = file.readlines()
    except FileNotFoundError:
        return claim, events
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if not isinstance(entry, dict) or entry.get("job") != name:
            continue  # of a job that the worker had before
        if "event" in entry:
            events.append(entry)
        else:
            claim = entry
    return claim, events


def dial(workers: str, claim: dict[str, Any]) -> socket.socket:
    """A connection to the worker that has made a claim.  Raises OSError."""
    directory = os.open(workers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(f"/proc/self/fd/{directory}/{claim.get('worker')}.ctl")
    except OSError:
        sock.close()
        raise
    finally:
        os.close(directory)
    return sock


def name(job: Job) -> int | str:
    """What the present attempt to run a job is called, in its claim and in the record of its worker."""
    attempts = job.info.get("attempts", 0)
    return f"{job.id}.{attempts}" if attempts else job.id


def all_of(folder: str, job: Job) -> Iterator[str]:
    """The paths of the claims of all attempts to run a job."""
    yield os.path.join(folder, str(job.id))
    for number in range(1, job.info.get("attempts", 0) + 1):
        yield os.path.join(folder, f"{job.id}.{number}")


def left(folder: str, active: Container[int]) -> list[tuple[int, str]]:
    """The (job id, path) of claims whose jobs are not active."""
    found = []
    for path in os.listdir(folder):
        number = path.partition(".")[0]
        if number.isdigit() and int(number) not in active:
            found.append((int(number), os.path.join(folder, path)))
    return found


def fence(path: str, name: int | str, boot: str) -> None:
    """Make the claim of an attempt if nobody has made it, so that nobody can.  Raises OSError."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    os.write(fd, encode({"job": name, "boot": boot, "pid": -1}))  # no process has that id
    os.close(fd)
