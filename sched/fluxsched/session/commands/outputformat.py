# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Formats of tables (`flux jobs -o`): Python's format strings, with what flux-core adds to them.

``!d`` is a time, formatted by strftime, with ``::`` before a column's own format; ``!D`` a time as ISO 8601; ``!F`` and
``!H`` are durations, ``!P`` is a percentage.  A format that ends in ``h`` shows a hyphen for nothing, one that ends in
``+`` marks what was cut.  ``?:`` before a field leaves the column out when it is empty in all rows, ``+:`` makes it as
wide as its widest value, ``?+:`` does both.  ``sort:KEY,...`` at the beginning orders the rows.

A format is parsed and bounded before it is used: a column is at most MAX_WIDTH characters wide.
"""
from __future__ import annotations

import math
import time

from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import printable, quote
from fluxsched.native import format_parser
from fluxsched.session import fsd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Callable, Optional

MAX_WIDTH = 1024
MAX_LENGTH = 4096  # characters of a format
MAX_COLUMNS = 200

_DIGITS = "0123456789"
_ALIGNMENTS = ("<", ">", "=", "^")
_PREFIXES = ("?+:", "?:", "+:")
_SORT = "sort:"
_EMPTY = ("", "0s", "0.0", "0:00:00", "1970-01-01T00:00:00")


class FormatError(FluxSchedError, ValueError):
    """Not a format, or one that does not suit a value; the text says which part."""


class Column:
    """One field of a format, with the text in front of it."""

    def __init__(self, literal: str, field: str, spec: str, conversion: str):
        """Raises FormatError."""
        prefix = next((one for one in _PREFIXES if literal.endswith(one)), "")
        self.literal = literal[: len(literal) - len(prefix)]
        self.drop_empty = "?" in prefix
        self.widen = "+" in prefix
        self.field = field
        self.conversion = conversion
        self.source = "{" + field + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "") + "}"
        if conversion and conversion not in "dDFHPrsa":
            raise FormatError(f"{self.source}: expected a conversion of d, D, F, H, P, r, s, a")
        self.time_format = ""
        if conversion == "d":
            self.time_format, _, spec = spec.partition("::")
            if not _is_time_format(self.time_format):
                raise FormatError(f"{self.source}: expected a time format as of strftime, without widths")
        parts = split(spec)
        if parts is None:
            raise FormatError(f"{self.source}: invalid format {quote(spec)}")
        self.align, self.sign, width, self.grouping, precision, self.kind, hyphen, mark = parts
        self.hyphen, self.mark = bool(hyphen), bool(mark)
        if conversion and self._numeric:
            raise FormatError(f"{self.source}: {quote(spec)} is for numbers, and !{conversion} makes text")
        self.width = self._bounded(width or "0")
        self.precision = self._bounded(precision) if precision else None

    @property
    def _numeric(self) -> bool:
        """Whether the format is one of numbers."""
        return self.kind not in ("", "s") or bool(self.grouping or self.sign.strip("0"))

    def _bounded(self, digits: str) -> int:
        if len(digits) > 6 or int(digits) > MAX_WIDTH:
            raise FormatError(f"{self.source}: expected at most {MAX_WIDTH} columns, got {digits[:12]}")
        return int(digits)

    def value(self, value: Any) -> str:
        """The value as text, without width.  Raises FormatError if it does not suit the format."""
        try:
            return printable(self._converted(value))
        except (TypeError, ValueError, OverflowError, OSError) as error:
            raise FormatError(f"{self.source}: {quote(value)}: {error}") from None

    def _converted(self, value: Any) -> str:
        if value is None or value == "":
            return ""
        if self.conversion in ("d", "D"):
            return _time(value, self.time_format or "%FT%T") if value else ""
        if self.conversion == "F":
            return fsd.show(_number(value))
        if self.conversion == "H":
            return _hours(_number(value))
        if self.conversion == "P":
            percent = _number(value) * 100
            return f"{percent:.2f}%" if 0 < percent < 1 else f"{percent:.3g}%"
        if self.conversion in ("r", "a"):
            value = repr(value) if self.conversion == "r" else ascii(value)
        elif self.conversion == "s":
            value = str(value)
        if isinstance(value, str) or self.hyphen or not (self.kind or self.grouping or self.sign or self.precision):
            if self._numeric:
                raise ValueError("the format is one of numbers")
            return str(value)
        digits = "" if self.precision is None else f".{self.precision}"
        return format(value, f"{self.sign}{self.grouping}{digits}{self.kind}")

    def cell(self, value: Any, text: str) -> str:
        """A value, of which :meth:`value` has made `text`, as it stands in the table."""
        if self.hyphen and text in _EMPTY:
            text = "-"
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and not self.conversion
        cut = text if self.precision is None or (number and not self.hyphen) else text[: self.precision]
        cell = self._padded(cut, ">" if number and not self.hyphen else "<")
        if self.mark and len(cell) < len(text):
            cell = cell[:-1] + "+"
        return cell

    def heading(self, text: str) -> str:
        """The heading as it stands in the table."""
        return self._padded(text, "<")

    def _padded(self, text: str, default: str) -> str:
        align = self.align or default
        if "0" in self.sign and not self.align and default == ">":
            align = "0>"
        return f"{text:{align.replace('=', '>')}{self.width}}" if self.width else text


def split(spec: str) -> Optional[tuple[str, ...]]:
    """The parts of a column's format, each "" if it is not there: alignment with its fill, sign and flags of numbers,
    width, grouping, precision, kind, "h", "+".  None if it is no format."""
    at = 2 if spec[1:2] in _ALIGNMENTS else 1 if spec[:1] in _ALIGNMENTS else 0
    align = spec[:at]

    def take(choices: str, most: int = 1) -> str:
        nonlocal at
        begin = at
        while at < len(spec) and at - begin < most and spec[at] in choices:
            at += 1
        return spec[begin:at]

    sign = take("- +") + take("z") + take("#") + take("0")
    width, grouping = take(_DIGITS, MAX_LENGTH), take("_,")
    point = take(".")
    precision = take(_DIGITS, MAX_LENGTH) if point else ""
    kind, hyphen, mark = take("bcdeEfFgGnosxX%"), take("h"), take("+")
    if at < len(spec) or (point and not precision):
        return None
    return align, sign, width, grouping, precision, kind, hyphen, mark


def _is_time_format(text: str) -> bool:
    """Whether strftime makes a line of bounded length of it: GNU's widths would make one of any length."""
    import re  # by far slower to import than all that most formats need

    return "%" not in re.sub(r"%[-_0^#]?[EO]?[A-Za-z%+]", "", text)


