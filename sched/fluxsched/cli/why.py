# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""``flux sched why``: why a job waits, and when it is planned to start."""
from __future__ import annotations

import errno
import json
import time
from typing import Any

import click

from fluxsched.cli.instance import Instance, InstanceError, JobId, ask, connect, show_id
from fluxsched.cli.table import duration, until
from fluxsched.formats.quote import printable
from fluxsched.formats.words import clock, plural

BY = {"priority": "higher priority", "order": "ahead in the queue's order", "submission": "submitted earlier"}
UNITS = {"node": "node", "slot": "slot", "core": "core"}
LONGEST = 100  # characters of a host list in the text; --json has all of it


@click.command()
@click.argument("jobid", type=JobId())
@click.option("--json", "as_json", is_flag=True, help="All that is known, as JSON.")
def why(jobid: int, as_json: bool) -> None:
    """Why the job JOBID waits: what it needs and what of it is free, which jobs give back the rest and when, which jobs
    are ahead of it, what else stands in its way, and when it is planned to start.

    JOBID may be written in any form that Flux knows. Other users than the instance's owner may ask about their own
    jobs.
    """
    instance = connect()
    try:
        answer = ask(instance, "sched.why", id=jobid)
    except InstanceError as error:
        if error.errno != errno.ENOENT:
            raise
        answer = elsewhere(instance, jobid)
    if as_json:
        click.echo(json.dumps(answer))
        return
    name = show_id(jobid)
    if answer["state"] != "waiting":
        click.echo(printable(f"{name} {answer['reason']}" if "reason" in answer else running(name, answer)))
        return
    for line in text(name, answer):
        click.echo(printable(line))


def elsewhere(instance: Instance, jobid: int) -> dict[str, Any]:
    """Why the scheduler does not know a job: it is over, or has not been handed to it."""
    job = instance.job(jobid)
    if job["state"] == "INACTIVE":
        reason = f"is over: {job['result'] or 'INACTIVE'}" + (f": {job['note']}" if job["note"] else "")
        return {"id": jobid, "state": "inactive", "reason": reason}
    if job["state"] in ("NEW", "DEPEND"):
        reason = "waits for what it depends on, and has not been handed to the scheduler"
        if job["dependencies"]:
            reason += ": " + ", ".join(map(dependency, job["dependencies"]))
    elif job["urgency"] == 0:
        reason = f"is held: its urgency is 0 (flux job urgency {show_id(jobid)} default releases it)"
    elif job["state"] == "PRIORITY":
        reason = "waits for its priority, and has not been handed to the scheduler"
    elif job["state"] == "CLEANUP":
        reason = "is over, and is being cleaned up"
    else:
        stopped = instance.queue_stopped(job["queue"] or "")
        reason = "has not been handed to the scheduler yet"
        if stopped is not None:
            queue = f"its queue {job['queue']}" if job["queue"] else "the queue"
            reason = f"waits because {queue} is stopped: {stopped}"
    return {"id": jobid, "state": job["state"].lower(), "reason": reason}


def dependency(text: str) -> str:
    """What a job depends on, as people say it: times of day for seconds since the epoch."""
    kind, _, value = text.partition("=")
    if kind not in ("begin-time", "retry-time"):
        return text
    try:
        return f"{kind} {clock(float(value), time.time())}"
    except (ValueError, OverflowError):
        return text  # of a host that writes it in another way


def running(name: str, answer: dict[str, Any]) -> str:
    """The line about a job that waits no more."""
    if answer["state"] == "starting":
        return f"{name} is being started on {answer['resources']}"
    now, end = answer["now"], answer["end"]
    limit = "without a time limit" if end is None else f"until {clock(end, now)} at the latest"
    return f"{name} has been running since {clock(answer['start'], now)}, {limit}, on {answer['resources']}"


def text(name: str, a: dict[str, Any]) -> list[str]:
    """The lines about a job that waits."""
    now, needs = a["now"], a["needs"]
    unit = UNITS[needs["unit"]]
    limit = f", for {duration(needs['duration'])}" if needs["duration"] else ", without a time limit"
    found = [f"{name} waits: {a['reason'] or 'nothing keeps it, the next pass decides'}", ""]
    found.append(f"Needs       {needs['text']}{limit}")
    hosts = a["nodes"]["able"]
    if len(hosts) > LONGEST:
        hosts = hosts[:LONGEST] + "…"
    found.append(f"Could run   on {plural(a['nodes']['count'], 'node')}: {hosts}" if hosts else "Could run   nowhere")
    found.append(f"Free now    {plural(a['free'], unit)} of {a['up']} that are up")
    head = "Given back  "
    for gain in a["gains"]:
        when = "with no time limit" if gain["end"] is None else f"at {clock(gain['end'], now)}"
        found.append(f"{head}{plural(gain['count'], unit)} {when} by {show_id(gain['id'])}")
        head = " " * len(head)
    if a["missing"] and a["enough_at"] is not None:
        found.append(f"Enough      at {clock(a['enough_at'], now)}, if nobody else took it")
    found += _ahead(a["ahead"], now)
    head = "In the way  "
    for obstacle in a["obstacles"]:
        found.append(head + obstacle["text"])
        head = " " * len(head)
    found.append(f"Planned     {_planned(a)}")
    return found


def _planned(a: dict[str, Any]) -> str:
    """When it is planned to start."""
    planned, now = a["planned"], a["now"]
    if planned is None:
        return a["unplanned"] or "no start is planned for it"
    text = f"{clock(planned['start'], now)} ({until(planned['start'], now)})"
    if planned["likely"] is not None and planned["late"] is not None:
        text += f"; as likely as not by {clock(planned['likely'], now)}, in nine of ten cases by "
        text += clock(planned["late"], now)
    return text


def _ahead(ahead: dict[str, Any], now: float) -> list[str]:
    """Who is considered before it."""
    queue = f" in queue {ahead['queue']}" if ahead["queue"] else ""
    if not ahead["count"]:
        return [f"Ahead       no other job{queue}"]
    found = [f"Ahead       {plural(ahead['count'], 'job')}{queue}"]
    for job in ahead["jobs"]:
        by = BY[job["by"]] + (f" ({job['priority']})" if job["by"] == "priority" else "")
        planned = "" if job["planned"] is None else f", planned for {clock(job['planned'], now)}"
        found.append(f"            {show_id(job['id'])}: {by}{planned}")
    left = ahead["count"] - len(ahead["jobs"])
    if left:
        found.append(f"            and {plural(left, 'other')}")
    return found
