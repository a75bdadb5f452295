# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Event logs of jobs (RFC 18)."""

import pytest

from fluxsched.formats import eventlog


def test_entries():
    text = '{"timestamp":1.5,"name":"submit","context":{"urgency":16}}\n{"timestamp":2,"name":"start"}\n'
    assert eventlog.entries(text) == [
        {"timestamp": 1.5, "name": "submit", "context": {"urgency": 16}},
        {"timestamp": 2, "name": "start", "context": {}},
    ]


@pytest.mark.parametrize("line", [
    "", "x", "null", "7", "[]", "{}", '{"name":"start"}', '{"timestamp":1}', '{"timestamp":"1","name":"start"}',
    '{"timestamp":true,"name":"start"}', '{"timestamp":-1,"name":"start"}', '{"timestamp":1e300,"name":"start"}',
    '{"timestamp":NaN,"name":"start"}', '{"timestamp":1,"name":3}', "[" * 100000,
    '{"timestamp":1,"name":"start","context":{"a":' + '"x' * 2**20,
])
def test_lines_that_are_no_events_are_left_out(line):
    assert eventlog.entries(f'{line}\n{{"timestamp":1,"name":"a"}}')[-1]["name"] == "a"
    assert len(eventlog.entries(f'{line}\n{{"timestamp":1,"name":"a"}}')) == 1


def test_a_context_that_is_none():
    assert eventlog.checked([{"timestamp": 1, "name": "a", "context": [1]}])[0]["context"] == {}


def test_expiration():
    def log(*values):
        return eventlog.checked(
            [{"timestamp": 1, "name": "resource-update", "context": {"expiration": value}} for value in values]
        )

    assert eventlog.expiration(log()) is None
    assert eventlog.expiration(log(5.0, 7)) == 7.0
    assert eventlog.expiration(log(5.0, 0)) == 0.0
    assert eventlog.expiration(log(5.0, "x", -1, True, float("inf"), 10**400)) == 5.0
