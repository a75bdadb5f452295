# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The session that stays open: its unit of systemd, the line for cron, the link by which shells find it."""

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import time

import pytest

from embedded import FLUX, Session, alive, clean_environment, flux, open_terminal, until
from fluxsched.session import commands, wellknown, wire
from fluxsched.session.commands import service
from fluxsched.session.commands.client import Client
from fluxsched.session.errors import CommandError

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def without_systemd(tmp_path, **more):
    """A user whose machine has no systemd: an environment in which a session of their own is found, and no other."""
    tools = tmp_path / "bin"
    if not tools.exists():
        tools.mkdir()
        for name in ("sh", "true", "sleep", "cat"):
            (tools / name).symlink_to(f"/bin/{name}")
    environ = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    return clean_environment(PATH=str(tools), **environ, **more)


def broker_pid(env):
    return int(flux("getattr", "broker.pid", env=env).stdout)


def states(link):
    """The states of the jobs that are not over, in the session that the link leads to."""
    client = Client(f"local://{os.readlink(link)}/{wellknown.SOCKET}")
    try:
        return {job["jobid"]: job["state"] for job in client.rpc("job.list")["jobs"]}
    finally:
        client.close()


def test_a_session_stays_and_every_shell_finds_it(tmp_path):
    env = without_systemd(tmp_path)
    assert "no session of yours stays open" in flux("jobs", env=env).stderr
    done = flux("status", env=env)
    assert done.stdout == "unit:     none (flux-session enable writes one)\n"
    assert done.stderr == "flux-status: no session that stays is open\n"
    assert done.returncode == 1
    done = flux("enable", env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The session is open.\nThere is no systemd of yours here.")
    line = done.stdout.splitlines()[-1].strip()
    assert line.startswith("@reboot ") and shlex.split(line)[-2:] == ["start", "--service"]
    try:
        link = tmp_path / "state" / "flux-sched" / wellknown.LINK
        assert link.is_symlink() and stat.S_IMODE(os.stat(link).st_mode) == 0o700
        assert "A session is open already." in flux("enable", env=env).stdout
        done = flux("enable", "--statedir=/elsewhere", env=env)
        assert done.returncode == 1 and "--statedir: a session is open already, on " in done.stderr
        # two shells, one queue; also one with a runtime folder, which the session had not
        first = flux("submit", "sleep", "60", env=env).stdout.strip()
        (tmp_path / "run").mkdir()
        other = dict(env, XDG_RUNTIME_DIR=str(tmp_path / "run"))
        second = flux("submit", "--urgency=hold", "true", env=other).stdout.strip()
        until(lambda: states(link) == {first: "RUN", second: "SCHED"}, "the job to run")
        out = flux("status", env=other).stdout
        assert "1 running, 1 waiting; kept in " in out and "open for" in out
        # the session is killed: what is left is noticed, and the next one has all jobs
        pid = broker_pid(env)
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid), "the session to be gone")
        done = flux("jobs", env=env)
        assert done.returncode == 1 and "cannot reach the session at" in done.stderr
        done = flux("status", env=env)
        assert done.returncode == 1 and "has gone" in done.stderr
        assert flux("enable", env=env).returncode == 0
        assert states(link) == {first: "RUN", second: "SCHED"}
        # it is ended, and running jobs go on until the next one finds them
        done = flux("disable", env=env)
        assert (done.returncode, done.stderr) == (0, "") and "Jobs that run go on" in done.stdout
        assert not link.is_symlink() and flux("jobs", env=env).returncode == 1
        assert "no session that stays is open" in flux("disable", env=env).stderr
        assert flux("enable", env=env).returncode == 0
        assert states(link) == {first: "RUN", second: "SCHED"}
        assert flux("cancel", "--all", env=env).returncode == 0
        until(lambda: not states(link), "the jobs to end")
        # a shell that has taken the session's environment finds the next one, though nothing was left
        uri = dict(env, FLUX_URI=flux("uri", ".", env=env).stdout.strip())
        flux("disable", env=env)
        assert flux("jobs", env=uri).returncode == 1
        assert flux("enable", env=env).returncode == 0
        assert flux("jobs", env=uri).returncode == 0
    finally:
        flux("disable", env=env)


