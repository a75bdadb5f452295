# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Mails and commands at the end of jobs; lists as JSON; waiting for jobs in scripts."""

import contextlib
import json
import os

import pytest

from embedded import Session, children, configured, flux, job_processes, until
from fluxsched.session.broker import notices

MAILER = """\
#!/bin/sh
# A sendmail that writes its words and what it gets into a file.
{{ echo "$@"; cat; }} > "{folder}/mail.new"
mv "{folder}/mail.new" "{folder}/mail"
"""


def notifying(folder, **table):
    return configured(folder, {"notify": table})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("notices")


@pytest.fixture(scope="module")
def session(folder):
    mailer = folder / "send mail"
    mailer.write_text(MAILER.format(folder=folder))
    mailer.chmod(0o755)
    options = {"allow": ["mail", "command"], "sendmail": str(mailer)}
    with Session(notifying(folder, **options)) as session:
        yield session


def text_of(path):
    until(path.exists, str(path))
    return path.read_text()


def test_a_command_at_the_end(session, tmp_path):
    report = 'echo "$FLUX_JOB_ID|$FLUX_JOB_NAME|$FLUX_JOB_RESULT|$FLUX_JOB_RETURNCODE|$MINE|$PWD" > n; mv n "$WHERE"'
    wanted = []
    cases = (("one", ["sh", "-c", "exit 3"], "FAILED|3"), ("two", ["true"], "COMPLETED|0"))
    for name, command, result in cases:
        words = [f"--setattr=notify={report}", f"--env=WHERE={tmp_path}/{name}", "--env=MINE=a b", f"--cwd={tmp_path}"]
        jobid = session("submit", f"--job-name={name}", *words, *command)
        wanted.append(f"{jobid}|{name}|{result}|a b|{tmp_path}\n")
    assert [text_of(tmp_path / name) for name, _, _ in cases] == wanted
    # one that never ran, whose folder is gone
    gone = tmp_path / "gone"
    gone.mkdir()
    report = f'echo "$FLUX_JOB_RESULT $PWD" > {tmp_path}/x; mv {tmp_path}/x {tmp_path}/three'
    jobid = session("submit", "--urgency=hold", f"--cwd={gone}", f"--setattr=notify={report}", "true")
    gone.rmdir()
    session("cancel", jobid)
    assert text_of(tmp_path / "three") == "CANCELED /\n"


def test_a_mail_at_the_end(session, folder):
    name = "größe\nBcc: x@y"
    jobid = session("submit", f"--job-name={name}", "--setattr=notify=mail:me@example.org", "-t1s", "sleep", "9")
    text = text_of(folder / "mail")
    assert text.startswith("-oi -- me@example.org\n") and "\nBcc" not in text and "\nTo: me@example.org\n" in text
    from email import message_from_string, policy

    mail = message_from_string(text.split("\n", 1)[1], policy=policy.default)
    assert mail["Subject"] == f"{jobid} größe\\nBcc: x@y: TIMEOUT"
    assert "has ended: TIMEOUT" in mail.get_content() and "resource allocation expired" in mail.get_content()
    (folder / "mail").unlink()
    session("submit", "--setattr=notify=mail", "true")
    import pwd

    assert text_of(folder / "mail").startswith(f"-oi -- {pwd.getpwuid(os.getuid()).pw_name}\n")


def test_what_goes_wrong_is_in_the_log(session, tmp_path):
    bad = session("submit", "--setattr=notify=echo what is wrong >&2; echo more >&2; exit 7", "true")
    wanted = f"{bad}: the notice failed with exit code 7: what is wrong"
    until(lambda: wanted in session.log(), "the failure in the log")
    killed = session("submit", "--setattr=notify=kill -9 $$", "true")
    until(lambda: f"{killed}: the notice failed with a signal" in session.log(), "a notice that was killed")


