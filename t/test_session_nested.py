# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Sessions inside jobs: batch, alloc, start; the tree of them; what they are on, and that they end."""

import fcntl
import json
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

import specs
from embedded import FLUX, Session, alive, children, flux, until
from fluxsched.session.broker import job as jobs
from fluxsched.session.broker.nested import renumbered
from fluxsched.session.commands import buildspec, nest
from fluxsched.session.commands import start as start_command
from fluxsched.session.commands import submit as submit_command
from fluxsched.session.errors import CommandError, RequestError, SessionError

INNER = """#!/bin/sh
#flux: -n2 -t 5m
#flux: --job-name='a b' # not an option
#flux: --output=inner.out
echo "args $*"
echo "job $(flux getattr jobid) level $(flux getattr instance-level) of $(flux getattr parent-uri)"
echo "left ${FLUX_JOB_ID:-nothing} ${FLUX_TASK_RANK:-nothing}"
flux resource R
flux run -n2 sh -c 'echo "task $FLUX_JOB_ID_PATH"; taskset -pc $$'
flux run -t 1s sleep 30
flux submit --wait --output=timeout.out true
flux jobs -a -n -o '{id} {result}'
"""


@pytest.fixture(scope="module")
def session():
    with Session("-s2") as session:
        yield session


def submit(session, *words, **options):
    return session(*words, **options)


def over(session, jobid):
    session.wait_state(jobid, "INACTIVE")
    return session.job(jobid)


def start(session, *options):
    """A session in the background; its job and the environment to reach it."""
    jobid = session("alloc", "--bg", "-n1", *options)
    return jobid, session("uri", jobid)