FAKE = r"""
# A systemd of the user that starts what ExecStart says, as systemd reads it, and notes how it was called.
import os, re, subprocess, sys
notes = os.environ["FAKE_NOTES"]
with open(notes, "a") as file:
    print(*sys.argv[2:], file=file)
if sys.argv[2] == "restart":
    if "FAKE_BROKEN" in os.environ:
        sys.exit("Job failed.")
    with open(os.path.join(os.environ["XDG_CONFIG_HOME"], "systemd/user/flux-session.service")) as file:
        line = re.search("^ExecStart=(.*)$", file.read(), re.M)[1]
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
    words = [re.sub(r"\\(.)", r"\1", word).replace("%%", "%").replace("$$", "$") for word in words]
    null = subprocess.DEVNULL
    process = subprocess.Popen(words, stdin=null, stdout=null, stderr=null, start_new_session=True)
    with open(notes + ".pid", "w") as file:
        file.write(str(process.pid))
elif sys.argv[2] == "is-enabled":
    print("enabled")
elif sys.argv[2] == "disable":
    with open(notes + ".pid") as file:
        os.kill(int(file.read()), 15)
"""


def test_a_unit_of_systemd(tmp_path):
    """The unit is written, loaded and started; the paths in it are quoted as systemd reads them."""
    env = without_systemd(tmp_path, FAKE_NOTES=str(tmp_path / "calls"))
    script = tmp_path / "bin" / "systemctl"
    script.write_text(f"#!{sys.executable}\n{FAKE}")
    script.chmod(0o755)
    folder = tmp_path / 'a b%h "x" $HOME \\n'
    done = flux("enable", f"--statedir={folder}", env=env)
    try:
        assert done.returncode == 0, done.stderr
        unit = tmp_path / "config" / "systemd" / "user" / "flux-session.service"
        assert done.stdout.startswith(f"Written: {unit}\n") and "journalctl --user -u flux-session" in done.stdout
        calls = [line.split()[0] for line in (tmp_path / "calls").read_text().splitlines()]
        assert calls == ["show-environment", "daemon-reload", "enable", "restart"]
        text = unit.read_text()
        quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
        assert f'"start" "--service" "--statedir={quoted}"\n' in text
        for line in ("Restart=on-failure", "KillMode=process", "Delegate=yes", "WantedBy=default.target"):
            assert f"\n{line}\n" in text
        assert flux("getattr", "statedir", env=env).stdout == f"{folder}\n"
        assert "enabled" in flux("status", env=env).stdout.splitlines()[0]
        pid = broker_pid(env)
        done = flux("disable", env=env)
        assert done.returncode == 0 and f"Removed: {unit}\n" in done.stdout and not unit.exists()
        until(lambda: not alive(pid), "the session to end")
        # a systemd that fails says why
        done = flux("enable", env=dict(env, FAKE_BROKEN="1"))
        assert (done.returncode, done.stderr) == (
            1, "flux-enable: systemctl --user restart flux-session.service: Job failed.\n")  # fmt: skip
    finally:
        flux("disable", env=env)


def test_lines_for_cron_and_units():
    words = ["/a b/flux-session", "start", "--statedir=/x%y's"]
    assert service.cron_line(words) == "@reboot '/a b/flux-session' start '--statedir=/x\\%y'\"'\"'s'"
    assert os.path.exists(service.own_command()[0])


@pytest.mark.parametrize("option", ["--statedir", "--config-path"])
@pytest.mark.parametrize("value", ["", "/a\nb"])
def test_paths_that_no_unit_can_have(tmp_path, option, value):
    done = flux("enable", f"{option}={value}", env=without_systemd(tmp_path))
    assert done.returncode == 1 and done.stderr.startswith(f"flux-enable: {option}: expected a path of printable")


def test_a_session_that_does_not_open(tmp_path):
    done = flux("enable", "-c", "/nonexistent.toml", env=without_systemd(tmp_path))
    log = tmp_path / "state" / "flux-sched" / "log"
    text = "/nonexistent.toml: No such file or directory"
    assert done.returncode == 1 and f"the session has not opened: {text}; its log is {log}" in done.stderr
    assert text in log.read_text()
    done = flux("start", "--service", "true", env=without_systemd(tmp_path))
    assert "--service: expected no command" in done.stderr


