# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What flux batch and flux alloc share: options of a job that is a session of its own, its jobspec, its submission."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, Optional

from fluxsched.formats.quote import quote
from fluxsched.session import attributes
from fluxsched.session.commands import buildspec, submit
from fluxsched.session.commands.buildspec import SpecError
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.commands.common import Parser
from fluxsched.session.commands.options import Options
from fluxsched.session.errors import CommandError, SessionError

DUMPED = "flux-{{jobid}}-dump.tgz"  # where --dump goes
CONFIG = "{{tmpdir}}/conf.json"
#: Options of flux start that a session in a job does not take, and why.
NOT_IN_A_JOB = {
    "test_size": "a session in a job has the resources of the job",
    "emulate": "a session in a job has the resources of the job",
    "service": "a session in a job ends with it",
    "stay": "--bg is for that",
    "terminal": "the command has the job's streams",
}


def add_options(p: Parser) -> None:
    """The options of batch and alloc: resources in slots, and what is said to the nested session."""
    g = p.add_argument_group("resources")
    g.add_argument("-N", "--nodes", metavar="N", help="number of nodes; without -n whole nodes")
    g.add_argument("-x", "--exclusive", action="store_true", help="with --nodes: nodes are not shared")
    g.add_argument("-n", "--nslots", metavar="N", help="number of slots")
    g.add_argument("-c", "--cores-per-slot", metavar="N", help="cores of each slot (default 1)")
    g.add_argument("-g", "--gpus-per-slot", metavar="N", help="gpus of each slot")
    g = p.add_argument_group("the nested session")
    g.add_argument("--conf", metavar="CONF", action="append",
                   help="configuration: KEY=VALUE, a file, the name of one, or lines of TOML or JSON")
    g.add_argument("--broker-opts", "--broker-opt", metavar="OPTS", action="append",
                   help="options of flux start, with commas between them")
    g.add_argument("--dump", nargs="?", const=DUMPED, metavar="FILE",
                   help=f"archive its key-value store and its jobs at the end (default FILE: {DUMPED})")


def request(
    o: Options, command: list[str], own: list[str], stdin: str = "none", script: Optional[str] = None
) -> dict[str, Any]:
    """The payload of job.submit for a session that runs `command`, which may be the text of a `script`; `own` are
    further options of flux start.  Raises SpecError."""
    flags, urgency = submit.flags_of(o.flags), buildspec.urgency(o.urgency)
    options = [*own, *_broker_options(o)]
    files: dict[str, Any] = {}
    if o.conf is not None:
        files["conf.json"] = {"mode": 0o100600, "data": _configuration(o.conf)}
        options += ["-c", CONFIG]
    if script is not None:
        files["script"] = {"mode": 0o100700, "encoding": "utf-8", "data": script}
    words = ["flux", "start", *options, *(["--"] if command else []), *command]
    spec = buildspec.build(o, words, stdin=stdin, plan=buildspec.slots(o))
    if files:
        spec["attributes"]["system"].setdefault("files", {}).update(files)
    return {"jobspec": spec, "urgency": urgency, "flags": flags}


def _configuration(values: list[str]) -> Any:
    """What --conf says, as JSON: dates, which TOML has and JSON has not, are text.  Raises SpecError."""
    from fluxsched.session import config as configs

    try:
        config, _ = configs.read(None, values)
        configs.check_nested(config, "--conf")
    except SessionError as error:
        text = str(error)
        raise SpecError(text if text.startswith("--conf") else f"--conf: {text}") from None
    try:
        return json.loads(json.dumps(config, default=str, allow_nan=False))
    except ValueError:
        raise SpecError("--conf: expected finite numbers, which JSON has") from None


def _broker_options(o: Options) -> list[str]:
    """--broker-opts and --dump as words for flux start.  Raises SpecError, and CommandError as of flux start."""
    words = [word for text in o.broker_opts or [] for word in text.split(",")]
    if o.dump is not None:
        words += ["-S", f"{attributes.DUMP}={o.dump}"]
    if not words:
        return []
    from fluxsched.session.commands import start

    try:
        given = start.parser().parse_args(words)
    except CommandError as error:
        raise CommandError(f"--broker-opts: {error}", error.code) from None
    if given.command:
        raise SpecError(f"--broker-opts: expected options of flux start, got {quote(given.command[0])}")
    for name, reason in NOT_IN_A_JOB.items():
        if getattr(given, name) not in (None, False):
            raise SpecError(f"--broker-opts: --{name.replace('_', '-')}: {reason}")
    if given.config_path is not None and o.conf is not None:
        raise SpecError("--broker-opts: --config-path and --conf cannot be used together")
    try:
        start.attributes_of(given)
    except SessionError as error:
        raise SpecError(f"--broker-opts: {error}") from None
    return words


def check_dump(o: Options) -> None:
    """Refuse a --dump that has taken the script or command for its FILE.  Raises SpecError."""
    if o.dump is not None:
        try:
            attributes.archive_mode(o.dump)
        except SessionError as error:
            raise SpecError(f"--dump: {error}; if that is what to run, put -- ahead of it") from None


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turns options that make no job into the error of a command."""
    try:
        yield
    except SpecError as error:
        raise CommandError(f"ERROR: {error}") from None


def submitted(payload: dict[str, Any], dry_run: bool) -> Optional[tuple[Client, int]]:
    """Submit the job, or print its jobspec in a dry run.  The client and the job's id, None of a dry run.

    Raises CommandError."""
    if dry_run:
        print(json.dumps(payload["jobspec"]))
        return None
    client = Client()
    try:
        return client, client.rpc("job.submit", payload)["id"]
    except RPCError as error:
        raise CommandError(f"ERROR: {error.text}", logged=True) from None
