# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A command's side of the broker's socket."""

import json
import os
import socket

from fluxsched.session.errors import CommandError

ENODATA = 61


class RPCError(Exception):
    """The broker's refusal: errno and text."""

    def __init__(self, errnum, text):
        super().__init__(text)
        self.errno = errnum
        self.text = text


def parse_uri(uri):
    """(socket path, rank) of "local:///tmp/flux-x/local-R"."""
    if not uri.startswith("local://"):
        raise CommandError(f"FLUX_URI: {uri!r}: expected local://PATH")
    path = uri[len("local://") :]
    base = os.path.basename(path)
    digits = base[len("local-") :]
    if not base.startswith("local-") or not (digits.isascii() and digits.isdigit()):
        raise CommandError(f"FLUX_URI: {uri!r}: expected a name that ends in local-RANK")
    return os.path.join(os.path.dirname(path), "local-0"), int(digits)


class Client:
    def __init__(self, uri=None):
        uri = uri or os.environ.get("FLUX_URI")
        if not uri:
            raise CommandError("no session here: FLUX_URI is not set (open one with: flux start)")
        path, self.rank = parse_uri(uri)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.connect(path)
        except OSError as error:
            raise CommandError(f"cannot reach the session at {path}: {error.strerror or error}") from None
        self._buffer = bytearray()
        self._lines = []
        self._next = 0

    def fileno(self):
        return self.sock.fileno()

    def send(self, topic, payload=None):
        """Send a request; returns the id of its answers."""
        self._next += 1
        message = {"id": self._next, "topic": topic, "payload": payload or {}}
        if self.rank:
            message["rank"] = self.rank
        try:
            self.sock.sendall(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        except OSError:
            raise CommandError("lost the connection to the session") from None
        return self._next

    def _fill(self):
        try:
            data = self.sock.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            raise CommandError("lost the connection to the session")
        self._buffer += data
        if b"\n" in data:
            lines = bytes(self._buffer).split(b"\n")
            self._buffer = bytearray(lines.pop())
            self._lines.extend(lines)

    def arrived(self):
        """What one read brings, for callers that wait on the descriptor: a list as from :meth:`receive`."""
        if not self._lines:
            self._fill()
        return [self.receive() for _ in range(len(self._lines))]

    def receive(self):
        """Next answer, whatever its request: (id, payload, RPCError or None)."""
        while not self._lines:
            self._fill()
        message = json.loads(self._lines.pop(0))
        if "errnum" in message:
            return message["id"], None, RPCError(message["errnum"], message["error"])
        return message["id"], message["payload"], None

    def rpc(self, topic, payload=None):
        """The one answer of a request; raises RPCError."""
        number = self.send(topic, payload)
        while True:
            got, answer, error = self.receive()
            if got == number:
                if error is not None:
                    raise error
                return answer

    def stream(self, topic, payload=None):
        """The answers of a streaming request, until it ends; raises RPCError."""
        number = self.send(topic, payload)
        while True:
            got, answer, error = self.receive()
            if got != number:
                continue
            if error is not None:
                if error.errno == ENODATA:
                    return
                raise error
            yield answer

    def close(self):
        self.sock.close()
