# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux cancel: end jobs."""
from __future__ import annotations

from fluxsched.program import tell
from fluxsched.session import jobid as ids
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.commands.common import Parser, call, complain, jobid
from fluxsched.session.commands.options import Options
from fluxsched.session.errors import CommandError

STATES = {
    "active": ("DEPEND", "PRIORITY", "SCHED", "RUN", "CLEANUP"),
    "pending": ("DEPEND", "PRIORITY", "SCHED"),
    "running": ("RUN", "CLEANUP"),
    "sched": ("SCHED",),
    "run": ("RUN",),
    "cleanup": ("CLEANUP",),
    "depend": ("DEPEND",),
    "priority": ("PRIORITY",),
}


def main(name: str, words: list[str]) -> int:
    """flux cancel; the exit code."""
    p = Parser(name, description="Cancel pending or running jobs.")
    p.add_argument("--all", action="store_true", help="target all jobs")
    p.add_argument("-n", "--dry-run", action="store_true", help="do not cancel any jobs")
    p.add_argument("-q", "--quiet", action="store_true", help="say nothing when no jobs match")
    p.add_argument("-u", "--user", metavar="USER", help="target user; all jobs here are the owner's")
    p.add_argument("-S", "--states", metavar="STATES", default="active", help="states to target (default=active)")
    p.add_argument("-m", "--message", metavar="NOTE", default="", help="note of the exception")
    p.add_argument("jobids", metavar="JOBID", nargs="*", type=jobid, help="jobs to cancel")
    options = p.parse_args(words)
    states: set[str] = set()
    for state in options.states.lower().split(","):
        if state not in STATES:
            raise CommandError(f"ERROR: invalid state {state!r}")
        states.update(STATES[state])
    client = Client()
    if options.jobids:
        if options.all:
            raise CommandError("ERROR: Do not specify a list of jobids with --all,--user,--states options")
        return _each(client, options)
    if not (options.all or options.user or options.states != "active"):
        raise CommandError("ERROR: At least one JOBID, or one of --all, --user or --states, is required")
    targets = call(client.rpc, "job.ids", {"states": sorted(states)})["ids"]
    if options.dry_run:
        tell(f"flux-cancel: Would cancel {len(targets)} job{'s' * (len(targets) != 1)}")
        return 0
    cancelled = call(client.rpc, "job-manager.cancel", {"ids": targets, "note": options.message})["canceled"]
    if cancelled:
        tell(f"flux-cancel: Canceled {cancelled} job{'s' * (cancelled != 1)} (0 errors)")
    elif not options.quiet:
        tell("flux-cancel: Matched 0 jobs")
    return 0


def _each(client: Client, options: Options) -> int:
    code = 0
    for target in options.jobids:
        if options.dry_run:
            tell(f"flux-cancel: Would cancel {ids.show(target)}")
            continue
        try:
            client.rpc("job-manager.raise", {"id": target, "type": "cancel", "note": options.message})
        except RPCError as error:
            complain("flux-cancel", f"ERROR: {error.text}")
            code = 1
    return code
