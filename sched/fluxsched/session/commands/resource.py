# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux resource: list, status, drain, undrain."""
from __future__ import annotations

import errno
import json
import time
from typing import Any, Callable

from fluxsched.formats import hostlist, idset
from fluxsched.formats.quote import printable
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.commands.common import Parser, call, json_option, print_json, subcommands
from fluxsched.session.commands.options import Options
from fluxsched.session.errors import CommandError
from fluxsched.session.rset import Row, held, without

HINT = """\
   list            list resources and who has them
   status          list which nodes are available, and which are drained
   drain           keep jobs off nodes; without nodes, list those that are drained
   undrain         let jobs on nodes again
   R               print the resources as an R object"""


def main(name: str, words: list[str]) -> int:
    """flux resource and flux queue; the exit code."""
    table = {"list": list_, "status": status, "drain": drain, "undrain": undrain, "R": print_R}
    return subcommands(name, words, table, HINT)


def _row(rows: list[Row], memory: str = "") -> str:
    hosts = hostlist.encode([row[1] for row in rows])
    cores, gpus = sum(len(row[2]) for row in rows), sum(len(row[3]) for row in rows)
    return printable(f"{len(rows):>6} {cores:>6} {gpus:>5} {memory}{hosts}".rstrip())


def _memory(known: list[list[int]], state: str, rows: list[Row]) -> str:
    """The column of memory, MB: what is left or held on ranks, or all of it.  `known`: as resource.status answers."""
    ranks = {row[0] for row in rows}
    parts = {"free": lambda total, taken: total - taken, "allocated": lambda total, taken: taken}
    part = parts.get(state, lambda total, taken: total)
    return f"{sum(part(total, taken) for rank, total, taken in known if rank in ranks):>8} "


def _counts(rows: list[Row]) -> dict[str, Any]:
    """What a line of the list says."""
    cores, gpus = sum(len(row[2]) for row in rows), sum(len(row[3]) for row in rows)
    hosts = hostlist.encode([row[1] for row in rows])
    ranks = idset.encode(sorted(row[0] for row in rows))
    return {"nnodes": len(rows), "ncores": cores, "ngpus": gpus, "nodelist": hosts, "ranks": ranks}


def list_(words: list[str]) -> int:
    """flux resource list"""
    p = Parser("resource list", description="List resources by state.")
    p.add_argument("-s", "--states", metavar="STATE,...", default="free,allocated,down", help="only these states")
    p.add_argument("-n", "--no-header", action="store_true", help="no header line")
    p.add_argument("-m", "--memory", action="store_true", help="a column of memory, in MB")
    p.add_argument("-i", "--include", metavar="TARGETS", help="only these hosts or ranks")
    json_option(p)
    o = p.parse_args(words)
    client = Client()
    try:
        found = client.rpc("sched.resource-status")
        rows = {key: held(found[key]) for key in ("all", "allocated", "down")}
    except RPCError:
        # Without a scheduler, all is free but what jobs hold and what is drained.
        found = call(client.rpc, "resource.status")
        everything = held(found["R"])
        drained = {entry["rank"] for entry in found["drain"]}
        rows = {
            "all": everything,
            "allocated": [row for row in everything if row[0] in set(found["busy"])],
            "down": [row for row in everything if row[0] in drained],
        }
    down = {row[0] for row in rows["down"]}
    rows["free"] = [row for row in without(rows["all"], rows["allocated"]) if row[0] not in down]
    states = o.states.split(",")
    bad = [state for state in states if state not in rows]
    if bad:
        raise CommandError(f"ERROR: Invalid resource state {bad[0]} specified")
    if o.include:
        keep = _included(o.include)
        rows = {key: [row for row in value if keep(row)] for key, value in rows.items()}
    if o.json:
        print_json({state: _counts(rows[state]) for state in states})
        return 0
    if not o.no_header:
        print(f"     STATE NNODES NCORES NGPUS {'  MEMORY ' if o.memory else ''}NODELIST")
    known = call(client.rpc, "resource.status")["memory"] if o.memory else []
    for state in states:
        print(f"{state:>10} {_row(rows[state], _memory(known, state, rows[state]) if o.memory else '')}")
    return 0


def _included(text: str) -> Callable[[Row], bool]:
    try:
        if text[:1].isdigit() or text[:1] == "[":
            ranks = set(idset.ids(text))
            return lambda row: row[0] in ranks
        hosts = set(hostlist.decode(text))
        return lambda row: row[1] in hosts
    except ValueError as error:
        raise CommandError(f"ERROR: --include: {error}") from None


