# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux sched in a real Flux."""

import errno
import json
import os
import re

import pytest

from fluxinstance import TOP, Instance, config_text, flux_command
from test_forward import PLAIN_PYTHON
from test_service_ask import parse

pytestmark = pytest.mark.flux


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    flux_command()
    with Instance(tmp_path_factory.mktemp("flux"), size=4, config=config_text()) as made:
        made.load("plugin=backfill.plugin1")
        yield made


@pytest.fixture
def waiting(instance):
    """A job that runs on two of four nodes, one that waits for all, and one behind it."""
    first = instance.submit(nodes=2, exclusive=True, duration=600.0, run=600.0)
    instance.event(first, "start")
    second = instance.submit(nodes=4, exclusive=True, duration=1200.0, run=600.0)
    third = instance.submit(nodes=2, exclusive=True, duration=7200.0, run=600.0)
    instance.wait(lambda: instance.annotation(third, "reason_pending") is not None, "the reasons")
    yield first, second, third
    instance.end(third, second, first)


def f58(instance, jobid):
    return instance.flux("job", "id", "--to=f58", str(jobid)).strip()


def sched(instance, *words):
    return instance.flux("sched", *words)


def test_why(instance, waiting):
    first, second, third = (f58(instance, jobid) for jobid in waiting)
    out = sched(instance, "why", second)
    assert re.match(rf"{second} waits: needs 4 nodes, 2 free; 2 more at (\w+ \d+ )?\d\d:\d\d when {first} ends\n", out)
    assert re.search(rf"^Given back  2 nodes at .* by {first}$", out, re.M)
    assert re.search(r"^Could run   on 4 nodes: fake\[0-3\]$", out, re.M)
    assert f"starting now would delay {second}, planned for" in sched(instance, "why", third)
    assert f"{first} has been running since" in sched(instance, "why", first)
    answer = json.loads(sched(instance, "why", "--json", str(waiting[1])))
    assert (answer["id"], answer["free"], answer["missing"]) == (waiting[1], 2, 2)
    assert answer["userid"] == os.getuid()
    assert instance.annotation(waiting[1], "reason_pending").startswith("needs 4 nodes, 2 free; 2 more at ")


def test_guests_may_ask_for_their_own_jobs_only(instance, waiting):
    guest = {"FLUX_HANDLE_ROLEMASK": "0x2", "FLUX_HANDLE_USERID": "1234"}
    done = instance.run("sched", "why", str(waiting[1]), env=guest)
    assert done.returncode == 1 and done.stderr == f"flux-sched: job {f58(instance, waiting[1])} is not yours\n"
    own = {**guest, "FLUX_HANDLE_USERID": str(os.getuid())}
    assert "needs 4 nodes" in instance.flux("sched", "why", str(waiting[1]), env=own)
    for words in (["queue"], ["stats"]):
        done = instance.run("sched", *words, env=own)
        assert done.returncode == 1 and "flux-sched: " in done.stderr and "Traceback" not in done.stderr


def test_why_of_jobs_that_the_scheduler_does_not_have(instance):
    held = instance.submit(urgency=0)
    name = f58(instance, held)
    assert sched(instance, "why", name) == (
        f"{name} is held: its urgency is 0 (flux job urgency {name} default releases it)\n")
    instance.end(held)
    instance.wait(lambda: "is over: CANCELED" in sched(instance, "why", name), "job-list")
    assert "no such job" in instance.run("sched", "why", "ƒ12345").stderr
    instance.flux("queue", "stop", "-m", "for repairs")
    try:
        stopped = instance.submit()
        instance.event(stopped, "priority")
        text = f"{f58(instance, stopped)} waits because the queue is stopped: for repairs\n"
        instance.wait(lambda: sched(instance, "why", str(stopped)) == text, "job-list")
    finally:
        instance.flux("queue", "start")
    instance.event(stopped, "clean")


def test_queue_and_stats(instance, waiting):
    out = sched(instance, "queue").splitlines()
    assert out[0] == "backfill.plugin1, order fcfs: 2 jobs waiting"
    assert [line.split()[0] for line in out[2:]] == [f58(instance, jobid) for jobid in waiting[1:]]
    assert re.search(r"^nodes +4, 4 up, 2 idle$", sched(instance, "stats"), re.M)
    samples = parse(sched(instance, "stats", "--prometheus"))
    assert samples["flux_sched_jobs", 'state="pending"'] == 2
    # An exporter needs no more than the RPC.
    assert parse(instance.ask("rpc", topic="sched.stats", payload={"format": "prometheus"})["text"]).keys() \
        == samples.keys()


def test_when(instance, waiting):
    done = instance.run("sched", "when", "-N1", "-t5m")
    assert (done.returncode, done.stdout) == (0, "now, on fake2\n")
    done = instance.run("sched", "when", "-N1", "-t1h", "app")
    assert done.returncode == 1 and f"would delay {f58(instance, waiting[1])}, planned for" in done.stdout
    done = instance.run("sched", "when", "--nodes=1-5", "-t5m", "app")
    assert done.returncode == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()[1::4]] == [["1", "now"], ["5", "never"]]
    assert instance.run("sched", "when", "-N5").returncode == 2
    assert instance.run("sched", "when", "-n0").returncode == 3
    guest = {"FLUX_HANDLE_ROLEMASK": "0x2", "FLUX_HANDLE_USERID": "1234"}
    assert instance.flux("sched", "when", "-N1", "-t5m", env=guest) == "now, on fake2\n"
    done = instance.run("sched", "when", "--urgency=17", "-N1", env=guest)
    assert (done.returncode, done.stderr) == (3, "flux-sched: only the instance owner can submit with urgency >16\n")
    assert instance.stats()["jobs"]["pending"] == 2


