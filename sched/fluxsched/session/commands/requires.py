# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The text of --requires (RFC 35) to a constraint (RFC 31).

Terms are ``property``, ``^property``, ``host:LIST``, ``rank:IDSET``; joined by
``and``, ``&``, ``or``, ``|``, ``not``, a minus before a term, and parentheses.
Terms side by side are joined by and; and, or are of descending precedence.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fluxsched.formats import jsontext

OPERATORS = {
    "host": "hostlist",
    "hosts": "hostlist",
    "hostlist": "hostlist",
    "rank": "ranks",
    "ranks": "ranks",
    "properties": "properties",
    "property": "properties",
}

_TOKEN = re.compile(r"""\s*(?:(&&?|\|\|?|\(|\))|((?:[^\s&|()'"]|'[^']*'|"[^"]*")+))""")


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"Unclosed quote in position {at}")
        at = match.end()
        symbol, word = match.groups()
        if symbol in ("&", "&&") or word == "and":
            yield "and", match.start()
        elif symbol in ("|", "||") or word == "or":
            yield "or", match.start()
        elif word == "not":
            yield "not", match.start()
        elif symbol:
            yield symbol, match.start()
        else:
            yield "term " + re.sub(r"""['"]""", "", word), match.start()


def _term(text: str) -> dict[str, Any]:
    negated = text.startswith("-")
    text = text[1:] if negated else text
    operator, colon, operand = text.partition(":")
    if not colon:
        operator, operand = "properties", text
    if operator not in OPERATORS:
        raise ValueError(f"unknown constraint operator: {operator}")
    if not operand:
        raise ValueError(f"{text!r}: operand is missing")
    constraint = {OPERATORS[operator]: [operand]}
    return {"not": [constraint]} if negated else constraint


class _Parser:
    def __init__(self, text: str):
        self.tokens = list(_tokens(text))
        self.at = 0

    def peek(self) -> str:
        """The next token, "" at the end."""
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def next(self) -> str:
        """Take the next token."""
        token = self.peek()
        self.at += 1
        return token

    def either(self) -> dict[str, Any]:
        """Terms joined by or."""
        parts = [self.both()]
        while self.peek() == "or":
            self.next()
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else {"or": parts}

    def both(self) -> dict[str, Any]:
        """Terms joined by and, or side by side."""
        parts = [self.one()]
        while self.peek() == "and" or self.peek() in ("not", "(") or self.peek().startswith("term "):
            if self.peek() == "and":
                self.next()
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else {"and": parts}

    def one(self) -> dict[str, Any]:
        """A term, with not before it or parentheses around it."""
        token = self.next()
        if token == "not":
            return {"not": [self.one()]}
        if token == "(":
            opened = self.tokens[self.at - 1][1]
            inner = self.either()
            if self.next() != ")":
                raise ValueError(f"Unclosed parenthesis in position {opened}")
            return inner
        if token.startswith("term "):
            return _term(token[5:])
        if not token:
            unclosed = [at for name, at in self.tokens if name == "("]
            if unclosed:
                raise ValueError(f"Unclosed parenthesis in position {unclosed[-1]}")
            raise ValueError("Unexpected end of input")
        raise ValueError(f"syntax error before {token!r}")


def parse(text: str) -> dict[str, Any]:
    """The constraint object.  Raises ValueError."""
    parser = _Parser(text)
    try:
        constraint = parser.either()
    except RecursionError:
        raise ValueError(jsontext.TOO_DEEP) from None
    if parser.peek():
        raise ValueError(f"syntax error before {parser.peek()!r}")
    jsontext.check_depth(constraint)
    return constraint
