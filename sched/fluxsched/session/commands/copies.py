# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The copies of `submit --cc` and `--bcc`, the jobs of `bulksubmit`, and what is different in each: {cc} and the
inputs, in the command and in options.

As in flux-core, {cc} is a replacement field of Python's format strings, so {cc:03d} pads; and what stands between
double braces, such as {{id}}, is a template of the job's own and is left as it is.
"""
from __future__ import annotations

import itertools
import re
from typing import Any, Callable

from fluxsched.formats import idset
from fluxsched.session.commands.buildspec import SpecError
from fluxsched.session.commands.options import Options

# The value of a field by its name and what follows a dot; {} is {0}, or one more than the one before. Raises KeyError
# for one that is not known.
Lookup = Callable[[str, str], Any]

# Every option with a value that goes into the job.
REPLACED = (
    "queue", "time_limit", "urgency", "job_name", "setopt", "setattr", "dependency", "begin_time", "requires", "env",
    "input", "output", "error", "cwd", "flags", "nodes", "ntasks", "cores_per_task", "gpus_per_task", "cores",
    "tasks_per_node", "tasks_per_core", "gpus_per_node", "mem", "taskmap", "wait_event", "log", "log_stderr", "signal",
)  # fmt: skip

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_FIELD = re.compile(r"([a-z0-9]*)(?:\.([^!:]+))?(?:!([rsa]))?(?::(.*))?", re.DOTALL)
_SPEC = re.compile(r"(?:.?[<>=^])?[- +]?#?0?[0-9]{0,3}[_,]?[bcdnosxX]?", re.DOTALL)


def members(o: Options) -> list[int | None]:
    """The ids of --cc or --bcc; [None] without either.  Raises SpecError."""
    if o.cc is not None and o.bcc is not None:
        raise SpecError("specify only one of --cc or --bcc")
    name, text = ("cc", o.cc) if o.cc is not None else ("bcc", o.bcc)
    if text is None:
        return [None]
    try:
        found = idset.ids(text)
    except ValueError as error:
        raise SpecError(f"--{name}: {error}") from None
    if not found:
        raise SpecError(f"--{name}: expected an idset, got nothing")
    return list(found)


def options_differ(o: Options, more: tuple[str, ...] = ()) -> bool:
    """Whether an option, or one of the names `more`, has something to be replaced in each copy."""
    values = [getattr(o, name) for name in (*REPLACED, *more)]
    texts = [text for value in values for text in (value if isinstance(value, list) else [value]) if text is not None]
    return any("{" in text or "}" in text for text in texts)


def of_copy(cc: int) -> Lookup:
    """The one field that a copy has."""

    def lookup(name: str, attribute: str) -> int:
        if name != "cc" or attribute:
            raise KeyError("expected {cc}")
        return cc

    return lookup


def substitute(
    o: Options, command: list[str], lookup: Lookup, more: tuple[str, ...] = ()
) -> tuple[Options, list[str]]:
    """Options and command with their fields replaced, also in the options of the names `more`.

    Raises SpecError that names the option."""
    out = Options(**vars(o))
    for name in (*REPLACED, *more):
        value = getattr(o, name)
        where = "--" + name.replace("_", "-")
        if isinstance(value, list):
            setattr(out, name, [replace(text, lookup, where) for text in value])
        elif value is not None:
            setattr(out, name, replace(value, lookup, where))
    # A field of several values makes several words.
    words = [part for word in command for part in replace(word, lookup, "command").split("\0")]
    return out, words


def replace(text: str, lookup: Lookup, where: str) -> str:
    """`text` with its fields replaced.  SpecError, which says `where`, for a field that is not known and for a lone
    brace."""

    unnamed = itertools.count()

    def part(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0]
        field = None if match[1] is None else _FIELD.fullmatch(match[1])
        try:
            if field is None or not _SPEC.fullmatch(field[4] or ""):
                raise KeyError("expected a field such as {cc}")
            value = lookup(field[1] or str(next(unnamed)), field[2] or "")
        except KeyError as error:
            raise SpecError(f"{where}: invalid replacement {match[0]!r} in {text!r}: {error.args[0]}") from None
        try:
            return format(str(value) if field[3] else value, field[4] or "")
        except (ValueError, OverflowError) as error:
            raise SpecError(f"{where}: {match[0]}: {error}") from None

    return _PART.sub(part, text)
