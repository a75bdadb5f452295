# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where the tasks of a job are, and what becomes of a job when one of them has exited."""

import json
import time

import pytest

from embedded import Session, configured
from fluxsched.formats import idset
from fluxsched.session import shelloptions
from fluxsched.session.commands import buildspec
from fluxsched.session.commands import submit as commands
from fluxsched.session.commands import taskmap as command
from fluxsched.session.errors import CommandError
from fluxsched.session.runner.exits import Exits


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Three nodes of four cores, whatever the machine has."""
    config = {"resource": {"config": [{"hosts": "n[1-3]", "cores": "0-3"}]}}
    with Session(configured(tmp_path_factory.mktemp("tasks"), config)) as one:
        yield one


@pytest.fixture
def taskmap(session, monkeypatch, capsys):
    """`flux job taskmap` in this process: its output, or what it refuses."""

    def run(*words):
        monkeypatch.setenv("FLUX_URI", session.uri)
        try:
            assert command.taskmap(list(words)) == 0
        except CommandError as error:
            return str(error)
        return capsys.readouterr().out.rstrip("\n")

    return run


def ended(session, *words):
    """The id of a job of this kind that has run to its end."""
    jobid = session("submit", *words, "sh", "-c", "echo $FLUX_TASK_RANK $FLUX_TASK_LOCAL_ID $FLUX_URI")
    assert session.run("job", "wait", jobid).returncode == 0, session.events(jobid)
    return jobid


def test_taskmap_of_a_job(session, taskmap):
    jobid = ended(session, "-N3", "-n7")
    assert session("job", "taskmap", jobid) == "[[0,1,3,1],[1,2,2,1]]"
    assert taskmap("--to=raw", jobid) == "0-2;3-4;5-6"
    assert taskmap("--to=pmi", jobid) == "(vector,(0,1,3),(1,2,2))"
    assert taskmap("--to=hosts", jobid) == "n1: 0-2\nn2: 3-4\nn3: 5-6"
    assert taskmap("--to=multiline", jobid).split("\n")[2:5] == ["2: 0", "3: 1", "4: 1"]
    assert taskmap("--hostname=6", jobid) == "n3"
    assert taskmap("--nodeid=7", jobid) == "--nodeid: expected a task from 0 to 6, got 7"
    assert taskmap("--hostname=7", jobid) == "--hostname: expected a task from 0 to 6, got 7"
    assert taskmap("--taskids=3", jobid) == "--taskids: expected a node from 0 to 2, got 3"
    assert taskmap("--ntasks=3", jobid) == "--ntasks: expected a node from 0 to 2, got 3"


def test_taskmap_of_a_job_that_has_not_started(session, taskmap):
    """It is waited for; a job that never gets resources has none."""
    jobid = session("submit", "--urgency=hold", "true")
    asked = session.popen("job", "taskmap", jobid)
    session("job", "urgency", jobid, "default")
    assert asked.communicate(timeout=30)[0] == "[[0,1,1,1]]\n"
    never = session("submit", "--urgency=hold", "true")
    session("cancel", never)
    assert "was never given resources" in taskmap(never)
    assert "unknown job id" in taskmap("123")


@pytest.mark.parametrize(
    "words, said",
    [
        (["--to=pmi", "0-3;4-7"], "(vector,(0,2,4))"),
        (["--to=raw", "[[0,2,1,2],[0,1,1,1]]"], "0,2,4;1,3"),
        (["--taskids=1", "0-1;2"], "2"),
        (["--ntasks=0", "0-1;2"], "2"),
        (["--nodeid=2", "(vector,(0,1,2),(1,1,1))"], "1"),
        (["--to=multiline", '{"version":1,"map":[[0,1,2,1]]}'], "0: 0\n1: 0"),
        (["--to=raw", ""], ""),
        (["--to=hosts", "0;1"], "can't use --to=hosts without a jobid"),
        (["--hostname=0", "0;1"], "can't use --hostname without a jobid"),
        (["0;2"], "error decoding taskmap: '0;2' is no task map: task 1 is missing"),
        (["--to=none", "0"], "error: argument --to: invalid choice: 'none' (choose from "),
        (["--nodeid=-1", "0"], "error: argument --nodeid: expected a whole number from 0"),
        (["--to=raw", "--nodeid=0", "0"], "--nodeid and --to cannot be used together"),
        (["x y"], "taskmap: "),
    ],
)
def test_other_forms_need_no_session(taskmap, words, said):
    assert taskmap(*words).startswith(said)


@pytest.mark.parametrize(
    "scheme, raw",
    [
        ("block", "0-2;3-4;5-6"),
        ("cyclic", "0,3,6;1,4;2,5"),
        ("cyclic:2", "0-1,6;2-3;4-5"),
        ("manual:[[2,1,3,1],[0,2,2,1]]", "3-4;5-6;0-2"),
    ],
)
def test_schemes(session, taskmap, scheme, raw):
    jobid = ended(session, "-N3", "-n7", f"--taskmap={scheme}")
    assert taskmap("--to=raw", jobid) == raw
    shown = sorted(session("job", "attach", jobid).splitlines())
    nodes = {
        task: (node, local)
        for node, part in enumerate(raw.split(";"))
        for local, task in enumerate(idset.ids(part))
    }  # fmt: skip
    for line in shown:
        rank, local, uri = line.split()
        assert nodes[int(rank)] == (int(uri.rpartition("-")[2]), int(local))


def test_map_of_other_tasks(session):
    jobid = session("submit", "-n2", "--taskmap=manual:[[0,1,3,1]]", "true")
    done = session.run("job", "attach", jobid)
    assert done.returncode == 1
    assert "taskmap: manual: the job has 2 tasks on 1 nodes, the map 3 tasks on 1 nodes" in done.stderr
    jobid = session("submit", "-n2", "--taskmap=manual:[[1,1,2,1]]", "true")
    assert "the map 2 tasks on 2 nodes" in session.run("job", "attach", jobid).stderr


def test_templates_in_the_command(session):
    """Names in double braces are filled in for each task, in each word of its command; others stay."""
    words = ["{{id}} {{ id.dec }}", "{{name}} {{ntasks}} {{nnodes}}", "{{taskid}}.{{task.localid}}", "{{nosuch}} {{ }}"]
    node = "{{node.id}} {{node.name}} {{node.broker_rank}} {{node.cores}} {{node.ncores}} {{node.gpus}}."
    out = session("run", "-N2", "-n3", "--requires=rank:1-2", "--job-name=j", "echo", *words, node).splitlines()
    jobid = session("job", "last")
    number = session("job", "id", "--to=dec", jobid)
    begin, kept = f"{jobid} {number} j 3 2", "{{nosuch}} {{ }}"
    assert sorted(out) == [
        f"{begin} 0.0 {kept} 0 n2 1 0-1 2 .",
        f"{begin} 1.1 {kept} 0 n2 1 0-1 2 .",
        f"{begin} 2.0 {kept} 1 n3 2 0-1 2 .",
    ]


def test_hostfile(session, taskmap, tmp_path, monkeypatch):
    """Tasks go to the hosts of a file in their order, which begins again; it is read when the job is submitted."""
    file = tmp_path / "hosts"
    file.write_text("n3\n\n  n[1-2],n1 \nother\n")
    jobid = ended(session, "-N3", "-n4", f"--taskmap=hostfile:{file}")
    assert taskmap("--to=raw", jobid) == "1,3;2;0"
    file.write_text("n2\nn1\n")
    jobid = ended(session, "-N3", "-n5", f"--taskmap=hostfile:{file}")
    assert taskmap("--to=raw", jobid) == "1,3;0,2,4"
    file.write_text("n1\nother\n")
    jobid = session("submit", "-N2", "-n2", f"--taskmap=hostfile:{file}", "true")
    done = session.run("job", "attach", jobid)
    assert done.returncode == 1
    assert "taskmap: hostfile: other is not a host of the job, which has n[1-2]" in done.stderr
    monkeypatch.chdir(tmp_path)
    for text, said in (
        ("n[1-\n", "'n[1-' is not a host list: cannot read 'n[1-'"),
        ("\xff\n", "'\\ufffd' is not a host list: cannot read '\\ufffd'"),
        ("\n \n", "expected hosts, the file names none"),
        ("n[1-2000000]\n", "'n[1-2000000]' stands for too many hosts, the most allowed is 1048576"),
        (None, "'hosts': No such file or directory"),
    ):
        file.unlink() if text is None else file.write_text(text, encoding="latin-1")
        options = commands.parser("submit").parse_args(["--taskmap=hostfile:hosts", "true"])
        with pytest.raises(buildspec.SpecError) as error:
            buildspec.build(options, options.command)
        assert str(error.value) == f"--taskmap: hostfile: {said}"
    with pytest.raises(shelloptions.OptionError, match="hostfile: expected hosts, the list in the file, which"):
        shelloptions.check({"taskmap": {"scheme": "hostfile", "value": "x"}})


@pytest.mark.parametrize(
    "value, said",
    [
        ("none", "--taskmap: expected block, cyclic[:N], manual:TASKMAP or hostfile:FILE, got 'none'"),
        ("block:1", "--taskmap: block: expected no value, got '1'"),
        ("cyclic:0", "--taskmap: cyclic: expected a number of tasks of at least 1, got '0'"),
        ("cyclic:x", "--taskmap: cyclic: expected a number of tasks of at least 1, got 'x'"),
        ("manual:0;0", "--taskmap: manual: '0;0' is no task map: task 0 is on two nodes"),
    ],
)
def test_what_is_no_scheme(value, said):
    options = commands.parser("submit").parse_args([f"--taskmap={value}", "true"])
    with pytest.raises(buildspec.SpecError) as error:
        buildspec.build(options, options.command)
    assert str(error.value) == said


def test_options_of_a_jobspec_are_checked_too(session):
    for value in (1, {}, {"scheme": 1}, {"scheme": "cyclic", "value": 2}):
        with pytest.raises(shelloptions.OptionError, match="taskmap: expected an object with scheme and value"):
            shelloptions.check({"taskmap": value})
    spec = json.loads(session("submit", "--dry-run", "--taskmap=cyclic:2", "true"))
    table = spec["attributes"]["system"]["shell"]["options"]["taskmap"]
    assert table == {"scheme": "cyclic", "value": "2"}
    table["value"] = "0"
    said = session.fail("job", "submit", input=json.dumps(spec))
    assert "jobspec: attributes.system.shell.options.taskmap: cyclic: expected a number of tasks" in said


# what becomes of a job of which a task has exited


def test_first_exit():
    now, timers, failed = time.monotonic(), {}, []
    job = Exits(5.0, False, timers, lambda *why: failed.append(why))
    job.exited(1, 0)
    job.exited(2, 3)  # the first one counts
    at, ended = timers["exit"]
    assert now + 5 <= at < now + 500 and failed == []
    ended()
    assert failed == [("task 1 has ended with exit code 0, and the others have gone on for 5 s (exit-timeout)", 1)]
    job.close()
    assert timers == {}
    job.close()


@pytest.mark.parametrize("timeout, code, waits", [(-1.0, 9, None), (0.0, 0, 0.0), (30.0, 9, 30.0)])
def test_exits_that_end_a_job(timeout, code, waits):
    timers = {}
    Exits(timeout, False, timers, None).exited(0, code)
    assert bool(timers) == (waits is not None)
    if waits is not None:
        assert 0 <= timers["exit"][0] - time.monotonic() - waits + 60 <= 60


def test_exit_options(session, tmp_path):
    first = ["sh", "-c", "[ $FLUX_TASK_RANK = 1 ] || exec sleep 600; exit $0"]
    done = session.run("run", "-n2", "-o", "exit-timeout=0.1s", *first, "0")
    assert done.returncode == 1
    assert "task 1 has ended with exit code 0, and the others have gone on for 0.1 s (exit-timeout)" in done.stderr
    done = session.run("run", "-n2", "-o", "exit-on-error", *first, "5")
    assert done.returncode == 5
    assert "task 1 has ended with exit code 5, and exit-on-error is set" in done.stderr
    # A session in the job is that of its first task, so that others end early.
    nested = "[ $FLUX_TASK_RANK = 0 ] || until [ -e $0 ]; do sleep 0.05; done; [ $FLUX_TASK_RANK = 0 ] || exit 0\n"
    nested += "exec flux start sh -c 'flux getattr size >&2; touch $0; sleep 1; echo $1' $0 over"
    words = ["-N2", "-n2", "-o", "exit-timeout=0.1s", "sh", "-c", nested, str(tmp_path / "up")]
    assert session("run", *words) == "over"
    # It is tasks that are waited for, not what they leave behind.
    leaves = "[ $FLUX_TASK_RANK = 0 ] && sleep 0.5 & exit 0"
    assert session.run("run", "-n2", "-o", "exit-timeout=0.2s", "sh", "-c", leaves).returncode == 0


@pytest.mark.parametrize(
    "options, said",
    [
        ({"exit-timeout": "soon"}, "exit-timeout: expected a duration such as 30s, 5m, 1.5h, 1d or inf, got 'soon'"),
        ({"exit-timeout": -1}, "exit-timeout: expected a duration"),
        ({"exit-timeout": []}, "exit-timeout: expected a duration"),
        ({"exit-on-error": 2}, "exit-on-error: expected no value, 0 or 1, got 2"),
        ({"exit-on-error": "yes"}, "exit-on-error: expected no value, 0 or 1, got 'yes'"),
    ],
)
def test_what_is_no_exit_option(options, said):
    with pytest.raises(shelloptions.OptionError) as error:
        shelloptions.check(options)
    assert str(error.value).startswith(said)


def test_exit_options_as_told():
    for value, timeout in (("none", -1.0), ("NONE", -1.0), ("inf", -1.0), ("1m", 60.0), (2, 2.0)):
        assert shelloptions.exits({"exit-timeout": value}) == {"timeout": timeout, "on_error": False}
    assert shelloptions.exits({"exit-on-error": True}) == {"timeout": 30.0, "on_error": True}
    assert shelloptions.exits({}, -1.0) == {"timeout": -1.0, "on_error": False}