def test_plan(instance, waiting):
    out = sched(instance, "plan")
    ids = [f58(instance, jobid) for jobid in waiting]
    assert "1 job running, 2 planned, 0 without a start (backfill.plugin1)" in out
    assert re.search(r"^fake0 \|A", out, re.M) and all(jobid in out for jobid in ids)
    answer = json.loads(sched(instance, "plan", "--json"))
    assert [(job["id"], job["state"]) for job in answer["jobs"]] == [
        (waiting[0], "running"), (waiting[1], "planned"), (waiting[2], "planned")]
    assert answer["nodes"] == "fake[0-3]" and answer["jobs"][1]["start"] == answer["jobs"][0]["end"]
    guest = {"FLUX_HANDLE_ROLEMASK": "0x2", "FLUX_HANDLE_USERID": str(os.getuid())}
    assert instance.run("sched", "plan", env=guest).returncode == 1


def test_refusals(instance):
    for topic, payload in (("sched.why", {}), ("sched.why", {"id": -1}), ("sched.queue", {"count": 0}),
                           ("sched.stats", {"format": "xml"}), ("sched.when", {"jobspec": 1}),
                           ("sched.plan", {"until": -1})):
        with pytest.raises(OSError) as caught:
            instance.ask("rpc", topic=topic, payload=payload)
        assert caught.value.errno == errno.EPROTO and topic in str(caught.value)


def test_the_command_is_that_of_the_tree(instance):
    program = TOP / "sched" / "cmd" / "flux-sched"
    assert os.access(program, os.X_OK)
    assert sched(instance, "--version").startswith("flux-sched ")


def test_without_our_scheduler(instance):
    instance.remove()
    try:
        text = "flux-sched: no scheduler of flux-sched is loaded here (flux module load sched), or an older one\n"
        for words in (["queue"], ["stats"], ["why", "f1"]):
            done = instance.run("sched", *words)
            assert (done.returncode, done.stderr) == (1, text)
        instance.flux("module", "load", "sched-simple")
        done = instance.run("sched", "queue")
        assert (done.returncode, done.stderr) == (1, text)
        instance.flux("module", "remove", "sched-simple")
    finally:
        instance.load("plugin=backfill.plugin1")


def test_whatif(instance, waiting, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PLAIN_PYTHON)
    crash = tmp_path / "crash.py"
    crash.write_text("import os\nos.abort()\n")
    out = sched(instance, "whatif", f"first-fit,{path},{crash}").splitlines()
    assert out[0].startswith("2 jobs waiting, 1 running; ") and out[6].split() == [str(crash), *"------"]
    # Whoever takes the process up knows by which signal it ended.
    assert any(line.startswith(f"{crash}: its process ended before it had come to its end") for line in out)
    assert [line.split()[:2] for line in out[3:6]] == [["present", "2"], ["first-fit", "2"], [str(path), "2"]]
    gain = next(line for line in out if line.startswith("first-fit: start sooner, most: "))
    assert f58(instance, waiting[2]) in gain
    done = instance.run("sched", "whatif", "odd")
    assert done.returncode == 1 and done.stderr.startswith("flux-sched: policy 'odd': expected fcfs, easy, ")
    guest = {"FLUX_HANDLE_ROLEMASK": "0x2", "FLUX_HANDLE_USERID": str(os.getuid())}
    done = instance.run("sched", "whatif", "easy", env=guest)
    assert done.returncode == 1 and "flux-sched: " in done.stderr and "Traceback" not in done.stderr


def test_shadow(instance):
    instance.flux("module", "reload", "sched", "plugin=sched.plugin1", "shadow=first-fit,fcfs")
    first = instance.submit(nodes=3, exclusive=True, duration=600.0, run=600.0)
    instance.event(first, "start")
    second = instance.submit(nodes=4, exclusive=True, duration=600.0, run=0.2)
    third = instance.submit(nodes=1, exclusive=True, duration=600.0, run=0.2)

    def shadows():
        return {found["name"]: found for found in json.loads(sched(instance, "shadow", "--json"))["shadows"]}

    instance.wait(lambda: shadows()["first-fit"]["ahead"] == 1, "the third job to start in the shadow")
    assert shadows()["fcfs"]["ahead"] == 0
    instance.end(first)
    for jobid in (second, third):
        instance.event(jobid, "clean")
    instance.wait(lambda: all(found["both"] == 3 for found in shadows().values()), "all to have started")
    found = shadows()
    assert found["first-fit"]["saved"] > 0 and abs(found["fcfs"]["saved"]) < 0.01
    assert sched(instance, "shadow").splitlines()[0].startswith("live since ")
    instance.flux("module", "reload", "sched", "plugin=backfill.plugin1")
