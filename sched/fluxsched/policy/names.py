# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Short names for policies: a plugin and its options."""
from __future__ import annotations

import re
from contextlib import contextmanager
from typing import Any, Dict, Iterable, Iterator, NamedTuple, Optional

from fluxsched.errors import FluxSchedError
from fluxsched.policy.loader import NotFound, is_own, load_plugin, load_text
from fluxsched.policy.orders import ORDERS

_NAMES = {
    "fcfs": ("sched.plugin1", {}),
    "easy": ("backfill.plugin1", {"reserve-depth": "1"}),
    "easy++": ("backfill.plugin1",
               {"reserve-depth": "1", "run-times": "predicted", "backfill-order": "shortest"}),
    "conservative": ("backfill.plugin1", {"reserve-depth": "-1"}),
    "first-fit": ("backfill.plugin1", {"reserve-depth": "0"}),
}


# A name, the K of hybridK, and the order behind it; the longest name is tried first, as easy++ has a plus of its own.
_LONGEST_FIRST = "|".join(map(re.escape, sorted(_NAMES, key=len, reverse=True)))
_KNOWN = re.compile(f"({_LONGEST_FIRST}|hybrid([1-9][0-9]{{0,8}}))(?:[+](.*))?", re.DOTALL)


class PolicyError(FluxSchedError, ValueError):
    """The name of a policy, or its options, that cannot be read."""


class Choice(NamedTuple):
    """What to run: the name to print, the plugin's name or path, and its options."""

    name: str
    plugin: str
    options: Dict[str, str]


def options_text(options: Dict[str, str]) -> str:
    """Options as they are written on a command line."""
    return ",".join(f"{key}={value}" for key, value in options.items())


def choose(text: str, options: str | Dict[str, str] = "") -> Choice:
    """Read a policy's name, and add `options` ("key=value,…" or a dict) to those it stands for.

    fcfs, easy, easy++ (with predicted run times), conservative, first-fit (backfill without reservations) and hybridK
    (K reservations), each with +ORDER behind it for another queue order: easy+sjf.  Anything else is the name or path
    of a plugin.  Either may carry options: easy:queue-depth=100, my.plugin:depth=2:order=f1.

    Raises PolicyError for an unknown order, an option without a value, and one that is given with two values, also
    by the name (easy is reserve-depth=1); that the plugin exists, and takes its options, is found out when it is
    loaded.
    """
    if not isinstance(options, (str, dict)):
        raise PolicyError(f"options: a text or a dict expected, {options!r} found")
    if isinstance(options, dict):
        more = {str(key): str(value) for key, value in options.items()}
    else:
        more = _options(options.split(",")) if options else {}
    text, *own = re.sub(r"\Ahybrid:(?=[0-9])", "hybrid", text).split(":")
    name = ":".join([text, *own])
    known = _KNOWN.fullmatch(text)
    chosen: Dict[str, str] = {}
    plugin = text
    if known:
        head, depth, order = known.groups()
        plugin, chosen = ("backfill.plugin1", {"reserve-depth": depth}) if depth else _NAMES[head]
        chosen = dict(chosen)
        if order is not None:
            if order not in ORDERS:
                raise PolicyError(f"policy {text!r}: unknown order {order!r}; one of {', '.join(ORDERS)} expected")
            chosen["order"] = order
    elif not plugin:
        raise PolicyError(f"policy {name!r}: a name expected")
    for given in (_options(own), more):
        for key, value in given.items():
            if chosen.setdefault(key, value) != value:     # the name in the table would not be what ran
                raise PolicyError(f"policy {name!r}: option {key} is given twice, as {chosen[key]} and {value}")
    return Choice(name, plugin, chosen)


def load(choice: Choice, source: Optional[str] = None, defaults: Optional[Dict[str, str]] = None) -> Any:
    """The policy object of a choice, for one engine.  source: the text of the plugin, which is in Python; None: it is
    found by its name or path.  defaults: as for fluxsched.policy.loader.load_plugin.

    Raises PolicyError if there is none of that name, PluginError for what does not load or an option that it does not
    take.
    """
    if source is not None:
        return load_text(choice.plugin, source, choice.options)
    with _named(choice):
        return load_plugin(choice.plugin, choice.options, defaults)


def own(choice: Choice) -> bool:
    """Whether the plugin of a choice is a compiled one of flux-sched itself.  It is not loaded.

    Raises PolicyError if there is none of that name, PluginError if there is no such file.
    """
    with _named(choice):
        return is_own(choice.plugin)


@contextmanager
def _named(choice: Choice) -> Iterator[None]:
    """Where there is no plugin of that name, say what there is."""
    try:
        yield
    except NotFound as error:
        if "/" in choice.plugin:
            raise
        known = f"{', '.join(_NAMES)}, hybridN, each also with +ORDER ({', '.join(ORDERS)})"
        text = f"policy {choice.name!r}: expected {known}, or the name or file of a plugin; {error}"
        raise PolicyError(text) from None


def _options(items: Iterable[str]) -> Dict[str, str]:
    found: Dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise PolicyError(f"plugin option {item!r}: key=value expected")
        if key.strip() in found:
            raise PolicyError(f"plugin option {key.strip()!r} is given twice")
        found[key.strip()] = value.strip()
    return found
