# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The fields of a job that `flux jobs` shows: their headings, and their values from what job.list answers."""
from __future__ import annotations

import time

from fluxsched.session import fsd
from fluxsched.session import jobid as ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    Job = dict[str, Any]

ABBREVIATIONS = {
    "DEPEND": "D", "PRIORITY": "P", "SCHED": "S", "RUN": "R", "CLEANUP": "C",
    "COMPLETED": "CD", "FAILED": "F", "CANCELED": "CA", "TIMEOUT": "TO", "INACTIVE": "I",
}  # fmt: skip

HEADINGS = {
    "id": "JOBID",
    **{f"id.{form}": "JOBID" for form in ids.FORMS},
    "userid": "UID", "username": "USER", "urgency": "URG", "priority": "PRI", "state": "STATE", "state_single": "S",
    "name": "NAME", "queue": "QUEUE", "project": "PROJECT", "bank": "BANK", "cwd": "CWD", "ntasks": "NTASKS",
    "ncores": "NCORES", "nnodes": "NNODES", "memory": "MEMORY",
    "duration": "DURATION", "ranks": "RANKS", "nodelist": "NODELIST", "success": "SUCCESS", "result": "RESULT",
    "result_abbrev": "RS", "status": "STATUS", "status_abbrev": "ST", "returncode": "RC", "waitstatus": "WSTATUS",
    "runtime": "RUNTIME", "t_submit": "T_SUBMIT", "t_depend": "T_DEPEND", "t_priority": "T_PRIORITY",
    "t_sched": "T_SCHED", "t_run": "T_RUN", "t_cleanup": "T_CLEANUP",
    "t_inactive": "T_INACTIVE", "t_remaining": "T_REMAINING", "expiration": "EXPIRATION",
    "dependencies": "DEPENDENCIES", "attempts": "ATTEMPTS",
    "exception.occurred": "EXCEPTION-OCCURRED", "exception.type": "EXCEPTION-TYPE", "exception.note": "EXCEPTION-NOTE",
    "exception.severity": "EXCEPTION-SEVERITY", "contextual_info": "INFO", "contextual_time": "TIME",
    "annotations": "ANNOTATIONS", "inactive_reason": "INACTIVE-REASON", "sched": "SCHED", "user": "USER",
    "annotations.sched.t_estimate": "T_ESTIMATE", "annotations.sched.reason_pending": "REASON",
    "annotations.sched.resource_summary": "RESOURCES", "sched.t_estimate": "T_ESTIMATE",
    "sched.reason_pending": "REASON", "sched.resource_summary": "RESOURCES",
}  # fmt: skip

PENDING = ("DEPEND", "PRIORITY", "SCHED")


class _Id(int):
    """A job id that is text unless a format asks for a number."""

    def __str__(self) -> str:
        return ids.show(self)


def heading(field: str) -> str | None:
    """The head of a field's column, None if there is no such field."""
    if field in HEADINGS:
        return HEADINGS[field]
    for prefix, drop in (("annotations.", len("annotations.")), ("sched.", 0), ("user.", 0)):
        if field.startswith(prefix):
            return field[drop:].upper()
    return None


def value(job: Job, field: str) -> Any:
    """The value of a job's field: text, number or boolean; "" if the job has none."""
    special = SPECIAL.get(field)
    if special is not None:
        return special(job)
    found = job.get(field)
    if found is None:
        head, dot, rest = field.partition(".")
        if head == "annotations" or head in ("sched", "user"):
            table = job["annotations"] if head == "annotations" else job["annotations"].get(head, "")
            found = _inner(table, rest) if dot else table
        elif dot:
            found = _inner(job, field)
    if isinstance(found, (dict, list)):
        import json

        return json.dumps(found) if found else ""
    return "" if found is None else found


def _inner(table: Any, path: str) -> Any:
    for part in path.split("."):
        table = table.get(part, "") if isinstance(table, dict) else ""
    return table


def _info(job: Job) -> str:
    if job["state"] == "PRIORITY":
        return "priority-wait"
    if job["state"] == "DEPEND":
        return f"depends:{_dependencies(job)}"
    if job["state"] == "SCHED":
        sched = job["annotations"].get("sched", {})
        if sched.get("t_estimate") is not None:
            left = sched["t_estimate"] - time.time()
            return f"eta:{fsd.show(left) if left > 0 else 'now'}"
        if job["urgency"] == 0:
            return "held"
        return sched.get("reason_pending", "")
    return job.get("nodelist", "")


def _dependencies(job: Job) -> str:
    """What the job waits for; a time as people read it."""
    found = []
    for text in job["dependencies"]:
        kind, _, value = text.partition("=")
        if kind in ("begin-time", "retry-time"):
            t = time.localtime(float(value))
            today = t[:3] == time.localtime()[:3]
            clock = time.strftime(("" if today else "%b%d-") + "%H:%M" + (":%S" if t.tm_sec else ""), t)
            text = f"{kind.partition('-')[0]}@{clock}"
        found.append(text)
    return ",".join(found)


def _remaining(job: Job) -> float | str:
    if job["state"] != "RUN" or not job.get("expiration"):
        return ""
    return max(0.0, job["expiration"] - time.time())


def _reason(job: Job) -> str:
    """Why an inactive job ended."""
    if job["state"] != "INACTIVE":
        return ""
    exception = job["exception"]
    note = exception.get("note") or ""
    if job["result"] == "CANCELED":
        return f"Canceled: {note}" if note else "Canceled"
    if job["result"] == "TIMEOUT":
        return "Timeout"
    if exception["occurred"] and exception.get("type") != "exec":
        return f"Exception: type={exception['type']}" + (f" note={note}" if note else "")
    code = job.get("returncode", 0)
    if code > 128:
        return _signal(code - 128)
    words = {126: "Command invoked cannot execute", 127: "command not found", 128: "Invalid argument to exit"}
    return words.get(code, f"Exit {code}")


def _signal(number: int) -> str:
    import signal

    try:
        return signal.strsignal(number) or f"Signaled {number}"
    except ValueError:
        return f"Signaled {number}"


SPECIAL: dict[str, Callable[[Job], Any]] = {
    "id": lambda job: _Id(job["id"]),
    **{f"id.{form}": lambda job, show=show: show(job["id"]) for form, show in ids.FORMS.items()},  # type: ignore[misc]
    "id.f58": lambda job: ids.show(job["id"]),
    "contextual_info": _info,
    "contextual_time": lambda job: job["duration"] if job["state"] in PENDING else job["runtime"],
    "state_single": lambda job: ABBREVIATIONS[job["state"]],
    "status_abbrev": lambda job: ABBREVIATIONS[job["status"]],
    "result_abbrev": lambda job: ABBREVIATIONS.get(job.get("result", ""), ""),
    "t_remaining": _remaining,
    "inactive_reason": _reason,
    "dependencies": _dependencies,
}


def sort_key(job: Job, field: str) -> tuple[int, float, str]:
    """Orders jobs by a field: those without it first, then numbers, then text."""
    found = job["id"] if field == "id" or field.startswith("id.") else value(job, field)
    if found == "":
        return 0, 0.0, ""
    if isinstance(found, (int, float)):
        return 1, float(found), ""
    return 2, 0.0, str(found)
