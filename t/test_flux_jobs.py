# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobs in a real instance: who gets what, when, and what they are told."""

import subprocess

import pytest

from fakehost import jobspec
from fluxinstance import TOP, Instance, check_overlaps, config_text, flux_command, units
from fluxsched.formats import r

pytestmark = pytest.mark.flux


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    flux_command()
    config = config_text(
        gpus="0-1",
        properties={"odd": "fake[1,3]", "big": "fake3"},
        more='[ingest.validator]\nplugins = ["jobspec", "feasibility"]\n',
    )
    with Instance(tmp_path_factory.mktemp("flux"), config=config) as made:
        made.load("plugin=backfill.plugin1", "verbosity=1")
        yield made


@pytest.fixture(autouse=True)
def nothing_left(instance):
    yield
    instance.wait(lambda: instance.stats()["jobs"] == {"pending": 0, "committing": 0, "running": 0}, "all jobs to end")


def hold(instance, nodes=4, run=60, **more):
    """A job that holds whole nodes until it is ended."""
    jobid = instance.submit(nodes=nodes, slots=1, cores=4, run=run, **more)
    instance.event(jobid, "start")
    return jobid


def waits(instance, *jobids):
    for jobid in jobids:
        instance.wait(
            lambda jobid=jobid: instance.annotation(jobid, "reason_pending") is not None, f"job {jobid} to wait"
        )


def test_a_burst(instance):
    jobids = instance.submit(*[jobspec(slots=1 + n % 3, cores=1 + n % 2) for n in range(120)], run=0.02)
    for jobid in jobids:
        instance.event(jobid, "clean")
    assert check_overlaps(instance, jobids) == 120


def test_cancel_while_it_waits(instance):
    first = hold(instance)
    second, third = instance.submit(jobspec(nodes=4), jobspec(nodes=4))
    waits(instance, second)
    instance.cancel(second)
    instance.event(second, "clean")
    assert not instance.started(second)
    instance.end(first)
    instance.event(third, "clean")
    assert instance.started(third)


def test_cancel_in_the_middle_of_a_burst(instance):
    """Some are cancelled before, some during and some after their commit."""
    jobids = instance.submit(*[jobspec(slots=1) for _ in range(100)], run=0.05)
    for jobid in jobids[::2]:
        try:
            instance.cancel(jobid)
        except OSError:
            pass    # it was over
    for jobid in jobids:
        instance.event(jobid, "clean")
    assert check_overlaps(instance, jobids) >= 50
    probe = hold(instance)
    instance.end(probe)


def test_priorities(instance):
    first = hold(instance)
    low = instance.submit(nodes=4, slots=1, cores=4, urgency=8)
    middle = instance.submit(nodes=4, slots=1, cores=4, urgency=16)
    high = instance.submit(nodes=4, slots=1, cores=4, urgency=8)
    waits(instance, middle)
    instance.flux("job", "urgency", str(high), "24")
    instance.wait(lambda: instance.stats()["jobs"]["pending"] == 3, "three to wait")
    instance.end(first)
    began = {jobid: instance.event(jobid, "alloc")["timestamp"] for jobid in (low, middle, high)}
    assert began[high] < began[middle] < began[low]
    for jobid in began:
        instance.event(jobid, "clean")


def test_urgency_0_holds_a_job(instance):
    first = hold(instance)
    second = instance.submit(nodes=4)
    third = instance.submit(nodes=4, urgency=0)
    waits(instance, second)
    instance.flux("job", "urgency", str(second), "0")
    instance.end(first)
    fourth = instance.submit(nodes=4)
    instance.event(fourth, "clean")
    assert not instance.started(second) and not instance.started(third)
    instance.flux("job", "urgency", str(second), "16")
    instance.event(second, "clean")
    instance.flux("job", "urgency", str(third), "16")
    instance.event(third, "clean")