def test_links_that_are_not_to_be_trusted(tmp_path, monkeypatch):
    """A link, or a folder behind it, that others could have made or may enter leads nowhere."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    rundir = tmp_path / "flux-x"
    rundir.mkdir(mode=0o700)
    assert wellknown.find() is None
    wellknown.announce(str(rundir))
    assert wellknown.find() is None  # no session's
    (rundir / wire.MARK).touch()
    assert wellknown.find() == f"local://{rundir}/local-0"
    rundir.chmod(0o750)
    assert wellknown.find() is None
    rundir.chmod(0o700)
    link = tmp_path / "flux-sched" / wellknown.LINK
    if os.getuid() == 0:
        os.lchown(link, 1, 1)
        assert wellknown.find() is None
        os.lchown(link, 0, 0)
        os.chown(rundir, 1, 1)
        assert wellknown.find() is None
        os.chown(rundir, 0, 0)
    assert wellknown.find() is not None
    wellknown.withdraw("/elsewhere")
    assert link.is_symlink()
    wellknown.withdraw(str(rundir))
    assert wellknown.find() is None and not link.is_symlink()
    link.symlink_to("flux-x")
    assert wellknown.find() is None
    link.unlink()
    link.write_text("no link")
    assert wellknown.find() is None


def ask(env, answer, *words):
    """Run a command at a terminal and answer its question: exit code, and what the terminal showed."""
    outer, inner = open_terminal()
    process = subprocess.Popen([*FLUX, *words], env=env, stdin=inner, stdout=inner, stderr=inner)
    os.close(inner)
    shown = b""
    deadline = time.monotonic() + 60
    answered = False
    while time.monotonic() < deadline:
        try:
            data = os.read(outer, 4096)
        except OSError:
            break
        if not data:
            break
        shown += data
        if not answered and b"[y/N]" in shown:
            os.write(outer, answer.encode() + b"\n")
            answered = True
    os.close(outer)
    return process.wait(60), shown.decode()


def test_submit_offers_to_open_a_session(tmp_path):
    env = without_systemd(tmp_path)
    done = flux("submit", "true", env=env)  # no terminal: a line that says what to type
    assert done.returncode == 1 and "(flux-session enable opens one, flux start one for a command)" in done.stderr
    code, shown = ask(env, "n", "submit", "true")
    assert code == 1 and "no session is open" in shown and "no session of yours stays open" in shown
    code, shown = ask(env, "", "jobs")
    assert code == 1 and "[y/N]" not in shown  # only what submits asks
    try:
        code, shown = ask(env, "y", "run", "sh", "-c", "echo it runs")
        assert code == 0 and "a session is open" in shown and "it runs" in shown, shown
        assert "COMPLETED" in flux("jobs", "-ano", "{status}", env=env).stdout
    finally:
        flux("disable", env=env)


def test_the_page_for_a_start_names_what_there_is():
    """Each command in it exists, and each of its options is on the page of commands."""
    with open(os.path.join(TOP, "doc", "workstation.md")) as file:
        page = file.read()
    with open(os.path.join(TOP, "doc", "commands.md")) as file:
        known = file.read()
    typed = [code for line in page.splitlines() for code in re.findall(r"`(flux[^`]*)`", line)]
    typed += re.findall(r"^    (?:\d\d:\d\d \$ )?(flux.*)$", page, re.M)
    assert len(typed) > 50
    for text in typed:
        match = re.match(r"flux(?:-session)? ([a-z]+)", text)
        if match is not None and not text.startswith("flux top  "):
            assert match[1] in commands.COMMANDS, text
            for option in re.findall(r"(?<![\w-])--[a-z-]+", text):
                assert option in known, text


def test_env_is_for_shells_and_commands(tmp_path):
    with Session() as session:
        env = clean_environment(FLUX_URI=session.uri, PATH="/usr/bin:/bin")
        done = flux("env", env=env)
        assert done.returncode == 0, done.stderr
        text = 'eval "$(cat)"; flux getattr size; python3 -c "import flux; print(flux.__name__)"'
        shell = subprocess.run(
            ["bash", "-c", text], input=done.stdout, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip
        assert shell.stdout.split()[0] == "1", shell.stderr
        assert flux("env", "--", "sh", "-c", "flux getattr size; exit 4", env=env).stdout == "1\n"
        assert flux("env", "sh", "-c", "exit 4", env=env).returncode == 4
        done = flux("env", "no-such-command", env=env)
        assert (done.returncode, done.stderr) == (127, "flux-env: no-such-command: No such file or directory\n")
        assert flux("env", "/etc/passwd", env=env).returncode == 126
        assert "this session ends with its command" in str(_refusal(session, "session.leave"))


def _refusal(session, topic):
    from fluxsched.session.commands.client import RPCError

    with pytest.raises(RPCError) as caught:
        session.ask(topic)
    return caught.value


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user without systemd, for calls in this process."""
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("FLUX_URI", raising=False)
    monkeypatch.setattr(service, "POLL", 0.001)
    return tmp_path


