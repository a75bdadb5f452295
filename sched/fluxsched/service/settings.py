# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The module's settings: arguments of ``flux module load sched NAME=VALUE...``
and the ``[sched]`` table of the instance's configuration, which sets the same
things.  An argument given at load wins over the table.

Errors are :class:`ArgumentError`, whose text names the argument or the key of
the table, what it held, and what was expected.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, NamedTuple, Optional

from fluxsched.errors import FluxSchedError

__all__ = ["ArgumentError", "Settings", "parse"]

DEFAULT_PLUGIN = "sched.plugin1"
DEFAULT_KEEP = 1000
DEFAULT_FORECAST = 1.0
FORECAST_MAX = 86400.0
LIMIT_MAX = 2**31 - 1


class ArgumentError(FluxSchedError, ValueError):
    """An argument or a key of ``[sched]`` that cannot be used."""


class Settings(NamedTuple):
    """All settings, checked.  `queue_depth` None is unlimited; `lwj_keep` is
    the number of job records kept in the KVS, 0 none; `forecast` the seconds from
    one forecast to the next at the least, None: there are no forecasts."""

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
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= FORECAST_MAX:
        wanted = f"off or seconds, more than 0 and at most {FORECAST_MAX:.0f}"
        raise ArgumentError(f"{where}: expected {wanted}, got {value!r}")
    return seconds


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
}


def parse(arguments: Iterable[str], table: Any = None) -> Settings:
    """Settings from the load's arguments (a list of ``NAME=VALUE``) over a
    ``[sched]`` table (a dict, or None).  Raises ArgumentError."""
    found: dict[str, Any] = {}
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
