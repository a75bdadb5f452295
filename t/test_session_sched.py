# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux sched in an embedded session."""

import json
import os
import re
import signal

import pytest

from embedded import Session, clean_environment, flux, until
from fluxsched.session.commands.client import is_session
from test_forward import PLAIN_PYTHON
from test_service_ask import parse

CLUSTER = """
[[resource.config]]
hosts = "n[0-3]"
cores = "0-3"
properties = ["big"]
"""
PRETEND = "--setattr=exec.test.run_duration=600s"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    path = tmp_path_factory.mktemp("session") / "config.toml"
    path.write_text(CLUSTER)
    with Session("-c", str(path)) as session:
        yield session


@pytest.fixture
def waiting(session):
    """A job that runs on two nodes, one that waits for all four, and one behind it with a name that is none."""
    ids = [
        session("submit", "-N2", "-t10m", PRETEND, "true"),
        session("submit", "-N4", "-t20m", PRETEND, "true"),
        session("submit", "-N2", "-t2h", "--requires=big", PRETEND, "--job-name=a\x1b[31mb", "true"),
    ]
    session.wait_state(ids[0], "RUN")
    yield ids
    session("cancel", *ids)


def test_why(session, waiting):
    first, second, third = waiting
    out = session("sched", "why", second)
    assert re.match(rf"{second} waits: needs 4 nodes, 2 free; 2 more at (\w+ \d+ )?\d\d:\d\d when {first} ends\n", out)
    for part in (
        r"^Needs       4 nodes, for 20m$", r"^Could run   on 4 nodes: n\[0-3\]$",
        r"^Free now    2 nodes of 4 that are up$",
        rf"^Given back  2 nodes at .* by {first}$", r"^Enough      at ", r"^Ahead       no other job$",
        r"^Planned     .*\(in (10m|9m\d+s)\)(; as likely as not by .*)?$",
    ):
        assert re.search(part, out, re.M), out
    out = session("sched", "why", third)
    assert f"starting now would delay {second}, planned for" in out
    assert re.search(rf"^Ahead       1 job\n            {second}: submitted earlier, planned for ", out, re.M)
    assert re.search(r"^In the way  the constraint leaves 4 of 4 nodes$", out, re.M)
    assert f"{first} has been running since" in session("sched", "why", first)


def test_why_as_json_by_any_form_of_the_id(session, waiting):
    for form in ("dec", "hex", "dothex", "f58plain", "f58", "kvs"):
        jobid = session("job", "id", f"--to={form}", waiting[1])
        answer = json.loads(session("sched", "why", "--json", jobid))
        assert answer["id"] == int(session("job", "id", "--to=dec", waiting[1]))
        assert (answer["state"], answer["needs"]["count"], answer["free"]) == ("waiting", 4, 2)


def test_why_of_jobs_that_the_scheduler_does_not_have(session):
    held = session("submit", "--urgency=hold", "true")
    assert session("sched", "why", held) == (
        f"{held} is held: its urgency is 0 (flux job urgency {held} default releases it)")
    assert json.loads(session("sched", "why", "--json", held))["state"] == "sched"
    session("cancel", held)
    session.wait_state(held, "INACTIVE")
    assert session("sched", "why", held) == f"{held} is over: CANCELED"
    session("queue", "stop", "-m", "for repairs")
    stopped = session("submit", "true")
    assert session("sched", "why", stopped) == f"{stopped} waits because the queue is stopped: for repairs"
    session("queue", "start")
    until(lambda: session("sched", "why", stopped) == f"{stopped} is over: COMPLETED", "the queue to go on")
    assert session.fail("sched", "why", "f2345") == "flux-sched: ƒ2345: no such job"
    assert "invalid JobID value: 'nonsense'" in session.fail("sched", "why", "nonsense")
    assert "no such job" in session.fail("sched", "why", str(2**64 - 1))


