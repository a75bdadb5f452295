# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux jobs: list jobs."""
from __future__ import annotations

import math
import os
import sys
import time

from fluxsched.session import fsd
from fluxsched.session import jobid as ids
from fluxsched.session.commands import jobfields, target
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.commands.common import Parser, call, jobid, whole
from fluxsched.session.commands.jobfields import ABBREVIATIONS, HEADINGS
from fluxsched.session.commands.options import Options
from fluxsched.session.commands.outputformat import FormatError, OutputFormat
from fluxsched.session.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_WHO = "{id.f58:>12} ?:{queue:<8.8} +:{username:<8} {name:<10.10+} "
FORMATS = {
    "default": _WHO
    + "{status_abbrev:>2.2} {ntasks:>6} {nnodes:>6h} {contextual_time!F:>8h} {contextual_info}",
    "long": _WHO
    + "{status:>9.9} {ntasks:>6} {nnodes:>6h} {t_submit!d:%b%d %R::>12} {t_remaining!F:>12h} "
    + "{contextual_time!F:>8h} {contextual_info}",
    "deps": "{id.f58:>12} ?:{queue:<8.8} {name:<10.10+} {urgency:<3} {priority:<12} {state:<8.8} {dependencies}",
    "endreason": _WHO + "{status_abbrev:>2.2} {t_inactive!d:%b%d %R::>12h} {inactive_reason}",
}

GROUPS = {
    "pending": {"DEPEND", "PRIORITY", "SCHED"},
    "running": {"RUN", "CLEANUP"},
    "active": {"DEPEND", "PRIORITY", "SCHED", "RUN", "CLEANUP"},
    "inactive": {"COMPLETED", "FAILED", "CANCELED", "TIMEOUT"},
}


def _filters(text: str | None) -> set[str]:
    wanted: set[str] = set()
    for word in (text or "").lower().split(","):
        if not word:
            continue
        if word in GROUPS:
            wanted |= GROUPS[word]
        elif word.upper() in ABBREVIATIONS and word != "inactive":
            wanted.add(word.upper())
        else:
            raise CommandError(f"ERROR: Invalid filter specified: {word}")
    return wanted


def _includes(text: str) -> Callable[[Any], bool]:
    """A function: does a job run on one of these ranks or hosts?"""
    from fluxsched.formats import hostlist, idset

    if text[:1].isdigit() or text[:1] == "[":
        wanted = set(idset.ids(text))
        return lambda job: bool(wanted & set(idset.ids(job.get("ranks", ""))))
    hosts = set(hostlist.decode(text))
    return lambda job: bool(hosts & set(hostlist.decode(job.get("nodelist", ""))))


def parser() -> Parser:
    """The options of flux jobs."""
    p = Parser("jobs", description="List jobs. Without options, those that are pending or running.")
    p.add_argument("-a", dest="all", action="store_true", help="jobs in all states")
    p.add_argument("-A", dest="everyone", action="store_true", help="jobs of all users, in all states")
    p.add_argument("-c", "--count", metavar="N", type=whole(), default=1000, help="at most N jobs (default 1000)")
    p.add_argument("-f", "--filter", metavar="STATE|RESULT", help="jobs in these states, or with these results")
    p.add_argument("--since", metavar="WHEN", help="jobs that ended since then: seconds since the epoch, or -1h")
    p.add_argument("-n", "--no-header", "--suppress-header", action="store_true", help="no header line")
    p.add_argument("-u", "--user", metavar="USER", help="jobs of this user; all jobs here are the owner's")
    p.add_argument("--name", metavar="JOB-NAME", help="jobs of this name")
    p.add_argument("-q", "--queue", metavar="QUEUE,...", help="jobs in these queues")
    p.add_argument("-i", "--include", metavar="HOSTS|RANKS", help="jobs that run on these hosts or ranks")
    p.add_argument("-o", "--format", metavar="FORMAT", default="default", help="format string, or the name of one")
    p.add_argument("-w", "--width", metavar="N", type=whole(), nargs="?", const=0, help="cut lines at N columns")
    p.add_argument("--sort", metavar="KEY,...", help="sort by these fields, -KEY descending")
    p.add_argument("-R", "--recursive", action="store_true", help="also the jobs of the sessions in these jobs")
    p.add_argument("-L", "--level", metavar="N", type=whole(), default=target.DEEPEST,
                   help="with --recursive, only N sessions deep")
    p.add_argument("--json", action="store_true", help="JSON")
    p.add_argument("--stats", action="store_true", help="print statistics before the header")
    p.add_argument("--stats-only", action="store_true", help="print statistics only; fails if no job is active")
    p.add_argument("jobids", metavar="JOBID", nargs="*", type=jobid, help="only these jobs")
    return p


def _since(text: str | None) -> float:
    if text is None:
        return 0.0
    try:
        if text == "now":
            return time.time()
        value = time.time() - fsd.parse(text[1:]) if text.startswith("-") else float(text)
        if not math.isfinite(value):
            raise ValueError
        return value
    except ValueError:
        raise CommandError(f"ERROR: --since: invalid time {text!r}") from None


def _narrow(o: Options) -> bool:
    """Whether only some of the jobs are to be shown."""
    return bool(o.jobids or o.filter or o.name or o.queue or o.include)


def _asked(o: Options) -> dict[str, Any]:
    """What is asked of job.list."""
    inactive = o.all or o.everyone or bool(o.since) or bool(_filters(o.filter) & GROUPS["inactive"])
    return {"inactive": inactive, "count": 0 if _narrow(o) else o.count, "since": _since(o.since), "pieces": True}