def test_exclusive(instance):
    small = instance.submit(slots=1, run=60)
    instance.event(small, "start")
    whole = instance.submit(nodes=3, exclusive=True)
    all_four = instance.submit(nodes=4, exclusive=True)
    instance.event(whole, "clean")
    R = r.parse(instance.R(whole))
    assert set(R.cores) == {"0-3"} and set(R.gpus) == {"0-1"}
    waits(instance, all_four)
    instance.end(small)
    instance.event(all_four, "clean")


def test_gpus(instance):
    jobids = instance.submit(*[jobspec(slots=1, gpus=1) for _ in range(10)], run=0.3)
    for jobid in jobids:
        instance.event(jobid, "clean")
        assert sum(kind == "gpu" for _, kind, _ in units(instance.R(jobid))) == 1
    assert check_overlaps(instance, jobids) == 10


@pytest.mark.parametrize(
    "constraint, ranks",
    [
        ({"properties": ["big"]}, {3}),
        ({"properties": ["^odd"]}, {0, 2}),
        ({"hostlist": ["fake[2-3]"]}, {2, 3}),
        ({"ranks": ["1"]}, {1}),
        ({"and": [{"properties": ["odd"]}, {"not": [{"properties": ["big"]}]}]}, {1}),
        ({"or": [{"ranks": ["0"]}, {"properties": ["big"]}]}, {0, 3}),
    ],
)
def test_constraints(instance, constraint, ranks):
    jobid = instance.submit(nodes=len(ranks), constraints=constraint)
    instance.event(jobid, "clean")
    assert set(r.parse(instance.R(jobid)).ranks) == ranks


def test_a_jobs_properties(instance):
    jobid = instance.submit(nodes=2)
    instance.event(jobid, "clean")
    assert instance.R(jobid)["execution"].get("properties") == {"odd": "1"}


@pytest.mark.parametrize(
    "shape, text",
    [
        ({"nodes": 5}, "node"),
        ({"slots": 17}, ""),
        ({"nodes": 1, "slots": 5, "exclusive": True}, ""),
        ({"slots": 1, "gpus": 3, "nodes": 1, "exclusive": True}, ""),
        ({"constraints": {"properties": ["nowhere"]}}, ""),
    ],
)
def test_feasibility_at_submission(instance, shape, text):
    with pytest.raises(OSError) as caught:
        instance.submit(**shape)
    assert text in str(caught.value)


def test_denied_with_the_reason(instance):
    """Without the validator's feasibility check the scheduler has to deny, at
    once and although others wait ahead."""
    first = hold(instance)
    second = instance.submit(nodes=4, slots=1, cores=4)
    path = instance.folder / "config.toml"
    before = path.read_text()
    path.write_text(before.replace(', "feasibility"', ""))
    instance.flux("config", "reload")
    try:
        assert "5" in instance.denied(instance.submit(nodes=5))
        assert instance.denied(instance.submit(constraints={"properties": ["nowhere"]}))
    finally:
        path.write_text(before)
        instance.flux("config", "reload")
    assert not instance.started(second)
    instance.end(first, second)


def test_drain_and_undrain(instance):
    instance.flux("resource", "drain", "3")
    first = instance.submit(nodes=4)
    waits(instance, first)
    second = instance.submit(constraints={"properties": ["big"]})
    waits(instance, second)
    third = instance.submit(nodes=1)
    instance.event(third, "clean")
    instance.flux("resource", "undrain", "3")
    instance.event(first, "clean")
    instance.event(second, "clean")


def test_drain_leaves_what_runs(instance):
    first = hold(instance)
    instance.flux("resource", "drain", "0-3")
    instance.flux("resource", "undrain", "0-3")
    second = instance.submit(nodes=1)
    waits(instance, second)
    instance.end(first)
    instance.event(second, "clean")
    assert check_overlaps(instance, [first, second]) == 2