def test_queue(session, waiting):
    out = session("sched", "queue").splitlines()
    assert out[0] == "backfill.plugin1, order fcfs: 2 jobs waiting"
    assert out[1].split() == ["JOBID", "USER", "PRIORITY", "WAIT", "LIMIT", "CORES", "PLANNED"]
    assert [line.split()[0] for line in out[2:]] == waiting[1:]
    assert [line.split()[2] for line in out[2:]] == ["16", "16"] and out[2].split()[4:6] == ["20m", "16"]
    out = session("sched", "queue", "-c1").splitlines()
    assert out[0].endswith("2 jobs waiting, the first 1 are shown") and len(out) == 3
    answer = json.loads(session("sched", "queue", "--json"))
    assert answer["jobs"][0]["planned"] is not None and answer["waiting"] == 2
    assert "0 is not in the range" in session.fail("sched", "queue", "-c0")


def test_stats(session, waiting):
    out = session("sched", "stats")
    assert re.search(r"^policy +backfill\.plugin1$", out, re.M) and re.search(r"^nodes +4, 4 up, 2 idle$", out, re.M)
    assert json.loads(session("sched", "stats", "--json"))["jobs"]["pending"] == 2
    samples = parse(session.run("sched", "stats", "--prometheus").stdout)
    assert samples["flux_sched_jobs", 'state="pending"'] == 2


def test_annotations_have_the_reason(session, waiting):
    words = ("jobs", "-no", "{annotations.sched.reason_pending}", waiting[1])
    until(lambda: session(*words).startswith("needs 4 nodes, 2 free; 2 more at "), "the reason")


def test_what_needs_no_instance(session):
    assert session("sched", "--version") == flux("sched", "--version").stdout.strip()
    assert "Usage: flux sched [OPTIONS] COMMAND" in session("sched", "--help")
    assert session.run("sched", "nonsense").returncode == 2


def test_without_a_scheduler():
    with Session("--no-sched") as session:
        for words in (["queue"], ["stats"], ["why", "f1"]):
            text = session.fail("sched", *words)
            assert text.startswith("flux-sched: no scheduler of flux-sched is loaded here")


def test_which_instance(session, tmp_path):
    assert is_session(session.uri) and is_session(session.uri[:-1] + "3")
    for uri in ("", "ssh://host/run/local-0", f"local://{tmp_path}/local-0", "local://"):
        assert not is_session(uri)
    env = clean_environment(FLUX_URI=f"local://{tmp_path}/local-0")
    done = flux("sched", "queue", env=env)
    assert done.returncode == 1 and done.stderr.startswith("flux-sched: no ")
    folder = os.path.dirname(session.uri[len("local://"):])
    assert sorted(os.listdir(folder)) == ["bin", "embedded", "local-0"]


def test_the_folder_of_a_session_goes_with_it():
    with Session() as session:
        folder = os.path.dirname(session.uri[len("local://"):])
        assert session.close() == 0
    assert not os.path.exists(folder)


def test_when(session, waiting):
    first, second, _ = waiting
    done = session.run("sched", "when", "-N1", "-t5m")
    assert (done.returncode, done.stdout) == (0, "now, on n2\n")
    done = session.run("sched", "when", "-N1", "-t1h", "app", "--with", "-x")
    assert done.returncode == 1
    assert re.fullmatch(
        rf"at .* \(in \d+m\d*s?\), on n\d: needs 1 node, 2 free; starting now would delay {second}, planned for .*\n",
        done.stdout)
    done = session.run("sched", "when", "-N5", "app")
    assert done.returncode == 2 and done.stdout.startswith("never: unsatisfiable request: needs 5 whole nodes")
    assert f"when {first} ends" in session.run("sched", "when", "-N3", "-t1h").stdout
    assert len(session("jobs", "-no", "{id}").split()) == 3