def processes(word):
    """Process ids whose command line has this word."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and alive(entry):
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if word.encode() in file.read().split(b"\0"):
                        found.append(int(entry))
        except OSError:
            continue
    return found


def test_batch_runs_on_its_own_resources(session, tmp_path):
    (tmp_path / "inner.sh").write_text(INNER)
    jobid = session("batch", "-n", "1", "inner.sh", "x", "y z", cwd=tmp_path)
    job = over(session, jobid)
    assert (job["result"], job["name"], job["duration"]) == ("COMPLETED", "a b", 300)
    lines = (tmp_path / "inner.out").read_text().splitlines()
    assert lines[0] == "args x y z"
    assert lines[1] == f"job {jobid} level 1 of {session.uri}"
    assert lines[2] == "left nothing nothing"
    # What the job holds, by its own numbers, to its own end.
    R = json.loads(lines[3])["execution"]
    outer = json.loads(session("job", "info", jobid, "R"))["execution"]
    assert [entry["rank"] for entry in R["R_lite"]] == ["0"]
    assert [entry["children"] for entry in R["R_lite"]] == [entry["children"] for entry in outer["R_lite"]]
    assert R["expiration"] == outer["expiration"]
    # -n2 is in the script, -n1 on the command line goes over it: two tasks do not fit.
    assert "unsatisfiable" in (tmp_path / "inner.out").read_text()


def test_batch_from_words_and_from_standard_input(session, tmp_path):
    # `flux` is found, whatever PATH is.
    words = ["--env=PATH=/usr/bin:/bin", "--wrap", "flux", "run", "echo", "$((1+1))"]
    jobid = session("batch", "-n1", *words, cwd=tmp_path)
    over(session, jobid)
    name = f"flux-{jobid}.out"
    assert (tmp_path / name).read_text() == "2\n"
    text = "#!/bin/sh\n# FLUX: -n1 --output=none\necho out\nexit 3\n"
    assert session("batch", "--quiet", input=text, cwd=tmp_path) == ""
    jobid = session("job", "last")
    job = over(session, jobid)
    assert (job["returncode"], job["name"]) == (3, "batch")
    done = session.run("job", "attach", jobid)
    assert (done.returncode, done.stdout) == (3, "out\n")


def test_tree_proxy_and_paths(session):
    outer, uri = start(session, "-t", "10m", "--job-name=outer")
    inner = session("proxy", outer, "flux", "alloc", "--bg", "-n1", "--job-name=inner")
    path = f"{outer}/{inner}"
    leaf = session("proxy", path, "flux", "submit", "--cc=1-3", "--job-name=leaf", "sleep", "60").split()
    until(lambda: "leaf" in session("pstree"), "the leaf to run")
    assert session("pstree") == ".\n└── outer\n    └── inner\n        └── leaf"
    assert session("pstree", "-a", "--ascii", outer) == "outer\n`-- inner\n    |-- 2*[leaf:S]\n    `-- leaf:R"
    assert session("pstree", "-a", "-X", "-C", "-p", "--skip-root", outer).splitlines() == [
        f"{outer} outer", f"└─{inner} inner", "  ├─leaf:S", "  ├─leaf:S", "  └─leaf:R"]  # fmt: skip
    assert session("pstree", "-L1", "-o", "{id}", outer) == f"{outer}\n└── {inner}"
    rows = session("pstree", "-x", outer).splitlines()
    assert rows[0].split() == ["JOBID", "USER", "ST", "NTASKS", "NNODES", "RUNTIME"]
    assert rows[1].split()[0] == outer and rows[1].endswith(" outer")
    # Paths from here, from there, from the top.
    assert session("proxy", path, "flux", "getattr", "instance-level") == "2"
    assert session("uri", path) == session("uri", f"/{path}") == session("uri", f"jobid:{path}")
    assert session("proxy", path, "flux", "uri", "..") == uri == session("uri", uri)
    assert session("proxy", path, "flux", "uri", "../..") == session("proxy", path, "flux", "uri", "/") == session.uri
    assert session.run("proxy", outer, "sh", "-c", "exit 7").returncode == 7
    # The list goes down, too.
    text = session("jobs", "-R", "-n", "-o", "{id} {name}", outer)
    assert text.splitlines()[:5] == [f"{outer} outer", "", f"{outer}:", f"{inner} inner", ""]
    assert text.splitlines()[5] == f"{path}:" and f"{leaf[0]} leaf" in text
    assert session("jobs", "-R", "-L1", "-n", "-o", "{name}", outer).split() == ["outer", f"{outer}:", "inner"]
    found = json.loads(session("jobs", "-R", "--json", outer))
    assert [job["name"] for job in found["jobs"][0]["jobs"]] == ["inner"]
    assert len(found["jobs"][0]["jobs"][0]["jobs"]) == 3
    # What lasts as long as the outer session ends with it.
    mark = processes(session("proxy", path, "flux", "getattr", "statedir"))
    assert session("proxy", outer, "flux", "shutdown") == ""
    assert over(session, outer)["result"] == "COMPLETED"
    assert not any(alive(pid) for pid in mark)
    assert "is not running" in session.fail("proxy", outer, "true")


REFUSED = [
    (("alloc", "-n1", "-q", "odd", "true"), "'odd' is not a valid queue"),
    (("batch", "-n1", "-q", "odd", "--wrap", "true"), "'odd' is not a valid queue"),
    (("pstree", "-o", "{name!F}"), "--label: "),
    (("proxy", ".", "/"), "/: Permission denied"),
    (("proxy", ".", "nosuchcommand"), "nosuchcommand: No such file or directory"),
    (("proxy", "xx", "true"), "'xx': expected a job id, or a path of them"),
    (("uri", "ƒ1"), "JobID 0 unknown"),
    (("uri", ".."), "there is no session around this one"),
    (("proxy", "local:///nosuch/local-0", "true"), "cannot reach the session"),
    (("pstree", "--ascii", "-C"), "--ascii and --compact cannot be used together"),
    (("pstree", "-o", "{nosuch}"), "--label: "),
    (("alloc", "true"), "--nslots or --nodes"),
    (("alloc", "-n1"), "expected a terminal for a shell, a COMMAND, or --bg"),
]


def test_refused(session):
    jobid = session("submit", "sleep", "60")  # for pstree to show
    session.wait_state(jobid, "RUN")
    for words, text in REFUSED:
        assert text in session.fail(*words, stdin=subprocess.DEVNULL), words
    session("cancel", jobid)


def test_start_refuses(monkeypatch):
    monkeypatch.delenv("FLUX_JOB_ID", raising=False)
    for words, text in [
        (("--stay", "true"), "--stay: expected no command"),
        (("--terminal=x", "true"), "--terminal: expected ROWSxCOLUMNS, such as 24x80, got 'x'"),
        (("--terminal=0x80", "true"), "--terminal: expected ROWSxCOLUMNS"),
        (("--terminal=24x65536", "true"), "--terminal: expected ROWSxCOLUMNS"),
    ]:
        with pytest.raises(SessionError, match=re.escape(text)):
            start_command.main("start", list(words))


def test_jobs_that_run_no_session(session):
    jobid = session("submit", "sleep", "60")
    session.wait_state(jobid, "RUN")
    assert "runs no session that can be reached" in session.fail("proxy", jobid, "true")
    session("cancel", jobid)


def test_resources_of_a_job_as_those_of_a_session():
    execution = {
        "R_lite": [{"rank": "1", "children": {"core": "2-3", "gpu": "1"}}, {"rank": "4,6", "children": {"core": "0"}}],
        "nodelist": ["n[1,4,6]"], "starttime": 1.0, "expiration": 5.0, "properties": {"a": "4-6", "b": "0"},
    }  # fmt: skip
    found = renumbered({"version": 1, "execution": execution}, {4: 100, 1: 0})
    assert found["scheduling"] == {"memory": [["1", 100]]}
    inner = found["execution"]
    assert [(entry["rank"], entry["children"]) for entry in inner["R_lite"]] == [
        ("0", {"core": "2-3", "gpu": "1"}), ("1", {"core": "0"}), ("2", {"core": "0"})]  # fmt: skip
    assert (inner["properties"], inner["nodelist"]) == ({"a": "1-2"}, ["n[1,4,6]"])
    assert (inner["starttime"], inner["expiration"]) == (1.0, 5.0)
    assert "scheduling" not in renumbered({"version": 1, "execution": execution}, {})


def test_start_in_a_job(session, tmp_path):
    """One session for all tasks of a job; with -s it is one of its own, as anywhere."""
    text = session("run", "-n2", "flux", "start", "flux", "getattr", "instance-level")
    assert text == "1"
    assert session("run", "flux", "start", "-s3", "flux", "getattr", "instance-level") == "0"
    command = "flux resource list -n -m; flux submit --mem=60M true || exit 0"
    text = session("run", "-N2", "-n2", "--mem=50M", "flux", "start", command)
    assert text.splitlines()[0].split()[:2] == ["free", "2"] and " 106 " in text.splitlines()[0]
    (tmp_path / "conf.json").write_text('{"resource": {"config": [{"hosts": "a", "cores": "0"}]}}')
    done = session.run("alloc", "-n1", f"--conf={tmp_path}/conf.json", "true")
    assert done.returncode == 1
    assert "resource.config: a session in a job has the resources of the job" in done.stderr
    (tmp_path / "conf.json").write_text('{"policy": {"limits": {"duration": "1m"}}}')
    done = session.run("alloc", "-n1", f"--conf={tmp_path}/conf.json", "flux", "submit", "-t", "2m", "true")
    assert "it may have at most 1m" in done.stderr


def test_files_that_a_jobspec_brings(session, tmp_path):
    done = session.run("run", "--setattr=files=[]", "flux", "start", "{{tmpdir}}/a")
    assert (done.returncode, "attributes.system.files: expected an object" in done.stderr) == (1, True)
    nest.write(str(tmp_path), "a", {"data": {"b": 1}})
    nest.write(str(tmp_path), "b", {"data": "é", "encoding": "utf-8", "mode": 0o100700})
    assert (tmp_path / "a").read_text() == '{"b": 1}' and (tmp_path / "b").read_text() == "é"
    assert [os.stat(tmp_path / name).st_mode & 0o777 for name in "ab"] == [0o600, 0o700]
    for name, entry, text in [
        ("a/b", {"data": ""}, "attributes.system.files.a/b: expected a name without a folder"),
        ("a", {"data": "", "encoding": "base64"}, "files.a: expected an object with data, and no encoding or utf-8"),
        ("a", [], "files.a: expected an object with data, and no encoding or utf-8"),
        ("a", {"data": 1, "encoding": "utf-8"}, "files.a: expected data that is text, and mode that is a number"),
        ("a", {"data": "", "mode": "x"}, "files.a: expected data that is text, and mode that is a number"),
        ("a" * 300, {"data": ""}, "File name too long"),
    ]:
        with pytest.raises((SessionError, CommandError), match=re.escape(text)):
            nest.write(str(tmp_path), name, entry)


def test_time_limit_is_that_of_the_job(session):
    jobid, _ = start(session, "-t", "1h")
    inner = session("proxy", jobid, "flux", "submit", "sleep", "60")
    ends = f"flux job info {inner} R"
    before = json.loads(session("proxy", jobid, "sh", "-c", ends))["execution"]["expiration"]
    assert before == session.job(jobid)["expiration"]
    session("update", jobid, "duration=+1h")
    until(lambda: json.loads(session("proxy", jobid, "sh", "-c", ends))["execution"]["expiration"] == before + 3600,
          "the end to move")  # fmt: skip
    session("cancel", jobid)
    over(session, jobid)


def test_alloc_passes_on_input_output_and_status(session):
    done = session.run("alloc", "-n1", "sh", "-c", "cat; echo err >&2; exit 5", input="hello\n")
    assert (done.returncode, done.stdout) == (5, "hello\n")
    assert done.stderr.startswith("err\n")


def in_terminal(session, *words):
    """A command in a pseudo terminal of 30 lines of 100; (process, our end)."""
    try:
        ours, theirs = os.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo terminal: {error.strerror}")
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 0, 0))

    def control():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen([*FLUX, *words], env=dict(session.env, SHELL="/bin/sh", PS1="> "), stdin=theirs,
                               stdout=theirs, stderr=theirs, preexec_fn=control)  # fmt: skip
    os.close(theirs)
    return process, ours


def read_until(fd, text, seen=b""):
    deadline = time.monotonic() + 30
    while text not in seen:
        assert select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0], seen
        try:
            seen += os.read(fd, 4096)
        except OSError:
            break
    assert text in seen, seen
    return seen


def test_alloc_in_a_terminal(session):
    process, fd = in_terminal(session, "alloc", "-n1")
    read_until(fd, b"> ")
    os.write(fd, b"stty size; tty; echo level=$(flux getattr instance-level)\r")
    seen = read_until(fd, b"level=1")
    assert b"30 100" in seen and b"/dev/pts/" in seen
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))
    process.send_signal(signal.SIGWINCH)
    os.write(fd, b"while ! stty size | grep 40.120; do sleep 0.05; done\r")
    read_until(fd, b"40 120")
    os.write(fd, b"sh -c 'echo run\"\"ning; exec sleep 60'\r")
    read_until(fd, b"running")
    os.write(fd, b"\x03")  # it ends the sleep, and nothing else
    os.write(fd, b"echo st''ill; exit 3\r")
    read_until(fd, b"still")
    assert process.wait(30) == 3
    os.close(fd)


def test_alloc_whose_terminal_goes(session):
    process, fd = in_terminal(session, "alloc", "-n1", "--job-name=hung")
    read_until(fd, b"> ")
    os.close(fd)
    assert process.wait(30) != 0
    until(lambda: not session("jobs", "-n", "--name=hung"), "the job to end")


def test_signals_are_for_the_command(session, tmp_path):
    out = tmp_path / "out"
    out.touch()
    script = f"""#!/bin/sh
