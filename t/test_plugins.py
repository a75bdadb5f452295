# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Policies as plugins: found, loaded, refused, and driving the engine."""

import shutil
import subprocess
import sys

import pytest
from fluxsched.policy.base import Policy

from fluxsched.core import Inventory, PluginError
from fluxsched.policy.loader import load_plugin, search_path
from fluxsched.policy.options import parse_options
from naive import estimates, machine, nodes, reasons, scheduler, tree_request, vertex
from plugin_files import OPERATIONS, add, write_plugin

EASY = "backfill.plugin1"

# Finding and loading.


def test_the_two_that_come_along():
    for name in ("sched.plugin1", "backfill.plugin1"):
        policy = load_plugin(name)
        assert isinstance(policy, Policy)
        assert (policy.name, policy.options, policy.queue_depth) == (name, {}, -1)
        assert machine(1, plugin=name).plugin == name


def test_found_without_a_path(monkeypatch):
    monkeypatch.delenv("FLUX_MODULE_PATH")
    assert load_plugin("sched.plugin1").name == "sched.plugin1"


def test_by_path(top):
    policy = load_plugin(str(top / "sched" / "backfill.plugin1.so"), "reserve-depth=2")
    assert policy.options == {"reserve-depth": "2"}


def test_along_flux_module_path(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    write_plugin(second, "my.plugin", "self.queue_depth = 7")
    monkeypatch.setenv("FLUX_MODULE_PATH", f"{first}::{second}")
    assert [str(folder) for folder in search_path()[:2]] == [str(first), str(second)]
    assert load_plugin("my.plugin").queue_depth == 7
    # The first that has it counts.
    write_plugin(first, "my.plugin", "self.queue_depth = 8")
    assert load_plugin("my.plugin").queue_depth == 8
    # The loadables of the package are found still, but for one of the same name.
    assert load_plugin(EASY).queue_depth == -1
    write_plugin(first, EASY, "self.queue_depth = 9")
    assert load_plugin(EASY).queue_depth == 9


def test_not_found(tmp_path, monkeypatch):
    monkeypatch.setenv("FLUX_MODULE_PATH", str(tmp_path))
    with pytest.raises(PluginError, match=rf"plugin none: neither none\.so nor none\.py in {tmp_path}:"):
        load_plugin("none")
    for name in ("", "..", "no\0name", "n" * 300):
        with pytest.raises(PluginError, match="neither"):
            load_plugin(name)


def test_bad_path(tmp_path):
    with pytest.raises(PluginError, match=r"expected a file that ends in \.so or \.py"):
        load_plugin(str(tmp_path))
    for path in (tmp_path / "none.so", tmp_path / "none.py", tmp_path / ("n" * 300 + ".py")):
        with pytest.raises(PluginError, match=f"{path}: there is no such file"):
            load_plugin(str(path))
    text = tmp_path / "plugin.txt"
    text.write_text("")
    with pytest.raises(PluginError, match="expected a file"):
        load_plugin(str(text))


def test_a_file_here(tmp_path, monkeypatch):
    """The bare name of a file is a path, for every command."""
    write_plugin(tmp_path, "mine", "self.queue_depth = 7")
    monkeypatch.chdir(tmp_path)
    assert load_plugin("mine.py").queue_depth == 7
    with pytest.raises(PluginError, match=r"^plugin other\.py: there is no such file$"):
        load_plugin("other.py")
    code = "from fluxsched.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "plugin", "check", "mine.py"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "mine.py: loads, has all operations, takes the options\n"), done.stderr


def test_a_compiled_file_here(top, monkeypatch):
    monkeypatch.chdir(top / "sched")
    assert load_plugin("backfill.plugin1.so", "reserve-depth=2").options == {"reserve-depth": "2"}


def test_does_not_load(tmp_path):
    path = tmp_path / "mine.py"
    for text, message in (
        ("class Plugin(", "does not load: SyntaxError"),
        ("import nothing_of_that_name", "does not load: ModuleNotFoundError"),
        ("1 / 0", "does not load: ZeroDivisionError"),
        ("Plugin = 3", "has no class Plugin"),
        ("", "has no class Plugin"),
        ("def Plugin(options): pass", "has no class Plugin"),
    ):
        path.write_text(text)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        with pytest.raises(PluginError, match=message):
            load_plugin(str(path))
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"\x7fELF no library")
    with pytest.raises(PluginError, match=r"broken\.so does not load: ImportError"):
        load_plugin(str(broken))


