# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The options of plugins: reading them, and taking one after another out of a dict of strings."""
from __future__ import annotations

from typing import Dict, Iterable, Sequence

from fluxsched.core.engine import PluginError


def parse_options(text: str | Dict[str, object] | None) -> Dict[str, str]:
    """Options "key=value,key=value" (or a dict) as a dict of strings."""
    if isinstance(text, dict):
        return {str(key): str(value) for key, value in text.items()}
    options: Dict[str, str] = {}
    for item in (text or "").split(","):
        if not item.strip():
            continue
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise PluginError(f"plugin option {item!r}: expected key=value")
        if key.strip() in options:
            raise PluginError(f"plugin option {key.strip()!r} is given twice")
        options[key.strip()] = value.strip()
    return options


def int_option(options: Dict[str, str], key: str, default: int, least: int, most: int = 2**31 - 1) -> int:
    """Take a whole number out of the options. Raises PluginError."""
    text = options.pop(key, None)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise PluginError(f"plugin option {key}={text}: expected a whole number from {least} to {most}")
    return value


def bool_option(options: Dict[str, str], key: str, default: bool) -> bool:
    """Take true or false out of the options. Raises PluginError."""
    text = options.pop(key, None)
    if text is None:
        return default
    if text not in ("true", "false"):
        raise PluginError(f"plugin option {key}={text}: expected true or false")
    return text == "true"


def choice_option(options: Dict[str, str], key: str, words: Sequence[str]) -> str:
    """Take one of several words out of the options, the first of them by default. Raises PluginError."""
    text = options.pop(key, words[0])
    if text not in words:
        raise PluginError(f"plugin option {key}={text}: expected {' or '.join(words)}")
    return text


def no_more_options(options: Dict[str, str], known: Iterable[str]) -> None:
    """Refuse what is left of the options. Raises PluginError."""
    if options:
        raise PluginError(f"unknown option {sorted(options)[0]!r}; it knows {', '.join(known) or 'none'}")
