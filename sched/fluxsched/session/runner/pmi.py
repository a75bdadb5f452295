# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A PMI-1 server for the tasks of one job, by which MPI programs find each other (RFC 13).

Each task has one end of a socket, whose number is in PMI_FD. A request is a line, `cmd=put kvsname=N key=K value=V`,
and the task waits for its answer, another line. What tasks put is visible to all at once. A barrier ends when all tasks
are in it.

A task is whatever a user runs, so nothing that it sends is trusted: a line that is not of the protocol, or too long,
ends the job with a reason. So does a barrier that can never end because a task has closed its socket. A task that
lives and does not enter is waited for, as long as the job may run; for one that has exited, see :mod:`exits`.
"""

from __future__ import annotations

import functools
import os
import socket
from typing import TYPE_CHECKING, Callable, Optional

from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import quote
from fluxsched.session.wire import READ

if TYPE_CHECKING:
    from fluxsched.session.wire import Watch

NAME_MAX, KEY_MAX, VALUE_MAX = 64, 64, 1024  # bytes, with the zero that ends them in C
LINE_MAX = 4096  # bytes; more than three such words and a command need
STORE_MAX = 64 << 20  # bytes of keys and values of one job
CHUNK = 1 << 16  # bytes of one read
MAPPING = b"PMI_process_mapping"

# Results, by the numbers of PMI-1's pmi.h.
OK, FAIL, INVALID_KEY, INVALID_KEY_LENGTH, INVALID_VALUE_LENGTH, INVALID_LENGTH = 0, -1, 4, 5, 7, 8
#: Fields that take the rest of a line, blanks and all.
TEXTS = (b"value", b"error_msg")
NOT_SERVED = {
    b"publish_name": b"publish_result",
    b"unpublish_name": b"unpublish_result",
    b"lookup_name": b"lookup_result",
}


class ProtocolError(FluxSchedError):
    """A line that is not of the protocol; the text says what was expected."""


def fields(line: bytes) -> dict[bytes, bytes]:
    """The NAME=VALUE words of a line.  Raises ProtocolError."""
    found: dict[bytes, bytes] = {}
    rest = line.lstrip(b" ")
    while rest:
        name, equals, value = rest.partition(b"=")
        if not equals or not name or not name.isascii() or b" " in name:
            raise ProtocolError(f"expected words NAME=VALUE, got {_show(line)}")
        if name in TEXTS:
            found[name] = value
            break
        found[name], _, rest = value.partition(b" ")
        rest = rest.lstrip(b" ")
    return found


def _show(text: bytes) -> str:
    return quote(text.decode(errors="replace"))


class Client:
    """One task's connection; `rank` is the task's."""

    def __init__(self, rank: int, sock: socket.socket) -> None:
        self.rank = rank
        self.sock = sock
        self.received = b""  # of a line that is not whole yet
        self.open = True
        self.waiting = False  # in the barrier
        self.spawning = False  # between mcmd=spawn and endcmd


class Server:
    """The key-value space and the barrier of one job."""

    def __init__(self, watch: Watch, size: int, name: str, mapping: str, fail: Callable[[str, int], None]) -> None:
        """`watch` calls us when a socket can be read; `size` is the number of tasks; `name` is that of the key-value
        space; `mapping` says which tasks share a node. `fail(reason, exit code)` ends the job."""
        self._watch = watch
        self._size = size
        self._fail = fail
        self._clients: dict[int, Client] = {}
        self._gone: list[int] = []  # ranks of tasks that can enter no barrier any more
        self._waiting = 0  # tasks in the barrier
        self._store: dict[bytes, bytes] = {}
        self._stored = 0  # bytes
        self._over = False
        if len(mapping) < VALUE_MAX:
            self._store[MAPPING] = mapping.encode()  # without it tasks take it that none share a node
        self._commands: dict[bytes, Callable[[Client, dict[bytes, bytes]], Optional[str]]] = {
            b"init": self._init,
            b"get_maxes": lambda c, f: f"maxes rc=0 kvsname_max={NAME_MAX} keylen_max={KEY_MAX} vallen_max={VALUE_MAX}",
            b"get_appnum": lambda c, f: "appnum rc=0 appnum=0",
            b"get_my_kvsname": lambda c, f: f"my_kvsname rc=0 kvsname={name}",
            b"get_universe_size": lambda c, f: f"universe_size rc=0 size={size}",
            b"put": self._put,
            b"get": self._get,
            b"barrier_in": self._barrier_in,
            # The task may run another program, which begins with init.
            b"finalize": lambda c, f: "finalize_ack rc=0",
            b"abort": self._abort,
        }

    def connect(self, rank: int) -> socket.socket:
        """The end of a new connection that task `rank` is to have.  Raises OSError."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        client = self._clients[rank] = Client(rank, ours)
        self._watch(ours.fileno(), READ, lambda mask: self._readable(client))
        return theirs

    def close(self) -> None:
        """End all connections."""
        self._over = True
        for client in self._clients.values():
            self._disconnect(client)

    def _disconnect(self, client: Client) -> None:
        if client.open:
            client.open = False
            self._watch(client.sock.fileno(), 0, None)
            client.sock.close()

    def _readable(self, client: Client) -> None:
        try:
            data = client.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            lines = (client.received + data).split(b"\n")
            client.received = lines.pop()
            for line in lines:
                if client.open:
                    self._line(client, line)
            if len(client.received) > LINE_MAX and client.open:
                self._refuse(client, f"expected lines of at most {LINE_MAX} bytes")
            return
        if client.received:
            self._refuse(client, "closed its connection in the middle of a line")
        self._disconnect(client)
        self._gone.append(client.rank)
        self._check_barrier()

    def _refuse(self, client: Client, text: str, code: int = 1) -> None:
        """End the job for what a task has sent."""
        if not self._over:
            self.close()
            self._fail(f"task {client.rank}: PMI: {text}", code)

    def _line(self, client: Client, line: bytes) -> None:
        if client.spawning:
            if line.strip() == b"endcmd":
                client.spawning = False
                self._answer(client, f"spawn_result rc={FAIL}")
            elif len(line) > LINE_MAX:
                self._refuse(client, f"expected lines of at most {LINE_MAX} bytes")
            return
        try:
            if len(line) > LINE_MAX:
                raise ProtocolError(f"expected lines of at most {LINE_MAX} bytes, got {len(line)}")
            found = fields(line)
            if found.get(b"mcmd") == b"spawn":
                client.spawning = True
                return
            command = found.get(b"cmd", b"")
            if command in NOT_SERVED:
                answer: Optional[str] = f"{NOT_SERVED[command].decode()} rc={FAIL} msg=not_served"
            elif command in self._commands:
                answer = self._commands[command](client, found)
            else:
                raise ProtocolError(f"expected cmd=COMMAND, got {_show(line)}")
        except ProtocolError as error:
            self._refuse(client, str(error))
            return
        if answer is not None:
            self._answer(client, answer)

    def _answer(self, client: Client, text: str | bytes) -> None:
        """Send an answer.  A task reads each before it asks again, so there is room."""
        if not client.open:
            return
        data = b"cmd=" + (text.encode() if isinstance(text, str) else text) + b"\n"
        try:
            sent = client.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # it has gone, which its socket tells
        if sent < len(data):
            self._refuse(client, "does not read its answers")

    # commands

    def _init(self, client: Client, found: dict[bytes, bytes]) -> str:
        versions = found.get(b"pmi_version"), found.get(b"pmi_subversion")
        if not all(number is not None and number.isdigit() and len(number) < 10 for number in versions):
            raise ProtocolError("init: expected pmi_version and pmi_subversion, two whole numbers")
        rc = OK if int(versions[0] or 0) == 1 and int(versions[1] or 0) >= 1 else FAIL
        return f"response_to_init rc={rc} pmi_version=1 pmi_subversion=1"

    def _word(self, found: dict[bytes, bytes], command: str, name: bytes, most: int) -> tuple[bytes, bool]:
        """A field of a request, and whether it is short enough."""
        if name not in found:
            raise ProtocolError(f"{command}: expected {name.decode()}=")
        return found[name], len(found[name]) < most

    def _put(self, client: Client, found: dict[bytes, bytes]) -> str:
        _, named = self._word(found, "put", b"kvsname", NAME_MAX)
        key, short = self._word(found, "put", b"key", KEY_MAX)
        value, fits = self._word(found, "put", b"value", VALUE_MAX)
        rc = OK
        if not named:
            rc = INVALID_LENGTH
        elif not short or not key:
            rc = INVALID_KEY_LENGTH
        elif not fits:
            rc = INVALID_VALUE_LENGTH
        else:
            self._stored += len(key) + len(value)
            if self._stored > STORE_MAX:
                raise ProtocolError(f"put: the job has put more than {STORE_MAX} bytes")
            self._store[key] = value
        return f"put_result rc={rc}"

    def _get(self, client: Client, found: dict[bytes, bytes]) -> None:
        _, named = self._word(found, "get", b"kvsname", NAME_MAX)
        key, short = self._word(found, "get", b"key", KEY_MAX)
        if not named:
            self._answer(client, f"get_result rc={INVALID_LENGTH}")
        elif not short:
            self._answer(client, f"get_result rc={INVALID_KEY_LENGTH}")
        elif key not in self._store:
            self._answer(client, f"get_result rc={INVALID_KEY}")
        else:
            self._answer(client, b"get_result rc=0 value=" + self._store[key])

    def _barrier_in(self, client: Client, found: dict[bytes, bytes]) -> None:
        if client.waiting:
            raise ProtocolError("barrier_in: is in the barrier already")
        client.waiting = True
        self._waiting += 1
        if self._waiting < self._size:
            self._check_barrier()
            return
        self._waiting = 0
        for other in self._clients.values():
            other.waiting = False
        for other in list(self._clients.values()):
            self._answer(other, "barrier_out rc=0")

    def _check_barrier(self) -> None:
        """End the job if there is a barrier that a task which has gone is not in."""
        absent = [rank for rank in self._gone if not self._clients[rank].waiting]
        if self._waiting and absent:
            text = f"closed its connection, and enters no barrier in which {self._waiting} of {self._size} tasks wait"
            self._refuse(self._clients[absent[0]], text)

    def _abort(self, client: Client, found: dict[bytes, bytes]) -> None:
        text = found.get(b"exitcode", found.get(b"exit_code", b""))
        code = int(text) & 0xFF if text.isdigit() and len(text) < 12 else 1
        message = found.get(b"error_msg")
        self._refuse(client, "PMI_Abort" + (f": {_show(message)}" if message else ""), code or 1)


def environment(descriptor: int, rank: int, size: int) -> dict[str, str]:
    """The variables by which a task finds its server: the number of its descriptor, its rank, the number of tasks."""
    return {"PMI_FD": str(descriptor), "PMI_RANK": str(rank), "PMI_SIZE": str(size)}


@functools.cache
def library() -> Optional[str]:
    """The file of the library libpmi.so for programs that call PMI-1 instead of writing lines, or None without one."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libpmi.so")
    return path if os.path.exists(path) else None