def _key(value: Any) -> tuple[Any, Any]:
    """What values that look the same have in common: most of a column do."""
    if isinstance(value, (str, int, float)):
        return type(value), value or str(value)  # 0.0 and -0.0 are equal
    return None, id(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError("expected a number")
    return float(value)


def _time(value: Any, form: str) -> str:
    return time.strftime(form, time.localtime(_number(value)))


def _hours(seconds: float) -> str:
    """[D day[s], ]H:MM:SS; what is under a second and not nothing is one."""
    if math.isinf(seconds):
        return "inf"
    whole = 1 if 0 < seconds < 1 else round(seconds)
    days, rest = divmod(whole, 86400)
    text = f"{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"
    return text if not days else f"{days} day{'s' * (days != 1)}, {text}"


class OutputFormat:
    """A parsed format over rows: any objects, whose fields a function reads."""

    def __init__(self, text: str, heading: Callable[[str], str | None], value: Callable[[Any, str], Any]):
        """`heading(field)` is the head of a column, None for a field that there is not; `value(row, field)` its value,
        "" or None for none.  Raises FormatError."""
        self._value = value
        if len(text) > MAX_LENGTH:
            raise FormatError(f"expected at most {MAX_LENGTH} characters, got {len(text)}")
        self.sort_keys: list[str] = []
        if text.startswith(_SORT):
            end = next((i for i in range(len(_SORT), len(text)) if text[i] == "{" or text[i].isspace()), len(text))
            if end > len(_SORT):
                self.sort_keys = [key for key in text[len(_SORT) : end].split(",") if key]
                text = text[end:].removeprefix(" ")
        self.columns: list[Column] = []
        self.tail = ""
        self.headings: list[str] = []
        for literal, field, spec, conversion in self._parts(text):
            literal = self.tail + literal
            if field is None:
                self.tail = literal
                continue
            self.tail = ""
            head = heading(field)
            if head is None:
                raise FormatError(f"Unknown format field: {printable(field)}")
            if "{" in (spec or ""):
                raise FormatError(f"{{{printable(field)}:{spec}}}: fields inside of fields are not known here")
            self.columns.append(Column(literal, field, spec or "", conversion or ""))
            self.headings.append(head)
        if len(self.columns) > MAX_COLUMNS:
            raise FormatError(f"expected at most {MAX_COLUMNS} fields, got {len(self.columns)}")

    @staticmethod
    def _parts(text: str) -> list[tuple[str, str | None, str | None, str | None]]:
        try:
            return list(format_parser(text))
        except ValueError as error:
            raise FormatError(str(error)) from None

    def lines(self, rows: Sequence[Any], header: bool) -> list[str]:
        """The lines of the table, empty ones left out.  Raises FormatError if a value does not suit its field."""
        shown = []
        for column, head in zip(self.columns, self.headings):
            values = [self._value(row, column.field) for row in rows]
            keys = list(map(_key, values))
            different = dict(zip(keys, values))
            texts = {key: column.value(value) for key, value in different.items()}
            if column.widen or column.drop_empty:
                widest = max((0 if text in _EMPTY else len(text) for text in texts.values()), default=0)
                if column.drop_empty and not widest:
                    continue
                if column.widen:
                    column.width = min(MAX_WIDTH, max(column.width, widest, len(head) if header else 0))
                    if column.precision is not None:
                        column.precision = max(column.precision, column.width)
            top = [column.literal + column.heading(head)] if header else []
            cells = {key: column.literal + column.cell(value, texts[key]) for key, value in different.items()}
            shown.append(top + [cells[key] for key in keys])
        shown.append([self.tail] * (len(rows) + header))
        lines = map("".join, zip(*shown))
        return [line.rstrip() for line in lines if line and not line.isspace()]
