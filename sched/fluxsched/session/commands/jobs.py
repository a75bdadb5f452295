# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux jobs: list jobs."""

import json
import math
import string
import sys
import time

from fluxsched.formats import hostlist, idset
from fluxsched.session import fsd
from fluxsched.session import jobid as ids
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.commands.common import Parser, call, jobid
from fluxsched.session.errors import CommandError

DEFAULT = (
    "{id.f58:>12} {username:<8} {name:<10.10} {status_abbrev:>2.2} {ntasks:>6} {nnodes:>6h} "
    "{contextual_time!F:>8h} {contextual_info}"
)
QUEUED = DEFAULT.replace("{username", "{queue:<8.8} {username", 1)
LONG = (
    "{id.f58:>12} {queue:<8.8} {username:<8} {name:<10.10} {status:>9.9} {ntasks:>6} {nnodes:>6h} "
    "{t_submit!d:>15} {t_remaining!F:>12h} {contextual_time!F:>8h} {contextual_info}"
)
FORMATS = {"default": DEFAULT, "long": LONG}

ABBREVIATIONS = {
    "DEPEND": "D", "PRIORITY": "P", "SCHED": "S", "RUN": "R", "CLEANUP": "C",
    "COMPLETED": "CD", "FAILED": "F", "CANCELED": "CA", "TIMEOUT": "TO", "INACTIVE": "I",
}  # fmt: skip
GROUPS = {
    "pending": {"DEPEND", "PRIORITY", "SCHED"},
    "running": {"RUN", "CLEANUP"},
    "active": {"DEPEND", "PRIORITY", "SCHED", "RUN", "CLEANUP"},
    "inactive": {"COMPLETED", "FAILED", "CANCELED", "TIMEOUT"},
}
HEADINGS = {
    "id": "JOBID", "id.f58": "JOBID", "id.dec": "JOBID", "id.hex": "JOBID", "id.f58plain": "JOBID",
    "id.dothex": "JOBID",
    "userid": "UID", "username": "USER", "urgency": "URG", "priority": "PRI", "state": "STATE", "state_single": "S",
    "name": "NAME", "queue": "QUEUE", "cwd": "CWD", "ntasks": "NTASKS", "ncores": "NCORES", "nnodes": "NNODES",
    "duration": "DURATION", "ranks": "RANKS", "nodelist": "NODELIST", "success": "SUCCESS", "result": "RESULT",
    "result_abbrev": "RS", "status": "STATUS", "status_abbrev": "ST", "returncode": "RC", "waitstatus": "WSTATUS",
    "runtime": "RUNTIME", "t_submit": "T_SUBMIT", "t_depend": "T_DEPEND", "t_run": "T_RUN", "t_cleanup": "T_CLEANUP",
    "t_inactive": "T_INACTIVE", "t_remaining": "T_REMAINING", "expiration": "EXPIRATION",
    "dependencies": "DEPENDENCIES",
    "exception.occurred": "EXCEPTION-OCCURRED", "exception.type": "EXCEPTION-TYPE", "exception.note": "EXCEPTION-NOTE",
    "exception.severity": "EXCEPTION-SEVERITY", "contextual_info": "INFO", "contextual_time": "TIME",
    "annotations": "ANNOTATIONS", "inactive_reason": "INACTIVE-REASON",
}  # fmt: skip


def value_of(job, field):
    """The value of a format's field, "" if the job has none."""
    if field in ("id", "id.f58"):
        return ids.show(job["id"])
    if field.startswith("id."):
        kind = field[3:]
        forms = {"dec": str, "hex": hex, "dothex": ids.dothex, "f58plain": lambda n: ids.f58(n, plain=True)}
        return forms[kind](job["id"])
    if field.startswith("exception."):
        return job["exception"].get(field[10:], "")
    if field.startswith(("annotations.", "sched.", "user.")):
        value = job["annotations"]
        for part in field.replace("annotations.", "", 1).split("."):
            value = value.get(part, "") if isinstance(value, dict) else ""
        return value
    special = SPECIAL.get(field)
    return special(job) if special is not None else job.get(field, "")


