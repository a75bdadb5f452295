# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The module's settings: arguments of ``flux module load sched NAME=VALUE...``
and the ``[sched]`` table of the instance's configuration, which sets the same
things.  An argument given at load wins over the table.

Errors are :class:`ArgumentError`, whose text names the argument or the key of
the table, what it held, and what was expected.
"""

from __future__ import annotations

import os
import re
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Optional

from fluxsched.errors import FluxSchedError
from fluxsched.formats import duration

__all__ = ["ArgumentError", "Settings", "parse"]

DEFAULT_PLUGIN = "sched.plugin1"
DEFAULT_KEEP = 1000
DEFAULT_FORECAST = 1.0
FORECAST_MAX = 86400.0
LIMIT_MAX = 2**31 - 1
DEFAULT_RECORD_SIZE = 2**30
DEFAULT_RECORD_AGE = 30 * 86400.0
RECORD_SIZE_MIN = 2**16
RECORD_SIZE_MAX = 2**50
RECORD_AGE_MAX = 1e10
#: The record of whatever is started here, where neither arguments nor configuration say otherwise.
RECORD_VARIABLE = "FLUX_SCHED_RECORD"
#: Policies that may follow the live one.
SHADOWS_MAX = 8
#: What may stand behind a number of bytes.
BYTES = {"": 1, "k": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class ArgumentError(FluxSchedError, ValueError):
    """An argument or a key of ``[sched]`` that cannot be used."""


class Settings(NamedTuple):
    """All settings, checked.  `queue_depth` None is unlimited; `lwj_keep` is
    the number of job records kept in the KVS, 0 none; `forecast` the seconds from
    one forecast to the next at the least, None: there are no forecasts; `shadow` the
    policies that follow the live one."""

    rdl_conf: str = ""
    rdl_resource: str = "default"
    plugin: str = DEFAULT_PLUGIN
    plugin_opts: str = ""
    verbosity: int = 0
    sched_once: bool = False
    in_sim: bool = False
    queue_depth: Optional[int] = None
    lwj_keep: int = DEFAULT_KEEP
    forecast: Optional[float] = DEFAULT_FORECAST
    record: str = ""
    record_size: int = DEFAULT_RECORD_SIZE
    record_age: float = DEFAULT_RECORD_AGE
    shadow: tuple[str, ...] = ()


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ArgumentError(f"{where}: expected a string, got {value!r}")
    return value


def _name(where: str, value: Any) -> str:
    if not _text(where, value):
        raise ArgumentError(f"{where}: expected a name, got nothing")
    return value


def _options(where: str, value: Any) -> str:
    # plugin-opts is "k=v,k=v"; a table may also hold it as a table
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, (dict, list)):
                raise ArgumentError(f"{where}.{key}: expected a number, a string or a boolean")
        return ",".join(
            f"{key}={str(item).lower() if isinstance(item, bool) else item}"
            for key, item in value.items()
        )
    return _text(where, value)


def _boolean(where: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise ArgumentError(f"{where}: expected true or false, got {value!r}")


def _count(where: str, value: Any, least: int, most: int = LIMIT_MAX) -> int:
    number = value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
        raise ArgumentError(f"{where}: expected a whole number of at least {least}, got {value!r}")
    return number


def _verbosity(where: str, value: Any) -> int:
    return _count(where, value, 0)


def _depth(where: str, value: Any) -> Optional[int]:
    if value == "unlimited":
        return None
    try:
        return _count(where, value, 1)
    except ArgumentError:
        raise ArgumentError(
            f"{where}: expected unlimited or a whole number of at least 1, got {value!r}"
        ) from None


def _keep(where: str, value: Any) -> int:
    return _count(where, value, 0)


def _interval(where: str, value: Any) -> Optional[float]:
    if value == "off":
        return None
    try:
        seconds = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else -1.0
    except (OverflowError, ValueError):
        seconds = -1.0
    if not 0 < seconds <= FORECAST_MAX:
        wanted = f"off or seconds, more than 0 and at most {FORECAST_MAX:.0f}"
        raise ArgumentError(f"{where}: expected {wanted}, got {value!r}")
    return seconds


def _folder(where: str, value: Any) -> str:
    if not os.path.isabs(_text(where, value)) or "\0" in value:
        raise ArgumentError(f"{where}: expected the absolute path of a folder, got {value!r}")
    return value


def _size(where: str, value: Any) -> int:
    found = re.fullmatch(r"([0-9]{1,15})([kMGT]?)", str(value)) if type(value) in (int, str) else None
    number = -1 if found is None else int(found[1]) * BYTES[found[2]]
    if not RECORD_SIZE_MIN <= number <= RECORD_SIZE_MAX:
        raise ArgumentError(f"{where}: expected bytes, at least 64k, as a number with k, M, G or T, got {value!r}")
    return number


def _age(where: str, value: Any) -> float:
    try:
        seconds = duration.parse(value) if isinstance(value, str) else float(value)
    except (OverflowError, TypeError, ValueError):
        seconds = -1.0
    if isinstance(value, bool) or not 1 <= seconds <= RECORD_AGE_MAX:
        raise ArgumentError(f"{where}: expected seconds, or a number with s, m, h or d, at least 1s, got {value!r}")
    return seconds


def _shadow(where: str, value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list) else value.split(",") if isinstance(value, str) else [value]
    found = tuple(name.strip() if isinstance(name, str) else "" for name in names)
    if not all(found):
        raise ArgumentError(f"{where}: expected names of policies with commas between them, got {value!r}")
    for name in found:
        if found.count(name) > 1:
            raise ArgumentError(f"{where}: {name} is named twice")
    if len(found) > SHADOWS_MAX:
        raise ArgumentError(f"{where}: expected at most {SHADOWS_MAX} policies, got {len(found)}")
    return found


_PARSERS: dict[str, Callable[[str, Any], Any]] = {
    "rdl-conf": _name,
    "rdl-resource": _name,
    "plugin": _name,
    "plugin-opts": _options,
    "verbosity": _verbosity,
    "sched-once": _boolean,
    "in-sim": _boolean,
    "queue-depth": _depth,
    "lwj-keep": _keep,
    "forecast": _interval,
    "record": _folder,
    "record-size": _size,
    "record-age": _age,
    "shadow": _shadow,
}


def parse(arguments: Iterable[str], table: Any = None, environment: Optional[Mapping[str, str]] = None) -> Settings:
    """Settings from the load's arguments (a list of ``NAME=VALUE``) over a
    ``[sched]`` table (a dict, or None), over what the environment says of the
    record alone (FLUX_SCHED_RECORD).  Raises ArgumentError."""
    found: dict[str, Any] = {}
    if environment and environment.get(RECORD_VARIABLE):
        found["record"] = _folder(RECORD_VARIABLE, environment[RECORD_VARIABLE])
    if table is None:
        table = {}
    if not isinstance(table, dict):
        raise ArgumentError("configuration: [sched] must be a table")
    for key, value in table.items():
        if key not in _PARSERS:
            raise ArgumentError(
                f"configuration: sched.{key}: unknown key, expected one of {', '.join(_PARSERS)}"
            )
        found[key] = _PARSERS[key](f"configuration: sched.{key}", value)
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key not in _PARSERS:
            raise ArgumentError(
                f"unknown argument {argument!r}, expected one of "
                + ", ".join(f"{name}=" for name in _PARSERS)
            )
        if not equals:
            raise ArgumentError(f"argument {key}: expected {key}=VALUE")
        found[key] = _PARSERS[key](f"argument {key}", value)
    settings = Settings(**{key.replace("-", "_"): value for key, value in found.items()})
    for key in ("rdl_resource", "in_sim"):
        if getattr(settings, key) != Settings._field_defaults[key] and not settings.rdl_conf:
            name = key.replace("_", "-")
            raise ArgumentError(f"{name}={found[name]}: needs rdl-conf=FILE")
    return settings
