# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux kvs: get, put, ls, dir, unlink."""
from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from fluxsched.formats.quote import printable
from fluxsched.session.commands.client import Client
from fluxsched.session.commands.common import Parser, call, json_option, print_json, subcommands, whole
from fluxsched.session.commands.options import Options
from fluxsched.session.errors import CommandError

HINT = """\
   get             get the value stored under a key
   put             store values: flux kvs put KEY=VALUE...
   dir             display all keys in a directory, with their values
   ls              list a directory
   unlink          remove keys"""


def main(name: str, words: list[str]) -> int:
    """flux kvs; the exit code."""
    return subcommands(name, words, {"get": get, "put": put, "dir": dir_, "ls": ls, "unlink": unlink}, HINT)


def get(words: list[str]) -> int:
    """flux kvs get"""
    p = Parser("kvs get", description="Get the value stored under a key.")
    p.add_argument("-l", "--label", action="store_true", help="print key= before the value")
    p.add_argument("-r", "--raw", action="store_true", help="print the value as it is, without a line end")
    p.add_argument("key", nargs="+")
    options = p.parse_args(words)
    client = Client()
    for key in options.key:
        value = call(client.rpc, "kvs.get", {"key": key})["value"]
        label = f"{key}=" if options.label else ""
        # As it is for a program; a terminal gets no control characters but those of lines and columns.
        if sys.stdout.isatty() and not options.raw:
            value = printable(value, keep="\n\t")
        sys.stdout.write(label + value + ("" if options.raw else "\n") if value or label else "")
    return 0


def put(words: list[str]) -> int:
    """flux kvs put"""
    p = Parser("kvs put", description="Store values.")
    p.add_argument("-r", "--raw", action="store_true", help="store the value as it is; KEY=- reads standard input")
    p.add_argument("pair", nargs="+", metavar="KEY=VALUE")
    options = p.parse_args(words)
    pairs = []
    for text in options.pair:
        key, equals, value = text.partition("=")
        if not equals:
            raise CommandError("put: you must specify a value as key=value")
        if options.raw and value == "-":
            value = _standard_input()
        pairs.append([key, value])
    call(Client().rpc, "kvs.put", {"pairs": pairs})
    return 0


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise CommandError(f"put: standard input: expected UTF-8, byte {error.start} is none") from None


def _below(prefix: str, entries: Iterable[list[str]]) -> dict[str, str | None]:
    """{name: value, or None for a directory} of the entries of one directory, by name."""
    found: dict[str, str | None] = {}
    skip = len(prefix) + 1 if prefix else 0
    for key, value in entries:
        name, dot, _ = key[skip:].partition(".")
        found[name] = None if dot else value
    return dict(sorted(found.items()))


def _clean(key: str) -> str:
    return ".".join(part for part in key.split(".") if part)


def dir_(words: list[str]) -> int:
    """flux kvs dir"""
    p = Parser("kvs dir", description="Display all keys in a directory, with their values.")
    p.add_argument("-R", "--recursive", action="store_true", help="also those in its subdirectories")
    p.add_argument("-d", "--directory", action="store_true", help="names only")
    p.add_argument("-w", "--width", metavar="COLS", type=whole(), default=0, help="cut lines at COLS")
    json_option(p)
    p.add_argument("key", nargs="?", default=".")
    options = p.parse_args(words)
    prefix = _clean(options.key)
    entries = call(Client().rpc, "kvs.list", {"key": options.key})["entries"]
    if options.recursive:
        rows = [tuple(entry) for entry in entries]
    else:
        start = prefix + "." if prefix else ""
        rows = [(start + name, value) for name, value in _below(prefix, entries).items()]
    if options.json:
        print_json([key for key, _ in rows] if options.directory else dict(rows))
        return 0
    for key, value in rows:
        if value is None:
            print(f"{printable(key)}.")
        else:
            line = printable(key if options.directory else f"{key} = {value}")
            print(line[: options.width] if options.width else line)
    return 0


def ls(words: list[str]) -> int:
    """flux kvs ls"""
    p = Parser("kvs ls", description="List a directory.")
    p.add_argument("-1", "--1", dest="one", action="store_true", help="one entry per line")
    p.add_argument("-R", "--recursive", action="store_true", help="also subdirectories")
    p.add_argument("-d", "--directory", action="store_true", help="the directory instead of what is in it")
    p.add_argument("-F", "--classify", action="store_true", help="a dot after directories")
    p.add_argument("-w", "--width", metavar="COLS", type=whole(), help="width of the output, 0 is no limit")
    json_option(p)
    p.add_argument("key", nargs="*", default=["."])
    options = p.parse_args(words)
    client = Client()
    listed: dict[str, list[str]] = {}
    for key in options.key:
        prefix = _clean(key)
        if options.directory:
            _one(key, options, listed)
            continue
        try:
            entries = call(client.rpc, "kvs.list", {"key": key})["entries"]
        except CommandError as error:
            if "Not a directory" not in str(error):
                raise
            _one(prefix, options, listed)
            continue
        if options.recursive:
            skip = len(prefix) + 1 if prefix else 0
            names = [entry[0][skip:] for entry in entries]
        else:
            mark = "." if options.classify else ""
            names = [name + (mark if value is None else "") for name, value in _below(prefix, entries).items()]
        if options.json:
            listed[key] = names
        else:
            _columns([printable(name) for name in names], options)
    if options.json:
        print_json(listed)
    return 0


def _one(key: str, options: Options, listed: dict[str, list[str]]) -> None:
    """A key by itself."""
    if options.json:
        listed[key] = []
    else:
        print(printable(key))


def _columns(names: list[str], options: Options) -> None:
    if options.one or not names:
        print("\n".join(names), end="\n" if names else "")
        return
    width = options.width
    if width is None:
        try:
            width = os.get_terminal_size().columns
        except OSError:
            width = 80
    cell = max(map(len, names)) + 2
    per_line = len(names) if width == 0 else max(1, width // cell)
    for start in range(0, len(names), per_line):
        print("".join(f"{name:<{cell}}" for name in names[start : start + per_line]).rstrip())


def unlink(words: list[str]) -> int:
    """flux kvs unlink"""
    p = Parser("kvs unlink", description="Remove keys.")
    p.add_argument("-R", "--recursive", action="store_true", help="remove directories with what is in them")
    p.add_argument("-f", "--force", action="store_true", help="ignore keys that do not exist")
    p.add_argument("key", nargs="+")
    options = p.parse_args(words)
    payload = {"keys": options.key, "recursive": options.recursive, "force": options.force}
    call(Client().rpc, "kvs.unlink", payload)
    return 0
