# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""RDL read from Python, the clusters in conf/, and random trees against plain counts."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxsched.formats import rdl


@pytest.fixture
def conf(top):
    return top / "conf"


def counts(hierarchy):
    return Counter(hierarchy.type)


def test_hype(conf):
    h = rdl.load(conf / "hype.lua")
    assert h.uri == "default"
    assert h.name[:5] == ["hype", "hype201", "socket0", "core0", "core1"]
    assert counts(h) == {"cluster": 1, "node": 154, "socket": 308, "core": 2464, "memory": 308}
    nodes = [v for v, kind in enumerate(h.type) if kind == "node"]
    assert [h.id[v] for v in nodes] == list(range(201, 355))
    assert {h.size[v] for v, kind in enumerate(h.type) if kind == "memory"} == {15000}
    assert h.id[0] is None and h.parent[0] == -1
    assert all(h.parent[v] < v for v in range(1, len(h.parent)))
    first = nodes[0]
    cores = [h.id[v] for v in range(first, nodes[1]) if h.type[v] == "core"]
    assert cores == list(range(16))
    assert {len(column) for column in h[1:]} == {len(h.type)}


def test_hype_io(conf):
    h = rdl.load(conf / "hype-io.lua")
    bandwidth = {kind: h.tags[h.type.index(kind)].get("max_bw") for kind in ("cluster", "node", "socket", "core")}
    assert bandwidth == {"cluster": 10000, "node": 144, "socket": 72, "core": 9}


def test_cab(conf):
    h = rdl.load(conf / "cab.lua")
    assert counts(h) == {"cluster": 1, "node": 1232, "socket": 2464, "core": 19712}
    assert h.name[1] == "cab1" and "cab1232" in h.name


def test_cts_io(conf):
    h = rdl.load(conf / "cts-io.lua")
    assert counts(h) == {"filesystem": 1, "gateway": 1, "core_switch": 1, "switch": 216, "node": 3840, "socket": 7680,
                         "core": 61440}
    switch = [v for v, kind in enumerate(h.type) if kind == "switch"]
    on_switch = Counter(h.parent[v] for v, kind in enumerate(h.type) if kind == "node")
    assert {on_switch[v] for i, v in enumerate(switch, 1) if i % 9} == {18}
    assert {on_switch[v] for i, v in enumerate(switch, 1) if i % 9 == 0} == {16}
    assert h.name[-19:-17] == ["cts-13886", "socket0"]
    assert [h.tags[v]["max_bw"] for v in range(4)] == [90000, 90000, 144000, 72000]


def test_part_of_a_hierarchy_comes_with_its_ancestors(conf):
    h = rdl.load(conf / "cab.lua", "default:/cab/cab77/socket1")
    assert h.name == ["cab", "cab77", "socket1"] + [f"core{i}" for i in range(8, 16)]
    assert h.parent == [-1, 0, 1] + [2] * 8


def test_flags_and_values():
    h = rdl.loads("Hierarchy 'default' { Resource { 'node', tags = { 'gpu', n = 3, s = 'Größe' }, "
                  "properties = { 'a', no = false } } }")
    assert h.tags == [{"gpu": True, "n": 3, "s": "Größe"}]
    assert h.properties == [{"a": True, "no": False}]


def test_zero_padded_names():
    h = rdl.loads("Hierarchy 'default' { Resource { 'c', children = { Resource { 'node', 'n', ids = '08-11' } } } }")
    assert h.name == ["c", "n08", "n09", "n10", "n11"]
    assert h.id == [None, 8, 9, 10, 11]


@pytest.mark.parametrize(("text", "message"), [
    ("\nHierarchy 'd' {}", "<string>:2: Hierarchy: no Resource in it"),
    ("x = ", "<string>:1: unexpected symbol"),
    ("Hierarchy 'd' { Resource { 'a' } }", "<string>: default: no hierarchy 'default' (there: d)"),
    ("\x1bLua", "<string>: compiled Lua, expected text"),
    ("error 'Größe'", "<string>:1: Größe"),
    ("error '\\255'", "<string>:1: \N{REPLACEMENT CHARACTER}"),
])
def test_errors_in_text(text, message):
    with pytest.raises(rdl.RDLError) as caught:
        rdl.loads(text)
    assert str(caught.value).startswith(message)


