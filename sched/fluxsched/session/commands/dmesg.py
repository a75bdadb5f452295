# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux dmesg: the session's log."""
from __future__ import annotations

import datetime
import json
import sys
import time
from typing import Any, Callable

from fluxsched.formats.quote import printable
from fluxsched.session.commands.client import Client
from fluxsched.session.commands.common import Parser, call


def _text(entry: dict[str, Any]) -> str:
    return printable(f"{entry['name']}: {entry['text']}")


class Human:
    """Lines as dmesg -H shows them: the minute once, then the seconds since it."""

    def __init__(self, delta: bool):
        self.delta = delta
        self.minute = ""
        self.since = 0.0
        self.last = 0.0

    def __call__(self, entry: dict[str, Any]) -> str:
        """The text of a line of the log, whose predecessor was the last one asked for."""
        t = entry["t"]
        minute = time.strftime("%b%d %H:%M", time.localtime(t))
        if minute != self.minute:
            stamp = f"[{minute}]"
            self.minute, self.since = minute, t
        else:
            stamp = f"[{t - (self.last if self.delta else self.since):+11.6f}]"
        self.last = t
        return f"{stamp} {_text(entry)}"


def plain(entry: dict[str, Any]) -> str:
    """A line with the whole time."""
    when = datetime.datetime.fromtimestamp(entry["t"], datetime.timezone.utc)
    return f"{when:%Y-%m-%dT%H:%M:%S.%f}Z {_text(entry)}"


def main(name: str, words: list[str]) -> int:
    """flux dmesg; the exit code."""
    p = Parser(name, description="Show or clear the log of the session, a ring buffer of lines.")
    p.add_argument("-C", "--clear", action="store_true", help="clear the ring buffer")
    p.add_argument("-c", "--read-clear", action="store_true", help="clear the ring buffer after printing it")
    p.add_argument("-f", "--follow", action="store_true", help="go on with new lines as they come")
    p.add_argument("-n", "--new", action="store_true", help="only new lines (implies --follow)")
    p.add_argument("-H", "--human", action="store_true", help="readable time stamps")
    p.add_argument("-d", "--delta", action="store_true", help="with --human, time since the line before")
    p.add_argument("--json", action="store_true", help="JSON, an object a line")
    options = p.parse_args(words)
    client = Client()
    if options.clear:
        call(client.rpc, "log.clear")
        return 0
    show: Callable[[dict[str, Any]], str] = Human(options.delta) if options.human else plain
    if options.json:
        show = json.dumps
    payload = {"follow": options.follow or options.new, "new": options.new}
    for answer in client.stream("log.read", payload):
        for entry in answer["entries"]:
            print(show(entry))
        sys.stdout.flush()
    if options.read_clear:
        call(client.rpc, "log.clear")
    return 0
