# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The shell options of a job (--setopt) that a session goes by, as flux-core's shell spells them.

Both ends check them: the command before it asks, the broker whatever asks.
"""

from __future__ import annotations

from typing import Any

from fluxsched.errors import FluxSchedError
from fluxsched.formats import taskmap as maps
from fluxsched.formats.quote import quote

_PMI_ON = ("simple", "pmi1", "pmi2")  # names of one protocol
_PMI_OFF = ("off", "none")


class OptionError(FluxSchedError, ValueError):
    """A shell option with a value that it cannot have; the text names the option."""


def check(options: dict[str, Any]) -> None:
    """Check the options that are known here.  Raises OptionError."""
    pmi(options)
    taskmap(options)


def pmi(options: dict[str, Any]) -> bool:
    """Whether the tasks of a job are served PMI-1: `pmi=simple`, the default, or `pmi=off`.  Raises OptionError."""
    value = options.get("pmi", "simple")
    words = value.split(",") if isinstance(value, str) else [""]
    if not all(word in (*_PMI_ON, *_PMI_OFF) for word in words):
        raise OptionError(f"pmi: expected simple or off, got {quote(value)}")
    return any(word in _PMI_ON for word in words)


def taskmap(options: dict[str, Any]) -> tuple[str, Any]:
    """How tasks go to nodes: ("block", None); ("cyclic", tasks on a node before the next one is taken); ("manual", the
    node of each task).  Raises OptionError."""
    value = options.get("taskmap", {"scheme": "block"})
    scheme = value.get("scheme") if isinstance(value, dict) else None
    argument = value.get("value", "") if isinstance(value, dict) else None
    if not isinstance(scheme, str) or not isinstance(argument, str):
        raise OptionError(f"taskmap: expected an object with scheme and value, got {quote(value)}")
    if scheme == "block" and not argument:
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
    raise OptionError(f"taskmap: expected block, cyclic[:N] or manual:TASKMAP, got {quote(scheme)}")
