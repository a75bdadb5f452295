# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A mail or a command at the end of a job, for jobs that ask for it: ``--setattr=notify=mail:ADDRESS`` or a command.

Off unless the configuration allows it, in ``[notify] allow``.  Each notice is a process of its own, which the session
does not wait for: a few run at a time, some wait for their turn, and those beyond are dropped; one that takes too long
is ended.  What goes wrong is in the log.  A job's notice is sent at most once, and not if the session is killed just
when the job ends.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import tempfile
import time
from collections import deque
from syslog import LOG_ERR
from typing import IO, Any, Optional

from fluxsched.formats.duration import DurationError
from fluxsched.formats.duration import parse as parse_duration
from fluxsched.session import jobid as ids
from fluxsched.session.broker import job as jobs
from fluxsched.session.broker.job import Job
from fluxsched.session.broker.job_manager import Manager
from fluxsched.session.errors import RequestError, SessionError

KINDS = ("mail", "command")
WHERE = "attributes.system.notify"
SENDMAIL = "/usr/sbin/sendmail"
TIMEOUT = 60.0  # seconds that a notice may take
AT_ONCE = 4  # notices that run
WAITING = 1000  # notices that wait for their turn
POLL = 0.1  # seconds between two looks at those that run
SAID_MAX = 1000  # bytes of what one has written on standard error that go to the log
LONGEST = 64 << 10  # characters of a command
CLOSING = 5.0  # seconds that the end of the session waits for them

_ADDRESS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}(@[A-Za-z0-9][A-Za-z0-9.-]{0,253})?")


