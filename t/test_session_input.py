# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is wrong gives one clear error on the terminal and in the log, a failing exit code, and loses nothing."""

import errno
import json
import os
import resource
import socket
import sqlite3
import stat
import subprocess

import pytest

from embedded import FLUX, Session, clean_environment, flux, until

HUGE = "99999999999999999999"


@pytest.fixture(scope="module")
def session():
    with Session("-s3") as session:
        yield session


def one_error(session, *words):
    """The command fails with one error, which is also in the log; its text."""
    session("dmesg", "-C")
    text = session.fail(*words)
    errors = [line for line in session.log().splitlines() if ".err[" in line]
    assert len(errors) == 1, errors
    return text


@pytest.mark.parametrize("option", ["-n", "-N", "-c", "--cores", "--tasks-per-node"])
@pytest.mark.parametrize("value", ["-1", "0", HUGE, "abc", "1.5", "", "٣"])
def test_counts(session, option, value):
    words = [f"{option}={value}"] if option.startswith("--") else [option, value]
    assert one_error(session, "submit", *words, "true").startswith("flux-submit: ERROR: --")
    assert session("jobs", "-n") == ""


@pytest.mark.parametrize("value", ["-1", HUGE, "x"])
def test_gpu_counts(session, value):
    assert "--gpus-per-task" in one_error(session, "submit", f"-g{value}", "true")