trap 'echo usr1 >>{out}' USR1
flux submit sleep 60
echo up >>{out}
while :; do sleep 0.1; done
"""
    jobid = session("batch", "-n1", "-t", "1h", "--signal=@3599.5s", input=script, cwd=tmp_path)
    until(lambda: "up" in out.read_text(), "the script")
    if "usr1" not in out.read_text():  # else it has come late enough
        session("job", "kill", "-s", "USR1", jobid)
    until(lambda: "usr1" in out.read_text(), "the signal")
    # The job in the nested session has not had it.
    assert session("proxy", jobid, "flux", "jobs", "-n", "-o", "{state}") == "RUN"
    session("cancel", jobid)
    assert over(session, jobid)["result"] == "CANCELED"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("USR2", {"signum": signal.SIGUSR2, "timeleft": 60.0}),
        ("SIGTERM@2m", {"signum": signal.SIGTERM, "timeleft": 120.0}),
        ("12@0.5s", {"signum": 12, "timeleft": 0.5}),
        ("@30", {"signum": signal.SIGUSR1, "timeleft": 30.0}),
    ],
)
def test_signal_option(text, found):
    for parser in (submit_command.parser("submit"), submit_command.parser("bulksubmit"), submit_command.parser("run")):
        o = parser.parse_args([f"--signal={text}", "true"])
        spec = buildspec.build(o, ["true"])
        assert spec["attributes"]["system"]["shell"]["options"]["signal"] == found
        jobs.check(spec)


@pytest.mark.parametrize("text", ["", "@", "x", "x@1s", "USR1@", "USR1@x", "USR1@-1", "USR1@inf", "99", "0"])
def test_signal_option_that_is_none(text):
    o = submit_command.parser("submit").parse_args([f"--signal={text}", "true"])
    with pytest.raises(buildspec.SpecError, match="--signal: "):
        buildspec.build(o, ["true"])


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([], ": expected an object with signum and timeleft, or a number"),
        ("USR1", ": expected an object with signum and timeleft, or a number"),
        ({"signum": 99}, ".signum: expected the number of a signal"),
        ({"signum": "USR1"}, ".signum: expected the number of a signal"),
        ({"timeleft": "x"}, ".timeleft: "),
        ({"timeleft": -1}, ".timeleft: "),
        ({"timeleft": "inf"}, ".timeleft: expected a time before the limit"),
    ],
)
def test_signal_of_a_jobspec(found, text):
    with pytest.raises(RequestError) as error:
        jobs.check(specs.make(shell={"options": {"signal": found}}))
    assert error.value.text.startswith(f"jobspec: attributes.system.shell.options.signal{text}")


def test_signals_that_are_taken():
    assert jobs.warning({}) is None
    assert jobs.warning({"signal": 0}) is None
    assert jobs.warning({"signal": 1}) == (signal.SIGUSR1, 60.0)
    assert jobs.warning({"signal": {"signum": 12, "timeleft": "2m"}}) == (12, 120.0)


def test_signal_before_the_time_limit(session):
    script = "trap 'echo warned; exit 4' USR2; echo up; while :; do sleep 0.05; done"
    done = session.run("run", "-t", "30s", "--signal=USR2@29.5s", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (4, "up\nwarned\n")
    jobid = session("submit", "-t", "30s", "--signal=USR2@1s", "sh", "-c", script)
    session.wait_state(jobid, "RUN")
    session("update", jobid, "duration=1.5s")  # it moves with the limit
    assert over(session, jobid)["returncode"] == 4


def test_background_that_cannot_begin(session):
    err = session.fail("alloc", "--bg", "-n1", "--setattr=exec.test.run_duration=0.01s")
    assert "has ended before its session was there" in err


def test_memo(session):
    jobid = session("submit", "sleep", "60")
    session.ask("job-manager.memo", id=session.job(jobid)["id"], memo={"a": {"b": 1}, "c": "x"})
    session.ask("job-manager.memo", id=session.job(jobid)["id"], memo={"c": None})
    assert session("jobs", "-n", "-o", "{user.a.b} {user.c}", jobid) == "1"
    with pytest.raises(Exception, match="expected at most 65536 bytes"):
        session.ask("job-manager.memo", id=session.job(jobid)["id"], memo={"a": "x" * 70000})
    session("cancel", jobid)


# the end


def nested(session, deeper=False):
    """A session in a job with a job that sleeps, and, if `deeper`, one with a session in which a job sleeps; its job,
    the broker's pid, and all its processes."""
    jobid = session("alloc", "--bg", "-n2")
    session("proxy", jobid, "flux", "submit", "sleep", "61")
    if deeper:
        inner = session("proxy", jobid, "flux", "alloc", "--bg", "-n1")
        session("proxy", f"{jobid}/{inner}", "flux", "submit", "sleep", "61")
    broker = int(session("proxy", jobid, "flux", "getattr", "broker.pid"))
    until(lambda: len(below(broker, "sleep 61")) == 1 + deeper, "the jobs")
    return jobid, broker, tree(broker)