def _drained(found: dict[str, Any]) -> dict[int, tuple[str, bool, float, str]]:
    """{rank: (host, busy, t, reason)} of drained ranks."""
    hosts = {row[0]: row[1] for row in held(found["R"])}
    busy = set(found["busy"])
    return {e["rank"]: (hosts[e["rank"]], e["rank"] in busy, e["t"], e["reason"]) for e in found["drain"]}


def status(words: list[str]) -> int:
    """flux resource status"""
    p = Parser("resource status", description="List which nodes are available, and which are drained.")
    p.add_argument("-n", "--no-header", action="store_true", help="no header line")
    json_option(p)
    o = p.parse_args(words)
    found = call(Client().rpc, "resource.status")
    rows = held(found["R"])
    drained = _drained(found)
    groups = {
        "avail": [row[1] for row in rows if row[0] not in drained],
        "draining": [host for host, busy, _, _ in drained.values() if busy],
        "drained": [host for host, busy, _, _ in drained.values() if not busy],
    }
    if o.json:
        print_json({one: {"nnodes": len(hosts), "nodelist": hostlist.encode(hosts)} for one, hosts in groups.items()})
        return 0
    if not o.no_header:
        print("       STATE NNODES NODELIST")
    for state, hosts in groups.items():
        if hosts or state == "avail":
            print(printable(f"{state:>12} {len(hosts):>6} {hostlist.encode(hosts)}".rstrip()))
    return 0


def drain(words: list[str]) -> int:
    """flux resource drain"""
    p = Parser("resource drain", description="Keep jobs off nodes. Running jobs go on.")
    p.add_argument("-f", "--force", action="store_true", help="overwrite the reason of nodes that are drained")
    p.add_argument("-u", "--update", action="store_true", help="leave nodes that are drained as they are")
    p.add_argument("-n", "--no-header", action="store_true", help="no header line")
    p.add_argument("--json", action="store_true", help="without TARGETS: JSON")
    p.add_argument("targets", nargs="?", help="ranks or hosts")
    p.add_argument("reason", nargs="...", help="reason")
    o = p.parse_args(words)
    if o.json and o.targets is not None:
        raise CommandError("ERROR: --json: expected no targets, as it lists nodes that are drained")
    client = Client()
    if o.targets is None:
        return _list_drained(call(client.rpc, "resource.status"), o)
    mode = "force" if o.force else "update" if o.update else ""
    payload = {"targets": o.targets, "reason": " ".join(o.reason), "mode": mode}
    try:
        client.rpc("resource.drain", payload)
    except RPCError as error:
        hint = "\nflux-resource: INFO: Use --force to overwrite existing drain reason"
        raise CommandError(f"ERROR: {error.text}{hint if error.errno == errno.EEXIST else ''}") from None
    return 0


def _list_drained(found: dict[str, Any], o: Options) -> int:
    lines: dict[tuple[float, str, str], list[str]] = {}
    for host, busy, t, reason in _drained(found).values():
        shown = reason if o.json else printable(reason)
        lines.setdefault((t, "draining" if busy else "drained", shown), []).append(host)
    if o.json:
        rows = [
            {"t": t, "state": state, "reason": reason, "nodelist": hostlist.encode(hosts)}
            for (t, state, reason), hosts in sorted(lines.items())
        ]
        print_json({"drained": rows})
        return 0
    if not o.no_header:
        print("TIME         STATE    REASON                         NODELIST")
    for (t, state, reason), hosts in sorted(lines.items()):
        stamp = time.strftime("%b%d %H:%M", time.localtime(t))
        print(f"{stamp:<12} {state:<8} {reason:<30} {printable(hostlist.encode(hosts))}")
    return 0


def undrain(words: list[str]) -> int:
    """flux resource undrain"""
    p = Parser("resource undrain", description="Let jobs on nodes again.")
    p.add_argument("-u", "--update", action="store_true", help="ignore nodes that are not drained")
    p.add_argument("-f", "--force", action="store_true", help="the same")
    p.add_argument("targets", help="ranks or hosts")
    p.add_argument("reason", nargs="...", help="reason")
    o = p.parse_args(words)
    payload = {"targets": o.targets, "mode": "update" if o.update or o.force else ""}
    try:
        Client().rpc("resource.undrain", payload)
    except RPCError as error:
        raise CommandError(f"ERROR: {error.text}") from None
    return 0


def print_R(words: list[str]) -> int:
    """flux resource R"""
    Parser("resource R", description="Print the resources as an R object.").parse_args(words)
    print(json.dumps(call(Client().rpc, "resource.status")["R"]))
    return 0
