# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The policy of a simulation: by name, or a class or an object in Python."""
from __future__ import annotations

import os
from typing import Any, Dict, Tuple

from fluxsched.policy import names
from fluxsched.policy.base import Policy
from fluxsched.policy.loader import make_policy
from fluxsched.policy.names import Choice, PolicyError
from fluxsched.policy.pyplugin import OPERATIONS

# Queue orders are here what their papers say, without the aging that production adds to them.
_DEFAULTS = {"aging": "0"}


def load(plugin: Any, options: str | Dict[str, str] = "") -> Tuple[Choice, Any]:
    """A policy object for one run, and how it was chosen; the options of that are all that it goes by.

    plugin: a name as for fluxsched.policy.names.choose, or a path; or a plugin in Python: its class, which is made with
    the options, or an object, which is used as it is.
    Raises PolicyError, and PluginError for what does not load or an option that it does not take.
    """
    if isinstance(plugin, os.PathLike):
        plugin = os.fspath(plugin)
    if isinstance(plugin, str):
        choice = names.choose(plugin, options)
        policy = names.load(choice, defaults=_DEFAULTS)
    else:
        kind = plugin if isinstance(plugin, type) else type(plugin)
        if not issubclass(kind, Policy) and not any(hasattr(kind, operation) for operation in OPERATIONS):
            raise PolicyError("plugin: a name, a class or an object with the five operations expected, "
                              f"{plugin!r} found")
        policy = make_policy(plugin, kind.__qualname__, options, _DEFAULTS)
        choice = Choice(kind.__qualname__, f"{kind.__module__}.{kind.__qualname__}", {})
    return choice._replace(options=policy.in_effect()), policy
