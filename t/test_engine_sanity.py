# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The sanity checks notice damage: one structure at a time is damaged in an engine that was sane."""

import pytest
from fluxsched.core.comparison import Comparison
from fluxsched.core.forward import Forward
from fluxsched.core.history import History

from fluxsched.core import Engine, Inventory, damage
from fluxsched.policy.loader import load_plugin
from naive import nodes, request


def planned(wanted, count, depth="-1"):
    """An engine of four nodes of four cores after a pass: some jobs run, some have reservations."""
    engine = Engine(Inventory.from_counts(4, 4), load_plugin("backfill.plugin1", f"reserve-depth={depth}"))
    for jobid in range(1, count + 1):
        engine.add(jobid, wanted(jobid), 16, float(jobid))
    engine.schedule(1000.0)
    engine.schedule(1001.0)         # which starts nothing: what it has found out is of the queue as it is now
    engine.sanity_check()
    return engine


def shared():
    """Each node is looked at: the last one is free, and a job that wants more has a reservation."""

    def wanted(jobid):
        if jobid < 5:
            return request(nslots=3, duration=10.0 * jobid)
        return request(nslots=3, cores=2, duration=5.0, constraint={"ranks": ["0-3"]})

    return planned(wanted, 5)


def whole():
    """Nodes are counted, and there are two reservations and more."""
    return planned(lambda jobid: nodes(1 + jobid % 3, 10.0 * jobid), 8)


def shadow():
    """Nodes are counted, and there is one reservation, which needs no profile."""
    return planned(lambda jobid: nodes(3, 10.0 * jobid), 2, "1")


DAMAGE = {
    "state": (whole, "state: "),
    "eligible": (shared, "engine: the users of an eligible set"),
    "jobs": (whole, "jobs: "),
    "running": (whole, ""),
    "queue": (whole, "queue: a copy is stale"),
    "mix": (whole, "eligible: waiting jobs"),
    "domain": (whole, "engine: waiting jobs of a domain"),
    "settled": (whole, "settled: planned starts, counted"),
    "kinds": (shared, "kinds: "),
    "free cores of a node": (shared, "state: "),
    "future of a node": (shared, "plan: "),
    "column": (shared, "bounds: a column"),
    "profile": (whole, "plan: what is free of a kind"),
    "shadow": (shadow, "plan: what is free beside the first reservation"),
    "lacks": (shared, "fits: something fits on a node"),
    "soon: nothing": (shared, "fits: something fits for longer than is known"),
    "soon: too little": (shared, "fits: more fits now than is known"),
    "failures": (shared, "failures: a request finds room"),
    "failures: count": (shared, "failures: more than there is room for"),
    "gains: told": (shared, "gains: more are told than there are"),
    "gains: seen": (shared, "gains: a reservation has seen more than was told"),
    "gains: time": (whole, "gains: one ends before it begins"),
    "gains: units": (shared, "gains: nodes expected"),
    "gains: nodes": (shared, "alloc: a node that is not there"),
    "gains: bits": (shared, "alloc: bits that are not there"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_noticed(what):
    make, text = DAMAGE[what]
    engine = make()
    damage.damage(engine, what)
    with pytest.raises(AssertionError) as noticed:
        engine.sanity_check()
    assert str(noticed.value).startswith(text)


HISTORY = {
    "row": "history: rows",
    "ring": "history: the places of a ring",
    "part": "history: a part of a time",
    "time": "history: a time",
    "all": "history: the last jobs of all",
}


@pytest.mark.parametrize("what", HISTORY)
def test_damage_to_a_history_is_noticed(what):
    history = History()
    history.sanity_check()
    for number in range(40):
        history.note("ab"[number % 7 == 0], number / 40, 10.0 + number)
        history.sanity_check()
    damage.damage_history(history, what)
    with pytest.raises(AssertionError, match=f"^{HISTORY[what]}$"):
        history.sanity_check()


COMPARISON = {
    "job": "comparison: a job is there twice",
    "slot": "comparison: two jobs have one slot",
    "runs": "comparison: more runs than there is room for",
    "start": "comparison: a start",
    "end": "comparison: an end",
}


@pytest.mark.parametrize("what", COMPARISON)
def test_damage_to_a_comparison_is_noticed(what):
    engine = whole()
    compared = Comparison(engine)
    compared.sanity_check()
    ran = Forward(engine.fork(), 1000.0)
    ran.advance()
    compared.add(ran)
    compared.sanity_check()
    damage.damage_comparison(compared, what)
    with pytest.raises(AssertionError, match=f"^{COMPARISON[what]}$"):
        compared.sanity_check()


def test_there_is_no_other_damage():
    for call, wounded in ((damage.damage, whole()), (damage.damage_history, History()),
                          (damage.damage_comparison, Comparison(whole()))):
        with pytest.raises(ValueError, match="^all of it: there is no such damage$"):
            call(wounded, "all of it")
