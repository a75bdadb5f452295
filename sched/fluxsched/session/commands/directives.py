# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Options inside a batch script (RFC 36): comment lines such as ``#flux: -N2 -t 10m``, ``# FLUX: --output=x`` or
``//flux: -n1``.

The directives are together, before the first line that is neither blank nor a comment of the same kind.  What follows
the mark are words as in a shell, and options only; ``#`` begins a comment.  Text between triple quotes is one word,
also over several lines, each of which begins with the mark.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from fluxsched.errors import FluxSchedError

_MARK = re.compile(r"([^\w]*)((?:flux|FLUX):)(.*)")
_QUOTES = ('"""', "'''")


class DirectiveError(FluxSchedError, ValueError):
    """A line of a script that cannot be used; the text begins with "line N"."""


def parse(script: str) -> Iterator[tuple[int, list[str]]]:
    """The number of its first line, and the words, of each directive.  Raises DirectiveError."""
    for number, text in _joined(_marked(script)):
        lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError as error:
            raise DirectiveError(f"line {number}: {text.strip()}: {error}") from None
        if words and not words[0].startswith("-"):
            raise DirectiveError(f"line {number}: expected options, got {text.strip()!r}")
        if words:
            yield number, words


def _marked(script: str) -> Iterator[tuple[int, str]]:
    """The lines with a mark, without it."""
    mark = prefix = None
    last = 0  # line, after which there may be no more directives
    for number, line in enumerate(script.splitlines(), 1):
        match = _MARK.fullmatch(line)
        if match is None:
            if prefix is not None and not last and line.strip() and not line.startswith(prefix.rstrip()):
                last = number - 1
            if mark is not None:
                yield number, ""
            continue
        if last:
            text = "directives end with the first line that is no comment"
            raise DirectiveError(f"line {number}: a directive after line {last}: {text}")
        own = match[1] + match[2]
        if mark is None:
            mark, prefix = own, match[1]
        elif own != mark:
            raise DirectiveError(f"line {number}: expected {mark!r} as before, got {own!r}")
        yield number, match[3] or " "


def _joined(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Directives whose text between triple quotes is quoted as a word of a shell. A line without a mark is empty."""
    begun: tuple[int, str, str, str, list[str]] | None = None  # number, before the quotes, the quotes, indent, lines
    for number, text in lines:
        if begun is not None:
            first, head, quotes, indent, inner = begun
            if not text:
                raise DirectiveError(f"line {number}: expected {quotes}, which line {first} has opened")
            body = text[len(indent) :] if text.startswith(indent) else text
            if body.rstrip().endswith(quotes):
                inner.append(body.rstrip()[:-3])
                yield first, head + shlex.quote("\n".join(inner))
                begun = None
            else:
                inner.append(body)
            continue
        for quotes in _QUOTES:
            text = _one_line(text, quotes)
        quotes = text.rstrip()[-3:]
        if quotes in _QUOTES:
            indent = text[: len(text) - len(text.lstrip())]
            begun = number, text.rstrip()[:-3], quotes, indent, []
            continue
        if any(quotes in text for quotes in _QUOTES):
            raise DirectiveError(f"line {number}: triple quotes that are not closed: {text.strip()}")
        yield number, text
    if begun is not None:
        raise DirectiveError(f"line {begun[0]}: expected {begun[2]} further down, which closes it")


def _one_line(text: str, quotes: str) -> str:
    """Text between triple quotes in one line becomes a word of a shell."""
    return re.sub(rf"{quotes}(.*?){quotes}", lambda match: shlex.quote(match[1]), text)
