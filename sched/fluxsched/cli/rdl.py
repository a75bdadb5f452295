# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux-sched rdl: look at the resources that an RDL file describes, or turn them into R."""
from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import click

from fluxsched.formats.quote import printable


def value_of(text: str) -> bool | float | str:
    """A tag's value as RDL would have it: a number, a boolean, or else a string."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


def number(value: Any) -> str:
    """A value as text; numbers without needless digits."""
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def details(hierarchy: Any, v: int) -> str:
    """What the tree shows behind a name."""
    parts = [hierarchy.type[v]] if hierarchy.type[v] != hierarchy.basename[v] else []
    if hierarchy.size[v] != 1:
        parts.append(f"size={hierarchy.size[v]}")
    for tag, value in sorted(hierarchy.tags[v].items()):
        parts.append(tag if value is True else f"{tag}={number(value)}")
    return "  " + " ".join(parts) if parts else ""


def tree_lines(hierarchy: Any, full: bool = False) -> Iterator[str]:
    """Lines of an indented tree. Equal siblings that follow each other share one, unless full."""
    from fluxsched.formats import hostlist

    children: list[list[int]] = [[] for _ in hierarchy.type]
    for v, parent in enumerate(hierarchy.parent):
        if parent >= 0:
            children[parent].append(v)
    # What two resources must share to be equal but for their ids, as a number: children come after parents.
    shape = [0] * len(children)
    shapes: dict[tuple[Any, ...], int] = {}
    for v in reversed(range(len(children))):
        content = (
            hierarchy.type[v], hierarchy.basename[v], hierarchy.size[v], id(hierarchy.tags[v]),
            id(hierarchy.properties[v]), tuple((shape[c], hierarchy.id[c]) for c in children[v]),
        )
        shape[v] = shapes.setdefault(content, len(shapes))

    def walk(siblings: list[int], depth: int) -> Iterator[str]:
        at = 0
        while at < len(siblings):
            first = siblings[at]
            end = at + 1
            while not full and end < len(siblings) and shape[siblings[end]] == shape[first]:
                end += 1
            name = hierarchy.name[first]
            if end - at > 1:
                name = hostlist.encode([hierarchy.name[v] for v in siblings[at:end]])
            yield "  " * depth + name + details(hierarchy, first)
            yield from walk(children[first], depth + 1)
            at = end

    yield from walk([0], 0)


def show_tree(store: Any, uri: str | None, full: bool) -> None:
    """Print one hierarchy, or all."""
    for one in [uri] if uri else store.hierarchies():
        for line in tree_lines(store.hierarchy(one), full):
            click.echo(printable(line))


def show_resource(store: Any, uri: str | None) -> None:
    """Print one resource in detail."""
    found = store.resource(uri or "default")
    for field, value in found.items():
        if isinstance(value, dict):
            value = " ".join(k if v is True else f"{k}={number(v)}" for k, v in sorted(value.items()))
        if value is not None and value != "":
            click.echo(printable(f"{field + ':':<12}{number(value)}"))


def show_aggregate(store: Any, uri: str | None) -> None:
    """Print amounts by type."""
    counts = store.aggregate(uri or "default")
    rows = [(printable(name), count) for name, count in sorted(counts.items())]
    width = max((len(name) for name, _ in rows), default=0)
    for name, count in rows:
        click.echo(f"{name:<{width}}  {count}")


def show_r(store: Any, uri: str | None) -> None:
    """Print an R object of the nodes."""
    from fluxsched.core import Inventory
    from fluxsched.formats.rdl import RDLError

    hierarchy = store.hierarchy(uri or "default")
    try:
        inventory = Inventory.from_rdl(hierarchy)
    except ValueError as error:
        raise RDLError(f"{store.name}: {error}") from None
    click.echo(json.dumps(inventory.to_r()))


@click.command("rdl", short_help="Look at the resources of an RDL file, or turn them into R.")
@click.argument("file", metavar="FILE")
@click.argument("action", metavar="[tree|resource|aggregate|find|to-r]", default="tree",
                type=click.Choice(["tree", "resource", "aggregate", "find", "to-r"]))
@click.argument("uri", metavar="[URI]", required=False)
@click.option("--full", is_flag=True, help="tree, find: a line for each resource, with no folding.")
@click.option("--type", metavar="TYPE", help="find: of this type.")
@click.option("--name", metavar="LIST", help="find: with one of these names, as hype[201-204].")
@click.option("--ids", metavar="LIST", help="find: with one of these ids, as 0-7,12.")
@click.option("--tag", metavar="NAME[=VALUE]", multiple=True, help="find: with this tag. May be given again.")
@click.option("--available", is_flag=True, help="find: not all allocated.")
def rdl(file: str, action: str, uri: str | None, full: bool, **criteria: Any) -> None:
    """Read the RDL file FILE.

    \b
    tree       its resources, indented (the default)
    resource   one resource in detail
    aggregate  amounts available by type
    find       the part of the tree that meets all the options
    to-r       an R object (RFC 20) of its nodes, for a Flux instance

    URI names a part of it, such as default:/hype/hype201: for find the part to look in.
    """
    from fluxsched.formats.rdl import open_file

    given = {key: value for key, value in criteria.items() if value}
    if given and action != "find":
        raise click.UsageError(f"--{next(iter(given))} goes with find")
    if full and action not in ("tree", "find"):
        raise click.UsageError("--full goes with tree and find")
    # Lua does not come back to Python for a Ctrl-C before the file has run.
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        store = open_file(file, any_file=True)  # Ctrl-C ends this program while it waits
    finally:
        signal.signal(signal.SIGINT, handler)
    if not store.hierarchies():
        store.hierarchy()  # raises: whatever is asked, the answer is what such a file lacks
    if action == "tree":
        show_tree(store, uri, full)
    elif action == "resource":
        show_resource(store, uri)
    elif action == "aggregate":
        show_aggregate(store, uri)
    elif action == "to-r":
        show_r(store, uri)
    else:
        tags: dict[str, Any] = {}
        for text in given.pop("tag", ()):
            tag, equals, value = text.partition("=")
            tags[tag] = value_of(value) if equals else True
        if tags:
            given["tags"] = tags
        if uri:
            given["uri"] = uri
        show_tree(store.find(**given), None, full)
