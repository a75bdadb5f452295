# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The inputs of `bulksubmit`, written as for GNU parallel and flux-core.

    flux bulksubmit echo {0} {1} ::: a b ::: c d      each with each: a c, a d, b c, b d
    flux bulksubmit echo {0} {1} ::: a b :::+ c d     side by side: a c, b d
    flux bulksubmit echo {} :::: FILE                 the lines of a file; - is standard input

Without any, the lines of standard input are the inputs.
"""
from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Mapping
from types import CodeType
from typing import Any

from fluxsched.formats.words import plural
from fluxsched.session.commands.buildspec import SpecError
from fluxsched.session.commands.copies import Lookup

MARK = ":::"
MOST = 1 << 20  # jobs
PARTS = {
    "%": lambda text: os.path.splitext(text)[0],
    "/": os.path.basename,
    "//": os.path.dirname,
    "/%": lambda text: os.path.basename(os.path.splitext(text)[0]),
}


def separator(text: str) -> str | None:
    """--sep: what separates inputs, with the escapes of Python; None for "none", any white space."""
    if text.lower() == "none":
        return None
    try:
        found = text.encode("latin-1", "backslashreplace").decode("unicode_escape")
    except UnicodeDecodeError as error:
        raise SpecError(f"--sep: {error.reason} in {text!r}") from None
    if not found:
        raise SpecError("--sep: expected a text, or none")
    return found


def methods(rules: list[str]) -> dict[str, CodeType]:
    """--define: NAME=CODE, an expression of Python in x.  Raises SpecError."""
    found = {}
    for rule in rules:
        name, equals, code = rule.partition("=")
        if not name.isidentifier() or not equals:
            raise SpecError(f"--define: expected NAME=CODE, got {rule!r}")
        try:
            found[name] = compile(code.strip(), name, "eval")
        except (SyntaxError, ValueError) as error:
            raise SpecError(f"--define: {name}: {getattr(error, 'msg', error)}") from None
    return found


def split(words: list[str], sep: str | None) -> tuple[list[str], list[tuple[str, ...]]]:
    """The words of the command, and the inputs of each job.  Raises SpecError."""
    begin = next((i for i, word in enumerate(words) if _is_mark(word)), len(words))
    command, rest = words[:begin] or ["{}"], words[begin:]
    # Each group of columns is combined with each row of the others.
    groups: list[list[list[str]]] = []
    while rest:
        mark, *rest = rest
        size = next((i for i, word in enumerate(rest) if _is_mark(word)), len(rest))
        values, rest = rest[:size], rest[size:]
        if mark.startswith(MARK + ":"):
            if len(values) != 1:
                raise SpecError(f"{mark}: expected the name of one file, got {len(values)}")
            values = _read(values[0], sep)
        if mark.endswith("+"):
            if not groups:
                raise SpecError(f"{mark}: expected other inputs before it")
            groups[-1].append(values)
        else:
            groups.append([values])
    if not groups:
        groups.append([_read("-", sep)])
    rows = []
    total = 1
    for columns in groups:
        first, *linked = columns
        if not all(linked):
            raise SpecError(f"{MARK}+: expected inputs")
        total *= len(first)
        rows.append(list(zip(first, *map(itertools.cycle, linked))))
    if total > MOST:
        raise SpecError(f"{total} jobs: expected at most {MOST}")
    return command, [tuple(itertools.chain(*combined)) for combined in itertools.product(*rows)]


def _is_mark(word: str) -> bool:
    return word in (MARK, MARK + ":", MARK + "+", MARK + ":+")


def _read(path: str, sep: str | None) -> list[str]:
    """The inputs in a file.  Raises SpecError."""
    try:
        if path == "-":
            text = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
        else:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror or error}") from None
    if "\0" in text:
        raise SpecError(f"{path}: expected text, got a byte 0")
    return [word for word in text.split(sep) if word]


def fields(inputs: tuple[str, ...], number: int, defined: Mapping[str, CodeType]) -> Lookup:
    """The fields of job `number`: {} and {0}, {1}, ... are its inputs, {0.%} without the extension, {0./} without the
    folder, {0.//} the folder, {0./%} without both, {0.NAME} what a method makes of it; {seq} and {seq1} are its number
    from 0 and from 1. {cc} is left for the copies."""
    def lookup(name: str, attribute: str) -> Any:
        if name in ("seq", "seq1") and not attribute:
            return number + (name == "seq1")
        if name == "cc" and not attribute:
            return _Later()
        if not name.isdigit():
            raise KeyError("expected {} or {0} for an input, {seq}, {seq1} or {cc}")
        index = int(name[:9])
        if index >= len(inputs):
            raise KeyError(f"a job has {plural(len(inputs), 'input')}")
        return _part(inputs[index], attribute, defined)

    return lookup


class _Later:
    """A field that is replaced later."""

    def __format__(self, spec: str) -> str:
        return f"{{cc:{spec}}}" if spec else "{cc}"

    def __str__(self) -> str:
        return "{cc}"


def _part(text: str, attribute: str, defined: Mapping[str, CodeType]) -> str:
    if not attribute:
        return text
    if attribute in PARTS:
        return PARTS[attribute](text)
    if attribute not in defined:
        raise KeyError(f"expected one of {', '.join([*PARTS, *defined])} behind the dot")
    try:
        found = eval(defined[attribute], {"os": os, "re": re}, {"x": text})
    except Exception as error:
        raise SpecError(f"--define: {attribute}: {type(error).__name__}: {error}") from None
    return "\0".join(map(str, found)) if isinstance(found, list) else str(found)