def _pass_on(client: Client, o: Options) -> int:
    """Print the answers of job.list as they come, which are JSON already; the exit code."""
    separator = '{"jobs": ['
    for text in call(list, client.texts("job.list", _asked(o))):
        inner = text[len('{"jobs":[') : -len("]}")].decode()
        if inner:
            sys.stdout.write(separator + inner)
            separator = ","
    print("]}" if separator == "," else separator + "]}")
    return 0


def _fetch(client: Client, o: Options) -> list[Any]:
    if o.jobids:
        try:
            return client.rpc("job.list", {"ids": o.jobids})["jobs"]
        except RPCError as error:
            raise CommandError(f"ERROR: {error.text}") from None
    wanted = _filters(o.filter)
    found = [job for answer in call(list, client.stream("job.list", _asked(o))) for job in answer["jobs"]]
    if wanted:
        found = [job for job in found if job["status"] in wanted or job["state"] in wanted]
    if o.name:
        found = [job for job in found if job["name"] == o.name]
    if o.queue:
        queues = set(o.queue.split(","))
        # A queue's jobs are those of its virtual queues, too (RFC 33).
        rows = call(client.rpc, "queue.list", {})["queues"]
        queues |= {name for name, _, parent in rows if parent in queues}
        found = [job for job in found if job.get("queue") in queues]
    if o.include:
        try:
            includes = _includes(o.include)
        except ValueError as error:
            raise CommandError(f"ERROR: --include: {error}") from None
        found = [job for job in found if job.get("ranks") and includes(job)]
    return found[: o.count] if o.count else found


def _sort(found: list[Any], keys: list[str]) -> None:
    for key in reversed(keys):
        name = key.lstrip("-")
        if name not in HEADINGS:
            raise CommandError(f"ERROR: Invalid sort key: {name}")
        found.sort(key=lambda job: jobfields.sort_key(job, name), reverse=key.startswith("-"))


def _stats(client: Client) -> int:
    counts = dict.fromkeys(("running", "completed", "failed", "pending"), 0)
    for job in call(client.rpc, "job.list", {"inactive": True, "count": 0})["jobs"]:
        if job["state"] in GROUPS["pending"]:
            counts["pending"] += 1
        elif job["state"] in GROUPS["running"]:
            counts["running"] += 1
        else:
            counts["completed" if job["result"] == "COMPLETED" else "failed"] += 1
    print("{running} running, {completed} completed, {failed} failed, {pending} pending".format(**counts))
    return counts["running"] + counts["pending"]


def main(name: str, words: list[str]) -> int:
    """flux jobs; the exit code."""
    o = parser().parse_args(words)
    try:
        layout = OutputFormat(FORMATS.get(o.format, o.format), jobfields.heading, jobfields.value)
    except FormatError as error:
        raise CommandError(f"ERROR: Error in user format: {error}") from None
    client = Client()
    if o.stats or o.stats_only:
        if o.json:
            raise CommandError("ERROR: --json incompatible with --stats or --stats-only")
        active = _stats(client)
        if o.stats_only:
            return 0 if active else 1
    if o.format == "help":
        print("\nConfigured flux-jobs output formats:\n\n" + "".join(f"  {name}\n" for name in FORMATS))
        return 0
    keys = layout.sort_keys if o.sort is None else [key for key in o.sort.split(",") if key]
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    if o.json and encoding == "utf8" and not (keys or o.recursive or _narrow(o)):
        return _pass_on(client, o)
    found = _fetch(client, o)
    _sort(found, keys)
    below = _below(found, o, keys, "", 0) if o.recursive else []
    if o.json:
        import json

        one = len(o.jobids) == 1 and not o.recursive
        print(json.dumps(found[0] if one else {"jobs": found}))  # in one piece, as json.dump is far slower
        return 0
    _show(layout, found, o, header=not o.no_header)
    for path, inner in below:
        print(f"\n{path}:")
        _show(layout, inner, o, header=False)
    return 0


def _show(layout: OutputFormat, found: list[Any], o: Options, header: bool) -> None:
    """Print jobs, a line each."""
    try:
        lines = layout.lines(found, header=header)
    except FormatError as error:
        raise CommandError(f"ERROR: Error in user format: {error}") from None
    width = _width(o.width)
    for line in lines:
        print(line if len(line) <= width else line[: width - 1] + "+")


def _below(
    found: list[Any], o: Options, keys: list[str], path: str, level: int
) -> list[tuple[str, list[Any]]]:
    """The jobs of the sessions in jobs, each with the path of its job; for JSON they are in the job, too."""
    if level >= o.level:
        return []
    own = Options(**{**vars(o), "jobids": []})
    lists = []
    for job in found:
        uri = target.uri_of(job)
        if uri is None:
            continue
        try:
            client = Client(uri)
            inner = _fetch(client, own)
            client.close()
        except CommandError:
            continue  # it is just ending
        _sort(inner, keys)
        job["jobs"] = inner
        where = f"{path}{ids.show(job['id'])}"
        lists += [(where, inner), *_below(inner, o, keys, f"{where}/", level + 1)]
    return lists


def _width(columns: int | None) -> int:
    """Most characters of a line; 0 is the terminal's width."""
    if columns == 0:
        try:
            return os.get_terminal_size().columns
        except OSError:
            return sys.maxsize
    return sys.maxsize if columns is None else columns
