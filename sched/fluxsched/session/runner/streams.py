# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The ends of pipes and sockets that a supervisor holds."""

import json
import os
import selectors

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE
CHUNK = 1 << 16
LINE_MAX = 1 << 16


class Stream:
    """One task's stdout or stderr: whole lines, in UTF-8 where they are."""

    def __init__(self, supervisor, fd, rank, name, sink):
        self.supervisor = supervisor
        self.fd = fd
        self.rank = rank
        self.name = name
        self.sink = sink
        self.buffer = b""
        self.paused = False

    def pause(self, sink):
        """Read no further until the sink has room."""
        if self.paused or self.fd < 0:
            return
        self.paused = True
        self.supervisor.selector.unregister(self.fd)
        sink.waiting.append(self.resume)

    def resume(self):
        """Go on reading."""
        if not self.paused:
            return
        self.paused = False
        self.supervisor.selector.register(self.fd, READ, self.ready)

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
        if self.supervisor.spec["unbuffered"] or len(self.buffer) > LINE_MAX:
            self.emit(len(self.buffer))
        else:
            self.emit(self.buffer.rfind(b"\n") + 1)

    def emit(self, length):
        if length:
            data, self.buffer = self.buffer[:length], self.buffer[length:]
            self.supervisor.output(self, data)

    def close(self):
        """The task's end is closed, and all is passed on."""
        if not self.paused:
            self.supervisor.selector.unregister(self.fd)
        self.paused = False
        os.close(self.fd)
        self.supervisor.streams.discard(self)


class Link:
    """A broker at the other end of a socket."""

    def __init__(self, supervisor, sock):
        self.supervisor = supervisor
        self.sock = sock
        self.inbuf = b""
        self.out = b""
        sock.setblocking(False)
        supervisor.links.append(self)
        supervisor.selector.register(sock, READ, self.ready)
        for entry in supervisor.events:
            self.send(entry)

    def send(self, entry):
        self.out += json.dumps(entry).encode() + b"\n"
        self.flush()

    def flush(self):
        if self not in self.supervisor.links:
            return
        try:
            while self.out:
                self.out = self.out[self.sock.send(self.out) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self.supervisor.selector.modify(self.sock, READ | (WRITE if self.out else 0), self.ready)

    def ready(self, mask):
        if mask & WRITE:
            self.flush()
        if mask & READ and self in self.supervisor.links:
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
                self.supervisor.command(self, json.loads(line))

    def close(self):
        if self in self.supervisor.links:
            self.supervisor.links.remove(self)
            self.supervisor.selector.unregister(self.sock)
            self.sock.close()

    def finish(self):
        """Send what is left, waiting for the broker if it is slow; what it misses it reads in the files."""
        try:
            self.sock.settimeout(10)
            self.sock.sendall(self.out)
        except OSError:
            return
