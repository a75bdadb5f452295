# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux job taskmap: which task of a job is on which of its nodes, and task maps in their other forms."""
from __future__ import annotations

from fluxsched.formats import idset
from fluxsched.formats import taskmap as maps
from fluxsched.formats.quote import printable
from fluxsched.session import jobid as ids
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.commands.common import Parser, whole
from fluxsched.session.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from fluxsched.session.commands.options import Options

FORMATS = ("raw", "pmi", "multiline", "hosts")


def parser() -> Parser:
    """The options of flux job taskmap."""
    p = Parser("job taskmap", description="Print the task map of a job (RFC 34), or another form of a task map.")
    p.add_argument("--taskids", metavar="NODEID", type=whole(), help="print the tasks on this node")
    p.add_argument("--ntasks", metavar="NODEID", type=whole(), help="print how many tasks are on this node")
    p.add_argument("--nodeid", metavar="TASKID", type=whole(), help="print the node that this task is on")
    p.add_argument("--hostname", metavar="TASKID", type=whole(), help="print the host that this task is on")
    p.add_argument("--to", metavar="FORMAT", choices=FORMATS, help="print raw, pmi, multiline or hosts")
    p.add_argument("map", metavar="JOBID|TASKMAP")
    return p


def taskmap(words: list[str]) -> int:
    """flux job taskmap"""
    o = parser().parse_args(words)
    asked = [name for name in ("taskids", "ntasks", "nodeid", "hostname", "to") if getattr(o, name) is not None]
    if len(asked) > 1:
        raise CommandError(f"--{asked[0]} and --{asked[1]} cannot be used together", 2)
    nodes, hosts = _read(o.map)
    for line in _lines(o, nodes, hosts):
        print(printable(line))
    return 0


def _read(text: str) -> tuple[list[int], Optional[list[str]]]:
    """The node of each task, and the hosts of a job's nodes (None of a map that is given).  Raises CommandError."""
    try:
        number = ids.stored(ids.parse(text))
    except ValueError as error:
        if text[:1] not in ("", "[", "{", "(", *"0123456789"):
            raise CommandError(f"taskmap: {error}") from None
        try:
            return maps.decode(text), None
        except maps.TaskmapError as error:
            raise CommandError(f"error decoding taskmap: {error}") from None
    client = Client()
    try:
        for answer in client.stream("job.watch", {"id": number, "output": False, "events": ["start"]}):
            if answer.get("event", {}).get("name") == "start":
                break
        found = client.rpc("job.taskmap", {"id": number})
    except RPCError as error:
        raise CommandError(f"Unable to get job taskmap: {error.text}") from None
    return maps.decode(found["map"]), found["hosts"]


def _lines(o: Options, nodes: list[int], hosts: Optional[list[str]]) -> list[str]:
    """What is asked for.  Raises CommandError."""
    by_node = maps.tasks_by_node(nodes)
    for name, number in (("taskids", o.taskids), ("ntasks", o.ntasks)):
        if number is not None and number >= len(by_node):
            raise CommandError(f"--{name}: expected a node from 0 to {len(by_node) - 1}, got {number}")
    for name, number in (("nodeid", o.nodeid), ("hostname", o.hostname)):
        if number is not None and number >= len(nodes):
            raise CommandError(f"--{name}: expected a task from 0 to {len(nodes) - 1}, got {number}")
    if hosts is None and (o.hostname is not None or o.to == "hosts"):
        raise CommandError(f"can't use --{'to=hosts' if o.to else 'hostname'} without a jobid")
    if o.taskids is not None:
        return [idset.encode(by_node[o.taskids])]
    if o.ntasks is not None:
        return [str(len(by_node[o.ntasks]))]
    if o.nodeid is not None:
        return [str(nodes[o.nodeid])]
    if o.hostname is not None:
        return [(hosts or [])[nodes[o.hostname]]]
    if o.to == "multiline":
        return [f"{task}: {node}" for task, node in enumerate(nodes)]
    if o.to == "hosts":
        return [f"{(hosts or [])[node]}: {idset.encode(tasks)}" for node, tasks in enumerate(by_node)]
    forms = {None: maps.to_json, "raw": maps.to_raw, "pmi": maps.to_pmi}
    return [forms[o.to](nodes)]
