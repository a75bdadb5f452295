# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The module's settings: arguments and the [sched] table."""

import pytest

from fluxsched.service.settings import ArgumentError, Settings, parse


def test_defaults():
    assert parse([]) == Settings("", "default", "sched.plugin1", "", 0, False, False, None, 1000)


def test_all_arguments():
    settings = parse([
        "rdl-conf=conf/hype.lua", "rdl-resource=default:/hype/hype201", "plugin=backfill.plugin1",
        "plugin-opts=reserve-depth=-1,queue-depth=10", "verbosity=2", "sched-once=true", "in-sim=true",
        "queue-depth=8", "lwj-keep=0",
    ])
    assert settings == Settings(
        "conf/hype.lua", "default:/hype/hype201", "backfill.plugin1", "reserve-depth=-1,queue-depth=10", 2, True, True,
        8, 0,
    )


def test_the_table_sets_the_same_things_and_arguments_win():
    table = {"plugin": "backfill.plugin1", "queue-depth": 4, "sched-once": True, "lwj-keep": 10,
             "plugin-opts": {"reserve-depth": 3, "trace": False}}
    settings = parse(["queue-depth=unlimited", "sched-once=false"], table)
    assert settings.plugin == "backfill.plugin1"
    assert settings.queue_depth is None and settings.sched_once is False
    assert settings.lwj_keep == 10
    assert settings.plugin_opts == "reserve-depth=3,trace=false"


@pytest.mark.parametrize(
    "argument, text",
    [
        ("colour=blue", "unknown argument 'colour=blue'"),
        ("", "unknown argument ''"),
        ("plugin", "plugin=VALUE"),
        ("plugin=", "argument plugin: expected a name"),
        ("rdl-conf=", "argument rdl-conf: expected a name"),
        ("verbosity=high", "argument verbosity"),
        ("verbosity=-1", "argument verbosity"),
        ("verbosity=99999999999", "argument verbosity"),
        ("sched-once=yes", "expected true or false, got 'yes'"),
        ("in-sim=1", "expected true or false"),
        ("queue-depth=0", "expected unlimited or a whole number of at least 1, got '0'"),
        ("queue-depth=2147483648", "queue-depth"),
        ("lwj-keep=\u0661", "argument lwj-keep"),
        ("in-sim=true", "in-sim=True: needs rdl-conf=FILE"),
        ("rdl-resource=default:/x", "needs rdl-conf=FILE"),
    ],
)
def test_arguments_that_cannot_be_used(argument, text):
    with pytest.raises(ArgumentError) as caught:
        parse([argument])
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "table, text",
    [
        ([], "[sched] must be a table"),
        ({"colour": 1}, "sched.colour: unknown key"),
        ({"plugin": 5}, "sched.plugin: expected a string, got 5"),
        ({"sched-once": "perhaps"}, "sched.sched-once"),
        ({"queue-depth": True}, "sched.queue-depth"),
        ({"lwj-keep": 1.5}, "sched.lwj-keep"),
        ({"plugin-opts": {"a": [1]}}, "sched.plugin-opts.a"),
    ],
)
def test_tables_that_cannot_be_used(table, text):
    with pytest.raises(ArgumentError) as caught:
        parse([], table)
    assert text in str(caught.value)
