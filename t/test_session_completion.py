# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Completion in shells: what may stand at the cursor, and bash itself asked."""

import io
import os
import select
import shutil
import subprocess
import time

import pytest

from embedded import FLUX, WAIT, Session, clean_environment, configured, flux, open_terminal
from fluxsched.session import commands
from fluxsched.session.commands import completion, options, scripts

CONFIG = {"queues": {"batch": {"requires": []}, "big": {"requires": []}, "debug": {"requires": []}}}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    with Session(configured(tmp_path_factory.mktemp("config"), CONFIG)) as session:
        yield session


def offered(*words):
    return [word.text for word in completion.complete(list(words))]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["bulk"], ["bulksubmit"]),
        (["nosuch", ""], []),
        (["submit", "--q"], ["--queue", "--quiet"]),
        (["submit", "--quiet", "--job"], ["--job-name"]),
        (["submit", "--job-name", "x", "--error="], [":files"]),
        (["submit", "--output", ""], [":files"]),
        (["submit", ""], [":command"]),
        (["submit", "-n", "2", "pyth"], [":command"]),
        (["submit", "-n2", "python3", "--ver"], [":files"]),
        (["submit", "--", "-x"], ["-x"]),
        (["jobs", "--form"], ["--format"]),
        (["jobs", "-o", "end"], ["endreason"]),
        (["jobs", "--filter=running,fail"], ["--filter=running,failed"]),
        (["cancel", "-S", "pend"], ["pending"]),
        (["job", "wait"], ["wait", "wait-event"]),
        (["job", "nosuch", ""], []),
        (["job", "eventlog", "--format="], ["--format=text", "--format=json"]),
        (["job", "id", "--to", "f58"], ["f58", "f58plain"]),
        (["job", "submit", ""], [":files"]),
        (["queue", "st"], ["status", "stop", "start"]),
        (["resource", "drain", "--h"], ["--help"]),
        (["sched", "wh"], ["whatif", "when", "why"]),
        (["sched", "why", "--j"], ["--json"]),
        (["help", "bulk"], ["bulksubmit"]),
        (["completion", "z"], ["zsh"]),
    ],
    ids=" ".join,
)
def test_what_may_stand_at_the_cursor(words, wanted):
    assert offered(*words) == wanted


def test_every_command_can_be_asked():
    """Each says what it takes without doing anything, and is as before then."""
    for command in commands.TABLE:
        if command.name in ("sched", "help"):
            continue
        found = completion._reveal([command.name])
        assert found is not None, command.name
        for name in found.table:
            inner = completion._reveal([command.name, name])
            assert inner is not None and inner.parser is not None, (command.name, name)
        assert found.table or found.parser is not None
    assert not options.revealing
    hidden = [name for name in offered("queue", "status", "-") if name in ("-q", "--queue")]
    assert hidden == []


def test_ids_and_queues_are_the_sessions(session, monkeypatch):
    monkeypatch.setenv("FLUX_URI", session.uri)
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    jobid = session("submit", "-qbatch", "--urgency=hold", "--job-name=a\nb", "true")
    words = list(completion.complete(["job", "urgency", ""]))
    assert words == [(jobid, "a\nb, sched")]
    assert offered("cancel", "f") == [f"f{jobid[1:]}"] and offered("cancel", jobid[:3]) == [jobid]
    assert offered("waitjob", str(session.job(jobid)["id"])[:2]) == [str(session.job(jobid)["id"])]
    assert offered("cancel", "x") == []
    assert offered("submit", "-q", "b") == ["batch", "big"] and offered("queue", "stop", "d") == ["debug"]
    assert offered("submit", "--queue=d") == ["--queue=debug"]
    monkeypatch.setenv("FLUX_URI", "local:///nowhere/local-0")
    assert offered("submit", "-q", "b") == [] and offered("cancel", "") == []
    # meanings: for shells that show them, in a line
    env = dict(session.env, PYTHONIOENCODING="utf-8")
    assert session("completion", "fish", "--", "cancel", "", env=env).startswith(f"{jobid}\ta")
    assert session("completion", "bash", "--", "cancel", "", env=env) == jobid
    session("cancel", jobid)