def test_when_for_several_sizes(session, waiting):
    done = session.run("sched", "when", "--nodes=1-3,5", "-t5m", "app")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 0 and rows[0] == ["NODES", "START", "WAIT", "REASON"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3", "5"]
    assert [row[1] for row in rows[1:3]] == ["now", "now"] and rows[4][1:3] == ["never", "-"]
    found = json.loads(session.run("sched", "when", "--nodes=1-2", "--json", "-t5m").stdout)
    assert [(row["nodes_asked"], row["verdict"]) for row in found] == [(1, "now"), (2, "now")]
    found = json.loads(session.run("sched", "when", "-N4", "--json", "-t5m").stdout)
    assert (found["nodes_asked"], found["verdict"]) == (4, "later")


@pytest.mark.parametrize("words, text", [
    (["-n0"], "flux-sched: --ntasks: expected a whole number of at least 1, got 0"),
    (["--nonsense"], "unrecognized arguments: --nonsense"),
    (["--nodes=0-3"], "flux-sched: --nodes: expected 1 to 256 numbers of at least 1"),
    (["--nodes=1-257"], "flux-sched: --nodes: expected 1 to 256 numbers of at least 1, got 257"),
    (["--nodes=1-x"], "flux-sched: --nodes: expected a number, or a list or range of numbers"),
    (["--nodes=x"], "flux-sched: --nodes: "),
    (["-qodd"], "flux-sched: 'odd' is not a valid queue: there are no queues here"),
    (["--dependency=afterok:1"], "flux-sched: --dependency: when other jobs will be over is not known"),
    (["--begin-time=now"], "flux-sched: --begin-time: what is told is the start of a job that is handed over now"),
    (["--urgency=32"], "flux-sched: urgency range is [0:31]"),
    (["--requires=)"], "flux-sched: --requires"),
])
def test_when_fails(session, words, text):
    done = session.run("sched", "when", *words)
    assert done.returncode == 3 and text in done.stderr and "Traceback" not in done.stderr


def test_when_shows_what_it_asks(session):
    spec = json.loads(session("sched", "when", "--dry-run", "-N2", "-t1m"))
    assert spec["attributes"]["system"]["duration"] == 60.0 and spec["attributes"]["system"]["environment"] == {}
    assert "The exit code\nis 0 if" in session("sched", "when", "--help")


def test_default_time_limit(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"policy": {"jobspec": {"defaults": {"system": {"duration": "90s"}}}}}))
    with Session("-c", str(path)) as session:
        assert json.loads(session("sched", "when", "--json"))["duration"] == 90.0
        job = session("submit", PRETEND, "true")
        session.wait_state(job, "RUN")
        assert session.job(job)["duration"] == 90.0
    path.write_text(json.dumps({"policy": {"jobspec": {"defaults": {"system": {"duration": "soon"}}}}}))
    done = flux("start", "-c", str(path), "true")
    assert done.returncode == 1 and "policy.jobspec.defaults.system.duration: expected a duration" in done.stderr


def test_plan(session, waiting, tmp_path):
    first, second, third = waiting
    out = session("sched", "plan", env={"COLUMNS": "60", "LINES": "40"})
    rows = out.splitlines()
    assert [row[:4] for row in rows[:4]] == ["n0 |", "n1 |", "n2 |", "n3 |"] and max(map(len, rows[:4])) <= 60
    assert {row[4] for row in rows[:2]} == {"A"} and {row[4] for row in rows[2:4]} == {"."}
    assert "1 job running, 2 planned, 0 without a start (backfill.plugin1)" in out
    table = [row.split() for row in rows[rows.index("") + 3:]]
    assert [row[:2] for row in table] == [["A", first], ["B", second], ["C", third]]
    assert table[2][3] == r"a\x1b[31mb" and [row[-1] for row in table] == ["n[0-1]", "n[0-3]", "n[0-1]"]
    assert session("sched", "plan", "-c1").endswith("and 2 others: -c 0 shows all")
    answer = json.loads(session("sched", "plan", "--json", "--until=15m"))
    assert [job["state"] for job in answer["jobs"]] == ["running", "planned"]
    assert [job["name"] for job in answer["unplanned"]] == ["a\x1b[31mb"]
    assert "expected a duration" in session.fail("sched", "plan", "--until=soon")
    pytest.importorskip("matplotlib")
    out = session("sched", "plan", f"--png={tmp_path}/p.png", f"--svg={tmp_path}/p.svg")
    assert out == f"{tmp_path}/p.png: written\n{tmp_path}/p.svg: written"
    assert (tmp_path / "p.png").stat().st_size > 1000 and "<svg" in (tmp_path / "p.svg").read_text()
    assert "No such file" in session.fail("sched", "plan", f"--png={tmp_path}/nowhere/p.png")


