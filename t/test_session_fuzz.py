# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Any command line gives an answer or one clear error, never a traceback; every option has a type and a range."""

import contextlib
import io
import os
import random
import re
import sys

import pytest

from embedded import Session
from fluxsched.session import commands, main

HUGE = "99999999999999999999"
SUBCOMMANDS = {
    "job": ["eventlog", "info", "urgency", "raise", "kill", "id", "last", "list"],  # and some that wait
    "kvs": ["get", "put", "dir", "ls", "unlink"],
    "module": ["load", "list", "remove", "reload", "stats"],
    "resource": ["list", "status", "drain", "undrain", "R"],
    "queue": ["list", "status"],
}
# These wait, or run what they are given.
LEFT_OUT = {
    "start", "enable", "disable", "env", "top", "shutdown", "proxy", "alloc", "exec", "run", "wreckrun", "waitjob",
    "help",
}  # fmt: skip
ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "30"))
VALUES = [
    "", "-1", "0", "1", "-", "--", "x", HUGE, str(2**63), str(2**64), "0x" + "f" * 17, "ƒ1", "f" * 90, "1e999", "nan",
    "inf", "-inf", "٣", "\x1b[2J", "a\nb", "\udcff", "{", "{}", "{id:{id}}", "{name!F}", "{id:9999999999}", "[" * 3000,
    "=", "a=", "=a", "a=[[[" + "[" * 3000, "^x=/nonexistent", "..", "a.b", ".", "0-99999999999", "1-0", "[1", "n[1-",
    "a" * 5000, "(" * 3000, "not " * 3000 + "a", "-S", "--all", "sched", "/dev/null", "%s%n", "1,2", "a|b&", "+5",
    "duration=-1", "duration=1e400",
    "a=\udcff", "a.b.c=1", "duration=5", "-5", "--", "host:", "R", "eventlog", "jobspec",
    "duration=inf", "duration=+x",
]  # fmt: skip


@pytest.fixture(scope="module")
def session():
    with Session("-s2") as session:
        session("submit", "--urgency=hold", "--setattr=exec.test.run_duration=0.01s", "true")
        yield session


def lines():
    """All commands that neither wait nor run anything, as words."""
    for command in commands.TABLE:
        for name in SUBCOMMANDS.get(command.name, [""]):
            words = [command.name, name] if name else [command.name]
            if " ".join(words) not in LEFT_OUT:
                yield words