class _Process:
    """A notice that runs."""

    def __init__(self, job: str, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        self.job = job
        self.process = process
        self.said = said  # what it writes on standard error
        self.ends = 0.0  # when it is ended (time.monotonic())


class Notices:
    """Sends the notices of the jobs of `manager`."""

    def __init__(self, manager: Manager, config: dict[str, Any]) -> None:
        """`config` is the table ``notify``.  Raises SessionError."""
        self._manager = manager
        allow = config.get("allow", [])
        if not isinstance(allow, list) or not all(kind in KINDS for kind in allow):
            raise SessionError(f"notify.allow: expected a list of {' and '.join(KINDS)}")
        self.allowed = tuple(allow)
        self._sendmail = config.get("sendmail", SENDMAIL)
        if not isinstance(self._sendmail, str) or not os.path.isabs(self._sendmail):
            raise SessionError("notify.sendmail: expected the absolute path of a program")
        try:
            self._timeout = parse_duration(config.get("timeout", TIMEOUT))
        except DurationError as error:
            raise SessionError(f"notify.timeout: {error}") from None
        self._waiting: deque[Job] = deque()
        self._running: list[_Process] = []
        self._dropped = 0
        self._polling = False
        manager.on_check.append(self.check)
        manager.on_end.append(self.ended)

    def check(self, jobspec: dict[str, Any]) -> None:
        """Refuse a job whose notice is none, or is not allowed here.  Raises RequestError."""
        attributes = jobspec.get("attributes")
        system = attributes.get("system") if isinstance(attributes, dict) else None
        if not isinstance(system, dict) or "notify" not in system:
            return
        wanted = system["notify"]
        if not isinstance(wanted, str) or not wanted.strip() or "\0" in wanted or len(wanted) > LONGEST:
            raise RequestError(errno.EINVAL, f"{WHERE}: expected mail, mail:ADDRESS or a command of the shell")
        kind, address = _parsed(wanted)
        if kind not in self.allowed:
            raise RequestError(
                errno.EINVAL, f"{WHERE}: the configuration of this session allows no {kind} ([notify] allow)"
            )
        if kind == "mail" and not _ADDRESS.fullmatch(address):
            raise RequestError(errno.EINVAL, f"{WHERE}: expected mail:ADDRESS, such as mail:me@example.org")

    def ended(self, job: Job) -> None:
        """A job is over: send its notice, if it asks for one."""
        wanted = job.jobspec["attributes"]["system"].get("notify")
        if not isinstance(wanted, str) or _parsed(wanted)[0] not in self.allowed:
            return
        if len(self._waiting) >= WAITING:
            self._dropped += 1
            if self._dropped == 1:
                self._say(f"{WAITING} notices wait already; those of further jobs are dropped")
            return
        self._dropped = 0
        self._waiting.append(job)
        self._manager.loop.call_soon(self._next)

    def _say(self, text: str) -> None:
        self._manager.log("notify", LOG_ERR, text)

    def _next(self) -> None:
        """Start those whose turn it is."""
        while self._waiting and len(self._running) < AT_ONCE:
            self._start(self._waiting.popleft())
        if self._running and not self._polling:
            self._polling = True
            self._manager.loop.call_later(POLL, self._turn)

    def _start(self, job: Job) -> None:
        name = ids.f58(job.id)
        info = job.info
        text = ""
        try:
            full = self._manager.full_jobspec(job)
            kind, rest = _parsed(full["attributes"]["system"]["notify"])
            env = {**full["attributes"]["system"].get("environment", {}), **_variables(job)}
            env["FLUX_URI"] = self._manager.executor.uri_of(0)
            words = ["/bin/sh", "-c", rest]
            if kind == "mail":
                words = [self._sendmail, "-oi", "--", rest]
                text = _message(rest, job)
            # Files, not pipes: nobody has to read or write while it runs.
            said = tempfile.TemporaryFile()  # noqa: SIM115  open until the notice has ended
            with tempfile.TemporaryFile() as given:
                given.write(text.encode("utf-8", "replace"))
                given.seek(0)
                cwd = info["cwd"] if kind == "command" and os.path.isdir(info["cwd"] or "") else "/"
                process = subprocess.Popen(
                    words, env=env, cwd=cwd, stdin=given, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
                )
        except (OSError, ValueError, SessionError) as error:
            self._say(f"{name}: the notice could not be sent: {getattr(error, 'strerror', None) or error}")
            return
        running = _Process(name, process, said)
        running.ends = time.monotonic() + self._timeout
        self._running.append(running)

    def _look(self) -> None:
        """Deal with those that have ended, or take too long."""
        for running in list(self._running):
            if running.process.poll() is None:
                if time.monotonic() < running.ends:
                    continue
                _kill(running.process)
                self._say(f"{running.job}: the notice took longer than {self._timeout:g} s, and was ended")
            elif running.process.returncode:
                running.said.seek(0)
                said = running.said.read(SAID_MAX).decode("utf-8", "replace").strip().partition("\n")[0]
                how = f"exit code {running.process.returncode}" if running.process.returncode > 0 else "a signal"
                self._say(f"{running.job}: the notice failed with {how}" + (f": {said}" if said else ""))
            running.said.close()
            self._running.remove(running)

    def _turn(self) -> None:
        self._polling = False
        self._look()
        self._next()

    def close(self) -> None:
        """The session ends: send what is left, and wait a little; what takes longer is ended."""
        deadline = time.monotonic() + CLOSING
        while (self._waiting or self._running) and time.monotonic() < deadline:
            while self._waiting and len(self._running) < AT_ONCE:
                self._start(self._waiting.popleft())
            time.sleep(0.01)
            self._look()
        for running in self._running:
            _kill(running.process)
            running.said.close()
        self._running.clear()


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        pass  # it has just ended
    process.wait()


def _parsed(wanted: str) -> tuple[str, str]:
    """("mail", address) or ("command", text)."""
    head, colon, rest = wanted.partition(":")
    if wanted == "mail":
        return "mail", jobs.username(os.getuid())
    if colon and head == "mail":
        return "mail", rest
    return "command", wanted


def _variables(job: Job) -> dict[str, str]:
    """What a command finds in its environment about the job."""
    found = jobs.describe(job.id, job.state, job.info)
    return {
        "FLUX_JOB_ID": ids.f58(job.id),
        "FLUX_JOB_NAME": found["name"].replace("\0", ""),
        "FLUX_JOB_RESULT": found["result"],
        "FLUX_JOB_RETURNCODE": str(found["returncode"]),
        "FLUX_JOB_RUNTIME": f"{found['runtime']:.3f}",
    }


def _message(address: str, job: Job) -> str:
    """The mail about a job."""
    from email.message import EmailMessage  # it takes long to load

    from fluxsched.formats.quote import printable

    about = _variables(job)
    message = EmailMessage()
    message["To"] = address
    name = printable(about["FLUX_JOB_NAME"])[:200].encode("utf-8", "replace").decode()
    message["Subject"] = f"{about['FLUX_JOB_ID']} {name}: {about['FLUX_JOB_RESULT']}"
    lines = [f"job {about['FLUX_JOB_ID']} ({name}) has ended: {about['FLUX_JOB_RESULT']}"]
    lines.append(f"exit code {about['FLUX_JOB_RETURNCODE']}, {about['FLUX_JOB_RUNTIME']} s")
    exception: Optional[dict[str, Any]] = job.info.get("exception")
    if exception is not None and exception.get("note"):
        lines.append(printable(str(exception["note"])))
    message.set_content("\n".join(lines) + "\n")
    return message.as_string()