def test_a_time_limit_moves_a_reservation(instance):
    first = hold(instance, duration=100.0)
    second = instance.submit(nodes=4, slots=1, cores=4, duration=10.0)
    instance.wait(lambda: instance.annotation(second, "t_estimate") is not None, "an estimate")
    begin = instance.event(first, "alloc")["timestamp"]
    assert instance.annotation(second, "t_estimate") == pytest.approx(begin + 100.0, abs=2.0)
    instance.flux("update", str(first), "duration=300s")
    moved = pytest.approx(begin + 300.0, abs=2.0)
    instance.wait(lambda: instance.annotation(second, "t_estimate") == moved, "the estimate to move")
    instance.end(first)
    alloc = instance.event(second, "alloc")
    sched = alloc["context"]["annotations"]["sched"]
    assert set(sched) == {"resource_summary", "selection_type"} and sched["selection_type"] == "reserved"
    instance.event(second, "clean")


def test_backfill(instance):
    first = hold(instance, nodes=3, duration=100.0)
    second = instance.submit(nodes=4, slots=1, cores=4, duration=100.0)
    waits(instance, second)
    long = instance.submit(nodes=1, slots=1, cores=4, duration=1000.0)
    short = instance.submit(nodes=1, slots=1, cores=4, duration=50.0)
    instance.event(short, "clean")
    alloc = instance.event(short, "alloc")
    assert alloc["context"]["annotations"]["sched"]["selection_type"] == "backfilled"
    assert not instance.started(long) and not instance.started(second)
    instance.end(first, second, long)


def test_expiration_in_r(instance):
    jobid = instance.submit(duration=60.0)
    instance.event(jobid, "clean")
    execution = instance.R(jobid)["execution"]
    assert execution["expiration"] - execution["starttime"] == pytest.approx(60.0)
    jobid = instance.submit()
    instance.event(jobid, "clean")
    assert instance.R(jobid)["execution"]["expiration"] == 0


def test_resource_list(instance):
    first = hold(instance, nodes=2)
    instance.flux("resource", "drain", "3")
    out = instance.flux("resource", "list", "-s", "free,allocated,down", "-no", "{state} {nnodes} {ncores}")
    assert [line.split() for line in out.splitlines()] == [
        # what they do not hold of the two allocated nodes, their gpus, is free
        ["free", "3", "4"], ["allocated", "2", "8"], ["down", "1", "4"],
    ]
    status = instance.ask("rpc", topic="sched.resource-status")
    assert r.parse(status["allocated"]).ranks == r.parse(instance.R(first)).ranks
    assert r.parse(status["down"]).ranks == [3]
    instance.flux("resource", "undrain", "3")
    instance.end(first)


def test_a_real_program(instance):
    out = instance.flux("run", "-N2", "-n2", "sh", "-c", "echo $FLUX_TASK_RANK")
    assert sorted(out.split()) == ["0", "1"]


def test_wreckrun_and_waitjob(instance):
    number = instance.stats()["lwj"]["next"]
    done = instance.run("wreckrun", "-N2", "-n2", "sh", "-c", "echo here; exit 3")
    assert done.returncode == 3 and done.stdout.split() == ["here", "here"]
    assert instance.run("waitjob", str(number)).returncode == 3
    assert instance.flux("wreckrun", "--nnodes=1", "-T", "30", "-d", "true").strip()
    complete = instance.folder / "complete"
    start = instance.folder / "start"
    instance.flux("waitjob", "-s", str(start), "-c", str(complete), str(number + 1))
    assert start.exists() and complete.exists()
    assert instance.run("waitjob", "99999").returncode == 1
    assert instance.run("waitjob", "no-job").returncode == 1
    instance.wait(lambda: instance.ask("kvs", key=f"lwj.{number + 1}.state") == "complete", "the record")
    kept = instance.flux("kvs", "dir", f"lwj.{number}")
    for name in ("id", "state", "nnodes", "ntasks", "walltime", "cmdline", "create-time", "exit_status", "rdl"):
        assert f"lwj.{number}.{name}" in kept
    assert instance.ask("kvs", key=f"lwj.{number}.rank.0.cores") == 1


