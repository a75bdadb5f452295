# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The broker's Unix socket: requests, answered by their ids.

Request ``{"id", "topic", "payload", "rank"}``; answer ``{"id", "payload"}`` or
``{"id", "errnum", "error"}``.  A stream is several answers, the last one an
error, ENODATA when nothing went wrong.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from syslog import LOG_ERR, LOG_WARNING
from typing import Any, Callable, Optional

from fluxsched.formats.fastjson import encode
from fluxsched.session.broker.log import Log
from fluxsched.session.broker.loop import READ, Loop
from fluxsched.session.broker.rpc import OWNER, Int, Router, Text
from fluxsched.session.errors import RequestError, SessionError
from fluxsched.session.wire import Channel

ACCEPT_PAUSE = 0.5  # seconds until a connection is taken for which there was no descriptor
_ID = Int(0, 2**63 - 1)
_TOPIC = Text(256)
_RANK = Int(0, 2**32 - 1)


class Request:
    """A request of a command, until it has been answered in full.

    `rank` is the rank that the command believes to be on.  `on_close` is called when the client goes away before the
    request has ended; `open` is whether it still waits for an answer."""

    __slots__ = ("connection", "id", "topic", "rank", "on_close", "open")

    def __init__(self, connection: Connection, id: int, topic: str, rank: int) -> None:
        self.connection = connection
        self.id = id
        self.topic = topic
        self.rank = rank
        self.on_close: Optional[Callable[[], Any]] = None
        self.open = True

    def respond(self, payload: dict | None = None) -> None:
        """The only answer, or the last one."""
        if self.open:
            self._end()
            self.connection.send({"id": self.id, "payload": payload})

    def stream(self, payload: dict) -> None:
        """One answer of several."""
        if self.open:
            self.connection.send({"id": self.id, "payload": payload})

    def error(self, errnum: int, text: str | None = None) -> None:
        """Refuse, or end a stream, with an error number and a sentence for people."""
        if self.open:
            self._end()
            self.connection.send({"id": self.id, "errnum": errnum, "error": text or os.strerror(errnum)})

    def end(self) -> None:
        """End a stream in good order."""
        self.error(errno.ENODATA)

    def _end(self) -> None:
        self.open = False
        self.on_close = None
        self.connection.requests.pop(self.id, None)

    def closed(self) -> None:
        """The client has gone."""
        self.open = False
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()


class Connection:
    """A client, and its requests that are not yet answered in full."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self.server = server
        self.requests: dict[int, Request] = {}
        self.channel = Channel(sock, server.loop.watch, self._message, self._gone, encode=encode)

    def send(self, message: dict) -> None:
        """Send a message at the end of this turn of the loop."""
        self.channel.queue(message)
        self.server.unsent.add(self.channel)

    def _message(self, message: dict) -> None:
        number: Any = message.get("id")
        topic: Any = message.get("topic")
        rank: Any = message.get("rank", 0)
        payload = message.get("payload", {})
        if not (_ID.check(number) and _TOPIC.check(topic) and _RANK.check(rank) and isinstance(payload, dict)):
            self._refuse("a client sent what is no request; dropped")
        elif number in self.requests:
            self._refuse("a client used the id of a request twice; dropped")
        else:
            request = self.requests[number] = Request(self, number, topic, rank)
            self.server.dispatch(request, payload)

    def _refuse(self, text: str) -> None:
        self.server.log("broker", LOG_WARNING, text)
        self.close()

    def _gone(self, reason: str | None) -> None:
        if reason is not None:
            self.server.log("broker", LOG_WARNING, f"a client was dropped: {reason}")
        self.close()

    def close(self) -> None:
        """Drop the client."""
        self.channel.close()
        self.server.connections.discard(self)
        self.server.unsent.discard(self.channel)
        requests, self.requests = self.requests, {}
        for request in requests.values():
            request.closed()


class Server:
    """Listens on the socket, and leads the requests of the session's owner to `router`.

    What a turn has to say is sent by a function that `when_durable` gets, and calls when what the turn has written
    is on the disk."""

    def __init__(
        self,
        loop: Loop,
        log: Log,
        path: str,
        router: Router,
        when_durable: Callable[[Callable[[], Any]], Any] = lambda send: send(),
    ) -> None:
        self.loop = loop
        self.log = log
        self.path = path
        self.router = router
        self._when_durable = when_durable
        self.connections: set[Connection] = set()
        self.unsent: set[Channel] = set()
        self._short = False  # of descriptors, when last looked at
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        self._listener.bind(path)
        os.chmod(path, 0o600)
        self._listener.listen(512)
        self._listen()

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:
            self.loop.watch(self._listener.fileno(), READ, self._accept)

    def _accept(self, mask: int) -> None:
        for _ in range(64):
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                self._short = False
                return
            except OSError as error:
                # Out of descriptors: who wants to connect waits, and we do not turn round and round.
                if not self._short:
                    self.log("broker", LOG_ERR, f"cannot accept a connection: {error.strerror}")
                self._short = True
                self.loop.watch(self._listener.fileno(), 0, None)
                self.loop.call_later(ACCEPT_PAUSE, self._listen)
                return
            self._short = False
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            uid = struct.unpack("3i", credentials)[1]
            if uid != os.getuid():
                self.log("broker", LOG_WARNING, f"refused a connection from uid {uid}: only the owner may connect")
                sock.close()
                continue
            self.connections.add(Connection(self, sock))

    def dispatch(self, request: Request, payload: dict) -> None:
        """Hand a request to its method; what it raises is the answer."""
        try:
            self.router.call(request, OWNER, request.topic, payload)
        except RequestError as error:
            declaration = self.router.declaration(request.topic)
            if declaration is not None and declaration.logged_by is not None:
                self.log(declaration.logged_by, LOG_ERR, f"{request.topic}: {error.text}", rank=request.rank)
            request.error(error.errno, error.text)
        except SessionError as error:
            self.log("broker", LOG_ERR, f"{request.topic}: {error}", rank=request.rank)
            request.error(errno.EIO, str(error))
        except Exception as error:
            request.error(errno.EIO, f"{request.topic}: {type(error).__name__}: {error}")
            self.loop.on_error(error)

    def flush(self) -> None:
        """Send what this turn of the loop has answered, as soon as what it has written is durable."""
        if self.unsent:
            counts = [(channel, channel.queued) for channel in self.unsent]
            self.unsent.clear()
            self._when_durable(lambda: self._send(counts))

    @staticmethod
    def _send(counts: list[tuple[Channel, int]]) -> None:
        """Let the first so many messages of each channel go."""
        for channel, count in counts:
            channel.flush(count)

    def close(self) -> None:
        """Send what is left, drop all clients and remove the socket."""
        self.flush()
        for connection in list(self.connections):
            connection.close()
        self.loop.watch(self._listener.fileno(), 0, None)
        self._listener.close()
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
