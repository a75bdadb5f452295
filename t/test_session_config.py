# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The configuration of a session: what is refused, what is told, what is left alone."""

import json

import pytest

from embedded import flux
from fluxsched.formats import queues
from fluxsched.session import config
from fluxsched.session.errors import SessionError

GOOD = {
    "resource": {"config": [{"hosts": "n[0-1]", "cores": "0-3", "gpus": "0", "properties": ["batch"]}]},
    "queues": {"batch": {"requires": ["batch"]}},
    "policy": {"jobspec": {"defaults": {"system": {"queue": "batch"}}}},
    "sched": {"plugin": "backfill.plugin1"},
    "exec": {"kill-timeout": "1s"},
    "tbon": {"torpid_max": "1s"},
    "job-manager": {"plugins": [{"load": "x.so"}]},
    "queue_depth": 3,
    "archive": {"period": "1m"},
}

# Refused, as flux-core refuses them.
REFUSED = [
    ({"resource": {"confg": []}}, "resource.confg: unknown key, is config meant?"),
    ({"resource": {"config": [{"hosts": "n0", "core": "0"}]}}, "resource.config[0].core: unknown key, is cores meant?"),
    (
        {"queues": {"batch": {"require": ["batch"]}}},
        "queues.batch.require: unknown key, is requires meant?",
    ),
    ({"policy": {"limit": {}}}, "policy.limit: unknown key, is limits meant?"),
    ({"policy": {"limits": {"job_size": {}}}}, "policy.limits.job_size: unknown key, is job-size meant?"),
    (
        {"policy": {"limits": {"job-size": {"max": {"nodes": 1}}}}},
        "policy.limits.job-size.max.nodes: unknown key, is nnodes meant?",
    ),
    (
        {"policy": {"jobspec": {"defaults": {"zzz": {}}}}},
        "policy.jobspec.defaults.zzz: unknown key, expected one of system",
    ),
    ({"queues": {"b": {"policy": {"acess": {}}}}}, "queues.b.policy.acess: unknown key, is access meant?"),
    ({"resource": {"a\x1b": 1}}, "resource.a\\x1b: unknown key, expected one of "),
]

# Told, and without effect.
TOLD = [
    ({"exec": {"kill_timeout": "1s"}}, "exec.kill_timeout: unknown key, is kill-timeout meant?"),
    ({"exec": {"imp": "/x"}}, "exec.imp: has no effect in a session"),
    ({"queue": {"batch": {}}}, "'queue': unknown table, is queues meant?"),
    ({"polici": {"x": 1}}, "'polici': unknown table, is policy meant?"),
    ({"policy": {"access": {"allow-user": ["x"]}}}, "policy.access.allow-user: has no effect in a session"),
    ({"resource": {"norestrict": True}}, "resource.norestrict: has no effect in a session"),
    ({"queues": {"b": {"policy": {"scheduler": {}}}}}, "queues.b.policy.scheduler: has no effect in a session"),
]


def write(folder, table):
    path = folder / "flux.json"
    path.write_text(json.dumps(table))
    return str(path)


def test_what_a_session_goes_by(tmp_path):
    assert set(config.TABLES["queues"]["*"]) == queues.KEYS
    assert config.read(None) == ({}, [])
    assert config.read(write(tmp_path, GOOD)) == (GOOD, [])


def test_values_of_conf(tmp_path, monkeypatch):
    path = write(tmp_path, {"queues": {"a": {}}, "sched": {"plugin": "x"}})
    values = ['{"sched":\n{"plugin": "y"}}', "sched.queue-depth=8", "queues.b={}", "sched.z=not json=1"]
    table = {"queues": {"a": {}, "b": {}}, "sched": {"plugin": "y", "queue-depth": 8, "z": "not json=1"}}
    assert config.read(path, values)[0] == table
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", ":/x")
    for value, text in [
        ("none", "--conf: 'none': expected KEY=VALUE, a file that ends in .toml or .json, or the name of one in "
                 f"{tmp_path}/flux/config or /x/flux/config"),
        ("../x", "--conf: '../x': expected KEY=VALUE"),
        ("", "--conf: '': expected KEY=VALUE"),
        ("none.toml", "none.toml: No such file or directory"),
        ("=1", "--conf: '': expected the dotted name of a key"),
        ("a..b=1", "--conf: 'a..b': expected the dotted name of a key"),
        (".".join("a" * 51) + "=1", "--conf: 'a.a.a."),
        (f"a={'[' * 200}{']' * 200}", "--conf: a: nested more than 100 levels deep"),
        ("\n[", "--conf: "),
        ("{\n", "--conf: Expecting property name"),
        ("resource.nosuch=1", "--conf: resource.nosuch: unknown key"),
    ]:  # fmt: skip
        with pytest.raises(SessionError) as error:
            config.read(None, [value])
        assert str(error.value).startswith(text), value
    with pytest.raises(SessionError, match="--conf: a.b.c: a.b is no table"):
        config.read(None, ["a.b=1", "a.b.c=2"])
    done = flux("start", "--conf=sched.plugin=sched.plugin1", "flux", "sched", "stats")
    assert done.stdout.splitlines()[0].split() == ["policy", "sched.plugin1"]


@pytest.mark.parametrize(("table", "text"), REFUSED, ids=[text.split(":")[0] for _, text in REFUSED])
def test_refused(table, text, tmp_path):
    path = write(tmp_path, table)
    with pytest.raises(SessionError) as error:
        config.read(path)
    assert str(error.value).startswith(f"{path}: {text}")


@pytest.mark.parametrize(("table", "text"), TOLD, ids=[text.split(":")[0] for _, text in TOLD])
def test_told(table, text, tmp_path):
    path = write(tmp_path, table)
    assert config.read(path) == (table, [f"{path}: {text}"])


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ([], "expected a table at the top"),
        ({"exec": []}, "exec: expected a table"),
        ({"policy": "x"}, "policy: expected a table"),
        ({"queues": {"b": []}}, "queues.b: expected a table with requires, a list of properties"),
        ({"queues": {"b": {"requires": "batch"}}}, "queues.b: expected a table with requires, a list of properties"),
    ],
)
def test_of_another_type(table, text, tmp_path):
    path = write(tmp_path, table)
    with pytest.raises(SessionError, match="expected"):
        config.read(path)
    assert text in flux("start", f"--config-path={path}", "true").stderr


def test_start_names_each_slip(tmp_path):
    path = tmp_path / "typo.toml"
    path.write_text('[exec]\nkill_timeout = "1s"\n[queue.batch]\nrequires = ["batch"]\n[polici]\nx=1\n')
    done = flux("start", f"--config-path={path}", "true")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"flux-start: {path}: exec.kill_timeout: unknown key, is kill-timeout meant?",
        f"flux-start: {path}: 'queue': unknown table, is queues meant?",
        f"flux-start: {path}: 'polici': unknown table, is policy meant?",
    ]
    path.write_text('[policy]\nlimit = {}\n')
    done = flux("start", f"--config-path={path}", "true")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"flux-start: {path}: policy.limit: unknown key, is limits meant?\n"