def test_plan_that_is_watched(session, waiting):
    shown = session.popen("sched", "plan", "--watch", "--interval=0.2", "-c1")
    seen = 0
    for line in shown.stdout:
        seen += "job running" in line
        if seen == 3:
            break
    shown.send_signal(signal.SIGINT)
    shown.stdout.close()
    assert shown.wait(30) != 0 and "Traceback" not in shown.stderr.read()
    shown.stderr.close()


def test_whatif(session, waiting, tmp_path):
    out = session("sched", "whatif", "fcfs,easy+sjf,first-fit", "--times=requested").splitlines()
    assert out[0] == "2 jobs waiting, 1 running; each runs as long as it asked for"
    assert [line.split()[:2] for line in out[3:7]] == [
        ["present", "2"], ["fcfs", "2"], ["easy+sjf", "2"], ["first-fit", "2"]]
    assert out[8].startswith("present: backfill.plugin1")
    gain = next(line for line in out if line.startswith("first-fit: start sooner, most: "))
    assert waiting[2] in gain and re.search(r"a\\x1b\[31mb\) by (30m|29m\d+s)$", gain)
    # Where a policy is a file, its text is sent.
    path = tmp_path / "mine.py"
    path.write_text(PLAIN_PYTHON)
    picture = tmp_path / "waits.svg"
    crash = tmp_path / "crash.py"
    crash.write_text("import os\nos.abort()\n")
    answer = json.loads(session("sched", "whatif", "--json", f"--plot={picture}", f"{path}:depth=3,{crash}"))
    assert [policy["name"] for policy in answer["policies"]] == ["present", f"{path}:depth=3", str(crash)]
    assert answer["policies"][2]["problem"] == "its process ended before it had come to its end (Aborted)"
    assert len(answer["policies"][1]["starts"]) == 2 and picture.read_text().startswith("<?xml")
    assert "policy 'odd': expected fcfs, easy, easy++, conservative, first-fit, hybridN, each also with +ORDER" in \
        session.fail("sched", "whatif", "easy,odd")
    assert "expected a file that ends in .png or .svg" in session.fail("sched", "whatif", "easy", "--plot=x.pdf")
    assert "No such file" in session.fail("sched", "whatif", "./odd.py")


def test_shadow(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(CLUSTER)
    with Session("-c", str(path)) as session:
        plugin = tmp_path / "mine.py"
        plugin.write_text(PLAIN_PYTHON)
        session("module", "reload", "sched", "plugin=sched.plugin1", "shadow=first-fit,./mine.py", cwd=tmp_path)
        words = ("submit", "-t10m", "--setattr=exec.test.run_duration=0.2s")
        first = session("submit", "-N3", "-t10m", PRETEND, "true")
        session.wait_state(first, "RUN")
        second, third = session(*words, "-N4", "true"), session(*words, "-N1", "true")

        def told():
            return json.loads(session("sched", "shadow", "--json"))

        def shadows():
            return {found["name"]: found for found in told()["shadows"]}

        until(lambda: shadows()["first-fit"]["ahead"] == 1, "the third job to start in the shadow")
        assert session.state(third) == "SCHED"
        session("cancel", first)
        session("job", "wait-event", second, "clean")
        session("job", "wait-event", third, "clean")
        until(lambda: shadows()["first-fit"]["both"] == 3, "the third job to start")
        answer = told()
        assert answer["live"]["started"] == 3 and answer["shadows"][0]["saved"] > 0
        out = session("sched", "shadow").splitlines()
        assert re.match(r"live since .*: 3 jobs started, mean wait ", out[0])
        assert [line.split()[0] for line in out[3:]] == ["first-fit", f"{plugin}"]
        assert "policy 'odd': expected fcfs, easy" in session.fail("module", "reload", "sched", "shadow=odd")