def test_errors_in_files(tmp_path):
    with pytest.raises(rdl.RDLError, match=r"/none\.lua: No such file"):
        rdl.load(tmp_path / "none.lua")
    path = tmp_path / "ü.lua"
    path.write_text("\n\nResource { 'a', size = 0 }\n")
    with pytest.raises(rdl.RDLError, match=r":3: a\.size: expected a whole number") as caught:
        rdl.load(path)
    assert str(caught.value).startswith(str(path))
    path.write_text("Hierarchy 'default' { Resource { 'a' } }")
    with pytest.raises(rdl.RDLError, match=r"default:/b: no resource 'b'; the root is 'a'"):
        rdl.load(path, "default:/b")


def test_an_endless_loop_is_stopped(monkeypatch):
    def interpreter():
        lua, module = original()
        module.limits.instructions = 1e6
        return lua, module

    original = rdl.interpreter
    monkeypatch.setattr(rdl, "interpreter", interpreter)
    with pytest.raises(rdl.RDLError, match="<string>:1: stopped: still running"):
        rdl.loads("while true do end")


def test_a_large_machine_is_far_from_the_limit(monkeypatch):
    """16,384 nodes of 64 cores and 4 gpus load: here a sixteenth of them, within a sixteenth of the budget."""

    def interpreter():
        lua, module = original()
        module.limits.instructions /= 16
        return lua, module

    original = rdl.interpreter
    monkeypatch.setattr(rdl, "interpreter", interpreter)
    text = """
    uses "Node"
    Hierarchy "default" { Resource { "cluster", children = { ListOf { Node, ids = "0-1023", args = {
        name = "n", sockets = { "0-31", "32-63" }, memory_per_socket = 1000,
        children = { Resource { "gpu", ids = "0-3" } },
    } } } } }"""
    assert counts(rdl.loads(text))["core"] == 1024 * 64


def test_a_string_that_doubles_is_stopped():
    with pytest.raises(rdl.RDLError, match="memory"):
        rdl.loads("local s = 'x' while true do s = s .. s end")


def test_memory_that_runs_out_while_compiling(monkeypatch):
    monkeypatch.setattr(rdl, "MAX_MEMORY", 3 << 20)
    with pytest.raises(rdl.RDLError, match="<string>.*memory"):
        rdl.loads("x = {" + "1," * 200_000 + "}")


def test_clusters_that_come_with_it(conf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rdl.load("hype.lua") == rdl.load(conf / "hype.lua")
    (tmp_path / "hype.lua").write_text("Hierarchy 'default' { Resource { 'mine' } }")
    assert rdl.load("hype.lua").type == ["mine"]
    for path in ("", "none.lua", "./cab.lua", "/cab.lua", "..", "n" * 300):
        assert rdl.find(path) == path
    with pytest.raises(rdl.RDLError, match=r"^none\.lua: No such file"):
        rdl.load("none.lua")


def test_without_its_lua_files(monkeypatch, tmp_path):
    monkeypatch.setattr(rdl, "__file__", str(tmp_path / "a" / "b" / "c" / "rdl.py"))
    with pytest.raises(rdl.RDLError, match=r"RDL\.lua: not found beside the package"):
        rdl.lua_directory()


def test_types_along_lua_path(monkeypatch, tmp_path):
    folder = tmp_path / "RDL" / "types"
    folder.mkdir(parents=True)
    (folder / "Rack.lua").write_text(
        "local Rack = Resource:subclass 'Rack'\n"
        "function Rack:initialize(arg) Resource.initialize(self, { 'rack', id = arg.id }) end\nreturn Rack\n")
    (folder / "Bad.lua").write_text("return 5\n")
    (folder / "Worse.lua").write_text("x = = 1\n")
    monkeypatch.setenv("LUA_PATH", f"{tmp_path}/?.lua")
    assert rdl.loads("uses 'Rack' Hierarchy 'default' { Rack { id = 3 } }").name == ["rack3"]
    with pytest.raises(rdl.RDLError, match=r"<string>:1: uses: .*Bad\.lua returns no type"):
        rdl.loads("uses 'Bad'")
    with pytest.raises(rdl.RDLError, match=r"<string>:1: uses: .*Worse\.lua:1: unexpected symbol"):
        rdl.loads("uses 'Worse'")


# Random trees: (type, id or None, size, tags, children), children with names of their own.

NAMES = st.sampled_from(["core", "gpu", "memory", "rack", "n1", "n12"])
VALUES = st.one_of(st.booleans(), st.integers(-10, 10), st.floats(allow_nan=False, allow_infinity=False),
                   st.text(st.characters(blacklist_categories=("Cs",)), max_size=5))
TAGS = st.dictionaries(st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=4), VALUES, max_size=2)


