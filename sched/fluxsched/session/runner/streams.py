# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The ends of pipes and sockets that a shepherd holds."""

import json
import os
import selectors

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE
CHUNK = 1 << 16
LINE_MAX = 1 << 16


class Stream:
    """One task's stdout or stderr: whole lines, in UTF-8 where they are."""

    def __init__(self, shepherd, fd, rank, name, sink):
        self.shepherd = shepherd
        self.fd = fd
        self.rank = rank
        self.name = name
        self.sink = sink
        self.buffer = b""

    def ready(self, mask):
        try:
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.emit(len(self.buffer))
            self.close()
            return
        self.buffer += data
        if self.shepherd.spec["unbuffered"] or len(self.buffer) > LINE_MAX:
            self.emit(len(self.buffer))
        else:
            self.emit(self.buffer.rfind(b"\n") + 1)

    def emit(self, length):
        if length:
            data, self.buffer = self.buffer[:length], self.buffer[length:]
            self.shepherd.output(self, data)

    def close(self):
        self.shepherd.selector.unregister(self.fd)
        os.close(self.fd)
        self.shepherd.streams.discard(self)


class Link:
    """A broker at the other end of a socket."""

    def __init__(self, shepherd, sock):
        self.shepherd = shepherd
        self.sock = sock
        self.inbuf = b""
        self.out = b""
        sock.setblocking(False)
        shepherd.links.append(self)
        shepherd.selector.register(sock, READ, self.ready)
        for entry in shepherd.events:
            self.send(entry)

    def send(self, entry):
        self.out += json.dumps(entry).encode() + b"\n"
        self.flush()

    def flush(self):
        if self not in self.shepherd.links:
            return
        try:
            while self.out:
                self.out = self.out[self.sock.send(self.out) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self.shepherd.selector.modify(self.sock, READ | (WRITE if self.out else 0), self.ready)

    def ready(self, mask):
        if mask & WRITE:
            self.flush()
        if mask & READ and self in self.shepherd.links:
            try:
                data = self.sock.recv(CHUNK * 2)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            lines = (self.inbuf + data).split(b"\n")
            self.inbuf = lines.pop()
            for line in lines:
                self.shepherd.command(self, json.loads(line))

    def close(self):
        if self in self.shepherd.links:
            self.shepherd.links.remove(self)
            self.shepherd.selector.unregister(self.sock)
            self.sock.close()

    def finish(self):
        """Send what is left, waiting for the broker if it is slow; what it misses it reads in the files."""
        try:
            self.sock.settimeout(10)
            self.sock.sendall(self.out)
        except OSError:
            return
