# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The commands of a session, as a person uses them."""

import io
import json
import os
import re
import select
import signal
import subprocess
import sys

import pytest
from rich.console import Console

from embedded import FLUX, Session, clean_environment, flux, stripped, until
from fluxsched.session import demo, jobid

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HYPE = os.path.join(TOP, "conf", "hype.lua")


@pytest.fixture(scope="module")
def session():
    with Session("-s3") as session:
        yield session


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster from a configuration: eight nodes, some of them big, two queues."""
    config = {
        "resource": {
            "config": [
                {"hosts": "n[1-6]", "cores": "0-3", "properties": ["batch"]},
                {"hosts": "n[7-8]", "cores": "0-7", "gpus": "0-1", "properties": ["debug", "big"]},
            ]
        },
        "queues": {"batch": {"requires": ["batch"]}, "debug": {"requires": ["debug"]}, "quick": {"parent": "batch"}},
        "policy": {"jobspec": {"defaults": {"system": {"queue": "batch"}}}},
    }
    path = tmp_path_factory.mktemp("cluster") / "flux.json"
    path.write_text(json.dumps(config))
    with Session(f"--config-path={path}") as session:
        yield session


def test_walk_through(tmp_path):
    """The commands of the original README, in their order."""
    script = (
        "flux module load sched rdl-conf=conf/hype.lua && flux module list && "
        "id=$(flux submit -N3 -n3 sleep 0.3) && flux job wait $id && sleep 1 && flux kvs dir lwj.1 && flux dmesg"
    )
    words = ["./flux", "start", "-s3", "sh", "-c", script]
    env = clean_environment(FLUX_SCHED_EMBEDDED="1")
    done = subprocess.run(words, cwd=TOP, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^sched +\d+ +R .* feasibility,sched$", done.stdout, re.M)
    for line in ("lwj.1.state = complete", "lwj.1.nnodes = 3", "lwj.1.ntasks = 3", "lwj.1.exit_status = 0"):
        assert f"\n{line}\n" in done.stdout
    assert "makes way for the one asked for" in done.stdout
    assert re.search(r"sched\.err\[0\]: RDL.*hype.lua.* does not agree", done.stdout)


def test_emulated_cluster():
    with Session(f"--emulate={HYPE}") as session:
        assert session("getattr", "size") == "154"
        assert session("getattr", "hostlist") == "hype[201-354]"
        assert session("resource", "list").splitlines()[1] == "      free    154   2464     0 hype[201-354]"
        session("module", "load", "sched", f"rdl-conf={HYPE}")
        assert "does not agree" not in session.log()
        assert session("run", "-N2", "echo", "here").split() == ["here", "here"]
        jobid = session("submit", "-N150", "--setattr=exec.test.run_duration=0.1s", "x")
        session("job", "wait", jobid)
        assert session.job(jobid)["nodelist"] == "hype[201-350]"


def test_rdl_forced_on_the_ranks():
    with Session("-s2", "--no-sched") as session:
        session("module", "load", "sched", f"rdl-conf={HYPE}", "in-sim=true")
        jobid = session("submit", "-N2", "-n32", "true")
        session("job", "wait", jobid)
        assert (session.job(jobid)["nodelist"], session.job(jobid)["ncores"]) == ("hype[201-202]", 32)


def test_names_in_all_letters(session):
    jobid = session("submit", "--job-name=größe", "true")
    assert session("jobs", "-ano", "{name}", jobid) == "größe"
    assert session("jobs", "-ano", "{name}", jobid, env={"PYTHONIOENCODING": "ascii"}) == "gr\\xf6\\xdfe"
    words = [*FLUX, "run", "printf", "%s", b"\xff\xc3\xa9"]
    done = subprocess.run(words, env=session.env, capture_output=True, check=True)
    assert done.stdout == b"\xff\xc3\xa9"


def test_jobs_columns(session):
    jobid = session("submit", "-N3", "-n3", "--job-name=a-long-name-here", "sleep", "60")
    session.wait_state(jobid, "RUN")
    head, row = session("jobs").splitlines()
    assert head == "       JOBID USER     NAME       ST NTASKS NNODES     TIME INFO".strip()
    assert row.split()[0] == jobid
    assert row.split()[2:6] == ["a-long-na+", "R", "3", "3"]
    session("cancel", jobid)
    session.wait_state(jobid, "INACTIVE")
    assert session("jobs", "-n") == ""
    assert " CA " in session("jobs", "-an", jobid)


def test_jobs_json_has_what_flux_jobs_has(session):
    jobid = session("submit", "-t1m", "true")
    session("job", "wait", jobid)
    job = session.job(jobid)
    wanted = {
        "t_depend", "t_priority", "t_sched", "t_run", "t_cleanup", "t_inactive", "duration", "name", "cwd", "ntasks",
        "ncores", "nnodes", "priority", "ranks", "nodelist", "success", "result", "waitstatus", "id", "t_submit",
        "state", "username", "userid", "urgency", "runtime", "status", "returncode", "dependencies", "jobid",
        "annotations", "exception",
    }  # fmt: skip
    assert wanted <= set(job)
    assert job["duration"] == 60
    assert job["t_submit"] <= job["t_run"] <= job["t_cleanup"] <= job["t_inactive"]
    everything = json.loads(session("jobs", "-a", "--json"))["jobs"]
    assert job["id"] in [one["id"] for one in everything]


def test_jobs_filters_and_formats(session):
    good = session("submit", "--job-name=good", "true")
    bad = session("submit", "--job-name=bad", "false")
    held = session("submit", "--urgency=hold", "--job-name=held", "true")
    for one in (good, bad):
        session.run("job", "wait", one)
    show = ["-no", "{id}"]
    assert bad in session("jobs", "-f", "failed", *show).split()
    assert good in session("jobs", "-f", "completed", *show).split()
    assert session("jobs", "-f", "pending", *show) == held
    assert session("jobs", "-f", "running", *show) == ""
    assert session("jobs", "-a", "--name=good", *show) == good
    assert session("jobs", "-ac1", *show) == held
    assert session("jobs", "-n", held).endswith("held")
    assert session("jobs", "-no", "{id.dec} {state} {returncode:>3} {inactive_reason}", bad).split()[1:] == [
        "INACTIVE", "1", "Exit", "1",
    ]  # fmt: skip
    assert session("jobs", "--sort=name", "-no", "{name}", good, bad, held).split() == ["bad", "good", "held"]
    assert "1 pending" in session("jobs", "--stats-only")
    assert session("jobs", "--since=-1h", *show)
    assert session("jobs", "-a", "-i", "9", *show) == ""
    session("cancel", held)


def test_job_ids_in_all_forms(session):
    plain = session("submit", "--urgency=hold", "true")
    forms = [session("job", "id", f"--to={form}", plain) for form in ("dec", "hex", "f58", "f58plain", "dothex")]
    for form in forms:
        assert session("jobs", "-no", "{id}", form) == plain
    assert session("job", "last") == plain
    ascii_form = session("jobs", "-no", "{id}", plain, env={"PYTHONIOENCODING": "ascii"})
    assert ascii_form == "f" + plain[1:]
    session("cancel", plain)


def test_urgency_orders_and_holds(session):
    jobid = session("submit", "--urgency=hold", "true")
    assert session.state(jobid) == "SCHED"
    assert session.run("job", "urgency", "-v", jobid, "20").stderr == "flux-job: old job urgency: 0\n"
    session("job", "wait", jobid)
    assert session.job(jobid)["priority"] == 20
    assert "job is inactive" in session.fail("job", "urgency", jobid, "1")


def test_hold_of_a_job_that_waits(session):
    cores = len(os.sched_getaffinity(0))
    blocker = session("submit", "-N3", "-x", "sleep", "60")
    session.wait_state(blocker, "RUN")
    first = session("submit", f"-c{cores}", "true")
    second = session("submit", f"-c{cores}", "true")
    until(lambda: session.job(first)["annotations"].get("sched"), "a reason for waiting")
    session("job", "urgency", first, "hold")
    session("job", "urgency", second, "expedite")
    assert session.job(second)["priority"] == 2**32 - 1
    session("cancel", blocker)
    session("job", "wait", second)
    assert session.state(first) == "SCHED"
    session("job", "urgency", first, "default")
    session("job", "wait", first)


def test_cancel(session):
    ids = session("submit", "--cc=1-3", "--urgency=hold", "true").split()
    assert session.run("cancel", "-n", "--all").stderr == "flux-cancel: Would cancel 3 jobs\n"
    session("cancel", ids[0])
    assert session.job(ids[0])["result"] == "CANCELED"
    assert "exception" in [event["name"] for event in session.events(ids[0])]
    assert session.run("cancel", "--states=pending").stderr == "flux-cancel: Canceled 2 jobs (0 errors)\n"
    assert session.run("cancel", "--all").stderr == "flux-cancel: Matched 0 jobs\n"
    assert "job is inactive" in session.fail("cancel", ids[0])
    done = session.run("job", "attach", ids[1])
    assert done.returncode == 1
    assert "type=cancel severity=0" in done.stderr


def test_wait(session):
    ids = session("submit", "--flags=waitable", "--cc=1-2", "sh", "-c", "exit $((FLUX_JOB_CC - 1))").split()
    done = session.run("job", "wait", "--all", "-v")
    assert done.returncode == 1
    assert sorted(done.stderr.splitlines()) == sorted(
        [
            f"flux-job: {ids[0]}: job completed successfully",
            f"flux-job: {ids[1]}: task(s) exited with exit code 1",
        ]
    )
    assert session.run("job", "wait", "--all").returncode == 0
    last = session("submit", "--flags=waitable", "true")
    assert session("job", "wait") == last
    assert session.run("job", "status", ids[0], ids[1]).returncode == 1
    assert session.run("waitjob", ids[0]).returncode == 0
    assert session.run("waitjob", ids[1]).returncode == 1


def test_eventlog_and_info(session):
    jobid = session("submit", "sh", "-c", "exit 2")
    session.run("job", "wait", jobid)
    names = [event["name"] for event in session.events(jobid)]
    assert names == ["submit", "validate", "depend", "priority", "alloc", "start", "finish", "release", "free", "clean"]
    log = session("job", "eventlog", jobid)
    assert re.search(r"^\d+\.\d{6} submit userid=\d+ urgency=16 flags=0 version=1$", log, re.M)
    assert re.search(r"^\d+\.\d{6} finish status=512$", log, re.M)
    assert session("job", "eventlog", "-F", jobid) == log
    lines = session("job", "eventlog", "--format=json", jobid).splitlines()
    assert [json.loads(line) for line in lines] == session.events(jobid)
    assert json.loads(session("jobs", "--json", jobid)) == session.job(jobid)
    human = session("job", "eventlog", "-H", jobid)
    assert re.match(r"\[\w{3}\d\d \d\d:\d\d\] submit .*\n\[ +\+0\.\d+\] validate", human)
    assert session("job", "wait-event", jobid, "finish").endswith("finish status=512")
    assert "never received" in session.fail("job", "wait-event", jobid, "odd")
    assert json.loads(session("job", "info", jobid, "jobspec"))["tasks"][0]["command"] == ["sh", "-c", "exit 2"]
    R = json.loads(session("job", "info", jobid, "R"))
    assert R["execution"]["R_lite"][0]["children"]["core"] == "0"
    done = session.run("job", "attach", "-E", jobid)
    assert [line.split()[1] for line in done.stderr.splitlines() if "job." in line] == [f"job.{name}" for name in names]
    held = session("submit", "--urgency=hold", "true")
    assert "timeout on event" in session.fail("job", "wait-event", "-t", "0.2s", held, "start")
    session("cancel", held)


def test_kvs(session):
    session("kvs", "put", "t.a=1", "t.b.c=two", 't.d={"x": 1}')
    assert session("kvs", "get", "t.a", "t.b.c").split() == ["1", "two"]
    assert session("kvs", "get", "-l", "t.a") == "t.a=1"
    assert session("kvs", "dir", "t").splitlines() == ["t.a = 1", "t.b.", 't.d = {"x": 1}']
    assert session("kvs", "dir", "-R", "t").splitlines() == ["t.a = 1", "t.b.c = two", 't.d = {"x": 1}']
    assert session("kvs", "ls", "t").split() == ["a", "b", "d"]
    assert session("kvs", "ls", "-1F", "t").splitlines() == ["a", "b.", "d"]
    assert session("kvs", "ls", "t.a") == "t.a"
    assert "Is a directory" in session.fail("kvs", "get", "t.b")
    assert "Directory not empty" in session.fail("kvs", "unlink", "t")
    session("kvs", "put", "t.b=3")
    assert session("kvs", "get", "t.b") == "3"
    session("kvs", "put", "t.b.c=4")
    assert session("kvs", "dir", "-R", "t.b") == "t.b.c = 4"
    session("kvs", "unlink", "-R", "t")
    assert "No such file" in session.fail("kvs", "dir", "t")
    session("kvs", "unlink", "-f", "t")
    assert session("kvs", "put", "-r", "t=-", input="a\nb") == ""
    assert session("kvs", "get", "-r", "t") == "a\nb"
    session("kvs", "unlink", "t")


def test_drain(session):
    session("resource", "drain", "1", "bad", "ram")
    assert re.search(r"drained +bad ram +\S+$", session("resource", "drain"))
    assert "already drained" in session.fail("resource", "drain", "1")
    assert "already drained" in session.fail("resource", "drain", "0-1")
    session("resource", "drain", "-u", "0-1", "other")
    session("resource", "drain", "-f", "1", "worse")
    reasons = session("resource", "drain")
    assert "worse" in reasons and "other" in reasons and "bad ram" not in reasons
    rows = {line.split()[0]: line.split()[1] for line in session("resource", "list").splitlines()[1:]}
    assert rows == {"free": "1", "allocated": "0", "down": "2"}
    first = session("submit", "-N3", "true")
    assert session.job(first)["state"] == "SCHED"
    running = session("submit", "-N1", "sleep", "60")
    session.wait_state(running, "RUN")
    assert session.job(running)["ranks"] == "2"
    session("resource", "drain", "2", "soon")
    assert re.search(r"draining +1 ", session("resource", "status"))
    session("cancel", running)
    session("resource", "undrain", "0-2")
    session("job", "wait", first)
    assert session("resource", "drain").count("\n") == 0


def test_resource_list_counts_parts_of_nodes(session):
    jobid = session("submit", "sleep", "60")
    session.wait_state(jobid, "RUN")
    cores = len(os.sched_getaffinity(0))
    rows = {line.split()[0]: line.split()[1:3] for line in session("resource", "list").splitlines()[1:]}
    assert rows["allocated"] == ["1", "1"]
    assert rows["free"] == ["3" if cores > 1 else "2", str(3 * cores - 1)]
    session("cancel", jobid)


def test_queues_and_constraints(cluster):
    rows = [line.split() for line in cluster("queue", "list").splitlines()]
    assert rows[0] == ["QUEUE", "EN", "ST", "TDEFAULT", "TLIMIT", "NNODES", "NCORES", "NGPUS", "PARENT", "REQUIRES"]
    assert [[row[0].rstrip("*"), *row[8:]] for row in rows[1:]] == [
        ["batch", "batch"], ["debug", "debug"], ["quick", "batch", "batch"],
    ]  # fmt: skip
    quick = ["--setattr=exec.test.run_duration=0.01s"]

    def place(*words):
        jobid = cluster("submit", *quick, *words, "x")
        cluster.run("job", "wait", jobid)
        return cluster.job(jobid)["nodelist"]

    assert place("-N6") == "n[1-6]"
    assert place("-qdebug", "-N2") == "n[7-8]"
    assert place("-qquick", "-N6") == "n[1-6]"
    assert place("-qdebug", "-g2") == "n7"
    assert place("--requires=host:n3") == "n3"
    assert place("--requires=rank:2-3 and not host:n3") == "n4"
    assert place("-qdebug", "--requires=big&^batch") == "n7"
    assert cluster.fail("submit", "-N7", "x")
    assert cluster.fail("submit", "--requires=big", "x")
    assert "'odd' is not a valid queue" in cluster.fail("submit", "-qodd", "x")
    # a virtual queue's jobs keep its name, and are its parent's too
    listed = {queue: cluster("jobs", "-a", "-no", "{queue}", f"-q{queue}").split() for queue in ("batch", "quick")}
    assert listed["quick"] == ["quick"] and set(listed["batch"]) == {"batch", "quick"}
    gpus = cluster("run", "-qdebug", "-n2", "-g1", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    assert gpus.split() == ["0,1", "0,1"]


def test_modules(session):
    names = [line.split()[0] for line in session("module", "list").splitlines()[1:]]
    assert names == ["sched", "job-manager", "job-exec", "kvs", "resource"]
    assert "plugin=backfill.plugin1" in session("module", "list", "-l")
    session("module", "reload", "sched", "plugin=sched.plugin1")
    assert json.loads(session("module", "stats", "sched"))["plugin"] == "sched.plugin1"
    assert session("module", "stats", "-p", "ready", "sched") == "true"
    session("run", "true")
    assert session("module", "stats", "-p", "counts.alloc", "sched") != "0"
    assert session("module", "stats", "--clear", "sched") == ""
    assert session("module", "stats", "-p", "counts.alloc", "sched") == "0"
    assert "stats-clear" in session.fail("module", "stats", "--clear", "job-manager")
    assert json.loads(session("module", "stats", "job-manager"))["active_jobs"] == 0
    assert "File exists" in session.fail("module", "load", "sched")
    session("module", "remove", "sched")
    jobid = session("submit", "true")
    assert session("queue", "status").endswith("no scheduler is loaded")
    assert session("resource", "list").splitlines()[1].split()[:2] == ["free", "3"]
    assert "sched" in session.fail("module", "stats", "sched")
    assert "No such file" in session.fail("module", "remove", "sched")
    session("module", "remove", "-f", "sched")
    assert session.state(jobid) == "SCHED"
    session("module", "load", "sched")
    session("job", "wait", jobid)


def test_module_reload_keeps_running_jobs(session):
    cores = len(os.sched_getaffinity(0))
    running = session("submit", "-N3", "-x", "sleep", "60")
    session.wait_state(running, "RUN")
    session("module", "reload", "sched", "plugin=backfill.plugin1")
    waiting = session("submit", f"-c{cores}", "true")
    assert session.state(waiting) == "SCHED"
    session("cancel", running)
    session("job", "wait", waiting)


def test_dmesg(session):
    session("module", "reload", "sched")
    stamp = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z "
    assert re.search(stamp + r"broker\.info\[0\]: module sched loaded", session.log(), re.M)
    assert re.match(r"\[\w{3}\d\d \d\d:\d\d\] ", session("dmesg", "-H"))
    following = session.popen("dmesg", "-n")
    until(lambda: session.run("getattr", "nosuch").returncode == 1 and _readable(following), "a new line")
    assert "nosuch" in following.stdout.readline()
    following.terminate()
    following.communicate()
    assert session("dmesg", "-c")
    session("dmesg", "-C")
    assert session.log() == ""


def _readable(process):
    return select.select([process.stdout], [], [], 0.1)[0]


def test_information(session):
    assert session("getattr", "rank") == "0"
    assert session("getattr", "local-uri") == session.uri
    assert re.match(r"\d\d:\d\d:\d\d run .*,  owner \S+,  size 3", session("uptime"))
    assert session.uri in session("version")
    assert session("exec", "-r1-2", "flux", "getattr", "rank").split() == ["1", "2"]
    assert session.run("exec", "-r0-1", "false").returncode == 1


def test_dry_run_is_a_jobspec(session):
    words = ["-n4", "-N2", "-c2", "-g1", "-t5", "--requires=big", "--setattr=x.y=1", "--job-name=a", "--env=-*"]
    spec = json.loads(flux("submit", "--dry-run", *words, "-qq", "--output=o", "cmd", "-n", "1").stdout)
    slot = {"type": "slot", "count": 2, "label": "task"}
    slot["with"] = [{"type": "core", "count": 2}, {"type": "gpu", "count": 1}]
    assert spec["resources"] == [{"type": "node", "count": 2, "with": [slot]}]
    assert spec["tasks"] == [{"command": ["cmd", "-n", "1"], "slot": "task", "count": {"per_slot": 1}}]
    system = spec["attributes"]["system"]
    assert (system["duration"], system["environment"], system["queue"], system["x"]) == (300, {}, "q", {"y": 1})
    assert system["constraints"] == {"properties": ["big"]}
    assert json.loads(flux("run", "--dry-run", "-N2", "x").stdout)["resources"][0]["exclusive"] is True
    counts = json.loads(flux("submit", "--dry-run", "-N2", "-n3", "x").stdout)["tasks"][0]["count"]
    assert counts == {"total": 3}


def test_options_from_files(tmp_path):
    """^NAME=FILE, of attributes and of shell options."""
    (tmp_path / "a.json").write_text('{"b": [1]}')
    words = [f"--setattr=^x.y={tmp_path}/a.json", "-o", f"^z={tmp_path}/a.json", "-o", "w"]
    system = json.loads(flux("submit", "--dry-run", *words, "true").stdout)["attributes"]["system"]
    assert system["x"] == {"y": {"b": [1]}}
    assert (system["shell"]["options"]["z"], system["shell"]["options"]["w"]) == ({"b": [1]}, 1)
    assert "--setopt: /nonexistent: No such file" in flux("submit", "-o", "^z=/nonexistent", "true").stderr
    assert "--setopt: invalid attribute name" in flux("submit", "-o", "a..b=1", "true").stderr


def test_configuration_in_toml(tmp_path):
    pytest.importorskip("tomllib")
    (tmp_path / "flux.toml").write_text('[queues.a]\nrequires = []\n[sched]\nplugin = "sched.plugin1"\n')
    with Session(f"--config-path={tmp_path}/flux.toml") as session:
        assert session("queue", "list", "-n", "-o", "{queue}") == "a"
        assert "no queue specified" in session.fail("submit", "true")
        assert session.run("run", "-qa", "true").returncode == 0


def test_demo():
    done = subprocess.run(
        ["env", f"PYTHONPATH={TOP}/build/lib", sys.executable, "-m", "fluxsched.session.demo"],
        env=clean_environment(), cwd=TOP, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    out = stripped(done.stdout)
    assert "$ flux module load sched rdl-conf=conf/hype.lua" in out
    assert "lwj.1.state = complete" in out
    assert f"submitting {sum(entry[4] for entry in demo.MIX)} jobs" in out
    assert "backfilled" in out and "reserved" in out
    assert out.count("\n   0-6 ") == 1
    assert "nodes were busy" in out
    last = out[out.index("$ flux sched whatif conservative,") :].splitlines()
    assert last[3].split()[:2] == ["POLICY", "STARTED"]
    assert [line.split()[0] for line in last[4:10]] == ["present", *demo.OTHERS.split(",")]
    assert "\r" not in out and "\x1b" not in out  # no progress bar in a pipe


@pytest.mark.parametrize(
    ("results", "code", "told"),
    [
        (["COMPLETED", "COMPLETED"], 0, ""),
        (["TIMEOUT", "COMPLETED"], 0, "A (a\\x1bb) TIMEOUT"),
        (["FAILED", "TIMEOUT"], 1, "A (a\\x1bb) FAILED, B (a\\x1bb) TIMEOUT"),
    ],
)
def test_demo_tells_of_jobs_that_did_not_complete(capsys, results, code, told):
    from rich.console import Console

    jobs = [{"letter": letter, "name": "a\x1bb", "result": result} for letter, result in zip("AB", results)]
    assert demo._outcome(Console(width=200), jobs) == code
    line = f"not completed: {told}; TIMEOUT is a slow or busy machine\n"
    assert capsys.readouterr().out == (line if told else "")


def test_demo_interrupted(tmp_path):
    env = clean_environment(TMPDIR=str(tmp_path))
    command = [sys.executable, "-m", "fluxsched.session.demo"]
    demo = subprocess.Popen(
        command, env=env, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    seen = [demo.stdout.readline()]
    while "flux jobs" not in seen[-1]:
        seen.append(demo.stdout.readline())
        assert seen[-1], seen
    os.killpg(demo.pid, signal.SIGINT)  # as a terminal does
    _, err = demo.communicate(timeout=30)
    assert (demo.returncode, err) == (130, "")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("width", "seen"), [(132, "ahead of it"), (90, "\N{HORIZONTAL ELLIPSIS}"), (80, "n[1-2]"), (30, "J")]
)
def test_tables_of_the_demo_fit_the_terminal(width, seen):
    jobs = [
        {
            "id": number, "name": "sweep", "nnodes": 2, "duration": 4.0, "ranks": "0-1", "nodelist": "n[1-2]",
            "annotations": {"sched": {"selection_type": "backfilled"}},
            "t_submit": 1.0, "t_run": 1.0 + number, "t_cleanup": 1.9 + number, "t_inactive": 2.0 + number,
        }
        for number in range(10)
    ]  # fmt: skip
    reason = "starting now would delay a job that is ahead of it"
    console = Console(width=width, file=io.StringIO())
    demo._table(console, jobs, {job["id"]: reason for job in jobs})
    demo._chart(console, jobs, 4)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    assert seen in console.file.getvalue()
    if width >= 80:
        rows = [line for line in lines if line[:1] in tuple("ABCDEFGHIJ") and "sweep" in line]
        assert len(rows) == 10
        assert all("backfilled" in line and "n[1-2]" in line for line in rows)
        assert rows[1].split()[:6] == ["B", "sweep", "2", "4s", "1.0s", "A"]
    assert sum(line.startswith("   0-0 ") for line in lines) == 1


def test_demo_without_a_cluster(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "fluxsched.session.demo", "--conf=/nonexistent.lua"],
        env=clean_environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "demo: /nonexistent.lua: no such file; name an RDL file with --conf\n")


def test_f58_of_flux():
    """Pairs that flux-core 0.88 printed."""
    assert jobid.f58(9848225792) == "ƒG1FjRR"
    assert jobid.parse("ƒ6Az9gHu") == 196897406976


COMMANDS = [
    "start", "enable", "disable", "status", "env", "submit", "run", "wreckrun", "jobs", "top", "cancel", "job cancel",
    "waitjob", "update", "dmesg", "getattr", "exec", "uptime", "version", "completion", "queue list", "queue status",
    "batch", "alloc", "pstree", "proxy", "uri", "shutdown",
    *(f"job {name}" for name in ("attach", "wait", "wait-event", "status", "eventlog", "info", "urgency", "raise")),
    *(f"job {name}" for name in ("kill", "id", "last", "list")),
    *(f"kvs {name}" for name in ("get", "put", "dir", "ls", "unlink")),
    *(f"module {name}" for name in ("load", "list", "remove", "reload", "stats")),
    *(f"resource {name}" for name in ("list", "status", "drain", "undrain", "R")),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_in_the_manual_page(command):
    done = flux(*command.split(), "--help")
    assert done.returncode == 0
    with open(os.path.join(TOP, "doc", "commands.md")) as file:
        page = file.read()
    options = set(re.findall(r"(?<![\w-])--?[\w-]+", " ".join(re.findall(r"^  (-.*?)(?:  |$)", done.stdout, re.M))))
    assert "--help" in options
    assert [option for option in sorted(options) if not re.search(rf"(?<![\w-]){option}(?![\w-])", page)] == []