def test_init_fails(tmp_path):
    for init, message in (
        ("raise ValueError('no such option')", r"mine\.py: ValueError: no such option"),
        ("self.queue_depth = 'many'", r"mine\.py: ValueError"),
        ("self.queue_depth = 2**40", r"mine\.py: OverflowError"),
    ):
        with pytest.raises(PluginError, match=message):
            load_plugin(write_plugin(tmp_path, init=init))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_python_plugin_lacks_an_operation(tmp_path, operation):
    with pytest.raises(PluginError, match=f"lacks the operation {operation}$"):
        load_plugin(write_plugin(tmp_path, leave_out=[operation]))


def test_lacking_operations_are_all_named(tmp_path):
    with pytest.raises(PluginError, match="lacks the operation find_resources, select_resources$"):
        load_plugin(write_plugin(tmp_path, leave_out=["find_resources", "select_resources"]))


def test_python_class_cannot_derive_from_policy(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from fluxsched.policy.base import Policy\n"
        "class Plugin(Policy):\n"
        + "".join(f"    def {name}{body}\n" for name, body in OPERATIONS.items() if name != "reserve_resources")
    )
    with pytest.raises(PluginError, match="lacks the operation sched_loop_setup"):
        load_plugin(str(path))


def test_engine_keeps_its_policy_when_another_does_not_load():
    e = machine(2, 1)
    for name, options in (("none", ""), (EASY, "x=1")):
        with pytest.raises(PluginError):
            e.set_policy(load_plugin(name, options))
    assert e.plugin == "sched.plugin1"
    with pytest.raises(PluginError):
        machine(2, plugin="none")


def test_set_policy():
    e = machine(3, 1)
    add(e, nodes(2, 10), nodes(2, 10), nodes(1, 10))
    assert e.schedule(0).started == [1]
    e.set_policy(load_plugin(EASY, "reserve-depth=-1"))
    assert e.plugin == EASY
    assert e.schedule(0).started == [3]
    e.set_policy(load_plugin("sched.plugin1", "queue-depth=0"))
    e.free(1)
    assert e.schedule(1).started == []


# Options.


def test_parse_options():
    assert parse_options("") == parse_options(None) == parse_options({}) == {}
    assert parse_options("a=1, b = x ,,c=") == {"a": "1", "b": "x", "c": ""}
    assert parse_options("a=b=c") == {"a": "b=c"}
    assert parse_options({"a": 1, "b": True}) == {"a": "1", "b": "True"}
    for text, message in (
        ("a", "plugin option 'a': expected key=value"),
        ("=3", "plugin option '=3': expected key=value"),
        ("a=1,a=2", "plugin option 'a' is given twice"),
    ):
        with pytest.raises(PluginError, match=message):
            parse_options(text)


@pytest.mark.parametrize("name", ["sched.plugin1", EASY])
def test_unknown_options(name):
    with pytest.raises(PluginError, match=f"plugin {name}: unknown option 'colour'; it knows .*queue-depth"):
        load_plugin(name, "queue-depth=3,colour=red")
    with pytest.raises(PluginError, match=f"plugin {name}: unknown option 'a'"):
        machine(2, plugin=name, options={"b": 1, "a": 2})


@pytest.mark.parametrize("value", ["x", "", "1.5", "-2", "99999999999", "0x10"])
def test_bad_option_values(value):
    for name, key in (("sched.plugin1", "queue-depth"), (EASY, "queue-depth"), (EASY, "reserve-depth")):
        with pytest.raises(PluginError, match=f"plugin option {key}={value}: expected a whole number from -1 to"):
            load_plugin(name, {key: value})


