# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The copies of `submit --cc` and `--bcc`, and what is different in each: {cc} in the command and in options.

As in flux-core, {cc} is a replacement field of Python's format strings, so {cc:03d} pads; and what stands between
double braces, such as {{id}}, is a template of the job's own and is left as it is.
"""
from __future__ import annotations

import argparse
import re

from fluxsched.formats import idset
from fluxsched.session.commands.buildspec import SpecError

# Every option with a value that goes into the job.
REPLACED = (
    "queue", "time_limit", "urgency", "job_name", "setopt", "setattr", "dependency", "begin_time", "requires", "env",
    "input", "output", "error", "cwd", "flags", "nodes", "ntasks", "cores_per_task", "gpus_per_task", "cores",
    "tasks_per_node", "tasks_per_core", "gpus_per_node",
)  # fmt: skip

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_FIELD = re.compile(r"cc(?:!([rsa]))?(?::(.*))?", re.DOTALL)
_SPEC = re.compile(r"(?:.?[<>=^])?[- +]?#?0?[0-9]{0,3}[_,]?[bcdnosxX]?", re.DOTALL)


def members(o: argparse.Namespace) -> list[int | None]:
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


def options_differ(o: argparse.Namespace) -> bool:
    """Whether an option has something to be replaced in each copy."""
    values = [getattr(o, name) for name in REPLACED]
    texts = [text for value in values for text in (value if isinstance(value, list) else [value]) if text is not None]
    return any("{" in text or "}" in text for text in texts)


def copy(o: argparse.Namespace, command: list[str], cc: int) -> tuple[argparse.Namespace, list[str]]:
    """Options and command of the copy with this id.  Raises SpecError that names the option."""
    out = argparse.Namespace(**vars(o))
    for name in REPLACED:
        value = getattr(o, name)
        where = "--" + name.replace("_", "-")
        if isinstance(value, list):
            setattr(out, name, [replace(text, cc, where) for text in value])
        elif value is not None:
            setattr(out, name, replace(value, cc, where))
    return out, [replace(word, cc, "command") for word in command]


def replace(text: str, cc: int, where: str) -> str:
    """`text` with {cc} replaced.  SpecError, which says `where`, for a field other than cc and for a lone brace."""

    def part(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0]
        field = None if match[1] is None else _FIELD.fullmatch(match[1])
        if field is None or not _SPEC.fullmatch(field[2] or ""):
            raise SpecError(f"{where}: invalid replacement {match[0]!r} in {text!r}: expected {{cc}}")
        value: int | str = str(cc) if field[1] else cc
        try:
            return format(value, field[2] or "")
        except (ValueError, OverflowError) as error:
            raise SpecError(f"{where}: {match[0]}: {error}") from None

    return _PART.sub(part, text)
