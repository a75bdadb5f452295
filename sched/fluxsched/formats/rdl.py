# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Resources described in RDL, read through the language's own Lua files.

RDL is Lua 5.1 and runs in the sandbox of ``rdl/RDL/sandbox.lua``; lupa holds the interpreter. Each call has an
interpreter of its own, which is bounded in memory as well, for the sandbox can only look at memory between
instructions.
"""

import os
from pathlib import Path
from typing import NamedTuple

from lupa import lua51

# Bytes of one interpreter: above what the sandbox allows, so that its clearer message usually comes first.
MAX_MEMORY = 3 << 30


class RDLError(ValueError):
    """RDL that cannot be read, or does not hold what was asked for. The text names file and line where there are."""


class Hierarchy(NamedTuple):
    """One RDL hierarchy, or a part of it with its ancestors. Lists of one item per resource, in preorder.

    Children come by id, those without an id last. Equal tags and properties are one dict: do not change them.
    """

    uri: str  # as asked for
    type: list  # str
    basename: list  # str: the name without the id
    name: list  # str
    id: list  # int, or None
    size: list  # int: 1, or how much a pool holds (MB for memory)
    parent: list  # int: position of the parent; -1 for the root
    tags: list  # dict of str to str, float, int or bool; True for a tag without a value
    properties: list  # dict, likewise


def lua_directory():
    """Path of the folder that holds RDL.lua."""
    here = Path(__file__)
    for folder in (here.parent.parent / "share" / "rdl", here.resolve().parents[3] / "rdl"):
        if (folder / "RDL.lua").is_file():
            return folder
    raise RDLError(f"RDL.lua: not found beside the package ({here.parent.parent / 'share' / 'rdl'})")


def interpreter():
    """A Lua 5.1 interpreter and its RDL module. LUA_PATH comes first, as in plain Lua, then the package's own."""
    lua = lua51.LuaRuntime(
        max_memory=MAX_MEMORY,
        register_eval=False,
        register_builtins=False,
        unpack_returned_tuples=True,
        encoding="latin-1",
    )
    path = os.environ.get("LUA_PATH_5_1", os.environ.get("LUA_PATH", ""))
    own = str(lua_directory() / "?.lua")
    lua.globals().package.path = f"{path};{own}" if path else own
    return lua, lua.eval("require 'RDL'")


class Store:
    """An RDL file's resources, still in Lua: ``lua`` is the store that RDL.eval or RDL.evalf returned."""

    def __init__(self, lua, store):
        self.runtime = lua
        self.lua = store

    def call(self, method, *arguments):
        """Call a method of the Lua store; RDLError if it returns nil and an error."""
        result = self.lua[method](self.lua, *arguments)
        if isinstance(result, tuple):
            result, error = result[0], result[1]
            if result is None:
                raise RDLError(error)
        return result

    def hierarchy(self, uri="default"):
        """The Hierarchy at and below a URI, with its ancestors but not their other children."""
        flat = self.call("flat", uri)
        kinds = [_kind(kind) for kind in flat["kinds"].values()]
        kind = [kinds[int(at)] for at in flat["kind"].split(",")]
        ids = [int(i) if i != "-1" else None for i in flat["id"].split(",")]
        types, basenames, formats, sizes, tags, properties = map(list, zip(*kind))
        return Hierarchy(
            uri=uri,
            type=types,
            basename=basenames,
            name=[b if i is None else f % i for b, f, i in zip(basenames, formats, ids)],
            id=ids,
            size=sizes,
            parent=[int(at) for at in flat["parent"].split(",")],
            tags=tags,
            properties=properties,
        )


def _kind(kind):
    width = kind["width"]
    basename = kind["basename"]
    return (
        kind["type"],
        basename,
        f"{basename}%0{width}d" if width else f"{basename}%d",
        int(kind["size"]),
        dict(kind["tags"]),
        dict(kind["properties"]),
    )


def _open(evaluate, *arguments):
    lua, module = interpreter()
    try:
        result = module[evaluate](*arguments)
    except lua51.LuaError as error:
        # Memory that runs out while the text is compiled, outside of the sandbox.
        raise RDLError(f"{arguments[-1]}: {error}") from None
    if isinstance(result, tuple):
        raise RDLError(result[1])
    return Store(lua, result)


def open_file(path):
    """Read an RDL file into a Store. RDLError if it cannot be read or does not evaluate."""
    return _open("evalf", os.fspath(path))


def open_text(text, name="<string>"):
    """Read RDL text into a Store; ``name`` stands for the file in messages."""
    return _open("eval", text, name)


def load(path, uri="default"):
    """Hierarchy at a URI of an RDL file."""
    return open_file(path).hierarchy(uri)


def loads(text, uri="default"):
    """Hierarchy at a URI of RDL text."""
    return open_text(text).hierarchy(uri)
