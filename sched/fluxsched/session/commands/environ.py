# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The rules of --env, --env-remove and --env-file: which variables a job gets."""
from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Callable

# beginnings of names: a job of a session inside a job is not that job's task
_OWN = ("FLUX_JOB_", "FLUX_TASK_")

MAX_FILES = 8  # files of rules inside each other
MAX_FILE = 1 << 20  # characters of one


def _matcher(pattern: str) -> Callable[[str], object]:
    import fnmatch  # as of all modules that most jobs do without
    import re

    if pattern.startswith("/"):
        body = pattern[1:-1] if pattern.endswith("/") and len(pattern) > 1 else pattern[1:]
        try:
            return re.compile(body).match
        except re.error as error:
            raise ValueError(f"{pattern}: {error}") from None
    return re.compile(fnmatch.translate(pattern)).match


def apply(rules: Iterable[str], environ: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The environment of a job, that of the submission changed by the rules in their order; and the variables whose
    templates, {{...}}, are filled in where the job runs."""
    out = {key: value for key, value in environ.items() if not key.startswith(_OWN)}
    out.pop("FLUX_KVS_NAMESPACE", None)
    templates: dict[str, str] = {}
    for rule in rules:
        _apply(rule, out, environ, templates)
    return out, templates


def _apply(rule: str, out: dict[str, str], environ: dict[str, str], templates: dict[str, str], depth: int = 0) -> None:
    if rule.startswith("-"):
        matches = _matcher(rule[1:])
        for key in [key for key in out if matches(key)]:
            del out[key]
    elif rule.startswith("^"):
        if depth == MAX_FILES:
            raise ValueError(f"{rule[1:]}: files of rules name each other more than {MAX_FILES} deep")
        try:
            with open(os.path.expanduser(rule[1:]), errors="surrogateescape") as file:
                lines = [line.strip() for line in file.read(MAX_FILE).splitlines()]
        except OSError as error:
            raise ValueError(f"{rule[1:]}: {error.strerror}") from None
        for line in lines:
            if line and not line.startswith("#"):
                _apply(line, out, environ, templates, depth + 1)
    elif "=" in rule:
        key, _, value = rule.partition("=")
        if not key:
            raise ValueError(f"{rule!r}: expected VAR=VALUE")
        if "{{" in value:
            templates[key] = value
            return
        import string

        try:
            out[key] = string.Template(value).substitute({**environ, **out})
        except KeyError as error:
            raise ValueError(f"{rule}: variable {error} not found") from None
        except ValueError:
            raise ValueError(f"{rule}: unable to substitute") from None
    else:
        matches = _matcher(rule)
        for key, value in environ.items():
            if matches(key):
                out.setdefault(key, value)
