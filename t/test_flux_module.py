# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The module in a real broker: load, remove, load again, arguments, other
schedulers, other processes."""

import errno
import json
import os
import re
import signal
import time

import pytest

from fluxinstance import TOP, Instance, check_overlaps, config_text, flux_command
from test_service import jobspec

pytestmark = pytest.mark.flux


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    flux_command()
    # A module's death is to be the module's alone.
    with Instance(tmp_path_factory.mktemp("flux"), options=["-Sbroker.module-nopanic=1"]) as made:
        yield made


@pytest.fixture(autouse=True)
def removed(instance):
    yield
    if instance.loaded():
        instance.remove()


def test_load_run_remove(instance):
    instance.load()
    assert re.search(r"^sched .*\bfeasibility\b", instance.flux("module", "list"), re.M)
    jobid = instance.submit(nodes=2)
    instance.event(jobid, "clean")
    instance.remove()    # which sends what is left of the record, and does not wait until it is written
    instance.wait(lambda: instance.run("kvs", "get", "lwj.1.id").stdout.strip() == str(jobid), "the record")
    with pytest.raises(OSError) as caught:
        instance.stats()
    assert caught.value.errno == errno.ENOSYS


@pytest.mark.parametrize("execute", [False, True], ids=["thread", "process"])
def test_load_and_remove_many_times(instance, execute):
    for _ in range(5):
        instance.load(execute=execute)
        instance.event(instance.submit(), "clean")
        instance.remove()
    assert "Traceback" not in instance.dmesg() and "not released" not in instance.dmesg()


@pytest.mark.parametrize(
    "argument, text",
    [
        ("colour=blue", "unknown argument 'colour=blue'"),
        ("plugin=no.such", "no.such"),
        ("rdl-conf=/no/such.lua", "/no/such.lua"),
        ("queue-depth=none", "queue-depth"),
    ],
)
def test_what_cannot_be_loaded(instance, argument, text):
    done = instance.run("module", "load", "sched", argument)
    assert done.returncode != 0
    assert any("sched.err" in line and text in line for line in instance.dmesg().splitlines())
    assert not instance.loaded()
    instance.load()


def test_only_rank_0_loads(instance):
    done = instance.run("exec", "-r", "1", instance.command, "module", "load", "sched")
    assert done.returncode != 0
    assert "rank 0 only" in instance.flux("exec", "-r", "1", instance.command, "dmesg")


def test_another_scheduler_is_loaded(instance):
    instance.flux("module", "load", "sched-simple")
    try:
        assert instance.run("module", "load", "sched").returncode != 0
        # under another name it gets as far as its services
        assert instance.run("module", "load", "--name=another", "sched").returncode != 0
        assert "another scheduler is loaded" in instance.dmesg()
    finally:
        instance.flux("module", "remove", "sched-simple")


def test_another_name(instance):
    instance.flux("module", "load", "--name=another", "sched")
    try:
        instance.event(instance.submit(), "clean")
        assert instance.ask("rpc", topic="another.stats-get")["counts"]["success"] >= 1
        assert "to reload it, flux module reload --name=another sched" in instance.dmesg()
        instance.flux("module", "stats", "--clear", "another")
        assert not any(instance.ask("rpc", topic="another.stats-get")["counts"].values())
        instance.flux("module", "reload", "--name=another", "sched")
        instance.event(instance.submit(), "clean")
    finally:
        instance.flux("module", "remove", "another")


@pytest.mark.parametrize("execute", [False, True], ids=["thread", "process"])
def test_reload_with_running_and_waiting_jobs(instance, execute):
    instance.load(execute=execute)
    running = [instance.submit(nodes=1, cores=4, run=60) for _ in range(3)]
    for jobid in running:
        instance.event(jobid, "start")
    last = instance.submit(nodes=1, cores=4, run=60)
    instance.event(last, "start")
    waiting = [instance.submit(nodes=1, cores=2, run=0.1) for _ in range(4)]
    instance.remove()
    instance.load(execute=execute)
    stats = instance.stats()
    assert stats["jobs"]["running"] == 4
    instance.wait(lambda: instance.stats()["jobs"]["pending"] == 4, "the waiting jobs")
    assert not any(instance.over(jobid) for jobid in running)
    instance.end(running[1])
    for jobid in waiting:
        instance.event(jobid, "clean")
    instance.end(*running, last)
    assert check_overlaps(instance, [*running, last, *waiting]) == 8


def test_reload_keeps_the_record_counting(instance):
    instance.load()
    instance.event(instance.submit(), "clean")
    before = instance.stats()["lwj"]["next"]
    held = instance.submit(run=60)
    instance.event(held, "start")
    instance.remove()
    instance.load()
    instance.event(instance.submit(), "clean")
    assert instance.stats()["lwj"]["next"] == before + 2
    instance.end(held)
    instance.wait(lambda: instance.ask("kvs", key=f"lwj.{before}.state") == "cancelled", "the record")


def test_a_job_that_ends_while_no_scheduler_is_loaded(instance):
    instance.load()
    jobid = instance.submit(run=0.5)
    instance.event(jobid, "start")
    number = instance.stats()["lwj"]["next"] - 1
    instance.remove()
    instance.event(jobid, "finish")
    instance.load()
    instance.wait(lambda: instance.ask("kvs", key=f"lwj.{number}.state") == "complete", "the record")


def test_removed_in_the_middle_of_a_burst(instance):
    instance.load()
    jobids = instance.submit(*[jobspec(slots=1, cores=2) for _ in range(60)], run=0.05)
    instance.remove()
    time.sleep(0.2)
    instance.load()
    for jobid in jobids:
        instance.event(jobid, "clean")
    assert check_overlaps(instance, jobids) == 60
    assert "not released" not in instance.dmesg()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_that_is_killed(instance, number):
    instance.load(execute=True)
    running = instance.submit(nodes=2, cores=4, run=60)
    instance.event(running, "start")
    pids = re.findall(r"module-exec sched pid=(\d+)", instance.dmesg())
    os.kill(int(pids[-1]), number)
    instance.wait(lambda: not instance.loaded(), "the module to be gone")
    waiting = instance.submit(nodes=4, cores=4)
    instance.load(execute=True)
    assert instance.stats()["jobs"]["running"] == 1
    assert not instance.over(running)
    instance.end(running)
    instance.event(waiting, "clean")
    assert check_overlaps(instance, [running, waiting]) == 2


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3])
def test_a_process_that_is_killed_in_the_middle_of_a_burst(instance, delay):
    instance.load(execute=True)
    jobids = instance.submit(*[jobspec(slots=1, cores=2) for _ in range(60)], run=0.05)
    time.sleep(delay)
    os.kill(int(re.findall(r"module-exec sched pid=(\d+)", instance.dmesg())[-1]), signal.SIGKILL)
    instance.wait(lambda: not instance.loaded(), "the module to be gone")
    instance.load()
    for jobid in jobids:
        instance.event(jobid, "clean")
    assert check_overlaps(instance, jobids) == 60


def test_a_thread_that_is_cancelled(instance):
    instance.load()
    running = instance.submit(nodes=1, cores=4, run=60)
    instance.event(running, "start")
    instance.flux("module", "remove", "--cancel", "sched")
    instance.wait(lambda: not instance.loaded(), "the module to be gone")
    instance.load()
    assert instance.stats()["jobs"]["running"] == 1
    instance.end(running)


def test_configuration_is_reloaded(instance):
    text = config_text(more='[sched]\nplugin = "backfill.plugin1"\n')
    broken = config_text(more='[sched]\nplugin = "no.such"\n')
    path = instance.folder / "config.toml"
    before = path.read_text()
    instance.load()
    try:
        path.write_text(text)
        instance.flux("config", "reload")
        assert instance.stats()["plugin"] == "backfill.plugin1"
        path.write_text(broken)
        done = instance.run("config", "reload")
        assert done.returncode != 0 and "no.such" in done.stderr
        assert instance.stats()["plugin"] == "backfill.plugin1"
        instance.event(instance.submit(), "clean")
        path.write_text(text)
        instance.flux("config", "reload")
        instance.remove()
        instance.load()
        assert instance.stats()["plugin"] == "backfill.plugin1"
    finally:
        path.write_text(before)
        instance.flux("config", "reload")


def test_rdl_agrees(instance, tmp_path):
    path = tmp_path / "fake.lua"
    path.write_text(
        'uses "Node"\n'
        'Hierarchy "default" { Resource{ "cluster", name = "fake", children = {\n'
        '  ListOf{ Node, ids = "0-7", args = { name = "fake", sockets = { "0-1", "2-3" } } } } } }\n'
    )
    instance.load(f"rdl-conf={path}")
    assert "4 nodes have no rank" in instance.dmesg()
    jobid = instance.submit(nodes=1, cores=3)
    instance.event(jobid, "clean")
    assert instance.R(jobid)["execution"]["nodelist"] == ["fake0"]
    instance.remove()    # which writes what is left of the record

    def last():
        return instance.ask("kvs", key="lwj.next") - 1

    instance.wait(lambda: str(instance.ask("kvs", key=f"lwj.{last()}.id")) == str(jobid), "the record")
    number = last()
    text = str(instance.ask("kvs", key=f"lwj.{number}.rdl"))
    assert "socket0" in text and "socket1" in text and "fake0" in text


def test_rdl_does_not_agree(instance):
    instance.load(f"rdl-conf={TOP}/conf/hype.lua")
    assert "rank 0 (fake0) is no node of it" in instance.dmesg()
    jobid = instance.submit(nodes=4, cores=4)
    instance.event(jobid, "clean")
    assert instance.R(jobid)["execution"]["nodelist"] == ["fake[0-3]"]


def test_rdl_forced_on_the_ranks(instance):
    instance.load(f"rdl-conf={TOP}/conf/hype.lua", "in-sim=true")
    jobid = instance.submit(nodes=4, cores=16)
    instance.event(jobid, "clean")
    R = instance.R(jobid)
    assert R["execution"]["nodelist"] == ["hype[201-204]"]
    assert R["execution"]["R_lite"] == [{"rank": "0-3", "children": {"core": "0-15"}}]


def test_loaded_with_every_instance(tmp_path):
    """The configuration of flux modprobe that the module's page has."""
    page = (TOP / "doc" / "module.md").read_text()
    [recipe] = re.findall(r"```toml\n(\[\[modules\]\].*?)```", page, re.S)
    (tmp_path / "modprobe.d").mkdir()
    (tmp_path / "modprobe.d" / "flux-sched.toml").write_text(recipe)
    environment = {"FLUX_MODPROBE_PATH_APPEND": str(tmp_path), "FLUX_SCHED_MODULE": ""}
    with Instance(tmp_path, size=2, environment=environment) as made:
        assert re.search("^flux-sched ", made.flux("module", "list"), re.M)
        made.event(made.submit(nodes=2), "clean")
        assert made.stats()["plugin"] == "backfill.plugin1"
        assert "to reload it, flux module reload --name=flux-sched sched" in made.dmesg()
        made.flux("module", "reload", "--name=flux-sched", "sched")
        made.wait(lambda: made.stats()["ready"], "the module to be ready")
        made.event(made.submit(nodes=2), "clean")


