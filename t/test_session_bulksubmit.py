# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""`flux bulksubmit`, and what tells of many jobs: --log, --progress, --wait-event."""

import io
import os
import pty
import re
from types import SimpleNamespace

import pytest

from embedded import Session, flux
from fluxsched.session.commands import inputs
from fluxsched.session.commands.buildspec import SpecError
from fluxsched.session.commands.teller import Teller


@pytest.mark.parametrize("words, command, rows", [
    (["echo", ":::", "a", "b"], ["echo"], [("a",), ("b",)]),
    ([":::", "a"], ["{}"], [("a",)]),
    (["x", ":::", "a", "b", ":::", "c", "d"], ["x"], [("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")]),
    (["x", ":::", "a", "b", "c", ":::+", "1", "2"], ["x"], [("a", "1"), ("b", "2"), ("c", "1")]),
    (["x", ":::", "a", "b", ":::+", "1", "2", ":::", "y"], ["x"], [("a", "1", "y"), ("b", "2", "y")]),
    (["x", ":::"], ["x"], []),
    (["x", "::::", "-"], ["x"], [("one",), ("two words",)]),
    (["x"], ["x"], [("one",), ("two words",)]),
])
def test_inputs(monkeypatch, words, command, rows):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"one\n\ntwo words\n")))
    assert inputs.split(words, "\n") == (command, rows)


def test_inputs_of_files(tmp_path):
    path = tmp_path / "list"
    path.write_text("a b\nc,d\n")
    assert inputs.split(["::::", str(path)], "\n")[1] == [("a b",), ("c,d",)]
    assert inputs.split(["::::", str(path)], inputs.separator("none"))[1] == [("a",), ("b",), ("c,d",)]
    rows = inputs.split([":::", "x", "y", "::::+", str(path)], inputs.separator(r"\n"))[1]
    assert rows == [("x", "a b"), ("y", "c,d")]
    assert inputs.separator(r"\x2c") == ","


@pytest.mark.parametrize("words, text", [
    ([":::+", "a"], ":::+: expected other inputs before it"),
    ([":::", "a", ":::+"], ":::+: expected inputs"),
    (["::::"], "::::: expected the name of one file, got 0"),
    (["::::", "a", "b"], "expected the name of one file, got 2"),
    (["::::", "/nonexistent"], "/nonexistent: No such file"),
    ([":::", *"ab" * 600, ":::", *"ab" * 600], "1440000 jobs: expected at most 1048576"),
])
def test_wrong_inputs(words, text):
    with pytest.raises(SpecError, match=re.escape(text)):
        inputs.split(words, "\n")


def test_inputs_without_zeros(tmp_path):
    (tmp_path / "list").write_bytes(b"a\0b")
    with pytest.raises(SpecError, match="list: expected text, got a byte 0"):
        inputs.split(["::::", str(tmp_path / "list")], "\n")


@pytest.mark.parametrize("rule, text", [
    ("x", "--define: expected NAME=CODE, got 'x'"), ("1=x", "expected NAME=CODE"), ("a=x +", "--define: a: "),
])
def test_wrong_methods(rule, text):
    with pytest.raises(SpecError, match=re.escape(text)):
        inputs.methods([rule])


@pytest.mark.parametrize("sep, text", [("", "--sep: expected a text"), (r"\x2", r"--sep: truncated")])
def test_wrong_separators(sep, text):
    with pytest.raises(SpecError, match=text):
        inputs.separator(sep)


def dry(*words, **options):
    """The commands that would be submitted."""
    done = flux("bulksubmit", "--dry-run", *words, **options)
    assert done.returncode == 0, done.stderr
    return [line.partition(": submit ")[2] for line in done.stdout.splitlines()]


def test_fields():
    words = ["echo", "{} {0}", "{0.%}", "{0./}", "{0.//}", "{0./%}", ":::", "/a/b.c"]
    assert dry(*words) == ["echo '/a/b.c /a/b.c' /a/b b.c /a b"]
    assert dry("{1}-{0}", "{seq}", "{seq1:02d}", "{{id}}", ":::", "a", "b", ":::+", "1", "2") == [
        "1-a 0 01 '{{id}}'", "2-b 1 02 '{{id}}'"]
    defined = ["--define=twice=x * 2", '--define=parts=x.split("-")']
    assert dry(*defined, "{.twice}", "{.parts}", ":::", "a-b") == ["a-ba-b a b"]
    assert dry("--cc={1}", "{0}", "{cc}", "{cc:02d}", ":::", "a", ":::", "0-1") == ["a 0 00", "a 1 01"]
    assert sorted(dry("--shuffle", "{}", ":::", *"abcdef")) == list("abcdef")
    assert dry("--sep=,", "{}", input="a,b c") == ["a", "'b c'"]