def test_an_instance_inside(instance):
    """Our module schedules in a job's own instance, with what the job has."""
    script = "\n".join([
        "flux module list | grep -q '^sched-simple' && flux module remove sched-simple",
        "flux module load sched",
        "flux run -N2 -n2 hostname >/dev/null || exit 5",
        "flux run -N3 hostname && exit 6",
        "flux module stats sched | grep -q '\"success\": 1' || exit 7",
        "flux module remove sched",
    ])
    out = instance.run("run", "-N2", "-n2", "-c4", "-t", "5m", "flux", "start", "sh", "-c", script, timeout=60)
    assert out.returncode == 0, out.stdout + out.stderr


def test_the_module_knows_of_no_errors(instance):
    lines = [line for line in instance.dmesg().splitlines() if "sched.err" in line or "Traceback" in line]
    assert lines == []
    assert instance.stats()["counts"]["errors"] == 0


# -- instances of their own ---------------------------------------------------


def test_limited_mode(tmp_path):
    with Instance(tmp_path, size=1, config=config_text(hosts="fake0")) as instance:
        instance.load("queue-depth=3")
        first = hold(instance, nodes=1)
        others = instance.submit(*[jobspec(nodes=1, slots=1, cores=4) for _ in range(6)])
        instance.wait(lambda: instance.stats()["jobs"]["pending"] == 3, "three to wait")
        urgent = instance.submit(nodes=1, slots=1, cores=4, urgency=30)
        instance.wait(lambda: instance.annotation(urgent, "reason_pending"), "the urgent one to be considered")
        assert instance.stats()["jobs"]["pending"] == 3
        instance.end(first)
        began = [instance.event(jobid, "alloc")["timestamp"] for jobid in [urgent, *others]]
        assert began == sorted(began)
        for jobid in [urgent, *others]:
            instance.event(jobid, "clean")
        assert check_overlaps(instance, [first, urgent, *others]) == 8


def test_queues_are_apart(tmp_path):
    queues = '[queues.batch]\nrequires = ["batch"]\n[queues.debug]\nrequires = ["debug"]\n'
    config = config_text(properties={"batch": "fake[0-1]", "debug": "fake[2-3]"}, more=queues)
    with Instance(tmp_path, config=config) as instance:
        instance.load()
        instance.flux("queue", "start", "--all")
        first = instance.flux("submit", "-q", "batch", "-N1", "-c4", "--setattr=exec.test.run_duration=60s", "true")
        blocked = instance.flux("submit", "-q", "batch", "-N2", "-c4", "--setattr=exec.test.run_duration=0.1s", "true")
        behind = instance.flux("submit", "-q", "batch", "-N1", "-c4", "--setattr=exec.test.run_duration=0.1s", "true")
        other = instance.flux("submit", "-q", "debug", "-N2", "-c4", "--setattr=exec.test.run_duration=0.1s", "true")
        instance.flux("job", "wait-event", "-t", "20", other.strip(), "clean")
        for jobid in (blocked, behind):
            assert instance.flux("jobs", "-no", "{state}", jobid.strip()).strip() == "SCHED"
        instance.flux("cancel", first.strip())
        for jobid in (blocked, behind):
            instance.flux("job", "wait-event", "-t", "20", jobid.strip(), "clean")


