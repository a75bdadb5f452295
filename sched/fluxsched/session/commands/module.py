# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux module: load, list, remove, reload the scheduler, show statistics."""
from __future__ import annotations

import errno
import json
from typing import Any

from fluxsched.formats.quote import printable
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.commands.common import Parser, absolute, call, json_option, print_json, subcommands
from fluxsched.session.errors import CommandError

HINT = """\
   load            load a module: flux module load sched [NAME=VALUE...]
   list            list loaded modules
   remove          unload a module
   reload          unload a module if it is loaded, and load it
   stats           show statistics of a module"""


def main(name: str, words: list[str]) -> int:
    """flux module; the exit code."""
    table = {"load": load, "list": list_, "remove": remove, "reload": reload, "stats": stats}
    return subcommands(name, words, table, HINT)


def _arguments(words: list[str]) -> list[str]:
    """File names are the caller's; the broker is elsewhere."""
    from fluxsched.formats import rdl

    out = []
    for word in words:
        key, _, value = word.partition("=")
        if key == "rdl-conf" and value:
            out.append(f"{key}={absolute(str(rdl.find(value)))}")
        elif value and (key == "record" or (key == "plugin" and "/" in value)):
            out.append(f"{key}={absolute(value)}")
        elif key == "shadow":
            out.append(f"{key}={','.join(map(_policy, value.split(',')))}")
        else:
            out.append(word)
    return out


def _policy(name: str) -> str:
    """A policy's name; that of a file from where the command is typed."""
    file = name.partition(":")[0]
    return absolute(name) if "/" in file or file.endswith((".py", ".so")) else name


def _change(verb: str, name: str, **more: Any) -> None:
    """Have the broker load, remove or reload a module; it logs what goes wrong."""
    try:
        Client().rpc(f"module.{verb}", {"name": name, **more})
    except RPCError as error:
        raise CommandError(f"{verb} {name}: {error.text}", logged=True) from error


def load(words: list[str]) -> int:
    """flux module load"""
    p = Parser("module load", usage="flux module load [-h] module [NAME=VALUE...]", description="Load a module.")
    p.add_argument("module", help="sched")
    p.add_argument("args", nargs="...", metavar="NAME=VALUE", help="arguments of the module, see doc/module.md")
    options = p.parse_args(words)
    _change("load", options.module, args=_arguments(options.args))
    return 0


def remove(words: list[str]) -> int:
    """flux module remove"""
    p = Parser("module remove", description="Unload a module.")
    p.add_argument("-f", "--force", action="store_true", help="ignore modules that are not loaded")
    p.add_argument("module")
    options = p.parse_args(words)
    try:
        _change("remove", options.module)
    except CommandError as error:
        missing = isinstance(error.__cause__, RPCError) and error.__cause__.errno == errno.ENOENT
        if not (options.force and missing):
            raise
    return 0


def reload(words: list[str]) -> int:
    """flux module reload"""
    p = Parser("module reload", description="Unload a module if it is loaded, and load it.")
    p.add_argument("-f", "--force", action="store_true", help="ignore modules that are not loaded")
    p.add_argument("module")
    p.add_argument("args", nargs="...", metavar="NAME=VALUE")
    options = p.parse_args(words)
    _change("reload", options.module, args=_arguments(options.args))
    return 0


def list_(words: list[str]) -> int:
    """flux module list"""
    p = Parser("module list", description="List loaded modules.")
    p.add_argument("-l", "--long", action="store_true", help="also show the arguments they were loaded with")
    json_option(p)
    options = p.parse_args(words)
    modules = call(Client().rpc, "module.list")["modules"]
    if options.json:
        print_json({"modules": modules})
        return 0
    print("Module                    Idle  S Sendq Recvq Service")
    for module in modules:
        line = f"{module['name']:<24} {min(module['idle'], 99999):>5}  R     0     0 {','.join(module['services'])}"
        if options.long and module["args"]:
            line += "  " + " ".join(module["args"])
        print(printable(line))
    return 0


def stats(words: list[str]) -> int:
    """flux module stats"""
    p = Parser("module stats", description="Show statistics of a module, as JSON.")
    p.add_argument("-p", "--parse", metavar="OBJNAME", help="only the value at this dotted name")
    p.add_argument("-c", "--clear", action="store_true", help="count from 0 again")
    p.add_argument("module")
    options = p.parse_args(words)
    value = call(Client().rpc, "module.stats", {"name": options.module, "clear": options.clear})
    if options.clear:
        return 0
    for part in (options.parse or "").split("."):
        if part:
            if not isinstance(value, dict) or part not in value:
                raise CommandError(f"{options.parse}: no such value")
            value = value[part]
    print(json.dumps(value, indent=1))
    return 0