def refusal(function, *arguments):
    with pytest.raises(CommandError) as caught:
        function(*arguments)
    return str(caught.value)


def test_folders_that_cannot_be_written(home, monkeypatch, capsys):
    (home / "XDG_STATE_HOME").write_text("a file")
    monkeypatch.setenv("PATH", str(home))
    assert refusal(service.main, "enable", []) == f"{home}/XDG_STATE_HOME/flux-sched: Not a directory"
    # the unit, where there is a systemd
    monkeypatch.setattr(service, "has_systemd", lambda: True)
    (home / "XDG_CONFIG_HOME").write_text("a file")
    assert refusal(service.main, "enable", []).endswith("XDG_CONFIG_HOME/systemd/user: Not a directory")
    monkeypatch.setattr(service, "has_systemd", lambda: False)
    (home / "XDG_CONFIG_HOME").unlink()
    unit = service.unit_path()
    unit.mkdir(parents=True)
    assert refusal(service.main, "disable", []).startswith(f"{unit}: Is a directory")
    assert refusal(service._must, "start", service.UNIT) == "systemctl --user start flux-session.service: it is gone"


def test_sessions_that_neither_open_nor_end(home, monkeypatch):
    monkeypatch.setattr(service, "OPENING", 0.01)
    assert refusal(service._wait_until_open, None, "the log") == "the session has not opened within 0 s: see the log"

    class Stuck:
        def rpc(self, topic, payload=None):
            return {"value": str(os.getpid())}

    monkeypatch.setattr(service, "connect", Stuck)
    assert refusal(service._leave) == "the session has not ended within 0 s"
    # a log that has grown large is begun anew
    monkeypatch.setattr(service, "connect", lambda: None)
    monkeypatch.setattr(service, "LOG_MAX", 10)
    log = home / "XDG_STATE_HOME" / "flux-sched" / "log"
    log.parent.mkdir(parents=True)
    for before, after in (("short\n", "short\nnew\n\n"), ("a longer one\n", "new\n\n")):
        log.write_text(before)
        monkeypatch.setattr(service, "OPENING", 30.0)
        text = refusal(service.open_in_background, ["sh", "-c", "echo new; echo; exit 1"])
        assert text == f"the session has not opened: new; its log is {log}" and log.read_text() == after
    text = refusal(service.open_in_background, ["false"])
    assert text == f"the session has not opened: it has said nothing; its log is {log}"
    assert service._last_line(str(home / "none"), 0) == "No such file or directory"


def test_a_session_that_shells_cannot_find_says_so(tmp_path):
    env = without_systemd(tmp_path)
    (tmp_path / "state").write_text("a file")
    words = [*FLUX, "start", "--service", f"--statedir={tmp_path}/queue"]
    process = subprocess.Popen(words, env=env, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stderr.readline()
        assert line.startswith("flux-start: ") and line.endswith(": other shells do not find this session\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        # nothing goes on, so nothing is left but the jobs that wait
        with open(tmp_path / "queue" / "lock") as file:
            assert not os.path.exists(json.loads(file.read())["rundir"])
    finally:
        process.kill()
        process.stderr.close()