def test_partial_release(tmp_path):
    """Housekeeping gives ranks back one by one; the scheduler uses them, also
    when it was loaded in between."""
    housekeeping = (
        "[job-manager.housekeeping]\n"
        f'command = ["sh", "-c", "test -e {tmp_path}/free.$(flux getattr rank) || sleep 60"]\n'
        'release-after = "0s"\n'
    )
    config = config_text(more=housekeeping)
    for rank in (1, 3):
        (tmp_path / f"free.{rank}").touch()
    with Instance(tmp_path, config=config) as instance:
        instance.load()
        first = instance.submit(nodes=4, slots=1, cores=4)
        instance.event(first, "clean")
        second = instance.submit(nodes=2, slots=1, cores=4, run=60)
        instance.event(second, "start")
        assert r.parse(instance.R(second)).ranks == [1, 3]
        # the R of the first still names the ranks that the second has now
        instance.remove()
        instance.load()
        assert instance.stats()["jobs"]["running"] == 2
        instance.end(second)
        assert not any(event["name"] == "exception" and event["context"]["type"] == "scheduler-restart"
                       for event in instance.eventlog(second))
        third = instance.submit(nodes=4, slots=1, cores=4)
        waits(instance, third)
        status = instance.ask("rpc", topic="sched.resource-status")
        assert set(r.parse(status["allocated"]).ranks) >= {0, 2}
        fourth = instance.submit(nodes=2, slots=1, cores=4, urgency=20)
        instance.event(fourth, "clean")
        assert r.parse(instance.R(fourth)).ranks == [1, 3]
        assert not instance.started(third)
        for rank in (0, 2):
            (tmp_path / f"free.{rank}").touch()
        instance.flux("housekeeping", "kill", "--all")
        instance.event(third, "clean")


def test_a_rank_that_dies_and_comes_back(tmp_path):
    def down(instance):
        R = instance.ask("rpc", topic="sched.resource-status")["down"]
        return r.parse(R).ranks if R["execution"]["R_lite"] else []

    with Instance(tmp_path, system=True) as instance:
        instance.load()
        first = hold(instance)
        instance.ask("start", topic="kill", payload={"rank": 3, "signum": 9})
        instance.wait(lambda: down(instance) == [3], "the rank to be down")
        second = instance.submit(nodes=4)
        waits(instance, second)
        instance.end(first)
        third = instance.submit(nodes=3, slots=1, cores=4, urgency=20)
        instance.event(third, "clean")
        assert r.parse(instance.R(third)).ranks == [0, 1, 2]
        assert not instance.started(second)
        instance.ask("start", topic="wait", payload={"rank": 3})
        instance.ask("start", topic="run", payload={"rank": 3})
        instance.wait(lambda: down(instance) == [], "the rank to come back")
        instance.event(second, "clean")
        assert check_overlaps(instance, [first, second, third]) == 3


def test_hundreds_of_jobs(tmp_path):
    config = config_text(hosts="fake0", cores="0-63")
    with Instance(tmp_path, size=1, config=config) as instance:
        instance.load()
        jobids = []
        for _ in range(3):
            jobids += instance.submit(*[jobspec(slots=1) for _ in range(100)])
        instance.flux("queue", "drain", timeout=60.0)
        instance.wait(lambda: instance.stats()["counts"]["free"] == 300, "the last job to give back what it held")
        stats = instance.stats()
        assert stats["counts"]["success"] == 300
        assert stats["counts"]["commits"] < 300
        assert stats["lwj"] == {"first": 1, "next": 301}
        instance.wait(lambda: instance.ask("kvs", key="lwj.300.state") == "complete", "the record")
        assert instance.ask("kvs", key="lwj.1.id") in jobids
        # links are made in blocks, records lie behind them
        assert instance.flux("kvs", "readlink", "lwj.300").strip() == "lwj-data.3.0.300"
        assert "lwj.1.rank.0.cores = 1" in instance.flux("kvs", "dir", "-R", "lwj.1")
        assert check_overlaps(instance, jobids) == 300


def test_the_walk_through(tmp_path):
    """As the README has it, word for word, by the launcher of the tree."""
    flux_command()
    words = [
        "flux module load sched rdl-conf=conf/hype.lua",
        "flux module list | grep '^sched '",
        "flux submit -N3 -n3 sleep 1",
        "flux job wait-event -t 20 $(flux job last) start >/dev/null",
        "sleep 1",
        "flux kvs dir lwj.1",
        "flux dmesg",
    ]
    done = subprocess.run(
        [str(TOP / "flux"), "start", "-s3", "sh", "-ec", "\n".join(words)],
        cwd=TOP, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'lwj.1.state = "running"' in done.stdout
    assert "lwj.1.nnodes = 3" in done.stdout
    assert "allocated rank[0-2]/core" in done.stdout
