# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Arguments and configuration of the service, and what a reload of them keeps."""


import pytest

from fakehost import Bench, FakeHost, jobspec, make_r
from fluxsched.service.protocol import DENY
from fluxsched.service.service import Service, ServiceError


@pytest.mark.parametrize(
    "argument, text",
    [
        ("plugin=nothing.at.all", "nothing.at.all"),
        ("colour=blue", "unknown argument"),
        ("queue-depth=0", "queue-depth"),
        ("rdl-conf=/no/such/file.lua", "/no/such/file.lua"),
        ("plugin-opts=colour=blue", "colour"),
    ],
)
def test_what_cannot_be_loaded(argument, text):
    with pytest.raises(ServiceError, match=text):
        Service(FakeHost(), [argument])


def test_configuration_that_cannot_be_loaded():
    with pytest.raises(ServiceError, match="sched.colour"):
        Service(FakeHost({"sched": {"colour": 1}}), [])


def test_configuration_sets_the_same_things():
    bench = Bench(config={"sched": {"queue-depth": 4, "plugin": "backfill.plugin1"}})
    assert bench.host.requests("job-manager.sched-ready") == [{"mode": "limited", "limit": 4}]
    assert bench.service.settings.plugin == "backfill.plugin1"


def test_fair_share_knows_the_users():
    bench = Bench(["plugin-opts=order=multifactor,weight-age=0,weight-size=0"], R=make_r(1, 1))
    for jobid, userid in ((1, 7), (2, 7), (3, 8)):
        bench.alloc(jobid, nodes=1, slots=1, cores=1, duration=100.0, userid=userid)
    assert bench.started(1)
    bench.free(1)
    assert bench.started(3) and not bench.started(2)


def test_reload_of_configuration_changes_the_plugin():
    bench = Bench(R=make_r(2, 4))
    bench.alloc(1, nodes=1, slots=1, cores=4, duration=100.0)
    bench.alloc(2, nodes=2, slots=1, cores=4, duration=100.0)
    bench.alloc(3, nodes=1, slots=1, cores=4, duration=50.0)
    assert [bench.started(job) for job in (1, 2, 3)] == [True, False, False]
    bench.host.conf = {"sched": {"plugin": "backfill.plugin1"}}
    bench.service.reconfigure()
    bench.host.run()
    assert bench.started(3)
    assert bench.to(3)[-1]["annotations"]["sched"]["selection_type"] == "backfilled"
    bench.free(1)
    bench.free(3)
    assert bench.started(2)


def test_reload_of_configuration_that_cannot_be_used():
    bench = Bench()
    bench.host.conf = {"sched": {"plugin": "no.such"}}
    with pytest.raises(ServiceError, match="no.such"):
        bench.service.reconfigure()
    assert bench.service.settings.plugin == "sched.plugin1"
    bench.alloc(1)
    assert bench.started(1)


def test_reload_keeps_marks():
    bench = Bench(R=make_r(3))
    bench.acquired({"down": "0", "property-add": {"big": "2"}})
    bench.acquired({"shrink": "1", "down": "1"})
    bench.host.conf = {"sched": {"sched-once": True}}
    bench.service.reconfigure()
    bench.alloc(1, nodes=1, exclusive=True, constraints={"properties": ["big"]})
    bench.alloc(2, nodes=1)
    assert bench.ranks(1) == [2]
    assert not bench.started(2)
    bench.acquired({"up": "0"})
    bench.host.run()
    assert bench.ranks(2) == [0]


RDL = """
uses "Node"
Hierarchy "default" { Resource{ "cluster", name = "c", children = {
    ListOf{ Node, ids = "0-3", args = { name = "node", sockets = { "0-1", "2-3" } } } } } }
"""


@pytest.fixture
def rdl(tmp_path):
    path = tmp_path / "nodes.lua"
    path.write_text(RDL)
    return path


