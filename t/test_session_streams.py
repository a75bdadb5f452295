# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Standard streams that are closed or full, readers that go away, a working directory that has gone, signals."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from embedded import FLUX, Session, clean_environment, flux, open_terminal, until

DEMO = [sys.executable, "-m", "fluxsched.session.demo", "--conf=/nonexistent"]
SCHED = [sys.executable, "-c", "import sys; from fluxsched.cli.main import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def session():
    with Session("-s2") as session:
        yield session


def shell(session, script, *words, cwd=None):
    """A command line with redirections; "$@" is a program.  (exit code, output, errors)"""
    done = subprocess.run(
        ["bash", "-c", script, "bash", *words], env=session.env, capture_output=True, text=True, timeout=60, cwd=cwd
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def flux_in(session, redirection, *words, **options):
    return shell(session, f'"$@" {redirection}', *FLUX, *words, **options)


COMMANDS = [
    ["jobs"], ["help"], ["submit", "true"], ["run", "echo", "a"], ["kvs", "dir"], ["dmesg"], ["resource", "list"],
    ["uptime"], ["job", "last"], ["module", "list"], ["start", "echo", "b"], ["submit", "--watch", "echo", "c"],
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed(session, words, closed):
    session("submit", "true")
    assert flux_in(session, closed, *words)[0] == 0


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_full(session, words):
    code, _, err = flux_in(session, ">/dev/full", *words)
    lines = err.splitlines()
    if words[0] == "start":  # the command's affair
        assert code != 0
    else:
        assert code == 1
        assert len(lines) == 1, err
        assert "No space left on device" in lines[0]
    assert flux_in(session, "2>/dev/full", *words)[0] == 0


@pytest.mark.parametrize("words", [["jobs", "nosuch"], ["nosuch"], ["cancel"], ["job"], []])
def test_errors_that_cannot_be_told(session, words):
    for redirection in ("2>/dev/full", "2>&-", ">/dev/full 2>/dev/full"):
        assert flux_in(session, redirection, *words)[0] in (1, 2)


@pytest.mark.parametrize("words", [["kvs", "dir"], ["run", "seq", "100000"], ["dmesg"], ["help"]], ids=" ".join)
def test_reader_that_goes(session, words):
    session("kvs", "put", *(f"many.n{i}={'x' * 100}" for i in range(2000)))
    words = [*words, "-R"] if words[0] == "kvs" else words
    code, out, err = shell(session, '"$@" | head -1; exit ${PIPESTATUS[0]}', *FLUX, *words)
    assert (out.count("\n"), err) == (1, "")
    assert code in (0, 141)


@pytest.mark.parametrize("program", [DEMO, [*SCHED, "--help"], [*SCHED, "rdl", "/nonexistent"]], ids=["d", "h", "r"])
@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", ">/dev/full", "2>/dev/full", "<&- >&- 2>&-", "| true"])
def test_other_programs(session, program, redirection):
    code, _, err = shell(session, f'"$@" {redirection}', *program)
    assert code in (0, 1)
    assert err.count("\n") <= 1, err


def test_output_of_start_that_is_closed(session, tmp_path):
    """The session opens, and its jobs have no file of the session's in the place of a stream."""
    code, _, _ = flux_in(session, "<&- >&-", "start", "sh", "-c", f"flux run -n1 sh -c 'echo a' > {tmp_path}/out")
    assert (code, (tmp_path / "out").read_text()) == (0, "a\n")


def test_job_of_a_session_without_standard_streams(session, tmp_path):
    """The launcher and the supervisor have /dev/null in their place; the job's streams are its own."""
    (tmp_path / "in").write_text("line\n")
    script = (
        f"flux run -n2 sh -c 'cat; echo err >&2' < {tmp_path}/in > {tmp_path}/out 2> {tmp_path}/err; "
        f"flux run sh -c 'ls -l /proc/$PPID/fd' > {tmp_path}/fds 2>&1; flux submit --wait-event=clean true; exit 3"
    )
    code, _, _ = shell(session, f'"$@" <&- >&- 2>&-; echo $? >{tmp_path}/code', *FLUX, "start", "sh", "-c", script)
    assert (code, (tmp_path / "code").read_text()) == (0, "3\n")
    assert (tmp_path / "out").read_text() == "line\n" * 2
    assert (tmp_path / "err").read_text() == "err\n" * 2
    links = dict(re.findall(r" (\d+) -> (.*)\n", (tmp_path / "fds").read_text()))
    assert [links[fd] for fd in "012"] == ["/dev/null"] * 3, links


def test_folder_that_has_gone(session, tmp_path):
    script = 'mkdir gone; cd gone; rmdir ../gone; "$@"'
    for words in (["jobs"], ["start", "true"], ["kvs", "ls"], ["submit", "--cwd=/", "true"]):
        code, _, err = shell(session, script, *FLUX, *words, cwd=tmp_path)
        assert (code, err) == (0, "")
    for words, text in (
        (["submit", "true"], "the working directory cannot be found"),
        (["run", "true"], "the working directory cannot be found"),
        (["submit", "--cwd=x", "true"], "the working directory cannot be found"),
        (["start", "--statedir=x", "true"], "the working directory cannot be found"),
        (["module", "reload", "sched", "rdl-conf=x.lua"], "the working directory cannot be found"),
    ):
        code, _, err = shell(session, script, *FLUX, *words, cwd=tmp_path)
        assert (code, err.count("\n")) == (1, 1)
        assert text in err
    assert shell(session, script, *DEMO, cwd=tmp_path)[0] == 1
    assert shell(session, script, *SCHED, "rdl", "x.lua", cwd=tmp_path)[0] == 1


def test_temporary_folder_with_a_relative_name(tmp_path):
    env = clean_environment(TMPDIR=".")
    script = 'echo $FLUX_URI; cd /; flux run pwd'
    done = subprocess.run([*FLUX, "start", "sh", "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == ""
    uri, where = done.stdout.split()
    assert (uri.startswith(f"local://{tmp_path}/flux-"), where) == (True, "/")
    assert os.listdir(tmp_path) == []


# signals


def test_ctrl_c_twice_while_output_is_stuck(session):
    """Nobody reads the job's output: the second Ctrl-C cancels it all the same."""
    running = session.popen("run", "sh", "-c", "yes; sleep 60")
    jobid = until(lambda: session("jobs", "-f", "run", "-no", "{id}", "--name=sh"), "the job")
    session("job", "wait-event", jobid, "start")
    running.send_signal(signal.SIGINT)
    assert "one more ctrl-C" in running.stderr.readline()
    running.send_signal(signal.SIGINT)
    assert "canceling job" in running.stderr.readline()
    session.wait_state(jobid, "INACTIVE")
    running.stdout.close()
    running.wait(20)
    running.stderr.close()
    assert session.job(jobid)["result"] == "CANCELED"


def test_many_interrupts_at_once(session, tmp_path):
    """A storm of signals in the middle of writing: no handler does anything, so none can get in the way."""
    script = "trap '' INT; while :; do echo xxxxxxxxxxxxxxxxxxxx; sleep 0.001; done"
    with open(tmp_path / "err", "w") as err:
        running = session.popen("run", "-vv", "sh", "-c", script, stdout=subprocess.DEVNULL, stderr=err)
    until(lambda: "start" in (tmp_path / "err").read_text(), "the job to start")

    def interrupted():
        running.send_signal(signal.SIGINT)
        return running.poll() is not None

    until(interrupted, "the end of the job")
    text = (tmp_path / "err").read_text()
    assert "Traceback" not in text and "reentrant" not in text
    assert "interrupted by ctrl-C" in text


def test_sigterm_of_run_goes_to_the_job(session):
    running = session.popen("run", "sh", "-c", "echo here; exec sleep 60")
    assert running.stdout.readline() == "here\n"
    running.terminate()
    running.communicate(timeout=20)
    assert running.returncode == 143


@pytest.mark.parametrize("words", [["dmesg", "-f"], ["job", "wait-event", "{held}", "start"], ["waitjob", "{held}"]])
def test_commands_that_wait_end_by_ctrl_c(session, words):
    held = session("submit", "--urgency=hold", "true")
    waiting = session.popen(*(word.replace("{held}", held) for word in words))
    until(lambda: _blocked(waiting.pid), "the command to wait")
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=20)
    assert (waiting.returncode, err) == (-signal.SIGINT, "")
    session("cancel", held)


def _blocked(pid):
    """Whether the process waits for its socket."""
    fds = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    with open(f"/proc/{pid}/stat") as file:
        return any(fd.startswith("socket:") for fd in fds) and file.read().rpartition(")")[2].split()[0] == "S"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_start_that_is_interrupted_before_it_is_up(tmp_path, number):
    """No folder is left, whenever the signal comes."""
    env = clean_environment(TMPDIR=str(tmp_path))
    for delay in ("0.15", "0.3", "0.5"):
        script = f'"$@" & pid=$!; sleep {delay}; kill -{int(number)} $pid; wait $pid; echo rc $?'
        done = subprocess.run(["bash", "-mc", script, "bash", *FLUX, "start", "sleep", "0.7"],
                              env=env, capture_output=True, text=True, timeout=60)  # fmt: skip
        assert "Traceback" not in done.stderr
        assert os.listdir(tmp_path) == []


# control characters


def test_names_and_notes_are_shown_with_their_control_characters(session):
    odd = "a\x1b[31mb\nc"
    shown = "a\\x1b[31mb\\nc"
    jobid = session("submit", "--urgency=hold", f"--job-name={odd}", "true")
    assert session("jobs", "-no", "{name}", jobid) == shown
    session("cancel", "-m", odd, jobid)
    assert shown in session("jobs", "-ano", "{exception.note}", jobid)
    assert f"note={shown}" in session("job", "eventlog", jobid).replace('"', "").replace("u001b", "x1b")
    err = session.run("job", "attach", jobid).stderr
    assert shown in err and "\x1b" not in err
    session("resource", "drain", "1", odd)
    try:
        assert shown in session("resource", "drain")
    finally:
        session("resource", "undrain", "1")
    session.run("getattr", odd)
    assert "\x1b" not in session.log()
    assert shown.partition("\\n")[0] in session.log()
    assert shown in session.run("getattr", odd).stderr
    session("kvs", "put", f"odd.k={odd}")
    assert session("kvs", "dir", "odd") == f"odd.k = {shown}"
    assert session("kvs", "get", "odd.k") == odd


def test_kvs_get_to_a_terminal(session):
    session("kvs", "put", "t.k=a\x1b[2J\nb\tc")
    main, side = open_terminal()
    reading = session.popen("kvs", "get", "t.k", stdout=side)
    os.close(side)
    assert reading.wait(20) == 0
    assert os.read(main, 1000).replace(b"\r\n", b"\n") == b"a\\x1b[2J\nb\tc\n"
    os.close(main)
    reading.stderr.close()


def test_damaged_output(tmp_path):
    with Session(f"--statedir={tmp_path}") as session:
        jobid = session("submit", "printf", "one\\ntwo\\n")
        session("job", "wait", jobid)
        number = session("job", "id", jobid)
        record = tmp_path / "jobs" / number / "output"
        good = record.read_bytes()
        bad = b"\0\0\0\0\n{\n[]\n5\n{}\n" + b"[" * 5000 + b"\n"
        bad += json.dumps({"s": "x", "r": 0, "d": "x"}).encode() + b"\n" + b'{"s":"stdout","r":0,"b":"*"}\n'
        bad += b'{"s":"stdout","r":"0","d":"x"}\n{"s":"stdout","r":0,"d":5}\n'
        record.write_bytes(bad + good + b"\xff\xfe\n" + good)
        done = session.run("job", "attach", jobid)
        assert (done.returncode, done.stdout) == (0, "one\ntwo\none\ntwo\n")
        assert done.stderr.count("\n") <= 2
        assert "left out, as damaged: 11 lines" in done.stderr
        record.write_bytes(b"x" * (6 << 20) + b"\n" + good)
        done = session.run("job", "attach", jobid)
        assert (done.returncode, done.stdout) == (0, "one\ntwo\n")
        assert "left out, as damaged" in done.stderr


def test_flux_without_words():
    done = flux()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Usage: flux COMMAND")
