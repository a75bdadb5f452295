# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Virtual queues of a configuration (RFC 33), and how the service honours them."""

import pytest

from fakehost import Bench, jobspec, make_r
from fluxsched.errors import FluxSchedError
from fluxsched.formats.queues import QueuesError, complete, domain, parents, requires
from fluxsched.service.service import ServiceError

QUEUES = {"batch": {"requires": ["batch"]}, "debug": {}, "quick": {"parent": "batch", "policy": {"limits": {}}}}


def test_parents():
    assert parents(QUEUES) == {"quick": "batch"}
    assert domain("quick", parents(QUEUES)) == domain("batch", parents(QUEUES)) == "batch"
    assert domain("debug", parents(QUEUES)) == "debug" and domain("", {}) == ""
    assert requires("quick", QUEUES) == ["batch"] and requires("debug", QUEUES) == []


def policy(**system):
    return {"policy": {"jobspec": {"defaults": {"system": system}}}}


COMPLETED = [
    ({"duration": 0}, {}, {"duration": 0}),
    ({"duration": 0}, policy(duration="1m"), {"duration": 60.0}),
    ({"duration": 5}, policy(duration="1m"), {"duration": 5}),
    ({"duration": 0}, policy(duration="inf"), {"duration": 0.0}),
    ({"duration": 0, "queue": "quick"}, {"queues": QUEUES},
     {"duration": 0, "queue": "quick", "constraints": {"properties": ["batch"]}}),
    ({"queue": "batch", "constraints": {"ranks": ["0"]}}, {"queues": QUEUES},
     {"queue": "batch", "constraints": {"and": [{"properties": ["batch"]}, {"ranks": ["0"]}]}}),
    ({}, {"queues": QUEUES, **policy(queue="debug")}, {"queue": "debug"}),
    ({"duration": 0}, {"queues": {"a": policy(duration=7)}, **policy(queue="a", duration="1h")},
     {"duration": 7.0, "queue": "a"}),
]


@pytest.mark.parametrize("system, config, whole", COMPLETED)
def test_what_a_job_leaves_to_the_configuration(system, config, whole):
    complete(system, config)
    assert system == whole


@pytest.mark.parametrize("system, config, text", [
    ({"queue": "a"}, {}, "'a' is not a valid queue: there are no queues here"),
    ({"queue": "a"}, {"queues": QUEUES}, "'a' is not a valid queue"),
    ({"queue": 5}, {"queues": QUEUES}, "5 is not a valid queue"),
    ({}, {"queues": QUEUES}, "no queue specified: expected one of batch, debug, quick"),
    ({"duration": 0}, policy(duration="soon"), "policy.jobspec.defaults.system.duration: expected a duration"),
])
def test_what_the_configuration_refuses(system, config, text):
    with pytest.raises(QueuesError) as caught:
        complete(system, config)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("queues", [None, 5, [], {}, {"a": 5}, {"a": {}}])
def test_no_virtual_queues(queues):
    assert parents(queues) == {}


REFUSED = [
    ({"a": {"parent": 5}}, "queues.a.parent: expected the name of a queue, got 5"),
    ({"a": {"parent": "a"}}, "queues.a.parent: expected another queue, got 'a' itself"),
    ({"a": {"parent": "b"}}, "queues.a.parent: expected a queue that is configured, got 'b'"),
    (
        {"a": {"parent": "b"}, "b": {"parent": "a"}},
        "queues.a.parent: 'b' is a virtual queue itself, and cannot be a parent",
    ),
    (
        {"a": {"parent": "b"}, "b": {"parent": "c"}, "c": {}},
        "queues.a.parent: 'b' is a virtual queue itself, and cannot be a parent",
    ),
    (
        {"a": {"parent": "b", "requires": ["x"]}, "b": {}},
        "queues.a.requires: a virtual queue has that of its parent, 'b'",
    ),
    (
        {"a": {"parent": "b", "hosts": "n1"}, "b": {}},
        "queues.a.hosts: a virtual queue has that of its parent, 'b'",
    ),
    (
        {"a": {"parent": "b", "policy": {"scheduler": {}}}, "b": 5},
        "queues.a.policy.scheduler: a virtual queue has that of its parent, 'b'",
    ),
]


@pytest.mark.parametrize("queues, text", REFUSED)
def test_virtual_queues_that_cannot_be(queues, text):
    with pytest.raises(QueuesError) as raised:
        parents(queues)
    assert str(raised.value) == text and isinstance(raised.value, FluxSchedError)
    with pytest.raises(ServiceError) as refused:
        Bench(config={"queues": queues}, start=False)
    assert str(refused.value) == f"configuration: {text}"


def names(bench):
    stats = {}
    bench.send("sched.stats-get", None, "stats")
    for request, payload in bench.host.answers:
        if request == "stats":
            stats = payload
    return stats["engine"]["queues"]


def one_node(queue, **more):
    return jobspec(nodes=1, slots=1, cores=4, queue=queue, **more)


def depth(virtual, count):
    """A service on two nodes that looks at `count` jobs of a domain, and makes no reservations."""
    queues = {"batch": {}, "quick": {"parent": "batch"} if virtual else {}}
    options = f"plugin-opts=reserve-depth=0,queue-depth={count}"
    return Bench(["plugin=backfill.plugin1", options], R=make_r(2, 4), config={"queues": queues})


@pytest.mark.parametrize("virtual", [True, False])
def test_jobs_of_a_virtual_queue_are_ordered_with_its_parents(virtual):
    bench = depth(virtual, 1)
    bench.alloc(1, spec=one_node("batch"))
    bench.alloc(2, spec=jobspec(nodes=2, slots=1, cores=4, queue="batch"))
    bench.alloc(3, spec=one_node("quick"))
    assert [bench.started(jobid) for jobid in (1, 2, 3)] == [True, False, not virtual]
    assert names(bench) == (["batch"] if virtual else ["batch", "quick"])
    if virtual:
        bench.alloc(4, spec=one_node("quick"), priority=20)
        assert bench.started(4)


@pytest.mark.parametrize("virtual", [True, False])
def test_jobs_of_a_virtual_queue_count_in_its_parents_depth(virtual):
    bench = depth(virtual, 2)
    bench.alloc(1, spec=one_node("batch"))
    for jobid, queue in ((2, "batch"), (3, "quick")):
        bench.alloc(jobid, spec=jobspec(nodes=2, slots=1, cores=4, queue=queue))
    bench.alloc(4, spec=one_node("quick"))
    assert bench.started(4) is not virtual


def test_a_queue_becomes_virtual_by_configuration():
    bench = depth(False, 1)
    bench.alloc(1, spec=one_node("batch"))
    bench.alloc(2, spec=jobspec(nodes=2, slots=1, cores=4, queue="quick"))
    plain = bench.host.conf
    bench.host.conf = {"queues": {"batch": {}, "quick": {"parent": "batch"}}}
    bench.service.reconfigure()
    bench.host.run()
    bench.alloc(3, spec=one_node("batch"))
    assert not bench.started(3)
    bench.host.conf = {"queues": {"batch": {}, "quick": {"parent": "fast"}}}
    with pytest.raises(ServiceError, match="expected a queue that is configured, got 'fast'"):
        bench.service.reconfigure()
    assert "configuration not taken over" in bench.host.texts(3)[-1]
    bench.host.conf = plain
    bench.service.reconfigure()
    bench.host.run()
    assert bench.started(3) and sorted(names(bench)) == ["batch", "quick"]
