# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Host lists (RFC 29): "node[0-2],x" is the ordered list node0, node1, node2, x.

Order and repeated hosts matter here (several ranks may share a host), and the texts come from outside, so reading is
strict and bounded. ClusterShell's NodeSet is another thing, an unordered set with groups and operators: it makes "a,b"
of "b,a,a". It is also slower: 16,384 hosts are expanded in 1.8 ms here and 21 ms there, and folded in 12 ms and 179 ms.

Zeros: flux-core pads each id to the width of its own text ("h[005,4]" is h005, h4), RFC 29 to the width of the first
("h005, h004"). flux-core writes the lists that are read here, so they are read its way; what is written here reads
the same both ways.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, Optional

from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import quote

MAX_HOSTS = 2**20  # most hosts a text may stand for
_MAX_RANGES = 10000  # in one pair of brackets; flux-core reads 10240

# A longer numeric part, as in a MAC address, is part of the name; flux-core draws the line at 2**25.
_FOLDED_DIGITS = 7

_PLAIN = r"[!-+\--Z\\^-~]*"  # printable ASCII without white space, comma and brackets
_EXPRESSION = re.compile(rf"({_PLAIN})(?:\[([0-9,-]*)\]({_PLAIN}))?", re.ASCII)
_ID = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", re.ASCII)
_UNFIT = re.compile(r"[^!-+\--Z\\^-~]", re.ASCII)


#: (prefix, suffix, first, last, width): the numbers first to last, padded with zeros to the width, between prefix and
#: suffix; the name `prefix` alone where last < first.
Group = tuple[str, str, int, int, int]


class HostlistError(FluxSchedError, ValueError):
    """The text is no host list, or stands for too many hosts."""


def parse(text: Any, max_hosts: int = MAX_HOSTS) -> tuple[list[Group], int]:
    """Return (groups, number of hosts) of the host list `text`; expand() makes the names of the groups.

    HostlistError if `text` is not a string, not a host list, or stands for more than `max_hosts` hosts.
    """
    if type(text) is not str:
        raise HostlistError(f"expected a host list string, got {quote(text)}")
    groups: list[Group] = []
    total = 0
    for expression in _split(text):
        match = _EXPRESSION.fullmatch(expression)
        if match is None:
            raise HostlistError(f"{quote(text)} is not a host list: cannot read {quote(expression)}")
        prefix, idlist, suffix = match.groups()
        if idlist is None:
            if prefix:
                groups.append((prefix, "", 0, -1, 0))
                total += 1
        else:
            for element in idlist.split(","):
                match = _ID.fullmatch(element)
                first = int(match[1]) if match else 0
                last = int(match[2] or match[1]) if match else -1
                if match is None or last < first:
                    raise HostlistError(f"{quote(text)} is not a host list: cannot read {quote(element)}")
                groups.append((prefix, suffix, first, last, len(match[1])))
                total += last - first + 1
        if total > max_hosts:
            raise HostlistError(f"{quote(text)} stands for too many hosts, the most allowed is {max_hosts}")
    return groups, total


def _split(text: str) -> list[str]:
    # At the commas outside of brackets.
    if "[" not in text:
        return text.split(",")
    return re.findall(r"(?:[^,\[]|\[[^\]]*(?:\]|$))+", text)


def expand(groups: Iterable[Group]) -> list[str]:
    """Return the names that the groups of parse() stand for, in order."""
    names: list[str] = []
    for prefix, suffix, first, last, width in groups:
        if last < first:
            names.append(prefix)
        elif width <= len(str(first)):
            names.extend([f"{prefix}{number}{suffix}" for number in range(first, last + 1)])
        else:
            names.extend([f"{prefix}{number:0{width}d}{suffix}" for number in range(first, last + 1)])
    return names


def decode(text: Any, max_hosts: int = MAX_HOSTS) -> list[str]:
    """Return the host names of `text`, in order and as often as they are named. HostlistError as for parse()."""
    return expand(parse(text, max_hosts)[0])


def follows(host: str, before: str) -> bool:
    """Whether `host` has the next number after `before`, so that a range may hold both: "n10" after "n9"."""
    prefix = host.rstrip("0123456789")
    digits = host[len(prefix) :]
    if not 0 < len(digits) <= _FOLDED_DIGITS or digits[0] == "0":
        return False
    return before == f"{prefix}{int(digits) - 1}"


def encode(hosts: Iterable[str]) -> str:
    """Return the compact host list of the names `hosts`, in their order and with their repetitions.

    HostlistError if a name is empty or holds what no host list can (white space, comma, brackets, non-ASCII).
    """
    return encode_runs([(host, host) for host in hosts])


def encode_runs(runs: Iterable[tuple[str, str]]) -> str:
    """Return the compact host list of runs (first name, last name), each one name or names that follows() joins.

    HostlistError as for encode().
    """
    ends = [host for run in runs for host in run]
    unfit = _UNFIT.search("".join(ends))
    if unfit or "" in ends:
        bad = next(host for host in ends if not host or _UNFIT.search(host))
        raise HostlistError(f"{quote(bad)} cannot be the name of a host")
    expressions: list[str] = []
    idlist: list[list[str]] = []  # of the open bracket: [text of first, text of last]
    open_prefix: Optional[str] = None
    padding = 0  # width of the open bracket's numbers, 0 when its first has no leading zero
    expected = ""  # text that would continue the last range
    for host, last in runs:
        prefix = host.rstrip("0123456789")
        digits = host[len(prefix) :]
        if not digits or len(digits) > _FOLDED_DIGITS:
            _close(expressions, open_prefix, idlist)
            idlist = []
            open_prefix = None
            expressions.append(host)
            continue
        last_digits = last[len(prefix) :]
        if prefix == open_prefix and digits == expected:
            idlist[-1][1] = last_digits
        elif prefix == open_prefix and len(idlist) < _MAX_RANGES and digits == str(int(digits)).zfill(padding):
            idlist.append([digits, last_digits])
        else:
            _close(expressions, open_prefix, idlist)
            idlist = [[digits, last_digits]]
            open_prefix = prefix
            padding = len(digits) if digits[0] == "0" and len(digits) > 1 else 0
        expected = str(int(last_digits) + 1).zfill(padding)
    _close(expressions, open_prefix, idlist)
    return ",".join(expressions)


def _close(expressions: list[str], prefix: Optional[str], idlist: list[list[str]]) -> None:
    if len(idlist) == 1 and idlist[0][0] == idlist[0][1]:
        expressions.append(f"{prefix}{idlist[0][0]}")
    elif idlist:
        inner = ",".join(first if first == last else f"{first}-{last}" for first, last in idlist)
        expressions.append(f"{prefix}[{inner}]")
