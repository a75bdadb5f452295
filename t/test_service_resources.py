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