def _info(job):
    if job["state"] == "SCHED":
        sched = job["annotations"].get("sched", {})
        if sched.get("t_estimate") is not None:
            left = sched["t_estimate"] - time.time()
            return f"eta:{fsd.show(left) if left > 0 else 'now'}"
        if job["urgency"] == 0:
            return "held"
        return sched.get("reason_pending", "")
    return job.get("nodelist", "")


def _remaining(job):
    if job["state"] != "RUN" or not job.get("expiration"):
        return ""
    return max(0.0, job["expiration"] - time.time())


def _reason(job):
    if job["state"] != "INACTIVE":
        return ""
    exception = job["exception"]
    if exception["occurred"]:
        return f"{exception['type']}: {exception['note']}" if exception["note"] else exception["type"]
    code = job.get("returncode", 0)
    return "" if code == 0 else f"Signal {code - 128}" if code > 128 else f"Exit {code}"


SPECIAL = {
    "contextual_info": _info,
    "contextual_time": lambda job: job["runtime"] if "t_run" in job else "",
    "runtime": lambda job: job["runtime"],
    "state_single": lambda job: ABBREVIATIONS[job["state"]],
    "status_abbrev": lambda job: ABBREVIATIONS[job["status"]],
    "result_abbrev": lambda job: ABBREVIATIONS.get(job.get("result"), ""),
    "t_remaining": _remaining,
    "inactive_reason": _reason,
}


class Format(string.Formatter):
    """Python's format strings over a job, with !F (duration), !d and !D (times), and h (a hyphen for nothing)."""

    def __init__(self, text):
        self.text = text
        self.header = False
        try:
            self.parts = list(self.parse(text))
        except ValueError as error:
            raise CommandError(f"ERROR: Error in user format: {error}") from None
        for _, field, _, _ in self.parts:
            known = field is None or field in HEADINGS or field.startswith(("annotations.", "sched.", "user."))
            if not known:
                raise CommandError(f"ERROR: Error in user format: Unknown format field: {field}")

    def line(self, job=None):
        out = []
        for literal, field, spec, conversion in self.parts:
            out.append(literal)
            if field is not None:
                out.append(self.cell(job, field, spec, conversion))
        return "".join(out)

    def cell(self, job, field, spec, conversion):
        hyphen = spec.endswith("h")
        spec = spec[:-1] if hyphen else spec
        if job is None:
            spec = spec.rstrip("bcdeEfFgGnoxX%")
            return format(HEADINGS.get(field) or field.upper(), spec.partition(".")[0])
        value = value_of(job, field)
        if value == "" or value is None:
            value = "-" if hyphen else ""
            spec = spec.partition(".")[0].rstrip("bcdeEfFgGnoxX%")
        elif conversion == "F":
            value = fsd.show(value)
        elif conversion in ("d", "D"):
            value = time.strftime("%b%d %H:%M" if conversion == "d" else "%FT%T", time.localtime(value))
        elif isinstance(value, (dict, list, bool)):
            value = json.dumps(value)
        try:
            return format(value, spec)
        except ValueError:
            return format(str(value), spec.rstrip("bcdeEfFgGnoxX%"))


def _filters(text):
    wanted = set()
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


def _includes(text):
    """A function: does a job run on one of these ranks or hosts?"""
    if text[:1].isdigit() or text[:1] == "[":
        wanted = set(idset.ids(text))
        return lambda job: bool(wanted & set(idset.ids(job.get("ranks", ""))))
    hosts = set(hostlist.decode(text))
    return lambda job: bool(hosts & set(hostlist.decode(job.get("nodelist", ""))))