def run_here(session, words):
    """A command in this process, which is much faster: (exit code, output, errors)."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    before = dict(os.environ)
    os.environ.update(session.env)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main.main(list(words))
    except SystemExit as stopped:  # --help
        code = stopped.code
    finally:
        os.environ.clear()
        os.environ.update(before)
    return code, err.getvalue()


@pytest.fixture
def as_a_program(monkeypatch):
    monkeypatch.setattr(main.program, "end_by_signal", lambda: None)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"in\xff"), "utf-8"))


def options_of(session, words):
    """Names of the options of a command, from its --help."""
    out = session.run(*words, "--help").stdout
    return sorted(set(re.findall(r"(?<![\w-])--?[\w-]+", " ".join(re.findall(r"^  (-.*?)(?:  |$)", out, re.M)))))


@pytest.mark.parametrize("words", list(lines()), ids=" ".join)
def test_any_command_line(session, as_a_program, words):
    chance = random.Random(" ".join(words))
    options = [option for option in options_of(session, words) if option not in ("-f", "--follow", "-n", "--new")
               or words != ["dmesg"]]  # fmt: skip
    options = [option for option in options if option not in ("--wait", "--watch", "--follow", "-F")]
    for _ in range(ROUNDS):
        line = list(words)
        for _ in range(chance.randrange(4)):
            line.append(chance.choice(options) if chance.random() < 0.5 else chance.choice(VALUES))
            if line[-1].startswith("--") and chance.random() < 0.6:
                line[-1] += "=" + chance.choice(VALUES)
        if words == ["submit"]:
            line.append("--setattr=exec.test.run_duration=0.01s")
        line = [word for word in line if "\0" not in word]
        code, err = run_here(session, line)
        assert code in (0, 1, 2), line
        assert "Traceback" not in err and "\x1b" not in err, line
        assert (code == 0) or err, line
    assert session("getattr", "size") == "2"


def test_numbers_on_the_command_line(session):
    """The error names the option, or the value if it has no name."""
    session("submit", "--urgency=hold", "true")
    for words, name in (
        (["jobs", "-c", HUGE], "-c/--count: expected a whole number from 0 to 2147483647"),
        (["jobs", "-c", "-1"], "-c/--count: expected a whole number"),
        (["jobs", "-c", "x"], "-c/--count: expected a whole number"),
        (["jobs", "-w", "-5"], "-w/--width"),
        (["resource", "list", "-s", "--"], "-s/--states: expected one argument"),
        (["submit", "--env", "--"], "--env: expected one argument"),
        (["jobs", str(2**63)], "invalid JobID value: 9223372036854775808: expected at most 9223372036854775807"),
        (["cancel", str(2**63)], "expected at most 9223372036854775807"),
        (["cancel", str(2**64)], "invalid JobID value: '18446744073709551616'"),
        (["update", str(2**63), "duration=5"], "expected at most"),
        (["job", "info", str(2**63), "R"], "expected at most"),
        (["job", "last", "-1"], "n: expected a whole number"),
        (["job", "list", "-c", "-1"], "-c/--count"),
        (["job", "raise", "-s", "8", "1"], "-s/--severity: expected a whole number from 0 to 7"),
        (["job", "raise", str(2**63)], "a job id is missing"),
        (["job", "kill", "-s", "99", "1"], "--signal: invalid signal '99'"),
        (["job", "kill", "-s", "DFL", "1"], "--signal: invalid signal 'DFL'"),
        (["job", "kill", "-s", HUGE, "1"], "--signal: invalid signal"),
        (["job", "wait-event", "-t", "x", "1", "start"], "-t/--timeout: expected a duration"),
        (["job", "wait-event", "-t", "-1", "1", "start"], "-t/--timeout"),
        (["job", "urgency", "1", HUGE], "--urgency"),
        (["kvs", "dir", "-w", "-1"], "-w/--width"),
        (["kvs", "ls", "-w", HUGE], "-w/--width"),
        (["submit", "-t", "1e308", "true"], "--time-limit: '1e308' is out of range"),
        (["submit", "--setattr=a=" + "[" * 5000, "true"], "--setattr: a: nested more than 100 levels"),
        (["submit", "-o", "a=" + '{"a":' * 500 + "1" + "}" * 500, "true"], "--setopt: a: nested more than 100 levels"),
        (["submit", "--setattr=" + "a." * 90 + "a=1", "true"], "--setattr: expected a name of at most 50 parts"),
        (["submit", "--requires=" + "(" * 3000 + "a" + ")" * 3000, "true"], "--requires: "),
        (["submit", "--requires=" + "not " * 300 + "a", "true"], "--requires: "),
        (["submit", "--cc=0-99999999", "true"], "--cc: "),
        (["submit", "--bcc=x", "true"], "--bcc: "),
        (["exec", "-r", "x", "true"], "--rank: "),
        (["jobs", "--since=-inf"], "--since: invalid time"),
        (["jobs", "--since=1e999"], "--since: invalid time"),
        (["jobs", "-o", "{name!F}"], "Error in user format: {name!F}"),
        (["jobs", "-o", "{name:9999999999}"], "at most 1024 columns"),
    ):
        err = session.fail(*words)
        assert name in err, words
        assert len(err) < 1000, words


def test_files_that_are_nested_too_deeply(session, tmp_path):
    deep = tmp_path / "deep.json"
    deep.write_text('{"a":' * 100000)
    assert f"{deep}: nested more than" in session.fail("submit", f"--setattr=^a={deep}", "true")
    assert f"{deep}: nested more than" in session.fail("start", f"--config-path={deep}", "true")
    rules = tmp_path / "rules"
    rules.write_text(f"^{rules}\n")
    assert "files of rules name each other more than 8 deep" in session.fail("submit", f"--env-file={rules}", "true")
    pytest.importorskip("tomllib")
    deep = tmp_path / "deep.toml"
    for text in ("a = " + "[" * 100000, "a = " + "[" * 200 + "]" * 200, "[" + ".".join("a" * 5000) + "]\nb = 1\n"):
        deep.write_text(text)
        assert f"{deep}: nested more than" in session.fail("start", f"--config-path={deep}", "true")