def tree(pid):
    found = [pid]
    for child, _ in children(pid):
        found += tree(child)
    return found


def below(pid, word):
    return [child for one in tree(pid) for child, command in children(one) if word in command]


def sockets(session, jobid):
    """The folder of the nested session's socket."""
    return os.path.dirname(session("uri", jobid)[len("local://") :])


def test_supervisor_is_killed(session):
    jobid, broker, pids = nested(session, deeper=True)
    folder = sockets(session, jobid)
    with open(f"/proc/{broker}/stat") as file:
        supervisor = int(file.read().rpartition(")")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    job = over(session, jobid)
    assert "its supervisor process was killed" in job["exception"]["note"]
    until(lambda: not any(alive(pid) for pid in pids), "all processes to end")
    until(lambda: not os.path.exists(folder), "its socket to be removed")


def test_nested_broker_is_killed(session):
    jobid, broker, pids = nested(session)
    folder = sockets(session, jobid)
    os.kill(broker, signal.SIGKILL)
    assert over(session, jobid)["returncode"] == 128 + signal.SIGKILL
    until(lambda: not any(alive(pid) for pid in pids), "all processes to end")
    until(lambda: not os.path.exists(folder), "its socket to be removed")


def test_time_limit_ends_the_session(session, tmp_path):
    script = "flux submit sleep 61; flux queue drain"
    jobid = session("batch", "-n1", "-t", "1.5s", "--wrap", input=script, cwd=tmp_path)
    until(lambda: session.state(jobid) == "INACTIVE" or session.run("pstree").stdout.count("sleep"), "the inner job")
    assert over(session, jobid)["result"] == "TIMEOUT"
    assert not [pid for pid in below(session.process.pid, "sleep 61") if alive(pid)]


def test_parent_is_killed(tmp_path):
    statedir = f"--statedir={tmp_path}/state"
    with Session(statedir, TMPDIR=str(tmp_path)) as session:
        jobid, _, pids = nested(session)
        session.kill()
    until(lambda: not any(alive(pid) for pid in pids), "all processes to end")
    with Session(statedir, TMPDIR=str(tmp_path)) as session:
        job = over(session, jobid)
        assert (job["result"], job["returncode"]) == ("FAILED", 1)
        assert "the session around this one has gone" in session.run("job", "attach", jobid).stderr
        # Nothing is left of the nested session.
        until(lambda: not [name for name in os.listdir(tmp_path / "state" / "jobs" / str(job["id"]))
                           if name != "output"], "its state to be removed")  # fmt: skip


def test_session_whose_job_is_not_there(session, monkeypatch):
    jobid = session("submit", "--urgency=hold", "true")
    for name, value in (("FLUX_URI", session.uri), ("FLUX_JOB_ID", jobid), ("FLUX_JOB_TMPDIR", "/x/tmp")):
        monkeypatch.setenv(name, value)
    for change, text in [
        ({}, f"cannot open a session in job {jobid}: {jobid}: job is not running"),
        ({"FLUX_JOB_ID": "x"}, "FLUX_JOB_ID: invalid JobID value: 'x'"),
        ({"FLUX_JOB_TMPDIR": "x"}, "FLUX_JOB_TMPDIR: expected the absolute path of a folder, got 'x'"),
    ]:
        with monkeypatch.context() as patch:
            for name, value in change.items():
                patch.setenv(name, value)
            with pytest.raises(SessionError) as error:
                nest.find()
            assert str(error.value) == text
    done = flux("start", "true", env=dict(session.env, FLUX_JOB_ID=jobid, FLUX_JOB_TMPDIR="/x/tmp"))
    assert (done.returncode, done.stderr.startswith("flux-start: cannot open a session in job")) == (1, True)
    session("cancel", jobid)