def test_another_engine_takes_over_all_jobs(rdl):
    bench = Bench(["plugin=backfill.plugin1"])
    bench.host.hold_commits = True
    bench.alloc(1, nodes=2, slots=1, cores=4, duration=100.0)
    bench.host.let_commit()
    bench.free(1, make_r(ranks=[1]), final=False)
    bench.alloc(2, nodes=2, slots=1, cores=4, duration=10.0)    # its commit is under way
    bench.alloc(3, nodes=4, slots=1, cores=4)
    bench.host.conf = {"sched": {"rdl-conf": str(rdl)}}
    before = bench.service.engine
    bench.service.reconfigure()
    assert bench.service.engine is not before
    bench.host.hold_commits = False
    bench.alloc(4, nodes=1, slots=1, cores=4, duration=5.0)
    assert bench.ranks(2) == [1, 2] and bench.ranks(4) == [3]
    assert bench.annotations(3)["t_estimate"] == pytest.approx(1100.0)
    for jobid in (2, 4, 1):
        bench.free(jobid)
    assert bench.started(3)
    bench.host.run(1.0)
    assert "socket1" in str(bench.host.kvs["lwj.3.rdl"])
    assert bench.host.texts(3) == []


def test_requests_that_wait_are_read_anew_when_bandwidth_counts_no_more(tmp_path):
    path = tmp_path / "bandwidth.lua"
    path.write_text(RDL.replace("sockets =", "tags = { max_bw = 100 }, sockets ="))
    spec = jobspec(duration=100.0)
    parts = [{"type": "core", "count": 1}, {"type": "bandwidth", "count": 60}]
    slot = {"type": "slot", "count": 1, "label": "task", "with": parts}
    spec["resources"] = [{"type": "node", "count": 4, "with": [slot]}]
    bench = Bench([f"rdl-conf={path}"])
    bench.alloc(1, spec=spec)
    bench.alloc(2, spec=spec)
    assert bench.started(1) and not bench.started(2)
    bench.host.conf = {"sched": {"plugin-opts": "io-aware=false"}}
    bench.service.reconfigure()
    bench.host.run()
    assert bench.started(2) and bench.ranks(2) == [0, 1, 2, 3]
    bench.host.conf = {}
    bench.service.reconfigure()
    bench.alloc(3, spec=spec)
    assert not bench.started(3)


def test_memory_that_is_held_is_held_over_a_reload(tmp_path):
    path = tmp_path / "memory.lua"
    path.write_text(RDL.replace('"0-3"', '"0"').replace("sockets =", "memory_per_socket = 1000, sockets ="))

    def memory(amount):
        spec = jobspec()
        spec["resources"][0]["with"].append({"type": "memory", "count": amount})
        return spec

    arguments = [f"rdl-conf={path}"]
    first = Bench(arguments, R=make_r(1))
    first.alloc(1, spec=memory(700))
    first.alloc(2, spec=memory(600))
    assert first.started(1) and first.started(2)
    first.alloc(3, spec=memory(800))
    assert not first.started(3)
    assert first.host.kvs["R:1"]["scheduling"]["pools"]
    running = [{"id": jobid, "priority": 16, "userid": 1, "t_submit": 1.0} for jobid in (1, 2)]
    second = Bench(arguments, R=make_r(1), kvs=first.host.kvs, running=running)
    second.alloc(3, spec=memory(800))
    assert not second.started(3)
    second.free(1, first.given(1))
    assert second.started(3)
    assert second.host.texts(3) == []


def test_another_engine_that_does_not_hold_the_jobs(tmp_path):
    path = tmp_path / "small.lua"
    path.write_text(RDL.replace('"0-3"', '"0-1"').replace('"2-3"', '"2"'))
    bench = Bench()
    bench.alloc(1, nodes=4, slots=1, cores=4)
    bench.host.conf = {"sched": {"rdl-conf": str(path), "in-sim": True}}
    with pytest.raises(ServiceError, match="cannot be taken over"):
        bench.service.reconfigure()
    assert bench.service.settings.rdl_conf == ""
    bench.free(1)
    bench.alloc(2, nodes=4, slots=1, cores=4)
    assert bench.started(2)
    bench.host.run(1.0)
    assert bench.host.kvs["lwj.2.rdl"][0]["hosts"] == ["node[0-3]"]


def test_another_engine_denies_what_cannot_run_in_it(tmp_path):
    path = tmp_path / "small.lua"
    path.write_text(RDL.replace('"0-3"', '"0-1"'))
    bench = Bench()
    bench.alloc(1, nodes=1, slots=1, cores=4)
    bench.alloc(2, nodes=4, slots=1, cores=4)
    bench.host.conf = {"sched": {"rdl-conf": str(path), "in-sim": True}}
    bench.service.reconfigure()
    assert bench.kinds(2)[-1] == DENY
