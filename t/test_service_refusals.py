# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the service refuses, and the turns that seldom come: each with what it says and what it leaves."""

import errno

import pytest

from fakehost import Bench, FakeHost, jobspec, make_r
from fluxsched.formats import rdl
from fluxsched.service.commit import BATCH
from fluxsched.service.guard import where
from fluxsched.service.jobs import STARTED
from fluxsched.service.lwj import cmdline
from fluxsched.service.protocol import CANCEL
from fluxsched.service.service import Service, ServiceError

RDL = """
uses "Node"
Hierarchy "default" { Resource { "cluster", name = "c", children = {
  ListOf { Node, ids = "0-3", args = { name = "node", sockets = { "0-1", "2-3" } } } } } }
"""


@pytest.fixture
def cluster(tmp_path):
    path = tmp_path / "cluster.lua"
    path.write_text(RDL)
    return path


# -- the load ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["plugin=nosuch.plugin"], "plugin nosuch.plugin: neither nosuch.plugin.so nor nosuch.plugin.py in "),
        (["plugin-opts=what=1"], "what"),
        (["rdl-conf=/nonexistent/x.lua"], "rdl-conf=/nonexistent/x.lua: "),
        (["nosuch=1"], "unknown argument 'nosuch=1'"),
    ],
)
def test_a_load_that_fails(arguments, text):
    with pytest.raises(ServiceError) as caught:
        Service(FakeHost(), arguments)
    assert text in str(caught.value)


def test_an_rdl_file_that_is_none(tmp_path):
    path = tmp_path / "bad.lua"
    path.write_text("Hierarchy {")
    with pytest.raises(ServiceError, match=r"rdl-conf=.*bad\.lua:1:"):
        Service(FakeHost(), [f"rdl-conf={path}"])


def test_an_rdl_file_that_the_system_cannot_read(monkeypatch):
    def load(path, uri):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(rdl, "load", load)
    with pytest.raises(ServiceError, match=r"^rdl-conf=x\.lua: Input/output error$"):
        Service(FakeHost(), ["rdl-conf=x.lua"])


def test_resources_that_are_described_keep_the_instances_properties(cluster):
    bench = Bench([f"rdl-conf={cluster}", "verbosity=1"], R=make_r(4, properties={"big": [2]}))
    bench.alloc(1, spec=jobspec(nodes=1, slots=1, constraints={"properties": ["big"]}))
    assert bench.ranks(1) == [2]
    assert any(text.startswith("resources: 4 nodes: ") for text in bench.host.texts(6))


def test_the_end_of_the_instance_in_the_first_response():
    bench = Bench(start=False)
    bench.service.start()
    bench.acquired({"resources": bench.R, "up": "0-3", "expiration": 5000.0})
    assert bench.service.ends.instance == 5000.0
    assert "resource expiration updated to 5000.00" in bench.host.texts(6)


@pytest.mark.parametrize("expiration", [-1, "5", True, float("nan"), float("inf")])
def test_an_end_of_the_instance_that_is_none(expiration):
    bench = Bench()
    bench.acquired({"expiration": expiration})
    assert any("resource.acquire: field 'expiration': expected seconds" in text for text in bench.host.texts(3))
    assert bench.service.ends.instance == 0.0


# -- a changed configuration -----------------------------------------------------


def test_a_configuration_that_says_the_same():
    bench = Bench()
    before = list(bench.host.lines)
    bench.service.reconfigure()
    assert bench.host.lines == before


def test_a_configuration_that_cannot_be_used():
    bench = Bench()
    bench.host.conf = {"sched": {"plugin": "nosuch.plugin"}}
    with pytest.raises(ServiceError, match=r"nosuch\.plugin"):
        bench.service.reconfigure()
    assert any(text.startswith("configuration not taken over: ") for text in bench.host.texts(3))
    assert bench.service.settings.plugin == "sched.plugin1"
    bench.alloc(1)
    assert bench.started(1)


def test_a_changed_depth_and_a_changed_number_of_records():
    bench = Bench()
    bench.host.conf = {"sched": {"queue-depth": 2, "lwj-keep": 1}}
    bench.service.reconfigure()
    assert "queue-depth: a new value counts from the next load on" in bench.host.texts(4)
    for jobid in (1, 2, 3):
        bench.alloc(jobid)
        bench.free(jobid)
        bench.event(jobid, "clean")
    bench.host.run(10)
    assert {key.split(".")[1] for key in bench.host.kvs if key.startswith("lwj.") and key.endswith(".id")} == {"3"}


def test_a_configuration_before_there_are_resources():
    bench = Bench(start=False)
    bench.host.conf = {"sched": {"plugin": "backfill.plugin1"}}
    bench.service.reconfigure()
    bench.start()
    assert bench.service.engine.plugin == "backfill.plugin1"


# -- requests --------------------------------------------------------------------