def test_words_that_bash_has_cut():
    joined = completion._joined
    assert joined(["submit", "--queue", "=", "ba"]) == (["submit", "--queue=ba"], len("--queue="))
    assert joined(["submit", "--queue", "="]) == (["submit", "--queue="], len("--queue="))
    assert joined(["submit", "--queue", "=", "batch", ""]) == (["submit", "--queue=batch", ""], 0)
    assert joined(["submit", ""]) == (["submit", ""], 0)


def tab(session, line, wanted):
    """Type a line and Tab in a bash at a terminal; what the terminal then shows ends with `wanted`."""
    outer, inner = open_terminal()
    env = dict(session.env, PS1="$ ", TERM="dumb", LC_ALL="C.UTF-8", HISTFILE="")
    words = ["bash", "--norc", "--noprofile", "-i"]
    process = subprocess.Popen(words, env=env, stdin=inner, stdout=inner, stderr=inner, start_new_session=True)
    os.close(inner)
    shown = b""

    def read(until):
        nonlocal shown
        deadline = time.monotonic() + WAIT
        while until.encode() not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([outer], [], [], 0.1)[0]:
                shown += os.read(outer, 4096)

    try:
        read("$ ")
        os.write(outer, b'eval "$(flux completion bash)"; bind "set bell-style none"; echo rea""dy\n')
        read("ready\r\n")
        shown = b""
        os.write(outer, line.encode() + b"\t")
        read(wanted)
        os.write(outer, b"\x15exit\n")
        process.wait(WAIT)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(WAIT)
        os.close(outer)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [("flux bulks", "flux bulksubmit "), ("flux submit --job-n", "--job-name "), ("flux submit -q de", "-q debug "),
     ("flux submit --queue=de", "--queue=debug "), ("flux submit --output=/etc/host", "--output=/etc/host")],
)  # fmt: skip
def test_bash_itself(session, line, wanted):
    tab(session, line, wanted)


def test_bash_completes_words_of_a_function_call(session, tmp_path):
    """Files, programs and candidates, as bash has them after Tab."""
    (tmp_path / "one file.txt").touch()
    text = (
        'eval "$(flux completion bash)"; compopt() { :; }\n'
        'ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _flux_session; printf "%s|" "${COMPREPLY[@]}"; echo; }\n'
        "ask flux job ev; ask flux submit --queue = d; ask flux submit --input = one\n"
        "ask flux submit tru; ask flux nosuch x"
    )
    words = ["bash", "-c", text]
    done = subprocess.run(words, env=session.env, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = done.stdout.split("\n")
    assert lines[:3] == ["eventlog|", "debug|", "one file.txt|"]
    assert "true" in lines[3].split("|") and lines[4] in ("|", "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_their_script(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    words = [shell, "-n"] if shell == "zsh" else [shell, "--no-execute"]
    done = subprocess.run(words, input=scripts.script(shell, "flux"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_scripts_are_printed_and_wrong_words_refused():
    for shell in scripts.SCRIPTS:
        assert flux("completion", shell).stdout == scripts.script(shell, "flux", "flux-session")
        assert "@" not in scripts.script(shell, "flux").replace("(@", "").replace("[@", "")
    assert flux("completion", "tcsh").returncode == 2
    done = flux("completion", "bash", "submit")
    assert (done.returncode, done.stderr) == (
        1, "flux-completion: 'submit': expected -- in front of the words to complete\n")  # fmt: skip
    assert subprocess.run(["bash", "-n"], input=scripts.BASH, text=True, check=True).returncode == 0
    done = subprocess.run([*FLUX, "completion", "zsh", "--"], env=clean_environment(), capture_output=True, check=True)
    assert done.stdout.startswith(b"alloc\t")