def parser():
    p = Parser("jobs", description="List jobs. Without options, those that are pending or running.")
    p.add_argument("-a", dest="all", action="store_true", help="jobs in all states")
    p.add_argument("-A", dest="everyone", action="store_true", help="jobs of all users, in all states")
    p.add_argument("-c", "--count", metavar="N", type=int, default=1000, help="at most N jobs (default 1000)")
    p.add_argument("-f", "--filter", metavar="STATE|RESULT", help="jobs in these states, or with these results")
    p.add_argument("--since", metavar="WHEN", help="jobs that ended since then: seconds since the epoch, or -1h")
    p.add_argument("-n", "--no-header", action="store_true", help="no header line")
    p.add_argument("-u", "--user", metavar="USER", help="jobs of this user; all jobs here are the owner's")
    p.add_argument("--name", metavar="JOB-NAME", help="jobs of this name")
    p.add_argument("-q", "--queue", metavar="QUEUE,...", help="jobs in these queues")
    p.add_argument("-i", "--include", metavar="HOSTS|RANKS", help="jobs that run on these hosts or ranks")
    p.add_argument("-o", "--format", metavar="FORMAT", default="default", help="format string, or default, long")
    p.add_argument("--sort", metavar="KEY,...", help="sort by these fields, -KEY descending")
    p.add_argument("--json", action="store_true", help="JSON")
    p.add_argument("--stats", action="store_true", help="print statistics before the header")
    p.add_argument("--stats-only", action="store_true", help="print statistics only; fails if no job is active")
    p.add_argument("jobids", metavar="JOBID", nargs="*", type=jobid, help="only these jobs")
    return p


def _since(text):
    if text is None:
        return 0.0
    try:
        if text.startswith("-"):
            return time.time() - fsd.parse(text[1:])
        value = float(text)
        if not math.isfinite(value):
            raise ValueError
        return value
    except ValueError:
        raise CommandError(f"ERROR: --since: invalid time {text!r}") from None


def _fetch(client, o):
    if o.jobids:
        try:
            return client.rpc("job.list", {"ids": o.jobids})["jobs"]
        except RPCError as error:
            raise CommandError(f"ERROR: {error.text}") from None
    wanted = _filters(o.filter)
    inactive = o.all or o.everyone or bool(o.since) or bool(wanted & GROUPS["inactive"])
    if o.count < 0:
        raise CommandError(f"ERROR: --count: expected 0 or more, got {o.count}")
    narrow = wanted or o.name or o.queue or o.include
    payload = {"inactive": inactive, "count": 0 if narrow else o.count, "since": _since(o.since)}
    found = call(client.rpc, "job.list", payload)["jobs"]
    if wanted:
        found = [job for job in found if job["status"] in wanted or job["state"] in wanted]
    if o.name:
        found = [job for job in found if job["name"] == o.name]
    if o.queue:
        queues = set(o.queue.split(","))
        found = [job for job in found if job.get("queue") in queues]
    if o.include:
        try:
            includes = _includes(o.include)
        except ValueError as error:
            raise CommandError(f"ERROR: --include: {error}") from None
        found = [job for job in found if job.get("ranks") and includes(job)]
    return found[: o.count] if o.count else found


def _sort(found, text):
    for key in reversed([key for key in text.split(",") if key]):
        name = key.lstrip("-")
        if name not in HEADINGS:
            raise CommandError(f"ERROR: Invalid sort key: {name}")
        found.sort(key=lambda job: (value_of(job, name) == "", str(type(value_of(job, name))), value_of(job, name)))
        if key.startswith("-"):
            found.reverse()


def _stats(client):
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


def main(name, words):
    o = parser().parse_args(words)
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
    found = _fetch(client, o)
    if o.sort:
        _sort(found, o.sort)
    if o.json:
        one = len(o.jobids) == 1
        json.dump(found[0] if one else {"jobs": found}, sys.stdout)
        print()
        return 0
    text = FORMATS.get(o.format, o.format)
    if o.format == "default" and any(job.get("queue") for job in found):
        text = QUEUED
    layout = Format(text)
    if not o.no_header:
        print(layout.line().rstrip())
    for job in found:
        print(layout.line(job).rstrip())
    return 0