def test_a_handler_that_fails(monkeypatch):
    """Its request is answered, the place is in the log, and the next is handled."""
    bench = Bench()
    bench.alloc(1, duration=10.0)

    def fail(*arguments):
        raise RuntimeError("no way")

    monkeypatch.setattr(bench.service.ends, "changes", fail)
    bench.send("sched.expiration", {"id": 1, "expiration": 2000.0}, "e")
    assert bench.host.errors == [("e", errno.EINVAL, "RuntimeError: no way")]
    assert any("no way" in text and "test_service_refusals.py" in text for text in bench.host.texts(3))
    monkeypatch.undo()
    bench.send("sched.expiration", {"id": 1, "expiration": 2000.0})
    assert bench.service.jobs[1].expiration == 2000.0


def test_a_job_whose_end_the_engine_does_not_know(monkeypatch):
    bench = Bench()
    bench.alloc(1, duration=10.0)
    bench.service.engine.free(1)
    before = bench.service.jobs[1].expiration
    bench.send("sched.expiration", {"id": 1, "expiration": 2000.0}, "e")
    [(request, number, text)] = bench.host.errors
    assert (request, number) == ("e", errno.ENOENT) and "holds no resources" in text
    assert bench.service.jobs[1].expiration == before


def test_jobs_that_wait_are_told_at_the_second_level():
    bench = Bench(["verbosity=2"])
    bench.alloc(1, priority=7)
    assert any(text.endswith("waits, priority 7") for text in bench.host.texts(7))


def test_a_cancelled_request_that_nobody_knows():
    bench = Bench()
    bench.send("sched.cancel", {"id": 5})
    bench.alloc(1)
    bench.send("sched.cancel", {"id": 1})
    bench.host.run()
    assert bench.kinds(1) == [0]


def test_a_job_cancelled_before_its_commit_holds_nothing():
    """It was started by a pass, but only the batch before it is under way."""
    count = 8 * BATCH
    bench = Bench(R=make_r(count, 1))
    for jobid in range(1, count + 1):
        bench.alloc(jobid, run=False)
    waiting = []
    while not waiting:
        bench.host.soon.pop(0)()
        waiting = [job.id for job in bench.service.jobs if job.stage == STARTED]
    bench.send("sched.cancel", {"id": waiting[-1]})
    bench.host.run()
    assert bench.kinds(waiting[-1]) == [CANCEL]
    bench.alloc(1000)
    assert bench.started(1000)


def test_the_place_of_an_error():
    assert where(ValueError()) == "unknown place"
    try:
        raise ValueError
    except ValueError as error:
        assert where(error).startswith("test_service_refusals.py:")


def test_no_pass_before_the_start_and_after_the_end():
    bench = Bench(start=False)
    bench.service.passes.ask()
    assert bench.service.passes.idle
    bench.start()
    bench.alloc(1, run=False)
    bench.service.passes.stop()
    count = bench.service.passes.slices
    bench.host.run(1)
    assert bench.service.passes.slices == count and not bench.started(1)


# -- the record --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"tasks": [{"command": ["a", "b"]}]}, ["a", "b"]),
        ({"tasks": [{"command": "a b"}]}, ["a b"]),
        ({"tasks": [{"command": ["a", 5]}]}, []),
        ({"tasks": [{"command": {"a": 5}}]}, []),
        ({"tasks": []}, []),
        ({"tasks": [{}]}, []),
        ({"tasks": 5}, []),
        ({}, []),
    ],
)
def test_the_command_of_a_jobspec(spec, words):
    assert cmdline(spec) == words


def test_a_removal_that_could_not_be_written_is_written_again():
    bench = Bench(["lwj-keep=1"])
    bench.alloc(1)
    bench.free(1)
    bench.event(1, "clean")
    bench.host.run(10)
    assert "lwj.1.id" in bench.host.kvs
    bench.host.commit_error = OSError(errno.EIO, "no")
    bench.alloc(2, run=False)
    bench.host.commit_error = None
    bench.host.run(0.0)
    bench.free(2)
    bench.event(2, "clean")
    bench.host.commit_error = OSError(errno.EIO, "no")
    bench.host.run(5)
    bench.host.commit_error = None
    bench.host.run(30)
    assert not [key for key in bench.host.kvs if key.startswith("lwj.1.")]
    assert bench.host.kvs["lwj.2.state"] in ("complete", "failed")


def test_the_jobspec_of_a_running_job_that_cannot_be_read():
    """The job runs on; its record is without what it asked for."""
    running = [{"id": 7, "priority": 16, "userid": 1, "t_submit": 900.0}]
    for spec in (None, 5, {"version": 9}):
        backlog = [{"id": 7, "jobspec": spec, "events": []}, {"id": 99, "jobspec": jobspec(), "events": []}]
        bench = Bench(running=running, kvs={"R:7": make_r(1, 4)}, backlog=backlog)
        bench.host.run(5)
        assert bench.service.jobs.get(7) is not None
        assert "lwj.1.cmdline" not in bench.host.kvs