def node(children):
    return st.tuples(NAMES, st.none() | st.integers(0, 12), st.integers(1, 3), TAGS, children)


def siblings(trees):
    return st.lists(trees, max_size=4, unique_by=lambda r: r[0] + ("" if r[1] is None else str(r[1])))


TREES = st.recursive(node(st.just([])), lambda trees: node(siblings(trees)), max_leaves=25)


def lua_text(text):
    return '"' + "".join(f"\\{byte:03d}" for byte in text.encode()) + '"'


def lua_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return lua_text(value) if isinstance(value, str) else repr(value)


def lua_resource(tree):
    kind, number, size, tags, children = tree
    number = "" if number is None else f"id = {number},"
    tags = ",".join(f"[{lua_text(k)}] = {lua_value(v)}" for k, v in tags.items())
    children = ",".join(map(lua_resource, children))
    return f"Resource {{ '{kind}', {number} size = {size}, tags = {{ {tags} }}, children = {{ {children} }} }}"


def flat(tree):
    """The resources of a tree as (name, size, tags), in preorder."""
    kind, number, size, tags, children = tree
    yield kind + ("" if number is None else str(number)), size, tags
    for child in sorted(children, key=lambda c: float("inf") if c[1] is None else c[1]):
        yield from flat(child)


def shape(tree):
    """A tree with children and tags in no order; unlike Python, RDL tells true from 1."""
    kind, number, size, tags, children = tree
    tags = frozenset((name, isinstance(value, bool), value) for name, value in tags.items())
    return kind, number, size, tags, frozenset(map(shape, children))


def naive_count(tree, total):
    total[tree[0]] += tree[2]
    for child in tree[4]:
        naive_count(child, total)
    return total


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_random_trees(tree):
    store = rdl.open_text(f"Hierarchy 'default' {{ {lua_resource(tree)} }}")
    h = store.hierarchy()
    assert list(zip(h.name, h.size, h.tags)) == list(flat(tree))
    assert store.aggregate() == naive_count(tree, Counter())
    assert rdl.loads(store.serialize()) == h
    assert store.find(type=tree[0]).hierarchy() == h


@settings(max_examples=60, deadline=None)
@given(TREES, TREES)
def test_random_trees_compare(one, other):
    lua, module = rdl.interpreter()
    compare = lua.eval("function(a, b) return a == b and b == a and a:compare(b) end")
    one_text, other_text = (f"Hierarchy 'default' {{ {lua_resource(tree)} }}".encode() for tree in (one, other))
    a, b = module.eval(one_text), module.eval(other_text)
    assert compare(a, module.eval(a.serialize(a).encode("latin-1")))
    assert compare(a, a.dup(a))
    assert compare(a, b) == (shape(one) == shape(other))


def test_a_name_without_the_clusters_that_come_along(monkeypatch, tmp_path):
    """A plain name is then a path as any other."""
    def missing(name, file):
        raise rdl.RDLError(f"{file}: not found beside the package")

    monkeypatch.chdir(tmp_path)
    assert rdl.find("hype.lua").endswith("conf/hype.lua")
    monkeypatch.setattr(rdl, "_shared", missing)
    assert rdl.find("hype.lua") == "hype.lua"
    with pytest.raises(rdl.RDLError, match=r"RDL\.lua: not found"):
        rdl.open_text("")


def test_memory_that_runs_out_while_the_text_is_compiled(monkeypatch):
    text = "local t = {" + "'x'," * 400_000 + "}"
    monkeypatch.setattr(rdl, "MAX_MEMORY", 4 << 20)
    with pytest.raises(rdl.RDLError, match=r"^big\.lua: .*memory"):
        rdl.open_text(text, "big.lua")