@pytest.mark.parametrize("words, text", [
    (["{1}", ":::", "a"], "command: invalid replacement '{1}' in '{1}': a job has 1 input"),
    (["{x}", ":::", "a"], "expected {} or {0} for an input, {seq}, {seq1} or {cc}"),
    (["{0.odd}", "--", ":::", "a"], "expected one of %, /, //, /% behind the dot"),
    (["-n{1}", "true", ":::", "a"], "--ntasks: invalid replacement '{1}'"),
    (["--define=a=1/0", "{.a}", ":::", "a"], "--define: a: ZeroDivisionError: division by zero"),
    (["true", ":::"], "no jobs provided for bulk submission"),
    (["--cc=1", "--bcc=1", "true", ":::", "a"], "specify only one of --cc or --bcc"),
])
def test_refused(words, text):
    done = flux("bulksubmit", "--dry-run", *words)
    assert done.returncode == 1 and text in done.stderr and "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def session():
    with Session("-s4") as session:
        yield session


def test_jobs_of_inputs(session):
    watched = ["bulksubmit", "--quiet", "--watch"]
    assert sorted(session(*watched, "echo", "{}", ":::", "a", "b", "c").split()) == ["a", "b", "c"]
    words = ["-n{0}", "--job-name=j{0}", "sh", "-c", "echo {1}", ":::", "1", "2", ":::+", "x", "y"]
    out = session(*watched, *words)
    assert sorted(out.split()) == ["x", "y", "y"]
    assert session("jobs", "-a", "-c2", "-no", "{name} {ntasks}").split("\n") == ["j2 2", "j1 1"]
    done = session.run("bulksubmit", "--wait", "--quiet", "sh", "-c", "exit {}", ":::", "0", "3")
    assert done.returncode == 3
    done = session.run("bulksubmit", "-N{}", "true", ":::", "1", "99")
    assert done.returncode == 1 and done.stdout.count("ƒ") == 1 and "flux-bulksubmit: ERROR: " in done.stderr


def test_logs(session, tmp_path):
    out = session("bulksubmit", "--cc=1-2", "--watch", f"--log={tmp_path}/o{{cc}}", f"--log-stderr={tmp_path}/e{{cc}}",
                  "sh", "-c", "echo {} {cc}; echo error >&2", ":::", "a", "b")  # fmt: skip
    assert out == ""
    for cc in "12":
        lines = (tmp_path / f"o{cc}").read_text().split("\n")
        assert sorted(lines[2:4]) == [f"a {cc}", f"b {cc}"] and lines[0].startswith("ƒ")
        assert (tmp_path / f"e{cc}").read_text() == "error\nerror\n"
    session("submit", f"--log={tmp_path}/one", "--wait-event=start", "true")
    assert (tmp_path / "one").read_text().startswith("ƒ")
    done = session.run("submit", f"--log={tmp_path}/none/x", "true")
    assert done.returncode == 1 and "none/x: No such file" in done.stderr
    session.run("submit", f"--log-stderr={tmp_path}/refused", "-N99", "true")
    assert (tmp_path / "refused").read_text().startswith("flux-submit: ERROR: ")
    done = session.run("submit", "--progress", "--quiet", "true")
    assert "--progress is ignored" in done.stderr


def test_wait_for_an_event(session):
    """The job goes on."""
    jobid = session("submit", "--wait-event=start", "sleep", "30")
    assert session.state(jobid) == "RUN"
    session("cancel", jobid)


@pytest.mark.parametrize("waits, label", [(None, "submitted"), ("clean", "over")])
def test_progress(monkeypatch, waits, label):
    ours, theirs = pty.openpty()
    o = SimpleNamespace(name="submit", quiet=True, wait_event=waits, watch=False, jps=True, progress=True, log=None,
                        log_stderr=None)
    with open(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        with Teller(o, 4) as teller:
            teller.submitted(o, [1, 2, 3])
            teller.refused(o, "no")
            for _ in range(3 if waits else 0):
                teller.over()
        terminal.flush()
        text = ""
        while "4/4" not in text:
            text += os.read(ours, 65536).decode()
    assert label in text and "4/4" in text and "job/s" in text and "flux-submit: ERROR: no" in text
    os.close(ours)
