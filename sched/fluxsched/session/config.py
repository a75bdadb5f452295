# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The configuration of a session: reading the file, and what is in it that nobody knows.

The tables are those of flux-core. As there, an unknown key of ``resource``, ``queues`` and ``policy`` refuses the file,
and tables of other services are left alone. A key that flux-core takes and a session has no use for is told, and so is
an unknown key of ``exec`` and a table whose name is a slip of one of these. The keys of ``sched`` are checked by the
scheduler module.
"""

from __future__ import annotations

from typing import Any, Iterator, NamedTuple, Optional, Sequence, Union

from fluxsched.formats import config as files
from fluxsched.formats import queues, slips
from fluxsched.formats.quote import quote
from fluxsched.session.errors import SessionError

USED = "used"  # the session goes by it
UNUSED = "unused"  # flux-core knows it; it changes nothing here

#: What is known of a key: whether it is of use, or the keys of its table, where "*" stands for any name; a list of one
#: table stands for a list of such tables.
Known = Union[str, "dict[str, Known]", "list[Known]"]

_SIZE: Known = {"nnodes": USED, "ncores": USED, "ngpus": USED}
_LIMITS: Known = {"duration": USED, "job-size": {"min": _SIZE, "max": _SIZE}}
_ACCESS: Known = {"allow-user": UNUSED, "allow-group": UNUSED}
_QUEUE_POLICY: Known = {
    "jobspec": {"defaults": {"system": {"duration": USED, "queue": UNUSED}}},
    "limits": _LIMITS,
    "access": _ACCESS,
    "scheduler": UNUSED,
}
_EXEC_UNUSED = (
    "imp", "job-shell", "service", "service-override", "method", "max-start-delay-percent", "term-signal",
    "kill-signal", "max-kill-count", "max-kill-timeout", "barrier-timeout", "shell-exit-timeout",
    "sdexec-properties", "sdexec-stop-timer-sec", "sdexec-stop-timer-signal", "sdexec-constrain-resources", "testexec",
)  # fmt: skip
_RESOURCE_UNUSED = (
    "path", "scheduling", "exclude", "verify", "noverify", "norestrict", "no-update-watch", "rediscover",
    "journal-max", "history",
)  # fmt: skip
TABLES: dict[str, Known] = {
    "resource": {
        "config": [{"hosts": USED, "cores": USED, "gpus": USED, "properties": USED, "memory": USED}],
        **dict.fromkeys(_RESOURCE_UNUSED, UNUSED),
    },
    "queues": {"*": {"requires": USED, "policy": _QUEUE_POLICY, "parent": USED}},
    "policy": {
        "jobspec": {"defaults": {"system": {"duration": USED, "queue": USED}}},
        "limits": _LIMITS,
        "access": _ACCESS,
        "scheduler": UNUSED,
    },
    "notify": {"allow": USED, "sendmail": USED, "timeout": USED},
    "sched": USED,
    "exec": {"kill-timeout": USED, **dict.fromkeys(_EXEC_UNUSED, UNUSED)},
}
LENIENT = ("exec",)  # tables in which flux-core passes over what it does not know


class Remark(NamedTuple):
    """Something in a configuration that has no effect: `text` names the key; `fatal` if the file is refused for it."""

    text: str
    fatal: bool


def read(path: Optional[str], values: Sequence[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """The configuration in a file (none: an empty one), with the changes of `values`, see :mod:`confvalues`, and
    remarks for people.  Raises SessionError."""
    where = path or "--conf"
    try:
        config = files.load(path) if path is not None else {}
        if values:
            from fluxsched.session import confvalues  # of rare use

            config = confvalues.merged(config, values)
        for name in TABLES:
            if not isinstance(config.get(name, {}), dict):
                raise SessionError(f"{where}: {name}: expected a table")
    except files.ConfigError as error:
        raise SessionError(str(error)) from None
    try:
        files.check_queues(config)
    except files.ConfigError as error:
        raise SessionError(f"{where}: {error}") from None
    remarks = list(check(config))
    for remark in remarks:
        if remark.fatal:
            raise SessionError(f"{where}: {remark.text}")
    try:
        for name in ("", *config.get("queues", {})):
            queues.limits(name, config)
    except queues.QueuesError as error:
        raise SessionError(f"{where}: {error}") from None
    return config, [f"{where}: {remark.text}" for remark in remarks]


def check_nested(config: dict[str, Any], where: str) -> None:
    """Refuse what a session in a job cannot have.  Raises SessionError."""
    if "config" in config.get("resource", {}):
        raise SessionError(f"{where}: resource.config: a session in a job has the resources of the job")


def check(config: dict[str, Any]) -> Iterator[Remark]:
    """What a configuration holds that has no effect."""
    for name, known in TABLES.items():
        if name in config:
            yield from _walk(config[name], known, name, name not in LENIENT)
    for text in slips.tables(config, TABLES):
        yield Remark(text, False)


def _walk(value: Any, known: Known, path: str, fatal: bool) -> Iterator[Remark]:
    if known == UNUSED:
        yield Remark(f"{path}: has no effect in a session", False)
    elif isinstance(known, list):
        for i, item in enumerate(value if isinstance(value, list) else ()):
            yield from _walk(item, known[0], f"{path}[{i}]", fatal)
    elif isinstance(known, dict) and isinstance(value, dict):
        for key, inner in value.items():
            where = f"{path}.{quote(key)[1:-1]}"
            if key in known or "*" in known:
                yield from _walk(inner, known.get(key, known.get("*", USED)), where, fatal)
            else:
                close = slips.nearest(key.replace("_", "-"), known)
                meant = f"is {close} meant?" if close else f"expected one of {', '.join(sorted(known))}"
                yield Remark(f"{where}: unknown key, {meant}", fatal)
