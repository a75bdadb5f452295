# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Configuration files: what is read of them, and what is refused by name."""

import builtins

import pytest

from fluxsched.formats import config, fastjson


def test_files(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[queues.batch]\nrequires = ['batch']\n")
    assert config.load(str(path)) == {"queues": {"batch": {"requires": ["batch"]}}}
    path = tmp_path / "c.json"
    path.write_text('{"sched": {"plugin": "sched.plugin1"}}')
    assert config.load(str(path)) == {"sched": {"plugin": "sched.plugin1"}}


@pytest.mark.parametrize(("name", "data", "text"), [
    ("c.json", b"[1]", "expected a table at the top"),
    ("c.json", b"[" * 1000, "levels deep"),
    ("c.json", b"{", "Expecting property name"),
    ("c.toml", b"a = ", "Invalid value"),
    ("c.toml", b"a = '\xff'", "can't decode byte 0xff"),
    ("c.toml", b"a = " + b"[" * 150 + b"]" * 150, "levels deep"),
    ("c.toml", b"a = " + b"[" * 5000 + b"]" * 5000, "levels deep"),
    ("c.toml", b"#" * (config.MAX_SIZE + 1), f"expected at most {config.MAX_SIZE} bytes"),
])
def test_files_that_are_refused(tmp_path, name, data, text):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(config.ConfigError) as refusal:
        config.load(str(path))
    assert str(refusal.value).startswith(f"{path}: ") and text in str(refusal.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(config.ConfigError, match="none.toml: No such file or directory"):
        config.load(str(tmp_path / "none.toml"))


def test_an_old_python_without_a_reader_of_toml(tmp_path, monkeypatch):
    path = tmp_path / "c.toml"
    path.write_text("a = 1")
    there = builtins.__import__

    def without(name, *rest, **others):
        if name in ("tomllib", "tomli"):
            raise ImportError(name)
        return there(name, *rest, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(config.ConfigError, match="Python 3.11 or the package tomli; a .json file"):
        config.load(str(path))


def test_queues():
    config.check_queues({})
    config.check_queues({"queues": {"batch": {"requires": ["batch"]}, "debug": {}}})
    config.check_queues({"queues": {"a": {}}, "policy": {"jobspec": {"defaults": {"system": {"queue": "a"}}}}})


@pytest.mark.parametrize(("table", "text"), [
    ({"queues": []}, "queues: expected a table"),
    ({"queues": {"a": 1}}, "queues.a: expected a table with requires"),
    ({"queues": {"a": {"requires": "x"}}}, "queues.a: expected a table with requires"),
    ({"queues": {"a": {"requires": [1]}}}, "queues.a: expected a table with requires"),
    ({"queues": {"a": {"parent": "b"}}}, "b"),
    ({"policy": {"jobspec": {"defaults": {"system": {"duration": "soon"}}}}}, "system.duration"),
])
def test_queues_that_are_refused(table, text):
    with pytest.raises(config.ConfigError) as refusal:
        config.check_queues(table)
    assert text in str(refusal.value)


def test_resources():
    assert config.resources({}, 10) is None
    R = config.resources({"config": [
        {"hosts": "n[0-2]", "cores": "0-3"},
        {"hosts": "n1", "gpus": "0", "properties": ["fast"]},
        {"hosts": "m", "cores": 0},
    ]}, 10)
    execution = R["execution"]
    assert execution["nodelist"] == ["n[0-2],m"] and execution["properties"] == {"fast": "1"}
    assert [entry["children"] for entry in execution["R_lite"]] == [
        {"core": "0-3"}, {"core": "0-3", "gpu": "0"}, {"core": "0-3"}, {"core": "0"},
    ]


@pytest.mark.parametrize(("entries", "text"), [
    ({"hosts": "n"}, "expected a list of tables"),
    ([1], "resource.config[0]: expected a table, got 1"),
    ([{"hosts": "n", "core": "0"}], "resource.config[0]: 'core': unknown key"),
    ([{"hosts": "n", "cores": "0"}, {"hosts": "m", "properties": "x"}], "resource.config[1]: properties: expected"),
    ([{"hosts": "n", "cores": "3-1"}], "resource.config[0]: cores: "),
    ([{"hosts": "n", "gpus": "x"}], "resource.config[0]: gpus: "),
    ([{"cores": "0"}], "resource.config[0]: "),
    ([{"hosts": "n[0-5]", "cores": "0"}, {"hosts": "m[0-5]", "cores": "0"}], "12 hosts, the most allowed is 10"),
    ([{"hosts": "n", "cores": ""}], "resource.config: "),
])
def test_resources_that_are_refused(entries, text):
    with pytest.raises(config.ConfigError) as refusal:
        config.resources({"config": entries}, 10)
    assert text in str(refusal.value)


def test_json_that_the_fast_reader_does_not_take():
    large, odd = 2**70, "a\udcff"
    for value in ({"a": [1, 2.5, "ü"]}, {"a": large}, {"a": odd}):
        assert fastjson.loads(fastjson.dumps(value)) == value
        assert fastjson.encode(value).endswith(b"\n") and fastjson.loads(fastjson.encode(value).decode()) == value
    with pytest.raises(ValueError):
        fastjson.loads("{")
