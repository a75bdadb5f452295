# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux pstree: jobs, and the sessions that they run, as a tree."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

from fluxsched.formats.quote import printable
from fluxsched.session.commands import jobfields, target
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.commands.common import Parser, call, jobid, whole
from fluxsched.session.commands.outputformat import FormatError, OutputFormat
from fluxsched.session.errors import CommandError

BOXES = ("├── ", "└── ", "│   ", "    ")
COMPACT = ("├─", "└─", "│ ", "  ")
ASCII = ("|-- ", "`-- ", "|   ", "    ")
DETAILS = "{id.f58:>12} {username:<8.8} {status_abbrev:>2.2} {ntasks:>6} {nnodes:>6h} {runtime!F:>8h}"
RUNNING = ("RUN", "CLEANUP")


class Node(NamedTuple):
    """A job in the tree: its label, the details in front, and what is below it."""

    label: str
    details: str
    below: list[Node]


def parser() -> Parser:
    """The options of flux pstree."""
    p = Parser("pstree", description="Show jobs that run, and those in the sessions that they run, as a tree.")
    p.add_argument("-a", "--all", action="store_true", help="jobs in all states")
    p.add_argument("-c", "--count", metavar="N", type=whole(), default=1000, help="at most N jobs of a session (1000)")
    p.add_argument("-x", "--extended", action="store_true", help="details in front of the tree")
    p.add_argument("-l", "--long", action="store_true", help="do not cut lines at the width of the terminal")
    p.add_argument("-L", "--level", metavar="N", type=whole(), default=target.DEEPEST, help="only N sessions deep")
    p.add_argument("-p", "--parent-ids", action="store_true", help="show the ids of jobs with a session")
    p.add_argument("-n", "--no-header", action="store_true", help="no header line above details")
    p.add_argument("-X", "--no-combine", action="store_true", help="a line for each job, also for jobs that look alike")
    p.add_argument("-o", "--label", metavar="FORMAT", help="how to show a job (default: {name})")
    p.add_argument("-C", "--compact", action="store_true", help="narrow lines between jobs")
    p.add_argument("--ascii", action="store_true", help="lines between jobs in ASCII")
    p.add_argument("--skip-root", action="store_true", help="leave the session itself out")
    p.add_argument("jobids", metavar="JOBID", nargs="*", type=jobid, help="only these jobs")
    return p


class Walk:
    """Reads the tree below a session."""

    def __init__(self, o: Any) -> None:
        """Raises CommandError for a format that is none."""
        self.o = o
        self.label = self._format(o.label or ("{name}:{status_abbrev}" if o.all else "{name}"))
        self.parent = self._format(("{id.f58} " if o.parent_ids else "") + (o.label or "{name}"))
        self.details = self._format(DETAILS)

    @staticmethod
    def _format(text: str) -> OutputFormat:
        try:
            return OutputFormat(text, jobfields.heading, jobfields.value)
        except FormatError as error:
            raise CommandError(f"ERROR: --label: {error}") from None

    def _shown(self, layout: OutputFormat, job: dict[str, Any]) -> str:
        try:
            return next(iter(layout.lines([job], header=False)))
        except FormatError as error:
            raise CommandError(f"ERROR: --label: {error}") from None

    def below(self, client: Client, level: int) -> list[Node]:
        """The jobs of a session."""
        ids_wanted = self.o.jobids if level == 0 else []
        if ids_wanted:
            found = call(client.rpc, "job.list", {"ids": ids_wanted})["jobs"]
        else:
            found = call(client.rpc, "job.list", {"inactive": self.o.all, "count": self.o.count})["jobs"]
        if not self.o.all and not ids_wanted:
            found = [job for job in found if job["state"] in RUNNING]
        return [self._node(job, level) for job in found]

    def _node(self, job: dict[str, Any], level: int) -> Node:
        uri = target.uri_of(job)
        below: list[Node] = []
        if uri is not None and level < self.o.level:
            try:
                client = Client(uri)
                below = self.below(client, level + 1)
                client.close()
            except (CommandError, RPCError):
                pass  # it is just ending
        layout = self.label if uri is None else self.parent
        return Node(self._shown(layout, job), self._shown(self.details, job), below)


def main(name: str, words: list[str]) -> int:
    """flux pstree; the exit code."""
    o = parser().parse_args(words)
    if o.ascii and o.compact:
        raise CommandError("ERROR: --ascii and --compact cannot be used together")
    walk = Walk(o)
    children = walk.below(Client(), 0)
    style = ASCII if o.ascii or not _unicode() else COMPACT if o.compact else BOXES
    if o.skip_root or o.jobids or o.extended:
        combined = _combined(children, not (o.no_combine or o.extended))
        lines = [line for node in combined for line in _lines(node, "", "", style, o)]
    else:
        lines = list(_lines(Node(".", "", children), "", "", style, o))
    if o.extended and not o.no_header:
        print(next(iter(walk.details.lines([], header=True))))
    width = sys.maxsize if o.long else _columns()
    for details, text in lines:
        line = printable(f"{details} {text}" if o.extended else text)
        print(line if len(line) <= width else line[: width - 1] + "+")
    return 0


def _combined(nodes: list[Node], wanted: bool) -> list[Node]:
    """Neighbours that look alike and have nothing below become one, as in 3*[sleep]."""
    found: list[Node] = []
    for (label, leaf), group in groupby(nodes, key=lambda node: (node.label, not node.below)):
        members = list(group)
        if wanted and leaf and len(members) > 1:
            found.append(Node(f"{len(members)}*[{label}]", members[0].details, []))
        else:
            found += members
    return found


def _lines(node: Node, head: str, indent: str, style: tuple[str, ...], o: Any) -> Iterator[tuple[str, str]]:
    """(details, line) of a job and of all below it."""
    tee, last, bar, gap = style
    yield node.details, head + node.label
    below = _combined(node.below, not (o.no_combine or o.extended))
    for i, child in enumerate(below):
        end = i == len(below) - 1
        yield from _lines(child, indent + (last if end else tee), indent + (gap if end else bar), style, o)


def _unicode() -> bool:
    return (sys.stdout.encoding or "ascii").lower().replace("-", "") == "utf8"


def _columns() -> int:
    """The width of the terminal; without one lines are whole."""
    try:
        return os.get_terminal_size().columns
    except OSError:
        return sys.maxsize
