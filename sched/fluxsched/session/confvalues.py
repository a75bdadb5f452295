# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The values of --conf, each of which changes a configuration: as flux-core takes them.

A value with several lines is TOML, or JSON if it begins with "{". NAME=VALUE sets a key by its dotted name to JSON, or
else to text. A name that ends in .toml or .json is a file. Any other is that of a file NAME.toml or NAME.json in
``flux/config`` of the folders of XDG_CONFIG_HOME and XDG_CONFIG_DIRS.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from fluxsched.formats import config as files
from fluxsched.formats import jsontext
from fluxsched.formats.config import ConfigError
from fluxsched.formats.quote import quote

MAX_PARTS = 50  # of a dotted name
SUFFIXES = (".toml", ".json")


def merged(config: dict[str, Any], values: Iterable[str]) -> dict[str, Any]:
    """A configuration with the changes of `values`, one after the other.  Raises ConfigError."""
    config = _merge({}, config)
    for value in values:
        if "\n" in value:
            data = value.encode(errors="surrogateescape")
            config = _merge(config, files.loads(data, value.lstrip().startswith("{"), "--conf"))
        elif "=" in value:
            _set(config, *value.split("=", 1))
        elif value.endswith(SUFFIXES):
            config = _merge(config, files.load(value))
        else:
            config = _merge(config, files.load(_named(value)))
    return config


def _merge(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A configuration that has what `changes` has, table by table; neither is changed."""
    found = dict(config)
    for key, value in changes.items():
        known = found.get(key)
        if isinstance(value, dict):
            value = _merge(known if isinstance(known, dict) else {}, value)
        found[key] = value
    return found


def _set(config: dict[str, Any], name: str, text: str) -> None:
    """Set a key by its dotted name.  Raises ConfigError."""
    parts = name.split(".")
    if len(parts) > MAX_PARTS or not all(parts):
        raise ConfigError(f"--conf: {quote(name)}: expected the dotted name of a key, of at most {MAX_PARTS} parts")
    try:
        value = jsontext.loads(text)
    except ValueError as error:
        if str(error) == jsontext.TOO_DEEP:
            raise ConfigError(f"--conf: {name}: {error}") from None
        value = text
    table = config
    for i, part in enumerate(parts[:-1]):
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--conf: {name}: {'.'.join(parts[: i + 1])} is no table")
        table = inner
    table[parts[-1]] = value


def _named(name: str) -> str:
    """The file of a configuration that is named.  Raises ConfigError."""
    folders = list(_folders())
    for folder in folders:
        for suffix in SUFFIXES:
            path = os.path.join(folder, name + suffix)
            if name and "/" not in name and os.path.exists(path):
                return path
    raise ConfigError(
        f"--conf: {quote(name)}: expected KEY=VALUE, a file that ends in .toml or .json, or the name of one in "
        f"{' or '.join(folders)}"
    )


def _folders() -> Iterator[str]:
    """Where configurations are found by their names."""
    yield os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "flux", "config")
    for folder in (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"):
        if folder:
            yield os.path.join(folder, "flux", "config")