def test_bad_flag():
    with pytest.raises(PluginError, match="plugin option io-aware=yes: expected true or false"):
        load_plugin(EASY, "io-aware=yes")
    load_plugin(EASY, "io-aware=false")


def test_python_plugin_gets_its_options(tmp_path):
    path = write_plugin(tmp_path, init="self.queue_depth = int(options['depth'])")
    e = machine(3, 1, plugin=path, options="depth=2")
    add(e, nodes(1), nodes(1), nodes(1))
    assert e.schedule(0).started == [1, 2]
    assert e.stats()["plugin_options"] == {"depth": "2"}


# In Cython.


def build(source, folder):
    """Compile a plugin as the README does; the loadable's path."""
    start = "from fluxsched.cli.main import main; main()"
    command = [sys.executable, "-c", start, "plugin", "build", str(source), "-o", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done, str(folder / (source.stem + ".so"))


@pytest.fixture(scope="module")
def skip_plugin(top, tmp_path_factory):
    done, path = build(top / "doc" / "examples" / "skip.pyx", tmp_path_factory.mktemp("skip"))
    assert done.returncode == 0, done.stderr
    assert "has all operations" in done.stdout
    return path


def test_cython_example(skip_plugin):
    e = machine(4, 1, plugin=skip_plugin, options="skip=1")
    add(e, nodes(3), nodes(2), nodes(1), nodes(1), nodes(1))
    outcome = e.schedule(0)
    assert outcome.started == [1, 3]
    assert reasons(e) == {
        2: "waiting for resources", 4: "waiting for resources", 5: "waiting for jobs ahead in the queue",
    }
    with pytest.raises(PluginError, match="unknown option 'x'"):
        load_plugin(skip_plugin, "x=1")
    # State is in the object: two engines side by side.
    other = machine(4, 1, plugin=skip_plugin, options="skip=0")
    add(other, nodes(3), nodes(2), nodes(1))
    assert other.schedule(0).started == [1]
    e.cancel(2)
    e.free(1)
    assert e.schedule(1).started == [4, 5]


def test_python_example(top):
    e = machine(4, 1, plugin=str(top / "doc" / "examples" / "smallest.py"), options="limit=3")
    add(e, nodes(4, 10), nodes(1, 10), nodes(2, 10), nodes(3, 10))
    outcome = e.schedule(0)
    assert outcome.started == [2, 3]
    assert estimates(e) == {1: None, 4: 10.0}
    with pytest.raises(PluginError, match="unknown option 'x'"):
        load_plugin(str(top / "doc" / "examples" / "smallest.py"), "x=1")


def test_cython_plugin_lacks_operations(top, tmp_path):
    text = (top / "doc" / "examples" / "skip.pyx").read_text()
    begin = text.index("    cdef int select_resources")
    end = text.index("    cdef int reserve_resources")
    source = tmp_path / "part.pyx"
    source.write_text(text[:begin] + text[end:])
    done, path = build(source, tmp_path)
    assert done.returncode != 0
    assert "lacks the operation select_resources, allocate_resources" in done.stderr
    with pytest.raises(PluginError, match="lacks the operation select_resources, allocate_resources$"):
        load_plugin(path)


# Side by side.


def test_engines_share_an_inventory():
    inventory = Inventory.from_counts(4, 2)
    first = scheduler(inventory, EASY, "reserve-depth=-1")
    second = scheduler(inventory, EASY, "reserve-depth=0")
    for e in (first, second):
        add(e, nodes(3, 10), nodes(4, 10), nodes(1, 20), tree_request(vertex("core", 1), duration=99))
    assert first.schedule(0).started == [1]
    assert second.schedule(0).started == [1, 3]
    first.mark_down("0-3")
    first.property_add("mine", "0")
    assert second.stats()["nodes"]["up"] == 4
    assert "mine" not in str(second.resource_status())
