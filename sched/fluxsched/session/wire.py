# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Messages on the session's sockets: one JSON object per line, at both ends of each.

:func:`encode` and :func:`decode` turn a message into a line and back, :class:`Lines` cuts received bytes into lines,
and :class:`Channel` is an end that never blocks, for programs with an event loop.  A program that waits for its
answers uses the first three with a socket of its own.

Text that is not UTF-8 (a file name, a word of a command line) travels as Python holds it, with surrogates for the bytes
that are no UTF-8; JSON writes them as escapes.

Only the standard library is used here, and of that what is in C, so that commands and the runner of jobs start fast.
"""

from __future__ import annotations

from fluxsched.errors import FluxSchedError
from fluxsched.native import deque, encode_basestring_ascii, json_encoder, json_scanner
from fluxsched.session.watcher import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, Callable, Optional

    #: Watches a descriptor: (fd, READ and WRITE or both, function of the mask); 0 ends it, as does None.
    Watch = Callable[[int, int, Optional[Callable[[int], Any]]], None]

LINE_MAX = 64 << 20  # bytes of one message
UNSENT_MAX = 256 << 20  # bytes; an end that does not read is given up beyond this many
LOW_WATER = 1 << 20  # bytes; an end has room again when less than this is unsent
CHUNK = 1 << 18  # bytes of one read
READY = "ready"  # a file in a job's folder: the nested session that is its task takes signals
MARK = "embedded"  # a file beside the socket of a session; a Flux instance has none

class WireError(FluxSchedError, ValueError):
    """Bytes that are no message."""


def _refuse_constant(name: str) -> None:
    raise WireError(f"{name} is no JSON")


def _refuse_value(value: object) -> None:
    raise TypeError(f"{type(value).__name__} is no value of JSON")


def _nobody(what: object) -> None:
    """Who hears of a channel after it was closed."""


class _Reading:
    """What the scanner of JSON is told."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse_constant)


_ENCODER = json_encoder(None, _refuse_value, encode_basestring_ascii, None, ":", ",", False, False, True)
_SCANNER = json_scanner(_Reading())
_SPACE = " \t\n\r"


def encode(message: dict) -> bytes:
    """The line of a message, ASCII with its line end."""
    return "".join(_ENCODER(message, 0)).encode("ascii") + b"\n"


def decode(line: bytes) -> dict:
    """The message of a line.  WireError if it is no JSON object, or nested too deeply to be read."""
    try:
        text = line.decode("utf-8", "surrogatepass").strip(_SPACE)
        message, end = _SCANNER(text, 0)
    except RecursionError:
        raise WireError("nested too deeply") from None
    except StopIteration:
        raise WireError("expected a value of JSON") from None
    except ValueError as error:
        raise WireError(str(error)) from None
    if end < len(text):
        raise WireError(f"more than a value of JSON: at character {end}")
    if not isinstance(message, dict):
        raise WireError("expected an object")
    return message


