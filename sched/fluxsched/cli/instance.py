# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The instance that a command of ``flux sched`` is typed in: a real Flux, or an embedded session.

Commands ask it by RPC, and do not know which of the two it is.
"""

from __future__ import annotations

import errno
import json
import pwd
from typing import Any, Optional, Protocol

import click

from fluxsched import program
from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import printable
from fluxsched.session import jobid as ids

__all__ = ["Instance", "InstanceError", "JobId", "ask", "connect", "show_id", "username"]

JOB_STATES = {1: "NEW", 2: "DEPEND", 4: "PRIORITY", 8: "SCHED", 16: "RUN", 32: "CLEANUP", 64: "INACTIVE"}
JOB_RESULTS = {1: "COMPLETED", 2: "FAILED", 4: "CANCELED", 8: "TIMEOUT"}

# Answers of a broker that has no such request: no scheduler is loaded, or another one.
_NOT_OURS = (errno.ENOSYS, errno.EHOSTUNREACH)


class InstanceError(FluxSchedError):
    """A request that failed: `errno`, and a text that is fit for a terminal."""

    def __init__(self, errnum: int, text: str) -> None:
        super().__init__(printable(text))
        self.errno = errnum


class Instance(Protocol):
    """What commands need of an instance."""

    def rpc(self, topic: str, payload: dict[str, Any]) -> Any:
        """The answer to a request.  Raises InstanceError."""

    def job(self, jobid: int) -> dict[str, Any]:
        """What the job manager knows of a job: {"state", "result", "urgency", "queue", "dependencies"}, by their names
        in Flux, and "note", that of the exception that has ended it, or empty.  Raises InstanceError."""

    def queue_stopped(self, queue: str) -> Optional[str]:
        """Why a queue ("": the one without a name) is stopped, None if it is not."""


class Session:
    """An embedded session."""

    def __init__(self) -> None:
        from fluxsched.session.commands.client import Client

        self._client = Client()

    def rpc(self, topic: str, payload: dict[str, Any]) -> Any:
        """As :class:`Instance` says."""
        from fluxsched.session.commands.client import RPCError

        try:
            return self._client.rpc(topic, payload)
        except RPCError as error:
            raise InstanceError(error.errno, error.text) from None

    def job(self, jobid: int) -> dict[str, Any]:
        """As :class:`Instance` says."""
        try:
            found = self.rpc("job.list", {"ids": [jobid]})["jobs"][0]
        except InstanceError as error:
            if error.errno != errno.ENOENT:
                raise
            raise InstanceError(errno.ENOENT, f"{show_id(jobid)}: no such job") from None
        job = {name: found.get(name) for name in ("state", "result", "urgency", "queue", "dependencies")}
        exception = found["exception"]
        job["note"] = exception["note"] if exception["occurred"] and exception["severity"] == 0 else ""
        return job

    def queue_stopped(self, queue: str) -> Optional[str]:
        """As :class:`Instance` says."""
        _, _, stopped = self.rpc("job-manager.queue-status", {"name": queue or None})["queues"][0]
        return None if stopped is None else stopped or "no reason was given"


class Flux:
    """A real Flux, through libflux."""

    def __init__(self) -> None:
        try:
            from fluxsched.flux.client import Connection
        except ImportError:
            raise FluxSchedError(
                "no session here: FLUX_URI is not set, or is that of a Flux instance, which this flux-sched was not "
                "built for"
            ) from None
        try:
            self._connection = Connection()
        except OSError as error:
            raise InstanceError(error.errno or errno.EINVAL, f"no Flux instance here: {error.strerror}") from None

    def rpc(self, topic: str, payload: dict[str, Any]) -> Any:
        """As :class:`Instance` says."""
        try:
            answer = self._connection.rpc(topic, json.dumps(payload).encode())
        except OSError as error:
            raise InstanceError(error.errno or errno.EINVAL, error.strerror or str(error)) from None
        try:
            return None if answer is None else json.loads(answer)
        except ValueError:
            raise InstanceError(errno.EPROTO, f"{topic}: the answer is not JSON") from None

    def job(self, jobid: int) -> dict[str, Any]:
        """As :class:`Instance` says."""
        wanted = ["state", "result", "urgency", "queue", "dependencies", "exception_severity", "exception_note"]
        try:
            found = self.rpc("job-list.list-id", {"id": jobid, "attrs": wanted})["job"]
        except InstanceError as error:
            if error.errno == errno.ENOENT:
                raise InstanceError(errno.ENOENT, f"{show_id(jobid)}: no such job") from None
            raise
        return {
            "state": JOB_STATES.get(found.get("state"), "NEW"), "result": JOB_RESULTS.get(found.get("result")),
            "urgency": found.get("urgency"), "queue": found.get("queue"), "dependencies": found.get("dependencies"),
            "note": "" if found.get("exception_severity") else found.get("exception_note", ""),
        }

    def queue_stopped(self, queue: str) -> Optional[str]:
        """As :class:`Instance` says."""
        try:
            status = self.rpc("job-manager.queue-status", {"name": queue} if queue else {})
        except InstanceError:
            return None
        if status.get("start", True):
            return None
        return status.get("stop_reason") or "no reason was given"


def connect() -> Instance:
    """The instance of FLUX_URI, the session that stays open, or the system's.  Raises FluxSchedError if none."""
    from fluxsched.session.commands.client import here, is_session

    program.end_by_signal()
    uri = here()
    return Session() if uri is not None and is_session(uri) else Flux()


def ask(instance: Instance, topic: str, **payload: Any) -> Any:
    """A request to the scheduler.  Raises InstanceError."""
    try:
        return instance.rpc(topic, payload)
    except InstanceError as error:
        if error.errno in _NOT_OURS:
            text = "no scheduler of flux-sched is loaded here (flux module load sched), or an older one"
            raise InstanceError(error.errno, text) from None
        raise


class JobId(click.ParamType):
    """A job id in any of its forms: F58, decimal, hexadecimal, dotted hexadecimal."""

    name = "JOBID"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> int:
        """Read one."""
        try:
            return value if isinstance(value, int) else ids.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def show_id(jobid: int) -> str:
    """A job id as this terminal can show it."""
    return ids.show(jobid)


def username(userid: Optional[int]) -> str:
    """Name of a user, or the number where there is none."""
    if userid is None:
        return "-"
    try:
        return pwd.getpwuid(userid).pw_name
    except (KeyError, OverflowError):
        return str(userid)
