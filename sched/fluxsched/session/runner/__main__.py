# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The nursery: forks a shepherd for each launch, so that a job costs a fork and not the start of an interpreter.

Run as ``python -S -E runner FD``; launches come through the socket FD.
"""

import json
import os
import signal
import socket
import struct
import sys

from shepherd import Shepherd


def nursery(fd):
    """Fork a shepherd for each launch: 4 bytes of length with the job's socket as ancillary data, then JSON."""
    control = socket.socket(fileno=fd)
    control.set_inheritable(False)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    quiet = (signal.SIGINT, signal.SIGHUP, signal.SIGTSTP, signal.SIGQUIT, signal.SIGTERM, signal.SIGXFSZ)
    for number in quiet:
        signal.signal(number, signal.SIG_IGN)
    while True:
        head, ancillary, _, _ = control.recvmsg(4, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        if len(head) < 4 or not ancillary:
            return
        link = socket.socket(fileno=struct.unpack("i", ancillary[0][2][:4])[0])
        left = struct.unpack("!I", head)[0]
        parts = []
        while left:
            part = control.recv(min(left, 1 << 20))
            if not part:
                return
            parts.append(part)
            left -= len(part)
        try:
            pid = os.fork()
        except OSError as error:
            report(link, error)
            link.close()
            continue
        if pid:
            link.close()
            continue
        control.close()
        for number in (signal.SIGCHLD, signal.SIGTSTP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        try:
            Shepherd(json.loads(b"".join(parts)), link).run()
        except BaseException as error:
            report(link, error)
            os._exit(1)
        os._exit(0)


def report(link, error):
    """Tell the broker that there is no shepherd, or no longer."""
    try:
        link.setblocking(True)
        link.send(json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode() + b"\n")
    except OSError:
        return


if __name__ == "__main__":
    nursery(int(sys.argv[1]))
