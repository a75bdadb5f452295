# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The shell options of a job (--setopt) that a session goes by, as flux-core's shell spells them.

Both ends check them: the command before it asks, the broker whatever asks.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from fluxsched.errors import FluxSchedError
from fluxsched.formats import duration, hostlist, idset
from fluxsched.formats import taskmap as maps
from fluxsched.formats.quote import quote

_PMI_ON = ("simple", "pmi1", "pmi2")  # names of one protocol
_PMI_OFF = ("off", "none")
AFFINITIES = ("cpu-affinity", "gpu-affinity")
MAX_CPU = 8191  # the largest that a process can be bound to
MAX_SETS = 1 << 16  # of a map
EXIT_TIMEOUT = 30.0  # seconds that a job goes on when a task has exited, as in flux-core
_MASK = re.compile(r"0x[0-9a-fA-F]{1,2048}(?:,0x[0-9a-fA-F]{1,8})*", re.ASCII)


class Affinity(NamedTuple):
    """What a job asks for: `kind` is default, on, off, per-task or map; `sets` the numbers for task 0, 1, ... of map,
    used again if there are more tasks; `verbose`: it is told; `dry_run`: and not done."""

    kind: str
    sets: list[list[int]]
    verbose: bool = False
    dry_run: bool = False


_DEFAULT = Affinity("default", [])


class OptionError(FluxSchedError, ValueError):
    """A shell option with a value that it cannot have; the text names the option."""


def check(options: dict[str, Any]) -> None:
    """Check the options that are known here.  Raises OptionError."""
    pmi(options)
    taskmap(options)
    for name in AFFINITIES:
        affinity(options, name)
    exits(options)


def pmi(options: dict[str, Any]) -> bool:
    """Whether the tasks of a job are served PMI-1: `pmi=simple`, the default, or `pmi=off`.  Raises OptionError."""
    value = options.get("pmi", "simple")
    words = value.split(",") if isinstance(value, str) else [""]
    if not all(word in (*_PMI_ON, *_PMI_OFF) for word in words):
        raise OptionError(f"pmi: expected simple or off, got {quote(value)}")
    return any(word in _PMI_ON for word in words)


def taskmap(options: dict[str, Any]) -> tuple[str, Any]:
    """How tasks go to nodes: ("block", None); ("cyclic", tasks on a node before the next one is taken); ("manual", the
    node of each task); ("hostfile", the host of each task, used again if there are more tasks).  Raises OptionError.

    A file of hosts is read by who submits the job, so the option has them beside its name, `hosts`."""
    value = options.get("taskmap", {"scheme": "block"})
    scheme = value.get("scheme") if isinstance(value, dict) else None
    argument = value.get("value", "") if isinstance(value, dict) else None
    if not isinstance(scheme, str) or not isinstance(argument, str):
        raise OptionError(f"taskmap: expected an object with scheme and value, got {quote(value)}")
    if scheme == "block":
        if argument:
            raise OptionError(f"taskmap: block: expected no value, got {quote(argument)}")
        return scheme, None
    if scheme == "cyclic":
        text = argument or "1"
        if text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0:
            return scheme, int(text)
        raise OptionError(f"taskmap: cyclic: expected a number of tasks of at least 1, got {quote(argument)}")
    if scheme == "manual":
        try:
            return scheme, maps.decode(argument)
        except maps.TaskmapError as error:
            raise OptionError(f"taskmap: manual: {error}") from None
    if scheme == "hostfile":
        return scheme, _hosts(value.get("hosts"))
    raise OptionError(f"taskmap: expected block, cyclic[:N], manual:TASKMAP or hostfile:FILE, got {quote(scheme)}")


def _hosts(text: Any) -> list[str]:
    if text is None:
        raise OptionError("taskmap: hostfile: expected hosts, the list in the file, which --taskmap puts there")
    try:
        hosts = hostlist.decode(text, maps.MAX_TASKS)
    except hostlist.HostlistError as error:
        raise OptionError(f"taskmap: hostfile: {error}") from None
    if not hosts:
        raise OptionError("taskmap: hostfile: expected hosts, the file names none")
    return hosts


def affinity(options: dict[str, Any], name: str) -> Affinity:
    """`cpu-affinity=[verbose,][dry-run,]on|off|per-task|map:LIST`, or `gpu-affinity` without the first two.

    LIST has a set for each task on a node, divided by semicolons: `0-3;4-7`, or masks such as `0xf;0xf0`, of many words
    with commas, the highest first.  Raises OptionError."""
    if name not in options:
        return _DEFAULT
    value = options[name]
    if not isinstance(value, str):
        raise OptionError(f"{name}: expected on, off, per-task or map:LIST, got {quote(value)}")
    kind, verbose, dry_run = value, False, False
    while name == "cpu-affinity" and kind.startswith(("verbose", "dry-run")):
        word, kind = kind[:7], kind[7:].removeprefix(",")
        verbose, dry_run = verbose or word == "verbose", dry_run or word == "dry-run"
    if kind.startswith("map:"):
        return Affinity("map", _sets(name, kind[4:]), verbose, dry_run)
    if kind == "" and kind != value:
        kind = "default"
    elif kind not in ("on", "off", "per-task"):
        raise OptionError(f"{name}: expected on, off, per-task or map:LIST, got {quote(value)}")
    return Affinity(kind, [], verbose, dry_run)


def _sets(name: str, text: str) -> list[list[int]]:
    words = text.split(";")
    if len(words) > MAX_SETS:
        raise OptionError(f"{name}: map: expected at most {MAX_SETS} sets, got {len(words)}")
    found = []
    for word in words:
        try:
            found.append(_mask(word) if word.startswith("0x") else _list(word))
        except ValueError as error:
            raise OptionError(f"{name}: map: {error}") from None
        if not found[-1]:
            raise OptionError(f"{name}: map: {quote(word)} is empty")
    return found


def _list(word: str) -> list[int]:
    return sorted({number for part in word.split(",") for number in idset.ids(part, MAX_CPU)})


def _mask(word: str) -> list[int]:
    if not _MASK.fullmatch(word):
        raise ValueError(f"expected a mask such as 0xf, got {quote(word)}")
    first, *rest = word.split(",")
    bits = int(first, 16)
    for part in rest:
        bits = bits << 32 | int(part, 16)
    if bits.bit_length() > MAX_CPU + 1:
        raise ValueError(f"{quote(word)} has number {bits.bit_length() - 1}, the largest allowed is {MAX_CPU}")
    return [number for number in range(bits.bit_length()) if bits >> number & 1]


def exits(options: dict[str, Any], default: float = EXIT_TIMEOUT) -> dict[str, Any]:
    """What is to happen when the first task exits, as the supervisor is told: `timeout`, the seconds that the others
    have (`exit-timeout=1m`), -1 for ever, and `default` if it is not said; `on_error` (`exit-on-error`): a task that
    fails ends the job at once.  Raises OptionError."""
    value, on_error = options.get("exit-timeout"), options.get("exit-on-error", 0)
    if type(on_error) not in (int, bool) or on_error not in (0, 1):
        raise OptionError(f"exit-on-error: expected no value, 0 or 1, got {quote(on_error)}")
    timeout = default
    if isinstance(value, str) and value.lower() == "none":
        timeout = -1.0
    elif value is not None:
        try:
            timeout = duration.parse(value)
        except ValueError as error:
            raise OptionError(f"exit-timeout: {error}") from None
        timeout = -1.0 if math.isinf(timeout) else timeout
    return {"timeout": timeout, "on_error": bool(on_error)}
