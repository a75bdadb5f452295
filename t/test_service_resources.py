# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the service makes of the instance's configuration and resources."""

import pytest

from fakehost import Bench
from fluxsched.service.resources import unknown_keys


@pytest.mark.parametrize("config, text", [
    ({"queue": {"batch": {}}}, "configuration: 'queue': unknown table, is queues meant?"),
    ({"polici": {"x": 1}}, "configuration: 'polici': unknown table, is policy meant?"),
    ({"resources": {}}, "configuration: 'resources': unknown table, is resource meant?"),
    ({"shed": {}}, "configuration: 'shed': unknown table, is sched meant?"),
    (
        {"queues": {"batch": {"requries": ["batch"]}}},
        "configuration: queues.batch.requries: unknown key, expected one of parent, policy, requires",
    ),
])
def test_keys_that_nobody_knows_are_named(config, text):
    assert unknown_keys(config) == [text]
    bench = Bench(config=config)
    assert text in bench.host.texts(4)
    bench.alloc(1)
    assert bench.started(1)


@pytest.mark.parametrize("config", [
    {}, {"queues": {"batch": {"requires": ["batch"], "policy": {"limits": {}}}}}, {"queues": 5}, {"queues": {"a": 5}},
    {"exec": {}, "job-manager": {}, "ingest": {}, "access": {}, "kvs": {}, "sdexec": {}, "resource": {}, "tbon": {}},
    {"policy": {}, "sched-fluxion-resource": {}, "bootstrap": {}, "systemd": {}, "archive": {}, "cron": {}},
])
def test_what_others_know_is_theirs(config):
    assert unknown_keys(config) == []


def test_a_depth_that_queues_share_is_warned_of():
    config = {"queues": {"a": {"requires": ["a"]}, "b": {"requires": ["b"]}}, "sched": {"queue-depth": 2}}
    bench = Bench(config=config)
    [text] = [text for text in bench.host.texts(4) if "queue-depth=2" in text]
    assert "2 blocked jobs of one queue hold up the others" in text


@pytest.mark.parametrize("config", [
    {"sched": {"queue-depth": 2}},
    {"sched": {"queue-depth": "unlimited"}, "queues": {"a": {}}},
    {"sched": {"plugin-opts": {"queue-depth": 2}, "plugin": "backfill.plugin1"}, "queues": {"a": {}}},
])
def test_a_depth_that_no_queues_share(config):
    assert not [text for text in Bench(config=config).host.texts(4) if "queue-depth" in text]