def test_many_notices_hold_nothing_up(session, tmp_path):
    """More than run at a time, all of which block: the session answers, and all come to their turn."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    ids = session(
        "submit", "--cc=1-6", f"--setattr=notify=cat {gate} >/dev/null; echo x >> {tmp_path}/out", "true"
    ).split()
    for jobid in ids:
        session.wait_state(jobid, "INACTIVE")
    shells = f"/bin/sh -c cat {gate}"
    until(lambda: sum(words.startswith(shells) for _, words in children(session.process.pid)) == 4, "four to run")

    def over():
        with contextlib.suppress(OSError):  # nobody reads at this moment
            os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        out = tmp_path / "out"
        return out.exists() and out.read_text() == "x\n" * 6

    until(over, "all notices")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("7", "attributes.system.notify: expected mail, mail:ADDRESS or a command of the shell"),
        ("", "attributes.system.notify: expected mail, mail:ADDRESS or a command of the shell"),
        ("mail:", "attributes.system.notify: expected mail:ADDRESS, such as mail:me@example.org"),
        ("mail:-oQ/tmp", "attributes.system.notify: expected mail:ADDRESS, such as mail:me@example.org"),
        ("mail:a@b\nCc: x", "attributes.system.notify: expected mail:ADDRESS, such as mail:me@example.org"),
        ("mail:a b@c", "attributes.system.notify: expected mail:ADDRESS, such as mail:me@example.org"),
    ],
)
def test_notices_that_are_none(session, value, text):
    assert text in session.fail("submit", f"--setattr=notify={value}", "true")


def test_off_unless_allowed(tmp_path):
    with Session() as session:
        text = session.fail("submit", "--setattr=notify=date", "true")
        assert "attributes.system.notify: the configuration of this session allows no command ([notify] allow)" in text
    with Session(notifying(tmp_path, allow=["command"], sendmail="/nonexistent/sendmail")) as session:
        assert "allows no mail ([notify] allow)" in session.fail("submit", "--setattr=notify=mail", "true")
        # the session's end waits for a notice, a little
        session("run", f"--setattr=notify=sleep 0.3; touch {tmp_path}/sent", "true")
    assert (tmp_path / "sent").exists()
    options = {"allow": ["mail", "command"], "sendmail": "/nonexistent/sendmail", "timeout": "1s"}
    with Session(notifying(tmp_path, **options)) as session:
        slow = session("submit", "--setattr=notify=sleep 60 & sleep 60", "true")
        jobid = session("submit", "--setattr=notify=mail", "true")
        wanted = f"{jobid}: the notice could not be sent: No such file or directory"
        until(lambda: wanted in session.log(), "the failure in the log")
        wanted = f"{slow}: the notice took longer than 1 s, and was ended"
        until(lambda: wanted in session.log(), "the end of a slow one")
        until(lambda: not job_processes(slow), "its processes to be gone")


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"allow": "mail"}, "notify.allow: expected a list of mail and command"),
        ({"allow": ["x"]}, "notify.allow: expected a list of mail and command"),
        ({"sendmail": "sendmail"}, "notify.sendmail: expected the absolute path of a program"),
        ({"timeout": "x"}, "notify.timeout: expected a duration"),
        ({"alow": []}, "notify.alow: unknown key, is allow meant?"),
    ],
)
def test_configurations_that_are_none(tmp_path, table, text):
    done = flux("start", notifying(tmp_path, **table), "true")
    assert done.returncode == 1 and text in done.stderr and "Traceback" not in done.stderr


class _Manager:
    """As much of a manager as notices need, whose loop never turns."""

    def __init__(self):
        self.on_check, self.on_end, self.lines = [], [], []
        self.loop = self
        self.log = lambda component, level, text: self.lines.append(text)

    def call_soon(self, callback):
        pass


def test_those_beyond_many_are_dropped(monkeypatch):
    manager = _Manager()
    monkeypatch.setattr(notices, "WAITING", 2)
    sent = notices.Notices(manager, {"allow": ["command"]})

    class Job:
        jobspec = {"attributes": {"system": {"notify": "true"}}}

    for _ in range(5):
        manager.on_end[0](Job())
    assert len(sent._waiting) == 2
    assert manager.lines == ["2 notices wait already; those of further jobs are dropped"]
    Job.jobspec = {"attributes": {"system": {}}}
    manager.on_end[0](Job())
    assert len(sent._waiting) == 2


def test_lists_as_json(tmp_path):
    nodes = [{"hosts": "n[0-2]", "cores": "0-3", "properties": ["b"]}]
    queues = {"b": {"requires": ["b"]}, "c": {"parent": "b"}}
    with Session(configured(tmp_path, {"queues": queues, "resource": {"config": nodes}})) as session:
        def read(*words):
            return json.loads(session(*words, "--json"))

        session("resource", "drain", "1", "a\nreason")
        session("queue", "stop", "b", "-m", "why")
        session("kvs", "put", "x.y=1\x1b", "x.z.w=2", "v=3")
        queues = {one["name"]: one for one in read("queue", "list")["queues"]}
        assert queues["c"]["parent"] == "b" and queues["b"]["all"] == {"nodes": 3, "cores": 12, "gpus": 0}
        assert read("queue", "status", "b") == {
            "queues": [{"name": "b", "disabled": None, "stopped": "why"}], "scheduling": True}  # fmt: skip
        assert read("resource", "list")["free"] == {
            "nnodes": 2, "ncores": 8, "ngpus": 0, "nodelist": "n[0,2]", "ranks": "0,2"}  # fmt: skip
        assert read("resource", "list", "-s", "down") == {
            "down": {"nnodes": 1, "ncores": 4, "ngpus": 0, "nodelist": "n1", "ranks": "1"}}  # fmt: skip
        assert read("resource", "status")["drained"] == {"nnodes": 1, "nodelist": "n1"}
        [drained] = read("resource", "drain")["drained"]
        assert (drained["state"], drained["reason"], drained["nodelist"]) == ("drained", "a\nreason", "n1")
        assert "--json: expected no targets" in session.fail("resource", "drain", "--json", "2")
        assert "sched" in [module["name"] for module in read("module", "list")["modules"]]
        assert read("kvs", "dir", "x") == {"x.y": "1\x1b", "x.z": None}
        assert read("kvs", "dir", "-R", "-d", "x") == ["x.y", "x.z.w"]
        assert read("kvs", "ls", "-F", "x", "v") == {"x": ["y", "z."], "v": []}
        assert read("kvs", "ls", "-d", "x") == {"x": []}
        lines = [json.loads(line) for line in session("dmesg", "--json").splitlines()]
        assert all({"t", "name", "level", "text"} <= set(line) for line in lines) and lines


def test_waiting_in_scripts(session):
    """Exit codes: 0 completed, 1 not, 2 no such job, or none that is waitable."""
    good, bad = (session("submit", "--flags=waitable", "sh", "-c", f"exit {code}") for code in (0, 4))
    done = session.run("job", "wait", "-v", good)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "flux-job: job completed successfully\n")
    assert session.run("job", "wait", good).returncode == 0  # again, by its id
    done = session.run("job", "wait")
    assert (done.returncode, done.stdout, done.stderr) == (
        1, f"{bad}\n", "flux-job: task(s) exited with exit code 4\n")  # fmt: skip
    done = session.run("job", "wait")
    assert (done.returncode, done.stderr) == (2, "flux-job: there are no more waitable jobs\n")
    assert session.run("job", "wait", "f1").returncode == 2
    assert session.run("job", "wait", "--all").returncode == 0
    ids = session("submit", "--cc=0-2", "--flags=waitable", "sh", "-c", "exit {cc}").split()
    done = session.run("job", "wait", "--all", "--verbose")
    assert done.returncode == 1 and set(done.stderr.splitlines()) == {
        f"flux-job: {ids[0]}: job completed successfully",
        f"flux-job: {ids[1]}: task(s) exited with exit code 1", f"flux-job: {ids[2]}: task(s) exited with exit code 2",
    }  # fmt: skip
    assert session.run("job", "status", *ids).returncode == 2
