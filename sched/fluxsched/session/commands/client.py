# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A command's side of the broker's socket."""
from __future__ import annotations

import os
import time
from errno import ENODATA

from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import printable
from fluxsched.native import deque, socket
from fluxsched.session import wire
from fluxsched.session.errors import CommandError, NoSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Optional

    # (id of the request, answer, refusal): an answer or a refusal
    Answer = tuple[int, Any, Optional["RPCError"]]


class RPCError(FluxSchedError):
    """The broker's refusal: errno and text, which is fit for a terminal."""

    def __init__(self, errnum: int, text: str):
        self.errno = errnum
        self.text = printable(text)
        super().__init__(self.text)


class Late(FluxSchedError):
    """No answer has come in time."""


def parse_uri(uri: str) -> tuple[str, int]:
    """(socket path, rank) of "local:///tmp/flux-x/local-R".  Raises CommandError."""
    if not uri.startswith("local://"):
        raise CommandError(f"FLUX_URI: {uri!r}: expected local://PATH")
    path = uri[len("local://") :]
    base = os.path.basename(path)
    digits = base[len("local-") :]
    if not base.startswith("local-") or not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise CommandError(f"FLUX_URI: {uri!r}: expected a name that ends in local-RANK")
    return os.path.join(os.path.dirname(path), "local-0"), int(digits)


def is_session(uri: str) -> bool:
    """Whether the instance of this URI is an embedded session of ours."""
    path = uri[len("local://") :] if uri.startswith("local://") else ""
    return os.path.exists(os.path.join(os.path.dirname(path), wire.MARK)) if path else False


def here() -> str | None:
    """FLUX_URI, or that of the session that stays open; None if there is neither."""
    uri = os.environ.get("FLUX_URI")
    if uri:
        return uri
    from fluxsched.session import wellknown

    return wellknown.find()


class Client:
    """A connection to the session that is here (or of `uri`): requests are sent, and answers received, in any order."""

    def __init__(self, uri: str | None = None):
        """Connect.  Raises CommandError if there is no session."""
        uri = uri or here()
        if uri is None:
            text = "no session here: FLUX_URI is not set, and no session of yours stays open"
            raise NoSession(f"{text} (flux-session enable opens one, flux start one for a command)")
        self.uri = uri
        path, self.rank = parse_uri(uri)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.connect(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            text = f"cannot reach the session at {path}: {reason}"
            if os.environ.get("FLUX_URI"):
                raise CommandError(text) from None
            raise NoSession(f"{text} (flux-session enable opens it again)") from None
        self._reader = wire.Lines(wire.UNSENT_MAX)
        self._messages: deque[dict[str, Any]] = deque()
        self._next = 0

    def fileno(self) -> int:
        """The socket's descriptor, to wait for answers."""
        return self.sock.fileno()

    def send(self, topic: str, payload: dict[str, Any] | None = None) -> int:
        """Send a request; returns the id of its answers."""
        self._next += 1
        message: dict[str, Any] = {"id": self._next, "topic": topic, "payload": payload or {}}
        if self.rank:
            message["rank"] = self.rank
        try:
            self.sock.sendall(wire.encode(message), socket.MSG_NOSIGNAL)
        except OSError:
            raise CommandError("lost the connection to the session") from None
        return self._next

    def _fill(self, deadline: float | None = None) -> None:
        self._messages.extend(map(self._decoded, self._receive_lines(deadline)))

    @staticmethod
    def _decoded(line: bytes) -> dict[str, Any]:
        try:
            return wire.decode(line)
        except wire.WireError as error:
            raise CommandError(f"the session sent what is no answer: {error}") from None

    def _receive_lines(self, deadline: float | None = None) -> list[bytes]:
        """The lines that one read completes."""
        try:
            if deadline is not None:
                self.sock.settimeout(max(1e-6, deadline - time.monotonic()))
            data = self.sock.recv(wire.CHUNK)
        except socket.timeout:
            raise Late from None
        except OSError:
            data = b""
        if not data:
            raise CommandError("lost the connection to the session")
        try:
            return self._reader.feed(data)
        except wire.WireError as error:
            raise CommandError(f"the session sent what is no answer: {error}") from None

    @property
    def buffered(self) -> bool:
        """Whether answers have been read that nobody has taken, of which the descriptor does not tell."""
        return bool(self._messages)

    def arrived(self) -> list[Answer]:
        """What one read brings, for callers that wait on the descriptor: a list as from :meth:`receive`."""
        if not self._messages:
            self._fill()
        return [self.receive() for _ in range(len(self._messages))]

    def receive(self, deadline: float | None = None) -> Answer:
        """Next answer, whatever its request.  Raises Late if none has come at `deadline` (time.monotonic())."""
        while not self._messages:
            self._fill(deadline)
        message = self._messages.popleft()
        if "errnum" in message:
            return message["id"], None, RPCError(message["errnum"], message["error"])
        return message["id"], message["payload"], None

    def rpc(self, topic: str, payload: dict[str, Any] | None = None) -> Any:
        """The one answer of a request; raises RPCError."""
        number = self.send(topic, payload)
        while True:
            got, answer, error = self.receive()
            if got == number:
                if error is not None:
                    raise error
                return answer

    def stream(
        self, topic: str, payload: dict[str, Any] | None = None, deadline: float | None = None
    ) -> Iterator[Any]:
        """The answers of a streaming request, until it ends; raises RPCError, and Late as :meth:`receive`."""
        number = self.send(topic, payload)
        while True:
            got, answer, error = self.receive(deadline)
            if got != number:
                continue
            if error is not None:
                if error.errno == ENODATA:
                    return
                raise error
            yield answer

    def texts(self, topic: str, payload: dict[str, Any] | None = None) -> Iterator[bytes]:
        """As :meth:`stream`, each answer as its JSON text, on a connection on which nothing else is under way."""
        number = self.send(topic, payload)
        begin = b'{"id":%d,"payload":' % number
        while True:
            for line in self._receive_lines():
                if line.startswith(begin):
                    yield line[len(begin) : -1]
                    continue
                message = self._decoded(line)
                if message.get("errnum") == ENODATA:
                    return
                raise RPCError(message["errnum"], message["error"])

    def close(self) -> None:
        """End the connection; what is under way is given up."""
        self.sock.close()
