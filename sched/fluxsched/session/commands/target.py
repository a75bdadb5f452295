# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Finding a nested session by the path of its job, and walking the sessions below one."""

from __future__ import annotations

from fluxsched.formats.quote import quote
from fluxsched.session import jobid as ids
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

TARGET = "a job that runs a session, a path such as ƒA/ƒB, .. or /, or a URI"
DEEPEST = 100  # sessions inside each other


def uri_of(job: dict[str, Any]) -> Optional[str]:
    """The URI of the session that a job runs, as job.list shows it; None if it runs none now."""
    user = job["annotations"].get("user", {})
    uri = user.get("uri") if isinstance(user, dict) else None
    return uri if isinstance(uri, str) and job["state"] == "RUN" else None


def find(target: str) -> str:
    """The URI of a session: a URI, or the path of the job that it is in, such as ƒA or ƒA/ƒB, from this session on;
    from the outermost one with "/" in front, from that around this one with "..".  Raises CommandError."""
    if target.startswith("local://"):
        return target
    path = target[len("jobid:") :] if target.startswith("jobid:") else target
    client = Client()
    uri = _attribute(client, "local-uri")
    if path.startswith("/"):
        while _attribute(client, "instance-level") != "0":
            uri, client = _up(client)
    for part in path.strip("/").split("/"):
        if part == "..":
            uri, client = _up(client)
        elif part not in ("", "."):
            uri = _down(client, part)
            client = Client(uri)
    return uri


def _attribute(client: Client, name: str) -> str:
    try:
        return client.rpc("attr.get", {"name": name})["value"]
    except RPCError as error:
        raise CommandError(error.text) from None


def _up(client: Client) -> tuple[str, Client]:
    """The session around one."""
    if _attribute(client, "instance-level") == "0":
        raise CommandError("there is no session around this one")
    uri = _attribute(client, "parent-uri")
    return uri, Client(uri)


def _down(client: Client, part: str) -> str:
    """The URI of the session in a job."""
    try:
        jobid = ids.stored(ids.parse(part))
    except ValueError as error:
        raise CommandError(f"{quote(part)}: expected a job id, or a path of them: {error}") from None
    try:
        job = client.rpc("job.list", {"ids": [jobid]})["jobs"][0]
    except RPCError as error:
        raise CommandError(error.text) from None
    uri = uri_of(job)
    if uri is None:
        why = "is not running" if job["state"] != "RUN" else "runs no session that can be reached"
        raise CommandError(f"job {ids.show(jobid)} {why}")
    return uri