class Lines:
    """Cuts received bytes into lines of at most `limit` bytes."""

    def __init__(self, limit: int = LINE_MAX) -> None:
        self.limit = limit
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their ends.  WireError if one is longer than the limit."""
        self._rest += data
        if b"\n" not in data:
            if len(self._rest) > self.limit:
                raise WireError(f"a line of more than {self.limit} bytes")
            return []
        lines = bytes(self._rest).split(b"\n")
        self._rest = bytearray(lines.pop())
        if max(map(len, lines)) > self.limit or len(self._rest) > self.limit:
            raise WireError(f"a line of more than {self.limit} bytes")
        return lines


class Channel:
    """One end of a connected stream socket, which it owns, that never blocks.

    `watch` is the event loop's (see :data:`Watch`).  `on_message(message)` gets each message; `on_close(reason)` is
    called once when the other end has gone (reason None), has sent what is no message, or does not read (a sentence).
    Neither is called after :meth:`close`.  `encode` turns a message into its line.
    """

    def __init__(
        self,
        sock: socket.socket,
        watch: Watch,
        on_message: Callable[[dict], Any],
        on_close: Callable[[str | None], Any],
        limit: int = LINE_MAX,
        encode: Callable[[dict], bytes] = encode,
    ) -> None:
        self.sock = sock
        self.closed = False
        self.unsent = 0  # bytes
        self._watch = watch
        self._encode = encode
        self._on_message = on_message
        self._on_close = on_close
        self._lines = Lines(limit)
        self._out: deque[bytes] = deque()  # messages
        self._piece = b""  # what of those that may go was begun
        self._free = 0  # how many of the messages may go
        self.queued = 0  # messages since the beginning
        self._room: list[Callable[[], Any]] = []
        self._mask = READ
        sock.setblocking(False)
        watch(sock.fileno(), READ, self._ready)

    def queue(self, message: dict) -> None:
        """Take a message to be sent after the next :meth:`flush`; nothing after the end was closed."""
        if not self.closed:
            self.queue_line(self._encode(message))

    def queue_line(self, data: bytes) -> None:
        """As :meth:`queue`, of a message that is its line already."""
        if self.closed:
            return
        self._out.append(data)
        self.queued += 1
        self.unsent += len(data)
        if self.unsent > UNSENT_MAX:
            self._end(f"{self.unsent} bytes are unread at the other end")

    def send(self, message: dict) -> None:
        """Take a message and send as much as the socket takes now; the rest follows."""
        self.queue(message)
        self.flush()

    def flush(self, count: int | None = None) -> None:
        """Let messages go, all or the first `count` since the beginning, and send what the socket takes."""
        if self.closed:
            return
        later = 0 if count is None else max(0, self.queued - count)
        self._free = max(self._free, len(self._out) - later)
        try:
            while self._piece or self._free:
                if not self._piece:
                    self._piece = self._take()
                sent = self.sock.send(self._piece)
                self.unsent -= sent
                self._piece = self._piece[sent:]
                if self._piece:
                    break
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            # What the other end has sent before it went is still to be read; reading then finds its end.
            self._drop()
        mask = READ | (WRITE if self._piece or self._free else 0)
        if mask != self._mask:
            self._mask = mask
            self._watch(self.sock.fileno(), mask, self._ready)
        if self._room and self.unsent < LOW_WATER:
            waiting, self._room = self._room, []
            for callback in waiting:
                callback()

    def _take(self) -> bytes:
        """The messages that may go, or as many as one call is to send."""
        taken = [self._out.popleft()]
        self._free -= 1
        size = len(taken[0])
        while self._free and size < CHUNK:
            size += len(self._out[0])
            taken.append(self._out.popleft())
            self._free -= 1
        return b"".join(taken)

    def _drop(self) -> None:
        self._out.clear()
        self._piece = b""
        self._free = self.unsent = 0

    def when_room(self, callback: Callable[[], Any]) -> bool:
        """Whether there is room now; if not, `callback()` is called once when there is."""
        if self.unsent < LOW_WATER:
            return True
        self._room.append(callback)
        return False

    def drain(self, seconds: float) -> bool:
        """Send all, waiting at most `seconds` for the other end to read; whether that was done."""
        if self.closed:
            return False
        try:
            self.sock.settimeout(seconds)
            self.sock.sendall(b"".join([self._piece, *self._out]))
        except OSError:
            return False
        finally:
            self.sock.setblocking(False)
        self._drop()
        return True

    def _ready(self, mask: int) -> None:
        if mask & WRITE:
            self.flush(0)
        if not mask & READ or self.closed:
            return
        try:
            data = self.sock.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._end(None)
            return
        try:
            lines = self._lines.feed(data)
        except WireError as error:
            self._end(str(error))
            return
        for line in lines:
            if self.closed:
                return  # by the handler of the message before
            try:
                message = decode(line)
            except WireError as error:
                self._end(str(error))
                return
            self._on_message(message)

    def _end(self, reason: str | None) -> None:
        if not self.closed:
            on_close = self._on_close
            self.close()
            on_close(reason)

    def close(self) -> None:
        """Close the socket, with what is unsent."""
        if self.closed:
            return
        self.closed = True
        self._watch(self.sock.fileno(), 0, None)
        self.sock.close()
        self._drop()
        self._room.clear()
        self._on_message = self._on_close = _nobody  # most are methods of who owns this: a ring