def test_job_larger_than_the_machine(session):
    assert "needs 5000 slots" in one_error(session, "submit", "-n5000", "true")
    assert one_error(session, "submit", "-N4", "true")
    assert one_error(session, "run", "-c4000", "true")
    assert session("jobs", "-an") == ""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-t", "xx", "true"], "--time-limit: expected a duration"),
        (["-t", "-5", "true"], "--time-limit: expected a duration"),
        (["-t", "nan", "true"], "--time-limit: expected a duration"),
        (["--urgency=32", "true"], "urgency range is [0:31]"),
        (["--urgency=-1", "true"], "--urgency"),
        (["--urgency=high", "true"], "--urgency: invalid int value 'high'"),
        (["-N2", "-n1", "true"], "node count must not be greater than task count"),
        (["-x", "true"], "exclusive can only be set with a node count"),
        (["-n2", "--cores=2", "true"], "cannot be used together"),
        (["--requires=(", "true"], "Unclosed parenthesis"),
        (["--requires=a:b", "true"], "unknown constraint operator: a"),
        (["--requires=nosuch", "true"], "no node matches"),
        (["-q", "batch", "true"], "is not a valid queue"),
        (["--dependency=afterok:1", "true"], "dependency: afterok: id 1: job not found"),
        (["--setattr=exec.test.run_duration=soon", "true"], "run_duration"),
        (["--setattr=duration=x", "true"], "duration"),
        (["--setattr=a..b=1", "true"], "invalid attribute name"),
        (["--setattr=^x=/nonexistent", "true"], "No such file"),
        (["--env=A=$NONE", "true"], "variable 'NONE' not found"),
        (["--env=^/nonexistent", "true"], "No such file"),
        (["--flags=odd", "true"], "Unknown flag odd"),
        (["--cc=5-1", "true"], "--cc"),
        (["--cc=1", "--bcc=2", "true"], "only one of"),
        (["--no-such-option", "true"], "unrecognized arguments"),
        ([], "job command and arguments are missing"),
        ([""], "expected a command, got an empty word"),
    ],
)
def test_submit_refuses(session, words, text):
    assert text in one_error(session, "submit", *words)
    assert session("jobs", "-n") == ""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nosuch"], "`nosuch' is not a flux command"),
        (["job", "nosuch"], "unknown subcommand 'nosuch'"),
        (["kvs"], "missing subcommand"),
        (["cancel", "zz!"], "invalid JobID value"),
        (["cancel"], "is required"),
        (["cancel", "f1"], "unknown job id"),
        (["job", "attach", "123"], "unknown job id"),
        (["job", "info", "123", "R"], "unknown job id"),
        (["job", "urgency", "123", "5"], "unknown job id"),
        (["job", "wait"], "no more waitable jobs"),
        (["jobs", "--filter=odd"], "Invalid filter"),
        (["jobs", "-o", "{odd}"], "Unknown format field"),
        (["jobs", "-o", "{id"], "Error in user format"),
        (["jobs", "-c", "-1"], "--count"),
        (["jobs", "--since=odd"], "--since"),
        (["jobs", "77"], "unknown"),
        (["kvs", "get", "no.such"], "No such file or directory"),
        (["kvs", "put", "x"], "key=value"),
        (["kvs", "put", ".=1"], "invalid KVS key"),
        (["kvs", "unlink", "nosuch"], "No such file or directory"),
        (["resource", "drain", "9"], "out of range"),
        (["resource", "drain", "1-"], "invalid targets"),
        (["resource", "drain", "nosuch"], "invalid hosts"),
        (["resource", "undrain", "0"], "not drained"),
        (["resource", "list", "-s", "odd"], "Invalid resource state"),
        (["getattr", "nosuch"], "No such file or directory"),
        (["exec", "-r", "9", "true"], "ranks 0-2"),
    ],
)
def test_commands_refuse(session, words, text):
    assert text in one_error(session, *words)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["load", "nosuch"], "module not found in search path"),
        (["load", "kvs"], "part of the session"),
        (["remove", "nosuch"], "No such file or directory"),
        (["load", "sched", "odd=1"], "unknown argument 'odd=1'"),
        (["load", "sched", "verbosity=-1"], "verbosity"),
        (["load", "sched", f"queue-depth={HUGE}"], "queue-depth"),
        (["load", "sched", "plugin=nosuch"], "nosuch"),
        (["load", "sched", "plugin=backfill.plugin1", "plugin-opts=reserve-depth=x"], "reserve-depth"),
        (["load", "sched", "rdl-conf=/nonexistent.lua"], "No such file"),
        (["load", "sched", "rdl-conf={tmp}/unparsable.lua"], "unparsable.lua:"),
        (["load", "sched", "rdl-conf={tmp}/loops.lua"], "stopped"),
        (["load", "sched", "rdl-conf={tmp}/fifo"], "fifo: expected a file, found a FIFO or a device"),
        (["reload", "sched", "rdl-conf=/dev/zero"], "/dev/zero: expected a file, found a FIFO or a device"),
        (["load", "sched", "plugin={tmp}/fifo.py"], "there is no such file"),
        (["load", "sched", "plugin=lacking"], "lacks the operation"),
    ],
)
def test_module_load_refuses(session, tmp_path, words, text):
    (tmp_path / "unparsable.lua").write_text("Hierarchy {{{\n")
    (tmp_path / "loops.lua").write_text("while true do end\n")
    os.mkfifo(tmp_path / "fifo")
    os.mkfifo(tmp_path / "fifo.py")
    words = [word.replace("{tmp}", str(tmp_path)) for word in words]
    if words[-1] == "plugin=lacking":
        # an operation short
        plugin = tmp_path / "lacking.py"
        plugin.write_text("class Plugin:\n    def find_resources(self, *arguments):\n        pass\n")
        words[-1] = f"plugin={plugin}"
    assert text in one_error(session, "module", *words)
    # what was loaded goes on
    assert session.run("run", "true").returncode == 0


def test_module_on_another_rank(session):
    done = session.run("module", "load", "sched", env={"FLUX_URI": session.uri[:-1] + "1"})
    assert done.returncode == 1
    assert "for rank 0, not for rank 1" in done.stderr
    assert "broker.err[1]: module load sched: module sched is for rank 0" in session.log()


def test_no_session():
    done = flux("jobs")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "FLUX_URI is not set" in done.stderr
    done = flux("jobs", env=clean_environment(FLUX_URI="local:///nonexistent/local-0"))
    assert "cannot reach the session at /nonexistent/local-0" in done.stderr
    assert "expected local://PATH" in flux("jobs", env=clean_environment(FLUX_URI="ssh://x")).stderr
    assert "local-RANK" in flux("jobs", env=clean_environment(FLUX_URI="local:///x")).stderr


def test_help_everywhere():
    groups = {
        "job": "attach wait wait-event status eventlog info urgency raise kill id last list",
        "kvs": "get put dir ls unlink",
        "module": "load list remove reload stats",
        "resource": "list status drain undrain R",
        "queue": "list status",
    }
    commands = "start submit run wreckrun jobs cancel waitjob update dmesg getattr uptime version exec"
    words = [[name] for name in [*commands.split(), *groups]]
    words += [[group, name] for group, names in groups.items() for name in names.split()]
    for entry in words:
        done = flux(*entry, "--help")
        assert done.returncode == 0, entry
        assert done.stdout.lower().startswith("usage: flux " + " ".join(entry).lower()), entry
    assert "submit a job" in flux("--help").stdout


# the socket


def test_socket_is_the_owners_alone(session):
    path = session.uri[len("local://") :]
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_socket_refuses_another_user(session, tmp_path):
    path = session.uri[len("local://") :]
    # open the doors, so that only the check of the peer is left
    os.chmod(os.path.dirname(path), 0o755)
    os.chmod(path, 0o666)
    try:
        code = (
            "import os, socket, sys\n"
            "os.setuid(65534)\n"
            "s = socket.socket(socket.AF_UNIX)\n"
            "s.connect(sys.argv[1])\n"
            "s.sendall(b'{\"id\":1,\"topic\":\"attr.get\",\"payload\":{\"name\":\"size\"}}\\n')\n"
            "print(s.recv(100))\n"
        )
        done = subprocess.run(["/usr/bin/env", "python3", "-c", code, path], capture_output=True, text=True)
        assert done.stdout in ("b''\n", "") and "size" not in done.stdout
        assert "refused a connection from uid 65534" in session.log()
    finally:
        os.chmod(path, 0o600)
        os.chmod(os.path.dirname(path), 0o700)


@pytest.mark.parametrize(
    "data",
    [
        b"hello\n",
        b"{}\n",
        b"[1]\n",
        b'{"id":1,"topic":5}\n',
        b'{"id":1,"topic":"job.submit","payload":[]}\n',
        b'{"id":1,"topic":"x","rank":"y"}\n',
        b"\xff\xfe\n",
        b"[" * 100000 + b"\n",
        b'{"id":1,"topic":"attr.get","payload":{"name":NaN}}\n',
    ],
)
def test_garbage_on_the_socket(session, data):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(session.uri[len("local://") :])
    sock.sendall(data)
    sock.settimeout(20)
    assert sock.recv(100) == b""
    sock.close()
    assert session("getattr", "size") == "3"


def ask(session, topic, payload):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(session.uri[len("local://") :])
    sock.sendall(json.dumps({"id": 1, "topic": topic, "payload": payload}).encode() + b"\n")
    answer = json.loads(sock.makefile().readline())
    sock.close()
    return answer


GOOD = {
    "version": 1,
    "resources": [{"type": "slot", "count": 1, "label": "task", "with": [{"type": "core", "count": 1}]}],
    "tasks": [{"command": ["true"], "slot": "task", "count": {"per_slot": 1}}],
    "attributes": {"system": {"duration": 0}},
}


def changed(path, value):
    spec = json.loads(json.dumps(GOOD))
    table = spec
    for part in path[:-1]:
        table = table.setdefault(part, {}) if isinstance(table, dict) else table[part]
    table[path[-1]] = value
    return spec


@pytest.mark.parametrize(
    "spec",
    [
        5,
        {},
        changed(["version"], 0),
        changed(["resources"], "x"),
        changed(["resources", 0, "count"], -1),
        changed(["resources", 0, "count"], int(HUGE)),
        changed(["tasks"], []),
        changed(["tasks", 0, "command"], "true"),
        changed(["tasks", 0, "command"], []),
        changed(["tasks", 0, "command"], [""]),
        changed(["tasks", 0, "command"], ["a\0b"]),
        changed(["attributes"], []),
        changed(["attributes", "system"], 5),
        changed(["attributes", "system", "environment"], {"A": 1}),
        changed(["attributes", "system", "environment"], {"A=B": "1"}),
        changed(["attributes", "system", "cwd"], 5),
        changed(["attributes", "system", "duration"], "long"),
        changed(["attributes", "system", "queue"], ["a"]),
        changed(["attributes", "system", "constraints"], {"odd": []}),
        changed(["attributes", "system", "shell"], 5),
        changed(["attributes", "system", "shell", "options"], 5),
        changed(["attributes", "system", "shell", "options", "output"], 5),
        changed(["attributes", "system", "shell", "options", "output", "stdout"], 5),
        changed(["attributes", "system", "shell", "options", "output", "stdout"], {"path": 5}),
        changed(["attributes", "system", "shell", "options", "output", "stdout"], {"buffer": 5}),
        changed(["attributes", "system", "shell", "options", "input"], {"stdin": []}),
        changed(["attributes", "system", "shell", "options", "per-resource"], {"type": "odd"}),
        changed(["attributes", "system", "exec"], 5),
        changed(["attributes", "system", "exec", "test"], 5),
        changed(["attributes", "system", "exec", "test", "run_duration"], -1),
    ],
)
def test_jobspec_from_anybody(session, spec):
    answer = ask(session, "job.submit", {"jobspec": spec})
    assert answer["errnum"] in (errno.EINVAL, errno.EPROTO, errno.EOVERFLOW), answer
    assert session("jobs", "-n") == ""


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("nosuch", {}),
        ("sched.alloc", {"id": 1}),
        ("job.submit", {"jobspec": GOOD, "urgency": 99}),
        ("job.submit", {"jobspec": GOOD, "urgency": True}),
        ("job.wait", {"id": "x"}),
        ("job.info", {"id": 1}),
        ("job.stdin", {"id": 1, "data": 5}),
        ("job.list", {"ids": ["x"]}),
        ("job-manager.raise", {"id": 1, "severity": 99}),
        ("job-manager.kill", {"id": 1, "signum": 9}),
        ("kvs.put", {"pairs": [["a"]]}),
        ("module.load", {"name": "sched", "args": [5]}),
        ("log.append", {"name": 5}),
    ],
)
def test_requests_from_anybody(session, topic, payload):
    assert "errnum" in ask(session, topic, payload)
    assert session("getattr", "size") == "3"


# starting


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-s2", "--emulate={tmp}/x.lua"], "cannot be used together"),
        (["-s", "0"], "-s 0: expected a number of ranks"),
        (["-s", "-3"], "expected a number of ranks"),
        (["-s", "x"], "expected a number of ranks"),
        (["-s", HUGE], "expected a number of ranks"),
        (["--emulate=/nonexistent.lua"], "No such file"),
        (["--config-path=/nonexistent.toml"], "No such file"),
        (["--config-path={tmp}/bad.json"], "bad.json"),
        (["--config-path={tmp}/list.json"], "expected a table"),
        (["--config-path={tmp}/queues.json"], "queues: expected a table"),
        (["--config-path={tmp}/queue.json"], "queues.a: expected a table"),
        (["--config-path={tmp}/virtual.json"], "queues.a.parent: expected a queue that is configured, got 'b'"),
        (["--config-path={tmp}/resource.json"], "resource.config"),
        (["--config-path={tmp}/timeout.json"], "kill-timeout"),
        (["--statedir={tmp}/bad.json/x"], "cannot use this state directory"),
        (["--statedir=/proc/nonexistent"], "cannot use this state directory"),
        (["--statedir="], "--statedir=: expected a folder, got nothing"),
    ],
)
def test_start_refuses(tmp_path, words, text):
    files = {
        "bad": "{", "list": "[]", "queues": '{"queues": 5}', "queue": '{"queues": {"a": {"requires": 5}}}',
        "virtual": '{"queues": {"a": {"parent": "b"}}}',
        "resource": '{"resource": {"config": [{}]}}', "timeout": '{"exec": {"kill-timeout": "x"}}',
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(content)
    done = flux("start", *[word.replace("{tmp}", str(tmp_path)) for word in words], "true")
    assert done.returncode == 1
    assert text in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_statedir_of_a_newer_version(tmp_path):
    with Session(f"--statedir={tmp_path}") as session:
        jobid = session("submit", "--urgency=hold", "true")
    database = sqlite3.connect(tmp_path / "session.sqlite")
    database.execute("PRAGMA user_version=99")
    database.close()
    done = flux("start", f"--statedir={tmp_path}", "true")
    assert done.returncode == 1
    assert "is of version 99, written by a newer release" in done.stderr
    assert done.stderr.count("\n") == 1
    database = sqlite3.connect(tmp_path / "session.sqlite")
    database.execute("PRAGMA user_version=1")
    database.close()
    with Session(f"--statedir={tmp_path}") as session:
        assert session.state(jobid) == "SCHED"


def test_statedir_that_is_no_database(tmp_path):
    (tmp_path / "session.sqlite").write_bytes(b"not a database, certainly" * 100)
    done = flux("start", f"--statedir={tmp_path}", "true")
    assert done.returncode == 1
    assert "not a database" in done.stderr
    assert done.stderr.count("\n") == 1


def test_statedir_with_a_long_path(tmp_path):
    path = tmp_path / ("d" * 100) / ("e" * 100)
    with Session(f"--statedir={path}") as session:
        jobid = session("submit", "sh", "-c", "sleep 0.7; echo x")
        session.wait_state(jobid, "RUN")
        session.kill()
    with Session(f"--statedir={path}") as session:
        assert session("job", "attach", jobid) == "x"


def mounted(tmp_path, options):
    """A small file system of its own; skips where that is not allowed."""
    where = tmp_path / "mounted"
    where.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(where)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("needs the right to mount")
    return where


def test_read_only_statedir(tmp_path):
    where = mounted(tmp_path, "size=2m")
    try:
        with Session(f"--statedir={where}/state") as session:
            jobid = session("submit", "--urgency=hold", "true")
        subprocess.run(["mount", "-o", "remount,ro", str(where)], check=True)
        done = flux("start", f"--statedir={where}/state", "true")
        assert done.returncode == 1
        assert "cannot use this state directory: Read-only file system" in done.stderr
        assert done.stderr.count("\n") == 1
        subprocess.run(["mount", "-o", "remount,rw", str(where)], check=True)
        with Session(f"--statedir={where}/state") as session:
            assert session.state(jobid) == "SCHED"
    finally:
        subprocess.run(["umount", "-l", str(where)], check=False)


def fill(where):
    """Leave no room on a file system."""
    fd = os.open(where / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(fd, b"x" * 4096)
    except OSError:
        os.close(fd)


def test_full_statedir(tmp_path):
    where = mounted(tmp_path, "size=4m")
    try:
        with Session("-s1", f"--statedir={where}/state") as session:
            before = session("submit", "--urgency=hold", "true")
            running = session("submit", "sh", "-c", "sleep 1; exit 3")
            session.wait_state(running, "RUN")
            until(lambda: any(e["name"] == "start" for e in session.events(running)), "start")
            fill(where)
            answered = []
            refused = ""
            for _ in range(3000):
                done = session.run("submit", "--urgency=hold", "--env=-*", f"--env=X={'y' * 20000}", "true")
                if done.returncode:
                    refused = done.stderr
                    break
                answered.append(done.stdout.strip())
            assert "cannot write" in refused and "full" in refused
            assert refused.count("\n") == 1
            assert "cannot write" in session.log()
            os.unlink(where / "filler")
            # the end of the running job was kept, and is written now
            assert session.run("job", "attach", running).returncode == 3
            after = session("submit", "--urgency=hold", "true")
            session.kill()
        with Session("-s1", f"--statedir={where}/state") as session:
            there = set(session("jobs", "-c0", "-no", "{id}").split())
            assert {before, after, *answered} == there
            assert session.job(running)["returncode"] == 3
    finally:
        subprocess.run(["umount", "-l", str(where)], check=False)


def test_file_size_limit(tmp_path):
    """The same by a limit on file sizes, which needs no rights."""
    with Session("--no-sched", f"--statedir={tmp_path}") as session:
        first = session("submit", "true")
        size = os.path.getsize(tmp_path / "session.sqlite-wal")
        resource.prlimit(session.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        text = session.fail("submit", f"--env=X={'y' * 100000}", "true")
        assert "cannot write" in text
        assert text.count("\n") == 0
        assert "cannot write" in session.fail("kvs", "put", f"a={'y' * 100000}")
        assert session("jobs", "-no", "{id}") == first
        resource.prlimit(session.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        second = session("submit", "true")
        session.kill()
    with Session("--no-sched", f"--statedir={tmp_path}") as session:
        assert session("jobs", "-no", "{id}").split() == [first, second]


def test_start_on_a_full_disk(tmp_path):
    where = mounted(tmp_path, "size=1m")
    try:
        fill(where)
        done = flux("start", f"--statedir={where}", "true")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "full" in done.stderr or "No space left" in done.stderr
    finally:
        subprocess.run(["umount", "-l", str(where)], check=False)


def test_temporary_directory_without_execution(tmp_path):
    where = mounted(tmp_path, "size=1m,noexec")
    try:
        words = [*FLUX, "start", f"--statedir={tmp_path}/state", "flux", "getattr", "size"]
        done = subprocess.run(words, env=clean_environment(TMPDIR=str(where)), capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("1\n", "")
    finally:
        subprocess.run(["umount", "-l", str(where)], check=False)


def test_directory_of_jobs_that_cannot_be_made(tmp_path):
    (tmp_path / "jobs").write_text("")
    done = flux("start", f"--statedir={tmp_path}", "true")
    assert done.returncode == 1
    assert "cannot start a session" in done.stderr
    assert done.stderr.count("\n") == 1


def test_flux_is_the_sessions_own():
    """Inside, plain `flux` is the session's, whatever else is on PATH."""
    done = subprocess.run(
        [*FLUX, "start", "sh", "-c", "flux getattr version"], env=clean_environment(), capture_output=True, text=True
    )
    assert done.stdout == "embedded\n"