def test_by_its_path(tmp_path):
    """In an instance that was not started by this tree's launcher."""
    with Instance(tmp_path, size=1, environment={"FLUX_MODULE_PATH_PREPEND": "", "FLUX_SCHED_MODULE": ""}) as made:
        made.flux("module", "remove", "sched-simple")
        assert made.run("module", "load", "sched").returncode != 0
        made.flux("module", "load", str(TOP / "sched" / "sched.so"), "plugin=backfill.plugin1")
        made.event(made.submit(), "clean")
        assert made.stats()["plugin"] == "backfill.plugin1"


def test_guests_may_ask_for_feasibility_only(instance):
    instance.load()
    code = (
        "import flux, json, sys\n"
        "h = flux.Flux()\n"
        "h.rpc('feasibility.check', {'jobspec': json.loads(sys.argv[1])}).get()\n"
        "try:\n"
        "    h.rpc('sched.expiration', {'id': 1, 'expiration': 0}).get()\n"
        "except PermissionError:\n"
        "    print('refused')\n"
    )
    guest = {"FLUX_HANDLE_ROLEMASK": "0x2", "FLUX_HANDLE_USERID": "1234"}
    assert instance.flux("python", "-c", code, json.dumps(jobspec(nodes=4)), env=guest).strip() == "refused"


def test_the_resource_module_is_taken_away(instance):
    instance.load()
    instance.flux("module", "reload", "resource", "noverify")
    instance.wait(lambda: not instance.loaded(), "the module to end")
    assert "exiting, as resource.acquire ended" in instance.dmesg()
    instance.load()
    instance.event(instance.submit(nodes=4), "clean")
