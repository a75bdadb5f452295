# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The broker's Unix socket: one JSON object per line, answered by id.

Request ``{"id", "topic", "payload", "rank"}``; answer ``{"id", "payload"}`` or
``{"id", "errnum", "error"}``.  A stream is several answers, the last one an
error, ENODATA (61) when nothing went wrong.
"""

import errno
import json
import os
import socket
import struct
from collections import deque

from fluxsched.session.broker import loop as loops
from fluxsched.session.errors import RequestError

ENODATA = 61
MAX_LINE = 64 << 20
MAX_UNREAD = 256 << 20  # a client that does not read is dropped beyond this many bytes
HIGH_WATER = 1 << 20


def _refuse_constant(name):
    raise ValueError(f"{name} is no JSON")


class Request:
    __slots__ = ("connection", "id", "topic", "payload", "rank", "on_close", "open")

    def __init__(self, connection, id, topic, payload, rank):
        self.connection = connection
        self.id = id
        self.topic = topic
        self.payload = payload
        self.rank = rank
        self.on_close = None  # called when the client goes away before the request has ended
        self.open = True

    def respond(self, payload=None):
        """The only answer."""
        self._end()
        self.connection.send({"id": self.id, "payload": payload})

    def stream(self, payload):
        """One answer of several."""
        if self.open:
            self.connection.send({"id": self.id, "payload": payload})

    def error(self, errnum, text=None):
        if self.open:
            self._end()
            self.connection.send({"id": self.id, "errnum": errnum, "error": text or os.strerror(errnum)})

    def end(self):
        self.error(ENODATA)

    def _end(self):
        self.open = False
        self.connection.requests.pop(self.id, None)

    def get(self, field, kind, default=None, required=True):
        """A field of the payload, checked; `kind` is a type or a tuple of types."""
        value = self.payload.get(field, default)
        if value is None and not required:
            return None
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            names = " or ".join(k.__name__ for k in kinds)
            raise RequestError(errno.EPROTO, f"{self.topic}: {field}: expected {names}")
        return value


class Connection:
    def __init__(self, server, sock):
        self.server = server
        self.sock = sock
        self.requests = {}
        self.closed = False
        self.drained = []  # called when the output buffer has gone down
        self._in = bytearray()
        self._out = deque()
        self.unsent = 0
        self._mask = loops.READ
        sock.setblocking(False)
        server.loop.watch(sock.fileno(), self._mask, self._ready)

    def send(self, message):
        if self.closed:
            return
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self._out.append(data)
        self.unsent += len(data)
        if self.unsent > MAX_UNREAD:
            self.close()
            return
        self.server.dirty.add(self)

    def flush(self):
        if self.closed:
            return
        try:
            while self._out:
                data = self._out[0]
                sent = self.sock.send(data)
                self.unsent -= sent
                if sent < len(data):
                    self._out[0] = data[sent:]
                    break
                self._out.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        mask = loops.READ | (loops.WRITE if self._out else 0)
        if mask != self._mask:
            self._mask = mask
            self.server.loop.watch(self.sock.fileno(), mask, self._ready)
        if self.unsent < HIGH_WATER and self.drained:
            waiting, self.drained = self.drained, []
            for callback in waiting:
                callback()

    def _ready(self, mask):
        if mask & loops.WRITE:
            self.flush()
        if mask & loops.READ and not self.closed:
            try:
                data = self.sock.recv(1 << 18)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            self._received(data)

    def _received(self, data):
        self._in += data
        if b"\n" not in data:
            if len(self._in) > MAX_LINE:
                self.server.log("broker", 4, "a client sent a line that is too long; dropped")
                self.close()
            return
        lines = bytes(self._in).split(b"\n")
        self._in = bytearray(lines.pop())
        for line in lines:
            if not self._line(line):
                self.close()
                return

    def _line(self, line):
        try:
            message = json.loads(line, parse_constant=_refuse_constant)
            number, topic, payload = message["id"], message["topic"], message.get("payload", {})
            rank = message.get("rank", 0)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.server.log("broker", 4, "a client sent what is no request; dropped")
            return False
        if not (isinstance(number, int) and isinstance(topic, str) and isinstance(payload, dict)):
            return False
        if not isinstance(rank, int):
            return False
        request = Request(self, number, topic, payload, rank)
        self.requests[number] = request
        self.server.dispatch(request)
        return True

    def close(self):
        if self.closed:
            return
        self.closed = True
        self.server.loop.watch(self.sock.fileno(), 0, None)
        self.sock.close()
        self.server.connections.discard(self)
        self.server.dirty.discard(self)
        for request in list(self.requests.values()):
            request.open = False
            if request.on_close is not None:
                request.on_close()
        self.requests.clear()


class Server:
    def __init__(self, loop, log, path):
        self.loop = loop
        self.log = log
        self.path = path
        self.topics = {}
        self.fallback = None  # handles a topic that is not in `topics`
        self.connections = set()
        self.dirty = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        if os.path.exists(path):
            os.unlink(path)
        self._listener.bind(path)
        os.chmod(path, 0o600)
        self._listener.listen(512)
        self._listen()

    def _listen(self):
        if self._listener.fileno() >= 0:
            self.loop.watch(self._listener.fileno(), loops.READ, self._accept)

    def _accept(self, mask):
        for _ in range(64):
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                # out of file descriptors: those who wait to be let in go on waiting
                self.log("broker", 3, f"cannot accept a connection: {error.strerror}")
                self.loop.watch(self._listener.fileno(), 0, None)
                self.loop.call_later(0.5, self._listen)
                return
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            uid = struct.unpack("3i", credentials)[1]
            if uid != os.getuid():
                self.log("broker", 4, f"refused a connection from uid {uid}: only the owner may connect")
                sock.close()
                continue
            self.connections.add(Connection(self, sock))

    def dispatch(self, request):
        handler = self.topics.get(request.topic, self.fallback)
        try:
            handler(request)
        except RequestError as error:
            request.error(error.errno, error.text)
        except Exception as error:
            request.error(errno.EIO, f"{request.topic}: {type(error).__name__}: {error}")
            self.loop.on_error(error)

    def flush(self):
        while self.dirty:
            self.dirty.pop().flush()

    def close(self):
        self.flush()
        for connection in list(self.connections):
            connection.close()
        self.loop.watch(self._listener.fileno(), 0, None)
        self._listener.close()
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
