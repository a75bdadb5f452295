# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux update: change the time limit of a job."""
from __future__ import annotations

import math

from fluxsched.session import fsd
from fluxsched.session.commands.client import Client
from fluxsched.session.commands.common import Parser, call, jobid
from fluxsched.session.errors import CommandError


def main(name: str, words: list[str]) -> int:
    """flux update; the exit code."""
    p = Parser(name, description="Change the time limit of a job that waits or runs.")
    p.add_argument("-n", "--dry-run", action="store_true", help="only check what is asked for")
    p.add_argument("id", metavar="JOBID", type=jobid)
    p.add_argument("update", metavar="duration=[+|-]TIME", help="30s, 1.5h, ...; + and - add and take; 0 is none")
    o = p.parse_args(words)
    key, _, text = o.update.partition("=")
    if key != "duration" or not text:
        raise CommandError(f"ERROR: {o.update!r}: expected duration=TIME")
    sign = text[0] if text[0] in "+-" else ""
    try:
        seconds = fsd.parse(text[len(sign) :])
    except ValueError as error:
        raise CommandError(f"ERROR: duration: {error}") from None
    client = Client()
    if sign:
        seconds = _changed(call(client.rpc, "job.list", {"ids": [o.id]})["jobs"][0]["duration"], sign, seconds)
    duration = 0.0 if math.isinf(seconds) else seconds
    if not o.dry_run:
        call(client.rpc, "job-manager.update", {"id": o.id, "duration": duration})
    return 0


def _changed(old: float, sign: str, seconds: float) -> float:
    """A time limit with `seconds` more or less."""
    if not old:
        raise CommandError("ERROR: the job has no time limit to add to")
    left = old + seconds if sign == "+" else old - seconds
    if left <= 0:
        raise CommandError("ERROR: that would leave the job no time")
    return left
