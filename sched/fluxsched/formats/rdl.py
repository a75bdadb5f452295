# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Resources described in RDL, read through the language's own Lua files.

RDL is Lua 5.1 and runs in the sandbox of ``rdl/RDL/sandbox.lua``; lupa holds the interpreter. Each call has an
interpreter of its own, which is bounded in memory as well, for the sandbox can only look at memory between
instructions.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Optional, Union

from lupa import lua51

from fluxsched.errors import FluxSchedError

# Bytes of one interpreter: above what the sandbox allows, so that its clearer message usually comes first.
MAX_MEMORY = 3 << 29


#: The value of a tag or property.
Scalar = Union[str, float, int, bool]
StrPath = Union[str, "os.PathLike[str]"]


class RDLError(FluxSchedError, ValueError):
    """RDL that cannot be read, or does not hold what was asked for. The text names file and line where there are."""


class Hierarchy(NamedTuple):
    """One RDL hierarchy, or a part of it with its ancestors. Lists of one item per resource, in preorder.

    Children come by id, those without an id last. Equal tags and properties are one dict: do not change them.
    """

    uri: str  # as asked for
    type: list[str]
    basename: list[str]  # the name without the id
    name: list[str]
    id: list[Optional[int]]  # None for none
    size: list[int]  # 1, or how much a pool holds (MB for memory)
    parent: list[int]  # position of the parent; -1 for the root
    tags: list[dict[str, Scalar]]  # True for a tag without a value
    properties: list[dict[str, Scalar]]  # likewise


def _shared(name: str, file: str) -> Path:
    """Path of a folder that comes with the package, known by a file in it."""
    here = Path(__file__)
    for folder in (here.parent.parent / "share" / name, here.resolve().parents[3] / name):
        if (folder / file).is_file():
            return folder
    raise RDLError(f"{file}: not found beside the package ({here.parent.parent / 'share' / name})")


def lua_directory() -> Path:
    """Path of the folder that holds RDL.lua."""
    return _shared("rdl", "RDL.lua")


def conf_directory() -> Path:
    """Path of the folder that holds hype.lua and the other clusters."""
    return _shared("conf", "hype.lua")


def find(path: StrPath) -> str:
    """The path of an RDL file. A plain name that is no file here may be one of conf/, which comes with the package."""
    path = os.fspath(path)
    if not path or os.path.dirname(path) or os.path.lexists(path):
        return path
    try:
        shipped = conf_directory() / path
    except RDLError:
        return path
    return str(shipped) if os.path.isfile(shipped) else path


def interpreter() -> tuple[Any, Any]:
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
    module = lua.eval("require 'RDL'")
    module["limits"]["watch_lines"] = False
    return lua, module


def _text(value: Any) -> Any:
    """A value from Lua, whose strings are bytes: lupa gives them as latin-1."""
    if isinstance(value, str):
        return value.encode("latin-1").decode("utf-8", "replace")
    return value


def _bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def _scalars(table: Any) -> dict[str, Scalar]:
    return {_text(name): _text(value) for name, value in table.items()}


class Store:
    """An RDL file's resources, still in Lua. ``name`` is the file's."""

    def __init__(self, lua: Any, store: Any, name: str) -> None:
        self.name = name
        self._lua = lua
        self._store = store

    def _call(self, method: str, argument: Any) -> Any:
        """Call a method of the Lua store; RDLError if it returns nil and an error."""
        result = self._store[method](self._store, argument)
        if isinstance(result, tuple):
            result, error = result
            if result is None:
                raise RDLError(f"{self.name}: {_text(error)}")
        return result

    def _table(self, mapping: Mapping[Any, Any]) -> Any:
        return self._lua.table_from(
            {_bytes(k): self._table(v) if isinstance(v, dict) else _bytes(v) for k, v in mapping.items()}
        )

    def hierarchies(self) -> list[str]:
        """Names of the hierarchies, in the file's order."""
        return list(self._store["roots"].values())

    def resource(self, uri: str = "default") -> dict[str, Any]:
        """One resource as a dict: name, basename, type, id (None if it has none), uri, path, uuid, size, allocated,
        available, tags, properties, children (how many)."""
        found = self._call("resource", _bytes(uri))
        fields = ("name", "basename", "type", "id", "uri", "path", "uuid", "size", "allocated", "available")
        resource = {field: found[field] for field in fields}
        flat = self.hierarchy(resource["uri"])
        resource["tags"] = flat.tags[resource["path"].count("/") - 1]
        resource["properties"] = flat.properties[resource["path"].count("/") - 1]
        resource["children"] = flat.parent.count(resource["path"].count("/") - 1)
        return resource

    def aggregate(self, uri: str = "default") -> dict[str, int]:
        """Amounts available by type, as a dict, at and below a URI."""
        return dict(self._call("aggregate", _bytes(uri)))

    def find(self, **criteria: Any) -> Store:
        """A new Store with what meets all criteria (type, name, ids, tags, available, uri), what is below that, and
        its ancestors. RDLError if nothing does."""
        return Store(self._lua, self._call("find", self._table(criteria)), self.name)

    def serialize(self) -> str:
        """RDL text that reads back equal."""
        return _text(self._store["serialize"](self._store))

    def hierarchy(self, uri: str = "default") -> Hierarchy:
        """The Hierarchy at and below a URI, with its ancestors but not their other children."""
        flat = self._call("flat", _bytes(uri))
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


def _kind(kind: Any) -> tuple[str, str, str, int, dict[str, Scalar], dict[str, Scalar]]:
    width = kind["width"]
    basename = kind["basename"]
    return (
        kind["type"],
        basename,
        f"{basename}%0{width}d" if width else f"{basename}%d",
        int(kind["size"]),
        _scalars(kind["tags"]),
        _scalars(kind["properties"]),
    )


def _open(evaluate: str, name: str, *arguments: Any) -> Store:
    lua, module = interpreter()
    try:
        result = module[evaluate](*arguments)
    except lua51.LuaError as error:
        # Memory that runs out while the text is compiled, outside of the sandbox.
        raise RDLError(f"{name}: {str(error) or 'not enough memory'}") from None
    if isinstance(result, tuple):
        raise RDLError(_text(result[1]))
    return Store(lua, result, name)


def open_file(path: StrPath, any_file: bool = False) -> Store:
    """Read an RDL file (see find) into a Store. RDLError if it cannot be read or does not evaluate.

    Only with `any_file` may it be a FIFO or a device: reading one may take for ever.
    """
    path = find(path)
    if not any_file and os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise RDLError(f"{path}: expected a file, found a FIFO or a device")
    return _open("evalf", os.fspath(path), os.fsencode(path))


def open_text(text: str, name: str = "<string>") -> Store:
    """Read RDL text into a Store; ``name`` stands for the file in messages."""
    return _open("eval", name, text.encode(), name.encode())


def load(path: StrPath, uri: str = "default") -> Hierarchy:
    """Hierarchy at a URI of an RDL file."""
    return open_file(path).hierarchy(uri)


def loads(text: str, uri: str = "default") -> Hierarchy:
    """Hierarchy at a URI of RDL text."""
    return open_text(text).hierarchy(uri)
