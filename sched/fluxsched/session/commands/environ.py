# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The rules of --env, --env-remove and --env-file: which variables a job gets."""

import fnmatch
import re
import string

# a job of a session inside a job is not that job's task
_OWN = re.compile(r"FLUX_(JOB|TASK)_.*|FLUX_KVS_NAMESPACE")


def _matcher(pattern):
    if pattern.startswith("/"):
        body = pattern[1:-1] if pattern.endswith("/") and len(pattern) > 1 else pattern[1:]
        try:
            return re.compile(body).match
        except re.error as error:
            raise ValueError(f"{pattern}: {error}") from None
    return re.compile(fnmatch.translate(pattern)).match


def apply(rules, environ):
    """The environment of a job: all of `environ` if the first rule takes away or sets one, else what rules name."""
    out = {}
    rules = list(rules)
    if not rules or rules[0].startswith("-") or "=" in rules[0] or rules[0].startswith("^"):
        out = {key: value for key, value in environ.items() if not _OWN.fullmatch(key)}
    for rule in rules:
        _apply(rule, out, environ)
    return out


def _apply(rule, out, environ):
    if rule.startswith("-"):
        matches = _matcher(rule[1:])
        for key in [key for key in out if matches(key)]:
            del out[key]
    elif rule.startswith("^"):
        try:
            with open(rule[1:]) as file:
                lines = [line.strip() for line in file]
        except OSError as error:
            raise ValueError(f"{rule[1:]}: {error.strerror}") from None
        for line in lines:
            if line and not line.startswith("#"):
                _apply(line, out, environ)
    elif "=" in rule:
        key, _, value = rule.partition("=")
        if not key:
            raise ValueError(f"{rule!r}: expected VAR=VALUE")
        try:
            out[key] = string.Template(value).substitute({**environ, **out})
        except KeyError as error:
            raise ValueError(f"{rule}: variable {error} not found") from None
        except ValueError:
            raise ValueError(f"{rule}: unable to substitute") from None
    else:
        matches = _matcher(rule)
        out.update((key, value) for key, value in environ.items() if matches(key))
