# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Requests to the scheduler: their declarations, and what is no request."""

import errno
import inspect

import pytest

from fakehost import Bench, make_r
from fluxsched.service.ask import Questions
from fluxsched.service.fields import Bool, Int
from fluxsched.service.plan import Plans
from fluxsched.service.protocol import ProtocolError
from fluxsched.service.rpc import GUEST, JOB_MANAGER, OWNER, declarations, rpc
from fluxsched.service.service import RPCS, Service
from fluxsched.service.when import Whens


class Sample:
    @rpc("sched.sample", sender=GUEST, answered=False, early=True, id=Int(0, 9), final=Bool(False))
    def _sample(self, message, id, final):
        pass

    def _none(self):
        pass


def test_a_declaration_says_all():
    [(topic, declared)] = declarations(Sample).items()
    assert topic == declared.topic == "sched.sample" and declared.handler == "_sample"
    assert declared.guests and declared.early and not declared.answered
    assert declared.arguments({"id": 3, "more": 1}) == {"id": 3, "final": False}
    assert declared.arguments({"id": 0, "final": True}) == {"id": 0, "final": True}


@pytest.mark.parametrize("payload, text", [
    (None, "sched.sample: field 'id' is missing: expected an integer from 0 to 9"),
    ([1], "sched.sample: expected an object, got [1]"),
    ({"id": 10}, "sched.sample: field 'id': expected an integer from 0 to 9, got 10"),
    ({"id": True}, "sched.sample: field 'id': expected an integer from 0 to 9, got True"),
    ({"id": "x" * 500}, "got '" + "x" * 99 + "..."),
    ({"id": 1, "final": 1}, "sched.sample: field 'final': expected true or false, got 1"),
])
def test_what_is_refused(payload, text):
    with pytest.raises(ProtocolError) as caught:
        declarations(Sample)["sched.sample"].arguments(payload)
    assert text in str(caught.value) and caught.value.errno == errno.EPROTO


def test_each_handler_takes_what_is_declared():
    assert [topic for topic, declared in RPCS.items() if declared.guests] == [
        "feasibility.check", "sched.why", "sched.when"]
    for owner in (Service, Questions, Whens, Plans):
        for topic, declared in declarations(owner).items():
            assert RPCS[topic] is declared
            parameters = list(inspect.signature(getattr(owner, declared.handler)).parameters)
            assert parameters == ["self", "message", *declared.fields]
            assert declared.sender in (JOB_MANAGER, OWNER, GUEST)


@pytest.mark.parametrize("topic, payload, number", [
    ("sched.alloc", {"id": -1, "priority": 16, "t_submit": 1.0, "jobspec": {}}, errno.EPROTO),
    ("sched.alloc", {"id": 2**63, "priority": 16, "t_submit": 1.0, "jobspec": {}}, errno.EPROTO),
    ("sched.alloc", {"id": 1, "priority": -1, "t_submit": 1.0, "jobspec": {}}, errno.EPROTO),
    ("sched.alloc", {"id": 1, "priority": 16, "t_submit": 1e300, "jobspec": {}}, errno.EPROTO),
    ("sched.alloc", {"id": 1, "priority": 16, "jobspec": {}}, errno.EPROTO),
    ("sched.alloc", {"id": 1, "priority": 16, "t_submit": 1.0, "userid": -1, "jobspec": {}}, errno.EPROTO),
    ("sched.cancel", {"id": 2**64}, 0),
    ("sched.free", {"id": -5, "R": {}}, 0),
    ("sched.prioritize", {"jobs": [[1, 2**32]]}, 0),
    ("sched.prioritize", {"jobs": [[-1, 1]]}, 0),
    ("sched.expiration", {"id": 1, "expiration": 1e13}, errno.EINVAL),
    ("sched.expiration", {"id": -1, "expiration": 1.0}, errno.EPROTO),
])
def test_values_out_of_range_change_nothing(topic, payload, number):
    bench = Bench(R=make_r(1, 1))
    bench.alloc(1, duration=100.0)
    bench.send(topic, payload)
    assert [code for _, code, _ in bench.host.errors] == ([number] if number else [])
    assert topic in bench.host.texts(3)[0]
    bench.alloc(2)
    bench.free(1)
    assert bench.started(2)


def test_statistics_are_counted_anew():
    bench = Bench(R=make_r(1, 1))
    bench.alloc(1)
    bench.alloc(2)
    bench.send("sched.stats-clear", None)
    assert bench.host.answers[-1] == ("sched.stats-clear", None)
    bench.send("sched.stats-get", None)
    stats = bench.host.answers[-1][1]
    assert not any(stats["counts"].values())
    assert stats["pass"]["count"] == 0 and stats["pass"]["seconds"] == stats["pass"]["max"] == 0.0
    assert stats["jobs"] == {"pending": 1, "committing": 0, "running": 1}
    bench.free(1)
    bench.send("sched.stats-get", None)
    counts = bench.host.answers[-1][1]["counts"]
    assert counts["success"] == counts["free"] == 1 and counts["alloc"] == 0


def test_statistics_are_cleared_before_ready():
    bench = Bench(start=False)
    bench.send("sched.stats-clear", None)
    assert bench.host.answers == [("sched.stats-clear", None)]
